package netpol

import (
	"bytes"
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// table is the name of the nft table that all rules are in.
const table = "inet netpol"

// Cluster is what rules are made from, as it is at one moment.
type Cluster struct {
	// Pods are all pods; those without an address of their own do not count.
	Pods []*corev1.Pod

	// Namespaces maps names to labels.
	Namespaces map[string]labels.Set

	Policies []*networkingv1.NetworkPolicy

	// Node is the node whose pods are guarded; "" for those of all nodes.
	Node string
}

// Rules returns the input of `nft -f` that replaces our table, in one step, with
// one that enforces the policies. The same cluster gives the same text.
func Rules(c Cluster) []byte {
	r := renderer{
		pods:       addressed(c.Pods),
		namespaces: c.Namespaces,
	}
	policies := slices.SortedFunc(slices.Values(c.Policies), func(a, b *networkingv1.NetworkPolicy) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
	})
	for _, pod := range r.pods {
		if c.Node == "" || pod.Spec.NodeName == c.Node {
			r.guard(pod, policies)
		}
	}
	var b bytes.Buffer
	// A table can be deleted only where it is; adding it first makes that sure.
	fmt.Fprintf(&b, "table %s\ndelete table %s\ntable %s {\n", table, table, table)
	b.Write(r.chains.Bytes())
	r.hook(&b, "forward", r.egress, r.ingress)
	r.hook(&b, "input", r.egress, nil) // from a pod to its own node; the node itself reaches all its pods
	b.WriteString("}\n")
	return b.Bytes()
}

// addressed returns the pods that have an address of their own, by address.
// Where two claim the same, one of them is on its way out: the newer has it.
func addressed(pods []*corev1.Pod) []*corev1.Pod {
	byAddress := map[string]*corev1.Pod{}
	for _, p := range pods {
		ended := p.Status.Phase == corev1.PodSucceeded || p.Status.Phase == corev1.PodFailed
		if p.Status.PodIP == "" || p.Spec.HostNetwork || ended || !isIPv4(p.Status.PodIP) {
			continue
		}
		if other := byAddress[p.Status.PodIP]; other == nil || other.CreationTimestamp.Before(&p.CreationTimestamp) {
			byAddress[p.Status.PodIP] = p
		}
	}
	all := make([]*corev1.Pod, 0, len(byAddress))
	for _, p := range byAddress {
		all = append(all, p)
	}
	slices.SortFunc(all, func(a, b *corev1.Pod) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
	})
	return all
}

// renderer gathers one chain per guarded pod and direction.
type renderer struct {
	pods       []*corev1.Pod
	namespaces map[string]labels.Set

	chains          bytes.Buffer
	ingress, egress []string // elements of the maps from an address to its chain
}

// guard writes the chains of a pod that policies select. What no rule of any of
// them lets through is dropped.
func (r *renderer) guard(pod *corev1.Pod, policies []*networkingv1.NetworkPolicy) {
	var in, out bytes.Buffer
	var hasIn, hasOut bool
	for _, p := range policies {
		if p.Namespace != pod.Namespace || !selects(&p.Spec.PodSelector, pod.Labels) {
			continue
		}
		if slices.Contains(p.Spec.PolicyTypes, networkingv1.PolicyTypeIngress) { // the API server fills them in
			hasIn = true
			for _, rule := range p.Spec.Ingress {
				r.allow(&in, p.Namespace, "saddr", rule.From, ports(rule.Ports, []*corev1.Pod{pod}))
			}
		}
		if slices.Contains(p.Spec.PolicyTypes, networkingv1.PolicyTypeEgress) {
			hasOut = true
			for _, rule := range p.Spec.Egress {
				r.allow(&out, p.Namespace, "daddr", rule.To, ports(rule.Ports, r.pods))
			}
		}
	}
	if hasIn {
		r.ingress = append(r.ingress, r.chain("in", len(r.ingress), pod, in.Bytes()))
	}
	if hasOut {
		r.egress = append(r.egress, r.chain("out", len(r.egress), pod, out.Bytes()))
	}
}

// chain writes a chain of one pod and returns the element that leads to it.
func (r *renderer) chain(direction string, n int, pod *corev1.Pod, rules []byte) string {
	name := fmt.Sprintf("%s%d", direction, n)
	fmt.Fprintf(&r.chains, "\tchain %s { # %s/%s\n%s\t\tcounter drop\n\t}\n", name, pod.Namespace, pod.Name, rules)
	return fmt.Sprintf("%s : jump %s", pod.Status.PodIP, name)
}

// allow writes rules that let the peers through to the ports; field is the side
// of a packet that the peers are on.
func (r *renderer) allow(b *bytes.Buffer, namespace, field string, peers []networkingv1.NetworkPolicyPeer, matches []string) {
	for _, match := range matches {
		if len(peers) == 0 {
			b.WriteString("\t\t" + match + "return\n")
		}
		for _, p := range peers {
			if from := r.peer(namespace, field, p); from != "" {
				b.WriteString("\t\t" + from + match + "return\n")
			}
		}
	}
}

// peer returns the match of a peer's addresses; "" if it has none now.
func (r *renderer) peer(namespace, field string, p networkingv1.NetworkPolicyPeer) string {
	if p.IPBlock != nil {
		return block(field, p.IPBlock)
	}
	var addresses []string
	for _, pod := range r.pods {
		if p.NamespaceSelector == nil && pod.Namespace != namespace {
			continue
		}
		if p.NamespaceSelector != nil && !selects(p.NamespaceSelector, r.namespaces[pod.Namespace]) {
			continue
		}
		if p.PodSelector != nil && !selects(p.PodSelector, pod.Labels) {
			continue
		}
		addresses = append(addresses, pod.Status.PodIP)
	}
	if len(addresses) == 0 {
		return ""
	}
	return fmt.Sprintf("ip %s { %s } ", field, strings.Join(addresses, ", "))
}

// block returns the match of a range without its exceptions; they may overlap,
// so each is a match of its own.
func block(field string, b *networkingv1.IPBlock) string {
	if !isIPv4(b.CIDR) {
		return ""
	}
	match := []byte(fmt.Sprintf("ip %s %s ", field, b.CIDR))
	for _, e := range b.Except {
		match = fmt.Appendf(match, "ip %s != %s ", field, e)
	}
	return string(match)
}

// ports returns the matches of a rule's ports: "" where all are meant, none where
// a name stands for nothing. A name is that of a port of the pods that receive.
func ports(ps []networkingv1.NetworkPolicyPort, receivers []*corev1.Pod) []string {
	if len(ps) == 0 {
		return []string{""}
	}
	var matches []string
	for _, p := range ps {
		protocol := corev1.ProtocolTCP
		if p.Protocol != nil {
			protocol = *p.Protocol
		}
		l4 := strings.ToLower(string(protocol))
		switch {
		case p.Port == nil:
			matches = append(matches, "meta l4proto "+l4+" ")
		case p.Port.Type == intstr.String:
			for _, pod := range receivers {
				for _, number := range named(pod, p.Port.StrVal, protocol) {
					matches = append(matches, fmt.Sprintf("ip daddr %s %s dport %d ", pod.Status.PodIP, l4, number))
				}
			}
		case p.EndPort != nil:
			matches = append(matches, fmt.Sprintf("%s dport %d-%d ", l4, p.Port.IntVal, *p.EndPort))
		default:
			matches = append(matches, fmt.Sprintf("%s dport %d ", l4, p.Port.IntVal))
		}
	}
	return matches
}

// named returns the numbers of a pod's ports of that name and protocol.
func named(pod *corev1.Pod, name string, protocol corev1.Protocol) []int32 {
	var numbers []int32
	for _, c := range slices.Concat(pod.Spec.InitContainers, pod.Spec.Containers) { // sidecars are among the first
		for _, p := range c.Ports {
			if p.Name == name && cmp.Or(p.Protocol, corev1.ProtocolTCP) == protocol {
				numbers = append(numbers, p.ContainerPort)
			}
		}
	}
	return numbers
}

// hook writes a chain that packets pass, ahead of those of kube-proxy that
// filter, and behind its address translation. Each packet of the original
// direction is judged, so a new policy also cuts what is under way.
func (r *renderer) hook(b *bytes.Buffer, name string, egress, ingress []string) {
	fmt.Fprintf(b, "\tchain %s {\n\t\ttype filter hook %s priority -5; policy accept;\n\t\tct direction reply accept\n", name, name)
	if len(egress) > 0 {
		fmt.Fprintf(b, "\t\tip saddr vmap { %s }\n", strings.Join(egress, ", "))
	}
	if len(ingress) > 0 {
		fmt.Fprintf(b, "\t\tip daddr vmap { %s }\n", strings.Join(ingress, ", "))
	}
	b.WriteString("\t}\n")
}

// selects says whether a selector takes the labels; a malformed one, which the
// API server refuses, takes none.
func selects(s *metav1.LabelSelector, l labels.Set) bool {
	selector, err := metav1.LabelSelectorAsSelector(s)
	return err == nil && selector.Matches(l)
}

// isIPv4 says whether s is an address or a range of IPv4.
func isIPv4(s string) bool {
	address, _, _ := strings.Cut(s, "/")
	a, err := netip.ParseAddr(address)
	return err == nil && a.Is4()
}

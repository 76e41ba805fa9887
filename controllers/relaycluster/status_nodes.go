package relaycluster

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/moqrelay/moqrelay/api/v1alpha1"
	"github.com/moqrelay/moqrelay/controllers/resources"
)

// nodeStatus returns the first relays, in the order of sets and ordinals.
func (s *scope) nodeStatus() []v1alpha1.NodeStatus {
	var nodes []v1alpha1.NodeStatus
	for _, set := range s.sets {
		pods := s.podsOf(set)
		for _, ordinal := range slices.Sorted(maps.Keys(pods)) {
			if len(nodes) == maxNodes {
				return nodes
			}
			nodes = append(nodes, s.oneNode(set, ordinal, pods[ordinal]))
		}
	}
	return nodes
}

func (s *scope) oneNode(set resources.Set, ordinal int32, pod *corev1.Pod) v1alpha1.NodeStatus {
	node := v1alpha1.NodeStatus{Name: pod.Name, Host: set.Host(int(ordinal)), Region: set.Region, Ready: isReady(pod)}
	is := s.said[pod.UID]
	switch {
	case !node.Ready:
		node.Message = whyNotReady(pod)
	case !is.known():
		node.Message = "the operator cannot ask it: " + is.err.Error()
	}
	node.Message = truncate(node.Message, maxNodeMessage)
	if !is.known() {
		return node
	}
	root, lost := is.LostRoot()
	if lost && node.Message == "" {
		node.Message = truncate(notConnected(root), maxNodeMessage)
	}
	if len(is.Roots) > 0 {
		node.RootConnected = new(!lost)
	}
	node.Sessions = new(int64(is.Sessions))
	node.Draining = is.Draining
	if n := len(is.Certificates); n > 0 {
		node.ServedFingerprint = is.Serves(n - 1)
		first := is.Certificates[0].NotAfter
		for _, c := range is.Certificates {
			if c.NotAfter.Before(first) {
				first = c.NotAfter
			}
		}
		node.CertNotAfter = new(metav1.NewTime(first))
	}
	return node
}

// load returns the sessions and the egress of the relays of a set that could be
// asked, nil if none could.
func (s *scope) load(set resources.Set) (sessions, egress *int64) {
	for _, pod := range s.podsOf(set) {
		is := s.said[pod.UID]
		if !is.known() {
			continue
		}
		sessions = plus(sessions, int64(is.Sessions))
		if is.EgressBitsPerSecond != nil {
			egress = plus(egress, *is.EgressBitsPerSecond)
		}
	}
	return sessions, egress
}

func plus(sum *int64, n int64) *int64 {
	if sum != nil {
		n += *sum
	}
	return &n
}

// summarizeNodes fills the columns that come from what relays say.
func (s *scope) summarizeNodes(summary *v1alpha1.Summary) {
	var sessions, egress int64
	asked, silent := 0, 0
	versions := map[string]bool{}
	for _, set := range s.sets {
		for _, pod := range s.podsOf(set) {
			is := s.said[pod.UID]
			if !is.known() {
				if isReady(pod) {
					silent++
				}
				continue
			}
			asked++
			sessions += int64(is.Sessions)
			if is.EgressBitsPerSecond != nil {
				egress += *is.EgressBitsPerSecond
			}
			versions[is.Version] = true
		}
	}
	switch {
	case asked == 0:
		summary.Sessions = "?"
		return
	case silent > 0:
		summary.Sessions = fmt.Sprintf("%d+", sessions)
	default:
		summary.Sessions = fmt.Sprint(sessions)
	}
	summary.Version = truncate(strings.Join(slices.Sorted(maps.Keys(versions)), ","), maxNodeMessage)
	summary.Egress = bitrate(egress)
}

// bitrate writes bits per second as people do.
func bitrate(bits int64) string {
	for _, unit := range []struct {
		size int64
		name string
	}{{1e9, "Gbit/s"}, {1e6, "Mbit/s"}, {1e3, "kbit/s"}} {
		if bits >= unit.size {
			return fmt.Sprintf("%.3g %s", float64(bits)/float64(unit.size), unit.name)
		}
	}
	return fmt.Sprintf("%d bit/s", bits)
}

// updateRevision sums the newest revisions of all sets up, "" while one has none.
func (s *scope) updateRevision() string {
	sum := sha256.New()
	for _, set := range s.sets {
		seen := s.statefulSet(set)
		if seen == nil || seen.Status.UpdateRevision == "" {
			return ""
		}
		_, _ = fmt.Fprintln(sum, set.Key(), seen.Status.UpdateRevision) // a hash takes anything
	}
	return hex.EncodeToString(sum.Sum(nil))[:10]
}

// someOf names the first few of a list.
func someOf(list []string) string {
	const most = 3
	slices.SortFunc(list, cmp.Compare)
	if len(list) <= most {
		return strings.Join(list, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(list[:most], ", "), len(list)-most)
}

package relaycluster

import (
	"fmt"
	"slices"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/moqrelay/moqrelay/api/v1alpha1"
	"github.com/moqrelay/moqrelay/controllers/resources"
	"github.com/moqrelay/moqrelay/controllers/scrape"
)

// joined reports whether the relay of a pod is back in the cluster, and if not,
// what is missing. One that is silent is not: nothing speaks for it. For one that
// cannot be asked where it runs the others do.
func (s *scope) joined(set resources.Set, pod *corev1.Pod) (bool, string) {
	if !set.IsPrivateReachable() {
		return s.seenByOthers(set, pod)
	}
	is := s.said[pod.UID]
	if !is.known() {
		return false, is.err.Error()
	}
	for _, root := range is.Roots {
		if !root.Connected && !s.isToBeMended(root) {
			return false, notConnected(root)
		}
	}
	if set.Role != resources.RoleRoot {
		if len(is.Roots) == 0 {
			return false, "it knows of no root"
		}
		return true, ""
	}
	for _, other := range s.sets {
		if other.Role == resources.RoleRoot {
			continue
		}
		for _, peer := range s.podsOf(other) {
			if s.isExpectedAt(peer, set.HostOf(pod.Name)) && !is.IsConnectedTo(other.HostOf(peer.Name)) {
				return false, peer.Name + " has not come back to it"
			}
		}
	}
	return true, ""
}

// seenByOthers is joined for a pod that cannot be asked, by what those say that
// can.
func (s *scope) seenByOthers(set resources.Set, pod *corev1.Pod) (bool, string) {
	host := set.HostOf(pod.Name)
	for _, other := range s.sets {
		if other.Role == set.Role {
			continue
		}
		for _, peer := range s.readyPods(other) {
			is := s.said[peer.UID]
			if !is.known() || is.Draining {
				continue
			}
			isRoot := other.Role == resources.RoleRoot
			apart := func(r scrape.Root) bool { return r.URL == host && !r.Connected }
			if isRoot && !is.IsConnectedTo(host) || !isRoot && slices.ContainsFunc(is.Roots, apart) {
				return false, peer.Name + " has no session with it"
			}
		}
	}
	return true, ""
}

// isExpectedAt reports whether a root of that host is to have a session with the
// relay of a pod. One that was made when the root was to be found elsewhere does
// not come back before it is replaced itself.
func (s *scope) isExpectedAt(peer *corev1.Pod, root string) bool {
	return isReady(peer) && !s.said[peer.UID].Draining && hasArg(peer, "--cluster-root="+root)
}

// isToBeMended reports whether a root is a pod that does not work, or not where the
// new revision looks for it, and that is still to get that revision: waiting for it
// would be waiting for oneself.
func (s *scope) isToBeMended(root scrape.Root) bool {
	for _, set := range s.sets {
		if set.Role != resources.RoleRoot {
			continue
		}
		seen := s.statefulSet(set)
		for _, pod := range s.podsOf(set) {
			if set.HostOf(pod.Name) != root.URL {
				continue
			}
			isOld := seen != nil && pod.Labels[appsv1.ControllerRevisionHashLabelKey] != seen.Status.UpdateRevision
			return isOld && (!isReady(pod) || !hasArg(pod, "--cluster-node="+root.URL))
		}
	}
	return false
}

// hasArg reports whether a relay was started with an argument.
func hasArg(pod *corev1.Pod, want string) bool {
	for _, c := range pod.Spec.Containers {
		isIt := func(arg string) bool { return strings.ReplaceAll(arg, resources.ArgPodName, pod.Name) == want }
		if c.Name == resources.Container && slices.ContainsFunc(c.Args, isIt) {
			return true
		}
	}
	return false
}

// tie is how a relay is tied to the roots.
type tie uint8

const (
	tied      tie = iota // to all of them
	partly               // to one of several at least
	apart                // to none
	silent               // it does not say
	unsettled            // it has just begun, or is about to end
)

// tieOf says how the relay of a ready pod is tied to the roots, and why not to all.
func (s *scope) tieOf(set resources.Set, pod *corev1.Pod) (tie, string) {
	if !set.IsPrivateReachable() {
		switch connected, why := s.seenByOthers(set, pod); {
		case connected:
			return tied, ""
		case s.now.Sub(podCondition(pod, corev1.PodReady).LastTransitionTime.Time) < joinTime:
			return unsettled, ""
		default:
			return apart, why
		}
	}
	is := s.said[pod.UID]
	if !is.known() {
		return silent, is.err.Error()
	}
	root, isMissing := is.LostRoot()
	switch {
	case is.Draining, isMissing && s.now.Sub(is.StartedAt) < joinTime:
		return unsettled, ""
	case !isMissing:
		return tied, ""
	case set.Role == resources.RoleRegion && is.IsApart():
		return apart, notConnected(root)
	default:
		return partly, notConnected(root)
	}
}

// clusterConnected says whether the nodes that serve are one cluster. One of
// several roots is enough for that.
func (s *scope) clusterConnected() verdict {
	var mute, lost []string
	asked, why, missing := 0, "", ""
	for _, set := range s.sets {
		for _, pod := range s.readyPods(set) {
			tie, reason := s.tieOf(set, pod)
			switch tie {
			case silent:
				mute = append(mute, pod.Name+": "+reason)
			case unsettled:
				s.lookAgain(joinTime)
			case apart:
				lost = append(lost, pod.Name)
				why = reason
			case partly:
				missing = pod.Name + ": " + reason
			case tied: // as it should be
			}
			if tie == apart || set.Role == resources.RoleRegion && (tie == tied || tie == partly) {
				asked++
			}
		}
	}
	switch {
	case len(lost) > 0 && len(lost) == asked:
		return no(v1alpha1.ReasonRootUnreachable, fmt.Sprintf("no node is connected: %s: %s", someOf(lost), why))
	case len(lost) > 0:
		return no(v1alpha1.ReasonPartiallyConnected, fmt.Sprintf("%s: %s", someOf(lost), why))
	case len(mute) > 0:
		return verdict{metav1.ConditionUnknown, v1alpha1.ReasonMetricsUnavailable, "the operator cannot ask " + someOf(mute)}
	case asked == 0:
		return verdict{metav1.ConditionUnknown, v1alpha1.ReasonUnknown, "no node of a region is ready to be asked"}
	case missing != "":
		return yes(v1alpha1.ReasonClusterConnected, "every ready node has a session with a root; "+missing)
	default:
		return yes(v1alpha1.ReasonClusterConnected, "every ready node has a session with every root")
	}
}

package pki

import (
	"crypto/x509"
	"fmt"
	"io"
	"maps"
	"net"
	"slices"
	"time"
)

const (
	// rotateBefore is how long before its end an authority gets a successor.
	rotateBefore = 90 * 24 * time.Hour
	// lastCall is how long before its end an authority is replaced even if not
	// every node is known to trust the next: those that do not are lost then, and
	// all are if nothing is done.
	lastCall = 7 * 24 * time.Hour
	// copyBefore is how long before its end an authority is replaced that others
	// have a copy of. Until then people have time to renew the copies.
	copyBefore = 30 * 24 * time.Hour
	// settle is how long every node surely has loaded what was stored, where
	// nobody can ask them: a machine brings a Secret to its pods within two
	// minutes, and a relay looks every few seconds.
	settle = time.Hour
)

// Wanted is what certificates a cluster is to have.
type Wanted struct {
	// Names of the certificate of each set, by the key of the set.
	Names map[string][]string
	// Validity of a certificate, and how long before its end it is replaced.
	Validity, RenewBefore time.Duration
	// RotateAuthority and RotateLeaves are wishes of the user's: an authority, or
	// a certificate, that was not made for the present one is replaced. Empty is
	// no wish.
	RotateAuthority, RotateLeaves string
	// Copied names what people copy to other clusters for their nodes to trust,
	// "" if there are none. Nobody can ask those whether they trust the next
	// authority. It signs late then, or when a second wish says that they do.
	Copied string
}

// State is what certificates a cluster has.
type State struct {
	// Authority signs; one without a current pair is yet to be made.
	Authority Authority
	// Leaves are the certificates by the key of their set. What could not be
	// read is absent.
	Leaves map[string]*Pair
	// LeafWishes are the wishes that the leaves were made for.
	LeafWishes map[string]string
	// Nodes are all nodes that there are, if they can be asked; else what they
	// load is a matter of time.
	Nodes *Nodes
}

// Action is what a step does.
type Action string

// The actions. None means that everything is as it should be.
const (
	None             Action = ""
	MakeAuthority    Action = "MakeAuthority"    // the first one, or one for an authority that has ended
	PublishNext      Action = "PublishNext"      // make the successor, to be trusted before it signs
	PromoteNext      Action = "PromoteNext"      // the successor signs from now on
	WithdrawPrevious Action = "WithdrawPrevious" // what the predecessor signed is gone
	IssueLeaf        Action = "IssueLeaf"
)

// Step is the next thing to do, and why in a sentence for people.
type Step struct {
	Action Action
	Set    string // for IssueLeaf
	Reason string
}

// Plan returns the first step from s to w.
func Plan(s State, w Wanted, now time.Time) Step {
	if step := planAuthority(s, w, now); step.Action != None {
		return step
	}
	for _, set := range slices.Sorted(maps.Keys(w.Names)) {
		if reason := whyIssue(s, w, set, now); reason != "" {
			return Step{IssueLeaf, set, reason}
		}
	}
	return Step{}
}

func planAuthority(s State, w Wanted, now time.Time) Step {
	a := s.Authority
	switch {
	case a.Current == nil:
		return Step{Action: MakeAuthority, Reason: "there is no authority"}
	case a.External:
		return Step{}
	case a.Next != nil && s.mayPromote(w, now):
		return Step{Action: PromoteNext, Reason: "every node trusts the next authority"}
	case !now.Before(a.Current.Certificate.NotAfter):
		return Step{Action: MakeAuthority, Reason: fmt.Sprintf("the authority ended on %s", date(a.Current.Certificate.NotAfter))}
	case a.Next == nil && a.Previous == nil && !now.Before(rotateAt(a)):
		return Step{Action: PublishNext, Reason: fmt.Sprintf("the authority ends on %s", date(a.Current.Certificate.NotAfter))}
	case a.Next == nil && a.Previous == nil && w.RotateAuthority != "" && w.RotateAuthority != a.Wish:
		return Step{Action: PublishNext, Reason: "a new authority is asked for"}
	case a.Previous != nil && s.mayWithdraw(w, now):
		return Step{Action: WithdrawPrevious, Reason: "no node serves what the previous authority signed"}
	default:
		return Step{}
	}
}

func rotateAt(a Authority) time.Time { return a.Current.Certificate.NotAfter.Add(-rotateBefore) }

// IssuedAt returns when a certificate of the operator's own was made.
func IssuedAt(leaf *Pair) time.Time {
	cert := leaf.Certificate
	return cert.NotBefore.Add(max(0, min(clockSkew, longestPinned-cert.NotAfter.Sub(cert.NotBefore))))
}

// whyIssue returns why the certificate of a set is to be issued, "" if it is
// not.
func whyIssue(s State, w Wanted, set string, now time.Time) string {
	leaf, ca := s.Leaves[set], s.Authority.Current
	if leaf == nil {
		return "there is no certificate"
	}
	cert := leaf.Certificate
	switch {
	case cert.CheckSignatureFrom(ca.Certificate) != nil:
		if s.keepsOld(leaf, now) {
			return ""
		}
		return "another authority has signed it"
	case w.RotateLeaves != "" && w.RotateLeaves != s.LeafWishes[set]:
		return "a new one is asked for"
	case !slices.Equal(namesOf(cert), normalize(w.Names[set])):
		return "its names are not the ones that are wanted"
	case !now.Before(cert.NotAfter):
		return fmt.Sprintf("it ended on %s", date(cert.NotAfter))
	case !now.Before(RenewAt(s.Authority, leaf, w.RenewBefore)):
		return fmt.Sprintf("it ends on %s", date(cert.NotAfter))
	case cert.NotAfter.Sub(cert.NotBefore) > w.Validity+clockSkew:
		return fmt.Sprintf("it lives longer than %s", w.Validity)
	default:
		return ""
	}
}

// namesOf returns the names of a certificate, sorted.
func namesOf(cert *x509.Certificate) []string {
	names := slices.Clone(cert.DNSNames)
	for _, ip := range cert.IPAddresses {
		names = append(names, ip.String())
	}
	slices.Sort(names)
	return names
}

// normalize returns names as a certificate will have them: each once, sorted.
func normalize(names []string) []string {
	names = slices.Clone(names)
	for i, name := range names {
		if ip := net.ParseIP(name); ip != nil {
			names[i] = ip.String()
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// RenewAt returns when a leaf is to be replaced. One that ends with its
// authority cannot be bettered by the same.
func RenewAt(a Authority, leaf *Pair, renewBefore time.Duration) time.Time {
	if end := leaf.Certificate.NotAfter; a.Current != nil && !end.Before(a.Current.Certificate.NotAfter) {
		return end
	}
	return leaf.Certificate.NotAfter.Add(-renewBefore)
}

// Do takes a step and returns the state after it; s stays as it is.
func Do(step Step, s State, w Wanted, now time.Time, rand io.Reader) (State, error) {
	s.Leaves = maps.Clone(s.Leaves)
	switch a := &s.Authority; step.Action {
	case MakeAuthority, PublishNext:
		pair, err := MakeCA(now, rand)
		if err != nil {
			return State{}, err
		}
		if step.Action == PublishNext {
			a.Next = pair
		} else {
			*a = Authority{Current: pair, Legacy: a.Legacy}
		}
		a.Wish = w.RotateAuthority
	case PromoteNext:
		if a.isConfirmed(w) {
			a.Wish = w.RotateAuthority
		}
		a.Previous, a.Current, a.Next = a.Current.Certificate, a.Next, nil
	case WithdrawPrevious:
		a.Previous = nil
	case IssueLeaf:
		leaf, err := MakeLeaf(a.Current, w.Names[step.Set], w.Validity, now, rand)
		if err != nil {
			return State{}, fmt.Errorf("set %s: %w", step.Set, err)
		}
		if s.Leaves == nil {
			s.Leaves = map[string]*Pair{}
		}
		s.Leaves[step.Set] = leaf
		s.LeafWishes = maps.Clone(s.LeafWishes)
		if s.LeafWishes == nil {
			s.LeafWishes = map[string]string{}
		}
		s.LeafWishes[step.Set] = w.RotateLeaves
	case None:
	}
	return s, nil
}

// Ensure takes every step that is to be taken now and returns the state after
// them, with the steps.
func Ensure(s State, w Wanted, now time.Time, rand io.Reader) (State, []Step, error) {
	var steps []Step
	// The authority takes a step or two, each leaf one.
	for range len(w.Names) + 4 {
		step := Plan(s, w, now)
		if step.Action == None {
			return s, steps, nil
		}
		next, err := Do(step, s, w, now, rand)
		if err != nil {
			return s, steps, err
		}
		s, steps = next, append(steps, step)
	}
	last := steps[len(steps)-1]
	return s, steps, fmt.Errorf("certificates do not come to rest: %s %s again, because %s", last.Action, last.Set, last.Reason)
}

// NextChange returns when Plan will have something to do, for a state in which
// it has nothing to do now.
func NextChange(s State, w Wanted) time.Time {
	var next time.Time
	sooner := func(t time.Time) {
		if next.IsZero() || t.Before(next) {
			next = t
		}
	}
	for set := range w.Names {
		if leaf := s.Leaves[set]; leaf != nil {
			sooner(RenewAt(s.Authority, leaf, w.RenewBefore))
		}
	}
	switch a := s.Authority; {
	case a.Current == nil || a.External:
	case a.Next != nil && s.Nodes != nil && s.Nodes.mistrust(a.Next.Certificate) != "":
		sooner(a.Current.Certificate.NotAfter.Add(-lastCall))
	case a.Next != nil && s.Nodes != nil:
		sooner(heldUntil(a, w))
	case a.Next != nil:
		sooner(promoteAt(a, w))
	case a.Previous != nil && s.Nodes != nil:
		sooner(a.Previous.NotAfter)
	case a.Previous != nil:
		sooner(withdrawAt(s, w))
	default:
		sooner(rotateAt(a))
	}
	return next
}

func date(t time.Time) string { return t.UTC().Format(time.DateOnly) }

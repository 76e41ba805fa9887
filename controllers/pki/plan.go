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
	// settle is how long every node surely has loaded what was stored: a machine
	// brings a Secret to its pods within two minutes, and a relay looks every few
	// seconds.
	settle = time.Hour
)

// Wanted is what certificates a cluster is to have.
type Wanted struct {
	// Names of the certificate of each set, by the key of the set.
	Names map[string][]string
	// Validity of a certificate, and how long before its end it is replaced.
	Validity, RenewBefore time.Duration
}

// State is what certificates a cluster has.
type State struct {
	// Authority signs; one without a current pair is yet to be made.
	Authority Authority
	// Leaves are the certificates by the key of their set. What could not be
	// read is absent.
	Leaves map[string]*Pair
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
	case a.Next != nil && !now.Before(promoteAt(a)):
		return Step{Action: PromoteNext, Reason: "every node trusts the next authority"}
	case !now.Before(a.Current.Certificate.NotAfter):
		return Step{Action: MakeAuthority, Reason: fmt.Sprintf("the authority ended on %s", date(a.Current.Certificate.NotAfter))}
	case a.Next == nil && a.Previous == nil && !now.Before(rotateAt(a)):
		return Step{Action: PublishNext, Reason: fmt.Sprintf("the authority ends on %s", date(a.Current.Certificate.NotAfter))}
	case a.Previous != nil && !now.Before(withdrawAt(s, w)):
		return Step{Action: WithdrawPrevious, Reason: "no node serves what the previous authority signed"}
	default:
		return Step{}
	}
}

func rotateAt(a Authority) time.Time { return a.Current.Certificate.NotAfter.Add(-rotateBefore) }

// promoteAt returns when every node has the next authority in its bundle.
func promoteAt(a Authority) time.Time {
	return a.Next.Certificate.NotBefore.Add(clockSkew + settle)
}

// withdrawAt returns when every node serves a certificate of the current
// authority. It is the far future while one is still to be issued.
func withdrawAt(s State, w Wanted) time.Time {
	var last time.Time
	for set := range w.Names {
		leaf := s.Leaves[set]
		if leaf == nil || leaf.Certificate.CheckSignatureFrom(s.Authority.Current.Certificate) != nil {
			return s.Authority.Previous.NotAfter
		}
		if issued := leaf.Certificate.NotBefore.Add(clockSkew); issued.After(last) {
			last = issued
		}
	}
	return last.Add(settle)
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
		return "another authority has signed it"
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
			*a = Authority{Current: pair}
		}
	case PromoteNext:
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
	case a.Next != nil:
		sooner(promoteAt(a))
	case a.Previous != nil:
		sooner(withdrawAt(s, w))
	default:
		sooner(rotateAt(a))
	}
	return next
}

func date(t time.Time) string { return t.UTC().Format(time.DateOnly) }

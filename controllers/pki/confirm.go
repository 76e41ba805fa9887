package pki

import (
	"crypto/x509"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/moqrelay/moqrelay/api/v1alpha1"
)

// Nodes are the nodes of a cluster, as far as they say what they have loaded. A
// pointer to an empty one stands for a cluster that has none, of which everything
// is confirmed.
type Nodes []Node

// Node is what a node has loaded.
type Node struct {
	Name string
	Set  string // the key of its set
	// Ready says that it serves: only then would it be missed.
	Ready bool
	// Silent is why that is not known, "" if it is.
	Silent string
	// Trust holds the fingerprints of the authorities that it trusts, Serves that
	// of the certificate that it shows other nodes.
	Trust  []string
	Serves string
}

// mistrust says which node is not known to trust an authority, "" if all are.
func (n Nodes) mistrust(authority *x509.Certificate) string {
	want := Fingerprint(authority)
	for _, node := range n {
		switch {
		case node.Silent != "":
			return fmt.Sprintf("%s cannot be asked whether it trusts it: %s", node.Name, node.Silent)
		case !slices.Contains(node.Trust, want):
			return node.Name + " does not trust it yet"
		}
	}
	return ""
}

// behind says which node is not known to serve the certificate of its set that
// is stored, "" if all are.
func (n Nodes) behind(leaves map[string]*Pair) string {
	for _, node := range n {
		leaf := leaves[node.Set]
		switch {
		case leaf == nil:
			continue
		case node.Silent != "":
			return fmt.Sprintf("%s cannot be asked what it serves: %s", node.Name, node.Silent)
		case node.Serves != leaf.Fingerprint():
			return node.Name + " does not serve its new certificate yet"
		}
	}
	return ""
}

// mayPromote reports whether the next authority may sign: every node trusts it
// and others have had time to, or the current one is about to end.
func (s State) mayPromote(w Wanted, now time.Time) bool {
	a := s.Authority
	if s.Nodes == nil {
		return !now.Before(promoteAt(a, w))
	}
	if !now.Before(a.Current.Certificate.NotAfter.Add(-lastCall)) {
		return true
	}
	return s.Nodes.mistrust(a.Next.Certificate) == "" && !now.Before(heldUntil(a, w))
}

// promoteAt returns when every node has the next authority in its bundle, and
// others have had time to copy it.
func promoteAt(a Authority, w Wanted) time.Time {
	loaded := a.Next.Certificate.NotBefore.Add(clockSkew + settle)
	if held := heldUntil(a, w); held.After(loaded) {
		return held
	}
	return loaded
}

// heldUntil returns until when the next authority may not sign for the sake of
// nodes that nobody can ask; it is long ago if there are none.
func heldUntil(a Authority, w Wanted) time.Time {
	if w.Copied == "" || a.isConfirmed(w) {
		return time.Time{}
	}
	return a.Current.Certificate.NotAfter.Add(-copyBefore)
}

// isConfirmed reports whether the user says that other clusters trust the next
// authority: by a wish that came after it was made.
func (a Authority) isConfirmed(w Wanted) bool {
	return w.Copied != "" && a.Next != nil && w.RotateAuthority != "" && w.RotateAuthority != a.Wish
}

// mayWithdraw reports whether nobody needs the previous authority any more.
func (s State) mayWithdraw(w Wanted, now time.Time) bool {
	if s.Nodes == nil {
		return !now.Before(withdrawAt(s, w))
	}
	return s.isOver(w) || !now.Before(s.Authority.Previous.NotAfter)
}

// isOver reports whether every node serves a certificate that the current
// authority has signed.
func (s State) isOver(w Wanted) bool {
	for set := range w.Names {
		leaf := s.Leaves[set]
		if leaf == nil || leaf.Certificate.CheckSignatureFrom(s.Authority.Current.Certificate) != nil {
			return false
		}
	}
	return s.Nodes.behind(s.Leaves) == ""
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

// keepsOld reports whether a certificate of another authority stays for now: it
// is good, all trust who signed it, and not all trust who would sign the next.
func (s State) keepsOld(leaf *Pair, now time.Time) bool {
	if s.Nodes == nil || s.Nodes.mistrust(s.Authority.Current.Certificate) == "" {
		return false
	}
	cert := leaf.Certificate
	life := cert.NotAfter.Sub(cert.NotBefore)
	return cert.NotAfter.Sub(now) > life/10 && slices.ContainsFunc(s.Authority.Legacy, func(ca *x509.Certificate) bool {
		return cert.CheckSignatureFrom(ca) == nil
	})
}

// Divided says which node is not known to trust what signed the certificate of a
// set, "" if there is none. A node of that set that starts now would be a stranger
// to that other node. It happens where a certificate was lost together with the
// authority: the next one is signed by one that not all trust yet.
func (s State) Divided() string {
	if s.Nodes == nil || len(s.Authority.Legacy) == 0 {
		return ""
	}
	for _, set := range slices.Sorted(maps.Keys(s.Leaves)) {
		if s.Leaves[set].Certificate.CheckSignatureFrom(s.Authority.Current.Certificate) != nil {
			continue // all trust who signed it
		}
		serving := slices.DeleteFunc(slices.Clone(*s.Nodes), func(n Node) bool { return !n.Ready })
		if why := serving.mistrust(s.Authority.Current.Certificate); why != "" {
			return fmt.Sprintf("a new authority has signed the certificate of %s, and %s", set, why)
		}
	}
	return ""
}

// KeepLegacy has the authority go on trusting what nodes were told to trust until
// now, for as long as a node may serve what it signed: when the user has changed
// where the authority comes from, and when its Secret was lost.
func KeepLegacy(s State, w Wanted, trusted []*x509.Certificate, now time.Time) State {
	a := &s.Authority
	a.Legacy = nil
	if s.Nodes == nil || a.Current != nil && s.isOver(w) {
		return s
	}
	known := slices.Concat(a.Extra, a.Own())
	for _, cert := range trusted {
		if cert.IsCA && now.Before(cert.NotAfter) && !slices.ContainsFunc(known, cert.Equal) {
			a.Legacy = append(a.Legacy, cert)
		}
	}
	return s
}

// Waits says what a replacement of the authority waits for, "" if none is under
// way.
func Waits(s State, w Wanted, now time.Time) string {
	a := s.Authority
	switch {
	case s.Nodes == nil || a.Current == nil:
		return ""
	case a.Next != nil && now.Before(heldUntil(a, w)):
		return because(fmt.Sprintf("the next authority signs from %s: give the other clusters %s until then; when all have it, another value of annotation %s has it sign at once",
			date(heldUntil(a, w)), w.Copied, v1alpha1.AnnotationRotateCA), s.Nodes.mistrust(a.Next.Certificate))
	case a.Next != nil:
		return because("the next authority is to be trusted by all nodes", s.Nodes.mistrust(a.Next.Certificate))
	case a.Previous != nil:
		return because("the previous authority goes when no node needs it", s.Nodes.behind(s.Leaves))
	case len(a.Legacy) == 0:
		return ""
	case s.Nodes.mistrust(a.Current.Certificate) != "":
		return because("the new authority is to be trusted by all nodes", s.Nodes.mistrust(a.Current.Certificate))
	case !s.isOver(w):
		return because("the old authority goes when no node needs it", s.Nodes.behind(s.Leaves))
	default:
		return ""
	}
}

func because(what, why string) string {
	if why == "" {
		return what
	}
	return what + ": " + why
}

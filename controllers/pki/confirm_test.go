package pki_test

import (
	"crypto/x509"
	"fmt"
	mathrand "math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/moqrelay/moqrelay/controllers/pki"
)

// site is a cluster whose nodes load what is stored when they get to it.
type site struct {
	t      *testing.T
	now    time.Time
	wanted pki.Wanted
	// stored is what the operator keeps, and trusted the bundle that it stored.
	stored  pki.State
	trusted []*x509.Certificate
	nodes   []*loaded
}

// loaded is what a node has loaded.
type loaded struct {
	name, set string
	silent    bool
	down      bool
	trust     []*x509.Certificate
	leaf      *pki.Pair
}

func newSite(t *testing.T, perSet int) *site {
	t.Helper()
	s := &site{t: t, now: start, wanted: wanted("eu", "us")}
	s.pass()
	for _, set := range []string{"eu", "us"} {
		for i := range perSet {
			s.nodes = append(s.nodes, &loaded{name: fmt.Sprintf("%s-%d", set, i), set: set})
		}
	}
	s.load(1, mathrand.New(chance()))
	return s
}

// said returns what the nodes say.
func (s *site) said() *pki.Nodes {
	nodes := pki.Nodes{}
	for _, n := range s.nodes {
		node := pki.Node{Name: n.name, Set: n.set, Ready: !n.down, Serves: n.leaf.Fingerprint()}
		for _, ca := range n.trust {
			node.Trust = append(node.Trust, pki.Fingerprint(ca))
		}
		if n.silent {
			node = pki.Node{Name: n.name, Set: n.set, Ready: !n.down, Silent: "connection refused"}
		}
		nodes = append(nodes, node)
	}
	return &nodes
}

// pass is one of the operator's, which remembers nothing but what is stored.
func (s *site) pass() []pki.Step {
	s.t.Helper()
	s.stored.Nodes = s.said()
	s.stored = pki.KeepLegacy(s.stored, s.wanted, s.trusted, s.now)
	next, steps := ensure(s.t, s.stored, s.wanted, s.now)
	bundle, err := pki.ParseCertificates(next.Authority.Bundle())
	if err != nil {
		s.t.Fatal(err)
	}
	s.stored, s.trusted = next, bundle
	return steps
}

// load has each node load what is stored, with a chance.
func (s *site) load(chance float64, random *mathrand.Rand) {
	for _, n := range s.nodes {
		if random.Float64() < chance {
			n.trust, n.leaf = s.trusted, s.stored.Leaves[n.set]
		}
	}
}

// check fails unless every node can prove itself to every other.
func (s *site) check() {
	s.t.Helper()
	for _, from := range s.nodes {
		roots := x509.NewCertPool()
		for _, ca := range from.trust {
			roots.AddCert(ca)
		}
		for _, to := range s.nodes {
			_, err := to.leaf.Certificate.Verify(x509.VerifyOptions{Roots: roots, CurrentTime: s.now, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}})
			if err != nil {
				s.t.Fatalf("at %v %s does not trust %s: %v", s.now.Sub(start), from.name, to.name, err)
			}
		}
	}
}

// isOver reports whether all nodes serve and trust the current authority alone.
func (s *site) isOver() bool {
	a := s.stored.Authority
	if a.Next != nil || a.Previous != nil || a.Legacy != nil || len(s.trusted) != 1 {
		return false
	}
	for _, n := range s.nodes {
		if n.leaf.Certificate.CheckSignatureFrom(a.Current.Certificate) != nil {
			return false
		}
	}
	return true
}

// Complaint 9: after a rotation one side trusted only the new authority while
// others still served the old. Whatever replaces the authority, and however late
// each node is, no two nodes fall apart, and it comes to an end.
func TestComplaint9NoTwoNodesFallApart(t *testing.T) {
	users := func(t *testing.T, s *site) pki.Authority {
		t.Helper()
		return pki.Authority{Current: makeCA(t, s.now), External: true}
	}
	tests := map[string]func(t *testing.T, s *site){
		"AskedFor":     func(_ *testing.T, s *site) { s.wanted.RotateAuthority = "2026-08" },
		"NearItsEnd":   func(_ *testing.T, s *site) { s.now = start.Add(275 * day) },
		"UsersInstead": func(t *testing.T, s *site) { t.Helper(); s.stored.Authority = users(t, s) },
		"SecretLost":   func(_ *testing.T, s *site) { s.stored.Authority = pki.Authority{} },
	}
	for name, replace := range tests {
		t.Run(name, func(t *testing.T) {
			for seed := range uint64(5) {
				s := newSite(t, 2)
				random := mathrand.New(mathrand.NewPCG(seed, 1))
				if name == "NearItsEnd" { // the leaves of today, not of months ago
					s.now = start.Add(274 * day)
					s.pass()
					s.load(1, random)
				}
				before := s.stored.Authority.Current
				replace(t, s)
				for range 80 {
					s.now = s.now.Add(10 * time.Second)
					s.pass()
					s.check()
					s.load(0.1, random)
					s.check()
					s.nodes[random.IntN(len(s.nodes))].silent = random.Float64() < 0.3
				}
				for _, n := range s.nodes {
					n.silent = false
				}
				s.pass()
				if s.load(1, random); !s.isOver() {
					t.Fatalf("seed %d: it does not come to an end: waits for %q", seed, pki.Waits(s.stored, s.wanted, s.now))
				}
				if s.stored.Authority.Current.Fingerprint() == before.Fingerprint() {
					t.Fatal("the authority is the one of before")
				}
			}
		})
	}
}

// Where the authority is lost together with a certificate, that has to be issued
// by one that not all trust yet. It is known who does not, until everyone does
// that serves.
func TestDivided(t *testing.T) {
	s := newSite(t, 2)
	want := func(when, want string) {
		t.Helper()
		if s.pass(); s.stored.Divided() != want {
			t.Errorf("%s: got %q, want %q", when, s.stored.Divided(), want)
		}
	}
	want("at rest", "")
	s.stored.Authority = pki.Authority{}
	want("the authority alone is lost", "")
	delete(s.stored.Leaves, "us")
	want("a certificate as well", "a new authority has signed the certificate of us, and eu-0 does not trust it yet")
	s.load(1, mathrand.New(mathrand.NewPCG(1, 1)))
	s.nodes[3].silent = true
	want("all but one have loaded it", "a new authority has signed the certificate of us, and us-1 cannot be asked whether it trusts it: connection refused")
	s.nodes[3].down = true
	want("that one serves nobody", "")
}

// A phase waits for the last node, however long, and says for which.
func TestRotationWaitsForEveryNode(t *testing.T) {
	s := newSite(t, 2)
	random := mathrand.New(chance())
	late := s.nodes[1]
	s.wanted.RotateAuthority = "now"
	s.pass()
	trust, leaf := late.trust, late.leaf
	s.load(1, random)
	late.trust, late.leaf = trust, leaf
	for _, tt := range []struct {
		silent bool
		want   string
	}{
		{false, "eu-1 does not trust it yet"},
		{true, "eu-1 cannot be asked whether it trusts it: connection refused"},
	} {
		late.silent = tt.silent
		s.now = s.now.Add(24 * time.Hour)
		if s.pass(); s.stored.Authority.Next == nil {
			t.Fatal("the next authority was promoted")
		}
		if got := pki.Waits(s.stored, s.wanted, s.now); !strings.Contains(got, tt.want) {
			t.Errorf("waits for %q, want %q", got, tt.want)
		}
	}
	// An operator that starts now goes on from what is stored.
	late.silent = false
	s.load(1, random)
	s.stored.Nodes = nil
	if s.pass(); s.stored.Authority.Next != nil || s.stored.Authority.Previous == nil {
		t.Fatal("the next authority was not promoted")
	}
	leaf = late.leaf
	s.load(1, random)
	late.leaf = leaf
	s.now = s.now.Add(24 * time.Hour)
	if s.pass(); s.stored.Authority.Previous == nil {
		t.Fatal("the previous authority was withdrawn while a node needs it")
	}
	if got, want := pki.Waits(s.stored, s.wanted, s.now), "eu-1 does not serve its new certificate yet"; !strings.Contains(got, want) {
		t.Errorf("waits for %q, want %q", got, want)
	}
	s.load(1, random)
	if s.pass(); !s.isOver() {
		t.Error("it is not over")
	}
	if got := pki.Waits(s.stored, s.wanted, s.now); got != "" {
		t.Errorf("waits for %q", got)
	}
	if steps := s.pass(); len(steps) > 0 {
		t.Errorf("the same wish is fulfilled again: %v", steps)
	}
}

// A node that never answers does not cost all others their certificates.
func TestRotationWaitsNotForEver(t *testing.T) {
	s := newSite(t, 1)
	s.nodes[0].silent = true
	end := s.stored.Authority.Current.Certificate.NotAfter
	for ; s.stored.Authority.Previous == nil; s.now = s.now.Add(12 * time.Hour) {
		if !s.now.Before(end) {
			t.Fatal("the authority has ended without a successor")
		}
		s.pass()
		s.load(1, mathrand.New(chance()))
	}
	if left := end.Sub(s.now); left > 8*day || left < 5*day {
		t.Errorf("the next authority signs %v before the end, want about a week", left)
	}
}

func TestRotateLeaves(t *testing.T) {
	s := newSite(t, 1)
	before := s.stored
	s.wanted.RotateLeaves = "again"
	steps := s.pass()
	if len(steps) != 2 || steps[0].Action != pki.IssueLeaf || steps[1].Action != pki.IssueLeaf {
		t.Errorf("steps %v, want a certificate for each of two sets", steps)
	}
	for set, leaf := range s.stored.Leaves {
		if leaf.Fingerprint() == before.Leaves[set].Fingerprint() {
			t.Errorf("that of %s is the one of before", set)
		}
	}
	if steps := s.pass(); len(steps) > 0 {
		t.Errorf("the same wish is fulfilled again: %v", steps)
	}
}

// A wish that comes while another is being fulfilled is not lost.
func TestWishDuringRotation(t *testing.T) {
	s := newSite(t, 1)
	random := mathrand.New(chance())
	s.wanted.RotateAuthority = "first"
	s.pass()
	first := s.stored.Authority.Next
	s.wanted.RotateAuthority = "second"
	for range 10 {
		s.load(1, random)
		s.pass()
	}
	if a := s.stored.Authority; a.Wish != "second" || a.Current.Fingerprint() == first.Fingerprint() || !s.isOver() {
		t.Errorf("the wish %q is fulfilled", a.Wish)
	}
}

// abroad returns whether a node of another cluster that trusts a copy of what
// was trusted here takes the certificates of all nodes.
func (s *site) abroad(copied []*x509.Certificate) bool {
	roots := x509.NewCertPool()
	for _, ca := range copied {
		roots.AddCert(ca)
	}
	for _, to := range s.nodes {
		opts := x509.VerifyOptions{Roots: roots, CurrentTime: s.now, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}}
		if _, err := to.leaf.Certificate.Verify(opts); err != nil {
			return false
		}
	}
	return true
}

// Other clusters have a copy of what is trusted here. The next authority signs 30
// days before the end of the current one, which is when the copy has to be newer.
func TestRotationWaitsForCopies(t *testing.T) {
	s := newSite(t, 1)
	s.wanted.Copied = "ca.crt of ConfigMap live-trust"
	random := mathrand.New(chance())
	end := s.stored.Authority.Current.Certificate.NotAfter
	copied := s.trusted
	for ; s.now.Before(end.Add(-30 * day)); s.now = s.now.Add(6 * time.Hour) {
		s.pass()
		s.load(1, random)
		if !s.abroad(copied) {
			t.Fatalf("%v before the end the other cluster is cut off", end.Sub(s.now))
		}
		switch waits := pki.Waits(s.stored, s.wanted, s.now); {
		case s.stored.Authority.Next == nil && waits != "":
			t.Fatalf("waits for %q, and there is no next authority", waits)
		case s.stored.Authority.Next != nil && !strings.Contains(waits, "the next authority signs from 2027-01-30: give the other clusters ca.crt of ConfigMap live-trust until then"):
			t.Fatalf("waits for %q", waits)
		}
		if next := pki.NextChange(s.stored, s.wanted); next.After(end.Add(-30*day)) || !next.After(s.now) {
			t.Fatalf("next change at %v, it is %v", next, s.now)
		}
	}
	copied = s.trusted
	for range 3 {
		s.now = s.now.Add(time.Minute)
		s.pass()
		s.load(1, random)
	}
	if !s.isOver() {
		t.Errorf("it does not come to an end: waits for %q", pki.Waits(s.stored, s.wanted, s.now))
	}
	if !s.abroad(copied) {
		t.Error("a cluster that has renewed its copy is cut off")
	}
}

// A wish is fulfilled in two phases as well, and the second one begins with
// another wish: nobody else can say that the copies are renewed.
func TestWishWaitsForCopies(t *testing.T) {
	s := newSite(t, 1)
	s.wanted.Copied = "ca.crt of ConfigMap live-trust"
	random := mathrand.New(chance())
	before := s.stored.Authority.Current.Fingerprint()
	rest := func() {
		for range 10 {
			s.now = s.now.Add(time.Minute)
			s.pass()
			s.load(1, random)
		}
	}
	s.wanted.RotateAuthority = "first"
	rest()
	if s.stored.Authority.Next == nil || s.stored.Authority.Current.Fingerprint() != before {
		t.Fatal("the next authority signs, and nobody has said that others trust it")
	}
	next := s.stored.Authority.Next.Fingerprint()
	s.nodes[0].silent = true
	s.wanted.RotateAuthority = "second"
	rest()
	if s.stored.Authority.Next == nil {
		t.Fatal("the next authority signs, and a node is not known to trust it")
	}
	s.nodes[0].silent = false
	rest()
	if a := s.stored.Authority; a.Current.Fingerprint() != next || a.Wish != "second" || !s.isOver() {
		t.Errorf("the wish %q is fulfilled, waits for %q", a.Wish, pki.Waits(s.stored, s.wanted, s.now))
	}
}

// Where nodes cannot be asked either, time tells.
func TestCopiesAreWaitedForByTime(t *testing.T) {
	w := wanted("eu")
	w.Copied = "ca.crt of ConfigMap live-trust"
	s, _ := ensure(t, pki.State{}, w, start)
	s, _ = ensure(t, s, w, start.Add(275*day))
	held := start.Add(335 * day)
	s, _ = ensure(t, s, w, held.Add(-time.Hour))
	if s.Authority.Next == nil {
		t.Fatal("the next authority signs already")
	}
	if got := pki.NextChange(s, w); !got.Equal(held) {
		t.Errorf("next change at %v, want %v", got, held)
	}
	if s, _ = ensure(t, s, w, held); s.Authority.Next != nil {
		t.Error("the next authority does not sign")
	}
}

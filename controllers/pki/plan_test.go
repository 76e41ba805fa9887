package pki_test

import (
	"crypto/rand"
	"crypto/x509"
	"errors"
	"fmt"
	"maps"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/moqrelay/moqrelay/controllers/pki"
)

const day = 24 * time.Hour

func wanted(sets ...string) pki.Wanted {
	w := pki.Wanted{Names: map[string][]string{}, Validity: 240 * time.Hour, RenewBefore: 80 * time.Hour}
	for _, set := range sets {
		w.Names[set] = []string{"*." + set + ".svc", "localhost"}
	}
	return w
}

func ensure(t *testing.T, s pki.State, w pki.Wanted, now time.Time) (pki.State, []pki.Step) {
	t.Helper()
	s, steps, err := pki.Ensure(s, w, now, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return s, steps
}

func TestPlan(t *testing.T) {
	w := wanted("eu", "root")
	settled, _ := ensure(t, pki.State{}, w, start)
	rotating, _ := ensure(t, settled, w, start.Add(275*day))
	without := func(set string) pki.State {
		s := settled
		s.Leaves = maps.Clone(s.Leaves)
		delete(s.Leaves, set)
		return s
	}
	other, _ := ensure(t, pki.State{}, w, start)
	changed := func(change func(w *pki.Wanted)) pki.Wanted {
		c := wanted("eu", "root")
		change(&c)
		return c
	}
	for _, test := range []struct {
		name   string
		state  pki.State
		wanted pki.Wanted
		now    time.Time
		want   pki.Step
	}{
		{"nothing is there", pki.State{}, w, start, pki.Step{Action: pki.MakeAuthority, Reason: "there is no authority"}},
		{"all is there", settled, w, start, pki.Step{}},
		{"all is there for a while", settled, w, start.Add(160*time.Hour - time.Second), pki.Step{}},
		{"a leaf is due", settled, w, start.Add(160 * time.Hour), pki.Step{Action: pki.IssueLeaf, Set: "eu", Reason: "it ends on 2026-03-11"}},
		{"a leaf has ended while nobody looked", settled, w, start.Add(20 * day), pki.Step{Action: pki.IssueLeaf, Set: "eu", Reason: "it ended on 2026-03-11"}},
		{"a leaf was deleted", without("root"), w, start, pki.Step{Action: pki.IssueLeaf, Set: "root", Reason: "there is no certificate"}},
		{"a region was added", settled, wanted("eu", "root", "us"), start, pki.Step{Action: pki.IssueLeaf, Set: "us", Reason: "there is no certificate"}},
		{"a region was removed", settled, wanted("root"), start, pki.Step{}},
		{"a leaf of another authority", pki.State{Authority: settled.Authority, Leaves: other.Leaves}, w, start, pki.Step{Action: pki.IssueLeaf, Set: "eu", Reason: "another authority has signed it"}},
		{"a name was added", settled, changed(func(w *pki.Wanted) { w.Names["eu"] = append(w.Names["eu"], "eu.example.com") }), start, pki.Step{Action: pki.IssueLeaf, Set: "eu", Reason: "its names are not the ones that are wanted"}},
		{"a name was removed", settled, changed(func(w *pki.Wanted) { w.Names["eu"] = w.Names["eu"][:1] }), start, pki.Step{Action: pki.IssueLeaf, Set: "eu", Reason: "its names are not the ones that are wanted"}},
		{"names in another order, one twice", settled, changed(func(w *pki.Wanted) { w.Names["eu"] = []string{"localhost", "*.eu.svc", "localhost"} }), start, pki.Step{}},
		{"a shorter life is wanted", settled, changed(func(w *pki.Wanted) { w.Validity, w.RenewBefore = 24*time.Hour, 8*time.Hour }), start, pki.Step{Action: pki.IssueLeaf, Set: "eu", Reason: "it lives longer than 24h0m0s"}},
		{"a longer life is wanted", settled, changed(func(w *pki.Wanted) { w.Validity = 300 * time.Hour }), start, pki.Step{}},
		{"the authority is due", settled, w, start.Add(275 * day), pki.Step{Action: pki.PublishNext, Reason: "the authority ends on 2027-03-01"}},
		{"the next authority is not everywhere yet", rotating, w, start.Add(275*day + time.Hour - time.Second), pki.Step{}},
		{"the next authority is everywhere", rotating, w, start.Add(275*day + time.Hour), pki.Step{Action: pki.PromoteNext, Reason: "every node trusts the next authority"}},
		{"the authority has ended while nobody looked", settled, w, start.Add(365 * day), pki.Step{Action: pki.MakeAuthority, Reason: "the authority ended on 2027-03-01"}},
		{"it has ended, but there is a next one", rotating, w, start.Add(365 * day), pki.Step{Action: pki.PromoteNext, Reason: "every node trusts the next authority"}},
		{"the user's authority is the user's", pki.State{Authority: pki.Authority{Current: settled.Authority.Current, External: true}, Leaves: settled.Leaves}, w, start.Add(100 * time.Hour), pki.Step{}},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := pki.Plan(test.state, test.wanted, test.now)
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			after, _, err := pki.Ensure(test.state, test.wanted, test.now, rand.Reader)
			if err != nil {
				t.Fatal(err)
			}
			if step := pki.Plan(after, test.wanted, test.now); step.Action != pki.None {
				t.Errorf("after all steps, %s is left", step.Action)
			}
			if next := pki.NextChange(after, test.wanted); !next.After(test.now) {
				t.Errorf("next change at %v, it is %v", next, test.now)
			}
		})
	}
}

// A leaf that ends with its authority cannot be bettered: it is not issued over
// and over.
func TestLeafOfEndingAuthorityIsKept(t *testing.T) {
	w := wanted("root")
	ca := makeCA(t, start)
	s := pki.State{Authority: pki.Authority{Current: ca, External: true}}
	now := start.Add(pki.AuthorityLife - 40*time.Hour)
	s, steps := ensure(t, s, w, now)
	if len(steps) != 1 {
		t.Fatalf("took %v, want one step", steps)
	}
	if got, want := pki.NextChange(s, w), ca.Certificate.NotAfter; !got.Equal(want) {
		t.Errorf("next change at %v, want %v", got, want)
	}
}

func TestEnsureLeavesItsInputAlone(t *testing.T) {
	w := wanted("eu", "root")
	before, _ := ensure(t, pki.State{}, w, start)
	leaf := before.Leaves["eu"]
	after, steps := ensure(t, before, w, start.Add(200*time.Hour))
	if len(steps) != 2 || after.Leaves["eu"] == leaf {
		t.Fatalf("took %v, want both leaves renewed", steps)
	}
	if before.Leaves["eu"] != leaf {
		t.Error("the state that was given has changed")
	}
}

// Two years of a cluster, looked at whenever something is due: at every moment
// each node trusts what each other serves, although nodes load what was stored
// up to 10 minutes late.
func TestRotationBreaksNoLink(t *testing.T) {
	const late = 10 * time.Minute
	w := wanted("eu", "root", "us")
	type version struct {
		at     time.Time
		bundle []byte
		leaves map[string]*pki.Pair
	}
	var versions []version
	counts := map[pki.Action]int{}
	s, now := pki.State{}, start
	for now.Before(start.Add(730 * day)) {
		var steps []pki.Step
		s, steps = ensure(t, s, w, now)
		for _, step := range steps {
			counts[step.Action]++
		}
		s = stored(t, s)
		versions = append(versions, version{now, s.Authority.Bundle(), s.Leaves})
		if n := len(versions); n > 1 {
			if err := trusts(versions[n-2].bundle, s.Leaves, now); err != nil {
				t.Fatalf("%v: nodes that have not loaded the new bundle: %v, after %v", now, err, steps)
			}
			if err := trusts(s.Authority.Bundle(), versions[n-2].leaves, now.Add(late)); err != nil {
				t.Fatalf("%v: nodes that serve the old certificate: %v, after %v", now, err, steps)
			}
		}
		next := pki.NextChange(s, w)
		if wait := next.Sub(now); wait <= late {
			t.Fatalf("%v: next change already in %v", now, wait)
		}
		now = next
	}
	for action, want := range map[pki.Action]int{pki.MakeAuthority: 1, pki.PublishNext: 2, pki.PromoteNext: 2, pki.WithdrawPrevious: 2} {
		if counts[action] != want {
			t.Errorf("%s was taken %d times, want %d", action, counts[action], want)
		}
	}
}

// stored returns s as it is after being written to Secrets and read again.
func stored(t *testing.T, s pki.State) pki.State {
	t.Helper()
	a, err := pki.AuthorityOf(s.Authority.Data())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(s.Authority.Bundle()), string(a.Bundle())); diff != "" {
		t.Fatalf("the bundle is another after storing:\n%s", diff)
	}
	read := pki.State{Authority: a, Leaves: map[string]*pki.Pair{}}
	for set, leaf := range s.Leaves {
		if read.Leaves[set], err = pki.PairOf(leaf.Data()); err != nil {
			t.Fatal(err)
		}
	}
	return read
}

func trusts(bundle []byte, leaves map[string]*pki.Pair, now time.Time) error {
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(bundle)
	var errs []error
	for set, leaf := range leaves {
		if _, err := leaf.Certificate.Verify(x509.VerifyOptions{Roots: roots, CurrentTime: now}); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", set, err))
		}
	}
	return errors.Join(errs...)
}

// What cannot be read of the next and of the previous authority is as if it had
// never been; without the current one there is nothing.
func TestAuthorityOfDamagedData(t *testing.T) {
	s, _ := ensure(t, pki.State{}, wanted("root"), start)
	s, _ = ensure(t, s, wanted("root"), start.Add(275*day))
	data := s.Authority.Data()
	data["next.key"] = []byte("junk")
	a, err := pki.AuthorityOf(data)
	if err != nil {
		t.Fatal(err)
	}
	if a.Next != nil {
		t.Error("took a next authority without its key")
	}
	data["tls.key"] = []byte("junk")
	if _, err := pki.AuthorityOf(data); err == nil {
		t.Error("took an authority without its key")
	}
}

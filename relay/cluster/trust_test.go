package cluster_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/moqrelay/moqrelay/relay/relaytest"
)

// reload is more than the time after which relays look at their files again.
const reload = 6 * time.Second

// since returns when each link of each node began.
func (s *story) since() map[string]time.Time {
	began := make(map[string]time.Time)
	for name, node := range s.nodes {
		for _, p := range node.Relay().Peers() {
			began[name+" to "+p.Node] = p.Since
		}
	}
	return began
}

// TestS25AuthorityChange: an authority that is added closes nothing, nor does a
// leaf that is replaced. One that is withdrawn closes the links of those that it
// vouched for, and of nobody else: not those that were made with a leaf of the
// new one, and no session of a client.
func TestS25AuthorityChange(t *testing.T) {
	tell(t, func(t *testing.T, s *story) {
		client := s.Dial("viewer", s.nodes["b"])
		at := s.since()
		wantSame := func(what string) {
			t.Helper()
			time.Sleep(reload)
			if diff := cmp.Diff(at, s.since()); diff != "" {
				t.Errorf("%s: links (-before +after):\n%s", what, diff)
			}
			if client.Lost() {
				t.Errorf("%s: the client's session has ended", what)
			}
		}
		all := []*relaytest.Node{s.root}
		for _, node := range s.nodes {
			all = append(all, node)
		}
		old := s.Issuer()
		next := s.NewAuthority()
		s.Trust(old, next)
		wantSame("an authority is added")
		for _, node := range all {
			s.Renew(node)
		}
		wantSame("leaves are replaced")

		// One pair has met again since.
		s.nodes["a"].Relay().CloseLink(relaytest.Host("b"))
		s.within(3*time.Second, "a and b have met again", func() bool {
			return s.isMeshed() && s.since()["a to b:4443"].After(at["a to b:4443"]) && s.since()["b to a:4443"].After(at["b to a:4443"])
		})
		time.Sleep(time.Second) // both have dialled: until one of the two links is left
		began := time.Now()
		s.Trust(next)
		time.Sleep(reload)
		s.within(3*time.Second, "the mesh is complete", s.isMeshed)
		for link, since := range s.since() {
			switch link {
			case "a to b:4443", "b to a:4443":
				if since.After(began) {
					t.Errorf("%s: closed although its certificates are of the new authority", link)
				}
			default:
				if !since.After(began) {
					t.Errorf("%s: stands since %v although the old authority is gone", link, since)
				}
			}
		}
		if client.Lost() {
			t.Error("the client's session has ended")
		}
	})
}

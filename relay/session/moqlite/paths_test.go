package moqlite

import (
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/moqrelay/moqrelay/relay/moq"
	"github.com/moqrelay/moqrelay/relay/origin"
	"github.com/moqrelay/moqrelay/relay/session"
	"github.com/moqrelay/moqrelay/relay/session/base"
	"github.com/moqrelay/moqrelay/relay/session/sessiontest"
	"github.com/moqrelay/moqrelay/relay/transport"
	wire "github.com/moqrelay/moqrelay/relay/wire/moqlite"
	"github.com/moqrelay/moqrelay/relay/wire/transfork"
)

// TestS19PathsDoNotCross: a path of MoqTransfork and one of moq-lite name the same
// track only if they are equal in the relay, and parts that would read as others
// never cross.
func TestS19PathsDoNotCross(t *testing.T) {
	parts := []string{"", "a", "b", "a/b", "/", ".", "..", "\x00", "a\x00", "é", "%2F", "internal"}
	random := rand.New(rand.NewPCG(1, 2))
	pick := func() []string {
		path := make([]string, 1+random.IntN(4))
		for i := range path {
			path[i] = parts[random.IntN(len(parts))]
		}
		return path
	}
	reader := &Session{Base: base.New(nil, session.Config{}, false, codes{})}
	names := make(map[string]moq.Path) // by what is on the wire of moq-lite
	for range 20_000 {
		path := moq.NewPath(pick()...)
		broadcast, track, ok := trackForm(path)
		if !ok {
			if !slices.ContainsFunc(path.Parent().Parts(), func(part string) bool { return !isPlain(part) }) {
				t.Fatalf("%q does not cross", path.Parts())
			}
			continue
		}
		// As moq-lite carries it.
		b := wire.Track{Path: broadcast, Track: track}.Append(nil)
		m, _, err := wire.ConsumeTrack(b)
		if err != nil {
			t.Fatal(err)
		}
		back, err := reader.pathOf(m.Path, m.Track)
		if err != nil || back != path {
			t.Fatalf("%q comes back as %q, %v", path.Parts(), back.Parts(), err)
		}
		if other, ok := names[string(b)]; ok && other != path {
			t.Fatalf("%q and %q are one", path.Parts(), other.Parts())
		}
		names[string(b)] = path
		// As MoqTransfork carries it.
		a, _, err := transfork.ConsumeAnnounce(transfork.Announce{Status: transfork.Active, Suffix: path.Parts()}.Append(nil))
		if err != nil || moq.NewPath(a.Suffix...) != path {
			t.Fatalf("%q comes back from MoqTransfork as %q, %v", path.Parts(), a.Suffix, err)
		}
	}
	if len(names) < 100 {
		t.Errorf("%d paths cross", len(names))
	}
}

// TestS19OnTheWire: what another protocol has announced and moq-lite cannot say is
// neither told nor served.
func TestS19OnTheWire(t *testing.T) {
	foreign := [][]string{{"a/b", "v"}, {"", "v"}, {"a", "", "v"}, {".", "v"}, {"a", "..", "v"}, {"a\x00", "v"}, {"\xff", "v"}}
	each(t, versions, nil, func(w *world, v wire.Version) {
		for _, parts := range foreign {
			w.group(w.Publish(parts...))
		}
		w.group(w.Publish("ok", "v"))
		p := w.client(v)
		s := p.OpenStream(watchHex(v, ""))
		s.Want(initialHex(v, "ok"))
		s.WantSilence(soon)
		for id, broadcast := range []string{"a/b", "", "a", "a//", ".", "a/..", "a\x00"} {
			ask := wire.Subscribe{ID: uint64(id), Path: strings.Split(broadcast, "/"), Track: "v", Priority: 2}
			p.subscribe(ask).WantReset(p.notFound())
		}
	})
}

// group writes a group.
func (w *world) group(t *moq.Track) { w.Group(t, 0, "x") }

// TestS19Segments: however a path is written, it is one.
func TestS19Segments(t *testing.T) {
	each(t, versions[2:], nil, func(w *world, v wire.Version) {
		w.stamped(w.stampedTrack("a", "b", "v"), 1, 1, "x")
		p := w.client(v)
		for id, raw := range []string{"a/b", "/a/b", "a/b/", "//a///b//"} {
			m := wire.Subscribe{ID: uint64(id), Path: []string{raw}, Track: "v", Priority: 2} // written as it is
			p.subscribe(m).Want(p.okHex() + p.startHex(1))
			p.wantGroup(uint8(id), 1, 1, "x")
		}
	})
}

// closed is the rights of a client by the cluster: nothing of internal/, either way.
func closed(w *world) {
	internal := moq.NewPath("internal")
	w.Config.Visible = func(a origin.Announcement) bool { return !a.Path.HasPrefix(internal) }
	w.Config.Accept = func(p moq.Path) error {
		if p.HasPrefix(internal) {
			return errors.New("internal")
		}
		return nil
	}
}

// TestS20Internal: a client neither announces nor sees nor subscribes what is below
// internal/, on the absolute path, whatever its root and whatever stands above.
func TestS20Internal(t *testing.T) {
	each(t, withSetup, closed, func(w *world, v wire.Version) {
		w.group(w.Publish("internal", "origins", "n1"))
		for _, root := range []string{"/", "/internal", "/internal/origins", "/internal//"} {
			for _, p := range []*peer{w.connect(v), w.webTransport(v, root)} {
				if p.Conn.Kind() == transport.QUIC {
					p.shakeWith("01" + hexString(string(wire.Setup{Path: root, HasPath: true}.Append(nil))))
				} else {
					p.shake()
				}
				below := strings.TrimPrefix(strings.TrimPrefix("internal/origins", strings.Trim(root, "/")), "/")
				announcements := p.Accept(askHex(v))
				announcements.Send("03 43e8 01")
				announcements.SendBytes(wire.Announce{Kind: wire.AnnounceStart, Suffix: strings.Split(below, "/")}.Append(nil, v))
				w.WantAnnounced("internal/origins/n1")
				s := p.OpenStream(watchHex(v, ""))
				s.Want("02 09 00")
				s.WantSilence(soon)
				ask := wire.Subscribe{Path: strings.Split(below, "/"), Track: "n1"}
				p.subscribe(ask).WantReset(p.notFound())
				p.OpenStream("06" + hexString(string(wire.Track{Path: ask.Path, Track: "n1"}.Append(nil)))).WantReset(p.notFound())
				p.fetch(wire.Fetch{Path: ask.Path, Track: "n1"}).WantReset(p.notFound())
				p.Leave()
				settle()
			}
		}
	})
	t.Run("by what is announced above", func(t *testing.T) {
		each(t, versions, closed, func(w *world, v wire.Version) {
			path := moq.ParsePath("internal/origins/n2")
			track := moq.NewTrack(moq.TrackConfig{Path: path})
			everything := w.announce(origin.Announcement{Class: origin.Client, Source: sessiontest.Local{path: track}})
			p := w.client(v)
			ask := wire.Subscribe{Path: []string{"internal", "origins"}, Track: "n2"}
			p.subscribe(ask).WantReset(p.notFound())
			everything.Withdraw()

			// Nor is a client that claims everything asked for it.
			liar := w.connect(v)
			liar.shake()
			announcements := liar.Accept(askHex(v))
			if v.HasSetup() {
				announcements.Send("03 43e8 01")
			}
			if v.IsInBand() {
				announcements.Send("02 01 00")
			} else {
				announcements.SendBytes(wire.Announce{Kind: wire.AnnounceStart, Hops: make([]uint64, 1)}.Append(nil, v))
			}
			w.WantAnnounced("")
			if _, _, err := w.Table.Track(path, nil); !errors.Is(err, moq.ErrNotFound) {
				t.Errorf("a node would ask it: %v", err)
			}
			if _, err := w.session(1).Fetch(path, 0, 0); !errors.Is(err, moq.ErrNotFound) {
				t.Errorf("a node would fetch from it: %v", err)
			}
			liar.WantNoStream(soon)
		})
	})
}

// TestS21NodesAreNotTold: what a node has announced is not told to it, nor served
// to it, with or without hops.
func TestS21NodesAreNotTold(t *testing.T) {
	each(t, withSetup, func(w *world) { w.Config.Class, w.Config.Node = origin.Peer, "relay" }, func(w *world, v wire.Version) {
		p := w.connect(v)
		p.Uni("01" + hexString(string(wire.Setup{Node: "n1"}.Append(nil)))).Fin()
		p.AcceptUni("01" + hexString(string(wire.Setup{Probe: 1, Hop: relayHop, Node: "relay"}.Append(nil)))).WantEOF()
		p.Accept(askHex(v)).Send(camHex(v))
		w.WantAnnounced("cam")
		s := p.OpenStream(watchHex(v, ""))
		s.Want("02 09 00")
		p.subscribe(cam(0)).WantReset(p.notFound())
		other := w.connect(v)
		other.Uni("01" + hexString(string(wire.Setup{Node: "n2"}.Append(nil)))).Fin()
		other.AcceptUni("").Stop(0)
		other.Accept(askHex(v))
		watch := other.OpenStream(watchHex(v, ""))
		watch.Want("02 09 01")
		if got := w.Table.Snapshot()[0].Node; got != "n1" {
			t.Errorf("announced by %q", got)
		}
	})
}

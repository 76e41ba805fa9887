package moqlite

import (
	"fmt"
	"testing"
	"time"

	"github.com/moqrelay/moqrelay/relay/moq"
	"github.com/moqrelay/moqrelay/relay/origin"
	"github.com/moqrelay/moqrelay/relay/session"
	"github.com/moqrelay/moqrelay/relay/session/sessiontest"
	wire "github.com/moqrelay/moqrelay/relay/wire/moqlite"
)

// These tests hold what a peer is told of announcements (sections 7 and 18.2).

// watchHex asks for announcements below a prefix, excluding nobody.
func watchHex(v wire.Version, prefix string) string {
	ask := wire.AnnounceRequest{}
	if prefix != "" {
		ask.Prefix = moq.ParsePath(prefix).Parts()
	}
	return hexString(string(ask.Append(wire.StreamAnnounce.Append(nil), v)))
}

// announcedHex is how a broadcast of this process is told, with its id in
// lite-06.
func announcedHex(v wire.Version, suffix string) string {
	return hexString(string(wire.Announce{Kind: wire.AnnounceStart, Suffix: moq.ParsePath(suffix).Parts(), Hops: localHops(v)}.Append(nil, v)))
}

func endedHex(v wire.Version, suffix string, id uint64) string {
	return hexString(string(wire.Announce{Kind: wire.AnnounceEnd, Suffix: moq.ParsePath(suffix).Parts(), ID: id}.Append(nil, v)))
}

// localHops are those of a broadcast of this process.
func localHops(v wire.Version) []uint64 {
	if v.HasSetup() {
		return nil
	}
	return []uint64{relayHop}
}

// initialHex is the first answer that holds so many announcements.
func initialHex(v wire.Version, suffixes ...string) string {
	var s string
	switch {
	case v.IsInBand():
		var init wire.AnnounceInit
		for _, suffix := range suffixes {
			init.Suffixes = append(init.Suffixes, moq.ParsePath(suffix).Parts())
		}
		return hexString(string(init.Append(nil)))
	case v.HasSetup():
		s = fmt.Sprintf("02 09 %02x", len(suffixes))
	}
	for _, suffix := range suffixes {
		s += announcedHex(v, suffix)
	}
	return s
}

// announce announces a broadcast of somebody.
func (w *world) announce(a origin.Announcement) *origin.Registration {
	w.Helper()
	a.Kind = origin.Broadcast
	if a.Source == nil {
		a.Source = sessiontest.Local{}
	}
	r, err := w.Table.Announce(a)
	if err != nil {
		w.Fatal(err)
	}
	return r
}

// TestInitialSet: the exact number, the set, then changes for ever.
func TestInitialSet(t *testing.T) {
	each(t, versions, nil, func(w *world, v wire.Version) {
		w.Publish("demo", "cam", "video")
		w.Publish("demo", "mic", "audio")
		w.Publish("demo", "cam", "sound") // of a broadcast that is there
		p := w.client(v)
		s := p.OpenStream(watchHex(v, ""))
		s.Want(initialHex(v, "demo/cam", "demo/mic"))
		s.WantSilence(time.Second)
		r := w.announce(origin.Announcement{Path: moq.ParsePath("other")})
		s.Want(announcedHex(v, "other"))
		r.Withdraw()
		s.Want(endedHex(v, "other", 2))
		r = w.announce(origin.Announcement{Path: moq.ParsePath("other")}) // under a new id
		s.Want(announcedHex(v, "other"))
		r.Withdraw()
		s.Want(endedHex(v, "other", 3))
		s.WantSilence(time.Minute)
	})
}

// TestEmptySet: it is said where there is a message for that, and the stream stays
// open, also for who may see nothing at all.
func TestEmptySet(t *testing.T) {
	for name, change := range map[string]func(*world){
		"nothing there":   nil,
		"nothing to see":  func(w *world) { w.Config.Visible = func(origin.Announcement) bool { return false } },
		"no table at all": func(w *world) { w.Config.Out = nil },
	} {
		t.Run(name, func(t *testing.T) {
			each(t, versions, change, func(w *world, v wire.Version) {
				s := w.client(v).OpenStream(watchHex(v, "x/y"))
				s.Want(initialHex(v))
				s.WantSilence(time.Minute)
				s.Fin()
				s.WantEOF()
			})
		})
	}
}

// TestPrefix: matched by whole segments, however it is written.
func TestPrefix(t *testing.T) {
	tests := []struct{ prefix, want string }{
		{"04 64656d6f", "video"},                 // demo
		{"06 2f64656d6f2f", "video"},             // /demo/
		{"0b 64656d6f2f2f766964656f", ""},        // demo//video: the empty suffix
		{"03 64656d", "none"},                    // dem
		{"0c 64656d6f2f766964656f2f78", "above"}, // demo/video/x: the same in lite-06, where routes are prefixes
	}
	for _, tt := range tests {
		t.Run(tt.prefix, func(t *testing.T) {
			each(t, versions, nil, func(w *world, v wire.Version) {
				w.announce(origin.Announcement{Path: moq.ParsePath("demo/video")})
				w.announce(origin.Announcement{Path: moq.ParsePath("demonstration")})
				ask := unhex(tt.prefix)
				if v.HasExclude() {
					ask = append(ask, 0)
				}
				s := w.client(v).OpenStream(fmt.Sprintf("01 %02x %x", len(ask), ask))
				switch {
				case tt.want == "none", tt.want == "above" && !v.HasCosts():
					s.Want(initialHex(v))
				case tt.want == "above":
					s.Want(initialHex(v, ""))
				default:
					s.Want(initialHex(v, tt.want))
				}
				s.WantSilence(soon)
			})
		})
	}
}

// TestManyStreams: prefixes may overlap, each is answered in full, and there are
// so many at most.
func TestManyStreams(t *testing.T) {
	limit := func(w *world) { w.Config.Limits.Interests = 3 }
	each(t, versions, limit, func(w *world, v wire.Version) {
		w.announce(origin.Announcement{Path: moq.ParsePath("demo/cam")})
		p := w.client(v)
		first := p.OpenStream(watchHex(v, ""))
		first.Want(initialHex(v, "demo/cam"))
		second := p.OpenStream(watchHex(v, "demo"))
		second.Want(initialHex(v, "cam"))
		third := p.OpenStream(watchHex(v, ""))
		third.Want(initialHex(v, "demo/cam"))
		p.OpenStream(watchHex(v, "")).WantResetAfterData(map[bool]wire.Code{true: wire.ResetNoCapacity, false: wire.CodeEvicted}[v.HasCosts()])
		ends := []func(){first.Fin, func() { second.Reset(p.cancelled()) }, func() { third.Stop(p.cancelled()) }}
		for _, end := range ends {
			end()
			settle()
			s := p.OpenStream(watchHex(v, ""))
			s.Want(initialHex(v, "demo/cam"))
			s.Fin()
			s.WantEOF()
		}
		first.WantEOF()
		second.WantReset(p.cancelled())
		third.WantStop(p.cancelled())
		p.wantAlive()
	})
}

// TestExclude: announcements that came by a hop are left out for who names it, in
// the question or in SETUP.
func TestExclude(t *testing.T) {
	a := origin.Announcement{Path: moq.ParsePath("cam"), Class: origin.Client, Hops: []origin.Hop{7, 1000}}
	b := origin.Announcement{Path: moq.ParsePath("mic"), Class: origin.Client, Hops: []origin.Hop{8}}
	ways := map[string]struct {
		versions   []wire.Version
		setup, ask string
	}{
		"the question": {[]wire.Version{wire.Version04, wire.Version05}, setupHex, "01 03 00 43e8"},
		"SETUP":        {withSetup, "01 05 01 05 02 43e8", ""},
	}
	for name, way := range ways {
		t.Run(name, func(t *testing.T) {
			each(t, way.versions, nil, func(w *world, v wire.Version) {
				w.announce(a)
				w.announce(b)
				p := w.connect(v)
				p.shakeWith(way.setup)
				p.Accept(askHex(v))
				ask := way.ask
				if ask == "" {
					ask = watchHex(v, "")
				}
				s := p.OpenStream(ask)
				switch v {
				case wire.Version04:
					s.Want("08 01 03 6d6963 02 08 09")
				case wire.Version05:
					s.Want("02 09 01  07 01 03 6d6963 01 08")
				default:
					s.Want("02 09 01  00 08 03 6d6963 01 08 00 00")
				}
				s.WantSilence(soon)
				// By another way it is told.
				w.announce(origin.Announcement{Path: moq.ParsePath("cam"), Class: origin.Client, Hops: []origin.Hop{7, 5, 6}})
				switch v {
				case wire.Version04:
					s.Want("0a 01 03 63616d 04 07 05 06 09")
				case wire.Version05:
					s.Want("09 01 03 63616d 03 07 05 06")
				default:
					s.Want("00 0a 03 63616d 03 07 05 06 00 00")
				}
			})
		})
	}
}

// TestSplitHorizonOfRequests: what is not told to a peer because it leads through
// it is not served to it either.
func TestSplitHorizonOfRequests(t *testing.T) {
	each(t, withSetup, nil, func(w *world, v wire.Version) {
		track := w.Publish("none", "v")
		path := moq.ParsePath("cam/v")
		w.announce(origin.Announcement{Path: moq.ParsePath("cam"), Class: origin.Client, Hops: []origin.Hop{7, 1000}, Source: sessiontest.Local{path: track}})
		for setup, served := range map[string]bool{"01 05 01 05 02 43e8": false, "01 05 01 05 02 43e9": true} {
			p := w.connect(v)
			p.shakeWith(setup)
			p.Accept(askHex(v))
			sub, info := p.subscribe(cam(0)), p.OpenStream(trackHex)
			fetch := p.OpenStream("03" + hexString(string(wire.Fetch{Path: []string{"cam"}, Track: "v"}.Append(nil, v))))
			if served {
				sub.WantSilence(soon)
				info.Want(map[bool]string{true: "05 7f", false: "06 7f"}[v.HasCosts()])
				continue
			}
			sub.WantReset(p.notFound())
			info.WantReset(p.notFound())
			fetch.WantReset(p.notFound())
		}
	})
}

// TestReflection: an announcement that comes back through us is dropped.
func TestReflection(t *testing.T) {
	messages := map[wire.Version]string{
		wire.Version04: "0a 01 03 63616d 03 07 09 43e8",
		wire.Version05: "03 43e8 01  08 01 03 63616d 02 07 09",
		wire.Version06: "03 43e8 01  00 09 03 63616d 02 07 09 00 00",
	}
	each(t, []wire.Version{wire.Version04, wire.Version05, wire.Version06}, nil, func(w *world, v wire.Version) {
		p := w.connect(v)
		p.shake()
		p.Accept(askHex(v)).Send(messages[v])
		w.WantAnnounced()
		p.wantAlive()
	})
}

// TestHops: who appends what, and lists that are full.
func TestHops(t *testing.T) {
	hops := func(n int) (all []uint64) {
		for i := range n {
			all = append(all, uint64(100+i))
		}
		return all
	}
	each(t, []wire.Version{wire.Version04, wire.Version05, wire.Version06}, nil, func(w *world, v wire.Version) {
		p := w.connect(v)
		p.shake()
		announcements := p.Accept(askHex(v))
		if v.HasSetup() {
			announcements.Send("03 43e8 00")
		}
		watch := w.client(v).OpenStream(watchHex(v, ""))
		if v.HasSetup() {
			watch.Want("02 09 00")
		}
		for _, n := range []int{30, 31, 32} {
			list := hops(n)
			if !v.HasSetup() {
				list = append(hops(n-1), 1000)
			}
			m := wire.Announce{Kind: wire.AnnounceStart, Suffix: []string{fmt.Sprint(n)}, Hops: list}
			announcements.SendBytes(m.Append(nil, v))
			if n == 30 {
				// 30 and the publisher's peer are 31, with us at most 32.
				m.Hops, m.Warm, m.Cold = append(list, 1000), 1, 1
				if !v.HasSetup() {
					m.Hops = append(list, relayHop)
				}
				watch.WantBytes(m.Append(nil, v))
			}
		}
		if !v.HasSetup() { // 31 with the sender in it, 32 with us
			m := wire.Announce{Kind: wire.AnnounceStart, Suffix: []string{"31"}, Hops: append(append(hops(30), 1000), relayHop)}
			watch.WantBytes(m.Append(nil, v))
		}
		watch.WantSilence(soon)
		p.wantAlive()
	})
	t.Run("lite-03 has their number alone", func(t *testing.T) {
		bubble(t, nil, func(w *world) {
			p := w.connect(wire.Version03)
			p.Accept(askHex(wire.Version03)).Send("06 01 03 63616d 02")
			settle()
			w.client(wire.Version03).OpenStream("01 01 00").Want("06 01 03 63616d 03")
			w.client(wire.Version04).OpenStream("01 02 00 00").Want("09 01 03 63616d 03 00 00 09")
			w.client(wire.Version06).OpenStream("01 01 00").Want("02 09 01 00 10 03 63616d 02 00 00 01 ffffffffffffffff")
		})
	})
	t.Run("a source without a list counts as one 0", func(t *testing.T) {
		bubble(t, nil, func(w *world) {
			w.publisher(wire.Version02)
			w.client(wire.Version04).OpenStream("01 02 00 00").Want("08 01 03 63616d 02 00 09")
			w.client(wire.Version05).OpenStream("01 02 00 00").Want("02 09 01 07 01 03 63616d 01 00")
			w.client(wire.Version06).OpenStream("01 01 00").Want("02 09 01 00 0f 03 63616d 01 00 00 ffffffffffffffff")
		})
	})
}

// TestCosts: a relay adds what the peer declared, 1 if nothing, and a sum has a
// limit.
func TestCosts(t *testing.T) {
	tests := []struct{ name, setup, costs, want string }{
		{"undeclared", setupHex, "03 412c", "04 412d"},
		{"free", "01 04 01 04 01 00", "03 412c", "03 412c"},
		{"dear", "01 05 01 04 02 43e8", "00 00", "43e8 43e8"},
		{"no more than the most", "01 05 01 04 02 43e8", "ffffffffffffffff 00", "ffffffffffffffff 43e8"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, nil, func(w *world) {
				p := w.connect(wire.Version06)
				p.shakeWith(tt.setup)
				body := unhex("03 63616d 00" + tt.costs)
				p.Accept(askHex(p.v)).Send(fmt.Sprintf("03 43e8 01 00 %02x %x", len(body), body))
				settle()
				body = unhex("03 63616d 01 43e8" + tt.want)
				w.client(wire.Version06).OpenStream("01 01 00").Want(fmt.Sprintf("02 09 01 00 %02x %x", len(body), body))
			})
		})
	}
}

// TestUpdate: the same content by another way.
func TestUpdate(t *testing.T) {
	path := moq.ParsePath("cam")
	each(t, versions, nil, func(w *world, v wire.Version) {
		far := w.announce(origin.Announcement{Path: path, Class: origin.Peer, Hops: []origin.Hop{7, 8}, Warm: 5, Cold: 6})
		s := w.client(v).OpenStream(watchHex(v, ""))
		s.Want(map[wire.Version]string{
			wire.Version01: "05 01 03 63616d",
			wire.Version02: "05 01 03 63616d",
			wire.Version03: "06 01 03 63616d 03",
			wire.Version04: "09 01 03 63616d 03 07 08 09",
			wire.Version05: "02 09 01 08 01 03 63616d 02 07 08",
			wire.Version06: "02 09 01 00 09 03 63616d 02 07 08 05 06",
		}[v])
		near := w.announce(origin.Announcement{Path: path, Class: origin.Peer, Hops: []origin.Hop{7, 6}, Warm: 1, Cold: 2})
		far.Withdraw()
		s.Want(map[wire.Version]string{wire.Version05: "08 01 03 63616d 02 07 06", wire.Version06: "02 06 00 02 07 06 01 02"}[v])
		s.WantSilence(soon)
		// Another publisher is other content.
		other := w.announce(origin.Announcement{Path: path, Class: origin.Peer, Hops: []origin.Hop{5}, Warm: 1, Cold: 2})
		near.Withdraw()
		s.Want(endedHex(v, "cam", 0))
		s.Want(map[wire.Version]string{
			wire.Version01: "05 01 03 63616d",
			wire.Version02: "05 01 03 63616d",
			wire.Version03: "06 01 03 63616d 02",
			wire.Version04: "08 01 03 63616d 02 05 09",
			wire.Version05: "07 01 03 63616d 01 05",
			wire.Version06: "00 08 03 63616d 01 05 01 02",
		}[v])
		other.Withdraw()
		s.Want(endedHex(v, "cam", 1))
	})
}

// TestHidden: names that begin with a dot, below the prefix, are not told and can
// be subscribed.
func TestHidden(t *testing.T) {
	each(t, versions, nil, func(w *world, v wire.Version) {
		w.Publish("demo", ".secret", "v")
		w.Publish("demo", "cam", "v")
		p := w.client(v)
		s := p.OpenStream(watchHex(v, ""))
		s.Want(initialHex(v, "demo/cam"))
		s.WantSilence(soon)
		below := p.OpenStream(watchHex(v, "demo/.secret"))
		below.Want(initialHex(v, ""))
		sub := p.subscribe(wire.Subscribe{ID: 1, Path: []string{"demo", ".secret"}, Track: "v", Priority: 2})
		sub.Want(p.okHex())
		sub.WantSilence(soon)
	})
}

// TestAnnounceMalformed: a question that is none ends its stream.
func TestAnnounceMalformed(t *testing.T) {
	each(t, versions, nil, func(w *world, v wire.Version) {
		p := w.client(v)
		code := wire.CodeDecode
		if v.HasCosts() {
			code = wire.ResetCancelled
		}
		for _, bytes := range []string{"01 00", "01 02 00", "01 04 01ff 0000", "01 ffffffffffffffff", "01 04 00 00 00 00"} {
			s := p.OpenStream(bytes)
			if bytes == "01 02 00" { // half a message
				s.Fin()
			}
			s.WantReset(code)
		}
		p.wantAlive()
	})
}

// TestManyBroadcasts: what does not fit into ANNOUNCE_INIT follows it.
func TestManyBroadcasts(t *testing.T) {
	each(t, versions, nil, func(w *world, v wire.Version) {
		want := make(map[string]bool)
		for i := range 300 {
			path := fmt.Sprintf("broadcast/number/%d", i)
			w.announce(origin.Announcement{Path: moq.ParsePath(path)})
			want[path] = true
		}
		s := w.client(v).OpenStream(watchHex(v, ""))
		for _, path := range readAnnounced(w, v, s, 300) {
			delete(want, path)
		}
		if len(want) > 0 {
			t.Errorf("%d paths were not told", len(want))
		}
		s.WantSilence(soon)
	})
}

// TestToldPaths: who asks for the same again and again is told of so much in all, and
// who asks once of everything.
func TestToldPaths(t *testing.T) {
	each(t, versions, func(w *world) { w.Config.Limits = session.Limits{Paths: 1} }, func(w *world, v wire.Version) {
		for i := range 60 {
			w.Publish(fmt.Sprint("cam", i), "v")
		}
		p := w.client(v)
		first := p.OpenStream(watchHex(v, ""))
		readAnnounced(w, v, first, 60)
		code := wire.CodeEvicted
		if v.HasCosts() {
			code = wire.ResetNoCapacity
		}
		p.OpenStream(watchHex(v, "")).WantReset(code)
		narrow := p.OpenStream(watchHex(v, "cam7"))
		readAnnounced(w, v, narrow, 1)
		for i := range 39 { // up to the limit
			w.Publish(fmt.Sprint("more", i), "v")
		}
		settle()
		w.Publish("late", "v") // one too many
		first.WantResetAfterData(code)
		p.wantAlive()
		settle()
		second := p.OpenStream(watchHex(v, "cam8"))
		readAnnounced(w, v, second, 1)
	})
}

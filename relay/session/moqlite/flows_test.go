package moqlite

import (
	"fmt"
	"testing"

	"github.com/moqrelay/moqrelay/relay/transport"
	wire "github.com/moqrelay/moqrelay/relay/wire/moqlite"
)

// What was captured of a released relay between two peers (L1 to L4 of the
// reference), with our hop in the place of its. Where we differ by intention the
// script says so.

func TestCapturedL1(t *testing.T) {
	bubble(t, nil, func(w *world) {
		p := w.connect(wire.Version05)
		p.Uni("01 01 00").Fin()
		p.AcceptUni(relaySetupHex).WantEOF()
		announcements := p.Accept("01 02 00 09")
		announcements.Send("03 43e8 01   06 01 03 63616d 00")
		settle()
		v := w.client(wire.Version05)
		watch := v.OpenStream("01 02 00 00")
		watch.Want("02 09 01   08 01 03 63616d 01 43e8")
		p.OpenStream("01 02 00 00").Want("02 09 01   08 01 03 63616d 01 43e8") // echo

		info := v.OpenStream("06 06 03 63616d 01 76")
		asked := p.Accept("06 06 03 63616d 01 76")
		asked.Send("06 00 00 5388 43e8")
		asked.Fin()
		info.Want("06 00 00 5388 43e8")
		info.WantEOF()

		sub := v.OpenStream("02 0d 00 03 63616d 01 76 02 00 40fa 00 00")
		up := p.Accept("02 0d 00 03 63616d 01 76 02 00 40fa 00 00") // no second TRACK before
		up.Send("00 01 05")
		p.Uni("00 02 00 05 47d0 02 6869").Fin()
		g := v.AcceptUni("00 02 00 05 47d0 02 6869")
		g.WantEOF()
		sub.Want("00 01 05")
		sub.Send("06 09 00 4064 00 00")
		up.Want("06 09 00 4064 00 00")
		up.Send("01 01 07")
		up.Fin()
		v.wantParts(sub, "01 01 07", "02 03 06 06 18") // group 6 never came: the relay dropped nothing here
		sub.WantEOF()
		up.WantEOF() // where the relay resets with 1
	})
}

func TestCapturedL2(t *testing.T) {
	bubble(t, nil, func(w *world) {
		p := w.connect(wire.Version06)
		p.Uni("01 01 00").Fin()
		p.AcceptUni(relaySetupHex).WantEOF()
		announcements := p.Accept("01 01 00")
		announcements.Send("03 43e8 01   00 07 03 63616d 00 00 00")
		settle()
		v := w.client(wire.Version06)
		watch := v.OpenStream("01 01 00")
		watch.Want("02 09 01   00 09 03 63616d 01 43e8 01 01")

		info := v.OpenStream("06 06 03 63616d 01 76")
		asked := p.Accept("06 06 03 63616d 01 76")
		asked.Send("05 00 5388 43e8")
		asked.Fin()
		info.Want("05 00 5388 43e8")
		info.WantEOF()

		sub := v.OpenStream("02 0e 00 03 63616d 01 76 02 40fa 00 00 00 00")
		up := p.Accept("02 0e 00 03 63616d 01 76 02 40fa 00 00 00 00")
		up.Send("00 01 05")
		p.Uni("00 03 00 05 00 47d0 02 6869").Fin()
		v.AcceptUni("00 03 00 05 00 47d0 02 6869").WantEOF()
		sub.Want("00 01 05")
		sub.Send("07 09 4064 00 00 00 00")
		up.Want("07 09 4064 00 00 00 00")
		up.Send("01 01 06")
		up.Fin()
		sub.Want("01 01 06")
		sub.WantEOF()
		announcements.Send("01 01 00")
		watch.Want("01 01 00")
	})
	t.Run("a publisher of lite-05, which then closes", func(t *testing.T) {
		bubble(t, nil, func(w *world) {
			p := w.publisher(wire.Version05)
			watch := w.client(wire.Version06).OpenStream("01 01 00")
			watch.Want("02 09 01   00 10 03 63616d 01 43e8 00 ffffffffffffffff")
			p.Leave()
			watch.Want("01 01 00")
		})
	})
}

// TestCapturedL3: a group that is not cached is fetched, one that is is served
// from there.
func TestCapturedL3(t *testing.T) {
	asks := map[wire.Version][2]string{
		wire.Version05: {"03 08 03 63616d 01 76 05 04", "03 08 03 63616d 01 76 05 05"},
		wire.Version06: {"03 0a 03 63616d 01 76 05 04 00 00", "03 0a 03 63616d 01 76 05 05 00 00"},
	}
	each(t, withSetup, nil, func(w *world, version wire.Version) {
		c := w.connectChain(version, version)
		c.up.Send("00 01 05")
		g := c.publisher.Uni(c.publisher.groupHex(0, 5)[:] + "47d0 02 6869 4042 01 04")
		g.Fin()
		c.subscriber.NextUni()
		v := c.subscriber.OpenStream(asks[version][0])
		up := c.publisher.Accept(asks[version][0])
		up.Send("47c0 01 7a")
		up.Fin()
		v.Want("47c0 01 7a")
		v.WantEOF()
		v = c.subscriber.OpenStream(asks[version][1])
		v.Want("47d0 02 6869 4042 01 04")
		v.WantEOF()
		c.publisher.WantNoStream(soon)
	})
}

func TestCapturedL4(t *testing.T) {
	bubble(t, nil, func(w *world) {
		p := w.connect(wire.Version04)
		announcements := p.Accept("01 02 00 09") // and no Probe stream, which nobody would read
		announcements.Send("08 01 03 63616d 01 43e8")
		settle()
		v := w.client(wire.Version04)
		v.OpenStream("01 02 00 00").Want("09 01 03 63616d 02 43e8 09")
		sub := v.OpenStream("02 0d 00 03 63616d 01 76 02 00 40fa 00 00")
		sub.Want("00 05 02 00 00 00 00") // at once, with the priority asked for
		p.Accept("02 0d 00 03 63616d 01 76 02 00 40fa 00 00").Send("00 05 00 00 00 00 00")
		p.Uni("00 02 00 05 02 6869").Fin()
		v.AcceptUni("00 02 00 05 02 6869").WantEOF()
	})
}

// TestFlow plays announcement, subscription, a group and both ends through the
// relay, between all pairs of versions.
func TestFlow(t *testing.T) {
	for _, from := range versions {
		for _, to := range versions {
			t.Run(fmt.Sprintf("%v to %v", from, to), func(t *testing.T) {
				bubble(t, nil, func(w *world) { playFlow(w, from, to) })
			})
		}
	}
}

func playFlow(w *world, from, to wire.Version) {
	c := w.connectChain(from, to)
	p, v := c.publisher, c.subscriber
	c.up.Send(p.startHex(5))
	g := p.Uni(p.groupHex(0, 5, 'a'))
	got := v.NextUni()
	if from.HasTimestamps() == to.HasTimestamps() {
		got.Want(v.groupHex(0, 5, 'a'))
	} else {
		skip := make([]byte, len(unhex(v.groupHex(0, 5))))
		got.WantBytes(append(skip[:0], unhex(v.groupHex(0, 5))...))
		if to.HasTimestamps() { // that of the arrival, as milliseconds of a clock
			got.Deadline(soon)
			stamp := make([]byte, 8)
			if n, err := got.Read(stamp); n != 8 || err != nil || stamp[0]>>6 != 3 {
				w.Fatalf("timestamp is % x, %v", stamp[:n], err)
			}
		}
		got.Want("01 61")
	}
	c.sub.Want(v.startHex(5))
	g.Fin()
	got.WantEOF()
	update := wire.SubscribeUpdate{Priority: 2, MaxAge: 250}
	if to < wire.Version03 {
		update.MaxAge = 5000 // no limit, up to what the track has
	}
	if from == wire.Version06 && to < wire.Version06 || from == wire.Version05 && to < wire.Version03 {
		// In lite-06 the age says where to start, so what the subscriber wants
		// follows. The limit of the track is known only now.
		c.up.WantBytes(update.Append(nil, from))
	}
	c.up.Send(p.endHex(6))
	c.up.Fin()
	c.sub.Want(v.endHex(6))
	c.sub.WantEOF()
	c.up.WantEOF()
}

// TestFlowOverWebTransport is the flow of one version over the other transport.
func TestFlowOverWebTransport(t *testing.T) {
	each(t, versions, nil, func(w *world, version wire.Version) {
		p := w.webTransport(version, "/demo?jwt=x")
		p.shake()
		p.Accept(askHex(version)).Send(camHex(version))
		w.WantAnnounced("demo/cam")
		v := w.webTransport(version, "/demo")
		if v.Conn.Kind() != transport.WebTransport {
			t.Fatal("not WebTransport")
		}
		v.shake()
		v.Accept(askHex(version))
		sub := v.subscribe(cam(0))
		sub.Want(v.okHex())
		c := &chain{world: w, publisher: p, subscriber: v}
		up := p.serve(c.wanted(cam(0)))
		up.Send(p.startHex(5))
		p.Uni(p.groupHex(0, 5, 'a')).Fin()
		v.AcceptUni(v.groupHex(0, 5, 'a')).WantEOF()
	})
}

package moqlite

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/moqrelay/moqrelay/relay/moq"
	"github.com/moqrelay/moqrelay/relay/origin"
	"github.com/moqrelay/moqrelay/relay/transport"
	wire "github.com/moqrelay/moqrelay/relay/wire/moqlite"
)

// TestSetupAtOnce: the relay's SETUP goes out before anything has come, and on
// raw QUIC nothing else does before the client's.
func TestSetupAtOnce(t *testing.T) {
	each(t, withSetup, nil, func(w *world, v wire.Version) {
		p := w.connect(v)
		p.AcceptUni(relaySetupHex).WantEOF()
		p.WantNoStream(time.Second)
		early := p.OpenStream("06 06 03 63616d 01 76") // waits
		early.WantSilence(time.Second)
		p.Uni("01 0a 02 01 01 02 05 04 800003e8").Fin() // Probe 2, Hop 1000 in four bytes
		p.Accept(askHex(v))
		early.WantReset(p.notFound())
		if got := w.session(0).peerHop(); got != 1000 {
			t.Errorf("the peer is hop %d", got)
		}
	})
}

// TestSetupTimeLimit: the wait for SETUP is bounded, by what is there of the
// handshake's time.
func TestSetupTimeLimit(t *testing.T) {
	for _, half := range []string{"", "01", "01 05", "01 05 01 02 03 2f"} {
		t.Run(half, func(t *testing.T) {
			each(t, withSetup, nil, func(w *world, v wire.Version) {
				p := w.connect(v)
				if half != "" {
					p.Uni(half)
				}
				start := time.Now()
				code := wire.CodeTimeout
				if v.HasCosts() {
					code = wire.CloseTimeout
				}
				p.WantClosed(code)
				if took := time.Since(start); took > w.Config.HandshakeTimeout+rtt {
					t.Errorf("closed after %v", took)
				}
				settle()
				w.WantMetric("sessions_refused_total", "reason=timeout", 1)
			})
		})
	}
}

// TestSetupTolerated: what a client may say, in any order, and what is unknown.
func TestSetupTolerated(t *testing.T) {
	tests := []struct{ name, setup string }{
		{"nothing", setupHex},
		{"unknown parameters", "01 0b 03 3f 00  40ff 02 aabb  05 01 07"},
		{"every parameter, in the order of L6", "01 0e 04 01 01 01  05 02 43e8  03 01 01  04 01 00"},
		{"an empty path is none", "01 03 01 02 00"},
		{"a role that is unknown", "01 04 01 03 01 09"},
		{"values in long varints", "01 0b 01 05 08 c0000000000003e8"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			each(t, withSetup, nil, func(w *world, v wire.Version) {
				p := w.connect(v)
				p.shakeWith(tt.setup)
				p.Accept(askHex(v))
				p.wantAlive()
			})
		})
	}
}

// TestSetupViolations: each closes the session with the version's code.
func TestSetupViolations(t *testing.T) {
	tests := []struct {
		name         string
		webTransport bool
		streams      []string
	}{
		{"a second Setup stream", false, []string{setupHex, setupHex}},
		{"two at the same time, one of them half", false, []string{"01 05", setupHex}},
		{"a parameter twice", false, []string{"01 07 02 01 01 01 01 01 01"}},
		{"an unknown parameter twice", false, []string{"01 05 02 3f 00 3f 00"}},
		{"Path over WebTransport", true, []string{"01 04 01 02 01 2f"}},
		{"an empty Path over WebTransport", true, []string{"01 03 01 02 00"}},
		{"Path that is none", false, []string{"01 06 01 02 03 616263"}},
		{"Path of a proxy", false, []string{"01 0c 01 02 09 " + hexString("http://a/")}},
		{"Path that leads up", false, []string{"01 08 01 02 05 2f612f2e2e"}},
		{"Path that leads up in disguise", false, []string{"01 0c 01 02 09 " + hexString("/a/%2E%2e")}},
		{"Path that is no text", false, []string{"01 05 01 02 02 2fff"}},
		{"65 parameters", false, []string{"01 02 4041"}},
		{"a value that is no number", false, []string{"01 05 01 05 02 0101"}},
		{"a message that is too short", false, []string{"01 01 01"}},
		{"bytes behind the last parameter", false, []string{"01 02 00 00"}},
		{"2^62-1 bytes", false, []string{"01 ffffffffffffffff"}},
		{"reset inside", false, []string{"01 02 01 reset"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			each(t, withSetup, nil, func(w *world, v wire.Version) {
				p := w.connect(v)
				if tt.webTransport {
					p = w.webTransport(v, "/")
				}
				for _, bytes := range tt.streams {
					bytes, reset := strings.CutSuffix(bytes, "reset")
					s := p.Uni(bytes)
					if reset {
						settle()
						s.Reset(0)
					}
				}
				p.WantClosed(p.protocolError())
			})
		})
	}
}

func hexString(s string) string { return fmt.Sprintf("%x", s) }

// TestServerSetup: a server names neither a path nor a role.
func TestServerSetup(t *testing.T) {
	for name, setup := range map[string]string{"V44, Path": "01 04 01 02 01 2f", "an empty Path": "01 03 01 02 00", "V44, Role 0": "01 04 01 03 01 00"} {
		t.Run(name, func(t *testing.T) {
			eachDialled(t, withSetup, func(_ *world, _ *Session, server *peer) {
				server.AcceptUni(relaySetupHex).WantEOF()
				server.Uni(setup)
				server.WantClosed(server.protocolError())
			})
		})
	}
	t.Run("nothing", func(t *testing.T) {
		eachDialled(t, withSetup, func(_ *world, s *Session, server *peer) {
			server.AcceptUni(relaySetupHex).WantEOF()
			server.Accept(askHex(server.v)) // a client waits for nothing
			<-s.Ready()
			server.Uni("01 05 01 05 02 43e8").Fin()
			settle()
			if s.peerHop() != 1000 {
				t.Errorf("the server is hop %d", s.peerHop())
			}
		})
	})
}

// eachDialled runs f with sessions that dialled a server which is played by a
// peer.
func eachDialled(t *testing.T, versions []wire.Version, f func(w *world, s *Session, server *peer)) {
	t.Helper()
	for _, v := range versions {
		t.Run(v.String(), func(t *testing.T) {
			accepted := make(chan transport.Conn, 1)
			bubble(t, func(w *world) {
				accepted = make(chan transport.Conn, 1) // of this bubble
				w.Wrap = func(c transport.Conn) transport.Conn { accepted <- c; return idle{c} }
			}, func(w *world) {
				dialled(w, v, accepted, func(s *Session, server *peer) { f(w, s, server) })
			})
		})
	}
}

// idle is a connection on which no stream arrives at the session under test, and
// none can be opened.
type idle struct{ transport.Conn }

func (c idle) AcceptStream(context.Context) (transport.Stream, error) { return nil, c.gone() }

func (c idle) AcceptUniStream(context.Context) (transport.ReceiveStream, error) {
	return nil, c.gone()
}

func (c idle) OpenStream(context.Context) (transport.Stream, error) { return nil, c.gone() }

func (c idle) OpenUniStream() (transport.SendStream, error) { return nil, c.gone() }

func (c idle) gone() error {
	<-c.Context().Done()
	return context.Cause(c.Context())
}

// TestRoot: the path of the request, in SETUP or in the URL, is what the client's
// paths are below, and stays as it is written.
func TestRoot(t *testing.T) {
	tests := []struct{ path, want string }{
		{"/", "cam"},
		{"/demo", "demo/cam"},
		{"//demo///x/", "demo/x/cam"},
		{"/demo?jwt=a.b.c", "demo/cam"},
		{"/demo%2Fx", "demo%2Fx/cam"},
		{"/my%20room", "my%20room/cam"},
	}
	for _, tt := range tests {
		t.Run(tt.path, func(t *testing.T) {
			each(t, withSetup, nil, func(w *world, v wire.Version) {
				for _, p := range []*peer{w.connect(v), w.webTransport(v, tt.path)} {
					if p.Conn.Kind() == transport.QUIC {
						p.shakeWith("01" + hexString(string(wire.Setup{Path: tt.path, HasPath: true}.Append(nil))))
					} else {
						p.shake()
					}
					p.Accept(askHex(v)).Send(camHex(v))
					w.WantAnnounced(tt.want)
					watch := p.OpenStream(map[bool]string{true: "01 02 00 00", false: "01 01 00"}[v.HasExclude()])
					watch.Want("02 09 01") // and so does its own appear
					if v.HasCosts() {
						watch.Want("00 09 03 63616d")
					} else {
						watch.Want("08 01 03 63616d")
					}
					p.Leave()
					w.WantAnnounced()
				}
			})
		})
	}
	t.Run("a URL with a query and no path", func(t *testing.T) {
		bubble(t, nil, func(w *world) {
			p := w.connect(wire.Version06)
			p.shakeWith("01" + hexString(string(wire.Setup{Path: "?jwt=x", HasPath: true}.Append(nil))))
			p.Accept(askHex(p.v)).Send(camHex(p.v))
			w.WantAnnounced("cam")
		})
	})
}

// TestInBand: SETUP of lite-01 and lite-02, in both forms.
func TestInBand(t *testing.T) {
	tests := []struct{ name, client, server string }{
		{"V29, as current clients write it", "20 002c 03 c0000000ff0dad02 c0000000ff0dad01 c0000000ff00000e 02 02 8000a455 07 0b 6d6f712d6c6974652d6a73", "21 0009 c0000000ff0dad02 00"},
		{"the client's order decides", "20 0013 02 c0000000ff0dad01 c0000000ff0dad02 00 00", "21 0009 c0000000ff0dad01 00"},
		{"an old client, with a varint", "20 0a 01 c0000000ff0dad01 00", "21 09 c0000000ff0dad01 00"},
		{"only the second is known", "20 0012 02 c0000000ff00000e c0000000ff0dad02 00", "21 0009 c0000000ff0dad02 00"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, nil, func(w *world) {
				p := w.connect(wire.Version02)
				s := p.OpenStream(tt.client)
				s.Want(tt.server)
				p.Accept("01 01 00")
				s.Send("02 5388") // V31
				s.Send("01 00")
				settle()
				s.WantSilence(time.Second)
				p.wantAlive()
				s.Fin()
				p.WantClosed(wire.CodeCancel)
			})
		})
	}
}

func TestInBandRefused(t *testing.T) {
	tests := []struct {
		name, client string
		code         wire.Code
	}{
		{"no common version", "20 000a 01 c0000000ff0dad05 00", wire.CodeVersion},
		{"no version", "20 0002 00 00", wire.CodeVersion},
		{"another stream", "01 01 00", wire.CodeProtocol},
		{"the Session stream's type", "00", wire.CodeProtocol},
		{"too short", "20 0001 01", wire.CodeProtocol},
		{"2^62-1 versions", "20 0009 ffffffffffffffff 00", wire.CodeProtocol},
		{"2^62-1 bytes", "20 ffffffffffffffff", wire.CodeProtocol},
		{"nothing", "", wire.CodeTimeout},
		{"half of it", "20 000a 01 c000", wire.CodeTimeout},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, nil, func(w *world) {
				p := w.connect(wire.Version02)
				if tt.client != "" {
					p.OpenStream(tt.client)
				}
				p.WantClosed(tt.code)
			})
		})
	}
	t.Run("malformed SESSION_INFO", func(t *testing.T) {
		bubble(t, nil, func(w *world) {
			p := w.client(wire.Version02)
			p.control.Send("00")
			p.WantClosed(wire.CodeProtocol)
		})
	})
}

// TestInBandClient: what we offer, and that a server chooses from it.
func TestInBandClient(t *testing.T) {
	const offer = "20 0012 02 c0000000ff0dad02 c0000000ff0dad01 00"
	t.Run("chosen", func(t *testing.T) {
		eachDialled(t, []wire.Version{wire.Version02, wire.Version01}, func(_ *world, s *Session, server *peer) {
			hello := server.Accept(offer)
			server.WantNoStream(soon)
			hello.Send(fmt.Sprintf("21 0009 c0000000ff0dad%02x 00", uint8(server.v)))
			server.Accept("01 01 00")
			<-s.Ready()
			if s.version != server.v {
				t.Errorf("speaks %v", s.version)
			}
		})
	})
	t.Run("not offered", func(t *testing.T) {
		eachDialled(t, []wire.Version{wire.Version02}, func(_ *world, _ *Session, server *peer) {
			server.Accept(offer).Send("21 0009 c0000000ff0dad03 00")
			server.WantClosed(wire.CodeVersion)
		})
	})
	t.Run("too late", func(t *testing.T) {
		eachDialled(t, []wire.Version{wire.Version02}, func(_ *world, _ *Session, server *peer) {
			server.Accept(offer).Send("21 00")
			server.WantClosed(wire.CodeTimeout)
		})
	})
}

// TestPeerWaitsForMark: a client that links nodes waits to learn which it has
// reached, and no longer than the handshake may take.
func TestPeerWaitsForMark(t *testing.T) {
	for _, says := range []bool{true, false} {
		t.Run(fmt.Sprint(says), func(t *testing.T) {
			accepted := make(chan transport.Conn, 1)
			bubble(t, func(w *world) {
				accepted = make(chan transport.Conn, 1)
				w.Wrap = func(c transport.Conn) transport.Conn { accepted <- c; return idle{c} }
				w.Config.Class = origin.Peer
				w.Config.Node = "n1"
			}, func(w *world) {
				dialled(w, wire.Version06, accepted, func(s *Session, server *peer) {
					server.WantNoStream(time.Second)
					if !says {
						server.WantClosed(wire.CloseTimeout)
						return
					}
					server.Uni("01" + hexString(string(wire.Setup{Node: "n2", Hop: 7}.Append(nil)))).Fin()
					<-s.Ready()
					if s.Node() != "n2" || !s.IsNode() {
						t.Errorf("the server is %q, a node: %t", s.Node(), s.IsNode())
					}
				})
			})
		})
	}
}

// TestClose: how sessions end, what is told and what counted.
func TestClose(t *testing.T) {
	tests := []struct {
		name   string
		end    func(w *world, p *peer)
		reason string
	}{
		{"the peer leaves", func(_ *world, p *peer) { p.Leave() }, "peer"},
		{"the peer complains", func(_ *world, p *peer) { _ = p.Conn.CloseWithError(3, "bad") }, "peer_error"},
		{"Close", func(w *world, p *peer) { w.session(0).Close(16, "stop"); p.WantClosed(16) }, "local"},
		{"the context of Run", func(w *world, p *peer) { w.Cancel(); p.WantClosed(0) }, "local"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			each(t, versions, nil, func(w *world, v wire.Version) {
				p := w.client(v)
				labels := fmt.Sprintf("peer=client,protocol=%s,transport=quic", v)
				w.WantMetric("sessions", labels, 1)
				tt.end(w, p)
				settle()
				w.WantMetric("sessions_closed_total", "reason="+tt.reason, 1)
				w.WantMetric("sessions", labels, 0)
				if errs := w.Ended(); len(errs) != 1 || errors.Is(errs[0], context.Canceled) {
					t.Errorf("Run returned %v", errs)
				}
			})
		})
	}
}

// TestPanic: a bug ends the session it shows up in, and no more.
func TestPanic(t *testing.T) {
	withPanics(t, func() {
		bubble(t, func(w *world) {
			w.Config.Accept = func(p moq.Path) error {
				if p == moq.NewPath("cam") {
					panic("BUG: a test")
				}
				return nil
			}
		}, func(w *world) {
			other := w.client(wire.Version06)
			p := w.connect(wire.Version06)
			p.shake()
			p.Accept(askHex(p.v)).Send(camHex(p.v))
			p.WantClosed(wire.CloseInternal)
			settle()
			w.WantMetric("panics_total", "", 1)
			other.wantAlive()
		})
	})
}

// TestCodesInHandshake: a session may be ended from outside while its version is
// being settled in band. It is the race detector that looks.
func TestCodesInHandshake(t *testing.T) {
	each(t, versions[:2], nil, func(w *world, v wire.Version) {
		p := w.connect(v)
		settle()
		s := w.session(0)
		go func() { _ = s.Codes.Session(nil) }() // nothing orders it before or after the handshake
		p.shake()
	})
}

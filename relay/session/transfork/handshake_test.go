package transfork

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/moqrelay/moqrelay/relay/origin"
	"github.com/moqrelay/moqrelay/relay/session"
	"github.com/moqrelay/moqrelay/relay/transport"
	wire "github.com/moqrelay/moqrelay/relay/wire/transfork"
)

const (
	markHex       = "01 80004d52 02 6e31" // one extension: the node n1
	markedServer  = "c0000000ff0bad02 01 80004d52 05 72656c6179"
	markedClient  = "00 01 c0000000ff0bad02 " + markHex
	otherVersions = "00 02 c0000000ff0bad04 c0000000ff0bad02 01 4050 03 010203"
)

func withNode(w *world) { w.Config.Class, w.Config.Node = origin.Peer, "relay" }

func TestHandshake(t *testing.T) {
	tests := []struct{ name, client, server, node string }{
		{"S1 is answered with S2", sessionClientHex, sessionServerHex, ""},
		{"S3: other versions and extensions do not matter", otherVersions, sessionServerHex, ""},
		{"long varints", "40 00 40 01 c0000000ff0bad02 40 00", sessionServerHex, ""},
		{"a node is answered with our own name", markedClient, markedServer, "n1"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, withNode, func(w *world) {
				p := w.connect()
				s := p.OpenStream(tt.client)
				s.Want(tt.server)
				p.Accept(interestHex)
				<-w.session(0).Ready()
				if got := w.session(0).Node(); got != tt.node {
					t.Errorf("the peer is %q, want %q", got, tt.node)
				}
				s.WantSilence(time.Minute) // nothing more on the Session stream
				p.wantAlive()
			})
		})
	}
}

// TestIdentify holds that the mark is told before anything else is served.
func TestIdentify(t *testing.T) {
	var marks []string
	bubble(t, func(w *world) {
		withNode(w)
		w.Config.Identify = func(mark string) bool {
			marks = append(marks, mark)
			return false
		}
	}, func(w *world) {
		w.connect().OpenStream(markedClient).Want(markedServer)
		w.client()
	})
	if strings.Join(marks, ",") != "n1," {
		t.Errorf("told of the marks %q, want n1 and none", marks)
	}
}

func TestHandshakeRefused(t *testing.T) {
	tests := []struct {
		name, client string
		code         wire.Code
		reason       string // metric
	}{
		{"S4: no common version", "00 01 c0000000ff0bad04 00", wire.CodeVersion, "version"},
		{"first stream is no Session stream", "01 00", wire.CodeDecode, "handshake"},
		{"extension twice", "00 01 c0000000ff0bad02 02 4050 00 4050 00", wire.CodeDecode, "handshake"},
		{"node name that is no text", "00 01 c0000000ff0bad02 01 80004d52 01 ff", wire.CodeDecode, "handshake"},
		{"2^62-1 versions", "00 ffffffffffffffff", wire.CodeDecode, "handshake"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, nil, func(w *world) {
				p := w.connect()
				p.OpenStream(tt.client)
				p.WantClosed(tt.code)
				settle()
				w.WantMetric("sessions_refused_total", "reason="+tt.reason, 1)
				w.WantMetric("sessions", "peer=client,protocol=moq-transfork,transport=quic", 0)
			})
		})
	}
}

// TestB21HandshakeTimeLimit: a connection that does not get to its handshake's
// end is closed, however much it is kept alive.
func TestB21HandshakeTimeLimit(t *testing.T) {
	tests := []struct{ name, client string }{
		{"no stream at all", ""},
		{"one byte of the Session stream", "00"},
		{"half a version", "00 01 c000"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, nil, func(w *world) {
				p := w.connect()
				if tt.client != "" {
					p.OpenStream(tt.client)
				}
				start := time.Now()
				p.WantClosed(wire.CodeTransport)
				if took, most := time.Since(start), w.Config.HandshakeTimeout+rtt; took > most {
					t.Errorf("closed after %v, want at most %v", took, most)
				}
				settle()
				w.WantMetric("sessions_refused_total", "reason=timeout", 1)
			})
		})
	}
}

// dialled runs f with a session that dialled a server which is played by a peer.
func dialled(t *testing.T, change func(*session.Config), f func(w *world, s *Session, server *peer)) {
	t.Helper()
	var accepted chan transport.Conn
	bubble(t, func(w *world) {
		// The relay's endpoint hands its connection to the test instead of serving it.
		accepted = make(chan transport.Conn, 1)
		w.Wrap = func(c transport.Conn) transport.Conn { accepted <- c; return idle{c} }
	}, func(w *world) {
		c := w.Config
		if change != nil {
			change(&c)
		}
		conn := w.Dial(nil)
		server := w.peer(<-accepted)
		s := Client(conn, c).(*Session)
		ctx, cancel := context.WithCancel(w.Context())
		done := make(chan struct{})
		go func() { defer close(done); _ = s.Run(ctx) }()
		defer func() { cancel(); <-done }() // also after a Fatal
		f(w, s, server)
	})
}

// idle is a connection on which no stream arrives at the session under test.
type idle struct{ transport.Conn }

func (c idle) AcceptStream(ctx context.Context) (transport.Stream, error) {
	select {
	case <-ctx.Done():
	case <-c.Context().Done():
	}
	<-c.Context().Done()
	return nil, context.Cause(c.Context())
}

func TestClientHandshake(t *testing.T) {
	t.Run("without a name", func(t *testing.T) {
		dialled(t, nil, func(_ *world, s *Session, server *peer) {
			hello := server.Accept(sessionClientHex)
			server.WantNoStream(time.Second) // over WebTransport it could overtake
			if s.IsReady() {
				t.Error("ready before the answer")
			}
			hello.Send(sessionServerHex)
			server.Accept(interestHex)
			<-s.Ready()
		})
	})
	t.Run("with a name", func(t *testing.T) {
		dialled(t, func(c *session.Config) { c.Node = "n1" }, func(_ *world, s *Session, server *peer) {
			server.Accept(markedClient).Send(markedServer)
			<-s.Ready()
			if s.Node() != "relay" {
				t.Errorf("the server is %q, want relay", s.Node())
			}
		})
	})
}

// TestB24ClientChecksVersion: the server may only choose what was offered.
func TestB24ClientChecksVersion(t *testing.T) {
	dialled(t, nil, func(_ *world, s *Session, server *peer) {
		server.Accept(sessionClientHex).Send("c0000000ff0bad04 00")
		<-server.Conn.Context().Done()
		if e, ok := errors.AsType[*transport.CloseError](context.Cause(server.Conn.Context())); !ok || e.Code != uint32(wire.CodeVersion) {
			t.Errorf("ended with %v, want code 9", context.Cause(server.Conn.Context()))
		}
		if s.IsReady() {
			t.Error("the session is ready")
		}
	})
}

func TestB21ClientTimeLimit(t *testing.T) {
	dialled(t, nil, func(w *world, _ *Session, server *peer) {
		server.Accept(sessionClientHex).Send("c000")
		start := time.Now()
		<-server.Conn.Context().Done()
		if took := time.Since(start); took > w.Config.HandshakeTimeout+rtt {
			t.Errorf("gave up after %v", took)
		}
	})
}

// TestB14SessionUpdate: bytes on the Session stream are bitrates, and ignored.
func TestB14SessionUpdate(t *testing.T) {
	bubble(t, nil, func(w *world) {
		p := w.connect()
		s := p.shake()
		for _, update := range []string{"802625a0" /* S5 */, "5388", "80010000", "00", "ffffffffffffffff"} {
			s.Send(update)
			settle()
			p.wantAlive()
		}
	})
}

func TestEndOfSessionStream(t *testing.T) {
	t.Run("FIN closes with 0", func(t *testing.T) {
		bubble(t, nil, func(w *world) {
			p := w.connect()
			p.shake().Fin()
			if e := p.WantClosed(wire.CodeCancel); e.Reason != "cancelled" {
				t.Errorf("reason %q, want cancelled", e.Reason)
			}
		})
	})
	t.Run("reset closes with 4", func(t *testing.T) {
		bubble(t, nil, func(w *world) {
			p := w.connect()
			p.shake().Reset(wire.CodeCancel)
			p.WantClosed(wire.CodeTransport)
		})
	})
}

// TestClose holds how sessions end and what is counted.
func TestClose(t *testing.T) {
	tests := []struct {
		name   string
		end    func(w *world, p *peer)
		reason string
		isNil  bool // Run's result
	}{
		{"the peer leaves", func(_ *world, p *peer) { _ = p.Conn.CloseWithError(0, "bye") }, "peer", false},
		{"the peer complains", func(_ *world, p *peer) { _ = p.Conn.CloseWithError(5, "bad") }, "peer_error", false},
		{"Close", func(w *world, p *peer) { w.session(0).Close(0, "the relay stops"); p.WantClosed(wire.CodeCancel) }, "local", false},
		{"the context of Run", func(w *world, p *peer) { w.Cancel(); p.WantClosed(wire.CodeCancel) }, "local", true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, nil, func(w *world) {
				p := w.client()
				w.WantMetric("sessions", "peer=client,protocol=moq-transfork,transport=quic", 1)
				tt.end(w, p)
				settle()
				w.WantMetric("sessions_closed_total", "reason="+tt.reason, 1)
				w.WantMetric("sessions", "peer=client,protocol=moq-transfork,transport=quic", 0)
				if errs := w.Ended(); len(errs) != 1 || (errs[0] == nil) != tt.isNil {
					t.Errorf("Run returned %v", errs)
				}
			})
		})
	}
}

// TestCloseOverWebTransport: streams are reset before the session is closed, and
// yet the other end learns the code of the close.
func TestCloseOverWebTransport(t *testing.T) {
	bubble(t, nil, func(w *world) {
		conn := w.Dial(func(c *transport.DialConfig) { c.WebTransport = true })
		s := Client(conn, session.Config{})
		ended := make(chan error, 1)
		go func() { ended <- s.Run(context.Background()) }() // received below
		<-s.Ready()
		settle()
		w.session(0).Close(7, "bye")
		want := &transport.CloseError{Code: 7, Reason: "bye", Remote: true}
		if diff := cmp.Diff(error(want), <-ended); diff != "" {
			t.Errorf("the session ended with (-want +got):\n%s", diff)
		}
	})
}

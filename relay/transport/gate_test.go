package transport

import (
	"context"
	"crypto/tls"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
)

// flood starts count handshakes that never get an answer.
func (n *testNet) flood(count int) (stop func()) {
	ctx, cancel := context.WithCancel(n.ctx())
	var dials sync.WaitGroup
	for range count {
		tr := &quic.Transport{Conn: n.clientSocket(func() bool { return true })}
		dials.Go(func() {
			_, _ = tr.Dial(ctx, serverAddr, ways[0].dial.tls(), nil)
			_ = tr.Close()
		})
	}
	time.Sleep(2 * latency)
	return func() { cancel(); dials.Wait() }
}

func TestHalfOpenLimits(t *testing.T) {
	t.Parallel()
	const retryAbove, refuseAbove = 8, 16
	limits := Limits{RetryAbove: retryAbove, RefuseAbove: refuseAbove}
	t.Run("above the first limit addresses are proved", func(t *testing.T) {
		bubble(t, ServerConfig{Limits: limits}, func(n *testNet) {
			stop := n.flood(40)
			s := n.endpoint.Stats()
			if s.HalfOpen != retryAbove || s.Retried == 0 || s.Refused != 0 {
				t.Errorf("under attack: %+v, want no more than %d half open", s, retryAbove)
			}
			start := time.Now()
			for _, w := range ways {
				client, _ := n.connect(w)
				_ = client.CloseWithError(0, "")
			}
			if took := time.Since(start); took > 2*time.Second {
				t.Errorf("good clients took %v", took)
			}
			stop()
			time.Sleep(DefaultHandshakeTimeout)
			if s := n.endpoint.Stats(); s.HalfOpen != 0 || s.Accepted != uint64(len(ways)) {
				t.Errorf("after the attack: %+v", s)
			}
		})
	})
	t.Run("above the second limit all are refused", func(t *testing.T) {
		bubble(t, ServerConfig{Limits: limits}, func(n *testNet) {
			for range refuseAbove { // these have proved their addresses
				n.h3Client()
			}
			_, err := n.dial(ways[0])
			if !errors.Is(err, ErrUnreachable) {
				t.Errorf("dial: %v, want ErrUnreachable", err)
			}
			if s := n.endpoint.Stats(); s.HalfOpen != refuseAbove || s.Refused == 0 {
				t.Errorf("stats %+v", s)
			}
			time.Sleep(DefaultHandshakeTimeout)
			client, _ := n.connect(ways[0])
			_ = client.CloseWithError(0, "")
		})
	})
}

// A peer cannot make us hold more than the budget by sending what nobody reads.
func TestReceiveBudget(t *testing.T) {
	t.Parallel()
	b := newReceiveBudget(100)
	var first, second, unknown quic.Conn
	ctx, end := context.WithCancel(t.Context())
	b.addUntil(ctx, &first)
	b.addUntil(t.Context(), &second)
	steps := []struct {
		conn *quic.Conn
		by   uint64
		want bool
	}{
		{&first, 60, true}, {&second, 60, false}, {&second, 40, true}, {&first, 1, false}, {&unknown, 0, false},
	}
	for i, s := range steps {
		if got := b.grow(s.conn, s.by); got != s.want {
			t.Errorf("step %d: grow by %d: %v, want %v", i, s.by, got, s.want)
		}
	}
	end()
	for deadline := time.Now().Add(5 * time.Second); !b.grow(&second, 60); {
		if time.Now().After(deadline) {
			t.Fatal("what a connection had grown by is not given back")
		}
	}
	newReceiveBudget(0).add(nil) // no bound, nothing to keep
}

// Early data could be a replay. A client that comes back with a ticket resumes,
// and is let send nothing before its handshake is done: neither on raw QUIC nor
// over HTTP/3, whose own server would have it.
func TestS26NoEarlyData(t *testing.T) {
	t.Parallel()
	bubble(t, ServerConfig{}, func(n *testNet) {
		for _, alpn := range []string{plain.ALPN, http3.NextProtoH3} {
			conf := tlsConfig(&tls.Config{RootCAs: testRoots, ServerName: "relay.example"}, []string{alpn})
			conf.ClientSessionCache = tls.NewLRUClientSessionCache(1)
			for _, returns := range []bool{false, true} {
				tr := &quic.Transport{Conn: n.clientSocket(nil)}
				qc, err := tr.DialEarly(n.ctx(), serverAddr, conf, &quic.Config{EnableDatagrams: true})
				if err != nil {
					t.Fatal(err)
				}
				if _, err := qc.OpenUniStream(); err == nil && !isDone(qc.HandshakeComplete()) {
					t.Errorf("%s: a stream opens before the handshake is done", alpn)
				}
				<-qc.HandshakeComplete()
				time.Sleep(time.Second) // the ticket arrives
				if state := qc.ConnectionState(); state.Used0RTT || state.TLS.DidResume != returns {
					t.Errorf("%s: early data accepted: %t; resumed: %t, want %t", alpn, state.Used0RTT, state.TLS.DidResume, returns)
				}
				_ = qc.CloseWithError(0, "")
				_ = tr.Close()
			}
		}
	})
}

func isDone(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/moqrelay/moqrelay/relay/moq"
	"github.com/moqrelay/moqrelay/relay/server"
	"github.com/moqrelay/moqrelay/relay/transport"
	wire "github.com/moqrelay/moqrelay/relay/wire/transfork"
)

const mib = 1 << 20

// heap is the memory of the relay that is in use once all garbage is gone.
func (p *process) heap() float64 {
	p.t.Helper()
	p.get("/debug/pprof/heap?gc=1")
	return p.metric("go_memstats_heap_inuse_bytes") + p.metric("go_memstats_stack_inuse_bytes")
}

// wantHeap holds what the relay uses to so many bytes more than before.
func (p *process) wantHeap(before, more float64) {
	p.t.Helper()
	now := p.heap()
	p.t.Logf("memory in use: %.1f MiB before, %.1f MiB now; resident %.0f MiB", before/mib, now/mib, p.metric("process_resident_memory_bytes")/mib)
	if now > before+more {
		p.t.Errorf("%.1f MiB more in use than before, want %.1f at most", (now-before)/mib, more/mib)
	}
}

// bystander is a viewer that must not notice what others do.
type bystander struct {
	*viewer
	done   sync.WaitGroup
	cancel context.CancelFunc

	mu   sync.Mutex
	ages []time.Duration // from written to read, since the last take
	seen map[int]bool    // numbers of all groups that came whole
	err  error           // why the subscription ended
}

// watch has a client receive path for as long as the test runs.
func watch(t *testing.T, ca *authority, p *process, path ...string) *bystander {
	t.Helper()
	b := &bystander{viewer: join(t, ca, p), seen: make(map[int]bool)}
	b.receive(promptly, path...)
	sub, err := b.Subscribe(path...)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	b.cancel = cancel
	b.done.Go(func() { b.run(ctx, sub) })
	t.Cleanup(func() {
		cancel()
		b.done.Wait()
	})
	return b
}

func (b *bystander) run(ctx context.Context, sub *moq.Subscription) {
	for {
		group, err := sub.Next(ctx)
		if err != nil {
			if ctx.Err() == nil {
				b.mu.Lock()
				b.err = err
				b.mu.Unlock()
			}
			return
		}
		frame, err := group.NextFrame(ctx)
		group.Close()
		if err != nil {
			continue // it is missed
		}
		number, written := parseFrame(string(frame))
		b.mu.Lock()
		b.ages = append(b.ages, time.Since(written))
		b.seen[number] = true
		b.mu.Unlock()
	}
}

// missedLocked returns how many groups were not received, leaving out those of
// the last second, which may be on their way: groups overtake each other.
func (b *bystander) missedLocked() int {
	numbers := slices.Sorted(maps.Keys(b.seen))
	if len(numbers) == 0 {
		return 0
	}
	missed := 0
	for n := numbers[0]; n < numbers[len(numbers)-1]-20; n++ {
		if !b.seen[n] {
			missed++
		}
	}
	return missed
}

// parseFrame reads what a camera writes: a number and a time.
func parseFrame(frame string) (number int, written time.Time) {
	fields := strings.Fields(frame)
	number, _ = strconv.Atoi(fields[0])
	nanos, _ := strconv.ParseInt(fields[1], 10, 64)
	return number, time.Unix(0, nanos)
}

// take returns the median age of the groups since the last take, and holds that
// none was missing and they have not stopped.
func (b *bystander) take(what string) time.Duration {
	b.t.Helper()
	b.mu.Lock()
	ages, missed, err := b.ages, b.missedLocked(), b.err
	b.ages = nil
	b.mu.Unlock()
	if err != nil || len(ages) == 0 || missed != 0 {
		b.t.Errorf("%s: a viewer beside got %d groups, missed %d, error %v", what, len(ages), missed, err)
		return 0
	}
	slices.Sort(ages)
	p50, p99 := ages[len(ages)/2], ages[len(ages)*99/100]
	b.t.Logf("%s: a viewer beside got %d groups, age p50 %v, p99 %v", what, len(ages), p50.Round(time.Millisecond), p99.Round(time.Millisecond))
	return p50
}

// TestS14HalfOpenStreams: as many streams as a client may open, each stopped
// after its first byte, cost little, are given up in time and end nothing.
func TestS14HalfOpenStreams(t *testing.T) {
	t.Parallel()
	const most = 1024
	for name, change := range map[string]func(*transport.DialConfig){
		"raw QUIC":     func(*transport.DialConfig) {},
		"WebTransport": overWebTransport,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ca := newAuthority(t)
			p := startRelay(t, ca)
			publish(t, ca, p, "demo")
			beside := watch(t, ca, p, "demo")
			conn, _ := dial(t, ca, p, change)
			shake(t, conn)
			before := p.heap()

			bidi, uni := 0, 0
			for ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second); ; bidi++ {
				s, err := conn.OpenStream(ctx)
				if err != nil {
					cancel()
					break
				}
				if _, err := s.Write([]byte{byte(bidi % 5)}); err != nil {
					t.Fatal(err)
				}
				if bidi == most-4 { // those of the session and of HTTP/3 count
					cancel()
				}
			}
			for ; ; uni++ {
				s, err := conn.OpenUniStream()
				if errors.Is(err, transport.ErrNoCredit) {
					break
				}
				if err != nil {
					t.Fatal(err)
				}
				if _, err := s.Write([]byte{0}); err != nil {
					t.Fatal(err)
				}
			}
			t.Logf("%d bidirectional and %d unidirectional streams", bidi, uni)
			if bidi < most/2 || uni < most-8 || uni > most {
				t.Errorf("%d and %d streams could be opened, want nearly %d of each", bidi, uni, most)
			}
			p.wantHeap(before, 12<<10*2*most)
			beside.take("among half-open streams")
			if conn.Context().Err() != nil {
				t.Errorf("the session with half-open streams ended: %v", context.Cause(conn.Context()))
			}
			// What says nothing for ten seconds is given up, and others may be opened.
			within(t, 20*time.Second, "streams are given up", func() bool {
				s, err := conn.OpenUniStream()
				if err != nil {
					return false
				}
				s.CancelWrite(0)
				return true
			})
			p.noErrors()
		})
	}
}

// TestS14Sessions: there are no more sessions than allowed, and who is turned
// away is told, counted, and let in when there is room again.
func TestS14Sessions(t *testing.T) {
	t.Parallel()
	const most = 4
	ca := newAuthority(t)
	p := startRelay(t, ca, "--max-sessions", fmt.Sprint(most))
	publish(t, ca, p, "demo")
	beside := watch(t, ca, p, "demo")
	var last *viewer
	for range most - 2 {
		last = join(t, ca, p)
	}
	for _, change := range []func(*transport.DialConfig){func(*transport.DialConfig) {}, overWebTransport} {
		conn, _ := dial(t, ca, p, change)
		if e := wantClosed(t, conn, promptly); !strings.Contains(e.Reason, "--max-sessions") {
			t.Errorf("one session too many was closed with %v", e)
		}
	}
	if got := p.metric("moq_relay_sessions_refused_total", `reason="limit"`); got != 2 {
		t.Errorf("%v sessions were refused, want 2", got)
	}
	last.Close()
	within(t, promptly, "there is room", func() bool { return p.metric("moq_relay_sessions") == most-1 })
	join(t, ca, p).receive(promptly, "demo")
	beside.take("with a full house")
	p.noErrors()
}

// TestS14FullWindows: clients that send as much as they may of what is read at
// a measured rate fill their windows, not more, and end themselves.
func TestS14FullWindows(t *testing.T) {
	t.Parallel()
	const clients = 30
	ca := newAuthority(t)
	p := startRelay(t, ca)
	publish(t, ca, p, "demo")
	beside := watch(t, ca, p, "demo")
	before := p.heap()
	var sending sync.WaitGroup
	var conns []transport.Conn
	for range clients {
		conn, _ := dial(t, ca, p)
		s := shake(t, conn)
		conns = append(conns, conn)
		sending.Go(func() {
			for zeros := make([]byte, 64<<10); ; { // SESSION_UPDATE, one a byte
				if _, err := s.Write(zeros); err != nil {
					return
				}
			}
		})
	}
	t.Cleanup(func() {
		for _, c := range conns {
			_ = c.CloseWithError(0, "")
		}
		sending.Wait()
	})
	elapse(t, 2*time.Second) // the windows fill
	p.wantHeap(before, clients*2*mib)
	beside.take("among full windows")
	for _, conn := range conns {
		if e := wantClosed(t, conn, 20*time.Second); e.Code != uint32(wire.CodeBounds) {
			t.Errorf("a client over the rate of control messages was closed with %v", e)
		}
	}
	within(t, promptly, "they are counted", func() bool {
		return p.metric("moq_relay_sessions_closed_total", `reason="limit"`) == clients
	})
	beside.take("after that")
	p.noErrors()
}

// TestS15FrozenReaders: viewers that read nothing any more hold up nobody, and
// what waits for them is bounded. It does not run beside other tests, as it
// compares times.
func TestS15FrozenReaders(t *testing.T) {
	const (
		frozen      = 25
		memoryLimit = 32 * mib
		queueLimit  = 2 * mib // three seconds
		frame       = 32 << 10
		measured    = 1500 * time.Millisecond
	)
	ca := newAuthority(t)
	p := startRelay(t, ca, "--memory-limit", "32MiB", "--queue-limit", "2MiB")
	publishFrames(t, ca, p, frame, "demo")
	beside := watch(t, ca, p, "demo")
	elapse(t, measured)
	alone := beside.take("alone")
	before := p.heap()

	for range frozen {
		freeze(t, ca, p, "demo")
	}
	beside.take("while they come")
	elapse(t, measured)
	among := beside.take("among frozen viewers")
	if among > 5*alone+100*time.Millisecond {
		t.Errorf("among frozen viewers groups are %v old, alone %v", among, alone)
	}
	p.wantHeap(before, memoryLimit+frozen*mib/2)
	if used := p.metric("moq_relay_cache_bytes"); used > memoryLimit {
		t.Errorf("%v bytes are cached, want %v at most", used, memoryLimit)
	}
	if rss := p.metric("process_resident_memory_bytes"); rss > 512*mib {
		t.Errorf("%.0f MiB are resident", rss/mib)
	}
	within(t, 2*promptly, "what they do not take is dropped", func() bool {
		return p.metric("moq_relay_groups_dropped_total", `reason="slow_subscriber"`) > frozen
	})
	var sessions []server.SessionInfo
	p.read("/sessions", &sessions)
	waiting := 0
	for _, s := range sessions {
		if s.QueuedBytes > queueLimit+2*frame {
			t.Errorf("%d bytes wait for %s, want %d at most", s.QueuedBytes, s.Remote, queueLimit)
		}
		if s.QueuedBytes > 0 {
			waiting++
		}
	}
	if waiting < frozen {
		t.Errorf("%d viewers are behind, want %d", waiting, frozen)
	}
	p.noErrors()
}

// announcer is a session whose announcements are ours to write, byte by byte.
func announcer(t *testing.T, conn transport.Conn) transport.Stream {
	t.Helper()
	shake(t, conn)
	s, err := conn.AcceptStream(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	interest := make([]byte, 2)
	if _, err := io.ReadFull(s, interest); err != nil {
		t.Fatal(err)
	}
	return s
}

// TestS16Limits: what goes over a limit is refused, or ends its session if it
// cannot be, and no other.
func TestS16Limits(t *testing.T) {
	t.Parallel()
	const paths, subscriptions, interests, rate = 50, 20, 5, 40
	ca := newAuthority(t)
	p := startRelay(t, ca, "--max-paths", fmt.Sprint(paths), "--max-subscriptions", fmt.Sprint(subscriptions),
		"--max-interests", fmt.Sprint(interests), "--max-control-rate", fmt.Sprint(rate))
	publish(t, ca, p, "demo")
	beside := watch(t, ca, p, "demo")
	for name, misbehave := range map[string]func(t *testing.T, conn transport.Conn) (closes bool){
		"paths": func(t *testing.T, conn transport.Conn) bool {
			s := announcer(t, conn)
			for i := range paths + 1 {
				_, _ = s.Write(wire.Announce{Status: wire.Active, Suffix: []string{"many", fmt.Sprint(i)}}.Append(nil))
			}
			return true
		},
		"announcements and their withdrawals": func(t *testing.T, conn transport.Conn) bool {
			s := announcer(t, conn)
			both := wire.Announce{Status: wire.Active, Suffix: []string{"churn"}}.Append(nil)
			both = wire.Announce{Status: wire.Ended, Suffix: []string{"churn"}}.Append(both)
			for conn.Context().Err() == nil {
				_, _ = s.Write(both)
			}
			return true
		},
		"subscribes and unsubscribes": func(t *testing.T, conn transport.Conn) bool {
			shake(t, conn)
			for id := wire.SubscribeID(0); conn.Context().Err() == nil; id++ {
				s, err := conn.OpenStream(conn.Context())
				if err != nil {
					break
				}
				_, _ = s.Write(wire.Subscribe{ID: id, Path: []string{"demo"}, Order: wire.Descending}.Append(wire.StreamSubscribe.Append(nil)))
				_ = s.Close()
			}
			return true
		},
		"subscriptions": func(t *testing.T, conn transport.Conn) bool {
			shake(t, conn)
			return refusals(t, conn, subscriptions, func(i int) []byte {
				return wire.Subscribe{ID: wire.SubscribeID(i), Path: []string{"demo"}, Order: wire.Descending}.Append(wire.StreamSubscribe.Append(nil))
			})
		},
		"interests": func(t *testing.T, conn transport.Conn) bool {
			shake(t, conn)
			return refusals(t, conn, interests, func(int) []byte {
				return wire.AnnounceInterest{}.Append(wire.StreamAnnounce.Append(nil))
			})
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			conn, _ := dial(t, ca, p)
			began := time.Now()
			stop := context.AfterFunc(t.Context(), func() { _ = conn.CloseWithError(0, "") })
			defer stop()
			if misbehave(t, conn) {
				e := wantClosed(t, conn, 20*time.Second)
				t.Logf("closed after %v: %v", time.Since(began).Round(time.Millisecond), e)
				if e.Code != uint32(wire.CodeBounds) {
					t.Errorf("closed with %d, want %d", e.Code, wire.CodeBounds)
				}
			} else if conn.Context().Err() != nil {
				t.Errorf("the session has ended: %v", context.Cause(conn.Context()))
			}
		})
	}
	t.Cleanup(func() {
		beside.take("beside all that")
		if got := p.metric("moq_relay_broadcasts", `source="local"`); got != 1 {
			t.Errorf("%v broadcasts are announced, want 1", got)
		}
		p.noErrors()
	})
}

// refusals opens twice as many streams as are allowed and holds that so many
// are answered and the others are reset with the code for limits.
func refusals(t *testing.T, conn transport.Conn, allowed int, first func(i int) []byte) (closes bool) {
	t.Helper()
	answered, refused := 0, 0
	for i := range 2 * allowed {
		s := open(t, conn, first(i))
		_ = s.SetReadDeadline(time.Now().Add(promptly))
		_, err := s.Read(make([]byte, 64))
		e, isReset := errors.AsType[*transport.StreamError](err)
		switch {
		case err == nil:
			answered++
		case isReset && e.Remote && e.Code == uint32(wire.CodeBounds):
			refused++
		default:
			t.Fatalf("stream %d: %v", i, err)
		}
	}
	if answered != allowed || refused != allowed {
		t.Errorf("%d answered and %d refused, want %d of each", answered, refused, allowed)
	}
	return false
}

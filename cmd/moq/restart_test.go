package main

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/moqrelay/moqrelay/cmd/moq/internal/clip"
	"github.com/moqrelay/moqrelay/relay"
	"github.com/moqrelay/moqrelay/relay/config"
)

// runRelay runs a relay at an address, "127.0.0.1:0" for any, until one of the two
// is called: kill gives no word of leaving, leave does. It returns where that is.
func runRelay(t *testing.T, bind string) (address string, kill, leave func()) {
	t.Helper()
	c := config.Default()
	c.Bind, c.Dev = bind, true
	sockets, err := relay.Listen(c)
	if err != nil {
		t.Fatal(err)
	}
	address = sockets.UDP.LocalAddr().String()
	r, err := relay.New(c, relay.Environment{Sockets: sockets, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	hard, cancelHard := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx, hard) }()
	wait := sync.OnceFunc(func() {
		if err := <-done; err != nil {
			t.Errorf("relay: %v", err)
		}
	})
	kill = func() { cancelHard(); cancel(); wait() }
	t.Cleanup(kill)
	return address, kill, func() { cancel(); wait() }
}

// balancer is an address behind which relays stand. Who comes from a new address
// is led to the one that has its turn, and stays there.
type balancer struct {
	front *net.UDPConn
	turn  atomic.Pointer[net.UDPAddr]

	mu    sync.Mutex
	flows map[netip.AddrPort]*net.UDPConn
}

func newBalancer(t *testing.T) *balancer {
	t.Helper()
	front, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	b := &balancer{front: front, flows: make(map[netip.AddrPort]*net.UDPConn)}
	var wg sync.WaitGroup
	wg.Go(func() { b.run(&wg) })
	t.Cleanup(func() {
		_ = front.Close()
		b.mu.Lock()
		for _, flow := range b.flows {
			_ = flow.Close()
		}
		b.mu.Unlock()
		wg.Wait()
	})
	return b
}

// lead leads those who come from now on to a relay.
func (b *balancer) lead(t *testing.T, address string) {
	t.Helper()
	to, err := net.ResolveUDPAddr("udp", address)
	if err != nil {
		t.Fatal(err)
	}
	b.turn.Store(to)
}

func (b *balancer) run(wg *sync.WaitGroup) {
	buf := make([]byte, 2048)
	for {
		n, from, err := b.front.ReadFromUDPAddrPort(buf)
		if err != nil {
			return
		}
		b.mu.Lock()
		flow, ok := b.flows[from]
		if !ok {
			if flow, err = net.DialUDP("udp", nil, b.turn.Load()); err != nil {
				b.mu.Unlock()
				return
			}
			b.flows[from] = flow
			wg.Go(func() { b.back(flow, from) })
		}
		b.mu.Unlock()
		_, _ = flow.Write(buf[:n]) // it may be lost, like anything over UDP
	}
}

func (b *balancer) back(flow *net.UDPConn, to netip.AddrPort) {
	buf := make([]byte, 2048)
	for {
		n, err := flow.Read(buf)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		_, _ = b.front.WriteToUDPAddrPort(buf[:n], to)
	}
}

// states returns what became of the relays of a command that ran with --json.
func states(t *testing.T, events string) []string {
	t.Helper()
	var all []string
	for decoder := json.NewDecoder(strings.NewReader(events)); decoder.More(); {
		var e sessionEvent
		if err := decoder.Decode(&e); err != nil {
			t.Fatal(err)
		}
		if e.Event == "session" {
			all = append(all, e.State)
		}
	}
	return all
}

// A relay that is gone and comes back, with another certificate, in the middle of
// a broadcast costs it nothing: every sample arrives once, and in its place.
func TestRelayRestarts(t *testing.T) {
	address, kill, _ := runRelay(t, "127.0.0.1:0")
	url := "http://" + address
	file := exampleFile(t, clip.MP4)
	sub := start(t, nil, "sub", url, "--name", "test/restart", "--json", "-o", "-", "--jitter", "10s")
	pub := start(t, nil, "pub", url, "--name", "test/restart", file, "--json")
	sub.awaitOutput(&sub.stderr, `"track":"video1","group":0`)
	kill()
	runRelay(t, address)
	pub.wait(exitDone)
	sub.wait(exitDone)
	want := []string{"connected", "lost", "connected"}
	for name, r := range map[string]*running{"pub": pub, "sub": sub} {
		if got := states(t, r.stderr.String()); !slices.Equal(got, want) {
			t.Errorf("%s: sessions %q, want %q", name, got, want)
		}
	}
	if diff := cmp.Diff(parseMovie(t, clip.MP4), parseMovie(t, sub.stdout.Bytes())); diff != "" {
		t.Errorf("media (-published +played):\n%s", diff[:min(len(diff), 2000)])
	}
	if !strings.Contains(sub.stderr.String(), `"lost":0`) {
		t.Errorf("progress: %q", sub.stderr.String())
	}
}

// A relay that leaves in the middle of a broadcast, with another one behind the
// same address, costs nothing: there is no moment without a relay.
func TestRelayLeaves(t *testing.T) {
	first, _, leave := runRelay(t, "127.0.0.1:0")
	second, _, _ := runRelay(t, "127.0.0.1:0")
	b := newBalancer(t)
	b.lead(t, first)
	at := []string{"moqf://" + b.front.LocalAddr().String(), "--tls-disable-verify", "--name", "test/leaves", "--json"}
	sub := start(t, nil, append([]string{"sub", "-o", "-", "--jitter", "10s"}, at...)...)
	pub := start(t, nil, append(append([]string{"pub"}, at...), exampleFile(t, clip.MP4))...)
	sub.awaitOutput(&sub.stderr, `"track":"video1","group":0`)
	b.lead(t, second)
	leave()
	pub.wait(exitDone)
	sub.wait(exitDone)
	for name, r := range map[string]*running{"pub": pub, "sub": sub} {
		if got, want := states(t, r.stderr.String()), []string{"connected", "leaving", "connected"}; !slices.Equal(got, want) {
			t.Errorf("%s: sessions %q, want %q", name, got, want)
		}
	}
	if diff := cmp.Diff(parseMovie(t, clip.MP4), parseMovie(t, sub.stdout.Bytes())); diff != "" {
		t.Errorf("media (-published +played):\n%s", diff[:min(len(diff), 2000)])
	}
}

// Who may not dial again ends with its session, and says so.
func TestNoReconnect(t *testing.T) {
	address, kill, _ := runRelay(t, "127.0.0.1:0")
	url := "http://" + address
	pub := start(t, nil, "pub", url, "--name", "test/once", "--loop", "--quiet", "--no-reconnect")
	sub := start(t, nil, "sub", url, "--name", "test/once", "--json", "--no-reconnect")
	sub.awaitOutput(&sub.stdout, `"event":"group"`)
	began := time.Now()
	kill()
	sub.wait(exitFailed)
	pub.wait(exitFailed)
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("ended after %v", took)
	}
	twoLines(t, pub.stderr.String())
	if got := states(t, sub.stdout.String()); !slices.Equal(got, []string{"connected", "lost"}) {
		t.Errorf("sessions %q", got)
	}
}

package follow_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/moqrelay/moqrelay/cmd/moq/internal/follow"
	"github.com/moqrelay/moqrelay/relay/config"
	"github.com/moqrelay/moqrelay/relay/moq"
	"github.com/moqrelay/moqrelay/relay/origin"
	"github.com/moqrelay/moqrelay/relay/relaytest"
	"github.com/moqrelay/moqrelay/relay/session"
	"github.com/moqrelay/moqrelay/relay/session/protocols"
	"github.com/moqrelay/moqrelay/relay/transport"
)

const (
	// latency is that of every way; a round trip takes twice as long.
	latency = 10 * time.Millisecond
	// What is published: a group every 200 ms, of five frames.
	groupTime, framesPerGroup = 200 * time.Millisecond, 5
)

// clip is the track of these tests.
var clip = moq.NewPath("demo", "clip", "video1")

// world is a root, two regions of two relays each, and their clients.
type world struct {
	*testing.T
	*relaytest.Network
	protocol string        // that clients speak
	pace     time.Duration // between two frames of the clip
	nodes    map[string]*relaytest.Node
	turn     atomic.Int32 // of the region's name: the relay that is dialled next
}

// tell runs f in a bubble with a cluster that is meshed, once with clients of each
// family of protocols.
func tell(t *testing.T, f func(w *world)) {
	t.Helper()
	for _, protocol := range []string{protocols.MoqTransfork, "moq-lite-06"} {
		t.Run(protocol, func(t *testing.T) { tellIn(t, protocol, f) })
	}
}

func tellIn(t *testing.T, protocol string, f func(w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := &world{T: t, protocol: protocol, pace: groupTime / framesPerGroup, Network: relaytest.NewNetwork(t, latency), nodes: make(map[string]*relaytest.Node)}
		w.nodes["root"] = w.Start("root", nil)
		for _, name := range []string{"eu-0", "eu-1", "us-0", "us-1"} {
			w.nodes[name] = w.Start(name, []string{"root"}, func(c *config.Config) { c.Region = name[:2] })
		}
		time.Sleep(3 * time.Second) // until all are linked
		f(w)
	})
}

// relay is a session with a relay, as a command has it.
type relay struct {
	session.Session
	node  string
	in    *origin.Table
	ended chan struct{}
	err   error
}

func (r *relay) Announced() *origin.Table { return r.in }
func (r *relay) Ended() <-chan struct{}   { return r.ended }
func (r *relay) Err() error               { <-r.ended; return r.err }
func (r *relay) Subscriptions() int       { return r.Stats().Subscriptions }
func (r *relay) Close()                   { r.Session.Close(0, ""); <-r.ended }

// client is a publisher or a viewer that follows.
type client struct {
	w        *world
	follower *follow.Follower
	out      *origin.Table
	budget   *moq.Budget

	mu     sync.Mutex
	states []string // what became of which relay
}

// dials is the client's way to one of the relays of a region, each in its turn:
// as a name with two addresses, or a balancer that does not know who is there.
func (w *world) dials(host string, nodes []string, out *origin.Table, budget *moq.Budget) func(context.Context) (follow.Relay, error) {
	hop := origin.NewHop()
	return func(ctx context.Context) (follow.Relay, error) {
		node := nodes[int(w.turn.Add(1))%len(nodes)]
		conn, err := w.Connect(ctx, host, node, transport.DialConfig{
			Protocols:   protocols.Only(w.protocol).QUIC(),
			IdleTimeout: 1500 * time.Millisecond, KeepAlive: 500 * time.Millisecond,
		})
		if err != nil {
			return nil, err
		}
		r := &relay{node: node, in: origin.NewTable(), ended: make(chan struct{})}
		r.Session = protocols.Client(conn, session.Config{
			Hop: hop,
			In:  r.in, Out: out, Class: origin.Client, Interest: moq.NewPath("demo"),
			Budget: budget, TrackLimits: moq.Limits{QueuedGroups: 512, MaxGroups: 512}, Linger: 100 * time.Millisecond,
			Log: slog.New(slog.NewTextHandler(w.Output(), nil)).With("client", host),
		})
		go func() { // Close waits for it
			defer close(r.ended)
			r.err = r.Run(context.WithoutCancel(ctx))
		}()
		select {
		case <-r.Ready():
			return r, nil
		case <-r.ended:
			return nil, fmt.Errorf("%s: %w", node, r.err)
		case <-ctx.Done():
			r.Close()
			return nil, context.Cause(ctx)
		}
	}
}

// join starts a client that follows the relays of those names.
func (w *world) join(host string, nodes ...string) *client {
	w.Helper()
	c := &client{w: w, out: origin.NewTable(), budget: moq.NewBudget(64 << 20)}
	dial := w.dials(host, nodes, c.out, c.budget)
	first, err := dial(w.Context())
	if err != nil {
		w.Fatal(err)
	}
	c.follower = follow.New(follow.Config{
		Dial: dial, Tell: c.note, Budget: c.budget, Limits: moq.Limits{QueuedGroups: 512, MaxGroups: 512},
	}, first)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := c.follower.Run(ctx); err != nil {
			w.Errorf("%s: %v", host, err)
		}
	}()
	w.Cleanup(func() { cancel(); <-done })
	return c
}

func (c *client) note(e follow.Event) {
	c.mu.Lock()
	defer c.mu.Unlock()
	state := fmt.Sprintf("%s %s", e.Relay.(*relay).node, e.State)
	c.states = append(c.states, state)
	c.w.Logf("%v %s", e.At.Format("05.000"), state)
}

// at returns the relay that the client is at.
func (c *client) at() string {
	if r := c.follower.Current(); r != nil {
		return r.(*relay).node
	}
	return ""
}

func (c *client) history() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.states)
}

// publish publishes the clip until the returned function is called.
func (c *client) publish() (stop func()) {
	track := moq.NewTrack(moq.TrackConfig{
		Path: clip, Info: moq.Info{Priority: moq.DefaultPriority}, Budget: c.budget, Retention: 5 * time.Second,
		Limits: moq.Limits{MaxGroups: 512},
	})
	track.SetInfo(moq.Info{Priority: moq.DefaultPriority})
	registration, err := c.out.Announce(origin.Announcement{Path: clip, Kind: origin.Track, Class: origin.Local, Source: published{track}})
	if err != nil {
		c.w.Fatal(err)
	}
	quit, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		ticker := time.NewTicker(c.w.pace)
		defer ticker.Stop()
		var group *moq.GroupWriter
		for i := 0; ; i++ {
			if i%framesPerGroup == 0 {
				if group != nil {
					_ = group.Finish()
				}
				group, _ = track.AppendGroup()
			}
			_ = group.WriteFrame([]byte{byte(i % framesPerGroup)})
			select {
			case <-ticker.C:
			case <-quit:
				_ = group.Finish()
				track.End(moq.ErrEnded)
				time.Sleep(time.Second)
				registration.Withdraw()
				return
			}
		}
	}()
	stop = sync.OnceFunc(func() { close(quit); <-done })
	c.w.Cleanup(stop)
	return stop
}

type published struct{ track *moq.Track }

func (p published) Track(moq.Path) (*moq.Track, error) { return p.track, nil }

// viewing is what a viewer has got of the clip.
type viewing struct {
	w    *world
	name string
	done chan struct{}
	err  error // why it ended

	mu      sync.Mutex
	groups  map[uint64][]byte // frames by group
	whole   map[uint64]bool
	twice   int // groups that came twice
	last    time.Time
	longest time.Duration // between two frames
}

// watch has a client watch the clip until it ends.
func (c *client) watch(name string) *viewing {
	c.w.Helper()
	track, err := c.follower.Track(clip)
	if err != nil {
		c.w.Fatal(err)
	}
	sub, err := track.Subscribe(moq.SubscribeOptions{Priority: moq.DefaultPriority, Order: moq.Ascending})
	if err != nil {
		c.w.Fatal(err)
	}
	v := &viewing{w: c.w, name: name, done: make(chan struct{}), groups: make(map[uint64][]byte), whole: make(map[uint64]bool)}
	var wg sync.WaitGroup
	go func() {
		defer close(v.done)
		for {
			g, err := sub.Next(context.Background())
			if err != nil {
				wg.Wait()
				v.err = err
				return
			}
			wg.Go(func() { v.read(g) })
		}
	}()
	c.w.Cleanup(func() { sub.Close(); <-v.done })
	return v
}

func (v *viewing) read(g *moq.GroupReader) {
	defer g.Close()
	v.mu.Lock()
	if _, ok := v.groups[g.Sequence()]; ok {
		v.twice++
	}
	v.groups[g.Sequence()] = nil
	v.mu.Unlock()
	for {
		frame, err := g.NextFrame(context.Background())
		v.mu.Lock()
		now := time.Now()
		switch {
		case err == nil:
			v.groups[g.Sequence()] = append(v.groups[g.Sequence()], frame...)
			if !v.last.IsZero() {
				v.longest = max(v.longest, now.Sub(v.last))
			}
			v.last = now
		case errors.Is(err, io.EOF):
			v.whole[g.Sequence()] = true
		}
		v.mu.Unlock()
		if err != nil {
			return
		}
	}
}

// lost returns the groups that did not come whole, between the first and the
// last, and the longest time between two frames so far, which it forgets.
func (v *viewing) lost() (groups []uint64, longest time.Duration) {
	synctest.Wait() // for what comes at this very moment
	v.mu.Lock()
	defer v.mu.Unlock()
	var numbers []uint64
	for n := range v.groups {
		numbers = append(numbers, n)
	}
	slices.Sort(numbers)
	if len(numbers) == 0 {
		return nil, 0
	}
	for n := numbers[0]; n < numbers[len(numbers)-1]; n++ {
		if want := []byte{0, 1, 2, 3, 4}; !v.whole[n] || !slices.Equal(v.groups[n], want) {
			groups = append(groups, n)
		}
	}
	longest = v.longest
	v.longest = 0
	if v.twice > 0 {
		v.w.Errorf("%s got %d groups twice", v.name, v.twice)
	}
	return groups, longest
}

// quietFor returns how long ago the last frame came.
func (v *viewing) quietFor() time.Duration {
	v.mu.Lock()
	defer v.mu.Unlock()
	return time.Since(v.last)
}

// wantSmooth checks that nothing was lost and that no gap was longer than limit.
func (v *viewing) wantSmooth(what string, limit time.Duration) {
	v.w.Helper()
	lost, longest := v.lost()
	v.w.Logf("%s, %s: %d groups lost %v, longest gap %v", what, v.name, len(lost), lost, longest)
	if len(lost) > 0 || longest > limit {
		v.w.Errorf("%s, %s: %d groups lost (%v), longest gap %v, want none and at most %v", what, v.name, len(lost), lost, longest, limit)
	}
}

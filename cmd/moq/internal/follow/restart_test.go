package follow_test

import (
	"context"
	"errors"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"github.com/moqrelay/moqrelay/cmd/moq/internal/follow"
	"github.com/moqrelay/moqrelay/relay/moq"
	"github.com/moqrelay/moqrelay/relay/origin"
)

// played is a relay with the clip alone, which does what the test says.
type played struct {
	track        *moq.Track
	leaves, gone chan struct{}
}

func newPlayed() *played {
	p := &played{leaves: make(chan struct{}), gone: make(chan struct{})}
	p.track = moq.NewTrack(moq.TrackConfig{Path: clip, Budget: moq.NewBudget(1 << 20), Limits: moq.Limits{MaxGroups: 512}})
	return p
}

func (p *played) Track(moq.Path) (*moq.Track, error) { return p.track, nil }
func (p *played) Announced() *origin.Table           { return nil }
func (p *played) GoingAway() <-chan struct{}         { return p.leaves }
func (p *played) Ended() <-chan struct{}             { return p.gone }
func (p *played) Err() error                         { return moq.ErrGoingAway }
func (p *played) Subscriptions() int                 { return 0 }
func (p *played) Close() {
	select {
	case <-p.gone:
	default:
		close(p.gone)
		p.track.End(moq.ErrGoingAway)
	}
}

// begin begins the groups from first to last, and ends those up to whole.
func (p *played) begin(t *testing.T, first, last, whole uint64) {
	t.Helper()
	for n := first; n <= last; n++ {
		g, err := p.track.CreateGroup(n)
		if err != nil {
			t.Fatal(err)
		}
		if err := g.WriteFrame([]byte{0}); err != nil {
			t.Fatal(err)
		}
		if n <= whole {
			_ = g.Finish()
		}
	}
}

// The next relay says how far the track is there. If that is where it was asked to
// begin, or a little before, the track goes on; if it is far before, the publisher
// has begun again.
func TestNextRelayIsBehind(t *testing.T) {
	for name, test := range map[string]struct {
		largest  uint64
		restarts bool
	}{
		"AtTheFirstGroupThatIsOpen": {98, false},
		"ALittleBehind":             {95, false},
		"FarBehind":                 {3, true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				first, next := newPlayed(), newPlayed()
				f := follow.New(follow.Config{Dial: func(context.Context) (follow.Relay, error) { return next, nil }}, first)
				ctx, cancel := context.WithCancel(context.Background())
				done := make(chan struct{})
				go func() { defer close(done); _ = f.Run(ctx) }()
				defer func() { cancel(); next.Close(); <-done }()
				track, err := f.Track(clip)
				if err != nil {
					t.Fatal(err)
				}
				sub, err := track.Subscribe(moq.SubscribeOptions{Order: moq.Ascending})
				if err != nil {
					t.Fatal(err)
				}
				defer sub.Close()
				first.track.SetInfo(moq.Info{})
				first.begin(t, 90, 90, 90)
				time.Sleep(5 * time.Second)
				first.begin(t, 91, 100, 97) // 98 to 100 are open
				time.Sleep(10 * time.Millisecond)
				close(first.leaves)
				time.Sleep(time.Second)
				next.track.SetLargest(moq.Location{Group: test.largest})
				next.track.SetInfo(moq.Info{})
				time.Sleep(100 * time.Millisecond)
				if isRestart := follow.IsRestart(track.Err()); isRestart != test.restarts {
					t.Fatalf("the track is at its end because of %v, want a restart: %v", track.Err(), test.restarts)
				}
				if test.restarts {
					return
				}
				next.begin(t, 98, 101, 101)
				ctx, stop := context.WithTimeout(t.Context(), 10*time.Second)
				defer stop()
				for n := uint64(90); n <= 101; n++ {
					g, err := sub.Next(ctx)
					if err != nil {
						t.Fatal(err)
					}
					if _, err := g.NextFrame(ctx); err != nil || g.Sequence() != n {
						t.Errorf("group %d has come, %v, want %d", g.Sequence(), err, n)
					}
					if _, err := g.NextFrame(ctx); !errors.Is(err, io.EOF) {
						t.Errorf("group %d ended with %v, want it whole", n, err)
					}
					g.Close()
				}
			})
		})
	}
}

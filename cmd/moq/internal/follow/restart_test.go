package follow_test

import (
	"context"
	"errors"
	"io"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/moqrelay/moqrelay/cmd/moq/internal/follow"
	"github.com/moqrelay/moqrelay/relay/moq"
	"github.com/moqrelay/moqrelay/relay/origin"
)

// played is a relay with a picture and a sound, which does what the test says.
type played struct {
	track        *moq.Track // the clip
	sound        atomic.Pointer[moq.Track]
	leaves, gone chan struct{}
}

func newPlayed() *played {
	p := &played{track: newTrack(clip), leaves: make(chan struct{}), gone: make(chan struct{})}
	p.sound.Store(newTrack(sound))
	return p
}

// sound is the track beside the clip.
var sound = clip.Parent().Append("audio2")

func newTrack(path moq.Path) *moq.Track {
	t := moq.NewTrack(moq.TrackConfig{Path: path, Budget: moq.NewBudget(1 << 20), Limits: moq.Limits{MaxGroups: 512}})
	t.SetInfo(moq.Info{})
	return t
}

func (p *played) Track(path moq.Path) (*moq.Track, error) {
	if path == sound {
		return p.sound.Load(), nil
	}
	return p.track, nil
}

func (p *played) Announced() *origin.Table   { return nil }
func (p *played) GoingAway() <-chan struct{} { return p.leaves }
func (p *played) Ended() <-chan struct{}     { return p.gone }
func (p *played) Err() error                 { return moq.ErrGoingAway }
func (p *played) Subscriptions() int         { return 0 }
func (p *played) Close() {
	select {
	case <-p.gone:
	default:
		close(p.gone)
		p.track.End(moq.ErrGoingAway)
		p.sound.Load().End(moq.ErrGoingAway)
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

// subscribed returns a track of a follower, and a subscription of it.
func subscribed(t *testing.T, f *follow.Follower, path moq.Path) (*moq.Track, *moq.Subscription) {
	t.Helper()
	track, err := f.Track(path)
	if err != nil {
		t.Fatal(err)
	}
	sub, err := track.Subscribe(moq.SubscribeOptions{Order: moq.Ascending})
	if err != nil {
		t.Fatal(err)
	}
	return track, sub
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
				next.track = moq.NewTrack(moq.TrackConfig{Path: clip, Budget: moq.NewBudget(1 << 20), Limits: moq.Limits{MaxGroups: 512}})
				f := follow.New(follow.Config{Dial: func(context.Context) (follow.Relay, error) { return next, nil }}, first)
				ctx, cancel := context.WithCancel(context.Background())
				done := make(chan struct{})
				go func() { defer close(done); _ = f.Run(ctx) }()
				defer func() { cancel(); next.Close(); <-done }()
				track, sub := subscribed(t, f, clip)
				defer sub.Close()
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

// A track that has ended, again and again, while another one of its broadcast goes on
// may be there once more. When all have ended, all are over at once.
func TestTrackEndsAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		relay := newPlayed()
		f := follow.New(follow.Config{Dial: func(context.Context) (follow.Relay, error) { return nil, errors.New("no other") }}, relay)
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan struct{})
		go func() { defer close(done); _ = f.Run(ctx) }()
		defer func() { cancel(); relay.Close(); <-done }()
		var tracks []*moq.Track
		for _, path := range []moq.Path{clip, sound} {
			track, sub := subscribed(t, f, path)
			defer sub.Close()
			tracks = append(tracks, track)
		}
		write := func(track *moq.Track, group uint64) {
			g, err := track.CreateGroup(group)
			if err != nil {
				t.Fatal(err)
			}
			_ = g.WriteFrame([]byte{0})
			_ = g.Finish()
		}
		time.Sleep(100 * time.Millisecond)
		write(relay.track, 1)
		write(relay.sound.Load(), 1)
		relay.sound.Load().End(moq.ErrEnded)
		time.Sleep(3 * time.Second)
		write(relay.track, 2)
		if err := tracks[1].Err(); err != nil {
			t.Fatalf("the sound is over: %v", err)
		}
		relay.sound.Store(newTrack(sound))
		write(relay.sound.Load(), 2)
		time.Sleep(2 * time.Second)
		if newest, _ := tracks[1].Newest(); newest != 2 {
			t.Errorf("of the sound group %d is the last one, want 2", newest)
		}
		relay.track.End(moq.ErrEnded)
		relay.sound.Load().End(moq.ErrEnded)
		time.Sleep(200 * time.Millisecond)
		for _, track := range tracks {
			if !errors.Is(track.Err(), moq.ErrEnded) {
				t.Errorf("%v is at its end because of %v, want that its publisher ended it", track.Path(), track.Err())
			}
		}
	})
}

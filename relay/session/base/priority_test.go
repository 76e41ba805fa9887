package base

import (
	"testing"

	"github.com/moqrelay/moqrelay/relay/moq"
	"github.com/moqrelay/moqrelay/relay/session"
	"github.com/moqrelay/moqrelay/relay/transport"
)

// placed counts how often a stream was placed among the others.
type placed struct {
	transport.SendStream
	count   int
	urgency uint8
}

func (p *placed) SetPriority(urgency uint8, _ bool) { p.count, p.urgency = p.count+1, urgency }

// TestUpdatePlaces: an update places only those groups anew whose place it may
// change.
func TestUpdatePlaces(t *testing.T) {
	b := New(sink{ctx: t.Context()}, session.Config{}, false, noCodes{})
	var streams [3]*placed
	var served [3]*Delivery
	for i, p := range []moq.Priority{1, 1, 5} {
		track := moq.NewTrack(moq.TrackConfig{})
		d := b.NewDelivery(uint64(i), nil, plain{})
		if err := d.Subscribe(func() (*moq.Track, error) { return track, nil }, moq.SubscribeOptions{Priority: p}); err != nil {
			t.Fatal(err)
		}
		if !b.Add(d) {
			t.Fatal("not added")
		}
		defer b.Remove(d)
		streams[i], served[i] = &placed{}, d
		d.addSender(&sender{down: d, stream: streams[i]})
	}
	defer b.stopTimers()
	steps := []struct {
		reason string
		who    int
		to     moq.SubscribeOptions
		counts [3]int // of the streams that are placed
		want   [3]uint8
	}{
		{"nothing changes", 0, moq.SubscribeOptions{Priority: 1, MaxAge: 9}, [3]int{}, [3]uint8{2, 2, 1}},
		{"a priority in use for another", 0, moq.SubscribeOptions{Priority: 5}, [3]int{1, 0, 0}, [3]uint8{1, 2, 1}},
		{"the order", 0, moq.SubscribeOptions{Priority: 5, Order: moq.Ascending}, [3]int{1, 0, 0}, [3]uint8{1, 2, 1}},
		{"one more priority", 0, moq.SubscribeOptions{Priority: 9}, [3]int{1, 1, 1}, [3]uint8{1, 3, 2}},
		{"one priority less", 2, moq.SubscribeOptions{Priority: 1}, [3]int{1, 1, 1}, [3]uint8{1, 2, 2}},
	}
	for _, step := range steps {
		for _, s := range streams {
			s.count = 0
		}
		served[step.who].Update(step.to)
		for i, s := range streams {
			if s.count != step.counts[i] || s.urgency != step.want[i] {
				t.Errorf("%s: stream %d is placed %d times, at last at %d; want %d and %d", step.reason, i, s.count, s.urgency, step.counts[i], step.want[i])
			}
		}
	}
}

package follow

import (
	"context"
	"time"

	"github.com/moqrelay/moqrelay/relay/moq"
)

// feed is one subscription to a track at one relay.
type feed struct {
	// Static after construction.
	track        *track
	member       *member
	announcement uint64 // of the path, when it began
	sub          *moq.Subscription
	least        uint64 // a publisher that has not come to this group has begun again
	began        time.Time

	// Guarded by track.mu.
	closed    bool
	first     uint64 // the first group that came
	firstAt   time.Time
	highest   uint64 // group that came
	copying   map[uint64]struct{}
	delivered bool // a group came that had not come before
}

// run puts the groups of the feed into the track, until it ends.
func (d *feed) run(ctx context.Context) {
	t := d.track
	defer d.sub.Close()
	t.copies.Go(func() { d.learn(ctx) })
	for {
		group, err := d.sub.Next(ctx)
		if drops := d.sub.Dropped(); len(drops) > 0 {
			t.drop(d, drops)
		}
		if err != nil {
			t.ended(d, err)
			return
		}
		s := d.take(group.Sequence())
		if s == nil {
			group.Close()
			continue
		}
		t.copies.Go(func() {
			defer group.Close()
			err := s.copy(ctx, group)
			t.leave(s, err == nil)
			d.copied(s.number)
		})
	}
}

// learn passes on what the publisher says of the track.
func (d *feed) learn(ctx context.Context) {
	upstream := d.sub.Track()
	select {
	case <-upstream.Ready():
		if upstream.Err() == nil {
			d.track.out.SetInfo(upstream.Info())
		}
		if largest, ok := upstream.Largest(); ok && largest.Group < d.least {
			d.track.restarted()
		}
	case <-ctx.Done():
	}
}

// take notes that a group has begun to come, and returns where it goes, nil if
// nobody needs it.
func (d *feed) take(number uint64) *splice {
	t := d.track
	s := t.enter(number)
	t.mu.Lock()
	defer t.mu.Unlock()
	if d.firstAt.IsZero() {
		d.first, d.firstAt = number, time.Now()
		d.copying = make(map[uint64]struct{})
	}
	d.first, d.highest = min(d.first, number), max(d.highest, number)
	if s != nil {
		d.copying[number] = struct{}{}
		d.delivered = true
	}
	return s
}

// copied notes that a group does not come any further.
func (d *feed) copied(number uint64) {
	d.track.mu.Lock()
	defer d.track.mu.Unlock()
	delete(d.copying, number)
}

// isReplacedLocked tells whether the newest feed delivers all that this one would:
// it has begun, and this one has delivered the groups before.
func (d *feed) isReplacedLocked(newest *feed, now time.Time) bool {
	if newest.firstAt.IsZero() {
		// Perhaps there is nothing to come for long.
		return len(d.copying) == 0 && isClosed(newest.sub.Track().Ready()) && now.Sub(newest.began) > 2*handover
	}
	for number := range d.copying {
		if number < newest.first {
			return false
		}
	}
	return d.highest+1 >= newest.first || now.Sub(newest.firstAt) > handover
}

// close ends the subscription. What has begun to come may still come to its end.
func (d *feed) close() {
	d.closed = true
	d.sub.Close()
}

// isEnding tells whether the end of the feed says nothing of the track: the relay
// leaves or has been lost.
func (d *feed) isEnding() bool {
	return isClosed(d.member.relay.GoingAway()) || isClosed(d.member.relay.Ended())
}

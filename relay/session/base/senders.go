package base

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"github.com/moqrelay/moqrelay/relay/moq"
	"github.com/moqrelay/moqrelay/relay/transport"
)

// A subscription that has no credit for another stream looks for it this often: at
// first, when it mostly comes within a round trip, and at the least.
const (
	minCreditPoll = 10 * time.Millisecond
	maxCreditPoll = 200 * time.Millisecond
)

// creditPoll is when to look again after so long a wait: what is added to it is at
// most a quarter, or minCreditPoll.
func creditPoll(waited time.Duration) time.Duration {
	return min(max(waited/4, minCreditPoll), maxCreditPoll)
}

// launch starts to send a group. Without credit for its stream it waits, and
// meanwhile skips to whatever is newest.
func (d *Delivery) launch(ctx context.Context, group *moq.GroupReader) error {
	stream, err := d.base.Conn.OpenUniStream()
	if errors.Is(err, transport.ErrNoCredit) {
		stream, group, err = d.awaitCredit(ctx, group)
	}
	if err != nil {
		group.Abort(moq.StreamCredit)
		return err
	}
	g := &sender{down: d, group: group, stream: stream, sequence: group.Sequence()}
	d.addSender(g)
	if !d.base.Spawn(g.run) {
		d.removeSender(g)
		group.Close()
		return ErrClosed
	}
	return nil
}

// awaitCredit waits until a stream can be opened and returns it with the group
// that is newest by then.
func (d *Delivery) awaitCredit(ctx context.Context, group *moq.GroupReader) (transport.SendStream, *moq.GroupReader, error) {
	began := time.Now()
	timer := time.NewTimer(minCreditPoll)
	defer timer.Stop()
	expired, cancel := context.WithCancel(ctx) // has Next only look
	cancel()
	for {
		select {
		case <-timer.C:
			timer.Reset(creditPoll(time.Since(began)))
		case <-ctx.Done():
			return nil, group, context.Cause(ctx)
		}
		if !group.Newest() {
			d.sub.SkipToNewest(moq.StreamCredit)
			if newer, err := d.sub.Next(expired); err == nil {
				group.Abort(moq.StreamCredit)
				group = newer
			}
		}
		stream, err := d.base.Conn.OpenUniStream()
		if !errors.Is(err, transport.ErrNoCredit) {
			return stream, group, err
		}
	}
}

func (d *Delivery) addSender(g *sender) {
	d.mu.Lock()
	at, _ := slices.BinarySearchFunc(d.senders, g, func(a, b *sender) int { return cmp.Compare(b.sequence, a.sequence) })
	d.senders = slices.Insert(d.senders, at, g)
	d.mu.Unlock()
	d.prioritise()
}

func (d *Delivery) removeSender(g *sender) {
	d.mu.Lock()
	if i := slices.Index(d.senders, g); i >= 0 {
		d.senders = slices.Delete(d.senders, i, i+1)
	}
	d.finished = time.Now()
	d.mu.Unlock()
	notify(d.quieter)
}

func (d *Delivery) sendersNow() []*sender {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.senders)
}

// StopSenders gives up all groups that are being sent. It is for any goroutine.
func (d *Delivery) StopSenders() {
	for _, g := range d.sendersNow() {
		g.stop()
	}
}

// stopDropped gives up the groups that were dropped for this subscriber, whose
// senders may be blocked.
func (d *Delivery) stopDropped() {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, g := range d.senders {
		if reason, dropped := g.group.Dropped(); dropped {
			g.stream.CancelWrite(d.base.Codes.Stream(&moq.DropError{Reason: reason}))
		}
	}
}

// prioritise places the groups that are being sent among the other streams of
// the session. It is called when a group is added, not when one has ended.
func (d *Delivery) prioritise() {
	rank := d.base.rank(d.currentPriority())
	d.mu.Lock()
	defer d.mu.Unlock()
	for behind, g := range d.senders {
		if d.order == moq.Ascending {
			// One level, in the order in which the streams were opened.
			g.stream.SetPriority(urgency(rank, 0), false)
		} else {
			// Tracks of one priority take turns.
			g.stream.SetPriority(urgency(rank, behind), true)
		}
	}
}

// prioritise places all groups anew after priorities have changed.
func (b *Base) prioritise() {
	for _, d := range b.servingNow() {
		d.prioritise()
	}
}

func (b *Base) rank(p moq.Priority) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.ranks.rank(p)
}

// startTickerLocked has tick called while there are subscriptions.
func (b *Base) startTickerLocked() {
	if b.ticker == nil {
		b.ticker = time.AfterFunc(tickInterval, b.tick)
	} else if len(b.serving) == 1 {
		b.ticker.Reset(tickInterval)
	}
}

// tick looks after what does not show up at the next group: senders that are
// blocked by their subscriber while their group was dropped, and drops.
func (b *Base) tick() {
	b.Spawn(func() {
		for _, d := range b.servingNow() {
			d.stopDropped()
			d.tellDrops()
		}
		b.mu.Lock()
		defer b.mu.Unlock()
		if !b.ended && len(b.serving) > 0 {
			b.ticker.Reset(tickInterval)
		}
	})
}

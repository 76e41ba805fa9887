package transfork

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"github.com/moqrelay/moqrelay/relay/moq"
	"github.com/moqrelay/moqrelay/relay/transport"
	wire "github.com/moqrelay/moqrelay/relay/wire/transfork"
)

// creditPoll is how often a subscription looks for credit for another stream.
const creditPoll = 10 * time.Millisecond

// launch starts to send a group. Without credit for its stream it waits, and
// meanwhile skips to whatever is newest.
func (d *downstream) launch(ctx context.Context, group *moq.GroupReader) error {
	stream, err := d.session.conn.OpenUniStream()
	if errors.Is(err, transport.ErrNoCredit) {
		stream, group, err = d.awaitCredit(ctx, group)
	}
	if err != nil {
		group.Abort(moq.StreamCredit)
		return err
	}
	g := &sender{down: d, group: group, stream: stream, sequence: group.Sequence()}
	d.addSender(g)
	if !d.session.spawn(g.run) {
		d.removeSender(g)
		group.Close()
		return errClosed
	}
	return nil
}

// awaitCredit waits until a stream can be opened and returns it with the group
// that is newest by then.
func (d *downstream) awaitCredit(ctx context.Context, group *moq.GroupReader) (transport.SendStream, *moq.GroupReader, error) {
	ticker := time.NewTicker(creditPoll)
	defer ticker.Stop()
	expired, cancel := context.WithCancel(ctx) // has Next only look
	cancel()
	for {
		select {
		case <-ticker.C:
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
		stream, err := d.session.conn.OpenUniStream()
		if !errors.Is(err, transport.ErrNoCredit) {
			return stream, group, err
		}
	}
}

func (d *downstream) addSender(g *sender) {
	d.mu.Lock()
	at, _ := slices.BinarySearchFunc(d.senders, g, func(a, b *sender) int { return cmp.Compare(b.sequence, a.sequence) })
	d.senders = slices.Insert(d.senders, at, g)
	d.mu.Unlock()
	d.prioritise()
}

func (d *downstream) removeSender(g *sender) {
	d.mu.Lock()
	if i := slices.Index(d.senders, g); i >= 0 {
		d.senders = slices.Delete(d.senders, i, i+1)
	}
	d.finished = time.Now()
	d.mu.Unlock()
	notify(d.quieter)
}

func (d *downstream) sendersNow() []*sender {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.senders)
}

// stopSenders gives up all groups that are being sent.
func (d *downstream) stopSenders() {
	for _, g := range d.sendersNow() {
		g.stop(wire.CodeCancel)
	}
}

// stopDropped gives up the groups that were dropped for this subscriber, whose
// senders may be blocked.
func (d *downstream) stopDropped() {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, g := range d.senders {
		if reason, dropped := g.group.Dropped(); dropped {
			g.stream.CancelWrite(uint32(codeOfDrop(reason)))
		}
	}
}

// prioritise places the groups that are being sent among the other streams of
// the session. It is called when a group is added, not when one has ended.
func (d *downstream) prioritise() {
	rank := d.session.rank(d.currentPriority())
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
func (s *Session) prioritise() {
	for _, d := range s.servingNow() {
		d.prioritise()
	}
}

func (s *Session) rank(p moq.Priority) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ranks.rank(p)
}

// startTickerLocked has tick called while there are subscriptions.
func (s *Session) startTickerLocked() {
	if s.ticker == nil {
		s.ticker = time.AfterFunc(tickInterval, s.tick)
	} else if len(s.serving) == 1 {
		s.ticker.Reset(tickInterval)
	}
}

// tick looks after what does not show up at the next group: senders that are
// blocked by their subscriber while their group was dropped, and drops.
func (s *Session) tick() {
	s.spawn(func() {
		for _, d := range s.servingNow() {
			d.stopDropped()
			d.tellDrops()
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		if !s.ended && len(s.serving) > 0 {
			s.ticker.Reset(tickInterval)
		}
	})
}

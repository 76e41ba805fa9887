package main

import (
	"context"
	"errors"
	"io"
	"sync"
	"time"

	"github.com/moqrelay/moqrelay/cmd/moq/internal/hang"
	"github.com/moqrelay/moqrelay/cmd/moq/internal/playout"
	"github.com/moqrelay/moqrelay/relay/moq"
)

// maxOpenGroups is how many groups of a track are read at once. The rest waits
// in the subscription, which is bounded itself.
const maxOpenGroups = 64

// An arrival is something that came of a track.
type arrival struct {
	track int
	at    time.Time
	kind  arrivalKind
	group uint64
	last  uint64 // of groupsLost
	data  []byte // of frameCame
	err   error  // of trackEnded
}

type arrivalKind uint8

const (
	groupBegan arrivalKind = iota
	frameCame
	groupEnded  // whole
	groupBroken // in the middle
	groupsLost
	trackEnded
)

// receiver turns the groups of a subscription into arrivals.
type receiver struct {
	sub      *moq.Subscription
	track    int
	arrivals chan<- arrival
}

// run ends with the track or ctx. The last arrival is trackEnded.
func (r *receiver) run(ctx context.Context) {
	defer r.sub.Close()
	var groups sync.WaitGroup
	slots := make(chan struct{}, maxOpenGroups) // holds one token per group being read
	for {
		group, err := r.sub.Next(ctx)
		for _, lost := range r.sub.Dropped() {
			r.send(ctx, arrival{kind: groupsLost, group: lost.First, last: lost.Last})
		}
		if err != nil {
			groups.Wait()
			r.send(ctx, arrival{kind: trackEnded, err: err})
			return
		}
		r.send(ctx, arrival{kind: groupBegan, group: group.Sequence()})
		select {
		case slots <- struct{}{}:
		case <-ctx.Done():
			group.Close()
			continue
		}
		groups.Go(func() {
			r.read(ctx, group)
			<-slots
		})
	}
}

func (r *receiver) read(ctx context.Context, group *moq.GroupReader) {
	defer group.Close()
	for {
		data, err := group.NextFrame(ctx)
		switch {
		case errors.Is(err, io.EOF):
			r.send(ctx, arrival{kind: groupEnded, group: group.Sequence()})
			return
		case err != nil:
			r.send(ctx, arrival{kind: groupBroken, group: group.Sequence()})
			return
		}
		r.send(ctx, arrival{kind: frameCame, group: group.Sequence(), data: data})
	}
}

func (r *receiver) send(ctx context.Context, a arrival) {
	a.track, a.at = r.track, time.Now()
	select {
	case r.arrivals <- a:
	case <-ctx.Done():
	}
}

// put gives an arrival to the buffer. A frame holds what unpack finds in it.
func (a arrival) put(b *playout.Buffer, unpack func([]byte) ([]hang.Sample, error)) error {
	switch a.kind {
	case groupBegan:
		b.Open(a.track, a.group, a.at)
	case frameCame:
		samples, err := unpack(a.data)
		if err != nil {
			return err
		}
		for _, s := range samples {
			b.Push(playout.Frame{Track: a.track, Group: a.group, Micros: s.Micros, Data: s.Data, Arrived: a.at})
		}
	case groupEnded, groupBroken:
		b.Close(a.track, a.group, a.kind == groupEnded)
	case groupsLost:
		b.Lose(a.track, a.group, a.last)
	case trackEnded:
		b.End(a.track)
	}
	return nil
}

package base

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/moqrelay/moqrelay/relay/metrics"
	"github.com/moqrelay/moqrelay/relay/moq"
	"github.com/moqrelay/moqrelay/relay/origin"
	"github.com/moqrelay/moqrelay/relay/qlog"
	"github.com/moqrelay/moqrelay/relay/session"
	"github.com/moqrelay/moqrelay/relay/transport"
)

const (
	// RequestTimeout is how long a stream may take to say what it is for.
	RequestTimeout = 10 * time.Second
	// tickInterval is how often what cannot wait for the next group is looked
	// after while there are subscriptions.
	tickInterval = 250 * time.Millisecond
	// SampleInterval is how often the state of the connection is counted.
	SampleInterval = 10 * time.Second
)

// Codes are the error codes of a protocol.
type Codes interface {
	// Stream is the code that ends a stream because of err; [moq.ErrCancelled]
	// if it is just not wanted any more.
	Stream(err error) uint32
	// Session is the code that closes a session because of err; nil if it has
	// come to its end.
	Session(err error) uint32
	// Reason is why a peer ended a stream with a code.
	Reason(code uint32) *moq.EndError
	// SessionEnd tells whether a code of the peer is that of a session's end.
	SessionEnd(code uint32) bool
}

// Base is the part of a session that its protocol has no say in. Its methods are
// for any goroutine.
type Base struct {
	// Static after New.
	Conn     transport.Conn
	Config   session.Config
	IsClient bool // dialled the connection
	Log      *slog.Logger
	Codes    Codes
	control  *limiter
	ready    chan struct{} // closed when the handshake is done

	goingAway chan struct{} // closed when the peer has said so
	goOnce    sync.Once     // closes goingAway

	// Written before ready is closed, not later.
	mark    string
	kind    metrics.SessionKind
	Traffic *metrics.Traffic

	Published atomic.Int64 // paths that the peer announces
	interests atomic.Int64
	broken    atomic.Bool // something has ended with the connection

	wg sync.WaitGroup // all goroutines but Run's own; see Spawn

	mu         sync.Mutex
	ended      bool  // no goroutine starts any more
	cause      error // why the session ended, if that was decided here
	serving    map[uint64]*Delivery
	requests   int // open subscriptions, fetches and requests for info of the peer
	ranks      ranks
	ticker     *time.Timer   // calls tick while there are subscriptions
	fewer      chan struct{} // holds 1: serving has shrunk
	sampler    *time.Timer   // calls sample
	leaving    stage         // the peer is told to go away
	draining   stage         // nothing new is served
	connection *metrics.Connection
}

// New returns the base of a session on conn.
func New(conn transport.Conn, c session.Config, isClient bool, codes Codes) *Base {
	c = c.WithDefaults()
	return &Base{
		Conn:      conn,
		Config:    c,
		IsClient:  isClient,
		Log:       c.Log,
		Codes:     codes,
		control:   newLimiter(c.Limits, time.Now()),
		ready:     make(chan struct{}),
		goingAway: make(chan struct{}),
		serving:   make(map[uint64]*Delivery),
		fewer:     make(chan struct{}, 1),
	}
}

// Run calls serve, which blocks for as long as the connection lives, and returns
// when everything has ended: with why, nil if ctx was the reason.
func (b *Base) Run(ctx context.Context, serve func()) error {
	if written := b.Conn.Qlog(); written.Hold() {
		defer written.Release()
	}
	stopped := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(stopped)
		b.End(context.Canceled, b.Codes.Session(nil), "")
	})
	if err := session.Guard(serve); err != nil {
		b.Fail(err)
	}
	if !stop() {
		<-stopped
	}
	b.End(ErrClosed, b.Codes.Session(nil), "") // unless it has ended already
	b.stopTimers()
	b.wg.Wait()

	err := b.why()
	b.count(err)
	b.Conn.Qlog().Record(qlog.SessionEnded{Reason: err.Error()})
	if errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// Opened notes that the handshake is done, which took so long: with whom, by the
// mark of the peer, and in which protocol.
func (b *Base) Opened(protocol metrics.Protocol, peer metrics.Peer, mark string, took time.Duration) {
	b.mark = mark
	b.kind = metrics.SessionKind{Protocol: protocol, Transport: b.Conn.Kind().String(), Peer: peer}
	b.Traffic = b.Config.Metrics.Traffic(peer)
	b.Config.Metrics.SessionOpened(b.kind, took)
	b.Conn.Qlog().Record(qlog.SessionStarted{Protocol: string(protocol), Transport: b.kind.Transport, Peer: string(peer)})
	b.mu.Lock()
	b.connection = b.Traffic.Connection()
	b.sampler = time.AfterFunc(SampleInterval, b.sample)
	b.mu.Unlock()
	close(b.ready)
}

// stopTimers has no further goroutine start.
func (b *Base) stopTimers() {
	b.mu.Lock()
	b.ended = true
	if b.ticker != nil {
		b.ticker.Stop()
	}
	sampler := b.sampler
	b.mu.Unlock()
	if sampler != nil {
		sampler.Stop()
		b.sample()
	}
}

// Spawn runs f in a goroutine that Run waits for, and reports whether it did:
// there are none after the end.
func (b *Base) Spawn(f func()) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.ended {
		return false
	}
	b.wg.Go(func() {
		if err := session.Guard(f); err != nil {
			b.Fail(err)
		}
	})
	return true
}

// Node returns the peer's mark.
func (b *Base) Node() string {
	if !b.IsReady() {
		return ""
	}
	return b.mark
}

// Ready is closed when the handshake is done.
func (b *Base) Ready() <-chan struct{} { return b.ready }

// IsReady reports whether the handshake is done.
func (b *Base) IsReady() bool {
	select {
	case <-b.ready:
		return true
	default:
		return false
	}
}

// Stats counts what goes on.
func (b *Base) Stats() session.Stats {
	st := session.Stats{Publishes: int(b.Published.Load())}
	for _, d := range b.servingNow() {
		bytes, _ := d.sub.Queued()
		st.QueuedBytes += bytes
		st.Subscriptions++
	}
	return st
}

// AdmitControl waits until a control message may be read, and reports whether
// the session is still there then.
func (b *Base) AdmitControl() bool {
	wait, ok := b.control.take(time.Now())
	switch {
	case !ok:
		b.Fail(Excess("control messages arrive too fast"))
		return false
	case wait <= 0:
		return true
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-b.Conn.Context().Done():
		return false
	}
}

// AdmitInterest counts a prefix that the peer asks for, unless there are too
// many. Whoever is admitted calls DoneInterest.
func (b *Base) AdmitInterest() bool {
	if b.interests.Add(1) <= int64(b.Config.Limits.Interests) {
		return true
	}
	b.DoneInterest()
	return false
}

// DoneInterest takes back what AdmitInterest counted.
func (b *Base) DoneInterest() { b.interests.Add(-1) }

// AdmitRequest counts a subscription, a fetch or a request for info, and refuses
// it if there are too many. Whoever is admitted calls DoneRequest.
func (b *Base) AdmitRequest(stream transport.Stream) bool {
	b.mu.Lock()
	isAdmitted := b.requests < b.Config.Limits.Subscriptions
	if isAdmitted {
		b.requests++
	}
	b.mu.Unlock()
	if !isAdmitted {
		b.Log.Debug("stream refused", "error", fmt.Errorf("more than %d subscriptions", b.Config.Limits.Subscriptions))
		b.Refuse(stream, moq.ErrOverloaded)
	}
	return isAdmitted
}

// DoneRequest takes back what AdmitRequest counted.
func (b *Base) DoneRequest() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.requests--
}

// SettleTime is how long after the end of a stream the last streams that were
// sent before it may still be on their way.
func (b *Base) SettleTime() time.Duration {
	return 2*b.Conn.Stats().SmoothedRTT + 25*time.Millisecond
}

// Lookup returns the live track that the peer asks for, by a route that ok
// accepts.
func (b *Base) Lookup(path moq.Path, ok func(origin.Announcement) bool) (*moq.Track, error) {
	if b.Config.Out == nil {
		return nil, moq.ErrNotFound
	}
	find := b.Config.Out.Track
	if b.IsNode() {
		find = b.Config.Out.BestTrack
	}
	track, _, err := find(path, ok)
	return track, err
}

// AwaitLeave reads a stream on which nothing more is expected and returns how
// the peer ended it: [io.EOF] for a FIN.
func (b *Base) AwaitLeave(r *Reader) error {
	var waste [smallBuffer]byte
	for {
		if _, err := r.Read(waste[:]); err != nil {
			return err
		}
		if !b.AdmitControl() {
			return ErrClosed
		}
	}
}

// AwaitEnd waits until the connection says why it has ended: its streams may
// know that a moment earlier.
func (b *Base) AwaitEnd() {
	timer := time.NewTimer(time.Second)
	defer timer.Stop()
	select {
	case <-b.Conn.Context().Done():
	case <-timer.C:
	}
}

// Refuse ends both directions of a stream because of err.
func (b *Base) Refuse(stream transport.Stream, err error) {
	code := b.Codes.Stream(err)
	stream.CancelWrite(code)
	stream.CancelRead(code)
}

func notify(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

package moqlite

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/moqrelay/moqrelay/relay/moq"
	"github.com/moqrelay/moqrelay/relay/origin"
	"github.com/moqrelay/moqrelay/relay/session/base"
	"github.com/moqrelay/moqrelay/relay/transport"
	common "github.com/moqrelay/moqrelay/relay/wire"
	wire "github.com/moqrelay/moqrelay/relay/wire/moqlite"
)

// serveAnnounce tells the peer what is announced below a prefix, for as long as
// it wants to know.
func (s *Session) serveAnnounce(stream transport.Stream, r *base.Reader) {
	ask, ok := base.Request(s.Base, stream, r, s.version.ConsumeAnnounceRequest)
	if !ok {
		return
	}
	if !s.AdmitInterest() {
		s.Refuse(stream, moq.ErrOverloaded)
		return
	}
	defer s.DoneInterest()
	s.Log.Debug("announcements asked for", "prefix", moq.NewPath(ask.Prefix...))
	ctx, cancel := context.WithCancelCause(s.Conn.Context())
	defer cancel(nil)
	if !s.Spawn(func() { cancel(s.AwaitLeave(r)) }) || !s.onStop(ctx, stream, cancel) {
		return
	}
	t := &teller{session: s, stream: stream, prefix: s.root.Append(ask.Prefix...), exclude: origin.Hop(ask.Exclude)}
	if s.version.HasCosts() {
		t.ids = make(map[string]uint64)
	}
	defer func() { s.toldPaths.Add(-t.active) }()
	switch err := t.tell(ctx); {
	case errors.Is(err, moq.ErrOverloaded):
		s.Log.Debug("stream refused", "error", err)
		s.Refuse(stream, err)
		return
	case !errors.Is(err, io.EOF):
		s.Refuse(stream, moq.ErrCancelled)
		return
	}
	_ = stream.Close() // the answer to a FIN
	stream.CancelRead(s.Codes.Stream(moq.ErrCancelled))
}

// teller tells the peer what is announced below one prefix.
type teller struct {
	// Static after construction.
	session *Session
	stream  transport.Stream
	prefix  moq.Path
	exclude origin.Hop // what came this way is left out

	// Owned by tell.
	ids  map[string]uint64 // by suffix, of what is announced now; nil before lite-06
	next uint64
	buf  []byte

	// Owned by tell until that returns.
	active int64 // paths that the peer knows by this stream
}

// tell writes what is announced and what changes, until ctx is done or the peer
// does not read it any more. Who may not see anything is told of nothing, and
// the stream stays open: its end would be taken for the session's.
func (t *teller) tell(ctx context.Context) error {
	out := t.session.Config.Out
	if out == nil {
		out = origin.NewTable()
	}
	watch := t.watch(out)
	defer watch.Close()
	if err := t.tellInitial(ctx, watch); err != nil {
		return err
	}
	for {
		event, err := watch.Next(ctx)
		if err != nil {
			return err
		}
		t.buf = t.append(t.buf[:0], event)
		if err := t.mayGoOn(); err != nil {
			return err
		}
		if _, err := t.stream.Write(t.buf); err != nil {
			return err
		}
	}
}

// watch watches what the peer is told of: broadcasts, and between nodes of ours
// also which tracks are announced by themselves.
func (t *teller) watch(out *origin.Table) watch {
	if t.session.isOurs() {
		return out.Watch(t.prefix, t.mayTell)
	}
	if t.session.version.HasCosts() {
		return out.WatchReachable(t.prefix, t.mayTell)
	}
	return out.WatchBroadcasts(t.prefix, t.mayTell)
}

type watch interface {
	Next(ctx context.Context) (origin.Event, error)
	Close()
}

// tellInitial writes what there is at first, as one message or behind one that
// says how much it is, where the version has such a message.
func (t *teller) tellInitial(ctx context.Context, watch watch) error {
	initial, err := readInitial(ctx, watch)
	if err != nil {
		return err
	}
	v := t.session.version
	if v.IsInBand() {
		t.count(int64(min(len(initial), initSuffixes)))
		t.buf, initial = t.appendInit(t.buf, initial)
	}
	if v.HasSetup() {
		t.buf = wire.AnnounceOK{Hop: uint64(t.session.Config.Hop), Active: uint64(len(initial))}.Append(t.buf)
	}
	for _, event := range initial {
		t.buf = t.append(t.buf, event)
	}
	b := t.buf
	t.buf = nil // what follows is short
	if err := t.mayGoOn(); err != nil {
		return err
	}
	if len(b) == 0 {
		return nil
	}
	_, err = t.stream.Write(b)
	return err
}

// readInitial returns what there is at first, each path once: one may go, or come
// by another way, while it is read.
func readInitial(ctx context.Context, watch watch) ([]origin.Event, error) {
	var initial []origin.Event
	type subject struct {
		path moq.Path
		kind origin.Kind
	}
	last := make(map[subject]int) // the place of a path's event
	for {
		event, err := watch.Next(ctx)
		if err != nil {
			return nil, err
		}
		if event.Type == origin.Live {
			return slices.DeleteFunc(initial, func(e origin.Event) bool { return e.Type == origin.Ended }), nil
		}
		if event.Type == origin.Updated {
			event.Type = origin.Active
		}
		what := subject{event.Announcement.Path, event.Announcement.Kind}
		if i, ok := last[what]; ok {
			initial[i] = event
			continue
		}
		last[what] = len(initial)
		initial = append(initial, event)
	}
}

// initSuffixes bounds what one ANNOUNCE_INIT holds: the rest follows it.
const initSuffixes = 32

// appendInit adds ANNOUNCE_INIT and returns what it does not hold.
func (t *teller) appendInit(b []byte, initial []origin.Event) ([]byte, []origin.Event) {
	var init wire.AnnounceInit
	for len(initial) > 0 && len(init.Suffixes) < initSuffixes {
		init.Suffixes = append(init.Suffixes, t.suffix(initial[0].Announcement))
		initial = initial[1:]
	}
	return init.Append(b), initial
}

func (t *teller) suffix(a origin.Announcement) []string {
	if a.Kind == origin.Track {
		return escapePath(a.Path)
	}
	suffix, _ := a.Path.TrimPrefix(t.prefix)
	return suffix.Parts()
}

// append adds what an event is told as.
func (t *teller) append(b []byte, event origin.Event) []byte {
	v := t.session.version
	a := event.Announcement
	m := wire.Announce{Suffix: t.suffix(a), Hops: t.hops(a), Warm: a.Warm, Cold: a.Cold}
	switch {
	case event.Type == origin.Active:
		m.Kind = wire.AnnounceStart
		t.count(1)
	case event.Type == origin.Ended:
		m.Kind = wire.AnnounceEnd
		t.count(-1)
	case v.HasCosts():
		m.Kind = wire.AnnounceUpdate
	case v == wire.Version05:
		m.Kind = wire.AnnounceStart // in place of the one before
	default:
		return b // the publisher is the same: nothing that older versions say has changed
	}
	if t.ids != nil {
		m.ID = t.id(m)
	}
	return m.Append(b, v)
}

// count notes that the peer knows so many paths more.
func (t *teller) count(n int64) {
	t.active += n
	t.session.toldPaths.Add(n)
}

// mayGoOn bounds what a client knows by all of its streams together, each of which
// costs us memory for every path: it may ask for everything once, and for parts of
// it as often as all that is no more than a node may announce.
func (t *teller) mayGoOn() error {
	s := t.session
	total, limit := s.toldPaths.Load(), int64(s.Config.Limits.ForNode().Paths)
	if s.IsNode() || total <= limit || total == t.active {
		return nil
	}
	return fmt.Errorf("%d paths are told on all streams together: %w", total, moq.ErrOverloaded)
}

// id returns the number of an announcement, which a START gives it and an END takes.
func (t *teller) id(m wire.Announce) uint64 {
	key := strings.Join(m.Suffix, "/")
	switch m.Kind {
	case wire.AnnounceStart:
		t.ids[key] = t.next
		t.next++
	case wire.AnnounceEnd:
		defer delete(t.ids, key)
	case wire.AnnounceUpdate: // keeps it
	}
	return t.ids[key]
}

// hops is the way of an announcement as the peer is told it: without us from
// lite-05 on, where ANNOUNCE_OK says who we are.
func (t *teller) hops(a origin.Announcement) []uint64 {
	var hops []uint64
	for _, hop := range a.Hops {
		hops = append(hops, uint64(hop))
	}
	if len(hops) == 0 && a.Class != origin.Local {
		hops = append(hops, 0) // a publisher that has said nothing
	}
	if !t.session.version.HasSetup() {
		hops = append(hops, uint64(t.session.Config.Hop))
	}
	return hops
}

// mayTell says which announcements the peer is told.
func (t *teller) mayTell(a origin.Announcement) bool {
	s := t.session
	switch {
	case s.IsNode() && a.Source == origin.Source(s):
		return false // a client is told of its own: to some that is the proof that it publishes
	case a.Passed(s.peerHop()), a.Passed(t.exclude), len(a.Hops) >= wire.MaxHops:
		return false
	case a.Kind == origin.Track && s.isOurs():
		return a.Path.Len()+len(tracksPrefix) <= common.MaxPathParts && s.Config.Visible(a) && s.Config.Told(a)
	case a.Kind == origin.Track:
		if _, _, ok := trackForm(a.Path); !ok {
			return false
		}
	case !hasBroadcastForm(a.Path):
		return false
	}
	return !isHidden(a.Path, t.prefix) && s.Config.Visible(a) && s.Config.Told(a)
}

package moqlite

import (
	"context"
	"errors"
	"io"
	"maps"
	"sync"
	"time"

	"github.com/moqrelay/moqrelay/relay/metrics"
	"github.com/moqrelay/moqrelay/relay/moq"
	"github.com/moqrelay/moqrelay/relay/origin"
	"github.com/moqrelay/moqrelay/relay/session/base"
	"github.com/moqrelay/moqrelay/relay/transport"
	wire "github.com/moqrelay/moqrelay/relay/wire/moqlite"
)

// resumeWait is how long a group that was cut off waits to be received from
// elsewhere, once the track is.
const resumeWait = 2 * time.Second

// startWait is how long the first group that a publisher was asked for may take to
// come before a lower one is asked for.
const startWait = 500 * time.Millisecond

// upstream is a subscription at the peer, shared by all who ask for the path.
type upstream struct {
	*base.Upstream
	session   *Session
	broadcast []string
	name      string
	publisher origin.Hop // 0 if it is unknown
	resume    *uint64    // first group that another session has left

	// Owned by run; changed while session.mu is held.
	id uint64

	mu      sync.Mutex
	first   uint64 // the group that comes first
	started bool   // first is known
	begun   bool   // a group has begun to come
	end     uint64 // no group from this one on will come
	hasEnd  bool
}

// Track subscribes at the peer, unless that is done already, and returns at once.
// Once the connection is lost there is no new track: one may be parked.
func (s *Session) Track(path moq.Path) (*moq.Track, error) {
	broadcast, name, ok := s.nameOf(path)
	if !ok || !s.mayPublish(path) {
		return nil, base.NoPath(path, "moq-lite")
	}
	s.mu.Lock()
	if u, ok := s.upstreams[path]; ok {
		s.mu.Unlock()
		return u.Track, nil
	}
	if s.IsBroken() {
		s.mu.Unlock()
		return nil, moq.ErrGoingAway
	}
	u := &upstream{
		Upstream:  s.NewUpstream(path, moq.Info{Priority: moq.DefaultPriority}),
		session:   s,
		broadcast: broadcast,
		name:      name,
	}
	u.Refusal = moq.ErrCancelled
	s.enterLocked(u)
	s.mu.Unlock()
	if !s.Spawn(u.run) {
		s.leave(u)
		u.End(moq.ErrGoingAway) // somebody else may have got it
		return nil, moq.ErrGoingAway
	}
	return u.Track, nil
}

// Live returns the tracks that are subscribed at the peer or about to be.
func (s *Session) Live() []*moq.Track {
	s.mu.Lock()
	defer s.mu.Unlock()
	tracks := make([]*moq.Track, 0, len(s.upstreams))
	for _, u := range s.upstreams {
		tracks = append(tracks, u.Track)
	}
	return tracks
}

var _ origin.Lister = (*Session)(nil)

// Resume goes on with a track that another session has begun, with the first group
// that is not whole.
func (s *Session) Resume(track *moq.Track) error {
	path := track.Path()
	broadcast, name, ok := s.nameOf(path)
	switch {
	case !ok:
		return base.NoPath(path, "moq-lite")
	case s.isLost(), s.isSilent():
		return moq.ErrGoingAway
	}
	u := &upstream{Upstream: s.Adopt(track), session: s, broadcast: broadcast, name: name}
	u.Refusal = moq.ErrCancelled
	if next, ok := track.Unfinished(); ok {
		u.resume = &next
	}
	s.mu.Lock()
	if _, ok := s.upstreams[path]; ok {
		s.mu.Unlock()
		return moq.ErrDuplicate
	}
	s.enterLocked(u)
	s.mu.Unlock()
	if !s.Spawn(u.run) {
		s.leave(u)
		return moq.ErrGoingAway
	}
	time.AfterFunc(resumeWait, track.Abandon)
	s.Log.Debug("subscription resumed", "track", path)
	return nil
}

// enterLocked makes u known, before the publisher learns of it: groups may come
// before its answer.
func (s *Session) enterLocked(u *upstream) {
	u.id = s.nextID
	s.nextID++
	path := u.Track.Path()
	for prefix := range path.Prefixes() {
		if publisher, ok := s.publishers[prefix]; ok {
			u.publisher = publisher
		}
	}
	s.upstreams[path] = u
	s.receiving[u.id] = u
}

// leave forgets u. Groups that come later are refused as unknown.
func (s *Session) leave(u *upstream) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.upstreams[u.Track.Path()] == u {
		delete(s.upstreams, u.Track.Path())
	}
	delete(s.receiving, u.id)
}

var _ origin.Resumer = (*Session)(nil)

// unannounced notes that the peer has withdrawn a broadcast. Whoever asks for a
// track of it from now on gets a new subscription, and nothing that is remembered
// of the old one. What belongs to a longer path, by stands, is left alone.
func (s *Session) unannounced(path moq.Path, stands func(track moq.Path) bool) {
	isOver := func(track moq.Path) bool { return track.HasPrefix(path) && !stands(track) }
	var gone []*upstream
	s.mu.Lock()
	for track, u := range s.upstreams {
		if isOver(track) {
			gone = append(gone, u)
			delete(s.upstreams, track)
		}
	}
	maps.DeleteFunc(s.fetches, func(key fetchKey, _ *fetch) bool { return isOver(key.path) })
	maps.DeleteFunc(s.infos, func(track moq.Path, _ moq.Info) bool { return isOver(track) })
	s.mu.Unlock()
	for _, u := range gone {
		u.Withdrawn()
	}
}

// GiveUp leaves the subscriptions at and below a path, for what a publisher has there
// to come another way.
func (s *Session) GiveUp(path moq.Path, publisher origin.Hop) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for track, u := range s.upstreams {
		if track.HasPrefix(path) && u.publisher == publisher && u.mayPark() {
			u.Leave()
		}
	}
}

// doubtWait is how long a peer that is in doubt may be silent.
const doubtWait = 500 * time.Millisecond

// Doubt gives up what is subscribed at and below a path, for it to come another way,
// if nothing at all comes from the peer any more.
func (s *Session) Doubt(path moq.Path, publisher origin.Hop) {
	before := s.Conn.Stats().BytesReceived
	s.Spawn(func() {
		timer := time.NewTimer(doubtWait)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-s.Conn.Context().Done():
			return
		}
		if s.Conn.Stats().BytesReceived == before {
			s.silent.Store(before)
			s.GiveUp(path, publisher)
		}
	})
}

// isSilent tells whether nothing has come from the peer since it was given up.
func (s *Session) isSilent() bool {
	before := s.silent.Load()
	return before > 0 && s.Conn.Stats().BytesReceived == before
}

// mayPark tells whether the track may go on without the session.
func (u *upstream) mayPark() bool { return u.session.Config.Park != nil && u.publisher != 0 }

// run keeps the subscription for as long as it is wanted and the peer serves it.
func (u *upstream) run() {
	err := moq.ErrInternal // what a panic leaves behind
	defer func() { u.finish(err) }()
	u.Hold(true)
	if !u.session.Spawn(func() { defer u.Hold(false); u.inform() }) {
		err = moq.ErrGoingAway
		return
	}
	if err = u.AwaitDemand(); err == nil {
		if u.session.isOurs() && u.session.version.HasSetup() {
			u.TakenBack = moq.ErrGoingAway // the node had it from another one that it has lost
		}
		u.session.Config.Metrics.Subscribed(metrics.Up, 1)
		defer u.session.Config.Metrics.Subscribed(metrics.Up, -1)
		for err = u.subscribe(); errors.Is(err, errStartsLate); err = u.subscribe() {
			u.renumber()
		}
	}
}

// errStartsLate is why a subscription is made again whose first group is yet to come
// while some who share it want a lower one, or the latest.
var errStartsLate = errors.New("the first group is yet to come")

// renumber takes another id for a further subscription, of which nothing is known.
func (u *upstream) renumber() {
	s := u.session
	s.mu.Lock()
	delete(s.receiving, u.id)
	u.id = s.nextID
	s.nextID++
	s.receiving[u.id] = u
	s.mu.Unlock()
	u.mu.Lock()
	defer u.mu.Unlock()
	u.started, u.begun, u.hasEnd = false, false, false
}

// finish ends the track, or has it parked if its publisher may still be there.
func (u *upstream) finish(err error) {
	s := u.session
	s.leave(u)
	if errors.Is(err, moq.ErrEnded) {
		u.settle()
	}
	if !u.mayGoOn(err) {
		u.End(err)
		return
	}
	if u.HasLeft() {
		u.Release(err)
	}
	u.AwaitCut()
	u.Release(err)
	s.Log.Debug("subscription lost", "track", u.Track.Path(), "error", err)
	s.Config.Park(u.Track, u.publisher)
}

// mayGoOn tells whether the track may go on elsewhere that ends here with err.
func (u *upstream) mayGoOn(err error) bool {
	demand, _ := u.Track.Demand()
	isOver := u.session.isLost() || u.HasLeft()
	return isOver && u.mayPark() && demand.Subscribers > 0 && errors.Is(err, moq.ErrGoingAway)
}

// isLost tells whether what the peer publishes has to come another way: it is gone,
// or going.
func (s *Session) isLost() bool { return s.IsBroken() || s.IsEnding() }

// settle notes how far the track went by what the publisher has said, and that
// what has not come of it never will.
func (u *upstream) settle() {
	u.mu.Lock()
	first, end, known := u.first, u.end, u.hasEnd && u.started
	u.mu.Unlock()
	if !known || end <= first {
		return
	}
	u.Track.SetLargest(moq.Location{Group: end - 1})
	u.Track.Drop(first, end-1, moq.UpstreamReset)
}

// inform asks the peer what does not change about the track, subscribed or not:
// subscribers want to know that before they subscribe. It is asked once for as
// long as the broadcast is announced. If the peer does not know the track, it
// ends. Older versions have nothing to ask.
func (u *upstream) inform() {
	s := u.session
	select {
	case <-s.Ready():
	case <-s.Conn.Context().Done():
		return // and so does run
	}
	if !s.version.HasTrack() {
		u.Track.Inform(moq.Info{Priority: moq.DefaultPriority})
		return
	}
	path := u.Track.Path()
	s.mu.Lock()
	info, known := s.infos[path]
	s.mu.Unlock()
	if !known {
		var err error
		info, err = u.askInfo()
		if err != nil {
			u.uninformed(err)
			return
		}
		s.mu.Lock()
		if s.upstreams[path] == u && len(s.infos) < s.Config.Limits.Subscriptions {
			s.infos[path] = info
		}
		s.mu.Unlock()
	}
	u.Track.Inform(info)
}

// uninformed ends the track because of err, but not if run sees to it, or has: it
// may go on elsewhere, or does already.
func (u *upstream) uninformed(err error) {
	s := u.session
	switch {
	case s.IsBroken(), u.HasLeft():
		return
	case u.mayGoOn(err):
		u.Leave()
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.receiving[u.id] == u {
		u.Track.End(err)
	}
}

func (u *upstream) askInfo() (moq.Info, error) {
	s := u.session
	ctx, cancel := context.WithTimeoutCause(s.Conn.Context(), base.AnswerTimeout, base.ErrNoAnswer)
	defer cancel()
	stream, err := s.Conn.OpenStream(ctx)
	if err != nil {
		return moq.Info{}, s.EndOfStream(err)
	}
	stream.SetPriority(base.ControlUrgency, false)
	deadline, _ := ctx.Deadline()
	_ = stream.SetReadDeadline(deadline) // a stream that is gone fails below
	ask := wire.Track{Path: u.broadcast, Track: u.name}
	if _, err := stream.Write(ask.Append(wire.StreamTrack.Append(nil))); err != nil {
		return moq.Info{}, s.EndOfStream(err)
	}
	said, err := base.Next(base.NewReader(stream), s.version.ConsumeTrackInfo)
	if err != nil {
		s.Refuse(stream, moq.ErrCancelled)
		return moq.Info{}, s.endOfAsking(err)
	}
	_ = stream.Close() // only now: a FIN behind the question takes it back
	stream.CancelRead(s.Codes.Stream(moq.ErrCancelled))
	info := moq.Info{Priority: moq.Priority(said.Priority), MaxAge: toAge(said.MaxAge), Timescale: said.Timescale}
	if said.Ordered {
		info.Order = moq.Ascending
	}
	return info, nil
}

// endOfAsking is why a question was not answered. A peer that ends the stream
// without an answer does not know what it was asked about.
func (s *Session) endOfAsking(err error) error {
	if errors.Is(err, io.EOF) {
		return moq.ErrNotFound
	}
	return s.EndOfStream(err)
}

// request is the subscription as the peer is asked for it, from a group on that
// all subscribers have named. It is not asked for more than it has.
//
// From lite-06 on the age says where to start as well. To start at the latest
// group it has to be 0 until that is known, whatever it is later.
func (u *upstream) request(d moq.Demand, start *uint64) wire.SubscribeUpdate {
	age := shorter(base.AskAge(d), u.Track.Info().MaxAge)
	if u.session.version.HasCosts() && !d.Recent && start == nil && !u.hasStarted() {
		age = noAge
	}
	return wire.SubscribeUpdate{Priority: uint8(d.Priority), Ordered: d.Order == moq.Ascending, MaxAge: fromAge(age), Start: start}
}

// mayUpdate tells whether a subscription at the peer can be changed. There is a
// message for that from lite-03 on, but publishers of moq-net 0.1, which speak
// nothing newer than lite-04, end a subscription that gets one: there the first
// subscriber's wishes stand.
func (s *Session) mayUpdate() bool { return s.version.HasSetup() }

func (u *upstream) hasStarted() bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.started
}

// firstOf is the first group that the peer is to be asked for, nil for the
// latest. A floor of lite-06 is no start in older versions: all would come from
// there on.
func (u *upstream) firstOf(d moq.Demand) *uint64 {
	if u.resume != nil {
		return u.resume
	}
	if d.Recent && !u.session.version.HasCosts() {
		return nil
	}
	return base.First(d)
}

// subscribe opens the Subscribe stream and attends to it until the subscription
// is over. It returns what the track ends with, or errStartsLate.
func (u *upstream) subscribe() error {
	s := u.session
	ctx, cancel := context.WithTimeoutCause(s.Conn.Context(), base.AnswerTimeout, base.ErrNoAnswer)
	defer cancel()
	stream, err := s.Conn.OpenStream(ctx)
	if err != nil {
		return s.EndOfStream(err)
	}
	stream.SetPriority(base.ControlUrgency, false)
	demand, _ := u.Track.Demand()
	told := u.request(demand, u.firstOf(demand))
	ask := wire.Subscribe{
		ID: u.id, Path: u.broadcast, Track: u.name,
		Priority: told.Priority, Ordered: told.Ordered, MaxAge: told.MaxAge, Start: told.Start,
	}
	a := &attendance{upstream: u, stream: stream, asked: ask, told: told, sent: time.Now(), answered: make(chan struct{}), ended: make(chan error, 1)}
	if _, err := stream.Write(ask.Append(wire.StreamSubscribe.Append(nil), s.version)); err != nil {
		return s.EndOfStream(err)
	}
	if s.version.HasSetup() {
		close(a.answered) // who accepts says nothing
	}
	if !s.Spawn(func() { a.ended <- a.read(base.NewReader(stream)) }) {
		return moq.ErrGoingAway
	}
	err = u.Attend(ctx, a, a.answered, a.ended)
	if errors.Is(err, errStartsLate) {
		a.awaitRead()
	}
	return err
}

// attendance is an upstream subscription whose SUBSCRIBE has been sent.
type attendance struct {
	*upstream
	stream   transport.Stream
	asked    wire.Subscribe
	sent     time.Time     // when SUBSCRIBE was
	answered chan struct{} // closed when the peer has accepted
	ended    chan error    // what read returned

	// Owned by Attend.
	told   wire.SubscribeUpdate // what the peer knows
	toldAt time.Time
}

// awaitRead waits until nothing more is taken of what the publisher says.
func (a *attendance) awaitRead() {
	select {
	case <-a.ended: //nolint:errcheck // why it has ended was our doing
	case <-a.session.Conn.Context().Done():
	}
}

// read reads what the publisher says of the subscription until it ends the
// stream. A nil error is a FIN.
func (a *attendance) read(r *base.Reader) error {
	s := a.session
	for first := true; ; first = false {
		reply, err := base.Next(r, s.version.ConsumeSubscribeReply)
		if errors.Is(err, io.EOF) && (!first || s.version.HasSetup()) {
			return nil
		}
		if err != nil {
			return s.endOfAsking(err)
		}
		if first {
			s.Config.Metrics.SubscribeAnswered(time.Since(a.sent))
			if !s.version.HasSetup() {
				close(a.answered)
			}
		}
		if !s.AdmitControl() {
			return moq.ErrGoingAway
		}
		a.take(reply)
	}
}

// take notes what the publisher says.
func (a *attendance) take(reply wire.SubscribeReply) {
	switch reply.Type {
	case wire.ReplyOK:
		if a.session.version.HasSetup() {
			a.start(reply.Group)
		}
	case wire.ReplyEnd:
		a.mu.Lock()
		a.end, a.hasEnd = reply.Group, true
		a.mu.Unlock()
		a.Look()
	case wire.ReplyDrop:
		if reply.First > reply.Last {
			return
		}
		a.Track.Drop(reply.First, reply.Last, moq.UpstreamReset)
	}
}

// start notes the first group that will come. Those before it that were asked
// for never do. One that is named as it was asked for may be far ahead of the track.
func (a *attendance) start(group uint64) {
	a.mu.Lock()
	a.first, a.started = group, true
	a.mu.Unlock()
	if a.asked.Start == nil || *a.asked.Start < group {
		a.Track.SetLargest(moq.Location{Group: group})
	}
	if a.asked.Start != nil && *a.asked.Start < group {
		a.Track.Drop(*a.asked.Start, group-1, moq.UpstreamReset)
	}
	a.Look() // what is asked depends on whether it has started
}

// came notes that a group has begun to come.
func (u *upstream) came(sequence uint64) {
	u.mu.Lock()
	u.begun = true
	first := !u.started
	if first {
		u.first, u.started = sequence, true
	}
	u.mu.Unlock()
	if first {
		u.Look() // what is asked depends on whether it has started
	}
}

// Complete tells whether the last group is known, and each up to it has come or
// never will.
func (u *upstream) Complete() bool {
	u.mu.Lock()
	first, end, started, hasEnd := u.first, u.end, u.started, u.hasEnd
	u.mu.Unlock()
	return hasEnd && (end == 0 || started && (end <= first || u.Track.HasSettled(first, end-1)))
}

// Tell sends a SUBSCRIBE_UPDATE if the demand differs from what the peer knows. A
// lower first group cannot be had like that, but with another subscription.
func (a *attendance) Tell(demand moq.Demand, now time.Time) (wait time.Duration, over error) {
	wait = time.Hour
	if a.startsLate(demand) {
		if wait = a.sent.Add(startWait).Sub(now); wait <= 0 {
			return 0, errStartsLate
		}
	}
	wanted := a.request(demand, a.told.Start)
	if !a.session.mayUpdate() || wanted == a.told {
		return wait, nil
	}
	if left := a.toldAt.Add(base.UpdateInterval).Sub(now); left > 0 {
		return min(wait, left), nil
	}
	a.told, a.toldAt = wanted, now
	_, _ = a.stream.Write(wanted.Append(nil, a.session.version)) // if that fails, read hears of it
	return wait, nil
}

// startsLate tells whether no group has come, and a lower one is wanted by now than
// the first that was asked for.
func (a *attendance) startsLate(d moq.Demand) bool {
	start := a.told.Start
	if start == nil || !a.session.version.HasUpdate() {
		return false
	}
	a.mu.Lock()
	begun := a.begun
	a.mu.Unlock()
	first := a.firstOf(d)
	return !begun && (first == nil || *first < *start)
}

// Unsubscribe ends the stream from our side.
func (a *attendance) Unsubscribe(finished bool) {
	if finished {
		_ = a.stream.Close() // a FIN for a FIN
		return
	}
	a.session.Refuse(a.stream, moq.ErrCancelled)
}

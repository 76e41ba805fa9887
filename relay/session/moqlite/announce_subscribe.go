package moqlite

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/moqrelay/moqrelay/relay/metrics"
	"github.com/moqrelay/moqrelay/relay/moq"
	"github.com/moqrelay/moqrelay/relay/origin"
	"github.com/moqrelay/moqrelay/relay/session/base"
	"github.com/moqrelay/moqrelay/relay/transport"
	common "github.com/moqrelay/moqrelay/relay/wire"
	wire "github.com/moqrelay/moqrelay/relay/wire/moqlite"
)

// askAnnouncements asks the peer what it announces and puts that into
// Config.In, until the peer ends the stream: it has no more to tell then.
func (s *Session) askAnnouncements() {
	stream, err := s.Conn.OpenStream(s.Conn.Context())
	if err != nil {
		return
	}
	stream.SetPriority(base.ControlUrgency, false)
	ask := wire.AnnounceRequest{Prefix: s.Config.Interest.Parts(), Exclude: uint64(s.Config.Hop)}
	if _, err := stream.Write(ask.Append(wire.StreamAnnounce.Append(nil), s.version)); err != nil {
		return
	}
	a := &announced{session: s, base: s.root.Join(s.Config.Interest), byID: make(map[uint64]moq.Path), routes: make(map[moq.Path]*route)}
	defer a.withdrawAll()
	err = a.read(base.NewReader(stream))
	switch {
	case errors.Is(err, io.EOF):
		_ = stream.Close() // a FIN for a FIN
	case errors.Is(err, common.ErrMalformed), errors.Is(err, io.ErrUnexpectedEOF):
		s.Fail(&base.Violation{Fault: base.Protocol, Text: fmt.Sprintf("announcement: %v", err)}) // what is announced is known no longer
	default:
		s.Refuse(stream, moq.ErrCancelled)
		if e, ok := errors.AsType[*transport.StreamError](err); !ok || !e.Remote || s.Conn.Kind() != transport.QUIC {
			s.AwaitEnd() // that a stream breaks is the first sign of it
		}
	}
}

// announced is what the peer announces.
type announced struct {
	session *Session
	base    moq.Path   // what suffixes are below
	hop     origin.Hop // the peer's, as it says in ANNOUNCE_OK
	starts  uint64     // of lite-06, which count as their ids
	byID    map[uint64]moq.Path
	routes  map[moq.Path]*route
	isFull  bool // a node has announced too many, which was logged
}

// route is a path that the peer announces now. It may not be in the table: what
// we do not want is announced all the same.
type route struct {
	path         moq.Path // as the table has it
	registration *origin.Registration
	publisher    origin.Hop
}

// read takes announcements until the stream ends.
func (a *announced) read(r *base.Reader) error {
	s := a.session
	if s.version.HasSetup() {
		ok, err := base.Next(r, wire.ConsumeAnnounceOK)
		if err != nil {
			return err
		}
		a.hop = origin.Hop(ok.Hop)
	}
	if s.version.IsInBand() {
		init, err := base.Next(r, wire.ConsumeAnnounceInit)
		if err != nil {
			return err
		}
		for _, suffix := range init.Suffixes {
			if err := a.take(wire.Announce{Kind: wire.AnnounceStart, Suffix: suffix}); err != nil {
				return err
			}
		}
	}
	for {
		message, err := base.Next(r, s.version.ConsumeAnnounce)
		if err != nil {
			return err
		}
		if !s.AdmitControl() {
			return base.ErrClosed
		}
		if err := a.take(message); err != nil {
			s.Fail(err)
			return err
		}
	}
}

// take does what an announcement says. An error ends the session.
func (a *announced) take(m wire.Announce) error {
	path := a.base.Append(m.Suffix...)
	if a.session.version.HasCosts() {
		var err error
		if path, err = a.resolve(m, path); err != nil {
			return err
		}
	}
	if m.Kind == wire.AnnounceEnd {
		a.end(path)
		return nil
	}
	return a.start(path, a.announcement(path, m), m.Kind == wire.AnnounceUpdate)
}

// resolve returns the path of a message of lite-06, in which an announcement has
// the number of its START on the stream.
func (a *announced) resolve(m wire.Announce, path moq.Path) (moq.Path, error) {
	if m.Kind == wire.AnnounceStart {
		if _, ok := a.routes[path]; ok {
			return path, &base.Violation{Fault: base.Protocol, Text: fmt.Sprintf("%q is announced twice", path)}
		}
		a.byID[a.starts] = path
		a.starts++
		return path, nil
	}
	path, ok := a.byID[m.ID]
	if !ok {
		return path, &base.Violation{Fault: base.Protocol, Text: fmt.Sprintf("announcement %d was never made or has ended", m.ID)}
	}
	if m.Kind == wire.AnnounceEnd {
		delete(a.byID, m.ID)
	}
	return path, nil
}

// announcement is what the table is told of a message.
func (a *announced) announcement(path moq.Path, m wire.Announce) origin.Announcement {
	s := a.session
	n := origin.Announcement{Path: path, Kind: origin.Broadcast, Class: s.Config.Class, Source: s}
	if s.isOurs() {
		if track, ok := unescapePath(path.Parts()); ok {
			n.Path, n.Kind = track, origin.Track
		}
	}
	for _, hop := range m.Hops {
		n.Hops = append(n.Hops, origin.Hop(hop))
	}
	n.Warm, n.Cold = uint64(len(m.Hops)), origin.MaxCost
	switch {
	case s.version.HasCosts():
		cost := uint64(1)
		if declared := s.setupNow().Cost; declared != nil {
			cost = *declared
		}
		n.Warm, n.Cold = min(m.Warm+cost, origin.MaxCost), min(m.Cold+cost, origin.MaxCost)
		n.Hops = append(n.Hops, a.hop)
	case s.version.HasSetup():
		n.Hops = append(n.Hops, a.hop)
	case s.version.HasUpdate():
		n.Warm = uint64(max(len(m.Hops)-1, 0)) // the sender is the last of them
	}
	if s.IsNode() {
		n.Node = s.Node()
	}
	return n
}

// start registers a path, or another way to it. What came through us before is
// left out, and so is what the peer may not announce.
//
// An update says nothing of the content. A second announcement of the same path,
// which lite-05 has in its place, is of other content unless the publisher is
// known to be the same; older versions have none, and it is taken as in lite-05.
func (a *announced) start(path moq.Path, n origin.Announcement, isUpdate bool) error {
	s := a.session
	before := a.routes[path]
	if before == nil && len(a.routes) >= s.Config.Limits.Paths {
		return a.exceed()
	}
	if before != nil && !isUpdate && (before.publisher != n.Publisher() || before.publisher == 0) {
		a.end(path) // it is something else now
		before = nil
	}
	registration, err := a.register(before, n)
	if err != nil {
		s.Log.Debug("announcement refused", "broadcast", path, "error", err)
	}
	if errors.Is(err, moq.ErrOverloaded) {
		s.Config.Metrics.Announced(metrics.Refused)
	}
	a.routes[path] = &route{n.Path, registration, n.Publisher()}
	s.publishes(n.Path, n.Publisher())
	if before == nil {
		s.Published.Add(1)
		s.Config.Metrics.Announced(metrics.Announced)
	}
	return nil
}

// exceed deals with a path that is one too many. It ends the session of a client. A
// node stands for others, and would say the same again on its next session: the
// path is left out until it is announced again.
func (a *announced) exceed() error {
	s := a.session
	err := base.Excess(fmt.Sprintf("more than %d paths are announced", s.Config.Limits.Paths))
	if !s.IsNode() {
		return err
	}
	s.Config.Metrics.Announced(metrics.Refused)
	if !a.isFull {
		a.isFull = true
		s.Log.Warn("announcements of a node refused", "peer", s.Node(), "error", err)
	}
	return nil
}

// publishes notes who publishes what the peer announces, 0 if nobody knows.
func (s *Session) publishes(path moq.Path, publisher origin.Hop) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if publisher == 0 {
		delete(s.publishers, path)
	} else {
		s.publishers[path] = publisher
	}
}

// register puts an announcement into the table, in the place of the one before it
// if there is one.
func (a *announced) register(before *route, n origin.Announcement) (*origin.Registration, error) {
	s := a.session
	err := s.Config.Accept(n.Path)
	if err == nil && n.Kind == origin.Broadcast && !hasBroadcastForm(n.Path) {
		err = moq.ErrMalformed
	}
	var now *origin.Registration
	switch {
	case err != nil:
	case before != nil && before.registration != nil:
		now, err = s.Config.In.Replace(before.registration, n)
	default:
		now, err = s.Config.In.Announce(n)
	}
	if err != nil && before != nil {
		before.withdraw()
	}
	return now, err
}

func (r *route) withdraw() {
	if r.registration != nil {
		r.registration.Withdraw()
	}
}

// end withdraws a path that the peer has said to be over.
func (a *announced) end(path moq.Path) {
	r, ok := a.routes[path]
	if !ok {
		return
	}
	a.withdraw(path)
	if !a.session.IsEnding() { // else it is the publisher that has left the peer, and what is under way still comes
		a.session.unannounced(r.path, a.isLonger(r.path))
	}
}

// isLonger tells of a track whether it belongs to a path that is announced still
// and longer than the one that is not.
func (a *announced) isLonger(path moq.Path) func(moq.Path) bool {
	return func(track moq.Path) bool {
		for prefix := range track.Parent().Prefixes() {
			if _, ok := a.routes[prefix]; ok && prefix.Len() > path.Len() {
				return true
			}
		}
		return false
	}
}

func (a *announced) withdraw(path moq.Path) {
	a.routes[path].withdraw()
	a.forget(path)
}

// hold withdraws a path after a while, in which its publisher may come back.
func (a *announced) hold(path moq.Path) {
	time.AfterFunc(a.session.Config.Hold, a.routes[path].withdraw)
	a.forget(path)
}

func (a *announced) forget(path moq.Path) {
	a.session.publishes(a.routes[path].path, 0)
	delete(a.routes, path)
	a.session.Published.Add(-1)
	a.session.Config.Metrics.Announced(metrics.Unannounced)
}

// wasLost tells whether the connection has ended, and not because the peer was
// done or we were.
func (s *Session) wasLost() bool {
	if s.Conn.Context().Err() == nil {
		return false
	}
	e, ok := errors.AsType[*transport.CloseError](context.Cause(s.Conn.Context()))
	return ok && (e.Err != nil || e.Remote && !s.Codes.SessionEnd(e.Code))
}

// withdrawAll withdraws what was announced on a stream that has ended. Of a peer
// that goes away what is subscribed already goes on for as long as the peer
// serves it, so that subscribers can find another way before.
func (a *announced) withdrawAll() {
	s := a.session
	ending, lost := s.IsEnding(), s.Config.Hold > 0 && s.wasLost()
	for path, r := range a.routes {
		switch {
		case lost && r.publisher != 0:
			a.hold(path)
		case ending:
			a.withdraw(path)
		default:
			a.end(path)
		}
	}
}

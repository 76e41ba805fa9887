package transfork

import (
	"errors"
	"fmt"
	"io"

	"github.com/moqrelay/moqrelay/relay/metrics"
	"github.com/moqrelay/moqrelay/relay/moq"
	"github.com/moqrelay/moqrelay/relay/origin"
	"github.com/moqrelay/moqrelay/relay/session/base"
	"github.com/moqrelay/moqrelay/relay/transport"
	wire "github.com/moqrelay/moqrelay/relay/wire/transfork"
)

// askAnnouncements asks the peer what it announces and puts that into
// Config.In, until the peer ends the stream. It is not asked again then: who
// ends it has no more to tell, and is going away unless we have told it to.
func (s *Session) askAnnouncements() {
	stream, err := s.Conn.OpenStream(s.Conn.Context())
	if err != nil {
		return
	}
	stream.SetPriority(base.ControlUrgency, false)
	interest := wire.AnnounceInterest{Prefix: s.Config.Interest.Parts()}
	if _, err := stream.Write(interest.Append(wire.StreamAnnounce.Append(nil))); err != nil {
		return
	}
	if !s.isPeer() {
		defer s.OnLeave(func() { _ = stream.Close() })() // if that fails, the peer has left
	}
	a := &announced{session: s, routes: make(map[moq.Path]*origin.Registration)}
	defer a.withdrawAll()
	err = a.read(base.NewReader(stream))
	switch {
	case errors.Is(err, io.EOF) && s.IsLeaving():
		<-s.Conn.Context().Done() // what it has announced is ours until then
	case errors.Is(err, io.EOF):
		s.peerLeaves()
		_ = stream.Close() // a FIN for a FIN
	case errors.Is(err, wire.ErrMalformed), errors.Is(err, io.ErrUnexpectedEOF):
		s.Log.Debug("announcements ended", "error", err)
		refuse(stream, wire.CodeDecode)
	default:
		s.closeSending(stream, err)
	}
}

// closeSending answers the peer's reset of one direction with one of the other.
func (s *Session) closeSending(stream transport.Stream, err error) {
	if e, ok := errors.AsType[*transport.StreamError](err); ok && e.Remote {
		stream.CancelWrite(uint32(wire.CodeCancel))
	}
}

// announced is what the peer announces.
type announced struct {
	session *Session
	routes  map[moq.Path]*origin.Registration
	isFull  bool // a node has announced too many, which was logged
}

// read takes announcements until the stream ends.
func (a *announced) read(r *base.Reader) error {
	s := a.session
	for {
		message, err := base.Next(r, wire.ConsumeAnnounce)
		if err != nil {
			return err
		}
		if !s.AdmitControl() {
			return base.ErrClosed
		}
		path := s.Config.Interest.Append(message.Suffix...)
		switch message.Status {
		case wire.Active:
			if err := a.announce(path); err != nil {
				s.Fail(err)
				return err
			}
		case wire.Ended:
			a.unannounce(path)
		case wire.Live: // later versions end their initial list with it
		}
	}
}

// announce registers a path. One that is active already stays as it is: relays
// before 0.6.10 repeat themselves in bursts.
func (a *announced) announce(path moq.Path) error {
	s := a.session
	if _, ok := a.routes[path]; ok {
		return nil
	}
	if len(a.routes) >= s.Config.Limits.Paths {
		return a.exceed()
	}
	if err := s.Config.Accept(path); err != nil {
		s.Log.Debug("announcement refused", "track", path, "error", err)
		return nil
	}
	announcement := origin.Announcement{Path: path, Kind: origin.Track, Class: s.Config.Class, Source: s, Cold: origin.MaxCost}
	if s.isPeer() {
		announcement.Node = s.mark
	}
	registration, err := s.Config.In.Announce(announcement)
	if errors.Is(err, moq.ErrOverloaded) {
		s.Config.Metrics.Announced(metrics.Refused)
	}
	if err != nil {
		s.Log.Debug("announcement refused", "track", path, "error", err)
		return nil
	}
	a.routes[path] = registration
	s.Published.Add(1)
	s.Config.Metrics.Announced(metrics.Announced)
	return nil
}

// exceed deals with a path that is one too many. It ends the session of a client. A
// node stands for others, and would say the same again on its next session: the
// path is left out until it is announced again.
func (a *announced) exceed() error {
	s := a.session
	err := base.Excess(fmt.Sprintf("more than %d paths are announced", s.Config.Limits.Paths))
	if !s.isNode {
		return err
	}
	s.Config.Metrics.Announced(metrics.Refused)
	if !a.isFull {
		a.isFull = true
		s.Log.Warn("announcements of a node refused", "peer", s.mark, "error", err)
	}
	return nil
}

// unannounce withdraws a path, if it was announced.
func (a *announced) unannounce(path moq.Path) {
	registration, ok := a.routes[path]
	if !ok {
		return
	}
	a.withdraw(path, registration)
	// Publishers before us say in no other way that a track has ended.
	a.session.unannounced(path)
}

func (a *announced) withdraw(path moq.Path, registration *origin.Registration) {
	delete(a.routes, path)
	registration.Withdraw()
	a.session.Published.Add(-1)
	a.session.Config.Metrics.Announced(metrics.Unannounced)
}

// withdrawAll withdraws what was announced on a stream that has ended. Of a peer
// that goes away what is subscribed already goes on for as long as the peer
// serves it, so that subscribers can find another way before.
func (a *announced) withdrawAll() {
	ending := a.session.IsEnding()
	for path, registration := range a.routes {
		if ending {
			a.withdraw(path, registration)
		} else {
			a.unannounce(path)
		}
	}
}

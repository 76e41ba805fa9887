package server

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/moqrelay/moqrelay/relay/metrics"
	"github.com/moqrelay/moqrelay/relay/session"
)

// A graceful stop has five steps, all within DrainTimeout:
//
//  1. Presence is withdrawn: no node makes a new link to this one.
//  2. Publishers are told to go, and have a head start: what they publish should
//     be reachable elsewhere before it is withdrawn here.
//  3. Everybody is told. Who understands it subscribes elsewhere and leaves; all
//     is served as before meanwhile. Links to other nodes carry what the last
//     clients still watch.
//  4. For those who stay, groups that are under way are delivered to their end.
//  5. Sessions are closed.
//
// Connections that come meanwhile, because it takes a while until nobody is led
// here any more, are taken and told at once, and refused after the lame duck.

const (
	// headStart bounds step 2.
	headStart = 2 * time.Second
	// lameDuck is how long, from the beginning of the stop on, new connections are
	// still taken, and bounds steps 2 and 3.
	lameDuck = 5 * time.Second
	// drainPoll is how often the stop looks whether it can go on.
	drainPoll = 20 * time.Millisecond
)

// stopGracefully tells every session to go and waits for that, within the bound.
func (s *Server) stopGracefully(ctx context.Context) {
	now := time.Now()
	s.draining.Store(&now)
	s.Metrics.SetDraining(true)
	s.Log.Info("draining", "sessions", s.sessions.len(), "bound", s.DrainTimeout)
	s.Withdraw()
	ctx, cancel := context.WithTimeout(ctx, s.DrainTimeout)
	defer cancel()
	s.sendPublishers(ctx)
	s.sendAll(ctx)
	s.finish(ctx)
}

// sendPublishers tells the publishers, and waits until what they publish is to be
// had elsewhere.
func (s *Server) sendPublishers(ctx context.Context) {
	publishers := 0
	for _, e := range s.sessions.all() {
		if !s.isNode(e) && e.session.Stats().Publishes > 0 {
			publishers++
			e.session.GoAway()
		}
	}
	if publishers == 0 {
		return
	}
	poll(ctx, min(headStart, s.DrainTimeout/4), s.Moved)
}

// sendAll tells everybody, and waits until nobody is served any more.
func (s *Server) sendAll(ctx context.Context) {
	for _, e := range s.sessions.all() {
		e.session.GoAway()
	}
	for _, link := range s.Links() {
		link.GoAway()
	}
	poll(ctx, min(lameDuck, s.DrainTimeout/2)-time.Since(*s.draining.Load()), s.isIdle)
}

// isIdle tells whether only publishers and links are left, and nobody is
// subscribed. Publishers need not leave: nobody asks them for anything any more.
func (s *Server) isIdle() bool {
	for _, e := range s.sessions.all() {
		st := e.session.Stats()
		if st.Subscriptions > 0 || st.Publishes == 0 && !s.isNode(e) {
			return false
		}
	}
	for _, link := range s.Links() {
		if link.Stats().Subscriptions > 0 {
			return false
		}
	}
	return true
}

// finish drains what is left and closes it, viewers as they are done and those
// that groups come from when all are: links before publishers, because what a
// publisher leaves behind would be told to other nodes as the end of it. What a
// lost link had announced they keep for a while.
func (s *Server) finish(ctx context.Context) {
	links := s.Links()
	var viewers, publishers []session.Session
	for _, e := range s.sessions.all() {
		switch {
		case s.isNode(e):
			links = append(links, e.session)
		case e.session.Stats().Publishes > 0:
			publishers = append(publishers, e.session)
		default:
			viewers = append(viewers, e.session)
		}
	}
	var draining sync.WaitGroup
	for _, each := range viewers {
		draining.Go(func() {
			each.Drain(ctx)
			each.Close(codeCancel, stops)
		})
	}
	for _, each := range slices.Concat(links, publishers) {
		draining.Go(func() { each.Drain(ctx) })
	}
	draining.Wait()
	closeAll(links)
	closeAll(publishers)
}

// closeAll closes sessions because the relay stops, and waits for that.
func closeAll(sessions []session.Session) {
	var closing sync.WaitGroup
	for _, each := range sessions {
		closing.Go(func() { each.Close(codeCancel, stops) })
	}
	closing.Wait()
}

// stops is what a session that is closed is told.
const stops = "the relay stops"

// isNode tells whether a session is a link to another node.
func (s *Server) isNode(e *entry) bool { return s.PeerName(e.session.Node()) != "" }

// begin notes the session of a connection. One that comes while the relay stops
// is told at once.
func (s *Server) begin(e *entry, sess session.Session) {
	s.sessions.begun(e, sess)
	if s.draining.Load() != nil {
		sess.GoAway()
	}
}

// refusal returns why a new connection is not served, "" if it is.
func (s *Server) refusal() (reason metrics.RefuseReason, text string) {
	since := s.draining.Load()
	switch {
	case since != nil && time.Since(*since) > lameDuck:
		return metrics.RefusedDraining, stops
	case s.sessions.len() >= s.MaxSessions:
		return metrics.RefusedLimit, "no more sessions here: --max-sessions"
	default:
		return "", ""
	}
}

// poll waits until ok, for at most limit or until ctx is done.
func poll(ctx context.Context, limit time.Duration, ok func() bool) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	ticker := time.NewTicker(drainPoll)
	defer ticker.Stop()
	for !ok() {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
	}
}

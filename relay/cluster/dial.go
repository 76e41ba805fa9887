package cluster

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/moqrelay/moqrelay/relay/transport"
)

const (
	// linkGrace is how long the node with the larger name waits to be dialled
	// before it dials itself.
	linkGrace = time.Second
	// minBackoff and maxBackoff bound the time between two dials.
	minBackoff = 100 * time.Millisecond
	maxBackoff = time.Second
	// dialTimeout bounds one dial.
	dialTimeout = 3 * time.Second
	// forgetAfter ends the dialling of a node that is announced by nobody and
	// was not reached for so long. Nodes of 0.6.8 announce themselves for an
	// instant only.
	forgetAfter = 10 * time.Minute
)

// dialLoop keeps a link to one host.
type dialLoop struct {
	host string
	root bool

	// Guarded by Cluster.mu.
	present  bool // announced right now
	failures int  // dials since the last link
	lastErr  error
}

// startLoopLocked makes sure that host is being dialled.
func (c *Cluster) startLoopLocked(host string, root bool) {
	if loop, ok := c.loops[host]; ok {
		loop.present = true
		return
	}
	if c.ctx.Err() != nil || c.hasLeft() {
		return
	}
	loop := &dialLoop{host: host, root: root, present: true}
	c.loops[host] = loop
	c.wg.Go(func() { c.runLoop(c.ctx, loop) })
}

// absent notes that the presence of node is no longer announced. A node that
// is known to announce itself for as long as it lives is forgotten, but only on
// the word of a root that is there: a lost root takes nobody along.
func (c *Cluster) absent(node string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	loop, ok := c.loops[node]
	if !ok || loop.root {
		return
	}
	loop.present = false
}

// runLoop dials until ctx is done or the node is forgotten.
func (c *Cluster) runLoop(ctx context.Context, loop *dialLoop) {
	lastAlive, backoff := time.Now(), minBackoff
	if c.Open {
		c.expect(ctx, loop.host)
	}
	if !loop.root && c.Node != "" && loop.host < c.Node {
		wait(ctx, linkGrace)
	}
	for ctx.Err() == nil && !c.hasLeft() {
		l := c.linkTo(loop.host)
		if lost := l.lost(); lost != nil { // the other side has dialled
			select {
			case <-lost:
			case <-ctx.Done():
			}
			lastAlive, backoff = time.Now(), minBackoff
			wait(ctx, jitter(minBackoff))
			continue
		}
		if c.forget(loop, l, lastAlive) {
			return
		}
		linked := false
		conn, err := c.dialOnce(ctx, loop)
		if err == nil {
			linked, err = c.runDialled(ctx, conn, l, loop.root)
		}
		if linked {
			lastAlive, backoff = time.Now(), minBackoff
		}
		c.note(loop, linked, err)
		wait(ctx, jitter(backoff))
		backoff = min(2*backoff, maxBackoff)
	}
}

// forget reports whether the loop is to end because nobody announces the node
// any more, and takes it out of the books if so.
func (c *Cluster) forget(loop *dialLoop, l *link, lastAlive time.Time) bool {
	rooted := c.rootConnected()
	c.mu.Lock()
	defer c.mu.Unlock()
	if loop.root || loop.present {
		return false
	}
	announcesItself := l.marked() && rooted
	if !announcesItself && time.Since(lastAlive) < forgetAfter {
		return false
	}
	delete(c.loops, loop.host)
	return true
}

// dialOnce connects to the host of loop.
func (c *Cluster) dialOnce(ctx context.Context, loop *dialLoop) (transport.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	conn, err := c.Dial(ctx, loop.host)
	c.Metrics.PeerDialed(err == nil)
	if err == nil && c.Open {
		c.rememberAddr(conn.RemoteAddr())
	}
	return conn, err
}

// note keeps the outcome of a dial for the node's status, and logs the first
// failure of a series.
func (c *Cluster) note(loop *dialLoop, linked bool, err error) {
	c.mu.Lock()
	loop.lastErr = err
	loop.failures++
	if linked {
		loop.failures = 0
	}
	first := loop.failures == 1
	c.mu.Unlock()
	c.count()
	if first && c.ctx.Err() == nil {
		c.Log.Warn("node not reached, dialling on", "node", loop.host, "error", err)
	}
}

// jitter returns a time between half of d and one and a half.
func jitter(d time.Duration) time.Duration {
	return d/2 + rand.N(d)
}

// wait blocks for d or until ctx is done.
func wait(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}

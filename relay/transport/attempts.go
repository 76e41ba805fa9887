package transport

import (
	"context"
	"net/netip"
	"time"
)

// attemptDelay is how long one address is given before the next is tried beside
// it (RFC 8305, section 5, "Connection Attempt Delay").
const attemptDelay = 250 * time.Millisecond

// firstOf tries the addresses of a host in their order and returns the first
// connection; those that come too late are closed. The next one is tried when one
// fails or has not answered for a moment. An error is the most telling of all.
func firstOf[C any](
	ctx context.Context, addrs []netip.AddrPort, dial func(context.Context, netip.AddrPort) (C, error), closeLate func(C),
) (C, error) {
	type result struct {
		conn C
		err  error
	}
	ctx, cancel := context.WithCancel(ctx)
	results := make(chan result, len(addrs)) // nobody waits to report
	running := 0
	defer func() {
		cancel()
		for ; running > 0; running-- {
			if r := <-results; r.err == nil {
				closeLate(r.conn)
			}
		}
	}()
	next := time.NewTimer(attemptDelay)
	defer next.Stop()
	attempt := func() {
		if len(addrs) == 0 {
			return
		}
		addr := addrs[0]
		addrs = addrs[1:]
		running++
		go func() { // waited for through results
			conn, err := dial(ctx, addr)
			results <- result{conn, err}
		}()
		next.Reset(attemptDelay)
	}
	var worst error
	for attempt(); running > 0; {
		select {
		case <-next.C:
			attempt()
		case r := <-results:
			running--
			if r.err == nil {
				return r.conn, nil
			}
			worst = moreTelling(worst, dialError(r.err))
			attempt()
		}
	}
	var none C
	return none, worst
}

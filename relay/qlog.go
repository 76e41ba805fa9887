package relay

import (
	"context"
	"fmt"
	"time"

	"github.com/moqrelay/moqrelay/relay/qlog"
)

// qlogPatience is how long a relay that stops waits for the last events to be on
// disk. A disk that does not answer holds up nothing.
const qlogPatience = 2 * time.Second

// openQlog returns where qlog files are written, nil if they are not.
func (r *Relay) openQlog() (*qlog.Directory, error) {
	c := r.config
	if c.QlogDir == "" {
		return nil, nil
	}
	d, err := qlog.Open(qlog.Config{
		Path:     c.QlogDir,
		Sample:   c.QlogSample,
		MaxBytes: int64(c.QlogMax),
		Log:      r.env.Log,
		Dropped:  func(reason qlog.DropReason) { r.metrics.QlogDropped(string(reason)) },
		Create:   r.env.CreateQlog,
	})
	if err != nil {
		return nil, fmt.Errorf("--qlog-dir %s: %w; choose a directory that this user may write to", c.QlogDir, err)
	}
	return d, nil
}

// runQlog writes until stop is called, which is after the last connection has
// ended.
func (r *Relay) runQlog(ctx context.Context) (stop func()) {
	if r.qlog == nil {
		return func() {}
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	written := make(chan struct{})
	go func() { // stop waits for it
		defer close(written)
		r.qlog.Run(ctx)
	}()
	return func() {
		cancel()
		select {
		case <-written:
		case <-time.After(qlogPatience):
			r.env.Log.Warn("qlog is not written to its end: the disk does not answer", "dir", r.config.QlogDir)
		}
	}
}

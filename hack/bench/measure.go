package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"sync"
	"time"
)

// memorySettle is how long idle sessions are left alone before memory is read.
const memorySettle = 10 * time.Second

// measure runs one round with one relay.
func measure(ctx context.Context, o options, load workload, p program, dir, profile string) (m measurement, err error) {
	t, err := launch(ctx, o, p, dir)
	if err != nil {
		return m, err
	}
	defer t.stop()
	before, err := usageOf(t.edge().cmd.Process.Pid)
	if err != nil {
		return m, err
	}
	a := new(audience)
	defer a.leave()
	var publishing sync.WaitGroup
	defer publishing.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()

	var pub *publisher
	if !load.isIdle() {
		c, err := connect(ctx, t.relays[0].addr, t.pool, t.speak)
		if err != nil {
			return m, fmt.Errorf("publisher: %w", err)
		}
		pub = newPublisher(c, load)
		publishing.Go(func() { pub.run(ctx) })
		if err := awaitTrack(ctx, t); err != nil {
			return m, err
		}
	}
	for range o.viewers {
		if err := a.join(ctx, t, load); err != nil {
			return m, err
		}
	}
	if err := pause(ctx, warmUp(o, load)); err != nil {
		return m, err
	}
	if pub == nil {
		m, err = observe(ctx, o, t, nil)
	} else {
		m, err = a.observe(ctx, o, t, pub, profile)
	}
	if err != nil {
		return m, err
	}
	m.SessionKB = float64(m.edgeRSS-before.rss) / 1024 / float64(o.viewers)
	if n := a.gone(); n > 0 {
		return m, fmt.Errorf("%d of %d sessions have ended", n, o.viewers)
	}
	return m, nil
}

func warmUp(o options, load workload) time.Duration {
	if load.isIdle() {
		return max(o.warmUp, memorySettle)
	}
	return o.warmUp
}

func pause(ctx context.Context, d time.Duration) error {
	if !sleepUntil(ctx, time.Now().Add(d)) {
		return context.Cause(ctx)
	}
	return nil
}

// awaitTrack waits until the track can be subscribed where the viewers are: over
// two hops its announcement has to get there.
func awaitTrack(ctx context.Context, t *topology) error {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	for {
		var probe audience
		err := probe.join(ctx, t, workload{interval: 1})
		probe.leave()
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return fmt.Errorf("the track is not there: %w", err)
		}
		_ = pause(ctx, 100*time.Millisecond) // the next attempt fails if ctx is done
	}
}

// observe measures the load while it runs.
func (a *audience) observe(ctx context.Context, o options, t *topology, pub *publisher, profile string) (measurement, error) {
	var profiling sync.WaitGroup
	var profileErr error
	if profile != "" {
		profiling.Go(func() { profileErr = saveProfile(ctx, t.edge(), o.duration, profile) })
	}
	first := pub.sequence.Load() + 1
	a.measuring.Store(true)
	m, err := observe(ctx, o, t, func() { a.measuring.Store(false) })
	profiling.Wait()
	if err = errors.Join(err, profileErr); err != nil {
		return m, err
	}
	last := pub.sequence.Load() - 1
	if err := pause(ctx, settle); err != nil {
		return m, err
	}
	m.Frames, m.Bytes = a.frames.Load(), a.bytes.Load()
	m.ExpectedFrames = int64(pub.load.perSecond() * m.Seconds * float64(o.viewers))
	m.Groups, m.LostGroups = int(last+1-first)*o.viewers, a.lost(first, last)
	m.Refused = int(pub.failed.Load() + pub.missed.Load())
	m.LatencyMS = latencies{
		P50: ms(a.latency.quantile(0.5)), P90: ms(a.latency.quantile(0.9)),
		P99: ms(a.latency.quantile(0.99)), Max: ms(time.Duration(a.latency.max.Load())),
	}
	return m, nil
}

// observe measures what processes use for the duration. The function, if any,
// is called at its end.
func observe(ctx context.Context, o options, t *topology, end func()) (m measurement, err error) {
	start, err := snapshot(t)
	if err != nil {
		return m, err
	}
	err = pause(ctx, o.duration)
	if end != nil {
		end()
	}
	if err != nil {
		return m, err
	}
	stop, err := snapshot(t)
	if err != nil {
		return m, err
	}
	m.Seconds = stop.at.Sub(start.at).Seconds()
	ours := stop.self - start.self
	for i, r := range t.all() {
		used := stop.relays[i].cpu - start.relays[i].cpu
		ours += used
		m.Nodes = append(m.Nodes, nodeUsage{
			Node: r.node, CPUSeconds: used.Seconds(), Cores: used.Seconds() / m.Seconds,
			RSSMB: mb(stop.relays[i].rss), PeakMB: mb(stop.relays[i].peak),
		})
		m.edgeRSS = stop.relays[i].rss
	}
	m.LoadCores = (stop.self - start.self).Seconds() / m.Seconds
	m.OtherCores = max(0, (stop.machine-start.machine-ours).Seconds()/m.Seconds)
	return m, nil
}

// moment is what was used up to a point in time.
type moment struct {
	at            time.Time
	self, machine time.Duration
	relays        []usage
}

func snapshot(t *topology) (moment, error) {
	s := moment{at: time.Now()}
	self, err := usageOf(os.Getpid())
	if err != nil {
		return s, err
	}
	s.self = self.cpu
	if s.machine, err = machineCPU(); err != nil {
		return s, err
	}
	for _, r := range t.all() {
		u, err := usageOf(r.cmd.Process.Pid)
		if err != nil {
			return s, fmt.Errorf("%s has ended: %w\n%s", r.node, err, r.log)
		}
		s.relays = append(s.relays, u)
	}
	return s, nil
}

// saveProfile has a relay profile itself.
func saveProfile(ctx context.Context, r *process, d time.Duration, file string) error {
	url := fmt.Sprintf("http://%s/debug/pprof/profile?seconds=%d", r.private, int(d.Seconds()))
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("profile: %s", resp.Status)
	}
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	return os.WriteFile(file, b, 0o644)
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
func mb(bytes int64) float64     { return float64(bytes) / (1 << 20) }

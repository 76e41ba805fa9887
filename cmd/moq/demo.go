package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/moqrelay/moqrelay/cmd/moq/internal/clip"
	"github.com/moqrelay/moqrelay/cmd/moq/internal/fmp4"
	"github.com/moqrelay/moqrelay/cmd/moq/internal/hang"
	"github.com/moqrelay/moqrelay/cmd/moq/internal/local"
	"github.com/moqrelay/moqrelay/cmd/moq/internal/screen"
	"github.com/moqrelay/moqrelay/relay/moq"
	"github.com/moqrelay/moqrelay/relay/origin"
)

// demoName is what demo publishes the sample clip as.
const demoName = "demo/clip"

// headStart is how long the broadcast runs before it is played.
const headStart = 2 * time.Second

// demo is the command that shows the whole way of a broadcast, and checks it.
type demo struct {
	*environment
	upFlags
	duration time.Duration
}

func newDemo(env *environment) *cobra.Command {
	d := &demo{environment: env}
	cmd := &cobra.Command{
		Use:   "demo -f FILE",
		Short: "Send a clip through a local cluster and check what arrives",
		Long: `Run a RelayCluster on this machine, publish the sample clip in its first region,
play it from the last one, compare every sample with the clip, and show how long
joining took and how old the frames were.`,
		Example: `  moq demo -f config/samples/relaycluster.yaml
  moq demo -f relaycluster.yaml --duration 1m`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error { return d.run(cmd.Context()) },
	}
	d.register(cmd.Flags())
	cmd.Flags().DurationVar(&d.duration, "duration", 10*time.Second, "play for so long")
	return cmd
}

func (d *demo) run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ready := make(chan local.Ready, 1)
	ended := make(chan error, 1)
	go func() { ended <- runUp(ctx, d.environment, d.upFlags, func(r local.Ready) { ready <- r }) }()
	select {
	case r := <-ready:
		err := d.play(ctx, r)
		cancel()
		return errors.Join(err, <-ended)
	case err := <-ended:
		return err
	}
}

// play publishes and checks until the time is over.
func (d *demo) play(ctx context.Context, r local.Ready) error {
	ctx, cancel := context.WithCancel(ctx)
	first, last := r.Ends()
	muted := *d.environment
	muted.quiet = true
	flags := dialFlags{timeout: 10 * time.Second}
	publisher := &pub{environment: &muted, dialFlags: flags, name: demoName, loop: true}
	var wg sync.WaitGroup
	var published error
	wg.Go(func() { published = publisher.run(ctx, first) })
	select { // a viewer comes to a broadcast that runs
	case <-time.After(headStart):
	case <-ctx.Done():
	}
	report, err := d.check(ctx, flags, last)
	cancel()
	wg.Wait()
	if err := errors.Join(err, published); err != nil {
		return err
	}
	return d.tell(first, last, report)
}

// tell shows what was seen. What was not as published is a failure.
func (d *demo) tell(first, last string, r checked) error {
	s := d.screen()
	slices.Sort(r.ages)
	s.Line("%s, published at %s, played at %s for %v:", demoName, first, last, d.duration)
	s.Line("  samples  %d equal to the clip's, %d not, %d missing", r.equal, r.wrong, r.missing)
	s.Line("  joined   in %s", screen.Millis(r.joined))
	s.Line("  latency  p50 %s, p99 %s, max %s", screen.Millis(quantile(r.ages, 50)), screen.Millis(quantile(r.ages, 99)), screen.Millis(quantile(r.ages, 100)))
	if r.equal == 0 || r.wrong > 0 || r.missing > 0 {
		return failed(errors.New("what arrived is not what was published"), "\"moq up\" with --state keeps the logs of the relays")
	}
	return nil
}

// quantile returns the value below which percent of sorted lie.
func quantile(sorted []time.Duration, percent int) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[min(len(sorted)-1, len(sorted)*percent/100)]
}

// checked is what a check has seen.
type checked struct {
	equal, wrong, missing int
	joined                time.Duration
	ages                  []time.Duration
}

// check plays the broadcast and compares it with the clip.
func (d *demo) check(ctx context.Context, flags dialFlags, url string) (checked, error) {
	name := moq.ParsePath(demoName)
	c, err := flags.connect(ctx, url, origin.NewTable(), name)
	if err != nil {
		return checked{}, err
	}
	defer c.close()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	f := newFinder(name, "")
	go f.run(ctx, c.in)
	t, found, changed := f.newest()
	for !found {
		select {
		case <-changed:
			t, found, changed = f.newest()
		case <-time.After(flags.timeout):
			return checked{}, failed(fmt.Errorf("%q is not announced at %s", demoName, url), "see the logs of the relays: --state keeps them")
		case <-ctx.Done():
			return checked{}, context.Cause(ctx)
		}
	}
	began := time.Now()
	p := &player{from: c}
	catalog, err := p.loadCatalog(ctx, t.path, flags.timeout)
	if err != nil {
		return checked{}, err
	}
	return d.compare(ctx, p, t.broadcast(), catalog, began)
}

// compare subscribes to every track and holds each frame against the clip.
func (d *demo) compare(ctx context.Context, p *player, broadcast moq.Path, catalog hang.Catalog, began time.Time) (checked, error) {
	ctx, cancel := context.WithCancel(ctx)
	var receivers sync.WaitGroup
	defer receivers.Wait()
	defer cancel()
	arrivals := make(chan arrival)
	var tracks []*trackCheck
	for i, t := range catalog.Tracks {
		check, err := newTrackCheck(t)
		if err != nil {
			return checked{}, err
		}
		tracks = append(tracks, check)
		sub, err := p.subscribe(source{broadcast.Append(t.Name), t.Priority, t.Unpack})
		if err != nil {
			return checked{}, fmt.Errorf("subscribe %q: %w", t.Name, err)
		}
		r := &receiver{sub: sub, track: i, arrivals: arrivals}
		receivers.Go(func() { r.run(ctx) })
	}
	var seen checked
	end := time.After(d.duration)
	for {
		select {
		case a := <-arrivals:
			switch a.kind {
			case frameCame:
				if seen.joined == 0 {
					seen.joined = a.at.Sub(began)
				}
				seen.take(tracks[a.track], a, catalog.Start, began)
			case groupBroken, groupsLost, trackEnded:
				seen.missing++
			case groupBegan, groupEnded:
			}
		case <-end:
			for _, t := range tracks {
				seen.missing += t.gaps()
			}
			return seen, nil
		case <-ctx.Done():
			return seen, context.Cause(ctx)
		}
	}
}

// take holds a frame against the clip, of a broadcast that began at start and
// was joined later.
func (c *checked) take(t *trackCheck, a arrival, start, joined time.Time) {
	samples, err := t.unpack(a.data)
	if err != nil || len(samples) != 1 || !t.note(a.group, samples[0].Data) {
		c.wrong++
		return
	}
	c.equal++
	due := start.Add(time.Duration(samples[0].Micros) * time.Microsecond)
	if due.After(joined) { // what was there before has an age that is nobody's fault
		c.ages = append(c.ages, a.at.Sub(due))
	}
}

// trackCheck knows the samples of one track of the clip.
type trackCheck struct {
	unpack func(frame []byte) ([]hang.Sample, error)

	index map[[sha256.Size]byte][]int // places of a sample in the clip
	count int                         // samples of the clip
	sync  []int                       // places at which a group begins

	seen map[uint64][]int // by group: places of its samples, in the order in which they came
}

func newTrackCheck(t hang.Track) (*trackCheck, error) {
	check := &trackCheck{unpack: t.Unpack, index: make(map[[sha256.Size]byte][]int), seen: make(map[uint64][]int)}
	reader := fmp4.NewReader(bytes.NewReader(clip.MP4))
	for {
		s, err := reader.Next()
		if errors.Is(err, io.EOF) {
			return check, nil
		}
		if err != nil {
			return nil, err
		}
		if s.Track != t.MP4.ID {
			continue
		}
		if s.Sync {
			check.sync = append(check.sync, check.count)
		}
		sum := sha256.Sum256(s.Data)
		check.index[sum] = append(check.index[sum], check.count)
		check.count++
	}
}

// note takes the next sample of a group and reports whether the clip has it at
// that place: group g of the loop begins with sync sample g.
func (t *trackCheck) note(group uint64, data []byte) bool {
	place := t.sync[group%uint64(len(t.sync))] + len(t.seen[group])
	t.seen[group] = append(t.seen[group], place)
	return slices.Contains(t.index[sha256.Sum256(data)], place)
}

// gaps returns how many groups between the first and the last did not come, or
// came short.
func (t *trackCheck) gaps() int {
	if len(t.seen) == 0 {
		return 1
	}
	var groups []uint64
	for g := range t.seen {
		groups = append(groups, g)
	}
	slices.Sort(groups)
	missing := int(groups[len(groups)-1]-groups[0]) + 1 - len(groups)
	for _, g := range groups[:len(groups)-1] { // the last one is under way
		if len(t.seen[g]) < t.size(g) {
			missing++
		}
	}
	return missing
}

// size returns how many samples a group has.
func (t *trackCheck) size(group uint64) int {
	i := int(group % uint64(len(t.sync)))
	if i+1 < len(t.sync) {
		return t.sync[i+1] - t.sync[i]
	}
	return t.count - t.sync[i]
}

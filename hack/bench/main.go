// Command bench puts load on relays and says what it costs them. It starts them
// as processes on loopback, alone or as a root and two nodes, publishes one
// track and watches it with any number of sessions, all in this process and over
// raw QUIC, so that one clock measures both ends:
//
//	go run ./hack/bench                                         # two hops, 50 viewers of 4 Mb/s
//	go run ./hack/bench --hops 1 --viewers 100 --workload video10 --rounds 5 --against other/moq-relay
//	go run ./hack/bench --hops 1 --protocol moqf-02 --against other/moq-relay-0.6.8
//	go run ./hack/bench --hops 1 --viewers 1000 --workload idle
//
// What the figures mean: CPU is user and system time of a relay process, while
// the load runs and after a warm-up. Latency counts from when a frame was due to
// be published, or its last slice, to when its last byte was read, so that a
// publisher that is late does not look like a relay that is fast. A group counts
// as lost unless every viewer got all of it. Bytes are those of payloads that
// arrived. The load costs about as much CPU as the relay: on few cores both
// wait for each other, and with --pin each keeps to a core of its own.
//
// Absolute figures say little on a shared machine, so what else ran is shown as
// well, and with --quiet rounds that others disturbed are repeated. Relays are compared round by round, one after the other, and the ratio is
// the median of the rounds' ratios.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/pflag"
)

// options are what the command was told.
type options struct {
	relay    string
	against  []string
	hops     int
	viewers  int
	workload string
	protocol string
	speak    protocol // of that name
	slices   int
	rounds   int
	warmUp   time.Duration
	duration time.Duration
	quiet    float64
	pin      bool
	profile  string
	json     string
}

// settle is how long after the measured time the last groups may arrive.
const settle = time.Second

func main() {
	var o options
	fs := pflag.NewFlagSet("bench", pflag.ContinueOnError)
	fs.StringVar(&o.relay, "relay", "", "`program` to measure (default: built from here)")
	fs.StringArrayVar(&o.against, "against", nil, "`program` to compare with, any relay with the flags of moq-relay 0.6, or over one hop of 0.17; repeatable")
	fs.IntVar(&o.hops, "hops", 2, "1: one relay; 2: a root and two nodes, the publisher at one and the viewers at the other")
	fs.IntVar(&o.viewers, "viewers", 50, "number of sessions that watch")
	fs.StringVar(&o.workload, "workload", "video4", "what is published: "+strings.Join(workloadNames(), ", "))
	fs.StringVar(&o.protocol, "protocol", "moq-lite-06", "what publisher and viewers speak: "+strings.Join(protocolNames(), ", "))
	fs.IntVar(&o.slices, "slices", 1, "parts of a frame, published a millisecond apart")
	fs.IntVar(&o.rounds, "rounds", 3, "how often each relay is measured, in turns")
	fs.DurationVar(&o.warmUp, "warm-up", 3*time.Second, "load before the measured time")
	fs.DurationVar(&o.duration, "duration", 8*time.Second, "measured time of a round")
	fs.Float64Var(&o.quiet, "quiet", 0, "repeat rounds in which others took more than so many `cores`, thrice as many rounds at most; 0: none")
	fs.BoolVar(&o.pin, "pin", false, "keep relays on the first core and the load on the second, with one worker each (needs taskset)")
	fs.StringVar(&o.profile, "profile", "", "`file` for a CPU profile of the relay where the viewers are, of the last round")
	fs.StringVar(&o.json, "json", "", "`file` for every round's figures, - for standard output in place of the table")
	if err := fs.Parse(os.Args[1:]); err != nil {
		if errors.Is(err, pflag.ErrHelp) {
			return
		}
		fatal(err)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, o); err != nil {
		fatal(err)
	}
}

func fatal(err error) {
	fmt.Fprintln(os.Stderr, "bench:", err)
	os.Exit(1)
}

func (o options) validate() error {
	switch {
	case o.hops != 1 && o.hops != 2:
		return fmt.Errorf("--hops %d: want 1 or 2", o.hops)
	case o.viewers < 1:
		return fmt.Errorf("--viewers %d: want at least 1", o.viewers)
	case o.rounds < 1:
		return fmt.Errorf("--rounds %d: want at least 1", o.rounds)
	case o.duration < time.Second:
		return fmt.Errorf("--duration %v: want at least 1s", o.duration)
	case o.slices < 1:
		return fmt.Errorf("--slices %d: want at least 1", o.slices)
	}
	return nil
}

// run measures every relay in every round.
func run(ctx context.Context, o options) error {
	if err := o.validate(); err != nil {
		return err
	}
	load, err := findWorkload(o.workload, o.slices)
	if err != nil {
		return err
	}
	if o.speak, err = findProtocol(o.protocol); err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "moqrelay-bench-*")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	relays, err := programs(ctx, o, dir)
	if err != nil {
		return err
	}
	if o.pin {
		if err := pinSelf(ctx); err != nil {
			return fmt.Errorf("--pin: %w", err)
		}
	}
	bound := time.Duration(o.attempts()*len(relays)) * (o.warmUp + o.duration + settle + time.Minute)
	ctx, cancel := context.WithTimeout(ctx, bound)
	defer cancel()

	r := report{Options: describe(o), Cores: cores()}
	for attempt := range o.attempts() {
		round, err := o.round(ctx, load, relays, dir)
		if err != nil {
			return err
		}
		if o.quiet > 0 && slices.ContainsFunc(round, func(m measurement) bool { return m.OtherCores > o.quiet }) {
			r.Disturbed++
			if left := o.attempts() - attempt - 1; left >= o.rounds-r.count() {
				continue
			}
		}
		r.Rounds = append(r.Rounds, round...)
		if r.count() == o.rounds {
			break
		}
	}
	return r.write(o)
}

// attempts is how many rounds may be run.
func (o options) attempts() int {
	if o.quiet > 0 {
		return 3 * o.rounds
	}
	return o.rounds
}

// round measures every relay once.
func (o options) round(ctx context.Context, load workload, relays []program, dir string) ([]measurement, error) {
	var round []measurement
	for _, program := range relays {
		file := ""
		if program.name == relays[0].name {
			file = o.profile
		}
		m, err := measure(ctx, o, load, program, dir, file)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", program.name, err)
		}
		m.Relay = program.name
		round = append(round, m)
		fmt.Fprintln(os.Stderr, m.line())
	}
	return round, nil
}

func (r report) write(o options) error {
	if o.json == "" || o.json != "-" {
		r.table(os.Stdout)
	}
	if o.json == "" {
		return nil
	}
	b, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	if o.json == "-" {
		_, err = fmt.Println(string(b))
		return err
	}
	return os.WriteFile(o.json, append(b, '\n'), 0o644)
}

// describe is the command line that repeats the measurement, without paths.
func describe(o options) string {
	s := "--hops " + strconv.Itoa(o.hops) + " --viewers " + strconv.Itoa(o.viewers) + " --workload " + o.workload +
		" --protocol " + o.protocol +
		" --slices " + strconv.Itoa(o.slices) + " --rounds " + strconv.Itoa(o.rounds) +
		" --warm-up " + o.warmUp.String() + " --duration " + o.duration.String()
	if o.quiet > 0 {
		s += fmt.Sprintf(" --quiet %v", o.quiet)
	}
	if o.pin {
		s += " --pin"
	}
	return s
}

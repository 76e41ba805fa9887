package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
)

// report is everything that was measured.
type report struct {
	Options string        `json:"options"`
	Cores   int           `json:"cores"`
	Rounds  []measurement `json:"rounds"`
	// Disturbed is how many rounds others disturbed, left out as far as there were enough.
	Disturbed int `json:"disturbed"`
}

// count is how many rounds there are.
func (r report) count() int {
	if len(r.Rounds) == 0 {
		return 0
	}
	return len(r.values(r.Rounds[0].Relay, measurement.cost))
}

// measurement is one round with one relay.
type measurement struct {
	Relay   string      `json:"relay"`
	Seconds float64     `json:"seconds"`
	Nodes   []nodeUsage `json:"nodes"`

	Frames         int64     `json:"frames"`
	ExpectedFrames int64     `json:"expectedFrames"`
	Bytes          int64     `json:"bytes"`
	Groups         int       `json:"groups"`     // that all viewers together should have got
	LostGroups     int       `json:"lostGroups"` // of these
	Refused        int       `json:"refused"`    // groups that the publisher could not send
	LatencyMS      latencies `json:"latencyMs"`
	SessionKB      float64   `json:"sessionKB"` // memory per session, where the viewers are

	LoadCores  float64 `json:"loadCores"`  // what the load took
	OtherCores float64 `json:"otherCores"` // what everything else on the machine took

	edgeRSS int64
}

// nodeUsage is what one relay used.
type nodeUsage struct {
	Node       string  `json:"node"`
	CPUSeconds float64 `json:"cpuSeconds"`
	Cores      float64 `json:"cores"`
	RSSMB      float64 `json:"rssMB"`
	PeakMB     float64 `json:"peakMB"`
}

type latencies struct {
	P50 float64 `json:"p50"`
	P90 float64 `json:"p90"`
	P99 float64 `json:"p99"`
	Max float64 `json:"max"`
}

// cpu is the CPU of all relays together, in seconds.
func (m measurement) cpu() float64 {
	var sum float64
	for _, n := range m.Nodes {
		sum += n.CPUSeconds
	}
	return sum
}

// perGB is the CPU of all relays per delivered GB, 0 if nothing was.
func (m measurement) perGB() float64 {
	if m.Bytes == 0 {
		return 0
	}
	return m.cpu() / (float64(m.Bytes) / 1e9)
}

// perFrame is the CPU of all relays per delivered frame, in microseconds.
func (m measurement) perFrame() float64 {
	if m.Frames == 0 {
		return 0
	}
	return m.cpu() * 1e6 / float64(m.Frames)
}

// cost is what relays are compared by.
func (m measurement) cost() float64 {
	if m.Frames == 0 {
		return m.cpu() / m.Seconds
	}
	return m.perFrame()
}

func (m measurement) cores() string {
	var parts []string
	for _, n := range m.Nodes {
		parts = append(parts, fmt.Sprintf("%s %.3f", n.Node, n.Cores))
	}
	return strings.Join(parts, ", ")
}

// line says how a round went.
func (m measurement) line() string {
	return fmt.Sprintf("%-8s cores %s; %.2f cpu-s/GB; p50 %.1f p99 %.1f ms; lost %d/%d; load %.2f, others %.2f cores",
		m.Relay, m.cores(), m.perGB(), m.LatencyMS.P50, m.LatencyMS.P99, m.LostGroups, m.Groups, m.LoadCores, m.OtherCores)
}

// table writes the medians of each relay, and the ratios to it of the first.
func (r report) table(w io.Writer) {
	fmt.Fprintf(w, "%s, %d cores; medians of %d rounds, in brackets the least; %d others were disturbed\n\n", r.Options, r.Cores, r.count(), r.Disturbed)
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	relays := r.relays()
	row := func(name, format string, value func(measurement) float64) {
		fmt.Fprint(tw, name)
		for _, relay := range relays {
			all := r.values(relay, value)
			fmt.Fprintf(tw, "\t"+format+" ("+format+")", median(all), slices.Min(all))
		}
		fmt.Fprintln(tw)
	}
	fmt.Fprintln(tw, "\t"+strings.Join(relays, "\t"))
	for i, n := range r.Rounds[0].Nodes {
		row("cores of "+n.Node, "%.3f", func(m measurement) float64 { return m.Nodes[i].Cores })
	}
	row("cpu-s per delivered GB", "%.2f", measurement.perGB)
	row("us per delivered frame", "%.1f", measurement.perFrame)
	row("latency p50 ms", "%.1f", func(m measurement) float64 { return m.LatencyMS.P50 })
	row("latency p90 ms", "%.1f", func(m measurement) float64 { return m.LatencyMS.P90 })
	row("latency p99 ms", "%.1f", func(m measurement) float64 { return m.LatencyMS.P99 })
	row("latency max ms", "%.1f", func(m measurement) float64 { return m.LatencyMS.Max })
	row("lost groups", "%.0f", func(m measurement) float64 { return float64(m.LostGroups) })
	row("frames of those due, %", "%.1f", func(m measurement) float64 { return 100 * float64(m.Frames) / float64(max(1, m.ExpectedFrames)) })
	for i, n := range r.Rounds[0].Nodes {
		row("RSS of "+n.Node+", MB", "%.1f", func(m measurement) float64 { return m.Nodes[i].RSSMB })
	}
	row("RSS per session, kB", "%.0f", func(m measurement) float64 { return m.SessionKB })
	row("cores of the load", "%.2f", func(m measurement) float64 { return m.LoadCores })
	row("cores of others", "%.2f", func(m measurement) float64 { return m.OtherCores })
	_ = tw.Flush() // to where people look
	for _, other := range relays[1:] {
		ratios := r.ratios(relays[0], other)
		fmt.Fprintf(w, "\nCPU of %s to %s: median %.2f, least %.2f, most %.2f of %d rounds\n",
			relays[0], other, median(ratios), slices.Min(ratios), slices.Max(ratios), len(ratios))
	}
}

// relays returns the names in the order in which they were measured.
func (r report) relays() []string {
	var names []string
	for _, m := range r.Rounds {
		if !slices.Contains(names, m.Relay) {
			names = append(names, m.Relay)
		}
	}
	return names
}

func (r report) values(relay string, value func(measurement) float64) []float64 {
	var all []float64
	for _, m := range r.Rounds {
		if m.Relay == relay {
			all = append(all, value(m))
		}
	}
	return all
}

// ratios compares the cost of two relays round by round.
func (r report) ratios(a, b string) []float64 {
	as, bs := r.values(a, measurement.cost), r.values(b, measurement.cost)
	ratios := make([]float64, min(len(as), len(bs)))
	for i := range ratios {
		ratios[i] = as[i] / max(bs[i], 1e-9)
	}
	return ratios
}

func median(values []float64) float64 {
	s := slices.Sorted(slices.Values(values))
	n := len(s)
	return (s[(n-1)/2] + s[n/2]) / 2
}

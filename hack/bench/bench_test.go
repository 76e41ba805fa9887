package main

import (
	"testing"
	"time"
)

func TestQuantile(t *testing.T) {
	var h histogram
	for i := range 1000 {
		h.add(time.Duration(i+1) * time.Millisecond)
	}
	for _, c := range []struct {
		q    float64
		want time.Duration
	}{
		{0.5, 500 * time.Millisecond},
		{0.9, 900 * time.Millisecond},
		{0.99, 990 * time.Millisecond},
		{1, 1000 * time.Millisecond},
	} {
		got := h.quantile(c.q)
		if off := float64(got-c.want) / float64(c.want); off < -0.04 || off > 0.04 {
			t.Errorf("quantile(%v) = %v, want %v within a step", c.q, got, c.want)
		}
	}
	if got := new(histogram).quantile(0.5); got != 0 {
		t.Errorf("quantile of nothing = %v, want 0", got)
	}
}

func TestParseCPU(t *testing.T) {
	const stat = "42 (a name) S 1 42 42 0 -1 4194560 100 0 0 0 150 50 0 0 20 0 8 0 100 1000 200"
	got, err := parseCPU(stat)
	if err != nil || got != 2*time.Second {
		t.Errorf("parseCPU = %v, %v, want 2s", got, err)
	}
	if _, err := parseCPU("42 (moq"); err == nil {
		t.Error("parseCPU of half a line has no error")
	}
}

func TestParseMemory(t *testing.T) {
	const status = "Name:\tmoq-relay\nVmHWM:\t    2048 kB\nVmRSS:\t    1024 kB\n"
	if got := parseMemory(status, "VmRSS:"); got != 1<<20 {
		t.Errorf("VmRSS = %d, want 1 MiB", got)
	}
	if got := parseMemory(status, "VmSwap:"); got != 0 {
		t.Errorf("VmSwap = %d, want 0 where there is none", got)
	}
}

// A relay is compared with the round of the other that ran beside it, not with
// the other's median.
func TestRatios(t *testing.T) {
	round := func(relay string, cpu float64) measurement {
		return measurement{Relay: relay, Seconds: 1, Frames: 1, Nodes: []nodeUsage{{CPUSeconds: cpu}}}
	}
	r := report{Rounds: []measurement{round("a", 1), round("b", 2), round("a", 6), round("b", 4), round("a", 3), round("b", 3)}}
	if got := median(r.ratios("a", "b")); got != 1 {
		t.Errorf("median of the ratios = %v, want 1", got)
	}
}

// The load speaks each protocol with a relay, and finds what it has published.
func TestProtocols(t *testing.T) {
	dir := t.TempDir()
	load, err := findWorkload("audio", 2)
	if err != nil {
		t.Fatal(err)
	}
	relays, err := programs(t.Context(), options{hops: 1}, dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range protocolNames() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			speak, err := findProtocol(name)
			if err != nil {
				t.Fatal(err)
			}
			o := options{hops: 1, viewers: 2, duration: time.Second, speak: speak}
			m, err := measure(t.Context(), o, load, relays[0], t.TempDir(), "")
			if err != nil {
				t.Fatal(err)
			}
			if m.Frames == 0 || m.LostGroups == m.Groups || m.Refused > 0 {
				t.Errorf("%d frames, %d of %d groups lost, %d refused", m.Frames, m.LostGroups, m.Groups, m.Refused)
			}
		})
	}
}

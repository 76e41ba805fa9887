package karp

import (
	"testing"
	"time"

	"github.com/moqrelay/moqrelay/relay/moq"
)

func TestSplit(t *testing.T) {
	tests := map[string]struct {
		path      moq.Path
		broadcast moq.Path
		part      Part
	}{
		"Catalog":    {moq.NewPath("demo", "bbb", "1730956818", "catalog.json"), moq.NewPath("demo", "bbb", "1730956818"), CatalogPart},
		"Video":      {moq.NewPath("demo", "1730956818", "video1"), moq.NewPath("demo", "1730956818"), MediaPart},
		"Audio":      {moq.NewPath("1730956818", "audio42"), moq.NewPath("1730956818"), MediaPart},
		"OtherTrack": {moq.NewPath("demo", "1730956818", "chat"), moq.Path{}, NoPart},
		"NoNumber":   {moq.NewPath("demo", "1730956818", "video"), moq.Path{}, NoPart},
		"Number0":    {moq.NewPath("demo", "1730956818", "video0"), moq.Path{}, NoPart},
		"NoID":       {moq.NewPath("demo", "bbb", "catalog.json"), moq.Path{}, NoPart},
		"Clock":      {moq.NewPath("clock"), moq.Path{}, NoPart},
		"Root":       {moq.Path{}, moq.Path{}, NoPart},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			broadcast, part := Split(tt.path)
			if broadcast != tt.broadcast || part != tt.part {
				t.Errorf("Split(%v) = %v, %v; want %v, %v", tt.path, broadcast, part, tt.broadcast, tt.part)
			}
		})
	}
	path := Broadcast(moq.ParsePath("demo/clip"), time.Unix(1730956818, 999))
	if id, ok := ID(path); path.String() != "demo/clip/1730956818" || id != 1730956818 || !ok {
		t.Errorf("broadcast %v has id %d, %v", path, id, ok)
	}
}

func TestFrame(t *testing.T) {
	b := AppendFrame([]byte("x"), 1<<20, []byte("sample"))
	micros, sample, err := ParseFrame(b[1:])
	if micros != 1<<20 || string(sample) != "sample" || err != nil {
		t.Errorf("got %d, %q, %v", micros, sample, err)
	}
	for _, short := range []string{"", "\x40", "\xc0\x00\x00"} {
		if _, _, err := ParseFrame([]byte(short)); err == nil {
			t.Errorf("frame %q is accepted", short)
		}
	}
}

// What is published in microseconds comes back as the tick it was.
func TestTimescales(t *testing.T) {
	for _, timescale := range []uint32{1, 24, 30, 1000, 12800, 15360, 30000, 44100, 48000, 90000, 96000, 500_000, 1_000_000} {
		ticks := uint64(0)
		for i := range uint64(2000) {
			ticks += 1 + i*i*i%7919
			if got := Ticks(Micros(ticks, timescale), timescale); got != ticks {
				t.Fatalf("timescale %d: %d came back as %d", timescale, ticks, got)
			}
		}
	}
	if got := Ticks(1<<62, 1<<31); got != 1<<64-1 {
		t.Errorf("an overflow gives %d", got)
	}
}

package fmp4

import (
	"encoding/hex"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestReorder(t *testing.T) {
	// Each avcC but the last two is what x264 made with the settings of its name.
	tests := map[string]struct {
		config string
		want   int
	}{
		"Baseline":    {"0142c00bffe100186742c00bd9028df93011000003000100000300320f142a4801000568cb83cb20", 0},
		"MainNoB":     {"014d400bffe10018674d400bd9028df93011000003000100000300320f142a4801000568ebc3cb20", 0},
		"MainB":       {"014d400bffe10017674d400be88146fc9808800000030080000019078a148901000568ebe3cb20", 1},
		"HighPyramid": {"0164000bffe100196764000bacd9428df93011000003000100000300320f14299601000668ebe3cb22c0fdf8f800", 2},
		"High444":     {"01f4000bffe1001967f4000b919b2851bf3e0220000003002000000641e28532c001000668ebe3c44844fff8f800", 2},
		"MatricesHRD": {"0164000dffe100246764000dacd9428df9301100000300010000030032602001e840007a12930c01e28532c001000768ebe3cb3002c0fdf8f800", 2},
		"CutBaseline": {"0142c00bffe100186742c00bd9028d", 0},
		"Nothing":     {"", 4},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			config, err := hex.DecodeString(tt.config)
			if err != nil {
				t.Fatal(err)
			}
			if got := reorderOfAVC(config); got != tt.want {
				t.Errorf("depth %d, want %d", got, tt.want)
			}
		})
	}
}

func TestFormats(t *testing.T) {
	box := func(kind, children string) []byte {
		return appendBox(nil, kind, func(b []byte) []byte { return append(zeros(b, visualHeader), children...) })
	}
	tests := map[string]struct {
		track Track
		want  Format
	}{
		"AVC": {
			Track{Kind: Video, Entry: AVCEntry(1280, 720, []byte{1, 0x42, 0xc0, 0x1e, 0xff, 0xe0, 0})},
			Format{Codec: "avc1.42c01e", Width: 1280, Height: 720, Description: []byte{1, 0x42, 0xc0, 0x1e, 0xff, 0xe0, 0}},
		},
		"VP9": {
			Track{Kind: Video, Entry: box("vp09", "\x00\x00\x00\x14vpcC\x01\x00\x00\x00\x00\x1f\x80\x02\x02\x02\x00\x00")},
			Format{Codec: "vp09.00.31.08"},
		},
		"HEVC": {
			Track{Kind: Video, Entry: box("hvc1", "\x00\x00\x00\x09hvcC\x01")},
			Format{Codec: "hvc1", Description: []byte{1}, Reorder: 4},
		},
		"AAC": {
			Track{Kind: Audio, Entry: AACEntry(2, 44100, 2, 128000)},
			Format{Codec: "mp4a.40.2", Description: []byte{0x12, 0x10}, SampleRate: 44100, Channels: 2, Bitrate: 128000},
		},
		"AACOddRate": {
			Track{Kind: Audio, Entry: AACEntry(2, 47999, 8, 1)},
			Format{Codec: "mp4a.40.2", Description: []byte{0x17, 0x80, 0x5d, 0xbf, 0xb8}, SampleRate: 47999, Channels: 8, Bitrate: 1},
		},
		"Other": {Track{Entry: box("stpp", "")}, Format{Codec: "stpp"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := tt.track.Format()
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("format (-want +got):\n%s", diff)
			}
		})
	}
	if _, err := (Track{Kind: Video, Entry: AVCEntry(1, 1, nil)[:60]}).Format(); err == nil {
		t.Error("a cut sample entry is accepted")
	}
}

package fmp4

import (
	"bytes"
	"errors"
	"io"
	"runtime"
	"strings"
	"testing"

	"github.com/moqrelay/moqrelay/cmd/moq/internal/clip"
)

func drain(in io.Reader) error {
	r := NewReader(in)
	for {
		if _, err := r.Next(); err != nil {
			return err
		}
	}
}

func TestBrokenInput(t *testing.T) {
	header := testHeader(t)
	moof := func(tfhd []uint32, truns ...[]uint32) []byte {
		return appendBox(bytes.Clone(header), "moof", func(b []byte) []byte { return traf(b, tfhd, 0, truns...) })
	}
	plain := bytes.Replace(header, []byte("mvex"), []byte("free"), 1)
	tests := map[string]struct {
		in   []byte
		is   error
		says string
	}{
		"Empty":           {nil, ErrNotMP4, "empty"},
		"Text":            {[]byte("# not a movie at all"), ErrNotMP4, ""},
		"OnlyFtyp":        {header[:28], ErrNotMP4, "no movie header"},
		"CutHeader":       {header[:100], ErrTruncated, ""},
		"NotFragmented":   {plain, ErrNotFragmented, ""},
		"MediaFirst":      {mdat(nil, "data"), ErrNotFragmented, "before"},
		"CutData":         {mdat(moof([]uint32{headerBaseIsMoof, 1}, []uint32{runDataOffset, 2, 76}), "aab"), nil, "beyond its mdat"},
		"NoData":          {moof([]uint32{headerBaseIsMoof, 1}, []uint32{runDataOffset, 2, 76}), ErrTruncated, ""},
		"UnknownTrack":    {moof([]uint32{headerBaseIsMoof, 3}, []uint32{0, 1}), nil, "track 3"},
		"NoTrackHeader":   {moof(nil, []uint32{0, 1}), nil, ""},
		"OtherEntry":      {moof([]uint32{headerDescription, 1, 2}, []uint32{0, 1}), nil, "sample description 2"},
		"ManySamples":     {moof([]uint32{headerBaseIsMoof, 1}, []uint32{0, 1 << 31}), nil, "more than"},
		"LargeSample":     {moof([]uint32{headerSize, 1, MaxSample + 1}, []uint32{0, 1}), nil, "are allowed"},
		"ShortRun":        {moof([]uint32{headerBaseIsMoof, 1}, []uint32{runSize, 2, 1}), nil, "too early"},
		"Before":          {mdat(moof([]uint32{headerBaseIsMoof, 1}, []uint32{runDataOffset, 1, 1}), "aab"), nil, "before their fragment"},
		"LargeHeader":     {append(bytes.Clone(header[:28]), "\x7f\xff\xff\xffmoov"...), nil, "are allowed"},
		"WrongSize":       {append(bytes.Clone(header), "\x00\x00\x00\x04moof"...), nil, "wrong size"},
		"SecondHeader":    {append(bytes.Clone(header), header...), nil, "second movie header"},
		"MissingData":     {append(moof([]uint32{headerBaseIsMoof, 1}, []uint32{runDataOffset, 1, 76}), moof([]uint32{0, 1})[len(header):]...), nil, "missing"},
		"LargeBoxIsSmall": {append(bytes.Clone(header), "\x00\x00\x00\x01free\x00\x00\x00\x00\x00\x00\x00\x01"...), nil, "wrong size"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			err := drain(bytes.NewReader(tt.in))
			if errors.Is(err, io.EOF) {
				t.Fatal("read without an error")
			}
			if tt.is != nil && !errors.Is(err, tt.is) {
				t.Errorf("error %q is not %q", err, tt.is)
			}
			if !strings.Contains(err.Error(), tt.says) {
				t.Errorf("error %q does not say %q", err, tt.says)
			}
		})
	}
}

// A pipe that breaks off is told apart from one that ends between fragments.
func TestTruncation(t *testing.T) {
	for cut := 1219; cut < 74000; cut += 331 {
		err := drain(bytes.NewReader(clip.MP4[:cut]))
		if !errors.Is(err, ErrTruncated) {
			t.Errorf("cut at %d: error %v", cut, err)
		}
	}
	for _, cut := range []int{1218, 37659, 73468} { // where fragments end
		if err := drain(bytes.NewReader(clip.MP4[:cut])); !errors.Is(err, io.EOF) {
			t.Errorf("cut at %d: error %v", cut, err)
		}
	}
}

// Memory is taken as data arrive, not as they are declared.
func TestDeclaredSizeTakesNoMemory(t *testing.T) {
	in := append(testHeader(t), appendBox(nil, "moof", func(b []byte) []byte {
		return traf(b, []uint32{headerBaseIsMoof | headerSize, 1, MaxSample}, 0, []uint32{runDataOffset, 1, 80})
	})...)
	in = append(in, "\x7f\xff\xff\xffmdat short"...)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	if err := drain(bytes.NewReader(in)); !errors.Is(err, ErrTruncated) {
		t.Fatal(err)
	}
	runtime.ReadMemStats(&after)
	if took := after.TotalAlloc - before.TotalAlloc; took > 2<<20 {
		t.Errorf("took %d bytes", took)
	}
}

func FuzzReader(f *testing.F) {
	header := testHeader(f)
	f.Add(header)
	f.Add(clip.MP4[:1218+440+50])
	f.Add(mdat(appendBox(bytes.Clone(header), "moof", func(b []byte) []byte {
		return traf(b, []uint32{headerBaseIsMoof, 1}, 0, []uint32{runDataOffset, 2, 76})
	}), "aabb"))
	f.Add(append(bytes.Clone(header), "\x00\x00\x00\x01free\x00\x00\x00\x00\x00\x00\x00\x18abcdefgh"...))
	f.Fuzz(func(t *testing.T, in []byte) {
		r := NewReader(bytes.NewReader(in))
		tracks, err := r.Tracks()
		if err != nil {
			return
		}
		for _, track := range tracks {
			_, _ = track.Format() // must not panic
		}
		if err := NewWriter(io.Discard).WriteHeader(tracks); err != nil {
			t.Fatal(err)
		}
		for {
			s, err := r.Next()
			if err != nil {
				return
			}
			if len(s.Data) > len(in) {
				t.Fatalf("a sample of %d bytes from %d", len(s.Data), len(in))
			}
		}
	})
}

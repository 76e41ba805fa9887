package interop

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"fmt"
	"os"
	"slices"
	"testing"
	"time"
)

// sample is one access unit of a fragmented MP4.
type sample struct {
	track    uint32
	decode   uint64 // in the track's timescale
	duration uint32
	offset   int32 // composition time minus decode time
	flags    uint32
	data     []byte
}

// movie is a fragmented MP4 taken apart.
type movie struct {
	header  []byte // ftyp and moov
	scale   map[uint32]uint32
	handler map[uint32]string // vide or soun
	samples []sample          // in the order of the file
}

// box is one box of an MP4: its type, its body, and all of it.
type box struct {
	kind      string
	body, all []byte
}

func boxes(b []byte) []box {
	var out []box
	for len(b) >= 8 {
		size := int(binary.BigEndian.Uint32(b))
		if size < 8 || size > len(b) {
			break
		}
		out = append(out, box{string(b[4:8]), b[8:size], b[:size]})
		b = b[size:]
	}
	return out
}

// find returns the body of the first box at a path of types, or nil.
func find(b []byte, path ...string) []byte {
	for _, kind := range path {
		i := slices.IndexFunc(boxes(b), func(x box) bool { return x.kind == kind })
		if i < 0 {
			return nil
		}
		b = boxes(b)[i].body
	}
	return b
}

// readMovie takes a fragmented MP4 apart; what it cannot read ends the test.
func readMovie(t *testing.T, file string) movie {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	m := movie{scale: make(map[uint32]uint32), handler: make(map[uint32]string)}
	defaults := make(map[uint32]sample)
	at := 0
	for _, top := range boxes(b) {
		switch top.kind {
		case "ftyp":
			m.header = append(m.header, top.all...)
		case "moov":
			m.header = append(m.header, top.all...)
			m.readTracks(top.body, defaults)
		case "moof":
			m.readFragment(b[at:], top.body, defaults)
		}
		at += len(top.all)
	}
	if len(m.samples) == 0 {
		t.Fatalf("%s holds no samples", file)
	}
	return m
}

func (m *movie) readTracks(moov []byte, defaults map[uint32]sample) {
	for _, b := range boxes(moov) {
		switch b.kind {
		case "trak":
			id := trackID(find(b.body, "tkhd"))
			mdhd := find(b.body, "mdia", "mdhd")
			at := 12
			if mdhd[0] == 1 {
				at = 20
			}
			m.scale[id] = binary.BigEndian.Uint32(mdhd[at:])
			m.handler[id] = string(find(b.body, "mdia", "hdlr")[8:12])
		case "mvex":
			for _, x := range boxes(b.body) {
				if x.kind == "trex" {
					defaults[u32(x.body, 4)] = sample{duration: u32(x.body, 12), data: make([]byte, u32(x.body, 16)), flags: u32(x.body, 20)}
				}
			}
		}
	}
}

func trackID(tkhd []byte) uint32 {
	if tkhd[0] == 1 {
		return u32(tkhd, 20)
	}
	return u32(tkhd, 12)
}

func u32(b []byte, at int) uint32 { return binary.BigEndian.Uint32(b[at:]) }

// readFragment reads the samples of a moof; fragment begins with it, and their
// offsets count from there.
func (m *movie) readFragment(fragment, moof []byte, defaults map[uint32]sample) {
	for _, traf := range boxes(moof) {
		if traf.kind != "traf" {
			continue
		}
		tfhd := find(traf.body, "tfhd")
		s := defaults[u32(tfhd, 4)]
		s.track = u32(tfhd, 4)
		size := uint32(len(s.data))
		f := fields{tfhd[8:]}
		flags := u32(tfhd, 0) & 0xffffff
		f.skip(flags&0x01 != 0, 8) // base data offset
		f.skip(flags&0x02 != 0, 4) // sample description
		f.read(flags&0x08 != 0, &s.duration)
		f.read(flags&0x10 != 0, &size)
		f.read(flags&0x20 != 0, &s.flags)
		if tfdt := find(traf.body, "tfdt"); tfdt[0] == 1 {
			s.decode = binary.BigEndian.Uint64(tfdt[4:])
		} else {
			s.decode = uint64(u32(tfdt, 4))
		}
		for _, trun := range boxes(traf.body) {
			if trun.kind == "trun" {
				s.decode = m.readRun(fragment, trun.body, s, size)
			}
		}
	}
}

// readRun reads a run of samples like s and returns the decode time after it.
func (m *movie) readRun(fragment, trun []byte, s sample, size uint32) uint64 {
	flags := u32(trun, 0) & 0xffffff
	f := fields{trun[8:]}
	var at, first, offset uint32
	f.read(flags&0x01 != 0, &at)
	f.read(flags&0x04 != 0, &first)
	for i := range u32(trun, 4) {
		x, n := s, size
		if i == 0 && flags&0x04 != 0 {
			x.flags = first
		}
		f.read(flags&0x100 != 0, &x.duration)
		f.read(flags&0x200 != 0, &n)
		f.read(flags&0x400 != 0, &x.flags)
		f.read(flags&0x800 != 0, &offset)
		x.offset = int32(offset)
		x.data = fragment[at : at+n]
		m.samples = append(m.samples, x)
		at += n
		s.decode += uint64(x.duration)
	}
	return s.decode
}

// fields reads optional numbers one after the other.
type fields struct{ b []byte }

func (f *fields) skip(there bool, n int) {
	if there {
		f.b = f.b[n:]
	}
}

func (f *fields) read(there bool, to *uint32) {
	if there {
		*to = u32(f.b, 0)
		f.b = f.b[4:]
	}
}

// at returns when a sample is decoded, from the begin of the movie.
func (m *movie) at(s sample) time.Duration {
	return time.Duration(float64(s.decode) / float64(m.scale[s.track]) * float64(time.Second))
}

// loop returns the movie n times over, with times that go on. The samples come in
// the order of their times, those of all tracks together.
func (m movie) loop(n int) movie {
	once := slices.Clone(m.samples)
	slices.SortStableFunc(once, func(a, b sample) int { return cmp.Compare(m.at(a), m.at(b)) })
	length := make(map[uint32]uint64)
	for _, s := range once {
		length[s.track] = max(length[s.track], s.decode+uint64(s.duration))
	}
	m.samples = nil
	for i := range n {
		for _, s := range once {
			s.decode += uint64(i) * length[s.track]
			m.samples = append(m.samples, s)
		}
	}
	return m
}

// of returns the samples of the tracks of a kind, vide or soun.
func (m *movie) of(handler string) []sample {
	return slices.DeleteFunc(slices.Clone(m.samples), func(s sample) bool { return m.handler[s.track] != handler })
}

// single writes a sample as a fragment of its own, as moq-karp wants it: a moof
// and an mdat for every frame.
func (s sample) single(sequence uint32) []byte {
	be := binary.BigEndian
	mfhd := be.AppendUint32(make([]byte, 4), sequence)
	tfhd := be.AppendUint32(be.AppendUint32(nil, 0x020000), s.track) // offsets count from the moof
	tfdt := be.AppendUint64(be.AppendUint32(nil, 1<<24), s.decode)
	trun := be.AppendUint32(nil, 0xf01)
	for _, v := range []uint32{1, 0, s.duration, uint32(len(s.data)), s.flags, uint32(s.offset)} {
		trun = be.AppendUint32(trun, v)
	}
	moof := func() []byte {
		return wrap("moof", wrap("mfhd", mfhd), wrap("traf", wrap("tfhd", tfhd), wrap("tfdt", tfdt), wrap("trun", trun)))
	}
	be.PutUint32(trun[8:], uint32(len(moof())+8))
	return append(moof(), wrap("mdat", s.data)...)
}

func wrap(kind string, parts ...[]byte) []byte {
	body := bytes.Join(parts, nil)
	return append(append(binary.BigEndian.AppendUint32(nil, uint32(len(body)+8)), kind...), body...)
}

// wantSamples fails unless got is an unbroken run of the samples of want, with
// the same data and the same distances in time; it may begin and end anywhere.
func wantSamples(t *testing.T, want, got movie, handler string, atLeast int) {
	t.Helper()
	wantAll, gotAll := want.of(handler), got.of(handler)
	if len(gotAll) < atLeast {
		t.Fatalf("%d samples of %s, want at least %d of %d", len(gotAll), handler, atLeast, len(wantAll))
	}
	begin := slices.IndexFunc(wantAll, func(s sample) bool { return bytes.Equal(s.data, gotAll[0].data) })
	if begin < 0 {
		t.Fatalf("the first sample of %s was never published", handler)
	}
	shift := got.at(gotAll[0]) - want.at(wantAll[begin])
	for i, s := range gotAll {
		if begin+i >= len(wantAll) {
			t.Fatalf("%d samples of %s after the last that was published", len(gotAll)-i, handler)
		}
		w := wantAll[begin+i]
		if !bytes.Equal(s.data, w.data) {
			t.Fatalf("sample %d of %s differs from the %dth published: %s", i, handler, begin+i, sizes(s, w))
		}
		if d := (got.at(s) - want.at(w) - shift).Abs(); d > time.Millisecond {
			t.Errorf("sample %d of %s is off by %v", i, handler, d)
		}
	}
}

func sizes(a, b sample) string { return fmt.Sprintf("%d bytes, want %d", len(a.data), len(b.data)) }

package fmp4

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
)

// Reader reads a fragmented MP4 from a stream. It is for one goroutine.
type Reader struct {
	in  *bufio.Reader
	pos int64 // bytes consumed

	movie     *movie
	fragments fragmentParser
	pending   []extent // samples of the current fragment that are still to come
	dataEnd   int64    // where the mdat ends that pos is in; 0 outside
}

// NewReader returns a Reader of r.
func NewReader(r io.Reader) *Reader {
	return &Reader{in: bufio.NewReaderSize(r, 64<<10)}
}

// Tracks reads the input up to and including the movie header and returns what
// it says. Later calls return the same.
func (r *Reader) Tracks() ([]Track, error) {
	if r.movie != nil {
		return r.movie.tracks, nil
	}
	for first := true; ; first = false {
		start := r.pos
		kind, size, err := r.header()
		switch {
		case errors.Is(err, io.EOF) && first && r.pos == 0:
			return nil, fmt.Errorf("%w: it is empty", ErrNotMP4)
		case errors.Is(err, io.EOF), errors.Is(err, ErrTruncated):
			return nil, fmt.Errorf("%w: it has no movie header", ErrNotMP4)
		case err != nil:
			return nil, err
		}
		switch {
		case first && !isLeading(kind):
			return nil, ErrNotMP4
		case kind == cc("moov"):
			return r.readMovie(size)
		case kind == cc("mdat"), kind == cc("moof"):
			return nil, fmt.Errorf("%w: media stands before the movie header", ErrNotFragmented)
		}
		if err := r.skip(size); err != nil {
			return nil, fmt.Errorf("box %v at byte %d: %w", kind, start, err)
		}
	}
}

// isLeading says whether a file can begin with such a box.
func isLeading(kind fourCC) bool {
	switch kind {
	case cc("ftyp"), cc("styp"), cc("moov"), cc("free"), cc("skip"), cc("wide"), cc("mdat"), cc("moof"), cc("sidx"):
		return true
	}
	return false
}

func (r *Reader) readMovie(size int64) ([]Track, error) {
	body, err := r.read(size, MaxHeader)
	if err != nil {
		return nil, fmt.Errorf("movie header: %w", err)
	}
	m, err := parseMovie(body)
	if err != nil {
		return nil, fmt.Errorf("movie header: %w", err)
	}
	if !m.fragmented || m.indexed {
		return nil, fmt.Errorf("%w: its movie header indexes samples", ErrNotFragmented)
	}
	r.movie = m
	r.fragments = fragmentParser{movie: m, next: map[uint32]uint64{}}
	return m.tracks, nil
}

// Next returns the next sample in the order of the file. The error is io.EOF at
// the end and ErrTruncated if the input breaks off inside a fragment.
func (r *Reader) Next() (Sample, error) {
	if _, err := r.Tracks(); err != nil {
		return Sample{}, err
	}
	for {
		if len(r.pending) > 0 && r.dataEnd > 0 {
			if e := r.pending[0]; e.pos < r.dataEnd || e.pos == r.dataEnd && e.size == 0 {
				return r.readSample(e)
			}
		}
		if err := r.advance(); err != nil {
			return Sample{}, err
		}
	}
}

// readSample reads a sample of the mdat that the reader is in.
func (r *Reader) readSample(e extent) (Sample, error) {
	if e.pos < r.pos {
		return Sample{}, errors.New("samples overlap, or stand before their fragment")
	}
	if int64(e.size) > r.dataEnd-e.pos {
		return Sample{}, errors.New("a sample reaches beyond its mdat")
	}
	if err := r.skip(e.pos - r.pos); err != nil {
		return Sample{}, err
	}
	data, err := r.read(int64(e.size), MaxSample)
	if err != nil {
		return Sample{}, err
	}
	r.pending = r.pending[1:]
	s := e.sample
	s.Data = data
	return s, nil
}

// advance leaves the mdat that the reader is in, if it is in one, and takes the
// next box.
func (r *Reader) advance() error {
	if r.dataEnd > 0 {
		if err := r.skip(r.dataEnd - r.pos); err != nil && r.dataEnd != math.MaxInt64 {
			return err
		}
		r.dataEnd = 0
	}
	start := r.pos
	kind, size, err := r.header()
	if err != nil {
		if errors.Is(err, io.EOF) && len(r.pending) > 0 {
			return ErrTruncated
		}
		return err
	}
	switch kind {
	case cc("mdat"):
		r.dataEnd = math.MaxInt64
		if size < math.MaxInt64-r.pos {
			r.dataEnd = r.pos + size
		}
		return nil
	case cc("moof"):
		if len(r.pending) > 0 {
			return errors.New("a fragment's data are missing")
		}
		body, err := r.read(size, MaxHeader)
		if err != nil {
			return err
		}
		r.pending, err = r.fragments.parse(start, body)
		if err != nil {
			return fmt.Errorf("fragment at byte %d: %w", start, err)
		}
		return nil
	case cc("moov"):
		return fmt.Errorf("a second movie header at byte %d", start)
	default:
		return r.skip(size)
	}
}

// header reads the header of a box. The size is that of the body; math.MaxInt64
// if the box reaches to the end of the input.
func (r *Reader) header() (fourCC, int64, error) {
	var b [16]byte
	n, err := io.ReadFull(r.in, b[:8])
	r.pos += int64(n)
	if err != nil {
		return fourCC{}, 0, truncated(err)
	}
	kind := fourCC(b[4:8])
	size := int64(binary.BigEndian.Uint32(b[:]))
	switch size {
	case 0:
		return kind, math.MaxInt64, nil
	case 1:
		n, err := io.ReadFull(r.in, b[8:16])
		r.pos += int64(n)
		if err != nil {
			return kind, 0, ErrTruncated
		}
		large := binary.BigEndian.Uint64(b[8:])
		if large < 16 || large > math.MaxInt64 {
			return kind, 0, fmt.Errorf("box %v has a wrong size", kind)
		}
		return kind, int64(large) - 16, nil
	}
	if size < 8 {
		return kind, 0, fmt.Errorf("box %v has a wrong size", kind)
	}
	return kind, size - 8, nil
}

// read returns the next n bytes. Memory is taken as they arrive, not as declared.
func (r *Reader) read(n, limit int64) ([]byte, error) {
	const step = 256 << 10
	if n > limit {
		return nil, fmt.Errorf("%d bytes at once, %d are allowed", n, limit)
	}
	b := make([]byte, 0, min(n, step))
	for int64(len(b)) < n {
		from := len(b)
		b = append(b, make([]byte, min(n-int64(from), max(step, int64(from))))...)
		m, err := io.ReadFull(r.in, b[from:])
		r.pos += int64(m)
		if err != nil {
			return nil, truncated(noEOF(err))
		}
	}
	return b, nil
}

func (r *Reader) skip(n int64) error {
	m, err := io.CopyN(io.Discard, r.in, n)
	r.pos += m
	if err != nil && n == math.MaxInt64 {
		return nil // the box reaches to the end of the input
	}
	return truncated(noEOF(err))
}

// noEOF makes an end of the input where more is needed an unexpected one.
func noEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

func truncated(err error) error {
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return ErrTruncated
	}
	return err
}

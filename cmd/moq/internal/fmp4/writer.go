package fmp4

import (
	"encoding/binary"
	"io"
	"time"
)

// Writer writes a fragmented MP4. It is for one goroutine.
type Writer struct {
	out      io.Writer
	sequence uint32
	buf      []byte // reused
}

// NewWriter returns a Writer to w. Every call is one Write to it.
func NewWriter(w io.Writer) *Writer { return &Writer{out: w} }

// movieTimescale is the number of ticks in a second of the movie header.
const movieTimescale = 1000

// WriteHeader writes the initialisation segment: ftyp and moov.
func (w *Writer) WriteHeader(tracks []Track) error {
	b := appendBox(w.buf[:0], "ftyp", func(b []byte) []byte {
		b = append(b, "iso6\x00\x00\x02\x00"...)
		return append(b, "iso6cmfcmp41"...)
	})
	b = appendBox(b, "moov", func(b []byte) []byte {
		b = appendFull(b, "mvhd", 0, 0, func(b []byte) []byte {
			b = u32s(b, 0, 0, movieTimescale, 0, 0x10000)
			b = appendMatrix(zeros(u16(b, 0x100), 10))
			return u32(zeros(b, 24), nextTrack(tracks))
		})
		for _, t := range tracks {
			b = appendTrack(b, t)
		}
		return appendBox(b, "mvex", func(b []byte) []byte {
			for _, t := range tracks {
				b = appendFull(b, "trex", 0, 0, func(b []byte) []byte { return u32s(b, t.ID, 1, 0, 0, 0) })
			}
			return b
		})
	})
	w.buf = b
	_, err := w.out.Write(b)
	return err
}

func nextTrack(tracks []Track) uint32 {
	next := uint32(1)
	for _, t := range tracks {
		next = max(next, t.ID+1)
	}
	return next
}

// appendMatrix appends the transformation that changes nothing.
func appendMatrix(b []byte) []byte {
	return u32s(b, 0x10000, 0, 0, 0, 0x10000, 0, 0, 0, 0x40000000)
}

func appendTrack(b []byte, t Track) []byte {
	f, _ := t.Format() // what it does not know is 0
	return appendBox(b, "trak", func(b []byte) []byte {
		const enabledInMovie = 3
		b = appendFull(b, "tkhd", 0, enabledInMovie, func(b []byte) []byte {
			b = u32s(b, 0, 0, t.ID, 0, 0, 0, 0, 0)
			volume := uint16(0)
			if t.Kind == Audio {
				volume = 0x100
			}
			b = appendMatrix(u16(u16(b, volume), 0))
			return u32s(b, uint32(f.Width)<<16, uint32(f.Height)<<16)
		})
		if t.Start > 0 || t.Delay > 0 {
			b = appendBox(b, "edts", func(b []byte) []byte { return appendEdits(b, t) })
		}
		return appendBox(b, "mdia", func(b []byte) []byte {
			b = appendFull(b, "mdhd", 0, 0, func(b []byte) []byte {
				const undetermined = 0x55c4 // the language "und"
				return u16(u16(u32s(b, 0, 0, t.Timescale, 0), undetermined), 0)
			})
			handler, name := handlerOf(t.Kind)
			b = appendFull(b, "hdlr", 0, 0, func(b []byte) []byte {
				b = append(u32(b, 0), handler...)
				return append(append(zeros(b, 12), name...), 0)
			})
			return appendBox(b, "minf", func(b []byte) []byte { return appendMediaInfo(b, t) })
		})
	})
}

func handlerOf(k Kind) (handler, name string) {
	switch k {
	case Video:
		return "vide", "VideoHandler"
	case Audio:
		return "soun", "SoundHandler"
	case Other:
	}
	return "meta", "DataHandler"
}

// appendEdits appends the edit list: an empty edit for the delay, then one to
// the end of whatever comes, as duration 0 means in a fragmented file.
func appendEdits(b []byte, t Track) []byte {
	const normalRate = 0x10000
	return appendFull(b, "elst", 1, 0, func(b []byte) []byte {
		if t.Delay > 0 {
			const empty = 1<<64 - 1
			b = u32(b, 2)
			b = u32(u64(u64(b, uint64(t.Delay*movieTimescale/time.Second)), empty), normalRate)
		} else {
			b = u32(b, 1)
		}
		return u32(u64(u64(b, 0), t.Start), normalRate)
	})
}

func appendMediaInfo(b []byte, t Track) []byte {
	switch t.Kind {
	case Video:
		b = appendFull(b, "vmhd", 0, 1, func(b []byte) []byte { return zeros(b, 8) })
	case Audio:
		b = appendFull(b, "smhd", 0, 0, func(b []byte) []byte { return zeros(b, 4) })
	default:
		b = appendFull(b, "nmhd", 0, 0, nothing)
	}
	b = appendBox(b, "dinf", func(b []byte) []byte {
		return appendFull(b, "dref", 0, 0, func(b []byte) []byte {
			const inThisFile = 1
			return appendFull(u32(b, 1), "url ", 0, inThisFile, nothing)
		})
	})
	return appendBox(b, "stbl", func(b []byte) []byte {
		b = appendFull(b, "stsd", 0, 0, func(b []byte) []byte { return append(u32(b, 1), t.Entry...) })
		b = appendFull(b, "stts", 0, 0, func(b []byte) []byte { return u32(b, 0) })
		b = appendFull(b, "stsc", 0, 0, func(b []byte) []byte { return u32(b, 0) })
		b = appendFull(b, "stsz", 0, 0, func(b []byte) []byte { return u32s(b, 0, 0) })
		return appendFull(b, "stco", 0, 0, func(b []byte) []byte { return u32(b, 0) })
	})
}

// WriteSamples writes a fragment. The samples are of one track and follow each
// other, there is at least one.
func (w *Writer) WriteSamples(samples ...Sample) error {
	w.sequence++
	size := 0
	for _, s := range samples {
		size += len(s.Data)
	}
	dataOffset := 0 // where it has to be filled in
	b := appendBox(w.buf[:0], "moof", func(b []byte) []byte {
		b = appendFull(b, "mfhd", 0, 0, func(b []byte) []byte { return u32(b, w.sequence) })
		return appendBox(b, "traf", func(b []byte) []byte {
			b = appendFull(b, "tfhd", 0, headerBaseIsMoof, func(b []byte) []byte { return u32(b, samples[0].Track) })
			b = appendFull(b, "tfdt", 1, 0, func(b []byte) []byte { return u64(b, samples[0].Time) })
			// Version 1: composition offsets are signed.
			const flags = runDataOffset | runDuration | runSize | runFlags | runOffset
			return appendFull(b, "trun", 1, flags, func(b []byte) []byte {
				b = u32(b, uint32(len(samples)))
				dataOffset = len(b)
				b = u32(b, 0)
				for _, s := range samples {
					b = u32s(b, s.Duration, uint32(len(s.Data)), sampleFlags(s.Sync), uint32(s.Offset))
				}
				return b
			})
		})
	})
	binary.BigEndian.PutUint32(b[dataOffset:], uint32(len(b)+8))
	b = append(u32(b, uint32(size+8)), "mdat"...)
	for _, s := range samples {
		b = append(b, s.Data...)
	}
	w.buf = b
	_, err := w.out.Write(b)
	return err
}

// sampleFlags says whether a sample depends on others (ISO/IEC 14496-12, section 8.8.3.1).
func sampleFlags(sync bool) uint32 {
	if sync {
		return 2 << 24 // depends on none
	}
	return 1<<24 | sampleNotSync
}

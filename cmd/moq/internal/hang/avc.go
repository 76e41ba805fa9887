package hang

import (
	"encoding/binary"
	"errors"

	"github.com/moqrelay/moqrelay/cmd/moq/internal/fmp4"
)

// Types of NAL units of H.264 (ITU-T H.264, table 7-1).
const (
	nalSPS = 7
	nalPPS = 8
)

// units calls f with the NAL units of a sample with start codes (annex B).
func units(sample []byte, f func(unit []byte)) {
	start := -1
	for i := 0; i+2 < len(sample); i++ {
		if sample[i] != 0 || sample[i+1] != 0 || sample[i+2] != 1 {
			continue
		}
		if start >= 0 {
			f(withoutZeros(sample[start:i]))
		}
		start = i + 3
		i += 2
	}
	if start >= 0 {
		f(withoutZeros(sample[start:]))
	}
}

// withoutZeros takes off the zeros behind a unit, which are the beginning of a
// longer start code or fill up: no unit ends with one.
func withoutZeros(unit []byte) []byte {
	for len(unit) > 0 && unit[len(unit)-1] == 0 {
		unit = unit[:len(unit)-1]
	}
	return unit
}

// lengthPrefixed turns a sample with start codes into one with lengths, as MP4
// has them.
func lengthPrefixed(sample []byte) []byte {
	out := make([]byte, 0, len(sample)+8)
	units(sample, func(unit []byte) {
		out = binary.BigEndian.AppendUint32(out, uint32(len(unit)))
		out = append(out, unit...)
	})
	return out
}

var errNoParameters = errors.New("a keyframe without parameter sets in it")

// configOf builds the body of an avcC from the parameter sets in a keyframe that
// has lengths (ISO/IEC 14496-15, section 5.3.3.1).
func configOf(keyframe []byte) ([]byte, error) {
	var sps, pps []byte // both as a list of 16-bit lengths and units
	var spsCount, ppsCount byte
	var profile []byte
	for len(keyframe) >= 4 {
		n := binary.BigEndian.Uint32(keyframe)
		if uint64(n) > uint64(len(keyframe)-4) {
			break
		}
		unit := keyframe[4 : 4+n]
		keyframe = keyframe[4+n:]
		if len(unit) < 4 || len(unit) > 1<<16-1 {
			continue
		}
		switch unit[0] & 31 {
		case nalSPS:
			if profile == nil {
				profile = unit[1:4]
			}
			if spsCount < 31 {
				spsCount++
				sps = append(binary.BigEndian.AppendUint16(sps, uint16(len(unit))), unit...)
			}
		case nalPPS:
			if ppsCount < 255 {
				ppsCount++
				pps = append(binary.BigEndian.AppendUint16(pps, uint16(len(unit))), unit...)
			}
		}
	}
	if spsCount == 0 || ppsCount == 0 {
		return nil, errNoParameters
	}
	config := []byte{1, profile[0], profile[1], profile[2], 0xff, 0xe0 | spsCount}
	config = append(append(config, sps...), ppsCount)
	return append(config, pps...), nil
}

// NeedsKeyframe says that the catalog does not tell enough for an MP4: the rest
// is in a keyframe, which [Track.WithKeyframe] takes.
func (t Track) NeedsKeyframe() bool { return t.startCodes && t.MP4.Entry == nil }

// WithKeyframe returns the track with what the first frame of a group says of it.
func (t Track) WithKeyframe(frame []byte) (Track, error) {
	samples, err := t.Unpack(frame)
	if err != nil {
		return t, err
	}
	if len(samples) == 0 {
		return t, errNoParameters
	}
	config, err := configOf(samples[0].Data)
	if err != nil {
		return t, err
	}
	t.MP4.Entry = fmp4.InBandAVCEntry(t.Format.Width, t.Format.Height, config)
	f, err := t.MP4.Format()
	if err != nil {
		return t, err
	}
	t.Format.Description, t.Format.Reorder = f.Description, f.Reorder
	return t, nil
}

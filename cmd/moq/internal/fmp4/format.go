package fmp4

import (
	"errors"
	"fmt"
	"math/bits"
)

// Format is what a sample entry says of a track's media.
type Format struct {
	// Codec is the codec's name in a MIME type (RFC 6381), such as avc1.4d401f or
	// mp4a.40.2; for a codec that this package does not know, the entry's type.
	Codec string
	// Description is what a decoder is set up with: the body of avcC and its like, or
	// the AudioSpecificConfig.
	Description []byte
	// Width and Height are those of video.
	Width, Height int
	// SampleRate and Channels are those of audio.
	SampleRate, Channels int
	// Bitrate is the average one in bits per second, 0 if the entry does not say.
	Bitrate int
	// Reorder is by how many pictures decoding can run ahead of showing; 0 without
	// B-frames.
	Reorder int
}

const (
	visualHeader = 78 // bytes of a VisualSampleEntry before its boxes
	audioHeader  = 28 // the same of an AudioSampleEntry
)

// Format reads the track's sample entry.
func (t Track) Format() (Format, error) {
	kind, body, _, err := consumeBox(t.Entry)
	if err != nil {
		return Format{}, fmt.Errorf("sample entry of track %d: %w", t.ID, err)
	}
	f := Format{Codec: kind.String()}
	c := cursor{b: body}
	switch t.Kind {
	case Video:
		c.take(24)
		f.Width, f.Height = int(c.u16()), int(c.u16())
		c.take(visualHeader - 28)
	case Audio:
		c.take(8)
		version := c.u16()
		c.take(6)
		f.Channels = int(c.u16())
		c.take(6)
		f.SampleRate = int(c.u32() >> 16)
		if version == 1 { // of QuickTime
			c.take(16)
		}
	default:
		return f, nil
	}
	if c.bad {
		return f, fmt.Errorf("sample entry of track %d: %w", t.ID, errShortBox)
	}
	if t.Kind == Video {
		f.Reorder = defaultReorder(kind)
	}
	err = eachBox(c.b, func(kind fourCC, body []byte) error { return f.parseConfig(kind, body) })
	if err != nil {
		return f, fmt.Errorf("sample entry of track %d: %w", t.ID, err)
	}
	return f, nil
}

// defaultReorder is the depth of a codec's streams as long as nothing better is
// known: more than encoders use by default. AV1 and VP9 hide such pictures
// inside of frames.
func defaultReorder(kind fourCC) int {
	switch kind {
	case cc("hvc1"), cc("hev1"), cc("avc1"), cc("avc3"):
		return 4
	}
	return 0
}

func (f *Format) parseConfig(kind fourCC, body []byte) error {
	switch kind {
	case cc("avcC"):
		if len(body) < 4 {
			return errShortBox
		}
		f.Codec += fmt.Sprintf(".%02x%02x%02x", body[1], body[2], body[3])
		f.Description = body
		f.Reorder = reorderOfAVC(body)
	case cc("hvcC"), cc("av1C"):
		f.Description = body
	case cc("vpcC"):
		if len(body) < 7 {
			return errShortBox
		}
		f.Codec += fmt.Sprintf(".%02d.%02d.%02d", body[4], body[5], body[6]>>4)
	case cc("esds"):
		return f.parseESDS(body)
	case cc("btrt"):
		c := cursor{b: body}
		c.take(8)
		if average := c.u32(); f.Bitrate == 0 && !c.bad {
			f.Bitrate = int(average)
		}
	}
	return nil
}

// Tags of MPEG-4 descriptors (ISO/IEC 14496-1, section 7.2.2.1).
const (
	tagES              = 0x03
	tagDecoderConfig   = 0x04
	tagDecoderSpecific = 0x05
	tagSyncLayer       = 0x06

	objectTypeAAC = 0x40 // ISO/IEC 14496-3 audio
	streamAudio   = 0x15 // stream type 5, upstream 0, reserved 1
)

func (f *Format) parseESDS(body []byte) error {
	c := cursor{b: body}
	c.full()
	if tag := c.descriptor(); tag != tagES {
		return errors.New("esds has no ES descriptor")
	}
	c.u16()
	flags := c.u8()
	if flags&0x80 != 0 {
		c.u16() // the stream it depends on
	}
	if flags&0x40 != 0 {
		c.take(int(c.u8())) // URL
	}
	if flags&0x20 != 0 {
		c.u16() // clock reference
	}
	if tag := c.descriptor(); tag != tagDecoderConfig {
		return errors.New("esds has no decoder configuration")
	}
	object := c.u8()
	c.take(8) // stream type, buffer size, largest bit rate
	f.Bitrate = int(c.u32())
	f.Codec += fmt.Sprintf(".%02x", object)
	if object != objectTypeAAC || c.descriptor() != tagDecoderSpecific || c.bad || len(c.b) == 0 {
		return c.err()
	}
	f.Description = c.b
	f.parseAudioConfig(c.b)
	return nil
}

// aacRates are the sample rates that have an index (ISO/IEC 14496-3, table 1.18).
var aacRates = [...]int{96000, 88200, 64000, 48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000, 7350}

// parseAudioConfig reads an AudioSpecificConfig (ISO/IEC 14496-3, section
// 1.6.2.1). Its rate and channels are those that count: muxers write 2 channels
// into the sample entry of mono.
func (f *Format) parseAudioConfig(config []byte) {
	const lowComplexity, explicitRate, escape = 2, 15, 31
	r := bitReader{b: config}
	object := r.bits(5)
	if object == escape {
		object = 32 + r.bits(6)
	}
	f.Codec += fmt.Sprintf(".%d", object)
	if object != lowComplexity { // others add to rate and channels
		return
	}
	rate := 0
	if index := r.bits(4); index == explicitRate {
		rate = r.bits(24)
	} else if index < len(aacRates) {
		rate = aacRates[index]
	}
	channels := r.bits(4)
	if channels == 7 {
		channels = 8
	}
	if !r.bad && rate > 0 && channels > 0 {
		f.SampleRate, f.Channels = rate, channels
	}
}

// descriptor reads tag and length of a descriptor and narrows the cursor to it.
func (c *cursor) descriptor() (tag uint8) {
	tag = c.u8()
	n := 0
	for range 4 {
		b := c.u8()
		n = n<<7 | int(b&0x7f)
		if b&0x80 == 0 {
			break
		}
	}
	if n > len(c.b) {
		c.bad = true
		return tag
	}
	c.b = c.b[:n]
	return tag
}

// AVCEntry builds the sample entry of H.264 from the body of an avcC.
func AVCEntry(width, height int, description []byte) []byte {
	return avcEntry("avc1", width, height, description)
}

// InBandAVCEntry is AVCEntry for samples that hold parameter sets themselves.
func InBandAVCEntry(width, height int, description []byte) []byte {
	return avcEntry("avc3", width, height, description)
}

func avcEntry(kind string, width, height int, description []byte) []byte {
	return appendBox(nil, kind, func(b []byte) []byte {
		b = u16(zeros(b, 6), 1) // data reference
		b = zeros(b, 16)
		b = u16(u16(b, uint16(width)), uint16(height))
		b = u32s(b, 0x480000, 0x480000, 0) // 72 dpi
		b = u16(b, 1)                      // frames per sample
		b = zeros(b, 32)                   // compressor's name
		b = u16(u16(b, 0x18), 0xffff)      // depth
		return appendBox(b, "avcC", func(b []byte) []byte { return append(b, description...) })
	})
}

// AACEntry builds the sample entry of AAC. The profile is the audio object type,
// 2 for AAC-LC.
func AACEntry(profile, sampleRate, channels, bitrate int) []byte {
	config := audioConfig(profile, sampleRate, channels)
	specific := append([]byte{tagDecoderSpecific, byte(len(config))}, config...)
	decoder := []byte{tagDecoderConfig, byte(13 + len(specific)), objectTypeAAC, streamAudio, 0, 0, 0}
	decoder = append(u32s(decoder, uint32(bitrate), uint32(bitrate)), specific...)
	es := append([]byte{tagES, byte(3 + len(decoder) + 3), 0, 0, 0}, decoder...)
	es = append(es, tagSyncLayer, 1, 2)
	return appendBox(nil, "mp4a", func(b []byte) []byte {
		b = u16(zeros(b, 6), 1) // data reference
		b = zeros(b, 8)
		b = u16(u16(b, uint16(channels)), 16)
		b = zeros(b, 4)
		rate := uint32(0) // does not fit above 65535
		if sampleRate <= 0xffff {
			rate = uint32(sampleRate) << 16
		}
		b = u32(b, rate)
		return appendFull(b, "esds", 0, 0, func(b []byte) []byte { return append(b, es...) })
	})
}

// audioConfig builds an AudioSpecificConfig.
func audioConfig(profile, sampleRate, channels int) []byte {
	v, n := uint64(profile&31), 5
	put := func(value uint64, bits int) { v, n = v<<bits|value, n+bits }
	index := uint64(15)
	for i, rate := range aacRates {
		if rate == sampleRate {
			index = uint64(i)
		}
	}
	put(index, 4)
	if index == 15 {
		put(uint64(sampleRate)&0xffffff, 24)
	}
	if channels == 8 {
		channels = 7 // the number of the 7.1 layout
	}
	put(uint64(channels)&15, 4)
	put(0, 3)
	v <<= 64 - n
	b := make([]byte, 0, 5)
	for ; n > 0; n -= 8 {
		b = append(b, byte(v>>56))
		v = bits.RotateLeft64(v, 8)
	}
	return b
}

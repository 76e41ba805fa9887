package fmp4

// reorderOfAVC returns max_num_reorder_frames of the first sequence parameter
// set in the body of an avcC (ITU-T H.264, annex E.2.1). Where the encoder did
// not say it, 0 for profiles without B-frames and a depth that suffices for
// what encoders do by default for others.
func reorderOfAVC(config []byte) int {
	depth := defaultReorder(cc("avc1"))
	const profileBaseline = 66
	if len(config) > 1 && config[1] == profileBaseline {
		depth = 0
	}
	c := cursor{b: config}
	c.take(5)
	if c.u8()&31 == 0 {
		return depth
	}
	sps := c.take(min(int(c.u16()), len(c.b)))
	if c.bad || len(sps) < 5 {
		return depth
	}
	r := &bitReader{b: unescape(sps[1:])}
	if n, ok := r.reorderOfSPS(); ok && n <= 16 {
		return n
	}
	return depth
}

// unescape takes out the emulation prevention bytes of a NAL unit.
func unescape(b []byte) []byte {
	out := make([]byte, 0, len(b))
	for i, x := range b {
		if x == 3 && i >= 2 && b[i-1] == 0 && b[i-2] == 0 {
			continue
		}
		out = append(out, x)
	}
	return out
}

// A bitReader reads the syntax elements of H.264. Reads beyond the end give 0.
type bitReader struct {
	b   []byte
	pos int // in bits
	bad bool
}

func (r *bitReader) bits(n int) int {
	v := 0
	for range n {
		if r.pos >= 8*len(r.b) {
			r.bad = true
			return 0
		}
		v = v<<1 | int(r.b[r.pos/8]>>(7-r.pos%8)&1)
		r.pos++
	}
	return v
}

func (r *bitReader) flag() bool { return r.bits(1) == 1 }

// ue reads an Exp-Golomb code. Signed ones are read with it as well where their
// value does not matter.
func (r *bitReader) ue() int {
	zeros := 0
	for !r.flag() {
		if zeros++; r.bad || zeros > 31 {
			r.bad = true
			return 0
		}
	}
	return 1<<zeros - 1 + r.bits(zeros)
}

// se reads a signed Exp-Golomb code.
func (r *bitReader) se() int {
	v := r.ue()
	if v%2 == 0 {
		return -v / 2
	}
	return (v + 1) / 2
}

// reorderOfSPS reads a sequence parameter set behind its NAL header, up to the
// number that is wanted (ITU-T H.264, section 7.3.2.1.1 and annex E.1.1).
func (r *bitReader) reorderOfSPS() (int, bool) {
	profile := r.bits(8)
	r.bits(16) // constraints, level
	r.ue()     // id
	switch profile {
	case 100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135:
		r.chroma()
	}
	r.ue() // log2_max_frame_num_minus4
	switch r.ue() {
	case 0:
		r.ue()
	case 1:
		r.bits(1)
		r.ue()
		r.ue()
		for n := r.ue(); n > 0 && !r.bad; n-- {
			r.ue()
		}
	}
	r.ue() // max_num_ref_frames
	r.bits(1)
	r.ue() // width
	r.ue() // height
	if !r.flag() {
		r.bits(1) // frame_mbs_only_flag, then mb_adaptive_frame_field_flag
	}
	r.bits(1)
	if r.flag() { // cropping
		r.ue()
		r.ue()
		r.ue()
		r.ue()
	}
	if !r.flag() { // vui_parameters_present_flag
		return 0, false
	}
	return r.usability()
}

func (r *bitReader) chroma() {
	const separatePlanes = 3
	format := r.ue()
	if format == separatePlanes {
		r.bits(1)
	}
	r.ue()
	r.ue()
	r.bits(1)
	if !r.flag() { // seq_scaling_matrix_present_flag
		return
	}
	lists := 8
	if format == separatePlanes {
		lists = 12
	}
	for i := range lists {
		if !r.flag() {
			continue
		}
		size, last, next := 16, 8, 8
		if i >= 6 {
			size = 64
		}
		for range size {
			if next != 0 {
				next = (last + r.se() + 256) % 256
			}
			if next != 0 {
				last = next
			}
		}
	}
}

// usability reads the VUI up to max_num_reorder_frames.
func (r *bitReader) usability() (int, bool) {
	const extendedSAR = 255
	if r.flag() && r.bits(8) == extendedSAR {
		r.bits(32)
	}
	if r.flag() { // overscan
		r.bits(1)
	}
	if r.flag() { // video signal type
		r.bits(4)
		if r.flag() {
			r.bits(24)
		}
	}
	if r.flag() { // chroma location
		r.ue()
		r.ue()
	}
	if r.flag() { // timing
		r.bits(65)
	}
	nal := r.flag()
	if nal {
		r.hypotheticalDecoder()
	}
	vcl := r.flag()
	if vcl {
		r.hypotheticalDecoder()
	}
	if nal || vcl {
		r.bits(1)
	}
	r.bits(1)
	if !r.flag() { // bitstream_restriction_flag
		return 0, false
	}
	r.bits(1)
	r.ue()
	r.ue()
	r.ue()
	r.ue()
	n := r.ue()
	return n, !r.bad
}

func (r *bitReader) hypotheticalDecoder() {
	n := r.ue() + 1
	r.bits(8)
	for ; n > 0 && !r.bad; n-- {
		r.ue()
		r.ue()
		r.bits(1)
	}
	r.bits(20)
}

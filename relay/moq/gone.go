package moq

import (
	"cmp"
	"math"
	"slices"
)

// absentLocked returns the parts of a range that are no groups in the cache and
// not gone already.
func (t *Track) absentLocked(first, last uint64) []Range {
	known := slices.Clone(t.gone)
	for _, e := range t.cache {
		known = append(known, Range{First: e.seq, Last: e.seq})
	}
	slices.SortFunc(known, func(a, b Range) int { return cmp.Compare(a.First, b.First) })
	var absent []Range
	for _, k := range known {
		if k.Last < first {
			continue
		}
		if k.First > last {
			break
		}
		if k.First > first {
			absent = append(absent, Range{First: first, Last: k.First - 1})
		}
		if k.Last == math.MaxUint64 {
			return absent
		}
		first = k.Last + 1
	}
	if first <= last {
		absent = append(absent, Range{First: first, Last: last})
	}
	return absent
}

// goneLocked remembers that the groups of r never come. If that is too much to
// remember, the lowest are forgotten and what is below them is too old.
func (t *Track) goneLocked(r Range) {
	i, _ := slices.BinarySearchFunc(t.gone, r, func(a, b Range) int { return cmp.Compare(a.First, b.First) })
	t.gone = slices.Insert(t.gone, i, r)
	if len(t.gone) > t.limits.MaxGroups {
		t.floor = max(t.floor, t.gone[0].Last+1)
		t.gone = slices.Delete(t.gone, 0, 1)
	}
}

// isGoneLocked tells whether the group was given up by Drop.
func (t *Track) isGoneLocked(seq uint64) bool {
	return slices.ContainsFunc(t.gone, func(r Range) bool { return r.First <= seq && seq <= r.Last })
}

// notGoneLocked returns the lowest group from seq on that was neither given up nor
// forgotten.
func (t *Track) notGoneLocked(seq uint64) uint64 {
	seq = max(seq, t.floor)
	for _, r := range t.gone { // by sequence
		if r.First <= seq && seq <= r.Last && r.Last < math.MaxUint64 {
			seq = r.Last + 1
		}
	}
	return seq
}

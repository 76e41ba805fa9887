package moq

import (
	"encoding/binary"
	"iter"
	"slices"
	"strconv"
	"strings"
	"unicode"
)

// Path is the name of a broadcast or a track: an immutable list of byte
// strings. Two paths are equal by == if their parts are; the zero value is the
// root, which has no parts. A part may hold any bytes, '/' among them.
type Path struct {
	// key is each part behind its length as a varint. So the key of a prefix is a
	// prefix of the key, and ["a/b"] is not ["a" "b"].
	key string
}

// NewPath returns the path of the given parts.
func NewPath(parts ...string) Path {
	return Path{}.Append(parts...)
}

// ParsePath reads the form that people type, in commands and URLs: parts
// separated by '/'. Empty parts are dropped.
func ParsePath(s string) Path {
	parts := strings.Split(s, "/")
	return NewPath(slices.DeleteFunc(parts, func(p string) bool { return p == "" })...)
}

// All yields the parts in order.
func (p Path) All() iter.Seq[string] {
	return func(yield func(string) bool) {
		for key := p.key; key != ""; {
			part, rest := cutPart(key)
			if !yield(part) {
				return
			}
			key = rest
		}
	}
}

// Prefixes yields the paths that p starts with, from the root to p itself.
func (p Path) Prefixes() iter.Seq[Path] {
	return func(yield func(Path) bool) {
		for rest := p.key; ; {
			if !yield(Path{p.key[:len(p.key)-len(rest)]}) || rest == "" {
				return
			}
			_, rest = cutPart(rest)
		}
	}
}

// Parts returns the parts as a new slice.
func (p Path) Parts() []string {
	return slices.Collect(p.All())
}

// Len returns the number of parts.
func (p Path) Len() int {
	n := 0
	for range p.All() {
		n++
	}
	return n
}

// Size returns the number of bytes in all parts together.
func (p Path) Size() int {
	n := 0
	for part := range p.All() {
		n += len(part)
	}
	return n
}

// Last returns the last part: of a track's path, the name of the track in its
// broadcast. The root has none and gives "".
func (p Path) Last() string {
	last := ""
	for part := range p.All() {
		last = part
	}
	return last
}

// Parent returns the path without its last part. The root is its own parent.
func (p Path) Parent() Path {
	parent := Path{}
	for prefix := range p.Prefixes() {
		if prefix != p {
			parent = prefix
		}
	}
	return parent
}

// Append returns the path with further parts behind it.
func (p Path) Append(parts ...string) Path {
	if len(parts) == 0 {
		return p
	}
	size := len(p.key)
	for _, part := range parts {
		size += len(part) + 1
	}
	key := append(make([]byte, 0, size), p.key...)
	for _, part := range parts {
		key = binary.AppendUvarint(key, uint64(len(part)))
		key = append(key, part...)
	}
	return Path{string(key)}
}

// Join returns the path with the parts of q behind it.
func (p Path) Join(q Path) Path {
	return Path{p.key + q.key}
}

// HasPrefix tells whether p starts with the parts of prefix.
func (p Path) HasPrefix(prefix Path) bool {
	return strings.HasPrefix(p.key, prefix.key)
}

// TrimPrefix returns what follows prefix in p, and whether p starts with it.
func (p Path) TrimPrefix(prefix Path) (Path, bool) {
	rest, ok := strings.CutPrefix(p.key, prefix.key)
	if !ok {
		return Path{}, false
	}
	return Path{rest}, true
}

// String shows the path to people, as in "live/camera". A part that would be
// misread in this form is quoted. It is never parsed back.
func (p Path) String() string {
	var b strings.Builder
	for part := range p.All() {
		if b.Len() > 0 {
			b.WriteByte('/')
		}
		if isPlain(part) {
			b.WriteString(part)
		} else {
			b.WriteString(strconv.Quote(part))
		}
	}
	return b.String()
}

// MarshalText returns String, for logs and JSON.
func (p Path) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

func isPlain(part string) bool {
	if part == "" || strings.ContainsAny(part, `/"\`) {
		return false
	}
	for _, r := range part {
		if r == unicode.ReplacementChar || !unicode.IsPrint(r) {
			return false
		}
	}
	return true
}

// cutPart splits the first part off a key, which must not be empty.
func cutPart(key string) (part, rest string) {
	var size uint64
	for shift := 0; ; shift += 7 {
		b := key[0]
		key = key[1:]
		size |= uint64(b&0x7f) << shift
		if b < 0x80 {
			return key[:size], key[size:]
		}
	}
}

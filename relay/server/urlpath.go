package server

import (
	"fmt"
	"net/url"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/moqrelay/moqrelay/relay/moq"
	"github.com/moqrelay/moqrelay/relay/origin"
)

// parsePath reads a path of the relay from its escaped form in a URL. A part
// reads back as itself or the path is refused, so that no spelling leads to
// another path than the one that it shows (S19). The empty form is the root.
func parsePath(escaped string) (moq.Path, error) {
	if escaped == "" {
		return moq.Path{}, nil
	}
	var parts []string
	for form := range strings.SplitSeq(escaped, "/") {
		part, err := url.PathUnescape(form)
		if err != nil || !isPlain(part) {
			return moq.Path{}, fmt.Errorf("%q is no part of a path: neither . nor .. is one, nor what is not text or has an escaped / or a control character", form)
		}
		parts = append(parts, part)
	}
	path := moq.NewPath(parts...)
	if path.Len() > origin.MaxPathParts || path.Size() > origin.MaxPathBytes {
		return moq.Path{}, fmt.Errorf("the path is too long: want at most %d parts and %d bytes", origin.MaxPathParts, origin.MaxPathBytes)
	}
	return path, nil
}

// isPlain tells whether a part of a path can stand between slashes on a line.
func isPlain(part string) bool {
	return part != "" && part != "." && part != ".." && utf8.ValidString(part) &&
		!strings.Contains(part, "/") && !strings.ContainsFunc(part, unicode.IsControl)
}

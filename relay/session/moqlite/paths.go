package moqlite

import (
	"net/url"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/moqrelay/moqrelay/relay/moq"
	"github.com/moqrelay/moqrelay/relay/origin"
	"github.com/moqrelay/moqrelay/relay/wire"
)

// A path of the relay crosses to moq-lite only if its parts are plain there: the
// part "a/b" of another protocol would come out as two, an empty one as none
// (S19). The name of a track may hold anything that is text.

// isPlain tells whether a part of a path reads back as itself.
func isPlain(part string) bool {
	return part != "" && part != "." && part != ".." && !strings.ContainsAny(part, "/\x00") && utf8.ValidString(part)
}

// hasBroadcastForm tells whether a path can be said as that of a broadcast.
func hasBroadcastForm(p moq.Path) bool {
	if p.Len() > wire.MaxPathParts || p.Size() > wire.MaxPathBytes {
		return false
	}
	for part := range p.All() {
		if !isPlain(part) {
			return false
		}
	}
	return true
}

// trackForm returns how a path is said as that of a track in a broadcast, and
// whether it can be.
func trackForm(p moq.Path) (broadcast []string, track string, ok bool) {
	track = p.Last()
	ok = p.Len() > 0 && hasBroadcastForm(p.Parent()) && utf8.ValidString(track) && len(track) <= wire.MaxPathBytes
	return p.Parent().Parts(), track, ok
}

// Between nodes of ours nothing is lost that another protocol can say. A track
// that is announced by itself, as MoqTransfork has it, is told as a broadcast
// below internal/tracks; and so is a path asked for that is not plain. Its parts
// are escaped there as in a URL.

var tracksPrefix = []string{"internal", "tracks"}

// emptyPart stands for a part without a byte. No part is escaped like this.
const emptyPart = "%"

func escapePath(p moq.Path) []string {
	parts := slices.Clone(tracksPrefix)
	for part := range p.All() {
		switch part {
		case "":
			part = emptyPart
		case ".", "..":
			part = strings.ReplaceAll(part, ".", "%2E")
		default:
			part = url.PathEscape(part)
		}
		parts = append(parts, part)
	}
	return parts
}

// unescapePath returns the path that escapePath has escaped, and whether it was
// one.
func unescapePath(parts []string) (p moq.Path, ok bool) {
	if len(parts) < len(tracksPrefix) || !slices.Equal(parts[:len(tracksPrefix)], tracksPrefix) {
		return moq.Path{}, false
	}
	for _, part := range parts[len(tracksPrefix):] {
		if part == emptyPart {
			p = p.Append("")
			continue
		}
		plain, err := url.PathUnescape(part)
		if err != nil {
			return moq.Path{}, false
		}
		p = p.Append(plain)
	}
	return p, true
}

// isOurs tells whether the peer is a node that escapes as we do.
func (s *Session) isOurs() bool { return s.IsNode() && s.Node() != "" }

// isHidden tells whether a broadcast is left out of announcements below prefix:
// who knows its name may subscribe it.
func isHidden(path, prefix moq.Path) bool {
	suffix, _ := path.TrimPrefix(prefix)
	for part := range suffix.All() {
		if strings.HasPrefix(part, ".") {
			return true
		}
	}
	return false
}

// pathOf returns the relay's path of a track that the peer names.
func (s *Session) pathOf(broadcast []string, track string) (moq.Path, error) {
	if s.isOurs() {
		if p, ok := unescapePath(broadcast); ok {
			return p.Append(track), nil
		}
	}
	path := moq.NewPath(broadcast...)
	if !hasBroadcastForm(path) {
		return path, moq.ErrNotFound // another protocol may well have it
	}
	return s.root.Join(path).Append(track), nil
}

// nameOf returns how a track is named to the peer, and whether it can be.
func (s *Session) nameOf(path moq.Path) (broadcast []string, track string, ok bool) {
	path, ok = path.TrimPrefix(s.root)
	if !ok {
		return nil, "", false
	}
	if broadcast, track, ok = trackForm(path); ok || !s.isOurs() || path.Len() == 0 || !utf8.ValidString(track) {
		return broadcast, track, ok
	}
	return escapePath(path.Parent()), track, path.Len()+len(tracksPrefix) <= wire.MaxPathParts
}

// lookup returns the live track that the peer names.
func (s *Session) lookup(path moq.Path) (*moq.Track, error) { return s.Lookup(path, s.mayServe(path)) }

// mayServe says by which announcements a request of the peer is routed: none that
// leads through it, and none of what it may not see. A client may have back what
// it publishes itself.
func (s *Session) mayServe(path moq.Path) func(origin.Announcement) bool {
	return func(a origin.Announcement) bool {
		if s.IsNode() && a.Source == origin.Source(s) || a.Passed(s.peerHop()) || !s.Config.Visible(a) {
			return false
		}
		if a.Kind == origin.Track {
			return true
		}
		a.Path = path.Parent() // what is announced may be a part of the path
		return s.Config.Visible(a)
	}
}

// mayPublish tells whether the peer may be asked for a track: it may have
// announced only a part of its path.
func (s *Session) mayPublish(path moq.Path) bool { return s.Config.Accept(path.Parent()) == nil }

package server

import (
	"context"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/moqrelay/moqrelay/relay/moq"
	"github.com/moqrelay/moqrelay/relay/origin"
)

// announced is one broadcast in the list of serveAnnounced.
type announced struct {
	Path string   `json:"path"` // what follows the prefix, "" for the prefix itself
	Hops []string `json:"hops"` // its publisher and the nodes it came through
}

// serveAnnounced lists the broadcasts at and below a prefix, one on a line or, if
// asked for, as JSON.
func (s *Server) serveAnnounced(w http.ResponseWriter, r *http.Request, escaped string) {
	prefix, err := parsePath(strings.TrimSuffix(escaped, "/"))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	asJSON, err := wantsJSON(r)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	list, err := s.announcedBelow(r.Context(), prefix)
	if err != nil {
		return // the client has gone
	}
	w.Header().Set("Vary", "Accept")
	if asJSON {
		writeJSON(w, list)
		return
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	var lines strings.Builder
	for _, a := range list {
		lines.WriteString(a.Path + "\n")
	}
	_, _ = io.WriteString(w, lines.String())
}

func wantsJSON(r *http.Request) (bool, error) {
	switch format := r.URL.Query().Get("format"); format {
	case "":
		return strings.Contains(r.Header.Get("Accept"), "application/json"), nil
	case "text":
		return false, nil
	case "json":
		return true, nil
	default:
		return false, fmt.Errorf("there is no format %q: want text or json", format)
	}
}

// announcedBelow returns the broadcasts that anyone may know of, by their paths.
func (s *Server) announcedBelow(ctx context.Context, prefix moq.Path) ([]announced, error) {
	watch := s.Table.WatchBroadcasts(prefix, func(a origin.Announcement) bool { return isListed(a, prefix) && s.Visible(a) })
	defer watch.Close()
	now := make(map[string]announced)
	for {
		event, err := watch.Next(ctx)
		if err != nil {
			return nil, err
		}
		suffix, _ := event.Announcement.Path.TrimPrefix(prefix)
		path := strings.Join(suffix.Parts(), "/")
		switch event.Type {
		case origin.Active, origin.Updated:
			now[path] = announced{path, hopsOf(event.Announcement)}
		case origin.Ended:
			delete(now, path)
		case origin.Live:
			list := make([]announced, 0, len(now))
			for _, path := range slices.Sorted(maps.Keys(now)) {
				list = append(list, now[path])
			}
			return list, nil
		}
	}
}

func hopsOf(a origin.Announcement) []string {
	hops := []string{}
	for _, hop := range a.Hops {
		hops = append(hops, strconv.FormatUint(uint64(hop), 10))
	}
	return hops
}

// isListed tells whether what is announced makes a line that reads back as its
// path. As in moq-lite, a part that begins with a dot keeps a broadcast out of
// lists: who knows its name may have it.
func isListed(a origin.Announcement, prefix moq.Path) bool {
	path := a.Path
	if a.Kind == origin.Track && path != prefix {
		path = path.Parent()
	}
	below, _ := path.TrimPrefix(prefix)
	for part := range below.All() {
		if !isPlain(part) || strings.HasPrefix(part, ".") {
			return false
		}
	}
	return true
}

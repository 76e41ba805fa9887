package relay

import (
	"slices"
	"strconv"
	"strings"

	"github.com/moqrelay/moqrelay/relay/moq"
	"github.com/moqrelay/moqrelay/relay/origin"
	"github.com/moqrelay/moqrelay/relay/server"
)

// way is an announced path and where it comes from.
type way struct {
	source origin.Lister
	path   moq.Path
}

// broadcasts is the answer at /broadcasts.
func (r *Relay) broadcasts() []server.BroadcastInfo {
	infos := []server.BroadcastInfo{}
	all := r.table.Snapshot()
	live := liveTracks(all)
	for _, a := range all {
		info := server.BroadcastInfo{
			Broadcast: a.Path.String(), Kind: a.Kind.String(), Source: a.Node,
			Hops: []string{}, Tracks: []server.TrackInfo{},
		}
		for _, hop := range a.Hops {
			info.Hops = append(info.Hops, strconv.FormatUint(uint64(hop), 10))
		}
		if source, ok := a.Source.(origin.Lister); ok {
			info.Tracks = append(info.Tracks, live[way{source, a.Path}]...)
		}
		infos = append(infos, info)
	}
	return infos
}

// liveTracks returns the tracks that are live, by name, each with the way that it
// comes. One that was withdrawn meanwhile comes none.
func liveTracks(all []origin.Announcement) map[way][]server.TrackInfo {
	tracks := make(map[way][]server.TrackInfo)
	sources := make(map[origin.Lister]struct{})
	for _, a := range all {
		if source, ok := a.Source.(origin.Lister); ok {
			tracks[way{source, a.Path}] = nil
			sources[source] = struct{}{}
		}
	}
	for source := range sources {
		for _, track := range source.Live() {
			isAnnounced := func(path moq.Path) bool { _, ok := tracks[way{source, path}]; return ok }
			if path, ok := longest(track.Path(), isAnnounced); ok {
				w := way{source, path}
				tracks[w] = append(tracks[w], trackInfo(track, path))
			}
		}
	}
	for _, infos := range tracks {
		slices.SortFunc(infos, func(a, b server.TrackInfo) int { return strings.Compare(a.Track, b.Track) })
	}
	return tracks
}

// longest returns the longest prefix of a path, itself included, that is announced.
func longest(path moq.Path, isAnnounced func(moq.Path) bool) (prefix moq.Path, found bool) {
	for p := range path.Prefixes() {
		if isAnnounced(p) {
			prefix, found = p, true
		}
	}
	return prefix, found
}

func trackInfo(track *moq.Track, broadcast moq.Path) server.TrackInfo {
	name, _ := track.Path().TrimPrefix(broadcast)
	demand, _ := track.Demand()
	info := server.TrackInfo{Track: name.String(), Subscribers: demand.Subscribers}
	if group, at, ok := track.LastGroup(); ok {
		info.Group, info.GroupSince = &group, &at
	}
	return info
}

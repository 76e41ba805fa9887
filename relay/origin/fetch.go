package origin

import (
	"context"
	"fmt"

	"github.com/moqrelay/moqrelay/relay/moq"
)

// Group returns a reader of one group of a track, by the best route that ok
// accepts: from the cache of the track, else by way of a source that can be
// asked for it, which ctx bounds. It tells cached which of the two it was. The
// reader must be closed.
func (t *Table) Group(ctx context.Context, path moq.Path, group uint64, p moq.Priority, ok func(Announcement) bool, cached func(bool)) (*moq.GroupReader, error) {
	track, route, err := t.Track(path, ok)
	if err != nil {
		return nil, err
	}
	if r, ok := track.Group(group); ok {
		cached(true)
		return r, nil
	}
	cached(false)
	fetcher, isFetcher := route.Source.(Fetcher)
	if !isFetcher {
		return nil, fmt.Errorf("group %d of %q: %w", group, path, moq.ErrNotFound)
	}
	fetched, err := fetcher.Fetch(path, group, p)
	if err != nil {
		return nil, err
	}
	sub, err := fetched.Subscribe(moq.SubscribeOptions{Start: &group, End: &group})
	if err != nil {
		return nil, err
	}
	defer sub.Close()
	r, err := sub.Next(ctx)
	if err != nil {
		return nil, fmt.Errorf("group %d of %q: %w", group, path, err)
	}
	return r, nil
}

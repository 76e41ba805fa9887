package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"time"

	"github.com/moqrelay/moqrelay/relay/metrics"
	"github.com/moqrelay/moqrelay/relay/moq"
)

const (
	// maxAsking bounds the requests that lists and groups are being made up for.
	maxAsking = 64
	// answerGrace is the time to write an answer when the one for it is over.
	answerGrace = 2 * time.Second
	// headerGroup says which group a fetch has got.
	headerGroup = "Moq-Group"
)

// fetch is what a request asks for.
type fetch struct {
	path  moq.Path
	group *uint64 // nil: the latest
	frame *uint64 // nil: all of them
}

func parseFetch(escaped string, query url.Values) (fetch, error) {
	path, err := parsePath(escaped)
	if err != nil {
		return fetch{}, err
	}
	if path.Len() == 0 {
		return fetch{}, errors.New("no track is named: want /fetch/BROADCAST/TRACK")
	}
	f := fetch{path: path}
	if f.group, err = parseNumber(query, "group", "latest"); err != nil {
		return fetch{}, err
	}
	f.frame, err = parseNumber(query, "frame", "chunked") // as moq-relay calls all of them
	return f, err
}

// parseNumber reads a number of the query, nil if it is absent or the word that
// says as much.
func parseNumber(query url.Values, name, word string) (*uint64, error) {
	value := query.Get(name)
	if value == "" || value == word {
		return nil, nil //nolint:nilnil // absent is no error
	}
	n, err := strconv.ParseUint(value, 10, 62)
	if err != nil {
		return nil, fmt.Errorf("%s=%q: want a number or %s", name, value, word)
	}
	return &n, nil
}

// serveFetch answers with the payloads of a group, one behind the other, as they
// come if it is still being produced. All of that has publicTimeout; what has not
// come by then breaks off, so that nobody takes it for whole.
func (s *Server) serveFetch(w http.ResponseWriter, r *http.Request, escaped string) {
	ask, err := parseFetch(escaped, r.URL.Query())
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	end := time.Now().Add(publicTimeout)
	control := http.NewResponseController(w)
	_ = control.SetReadDeadline(end.Add(answerGrace)) // or the request ends before its time is over
	_ = control.SetWriteDeadline(end.Add(answerGrace))
	ctx, cancel := context.WithDeadlineCause(r.Context(), end, moq.ErrTimeout)
	defer cancel()

	group, release, err := s.openGroup(ctx, ask)
	if err != nil {
		s.refuseFetch(w, ask, err)
		return
	}
	defer release()
	defer group.Close()
	first, err := firstChunk(ctx, group, ask.frame)
	if err != nil && (!errors.Is(err, io.EOF) || ask.frame != nil) {
		s.refuseFetch(w, ask, err)
		return
	}
	h := w.Header()
	h.Set("Content-Type", "application/octet-stream")
	h.Set("X-Content-Type-Options", "nosniff") // a publisher's bytes are no page of ours
	h.Set("Cache-Control", "no-store")
	h.Set("Access-Control-Expose-Headers", headerGroup)
	h.Set(headerGroup, strconv.FormatUint(group.Sequence(), 10))
	if err != nil {
		return // a group without frames
	}
	if ask.frame != nil {
		h.Set("Content-Length", strconv.FormatUint(first.Size(), 10))
	}
	defer breakOff(control, group)()
	if err := s.sendPayloads(ctx, w, group, first, ask.frame != nil); err != nil {
		panic(http.ErrAbortHandler) // what net/http has for an answer that is not whole
	}
}

// openGroup returns a reader of the group that is asked for, and what to call
// when it is closed.
func (s *Server) openGroup(ctx context.Context, ask fetch) (*moq.GroupReader, func(), error) {
	if ask.group != nil {
		group, err := s.Table.Group(ctx, ask.path, *ask.group, moq.DefaultPriority, s.Visible, s.countCached)
		return group, func() {}, err
	}
	sub, err := s.subscribe(ask.path)
	if err != nil {
		return nil, nil, err
	}
	group, err := sub.Next(ctx)
	if err != nil {
		sub.Close()
		return nil, nil, err
	}
	// The subscription has the publisher go on with this group. No other is wanted.
	last := group.Sequence()
	sub.Update(moq.SubscribeOptions{Priority: moq.DefaultPriority, End: &last})
	return group, sub.Close, nil
}

// subscribe subscribes to a track from its latest group on. One that ended for
// lack of subscribers just before is looked up once more.
func (s *Server) subscribe(path moq.Path) (*moq.Subscription, error) {
	var err error
	for range 2 {
		var track *moq.Track
		if track, _, err = s.Table.Track(path, s.Visible); err != nil {
			return nil, err
		}
		_, cached := track.Largest()
		var sub *moq.Subscription
		if sub, err = track.Subscribe(moq.SubscribeOptions{Priority: moq.DefaultPriority}); err == nil {
			s.countCached(cached)
			return sub, nil
		}
	}
	return nil, err
}

func (s *Server) countCached(cached bool) {
	result := metrics.CacheMiss
	if cached {
		result = metrics.CacheHit
	}
	s.Metrics.CacheRequested(result)
}

// firstChunk waits for the first bytes of the group, or of one of its frames. The
// error is [io.EOF] if there are none.
func firstChunk(ctx context.Context, group *moq.GroupReader, frame *uint64) (moq.Chunk, error) {
	var skip uint64
	if frame != nil {
		skip = *frame
	}
	for {
		chunk, err := group.Next(ctx)
		if err != nil || skip == 0 {
			return chunk, err
		}
		if chunk.End() {
			skip--
		}
	}
}

// breakOff has a write that is blocked end when the relay takes the group back,
// until what it returns is called.
func breakOff(control *http.ResponseController, group *moq.GroupReader) (stop func()) {
	stopped := make(chan struct{})
	var watching sync.WaitGroup
	watching.Go(func() {
		select {
		case <-group.Done():
			_ = control.SetWriteDeadline(time.Unix(1, 0))
		case <-stopped:
		}
	})
	return func() {
		close(stopped)
		watching.Wait()
	}
}

// sendPayloads writes payloads from chunk on, to the end of the frame or of the
// group.
func (s *Server) sendPayloads(ctx context.Context, w http.ResponseWriter, group *moq.GroupReader, chunk moq.Chunk, oneFrame bool) error {
	control := http.NewResponseController(w)
	traffic := s.Metrics.Traffic(metrics.Client)
	for {
		n, err := w.Write(chunk.Payload())
		traffic.EgressBytes.Add(float64(n))
		if err != nil {
			return err
		}
		if chunk.End() {
			traffic.EgressFrames.Inc()
			if oneFrame {
				return nil
			}
			if err := control.Flush(); err != nil {
				return err
			}
		}
		if chunk, err = group.Next(ctx); errors.Is(err, io.EOF) {
			traffic.EgressGroups.Inc()
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// refuseFetch says why there is nothing, and what to do about it.
func (s *Server) refuseFetch(w http.ResponseWriter, ask fetch, err error) {
	_, announced := s.Table.Route(ask.path, s.Visible)
	switch {
	case !announced:
		http.Error(w, fmt.Sprintf("nobody announces %q: GET /announced lists what is", ask.path), http.StatusNotFound)
	case errors.Is(err, io.EOF):
		http.Error(w, fmt.Sprintf("the group of %q has no frame %d: leave frame out for all that it has", ask.path, *ask.frame), http.StatusNotFound)
	case errors.Is(err, moq.ErrTimeout):
		http.Error(w, fmt.Sprintf("nothing of %q came within %v: see that its publisher is sending, and ask again", ask.path, publicTimeout), http.StatusGatewayTimeout)
	case errors.Is(err, moq.ErrOverloaded):
		s.refuseBusy(w)
	case ask.group != nil:
		http.Error(w, fmt.Sprintf("group %d of %q is not to be had: ask for group=latest", *ask.group, ask.path), http.StatusNotFound)
	default:
		http.Error(w, fmt.Sprintf("%q has no group: see that its broadcast has a track of this name", ask.path), http.StatusNotFound)
	}
}

func (s *Server) refuseBusy(w http.ResponseWriter) {
	w.Header().Set("Retry-After", "1")
	http.Error(w, "too much is being asked of this relay: try again in a second", http.StatusServiceUnavailable)
}

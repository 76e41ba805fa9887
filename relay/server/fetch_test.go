package server

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/moqrelay/moqrelay/relay/config"
	"github.com/moqrelay/moqrelay/relay/moq"
	"github.com/moqrelay/moqrelay/relay/origin"
)

// isPublic is what relays let anyone see.
func isPublic(a origin.Announcement) bool { return !a.Path.HasPrefix(moq.NewPath("internal")) }

// tracks is a source of tracks by their names; of others there is none.
type tracks map[string]*moq.Track

func (s tracks) Track(path moq.Path) (*moq.Track, error) {
	if t, ok := s[path.Last()]; ok {
		return t, nil
	}
	return nil, moq.ErrNotFound
}

// announce announces a path until the test ends.
func (r *running) announce(t *testing.T, kind origin.Kind, s origin.Source, hops []origin.Hop, path ...string) {
	t.Helper()
	reg, err := r.Table.Announce(origin.Announcement{Path: moq.NewPath(path...), Kind: kind, Class: origin.Client, Source: s, Hops: hops})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(reg.Withdraw)
}

// track returns a track that has the given groups of frames.
func track(t *testing.T, groups ...[]string) *moq.Track {
	t.Helper()
	track := moq.NewTrack(moq.TrackConfig{Retention: time.Minute})
	for _, frames := range groups {
		g := appendGroup(t, track, frames...)
		if err := g.Finish(); err != nil {
			t.Fatal(err)
		}
	}
	return track
}

func appendGroup(t *testing.T, track *moq.Track, frames ...string) *moq.GroupWriter {
	t.Helper()
	g, err := track.AppendGroup()
	if err != nil {
		t.Fatal(err)
	}
	for _, frame := range frames {
		if err := g.WriteFrame([]byte(frame)); err != nil {
			t.Fatal(err)
		}
	}
	return g
}

func (r *running) get(t *testing.T, path string) (status int, body string, h http.Header) {
	t.Helper()
	return r.do(t, http.MethodGet, "http://"+r.public+path, nil)
}

// TestAnnounced: what is announced, by prefix, sorted, each once, and tracks as
// the broadcasts above them.
func TestAnnounced(t *testing.T) {
	r := start(t)
	none := tracks{}
	r.announce(t, origin.Broadcast, none, []origin.Hop{7, 1 << 60}, "demo", "clip")
	r.announce(t, origin.Broadcast, none, nil, "demo", "clip") // a second publisher
	r.announce(t, origin.Track, none, nil, "demo", "clip", "audio")
	r.announce(t, origin.Track, none, nil, "demo", "cam era", "video")
	r.announce(t, origin.Broadcast, none, nil, "demos")
	r.announce(t, origin.Broadcast, none, nil, "demo")
	r.announce(t, origin.Broadcast, none, nil, "demo", ".hidden")
	for _, odd := range []string{"a/b", "", "..", "a\nb", "\xff", "a\x00"} {
		r.announce(t, origin.Broadcast, none, nil, "demo", odd)
	}
	r.announce(t, origin.Broadcast, none, nil, "internal", "origins", "eu-0")
	for path, want := range map[string]string{
		"/announced":              "demo\ndemo/cam era\ndemo/clip\ndemos\n",
		"/announced/":             "demo\ndemo/cam era\ndemo/clip\ndemos\n",
		"/announced/demo":         "\ncam era\nclip\n",
		"/announced/demo/":        "\ncam era\nclip\n",
		"/announced/demo/clip":    "\n",
		"/announced/nobody":       "",
		"/announced/demo/.hidden": "\n", // to who knows its name
		"/announced?format=text":  "demo\ndemo/cam era\ndemo/clip\ndemos\n",
	} {
		status, body, h := r.get(t, path)
		if status != http.StatusOK || body != want || h.Get("Content-Type") != "text/plain; charset=utf-8" {
			t.Errorf("%s: status %d, %s, %q, want %q", path, status, h.Get("Content-Type"), body, want)
		}
	}
	for path, header := range map[string]http.Header{
		"/announced/demo?format=json": nil,
		"/announced/demo":             {"Accept": {"application/json"}},
	} {
		_, body, h := r.do(t, http.MethodGet, "http://"+r.public+path, header)
		var list []announced
		if err := json.Unmarshal([]byte(body), &list); err != nil || h.Get("Content-Type") != "application/json" {
			t.Fatalf("%s: %v, %s", path, err, h.Get("Content-Type"))
		}
		if len(list) != 3 || list[2].Path != "clip" {
			t.Errorf("%s: %+v", path, list)
		}
	}
	if status, body, _ := r.get(t, "/announced?format=xml"); status != http.StatusBadRequest || !strings.Contains(body, "json") {
		t.Errorf("an unknown format: status %d, %q", status, body)
	}
}

// TestFetch: the payloads of a group, or of a frame of it, and else why not and
// what to do, in one line.
func TestFetch(t *testing.T) {
	r := start(t)
	r.announce(t, origin.Broadcast, tracks{"video": track(t, []string{"key ", "delta"}, []string{"key 1"}, nil)}, nil, "demo", "cam era")
	r.announce(t, origin.Track, tracks{"alone": track(t, []string{"a"}, []string{"b", "c"})}, nil, "alone")
	for _, c := range []struct {
		path   string
		status int
		body   string // all of it, or part of the reason
		group  string
	}{
		{"/fetch/demo/cam%20era/video?group=0", 200, "key delta", "0"},
		{"/fetch/demo/cam%20era/video?group=1", 200, "key 1", "1"},
		{"/fetch/demo/cam%20era/video", 200, "", "2"},
		{"/fetch/alone", 200, "bc", "1"},
		{"/fetch/alone?group=latest&frame=chunked", 200, "bc", "1"},
		{"/fetch/alone?frame=1", 200, "c", "1"},
		{"/fetch/alone?group=0&frame=0", 200, "a", "0"},
		{"/fetch/alone?frame=2", 404, "no frame 2", ""},
		{"/fetch/alone?group=2", 404, "group=latest", ""},
		{"/fetch/demo/cam%20era/audio", 404, "has no group", ""},
		{"/fetch/demo/other/video", 404, "GET /announced", ""},
		{"/fetch/demo/cam%20era", 404, "GET /announced", ""}, // a broadcast and no track
		{"/fetch", 400, "/fetch/BROADCAST/TRACK", ""},
		{"/fetch/", 400, "/fetch/BROADCAST/TRACK", ""},
		{"/fetch/alone?group=-1", 400, "want a number or latest", ""},
		{"/fetch/alone?group=4611686018427387904", 400, "want a number or latest", ""},
		{"/fetch/alone?frame=first", 400, "want a number or chunked", ""},
	} {
		status, body, h := r.get(t, c.path)
		if status != c.status || h.Get("Moq-Group") != c.group || h.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%s: status %d, %q, %v", c.path, status, body, h)
		}
		if status == 200 && (body != c.body || h.Get("Content-Type") != "application/octet-stream") {
			t.Errorf("%s: %s, %q, want %q", c.path, h.Get("Content-Type"), body, c.body)
		}
		if status != 200 && (!strings.Contains(body, c.body) || strings.Count(body, "\n") != 1) {
			t.Errorf("%s: %q, want a line with %q", c.path, body, c.body)
		}
	}
}

// TestFetchWhileProduced: a group that is being produced comes as it is, and its
// subscription holds until it is complete.
func TestFetchWhileProduced(t *testing.T) {
	r := start(t)
	live := track(t)
	r.announce(t, origin.Track, tracks{"live": live}, nil, "live")
	group := appendGroup(t, live, "first")
	resp := r.open(t, "/fetch/live")
	defer func() { _ = resp.Body.Close() }()
	body := make([]byte, len("first"))
	if _, err := io.ReadFull(resp.Body, body); err != nil || string(body) != "first" {
		t.Fatalf("read %q, %v", body, err)
	}
	appendGroup(t, live, "of another group")
	if demand, _ := live.Demand(); demand.Subscribers != 1 {
		t.Errorf("%d subscribers while the group is being produced", demand.Subscribers)
	}
	if err := errors.Join(group.WriteFrame([]byte("second")), group.Finish()); err != nil {
		t.Fatal(err)
	}
	if rest, err := io.ReadAll(resp.Body); err != nil || string(rest) != "second" {
		t.Errorf("then %q, %v", rest, err)
	}
	for demand, changed := live.Demand(); demand.Subscribers > 0; demand, changed = live.Demand() {
		<-changed
	}
	if resp.ContentLength != -1 {
		t.Errorf("length %d was known before", resp.ContentLength)
	}
}

// TestFetchBreaksOff: what is not whole does not look as if it were.
func TestFetchBreaksOff(t *testing.T) {
	r := start(t)
	live := track(t)
	r.announce(t, origin.Track, tracks{"live": live}, nil, "live")
	group := appendGroup(t, live, "first")
	resp := r.open(t, "/fetch/live")
	defer func() { _ = resp.Body.Close() }()
	group.Abort(moq.ErrTruncated)
	if got, err := io.ReadAll(resp.Body); err == nil {
		t.Errorf("a group that was cut short comes as %q and no error", got)
	}
}

// open returns the answer to a GET, whose body is yet to come.
func (r *running) open(t *testing.T, path string) *http.Response {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+r.public+path, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := r.client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	return resp
}

// TestS17FetchesAreBounded: no more than so many at once, and none for longer
// than publicTimeout. One whose group does not come is told so, one whose group
// does not end breaks off.
func TestS17FetchesAreBounded(t *testing.T) {
	t.Parallel()
	r := start(t)
	live := track(t)
	appendGroup(t, live, "never ends")
	r.announce(t, origin.Track, tracks{"silent": track(t)}, nil, "silent")
	r.announce(t, origin.Track, tracks{"live": live}, nil, "live")
	began := time.Now()
	ends := make(chan string, maxAsking)
	endless := r.open(t, "/fetch/live")
	for range maxAsking - 1 {
		go func() {
			resp, err := r.client.Get("http://" + r.public + "/fetch/silent")
			if err != nil {
				ends <- err.Error()
				return
			}
			defer func() { _ = resp.Body.Close() }()
			body, _ := io.ReadAll(resp.Body)
			ends <- fmt.Sprint(resp.StatusCode, " ", string(body))
		}()
	}
	for len(r.asking) < maxAsking {
		time.Sleep(time.Millisecond)
	}
	for _, path := range []string{"/fetch/silent", "/announced"} {
		if status, body, h := r.get(t, path); status != http.StatusServiceUnavailable || h.Get("Retry-After") == "" || strings.Count(body, "\n") != 1 {
			t.Errorf("%s, one too many: status %d, %q, %v", path, status, body, h)
		}
	}
	if status, _, _ := r.get(t, config.PathReady); status != http.StatusOK {
		t.Errorf("the probe meanwhile: status %d", status)
	}
	for range maxAsking - 1 {
		if end := <-ends; !strings.HasPrefix(end, "504 ") || !strings.Contains(end, "publisher") {
			t.Errorf("a group that does not come: %q", end)
		}
	}
	if _, err := io.ReadAll(endless.Body); err == nil {
		t.Error("a group that does not end looks complete")
	}
	_ = endless.Body.Close()
	if took := time.Since(began); took < publicTimeout || took > publicTimeout+answerGrace {
		t.Errorf("took %v, want %v", took, publicTimeout)
	}
	if status, _, _ := r.get(t, "/announced"); status != http.StatusOK {
		t.Errorf("afterwards: status %d", status)
	}
}

// TestS17SlowFetchIsCut: who does not read holds a group for no longer than the
// time of a request.
func TestS17SlowFetchIsCut(t *testing.T) {
	t.Parallel()
	r := start(t)
	large := strings.Repeat("x", 1<<20)
	live := track(t, slices.Repeat([]string{large}, 32))
	r.announce(t, origin.Track, tracks{"live": live}, nil, "live")
	conn, err := net.Dial("tcp", r.public)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	began := time.Now()
	if _, err := io.WriteString(conn, "GET /fetch/live HTTP/1.1\r\nHost: a\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	for len(r.asking) == 0 {
		time.Sleep(time.Millisecond)
	}
	for len(r.asking) > 0 {
		time.Sleep(10 * time.Millisecond)
	}
	if took := time.Since(began); took > publicTimeout+answerGrace+time.Second {
		t.Errorf("held for %v", took)
	}
}

// TestS18OneRequestAtATime: requests on one connection are answered one after the
// other, however many are sent at once, so that a connection holds no more than
// one of the places.
func TestS18OneRequestAtATime(t *testing.T) {
	r := start(t)
	live := track(t)
	group := appendGroup(t, live, "a")
	r.announce(t, origin.Track, tracks{"live": live}, nil, "live")
	conn, err := net.Dial("tcp", r.public)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	const n = 50
	if _, err := io.WriteString(conn, strings.Repeat("GET /fetch/live HTTP/1.1\r\nHost: a\r\n\r\n", n)); err != nil {
		t.Fatal(err)
	}
	reader := bufio.NewReader(conn)
	for i := range n {
		resp, err := http.ReadResponse(reader, nil)
		if err != nil {
			t.Fatalf("answer %d: %v", i, err)
		}
		if len(r.asking) > 1 {
			t.Errorf("%d are being answered", len(r.asking))
		}
		if i == 0 {
			if err := group.Finish(); err != nil {
				t.Fatal(err)
			}
		}
		if body, err := io.ReadAll(resp.Body); err != nil || string(body) != "a" {
			t.Errorf("answer %d: %q, %v", i, body, err)
		}
	}
}

// raw sends a request line as it is, which clients would clean, and returns the
// answer.
func (r *running) raw(t *testing.T, target string) (status int, body string) {
	t.Helper()
	conn, err := net.Dial("tcp", r.public)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	if _, err := fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", target); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	b, _ := io.ReadAll(resp.Body)
	return resp.StatusCode, string(b)
}

// TestS19NoOtherPath: a path that is spelled in another way is refused; none is
// led to a path that it does not show.
func TestS19NoOtherPath(t *testing.T) {
	r := start(t)
	secret := tracks{"t": track(t, []string{"secret"})}
	r.announce(t, origin.Track, secret, nil, "a", "b", "t")
	r.announce(t, origin.Track, tracks{"t": track(t, []string{"slash"})}, nil, "a/b", "t")
	if status, body := r.raw(t, "/fetch/a/b/t"); status != 200 || body != "secret" {
		t.Fatalf("the right one: status %d, %q", status, body)
	}
	for _, path := range []string{
		"a//b/t", "/a/b/t", "a/b/t/", "a/b//t", "a/./b/t", "a/x/../b/t", "../fetch/a/b/t", "a/b/%2e/t", "a/x/%2e%2e/b/t", "a/%2E%2E/a/b/t",
		"a%2fb/t", "a%2Fb%2Ft", "a%00/b/t", "a/b/t%00", "a/b/t%0a", "a/b%7f/t", "%ff/b/t", "a/b/t%", "a/b/%zz", "a\x00/b/t", "a/b/\x7f",
	} {
		if status, body := r.raw(t, "/fetch/"+path); status != http.StatusBadRequest || strings.Contains(body, "secret") {
			t.Errorf("/fetch/%q: status %d, %q, want 400", path, status, body)
		}
		if status, body := r.raw(t, "/announced/"+strings.TrimSuffix(path, "/")); path != "a/b/t/" && status != http.StatusBadRequest {
			t.Errorf("/announced/%q: status %d, %q, want 400", path, status, body)
		}
	}
	for _, target := range []string{"//fetch/a/b/t", "/x/../fetch/a/b/t", "/fetch%2fa/b/t", "/%66etch/a/b/t", "/FETCH/a/b/t", "/fetcha/b/t", "/fetch/A/b/t", "/fetch/a/b/t;x", "/fetch/a%252fb/t"} {
		if status, body := r.raw(t, target); status == http.StatusOK || strings.Contains(body, "secret") {
			t.Errorf("%s: status %d, %q", target, status, body)
		}
	}
	deep := strings.Repeat("/p", origin.MaxPathParts+1)
	long := "/" + strings.Repeat("p", origin.MaxPathBytes+1)
	for _, path := range []string{deep, long} {
		if status, _ := r.raw(t, "/announced"+path); status != http.StatusBadRequest {
			t.Errorf("a path of %d bytes: status %d, want 400", len(path), status)
		}
	}
}

// FuzzS19ParsePath: what a path is read as can be written in one way only, apart
// from escapes, and that is what was read.
func FuzzS19ParsePath(f *testing.F) {
	for _, s := range []string{"", "a/b", "a%20b", "a//b", "..", "%2e%2e", "a%2fb", "%00", "%ff", "é/%C3%A9"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		path, err := parsePath(s)
		if err != nil {
			return
		}
		var parts []string
		for part := range path.All() {
			parts = append(parts, url.PathEscape(part))
		}
		again, err := parsePath(strings.Join(parts, "/"))
		if err != nil || again != path {
			t.Errorf("%q is read as %q, and that as %q, %v", s, path, again, err)
		}
		if plain, err := url.PathUnescape(s); err != nil || plain != strings.Join(path.Parts(), "/") {
			t.Errorf("%q is read as %q", s, path)
		}
	})
}

// TestS20InternalIsClosed: nothing of internal/ is listed or fetched, on no
// spelling of it.
func TestS20InternalIsClosed(t *testing.T) {
	r := start(t)
	secret := tracks{"t": track(t, []string{"secret"})}
	r.announce(t, origin.Broadcast, secret, nil, "internal", "origins", "eu-0")
	r.announce(t, origin.Track, secret, nil, "internal", "t")
	r.announce(t, origin.Track, secret, nil, "internal")
	r.announce(t, origin.Broadcast, tracks{}, nil, "demo")
	for _, path := range []string{
		"internal", "internal/t", "internal/origins", "internal/origins/eu-0", "internal/origins/eu-0/t", "%69nternal/t", "intern%61l/origins/eu-0/t",
		"/internal/t", "./internal/t", "demo/../internal/t", "demo/%2e%2e/internal/t", "internal%2ft", "internal%2forigins%2feu-0/t", "INTERNAL/t", "internal%00/t",
		"internal;/t", "internal\\t", "internal/tracks/internal/t",
	} {
		if status, body := r.raw(t, "/fetch/"+path); status == http.StatusOK || strings.Contains(body, "secret") {
			t.Errorf("/fetch/%s: status %d, %q", path, status, body)
		}
		if status, body := r.raw(t, "/announced/"+path); status == http.StatusOK && body != "" {
			t.Errorf("/announced/%s: %q", path, body)
		}
	}
	for _, target := range []string{"/announced", "/announced/", "/announced?format=json"} {
		if _, body := r.raw(t, target); strings.Contains(body, "internal") || !strings.Contains(body, "demo") {
			t.Errorf("%s: %q", target, body)
		}
	}
}

// TestS28NothingAmbient: a page from elsewhere reads what anyone may, and what a
// browser sends by itself changes nothing.
func TestS28NothingAmbient(t *testing.T) {
	r := start(t)
	r.announce(t, origin.Broadcast, tracks{"t": track(t, []string{"a"})}, nil, "demo")
	foreign := http.Header{
		"Origin": {"https://evil.example"}, "Cookie": {"session=1"}, "Authorization": {"Basic YTpi"}, "Host": {"evil.example"},
	}
	for _, path := range []string{"/announced", "/fetch/demo/t", "/fetch/demo/none", "/fetch/none", "/fetch/a//b", config.PathFingerprint, config.PathFingerprint068, config.PathReady} {
		url := "http://" + r.public + path
		status, body, _ := r.do(t, http.MethodGet, url, nil)
		gotStatus, gotBody, h := r.do(t, http.MethodGet, url, foreign)
		if gotStatus != status || gotBody != body {
			t.Errorf("%s: status %d, %q; without a cookie %d, %q", path, gotStatus, gotBody, status, body)
		}
		if h.Get("Access-Control-Allow-Origin") != "*" || h.Get("Access-Control-Allow-Credentials") != "" || h.Get("Set-Cookie") != "" {
			t.Errorf("%s: %v", path, h)
		}
	}
	for _, method := range []string{http.MethodHead, http.MethodPost, http.MethodPut, http.MethodDelete, http.MethodPatch, http.MethodOptions} {
		for _, path := range []string{"/announced", "/announced/demo", "/fetch/demo/t"} {
			status, _, h := r.do(t, method, "http://"+r.public+path, nil)
			if status != http.StatusMethodNotAllowed || h.Get("Allow") != http.MethodGet {
				t.Errorf("%s %s: status %d, allowed %q", method, path, status, h.Get("Allow"))
			}
		}
	}
}

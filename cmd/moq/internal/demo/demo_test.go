package demo

import (
	"compress/gzip"
	"encoding/json"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
)

var config = Config{
	Cluster: "live",
	CLI:     "bin/moq",
	Status:  "../",
	Nodes: []Node{
		{Name: "eu-0", Region: "eu", Role: "node", URL: "http://127.0.0.1:4451"},
		{Name: "us-0", Region: "us", Role: "node", URL: "https://us.example:443"},
	},
}

// built is a page as `make page` leaves it.
var built = fstest.MapFS{
	".keep":              {},
	"index.html":         {Data: []byte(`<!doctype html><base href="/"><script type="module" src="./assets/index-a1.js"></script>`)},
	"assets/index-a1.js": {Data: []byte("console.log(1);" + strings.Repeat(" ", 1000))},
}

// ask asks h for a path and returns the answer.
func ask(t *testing.T, h http.Handler, path string, headers ...string) *http.Response {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, http.NoBody)
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Result()
}

func body(t *testing.T, r *http.Response) string {
	t.Helper()
	b, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func newPage(files fs.FS) http.Handler {
	return newHandler(files, "/demo/", func() Config { return config })
}

func TestServe(t *testing.T) {
	page := newPage(built)
	cases := map[string]struct {
		reason  string
		path    string
		status  int
		kind    string
		caching string
		has     string
	}{
		"front":       {"the page", "/demo/", 200, "text/html; charset=utf-8", "no-cache", `<base href="/demo/">`},
		"address":     {"every view is the same page, and its base leads to its files", "/demo/watch/demo/clip", 200, "text/html; charset=utf-8", "no-cache", `<base href="/demo/">`},
		"script":      {"a file whose name has its hash never changes", "/demo/assets/index-a1.js", 200, "text/javascript; charset=utf-8", "public, max-age=31536000, immutable", "console.log"},
		"old script":  {"a file of another version is not the page", "/demo/assets/index-b2.js", 404, "text/plain; charset=utf-8", "", ""},
		"config":      {"what the page knows is asked anew", "/demo/config.json", 200, "application/json", "no-store", `"eu-0"`},
		"outside":     {"only what is below the base is served", "/other", 404, "text/plain; charset=utf-8", "", ""},
		"placeholder": {"nothing but the page is there", "/demo/.keep", 200, "application/octet-stream", "no-cache", ""},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			r := ask(t, page, c.path)
			if r.StatusCode != c.status || r.Header.Get("Content-Type") != c.kind || r.Header.Get("Cache-Control") != c.caching {
				t.Errorf("%s: %d, %q, %q; want %d, %q, %q", c.reason, r.StatusCode, r.Header.Get("Content-Type"), r.Header.Get("Cache-Control"), c.status, c.kind, c.caching)
			}
			if got := body(t, r); !strings.Contains(got, c.has) {
				t.Errorf("%s: %q is not in %q", c.reason, c.has, got)
			}
		})
	}
}

// TestConnectsToRelaysOnly: the page reaches its own server and the relays, over
// what they speak.
func TestConnectsToRelaysOnly(t *testing.T) {
	policy := ask(t, newPage(built), "/demo/").Header.Get("Content-Security-Policy")
	connect := regexp.MustCompile(`connect-src ([^;]*)`).FindStringSubmatch(policy)[1]
	want := "'self' https://127.0.0.1:4451 wss://127.0.0.1:4451 http://127.0.0.1:4451 ws://127.0.0.1:4451 https://us.example:443 wss://us.example:443"
	if diff := cmp.Diff(want, connect); diff != "" {
		t.Errorf("connect-src (-want +got):\n%s", diff)
	}
	if strings.Contains(policy, "unsafe-inline") || strings.Contains(policy, "'unsafe-eval'") {
		t.Errorf("the policy allows scripts that are not files: %s", policy)
	}
}

func TestPolicyTakesNoDirectivesFromNodes(t *testing.T) {
	got := policy(Config{Nodes: []Node{{URL: "http://a;script-src *"}, {URL: "%"}, {URL: ""}}})
	if want := "connect-src 'self';"; !strings.Contains(got, want) {
		t.Errorf("policy %q, want %q in it", got, want)
	}
}

func TestCompresses(t *testing.T) {
	page := newPage(built)
	r := ask(t, page, "/demo/assets/index-a1.js", "Accept-Encoding", "br, gzip")
	if r.Header.Get("Content-Encoding") != "gzip" || r.Header.Get("Vary") != "Accept-Encoding" {
		t.Errorf("headers %v, want it compressed", r.Header)
	}
	z, err := gzip.NewReader(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := io.ReadAll(z)
	if err != nil || string(raw) != string(built["assets/index-a1.js"].Data) {
		t.Errorf("%q, %v", raw, err)
	}
	if r := ask(t, page, "/demo/assets/index-a1.js", "Accept-Encoding", "gzip;q=0"); r.Header.Get("Content-Encoding") != "" {
		t.Error("compressed for who does not take it")
	}
	tag := r.Header.Get("ETag")
	if r := ask(t, page, "/demo/assets/index-a1.js", "Accept-Encoding", "gzip", "If-None-Match", tag); r.StatusCode != http.StatusNotModified {
		t.Errorf("asked again with its tag: %d, want 304", r.StatusCode)
	}
}

// TestSaysHowToBuild: a program without the page says how to get it, at every
// address, and still tells scripts about the cluster.
func TestSaysHowToBuild(t *testing.T) {
	page := newPage(fstest.MapFS{".keep": {}})
	r := ask(t, page, "/demo/watch/demo/clip")
	text := body(t, r)
	if r.StatusCode != http.StatusServiceUnavailable || !strings.Contains(text, "make page") || !strings.Contains(text, `href="/"`) {
		t.Errorf("%d\n%s", r.StatusCode, text)
	}
	var got Config
	if err := json.Unmarshal([]byte(body(t, ask(t, page, "/demo/config.json"))), &got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(config, got); diff != "" {
		t.Errorf("config (-want +got):\n%s", diff)
	}
}

// TestU39Small: what any view loads is at most 250 kB, and nothing in it comes
// from elsewhere.
func TestU39Small(t *testing.T) {
	if !Built() {
		t.Skip(`the page is not built: "make page" builds it`)
	}
	files, err := read(dist(), "/demo/")
	if err != nil {
		t.Fatal(err)
	}
	const limit = 250_000
	total := 0
	for name, f := range files {
		if strings.HasSuffix(name, ".md") || strings.Contains(name, "libav") { // for people; loaded by browsers without Opus
			continue
		}
		size := len(f.raw)
		if f.gzipped != nil {
			size = len(f.gzipped)
		}
		total += size
	}
	t.Logf("%d kB of %d", total/1000, limit/1000)
	if total > limit {
		t.Errorf("all views together are %d bytes compressed, want at most %d", total, limit)
	}
	for _, reference := range regexp.MustCompile(`(?:src|href)="([^"]*)"`).FindAllStringSubmatch(string(files[index].raw), -1) {
		if strings.Contains(reference[1], "//") {
			t.Errorf("the page loads %s", reference[1])
		}
	}
}

// Package demo serves the page on which people publish in one region and watch
// in another. The page is made by `make page` from hack/page and embedded here;
// in a program that was built without it, the handler says how to get it.
//
// What always holds: what it serves loads nothing from another origin, runs no
// script that is not a file of its own, and connects to its own server and to
// the relays of its configuration only.
package demo

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"html"
	"io"
	"io/fs"
	"mime"
	"net/http"
	"net/url"
	"path"
	"strings"
	"sync"
)

// bundle is empty but for a placeholder until `make page` has run.
//
//go:embed all:dist
var bundle embed.FS

// index is the file that every address of the page leads to.
const index = "index.html"

// Config is what the page knows about the cluster.
type Config struct {
	Cluster string `json:"cluster"`
	// CLI is how people call the command line client.
	CLI string `json:"cli"`
	// Status is the address of the status page, relative to the page's own;
	// empty if there is none.
	Status string `json:"status"`
	Nodes  []Node `json:"nodes"`
}

// Node is a relay that the page offers.
type Node struct {
	Name   string `json:"name"`
	Region string `json:"region"`
	Role   string `json:"role"` // root or node
	// URL is for clients; with http, browsers pin the certificate that the relay
	// names there.
	URL string `json:"url"`
}

// Built reports whether this program has the page in it.
func Built() bool { return isBuilt(dist()) }

func dist() fs.FS {
	files, err := fs.Sub(bundle, "dist")
	if err != nil {
		panic("BUG: " + err.Error())
	}
	return files
}

func isBuilt(files fs.FS) bool {
	_, err := fs.Stat(files, index)
	return err == nil
}

// Handler serves the page at base, a path with a slash at both ends. config is
// asked for every visitor.
func Handler(base string, config func() Config) http.Handler { return newHandler(dist(), base, config) }

// handler serves the files of a bundle.
type handler struct {
	base   string
	config func() Config
	built  bool
	files  func() (map[string]file, error)
}

// file is a file as it is sent.
type file struct {
	raw, gzipped []byte // gzipped is nil where it would be no smaller
	kind, tag    string
}

func newHandler(files fs.FS, base string, config func() Config) *handler {
	return &handler{
		base:   base,
		config: config,
		built:  isBuilt(files),
		files:  sync.OnceValues(func() (map[string]file, error) { return read(files, base) }),
	}
}

func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	config := h.config()
	header := w.Header()
	header.Set("Content-Security-Policy", policy(config))
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("Referrer-Policy", "no-referrer")
	// Alone with its own, the page may share memory with what plays its sound.
	header.Set("Cross-Origin-Opener-Policy", "same-origin")
	header.Set("Cross-Origin-Embedder-Policy", "require-corp")
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		header.Set("Allow", "GET, HEAD")
		http.Error(w, "this page is for reading", http.StatusMethodNotAllowed)
		return
	}
	name := strings.TrimPrefix(r.URL.Path, h.base)
	switch {
	case !strings.HasPrefix(r.URL.Path, h.base):
		http.NotFound(w, r)
	case name == "config.json":
		header.Set("Content-Type", "application/json")
		header.Set("Cache-Control", "no-store")
		_ = json.NewEncoder(w).Encode(config)
	case !h.built:
		h.serveRemedy(w, config)
	default:
		h.serveFile(w, r, name)
	}
}

// serveFile sends a file, or the page to whoever asks for an address of it.
func (h *handler) serveFile(w http.ResponseWriter, r *http.Request, name string) {
	files, err := h.files()
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	header := w.Header()
	f, ok := files[name]
	switch {
	case !ok && strings.HasPrefix(name, "assets/"):
		http.NotFound(w, r) // of another version: the page is to load again, not to read itself
		return
	case !ok:
		f = files[index]
		header.Set("Cache-Control", "no-cache")
	case strings.HasPrefix(name, "assets/"):
		header.Set("Cache-Control", "public, max-age=31536000, immutable") // its name has its hash
	default:
		header.Set("Cache-Control", "no-cache")
	}
	header.Set("Content-Type", f.kind)
	header.Set("Vary", "Accept-Encoding")
	body, tag := f.raw, f.tag
	if f.gzipped != nil && acceptsGzip(r.Header.Get("Accept-Encoding")) {
		header.Set("Content-Encoding", "gzip")
		body, tag = f.gzipped, f.tag+"-gzip"
	}
	header.Set("ETag", `"`+tag+`"`)
	if strings.Contains(r.Header.Get("If-None-Match"), `"`+tag+`"`) {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	header.Set("Content-Length", fmt.Sprint(len(body)))
	if r.Method == http.MethodGet {
		_, _ = w.Write(body)
	}
}

// serveRemedy says how to get the page.
func (h *handler) serveRemedy(w http.ResponseWriter, config Config) {
	header := w.Header()
	header.Set("Content-Type", "text/html; charset=utf-8")
	header.Set("Cache-Control", "no-store")
	w.WriteHeader(http.StatusServiceUnavailable)
	back := ""
	if config.Status != "" {
		base := &url.URL{Path: h.base}
		if status, err := base.Parse(config.Status); err == nil {
			back = fmt.Sprintf(`<p><a href="%s">Status of the network</a></p>`, html.EscapeString(status.Path))
		}
	}
	_, _ = io.WriteString(w, `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1"><title>moqrelay</title></head>
<body><h1>The page is not in this program</h1>
<p>It was built without it. Run <code>make page</code>, which needs Node.js 20.19 or later, then <code>make build</code>, and start it again.</p>
`+back+"</body></html>\n")
}

// policy is the content security policy: files of the page's own, and
// connections to the relays.
func policy(c Config) string {
	connect := []string{"'self'"}
	for _, n := range c.Nodes {
		u, err := url.Parse(n.URL)
		if err != nil || u.Host == "" || strings.ContainsAny(u.Host, " ;,'") {
			continue
		}
		connect = append(connect, "https://"+u.Host, "wss://"+u.Host) // WebTransport is https
		if u.Scheme == "http" {
			connect = append(connect, "http://"+u.Host, "ws://"+u.Host)
		}
	}
	return strings.Join([]string{
		"default-src 'self'",
		"connect-src " + strings.Join(connect, " "),
		"script-src 'self' blob: 'wasm-unsafe-eval'", // the packages that play make their sound worklet a blob; Opus is wasm where browsers lack it
		"worker-src 'self' blob:",
		"media-src 'self' blob: mediastream:",
		"object-src 'none'", "base-uri 'self'", "form-action 'self'", "frame-ancestors 'self'",
	}, "; ")
}

// acceptsGzip reports whether an Accept-Encoding header takes gzip.
func acceptsGzip(accept string) bool {
	for coding := range strings.SplitSeq(accept, ",") {
		name, weight, _ := strings.Cut(strings.TrimSpace(coding), ";")
		if strings.EqualFold(strings.TrimSpace(name), "gzip") {
			w := strings.TrimSpace(weight)
			return w != "q=0" && w != "q=0.0"
		}
	}
	return false
}

// read takes in every file, once, as it will be sent.
func read(files fs.FS, base string) (map[string]file, error) {
	all := make(map[string]file)
	err := fs.WalkDir(files, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		raw, err := fs.ReadFile(files, name)
		if err != nil {
			return err
		}
		if name == index {
			raw = bytes.Replace(raw, []byte(`<base href="/">`), []byte(`<base href="`+html.EscapeString(base)+`">`), 1)
		}
		sum := sha256.Sum256(raw)
		f := file{raw: raw, kind: kind(name), tag: hex.EncodeToString(sum[:8])}
		if zipped, err := compress(raw); err != nil {
			return err
		} else if len(zipped) < len(raw) {
			f.gzipped = zipped
		}
		all[name] = f
		return nil
	})
	if _, ok := all[index]; err == nil && !ok {
		err = errors.New("the page has no " + index)
	}
	return all, err
}

func kind(name string) string {
	switch ext := path.Ext(name); ext {
	case ".js", ".mjs": // not what the machine's table says: some say text/plain
		return "text/javascript; charset=utf-8"
	case ".wasm":
		return "application/wasm"
	case ".md":
		return "text/plain; charset=utf-8"
	default:
		if t := mime.TypeByExtension(ext); t != "" {
			return t
		}
		return "application/octet-stream"
	}
}

func compress(raw []byte) ([]byte, error) {
	var out bytes.Buffer
	w, err := gzip.NewWriterLevel(&out, gzip.BestCompression)
	if err != nil {
		return nil, err
	}
	if _, err := w.Write(raw); err != nil {
		return nil, err
	}
	err = w.Close()
	return out.Bytes(), err
}

package page

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fakeNode answers as a relay's private port does.
func fakeNode(t *testing.T, egress *atomic.Int64) *httptest.Server {
	t.Helper()
	mux := http.NewServeMux()
	mux.HandleFunc("/nodes", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, `{"node":"localhost:4451","region":"eu","role":"node","draining":false,"peers":[{"node":"localhost:4443","connected":true}]}`)
	})
	mux.HandleFunc("/sessions", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `[{"session":"a1","peer":""}]`) })
	mux.HandleFunc("/broadcasts", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, `[{"broadcast":"demo/clip/video1","source":""},{"broadcast":"demo/clip/video1","source":"us-0"},{"broadcast":"internal/origins/x","source":""}]`)
	})
	mux.HandleFunc("/metrics", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, "# TYPE moq_relay_egress_bytes_total counter\nmoq_relay_egress_bytes_total{peer=\"client\"} %d\nmoq_relay_egress_bytes_total{peer=\"node\"} 1\n", egress.Load())
	})
	s := httptest.NewServer(mux)
	t.Cleanup(s.Close)
	return s
}

func TestLook(t *testing.T) {
	var egress atomic.Int64
	node := fakeNode(t, &egress)
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	c := newCollector(func() []Target {
		return []Target{
			{Name: "eu-0", Node: "localhost:4451", Region: "eu", Role: "node", Private: node.URL},
			{Name: "us-0", Node: "localhost:4461", Region: "us", Role: "node", Private: gone.URL},
		}
	})
	first := c.look(t.Context(), "live")
	if first.Nodes[0].EgressBits != nil {
		t.Errorf("a rate after the first look: %v", *first.Nodes[0].EgressBits)
	}
	last := c.last["eu-0"]
	last.at = last.at.Add(-time.Second)
	c.last["eu-0"] = last
	egress.Store(125_000)
	state := c.look(t.Context(), "live")

	if got := state.Nodes[0].State; got != "up" {
		t.Errorf("state of eu-0 is %q, want up", got)
	}
	if bits := state.Nodes[0].EgressBits; bits == nil || *bits < 500_000 || *bits > 1_000_100 {
		t.Errorf("egress of eu-0 is %v, want about 1 Mb/s", bits)
	}
	if n := len(state.Nodes[0].EgressSeries); n != 1 {
		t.Errorf("%d rates in the series, want 1", n)
	}
	if got := state.Nodes[1]; got.State != "no answer" || got.Info != nil || got.EgressBits != nil {
		t.Errorf("a node that does not answer is shown as %+v", got)
	}
	want := []Broadcast{{Broadcast: "demo/clip/video1", Source: "eu-0", KnownAt: []string{"eu-0"}}}
	if diff := cmp.Diff(want, state.Broadcasts); diff != "" {
		t.Errorf("broadcasts (-want +got):\n%s", diff)
	}
}

func TestServe(t *testing.T) {
	var egress atomic.Int64
	node := fakeNode(t, &egress)
	demo := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "demo at ", r.URL.Path) })
	s := New("live", func() []Target { return []Target{{Name: "eu-0", Private: node.URL}} }, demo)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- s.Run(ctx, l) }()
	base := "http://" + l.Addr().String()
	client := &http.Client{Transport: &http.Transport{}}

	index := get(t, client, base+"/")
	body := bufio.NewScanner(index.Body)
	for body.Scan() {
		if strings.Contains(body.Text(), "//") {
			t.Errorf("the page loads something from elsewhere: %s", body.Text())
		}
	}
	if csp := index.Header.Get("Content-Security-Policy"); csp != "default-src 'self'" {
		t.Errorf("content security policy %q", csp)
	}
	_ = index.Body.Close()

	mounted := get(t, client, base+"/demo/watch/clip")
	if text, err := io.ReadAll(mounted.Body); err != nil || string(text) != "demo at /demo/watch/clip" {
		t.Errorf("the demo says %q, %v", text, err)
	}
	_ = mounted.Body.Close()

	events := get(t, client, base+"/events")
	line, err := bufio.NewReader(events.Body).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	var state State
	if err := json.Unmarshal([]byte(strings.TrimPrefix(line, "data: ")), &state); err != nil || state.Cluster != "live" || len(state.Nodes) != 1 {
		t.Errorf("first event %q: %v", line, err)
	}
	_ = events.Body.Close()

	cancel()
	if err := <-ended; err != nil {
		t.Errorf("Run: %v", err)
	}
	client.CloseIdleConnections()
}

func get(t *testing.T, client *http.Client, url string) *http.Response {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	if resp.StatusCode != http.StatusOK {
		t.Fatalf("GET %s: %s", url, resp.Status)
	}
	return resp
}

package main

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	demopage "github.com/moqrelay/moqrelay/cmd/moq/internal/demo"
)

// TestPage: the page offers the relays that it was told of, at the address that
// it prints, and ends well.
func TestPage(t *testing.T) {
	if !demopage.Built() {
		r := start(t, nil, "page", "--node", "eu-0,eu,http://127.0.0.1:1").wait(exitFailed)
		if problem, hint := twoLines(t, r.stderr.String()); !strings.Contains(problem, "not in this program") || !strings.Contains(hint, "make page") {
			t.Errorf("says %s\n%s", problem, hint)
		}
		t.Skip(`the page is not built: "make page" builds it`)
	}
	r := start(t, nil, "page", "--listen", "127.0.0.1:0", "--base", "/demo/", "--cluster", "tv", "--status", "../",
		"--node", "eu-0,eu,http://127.0.0.1:4451", "--node", "us,,https://us.example.com")
	r.awaitOutput(&r.stdout, "/demo/\n")
	base := strings.TrimSpace(r.stdout.String())
	if !strings.HasPrefix(base, "http://localhost:") {
		t.Errorf("its address is %q, want localhost, which browsers trust", base)
	}
	var got demopage.Config
	if err := json.Unmarshal(get(t, base+"config.json"), &got); err != nil {
		t.Fatal(err)
	}
	want := demopage.Config{Cluster: "tv", CLI: "moq", Status: "../", Nodes: []demopage.Node{
		{Name: "eu-0", Region: "eu", Role: "node", URL: "http://127.0.0.1:4451"},
		{Name: "us", Role: "node", URL: "https://us.example.com"},
	}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("what it knows (-want +got):\n%s", diff)
	}
	// By a link without the last slash as well.
	if text := string(get(t, strings.TrimSuffix(base, "/"))); !strings.Contains(text, `<base href="/demo/">`) {
		t.Errorf("the page is %.200q", text)
	}
	http.DefaultClient.CloseIdleConnections()
	r.interrupt(exitDone)
}

// get returns what is at url.
func get(t *testing.T, url string) []byte {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("GET %s: %s, %v", url, resp.Status, err)
	}
	return text
}

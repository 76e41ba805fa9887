package relay_test

import (
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/moqrelay/moqrelay/relay/config"
	"github.com/moqrelay/moqrelay/relay/moq"
	"github.com/moqrelay/moqrelay/relay/session/protocols"
)

// TestHTTPFetch: what clients publish, in old protocols and new ones, is listed
// and fetched over HTTP, with TLS and without.
func TestHTTPFetch(t *testing.T) {
	address := runOnLoopback(t)
	for i, from := range []speaker{{protocol: protocols.MoqTransfork}, {protocol: "moq-lite-03"}, {protocol: "moq-lite-05"}, {protocol: "moq-lite-06", webTransport: true}} {
		t.Run(from.String(), func(t *testing.T) {
			target := address
			if from.webTransport {
				target = "https://" + address + "/"
			}
			publisher := dialQUIC(t, target, from)
			name := fmt.Sprint("cam ", i)
			published := publisher.Publish("demo", name, "video")
			published.SetInfo(moq.Info{Timescale: 90_000})
			for i, group := range frames {
				publishGroup(t, published, group, uint64(i)*90_000)
			}
			base := []string{"http://", "https://"}[i%2] + address
			for list := ""; !strings.Contains(list, name+"\n"); {
				list = wantHTTP(t, base+"/announced/demo", 200)
			}
			path := "/fetch/demo/cam%20" + fmt.Sprint(i) + "/video"
			if got := wantHTTP(t, base+path, 200); got != strings.Join(frames[2], "") {
				t.Errorf("the latest group is %q", got)
			}
			if !from.hasTimestamps() {
				return // such a publisher cannot be asked for a group
			}
			if got := wantHTTP(t, base+path+"?group=1", 200); got != strings.Join(frames[1], "") {
				t.Errorf("group 1 has %d bytes, want %d from the publisher", len(got), len(frames[1][0]))
			}
			if got := wantHTTP(t, base+path+"?group=0&frame=1", 200); got != frames[0][1] {
				t.Errorf("frame 1 of group 0 is %q", got)
			}
			wantHTTP(t, base+path+"?group=9", 404)
			wantHTTP(t, base+"/fetch/demo/nobody/video", 404)
		})
	}
}

// TestS20HTTPShowsNoNode: over HTTP nobody learns of nodes, not even where every
// client does.
func TestS20HTTPShowsNoNode(t *testing.T) {
	for _, isOpen := range []bool{false, true} {
		r, address := startOnLoopback(t, func(c *config.Config) { c.ClusterOpen = isOpen })
		r.Introduce("eu-0:4443")
		if list := wantHTTP(t, "http://"+address+"/announced", 200); list != "" {
			t.Errorf("open: %t: %q is announced", isOpen, list)
		}
		if list := wantHTTP(t, "http://"+address+"/announced/internal/origins", 200); list != "" {
			t.Errorf("open: %t: %q is announced", isOpen, list)
		}
		wantHTTP(t, "http://"+address+"/fetch/internal/origins/eu-0:4443", 404)
		wantHTTP(t, "http://"+address+"/fetch/internal/origins/eu-0:4443/x", 404)
	}
}

// wantHTTP returns the answer to a GET, which has to have that status.
func wantHTTP(t *testing.T, url string, status int) (body string) {
	t.Helper()
	transport := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableKeepAlives: true}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := (&http.Client{Transport: transport}).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if resp.StatusCode != status {
		t.Fatalf("%s: status %d, %q, want %d", url, resp.StatusCode, b, status)
	}
	return string(b)
}

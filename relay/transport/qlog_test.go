package transport

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/moqrelay/moqrelay/relay/qlog"
)

// TestQlogByID: the file of a connection is named by its id, is there once the
// connection is a session, and has no event of HTTP/3, whose requests can have
// tokens. What is not sampled has an id all the same.
func TestQlogByID(t *testing.T) {
	for _, sample := range []float64{1, 0} {
		path := t.TempDir()
		d, err := qlog.Open(qlog.Config{
			Path: path, Sample: sample, MaxBytes: 1 << 30,
			Log: slog.New(slog.DiscardHandler), Dropped: func(qlog.DropReason) {},
		})
		if err != nil {
			t.Fatal(err)
		}
		files := make(map[string]bool) // by id, whether there should be one
		eachWay(t, ServerConfig{Qlog: d}, func(_ *testNet, client, server Conn) {
			if !regexp.MustCompile("^[0-9a-f]{12}$").MatchString(server.ID()) || server.ID() == client.ID() {
				t.Errorf("the ids are %q and %q", server.ID(), client.ID())
			}
			server.Qlog().Keep()
			files[server.ID()] = sample == 1 && server.Kind() != WebSocket
			_ = server.CloseWithError(7, "done")
		})
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		d.Run(ctx) // writes what there is
		for id, want := range files {
			content, err := os.ReadFile(filepath.Join(path, id+qlog.Extension))
			if (err == nil) != want {
				t.Errorf("%s: %v, want a file: %t", id, err, want)
			}
			text := string(content)
			if want && (!strings.Contains(text, "transport:packet_sent") || !strings.Contains(text, "transport:connection_closed")) {
				t.Errorf("%s lacks events", id)
			}
			if strings.Contains(text, "http3") || strings.Contains(text, "c=d") {
				t.Errorf("%s has the request", id)
			}
		}
	}
}

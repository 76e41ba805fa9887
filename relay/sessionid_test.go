package relay_test

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/moqrelay/moqrelay/relay"
	"github.com/moqrelay/moqrelay/relay/config"
	"github.com/moqrelay/moqrelay/relay/server"
)

// TestU32SessionID: one id finds a session in the log, at /sessions and among
// the qlog files. A session over WebSocket, which is not over QUIC, has no file.
func TestU32SessionID(t *testing.T) {
	var ids []string
	dir := t.TempDir()
	t.Cleanup(func() { // when the relay has stopped
		var want []string
		for _, id := range ids {
			want = append(want, id+".sqlog")
		}
		slices.Sort(want)
		if diff := cmp.Diff(want, namesIn(t, dir)); diff != "" {
			t.Errorf("files (-want +got):\n%s", diff)
		}
	})
	private, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	lines := new(lockedBuffer)
	env := relay.Environment{
		Sockets: relay.Sockets{Private: private},
		Log:     slog.New(slog.NewJSONHandler(lines, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}
	_, address := startWith(t, env, func(c *config.Config) { c.QlogDir = dir })
	for _, s := range writtenSpeakers {
		target := address
		if s.webTransport {
			target = "https://" + address + "/"
		}
		dialQUIC(t, target, s)
		id := newSession(t, private, ids)
		ids = append(ids, id)
		if got := accepted(t, lines, id); got != transportName(s) {
			t.Errorf("%v: the log has session %s accepted over %q", s, id, got)
		}
		until(t, "its file is there", func() bool { return slices.Contains(namesIn(t, dir), id+".sqlog") })
	}
	dialWebSocket(t, address, "moq-lite-06")
	if id := newSession(t, private, ids); accepted(t, lines, id) != "websocket" {
		t.Errorf("no line of the log has session %s", id)
	}
}

// newSession returns the id of the session at /sessions that is not among those
// known.
func newSession(t *testing.T, private net.Listener, known []string) (id string) {
	t.Helper()
	until(t, "it is at /sessions", func() bool {
		var infos []server.SessionInfo
		if err := json.Unmarshal([]byte(wantHTTP(t, "http://"+private.Addr().String()+"/sessions", 200)), &infos); err != nil {
			t.Fatal(err)
		}
		for _, info := range infos {
			if !slices.Contains(known, info.Session) {
				id = info.Session
				return true
			}
		}
		return false
	})
	return id
}

// accepted returns the transport of a session in the line of the log about its
// beginning, "" if there is none.
func accepted(t *testing.T, lines *lockedBuffer, id string) string {
	t.Helper()
	for text := range strings.Lines(lines.String()) {
		var line struct{ Msg, Session, Transport string }
		if err := json.Unmarshal([]byte(text), &line); err != nil {
			t.Fatalf("%v in %q", err, text)
		}
		if line.Msg == "session accepted" && line.Session == id {
			return line.Transport
		}
	}
	return ""
}

// until waits for something that is about to happen.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not in time: %s", what)
		}
	}
}

// lockedBuffer is what a relay says.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

package relay_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/moqrelay/moqrelay/relay"
	"github.com/moqrelay/moqrelay/relay/config"
	"github.com/moqrelay/moqrelay/relay/moq"
	"github.com/moqrelay/moqrelay/relay/relaytest"
	"github.com/moqrelay/moqrelay/relay/session/protocols"
)

// writtenSpeakers are those whose sessions have a qlog file.
var writtenSpeakers = []speaker{
	{protocol: protocols.MoqTransfork},
	{protocol: "moq-lite-06"},
	{protocol: "moq-lite-06", webTransport: true},
}

// TestU31Qlog: the file of a session is a JSON text sequence with the events of
// QUIC and those of MoQ, from the handshake to the end.
func TestU31Qlog(t *testing.T) {
	for _, s := range writtenSpeakers {
		t.Run(s.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				dir := t.TempDir()
				n := relaytest.NewNetwork(t, 5*time.Millisecond)
				node := n.Start("relay", nil, func(c *config.Config) { c.QlogDir = dir })
				viewer := n.DialSpeaking("viewer", node, s.config())
				watchAnd(t, n.Dial("camera", node), viewer)
				viewer.Close()
				node.Stop()

				files := filesOf(t, dir)
				if len(files) != 2 {
					t.Fatalf("%d files, want one for each session", len(files))
				}
				file := files[slices.IndexFunc(files, func(f []record) bool { return slices.ContainsFunc(f, isSubscribed) })]
				names := make(map[string]int)
				for i, r := range file {
					names[r.Name]++
					if i > 0 && r.Time < file[0].Time {
						t.Errorf("record %d is of %v ms, the first one of %v", i, r.Time, file[0].Time)
					}
				}
				for _, want := range []string{
					"transport:connection_started", "transport:parameters_set", "transport:packet_received",
					"transport:packet_sent", "recovery:metrics_updated", "transport:connection_closed",
					"moq:session_started", "moq:subscribed", "moq:unsubscribed", "moq:session_ended",
				} {
					if names[want] == 0 {
						t.Errorf("there is no %s among %v", want, names)
					}
				}
				for _, r := range file {
					if r.Name == "moq:session_started" && (r.Data["protocol"] != metricName(s.protocol) || r.Data["transport"] != transportName(s)) {
						t.Errorf("it began as %v", r.Data)
					}
				}
			})
		})
	}
}

func isSubscribed(r record) bool {
	return r.Name == "moq:subscribed" && strings.Contains(fmt.Sprint(r.Data["track"]), "demo")
}

// metricName is a protocol as the metrics call it.
func metricName(protocol string) string {
	if protocol == protocols.MoqTransfork {
		return "moq-transfork"
	}
	return protocol
}

func transportName(s speaker) string {
	if s.webTransport {
		return "webtransport"
	}
	return "quic"
}

// TestQlogOfLinks: a link has a file at both ends, and the two say of themselves
// that they are of one connection.
func TestQlogOfLinks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		n := relaytest.NewNetwork(t, 5*time.Millisecond)
		write := func(c *config.Config) { c.QlogDir = dir }
		n.Start("root", nil, write)
		n.Start("node", []string{"root"}, write)
		time.Sleep(3 * time.Second)
		groups := make(map[string][]string) // vantage points
		for _, name := range namesIn(t, dir) {
			content, err := os.ReadFile(filepath.Join(dir, name))
			if err != nil {
				t.Fatal(err)
			}
			head, _, _ := bytes.Cut(content[1:], []byte{'\n'})
			var h struct {
				Trace struct {
					Vantage struct{ Type string } `json:"vantage_point"`
					Common  struct {
						Group string `json:"group_id"`
					} `json:"common_fields"`
				}
			}
			if err := json.Unmarshal(head, &h); err != nil {
				t.Fatal(err)
			}
			groups[h.Trace.Common.Group] = append(groups[h.Trace.Common.Group], h.Trace.Vantage.Type)
		}
		for group, ends := range groups {
			if slices.Sort(ends); slices.Equal(ends, []string{"client", "server"}) {
				return
			}
			t.Logf("%s: %v", group, ends)
		}
		t.Error("no connection is written at both ends")
	})
}

// stuck is a file on a disk that does not answer.
type stuck struct{ gone <-chan struct{} }

func (f stuck) Write(p []byte) (int, error) {
	<-f.gone
	return len(p), nil
}
func (f stuck) Close() error { return nil }

// full is a file on a disk without room.
type full struct{ room int }

var errFull = errors.New("no space left on device")

func (f *full) Write(p []byte) (int, error) {
	if f.room -= len(p); f.room < 0 {
		return 0, errFull
	}
	return len(p), nil
}
func (f *full) Close() error { return nil }

// TestU31BadDisk: a disk that does not answer, is full, or is gone harms no
// session, is told of in one line, and holds up no stop.
func TestU31BadDisk(t *testing.T) {
	gone := make(chan struct{})
	t.Cleanup(func() { close(gone) })
	for name, tc := range map[string]struct {
		create func(string) (io.WriteCloser, error)
		warns  string
	}{
		"does not answer": {func(string) (io.WriteCloser, error) { return stuck{gone}, nil }, "does not answer"},
		"is full":         {func(string) (io.WriteCloser, error) { return &full{5000}, nil }, "no space left"},
		"is gone":         {func(string) (io.WriteCloser, error) { return nil, os.ErrPermission }, "permission denied"},
	} {
		for _, s := range writtenSpeakers {
			t.Run(name+"/"+s.String(), func(t *testing.T) {
				t.Parallel() // a stop waits two seconds for a disk
				lines := new(lockedBuffer)
				t.Cleanup(func() { // when the relay has stopped
					if got := strings.Count(lines.String(), "level=WARN"); got != 1 || !strings.Contains(lines.String(), tc.warns) {
						t.Errorf("%d warnings, want one that says %q:\n%s", got, tc.warns, lines)
					}
				})
				env := relay.Environment{Log: slog.New(slog.NewTextHandler(lines, nil)), CreateQlog: tc.create}
				r, address := startWith(t, env, func(c *config.Config) { c.QlogDir, c.DrainTimeout = t.TempDir(), 0 })
				target := address
				if s.webTransport {
					target = "https://" + address + "/"
				}
				watchAnd(t, dialQUIC(t, address, speaker{protocol: protocols.MoqTransfork}), dialQUIC(t, target, s))
				if tc.warns == "does not answer" {
					return
				}
				until(t, "what is dropped is counted", func() bool { return qlogDropped(t, r, "disk") > 0 })
			})
		}
	}
}

// watchAnd has one client publish and the other watch, to the end.
func watchAnd(t *testing.T, publisher, viewer *relaytest.Client) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	track := publisher.Publish("demo", "cam", "video")
	wantAnnounced(t, viewer, true)
	sub, err := viewer.Subscribe("demo", "cam", "video")
	if err != nil {
		t.Fatal(err)
	}
	defer sub.Close()
	for i := range 100 {
		if err := track.Write(fmt.Sprint(i, strings.Repeat(" payload", 500))); err != nil {
			t.Fatal(err)
		}
		got, err := relaytest.Next(ctx, sub)
		if err != nil || !strings.HasPrefix(got, fmt.Sprint(i, " ")) {
			t.Fatalf("group %d: %d bytes, %v", i, len(got), err)
		}
	}
	track.Unpublish()
	if _, err := sub.Next(ctx); !errors.Is(err, moq.ErrEnded) {
		t.Errorf("the track ended well, and the viewer hears: %v", err)
	}
}

// record is one of a qlog file.
type record struct {
	Name string
	Time float64
	Data map[string]any
}

// filesOf returns the records of every file in a directory, without the header.
func filesOf(t *testing.T, dir string) (files [][]record) {
	t.Helper()
	for _, name := range namesIn(t, dir) {
		content, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		var records []record
		for i, text := range bytes.Split(content, []byte{0x1e})[1:] {
			var r record
			if err := json.Unmarshal(text, &r); err != nil || !bytes.HasSuffix(text, []byte("\n")) {
				t.Fatalf("%s, record %d: %v in %q", name, i, err, text)
			}
			if i > 0 {
				records = append(records, r)
			}
		}
		files = append(files, records)
	}
	return files
}

func namesIn(t *testing.T, dir string) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// qlogDropped is how many events a relay has dropped for a reason.
func qlogDropped(t *testing.T, r *relay.Relay, reason string) float64 {
	t.Helper()
	families, err := r.Metrics().Registry().Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if f.GetName() == "moq_relay_qlog_events_dropped_total" && m.GetLabel()[0].GetValue() == reason {
				return m.GetCounter().GetValue()
			}
		}
	}
	t.Fatalf("there is no metric of events dropped for %q", reason)
	return 0
}

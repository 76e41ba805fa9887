package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/moqrelay/moqrelay/cmd/moq/internal/clip"
	"github.com/moqrelay/moqrelay/cmd/moq/internal/fmp4"
	"github.com/moqrelay/moqrelay/cmd/moq/internal/hang"
	"github.com/moqrelay/moqrelay/cmd/moq/internal/reel"
	"github.com/moqrelay/moqrelay/relay/moq"
	"github.com/moqrelay/moqrelay/relay/session/protocols"
)

// shortClip is the first 1.6 s of the sample clip: two groups of video.
var shortClip = clip.MP4[:73468]

// movie is an MP4 taken apart: its tracks, and the samples of each.
type movie struct {
	Tracks  []fmp4.Track
	Samples map[uint32][]fmp4.Sample
}

func parseMovie(t *testing.T, b []byte) movie {
	t.Helper()
	r := fmp4.NewReader(bytes.NewReader(b))
	tracks, err := r.Tracks()
	if err != nil {
		t.Fatal(err)
	}
	m := movie{tracks, map[uint32][]fmp4.Sample{}}
	for {
		s, err := r.Next()
		if errors.Is(err, io.EOF) {
			return m
		}
		if err != nil {
			t.Fatal(err)
		}
		m.Samples[s.Track] = append(m.Samples[s.Track], s)
	}
}

// What is published comes out sample for sample, times and all, over each
// transport, and nothing else goes to standard output (U13).
func TestPubSub(t *testing.T) {
	address := startRelay(t)
	tests := map[string]struct{ at, carrier string }{
		"Pinned":       {"http://" + address, "moq-lite-06 over quic"},
		"QUIC":         {"moqf://" + address + " --tls-disable-verify", "moq-lite-06 over quic"},
		"QUICLite":     {"moql://" + address + " --tls-disable-verify", "moq-lite-06 over quic"},
		"WebTransport": {"https://" + address + "/any --tls-disable-verify", "moq-lite-06 over webtransport"},
		"Overridden":   {"http://" + address + " --protocol h3", "moq-lite-06 over webtransport"},
		"WebSocket":    {"wss://" + address + "/any --tls-disable-verify", "moq-lite-06 over websocket"},
	}
	for _, protocol := range protocols.Names() {
		tests[protocol] = struct{ at, carrier string }{"http://" + address + " --protocol " + protocol, protocol + " over quic"}
		tests[protocol+"-web"] = struct{ at, carrier string }{
			"https://" + address + " --tls-disable-verify --protocol " + protocol, protocol + " over webtransport",
		}
		if protocol != protocols.MoqTransfork {
			tests[protocol+"-socket"] = struct{ at, carrier string }{"ws://" + address + " --protocol " + protocol, protocol + " over websocket"}
		}
	}
	few := make(chan struct{}, 4) // holds one token per pair that runs: a clip of live media does not wait
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			few <- struct{}{}
			defer func() { <-few }()
			args := tt.at + " --name test/" + name
			pub, _ := transmit(t, args, args)
			if got := pub.stderr.String(); !strings.Contains(got, `"event":"ended"`) || !strings.Contains(got, tt.carrier) {
				t.Errorf("progress without %q: %q", tt.carrier, got)
			}
		})
	}
}

// transmit publishes the short clip and plays it, with these arguments, and checks
// that what comes out is what went in.
func transmit(t *testing.T, from, to string) (pub, sub *running) {
	t.Helper()
	sub = start(t, nil, append([]string{"sub", "--jitter", "10s"}, strings.Fields(to)...)...) // the machine may be busy
	pub = start(t, nil, append([]string{"pub", "--json"}, append(strings.Fields(from), exampleFile(t, shortClip))...)...)
	pub.wait(exitDone)
	sub.wait(exitDone)
	if pub.stdout.String() != "" {
		t.Errorf("pub wrote to standard output: %q", pub.stdout.String())
	}
	if diff := cmp.Diff(parseMovie(t, shortClip), parseMovie(t, sub.stdout.Bytes())); diff != "" {
		t.Errorf("media (-published +played):\n%s", diff[:min(len(diff), 2000)])
	}
	if got := sub.stderr.String(); !strings.Contains(got, "2 groups, ") {
		t.Errorf("progress: %q", got)
	}
	return pub, sub
}

// What is published in one protocol is played in another, in whichever layout.
func TestAcrossProtocols(t *testing.T) {
	address := startRelay(t)
	few := make(chan struct{}, 4) // as above
	for _, tt := range []struct{ from, to, format string }{
		{"moq-lite-06", "moqf-02", ""},
		{"moqf-02", "moq-lite-06", ""},
		{"moq-lite-06", "moqf-02", "karp"},
		{"moqf-02", "moq-lite-05", "hang"},
		{"moq-lite-06", "moq-lite-05", "karp"},
		{"moq-lite-04", "moq-lite-06", ""},
		{"moq-lite-06", "moq-lite-04", ""},
		{"moq-lite-03", "moqf-02", ""},
		{"moql", "moq-lite-06", ""},
		{"moqf-02", "moql", ""},
	} {
		name := tt.from + "-to-" + tt.to + "-" + tt.format
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			few <- struct{}{}
			defer func() { <-few }()
			url := "http://" + address + " --name across/" + name + " --protocol "
			from := url + tt.from
			if tt.format != "" {
				from += " --format " + tt.format
			}
			transmit(t, from, url+tt.to)
		})
	}
}

// The path of a URL is where names are below, on QUIC as well where the protocol
// can tell it.
func TestRequestPath(t *testing.T) {
	address := startRelay(t)
	for _, scheme := range []string{"moqt", "https"} {
		t.Run(scheme, func(t *testing.T) {
			t.Parallel()
			name := " --tls-disable-verify --name "
			transmit(t, scheme+"://"+address+"/room/"+scheme+"?a=b"+name+"clip", "moqt://"+address+name+"room/"+scheme+"/clip")
		})
	}
}

// Standard input is published as it comes, and its end ends the broadcast.
func TestPubStandardInput(t *testing.T) {
	url := "http://" + startRelay(t)
	in, feed := io.Pipe()
	pub := start(t, in, "pub", url, "-", "--name", "live")
	go func() {
		_, _ = feed.Write(shortClip[:37659])
	}()
	sub := start(t, nil, "sub", url, "--name", "live", "--json", "-o", "-")
	sub.awaitOutput(&sub.stderr, "joined")
	if _, err := feed.Write(shortClip[37659:]); err != nil {
		t.Fatal(err)
	}
	_ = feed.Close()
	pub.wait(exitDone)
	sub.wait(exitDone)
	got := parseMovie(t, sub.stdout.Bytes()).Samples[1]
	want := parseMovie(t, shortClip).Samples[1]
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("video (-published +played):\n%s", diff[:min(len(diff), 2000)])
	}
}

// A loop goes on with rising times until it is interrupted, which is success;
// so is a sub whose time is over.
func TestLoop(t *testing.T) {
	url := "http://" + startRelay(t)
	pub := start(t, nil, "pub", url, "--name", "demo/loop", "--loop", exampleFile(t, clip.MP4[:37659]))
	sub := start(t, nil, "sub", url, "--name", "demo/loop", "--duration", "2s")
	sub.wait(exitDone)
	pub.interrupt(exitDone)
	m := parseMovie(t, sub.stdout.Bytes())
	for id, samples := range m.Samples {
		for i, s := range samples[1:] {
			if s.Time <= samples[i].Time {
				t.Fatalf("track %d: time %d after %d", id, s.Time, samples[i].Time)
			}
		}
	}
	if n := len(m.Samples[1]); n < 50 {
		t.Errorf("%d frames of video in 2 s of loops of 0.8 s", n)
	}
}

// --track writes what was published on one track and nothing else.
func TestSubTrack(t *testing.T) {
	url := "http://" + startRelay(t)
	pub := start(t, nil, "pub", url, "--name", "demo/track", "--loop")
	sub := start(t, nil, "sub", url, "--name", "demo/track", "--track", hang.CatalogTrack, "--duration", "100ms")
	sub.wait(exitDone)
	c, err := hang.Decode(sub.stdout.Bytes())
	if err != nil || len(c.Tracks) != 2 || c.Start.IsZero() {
		t.Errorf("catalog %+v, %v", c, err)
	}
	pub.interrupt(exitDone)
}

// A publisher that breaks off and comes back is played on into the same MP4, as
// long as its media fit; else the MP4 ends.
func TestPublisherComesBack(t *testing.T) {
	for _, format := range []string{formatHang, formatKarp} {
		t.Run(format, func(t *testing.T) { publisherComesBack(t, format) })
	}
}

func publisherComesBack(t *testing.T, format string) {
	t.Helper()
	url := "http://" + startRelay(t)
	flags := dialFlags{timeout: 10 * time.Second}
	name := moq.NewPath("back")
	flags.noReconnect = true
	line, hangUp, err := flags.follow(context.Background(), url, false, moq.Path{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer hangUp()
	film, err := reel.Open(reel.Config{
		Open: func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(clip.MP4)), nil },
		Sort: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	first, err := newBroadcast(name, format, film.Tracks(), line, time.Unix(1, 0))
	if err != nil {
		t.Fatal(err)
	}
	sub := start(t, nil, "sub", url, "--name", "back", "--json", "-o", "-")
	for i := range 100 {
		s, err := film.Next()
		if err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			err = first.begin(s, time.Now())
		}
		if err := errors.Join(err, first.write(s)); err != nil {
			t.Fatal(err)
		}
	}
	sub.awaitOutput(&sub.stderr, "joined")
	line.current().session.Close(1, "test") // without the end of its tracks
	<-line.done
	pub := start(t, nil, "pub", url, "--name", "back", "--format", format, exampleFile(t, shortClip))
	pub.wait(exitDone)
	sub.wait(exitDone)
	video := parseMovie(t, sub.stdout.Bytes()).Samples[1]
	for i, s := range video[1:] {
		if s.Time <= video[i].Time {
			t.Fatalf("time %d after %d", s.Time, video[i].Time)
		}
	}
	want := parseMovie(t, shortClip).Samples[1]
	if len(video) <= len(want) {
		t.Fatalf("%d frames, %d are of the second broadcast", len(video), len(want))
	}
	for i, s := range video[len(video)-len(want):] {
		if !bytes.Equal(s.Data, want[i].Data) {
			t.Fatalf("frame %d of the second broadcast is not what was published", i)
		}
	}
}

// The fields of the JSON that scripts read are only ever added to (U11).
func TestProgressFields(t *testing.T) {
	fields := func(v any) string {
		b, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		var m map[string]any
		if err := json.Unmarshal(b, &m); err != nil {
			t.Fatal(err)
		}
		return strings.Join(sortedKeys(m), " ")
	}
	for _, tt := range []struct {
		value any
		want  string
	}{
		{progress{}, "bitsPerSecond broadcast bytes event frames framesPerSecond groups name protocol relay rttMillis seconds subscriptions tracks"},
		{playing{}, "ageP50Millis ageP99Millis bitsPerSecond broadcast bytes event frames groups jitterP50Millis jitterP99Millis joinMillis lost name protocol relay seconds stalls"},
		{sessionEvent{}, "at error event relay state url"},
		{groupEvent{}, "at bytes complete event frames group longestGapSeconds track"},
		{announcedLine{}, "event id kind name path relay time"},
	} {
		if got := fields(tt.value); got != tt.want {
			t.Errorf("%T\ngot  %s\nwant %s", tt.value, got, tt.want)
		}
	}
}

package main

import (
	"context"
	"encoding/json"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/moqrelay/moqrelay/cmd/moq/internal/clip"
	"github.com/moqrelay/moqrelay/relay"
	"github.com/moqrelay/moqrelay/relay/config"
)

// runRelay runs a relay at an address, "127.0.0.1:0" for any, until stop is
// called, and returns where that is.
func runRelay(t *testing.T, bind string) (address string, stop func()) {
	t.Helper()
	c := config.Default()
	c.Bind, c.Dev = bind, true
	sockets, err := relay.Listen(c)
	if err != nil {
		t.Fatal(err)
	}
	address = sockets.UDP.LocalAddr().String()
	r, err := relay.New(c, relay.Environment{Sockets: sockets, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx, ctx) }() // no word of leaving
	return address, func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("relay: %v", err)
		}
	}
}

// states returns what became of the relays of a command that ran with --json.
func states(t *testing.T, events string) []string {
	t.Helper()
	var all []string
	for decoder := json.NewDecoder(strings.NewReader(events)); decoder.More(); {
		var e sessionEvent
		if err := decoder.Decode(&e); err != nil {
			t.Fatal(err)
		}
		if e.Event == "session" {
			all = append(all, e.State)
		}
	}
	return all
}

// A relay that is gone and comes back, with another certificate, in the middle of
// a broadcast costs it nothing: every sample arrives once, and in its place.
func TestRelayRestarts(t *testing.T) {
	address, stop := runRelay(t, "127.0.0.1:0")
	url := "http://" + address
	file := exampleFile(t, clip.MP4)
	sub := start(t, nil, "sub", url, "--name", "test/restart", "--json", "-o", "-", "--jitter", "10s")
	pub := start(t, nil, "pub", url, "--name", "test/restart", file, "--json")
	sub.awaitOutput(&sub.stderr, `"track":"video1","group":0`)
	stop()
	_, stop = runRelay(t, address)
	defer stop()
	pub.wait(exitDone)
	sub.wait(exitDone)
	want := []string{"connected", "lost", "connected"}
	for name, r := range map[string]*running{"pub": pub, "sub": sub} {
		if got := states(t, r.stderr.String()); !slices.Equal(got, want) {
			t.Errorf("%s: sessions %q, want %q", name, got, want)
		}
	}
	if diff := cmp.Diff(parseMovie(t, clip.MP4), parseMovie(t, sub.stdout.Bytes())); diff != "" {
		t.Errorf("media (-published +played):\n%s", diff[:min(len(diff), 2000)])
	}
	if !strings.Contains(sub.stderr.String(), `"lost":0`) {
		t.Errorf("progress: %q", sub.stderr.String())
	}
}

// Who may not dial again ends with its session, and says so.
func TestNoReconnect(t *testing.T) {
	address, stop := runRelay(t, "127.0.0.1:0")
	url := "http://" + address
	pub := start(t, nil, "pub", url, "--name", "test/once", "--loop", "--quiet", "--no-reconnect")
	sub := start(t, nil, "sub", url, "--name", "test/once", "--json", "--no-reconnect")
	sub.awaitOutput(&sub.stdout, `"event":"group"`)
	began := time.Now()
	stop()
	sub.wait(exitFailed)
	pub.wait(exitFailed)
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("ended after %v", took)
	}
	twoLines(t, pub.stderr.String())
	if got := states(t, sub.stdout.String()); !slices.Equal(got, []string{"connected", "lost"}) {
		t.Errorf("sessions %q", got)
	}
}

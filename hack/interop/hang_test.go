package interop

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

const (
	moqCLI    = "moq-cli-0.14.10"
	relay1710 = "moq-relay-0.17.10"
)

// theirMoq returns the program of moq-cli, whose name is not that of its crate.
func theirMoq(t *testing.T) string {
	t.Helper()
	path := filepath.Join(os.Getenv("MOQ_PEERS_DIR"), moqCLI, "bin", "moq")
	if _, err := os.Stat(path); err != nil {
		t.Skipf("%s is not in %s; make peers builds it", moqCLI, os.Getenv("MOQ_PEERS_DIR"))
	}
	return path
}

// way is a version that moq-cli is held to, and what carries it.
type way struct{ version, scheme string }

var ways = []way{
	{"moq-lite-06", "moqt"},
	{"moq-lite-05", "moqt"},
	{"moq-lite-04", "moqt"},
	{"moq-lite-06", "https"},
	{"moq-lite-05", "https"},
	{"moq-lite-06", "wss"},
	{"moq-lite-05", "wss"},
}

func (w way) String() string {
	return w.version + " by " + map[string]string{"moqt": "raw QUIC", "https": "h3", "wss": "WebSocket"}[w.scheme]
}

// command has moq-cli do something with demo.hang at a relay.
func (w way) command(program string, r *relay, what ...string) *exec.Cmd {
	args := []string{"--connect", r.url(w.scheme), "--connect-tls-root", r.pki.ca, "--connect-version", w.version, "--broadcast", "demo.hang"}
	if w.scheme == "https" {
		args = append(args, "--connect-websocket-enabled=false") // it would be raced with
	}
	return exec.Command(program, append(args, what...)...)
}

// TestHang_Export: what our client publishes, moq-cli writes as MP4, through our
// relay, with every sample of the clip.
func TestHang_Export(t *testing.T) {
	needPeers(t)
	for _, way := range ways {
		t.Run(way.String(), func(t *testing.T) {
			t.Parallel()
			var got movie
			board.add(t, func() string { return counts(got) })
			program := theirMoq(t)
			relay := startRelay(t, ours, newPKI(t), node{})
			file, err := os.Create(filepath.Join(t.TempDir(), "out.mp4"))
			if err != nil {
				t.Fatal(err)
			}
			defer file.Close()
			export := way.command(program, relay, "export", "fmp4")
			export.Stdout = file
			ended := run(t, export)
			pub := start(t, "our pub", our(t, "moq"), "pub", relay.url("moqt"), "--tls-root", relay.pki.ca,
				"--protocol", way.version, "--name", "demo.hang", clip)
			pub.wantEnd(t, 15*time.Second)
			wantExit(t, ended, 10*time.Second)
			got = readMovie(t, file.Name())
			published := readMovie(t, clip)
			wantSamples(t, published, got, "vide", len(published.of("vide"))-30) // it may have come late by a keyframe
			if len(got.of("soun")) < len(published.of("soun"))*3/4 {
				t.Errorf("%d samples of sound of %d", len(got.of("soun")), len(published.of("soun")))
			}
			relay.wantQuiet(t)
		})
	}
}

// TestHang_Import: what moq-cli makes of MPEG-TS and of MP4, our client plays.
func TestHang_Import(t *testing.T) {
	needPeers(t)
	for _, way := range ways {
		for _, format := range []string{"ts", "fmp4"} {
			if format == "ts" && way.scheme != "moqt" {
				continue // what carries it makes no difference to it
			}
			t.Run(way.String()+" "+format, func(t *testing.T) {
				t.Parallel()
				var got movie
				board.add(t, func() string { return counts(got) })
				program := theirMoq(t)
				media := remux(t, format)
				relay := startRelay(t, ours, newPKI(t), node{})
				file := filepath.Join(t.TempDir(), "out.mp4")
				sub := start(t, "our sub", our(t, "moq"), "sub", relay.url("moqt"), "--tls-root", relay.pki.ca,
					"--protocol", way.version, "--name", "demo.hang", "-o", file)
				imports := way.command(program, relay, "import", format)
				imports.Stdin = media
				wantExit(t, run(t, imports), 20*time.Second)
				sub.wantEnd(t, 10*time.Second)
				got = readMovie(t, file)
				published := readMovie(t, clip)
				if n, most := len(got.of("vide")), len(published.of("vide")); n < most-30 {
					t.Errorf("%d pictures of %d", n, most)
				}
				if format == "fmp4" { // MPEG-TS has other samples: start codes, and parameter sets in band
					wantSamples(t, published, got, "vide", 100)
				}
				if n, most := len(got.of("soun")), len(published.of("soun")); n < most*3/4 {
					t.Errorf("%d samples of sound of %d", n, most)
				}
				relay.wantQuiet(t)
			})
		}
	}
}

// TestHang_ThroughTheirs: our client at both ends of the relay of others.
func TestHang_ThroughTheirs(t *testing.T) {
	needPeers(t)
	for _, version := range []string{"moq-lite-06", "moq-lite-05"} {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			var got movie
			board.add(t, func() string { return counts(got) })
			program := peer(t, relay1710)
			certs := newPKI(t)
			addr := freeAddr(t)
			theirs := start(t, relay1710, program, "--listen", addr, "--listen-tls-cert", certs.cert, "--listen-tls-key", certs.key,
				"--auth-public", "**", "--iroh-enabled=false", "--listen-version", version)
			theirs.stderr.want(t, "listening", 10*time.Second)
			url := "moqt://" + addr
			file := filepath.Join(t.TempDir(), "out.mp4")
			sub := start(t, "our sub", our(t, "moq"), "sub", url, "--tls-root", certs.ca, "--protocol", version, "--name", "demo/clip", "-o", file)
			pub := start(t, "our pub", our(t, "moq"), "pub", url, "--tls-root", certs.ca, "--protocol", version, "--name", "demo/clip", clip)
			pub.wantEnd(t, 15*time.Second)
			sub.wantEnd(t, 15*time.Second)
			got = readMovie(t, file)
			published := readMovie(t, clip)
			wantSamples(t, published, got, "vide", len(published.of("vide"))-30)
			wantSamples(t, published, got, "soun", len(published.of("soun"))*3/4)
		})
	}
}

// remux returns the clip in real time, as ffmpeg writes it for moq-cli.
func remux(t *testing.T, format string) io.Reader {
	t.Helper()
	if _, err := exec.LookPath("ffmpeg"); err != nil {
		t.Skip("ffmpeg is not there")
	}
	args := []string{"-v", "error", "-re", "-i", clip, "-c", "copy"}
	if format == "ts" {
		args = append(args, "-f", "mpegts", "-pes_payload_size", "0", "-muxdelay", "0", "-")
	} else {
		args = append(args, "-movflags", "cmaf+delay_moov+skip_trailer", "-frag_duration", "100000", "-f", "mp4", "-")
	}
	cmd := exec.Command("ffmpeg", args...)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	run(t, cmd)
	return out
}

// run starts a program that ends with the test at the latest, and returns what it
// ended with.
func run(t *testing.T, cmd *exec.Cmd) <-chan error {
	t.Helper()
	var said bytes.Buffer
	cmd.Stderr = &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	done := make(chan struct{})
	go func() { // ends with the program, which the cleanup ends
		defer close(done)
		ended <- cmd.Wait()
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-done
		if t.Failed() {
			lines := strings.Split(said.String(), "\n")
			t.Logf("%s said:\n%s", filepath.Base(cmd.Path), strings.Join(lines[max(0, len(lines)-30):], "\n"))
		}
	})
	return ended
}

func wantExit(t *testing.T, ended <-chan error, within time.Duration) {
	t.Helper()
	select {
	case err := <-ended:
		if err != nil {
			t.Errorf("it ended with %v", err)
		}
	case <-time.After(within):
		t.Fatalf("still runs after %v", within)
	}
}

func counts(m movie) string {
	if slices.Equal(m.header, nil) {
		return ""
	}
	return fmt.Sprintf("%d pictures, %d of sound", len(m.of("vide")), len(m.of("soun")))
}

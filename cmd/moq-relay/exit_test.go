package main

import (
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// execute runs the command to its end.
func execute(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	cmd, stdin, out := command(t, args...)
	defer func() { _ = stdin.Close() }()
	var said output
	cmd.Stdout = &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	late := time.AfterFunc(10*time.Second, func() { _ = cmd.Process.Kill() })
	defer late.Stop()
	_ = cmd.Wait() // the code tells
	return cmd.ProcessState.ExitCode(), said.String(), out.String()
}

// TestU12ExitCodes: what cannot be done is said in one line with the flag's
// name and one with what to do, by an exit code that scripts can tell apart.
func TestU12ExitCodes(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t)
	good, other := ca.issue(t, "localhost"), ca.issue(t, "localhost")
	empty := filepath.Join(t.TempDir(), "empty.pem")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	busy := listen(t)
	for name, tc := range map[string]struct {
		args string
		code int
		want []string // in the order of the lines
	}{
		"unknown flag":        {"--tls-crt x", 2, []string{"--tls-crt", "hint: did you mean --tls-cert?"}},
		"flag with a typo":    {"--cluster-rooot a:1", 2, []string{"--cluster-rooot", "hint: did you mean --cluster-root?"}},
		"flag like no other":  {"--wide-open", 2, []string{"--wide-open", "hint: moq-relay --help"}},
		"unknown short flag":  {"-x", 2, []string{"'x' in -x", "hint: moq-relay --help"}},
		"flag without value":  {"--bind", 2, []string{"--bind", "hint:"}},
		"bad value":           {"--max-paths many", 2, []string{"--max-paths", "hint:"}},
		"argument":            {"serve", 2, []string{`"serve"`, "hint:"}},
		"no certificate":      {"--bind 127.0.0.1:4443", 2, []string{"--tls-cert", "hint:"}},
		"host name to bind":   {"--bind localhost:4443 --dev", 2, []string{"--bind", "hint:"}},
		"certificate, no key": {"--tls-cert a", 2, []string{"--tls-key", "hint:"}},
		"several":             {"--bind x --max-paths 0 --dev", 2, []string{"--bind", "--max-paths", "hint:"}},
		"missing file":        {"--tls-cert no.crt --tls-key no.key", 1, []string{`--tls-cert "no.crt": no such file`, "hint: check the path"}},
		"key of another":      {"--tls-cert " + good.cert + " --tls-key " + other.key, 1, []string{"--tls-key"}},
		"empty file":          {"--tls-cert " + empty + " --tls-key " + good.key, 1, []string{"--tls-cert"}},
		"port taken":          {"--dev --bind " + busy, 1, []string{"--bind " + busy, "hint: another program"}},
		"private port taken":  {"--dev --private-bind " + busy, 1, []string{"--private-bind " + busy, "hint: another program"}},
		"no qlog directory":   {"--dev --qlog-dir " + empty, 1, []string{"--qlog-dir " + empty + ": mkdir"}},
		"qlog of too many":    {"--dev --qlog-sample 7", 2, []string{"--qlog-sample 7: want", "hint:"}},
		"no such address":     {"--dev --bind 192.0.2.1:4443", 1, []string{"--bind 192.0.2.1:4443", "hint: this machine"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			args := strings.Fields(tc.args)
			if tc.code == 1 && !strings.Contains(tc.args, "--bind ") {
				args = append(args, "--bind", "127.0.0.1:0")
			}
			code, stdout, stderr := execute(t, args...)
			if code != tc.code || stdout != "" {
				t.Errorf("exit code %d, want %d; on stdout: %q", code, tc.code, stdout)
			}
			lines := strings.Split(strings.TrimSuffix(stderr, "\n"), "\n")
			if len(lines) != len(tc.want) {
				t.Fatalf("said %d lines, want %d:\n%s", len(lines), len(tc.want), stderr)
			}
			for i, want := range tc.want {
				if !strings.Contains(lines[i], want) {
					t.Errorf("line %d: %q, want %q in it", i+1, lines[i], want)
				}
				if !strings.HasPrefix(lines[i], "moq-relay: ") && !strings.HasPrefix(lines[i], "hint: ") {
					t.Errorf("line %d: %q, want it to say who speaks", i+1, lines[i])
				}
			}
		})
	}
}

// listen returns an address that is taken, for UDP and TCP.
func listen(t *testing.T) string {
	t.Helper()
	addr := freePort(t)
	udp, err := net.ListenPacket("udp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = udp.Close() })
	tcp, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = tcp.Close() })
	return addr
}

func TestU12HelpAndVersion(t *testing.T) {
	t.Parallel()
	code, help, stderr := execute(t, "--help")
	if code != 0 || stderr != "" || !strings.Contains(help, "moq-relay --bind 127.0.0.1:4443 --dev") {
		t.Errorf("--help: exit code %d, on stderr %q, on stdout:\n%s", code, stderr, help)
	}
	for _, name := range flagNames() {
		if !regexp.MustCompile(`(?m)--` + name + `[ \[]`).MatchString(help) {
			t.Errorf("--help does not tell of --%s", name)
		}
	}
	if code, stdout, stderr := execute(t, "--version"); code != 0 || stderr != "" || !strings.HasPrefix(stdout, "moq-relay ") {
		t.Errorf("--version: exit code %d, on stderr %q, on stdout %q", code, stderr, stdout)
	}
	if code, _, stderr := execute(t, "--help", "--tls-crt"); code != 0 && code != 2 {
		t.Errorf("--help with more: exit code %d, %s", code, stderr)
	}
}

// TestU20RunsWithFlagsOf068: the command line of a moq-relay 0.6.8 starts ours.
func TestU20RunsWithFlagsOf068(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t)
	second := ca.issue(t, "other.example")
	p := startRelay(t, ca, "--tls-cert", second.cert, "--tls-key", second.key, "--tls-root", ca.file, "--tls-disable-verify",
		"--cluster-root", "127.0.0.1:1", "--cluster-node", "127.0.0.1:2", "--dev", "-v")
	if status, body, err := get(t, "http://"+p.addr+"/fingerprint"); status != 200 || len(body) != 64 {
		t.Errorf("/fingerprint: status %d, %q, %v", status, body, err)
	}
	// Quiet is quiet: neither of the two says anything that is no error.
	for _, q := range []string{"-q", "-qq"} {
		p := startRelay(t, ca, q)
		p.signal(sigterm)
		if code := p.awaitExit(5 * time.Second); code != 0 || p.output.String() != "" {
			t.Errorf("%s: exit code %d, said %q", q, code, p.output)
		}
	}
}

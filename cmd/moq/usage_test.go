package main

import (
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/moqrelay/moqrelay/cmd/moq/internal/clip"
)

func sortedKeys(m map[string]any) []string { return slices.Sorted(maps.Keys(m)) }

// Exit codes (U12), and an error that says what to do, for everything that can be
// called wrongly.
func TestUsage(t *testing.T) {
	const url = "http://localhost:1"
	dir := t.TempDir()
	cut := clip.MP4[:100]
	plain := append(append([]byte{}, clip.MP4[:1218]...), clip.MP4[1218:]...)
	copy(plain[strings.Index(string(plain), "mvex"):], "free")
	for name, content := range map[string][]byte{"cut.mp4": cut, "plain.mp4": plain, "text.mp4": []byte("hello, world")} {
		if err := os.WriteFile(dir+"/"+name, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	tests := map[string]struct {
		args    string
		code    int
		problem string
		hint    string
	}{
		"UnknownCommand":  {"pup", 2, `no command "pup"`, `"moq pub"`},
		"NoSuchCommand":   {"transmogrify", 2, `no command "transmogrify"`, "--help"},
		"UnknownFlag":     {"pub " + url + " --nme x", 2, "unknown flag: --nme", "--name?"},
		"UnknownSubFlag":  {"sub " + url + " --durations 3s", 2, "unknown flag", "--duration?"},
		"BadDuration":     {"sub " + url + " --name x --duration 3", 2, "duration", "--help"},
		"PubNoURL":        {"pub", 2, "needs URL", "--help"},
		"SubTwoURLs":      {"sub a b", 2, `"b"`, "--help"},
		"PubNoName":       {"pub " + url, 2, "no name", "--name"},
		"SubNoName":       {"sub " + url, 2, "--name", "moq announced"},
		"LoopStdin":       {"pub " + url + " --name x --loop -", 2, "cannot be played twice", "FILE"},
		"NotURL":          {"sub localhost:4443 --name x", 2, "not the URL of a relay", "http://localhost:PORT"},
		"Scheme":          {"sub ftp://localhost:1 --name x", 2, `"ftp"`, "http://localhost:PORT"},
		"PlainBeyond":     {"sub http://192.0.2.1:4443 --name x", 2, "this machine only", "https://192.0.2.1:4443"},
		"SocketBeyond":    {"sub ws://192.0.2.1:4443 --name x", 2, "this machine only", "wss://192.0.2.1:4443"},
		"SocketProtocol":  {"sub wss://localhost --name x --protocol moqf-02", 2, "--protocol moqf-02", "moq-lite"},
		"NoPort":          {"sub http://localhost --name x", 2, "port", "http://localhost:PORT"},
		"Protocol":        {"sub " + url + " --name x --protocol moqf-9", 2, "--protocol moqf-9", "moqf-02"},
		"ProtocolLite":    {"pub " + url + " --name x --protocol moq-lite-6", 2, "--protocol moq-lite-6", "moq-lite-06, moq-lite-05"},
		"Format":          {"pub " + url + " --name x --format msf", 2, "--format msf", "hang and karp"},
		"Fingerprint":     {"sub " + url + " --name x --tls-fingerprint 12", 2, "64 hexadecimal", "/certificate.sha256"},
		"Timeout":         {"sub " + url + " --name x --timeout 0s", 2, "--timeout", "10s"},
		"ClockNothing":    {"clock", 2, "pub or sub", "moq clock pub"},
		"ClockUnknown":    {"clock pup", 2, `"pup"`, "moq clock pub"},
		"ClockName":       {"clock pub " + url + " --name /", 2, "names nothing", "clock"},
		"MissingFile":     {"pub " + url + " --name x " + dir + "/none.mp4", 1, "no such file", "name of the file"},
		"NotMP4":          {"pub " + url + " --name x " + dir + "/text.mp4", 1, "not an MP4", "ffmpeg"},
		"NotFragmented":   {"pub " + url + " --name x " + dir + "/plain.mp4", 1, "not a fragmented MP4", "ffmpeg"},
		"CutFile":         {"pub " + url + " --name x " + dir + "/cut.mp4", 1, "ends in the middle", ""},
		"MissingRoot":     {"sub " + url + " --name x --tls-root " + dir + "/none.pem", 1, "--tls-root", "PEM"},
		"EmptyRoot":       {"sub " + url + " --name x --tls-root " + dir + "/text.mp4", 1, "holds no certificate", "PEM"},
		"OutputFolder":    {"sub " + url + " --name x -o " + dir + "/none/out.mp4", 1, "no such file", "folder"},
		"PageNoNode":      {"page", 2, "--node is missing", "--node eu-0,eu,"},
		"PageNode":        {"page --node " + url, 2, "NAME,REGION,URL", "--node eu-0,eu,"},
		"PageNodeScheme":  {"page --node eu-0,eu,localhost:4443", 2, "not the http or https URL", "--node eu-0,eu,"},
		"PageTwice":       {"page --node a,eu," + url + " --node a,us," + url, 2, "another a", "name of its own"},
		"PageBase":        {"page --base demo --node a,eu," + url, 2, "--base", "/demo/"},
		"PageArgument":    {"page " + url, 2, "unexpected argument", "--help"},
		"AnnouncedNoHost": {"announced http://:4443", 2, "not the URL", "localhost"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			r := start(t, nil, strings.Fields(tt.args)...).wait(tt.code)
			problem, hint := twoLines(t, r.stderr.String())
			if !strings.Contains(problem, tt.problem) || !strings.Contains(hint, tt.hint) {
				t.Errorf("moq %s\nsays  %s\n      %s\nwants %s\n      %s", tt.args, problem, hint, tt.problem, tt.hint)
			}
			if r.stdout.String() != "" {
				t.Errorf("wrote %q to standard output", r.stdout.String())
			}
		})
	}
}

// Help opens with two examples and is a success.
func TestHelp(t *testing.T) {
	for _, args := range []string{"", "--help", "pub --help", "sub --help", "announced --help", "page --help", "clock --help", "clock pub --help", "clock sub --help"} {
		r := start(t, nil, strings.Fields(args)...).wait(exitDone)
		_, examples, found := strings.Cut(r.stdout.String(), "Examples:\n")
		examples, _, _ = strings.Cut(examples, "Usage:")
		if n := strings.Count(examples, "moq "); !found || n < 2 {
			t.Errorf("moq %s shows %d examples:\n%s", args, n, r.stdout.String())
		}
	}
}

// Wrong URL, name, fingerprint, protocol and host each have a message and a hint
// of their own (U8).
func TestConnectErrors(t *testing.T) {
	address := startRelay(t)
	const never = "0000000000000000000000000000000000000000000000000000000000000000"
	tests := map[string]struct {
		args []string
		code int
	}{
		"URL":         {[]string{address, "--name", "x"}, exitUsage},
		"Name":        {[]string{"http://" + address, "--name", "no/such", "--timeout", "500ms"}, exitFailed},
		"Fingerprint": {[]string{"https://" + address, "--name", "x", "--tls-fingerprint", never}, exitFailed},
		"Certificate": {[]string{"https://" + address, "--name", "x"}, exitFailed},
		"Protocol":    {[]string{"moqf://" + otherProtocol(t), "--name", "x", "--tls-disable-verify"}, exitFailed},
		"Lite":        {[]string{"moqt://" + otherProtocol(t), "--name", "x", "--tls-disable-verify", "--protocol", "moq-lite-06"}, exitFailed},
		"Web":         {[]string{"https://" + otherProtocol(t), "--name", "x", "--tls-disable-verify", "--protocol", "h3"}, exitFailed},
		"LiteName":    {[]string{"http://" + address, "--name", "no/other", "--timeout", "400ms", "--protocol", "moq-lite-04", "--track", "x"}, exitFailed},
		"LiteSilence": {[]string{"moqt://localhost:1", "--name", "x", "--timeout", "500ms", "--protocol", "moq-lite-06"}, exitFailed},
		"NoRelay":     {[]string{"http://localhost:1", "--name", "x"}, exitFailed},
		"NoAnswer":    {[]string{"moqf://localhost:1", "--name", "x", "--timeout", "500ms"}, exitFailed},
	}
	problems, hints := map[string]string{}, map[string]string{}
	for name, tt := range tests {
		began := time.Now()
		r := start(t, nil, append([]string{"sub"}, tt.args...)...).wait(tt.code)
		if took := time.Since(began); took > 5*time.Second {
			t.Errorf("%s took %v", name, took)
		}
		problem, hint := twoLines(t, r.stderr.String())
		t.Logf("%s: %s\n\thint: %s", name, problem, hint)
		if other, ok := problems[problem]; ok {
			t.Errorf("%s and %s are told alike: %s", name, other, problem)
		}
		if other, ok := hints[hint]; ok && name != "LiteName" && other != "LiteName" {
			t.Errorf("%s and %s have the same hint: %s", name, other, hint)
		}
		problems[problem], hints[hint] = name, name
	}
}

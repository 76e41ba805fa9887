package moqlite

import (
	"strings"
	"testing"
)

func TestVersions(t *testing.T) {
	tests := []struct {
		version Version
		name    string
		token   string
		code    uint64
	}{
		{Version01, "moq-lite-01", "moql", 0xff0dad01},
		{Version02, "moq-lite-02", "moql", 0xff0dad02},
		{Version03, "moq-lite-03", "moq-lite-03", 0xff0dad03},
		{Version04, "moq-lite-04", "moq-lite-04", 0xff0dad04},
		{Version05, "moq-lite-05", "moq-lite-05", 0xff0dad05},
		{Version06, "moq-lite-06", "moq-lite-06", 0xff0dad06},
	}
	for _, tt := range tests {
		v := tt.version
		if v.String() != tt.name || v.Token() != tt.token || v.Code() != tt.code {
			t.Errorf("version %d is %s, %s, %#x", uint8(v), v, v.Token(), v.Code())
		}
		if got, ok := ParseToken(tt.token); ok == v.IsInBand() || ok && got != v {
			t.Errorf("token %s is %s, %t", tt.token, got, ok)
		}
		if got, ok := ParseCode(tt.code); ok != v.IsInBand() || ok && got != v {
			t.Errorf("code %#x is %s, %t", tt.code, got, ok)
		}
	}
	for _, token := range []string{"", TokenInBand, "moq-lite-01", "moq-lite-06-wip", "moq-lite-07-wip", "moq-lite-07", "moq-00", "h3"} {
		if v, ok := ParseToken(token); ok {
			t.Errorf("token %q is %s", token, v)
		}
	}
	if got := Version(7).String(); got != "moq-lite (7)" {
		t.Errorf("an unknown version is %q", got)
	}
}

// TestFeatures holds the version matrix, a letter a version.
func TestFeatures(t *testing.T) {
	tests := []struct {
		name string
		has  func(Version) bool
		want string
	}{
		{"IsInBand", Version.IsInBand, "yy----"},
		{"HasUpdate", Version.HasUpdate, "--yyyy"},
		{"HasProbe", Version.HasProbe, "--yyyy"},
		{"hasRTT", Version.hasRTT, "---yyy"},
		{"HasGoaway", Version.HasGoaway, "---yyy"},
		{"HasExclude", Version.HasExclude, "---yy-"},
		{"hasOrdered", Version.hasOrdered, "--yyy-"},
		{"HasSetup", Version.HasSetup, "----yy"},
		{"HasTrack", Version.HasTrack, "----yy"},
		{"HasTimestamps", Version.HasTimestamps, "----yy"},
		{"HasFetch", Version.HasFetch, "----yy"},
		{"HasDatagrams", Version.HasDatagrams, "----yy"},
		{"HasCosts", Version.HasCosts, "-----y"},
	}
	for _, tt := range tests {
		var got strings.Builder
		for _, v := range since(Version01) {
			got.WriteByte("-y"[btoi(tt.has(v))])
		}
		if got.String() != tt.want {
			t.Errorf("%s is %s, want %s", tt.name, got.String(), tt.want)
		}
	}
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

// TestLacking holds that what a version cannot say is not written as something
// else.
func TestLacking(t *testing.T) {
	tests := map[string]func(){
		"BUG: moq-lite-05 has no ANNOUNCE_UPDATE":  func() { Announce{Kind: AnnounceUpdate}.Append(nil, Version05) },
		"BUG: moq-lite-02 has no SUBSCRIBE_UPDATE": func() { SubscribeUpdate{}.Append(nil, Version02) },
		"BUG: moq-lite-04 has no SUBSCRIBE_END":    func() { SubscribeReply{Type: ReplyEnd}.Append(nil, Version04) },
		"BUG: moq-lite-02 has no SUBSCRIBE_DROP":   func() { SubscribeReply{Type: ReplyDrop}.Append(nil, Version02) },
	}
	for want, write := range tests {
		t.Run(want, func(t *testing.T) {
			defer func() {
				if got := recover(); got != want {
					t.Errorf("panic %v", got)
				}
			}()
			write()
		})
	}
}

func TestCodes(t *testing.T) {
	tests := []struct {
		version Version
		code    Code
		closing string
		reset   string
	}{
		{Version05, 0, "cancel", "cancel"},
		{Version05, CodeProtocol, "protocol violation", "protocol violation"},
		{Version05, 0x33, "code 0x33", "not found"}, // newer relays send their codes on every version
		{Version06, 0, "no error", "internal error"},
		{Version06, 1, "internal error", "cancelled"},
		{Version06, CloseProtocol, "protocol violation", "session closed"},
		{Version06, ResetNotFound, "code 0x33", "not found"},
		{Version06, CodeNotFound, "code 0xd", "code 0xd"},
		{Version06, AppCode(6), "application 6", "application 6"},
	}
	for _, tt := range tests {
		if got := tt.version.CloseName(tt.code); got != tt.closing {
			t.Errorf("%s closes with %s: %q, want %q", tt.version, tt.code, got, tt.closing)
		}
		if got := tt.version.ResetName(tt.code); got != tt.reset {
			t.Errorf("%s resets with %s: %q, want %q", tt.version, tt.code, got, tt.reset)
		}
	}
	if n, ok := AppCode(6).App(); n != 6 || !ok {
		t.Errorf("AppCode(6).App() = %d, %t", n, ok)
	}
	if got := AppCode(^uint32(0)); got != ^Code(0) {
		t.Errorf("the largest application code is %d", uint32(got))
	}
	if _, ok := ResetTimestamp.App(); ok {
		t.Error("0x39 is taken for an application's code")
	}
}

// TestSetupOfNode: our own parameter comes back.
func TestSetupOfNode(t *testing.T) {
	want := Setup{Probe: ProbeReport, Hop: 7, Node: "eu-0.relay:4443;1a2b"}
	b := want.Append(nil)
	got, n, err := ConsumeSetup(b)
	if err != nil || n != len(b) || got != want {
		t.Errorf("%x reads as %+v, %d bytes, %v", b, got, n, err)
	}
}

package moq

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
)

func TestPathKeepsItsParts(t *testing.T) {
	for name, parts := range map[string][]string{
		"root":       nil,
		"one":        {"live"},
		"several":    {"live", "room 1", "camera", "video"},
		"separators": {"a/b", `c\d`, "e\x00f", "\xff\xfe"},
		"empty last": {"live", ""},
		"empty only": {""},
		"long":       {strings.Repeat("x", 127), strings.Repeat("y", 128), strings.Repeat("z", 20_000)},
	} {
		t.Run(name, func(t *testing.T) {
			p := NewPath(parts...)
			if got := p.Parts(); !slices.Equal(got, parts) {
				t.Errorf("Parts() = %q, want %q", got, parts)
			}
			if p.Len() != len(parts) {
				t.Errorf("Len() = %d, want %d", p.Len(), len(parts))
			}
			if got, want := p.Size(), len(strings.Join(parts, "")); got != want {
				t.Errorf("Size() = %d, want %d", got, want)
			}
			prefixes := slices.Collect(p.Prefixes())
			if len(prefixes) != len(parts)+1 {
				t.Errorf("%d prefixes, want %d", len(prefixes), len(parts)+1)
			}
			for i, prefix := range prefixes {
				rest, ok := p.TrimPrefix(prefix)
				if prefix != NewPath(parts[:i]...) || !ok || rest != NewPath(parts[i:]...) || prefix.Join(rest) != p {
					t.Errorf("prefix %d is %q, the rest %q", i, prefix, rest)
				}
			}
			if len(parts) > 0 && (p.Last() != parts[len(parts)-1] || p.Parent().Append(p.Last()) != p) {
				t.Errorf("Parent() = %q, Last() = %q", p.Parent(), p.Last())
			}
		})
	}
}

func TestPathsDiffer(t *testing.T) {
	paths := []Path{
		{},
		NewPath(""), NewPath("", ""), NewPath("a"), NewPath("a", ""), NewPath("", "a"),
		NewPath("a", "b"), NewPath("a/b"), NewPath("ab"), NewPath("b", "a"), NewPath("\x01a"),
	}
	for i, p := range paths {
		for j, q := range paths {
			if (p == q) != (i == j) {
				t.Errorf("%q == %q is %v", p.Parts(), q.Parts(), p == q)
			}
		}
	}
}

func TestPathHasPrefix(t *testing.T) {
	for _, tc := range []struct {
		path, prefix Path
		want         bool
		reason       string
	}{
		{NewPath("a", "b"), Path{}, true, "the root is above everything"},
		{NewPath("a", "b"), NewPath("a"), true, "a parent"},
		{NewPath("a", "b"), NewPath("a", "b"), true, "itself"},
		{NewPath("a"), NewPath("a", "b"), false, "a child is no prefix"},
		{NewPath("ab"), NewPath("a"), false, "parts are whole"},
		{NewPath("a/b"), NewPath("a"), false, "a separator in a part separates nothing"},
		{NewPath("a"), NewPath(""), false, "an empty part is a part"},
	} {
		if got := tc.path.HasPrefix(tc.prefix); got != tc.want {
			t.Errorf("%s: %q.HasPrefix(%q) = %v", tc.reason, tc.path.Parts(), tc.prefix.Parts(), got)
		}
	}
}

func TestParsePath(t *testing.T) {
	for in, want := range map[string]Path{
		"":            {},
		"/":           {},
		"live":        NewPath("live"),
		"/live//cam/": NewPath("live", "cam"),
	} {
		if got := ParsePath(in); got != want {
			t.Errorf("ParsePath(%q) = %q, want %q", in, got.Parts(), want.Parts())
		}
	}
}

func TestPathString(t *testing.T) {
	for want, p := range map[string]Path{
		"":              {},
		"live/camera 1": NewPath("live", "camera 1"),
		"é/日本":          NewPath("é", "日本"),
		`"a/b"/c`:       NewPath("a/b", "c"),
		`a/""`:          NewPath("a", ""),
		`"\xff"/"\n"`:   NewPath("\xff", "\n"),
	} {
		if got := p.String(); got != want {
			t.Errorf("%q.String() = %s, want %s", p.Parts(), got, want)
		}
	}
}

// TestPathInLogs: a path is a name in a JSON log as well.
func TestPathInLogs(t *testing.T) {
	got, err := json.Marshal(map[string]Path{"track": NewPath("demo", "a/b")})
	if want := `{"track":"demo/\"a/b\""}`; err != nil || string(got) != want {
		t.Errorf("got %s, %v; want %s", got, err, want)
	}
}

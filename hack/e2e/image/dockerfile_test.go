package image

import (
	"encoding/json"
	"maps"
	"os"
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// The Dockerfile is for those who have an engine. What it builds is what Build
// writes: the same files, user, entrypoint, labels and ports.
func TestDockerfileBuildsTheSame(t *testing.T) {
	b, err := os.ReadFile("../../../Dockerfile")
	if err != nil {
		t.Fatal(err)
	}
	args := map[string]string{"VERSION": release.Version, "REVISION": release.Revision}
	stages := parseDockerfile(t, string(b), args)
	for _, i := range Products(release) {
		t.Run(i.Name, func(t *testing.T) {
			got, ok := stages[i.Name]
			if !ok {
				t.Fatalf("no target %s", i.Name)
			}
			want := stage{
				base:       "scratch",
				files:      i.Files(),
				user:       i.User,
				workdir:    "/",
				entrypoint: i.Entrypoint,
				labels:     i.Labels,
				ports:      i.Ports,
			}
			if diff := cmp.Diff(want, got, cmp.AllowUnexported(stage{})); diff != "" {
				t.Errorf("target %s (-image +Dockerfile):\n%s", i.Name, diff)
			}
		})
	}
}

// The programs are compiled alike: the flags that shape them are those of compile.
func TestDockerfileCompilesTheSame(t *testing.T) {
	b, err := os.ReadFile("../../../Dockerfile")
	if err != nil {
		t.Fatal(err)
	}
	text := strings.Join(instructions(string(b)), "\n")
	for _, want := range []string{
		"CGO_ENABLED=0", "-trimpath", "-buildvcs=false", `-ldflags "-s -w -X ` + modules + `/relay.Version=$VERSION"`,
		"./cmd/moq-relay ./cmd/moq-operator ./cmd/moq", "--platform=$BUILDPLATFORM", "GOARCH=$TARGETARCH",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("the Dockerfile lacks %s", want)
		}
	}
}

// stage is what an image built at a stage of a Dockerfile would be.
type stage struct {
	base       string
	files      []string // sorted
	user       string
	workdir    string
	entrypoint []string
	labels     map[string]string
	ports      []string // sorted
}

// parseDockerfile follows the instructions that ours uses and refuses others in
// stages without a base, where they could change an image unseen.
func parseDockerfile(t *testing.T, text string, args map[string]string) map[string]stage {
	t.Helper()
	stages := map[string]stage{}
	var name string
	for _, line := range instructions(text) {
		verb, rest, _ := strings.Cut(line, " ")
		s := stages[name]
		switch verb {
		case "FROM":
			fields := strings.Fields(rest)
			fields = slices.DeleteFunc(fields, func(f string) bool { return strings.HasPrefix(f, "--") })
			if len(fields) != 3 || fields[1] != "AS" {
				t.Fatalf("%q: want FROM base AS name", line)
			}
			parent, ok := stages[fields[0]]
			if !ok {
				parent = stage{base: fields[0], labels: map[string]string{}}
			}
			name, s = fields[2], parent
			s.files, s.ports, s.labels = slices.Clone(s.files), slices.Clone(s.ports), maps.Clone(s.labels)
		case "COPY":
			fields := strings.Fields(rest)
			s.files = append(s.files, fields[len(fields)-1])
			if s.base == "scratch" && (len(fields) != 3 || path.Base(fields[1]) != path.Base(fields[2])) {
				t.Errorf("%q: want one file under its own name", line)
			}
		case "USER":
			s.user = rest
		case "WORKDIR":
			s.workdir = rest
		case "LABEL":
			for _, pair := range splitQuoted(rest) {
				key, value, _ := strings.Cut(pair, "=")
				s.labels[key] = os.Expand(value, func(arg string) string { return args[arg] })
			}
		case "EXPOSE":
			s.ports = append(s.ports, strings.Fields(rest)...)
		case "ENTRYPOINT":
			if err := json.Unmarshal([]byte(rest), &s.entrypoint); err != nil {
				t.Fatalf("%q: want a JSON list, so that no shell is called: %v", line, err)
			}
		case "ARG":
		case "RUN":
			if s.base == "scratch" {
				t.Errorf("%q: nothing can run in an image from scratch", line)
			}
		default:
			t.Fatalf("%q: this test does not know %s", line, verb)
		}
		slices.Sort(s.files)
		slices.Sort(s.ports)
		stages[name] = s
	}
	return stages
}

// instructions returns the lines of a Dockerfile, joined where they go on,
// without comments.
func instructions(text string) []string {
	var lines []string
	for line := range strings.Lines(strings.ReplaceAll(text, "\\\n", " ")) {
		line = strings.Join(strings.Fields(line), " ")
		if line != "" && !strings.HasPrefix(line, "#") {
			lines = append(lines, line)
		}
	}
	return lines
}

// splitQuoted splits at spaces outside double quotes, and drops the quotes.
func splitQuoted(s string) []string {
	quoted := false
	fields := strings.FieldsFunc(s, func(r rune) bool {
		if r == '"' {
			quoted = !quoted
		}
		return r == ' ' && !quoted
	})
	for i, f := range fields {
		fields[i] = strings.ReplaceAll(f, `"`, "")
	}
	return fields
}

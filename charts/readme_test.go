package charts

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"
)

var update = flag.Bool("update", false, "rewrite what is generated: the values in README.md")

const (
	readmeFile = "moq-operator/README.md"
	valuesFile = "moq-operator/values.yaml"
	valuesMark = "<!-- values: go test ./charts -update -->\n"
	valuesEnd  = "<!-- /values -->"
)

// A value is one of values.yaml with its comment.
type value struct {
	path    string
	meaning string
	deflt   string
}

// A section is the values below a line "# @section NAME" and the comment after it.
type section struct {
	name, text string
	values     []value
}

// TestReadme (U41, U44) holds that README.md describes every value, with the
// comments of values.yaml as its words.
func TestReadme(t *testing.T) {
	text, err := os.ReadFile(readmeFile)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := bytes.Cut(text, []byte(valuesMark))
	_, after, ended := bytes.Cut(rest, []byte(valuesEnd))
	if !ok || !ended {
		t.Fatalf("%s has no %q and %q", readmeFile, valuesMark, valuesEnd)
	}
	want := slices.Concat(before, []byte(valuesMark), table(sections(t)), []byte(valuesEnd), after)
	if *update {
		if err := os.WriteFile(readmeFile, want, 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(string(want), string(text)); diff != "" {
		t.Errorf("%s is out of date, go test ./charts -update rewrites it (-want +got):\n%s", readmeFile, diff)
	}
}

func table(sections []section) []byte {
	var b bytes.Buffer
	for _, s := range sections {
		fmt.Fprintf(&b, "\n### %s\n\n", s.name)
		if s.text != "" {
			fmt.Fprintf(&b, "%s\n\n", s.text)
		}
		fmt.Fprintf(&b, "| value | default | meaning |\n|---|---|---|\n")
		for _, v := range s.values {
			fmt.Fprintf(&b, "| `%s` | %s | %s |\n", v.path, v.deflt, strings.ReplaceAll(v.meaning, "|", `\|`))
		}
	}
	b.WriteString("\n")
	return b.Bytes()
}

// sections reads values.yaml, and wants a comment at every value.
func sections(t *testing.T) []section {
	t.Helper()
	text, err := os.ReadFile(valuesFile)
	if err != nil {
		t.Fatal(err)
	}
	var values map[string]any
	if err := yaml.UnmarshalStrict(text, &values); err != nil {
		t.Fatal(err)
	}
	var all []section
	var parents []string // by depth
	var meaning string   // of the next value
	heading := false
	described := map[string]bool{}
	for line := range strings.Lines(string(text)) {
		bare := strings.TrimSpace(line)
		depth := (len(line) - len(strings.TrimLeft(line, " "))) / 2
		switch {
		case strings.HasPrefix(bare, "# @section "):
			all, heading = append(all, section{name: strings.TrimPrefix(bare, "# @section ")}), true
		case strings.HasPrefix(bare, "# -- "):
			meaning = strings.TrimPrefix(bare, "# -- ")
		case strings.HasPrefix(bare, "# ") && heading:
			s := &all[len(all)-1]
			s.text = strings.TrimSpace(s.text + "\n" + strings.TrimPrefix(bare, "# "))
		case bare == "":
			heading = false
		case !strings.HasPrefix(bare, "#") && !strings.HasPrefix(bare, "- "):
			key, _, _ := strings.Cut(bare, ":")
			parents = append(parents[:min(depth, len(parents))], key)
			if meaning == "" {
				continue
			}
			path := strings.Join(parents, ".")
			s := &all[len(all)-1]
			s.values = append(s.values, value{path, meaning, deflt(t, lookUp(values, parents))})
			described[path], meaning = true, ""
		}
	}
	undescribed(t, "", values, described)
	return all
}

// lookUp returns the value of a path.
func lookUp(values map[string]any, path []string) any {
	var v any = values
	for _, key := range path {
		m, _ := v.(map[string]any)
		v = m[key]
	}
	return v
}

// deflt shows a default.
func deflt(t *testing.T, v any) string {
	t.Helper()
	if v == "" {
		return ""
	}
	shown, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return "`" + strings.Trim(string(shown), `"`) + "`"
}

// undescribed complains of values that neither have a comment nor lie in one
// that has.
func undescribed(t *testing.T, path string, v any, described map[string]bool) {
	t.Helper()
	if described[path] {
		return
	}
	m, ok := v.(map[string]any)
	if !ok || len(m) == 0 {
		t.Errorf("%s: %s has no comment that begins with \"--\"", valuesFile, path)
		return
	}
	for key, v := range m {
		undescribed(t, strings.TrimPrefix(path+"."+key, "."), v, described)
	}
}

// TestSchema (U41) holds that every value is in the schema, and that the schema
// has no other.
func TestSchema(t *testing.T) {
	var schema map[string]any
	read(t, "moq-operator/values.schema.json", &schema)
	definitions := schema["definitions"].(map[string]any)
	var inSchema []string
	var walk func(path string, s map[string]any)
	walk = func(path string, s map[string]any) {
		if ref, ok := s["$ref"].(string); ok {
			s = definitions[strings.TrimPrefix(ref, "#/definitions/")].(map[string]any)
		}
		properties, ok := s["properties"].(map[string]any)
		if !ok {
			inSchema = append(inSchema, path)
			return
		}
		if path != "global" && s["additionalProperties"] != false {
			t.Errorf("%s takes any value", path)
		}
		for name, p := range properties {
			walk(strings.TrimPrefix(path+"."+name, "."), p.(map[string]any))
		}
	}
	walk("", schema)
	inSchema = slices.DeleteFunc(inSchema, func(path string) bool { return path == "enabled" }) // is an umbrella chart's
	var inValues []string
	for _, s := range sections(t) {
		for _, v := range s.values {
			inValues = append(inValues, v.path)
		}
	}
	slices.Sort(inSchema)
	slices.Sort(inValues)
	if diff := cmp.Diff(inValues, inSchema); diff != "" {
		t.Errorf("-values.yaml +schema:\n%s", diff)
	}
}

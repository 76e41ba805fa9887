package schemas

import (
	"io/fs"
	"slices"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// TestSchemasExplain: every schema is of the draft that it is meant to be of, and
// says what each property means, and that there may be others.
func TestSchemasExplain(t *testing.T) {
	names, err := fs.Glob(files, "*.json")
	if err != nil || len(names) == 0 {
		t.Fatalf("schemas %v, %v", names, err)
	}
	for _, name := range names {
		s := Load(t, name)
		if s.compiled.DraftVersion != 2020 || s.compiled.Title == "" {
			t.Errorf("%s is of draft %d and has the title %q", name, s.compiled.DraftVersion, s.compiled.Title)
		}
		for place, property := range s.described {
			if !strings.HasSuffix(property.Description, ".") {
				t.Errorf("%s: %s is described as %q", name, place, property.Description)
			}
		}
		explained(t, name, s.compiled)
	}
}

// explained holds that the objects of a schema are open, and say so.
func explained(t *testing.T, name string, js *jsonschema.Schema) {
	t.Helper()
	if len(js.Properties) > 0 && (js.AdditionalProperties != true || !strings.Contains(js.Description, "Fields are only ever added")) {
		t.Errorf("%s: %q does not say that fields are added", name, js.Title)
	}
	below := append(slices.Clone(js.AnyOf), js.Ref, js.Items2020)
	for _, property := range js.Properties {
		below = append(below, property)
	}
	for _, b := range below {
		if b != nil {
			explained(t, name, b)
		}
	}
}

// TestCheck: what the schemas of announcements and of states make of answers that
// they were not written for.
func TestCheck(t *testing.T) {
	for name, tc := range map[string]struct {
		schema, answer, want string
	}{
		"as it should be":     {"announced.json", `[{"path":"a","hops":["1"]}]`, ""},
		"nothing":             {"announced.json", `[]`, ""},
		"no JSON":             {"announced.json", `a`, "no JSON"},
		"of another type":     {"announced.json", `[{"path":null,"hops":[]}]`, "got null, want string"},
		"one missing":         {"announced.json", `[{"path":"a"}]`, "missing property 'hops'"},
		"one that is unknown": {"announced.json", `[{"path":"a","hops":[],"cost":1}]`, "[].cost is served and not described"},
		"no time":             {"state.json", `{"cluster":"live","at":"today","nodes":[],"broadcasts":[]}`, "date-time"},
		"a look":              {"state.json", `{"cluster":"live","at":"2026-01-02T03:04:05.6Z","nodes":[],"broadcasts":[]}`, ""},
	} {
		t.Run(name, func(t *testing.T) {
			err := Load(t, tc.schema).check(tc.answer)
			if (err == nil) != (tc.want == "") || err != nil && !strings.Contains(err.Error(), tc.want) {
				t.Errorf("%v, want %q", err, tc.want)
			}
		})
	}
}

// TestMissing: what no answer had is known, by where it would stand.
func TestMissing(t *testing.T) {
	s := Load(t, "announced.json")
	if err := s.check(`[]`); err != nil {
		t.Fatal(err)
	}
	if got := s.missing(); !slices.Equal(got, []string{"[].hops", "[].path"}) {
		t.Errorf("after an empty answer %q are missing", got)
	}
	if err := s.check(`[{"path":"a","hops":[]}]`); err != nil {
		t.Fatal(err)
	}
	if got := s.missing(); len(got) > 0 {
		t.Errorf("after an answer with all of it %q are missing", got)
	}
	if state := Load(t, "state.json"); !slices.Contains(state.missing(), ".nodes[].info.peers[].node") {
		t.Errorf("what another schema describes is unknown: %q", state.missing())
	}
}

// Package schemas holds the JSON Schemas of what relays and the status page
// answer, and holds answers to them. The schemas are for everybody, the code is
// for tests: it stands beside the programs and is in none of them.
//
// A schema allows fields that it does not describe, since fields are only ever
// added. A test is stricter: what is served is described, and what is described
// is served.
package schemas

import (
	"embed"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

//go:embed *.json
var files embed.FS

// Schema is one of the schemas, and what a test has seen of it. It is for one
// goroutine.
type Schema struct {
	name      string
	compiled  *jsonschema.Schema
	described map[string]*jsonschema.Schema // properties by where they stand, such as [].tracks[].group
	served    map[string]struct{}
}

// Load returns the schema in the file of a name.
func Load(t *testing.T, name string) *Schema {
	t.Helper()
	s, err := load(name)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func load(name string) (*Schema, error) {
	c := jsonschema.NewCompiler()
	c.UseLoader(loader{})
	c.AssertFormat()
	compiled, err := c.Compile(scheme + name)
	if err != nil {
		return nil, fmt.Errorf("schema %s: %w", name, err)
	}
	s := &Schema{
		name:      name,
		compiled:  compiled,
		described: make(map[string]*jsonschema.Schema),
		served:    make(map[string]struct{}),
	}
	s.describe("", compiled)
	return s, nil
}

// scheme begins the names by which schemas are loaded and refer to each other.
const scheme = "embedded:///"

// loader finds schemas among the files.
type loader struct{}

// Load returns the document of a name.
func (loader) Load(url string) (any, error) {
	f, err := files.Open(strings.TrimPrefix(url, scheme))
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	return jsonschema.UnmarshalJSON(f)
}

// describe puts down the properties that js describes, for what stands at a place.
func (s *Schema) describe(at string, js *jsonschema.Schema) {
	if js.Ref != nil {
		s.describe(at, js.Ref)
	}
	for _, alternative := range js.AnyOf {
		s.describe(at, alternative)
	}
	if js.Items2020 != nil {
		s.describe(at+"[]", js.Items2020)
	}
	for name, property := range js.Properties {
		s.described[at+"."+name] = property
		s.describe(at+"."+name, property)
	}
}

// Check holds an answer to the schema: it is valid, and all in it is described.
func (s *Schema) Check(t *testing.T, answer string) {
	t.Helper()
	if err := s.check(answer); err != nil {
		t.Errorf("%v in\n%s", err, answer)
	}
}

func (s *Schema) check(answer string) error {
	value, err := jsonschema.UnmarshalJSON(strings.NewReader(answer))
	if err != nil {
		return fmt.Errorf("%s: no JSON: %w", s.name, err)
	}
	if err := s.compiled.Validate(value); err != nil {
		return fmt.Errorf("%s: %w", s.name, err)
	}
	seen := make(map[string]struct{})
	properties(seen, "", value)
	for place := range seen {
		if s.described[place] == nil {
			return fmt.Errorf("%s: %s is served and not described", s.name, place)
		}
		s.served[place] = struct{}{}
	}
	return nil
}

// properties puts down the properties of a value, which stands at a place.
func properties(seen map[string]struct{}, at string, value any) {
	switch v := value.(type) {
	case map[string]any:
		for name, property := range v {
			seen[at+"."+name] = struct{}{}
			properties(seen, at+"."+name, property)
		}
	case []any:
		for _, item := range v {
			properties(seen, at+"[]", item)
		}
	}
}

// CheckServed holds that the answers so far have had all that the schema describes.
func (s *Schema) CheckServed(t *testing.T) {
	t.Helper()
	for _, place := range s.missing() {
		t.Errorf("%s: %s is described, and no answer had it", s.name, place)
	}
}

func (s *Schema) missing() []string {
	var places []string
	for _, place := range slices.Sorted(maps.Keys(s.described)) {
		if _, ok := s.served[place]; !ok {
			places = append(places, place)
		}
	}
	return places
}

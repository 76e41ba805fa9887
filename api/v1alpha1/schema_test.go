package v1alpha1_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	crdvalidation "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/validation"
	structuralschema "k8s.io/apiextensions-apiserver/pkg/apiserver/schema"
	schemacel "k8s.io/apiextensions-apiserver/pkg/apiserver/schema/cel"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/cel/model"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/defaulting"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/listtype"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/pruning"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/validation"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/apimachinery/pkg/util/version"
	celconfig "k8s.io/apiserver/pkg/apis/cel"
	"k8s.io/apiserver/pkg/cel/environment"
	kjson "sigs.k8s.io/json"
	"sigs.k8s.io/yaml"

	"github.com/moqrelay/moqrelay/api/v1alpha1"
)

// apiServer does to a manifest what the API server's own packages do to it: it
// reads strictly, defaults and validates by the generated definition.
type apiServer struct {
	structural *structuralschema.Structural
	schema     validation.SchemaValidator
	cel        *schemacel.Validator
}

func definition(t *testing.T) *apiextensionsv1.CustomResourceDefinition {
	t.Helper()
	data, err := os.ReadFile("../../config/crd/moqrelay.io_relayclusters.yaml")
	if err != nil {
		t.Fatal(err)
	}
	crd := &apiextensionsv1.CustomResourceDefinition{}
	if err := yaml.UnmarshalStrict(data, crd); err != nil {
		t.Fatal(err)
	}
	return crd
}

func newAPIServer(t *testing.T) *apiServer {
	t.Helper()
	var internal apiextensions.CustomResourceValidation
	schema := definition(t).Spec.Versions[0].Schema
	if err := apiextensionsv1.Convert_v1_CustomResourceValidation_To_apiextensions_CustomResourceValidation(schema, &internal, nil); err != nil {
		t.Fatal(err)
	}
	structural, err := structuralschema.NewStructural(internal.OpenAPIV3Schema)
	if err != nil {
		t.Fatal(err)
	}
	validator, _, err := validation.NewSchemaValidator(internal.OpenAPIV3Schema)
	if err != nil {
		t.Fatal(err)
	}
	return &apiServer{structural, validator, schemacel.NewValidator(structural, true, celconfig.PerCallLimit)}
}

// admit returns the object as it would be stored, and what the API server has
// against it.
func (s *apiServer) admit(ctx context.Context, t *testing.T, manifest []byte) (map[string]any, []string) {
	t.Helper()
	raw, err := yaml.YAMLToJSONStrict(manifest)
	if err != nil {
		return nil, []string{err.Error()}
	}
	var obj map[string]any
	if err := kjson.UnmarshalCaseSensitivePreserveInts(raw, &obj); err != nil {
		t.Fatal(err)
	}
	var problems []string
	unknown := pruning.PruneWithOptions(obj, s.structural, true, structuralschema.UnknownFieldPathOptions{TrackUnknownFieldPaths: true})
	for _, path := range unknown {
		problems = append(problems, `unknown field "`+path+`"`)
	}
	defaulting.Default(obj, s.structural)
	errs := validation.ValidateCustomResource(nil, obj, s.schema)
	errs = append(errs, listtype.ValidateListSetsAndMaps(nil, s.structural, obj)...)
	if !blocks(errs) {
		more, _ := s.cel.Validate(ctx, nil, s.structural, obj, nil, celconfig.RuntimeCELCostBudget)
		errs = append(errs, more...)
	}
	for _, err := range errs {
		problems = append(problems, err.Error())
	}
	return obj, problems
}

// blocks says whether the API server skips CEL after errs.
func blocks(errs field.ErrorList) bool {
	for _, err := range errs {
		switch err.Type {
		case field.ErrorTypeNotSupported, field.ErrorTypeRequired, field.ErrorTypeTooLong, field.ErrorTypeTooMany, field.ErrorTypeTypeInvalid:
			return true
		default:
		}
	}
	return false
}

// Client-side kubectl apply keeps the object in an annotation, which may not
// exceed 262144 bytes; 250 kB leaves room for the other annotations.
func TestDefinitionFitsClientSideApply(t *testing.T) {
	raw, err := json.Marshal(definition(t))
	if err != nil {
		t.Fatal(err)
	}
	if len(raw) > 250_000 {
		t.Errorf("definition is %d bytes of JSON, want at most 250000", len(raw))
	}
}

// The API server refuses a definition whose schema is not structural, whose
// rules do not compile or cost too much, or whose defaults break its rules.
func TestDefinitionIsAccepted(t *testing.T) {
	crd := definition(t)
	apiextensionsv1.SetDefaults_CustomResourceDefinition(crd)
	apiextensionsv1.SetDefaults_CustomResourceDefinitionSpec(&crd.Spec)
	crd.Status.StoredVersions = []string{"v1alpha1"}
	var internal apiextensions.CustomResourceDefinition
	if err := apiextensionsv1.Convert_v1_CustomResourceDefinition_To_apiextensions_CustomResourceDefinition(crd, &internal, nil); err != nil {
		t.Fatal(err)
	}
	for _, err := range crdvalidation.ValidateCustomResourceDefinition(t.Context(), &internal) {
		t.Error(err)
	}
}

func TestInvalidManifests(t *testing.T) {
	server := newAPIServer(t)
	for _, file := range manifests(t, "invalid", 25) {
		t.Run(file.name, func(t *testing.T) {
			first, _, _ := strings.Cut(string(file.data), "\n")
			want, ok := strings.CutPrefix(first, "# want: ")
			if !ok {
				t.Fatalf("first line is %q, want # want: <substring of the message>", first)
			}
			if _, problems := server.admit(t.Context(), t, file.data); !strings.Contains(strings.Join(problems, "\n"), want) {
				t.Errorf("API server says %q, want %q", problems, want)
			}
			if _, err := v1alpha1.Decode(file.data); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("Decode says %q, want %q", err, want)
			}
		})
	}
}

func TestValidManifests(t *testing.T) {
	server := newAPIServer(t)
	files := append(manifests(t, "valid", 5), samples(t)...)
	for _, file := range files {
		t.Run(file.name, func(t *testing.T) {
			stored, problems := server.admit(t.Context(), t, file.data)
			if len(problems) > 0 {
				t.Fatalf("API server says %q", problems)
			}
			got, err := v1alpha1.Decode(file.data)
			if err != nil {
				t.Fatal(err)
			}
			want := &v1alpha1.RelayCluster{}
			if err := runtime.DefaultUnstructuredConverter.FromUnstructuredWithValidation(stored, want, true); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("Decode and the API server's defaults differ (-API server +Decode):\n%s", diff)
			}
		})
	}
}

type manifest struct {
	name string
	data []byte
}

func manifests(t *testing.T, folder string, least int) []manifest {
	t.Helper()
	files := read(t, "testdata/"+folder+"/*.yaml")
	if len(files) < least {
		t.Fatalf("%d manifests in %s, want %d or more", len(files), folder, least)
	}
	return files
}

// samples returns each RelayCluster of the samples. What stands beside it in a
// file is held against an API server by the tests of the chart.
func samples(t *testing.T) []manifest {
	t.Helper()
	var clusters []manifest
	for _, file := range read(t, "../../config/samples/*.yaml") {
		for i, document := range bytes.Split(file.data, []byte("\n---\n")) {
			if bytes.Contains(document, []byte("\nkind: RelayCluster\n")) {
				clusters = append(clusters, manifest{fmt.Sprintf("%s/%d", file.name, i), document})
			}
		}
	}
	if len(clusters) < 10 {
		t.Fatalf("%d RelayClusters in the samples, want 10 or more", len(clusters))
	}
	return clusters
}

func read(t *testing.T, glob string) []manifest {
	t.Helper()
	names, err := filepath.Glob(glob)
	if err != nil {
		t.Fatal(err)
	}
	var files []manifest
	for _, name := range names {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, manifest{strings.TrimSuffix(filepath.Base(name), ".yaml"), data})
	}
	return files
}

// What is refused of a change, and not of what it leads to.
func TestRefusedChanges(t *testing.T) {
	server := newAPIServer(t)
	const head = "apiVersion: moqrelay.io/v1alpha1\nkind: RelayCluster\nmetadata: {name: live}\nspec: "
	const own, joined = head + "{root: {}}", head + "{externalRoot: {hosts: [root.example.com]}}"
	for _, test := range []struct {
		name, before, after string
		want                string
	}{
		{"a root of its own is given up", own, joined, "root: root and externalRoot cannot be exchanged"},
		{"a root of its own is taken up", joined, own, "root: root and externalRoot cannot be exchanged"},
		{"the root of the other cluster moves", joined, head + "{externalRoot: {hosts: [new.example.com]}}", ""},
		{"the root grows", own, head + "{root: {replicas: 2}}", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			before, _ := server.admit(t.Context(), t, []byte(test.before))
			after, problems := server.admit(t.Context(), t, []byte(test.after))
			if len(problems) > 0 {
				t.Fatalf("it is refused by itself: %q", problems)
			}
			errs, _ := server.cel.Validate(t.Context(), nil, server.structural, after, before, celconfig.RuntimeCELCostBudget)
			got := ""
			if err := errs.ToAggregate(); err != nil {
				got = err.Error()
			}
			if !strings.Contains(got, test.want) || (test.want == "") != (got == "") {
				t.Errorf("API server says %q, want %q", got, test.want)
			}
		})
	}
}

// The oldest Kubernetes that the chart installs into takes the rules. An API
// server lets new rules use what the version before it knew.
func TestRulesOfOldestKubernetes(t *testing.T) {
	data, err := os.ReadFile("../../charts/moq-operator/Chart.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var chart struct {
		KubeVersion string `json:"kubeVersion"`
	}
	if err := yaml.Unmarshal(data, &chart); err != nil {
		t.Fatal(err)
	}
	oldest, err := version.ParseSemantic(strings.TrimPrefix(chart.KubeVersion, ">="))
	if err != nil {
		t.Fatal(err)
	}
	env := environment.MustBaseEnvSet(oldest.SubtractMinor(1))
	rules := 0
	var walk func(at string, s *structuralschema.Structural)
	walk = func(at string, s *structuralschema.Structural) {
		compiled, err := schemacel.Compile(s, model.SchemaDeclType(s, s.XEmbeddedResource), celconfig.PerCallLimit, env, schemacel.NewExpressionsEnvLoader())
		if err != nil {
			t.Fatal(err)
		}
		for i, rule := range compiled {
			rules++
			if rule.Error != nil {
				t.Errorf("%s: %s: %v", at, s.XValidations[i].Rule, rule.Error)
			}
		}
		for name := range s.Properties {
			field := s.Properties[name]
			walk(at+"."+name, &field)
		}
		if s.Items != nil {
			walk(at+"[]", s.Items)
		}
		if s.AdditionalProperties != nil && s.AdditionalProperties.Structural != nil {
			walk(at+"{}", s.AdditionalProperties.Structural)
		}
	}
	spec := newAPIServer(t).structural.Properties["spec"]
	walk("spec", &spec)
	if rules < 50 {
		t.Errorf("%d rules, want all of them", rules)
	}
}

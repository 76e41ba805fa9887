package v1alpha1_test

import (
	"strings"
	"testing"

	"github.com/moqrelay/moqrelay/api/v1alpha1"
)

const small = `apiVersion: moqrelay.io/v1alpha1
kind: RelayCluster
metadata: {name: live}
spec: {root: {}}
`

// What has no schema to offend; the manifests under testdata are for the rest.
func TestDecode(t *testing.T) {
	for _, test := range []struct {
		name, manifest string
		want           string // of the error
	}{
		{"a manifest", small, ""},
		{"JSON", `{"apiVersion": "moqrelay.io/v1alpha1", "kind": "RelayCluster", "metadata": {"name": "live"}, "spec": {"root": {}}}`, ""},
		{"after a comment and a line", "# a cluster\n---\n" + small, ""},
		{"before a line", small + "---\n# nothing follows\n", ""},
		{"nothing", "", "the manifest is empty"},
		{"only a comment", "# nothing\n", "the manifest is empty"},
		{"two documents", small + "---\n" + small, "give each RelayCluster a file of its own"},
		{"another kind", "apiVersion: v1\nkind: Pod\nmetadata: {name: live}\n", "kind Pod of v1: want kind RelayCluster of moqrelay.io/v1alpha1"},
		{"a list", "apiVersion: moqrelay.io/v1alpha1\nkind: RelayClusterList\nitems: []\n", "want kind RelayCluster"},
		{"another version", strings.Replace(small, "v1alpha1", "v1", 1), "want kind RelayCluster of moqrelay.io/v1alpha1"},
		{"no kind", "metadata: {name: live}\n", "'Kind' is missing"},
		{"a field twice", small + "spec: {}\n", `"spec" already set`},
		{"no YAML", "spec:\n\troot: {}\n", "line 2"},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := v1alpha1.Decode([]byte(test.manifest))
			switch {
			case test.want == "" && err != nil:
				t.Error(err)
			case test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)):
				t.Errorf("got %v, want %q", err, test.want)
			}
		})
	}
}

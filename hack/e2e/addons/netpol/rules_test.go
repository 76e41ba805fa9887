package netpol

import (
	"bytes"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"sigs.k8s.io/yaml"
)

var update = flag.Bool("update", false, "rewrite the expected rules in testdata")

// Each folder of testdata holds a cluster and the rules that enforce its policies.
func TestRules(t *testing.T) {
	inputs, err := filepath.Glob("testdata/*/input.yaml")
	if err != nil || len(inputs) == 0 {
		t.Fatalf("no testdata: %v", err)
	}
	for _, input := range inputs {
		dir := filepath.Dir(input)
		t.Run(filepath.Base(dir), func(t *testing.T) {
			c := readCluster(t, input)
			got := Rules(c)
			expected := filepath.Join(dir, "expected.nft")
			if *update {
				if err := os.WriteFile(expected, got, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(expected)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), string(got)); diff != "" {
				t.Errorf("rules (-want +got); -update rewrites them:\n%s", diff)
			}
			slices.Reverse(c.Pods)
			slices.Reverse(c.Policies)
			if !bytes.Equal(Rules(c), got) {
				t.Error("the rules depend on the order of what they are made from")
			}
			checkSyntax(t, got)
		})
	}
}

// A pod that has just gone may still claim the address of one that has just
// come; nft would refuse a map with the same address twice.
func TestNewerPodHasTheAddress(t *testing.T) {
	pod := func(name string, created time.Time) *corev1.Pod {
		return &corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name, CreationTimestamp: metav1.NewTime(created)},
			Status:     corev1.PodStatus{PodIP: "10.244.1.2"},
		}
	}
	born := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for _, pods := range [][]*corev1.Pod{
		{pod("old", born), pod("new", born.Add(time.Second))},
		{pod("new", born.Add(time.Second)), pod("old", born)},
	} {
		got := addressed(pods)
		if len(got) != 1 || got[0].Name != "new" {
			t.Errorf("of old and new, %d have the address, the first is %s; want new alone", len(got), got[0].Name)
		}
	}
}

// checkSyntax lets nft read the rules without loading them, where it may.
func checkSyntax(t *testing.T, rules []byte) {
	t.Helper()
	if _, err := exec.LookPath("nft"); err != nil || os.Geteuid() != 0 {
		return
	}
	cmd := exec.Command("nft", "--check", "--file", "-")
	cmd.Stdin = bytes.NewReader(rules)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("nft refuses the rules: %v\n%s", err, out)
	}
}

// readCluster reads the objects of a file, and the node that a comment of its
// first line names.
func readCluster(t *testing.T, path string) Cluster {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	c := Cluster{Namespaces: map[string]labels.Set{}}
	if first, _, _ := bytes.Cut(b, []byte("\n")); bytes.HasPrefix(first, []byte("# node: ")) {
		c.Node = string(bytes.TrimPrefix(first, []byte("# node: ")))
	}
	for document := range bytes.SplitSeq(b, []byte("\n---\n")) {
		var kind metav1.TypeMeta
		if err := yaml.Unmarshal(document, &kind); err != nil {
			t.Fatalf("%v in:\n%s", err, document)
		}
		switch kind.Kind {
		case "Pod":
			c.Pods = append(c.Pods, as[corev1.Pod](t, document))
		case "NetworkPolicy":
			c.Policies = append(c.Policies, as[networkingv1.NetworkPolicy](t, document))
		case "Namespace":
			n := as[corev1.Namespace](t, document)
			c.Namespaces[n.Name] = n.Labels
		default:
			t.Fatalf("kind %q in:\n%s", kind.Kind, document)
		}
	}
	return c
}

func as[T any](t *testing.T, document []byte) *T {
	t.Helper()
	v := new(T)
	if err := yaml.UnmarshalStrict(document, v); err != nil {
		t.Fatalf("%v in:\n%s", err, document)
	}
	return v
}

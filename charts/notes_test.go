package charts

import (
	"context"
	"regexp"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/moqrelay/moqrelay/api/v1alpha1"
)

// notes returns what Helm prints after an installation.
func notes(t *testing.T, settings ...string) string {
	t.Helper()
	args := []string{"install", release, chart, "--namespace", namespace, "--dry-run=client"}
	for _, s := range settings {
		args = append(args, "--set-json", s)
	}
	_, text, ok := strings.Cut(mustRun(t, "helm 4", args...), "\nNOTES:\n")
	if !ok {
		t.Fatal("there are no notes")
	}
	return text
}

// heredoc is the manifest in the notes.
var heredoc = regexp.MustCompile(`(?s)<<YAML\n(.*?) +YAML\n`)

// manifestOfNotes returns the RelayCluster that the notes apply.
func manifestOfNotes(t *testing.T) map[string]any {
	t.Helper()
	found := heredoc.FindStringSubmatch(notes(t))
	if found == nil {
		t.Fatal("the notes hold no manifest")
	}
	if n := strings.Count(found[1], "\n"); n > 12 {
		t.Errorf("the manifest has %d lines, 12 are the most (U7)", n)
	}
	var o map[string]any
	if err := yaml.UnmarshalStrict([]byte(found[1]), &o); err != nil {
		t.Fatal(err)
	}
	return o
}

// TestNotes (U6) holds that the notes give every step from here to media: the
// manifest, what to wait for, which ports to open, how to publish and to watch,
// how to have it tested, and what uninstalling leaves.
func TestNotes(t *testing.T) {
	tests := map[string]struct {
		set    []string
		want   []string
		absent []string
	}{
		"Default": {nil, []string{
			"kubectl -n moq-system rollout status deployment/moq-operator",
			"kubectl apply --server-side -n default -f -",
			"kubectl -n default wait --for=condition=Ready --timeout=2m relaycluster/live",
			"UDP and TCP", "moq pub https://$eu", "moq sub https://$us",
			"helm test moq-operator -n moq-system", "docs/troubleshooting.md",
			"helm uninstall moq-operator leaves the definition",
		}, []string{"crds.enabled is false", "privateFrom", "port-forward"}},
		"Namespaced":   {[]string{`watchNamespaces=["tv","radio"]`}, []string{"the namespaces tv, radio", "kubectl -n tv wait", "https://live-eu.tv.svc", "RelayCluster live in tv"}, []string{"default"}},
		"NoDefinition": {[]string{"crds.enabled=false"}, []string{"crds.enabled is false"}, nil},
		"NoKeep":       {[]string{"crds.keep=false"}, []string{"helm uninstall moq-operator deletes all RelayClusters"}, []string{"leaves the definition"}},
		"NoTest":       {[]string{"test.enabled=false"}, nil, []string{"helm test"}},
		"Demo":         {[]string{"demo.enabled=true", `demo.nodes=[{"name":"eu","region":"eu","url":"https://eu.example.com"}]`, `demo.path="/tv/"`}, []string{"http://localhost:8080/tv/", "kubectl -n moq-system port-forward service/moq-operator-demo 8080:80"}, nil},
		"Monitored":    {[]string{"monitoring.podMonitor.enabled=true"}, []string{"spec.networkPolicy.privateFrom"}, nil},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			text := notes(t, tt.set...)
			for _, want := range tt.want {
				if !strings.Contains(text, want) {
					t.Errorf("the notes do not say %q:\n%s", want, text)
				}
			}
			for _, absent := range tt.absent {
				if strings.Contains(text, absent) {
					t.Errorf("the notes say %q:\n%s", absent, text)
				}
			}
		})
	}
}

func served(ctx context.Context) error { return plane.Client.List(ctx, &v1alpha1.RelayClusterList{}) }

// TestTestPod (U42) holds that the pod of helm test has no rights, reaches the
// regions by name with the cluster's own authority, and is admitted where the
// restricted Pod Security Standard holds.
func TestTestPod(t *testing.T) {
	manifest, err := render(t, "helm 4", chart, `test.namespace="tv"`, `test.cluster="show"`, "test.port=8443")
	if err != nil {
		t.Fatal(err)
	}
	pod, ok := decode(t, manifest)["Pod/moq-operator-test.tv"].(*corev1.Pod)
	if !ok {
		t.Fatal("there is no test")
	}
	if pod.Annotations["helm.sh/hook"] != "test" || !strings.Contains(pod.Annotations["helm.sh/hook-delete-policy"], "hook-succeeded") {
		t.Errorf("annotations %v", pod.Annotations)
	}
	publish, watch := pod.Spec.InitContainers[0], pod.Spec.Containers[0]
	for _, c := range []struct {
		args        []string
		command, to string
	}{{publish.Args, "pub", "https://show-eu.tv.svc:8443"}, {watch.Args, "sub", "https://show-us.tv.svc:8443"}} {
		if c.args[0] != c.command || c.args[1] != c.to {
			t.Errorf("arguments %v, want %s %s", c.args, c.command, c.to)
		}
	}
	if got := pod.Spec.Volumes[0].ConfigMap.Name; got != "show-trust" {
		t.Errorf("it trusts ConfigMap %s", got)
	}
	if pod.Spec.AutomountServiceAccountToken == nil || *pod.Spec.AutomountServiceAccountToken || pod.Spec.ActiveDeadlineSeconds == nil {
		t.Error("it has a token, or no deadline")
	}

	plane.Start(t)
	makeNamespace(t, "tv")
	account := &corev1.ServiceAccount{}
	account.Namespace, account.Name = "tv", "default"
	if err := plane.Client.Create(t.Context(), account); client.IgnoreAlreadyExists(err) != nil {
		t.Fatal(err)
	}
	if err := plane.Client.Create(t.Context(), pod, client.DryRunAll); err != nil {
		t.Error(err)
	}
}

func imageOfTest(t *testing.T, o client.Object) string {
	t.Helper()
	pod, ok := o.(*corev1.Pod)
	if !ok {
		t.Fatal("there is no test")
	}
	return pod.Spec.Containers[0].Image
}

package charts

import (
	"maps"
	"testing"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/labels"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// TestDemo holds that the page for browsers is not there unless it is wanted,
// and that it then names the relays it was given, has no rights, is no operator
// to anybody, reaches nobody, and is admitted where the restricted Pod Security
// Standard holds.
func TestDemo(t *testing.T) {
	for id := range rendered(t) {
		switch id {
		case "Deployment/moq-operator-demo", "Service/moq-operator-demo", "NetworkPolicy/moq-operator-demo":
			t.Errorf("%s is there by default", id)
		}
	}
	all := rendered(t, append(everything, `demo.cluster="tv"`, `demo.path="/tv/"`, `demo.from=[{"namespaceSelector":{"matchLabels":{"a":"b"}}}]`)...)
	page := all["Deployment/moq-operator-demo"].(*appsv1.Deployment)
	template := page.Spec.Template
	c := template.Spec.Containers[0]
	want := []string{
		"page", "--listen=:8080", "--base=/tv/", "--cluster=tv",
		"--node=eu,eu,https://eu.example.com", "--node=us,us,http://192.0.2.7:30443",
	}
	if diff := cmp.Diff(want, c.Args); diff != "" {
		t.Errorf("arguments (-want +got):\n%s", diff)
	}
	if got, want := c.Image, imageOfClient(t); got != want {
		t.Errorf("image %s, want %s", got, want)
	}
	if token := template.Spec.AutomountServiceAccountToken; token == nil || *token {
		t.Error("it has a token of the API server")
	}

	operators := labels.SelectorFromSet(deployment(all).Spec.Selector.MatchLabels)
	pages := labels.SelectorFromSet(page.Spec.Selector.MatchLabels)
	if operators.Matches(labels.Set(template.Labels)) || template.Labels["app.kubernetes.io/name"] == "moq-operator" {
		t.Errorf("pods of the page pass for operators: %v", template.Labels)
	}
	if pages.Matches(labels.Set(deployment(all).Spec.Template.Labels)) || !pages.Matches(labels.Set(template.Labels)) {
		t.Errorf("selector %v", page.Spec.Selector.MatchLabels)
	}
	service := all["Service/moq-operator-demo"].(*corev1.Service)
	policy := all["NetworkPolicy/moq-operator-demo"].(*networkingv1.NetworkPolicy)
	for what, got := range map[string]map[string]string{"Service": service.Spec.Selector, "NetworkPolicy": policy.Spec.PodSelector.MatchLabels} {
		if !maps.Equal(got, page.Spec.Selector.MatchLabels) {
			t.Errorf("the %s selects %v", what, got)
		}
	}
	if len(policy.Spec.PolicyTypes) != 2 || len(policy.Spec.Egress) != 0 || len(policy.Spec.Ingress) != 1 || len(policy.Spec.Ingress[0].From) != 1 {
		t.Errorf("policy %+v", policy.Spec)
	}

	plane.Start(t)
	makeNamespace(t, "pages")
	account := &corev1.ServiceAccount{}
	account.Namespace, account.Name = "pages", "default"
	if err := plane.Client.Create(t.Context(), account); client.IgnoreAlreadyExists(err) != nil {
		t.Fatal(err)
	}
	pod := &corev1.Pod{ObjectMeta: template.ObjectMeta, Spec: template.Spec}
	pod.Namespace, pod.Name = "pages", "page"
	if err := plane.Client.Create(t.Context(), pod, client.DryRunAll); err != nil {
		t.Error(err)
	}
}

// imageOfClient returns the image of our client, as Artifact Hub is told of it.
func imageOfClient(t *testing.T) string {
	t.Helper()
	type image struct {
		Name      string   `json:"name"`
		Image     string   `json:"image"`
		Platforms []string `json:"platforms"`
	}
	for _, i := range annotation[[]image](t, chartMetadata(t), "images") {
		if i.Name == "moq" {
			return i.Image
		}
	}
	t.Fatal("Artifact Hub is not told of the image moq")
	return ""
}

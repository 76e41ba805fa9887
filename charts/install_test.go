package charts

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/moqrelay/moqrelay/api/v1alpha1"
	"github.com/moqrelay/moqrelay/controllers/clustertest"
)

// previous is the chart of the release before, as it was packaged.
const previous = "testdata/moq-operator-0.1.0.tgz"

// The two ways to install are one and the same installation.
func TestChartIsWhatKustomizeInstalls(t *testing.T) {
	chart, config := rendered(t), decode(t, kustomize(t))
	delete(config, "Namespace/"+namespace) // helm's --create-namespace
	var names []string
	for name := range config {
		names = append(names, name)
	}
	for name := range chart {
		if config[name] == nil {
			t.Errorf("config has no %s", name)
		}
	}
	slices.Sort(names)
	for _, name := range names {
		if chart[name] == nil {
			t.Errorf("the chart has no %s", name)
			continue
		}
		if diff := cmp.Diff(comparable(config[name]), comparable(chart[name])); diff != "" {
			t.Errorf("%s (-config +chart):\n%s", name, diff)
		}
	}
}

// comparable returns what of an object is to be the same, however it is
// installed.
func comparable(o client.Object) any {
	switch o := o.(type) {
	case *rbacv1.ClusterRole:
		aggregate := map[string]string{}
		for k, v := range o.Labels {
			if strings.HasPrefix(k, "rbac.authorization.k8s.io/") {
				aggregate[k] = v
			}
		}
		return []any{o.Rules, aggregate}
	case *rbacv1.Role:
		return o.Rules
	case *rbacv1.ClusterRoleBinding:
		return []any{o.RoleRef, o.Subjects}
	case *rbacv1.RoleBinding:
		return []any{o.RoleRef, o.Subjects}
	case *corev1.ServiceAccount:
		return o.Name
	case *corev1.Service:
		return o.Spec.Ports
	case *appsv1.Deployment:
		pod := o.Spec.Template.Spec.DeepCopy()
		for i := range pod.TopologySpreadConstraints {
			pod.TopologySpreadConstraints[i].LabelSelector = nil
		}
		return []any{o.Spec.Replicas, pod}
	case *policyv1.PodDisruptionBudget:
		return []any{o.Spec.MaxUnavailable, o.Spec.UnhealthyPodEvictionPolicy}
	case *networkingv1.NetworkPolicy:
		return []any{o.Spec.PolicyTypes, o.Spec.Ingress}
	case *apiextensionsv1.CustomResourceDefinition:
		return o.Spec
	default:
		panic(fmt.Sprintf("BUG: how to compare %T", o))
	}
}

func TestFilesAreCopies(t *testing.T) {
	var crd, chart, role, rules any
	read(t, "../config/crd/moqrelay.io_relayclusters.yaml", &crd)
	read(t, "moq-operator/files/moqrelay.io_relayclusters.yaml", &chart)
	if !reflect.DeepEqual(crd, chart) {
		t.Error("the chart's definition is not that of config/crd: run make generate")
	}
	read(t, "../config/rbac/role.yaml", &role)
	read(t, "moq-operator/files/rules.yaml", &rules)
	if diff := cmp.Diff(role.(map[string]any)["rules"], rules); diff != "" {
		t.Errorf("the chart's rules are not those of config/rbac, run make generate:\n%s", diff)
	}
}

// everything turns on what is off by default.
var everything = []string{
	"monitoring.podMonitor.enabled=true", "monitoring.prometheusRule.enabled=true", "monitoring.dashboard.enabled=true",
	"demo.enabled=true", `demo.nodes=[{"name":"eu","region":"eu","url":"https://eu.example.com"},{"name":"us","region":"us","url":"http://192.0.2.7:30443"}]`,
}

// TestTemplate (U40) holds that the chart renders by both versions of Helm, with
// monitors on, alone and in an umbrella chart, and to the same objects.
func TestTemplate(t *testing.T) {
	var first objects
	for _, version := range versions {
		t.Run(version, func(t *testing.T) {
			manifest, err := render(t, version, chart, everything...)
			if err != nil {
				t.Fatal(err)
			}
			alone := decode(t, manifest)
			for _, want := range []string{"PodMonitor/moq-operator", "PodMonitor/moq-operator-relays", "PrometheusRule/moq-operator", "ConfigMap/moq-operator-dashboard", "Deployment/moq-operator-demo"} {
				if alone[want] == nil {
					t.Errorf("there is no %s", want)
				}
			}
			if first == nil {
				first = alone
			} else if diff := cmp.Diff(first, alone); diff != "" {
				t.Errorf("the versions of Helm render different objects (-%s +%s):\n%s", versions[0], version, diff)
			}
			sub := decodeUmbrella(t, version)
			if got, want := container(sub).Image, "mirror.test/moqrelay/moq-operator:v0.2.0"; got != want {
				t.Errorf("in an umbrella chart the image is %q, want %q", got, want)
			}
			if got := deployment(sub).Spec.Template.Spec.ImagePullSecrets; len(got) != 2 || got[0].Name != "mine" || got[1].Name != "shared" {
				t.Errorf("pull secrets %v", got)
			}
		})
	}
}

// decodeUmbrella returns the objects of a chart that has ours as a part, turned
// on by a condition, with values of its own in global.
func decodeUmbrella(t *testing.T, version string) objects {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "umbrella")
	if err := os.CopyFS(filepath.Join(dir, "charts", chart), os.DirFS(chart)); err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string]string{
		"Chart.yaml": "apiVersion: v2\nname: umbrella\nversion: 1.0.0\ndependencies:\n- {name: moq-operator, version: '*', condition: moq-operator.enabled}\n",
		"values.yaml": "global: {imageRegistry: mirror.test, imagePullSecrets: [shared], domain: example.com}\n" +
			"moq-operator: {enabled: true, imagePullSecrets: [{name: mine}]}\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	manifest, err := render(t, version, dir)
	if err != nil {
		t.Fatal(err)
	}
	return decode(t, manifest)
}

func TestDefinition(t *testing.T) {
	const name, policy = "CustomResourceDefinition/relayclusters.moqrelay.io", "helm.sh/resource-policy"
	if got := rendered(t)[name].GetAnnotations()[policy]; got != "keep" {
		t.Errorf("policy %q: uninstalling would delete every RelayCluster", got)
	}
	if got, ok := rendered(t, "crds.keep=false")[name].GetAnnotations()[policy]; ok {
		t.Errorf("policy %q, want none", got)
	}
	if _, ok := rendered(t, "crds.enabled=false")[name]; ok {
		t.Error("the definition is there")
	}
}

// TestLifeOfARelease (U40) goes through what people do with a release: install
// the chart of the release before, upgrade to this one, which upgrades the
// definition too, and uninstall, which keeps definition and RelayClusters and
// says so.
func TestLifeOfARelease(t *testing.T) {
	plane.Start(t)
	for i, version := range versions {
		t.Run(version, func(t *testing.T) {
			ns := fmt.Sprintf("release-%d", i)
			removeDefinition(t) // one that another release made cannot be adopted
			defer removeDefinition(t)
			makeNamespace(t, ns)
			access := []string{"--kubeconfig", kubeconfig(t), "--namespace", ns}
			mustRun(t, version, append(access, "install", release, previous)...)
			cluster := &v1alpha1.RelayCluster{}
			cluster.Namespace, cluster.Name = ns, "live"
			cluster.Spec.Root = &v1alpha1.Root{}
			clustertest.Eventually(t, "RelayClusters are served", func(ctx context.Context) error {
				return client.IgnoreAlreadyExists(plane.Client.Create(ctx, cluster))
			})

			mustRun(t, version, append(access, "upgrade", release, chart)...)
			crd := &apiextensionsv1.CustomResourceDefinition{}
			if err := plane.Client.Get(t.Context(), client.ObjectKey{Name: "relayclusters.moqrelay.io"}, crd); err != nil {
				t.Fatal(err)
			}
			if got, want := crd.Labels["helm.sh/chart"], "moq-operator-0.2.0"; got != want {
				t.Errorf("the definition is that of %q, want %q", got, want)
			}
			operator := &appsv1.Deployment{}
			if err := plane.Client.Get(t.Context(), client.ObjectKey{Namespace: ns, Name: release}, operator); err != nil {
				t.Fatal(err)
			}
			if got := operator.Spec.Template.Spec.Containers[0].Image; !strings.HasSuffix(got, ":v0.2.0") {
				t.Errorf("the operator's image is %s", got)
			}

			if notes := mustRun(t, version, append(access, "get", "notes", release)...); !strings.Contains(notes, "helm uninstall moq-operator leaves the definition") {
				t.Errorf("the notes do not say what uninstalling leaves:\n%s", notes)
			}
			mustRun(t, version, append(access, "uninstall", release)...)
			if err := plane.Client.Get(t.Context(), client.ObjectKeyFromObject(cluster), cluster); err != nil {
				t.Errorf("uninstalling took the RelayCluster: %v", err)
			}
			if err := plane.Client.Get(t.Context(), client.ObjectKey{Namespace: ns, Name: release}, operator); !apierrors.IsNotFound(err) {
				t.Errorf("uninstalling left the operator: %v", err)
			}
		})
	}
}

// removeDefinition removes the CustomResourceDefinition and all RelayClusters.
func removeDefinition(t *testing.T) {
	t.Helper()
	crd := &apiextensionsv1.CustomResourceDefinition{}
	crd.Name = "relayclusters.moqrelay.io"
	if err := plane.Client.Delete(t.Context(), crd); client.IgnoreNotFound(err) != nil {
		t.Fatal(err)
	}
	clustertest.Eventually(t, "the definition is gone", func(ctx context.Context) error {
		err := plane.Client.Get(ctx, client.ObjectKeyFromObject(crd), crd)
		if apierrors.IsNotFound(err) {
			return nil
		}
		return fmt.Errorf("it is there: %w", err)
	})
}

func mustRun(t *testing.T, version string, args ...string) string {
	t.Helper()
	out, err := run(t, version, args...)
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

// What is rendered installs by server-side apply, on an API server with and
// without the definition, and upgrades itself.
func TestRenderedChartInstalls(t *testing.T) {
	plane.Start(t)
	for _, name := range []string{namespace, "a", "b"} {
		makeNamespace(t, name)
	}
	for _, settings := range [][]string{nil, nil, {"monitoring.dashboard.enabled=true", "demo.enabled=true", `demo.nodes=[{"name":"eu","region":"eu","url":"https://eu.example.com"}]`}, {`watchNamespaces=["a","b"]`, "crds.keep=false"}} {
		manifest, err := render(t, "helm 4", chart, settings...)
		if err != nil {
			t.Fatal(err)
		}
		for _, doc := range documents(t, manifest) {
			o := untyped(t, doc)
			if err := plane.Client.Apply(t.Context(), client.ApplyConfigurationFromUnstructured(o), client.FieldOwner("helm"), client.ForceOwnership); err != nil {
				t.Errorf("with %v: %s %s: %v", settings, o.GetKind(), o.GetName(), err)
			}
		}
	}
}

// config is installed by kubectl alone, twice: the second time upgrades.
func TestKustomizationInstalls(t *testing.T) {
	plane.Start(t)
	// The selector of a Deployment that Helm made is another one.
	operator := &appsv1.Deployment{}
	operator.Namespace, operator.Name = namespace, release
	if err := plane.Client.Delete(t.Context(), operator); client.IgnoreNotFound(err) != nil {
		t.Fatal(err)
	}
	for range 2 {
		for _, doc := range documents(t, kustomize(t)) {
			o := untyped(t, doc)
			if err := plane.Client.Apply(t.Context(), client.ApplyConfigurationFromUnstructured(o), client.FieldOwner("kubectl"), client.ForceOwnership); err != nil {
				t.Errorf("%s %s: %v", o.GetKind(), o.GetName(), err)
			}
		}
	}
}

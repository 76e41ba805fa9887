package charts

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	rbacv1 "k8s.io/api/rbac/v1"
)

func TestNamespacedRights(t *testing.T) {
	all, some := rendered(t), rendered(t, `watchNamespaces=["a","b"]`)
	want := all["ClusterRole/moq-operator"].(*rbacv1.ClusterRole).Rules
	for _, ns := range []string{"a", "b"} {
		role, ok := some["Role/moq-operator."+ns].(*rbacv1.Role)
		if !ok {
			t.Fatalf("there is no role in %s", ns)
		}
		if diff := cmp.Diff(want, role.Rules); diff != "" {
			t.Errorf("rules in %s (-cluster +role):\n%s", ns, diff)
		}
		binding := some["RoleBinding/moq-operator."+ns].(*rbacv1.RoleBinding)
		if s := binding.Subjects[0]; s.Name != "moq-operator" || s.Namespace != namespace || binding.RoleRef.Name != role.Name {
			t.Errorf("binding in %s: %+v", ns, binding)
		}
	}
	for id, o := range some {
		role, ok := o.(*rbacv1.ClusterRole)
		if !ok || !strings.Contains(id, "moq-operator") {
			continue
		}
		for _, rule := range role.Rules {
			if slices.Contains(rule.Resources, "secrets") {
				t.Errorf("%s reaches the Secrets of all namespaces", id)
			}
		}
	}
	if args := container(some).Args; !slices.Contains(args, "--watch-namespaces=a,b") {
		t.Errorf("arguments %v", args)
	}
}

// TestEditorsMakeNoPods (S29) holds that the role edit, which people get who may
// not make pods, does not let them make RelayClusters.
func TestEditorsMakeNoPods(t *testing.T) {
	const label = "rbac.authorization.k8s.io/aggregate-to-edit"
	for id, o := range rendered(t) {
		role, ok := o.(*rbacv1.ClusterRole)
		if !ok || role.Labels[label] != "true" && role.Labels["rbac.authorization.k8s.io/aggregate-to-view"] != "true" {
			continue
		}
		for _, rule := range role.Rules {
			for _, verb := range rule.Verbs {
				if !slices.Contains([]string{"get", "list", "watch"}, verb) {
					t.Errorf("%s lets editors %s %v", id, verb, rule.Resources)
				}
			}
		}
	}
}

func TestValues(t *testing.T) {
	digest := "sha256:" + strings.Repeat("0", 64)
	pod := func(o objects) corev1.PodTemplateSpec { return deployment(o).Spec.Template }
	tests := map[string]struct {
		set  []string
		look func(objects) any
		want any
	}{
		"Tag":             {[]string{`image.tag="v9"`}, func(o objects) any { return container(o).Image }, "ghcr.io/moqrelay/moq-operator:v9"},
		"DigestBeforeTag": {[]string{`image.tag="v9"`, `image.digest="` + digest + `"`}, func(o objects) any { return container(o).Image }, "ghcr.io/moqrelay/moq-operator@" + digest},
		"RelayImage":      {[]string{`relay.image={"registry":"registry.test","repository":"relay"}`}, func(o objects) any { return container(o).Args[2] }, "--relay-image=registry.test/relay:v0.2.0"},
		"NoRegistry":      {[]string{`image.registry=""`}, func(o objects) any { return container(o).Image }, "moqrelay/moq-operator:v0.2.0"},
		"Mirror": {[]string{`global.imageRegistry="mirror.test:5000/cache"`}, func(o objects) any {
			return []string{container(o).Image, container(o).Args[2]}
		}, []string{"mirror.test:5000/cache/moqrelay/moq-operator:v0.2.0", "--relay-image=mirror.test:5000/cache/moqrelay/moq-relay:v0.2.0"}},
		"NoMetrics": {[]string{"metrics.enabled=false"}, func(o objects) any {
			_, service := o["Service/moq-operator-metrics"]
			_, role := o["ClusterRole/moq-operator-metrics-auth"]
			policy := o["NetworkPolicy/moq-operator"].(*networkingv1.NetworkPolicy)
			return []any{service, role, slices.Contains(container(o).Args, "--metrics-bind=0"), len(container(o).Ports), len(policy.Spec.Ingress)}
		}, []any{false, false, true, 1, 0}},
		"NoAggregation": {[]string{"rbac.aggregate=false"}, func(o objects) any {
			_, viewer := o["ClusterRole/moq-operator-relaycluster-viewer"]
			return viewer
		}, false},
		"NoRights": {[]string{"rbac.create=false", "serviceAccount.create=false", `serviceAccount.name="mine"`}, func(o objects) any {
			var found []string
			for id := range o {
				if strings.Contains(id, "Role") || strings.Contains(id, "ServiceAccount") {
					found = append(found, id)
				}
			}
			return []any{found, pod(o).Spec.ServiceAccountName}
		}, []any{[]string(nil), "mine"}},
		"Account": {[]string{`serviceAccount={"name":"me","annotations":{"a":"b"}}`}, func(o objects) any {
			binding := o["ClusterRoleBinding/moq-operator"].(*rbacv1.ClusterRoleBinding)
			return []any{o["ServiceAccount/me"].GetAnnotations(), binding.Subjects[0].Name}
		}, []any{map[string]string{"a": "b"}, "me"}},
		"Scheduling": {[]string{`nodeSelector={"a":"b"}`, `tolerations=[{"key":"k","operator":"Exists"}]`, `priorityClassName="high"`, `podLabels={"team":"video"}`}, func(o objects) any {
			return []any{pod(o).Spec.NodeSelector, pod(o).Spec.Tolerations[0].Key, pod(o).Spec.PriorityClassName, pod(o).Labels["team"]}
		}, []any{map[string]string{"a": "b"}, "k", "high", "video"}},
		"Spread": {[]string{`topologySpreadConstraints=[{"maxSkew":1,"topologyKey":"zone","whenUnsatisfiable":"DoNotSchedule","labelSelector":{"matchLabels":{"x":"y"}}}]`}, func(o objects) any {
			return pod(o).Spec.TopologySpreadConstraints[0].LabelSelector.MatchLabels
		}, map[string]string{"x": "y"}},
		"SpreadOfTheRelease": {nil, func(o objects) any {
			return pod(o).Spec.TopologySpreadConstraints[0].LabelSelector.MatchLabels
		}, map[string]string{"app.kubernetes.io/name": "moq-operator", "app.kubernetes.io/instance": "moq-operator"}},
		"Bounds": {[]string{`allowedHostnameSuffixes=["example.com","example.net"]`}, func(o objects) any {
			return container(o).Args[7:]
		}, []string{"--allowed-hostname-suffixes=example.com,example.net"}},
		"Issuers": {[]string{`allowedIssuerKinds=["Issuer","ClusterIssuer"]`}, func(o objects) any {
			return container(o).Args[7:]
		}, []string{"--allowed-issuer-kinds=Issuer,ClusterIssuer"}},
		"NoIssuers": {[]string{`allowedIssuerKinds=[]`}, func(o objects) any {
			return container(o).Args[7:]
		}, []string{"--allowed-issuer-kinds="}},
		"IssuersOfTheNamespace": {nil, func(o objects) any { return len(container(o).Args) }, 7}, // is the operator's default
		"Extra": {[]string{`extraArgs=["--x={{ .Release.Name }}"]`, `extraEnv=[{"name":"A","value":"{{ .Release.Namespace }}"}]`, `extraObjects=[{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"{{ .Release.Name }}-x"}},"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: plain}\n"]`}, func(o objects) any {
			return []any{container(o).Args[7], container(o).Env[1], o["ConfigMap/moq-operator-x"] != nil, o["ConfigMap/plain"] != nil}
		}, []any{"--x=moq-operator", corev1.EnvVar{Name: "A", Value: namespace}, true, true}},
		"NameOverride": {[]string{`nameOverride="relays"`}, func(o objects) any {
			// The NetworkPolicies of relays let the operator in by this label.
			d := o["Deployment/moq-operator-relays"]
			return []any{d != nil, d.GetLabels()["app.kubernetes.io/name"]}
		}, []any{true, "moq-operator"}},
		"FullnameOverride": {[]string{`fullnameOverride="op"`}, func(o objects) any { return o["Deployment/op"] != nil }, true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, tt.look(rendered(t, tt.set...))); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

func TestCommonLabelsAndAnnotations(t *testing.T) {
	all := rendered(t, append(everything, `commonLabels={"team":"video","app.kubernetes.io/name":"other"}`, `commonAnnotations={"owner":"me"}`)...)
	for id, o := range all {
		if got := o.GetLabels()["team"]; got != "video" {
			t.Errorf("%s has label team %q", id, got)
		}
		if got := o.GetLabels()["app.kubernetes.io/name"]; got != "moq-operator" {
			t.Errorf("%s: commonLabels have changed its name to %q", id, got)
		}
		if got := o.GetAnnotations()["owner"]; got != "me" {
			t.Errorf("%s has annotation owner %q", id, got)
		}
	}
	if got := deployment(all).Spec.Template.Labels["team"]; got != "video" {
		t.Errorf("pods have label team %q", got)
	}
	if _, ok := deployment(all).Spec.Selector.MatchLabels["team"]; ok {
		t.Error("commonLabels are in the selector, which could never be changed again")
	}
}

func TestWrongValuesAreRefused(t *testing.T) {
	for set, want := range map[string]string{
		`replicas=3`:                                                      "replicas",
		`replicaCount="two"`:                                              "/replicaCount",
		`relayImage={"tag":"v1"}`:                                         "relayImage",
		`image.pullPolicy="Sometimes"`:                                    "/image/pullPolicy",
		`image.digest="latest"`:                                           "/image/digest",
		`image.repository="with space"`:                                   "/image/repository",
		`image.repository="host:5000/name"`:                               "/image/repository",
		`watchNamespaces="default"`:                                       "/watchNamespaces",
		`watchNamespaces=["Upper"]`:                                       "/watchNamespaces/0",
		`allowedHostnameSuffixes=["*.a.com"]`:                             "/allowedHostnameSuffixes/0",
		`allowedIssuerKinds=["issuer"]`:                                   "/allowedIssuerKinds/0",
		`allowedIssuerKinds="ClusterIssuer"`:                              "/allowedIssuerKinds",
		`metrics.port=80`:                                                 "/metrics/port",
		`logLevel="verbose"`:                                              "/logLevel",
		`crds.install=true`:                                               "install",
		`nodeSelector={"a":1}`:                                            "/nodeSelector/a",
		`imagePullSecrets=["not-named"]`:                                  "/imagePullSecrets/0",
		`extraEnv=[{"name":"POD_NAMESPACE"}]`:                             "/extraEnv/0",
		`extraArgs=["relay-image=x"]`:                                     "/extraArgs/0",
		`podDisruptionBudget.maxUnavailable=0`:                            "/podDisruptionBudget/maxUnavailable",
		`monitoring.podMonitor.interval="often"`:                          "/monitoring/podMonitor/interval",
		`monitoring.serviceMonitor.enabled=true`:                          "serviceMonitor",
		`test.cluster=""`:                                                 "/test/cluster",
		`demo.enabled=true`:                                               "/demo/nodes",
		`demo.nodes=[{"name":"eu","region":"eu","url":"eu.example.com"}]`: "/demo/nodes/0/url",
		`demo.nodes=[{"name":"eu,a","region":"eu","url":"https://eu.example.com"}]`:    "/demo/nodes/0/name",
		`demo.nodes=[{"name":"eu","region":"eu","url":"https://a;script-src https:"}]`: "/demo/nodes/0/url",
		`demo.path="/tv"`:                         "/demo/path",
		`enabled="yes"`:                           "/enabled",
		`global.imageRegistry={"host":"a"}`:       "/global/imageRegistry",
		`monitoring.prometheusRule.runbookURL=""`: "/monitoring/prometheusRule/runbookURL",
	} {
		t.Run(set, func(t *testing.T) {
			if _, err := render(t, "helm 4", chart, set); err == nil {
				t.Error("it was accepted")
			} else if !strings.Contains(strings.ReplaceAll(err.Error(), ".", "/"), want) {
				t.Errorf("refused with\n%v\nwhich does not name %s", err, want)
			}
		})
	}
}

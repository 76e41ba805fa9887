package relaycluster_test

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/moqrelay/moqrelay/api/v1alpha1"
	"github.com/moqrelay/moqrelay/controllers/clustertest"
)

// S31: no secret in status, events, annotations, logs. The log is that of the
// most talkative level, of all tests up to this one.
func TestS31NoSecretLeavesItsSecret(t *testing.T) {
	w := newWorld(t)
	w.kubelet()
	w.userSecret("broken", map[string][]byte{"tls.crt": []byte("canary-certificate-3141"), "tls.key": []byte("canary-key-2718")})
	w.apply("tls: {public: {secretRef: {name: broken}}}\n" + sample)
	w.untilCondition(v1alpha1.ConditionCertificatesReady, metav1.ConditionFalse, v1alpha1.ReasonSecretInvalid)
	w.apply(sample)
	w.ready()
	w.untilEvent(v1alpha1.ReasonReady)
	w.untilEvent(v1alpha1.ReasonSecretInvalid)

	needles := []string{"canary-certificate-3141", "canary-key-2718", "PRIVATE KEY"}
	for _, name := range []string{"live-ca", "live-eu-tls"} {
		key := string(w.pair(name).KeyPEM)
		body := strings.Split(key, "\n")[1]
		needles = append(needles, body, base64.StdEncoding.EncodeToString([]byte(key))[40:80])
	}
	places := map[string]any{"status": w.cluster()}
	var events corev1.EventList
	if err := plane.Client.List(t.Context(), &events, client.InNamespace(w.namespace)); err != nil {
		t.Fatal(err)
	}
	places["events"] = events
	for name, o := range w.children() {
		if _, ok := o.(*corev1.Secret); !ok {
			places[name] = o
		}
		places["annotations of "+name] = o.GetAnnotations()
	}
	texts := map[string]string{"log": operator.logs.String()}
	for place, o := range places {
		text, err := yaml.Marshal(o)
		if err != nil {
			t.Fatal(err)
		}
		texts[place] = string(text)
	}
	if len(texts["log"]) == 0 || len(events.Items) == 0 {
		t.Fatal("there is nothing to look through")
	}
	for place, text := range texts {
		for _, needle := range needles {
			if strings.Contains(text, needle) {
				t.Errorf("%s: holds %q", place, needle)
			}
		}
	}
}

// S32: the manager's metrics are for those whom Kubernetes lets read them, and
// profiles for nobody.
func TestS32MetricsAreAuthenticated(t *testing.T) {
	w := newWorld(t)
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "prometheus"}}
	if err := plane.Client.Create(t.Context(), account); err != nil {
		t.Fatal(err)
	}
	token, err := plane.Clientset.CoreV1().ServiceAccounts(w.namespace).CreateToken(t.Context(), account.Name, &authenticationv1.TokenRequest{}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if code, _ := readMetrics(t, "/metrics", ""); code != http.StatusUnauthorized {
		t.Errorf("without a token: %d, want 401", code)
	}
	if code, _ := readMetrics(t, "/metrics", token.Status.Token); code != http.StatusForbidden {
		t.Errorf("without the right: %d, want 403", code)
	}
	binding := &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: w.namespace + "-metrics"},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "moq-operator-metrics-reader"},
		Subjects:   []rbacv1.Subject{{Kind: "ServiceAccount", Namespace: w.namespace, Name: account.Name}},
	}
	if err := plane.Client.Create(t.Context(), binding); err != nil {
		t.Fatal(err)
	}
	// A refusal is remembered for a few seconds.
	clustertest.Eventually(t, "the metrics may be read", func(context.Context) error {
		code, body := readMetrics(t, "/metrics", token.Status.Token)
		if code != http.StatusOK || !strings.Contains(body, "controller_runtime_reconcile_total") {
			return fmt.Errorf("status %d", code)
		}
		return nil
	})
	if code, _ := readMetrics(t, "/debug/pprof/", token.Status.Token); code == http.StatusOK {
		t.Error("profiles are served")
	}
}

func readMetrics(t *testing.T, path, token string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://"+operator.metrics+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	transport := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}} // the certificate is made at start
	defer transport.CloseIdleConnections()
	res, err := (&http.Client{Transport: transport}).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(body)
}

// The operator's own pods pass the standard that its namespace enforces.
func TestOperatorPodsAreAdmitted(t *testing.T) {
	start(t)
	clustertest.Eventually(t, "the Deployment has its pods", func(ctx context.Context) error {
		var pods corev1.PodList
		if err := plane.Client.List(ctx, &pods, client.InNamespace(operatorNamespace)); err != nil {
			return err
		}
		if len(pods.Items) != 2 {
			return fmt.Errorf("%d pods of 2", len(pods.Items))
		}
		return nil
	})
}

// Who may edit a namespace may look at RelayClusters; who administers it may
// make them.
func TestRolesOfUsers(t *testing.T) {
	start(t)
	clustertest.Eventually(t, "the roles are aggregated", func(ctx context.Context) error {
		for name, want := range map[string][]string{"view": {"get"}, "edit": {"get"}, "admin": {"get", "create", "delete"}} {
			role := &rbacv1.ClusterRole{}
			if err := plane.Client.Get(ctx, client.ObjectKey{Name: name}, role); err != nil {
				return err
			}
			granted := map[clustertest.Verb]bool{}
			clustertest.AddRules(granted, role.Rules)
			for _, verb := range []string{"get", "create", "delete"} {
				v := clustertest.Verb{Group: "moqrelay.io", Resource: "relayclusters", Verb: verb}
				wanted := false
				for _, w := range want {
					wanted = wanted || w == verb
				}
				if granted[v] != wanted {
					return fmt.Errorf("%s may %s RelayClusters: %v", name, verb, granted[v])
				}
			}
		}
		return nil
	})
}

package relaycluster_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/moqrelay/moqrelay/api/v1alpha1"
	"github.com/moqrelay/moqrelay/controllers/clustertest"
	"github.com/moqrelay/moqrelay/controllers/pki"
)

// A second cluster joins the root of the first: its nodes are sent there, it has
// no root of its own, and the nodes of both trust both authorities.
func TestExternalRoot(t *testing.T) {
	w := newWorld(t)
	w.kubelet()
	w.apply("root: {}\nregions: [{name: eu}]\ntls: {internal: {trustSecretRefs: [{name: west-ca}]}}")
	w.untilCondition(v1alpha1.ConditionCertificatesReady, metav1.ConditionFalse, v1alpha1.ReasonSecretMissing)

	host := fmt.Sprintf("live-root-0.live-root-nodes.%s.svc:4443", w.namespace)
	west := parse(t, strings.Replace(manifest("externalRoot: {hosts: ['"+host+"'], caSecretRef: {name: live-ca}}\nregions: [{name: us}]"), "name: live}", "name: west}", 1))
	west.SetNamespace(w.namespace)
	applyAsUser(t, west)

	authorities := map[string][]byte{}
	for _, cluster := range []string{"live", "west"} {
		secret := &corev1.Secret{}
		eventually(w, cluster+"-ca", "the authority is there", secret, func(*corev1.Secret) error { return nil })
		authorities[cluster] = secret.Data[pki.KeyCert]
	}
	for _, cluster := range []string{"live", "west"} {
		eventually(w, cluster+"-trust", "the nodes of "+cluster+" trust both authorities", &corev1.ConfigMap{}, func(trust *corev1.ConfigMap) error {
			for name, authority := range authorities {
				if !strings.Contains(trust.Data["ca.crt"], strings.TrimSpace(string(authority))) {
					return fmt.Errorf("that of %s is not among them", name)
				}
			}
			return nil
		})
	}
	eventually(w, "west-us", "the nodes dial the first cluster's root", &appsv1.StatefulSet{}, func(set *appsv1.StatefulSet) error {
		if args := strings.Join(set.Spec.Template.Spec.Containers[0].Args, " "); !strings.Contains(args, "--cluster-root="+host) {
			return fmt.Errorf("arguments %s", args)
		}
		return nil
	})
	if err := plane.Client.Get(t.Context(), w.key("west-root"), &appsv1.StatefulSet{}); !apierrors.IsNotFound(err) {
		t.Errorf("the second cluster has a root of its own: %v", err)
	}
	clustertest.Eventually(t, "the second cluster is available", func(ctx context.Context) error {
		c := &v1alpha1.RelayCluster{}
		if err := plane.Client.Get(ctx, w.key("west"), c); err != nil {
			return err
		}
		if got := condition(c, v1alpha1.ConditionCertificatesReady); got.Status != metav1.ConditionTrue {
			return fmt.Errorf("%s: %s", got.Reason, got.Message)
		}
		return nil
	})

	// A Secret that is gone takes no trust with it.
	if err := plane.Client.Delete(t.Context(), west); err != nil {
		t.Fatal(err)
	}
	err := plane.Client.Delete(t.Context(), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "west-ca"}})
	if client.IgnoreNotFound(err) != nil { // the garbage collector may have been first
		t.Fatal(err)
	}
	w.apply("root: {}\nregions: [{name: eu}, {name: us}]\ntls: {internal: {trustSecretRefs: [{name: west-ca}]}}")
	w.untilCondition(v1alpha1.ConditionCertificatesReady, metav1.ConditionFalse, v1alpha1.ReasonSecretMissing)
	trust := &corev1.ConfigMap{}
	w.get("live-trust", trust)
	if !strings.Contains(trust.Data["ca.crt"], strings.TrimSpace(string(authorities["west"]))) {
		t.Error("the other authority is no longer trusted")
	}
}

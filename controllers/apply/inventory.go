package apply

import (
	"context"
	"encoding/json"
	"fmt"

	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/apiutil"
)

// Kinds returns an empty object of each kind that belongs to a RelayCluster.
func Kinds() []client.Object {
	return []client.Object{
		&corev1.Secret{}, &corev1.ConfigMap{}, &corev1.Service{},
		&appsv1.StatefulSet{}, &autoscalingv2.HorizontalPodAutoscaler{},
		&policyv1.PodDisruptionBudget{}, &networkingv1.NetworkPolicy{},
	}
}

func lists() []client.ObjectList {
	return []client.ObjectList{
		&corev1.SecretList{}, &corev1.ConfigMapList{}, &corev1.ServiceList{},
		&appsv1.StatefulSetList{}, &autoscalingv2.HorizontalPodAutoscalerList{},
		&policyv1.PodDisruptionBudgetList{}, &networkingv1.NetworkPolicyList{},
	}
}

// key identifies an object within a namespace.
type key struct {
	kind schema.GroupKind
	name string
}

// Inventory is what belonged to an owner when it was taken, and what of it has
// been applied since.
type Inventory struct {
	owner   client.Object
	scheme  *runtime.Scheme
	objects map[key]client.Object
	applied map[key]bool
}

// Take reads all objects of the owner that carry the labels.
func Take(ctx context.Context, r client.Reader, scheme *runtime.Scheme, owner client.Object, labels map[string]string) (*Inventory, error) {
	inv := &Inventory{owner: owner, scheme: scheme, objects: map[key]client.Object{}, applied: map[key]bool{}}
	for _, list := range lists() {
		if err := r.List(ctx, list, client.InNamespace(owner.GetNamespace()), client.MatchingLabels(labels)); err != nil {
			return nil, fmt.Errorf("list %T: %w", list, err)
		}
		err := meta.EachListItem(list, func(item runtime.Object) error { return inv.add(item) })
		if err != nil {
			return nil, err
		}
	}
	return inv, nil
}

func (i *Inventory) add(item runtime.Object) error {
	o, ok := item.(client.Object)
	if !ok || !metav1.IsControlledBy(o, i.owner) {
		return nil
	}
	k, err := i.key(o)
	if err != nil {
		return err
	}
	i.objects[k] = o
	return nil
}

func (i *Inventory) key(o client.Object) (key, error) {
	gvk, err := apiutil.GVKForObject(o, i.scheme)
	if err != nil {
		return key{}, err
	}
	return key{kind: gvk.GroupKind(), name: o.GetName()}, nil
}

// empty returns a new object of the kind, an unstructured one where the scheme
// has no type for it.
func (i *Inventory) empty(gvk schema.GroupVersionKind) (client.Object, error) {
	raw, err := i.scheme.New(gvk)
	if runtime.IsNotRegisteredError(err) {
		o := &unstructured.Unstructured{}
		o.SetGroupVersionKind(gvk)
		return o, nil
	}
	if err != nil {
		return nil, err
	}
	o, ok := raw.(client.Object)
	if !ok {
		return nil, fmt.Errorf("%s is no object", gvk)
	}
	return o, nil
}

// decode turns an answer of the API server into an object.
func (i *Inventory) decode(gvk schema.GroupVersionKind, answer Configuration) (client.Object, error) {
	o, err := i.empty(gvk)
	if err != nil {
		return nil, err
	}
	raw, err := json.Marshal(answer)
	if err != nil {
		return nil, err
	}
	return o, json.Unmarshal(raw, o)
}

// All returns the objects of one type, in no order.
func All[T client.Object](i *Inventory) []T {
	var all []T
	for _, o := range i.objects {
		if o, ok := o.(T); ok {
			all = append(all, o)
		}
	}
	return all
}

// Get returns the object of one type and name.
func Get[T client.Object](i *Inventory, name string) (T, bool) {
	for k, o := range i.objects {
		if o, ok := o.(T); ok && k.name == name {
			return o, true
		}
	}
	var none T
	return none, false
}

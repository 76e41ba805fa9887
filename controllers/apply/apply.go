package apply

import (
	"context"
	"errors"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// FieldManager owns every field that the operator applies.
const FieldManager = "moqrelay-operator"

// Configuration is the desired state of one object: any of client-go's
// generated apply configurations.
type Configuration interface {
	runtime.ApplyConfiguration
	GetAPIVersion() *string
	GetKind() *string
	GetName() *string
	GetNamespace() *string
}

// Applier writes objects.
type Applier struct {
	client client.Client
	live   client.Reader
	memory memory
}

// New returns an Applier that writes with c. It asks live, which must not read
// from a cache, about objects that an inventory does not show.
func New(c client.Client, live client.Reader) *Applier {
	return &Applier{client: c, live: live}
}

// ForeignError says that a wanted name is taken.
type ForeignError struct {
	Kind, Name string
}

// Error says what is taken and what to do.
func (e *ForeignError) Error() string {
	return fmt.Sprintf("%s %q exists and is not the operator's: delete it, or give the RelayCluster or the region another name", e.Kind, e.Name)
}

// Apply makes the object as desired, in the namespace of the inventory's owner,
// and puts what the API server made of it into the inventory. It asks nothing of the
// API server where the inventory shows what that made of the same state before.
func (a *Applier) Apply(ctx context.Context, inv *Inventory, desired Configuration) error {
	gv, err := schema.ParseGroupVersion(*desired.GetAPIVersion())
	if err != nil {
		return err
	}
	gvk := gv.WithKind(*desired.GetKind())
	k := key{kind: gvk.GroupKind(), name: *desired.GetName()}
	sum, err := sumOf(desired) // before the answer takes its place
	if err != nil {
		return err
	}
	seen, ok := inv.objects[k]
	if ok && a.memory.isSettled(inv.owner, k, sum, seen) {
		inv.applied[k] = true
		return nil
	}
	if !ok {
		if _, err := a.find(ctx, inv, gvk, k.name); err != nil {
			return err
		}
	}
	err = a.apply(ctx, desired)
	// If it is the desired state that is invalid, a repair fails as well.
	if apierrors.IsInvalid(err) && a.repair(ctx, inv, gvk, desired) == nil {
		err = a.apply(ctx, desired)
	}
	if err != nil {
		return fmt.Errorf("apply %s %q: %w", gvk.Kind, k.name, err)
	}
	made, err := inv.decode(gvk, desired)
	if err != nil {
		return err
	}
	inv.applied[k], inv.objects[k] = true, made
	a.memory.settle(inv.owner, k, sum, made)
	return nil
}

func (a *Applier) apply(ctx context.Context, desired Configuration) error {
	return a.client.Apply(ctx, desired, client.FieldOwner(FieldManager), client.ForceOwnership)
}

// find asks the API server for an object that the inventory does not show, which
// says little: it may have been made a moment ago, or have lost its labels. It
// returns nil if there is none, and fails if it is another's.
func (a *Applier) find(ctx context.Context, inv *Inventory, gvk schema.GroupVersionKind, name string) (client.Object, error) {
	found, err := inv.empty(gvk)
	if err != nil {
		return nil, err
	}
	err = a.live.Get(ctx, client.ObjectKey{Namespace: inv.owner.GetNamespace(), Name: name}, found)
	switch {
	case apierrors.IsNotFound(err):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("get %s %q: %w", gvk.Kind, name, err)
	case !metav1.IsControlledBy(found, inv.owner):
		return nil, &ForeignError{Kind: gvk.Kind, Name: name}
	default:
		return found, nil
	}
}

// Find puts an object into the inventory that Take does not list, because not
// every cluster knows its kind. One that is not there, or is another's, is left
// out.
func (a *Applier) Find(ctx context.Context, inv *Inventory, gvk schema.GroupVersionKind, name string) error {
	found, err := a.find(ctx, inv, gvk, name)
	if _, foreign := errors.AsType[*ForeignError](err); foreign || err == nil && found == nil {
		return nil
	}
	if err != nil {
		return err
	}
	return inv.add(found)
}

// Prune deletes what belonged to the owner and has not been applied since the
// inventory was taken. It returns the names of what it deleted.
func (a *Applier) Prune(ctx context.Context, inv *Inventory) ([]string, error) {
	var deleted []string
	for k, o := range inv.objects {
		if inv.applied[k] || o.GetDeletionTimestamp() != nil {
			continue
		}
		uid := o.GetUID()
		err := a.client.Delete(ctx, o, client.Preconditions{UID: &uid}, client.PropagationPolicy(metav1.DeletePropagationBackground))
		// A conflict is an object made anew under the old name: not the one seen.
		if apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
			continue
		}
		if err != nil {
			return deleted, fmt.Errorf("delete %s %q: %w", k.kind.Kind, k.name, err)
		}
		a.memory.drop(inv.owner, k)
		deleted = append(deleted, k.kind.Kind+"/"+k.name)
	}
	return deleted, nil
}

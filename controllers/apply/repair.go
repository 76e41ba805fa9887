package apply

import (
	"context"
	"encoding/json"

	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// forgetOwners resets an object's record of who set which field.
var forgetOwners = []byte(`{"metadata":{"managedFields":[{}]}}`)

// repair makes room for an apply that the API server found invalid because of
// what others added. Items of a list are told apart by some of their fields; who
// changes such a field by hand leaves an item that an apply adds ours to, instead
// of changing it back, and a Service with two ports of one name is invalid.
//
// Lists are replaced by those that are wanted. Fields that this sets would stay
// ours for good, whatever is applied later, so all owners are forgotten too: the
// apply that follows makes ours what it sets, and leaves the rest alone.
func (a *Applier) repair(ctx context.Context, inv *Inventory, gvk schema.GroupVersionKind, desired Configuration) error {
	o, err := inv.empty(gvk)
	if err != nil {
		return err
	}
	o.SetNamespace(inv.owner.GetNamespace())
	o.SetName(*desired.GetName())
	wanted, err := json.Marshal(desired)
	if err != nil {
		return err
	}
	for _, patch := range [][]byte{wanted, forgetOwners} {
		if err := a.client.Patch(ctx, o, client.RawPatch(types.MergePatchType, patch), client.FieldOwner(FieldManager)); err != nil {
			return err
		}
	}
	return nil
}

package v1alpha1

import (
	"fmt"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer/json"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
)

// Decode reads the manifest of one RelayCluster, in YAML or JSON, as an API
// server would with strict validation: unknown and doubled fields are errors,
// defaults are filled in, and Validate has nothing against it.
func Decode(manifest []byte) (*RelayCluster, error) {
	scheme := runtime.NewScheme()
	utilruntime.Must(AddToScheme(scheme))
	decoder := json.NewSerializerWithOptions(json.DefaultMetaFactory, scheme, scheme, json.SerializerOptions{Yaml: true, Strict: true})
	obj, _, err := decoder.Decode(manifest, nil, nil)
	if err != nil {
		return nil, err
	}
	c, ok := obj.(*RelayCluster)
	if !ok {
		return nil, fmt.Errorf("kind %s: want a manifest of kind %s", obj.GetObjectKind().GroupVersionKind().Kind, Kind)
	}
	Default(c)
	if errs := Validate(c); len(errs) > 0 {
		return nil, errs.ToAggregate()
	}
	return c, nil
}

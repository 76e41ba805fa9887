package v1alpha1

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer/json"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	"k8s.io/apimachinery/pkg/util/yaml"
)

// Decode reads the manifest of one RelayCluster, in YAML or JSON, as an API
// server would with strict validation: unknown and doubled fields are errors,
// defaults are filled in, and Validate has nothing against it.
func Decode(manifest []byte) (*RelayCluster, error) {
	document, err := onlyDocument(manifest)
	if err != nil {
		return nil, err
	}
	scheme := runtime.NewScheme()
	utilruntime.Must(AddToScheme(scheme))
	decoder := json.NewSerializerWithOptions(json.DefaultMetaFactory, scheme, scheme, json.SerializerOptions{Yaml: true, Strict: true})
	obj, gvk, err := decoder.Decode(document, nil, nil)
	switch {
	case runtime.IsNotRegisteredError(err), err == nil && gvk.Kind != Kind:
		return nil, fmt.Errorf("kind %s of %s: want kind %s of %s", gvk.Kind, gvk.GroupVersion(), Kind, GroupVersion)
	case err != nil:
		return nil, err
	}
	c := obj.(*RelayCluster)
	Default(c)
	if errs := Validate(c); len(errs) > 0 {
		return nil, errs.ToAggregate()
	}
	return c, nil
}

// onlyDocument returns the one document of a YAML file that is not empty.
func onlyDocument(manifest []byte) ([]byte, error) {
	var only []byte
	for r := yaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(manifest))); ; {
		document, err := r.Read()
		switch {
		case errors.Is(err, io.EOF) && only == nil:
			return nil, fmt.Errorf("the manifest is empty: want a %s", Kind)
		case errors.Is(err, io.EOF):
			return only, nil
		case err != nil:
			return nil, err
		case isComment(document):
		case only != nil:
			return nil, fmt.Errorf("the manifest holds several documents: give each %s a file of its own", Kind)
		default:
			only = document
		}
	}
}

// isComment reports whether a document says nothing.
func isComment(document []byte) bool {
	for line := range bytes.Lines(document) {
		if line = bytes.TrimSpace(line); len(line) > 0 && line[0] != '#' && !bytes.Equal(line, []byte("---")) {
			return false
		}
	}
	return true
}

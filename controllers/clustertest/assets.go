package clustertest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
)

// errNoAssets is why a suite cannot run here.
var errNoAssets = errors.New("no control plane to test with: run hack/e2e/build.sh and leave KUBEBUILDER_ASSETS unset")

// Tool returns the path of one of the control plane's programs, such as kubectl
// or helm, and skips or fails the test where it is missing.
func Tool(t *testing.T, name string) string {
	t.Helper()
	dir, err := assets()
	if err != nil {
		missing(t, err)
	}
	path := filepath.Join(dir, name)
	if _, err := os.Stat(path); err != nil {
		missing(t, fmt.Errorf("no %s in %s: run hack/e2e/build.sh and unset KUBEBUILDER_ASSETS", name, dir))
	}
	return path
}

// Root returns the top folder of the checkout.
func Root() string {
	_, file, _, ok := runtime.Caller(0)
	if !ok {
		panic("BUG: no caller information")
	}
	return filepath.Join(filepath.Dir(file), "..", "..")
}

// assets returns the folder of the binaries; it never builds them.
var assets = sync.OnceValues(func() (string, error) {
	if dir := os.Getenv("KUBEBUILDER_ASSETS"); dir != "" {
		return dir, nil
	}
	out, err := exec.CommandContext(context.Background(), filepath.Join(Root(), "hack", "e2e", "build.sh"), "--if-built").Output()
	if err != nil {
		return "", errNoAssets
	}
	return strings.TrimSpace(string(out)), nil
})

// missing ends a test for which the machine lacks something.
func missing(t *testing.T, err error) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatal(err)
	}
	t.Skip(err)
}

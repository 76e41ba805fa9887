package suite

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/moqrelay/moqrelay/api/v1alpha1"
	"github.com/moqrelay/moqrelay/hack/e2e/provider"
	"github.com/moqrelay/moqrelay/hack/e2e/rig"
)

// Cluster is the Kubernetes cluster to test on, as `e2e up` describes it.
type Cluster struct {
	rig.Description
	client.Client

	state string // folder of the cluster's own files
	root  string // of the repository
}

// open connects to the cluster, and skips the test where there is none.
func open(t *testing.T) *Cluster {
	t.Helper()
	file := os.Getenv(provider.EnvironmentCluster)
	if file == "" {
		t.Skipf("no cluster to test on: `make e2e` makes one, or set %s to the cluster.json of `e2e up`", provider.EnvironmentCluster)
	}
	c, err := openFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func openFile(file string) (*Cluster, error) {
	d, err := provider.Read(file)
	if err != nil {
		return nil, err
	}
	c := &Cluster{Description: d}
	if c.state, err = filepath.Abs(filepath.Dir(file)); err != nil {
		return nil, err
	}
	if c.root, err = filepath.Abs("../../.."); err != nil {
		return nil, err
	}
	config, err := clientcmd.BuildConfigFromFlags("", c.Kubeconfig)
	if err != nil {
		return nil, err
	}
	log.SetLogger(logr.Discard())     // errors come back
	config.QPS = -1                   // polls are paced already
	config.Timeout = 10 * time.Second // the API server is down in one of the events
	scheme := runtime.NewScheme()
	if err := errors.Join(clientgoscheme.AddToScheme(scheme), v1alpha1.AddToScheme(scheme)); err != nil {
		return nil, err
	}
	c.Client, err = client.New(config, client.Options{Scheme: scheme})
	return c, err
}

// region returns the machine of a region.
func (c *Cluster) region(t *testing.T, region string) rig.Node {
	t.Helper()
	for _, n := range c.Nodes {
		if n.Region == region {
			return n
		}
	}
	t.Fatalf("no node of region %s among %v: the suite wants nodes in eu and us", region, c.Nodes)
	return rig.Node{}
}

// path returns a path inside the repository.
func (c *Cluster) path(parts ...string) string {
	return filepath.Join(append([]string{c.root}, parts...)...)
}

// try runs a tool with something on its standard input, and returns what it
// wrote to both outputs.
func (c *Cluster) try(ctx context.Context, stdin, tool string, args ...string) (string, error) {
	cmd := c.Command(ctx, tool, args...)
	var out bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(stdin), &out, &out
	if err := cmd.Run(); err != nil {
		return out.String(), fmt.Errorf("%s %s: %w: %s", tool, strings.Join(args, " "), err, strings.TrimSpace(out.String()))
	}
	return out.String(), nil
}

// toolTime is how long a tool may run; what takes longer has a bound of its own.
const toolTime = 2 * time.Minute

// run runs a tool that has to succeed.
func (c *Cluster) run(t *testing.T, tool string, args ...string) string {
	t.Helper()
	return c.feed(t, "", tool, args...)
}

// feed runs a tool that has to succeed, with something on its standard input.
func (c *Cluster) feed(t *testing.T, stdin, tool string, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), toolTime)
	defer cancel()
	out, err := c.try(ctx, stdin, tool, args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// kubectl runs kubectl, which has to succeed.
func (c *Cluster) kubectl(t *testing.T, args ...string) {
	t.Helper()
	c.run(t, "kubectl", args...)
}

// apply applies a manifest as the documentation tells users to.
func (c *Cluster) apply(t *testing.T, namespace, manifest string) {
	t.Helper()
	c.feed(t, manifest, "kubectl", "apply", "--server-side", "-n", namespace, "-f", "-")
}

// pollEvery is how often a poll looks.
const pollEvery = 200 * time.Millisecond

// eventually polls until check returns nil, and fails the test with the last
// error when that takes too long.
func eventually(t *testing.T, within time.Duration, what string, check func(context.Context) error) {
	t.Helper()
	if err := poll(t.Context(), within, check); err != nil {
		t.Fatalf("%s: not within %v: %v", what, within, err)
	}
}

// poll calls check until it returns nil. The error is the last of check's.
func poll(ctx context.Context, within time.Duration, check func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	ticker := time.NewTicker(pollEvery)
	defer ticker.Stop()
	var last error
	for {
		err := check(ctx)
		if err == nil {
			return nil
		}
		if last == nil || ctx.Err() == nil { // the one of the end says only that time is over
			last = err
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return last
		}
	}
}

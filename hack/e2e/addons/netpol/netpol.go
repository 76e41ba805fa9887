// Package netpol enforces NetworkPolicies on one node of a test cluster, where
// no CNI plugin does: it watches pods, namespaces and policies, and after each
// change loads one nft table, in one step.
//
// It runs in the node's network namespace, one per node, as the command netpol:
//
//	nsenter --target PID --net netpol -kubeconfig FILE -node n1
//
// What always holds: IPv4 alone; rules are whole or as they were before; they
// stay while the API server is away, and go when Run ends. It passes the tests
// that Kubernetes has for such programs. What it does not do: a new pod is open
// until its address is in its status. The kernel must hand packets between pods
// of one node to nft (net.bridge.bridge-nf-call-iptables = 1).
package netpol

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"os/exec"
	"time"

	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
)

// retryAfter is how long a table that nft refused is left alone.
const retryAfter = time.Second

// Run enforces policies for the pods of a node, those of all nodes if node is
// "", until ctx is done. Then it removes its table.
func Run(ctx context.Context, client kubernetes.Interface, node string, log *slog.Logger) error {
	factory := informers.NewSharedInformerFactory(client, 0)
	w := watcher{factory: factory, node: node, changed: make(chan struct{}, 1)}
	for _, i := range []cache.SharedIndexInformer{
		factory.Core().V1().Pods().Informer(),
		factory.Core().V1().Namespaces().Informer(),
		factory.Networking().V1().NetworkPolicies().Informer(),
	} {
		if _, err := i.AddEventHandler(cache.ResourceEventHandlerFuncs{
			AddFunc:    func(any) { w.ring() },
			UpdateFunc: func(any, any) { w.ring() },
			DeleteFunc: func(any) { w.ring() },
		}); err != nil {
			return fmt.Errorf("watch: %w", err)
		}
	}
	factory.Start(ctx.Done())
	defer factory.Shutdown()
	factory.WaitForCacheSync(ctx.Done())

	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		if err := load(ctx, []byte("table "+table+"\ndelete table "+table+"\n")); err != nil {
			log.ErrorContext(ctx, "rules stay behind", "error", err)
		}
	}()
	w.loop(ctx, log)
	return nil
}

// watcher knows the cluster.
type watcher struct {
	factory informers.SharedInformerFactory
	node    string
	changed chan struct{} // holds one: many changes are one
}

func (w *watcher) ring() {
	select {
	case w.changed <- struct{}{}:
	default:
	}
}

// loop loads the rules whenever they change.
func (w *watcher) loop(ctx context.Context, log *slog.Logger) {
	var loaded []byte
	var retry <-chan time.Time
	for {
		select {
		case <-ctx.Done():
			return
		case <-w.changed:
		case <-retry:
		}
		c, err := w.cluster()
		if err != nil {
			log.ErrorContext(ctx, "cluster not read", "error", err)
			retry = time.After(retryAfter)
			continue
		}
		rules := Rules(c)
		if bytes.Equal(rules, loaded) {
			continue
		}
		if err := load(ctx, rules); err != nil {
			log.ErrorContext(ctx, "rules refused", "error", err, "rules", string(rules))
			retry = time.After(retryAfter)
			continue
		}
		loaded, retry = rules, nil
		log.InfoContext(ctx, "rules loaded", "pods", len(c.Pods), "policies", len(c.Policies))
	}
}

// cluster reads what is known now.
func (w *watcher) cluster() (Cluster, error) {
	c := Cluster{Namespaces: map[string]labels.Set{}, Node: w.node}
	var err error
	if c.Pods, err = w.factory.Core().V1().Pods().Lister().List(labels.Everything()); err != nil {
		return c, err
	}
	if c.Policies, err = w.factory.Networking().V1().NetworkPolicies().Lister().List(labels.Everything()); err != nil {
		return c, err
	}
	namespaces, err := w.factory.Core().V1().Namespaces().Lister().List(labels.Everything())
	for _, n := range namespaces {
		c.Namespaces[n.Name] = n.Labels
	}
	return c, err
}

// load gives text to nft, which takes all of it or nothing.
func load(ctx context.Context, text []byte) error {
	cmd := exec.CommandContext(ctx, "nft", "-f", "-")
	cmd.Stdin = bytes.NewReader(text)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("nft: %w: %s", err, bytes.TrimSpace(out))
	}
	return nil
}

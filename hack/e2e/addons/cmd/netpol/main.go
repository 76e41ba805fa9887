// Command netpol enforces NetworkPolicies in the network namespace that it is
// started in, until it is told to end. Package netpol says how.
package main

import (
	"context"
	"flag"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/moqrelay/moqrelay/hack/e2e/addons/netpol"
)

func main() {
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	kubeconfig := flag.String("kubeconfig", "", "file that says how to reach the API server")
	node := flag.String("node", "", "node whose pods are guarded; those of all nodes if empty")
	flag.Parse()

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *kubeconfig, *node, log); err != nil {
		log.Error("netpol ends", "error", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, kubeconfig, node string, log *slog.Logger) error {
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return err
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	return netpol.Run(ctx, client, node, log)
}

// Command cloud gives the Services of type LoadBalancer of a test cluster their
// addresses, and routes on this machine to them, until it is told to end.
// Package cloud says how.
package main

import (
	"context"
	"flag"
	"log/slog"
	"net/netip"
	"os"
	"os/signal"
	"syscall"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/moqrelay/moqrelay/hack/e2e/addons/cloud"
)

func main() {
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	kubeconfig := flag.String("kubeconfig", "", "file that says how to reach the API server")
	addresses := flag.String("range", "172.30.1.0/24", "addresses to give")
	routes := flag.Bool("routes", true, "set routes on this machine (needs root)")
	flag.Parse()

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *kubeconfig, *addresses, *routes, log); err != nil {
		log.Error("cloud ends", "error", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, kubeconfig, addresses string, routes bool, log *slog.Logger) error {
	o := cloud.Options{Log: log}
	var err error
	if o.Range, err = netip.ParsePrefix(addresses); err != nil {
		return err
	}
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return err
	}
	if o.Client, err = kubernetes.NewForConfig(config); err != nil {
		return err
	}
	if routes {
		o.Routes = cloud.HostRoutes{}
	}
	return cloud.Run(ctx, o)
}

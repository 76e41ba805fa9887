package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"runtime/debug"

	"github.com/go-logr/logr"
	"github.com/spf13/cobra"
	"k8s.io/client-go/rest"
	"k8s.io/klog/v2"
	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/moqrelay/moqrelay/api/v1alpha1"
	"github.com/moqrelay/moqrelay/controllers/relaycluster"
)

// usageError is a command line that makes no sense.
type usageError struct{ error }

// exitCode returns 2 for a wrong command line, 1 for all else.
func exitCode(err error) int {
	if _, ok := errors.AsType[usageError](err); ok {
		return 2
	}
	return 1
}

// newCommand returns the command with all its flags.
func newCommand() *cobra.Command {
	options := relaycluster.Options{MetricsBind: ":8443", HealthBind: ":8081", AllowedIssuerKinds: []string{v1alpha1.IssuerNamespaced}}
	var level, format string
	cmd := &cobra.Command{
		Use:   "moq-operator",
		Short: "Run RelayClusters on Kubernetes",
		Long: "moq-operator watches RelayClusters and runs a root and regions of relays for each.\n" +
			"It speaks to the API server of its pod, or of the kubeconfig that KUBECONFIG names.",
		Version:       version(),
		Args:          noArgs,
		SilenceUsage:  true,
		SilenceErrors: true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			log, err := newLogger(cmd.ErrOrStderr(), level, format)
			if err != nil {
				return usageError{err}
			}
			ctrl.SetLogger(log)
			klog.SetLogger(log)
			config, err := ctrl.GetConfig()
			if err != nil {
				return fmt.Errorf("no Kubernetes cluster to speak to, set KUBECONFIG or run in a pod: %w", err)
			}
			return run(ctrl.LoggerInto(cmd.Context(), log), config, options)
		},
	}
	cmd.SetFlagErrorFunc(func(_ *cobra.Command, err error) error {
		return usageError{fmt.Errorf("%w; see moq-operator --help", err)}
	})
	flags := cmd.Flags()
	flags.StringVar(&options.RelayImage, "relay-image", "", "`image` of relays whose RelayCluster names none")
	flags.StringSliceVar(&options.WatchNamespaces, "watch-namespaces", nil, "`names` of the namespaces whose RelayClusters to run; all when empty")
	flags.StringSliceVar(&options.AllowedHostnameSuffixes, "allowed-hostname-suffixes", nil, "`domains` under which hostnames of RelayClusters may be; any when empty")
	flags.StringSliceVar(&options.AllowedIssuerKinds, "allowed-issuer-kinds", options.AllowedIssuerKinds,
		"`kinds` of cert-manager's issuers that RelayClusters may name, besides Issuer also ClusterIssuer, or Kind.group for those of others; none when empty")
	flags.StringVar(&options.Namespace, "namespace", "", "`name` of the namespace that the operator runs in, for its lease and for network policies; that of its pod when empty")
	flags.BoolVar(&options.LeaderElect, "leader-elect", false, "work only while holding the lease, so that several replicas may run")
	flags.StringVar(&options.MetricsBind, "metrics-bind", options.MetricsBind, "`address` of the metrics, over TLS and for those who may get /metrics; 0 serves none")
	flags.StringVar(&options.HealthBind, "health-bind", options.HealthBind, "`address` of /livez and /readyz; 0 serves none")
	flags.StringVar(&level, "log-level", "info", "debug, info, warn or error")
	flags.StringVar(&format, "log-format", "json", "text or json")
	return cmd
}

func noArgs(_ *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usageError{fmt.Errorf("unexpected argument %q: everything is given by flags; see moq-operator --help", args[0])}
	}
	return nil
}

// run runs the manager until ctx ends.
func run(ctx context.Context, config *rest.Config, options relaycluster.Options) error {
	mgr, err := relaycluster.NewManager(config, options)
	if err != nil {
		return err
	}
	return mgr.Start(ctx)
}

// newLogger returns a logger that writes lines from the level on.
func newLogger(w io.Writer, level, format string) (logr.Logger, error) {
	var o slog.HandlerOptions
	var l slog.Level
	if err := l.UnmarshalText([]byte(level)); err != nil {
		return logr.Logger{}, fmt.Errorf("--log-level %q: want debug, info, warn or error", level)
	}
	o.Level = l
	switch format {
	case "json":
		return logr.FromSlogHandler(slog.NewJSONHandler(w, &o)), nil
	case "text":
		return logr.FromSlogHandler(slog.NewTextHandler(w, &o)), nil
	default:
		return logr.Logger{}, fmt.Errorf("--log-format %q: want text or json", format)
	}
}

// version returns that of the build.
func version() string {
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "devel"
}

package relaycluster

import (
	"fmt"
	"net/http"
	"os"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/selection"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
	"sigs.k8s.io/controller-runtime/pkg/metrics"
	"sigs.k8s.io/controller-runtime/pkg/metrics/filters"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/moqrelay/moqrelay/api/v1alpha1"
	"github.com/moqrelay/moqrelay/controllers/apply"
	"github.com/moqrelay/moqrelay/controllers/resources"
	"github.com/moqrelay/moqrelay/controllers/scrape"
)

// Paths at which the manager tells its health.
const (
	PathLive  = "/livez"
	PathReady = "/readyz"
)

// leaseName is the lease by which one of several managers leads.
const leaseName = "moq-operator"

// Options is what a manager can be told.
type Options struct {
	// MetricsBind is the address of the metrics, over TLS and for those whom
	// Kubernetes lets read /metrics; "0" serves none.
	MetricsBind string
	// HealthBind is the address of the probes; "0" serves none.
	HealthBind string
	// LeaderElect lets one of several managers work at a time.
	LeaderElect bool
	// Namespace is where the manager runs and keeps its lease; empty is that of
	// its pod.
	Namespace string
	// WatchNamespaces limits the manager to RelayClusters of these namespaces.
	WatchNamespaces []string
	// RelayImage is for RelayClusters that name none.
	RelayImage string
	// AllowedHostnameSuffixes are the domains under which hostnames of
	// RelayClusters may be; empty is any.
	AllowedHostnameSuffixes []string
	// AllowedIssuerKinds are the kinds of issuers that RelayClusters may name;
	// empty is none. One of another group than cert-manager's own has the group
	// behind it, as in Kind.example.com.
	AllowedIssuerKinds []string
	// Relays is the way to the private ports of relays; nil is the network.
	Relays http.RoundTripper
}

// Scheme returns the kinds that the operator reads and writes.
func Scheme() *runtime.Scheme {
	s := runtime.NewScheme()
	utilruntime.Must(clientgoscheme.AddToScheme(s))
	utilruntime.Must(v1alpha1.AddToScheme(s))
	// There are no types of cert-manager here, but options of requests to it.
	metav1.AddToGroupVersion(s, resources.CertificateKind.GroupVersion())
	return s
}

// podNamespaceFile is where a pod finds the name of its namespace.
const podNamespaceFile = "/var/run/secrets/kubernetes.io/serviceaccount/namespace"

// NewManager returns a manager that reconciles RelayClusters when started.
func NewManager(c *rest.Config, o Options) (ctrl.Manager, error) {
	if o.Namespace == "" {
		if name, err := os.ReadFile(podNamespaceFile); err == nil {
			o.Namespace = strings.TrimSpace(string(name))
		}
	}
	mgr, err := ctrl.NewManager(c, ctrl.Options{
		Scheme: Scheme(),
		Cache:  cacheOptions(o.WatchNamespaces),
		Metrics: metricsserver.Options{
			BindAddress:    o.MetricsBind,
			SecureServing:  true,
			FilterProvider: filters.WithAuthenticationAndAuthorization,
		},
		HealthProbeBindAddress: o.HealthBind,
		LivenessEndpointName:   PathLive,
		ReadinessEndpointName:  PathReady,

		LeaderElection:          o.LeaderElect,
		LeaderElectionID:        leaseName,
		LeaderElectionNamespace: o.Namespace,
		// The process ends when the manager does, so the next one need not wait.
		LeaderElectionReleaseOnCancel: true,
	})
	if err != nil {
		return nil, err
	}
	for _, add := range []func(string, healthz.Checker) error{mgr.AddHealthzCheck, mgr.AddReadyzCheck} {
		if err := add("ping", healthz.Ping); err != nil {
			return nil, err
		}
	}
	if o.Relays == nil {
		o.Relays = scrape.Transport()
	}
	nodes := scrape.New(listRelays(mgr.GetClient()), o.Relays)
	if err := mgr.Add(nodes); err != nil {
		return nil, err
	}
	steps := newStepTimer()
	for _, c := range []prometheus.Collector{collector{mgr.GetClient()}, steps.seconds} {
		// The registry outlives a manager; the one that came last is asked.
		metrics.Registry.Unregister(c)
		if err := metrics.Registry.Register(c); err != nil {
			return nil, err
		}
	}
	r := &Reconciler{
		Steps:                   steps,
		Nodes:                   nodes,
		Client:                  mgr.GetClient(),
		Live:                    mgr.GetAPIReader(),
		Applier:                 apply.New(mgr.GetClient(), mgr.GetAPIReader()),
		Recorder:                mgr.GetEventRecorder("moq-operator"),
		Image:                   o.RelayImage,
		AllowedHostnameSuffixes: o.AllowedHostnameSuffixes,
		AllowedIssuerKinds:      o.AllowedIssuerKinds,
		OperatorNamespace:       o.Namespace,
	}
	if err := r.SetupWithManager(mgr, nodes.Changes()); err != nil {
		return nil, fmt.Errorf("set up the controller: %w", err)
	}
	return mgr, nil
}

// cacheOptions keeps the cache to what belongs to a RelayCluster: of Secrets
// above all, those of others are never held.
func cacheOptions(namespaces []string) cache.Options {
	ours, err := labels.NewRequirement(resources.LabelCluster, selection.Exists, nil)
	if err != nil {
		panic(fmt.Sprintf("BUG: selector of our objects: %v", err))
	}
	o := cache.Options{
		DefaultTransform: cache.TransformStripManagedFields(),
		ByObject:         map[client.Object]cache.ByObject{},
	}
	for _, kind := range append(apply.Kinds(), &corev1.Pod{}) {
		by := cache.ByObject{Label: labels.NewSelector().Add(*ours)}
		if _, ok := kind.(*appsv1.StatefulSet); ok {
			// Who owns the number of pods is read from the managed fields.
			by.Transform = func(o any) (any, error) { return o, nil }
		}
		o.ByObject[kind] = by
	}
	for _, namespace := range namespaces {
		if o.DefaultNamespaces == nil {
			o.DefaultNamespaces = map[string]cache.Config{}
		}
		o.DefaultNamespaces[namespace] = cache.Config{}
	}
	return o
}

// ownerKey returns the RelayCluster that an object bears the label of.
func ownerKey(o metav1.Object) client.ObjectKey {
	return client.ObjectKey{Namespace: o.GetNamespace(), Name: o.GetLabels()[resources.LabelCluster]}
}

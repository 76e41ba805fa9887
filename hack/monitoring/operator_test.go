package monitoring

import (
	"bytes"
	"context"
	"errors"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/util/teststorage"
	ctrlmetrics "sigs.k8s.io/controller-runtime/pkg/metrics"

	"github.com/moqrelay/moqrelay/api/v1alpha1"
	"github.com/moqrelay/moqrelay/controllers/clustertest"
	"github.com/moqrelay/moqrelay/controllers/relaycluster"
)

var plane = clustertest.New(clustertest.Options{
	Scheme: relaycluster.Scheme(),
	CRDs:   []string{"config/crd/moqrelay.io_relayclusters.yaml"},
})

func TestMain(m *testing.M) { os.Exit(plane.Run(m)) }

// operated is what operatorFamilies returns, and whether it has run.
var operated struct {
	once     sync.Once
	families []*dto.MetricFamily
}

// operatorFamilies runs an operator with one RelayCluster at a real API server,
// once, and returns what it exports when that has a status.
func operatorFamilies(t *testing.T) []*dto.MetricFamily {
	t.Helper()
	plane.Start(t)
	operated.once.Do(func() {
		ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
		mgr, err := relaycluster.NewManager(plane.Config, relaycluster.Options{MetricsBind: "0", HealthBind: "0", RelayImage: "registry.test/relay:v1"})
		if err != nil {
			t.Fatal(err)
		}
		ended := make(chan error, 1) // what Start returns, once
		go func() { ended <- mgr.Start(ctx) }()
		defer func() {
			stop()
			if err := <-ended; err != nil {
				t.Error(err)
			}
		}()
		c := &v1alpha1.RelayCluster{}
		c.Namespace, c.Name = "default", "live"
		c.Spec.Root = &v1alpha1.Root{}
		c.Spec.Regions = []v1alpha1.Region{{Name: "eu"}}
		if err := plane.Client.Create(ctx, c); err != nil {
			t.Fatal(err)
		}
		clustertest.Eventually(t, "the operator exports conditions and certificates", func(context.Context) error {
			families, err := ctrlmetrics.Registry.Gather()
			if err != nil {
				return err
			}
			operated.families = families
			for _, want := range []string{"moq_operator_condition", "moq_operator_certificate_expiry_timestamp_seconds"} {
				if !slices.ContainsFunc(families, func(f *dto.MetricFamily) bool { return f.GetName() == want && len(f.GetMetric()) > 0 }) {
					return errors.New("there is no " + want)
				}
			}
			return nil
		})
	})
	if operated.families == nil {
		t.Fatal("the operator did not run")
	}
	return operated.families
}

// recordOperator keeps scrapes of an operator beside those of the relays: the same
// one again and again, with counts that grow.
func recordOperator(t *testing.T, db *teststorage.TestStorage) {
	t.Helper()
	var text bytes.Buffer
	for _, f := range operatorFamilies(t) {
		if strings.HasPrefix(f.GetName(), "moq_operator_") || strings.HasPrefix(f.GetName(), "controller_runtime_") {
			if _, err := expfmt.MetricFamilyToText(&text, f); err != nil {
				t.Fatal(err)
			}
		}
	}
	target := labels.FromStrings("job", "moq-operator", "namespace", "moq-system", "pod", "moq-operator-0", "container", "moq-operator", "endpoint", "metrics", "instance", "10.0.0.1:8443")
	for i := range scrapes {
		store(t, db, text.Bytes(), target, true, time.Unix(0, 0).Add(time.Duration(i)*scrapeStep), float64(i+1))
	}
}

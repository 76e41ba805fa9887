package relaycluster

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/moqrelay/moqrelay/controllers/resources"
)

// countingMapper knows a kind, or fails, and counts how often it is asked.
type countingMapper struct {
	meta.RESTMapper
	err   error
	asked int
}

func (m *countingMapper) RESTMapping(kind schema.GroupKind, versions ...string) (*meta.RESTMapping, error) {
	m.asked++
	if m.err != nil {
		return nil, m.err
	}
	return m.RESTMapper.RESTMapping(kind, versions...)
}

// Where there is no cert-manager the API server is not asked at every pass, and
// where it comes it is found.
func TestCertManagerIsLookedForNowAndThen(t *testing.T) {
	known := meta.NewDefaultRESTMapper(nil)
	mapper := &countingMapper{RESTMapper: known}
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	var c certManager
	for _, step := range []struct {
		name    string
		after   time.Duration
		prepare func()
		missing bool
		asked   int
	}{
		{"it is not there", 0, func() {}, true, 1},
		{"the answer stands", pollAPI - 1, func() {}, true, 1},
		{"it is asked anew", pollAPI, func() {}, true, 2},
		{"it has come, unseen as yet", pollAPI + 1, func() { known.Add(resources.CertificateKind, meta.RESTScopeNamespace) }, true, 2},
		{"it is seen", 2 * pollAPI, func() {}, false, 3},
		{"an answer that fails is no answer", 2*pollAPI + 1, func() { mapper.err = errors.New("timeout") }, false, 4},
	} {
		step.prepare()
		if got := c.isMissing(mapper, start.Add(step.after)); got != step.missing || mapper.asked != step.asked {
			t.Errorf("%s: missing is %v after %d questions, want %v after %d", step.name, got, mapper.asked, step.missing, step.asked)
		}
	}
}

func TestReadyOf(t *testing.T) {
	issuing := map[string]any{"type": "Issuing", "status": "True"}
	ready := map[string]any{"type": "Ready", "status": "False", "reason": "Failed", "message": "no", "observedGeneration": int64(2)}
	conditions := func(list ...any) map[string]any { return map[string]any{"conditions": list} }
	for _, test := range []struct {
		name   string
		status any
		want   metav1.Condition
	}{
		{"nothing is said", nil, metav1.Condition{}},
		{"other conditions", conditions(issuing), metav1.Condition{}},
		{"among others", conditions(issuing, ready), metav1.Condition{Status: "False", Reason: "Failed", Message: "no", ObservedGeneration: 2}},
		{"of no known generation", conditions(map[string]any{"type": "Ready", "status": "True"}), metav1.Condition{Status: "True"}},
		{"malformed", map[string]any{"conditions": "Ready"}, metav1.Condition{}},
		{"malformed within", conditions("Ready", map[string]any{"type": "Ready", "status": int64(1)}), metav1.Condition{}},
	} {
		t.Run(test.name, func(t *testing.T) {
			o := &unstructured.Unstructured{Object: map[string]any{"status": test.status}}
			if diff := cmp.Diff(test.want, readyOf(o)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

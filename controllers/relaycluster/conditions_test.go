package relaycluster

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/moqrelay/moqrelay/api/v1alpha1"
	"github.com/moqrelay/moqrelay/controllers/apply"
	"github.com/moqrelay/moqrelay/controllers/resources"
)

var now = time.Date(2026, 8, 20, 12, 0, 0, 0, time.UTC)

func TestReadyIsTheFirstThatFails(t *testing.T) {
	good := yes(v1alpha1.ReasonAvailable, "")
	bad := no(v1alpha1.ReasonSecretMissing, "there is no Secret")
	tests := map[string]struct {
		reason string
		scope  scope
		others []verdict
		want   verdict
	}{
		"Good": {
			reason: "all others are true",
			others: []verdict{good, good},
			want:   yes(v1alpha1.ReasonReady, "the cluster serves as the spec asks"),
		},
		"OneFails": {
			reason: "its words are passed on",
			others: []verdict{good, bad},
			want:   bad,
		},
		"UsersMistake": {
			reason: "it comes before all else: nothing is as the spec asks",
			scope:  scope{problem: &problem{Reason: v1alpha1.ReasonImageMissing, Message: "set spec.image"}},
			others: []verdict{bad},
			want:   no(v1alpha1.ReasonImageMissing, "set spec.image"),
		},
		"NewSpecNotApplied": {
			reason: "green would be that of the spec before",
			scope:  scope{failure: errors.New("connection refused")},
			others: []verdict{good},
			want:   verdict{metav1.ConditionUnknown, v1alpha1.ReasonUnknown, "the change could not be applied yet: connection refused"},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			tt.scope.cluster = &v1alpha1.RelayCluster{ObjectMeta: metav1.ObjectMeta{Generation: 2}}
			tt.scope.cluster.Status.ObservedGeneration = 1
			if diff := cmp.Diff(tt.want, tt.scope.ready(tt.others...), cmp.AllowUnexported(verdict{})); diff != "" {
				t.Errorf("%s (-want +got):\n%s", tt.reason, diff)
			}
		})
	}
	t.Run("OldSpecApplied", func(t *testing.T) {
		s := scope{failure: errors.New("connection refused"), cluster: &v1alpha1.RelayCluster{ObjectMeta: metav1.ObjectMeta{Generation: 2}}}
		s.cluster.Status.ObservedGeneration = 2
		if got := s.ready(good); got.status != metav1.ConditionTrue {
			t.Errorf("%+v: a blip of the API server is not the cluster's", got)
		}
	})
}

func TestAutoscalerVerdict(t *testing.T) {
	set := resources.Set{Role: resources.RoleRegion, Region: "eu"}
	tests := map[string]struct {
		conditions []autoscalingv2.HorizontalPodAutoscalerCondition
		status     metav1.ConditionStatus
		reason     string
		says       string
	}{
		"NotLooked": {nil, metav1.ConditionUnknown, v1alpha1.ReasonUnknown, ""},
		"Active": {
			[]autoscalingv2.HorizontalPodAutoscalerCondition{{Type: autoscalingv2.AbleToScale, Status: corev1.ConditionTrue}, {Type: autoscalingv2.ScalingActive, Status: corev1.ConditionTrue}},
			metav1.ConditionTrue, v1alpha1.ReasonScalingActive, "",
		},
		"NoMetricsServer": {
			[]autoscalingv2.HorizontalPodAutoscalerCondition{{Type: autoscalingv2.ScalingActive, Status: corev1.ConditionFalse, Message: "the HPA was unable to compute the replica count: failed to get cpu utilization: unable to get metrics for resource cpu: unable to fetch metrics from resource metrics API: the server could not find the requested resource (get pods.metrics.k8s.io)"}},
			metav1.ConditionFalse, v1alpha1.ReasonNoMetricsAPI, "install metrics-server,",
		},
		"NoAdapter": {
			[]autoscalingv2.HorizontalPodAutoscalerCondition{{Type: autoscalingv2.ScalingActive, Status: corev1.ConditionFalse, Message: "the HPA was unable to compute the replica count: unable to get metric moq_relay_sessions: unable to fetch metrics from custom metrics API: no custom metrics API (custom.metrics.k8s.io) registered"}},
			metav1.ConditionFalse, v1alpha1.ReasonNoMetricsAPI, "install an adapter that serves custom metrics,",
		},
		"NoExternalAdapter": {
			[]autoscalingv2.HorizontalPodAutoscalerCondition{{Type: autoscalingv2.ScalingActive, Status: corev1.ConditionFalse, Message: "the HPA was unable to compute the replica count: unable to get external metric media/viewers/nil: unable to fetch metrics from external metrics API: the server could not find the requested resource"}},
			metav1.ConditionFalse, v1alpha1.ReasonNoMetricsAPI, "install an adapter that serves external metrics,",
		},
		"NoNumbers": {
			[]autoscalingv2.HorizontalPodAutoscalerCondition{{Type: autoscalingv2.ScalingActive, Status: corev1.ConditionFalse, Message: "no metrics returned from resource metrics API"}},
			metav1.ConditionFalse, v1alpha1.ReasonMetricMissing, "",
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			hpa := &autoscalingv2.HorizontalPodAutoscaler{}
			hpa.Status.Conditions = tt.conditions
			got := autoscalerVerdict(set, hpa)
			if got.status != tt.status || got.reason != tt.reason || !strings.Contains(got.message, "region eu") || !strings.Contains(got.message, tt.says) {
				t.Errorf("%+v, want %s, %s, %q", got, tt.status, tt.reason, tt.says)
			}
		})
	}
}

func TestHasTurned(t *testing.T) {
	of := func(kind string, status metav1.ConditionStatus, reason string) metav1.Condition {
		return metav1.Condition{Type: kind, Status: status, Reason: reason}
	}
	pending := of(v1alpha1.ConditionAvailable, metav1.ConditionFalse, v1alpha1.ReasonRootUnavailable)
	missing := of(v1alpha1.ConditionCertificatesReady, metav1.ConditionFalse, v1alpha1.ReasonSecretMissing)
	tests := map[string]struct {
		was    *metav1.Condition
		now    metav1.Condition
		want   bool
		reason string
	}{
		"SameAgain":       {&missing, missing, false, "events are for transitions"},
		"PodsNotThereYet": {nil, pending, false, "that is how every cluster begins"},
		"OtherPodsMissing": {
			&pending, of(v1alpha1.ConditionAvailable, metav1.ConditionFalse, v1alpha1.ReasonRegionUnavailable), false, "still beginning",
		},
		"Available":     {&pending, of(v1alpha1.ConditionAvailable, metav1.ConditionTrue, v1alpha1.ReasonAvailable), true, "it turned"},
		"SecretMissing": {nil, missing, true, "someone has to do something"},
		"AnotherMistake": {
			&missing, of(v1alpha1.ConditionCertificatesReady, metav1.ConditionFalse, v1alpha1.ReasonSecretInvalid), true, "and something else now",
		},
		"Unknown": {&missing, of(v1alpha1.ConditionCertificatesReady, metav1.ConditionUnknown, v1alpha1.ReasonUnknown), false, "nothing is known to tell"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if got := hasTurned(tt.was, tt.now); got != tt.want {
				t.Errorf("%v, want %v: %s", got, tt.want, tt.reason)
			}
		})
	}
}

func TestExplain(t *testing.T) {
	kind := schema.GroupKind{Group: "apps", Kind: "StatefulSet"}
	resource := schema.GroupResource{Group: "apps", Resource: "statefulsets"}
	tests := map[string]struct {
		err   error
		users bool
		again bool
	}{
		"Taken":     {&apply.ForeignError{Kind: "Service", Name: "live-eu"}, true, true},
		"Invalid":   {apierrors.NewInvalid(kind, "live-eu", nil), true, true},
		"Forbidden": {apierrors.NewForbidden(resource, "live-eu", errors.New("exceeded quota")), true, true},
		"Conflict":  {apierrors.NewConflict(resource, "live-eu", errors.New("changed")), false, false},
		"Down":      {errors.New("connection refused"), false, false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			p, ok := errors.AsType[*problem](explain(tt.err))
			if ok != tt.users {
				t.Fatalf("the user's to mend: %v, want %v", ok, tt.users)
			}
			if ok && (p.RetryAfter > 0) != tt.again {
				t.Errorf("looked at again after %v", p.RetryAfter)
			}
		})
	}
}

func TestSettle(t *testing.T) {
	invalid := &problem{Reason: v1alpha1.ReasonInvalidSpec, Message: "port: 0"}
	foreign := &apply.ForeignError{Kind: "Service", Name: "live-us"}
	down := errors.New("connection refused")
	tests := map[string]struct {
		err            error
		retry, problem bool
		again          time.Duration
	}{
		"Mistake":         {invalid, false, true, 0},
		"MistakeToPoll":   {foreign, false, true, pollProblem},
		"Failure":         {down, true, false, 0},
		"MistakeAndBlip":  {errors.Join(invalid, down), true, true, 0},
		"SeveralMistakes": {errors.Join(foreign, invalid), false, true, pollProblem},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			s := &scope{}
			err := s.settle(tt.err)
			if retry := err != nil && !errors.Is(err, reconcile.TerminalError(nil)); retry != tt.retry {
				t.Errorf("tried again: %v, want %v: %v", retry, tt.retry, err)
			}
			if (s.problem != nil) != tt.problem || s.again != tt.again {
				t.Errorf("problem %v, again after %v", s.problem, s.again)
			}
		})
	}
}

// What is due later is not lost with a pass that ends in a mistake.
func TestSettleKeepsWhatIsDue(t *testing.T) {
	s := &scope{again: time.Hour}
	if err := s.settle(&problem{Reason: v1alpha1.ReasonInvalidSpec, Message: "port: 0"}); err != nil || s.again != time.Hour {
		t.Errorf("looks again after %v: %v", s.again, err)
	}
}

func TestWhyNotReady(t *testing.T) {
	tests := map[string]struct {
		pod  corev1.Pod
		want string
	}{
		"New":         {corev1.Pod{}, "starting"},
		"Draining":    {corev1.Pod{ObjectMeta: metav1.ObjectMeta{DeletionTimestamp: &metav1.Time{Time: now}}}, "draining"},
		"Unscheduled": {corev1.Pod{Status: corev1.PodStatus{Conditions: []corev1.PodCondition{{Type: corev1.PodScheduled, Status: corev1.ConditionFalse, Reason: "Unschedulable", Message: "0/3 nodes"}}}}, "Unschedulable: 0/3 nodes"},
		"Image": {corev1.Pod{Status: corev1.PodStatus{ContainerStatuses: []corev1.ContainerStatus{{
			State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "ErrImagePull"}},
		}}}}, "ErrImagePull"},
		"Probe": {corev1.Pod{Status: corev1.PodStatus{Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionFalse, Reason: "ContainersNotReady", Message: "containers with unready status: [relay]"}}}}, "ContainersNotReady: containers with unready status: [relay]"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if got := whyNotReady(&tt.pod); got != tt.want {
				t.Errorf("%q, want %q", got, tt.want)
			}
		})
	}
}

func TestAvailability(t *testing.T) {
	ready := func(ago time.Duration) *corev1.Pod {
		return &corev1.Pod{Status: corev1.PodStatus{Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue, LastTransitionTime: metav1.NewTime(now.Add(-ago))}}}}
	}
	leaving := ready(time.Minute)
	leaving.DeletionTimestamp = &metav1.Time{Time: now}
	tests := map[string]struct {
		pod       *corev1.Pod
		available bool
		wait      time.Duration
	}{
		"NotReady": {&corev1.Pod{}, false, 0},
		"Soaking":  {ready(2 * time.Second), false, 3 * time.Second},
		"Soaked":   {ready(5 * time.Second), true, 0},
		"Leaving":  {leaving, false, 0},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			available, wait := availability(tt.pod, 5, now)
			if available != tt.available || wait != tt.wait {
				t.Errorf("%v, %v; want %v, %v", available, wait, tt.available, tt.wait)
			}
		})
	}
}

func TestTruncateKeepsTheBound(t *testing.T) {
	long := strings.Repeat("x", 100)
	if got := truncate(long, 50); len(got) != 50 || !strings.HasSuffix(got, "…") {
		t.Errorf("%d bytes: %q", len(got), got)
	}
	if got := truncate(long, 100); got != long {
		t.Errorf("%q", got)
	}
}

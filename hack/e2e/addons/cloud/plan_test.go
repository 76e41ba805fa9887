package cloud

import (
	"errors"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

var born = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// service returns a Service of type LoadBalancer, changed by the functions.
func service(name string, age time.Duration, change ...func(*corev1.Service)) *corev1.Service {
	s := &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: "live", Name: name, CreationTimestamp: metav1.NewTime(born.Add(-age))},
		Spec:       corev1.ServiceSpec{Type: corev1.ServiceTypeLoadBalancer},
	}
	for _, c := range change {
		c(s)
	}
	return s
}

func shows(address string) func(*corev1.Service) {
	return func(s *corev1.Service) {
		s.Status.LoadBalancer.Ingress = []corev1.LoadBalancerIngress{{IP: address}}
	}
}

func wants(address string) func(*corev1.Service) {
	return func(s *corev1.Service) { s.Spec.LoadBalancerIP = address }
}

func ofClass(class string) func(*corev1.Service) {
	return func(s *corev1.Service) { s.Spec.LoadBalancerClass = &class }
}

func ofType(t corev1.ServiceType) func(*corev1.Service) {
	return func(s *corev1.Service) { s.Spec.Type = t }
}

func leaving(s *corev1.Service) {
	at := metav1.NewTime(born)
	s.DeletionTimestamp = &at
}

func TestAllocate(t *testing.T) {
	for _, c := range []struct {
		name     string
		reason   string
		prefix   string
		services []*corev1.Service
		want     map[string]string
		err      error
	}{
		{
			name:     "lowest first, older first",
			reason:   "the same Services get the same addresses, in whatever order they are listed",
			services: []*corev1.Service{service("us", 1), service("eu", 2)},
			want:     map[string]string{"live/eu": "172.30.1.1", "live/us": "172.30.1.2"},
		},
		{
			name:     "an address stays",
			reason:   "clients know it",
			services: []*corev1.Service{service("eu", 2), service("us", 1, shows("172.30.1.1"))},
			want:     map[string]string{"live/eu": "172.30.1.2", "live/us": "172.30.1.1"},
		},
		{
			name:     "two show the same",
			reason:   "one of them was written by hand; who was first keeps it",
			services: []*corev1.Service{service("late", 1, shows("172.30.1.9")), service("early", 2, shows("172.30.1.9"))},
			want:     map[string]string{"live/early": "172.30.1.9", "live/late": "172.30.1.1"},
		},
		{
			name:     "an address of another range is changed",
			reason:   "nothing leads there",
			services: []*corev1.Service{service("eu", 1, shows("10.0.0.1"))},
			want:     map[string]string{"live/eu": "172.30.1.1"},
		},
		{
			name:     "wishes",
			reason:   "one in the range is met, one that is taken or outside is not",
			services: []*corev1.Service{service("a", 3, wants("172.30.1.7")), service("b", 2, wants("172.30.1.7")), service("c", 1, wants("10.0.0.1"))},
			want:     map[string]string{"live/a": "172.30.1.7", "live/b": "172.30.1.1", "live/c": "172.30.1.2"},
		},
		{
			name:     "a wish does not take what another has",
			reason:   "older or not",
			services: []*corev1.Service{service("a", 2, wants("172.30.1.7")), service("b", 1, shows("172.30.1.7"))},
			want:     map[string]string{"live/a": "172.30.1.1", "live/b": "172.30.1.7"},
		},
		{
			name:   "not ours",
			reason: "other types, other classes, and those being deleted get none",
			services: []*corev1.Service{
				service("node-port", 4, ofType(corev1.ServiceTypeNodePort)),
				service("elsewhere", 3, ofClass("example.test/other")),
				service("leaving", 2, leaving, shows("172.30.1.1")),
				service("named", 1, ofClass(Class)),
			},
			want: map[string]string{"live/named": "172.30.1.1"},
		},
		{
			name:     "exhausted",
			reason:   "a /30 has two addresses to give; who is left without is told",
			prefix:   "172.30.1.0/30",
			services: []*corev1.Service{service("a", 3), service("b", 2), service("c", 1)},
			want:     map[string]string{"live/a": "172.30.1.1", "live/b": "172.30.1.2"},
			err:      errExhausted,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.prefix == "" {
				c.prefix = "172.30.1.0/24"
			}
			given, err := allocate(c.services, netip.MustParsePrefix(c.prefix))
			if !errors.Is(err, c.err) {
				t.Errorf("error %v, want %v", err, c.err)
			}
			got := map[string]string{}
			for s, a := range given {
				got[s] = a.String()
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("%s (-want +got):\n%s", c.reason, diff)
			}
		})
	}
}

func TestChoose(t *testing.T) {
	for _, c := range []struct {
		reason  string
		now     string
		healthy []string
		want    string
	}{
		{"the first that is healthy", "", []string{"n2", "n1"}, "n1"},
		{"stays while it is healthy", "n2", []string{"n1", "n2"}, "n2"},
		{"leaves one that is not", "n1", []string{"n2"}, "n2"},
		{"stays while none is", "n1", nil, "n1"},
		{"waits for the first", "", nil, ""},
	} {
		if got := choose(c.now, c.healthy); got != c.want {
			t.Errorf("%s: from %q with %v healthy to %q, want %q", c.reason, c.now, c.healthy, got, c.want)
		}
	}
}

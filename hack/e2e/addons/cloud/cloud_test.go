package cloud

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"
)

// recordedRoutes are routes that lead nowhere.
type recordedRoutes struct {
	mu  sync.Mutex
	via map[netip.Addr]netip.Addr
}

func (r *recordedRoutes) Set(_ context.Context, address, node netip.Addr) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.via[address] = node
	return nil
}

func (r *recordedRoutes) Remove(_ context.Context, address netip.Addr) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.via, address)
	return nil
}

func (r *recordedRoutes) lead(address, node string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.via[netip.MustParseAddr(address)].String() == node
}

func (r *recordedRoutes) none() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.via) == 0
}

// A Service's life: it gets an address that leads to a node that is healthy for
// it, then to another when that no longer is, and nowhere once it is gone.
func TestRun(t *testing.T) {
	first, second, port := healthPorts(t)
	client := fake.NewClientset(node("n1", "127.0.0.1"), node("n2", "127.0.0.2"))
	routes := &recordedRoutes{via: map[netip.Addr]netip.Addr{}}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { // ends with ctx, awaited below
		ended <- Run(ctx, Options{Client: client, Range: netip.MustParsePrefix("172.30.1.0/24"), Routes: routes, Log: slog.New(slog.DiscardHandler)})
	}()

	cluster := service("cluster", 2)
	local := service("local", 1, func(s *corev1.Service) { s.Spec.HealthCheckNodePort = port })
	for _, s := range []*corev1.Service{cluster, local} {
		if _, err := client.CoreV1().Services("live").Create(ctx, s, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	shown := func(name string) string {
		s, err := client.CoreV1().Services("live").Get(ctx, name, metav1.GetOptions{})
		if err != nil || len(s.Status.LoadBalancer.Ingress) != 1 {
			return ""
		}
		return s.Status.LoadBalancer.Ingress[0].IP
	}
	second.Store(true)
	eventually(t, "both have an address", func() bool {
		return shown("cluster") != "" && shown("local") != "" && shown("cluster") != shown("local")
	})
	eventually(t, "any node serves a Service whose traffic may pass through all", func() bool { return routes.lead(shown("cluster"), "127.0.0.1") })
	eventually(t, "the second node has the pods of the other", func() bool { return routes.lead(shown("local"), "127.0.0.2") })

	first.Store(true)
	second.Store(false)
	eventually(t, "its pods moved to the first", func() bool { return routes.lead(shown("local"), "127.0.0.1") })

	if err := client.CoreV1().Services("live").Delete(ctx, "cluster", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "its address leads nowhere", func() bool { return !routes.lead("172.30.1.1", "127.0.0.1") })

	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if !routes.none() {
		t.Errorf("routes stay behind: %v", routes.via)
	}
}

// A range that has nothing to give is refused at once.
func TestRunRefusesRanges(t *testing.T) {
	for _, r := range []string{"172.30.1.0/31", "2001:db8::/64"} {
		if err := Run(t.Context(), Options{Range: netip.MustParsePrefix(r)}); err == nil {
			t.Errorf("%s was taken", r)
		}
	}
}

// healthPorts answers for two nodes, on one port, as long as the values are true.
func healthPorts(t *testing.T) (first, second *atomic.Bool, port int32) {
	t.Helper()
	serve := func(address string) (*atomic.Bool, int) {
		healthy := new(atomic.Bool)
		s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			if !healthy.Load() {
				w.WriteHeader(http.StatusServiceUnavailable)
			}
		}))
		l, err := net.Listen("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		s.Listener.Close()
		s.Listener = l
		s.Start()
		t.Cleanup(s.Close)
		return healthy, l.Addr().(*net.TCPAddr).Port
	}
	first, n := serve("127.0.0.1:0")
	second, _ = serve(net.JoinHostPort("127.0.0.2", strconv.Itoa(n)))
	return first, second, int32(n)
}

func node(name, address string) *corev1.Node {
	return &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Status: corev1.NodeStatus{
			Addresses:  []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: address}},
			Conditions: []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue}},
		},
	}
}

// eventually waits until what is said is so.
func eventually(t *testing.T, what string, so func() bool) {
	t.Helper()
	deadline := time.After(10 * time.Second)
	for !so() {
		select {
		case <-deadline:
			t.Fatalf("not so after 10 s: %s", what)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

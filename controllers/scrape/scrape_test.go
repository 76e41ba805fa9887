package scrape

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/types"

	"github.com/moqrelay/moqrelay/relay/server"
)

var live = types.NamespacedName{Namespace: "media", Name: "live"}

// fleet stands in for the relays of a cluster, by the address of their pods.
type fleet struct {
	mu      sync.Mutex
	pods    []Pod
	answers map[string]func(*http.Request) (*http.Response, error)
	asked   map[string]int
	drained []string
}

func newFleet() *fleet {
	return &fleet{answers: map[string]func(*http.Request) (*http.Response, error){}, asked: map[string]int{}}
}

// RoundTrip answers for the pod that the request is for.
func (f *fleet) RoundTrip(r *http.Request) (*http.Response, error) {
	f.mu.Lock()
	answer := f.answers[r.URL.Hostname()]
	f.asked[r.URL.Hostname()]++
	if r.Method == http.MethodPost {
		f.drained = append(f.drained, r.URL.Hostname()+r.URL.Path)
	}
	f.mu.Unlock()
	switch {
	case r.URL.Port() != "9090":
		return nil, fmt.Errorf("asked at %s", r.URL)
	case r.Method == http.MethodPost:
		return response(http.StatusAccepted, ""), nil
	default:
		return answer(r)
	}
}

// set adds a pod, or changes how it answers.
func (f *fleet) set(name, ip string, answer func(*http.Request) (*http.Response, error)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.answers[ip] == nil {
		f.pods = append(f.pods, Pod{UID: types.UID(name), Cluster: live, Name: name, Address: ip + ":9090"})
	}
	f.answers[ip] = answer
}

func (f *fleet) list(context.Context) ([]Pod, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.pods, nil
}

func response(code int, body string) *http.Response {
	return &http.Response{StatusCode: code, Status: fmt.Sprint(code), Body: io.NopCloser(strings.NewReader(body))}
}

// says answers with the node.
func says(n Node) func(*http.Request) (*http.Response, error) {
	return func(*http.Request) (*http.Response, error) {
		body, err := json.Marshal(n)
		return response(http.StatusOK, string(body)), err
	}
}

func refuses(*http.Request) (*http.Response, error) { return nil, errors.New("connection refused") }

// hangs answers when nobody waits any more.
func hangs(r *http.Request) (*http.Response, error) {
	<-r.Context().Done()
	return nil, r.Context().Err()
}

func node(name string) Node {
	return Node{
		Node: name + ".live-eu-nodes.media.svc:4443", Role: "node", StartedAt: time.Now(),
		Roots: []Root{{URL: "live-root-0", Connected: true}},
	}
}

// run starts a scraper of the fleet and counts how often it wakes.
func run(t *testing.T, f *fleet) (s *Scraper, woken func() int) {
	t.Helper()
	s = New(f.list, f)
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { _ = s.Start(ctx) })
	var mu sync.Mutex
	n := 0
	wg.Go(func() {
		for {
			select {
			case <-ctx.Done():
				return
			case <-s.Changes():
				mu.Lock()
				n++
				mu.Unlock()
			}
		}
	})
	t.Cleanup(func() {
		cancel()
		wg.Wait()
	})
	return s, func() int {
		synctest.Wait()
		mu.Lock()
		defer mu.Unlock()
		defer func() { n = 0 }()
		return n
	}
}

func TestObservationGoesStale(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet()
		f.set("live-eu-0", "10.0.0.1", says(node("live-eu-0")))
		if _, err := New(f.list, f).Look("live-eu-0", time.Now()); !errors.Is(err, errNotAsked) {
			t.Errorf("before the first round: %v", err)
		}
		s, woken := run(t, f)
		if n := woken(); n != 1 {
			t.Errorf("the first answer woke %d times", n)
		}
		seen, err := s.Look("live-eu-0", time.Now())
		if err != nil || !seen.At.Equal(time.Now()) || seen.EgressBitsPerSecond != nil {
			t.Fatalf("%+v, %v", seen, err)
		}
		time.Sleep(time.Minute)
		if n := woken(); n != 0 {
			t.Errorf("nothing changed and it woke %d times", n)
		}
		f.set("live-eu-0", "10.0.0.1", refuses)
		time.Sleep(Stale - interval)
		if _, err := s.Look("live-eu-0", time.Now()); err != nil {
			t.Errorf("before it is stale: %v", err)
		}
		if n := woken(); n != 0 {
			t.Errorf("a question without answer woke %d times", n)
		}
		time.Sleep(2 * interval)
		_, err = s.Look("live-eu-0", time.Now())
		if err == nil || !strings.Contains(err.Error(), "connection refused") {
			t.Errorf("when it is stale: %v, want why", err)
		}
		if n := woken(); n != 1 {
			t.Errorf("going stale woke %d times, want once", n)
		}
		f.set("live-eu-0", "10.0.0.1", says(node("live-eu-0")))
		time.Sleep(interval)
		if n := woken(); n != 1 {
			t.Errorf("the answer after it woke %d times, want once", n)
		}
	})
}

func TestWhatWakes(t *testing.T) {
	tests := map[string]struct {
		change func(*Node)
		wakes  bool
		reason string
	}{
		"Nothing":         {func(*Node) {}, false, ""},
		"Root":            {func(n *Node) { n.Roots = []Root{{URL: "live-root-0"}} }, true, "the cluster is no longer connected"},
		"ErrorOfRoot":     {func(n *Node) { n.Roots = []Root{{URL: "live-root-0", Connected: true, Error: "EOF"}} }, false, "its words do not matter"},
		"Certificate":     {func(n *Node) { n.Certificates = []Certificate{{Fingerprint: "aa"}} }, true, "another one is served"},
		"Trust":           {func(n *Node) { n.Trust = []string{"bb"} }, true, "a rotation can go on"},
		"Draining":        {func(n *Node) { n.Draining = true }, true, ""},
		"Restart":         {func(n *Node) { n.StartedAt = n.StartedAt.Add(time.Hour) }, true, "it is another process"},
		"PeersOfNode":     {func(n *Node) { n.Peers = []Peer{{"live-us-0", true}} }, false, "nothing is decided by them"},
		"PeersOfRoot":     {func(n *Node) { n.Role, n.Peers = "root", []Peer{{"live-us-0", true}} }, true, "whether the others are back"},
		"SessionsABit":    {func(n *Node) { n.Sessions = 105 }, false, "the load is told coarsely"},
		"SessionsALot":    {func(n *Node) { n.Sessions = 200 }, true, ""},
		"DrainedSessions": {func(n *Node) { n.Draining, n.Sessions = true, 0 }, true, ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFleet()
				n := node("live-eu-0")
				n.Sessions = 100
				f.set("live-eu-0", "10.0.0.1", says(n))
				_, woken := run(t, f)
				time.Sleep(time.Minute)
				woken()
				tt.change(&n)
				f.set("live-eu-0", "10.0.0.1", says(n))
				time.Sleep(interval)
				if got := woken() == 1; got != tt.wakes {
					t.Errorf("woken: %v, want %v: %s", got, tt.wakes, tt.reason)
				}
			})
		})
	}
}

// A load that never stands still wakes now and then, not every round.
func TestLoadWakesSeldom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet()
		n := node("live-eu-0")
		f.set("live-eu-0", "10.0.0.1", func(r *http.Request) (*http.Response, error) {
			n.Sessions = (n.Sessions + 50) % 500
			return says(n)(r)
		})
		_, woken := run(t, f)
		time.Sleep(10 * time.Minute)
		if got, most := woken(), int(10*time.Minute/loadEvery)+1; got == 0 || got > most {
			t.Errorf("woke %d times in ten minutes, want at most %d", got, most)
		}
	})
}

// Many pods whose load never stands still wake no more often than one, and what
// is decided by wakes at once all the same.
func TestLoadOfManyWakesSeldom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet()
		var lost atomic.Bool
		for i := range 100 {
			n := node(fmt.Sprintf("live-eu-%d", i))
			f.set(fmt.Sprintf("live-eu-%d", i), fmt.Sprintf("10.0.0.%d", i+1), func(r *http.Request) (*http.Response, error) {
				n.Sessions = (n.Sessions + 50) % 500
				n.Roots[0].Connected = i > 0 || !lost.Load()
				return says(n)(r)
			})
		}
		_, woken := run(t, f)
		time.Sleep(time.Minute)
		woken()
		time.Sleep(10 * time.Minute)
		if got, most := woken(), int(10*time.Minute/loadEvery)+1; got < most/2 || got > most {
			t.Errorf("woke %d times in ten minutes, want at most %d", got, most)
		}
		time.Sleep(interval)
		woken()
		lost.Store(true)
		time.Sleep(interval)
		if woken() == 0 {
			t.Error("a root that one has lost is not told at once")
		}
	})
}

// When the load of all changes once, the last one of them is told too, and then
// there is silence.
func TestLoadIsToldToTheLast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet()
		sessions := func(n int) {
			for i := range 100 {
				said := node(fmt.Sprintf("live-eu-%d", i))
				said.StartedAt, said.Sessions = time.Unix(0, 0), n
				f.set(fmt.Sprintf("live-eu-%d", i), fmt.Sprintf("10.0.0.%d", i+1), says(said))
			}
		}
		sessions(100)
		s, woken := run(t, f)
		time.Sleep(time.Minute)
		woken()
		sessions(200)
		time.Sleep(interval)
		if woken() != 1 {
			t.Error("the first is not told at once, or more than once")
		}
		time.Sleep(loadEvery + interval)
		if n := woken(); n > 1 {
			t.Errorf("the others woke %d times, want once", n)
		}
		s.mu.Lock()
		for uid, r := range s.known {
			if r.told.Sessions != 200 {
				t.Errorf("of %s it is told that it has %d sessions", uid, r.told.Sessions)
			}
		}
		s.mu.Unlock()
		time.Sleep(10 * time.Minute)
		if n := woken(); n > 0 {
			t.Errorf("woke %d times though nothing changes", n)
		}
	})
}

// Pods that hang take none of the time of those that answer.
func TestSilentPodsHoldNobodyUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet()
		for i := range 10 * width {
			f.set(fmt.Sprintf("live-us-%d", i), fmt.Sprintf("10.1.%d.%d", i/250, i%250), hangs)
		}
		f.set("live-eu-0", "10.0.0.1", says(node("live-eu-0")))
		s, _ := run(t, f)
		time.Sleep(2 * time.Minute) // by then they are known for it
		for range 60 {
			time.Sleep(time.Second)
			seen, err := s.Look("live-eu-0", time.Now())
			if err != nil {
				t.Fatal(err)
			}
			if age := time.Since(seen.At); age > 2*interval {
				t.Fatalf("the observation is %v old", age)
			}
		}
		if _, err := s.Look("live-us-0", time.Now()); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("of a pod that hangs: %v", err)
		}
	})
}

func TestAnswersThatDoNotCount(t *testing.T) {
	good := node("live-eu-0")
	tests := map[string]func(*http.Request) (*http.Response, error){
		"no relay answers": func(*http.Request) (*http.Response, error) { return response(http.StatusOK, "<html>"), nil },
		"are missing":      func(*http.Request) (*http.Response, error) { return response(http.StatusOK, "{}"), nil },
		"want 200": func(*http.Request) (*http.Response, error) {
			return response(http.StatusFound, `{}`), nil
		},
		"longer than": func(*http.Request) (*http.Response, error) {
			return response(http.StatusOK, strings.Repeat(" ", maxAnswer+1)), nil
		},
		"at the address of live-eu-0": says(node("live-eu-01")),
		"-1 sessions": func(r *http.Request) (*http.Response, error) {
			n := good
			n.Sessions = -1
			return says(n)(r)
		},
	}
	for want, answer := range tests {
		t.Run(want, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFleet()
				f.set("live-eu-0", "10.0.0.1", answer)
				s, woken := run(t, f)
				woken()
				if _, err := s.Look("live-eu-0", time.Now()); err == nil || !strings.Contains(err.Error(), want) {
					t.Errorf("%v, want it to say %q", err, want)
				}
			})
		})
	}
}

func TestEgressIsThatBetweenTwoAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet()
		n := node("live-eu-0")
		f.set("live-eu-0", "10.0.0.1", func(r *http.Request) (*http.Response, error) {
			n.EgressBytes += 3_000_000 // every three seconds
			return says(n)(r)
		})
		s, _ := run(t, f)
		time.Sleep(5 * interval)
		synctest.Wait() // a look is at this very moment
		seen, err := s.Look("live-eu-0", time.Now())
		if err != nil || seen.EgressBitsPerSecond == nil || *seen.EgressBitsPerSecond != 8_000_000 {
			t.Errorf("%v bits per second, %v; want 8 million", value(seen.EgressBitsPerSecond), err)
		}
		again := node("live-eu-0")
		again.StartedAt = time.Now()
		f.set("live-eu-0", "10.0.0.1", says(again))
		time.Sleep(interval)
		synctest.Wait()
		if seen, err = s.Look("live-eu-0", time.Now()); err != nil || seen.EgressBitsPerSecond != nil {
			t.Errorf("of a new process: %v bits per second, %v; want none", value(seen.EgressBitsPerSecond), err)
		}
	})
}

func TestSoon(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet()
		f.set("live-eu-0", "10.0.0.1", says(node("live-eu-0")))
		s, woken := run(t, f)
		woken()
		for range 10 {
			s.Soon()
		}
		time.Sleep(gap)
		synctest.Wait()
		if seen, err := s.Look("live-eu-0", time.Now()); err != nil || !seen.At.Equal(time.Now()) {
			t.Errorf("seen %v ago, %v", time.Since(seen.At), err)
		}
		if n := f.asked["10.0.0.1"]; n != 2 {
			t.Errorf("asked %d times", n)
		}
	})
}

func TestDrain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet()
		f.set("live-eu-0", "10.0.0.1", says(node("live-eu-0")))
		f.set("live-eu-1", "10.0.0.2", says(node("another")))
		s, woken := run(t, f)
		woken()
		s.Drain("live-eu-0")
		s.Drain("live-eu-1")
		s.Drain("nobody")
		time.Sleep(time.Minute)
		synctest.Wait()
		if diff := cmp.Diff([]string{"10.0.0.1/drain"}, f.drained); diff != "" {
			t.Errorf("told to drain (-want +got):\n%s", diff)
		}
	})
}

func TestForgetsPodsThatAreGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet()
		f.set("live-eu-0", "10.0.0.1", says(node("live-eu-0")))
		s, woken := run(t, f)
		woken()
		f.mu.Lock()
		f.pods = nil
		f.mu.Unlock()
		time.Sleep(2 * interval)
		synctest.Wait()
		if _, err := s.Look("live-eu-0", time.Now()); err == nil || len(s.known) != 0 {
			t.Errorf("%d pods are known: %v", len(s.known), err)
		}
	})
}

// What the operator reads is what the relay writes: every field has the name and
// the kind that it has there.
func TestNodeIsTheRelays(t *testing.T) {
	var compare func(path string, ours, theirs reflect.Type)
	compare = func(path string, ours, theirs reflect.Type) {
		if ours.Kind() != theirs.Kind() {
			t.Errorf("%s is %s, the relay writes %s", path, ours, theirs)
			return
		}
		switch {
		case ours.Kind() == reflect.Slice || ours.Kind() == reflect.Pointer:
			compare(path, ours.Elem(), theirs.Elem())
		case ours.Kind() == reflect.Struct && ours != theirs:
			named := map[string]reflect.Type{}
			for f := range theirs.Fields() {
				name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
				named[name] = f.Type
			}
			for f := range ours.Fields() {
				name := f.Tag.Get("json")
				if named[name] == nil {
					t.Errorf("the relay writes no %s.%s", path, name)
					continue
				}
				compare(path+"."+name, f.Type, named[name])
			}
		}
	}
	compare("nodes", reflect.TypeFor[Node](), reflect.TypeFor[server.NodeInfo]())
}

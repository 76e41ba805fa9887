package scrape

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	"k8s.io/apimachinery/pkg/types"

	"github.com/moqrelay/moqrelay/relay/config"
)

// pathDrain is where a relay is told to stop gracefully.
const pathDrain = "/drain"

const (
	// Stale is how long an observation counts.
	Stale = 15 * time.Second

	// interval is how often every pod is asked, and gap the least time between
	// two rounds when somebody asks for one.
	interval = 3 * time.Second
	gap      = 500 * time.Millisecond
	// patience is how long a pod has to answer, and width how many are asked at
	// a time.
	patience = 2 * time.Second
	width    = 32
	// silentAfter is how many questions a pod leaves unanswered before it is
	// asked apart from the others, which then need not wait for it.
	silentAfter = 2
)

// Pod is a relay to ask.
type Pod struct {
	UID     types.UID
	Cluster types.NamespacedName // the RelayCluster it belongs to
	Name    string
	Address string // host and port; empty while the pod has none
}

// Observation is what a relay said.
type Observation struct {
	Node
	// At is when it said so.
	At time.Time
	// EgressBitsPerSecond is what it sent since the observation before, nil for
	// the first of a process.
	EgressBitsPerSecond *int64
}

// Scraper asks the relays that there are.
type Scraper struct {
	// Static after construction.

	pods   func(context.Context) ([]Pod, error)
	relays http.RoundTripper
	wake   chan types.NamespacedName
	soon   chan struct{} // holds a request for a round

	mu    sync.Mutex
	known map[types.UID]*record
	// woken is when the reconciler was last woken, by cluster.
	woken map[types.NamespacedName]time.Time
}

// New returns a scraper of the pods that list returns, which is called for every
// round. It asks them through relays.
func New(list func(context.Context) ([]Pod, error), relays http.RoundTripper) *Scraper {
	return &Scraper{
		pods: list, relays: relays,
		wake:  make(chan types.NamespacedName),
		soon:  make(chan struct{}, 1),
		known: map[types.UID]*record{},
		woken: map[types.NamespacedName]time.Time{},
	}
}

// Transport returns the way to relays in pods: no proxy, and no connection kept
// for longer than it is of use.
func Transport() *http.Transport {
	return &http.Transport{
		DialContext:           (&net.Dialer{Timeout: patience}).DialContext,
		ResponseHeaderTimeout: patience,
		IdleConnTimeout:       10 * interval,
		MaxIdleConnsPerHost:   1,
	}
}

// Changes returns the clusters of which a relay says something new that matters.
// Somebody must read it while Start runs.
func (s *Scraper) Changes() <-chan types.NamespacedName { return s.wake }

// Start asks until ctx is done. Pods that do not answer are asked in rounds of
// their own.
func (s *Scraper) Start(ctx context.Context) error {
	var lanes errgroup.Group
	for _, silent := range []bool{false, true} {
		lanes.Go(func() error {
			s.rounds(ctx, silent)
			return nil
		})
	}
	return lanes.Wait()
}

// rounds asks the pods that answer, or those that do not, again and again.
func (s *Scraper) rounds(ctx context.Context, silent bool) {
	soon := s.soon
	if silent {
		soon = nil
	}
	for {
		s.round(ctx, silent)
		if !pause(ctx, gap) {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-soon:
		case <-time.After(interval - gap):
		}
	}
}

func pause(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}

// round asks every pod of the lane once.
func (s *Scraper) round(ctx context.Context, silent bool) {
	pods, err := s.pods(ctx)
	if err != nil {
		return // what is known goes stale, which says so
	}
	var asking errgroup.Group
	asking.SetLimit(width)
	for _, pod := range s.lane(pods, silent) {
		asking.Go(func() error {
			if s.visit(ctx, pod) {
				select {
				case s.wake <- pod.Cluster:
				case <-ctx.Done():
				}
			}
			return nil
		})
	}
	_ = asking.Wait() // none returns an error
}

// lane returns the pods that are to be asked, and forgets those that are gone,
// with their clusters.
func (s *Scraper) lane(pods []Pod, silent bool) []Pod {
	s.mu.Lock()
	defer s.mu.Unlock()
	var lane []Pod
	known := make(map[types.UID]*record, len(pods))
	woken := map[types.NamespacedName]time.Time{}
	for _, pod := range pods {
		r := s.known[pod.UID]
		if r == nil {
			r = &record{cluster: pod.Cluster}
		}
		known[pod.UID] = r
		woken[pod.Cluster] = s.woken[pod.Cluster]
		if (r.unanswered >= silentAfter) == silent && pod.Address != "" {
			lane = append(lane, pod)
		}
	}
	s.known, s.woken = known, woken
	return lane
}

// visit asks one pod, tells it to drain if that was wanted, and reports whether
// its cluster is to be looked at.
func (s *Scraper) visit(ctx context.Context, pod Pod) bool {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	var err error
	if s.takeDrain(pod.UID) {
		err = s.drain(ctx, pod)
	}
	var node Node
	if err == nil {
		node, err = s.ask(ctx, pod)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	r, now := s.known[pod.UID], time.Now()
	switch {
	case r == nil || errors.Is(ctx.Err(), context.Canceled):
		return false // gone meanwhile, or the end
	case err != nil:
		return s.wakesLocked(pod.Cluster, r.failed(err, now), now)
	default:
		return s.wakesLocked(pod.Cluster, r.answered(node, now), now)
	}
}

// ask returns what the pod says.
func (s *Scraper) ask(ctx context.Context, pod Pod) (Node, error) {
	res, err := s.do(ctx, http.MethodGet, pod, config.PathNodes, http.StatusOK)
	if err != nil {
		return Node{}, err
	}
	defer func() { _ = res.Body.Close() }()
	node, err := decode(res.Body)
	if err != nil {
		return Node{}, err
	}
	if !strings.HasPrefix(node.Node, pod.Name+".") {
		return Node{}, fmt.Errorf("%s answers at the address of %s", node.Node, pod.Name)
	}
	return node, nil
}

// drain tells the pod to stop gracefully.
func (s *Scraper) drain(ctx context.Context, pod Pod) error {
	// The address may be another pod's by now.
	if _, err := s.ask(ctx, pod); err != nil {
		return err
	}
	res, err := s.do(ctx, http.MethodPost, pod, pathDrain, http.StatusAccepted)
	if err != nil {
		return err
	}
	_, _ = io.CopyN(io.Discard, res.Body, maxAnswer)
	return res.Body.Close()
}

// do sends one request. Redirects are not followed: a relay sends none.
func (s *Scraper) do(ctx context.Context, method string, pod Pod, path string, want int) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, "http://"+pod.Address+path, http.NoBody)
	if err != nil {
		return nil, err
	}
	res, err := s.relays.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	if res.StatusCode != want {
		_ = res.Body.Close()
		return nil, fmt.Errorf("%s answers %s, want %d", path, res.Status, want)
	}
	return res, nil
}

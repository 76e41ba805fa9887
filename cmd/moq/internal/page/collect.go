package page

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/moqrelay/moqrelay/relay/config"
	"github.com/moqrelay/moqrelay/relay/server"
)

const (
	// interval is the time between two looks at every node.
	interval = time.Second
	// patience bounds one look at one node.
	patience = 800 * time.Millisecond
	// answerLimit bounds what is read of one answer.
	answerLimit = 4 << 20
	// historyLength is how many looks the rates of a node go back: 5 minutes.
	historyLength = 300
)

// Target is a node to look at.
type Target struct {
	Name    string // as people call it, e.g. eu-0
	Node    string // as the cluster calls it, the value of --cluster-node
	Region  string
	Role    string // root or node
	URL     string // for clients
	Private string // base URL of the private port
}

// State is what the page shows: one look at every node.
type State struct {
	Cluster    string      `json:"cluster"`
	At         time.Time   `json:"at"`
	Nodes      []NodeState `json:"nodes"`
	Broadcasts []Broadcast `json:"broadcasts"`
}

// NodeState is one node in a look. What could not be asked is unknown and
// null.
type NodeState struct {
	Name         string               `json:"name"`
	Node         string               `json:"node"`
	Region       string               `json:"region"`
	Role         string               `json:"role"`
	URL          string               `json:"url"`
	State        string               `json:"state"` // up, draining or no answer
	Info         *server.NodeInfo     `json:"info"`
	Sessions     []server.SessionInfo `json:"sessions"`
	IngressBits  *float64             `json:"ingressBitsPerSecond"`
	EgressBits   *float64             `json:"egressBitsPerSecond"`
	EgressSeries []float64            `json:"egressSeries"` // bits per second, oldest first
	broadcasts   []server.BroadcastInfo
}

// Broadcast is a path that is announced somewhere, by the node that it comes
// from and those that know it.
type Broadcast struct {
	Broadcast string   `json:"broadcast"`
	Source    string   `json:"source"`
	KnownAt   []string `json:"knownAt"`
}

// collector looks at the nodes.
type collector struct {
	client  *http.Client
	targets func() []Target

	// Owned by the goroutine that calls look.
	last map[string]counters
	past map[string][]float64
}

// counters are the byte counters of a node at one time.
type counters struct {
	at              time.Time
	ingress, egress float64
}

func newCollector(targets func() []Target) *collector {
	return &collector{
		client:  &http.Client{Timeout: patience},
		targets: targets,
		last:    make(map[string]counters),
		past:    make(map[string][]float64),
	}
}

// look asks every node at once and returns what they said.
func (c *collector) look(ctx context.Context, cluster string) State {
	targets := c.targets()
	nodes := make([]NodeState, len(targets))
	totals := make([]*counters, len(targets))
	var wg sync.WaitGroup
	for i, target := range targets {
		wg.Go(func() { nodes[i], totals[i] = c.ask(ctx, target) })
	}
	wg.Wait()
	for i := range nodes {
		c.rate(&nodes[i], totals[i])
	}
	return State{Cluster: cluster, At: time.Now(), Nodes: nodes, Broadcasts: merge(nodes)}
}

// ask asks one node. Its counters are nil when it did not answer.
func (c *collector) ask(ctx context.Context, t Target) (NodeState, *counters) {
	n := NodeState{Name: t.Name, Node: t.Node, Region: t.Region, Role: t.Role, URL: t.URL, State: "no answer"}
	var info server.NodeInfo
	if c.get(ctx, t.Private+config.PathNodes, &info) != nil ||
		c.get(ctx, t.Private+config.PathSessions, &n.Sessions) != nil ||
		c.get(ctx, t.Private+config.PathBroadcasts, &n.broadcasts) != nil {
		return n, nil
	}
	n.Info, n.State = &info, "up"
	if info.Draining {
		n.State = "draining"
	}
	total, err := c.counters(ctx, t.Private+config.PathMetrics)
	if err != nil {
		return n, nil
	}
	return n, total
}

func (c *collector) get(ctx context.Context, url string, v any) error {
	return c.read(ctx, url, func(r io.Reader) error { return json.NewDecoder(r).Decode(v) })
}

func (c *collector) counters(ctx context.Context, url string) (*counters, error) {
	total := &counters{at: time.Now()}
	err := c.read(ctx, url, func(r io.Reader) error {
		parser := expfmt.NewTextParser(model.UTF8Validation)
		families, err := parser.TextToMetricFamilies(r)
		total.ingress = sum(families["moq_relay_ingress_bytes_total"])
		total.egress = sum(families["moq_relay_egress_bytes_total"])
		return err
	})
	return total, err
}

func (c *collector) read(ctx context.Context, url string, parse func(io.Reader) error) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return err
	}
	resp, err := c.client.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("GET %s: %s", url, resp.Status)
	}
	return parse(io.LimitReader(resp.Body, answerLimit))
}

func sum(f *dto.MetricFamily) float64 {
	var total float64
	for _, m := range f.GetMetric() {
		total += m.GetCounter().GetValue()
	}
	return total
}

// rate turns the node's counters into rates since the last look.
func (c *collector) rate(n *NodeState, now *counters) {
	last, known := c.last[n.Name]
	if now == nil {
		delete(c.last, n.Name)
		return
	}
	c.last[n.Name] = *now
	seconds := now.at.Sub(last.at).Seconds()
	if !known || seconds <= 0 || now.egress < last.egress { // the first look, or a restarted node
		return
	}
	ingress, egress := 8*(now.ingress-last.ingress)/seconds, 8*(now.egress-last.egress)/seconds
	n.IngressBits, n.EgressBits = &ingress, &egress
	past := append(c.past[n.Name], egress)
	if len(past) > historyLength {
		past = slices.Delete(past, 0, len(past)-historyLength)
	}
	c.past[n.Name] = past
	n.EgressSeries = slices.Clone(past)
}

// merge lists every broadcast once. The internal paths of the cluster are left
// out.
func merge(nodes []NodeState) []Broadcast {
	byPath := make(map[string]*Broadcast)
	for _, n := range nodes {
		for _, b := range n.broadcasts {
			if strings.HasPrefix(b.Broadcast, "internal/") {
				continue
			}
			known, ok := byPath[b.Broadcast]
			if !ok {
				known = &Broadcast{Broadcast: b.Broadcast}
				byPath[b.Broadcast] = known
			}
			if !slices.Contains(known.KnownAt, n.Name) { // it is, if there is another way to it
				known.KnownAt = append(known.KnownAt, n.Name)
			}
			if b.Source == "" {
				known.Source = n.Name
			}
		}
	}
	all := make([]Broadcast, 0, len(byPath))
	for _, b := range byPath {
		all = append(all, *b)
	}
	slices.SortFunc(all, func(a, b Broadcast) int { return strings.Compare(a.Broadcast, b.Broadcast) })
	return all
}

package monitoring

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/relabel"
	"github.com/prometheus/prometheus/model/textparse"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/promqltest"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/util/teststorage"
	"sigs.k8s.io/yaml"
)

// root is the folder of the repository.
var root = filepath.Join("..", "..")

const (
	// scrapes of a run, one each interval, told to Prometheus as if they were
	// scrapeStep apart.
	scrapes    = 14
	interval   = time.Second
	scrapeStep = 15 * time.Second
	// portOffset keeps the ports apart from those of a cluster of `make up`.
	portOffset = 2200
)

// quiet are panels that have nothing to show in such a run, and why.
var quiet = map[string]string{
	"Step of a rollout, p95/A": "nothing is rolled out",
}

const manifest = `apiVersion: moqrelay.io/v1alpha1
kind: RelayCluster
metadata: {name: live}
spec:
  root: {}
  regions:
  - {name: "eu", replicas: 1}
  - {name: "us", replicas: 1}
`

// TestPanelsShowARun (U29) runs a root and two regions with media from one to the
// other, scrapes them as the PodMonitor does, and holds that every panel on relays
// has data. Panels of the operator are fed with what an operator exports.
func TestPanelsShowARun(t *testing.T) {
	if testing.Short() {
		t.Skip("runs relays for 14 s")
	}
	db := teststorage.New(t)
	record(t, db)
	recordOperator(t, db)
	engine := promqltest.NewTestEngine(t, false, 5*time.Minute, 1e7)
	for title, query := range queries() {
		t.Run(title, func(t *testing.T) {
			n, err := points(engine, db, query)
			if err != nil {
				t.Fatal(err)
			}
			if why := quiet[title]; n == 0 && why == "" {
				t.Errorf("no data for %s", query)
			}
		})
	}
}

// points returns how many points a graph of a query has over the run.
func points(engine *promql.Engine, db storage.Queryable, query string) (int, error) {
	q, err := engine.NewRangeQuery(context.Background(), db, nil, query,
		time.Unix(0, 0).Add(scrapeStep), time.Unix(0, 0).Add(scrapes*scrapeStep), scrapeStep)
	if err != nil {
		return 0, err
	}
	defer q.Close()
	matrix, err := q.Exec(context.Background()).Matrix()
	if err != nil {
		return 0, err
	}
	n := 0
	for _, series := range matrix {
		for _, p := range series.Floats {
			if !math.IsNaN(p.F) {
				n++
			}
		}
	}
	return n, nil
}

// node is a relay as `moq up --json` tells of it.
type node struct {
	Name, Region, Role, URL string
}

// record runs a cluster with a publisher and a viewer, and keeps its scrapes.
func record(t *testing.T, db *teststorage.TestStorage) {
	t.Helper()
	bin := t.TempDir()
	build := exec.CommandContext(t.Context(), "go", "build", "-o", bin, "./cmd/moq-relay", "./cmd/moq")
	build.Dir = root
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	file := filepath.Join(bin, "live.yaml")
	if err := os.WriteFile(file, []byte(manifest), 0o600); err != nil {
		t.Fatal(err)
	}
	moq := filepath.Join(bin, "moq")
	up := start(t, moq, "up", "-f", file, "--json", "--page", "127.0.0.1:0", "--port-offset", strconv.Itoa(portOffset))
	var ready struct {
		Event string `json:"event"`
		Nodes []node `json:"nodes"`
	}
	lines := bufio.NewScanner(up)
	for ready.Event != "ready" && lines.Scan() {
		if err := json.Unmarshal(lines.Bytes(), &ready); err != nil {
			t.Fatalf("%v in %s", err, lines.Text())
		}
	}
	if ready.Event != "ready" {
		t.Fatal("moq up ended before the cluster was ready")
	}
	go io.Copy(io.Discard, up) // until the process ends
	at := map[string]string{}
	for _, n := range ready.Nodes {
		at[n.Region] = n.URL
	}
	for i := range scrapes {
		switch i {
		case 2: // the series are there before anything happens
			start(t, moq, "pub", at["eu"], "--name", "demo/clip", "--loop", "--quiet")
			start(t, moq, "sub", at["us"], "--name", "demo/clip", "--quiet", "-o", os.DevNull)
		case 8:
			start(t, moq, "sub", at["us"], "--name", "demo/clip", "--quiet", "-o", os.DevNull)
		}
		for _, n := range ready.Nodes {
			scrape(t, db, n, time.Unix(0, 0).Add(time.Duration(i)*scrapeStep))
		}
		select {
		case <-time.After(interval):
		case <-t.Context().Done():
			t.Fatal(t.Context().Err())
		}
	}
}

// start runs a program until the test ends, and returns its output.
func start(t *testing.T, program string, args ...string) io.Reader {
	t.Helper()
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 10 * time.Second
	var errs safeBuffer
	cmd.Stderr = &errs
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cancel()
		if err := cmd.Wait(); err != nil && !errors.Is(err, context.Canceled) {
			t.Logf("%v: %v\n%s", args, err, errs.String())
		}
	})
	return out
}

type safeBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *safeBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *safeBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// scrape reads the metrics of a relay and gives them the labels that Prometheus
// gives them in Kubernetes, by the chart's own relabelling.
func scrape(t *testing.T, db *teststorage.TestStorage, n node, at time.Time) {
	t.Helper()
	u, err := url.Parse(n.URL)
	if err != nil {
		t.Fatal(err)
	}
	port, err := strconv.Atoi(u.Port())
	if err != nil {
		t.Fatal(err)
	}
	const privateOffset = 10000 // of moq up
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+net.JoinHostPort("127.0.0.1", strconv.Itoa(port+privateOffset))+"/metrics", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != http.StatusOK {
		t.Fatalf("%s: %v, %v", request.URL, response.Status, err)
	}
	store(t, db, text, targetLabels(t, n), false, at, 1)
}

// targetLabels returns what Prometheus makes of a pod's labels.
func targetLabels(t *testing.T, n node) labels.Labels {
	t.Helper()
	meta := map[string]string{
		"job": "moq-relay", "instance": n.URL, "namespace": "default", "pod": "live-" + n.Name, "container": "relay", "endpoint": "private",
		"__meta_kubernetes_pod_label_moqrelay_io_cluster": "live",
		"__meta_kubernetes_pod_label_moqrelay_io_role":    n.Role,
		"__meta_kubernetes_pod_container_port_number":     "9090",
	}
	if n.Role != "root" {
		meta["__meta_kubernetes_pod_label_moqrelay_io_region"] = n.Region
	}
	builder := labels.NewBuilder(labels.FromMap(meta))
	if !relabel.ProcessBuilder(builder, relabelings(t)...) {
		t.Fatalf("the relabelling drops %s", n.Name)
	}
	for name := range meta {
		if name[0] == '_' {
			builder.Del(name)
		}
	}
	return builder.Labels()
}

// relabelings reads those of the chart's PodMonitor.
func relabelings(t *testing.T) []*relabel.Config {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, "charts/moq-operator/files/relabelings.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var rules []struct {
		SourceLabels []string `json:"sourceLabels"`
		Action       string   `json:"action"`
		TargetLabel  string   `json:"targetLabel"`
		Regex        string   `json:"regex"`
		Replacement  string   `json:"replacement"`
	}
	if err := yaml.UnmarshalStrict(text, &rules); err != nil {
		t.Fatal(err)
	}
	var configs []*relabel.Config
	for _, r := range rules {
		c := relabel.DefaultRelabelConfig
		c.NameValidationScheme = model.UTF8Validation
		for _, l := range r.SourceLabels {
			c.SourceLabels = append(c.SourceLabels, model.LabelName(l))
		}
		c.TargetLabel = r.TargetLabel
		if r.Action != "" {
			c.Action = relabel.Action(r.Action)
		}
		if r.Regex != "" {
			c.Regex = relabel.MustNewRegexp(r.Regex)
		}
		if r.Replacement != "" {
			c.Replacement = r.Replacement
		}
		configs = append(configs, &c)
	}
	return configs
}

// store keeps a scrape. With honor, labels of the series win over the target's;
// counts are multiplied by growth.
func store(t *testing.T, db *teststorage.TestStorage, text []byte, target labels.Labels, honor bool, at time.Time, growth float64) {
	t.Helper()
	app := db.Appender(t.Context())
	p := textparse.NewPromParser(text, labels.NewSymbolTable(), false)
	for {
		entry, err := p.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if entry != textparse.EntrySeries {
			continue
		}
		_, _, value := p.Series()
		var own labels.Labels
		p.Labels(&own)
		if isCount(own.Get(model.MetricNameLabel)) {
			value *= growth
		}
		builder := labels.NewBuilder(own)
		target.Range(func(l labels.Label) {
			if has := own.Get(l.Name); has != "" {
				if honor {
					return
				}
				builder.Set("exported_"+l.Name, has)
			}
			builder.Set(l.Name, l.Value)
		})
		if _, err := app.Append(0, builder.Labels(), at.UnixMilli(), value); err != nil {
			t.Fatal(err)
		}
	}
	up := labels.NewBuilder(target).Set("__name__", "up").Labels()
	if _, err := app.Append(0, up, at.UnixMilli(), 1); err != nil {
		t.Fatal(err)
	}
	if err := app.Commit(); err != nil {
		t.Fatal(fmt.Errorf("keep the scrape: %w", err))
	}
}

// isCount reports whether a series only ever grows.
func isCount(name string) bool {
	for _, suffix := range []string{"_total", "_bucket", "_count", "_sum"} {
		if strings.HasSuffix(name, suffix) {
			return true
		}
	}
	return false
}

// Package local runs the cluster that a RelayCluster describes as processes on
// this machine: the manifest is rendered by the operator's own builders, the
// certificates come from the operator's own planner, and each relay gets the
// arguments that its pod would get, with only names, ports and folders mapped
// to this machine. It stands between the operator's pure packages and the
// command moq.
//
// What always holds: whatever Run has started has ended when it returns, and
// nothing that it wrote is left unless the user named the folder; a manifest
// that cannot be applied changes nothing.
package local

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/moqrelay/moqrelay/cmd/moq/internal/demo"
	"github.com/moqrelay/moqrelay/cmd/moq/internal/page"
)

const (
	// watchInterval is the time between two looks at the manifest.
	watchInterval = 500 * time.Millisecond
	// renewInterval is the time between two looks at the certificates.
	renewInterval = time.Hour
	// readyTimeout bounds the start of the cluster.
	readyTimeout = 30 * time.Second
)

// Options say what to run.
type Options struct {
	// Manifest is the file of the RelayCluster.
	Manifest string
	// State is the folder for certificates and logs; empty is a temporary one
	// that is removed at the end.
	State string
	// Binary is the program of the relay.
	Binary string
	// Page is the address of the status page, and of the one for publishing and
	// watching below it.
	Page string
	// Program is how people call this program, for commands that they copy.
	Program string
	// PortOffset moves every port of the relays, for a second cluster beside the
	// first.
	PortOffset int
	// Step is told what was done and how long it took, while the cluster starts
	// and when it changes.
	Step func(what, detail string, took time.Duration)
	// Ready is told once that everything runs.
	Ready func(Ready)
	// Trouble is told of what went wrong and was not fatal.
	Trouble func(error)
}

// Ready describes a cluster that runs.
type Ready struct {
	Cluster string
	Status  string // URL of the status page
	Demo    string // URL of the page for publishing and watching
	Nodes   []Node
	Regions []string
	Took    time.Duration
}

// Ends returns the URLs of a relay in the first region and of one in the last,
// which is where to publish and where to watch.
func (r Ready) Ends() (first, last string) {
	for _, n := range r.Nodes {
		if !n.Root && first == "" {
			first = n.URL
		}
		if !n.Root && n.Region == r.Regions[len(r.Regions)-1] && last == "" {
			last = n.URL
		}
	}
	if first == "" { // no region: the root serves
		return r.Nodes[0].URL, r.Nodes[0].URL
	}
	return first, last
}

// cluster is a running local cluster.
type cluster struct {
	Options
	dir   string
	files *certificates
	sup   *supervisor

	mu        sync.Mutex
	plan      Plan
	processes map[string]*process // by node name
}

// Run runs the cluster until ctx is done.
func Run(ctx context.Context, o Options) (err error) {
	began := time.Now()
	manifest, err := os.ReadFile(o.Manifest)
	if err != nil {
		return err
	}
	dir, release, err := openState(o.State)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, release()) }()
	plan, err := Render(manifest, dir, o.PortOffset)
	if err != nil {
		return fmt.Errorf("%s: %w", o.Manifest, err)
	}
	if err := checkPorts(plan.Nodes); err != nil {
		return err
	}
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", o.Page)
	if err != nil {
		return fmt.Errorf("status page: %w", err)
	}
	log, err := os.Create(filepath.Join(dir, "relays.log"))
	if err != nil {
		return errors.Join(err, listener.Close())
	}
	defer func() { _ = log.Close() }()

	c := &cluster{Options: o, dir: dir, files: newCertificates(dir), processes: make(map[string]*process)}
	c.sup = newSupervisor(o.Binary, io.Writer(log), c.failed)
	defer c.sup.close()
	defer c.stopAll()
	if err := c.start(ctx, plan); err != nil {
		return errors.Join(err, listener.Close())
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	wg.Go(func() {
		pages := page.New(plan.Name, c.targets, demo.Handler(page.DemoPath, c.demo))
		if err := pages.Run(ctx, listener); err != nil {
			c.Trouble(fmt.Errorf("status page: %w", err))
		}
	})
	status := "http://" + localURLHost(listener.Addr())
	c.Ready(Ready{
		Cluster: plan.Name,
		Status:  status,
		Demo:    status + page.DemoPath,
		Nodes:   c.files.fingerprints(plan),
		Regions: plan.regions(),
		Took:    time.Since(began),
	})
	c.watch(ctx, manifest)
	return nil
}

// localURLHost returns the address as people write it in a browser.
func localURLHost(a net.Addr) string {
	_, port, err := net.SplitHostPort(a.String())
	if err != nil {
		return a.String()
	}
	return "localhost:" + port
}

// start brings the cluster up for the first time, and returns when every node
// has found the others.
func (c *cluster) start(ctx context.Context, plan Plan) error {
	ctx, cancel := context.WithTimeoutCause(ctx, readyTimeout,
		fmt.Errorf("the relays were not ready within %v: see %s", readyTimeout, filepath.Join(c.dir, "relays.log")))
	defer cancel()

	began := time.Now()
	if err := c.files.write(plan); err != nil {
		return err
	}
	c.Step("certificates", c.files.summary(plan), time.Since(began))
	began = time.Now()
	c.apply(plan)
	for _, region := range append([]string{""}, plan.regions()...) {
		nodes := plan.in(region)
		for _, n := range nodes {
			if err := n.waitReady(ctx); err != nil {
				return err
			}
		}
		if len(nodes) > 0 {
			c.Step(names(nodes), urls(nodes), time.Since(began))
		}
	}
	joined, err := waitMesh(ctx, plan)
	if err != nil {
		return err
	}
	c.Step("mesh", joined, time.Since(began))
	return nil
}

// apply makes the processes those of plan: what is gone or has changed is
// stopped, what is new is started.
func (c *cluster) apply(plan Plan) {
	wanted := make(map[string]Node)
	for _, n := range plan.Nodes {
		wanted[n.Name] = n
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	var stopped sync.WaitGroup
	for name, p := range c.processes {
		if n, ok := wanted[name]; ok && slices.Equal(n.Args, p.node.Args) {
			continue
		}
		delete(c.processes, name)
		stopped.Go(p.stop)
	}
	stopped.Wait()
	for _, n := range plan.Nodes {
		if _, ok := c.processes[n.Name]; !ok {
			c.processes[n.Name] = c.sup.run(n)
		}
	}
	c.plan = plan
}

// stopAll ends every relay.
func (c *cluster) stopAll() { c.apply(Plan{}) }

// watch applies changes of the manifest until ctx is done, and keeps the
// certificates fresh.
func (c *cluster) watch(ctx context.Context, applied []byte) {
	tick, renew := time.NewTicker(watchInterval), time.NewTicker(renewInterval)
	defer tick.Stop()
	defer renew.Stop()
	for {
		select {
		case <-tick.C:
		case <-renew.C:
			if err := c.files.write(c.current()); err != nil {
				c.Trouble(fmt.Errorf("certificates are not renewed: %w", err))
			}
		case <-ctx.Done():
			return
		}
		manifest, err := os.ReadFile(c.Manifest)
		if err != nil || bytes.Equal(manifest, applied) {
			continue // an editor replaces a file by removing it first
		}
		applied = manifest
		if err := c.change(ctx, manifest); err != nil {
			c.Trouble(fmt.Errorf("%s is not applied: %w", c.Manifest, err))
		}
	}
}

// change applies a new manifest to the running cluster.
func (c *cluster) change(ctx context.Context, manifest []byte) error {
	began := time.Now()
	plan, err := Render(manifest, c.dir, c.PortOffset)
	if err != nil {
		return err
	}
	before := c.current()
	if plan.Name != before.Name {
		return fmt.Errorf("metadata.name: changed from %q to %q: stop this cluster and start the other", before.Name, plan.Name)
	}
	if err := checkPorts(plan.without(before)); err != nil {
		return err
	}
	if err := c.files.write(plan); err != nil {
		return err
	}
	c.apply(plan)
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	for _, n := range plan.Nodes {
		if err := n.waitReady(ctx); err != nil {
			return err
		}
	}
	c.Step("applied", fmt.Sprintf("%d relays", len(plan.Nodes)), time.Since(began))
	return nil
}

func (c *cluster) current() Plan {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.plan
}

func (c *cluster) failed(n Node, err error) {
	c.Trouble(fmt.Errorf("%s ended and is started again: %w; see %s", n.Name, err, filepath.Join(c.dir, "relays.log")))
}

// targets are the nodes for the status page.
func (c *cluster) targets() []page.Target {
	c.mu.Lock()
	defer c.mu.Unlock()
	targets := make([]page.Target, 0, len(c.plan.Nodes))
	for _, n := range c.plan.Nodes {
		targets = append(targets, page.Target{
			Name: n.Name, Node: n.Config.ClusterNode, Region: n.Region, Role: n.Role(), URL: n.URL, Private: n.Private,
		})
	}
	return targets
}

// demo is what the page for publishing and watching knows.
func (c *cluster) demo() demo.Config {
	c.mu.Lock()
	defer c.mu.Unlock()
	config := demo.Config{Cluster: c.plan.Name, CLI: c.Program, Status: "../"}
	for _, n := range c.plan.Nodes {
		// By address: a browser that is told localhost asks ::1, where nobody
		// listens, and over QUIC it does not ask twice.
		config.Nodes = append(config.Nodes, demo.Node{Name: n.Name, Region: n.Region, Role: n.Role(), URL: "http://" + n.Config.Bind})
	}
	return config
}

// checkPorts says which port is taken, before anything is started.
func checkPorts(nodes []Node) error {
	for _, n := range nodes {
		udp, err := new(net.ListenConfig).ListenPacket(context.Background(), "udp", n.Config.Bind)
		if err == nil {
			err = udp.Close()
		}
		for _, addr := range []string{n.Config.Bind, n.Config.PrivateBind} {
			var tcp net.Listener
			if err == nil {
				tcp, err = new(net.ListenConfig).Listen(context.Background(), "tcp", addr)
			}
			if err == nil {
				err = tcp.Close()
			}
		}
		if err != nil {
			return fmt.Errorf("%s: %w", n.Name, err)
		}
	}
	return nil
}

// openState returns the folder to work in and a function that leaves it as the
// user wants it. Two clusters in one folder would overwrite each other's keys.
func openState(dir string) (path string, release func() error, err error) {
	if dir == "" {
		dir, err = os.MkdirTemp("", "moqrelay-")
		return dir, func() error { return os.RemoveAll(dir) }, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", nil, err
	}
	lock := filepath.Join(dir, "lock")
	f, err := os.OpenFile(lock, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return "", nil, err
	}
	if err := tryLock(f); err != nil {
		other, _ := os.ReadFile(lock)
		return "", nil, errors.Join(fmt.Errorf("--state %s: in use by process %s: stop it or choose another folder", dir, bytes.TrimSpace(other)), f.Close())
	}
	_ = f.Truncate(0)
	if _, err := f.WriteString(strconv.Itoa(os.Getpid())); err != nil {
		return "", nil, errors.Join(err, f.Close())
	}
	return dir, f.Close, nil
}

// Package install puts the product on a cluster of the rig as a user would: its
// images, the chart by Helm, and a RelayCluster with a region on each node. It
// stands between the e2e command and packages rig and image.
//
// What always holds: what it prints at the end works as pasted, from this
// machine, which is outside the cluster.
package install

import (
	"bytes"
	"cmp"
	"context"
	_ "embed"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"text/template"
	"time"

	"sigs.k8s.io/yaml"

	"github.com/moqrelay/moqrelay/hack/e2e/image"
	"github.com/moqrelay/moqrelay/hack/e2e/rig"
)

// Names of what is installed.
const (
	release   = "moq-operator"
	operators = "moq-system"
	relays    = "media"
	cluster   = "live"
)

// The release before this one: its chart is kept in charts/testdata, and its images
// are made from its commit.
const (
	PreviousVersion = "v0.1.0"
	PreviousCommit  = "f64685f4b389da894356656c9479b98dde649aef"
)

// firstNodePort is where the first region is reached; each further one is at the
// next number.
const firstNodePort = 30443

//go:embed relaycluster.yaml
var manifest string

// region is a region of the RelayCluster: the nodes of the same region.
type region struct {
	Name  string
	Nodes []rig.Node
	Port  int
}

// URL is where the region is reached from this machine.
func (r region) URL() string { return fmt.Sprintf("https://%s:%d", r.Nodes[0].Address, r.Port) }

// Target is what to install on.
type Target struct {
	rig.Description
	// Source is the top of the repository.
	Source string
	// State is the folder of the cluster's own files.
	State string
	// Load gives the nodes the image of an archive.
	Load func(ctx context.Context, archive string) error
}

// Run installs operator and RelayCluster on a cluster that is up, and writes to
// out how to use it. It may run again on the same cluster.
func Run(ctx context.Context, t Target, out, progress io.Writer) error {
	i := installation{Target: t, progress: progress, start: time.Now(), regions: regions(t.Nodes)}
	for _, step := range []struct {
		what string
		do   func(context.Context) error
	}{
		{"images", i.images},
		{"operator", i.operator},
		{"RelayCluster " + cluster, i.relays},
		{"ready", i.ready},
	} {
		if err := step.do(ctx); err != nil {
			return fmt.Errorf("%s: %w", step.what, err)
		}
		fmt.Fprintf(progress, "✓ %-24s %5.1f s\n", step.what, time.Since(i.start).Seconds())
	}
	return i.tell(out)
}

// regions groups nodes by their region, in the order in which those first come.
func regions(nodes []rig.Node) []region {
	var list []region
	for _, n := range nodes {
		at := -1
		for i, r := range list {
			if r.Name == n.Region {
				at = i
			}
		}
		if at < 0 {
			list = append(list, region{Name: n.Region, Port: firstNodePort + len(list)})
			at = len(list) - 1
		}
		list[at].Nodes = append(list[at].Nodes, n)
	}
	return list
}

type installation struct {
	Target
	progress io.Writer
	start    time.Time
	regions  []region
}

// images makes the images that the chart names and loads them.
func (i *installation) images(ctx context.Context) error {
	version, err := AppVersion(i.chart())
	if err != nil {
		return err
	}
	return i.LoadImages(ctx, image.Products(image.Release{Version: version})...)
}

// LoadImages makes images from the source, and gives them to the nodes.
func (t Target) LoadImages(ctx context.Context, images ...image.Image) error {
	built, err := image.Build(ctx, image.Options{
		Source: t.Source,
		Dir:    filepath.Join(t.State, "products"),
		Log:    slog.New(slog.DiscardHandler),
	}, images...)
	if err != nil {
		return err
	}
	for _, b := range built {
		if err := t.Load(ctx, b.Path); err != nil {
			return err
		}
	}
	return nil
}

// AppVersion returns the tag of the images that a chart installs.
func AppVersion(chart string) (string, error) {
	file := filepath.Join(chart, "Chart.yaml")
	text, err := os.ReadFile(file)
	if err != nil {
		return "", err
	}
	var c struct {
		AppVersion string `json:"appVersion"`
	}
	if err := yaml.Unmarshal(text, &c); err != nil {
		return "", fmt.Errorf("%s: %w", file, err)
	}
	if c.AppVersion == "" {
		return "", fmt.Errorf("%s: appVersion: missing", file)
	}
	return c.AppVersion, nil
}

func (i *installation) chart() string {
	return filepath.Join(i.Source, "charts", "moq-operator")
}

func (i *installation) operator(ctx context.Context) error {
	_, err := i.run(ctx, nil, "helm", "upgrade", "--install", release, i.chart(),
		"--namespace", operators, "--create-namespace", "--wait", "--timeout", "3m")
	return err
}

func (i *installation) relays(ctx context.Context) error {
	text, err := i.manifest()
	if err != nil {
		return err
	}
	_, err = i.run(ctx, text, "kubectl", "apply", "--server-side", "-f", "-")
	return err
}

// manifest returns the RelayCluster, in a namespace of its own.
func (i *installation) manifest() ([]byte, error) {
	t, err := template.New("relaycluster.yaml").Parse(manifest)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	err = t.Execute(&b, map[string]any{"Namespace": relays, "Name": cluster, "Regions": i.regions})
	return b.Bytes(), err
}

// ready waits for the relays, and stores the authority that their certificates
// lead to.
func (i *installation) ready(ctx context.Context) error {
	if _, err := i.run(ctx, nil, "kubectl", "wait", "--namespace", relays, "--for=condition=Ready", "relaycluster/"+cluster, "--timeout=3m"); err != nil {
		return err
	}
	authority, err := i.run(ctx, nil, "kubectl", "get", "--namespace", relays, "configmap", cluster+"-trust", "-o", `jsonpath={.data.ca\.crt}`)
	if err != nil {
		return err
	}
	return os.WriteFile(i.trust(), authority, 0o644)
}

func (i *installation) trust() string { return filepath.Join(i.State, cluster+".pem") }

// run runs a program of the rig against the cluster and returns what it printed.
func (i *installation) run(ctx context.Context, stdin []byte, name string, args ...string) ([]byte, error) {
	cmd := i.Command(ctx, name, args...)
	cmd.Stdin = bytes.NewReader(stdin)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w: %s", name, args[0], err, bytes.TrimSpace(stderr.Bytes()))
	}
	return out, nil
}

// tell says how to use what runs now.
func (i *installation) tell(out io.Writer) error {
	fmt.Fprintf(out, "export KUBECONFIG=%s\n", i.Kubeconfig)
	for _, r := range i.regions {
		fmt.Fprintf(out, "  %-8s %s\n", r.Name, r.URL())
	}
	first, last := i.regions[0], i.regions[len(i.regions)-1]
	fmt.Fprintf(out, "  publish  bin/moq pub %s --tls-root %s --name demo/clip --loop\n", first.URL(), i.trust())
	fmt.Fprintf(out, "  watch    bin/moq sub %s --tls-root %s --name demo/clip -o - | ffplay -\n", last.URL(), i.trust())
	_, err := fmt.Fprintf(out, "  look     %s get relayclusters --all-namespaces\n", cmp.Or(kubectlOnPath(), filepath.Join(i.Bin, "kubectl")))
	return err
}

// kubectlOnPath is "kubectl" where a user has it.
func kubectlOnPath() string {
	if _, err := exec.LookPath("kubectl"); err != nil {
		return ""
	}
	return "kubectl"
}

// Package addons is what a cluster of the rig needs besides Kubernetes itself,
// where nothing can be pulled: images and manifests for what runs in pods, and
// small programs for what runs on nodes. Those are in cmd, to be built at once:
//
//	CGO_ENABLED=0 go build -trimpath -o BIN ./addons/cmd/...
//
//	pause          the sandbox of every pod; containerd's sandbox_image is [Sandbox]
//	coredns        names of Services and pods
//	probe          says from inside a pod whether addresses answer
//	custommetrics  metrics of pods for the autoscaler; package custommetrics
//	netpol         enforces NetworkPolicies, one per node; package netpol
//	cloud          serves Services of type LoadBalancer, one per cluster; package cloud
//
// [Images] are made of the first four and of metrics-server, which is built from
// its own module. [CoreDNS] and [MetricsServer] are what is applied to every
// cluster, [CustomMetrics] where it is wanted: a cluster has one server of that
// API.
//
// What always holds: every pod satisfies the Pod Security Standard restricted,
// and no image is ever pulled.
package addons

import (
	"bytes"
	"cmp"
	"embed"
	"text/template"

	"github.com/moqrelay/moqrelay/hack/e2e/image"
)

const (
	registry = "moqrelay.test/"
	tag      = "rig"

	// Sandbox is the image that holds the namespaces of every pod.
	Sandbox = registry + "pause:" + tag

	// Probe is the image of a pod that looks what it can reach.
	Probe = registry + "probe:" + tag

	probe = registry + "probe"
)

//go:embed manifests
var manifests embed.FS

// Images lists the images of what runs in pods. The name of each is that of its
// program where programs are built; [image.Pack] makes an archive of both.
func Images() []image.Image {
	r := image.Release{Version: tag}
	module := "github.com/moqrelay/moqrelay/hack/e2e/addons/cmd/"
	return []image.Image{
		image.New(module+"pause", registry+"pause", "Holds the namespaces of a pod.", r),
		image.New(module+"coredns", registry+"coredns", "CoreDNS with the plugins that a test cluster needs.", r),
		image.New(module+"custommetrics", registry+"custommetrics", "Metrics of pods for the autoscaler.", r),
		image.New(module+"probe", probe, "Says whether addresses answer.", r),
		image.New("sigs.k8s.io/metrics-server/cmd/metrics-server", registry+"metrics-server", "The metrics-server of Kubernetes.", r),
	}
}

// Options say what differs between clusters.
type Options struct {
	// DNS is the address of the DNS service, as kubelets are told it; if "", 10.96.0.10.
	DNS string

	// Domain is that of the cluster; if "", cluster.local.
	Domain string

	// Nodes is how many there are. With more than one, names are served by two
	// pods, so that they are there when one node is not.
	Nodes int
}

// CoreDNS returns what serves names: Deployment coredns in kube-system.
func CoreDNS(o Options) ([]byte, error) {
	o.DNS = cmp.Or(o.DNS, "10.96.0.10")
	o.Domain = cmp.Or(o.Domain, "cluster.local")
	return render("coredns.yaml", struct {
		Options
		Image    string
		Replicas int
	}{o, registry + "coredns:" + tag, min(max(o.Nodes, 1), 2)})
}

// MetricsServer returns what serves CPU and memory of pods: Deployment
// metrics-server in kube-system.
func MetricsServer() ([]byte, error) {
	return render("metrics-server.yaml", struct{ Image string }{registry + "metrics-server:" + tag})
}

// CustomMetrics returns what to apply where autoscalers go by metrics of pods.
// Pods are asked at their container port of that name; metrics are what
// discovery shows.
func CustomMetrics(port string, metrics ...string) ([]byte, error) {
	return render("custommetrics.yaml", struct {
		Image, Port string
		Metrics     []string
	}{registry + "custommetrics:" + tag, port, metrics})
}

func render(name string, values any) ([]byte, error) {
	t, err := template.ParseFS(manifests, "manifests/"+name)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	err = t.Execute(&b, values)
	return b.Bytes(), err
}

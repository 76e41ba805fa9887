package suite

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/moqrelay/moqrelay/hack/e2e/provider"
)

// The RelayClusters that join: the root is in the one of the first Kubernetes.
// Their relays have ports of their machines, and names that say which those are.
const (
	eastManifest = `apiVersion: moqrelay.io/v1alpha1
kind: RelayCluster
metadata: {name: east}
spec:
  root:
    exposure: {mode: HostPort, hostPort: 6443, podHostname: "{pod}.%[1]s.ip.test", nodeName: PodHostname}
    pod: {nodeSelector: {topology.kubernetes.io/region: us}}
  regions:
  - name: "eu"
    exposure: {mode: HostPort, hostPort: 7443, podHostname: "{pod}.%[1]s.ip.test", nodeName: PodHostname}
    pod: {nodeSelector: {topology.kubernetes.io/region: us}}
  tls: {internal: {trustSecretRefs: [{name: west-ca}]}}
`
	westManifest = `apiVersion: moqrelay.io/v1alpha1
kind: RelayCluster
metadata: {name: west}
spec:
  externalRoot: {hosts: ["east-root-0.%[1]s.ip.test:6443"], caSecretRef: {name: east-ca}}
  regions:
  - name: "ap"
    exposure: {mode: HostPort, hostPort: 7443, podHostname: "{pod}.%[2]s.ip.test", nodeName: PodHostname}
`
)

// secondCluster starts a second Kubernetes beside the first, with networks of its
// own, and has a region there join a root here, each trusting the other's nodes
// and nobody else. What is published here plays there.
func (s *story) secondCluster(t *testing.T) {
	s.wantLocal(t)
	second := s.startSecond(t)
	east, west := subject{s.Cluster, openNamespace, "east"}, subject{second, openNamespace, "west"}
	here, there := s.region(t, "us").Address, second.Nodes[0].Address
	s.makeNamespace(t, openNamespace, "privileged")
	second.makeNamespace(t, openNamespace, "privileged")
	second.run(t, "helm", "upgrade", "--install", release, s.chart(), "--namespace", system, "--create-namespace", "--wait", "--timeout", "90s")
	defer east.remove(t)
	s.apply(t, openNamespace, fmt.Sprintf(eastManifest, dashed(here)))
	second.apply(t, openNamespace, fmt.Sprintf(westManifest, dashed(here), dashed(there)))
	east.trustedBy(t, west)
	west.trustedBy(t, east)
	east.ready(t, 2)
	west.ready(t, 1)

	// Names that stand for addresses are known inside alone.
	from, to := east.pinned(t, "eu"), west.pinned(t, "ap")
	from.url, to.url = "https://"+net.JoinHostPort(here, "7443"), "https://"+net.JoinHostPort(there, "7443")
	publisher := s.publish(t, from, "far/clip")
	defer publisher.end()
	s.plays(t, to, "far/clip", 20*time.Second)
}

// dashed is an address as a part of a name.
func dashed(address string) string { return strings.ReplaceAll(address, ".", "-") }

// trustedBy gives what the nodes of a RelayCluster trust to another one, as the
// sample does.
func (s subject) trustedBy(t *testing.T, other subject) {
	t.Helper()
	var trust string
	eventually(t, 30*time.Second, "authority of "+s.name, func(ctx context.Context) (err error) {
		trust, err = s.try(ctx, "", "kubectl", "-n", s.in, "get", "configmap", s.name+"-trust", "-o", `jsonpath={.data.ca\.crt}`)
		return err
	})
	file := filepath.Join(t.TempDir(), "ca.crt")
	if err := os.WriteFile(file, []byte(trust), 0o600); err != nil {
		t.Fatal(err)
	}
	other.kubectl(t, "-n", other.in, "create", "secret", "generic", s.name+"-ca", "--from-file=ca.crt="+file)
}

// startSecond starts another Kubernetes, of one node, that ends with the test.
func (s *story) startSecond(t *testing.T) *Cluster {
	t.Helper()
	command := os.Getenv(provider.EnvironmentCommand)
	if command == "" {
		t.Skipf("no e2e command to start a second Kubernetes with: `e2e test` sets %s", provider.EnvironmentCommand)
	}
	flags := []string{"--id", s.ID + "b", "--beside", s.ID, "--nodes", "1", "--state", filepath.Dir(s.state), "--source", s.root, "--bin", s.Bin}
	e2e := func(ctx context.Context, args ...string) {
		out, err := exec.CommandContext(ctx, command, args...).CombinedOutput()
		if err != nil {
			t.Fatalf("e2e %s: %v\n%s", args[0], err, out)
		}
	}
	t.Cleanup(func() { e2e(context.WithoutCancel(t.Context()), append([]string{"down"}, flags...)...) })
	e2e(t.Context(), append([]string{"up"}, flags...)...)
	images, err := filepath.Glob(filepath.Join(s.state, "products", "moq-*_"+s.tag(t)+".tar"))
	if err != nil || len(images) != 2 {
		t.Fatalf("images of relay and operator: %q, %v", images, err)
	}
	e2e(t.Context(), append(append([]string{"load-images"}, flags...), images...)...)
	second, err := openFile(filepath.Join(filepath.Dir(s.state), s.ID+"b", "cluster.json"))
	if err != nil {
		t.Fatal(err)
	}
	return second
}

// tag is that of the images of the release at hand.
func (s *story) tag(t *testing.T) string {
	t.Helper()
	image := s.image(t, "")
	return image[strings.LastIndex(image, ":")+1:]
}

package rig

import (
	"fmt"

	"github.com/moqrelay/moqrelay/hack/e2e/addons"
)

// cni gives pods of the node at an index their addresses.
func (p *Plan) cni(i int) string {
	return fmt.Sprintf(`{"cniVersion":"1.0.0","name":"e2e","plugins":[
 {"type":"bridge","bridge":"cni0","isGateway":true,"ipMasq":false,"hairpinMode":true,
  "ipam":{"type":"host-local","ranges":[[{"subnet":%q}]],"routes":[{"dst":"0.0.0.0/0"}]}},
 {"type":"portmap","capabilities":{"portMappings":true}}]}
`, p.pods(i))
}

// containerd leaves OOM scores alone: lowering them takes a right that the
// machine may not give.
func (p *Plan) containerd(n Node) string {
	return `version = 2
oom_score = 0
disabled_plugins = ["io.containerd.snapshotter.v1.zfs","io.containerd.snapshotter.v1.btrfs","io.containerd.snapshotter.v1.devmapper","io.containerd.snapshotter.v1.aufs"]
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "` + addons.Sandbox + `"
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "` + cniFolder + `"
    conf_dir = "` + p.dir(n, "cni") + `"
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
      SystemdCgroup = false
`
}

func (p *Plan) kubelet(n Node) string {
	return fmt.Sprintf(`apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
failCgroupV1: false
cgroupDriver: cgroupfs
cgroupRoot: %s
containerRuntimeEndpoint: unix:///run/containerd/containerd.sock
clusterDNS: [10.96.0.10]
clusterDomain: cluster.local
resolvConf: %s
authentication: {anonymous: {enabled: false}, webhook: {enabled: true}, x509: {clientCAFile: %s}}
authorization: {mode: Webhook}
tlsCertFile: %s
tlsPrivateKeyFile: %s
volumePluginDir: %s
oomScoreAdj: 0
maxOpenFiles: 20000
failSwapOn: false
imageGCHighThresholdPercent: 100
evictionHard: {memory.available: 64Mi, nodefs.available: "1%%", imagefs.available: "1%%"}
nodeStatusUpdateFrequency: 5s
syncFrequency: 3s
`, p.cgroup(n), p.dir(n, "resolv.conf"), p.pki("ca.crt"),
		p.pki("kubelet-serving-"+n.Name+".crt"), p.pki("kubelet-serving-"+n.Name+".key"), p.dir(n, "volume-plugins"))
}

// proxy leaves the machine's table of connections as large as it is.
func (p *Plan) proxy(n Node) string {
	return fmt.Sprintf(`apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
mode: iptables
clientConnection: {kubeconfig: %s}
clusterCIDR: %s
hostnameOverride: %s
oomScoreAdj: 0
conntrack: {maxPerCore: 0, min: 0}
metricsBindAddress: 127.0.0.1:10249
`, p.pki("kube-proxy.kubeconfig"), podRange, n.Name)
}

// component is a program of a node, with its arguments.
type component []string

func (c component) with(args ...string) component { return append(c, args...) }

func (p *Plan) etcd(n Node) component {
	return component{
		"etcd", "--name=e2e", "--data-dir=" + p.dir(n, "etcd"), "--unsafe-no-fsync",
		"--listen-client-urls=http://127.0.0.1:2379", "--advertise-client-urls=http://127.0.0.1:2379",
		"--listen-peer-urls=http://127.0.0.1:2380",
	}
}

func (p *Plan) apiserver(n Node) component {
	return component{
		"kube-apiserver", "--etcd-servers=http://127.0.0.1:2379",
		"--bind-address=0.0.0.0", "--advertise-address=" + n.Address, "--secure-port=6443", "--allow-privileged=true",
		"--tls-cert-file=" + p.pki("apiserver.crt"), "--tls-private-key-file=" + p.pki("apiserver.key"),
		"--client-ca-file=" + p.pki("ca.crt"),
		"--kubelet-client-certificate=" + p.pki("apiserver-kubelet.crt"), "--kubelet-client-key=" + p.pki("apiserver-kubelet.key"),
		"--kubelet-certificate-authority=" + p.pki("ca.crt"), "--kubelet-preferred-address-types=InternalIP",
		"--requestheader-client-ca-file=" + p.pki("front-proxy-ca.crt"), "--requestheader-allowed-names=front-proxy-client",
		"--requestheader-extra-headers-prefix=X-Remote-Extra-", "--requestheader-group-headers=X-Remote-Group",
		"--requestheader-username-headers=X-Remote-User",
		"--proxy-client-cert-file=" + p.pki("front-proxy.crt"), "--proxy-client-key-file=" + p.pki("front-proxy.key"),
		"--service-account-issuer=https://kubernetes.default.svc.cluster.local",
		"--service-account-key-file=" + p.pki("sa.pub"), "--service-account-signing-key-file=" + p.pki("sa.key"),
		"--service-cluster-ip-range=10.96.0.0/16", "--authorization-mode=Node,RBAC",
		"--enable-admission-plugins=NodeRestriction", "--enable-aggregator-routing=true",
	}
}

// control is a component that watches the API server and acts on it.
func (p *Plan) control(name string) component {
	kubeconfig := p.pki(name + ".kubeconfig")
	return component{
		name, "--kubeconfig=" + kubeconfig, "--authentication-kubeconfig=" + kubeconfig, "--authorization-kubeconfig=" + kubeconfig,
		"--leader-elect=false", "--bind-address=127.0.0.1",
	}
}

// controllerManager scales within seconds rather than minutes.
func (p *Plan) controllerManager() component {
	return p.control("kube-controller-manager").with(
		"--root-ca-file="+p.pki("ca.crt"), "--service-account-private-key-file="+p.pki("sa.key"), "--use-service-account-credentials",
		"--cluster-signing-cert-file="+p.pki("ca.crt"), "--cluster-signing-key-file="+p.pki("ca.key"),
		"--node-monitor-period=1s", "--horizontal-pod-autoscaler-sync-period=5s", "--horizontal-pod-autoscaler-initial-readiness-delay=5s",
		"--horizontal-pod-autoscaler-cpu-initialization-period=10s", "--horizontal-pod-autoscaler-downscale-stabilization=15s")
}

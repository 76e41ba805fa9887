package clustertest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"
)

// controllers are the ones that a namespace with relays meets, and those that
// they need.
const controllers = "statefulset-controller,horizontal-pod-autoscaler-controller,disruption-controller," +
	"endpointslice-controller,garbage-collector-controller,namespace-controller,serviceaccount-controller," +
	"deployment-controller,replicaset-controller,clusterrole-aggregation-controller,root-ca-certificate-publisher-controller"

// startControllers starts kube-controller-manager under the identity and the
// bootstrap roles it has in every cluster. The CRDs must be there already: the
// garbage collector looks for new kinds every 30 seconds only.
func (p *Plane) startControllers(assets string) error {
	user, err := p.env.AddUser(envtest.User{Name: "system:kube-controller-manager"}, nil)
	if err != nil {
		return err
	}
	config, err := user.KubeConfig()
	if err != nil {
		return err
	}
	kubeconfig := filepath.Join(p.dir, "kube-controller-manager.kubeconfig")
	if err := os.WriteFile(kubeconfig, config, 0o600); err != nil {
		return err
	}
	certs := p.env.ControlPlane.GetAPIServer().CertDir
	p.controllers, err = startProcess(filepath.Join(p.dir, "kube-controller-manager.log"),
		filepath.Join(assets, "kube-controller-manager"),
		"--kubeconfig="+kubeconfig,
		"--controllers="+controllers,
		"--use-service-account-credentials",
		"--service-account-private-key-file="+filepath.Join(certs, "sa-signer.key"),
		"--root-ca-file="+filepath.Join(certs, "apiserver.crt"),
		"--secure-port=0",
		"--leader-elect=false",
		"--horizontal-pod-autoscaler-sync-period=1s",
		"--horizontal-pod-autoscaler-initial-readiness-delay=0s",
		"--horizontal-pod-autoscaler-cpu-initialization-period=1s",
		"--horizontal-pod-autoscaler-downscale-stabilization=1s",
	)
	if err != nil {
		return err
	}
	// The controllers run when the first of them has done something.
	return wait.PollUntilContextTimeout(context.Background(), 50*time.Millisecond, time.Minute, true, func(ctx context.Context) (bool, error) {
		if p.controllers.ended() {
			return false, fmt.Errorf("kube-controller-manager ended: see %s", p.dir)
		}
		err := p.Client.Get(ctx, client.ObjectKey{Namespace: "default", Name: "default"}, &corev1.ServiceAccount{})
		return err == nil, nil
	})
}

// process is a program that runs until stop.
type process struct {
	cmd  *exec.Cmd
	done chan struct{} // closed when it has ended
}

func startProcess(logFile, path string, args ...string) (*process, error) {
	log, err := os.Create(logFile)
	if err != nil {
		return nil, err
	}
	defer func() { _ = log.Close() }()
	// It outlives the test that starts it.
	p := &process{cmd: exec.CommandContext(context.Background(), path, args...), done: make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr = log, log
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	go func() { // ends with the process, which stop ends
		defer close(p.done)
		_ = p.cmd.Wait()
	}()
	return p, nil
}

func (p *process) ended() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

func (p *process) stop() error {
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.done:
		return nil
	case <-time.After(20 * time.Second):
		return errors.Join(errors.New("kube-controller-manager ignored SIGTERM"), p.cmd.Process.Kill())
	}
}

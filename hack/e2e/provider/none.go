package provider

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/moqrelay/moqrelay/hack/e2e/rig"
)

// regionLabel is the label of nodes that says where they are.
const regionLabel = corev1.LabelTopologyRegion

// none is a cluster that the user has, at $KUBECONFIG. Nothing is made, and only
// our own files are removed.
type none struct{ plan *rig.Plan }

func (n none) Up(ctx context.Context, _ io.Writer) error {
	kubeconfig := os.Getenv("KUBECONFIG")
	if kubeconfig == "" {
		return errors.New("--provider none: set KUBECONFIG to the file of your cluster")
	}
	nodes, err := nodesOf(ctx, kubeconfig)
	if err != nil {
		return err
	}
	return write(n.plan, rig.Description{ID: n.plan.ID, Provider: None, Kubeconfig: kubeconfig, Nodes: nodes})
}

// Load does nothing: how images get to the nodes is the user's affair, such as a
// registry that `make images` was pushed to.
func (n none) Load(context.Context, string) error { return nil }

func (n none) Down(context.Context) error { return os.RemoveAll(n.plan.State) }

// nodesOf lists the nodes that say in which region they are.
func nodesOf(ctx context.Context, kubeconfig string) ([]rig.Node, error) {
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return nil, err
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, err
	}
	list, err := client.CoreV1().Nodes().List(ctx, metav1.ListOptions{LabelSelector: regionLabel})
	if err != nil {
		return nil, err
	}
	nodes := describe(list.Items)
	if len(nodes) == 0 {
		return nil, fmt.Errorf("no node in %s has an address and the label %s: label two nodes with regions eu and us", kubeconfig, regionLabel)
	}
	return nodes, nil
}

// describe takes of each node the address at which it is reached from outside, if
// it has one, else the internal one.
func describe(list []corev1.Node) []rig.Node {
	var nodes []rig.Node
	for _, n := range list {
		address := ""
		for _, a := range n.Status.Addresses {
			if a.Type == corev1.NodeExternalIP || (a.Type == corev1.NodeInternalIP && address == "") {
				address = a.Address
			}
		}
		if address != "" {
			nodes = append(nodes, rig.Node{Name: n.Name, Address: address, Region: n.Labels[regionLabel]})
		}
	}
	return nodes
}

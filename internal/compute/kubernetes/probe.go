package kubernetes

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"quire/internal/compute"
)

const noAllow = "what a Pod reaches is decided by the network policies of its namespace, not by its request"

// Probe says what the cluster enforces, as far as it can be known.
func (d *Driver) Probe(ctx context.Context) (compute.Probe, error) {
	if err := d.closed(); err != nil {
		return compute.Probe{}, err
	}
	yes := func(reason string) compute.Support { return compute.Support{Level: compute.Enforced, Reason: reason} }
	some := func(reason string) compute.Support {
		return compute.Support{Level: compute.BestEffort, Reason: reason}
	}
	p := compute.Probe{
		Driver:  Name,
		Summary: "Containers are Pods in namespace " + d.cfg.Namespace + " of a Kubernetes cluster.",
		Support: map[compute.Resource]compute.Support{
			compute.CPU: yes("by the Pod's node, which sets as much aside"), compute.Memory: yes("by the Pod's node, which sets as much aside"),
			compute.Disk:       some("the node measures now and then, and evicts a Pod that is over its limit"),
			compute.GPU:        yes("by the node's device plugin (" + d.cfg.GPUResource + ")"),
			compute.Network:    some("by annotations that some network plugins keep and others do not"),
			compute.PIDs:       {Level: compute.Unsupported, Reason: "nodes have one limit for all Pods (podPidsLimit)"},
			compute.Filesystem: yes("the image, read-only, and what is mounted; an ordinary user without capabilities, with the runtime's seccomp profile"),
			compute.Processes:  yes("a process namespace of its own"),
			compute.Egress:     some("by network policies that select Pods by " + labelNetwork + ", where the network plugin keeps them"),
		},
	}
	gpus, err := d.gpus(ctx)
	if err != nil {
		return p, err
	}
	if gpus == 0 {
		p.Support[compute.GPU] = compute.Support{Level: compute.Unsupported, Reason: "no node has " + d.cfg.GPUResource + " now: a Pod that asks for one waits for such a node"}
	}
	return p, nil
}

// gpus counts what all nodes have; -1 is not known, where we may not look at
// nodes.
func (d *Driver) gpus(ctx context.Context) (int64, error) {
	if d.core == nil {
		return -1, nil
	}
	bound, cancel := d.within(ctx)
	defer cancel()
	var nodes corev1.NodeList
	err := d.core.Get().Resource("nodes").VersionedParams(&metav1.ListOptions{}, runtime.NewParameterCodec(newScheme())).Do(bound).Into(&nodes)
	if status := statusOf(err); status == 401 || status == 403 {
		return -1, nil
	}
	if err != nil {
		return 0, d.fault(ctx, err, "looking at the cluster's nodes")
	}
	var sum int64
	for _, n := range nodes.Items {
		count := n.Status.Allocatable[corev1.ResourceName(d.cfg.GPUResource)]
		sum += count.Value()
	}
	return sum, nil
}

//go:build unix

package docker

import (
	"context"

	"github.com/moby/moby/api/types/system"
	"github.com/moby/moby/client"

	"quire/internal/compute"
)

// host is what Docker says of its machine.
type host struct {
	system.Info
	gpus string // the name of what gives out GPUs; "" where nothing does
}

const (
	noGPUs    = "the Docker host has no runtime that gives out GPUs (nvidia)"
	noNetwork = "no Docker network is configured for containers (docker.network)"
)

// info asks Docker about its machine.
func (d *Driver) info(ctx context.Context) (host, error) {
	bound, cancel := d.within(ctx)
	defer cancel()
	answer, err := d.docker.Info(bound, client.InfoOptions{})
	h := host{Info: answer.Info}
	if _, has := h.Runtimes["nvidia"]; has {
		h.gpus = "nvidia"
	}
	return h, d.fault(ctx, err, "asking Docker about its machine")
}

// Probe says what this Docker host enforces.
func (d *Driver) Probe(ctx context.Context) (compute.Probe, error) {
	h, err := d.info(ctx)
	if err != nil {
		return compute.Probe{}, err
	}
	support := func(level compute.Level, reason string) compute.Support {
		return compute.Support{Level: level, Reason: reason}
	}
	either := func(yes bool, reason, not string) compute.Support {
		if yes {
			return support(compute.Enforced, reason)
		}
		return support(compute.Unsupported, not)
	}
	cannot := "the Docker host's kernel or its Docker does not allow it here"
	p := compute.Probe{
		Driver:  Name,
		Summary: "Containers run on the Docker host " + h.Name + " (Docker " + h.ServerVersion + ").",
		Support: map[compute.Resource]compute.Support{
			compute.CPU:        either(h.CPUCfsQuota, "by Docker, in a control group", cannot),
			compute.Memory:     either(h.MemoryLimit, "by Docker, in a control group, without swap", cannot),
			compute.PIDs:       either(h.PidsLimit, "by Docker, in a control group, with a few more for the process that keeps the container", cannot),
			compute.Disk:       support(compute.BestEffort, "/tmp and HOME are held in memory, up to that size and a quarter of the machine's memory; the rest of the image is read-only"),
			compute.GPU:        either(h.gpus != "", "by the "+h.gpus+" runtime of the Docker host", noGPUs),
			compute.Network:    support(compute.Unsupported, "Docker limits no bandwidth"),
			compute.Filesystem: support(compute.Enforced, "the image, read-only, and what is mounted; no capabilities and no new privileges"),
			compute.Processes:  support(compute.Enforced, "a process namespace of its own"),
			compute.Egress:     support(compute.BestEffort, "a container has no network at all: "+noNetwork),
		},
	}
	if h.MemoryLimit && !h.SwapLimit {
		p.Support[compute.Memory] = support(compute.BestEffort, "by Docker, in a control group; swap is not limited here")
	}
	if d.cfg.Network != "" {
		p.Support[compute.Egress] = support(compute.BestEffort, "a container has no network, or the Docker network "+d.cfg.Network+", from which it reaches what that lets through")
	}
	if h.gpus == "" {
		p.Refuses = append(p.Refuses, compute.GPU)
	}
	return p, nil
}

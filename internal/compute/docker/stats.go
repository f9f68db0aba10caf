//go:build unix

package docker

import (
	"context"
	"encoding/json"
	"time"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"

	"quire/internal/compute"
)

// Stats measures a container.
func (d *Driver) Stats(ctx context.Context, id string) (compute.Stats, error) {
	f, err := d.find(ctx, id)
	if err != nil {
		return compute.Stats{}, err
	}
	s, err := d.status(ctx, f)
	switch {
	case err != nil || s.State == compute.Created:
		return compute.Stats{At: time.Now()}, err
	case s.State == compute.Exited:
		if f.State.Status == container.StateCreated { // stopped before it was started
			return compute.Stats{At: s.FinishedAt}, nil
		}
		end, err := d.ending(ctx, f)
		return end.usage, err
	}
	bound, cancel := d.within(ctx)
	defer cancel()
	answer, err := d.docker.ContainerStats(bound, d.native(id), client.ContainerStatsOptions{})
	if err != nil {
		return compute.Stats{}, d.fault(ctx, err, "measuring container %s", id)
	}
	defer answer.Body.Close()
	var now container.StatsResponse
	if err := json.NewDecoder(answer.Body).Decode(&now); err != nil {
		return compute.Stats{}, d.fault(ctx, err, "measuring container %s", id)
	}
	return figures(now), nil
}

// figures reads what Docker measured.
func figures(s container.StatsResponse) compute.Stats {
	out := compute.Stats{
		At: s.Read, CPU: time.Duration(s.CPUStats.CPUUsage.TotalUsage), Throttled: time.Duration(s.CPUStats.ThrottlingData.ThrottledTime),
		MemoryBytes: int64(s.MemoryStats.Usage), PeakBytes: int64(s.MemoryStats.MaxUsage), Processes: int64(s.PidsStats.Current),
		Measured: []compute.Resource{compute.CPU, compute.Memory, compute.PIDs},
	}
	for _, key := range []string{"total_inactive_file", "inactive_file"} { // what the kernel can take back at once, version 1 and 2
		if n, has := s.MemoryStats.Stats[key]; has {
			out.MemoryBytes -= int64(n)
			break
		}
	}
	out.PeakBytes = max(out.PeakBytes, out.MemoryBytes)
	for _, n := range s.Networks {
		out.RxBytes += int64(n.RxBytes)
		out.TxBytes += int64(n.TxBytes)
	}
	if len(s.Networks) > 0 {
		out.Measured = append(out.Measured, compute.Network)
	}
	return out
}

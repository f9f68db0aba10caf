package run

import (
	"context"
	"fmt"
	"strings"
	"time"

	"quire/internal/auth"
	"quire/internal/compute"
	"quire/internal/job"
	"quire/internal/problem"
)

// A UsageReport is what the container of an attempt used over its life.
type UsageReport struct {
	Run     string `json:"run"`
	Attempt int    `json:"attempt"`
	// Reason says why there is nothing, where there is nothing.
	Reason string `json:"reason,omitempty"`
	job.Series
}

// Usage returns what the container of an attempt used; attempt 0 is the newest.
func (s *Runs) Usage(ctx context.Context, u auth.User, id string, attempt int) (UsageReport, error) {
	r, err := s.Get(ctx, u, id)
	if err != nil {
		return UsageReport{}, err
	}
	if attempt == 0 {
		attempt = r.Attempt
	}
	out := UsageReport{Run: id, Attempt: attempt, Series: job.Series{Samples: []job.Sample{}}}
	switch {
	case attempt < 0 || attempt > r.Attempt:
		return out, problem.New(problem.NotFound, "run %s has no attempt %d", id, attempt)
	case r.Container == nil:
		out.Reason = "the run is a plain process of the server, without a size: nothing is measured"
		return out, nil
	case s.cfg.Containers == nil:
		out.Reason = "there are no containers on this server any more (compute: none)"
		return out, nil
	case attempt == 0:
		out.Reason = "the run waits: its container is not made yet"
		return out, nil
	}
	out.Limits = *r.Container
	series, err := s.cfg.Containers.series(ctx, id, attempt)
	if problem.Is(err, problem.NotFound) {
		out.Reason = "its container is not made yet, or was kept no longer"
		return out, nil
	}
	if err == nil {
		out.Series = series
	}
	return out, err
}

// series is what the container of an attempt used.
func (c *Containers) series(ctx context.Context, run string, attempt int) (job.Series, error) {
	w, err := c.Jobs.Job(ctx, platform(), c.id(run, attempt))
	if err != nil {
		return job.Series{}, err
	}
	if len(w.Tasks) == 0 {
		return job.Series{}, problem.New(problem.NotFound, "run %s has no container", run)
	}
	return c.Jobs.Series(ctx, platform(), w.Tasks[0].ID)
}

// usageSummary is what stays in the output notebook of what a run used: nil
// where nothing was measured.
func usageSummary(r Run) map[string]any {
	if r.Used == nil || r.Container == nil {
		return nil
	}
	return map[string]any{
		"cpuSeconds": r.Used.CPU.Seconds(), "peakMemoryBytes": r.Used.PeakMemoryBytes, "diskBytes": r.Used.DiskBytes,
		"receivedBytes": r.Used.RxBytes, "sentBytes": r.Used.TxBytes,
		"limits": map[string]any{"cpuMilli": r.Container.CPUMilli, "memoryBytes": r.Container.MemoryBytes, "diskBytes": r.Container.DiskBytes, "networkMbps": r.Container.NetworkMbps},
	}
}

// How a size is suggested.
const (
	suggestFrom = 20  // runs of the notebook that are looked at
	headroom    = 125 // per cent of the most that was used
)

// A Suggestion is a size for the next run of a notebook, from what runs of it
// used.
type Suggestion struct {
	Runs      int               `json:"runs"` // that were measured; 0 suggests nothing
	Resources compute.Resources `json:"resources"`
	Why       string            `json:"why"`
}

// Suggest returns a size for a notebook from what the runs of it that u may see
// used lately: a quarter more memory than the most, and as many processors as
// were busy. A run that ran out of memory asks for twice its limit.
func (s *Runs) Suggest(ctx context.Context, u auth.User, notebook string) (Suggestion, error) {
	all, err := s.List(ctx, u, Filter{Notebook: notebook, Limit: suggestFrom})
	if err != nil || s.cfg.Containers == nil {
		return Suggestion{}, err
	}
	return suggest(all, s.cfg.Containers.Jobs.Profile(u).Limits), nil
}

func suggest(all []Run, limits compute.Limits) Suggestion {
	var out Suggestion
	var peak, doubled, cpu int64
	for _, r := range all {
		if r.Used == nil || r.Container == nil || r.Used.PeakMemoryBytes == 0 {
			continue
		}
		out.Runs++
		peak = max(peak, r.Used.PeakMemoryBytes)
		if strings.HasPrefix(r.Reason, outOfMemory) {
			doubled = max(doubled, 2*r.Container.MemoryBytes)
		}
		if took := r.Duration(r.Finished); took > time.Second {
			cpu = max(cpu, int64(r.Used.CPU)*1000/int64(took))
		}
	}
	if out.Runs == 0 {
		return out
	}
	memory := max(peak*headroom/100, doubled)
	out.Resources = compute.Resources{CPUMilli: within(cpu, 1000, limits.CPUMilli), MemoryBytes: within(memory, compute.GiB, limits.MemoryBytes)}
	out.Why = fmt.Sprintf("%d runs of it used at most %s of memory and %s", out.Runs, compute.FormatBytes(peak), compute.FormatCPU((cpu+99)/100*100))
	if out.Runs == 1 {
		out.Why = fmt.Sprintf("the last run of it used at most %s of memory and %s", compute.FormatBytes(peak), compute.FormatCPU((cpu+99)/100*100))
	}
	if doubled > 0 {
		out.Why += "; one ran out of memory"
	}
	return out
}

// within rounds a value up to a step, and to what is allowed.
func within(n, step int64, r compute.Range) int64 {
	n = (n + step - 1) / step * step
	return min(max(n, r.Min), r.Max)
}

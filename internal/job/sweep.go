package job

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"quire/internal/auth"
	"quire/internal/compute"
	"quire/internal/problem"
)

// Times of the sweep and of the measuring.
const (
	sweepEvery  = 20 * time.Second
	sampleEvery = time.Second
	sampleBatch = 20 // containers that are measured at once; more are measured less often
	pruneEvery  = time.Hour
)

// sweep removes containers that nobody is to have, and jobs past their time.
func (s *Jobs) sweep(ctx context.Context) {
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	pruned := time.Time{}
	for {
		if err := s.sweepOnce(ctx); err != nil && ctx.Err() == nil {
			s.cfg.Log.LogAttrs(ctx, slog.LevelWarn, "looking for containers without a task", slog.String("error", err.Error()))
		}
		if now := s.cfg.Now(); s.cfg.Keep > 0 && now.Sub(pruned) >= pruneEvery {
			pruned = now
			if err := s.prune(ctx, now.Add(-s.cfg.Keep)); err != nil && ctx.Err() == nil {
				s.cfg.Log.LogAttrs(ctx, slog.LevelError, "removing old jobs", slog.String("error", err.Error()))
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// sweepOnce removes every container of this installation whose task does not
// live. A task is in the records before its container is made, so that one
// without a live task has none for good.
func (s *Jobs) sweepOnce(ctx context.Context) error {
	all, err := s.cfg.Driver.List(ctx, map[string]string{labelInstall: s.cfg.Install})
	if err != nil {
		return err
	}
	var errs []error
	for _, c := range all {
		if s.home(c.ID) != nil {
			continue
		}
		if _, known := c.Labels[labelTask]; !known {
			continue // made by somebody else who has a use for the label
		}
		t, err := s.cfg.Store.Task(ctx, c.ID)
		if err == nil && t.Live() || err != nil && !problem.Is(err, problem.NotFound) {
			continue // it is being taken in just now, or the records do not answer
		}
		s.cfg.Log.LogAttrs(ctx, slog.LevelInfo, "a container without a task is removed", slog.String("task_id", c.ID), slog.String("state", string(c.State)))
		errs = append(errs, s.cfg.Driver.Remove(ctx, c.ID))
	}
	return errors.Join(errs...)
}

func (s *Jobs) prune(ctx context.Context, before time.Time) error {
	ids, err := s.cfg.Store.DeleteJobs(ctx, before)
	for _, id := range ids {
		err = errors.Join(err, s.forget(id))
	}
	return err
}

// sample measures the running containers, once a second at most.
func (s *Jobs) sample(ctx context.Context) {
	tick := time.NewTicker(sampleEvery)
	defer tick.Stop()
	var rest []string
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if len(rest) == 0 {
			rest = s.running()
		}
		n := min(len(rest), sampleBatch)
		for _, id := range rest[:n] {
			_ = s.measure(ctx, id) // it may have ended meanwhile, and is looked at again if not
		}
		rest = rest[n:]
	}
}

// measure notes what a task uses now.
func (s *Jobs) measure(ctx context.Context, id string) error {
	stats, err := s.cfg.Driver.Stats(ctx, id)
	if err == nil {
		s.note(id, stats)
	}
	return err
}

func (s *Jobs) running() []string {
	s.mu.Lock()
	homes := make(map[string]*keeper, len(s.homes))
	for id, k := range s.homes {
		homes[id] = k
	}
	s.mu.Unlock()
	var ids []string
	now := s.cfg.Now()
	for id, k := range homes {
		if t, _, ok := k.task(id); ok && t.Status.State == Started && k.due(id, now) {
			ids = append(ids, id)
		}
	}
	return ids
}

// note keeps a measurement in memory; the next change of the task writes it
// down.
func (s *Jobs) note(id string, stats compute.Stats) {
	k := s.home(id)
	if k == nil {
		return
	}
	var save *series
	defer func() {
		if save != nil {
			s.saveSeries(id, save)
		}
	}()
	k.mu.Lock()
	defer k.mu.Unlock()
	save = s.record(k, id, stats, s.cfg.Now())
	old := k.usage[id]
	k.usage[id] = Usage{
		At: stats.At, CPU: max(stats.CPU, old.CPU), MemoryBytes: stats.MemoryBytes,
		PeakMemoryBytes: max(stats.PeakBytes, stats.MemoryBytes, old.PeakMemoryBytes), DiskBytes: stats.DiskBytes,
		RxBytes: max(stats.RxBytes, old.RxBytes), TxBytes: max(stats.TxBytes, old.TxBytes), OOMKills: max(stats.OOMKills, old.OOMKills),
	}
}

// Logs opens what a task wrote, on standard output and standard error together.
// The caller closes it. Of a long log only the end is there.
func (s *Jobs) Logs(ctx context.Context, u auth.User, id string, opt compute.LogOptions) (io.ReadCloser, error) {
	t, _, err := s.Task(ctx, u, id)
	if err != nil {
		return nil, err
	}
	if t.Live() {
		log, err := s.cfg.Driver.Logs(ctx, id, opt)
		if err == nil || !problem.Is(err, problem.NotFound) {
			return log, problem.Wrap(err, "opening the log of task %s", id)
		}
	}
	file, err := os.Open(filepath.Join(s.cfg.Logs, id+".log"))
	if errors.Is(err, fs.ErrNotExist) {
		return io.NopCloser(strings.NewReader("")), nil
	}
	if err != nil {
		return nil, problem.WrapAs(problem.Unavailable, err, "opening the log of task %s", id)
	}
	if info, err := file.Stat(); err == nil && opt.TailBytes > 0 && info.Size() > opt.TailBytes {
		_, _ = file.Seek(-opt.TailBytes, io.SeekEnd)
	}
	return file, nil
}

// Exec executes one more command in a running task, within its limits.
func (s *Jobs) Exec(ctx context.Context, u auth.User, id string, cmd compute.Command) (compute.Exit, error) {
	t, j, err := s.Task(ctx, u, id)
	if err != nil {
		return compute.Exit{}, err
	}
	if err := auth.Allow(u, auth.Write, object(j)); err != nil {
		return compute.Exit{}, err
	}
	if t.Status.State != Started {
		return compute.Exit{}, wrongState("task %s does not run: it is %s", id, t.Status.State)
	}
	exit, err := s.cfg.Driver.Exec(ctx, id, cmd)
	return exit, problem.Wrap(err, "executing a command in task %s", id)
}

// Move takes a running task out of one service job and puts it into another
// whose containers are equal. The first becomes one smaller, the second one
// larger; the container does not notice.
func (s *Jobs) Move(ctx context.Context, u auth.User, source, target, id string) error {
	if source == target {
		return problem.New(problem.Invalid, "the source and the target are the same job")
	}
	t, from, err := s.Task(ctx, u, id)
	if err != nil {
		return err
	}
	if t.JobID != source {
		return problem.New(problem.Invalid, "task %s is not one of job %s", id, source)
	}
	into, err := s.Job(ctx, u, target)
	if err != nil {
		return err
	}
	for _, j := range []Job{from, into.Job} {
		if err := auth.Allow(u, auth.Write, object(j)); err != nil {
			return err
		}
	}
	s.mu.Lock()
	a, b := s.active[source], s.active[target]
	s.mu.Unlock()
	if a == nil || b == nil {
		return wrongState("one of the jobs has finished")
	}
	first, second := a, b
	if a.id > b.id {
		first, second = b, a
	}
	first.mu.Lock()
	defer first.mu.Unlock()
	second.mu.Lock()
	defer second.mu.Unlock()
	return s.moveLocked(ctx, a, b, id)
}

package job

import (
	"context"
	"log/slog"
	"maps"
	"slices"
	"sync"

	"quire/internal/problem"
)

// A keeper holds a job that has not finished, and the goroutines that tend its
// tasks. All changes of the job go through step, one after the other.
type keeper struct {
	id   string
	user string

	mu      sync.Mutex
	w       Whole
	tending map[string]*tender
	usage   map[string]Usage // newer than that in w
	series  map[string]*series
}

// A tender is the goroutine of one task.
type tender struct {
	// living ends when the task is to end: whatever it waits for then is given
	// up.
	living context.Context //nolint:containedctx // it is the goroutine's, and ended from outside
	end    context.CancelFunc
}

// keep takes a job that has not finished into the memory.
func (s *Jobs) keep(w Whole) *keeper {
	k := &keeper{id: w.Job.ID, user: w.Job.User, w: w, tending: map[string]*tender{}, usage: map[string]Usage{}, series: map[string]*series{}}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.active[k.id] = k
	return k
}

// snapshot returns the job as it is now, with the newest measurements.
func (k *keeper) snapshot() Whole {
	k.mu.Lock()
	defer k.mu.Unlock()
	w := Whole{Job: k.w.Job, Tasks: slices.Clone(k.w.Tasks)}
	for i, t := range w.Tasks {
		if u, ok := k.usage[t.ID]; ok && t.Live() {
			w.Tasks[i].Usage = u
		}
	}
	slices.SortStableFunc(w.Tasks, func(a, b Task) int { return a.Index - b.Index })
	return w
}

// task returns a task that counts.
func (k *keeper) task(id string) (Task, Job, bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	i := slices.IndexFunc(k.w.Tasks, func(t Task) bool { return t.ID == id })
	if i < 0 {
		return Task{}, k.w.Job, false
	}
	return k.w.Tasks[i], k.w.Job, true
}

// step applies an event: first in the store, then in the memory, then it is
// told and acted on.
func (s *Jobs) step(ctx context.Context, k *keeper, e Event) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	return s.stepLocked(ctx, k, e)
}

func (s *Jobs) stepLocked(ctx context.Context, k *keeper, e Event) error {
	w, changed, err := Step(k.w, e, s.world())
	if err != nil {
		return err
	}
	if w.Job.Version == k.w.Job.Version {
		return nil // nothing happened
	}
	for i, t := range changed {
		if u, ok := k.usage[t.ID]; ok {
			changed[i].Usage = newer(u, t.Usage)
		}
	}
	for i, t := range w.Tasks {
		if u, ok := k.usage[t.ID]; ok {
			w.Tasks[i].Usage = newer(u, t.Usage)
		}
	}
	if err := s.cfg.Store.SaveJobs(ctx, Saved{w.Job, k.w.Job.Version, changed}); err != nil {
		return problem.Wrap(err, "changing job %s", k.id)
	}
	k.w = w
	s.publish(w.Job, changed)
	s.look(k)
	return nil
}

// newer returns the newest measurements and the largest peak.
func newer(u, old Usage) Usage {
	u.PeakMemoryBytes = max(u.PeakMemoryBytes, old.PeakMemoryBytes)
	return u
}

// publish tells of a job and of tasks of it.
func (s *Jobs) publish(j Job, tasks []Task) {
	for _, t := range tasks {
		s.hub.tell(Change{User: j.User, Task: &t, Moved: t.MovedFrom != "" && t.Status.State == Started})
	}
	s.hub.tell(Change{User: j.User, Job: &j})
}

// look sees to it that every live task is tended, that those which are to end
// know it, and that a finished job is let go. k.mu is held.
func (s *Jobs) look(k *keeper) {
	live := map[string]bool{}
	for _, t := range k.w.Tasks {
		live[t.ID] = t.Live()
	}
	s.house(k, live)
	for _, t := range k.w.Tasks {
		if !t.Live() {
			continue
		}
		if k.tending[t.ID] == nil && s.ctx != nil && s.ctx.Err() == nil {
			s.startTending(k, t.ID)
		}
		if t.Status.State == KillInitiated && k.tending[t.ID] != nil {
			k.tending[t.ID].end()
		}
	}
	for id, one := range k.tending {
		if !live[id] {
			one.end()
			delete(k.tending, id)
		}
	}
}

// house notes where the live tasks of a job are. A tender that does not find
// its task there takes its container away: this comes before any starts.
func (s *Jobs) house(k *keeper, live map[string]bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for id, lives := range live {
		if lives {
			s.homes[id] = k
		}
	}
	maps.DeleteFunc(s.homes, func(id string, home *keeper) bool { return home == k && !live[id] })
	if k.w.Job.Status.State == Finished {
		delete(s.active, k.id)
		s.cfg.Log.LogAttrs(context.Background(), slog.LevelInfo, "job finished", slog.String("job_id", k.id),
			slog.String("reason", k.w.Job.Status.ReasonCode))
	}
}

func (s *Jobs) startTending(k *keeper, id string) {
	living, end := context.WithCancel(s.ctx)
	k.tending[id] = &tender{living: living, end: end}
	s.done.Go(func() {
		defer end()
		s.tend(living, id)
	})
}

// home returns the keeper of a live task: tasks move.
func (s *Jobs) home(id string) *keeper {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.homes[id]
}

// tell applies an event to the job that a task is in now. It goes on trying
// while the records cannot take it; what the job itself refuses is over.
func (s *Jobs) tell(id string, e Event) {
	for wait := retryFirst; s.ctx.Err() == nil; wait = min(2*wait, retryMost) {
		k := s.home(id)
		if k == nil {
			return
		}
		err := s.step(s.ctx, k, e)
		if err == nil || problem.Is(err, problem.Conflict) || problem.Is(err, problem.Invalid) {
			return
		}
		if s.ctx.Err() != nil {
			return
		}
		s.cfg.Log.LogAttrs(s.ctx, slog.LevelError, "the records do not take a change of a task; it is tried again",
			slog.String("task_id", id), slog.String("error", err.Error()))
		pause(s.ctx, wait)
	}
}

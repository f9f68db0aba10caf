package schedule

import (
	"context"
	"fmt"
	"maps"
	"time"

	"quire/internal/auth"
	"quire/internal/run"
)

// An Environment is what a step's notebook ran in, by the hash of its packages.
type Environment struct {
	Lock string    `json:"lock"`
	Run  string    `json:"run"` // of which that is known
	At   time.Time `json:"at"`
}

// tested finds what the notebooks of a definition were tested with: the environment
// of the newest run of each that succeeded. Where there is none, what old knows of
// the same notebook holds on.
func (s *Schedules) tested(ctx context.Context, u auth.User, d Definition, old Schedule, now time.Time) (map[string]Environment, error) {
	all := map[string]Environment{}
	for _, step := range d.Steps {
		if before, ok := old.Definition.step(step.Name); ok && before.Notebook == step.Notebook && old.Tested[step.Name].Lock != "" {
			all[step.Name] = old.Tested[step.Name]
		}
		if s.cfg.Tested == nil || step.Notebook == "" {
			continue
		}
		lock, id, err := s.cfg.Tested(ctx, u, step.Notebook)
		if err != nil {
			return nil, err
		}
		if lock != "" && lock != all[step.Name].Lock {
			all[step.Name] = Environment{Lock: lock, Run: id, At: now}
		}
	}
	return all, nil
}

func sameLocks(a, b map[string]Environment) bool {
	return maps.EqualFunc(a, b, func(x, y Environment) bool { return x.Lock == y.Lock })
}

// lockChanges says in words which steps are tested with another environment.
func lockChanges(d Definition, old, fresh map[string]Environment) string {
	words := ""
	for _, step := range d.Steps {
		if a, b := old[step.Name].Lock, fresh[step.Name].Lock; a != "" && b != "" && a != b {
			words += fmt.Sprintf("; step %s was tested with environment %s, before with %s", step.Name, ShortLock(b), ShortLock(a))
		}
	}
	return words
}

// ShortLock is enough of a lock hash to tell two apart.
func ShortLock(lock string) string { return lock[:min(len(lock), 12)] }

// environment notes what a task's run ran in, and whether that is what its notebook
// was tested with. Where nobody knows that yet, a run that succeeds says it.
func (m *machine) environment(f *Fire, t *Task, r run.Run) {
	t.Lock, t.Tested = r.Lock(), ""
	if t.Lock == "" {
		return
	}
	s := &m.view.Schedule
	known, ok := s.Tested[t.Step]
	if ok && known.Lock != t.Lock {
		t.Tested = known.Lock
	}
	if f.Revision != s.Revision {
		return
	}
	here := Environment{Lock: t.Lock, Run: r.ID, At: m.now}
	switch found := s.Found[t.Step]; {
	case !ok && r.State == run.Succeeded:
		s.Tested = with(s.Tested, t.Step, here)
	case !ok:
	case known.Lock == t.Lock && found.Lock != "":
		s.Found = maps.Clone(s.Found)
		delete(s.Found, t.Step)
	case known.Lock != t.Lock && found.Lock != t.Lock:
		s.Found = with(s.Found, t.Step, here)
		m.view.did(m.now, Activity{Did: FoundOther, Fire: f.ID, Detail: fmt.Sprintf("step %s ran in environment %s; it was tested with %s", t.Step, ShortLock(t.Lock), ShortLock(known.Lock))})
	}
}

func with(all map[string]Environment, step string, e Environment) map[string]Environment {
	all = maps.Clone(all)
	if all == nil {
		all = map[string]Environment{}
	}
	all[step] = e
	return all
}

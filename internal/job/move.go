package job

import (
	"context"
	"slices"
	"strings"

	"quire/internal/problem"
)

// moveLocked moves a task between two jobs in one transaction. Both are locked.
func (s *Jobs) moveLocked(ctx context.Context, a, b *keeper, id string) error {
	if !sameDescriptor(movable(a.w.Job.Descriptor), movable(b.w.Job.Descriptor)) {
		return problem.New(problem.Invalid, "the jobs differ in more than names, owner and size: a task cannot move between them")
	}
	i := slices.IndexFunc(a.w.Tasks, func(t Task) bool { return t.ID == id })
	if i < 0 {
		return wrongState("task %s does not run", id)
	}
	t := a.w.Tasks[i]
	from, gone, err := Step(a.w, movedAway{id}, s.world())
	if err != nil {
		return err
	}
	into, come, err := Step(b.w, movedIn{t}, s.world())
	if err != nil {
		return err
	}
	err = s.cfg.Store.SaveJobs(ctx, Saved{from.Job, a.w.Job.Version, gone}, Saved{into.Job, b.w.Job.Version, come})
	if err != nil {
		return problem.Wrap(err, "moving task %s", id)
	}
	a.w, b.w = from, into
	b.tending[id], b.usage[id] = a.tending[id], a.usage[id]
	delete(a.tending, id)
	delete(a.usage, id)
	s.publish(a.w.Job, gone)
	s.publish(b.w.Job, come)
	s.look(b)
	s.look(a)
	return nil
}

// movable leaves of a descriptor what must be equal for a task to move.
func movable(d Descriptor) Descriptor {
	d.Owner, d.ApplicationName, d.JobGroupInfo, d.DisruptionBudget = Owner{}, "", GroupInfo{}, nil
	if d.Service != nil {
		d.Service = &Service{}
	}
	d.Attributes = reserved(d.Attributes)
	d.Container.Attributes = reserved(d.Container.Attributes)
	return d
}

func reserved(all map[string]string) map[string]string {
	kept := map[string]string{}
	for name, value := range all {
		if strings.HasPrefix(name, "titus.") || strings.HasPrefix(name, "titusParameter.") {
			kept[name] = value
		}
	}
	return kept
}

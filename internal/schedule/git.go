package schedule

import (
	"context"

	"quire/internal/auth"
	"quire/internal/gitrepo"
	"quire/internal/problem"
)

// checkRef says what is wrong with where a step's notebook comes from, "" for
// nothing.
func (s Step) checkRef() string {
	switch {
	case s.Source == Git && s.Ref == "":
		return "source: git goes with ref, a branch, a tag or a commit"
	case s.Source != Git && s.Ref != "":
		return "ref goes with source: git"
	case s.Ref != "" && !gitrepo.ValidRef(s.Ref):
		return "ref: want a branch, a tag or a whole commit"
	case s.Source == Git && (s.Template != "" || s.written()):
		return "source: git goes with a notebook"
	}
	return ""
}

// resolve finds out which commit the ref of a task is. It is noted before the run
// is prepared, so that doing it again does the same.
func (s *Schedules) resolve(ctx context.Context, u auth.User, got answer) answer {
	if s.cfg.Commit == nil {
		got.err = problem.New(problem.Invalid, "there are no git repositories on this server")
		return got
	}
	got.repository, got.commit, got.err = s.cfg.Commit(ctx, u, got.task.Notebook, got.step.Ref)
	return got
}

// resolved notes the commit of a task: the one that another task of its fire has
// for the same ref of the same repository, so that all of a fire is of one commit.
// One that waits has that of the time before it was restarted.
func (t *Task) resolved(f *Fire, repository, commit string) {
	step, _ := f.Definition.step(t.Step)
	for _, other := range f.Tasks {
		if o, _ := f.Definition.step(other.Step); other.Commit != "" && other.Repository == repository && o.Ref == step.Ref && other.State != Waiting {
			commit = other.Commit
			break
		}
	}
	t.Repository, t.Commit, t.Version = repository, commit, unversioned
}

package run

import (
	"cmp"
	"context"
	"encoding/json"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"quire/internal/auth"
	"quire/internal/engine"
	"quire/internal/job"
	"quire/internal/problem"
)

// keptDir is the folder in a spool of the server of a kept kernel.
const keptDir = "kept"

// KeptSocket is the name of its socket in that folder.
const KeptSocket = "socket"

// maxKept is how long a kept container goes on, however much it is used.
const maxKept = 24 * time.Hour

// purposeOf is the purpose of the job of a run.
const purposeOf = "run "

// KeptBase is the path that the kept kernel of a run is served under.
func KeptBase(base, run string) string { return base + "/attached/" + run }

// keepSpec says how an attempt is kept when it fails: nil is not at all. One
// that is tried again is not kept.
func (s *Runs) keepSpec(r Run, a Attempt) *KeepSpec {
	c := s.cfg.Containers
	workspace := workspaceOf(r.Notebook)
	if r.Container == nil || c == nil || c.Keep <= 0 || c.Kept <= 0 || a.Number-r.Lost <= r.Retries ||
		workspace == "" || auth.Allow(auth.User{Name: r.Owner}, auth.Write, auth.FileAt(workspace+"/x")) != nil {
		return nil
	}
	return &KeepSpec{For: c.Keep, Owner: r.Owner, Workspace: filepath.Join(c.Files, filepath.FromSlash(workspace)), Base: KeptBase(c.Base, r.ID)}
}

// A Kept is the container of a failed run that goes on.
type Kept struct {
	Run       string    `json:"run"`
	Socket    string    `json:"-"` // where it answers
	Dir       string    `json:"-"`
	Workspace string    `json:"-"`     // that it serves, as a path on the volume
	Cell      int       `json:"cell"`  // number of the cell that failed, as in notebook.Numbers; 0 is none of the source's
	Index     int       `json:"-"`     // of that cell in the output; -1 is not known
	Until     time.Time `json:"until"` // when it ends if nobody uses it: at least so long
}

// Kept returns the kept container of a run, for its owner and nobody else. When
// there is none it fails with kind NotFound.
func (s *Runs) Kept(ctx context.Context, u auth.User, id string) (Kept, error) {
	r, err := s.Get(ctx, u, id)
	if err != nil {
		return Kept{}, err
	}
	if r.Owner != u.Name {
		return Kept{}, problem.New(problem.Denied, "the container of run %s is %s's: only they work in it", id, r.Owner)
	}
	if !r.State.Ended() || r.Container == nil || s.cfg.Containers == nil {
		return Kept{}, problem.New(problem.NotFound, "run %s has no kept container", id)
	}
	w, err := s.cfg.Containers.Jobs.Job(ctx, platform(), s.cfg.Containers.id(id, r.Attempt))
	if err != nil && !problem.Is(err, problem.NotFound) {
		return Kept{}, err
	}
	if err != nil || w.Job.Status.State != job.Accepted {
		return Kept{}, problem.New(problem.NotFound, "run %s has no kept container: it ended, or was never kept", id)
	}
	dir := spoolOf(s.cfg.Spool, id, r.Attempt).path(keptDir)
	k := Kept{Run: id, Dir: dir, Socket: filepath.Join(dir, KeptSocket), Workspace: workspaceOf(r.Notebook), Until: r.Finished.Add(s.cfg.Containers.Keep)}
	var res engine.Result
	k.Index = -1
	if json.Unmarshal(r.Result, &res) == nil && res.Error != nil {
		k.Cell, k.Index = res.Error.Cell, res.Error.Index
	}
	return k, nil
}

// EndKept ends the kept container of a run. Where there is none, nothing is done.
func (s *Runs) EndKept(ctx context.Context, u auth.User, id string) error {
	if _, err := s.Kept(ctx, u, id); err != nil {
		return err
	}
	r, err := s.Get(ctx, u, id)
	if err != nil {
		return err
	}
	_, err = s.cfg.Containers.Jobs.Do(ctx, platform(), s.cfg.Containers.id(id, r.Attempt), job.KillJob{Message: u.Name + " let it go"})
	return err
}

// keptOf is one kept container, for the sweep.
type keptOf struct {
	job job.Job
	run Run
}

// sweepKept ends kept containers that are past their time, that do not say so
// themselves, and those that are too many: the oldest first. InUse says whether
// somebody works in one.
func (s *Runs) sweepKept(ctx context.Context) {
	if s.cfg.Containers == nil {
		return
	}
	all, err := s.cfg.Containers.Jobs.List(ctx, platform(), job.Filter{Active: true})
	if err != nil {
		return // the next look sees them
	}
	var kept []keptOf
	for _, j := range all {
		id, ok := strings.CutPrefix(j.Extras.Purpose, purposeOf)
		if !ok || j.Status.State != job.Accepted || !ValidID(id) {
			continue
		}
		r, err := s.cfg.Store.Run(ctx, id)
		if err == nil && r.State.Ended() && s.cfg.Containers.id(id, r.Attempt) == j.ID {
			kept = append(kept, keptOf{j, r})
		}
	}
	slices.SortFunc(kept, func(a, b keptOf) int { return cmp.Compare(b.run.Finished.UnixNano(), a.run.Finished.UnixNano()) })
	for i, one := range kept {
		if why := s.overdue(ctx, i, one.run); why != "" {
			if _, err := s.cfg.Containers.Jobs.Do(ctx, platform(), one.job.ID, job.KillJob{Message: why}); err == nil {
				s.cfg.Log.LogAttrs(ctx, slog.LevelInfo, "a kept container is ended", slog.String("run_id", one.run.ID), slog.String("reason", why))
			}
		}
	}
}

// overdue says why the kept container of a run is to end, "" when it is not; n is
// how many younger ones there are.
func (s *Runs) overdue(ctx context.Context, n int, r Run) string {
	c := s.cfg.Containers
	age := s.now().Sub(r.Finished)
	switch {
	case n >= c.Kept:
		return "newer failed runs are kept"
	case age > maxKept:
		return "it was kept for as long as is possible"
	case age > c.Keep && (c.InUse == nil || !c.InUse(ctx, spoolOf(s.cfg.Spool, r.ID, r.Attempt).path(keptDir), KeptBase(c.Base, r.ID))):
		return "nobody used it: it was kept for " + c.Keep.String()
	}
	return ""
}

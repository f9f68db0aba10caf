package server

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"quire/internal/auth"
	"quire/internal/compute"
	"quire/internal/job"
	"quire/internal/problem"
)

// notebookPurpose is what the platform has the jobs of notebook servers for.
const notebookPurpose = "notebook server"

// How long things of a contained notebook server may take.
const (
	notebookGrace = 30 * time.Second // to save what is open and to end its kernels
	answerLimit   = 2 * time.Minute  // for one that runs to answer
)

// A housing gives each person's notebook server a container: a service job of
// one task, which ends with its task. The job goes on without the platform, and
// is found again by its purpose.
type housing struct {
	jobs   *job.Jobs
	mounts []compute.Mount // what every server needs besides
	env    map[string]string
}

// A room is what a notebook server was asked for with.
type room struct {
	Name      string            `json:"name"`
	Resources compute.Resources `json:"resources"`
	Env       map[string]string `json:"env,omitempty"`
}

// roomOf is what a job was asked for with.
func (h *housing) roomOf(j job.Job) room {
	c := j.Descriptor.Container
	r := room{Name: j.Descriptor.ApplicationName, Resources: c.Resources.Size()}
	for name, value := range c.Env {
		if own, ok := h.env[name]; !ok || own != value {
			if r.Env == nil {
				r.Env = map[string]string{}
			}
			r.Env[name] = value
		}
	}
	return r
}

// newest returns the newest job of a person's notebook server, of those that go
// on where active. ok is false when there is none.
func (h *housing) newest(ctx context.Context, user string, active bool) (w job.Whole, ok bool, err error) {
	all, err := h.jobs.List(ctx, auth.User{Name: "quire", Admin: true}, job.Filter{User: user, Purpose: notebookPurpose, Active: active, Limit: 1})
	if err != nil || len(all) == 0 {
		return w, false, err
	}
	w, err = h.jobs.Job(ctx, auth.User{Name: user}, all[0].ID)
	return w, err == nil, err
}

// last is the room of the newest server that a person had, as far as they may
// still have it, or the default.
func (h *housing) last(ctx context.Context, user string) (room, error) {
	profile := h.jobs.Profile(auth.User{Name: user})
	w, ok, err := h.newest(ctx, user, false)
	if err != nil || !ok {
		return room{Name: "notebook-" + user, Resources: profile.Defaults}, err
	}
	r := h.roomOf(w.Job)
	r.Resources = profile.Fit(r.Resources)
	return r, nil
}

// order is what is asked of the jobs for a person's server.
func (s *spawner) order(p *personal, r room) (job.Order, error) {
	exe, err := filepath.EvalSymlinks(s.command[0])
	if err != nil {
		return job.Order{}, problem.WrapAs(problem.Unavailable, err, "finding this program for a container")
	}
	env := map[string]string{}
	for _, more := range []map[string]string{s.house.env, r.Env} {
		for name, value := range more {
			env[name] = value
		}
	}
	size := r.Resources
	d := job.Descriptor{
		ApplicationName: r.Name, JobGroupInfo: job.GroupInfo{},
		Container: job.Container{
			EntryPoint: append([]string{exe}, append(s.arguments(p), "--again")...), Env: env,
			Resources: job.ContainerResources{
				CPU: job.Double(size.CPUMilli) / 1000, MemoryMB: job.Count(size.MemoryBytes / compute.MiB), DiskMB: job.Count(size.DiskBytes / compute.MiB),
				GPU: job.Count(size.GPUs), NetworkMbps: job.Count(size.NetworkMbps),
			},
		},
		Service: &job.Service{Capacity: job.Capacity{Desired: 1, Max: 1}},
	}
	home := filepath.Join(s.files, "users", p.user)
	mounts := append([]compute.Mount{
		{Source: exe, Target: exe, ReadOnly: true}, {Source: p.dir, Target: p.dir}, {Source: home, Target: home},
	}, s.house.mounts...)
	shared := filepath.Join(s.files, "shared")
	if info, err := os.Lstat(shared); err == nil && info.IsDir() {
		readOnly := auth.Allow(auth.User{Name: p.user}, auth.Write, auth.FileAt("shared/x")) != nil
		mounts = append(mounts, compute.Mount{Source: shared, Target: shared, ReadOnly: readOnly})
	}
	return job.Order{Descriptor: d, Extras: job.Extras{
		Mounts: mounts, Dir: home, Once: true, Grace: notebookGrace, Purpose: notebookPurpose,
	}}, nil
}

// launchJob starts the server in a container and returns when it answers. The
// caller has the turn. It waits as long as the start advances.
func (s *spawner) launchJob(ctx context.Context, p *personal, r room) error {
	o, err := s.order(p, r)
	if err != nil {
		return err
	}
	began := time.Now()
	w, ok, err := s.house.newest(ctx, p.user, true)
	if err == nil && ok && w.Job.Status.State == job.KillInitiated {
		err, ok = s.ended(ctx, p, w.Job.ID), false
	}
	if err == nil && !ok {
		w.Job, err = s.house.jobs.Create(ctx, auth.User{Name: p.user}, o)
	}
	if err != nil {
		return problem.Wrap(err, "starting the notebook server of %s", p.user)
	}
	if err := s.await(ctx, p, w.Job.ID); err != nil {
		return err
	}
	s.log.LogAttrs(ctx, slog.LevelInfo, "notebook server started", slog.String("user", p.user), slog.String("job_id", w.Job.ID),
		slog.Int64("dur_ms", time.Since(began).Milliseconds()))
	return p.learn()
}

// awaitJob waits for the server in a container that is there; with ok false there
// is none. A server that was killed in it is started again there.
func (s *spawner) awaitJob(ctx context.Context, p *personal) (ok bool, err error) {
	w, ok, err := s.house.newest(ctx, p.user, true)
	if err != nil || !ok || w.Job.Status.State == job.KillInitiated {
		return false, err
	}
	if err := s.await(ctx, p, w.Job.ID); err != nil {
		return true, err
	}
	return true, p.learn()
}

// await returns when the server in the container of a job answers, or why it
// does not.
func (s *spawner) await(ctx context.Context, p *personal, id string) error {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for !p.answers(ctx) {
		w, err := s.house.jobs.Job(ctx, auth.User{Name: p.user}, id)
		if err != nil {
			return err
		}
		st := w.Job.Status
		if st.State != job.Accepted {
			return problem.New(problem.Unavailable, "the notebook server of %s ended before it answered: %s; its log says more: quire job logs %s", p.user, why(w), id)
		}
		for _, t := range w.Tasks { // a container that does not advance is ended by its job
			if t.Status.State == job.Started && time.Since(t.Status.At()) > answerLimit {
				return problem.New(problem.Timeout, "the notebook server of %s runs, but did not answer within %v: its log says more: quire job logs %s", p.user, answerLimit, id)
			}
		}
		select {
		case <-ctx.Done():
			if text := why(w); text != "" {
				return problem.New(problem.Timeout, "the notebook server of %s is not there yet: %s; try again in a moment", p.user, text)
			}
			return ctx.Err()
		case <-tick.C:
		}
	}
	return nil
}

// why is what a job waits for or why it ended, in words.
func why(w job.Whole) string {
	if m := w.Job.Status.ReasonMessage; m != "" {
		return m
	}
	for _, t := range slices.Backward(w.Tasks) {
		if t.Status.ReasonMessage != "" {
			return t.Status.ReasonMessage
		}
	}
	return w.Job.Status.ReasonCode
}

// base is the path that the server of a job answers under.
func baseOf(j job.Job) string {
	argv := j.Descriptor.Container.EntryPoint
	if i := slices.Index(argv, "--base-url"); i >= 0 && i+1 < len(argv) {
		return argv[i+1]
	}
	return ""
}

// stopJob ends the container of a person's server, for a reason, and returns
// when it is gone; with ok false there is none. What is open is saved first.
func (s *spawner) stopJob(ctx context.Context, p *personal, reason string) (ok bool, err error) {
	if s.house == nil {
		return false, nil
	}
	w, ok, err := s.house.newest(ctx, p.user, true)
	if err != nil || !ok {
		return false, err
	}
	if _, err := s.house.jobs.Do(ctx, auth.User{Name: p.user}, w.Job.ID, job.KillJob{Message: reason}); err != nil && !problem.Is(err, problem.Conflict) {
		return true, problem.Wrap(err, "stopping the notebook server of %s", p.user)
	}
	return true, s.ended(ctx, p, w.Job.ID)
}

// ended returns when a job has finished.
func (s *spawner) ended(ctx context.Context, p *personal, id string) error {
	ctx, cancel := context.WithTimeout(ctx, notebookGrace+stopLimit)
	defer cancel()
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		w, err := s.house.jobs.Job(ctx, auth.User{Name: p.user}, id)
		if err != nil && ctx.Err() == nil {
			return err
		}
		if err == nil && w.Job.Status.State == job.Finished {
			return nil
		}
		select {
		case <-ctx.Done():
			return problem.New(problem.Timeout, "the notebook server of %s takes long to end: try again in a moment", p.user)
		case <-tick.C:
		}
	}
}

// isolation says in words what keeps people's servers apart, or that nothing
// does.
func (s *spawner) isolation(ctx context.Context) (contained bool, words string) {
	if s.house == nil {
		if s.plain == "" {
			return false, "Notebook servers are plain processes: nothing keeps them apart."
		}
		return false, "Notebook servers are plain processes: nothing keeps them apart. " + s.plain
	}
	probe, err := s.house.jobs.Probe(ctx)
	if err != nil {
		return true, ""
	}
	return true, probe.Summary
}

// contain chooses whether notebook servers get containers: where they are kept
// apart and share this machine's sockets and folders.
func (s *Server) contain(ctx context.Context) (*housing, string) {
	if s.jobs == nil {
		return nil, "This server's configuration says compute: none."
	}
	if !s.cfg.beside() {
		return nil, "Containers of their own are given to them where those share this machine's files and sockets; this configuration says compute: " + s.cfg.Compute + "."
	}
	house := &housing{jobs: s.jobs, mounts: s.ownMounts(), env: s.cfg.variables()}
	if s.cfg.Compute == computeDocker { // it need not answer yet
		return house, ""
	}
	probe, err := s.driver.Probe(ctx)
	if err != nil {
		return nil, "What containers can have here is not known: " + err.Error()
	}
	if probe.Driver != computeLocal || probe.Support[compute.Processes].Level != compute.Enforced {
		return nil, probe.Summary
	}
	return house, ""
}

// variables are those that programs in containers get, with their values.
func (c *Config) variables() map[string]string {
	env := map[string]string{}
	for _, name := range c.passedOn() {
		if value := os.Getenv(name); value != "" {
			env[name] = value
		}
	}
	return env
}

// arguments are those of a person's notebook server, whole.
func (s *spawner) arguments(p *personal) []string {
	return append(slices.Clone(s.command[1:]), filepath.Join(s.files, "users", p.user),
		"--socket", filepath.Join(p.dir, socketFile), "--data", p.dir, "--user", p.user,
		"--base-url", s.base+"/user/"+p.user+"/", "--idle", s.idle.String(), "--shared", filepath.Join(s.files, "shared"))
}

// samePath reports whether a job's server answers under our path.
func (s *spawner) samePath(p *personal, j job.Job) bool {
	return strings.TrimSuffix(baseOf(j), "/") == s.base+"/user/"+p.user
}

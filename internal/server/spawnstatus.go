package server

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"strconv"
	"time"

	"quire/internal/auth"
	"quire/internal/compute"
	"quire/internal/job"
	"quire/internal/problem"
)

// The states of a notebook server, in order. Each is told when it is so.
const (
	serverStopped  = "stopped"
	serverQueued   = "queued"   // it waits for room
	serverCreating = "creating" // its container is being made
	serverStarting = "starting" // its container runs; it does not answer yet
	serverReady    = "ready"
	serverStopping = "stopping"
)

// A notebookStatus says how a person's notebook server is.
type notebookStatus struct {
	Running      bool      `json:"running"`
	State        string    `json:"state"`            // stopped, queued, creating, starting, ready, stopping
	Reason       string    `json:"reason,omitempty"` // what it waits for
	Since        time.Time `json:"since,omitzero"`   // of the state, while it starts or stops
	URL          string    `json:"url"`
	Started      time.Time `json:"started,omitzero"`
	LastActivity time.Time `json:"lastActivity,omitzero"`
	Connections  int       `json:"connections"`
	Kernels      int       `json:"kernels"`
	Ended        string    `json:"ended,omitempty"` // why it ended, when it does not run

	// Contained tells whether it has, or would have, a container of its own;
	// Isolation says so in words.
	Contained bool   `json:"contained"`
	Isolation string `json:"isolation,omitempty"`
	// Name and Size are those of its container, or those that the next one has.
	Name  string             `json:"name,omitempty"`
	Size  *compute.Resources `json:"size,omitempty"`
	Usage *usageNow          `json:"usage,omitempty"`
	Job   string             `json:"job,omitempty"`  // of the container
	Task  string             `json:"task,omitempty"` // the same

	Start []job.Phase `json:"start,omitempty"` // of its container: the last part is that it answers

	Idle *activity `json:"idle,omitempty"`
}

// usageNow is what a container uses.
type usageNow struct {
	CPUMilli        int64 `json:"cpuMilli"` // of the last seconds
	MemoryBytes     int64 `json:"memoryBytes"`
	PeakMemoryBytes int64 `json:"peakMemoryBytes"`
	DiskBytes       int64 `json:"diskBytes"`
	RxBytes         int64 `json:"rxBytes"`
	TxBytes         int64 `json:"txBytes"`
}

// status looks at a server without starting it.
func (s *spawner) status(ctx context.Context, p *personal) (notebookStatus, error) {
	st := notebookStatus{URL: s.base + "/user/" + p.user + "/", State: serverStopped}
	st.Contained, st.Isolation = s.isolation(ctx)
	if err := s.lookAtJob(ctx, p, &st); err != nil {
		return st, err
	}
	runs, err := s.lookAt(ctx, p, &st)
	if err != nil && ctx.Err() == nil && !p.answers(ctx) {
		runs, err = false, nil // it ended while it was asked
	}
	if err == nil && !runs && st.State == serverStopped {
		p.underWay(&st)
	}
	return st, err
}

// lookAt asks a server how it is; runs is false, and nothing noted, when there is
// none that answers.
func (s *spawner) lookAt(ctx context.Context, p *personal, st *notebookStatus) (runs bool, err error) {
	if !p.answers(ctx) {
		return false, nil
	}
	if err := p.learn(); err != nil {
		return false, err
	}
	var answer struct {
		Started      time.Time `json:"started"`
		LastActivity time.Time `json:"last_activity"`
		Connections  int       `json:"connections"`
		Kernels      int       `json:"kernels"`
	}
	if err := s.get(ctx, p, "/api/status", &answer); err != nil {
		return false, err
	}
	if st.State != serverStopping {
		st.State, st.Reason, st.Since = serverReady, "", time.Time{}
		if n := len(st.Start); n > 0 {
			st.Start[n-1].State = job.PhaseDone
		}
	}
	st.Running, st.Started, st.LastActivity, st.Ended = true, answer.Started, answer.LastActivity, ""
	st.Connections, st.Kernels = answer.Connections, answer.Kernels
	var idle activity
	if err := s.get(ctx, p, activityPath, &idle); err == nil { // one of an older Quire does not say
		st.Idle = &idle
	}
	return true, nil
}

// underWay says of a server that does not run and has no container whether it is
// just being started, and otherwise why it ended.
func (p *personal) underWay(st *notebookStatus) {
	p.mu.Lock()
	launching, failed := p.launching, p.failed
	p.mu.Unlock()
	switch {
	case launching:
		st.State, st.Ended = serverQueued, ""
	case st.Ended != "":
	case failed != "":
		st.Ended = failed
	default:
		st.Ended = p.reason()
	}
}

// get reads a small answer of the server.
func (s *spawner) get(ctx context.Context, p *personal, path string, into any) error {
	res, err := p.ask(ctx, http.MethodGet, s.base, path)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	err = json.NewDecoder(io.LimitReader(res.Body, 64<<10)).Decode(into)
	return problem.WrapAs(problem.Unavailable, err, "reading how the notebook server is")
}

// lookAtJob says where the server's container is, or how the last one ended.
func (s *spawner) lookAtJob(ctx context.Context, p *personal, st *notebookStatus) error {
	if s.house == nil {
		return nil
	}
	w, ok, err := s.house.newest(ctx, p.user, false)
	if err != nil {
		return err
	}
	if !ok {
		r, err := s.house.last(ctx, p.user)
		st.Name, st.Size = r.Name, &r.Resources
		return err
	}
	r := s.house.roomOf(w.Job)
	st.Name, st.Size, st.Job = r.Name, &r.Resources, w.Job.ID
	if w.Job.Status.State == job.Finished {
		st.Ended = why(w)
		if own := p.reason(); own != "" && w.Job.Status.ReasonCode == job.Normal {
			st.Ended = own // it ended by itself, and knows why
		}
		return nil
	}
	st.Since, st.Reason = w.Job.Status.At(), w.Job.Status.ReasonMessage
	for _, t := range w.Tasks {
		st.Task, st.Since, st.Reason = t.ID, t.Status.At(), t.Status.ReasonMessage
		st.State = stateOf(t.Status.State)
		st.Start = answering(t.Start())
		if t.Status.State == job.Started {
			if err := s.measure(ctx, p, t, st); err != nil {
				return err
			}
		}
	}
	if w.Job.Status.State == job.KillInitiated {
		st.State, st.Reason = serverStopping, w.Job.Status.ReasonMessage
	}
	return nil
}

// answering adds to the start of a container that its server answers: whether it
// does is not looked at.
func answering(start []job.Phase) []job.Phase {
	n := len(start)
	if n == 0 || start[n-1].Name != "running" {
		return start
	}
	last := job.Phase{Name: serverReady, State: job.PhaseAhead}
	if start[n-1].State == job.PhaseDone {
		last.State, last.Since = job.PhaseNow, start[n-1].Since
	}
	return append(start, last)
}

func stateOf(s job.State) string {
	switch s {
	case job.Accepted:
		return serverQueued
	case job.Launched, job.StartInitiated:
		return serverCreating
	case job.KillInitiated, job.Finished:
		return serverStopping
	}
	return serverStarting
}

func (s *spawner) measure(ctx context.Context, p *personal, t job.Task, st *notebookStatus) error {
	series, err := s.house.jobs.Series(ctx, auth.User{Name: p.user}, t.ID)
	if err != nil {
		return err
	}
	st.Usage = &usageNow{
		CPUMilli: series.CPUMilli(), MemoryBytes: t.Usage.MemoryBytes, PeakMemoryBytes: t.Usage.PeakMemoryBytes,
		DiskBytes: t.Usage.DiskBytes, RxBytes: t.Usage.RxBytes, TxBytes: t.Usage.TxBytes,
	}
	return nil
}

// heed notes what a server says of its idleness, and that its end is near.
func (s *spawner) heed(ctx context.Context, p *personal, text string) {
	var a activity
	if len(text) > 4<<10 || json.Unmarshal([]byte(text), &a) != nil {
		return
	}
	p.mu.Lock()
	before := p.told
	p.told = &a
	if p.news != nil {
		close(p.news)
		p.news = nil
	}
	p.mu.Unlock()
	switch {
	case a.Warning:
		s.log.LogAttrs(ctx, slog.LevelInfo, "notebook server will end: nobody uses it", slog.String("user", p.user), slog.Time("at", a.StopsAt))
	case before != nil && before.Warning:
		s.log.LogAttrs(ctx, slog.LevelInfo, "notebook server goes on", slog.String("user", p.user))
	}
}

// changed returns a channel that is closed when a server says something of its
// idleness.
func (p *personal) changed() <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.news == nil {
		p.news = make(chan struct{})
	}
	return p.news
}

// extend keeps an idle server for at least so long from now.
func (s *spawner) extend(ctx context.Context, p *personal, d time.Duration) (activity, error) {
	var a activity
	if !p.answers(ctx) {
		return a, problem.New(problem.Conflict, "the notebook server of %s does not run", p.user)
	}
	if err := p.learn(); err != nil {
		return a, err
	}
	err := p.call(ctx, http.MethodPost, extendPath+"?seconds="+strconv.FormatInt(int64(d/time.Second), 10), nil, &a)
	return a, problem.Wrap(err, "extending the notebook server")
}

// wanted is the room that somebody asks for, checked: what is left out is as it
// was before. Without containers there is none to choose.
func (s *spawner) wanted(ctx context.Context, p *personal, ask serverRequest) (*room, error) {
	if s.house == nil {
		if ask.chooses() {
			return nil, problem.New(problem.Conflict, "notebook servers have no size here: %s", s.plain)
		}
		return nil, nil
	}
	r, err := s.house.last(ctx, p.user)
	if err != nil {
		return nil, err
	}
	u := auth.User{Name: p.user}
	if ask.Preset != "" {
		preset, ok := s.house.jobs.Profile(u).Preset(ask.Preset)
		if !ok {
			return nil, problem.New(problem.Invalid, "preset: there is none of the name %.80q", ask.Preset)
		}
		r.Resources = preset.Resources
	}
	if ask.Name != nil {
		r.Name = *ask.Name
	}
	if ask.Env != nil {
		env, wrong := compute.ParseEnv(*ask.Env)
		if err := wrong.Err("starting the notebook server"); err != nil {
			return nil, err
		}
		r.Env = env
	}
	if ask.Resources != nil {
		r.Resources = ask.Resources.over(r.Resources)
	}
	o, err := s.order(p, r)
	if err != nil {
		return nil, err
	}
	_, wrong, err := s.house.jobs.Check(ctx, u, o)
	if err == nil {
		err = wrong.Err("starting the notebook server")
	}
	return &r, err
}

// A serverRequest asks for a notebook server of a size. What is left out is as
// it was before.
type serverRequest struct {
	Preset    string      `json:"preset,omitempty"` // small, standard, large, or what else is in the launch profile
	Name      *string     `json:"name,omitempty"`
	Resources *sizeWanted `json:"resources,omitempty"`
	Env       *string     `json:"env,omitempty"` // one NAME=value per line
}

func (q serverRequest) chooses() bool {
	return q.Preset != "" || q.Name != nil || q.Resources != nil || q.Env != nil
}

// sizeWanted is a size of which some is left out.
type sizeWanted struct {
	CPUMilli    *int64 `json:"cpuMilli,omitempty"`
	MemoryBytes *int64 `json:"memoryBytes,omitempty"`
	DiskBytes   *int64 `json:"diskBytes,omitempty"`
	GPUs        *int64 `json:"gpus,omitempty"`
	NetworkMbps *int64 `json:"networkMbps,omitempty"`
}

func (w sizeWanted) over(r compute.Resources) compute.Resources {
	for _, one := range []struct{ from, to *int64 }{
		{w.CPUMilli, &r.CPUMilli},
		{w.MemoryBytes, &r.MemoryBytes},
		{w.DiskBytes, &r.DiskBytes},
		{w.GPUs, &r.GPUs},
		{w.NetworkMbps, &r.NetworkMbps},
	} {
		if one.from != nil {
			*one.to = *one.from
		}
	}
	return r
}

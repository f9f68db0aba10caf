package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"quire/internal/auth"
	"quire/internal/compute"
	"quire/internal/job"
	"quire/internal/problem"
)

// Bounds of one command executed in a task.
const (
	maxExecOutput  = 1 << 20 // bytes of each of its outputs
	maxExecTime    = 10 * time.Minute
	defaultExecute = time.Minute
)

// RegisterJobs adds the routes of jobs and tasks under /api/v3. Everybody who
// is signed in may launch; a job is seen and changed by who launched it and by
// administrators.
func RegisterJobs(rt *Router, jobs *job.Jobs) {
	h := jobRoutes{jobs}
	on := func(pattern, summary string, f Handler, more ...func(*Doc)) {
		doc := Doc{Summary: summary}
		for _, one := range more {
			one(&doc)
		}
		rt.Handle(pattern, Policy{Access: SignedIn, Doc: doc}, f)
	}
	takes := func(v any) func(*Doc) { return func(d *Doc) { d.Request = v } }
	gives := func(v any) func(*Doc) { return func(d *Doc) { d.Response = v } }
	asks := func(q map[string]string) func(*Doc) { return func(d *Doc) { d.Query = q } }
	accepted := func(d *Doc) { d.Status = http.StatusAccepted }
	none := func(d *Doc) { d.Status = http.StatusNoContent }

	on("POST /api/v3/jobs", "Launch a job. Idempotency-Key makes a repeated request one job", h.create, takes(job.Descriptor{}), gives(jobID{}), accepted)
	on("GET /api/v3/jobs", "Jobs that go on, newest first; with jobState=Finished those that are over", h.list, asks(jobFilters), gives(jobList{}))
	on("GET /api/v3/jobs/events", "All jobs and tasks as server-sent events: what is there, then what changes", h.allEvents, asks(jobFilters))
	on("GET /api/v3/jobs/{id}", "A job", h.get, gives(job.JobMessage{}))
	on("GET /api/v3/jobs/{id}/events", "A job and its tasks as server-sent events, until it has finished", h.events)
	on("DELETE /api/v3/jobs/{id}", "Kill a job", h.kill, none)
	on("PUT /api/v3/jobs/{id}/instances", "Change how many tasks a service job has", h.capacity, takes(job.Capacity{}), none)
	on("PUT /api/v3/jobs/{id}/capacityAttributes", "Change some of min, desired and max", h.capacityAttributes, takes(capacityAttributes{}), none)
	on("PUT /api/v3/jobs/{id}/jobprocesses", "Stop or allow changes of a service job's desired size", h.processes, takes(job.ServiceProcesses{}), none)
	on("PUT /api/v3/jobs/{id}/disruptionBudget", "Replace a job's disruption budget", h.budget, takes(job.DisruptionBudget{}), none)
	on("PUT /api/v3/jobs/{id}/attributes", "Set attributes of a job", h.setAttributes, takes(attributeUpdate{}), none)
	on("DELETE /api/v3/jobs/{id}/attributes", "Remove attributes of a job", h.deleteAttributes, asks(map[string]string{"keys": "names, with commas between"}), none)
	on("POST /api/v3/jobs/{id}/enable", "Set the enabled flag of a service job", h.enable, none)
	on("POST /api/v3/jobs/{id}/disable", "Clear the enabled flag of a service job", h.disable, none)
	on("GET /api/v3/tasks", "Tasks of jobs that go on, newest first", h.tasks, asks(jobFilters), gives(jobList{}))
	on("GET /api/v3/tasks/{id}", "A task", h.task, gives(job.TaskMessage{}))
	on("DELETE /api/v3/tasks/{id}", "Kill a task", h.killTask, none,
		asks(map[string]string{"shrink": "true makes the service job one smaller", "preventMinSizeUpdate": "true refuses to shrink below min"}))
	on("PUT /api/v3/tasks/{id}/attributes", "Set attributes of a task", h.setTaskAttributes, takes(attributeUpdate{}), none)
	on("DELETE /api/v3/tasks/{id}/attributes", "Remove attributes of a task", h.deleteTaskAttributes, asks(map[string]string{"keys": "names, with commas between"}), none)
	on("POST /api/v3/tasks/move", "Move a running task to another service job", h.move, takes(moveRequest{}), none)
	on("GET /api/v3/tasks/{id}/log", "What a task wrote, as text", h.log,
		asks(map[string]string{"follow": "true goes on until the task has ended", "tailBytes": "only the last so many bytes"}))
	on("GET /api/v3/tasks/{id}/usage", "What a task used over its life: at most 500 samples, and its limits", h.usage, gives(job.Series{}))
	on("POST /api/v3/tasks/{id}/exec", "Execute a command in a running task", h.exec, takes(ExecRequest{}), gives(ExecResult{}))
	on("GET /api/v3/compute", "What containers can have here, and how much of it is in use", h.compute, gives(Compute{}))
}

type jobRoutes struct{ jobs *job.Jobs }

type jobID struct {
	ID string `json:"id"`
}

// readMessage reads a request's body into v, and says everything that is wrong
// with it at once.
func readMessage(r *http.Request, v any) error {
	data, err := io.ReadAll(r.Body)
	var tooLarge *http.MaxBytesError
	if errors.As(err, &tooLarge) {
		return problem.New(problem.TooLarge, "the request has over %d bytes", tooLarge.Limit)
	}
	if err != nil {
		return problem.WrapAs(problem.Invalid, err, "reading the request")
	}
	return job.Parse(data, v).Err("reading the request")
}

func (h jobRoutes) create(w http.ResponseWriter, r *http.Request) error {
	o := job.Order{IdempotencyKey: r.Header.Get("Idempotency-Key")}
	if err := readMessage(r, &o.Descriptor); err != nil {
		return err
	}
	created, err := h.jobs.Create(r.Context(), user(r), o)
	if err != nil {
		return err
	}
	w.Header().Set("Location", "/api/v3/jobs/"+created.ID)
	return WriteJSON(w, http.StatusAccepted, jobID{created.ID})
}

// chosen returns the jobs that the query chooses, newest first.
func (h jobRoutes) chosen(ctx context.Context, u auth.User, q jobQuery) ([]job.Whole, error) {
	all, err := h.jobs.List(ctx, u, q.filter())
	if err != nil {
		return nil, err
	}
	var out []job.Whole
	for _, j := range all {
		if !q.match(j) {
			continue
		}
		w := job.Whole{Job: j}
		if q.aboutTasks() {
			if w.Tasks, err = h.jobs.Tasks(ctx, u, j.ID, true); err != nil {
				return nil, err
			}
			w.Tasks = slices.DeleteFunc(w.Tasks, func(t job.Task) bool { return !q.matchTask(t) })
			if len(w.Tasks) == 0 {
				continue
			}
		}
		out = append(out, w)
	}
	return out, nil
}

func (h jobRoutes) list(w http.ResponseWriter, r *http.Request) error {
	q, err := readJobQuery(r.URL.Query())
	if err != nil {
		return err
	}
	page, err := h.findJobs(r, q)
	if err != nil {
		return err
	}
	return writeTagged(w, r, page)
}

func (h jobRoutes) findJobs(r *http.Request, q jobQuery) (jobList, error) {
	all, err := h.chosen(r.Context(), user(r), q)
	if err != nil {
		return jobList{}, err
	}
	items := make([]jobItem, len(all))
	for i, one := range all {
		items[i] = jobItem{one.Job.Created, one.Job.ID, one.Job.Message()}
	}
	return q.paged(items)
}

func (h jobRoutes) tasks(w http.ResponseWriter, r *http.Request) error {
	q, err := readJobQuery(r.URL.Query())
	if err != nil {
		return err
	}
	page, err := h.findTasks(r, q)
	if err != nil {
		return err
	}
	return writeTagged(w, r, page)
}

func (h jobRoutes) findTasks(r *http.Request, q jobQuery) (jobList, error) {
	all, err := h.chosen(r.Context(), user(r), q)
	if err != nil {
		return jobList{}, err
	}
	var items []jobItem
	for _, one := range all {
		tasks, err := h.jobs.Tasks(r.Context(), user(r), one.Job.ID, q.values.Get("taskStates") != "" || q.values.Get("taskIds") != "")
		if err != nil {
			return jobList{}, err
		}
		for _, t := range tasks {
			if q.matchTask(t) {
				began := t.Status.Timestamp
				if len(t.History) > 0 {
					began = t.History[0].Timestamp
				}
				items = append(items, jobItem{began, t.ID, t.Message()})
			}
		}
	}
	slices.SortFunc(items, func(a, b jobItem) int {
		if a.created != b.created {
			return int(max(min(b.created-a.created, 1), -1))
		}
		return strings.Compare(b.id, a.id)
	})
	return q.paged(items)
}

func (h jobRoutes) get(w http.ResponseWriter, r *http.Request) error {
	found, err := h.jobs.Job(r.Context(), user(r), r.PathValue("id"))
	if err != nil {
		return err
	}
	return writeTagged(w, r, found.Job.Message())
}

func (h jobRoutes) task(w http.ResponseWriter, r *http.Request) error {
	t, _, err := h.jobs.Task(r.Context(), user(r), r.PathValue("id"))
	if err != nil {
		return err
	}
	return writeTagged(w, r, t.Message())
}

// done answers a change that has nothing to show.
func done(w http.ResponseWriter, err error) error {
	if err == nil {
		w.WriteHeader(http.StatusNoContent)
	}
	return err
}

// do applies an event to the job of the path.
func (h jobRoutes) do(w http.ResponseWriter, r *http.Request, e job.Event) error {
	_, err := h.jobs.Do(r.Context(), user(r), r.PathValue("id"), e)
	return done(w, err)
}

func (h jobRoutes) kill(w http.ResponseWriter, r *http.Request) error {
	_, err := h.jobs.Kill(r.Context(), user(r), r.PathValue("id"))
	return done(w, err)
}

func (h jobRoutes) capacity(w http.ResponseWriter, r *http.Request) error {
	var c job.Capacity
	if err := readMessage(r, &c); err != nil {
		return err
	}
	return h.do(w, r, job.Resized{Min: &c.Min, Desired: &c.Desired, Max: &c.Max})
}

type capacityAttributes struct {
	Min     *job.Count `json:"min,omitempty"`
	Desired *job.Count `json:"desired,omitempty"`
	Max     *job.Count `json:"max,omitempty"`
}

func (h jobRoutes) capacityAttributes(w http.ResponseWriter, r *http.Request) error {
	var c capacityAttributes
	if err := readMessage(r, &c); err != nil {
		return err
	}
	return h.do(w, r, job.Resized{Min: c.Min, Desired: c.Desired, Max: c.Max})
}

func (h jobRoutes) processes(w http.ResponseWriter, r *http.Request) error {
	var p job.ServiceProcesses
	if err := readMessage(r, &p); err != nil {
		return err
	}
	return h.do(w, r, job.Processes{Processes: p})
}

func (h jobRoutes) budget(w http.ResponseWriter, r *http.Request) error {
	var b job.DisruptionBudget
	if err := readMessage(r, &b); err != nil {
		return err
	}
	return h.do(w, r, job.Budget{Budget: &b})
}

func (h jobRoutes) enable(w http.ResponseWriter, r *http.Request) error {
	return h.do(w, r, job.Enabled{On: true})
}

func (h jobRoutes) disable(w http.ResponseWriter, r *http.Request) error {
	return h.do(w, r, job.Enabled{})
}

type attributeUpdate struct {
	JobID      string            `json:"jobId,omitempty"`  // the one of the path, or not given
	TaskID     string            `json:"taskId,omitempty"` // the one of the path, or not given
	Attributes map[string]string `json:"attributes"`
}

func (h jobRoutes) setAttributes(w http.ResponseWriter, r *http.Request) error {
	var u attributeUpdate
	if err := readMessage(r, &u); err != nil {
		return err
	}
	if u.JobID != "" && u.JobID != r.PathValue("id") {
		return problem.New(problem.Invalid, "jobId: it is not the one of the path")
	}
	return h.do(w, r, job.Attributed{Set: u.Attributes})
}

func keysOf(r *http.Request) ([]string, error) {
	keys := r.URL.Query().Get("keys")
	if keys == "" {
		return nil, problem.New(problem.Invalid, "keys: name the attributes to remove")
	}
	return strings.Split(keys, ","), nil
}

func (h jobRoutes) deleteAttributes(w http.ResponseWriter, r *http.Request) error {
	keys, err := keysOf(r)
	if err != nil {
		return err
	}
	return h.do(w, r, job.Attributed{Remove: keys})
}

// doTask applies an event to the job of the task of the path.
func (h jobRoutes) doTask(w http.ResponseWriter, r *http.Request, e job.Attributed) error {
	t, _, err := h.jobs.Task(r.Context(), user(r), r.PathValue("id"))
	if err != nil {
		return err
	}
	e.Task = t.ID
	_, err = h.jobs.Do(r.Context(), user(r), t.JobID, e)
	return done(w, err)
}

func (h jobRoutes) setTaskAttributes(w http.ResponseWriter, r *http.Request) error {
	var u attributeUpdate
	if err := readMessage(r, &u); err != nil {
		return err
	}
	if u.TaskID != "" && u.TaskID != r.PathValue("id") {
		return problem.New(problem.Invalid, "taskId: it is not the one of the path")
	}
	return h.doTask(w, r, job.Attributed{Set: u.Attributes})
}

func (h jobRoutes) deleteTaskAttributes(w http.ResponseWriter, r *http.Request) error {
	keys, err := keysOf(r)
	if err != nil {
		return err
	}
	return h.doTask(w, r, job.Attributed{Remove: keys})
}

func (h jobRoutes) killTask(w http.ResponseWriter, r *http.Request) error {
	q := r.URL.Query()
	return done(w, h.jobs.KillTask(r.Context(), user(r), r.PathValue("id"), q.Get("shrink") == "true", q.Get("preventMinSizeUpdate") == "true"))
}

type moveRequest struct {
	SourceJobID string `json:"sourceJobId"`
	TargetJobID string `json:"targetJobId"`
	TaskID      string `json:"taskId"`
}

func (h jobRoutes) move(w http.ResponseWriter, r *http.Request) error {
	var m moveRequest
	if err := readMessage(r, &m); err != nil {
		return err
	}
	return done(w, h.jobs.Move(r.Context(), user(r), m.SourceJobID, m.TargetJobID, m.TaskID))
}

// log answers with what a task wrote. It is text for whoever looks at it in a
// browser too, and nothing else.
func (h jobRoutes) log(w http.ResponseWriter, r *http.Request) error {
	opt := compute.LogOptions{Follow: r.URL.Query().Get("follow") == "true"}
	if s := r.URL.Query().Get("tailBytes"); s != "" {
		n, err := strconv.ParseInt(s, 10, 64)
		if err != nil || n < 1 {
			return problem.New(problem.Invalid, "tailBytes: want 1 or more")
		}
		opt.TailBytes = n
	}
	log, err := h.jobs.Logs(r.Context(), user(r), r.PathValue("id"), opt)
	if err != nil {
		return err
	}
	defer log.Close()
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	rc := http.NewResponseController(w)
	buffer := make([]byte, 32<<10)
	for {
		n, err := log.Read(buffer)
		if n > 0 {
			_ = rc.SetWriteDeadline(time.Now().Add(2 * pingEvery))
			if _, err := w.Write(buffer[:n]); err != nil {
				return nil //nolint:nilerr // the client went away
			}
			if opt.Follow {
				_ = rc.Flush()
			}
		}
		if err != nil {
			return nil //nolint:nilerr // the end, or a log that was cut: the answer has begun
		}
	}
}

func (h jobRoutes) usage(w http.ResponseWriter, r *http.Request) error {
	series, err := h.jobs.Series(r.Context(), user(r), r.PathValue("id"))
	if err != nil {
		return err
	}
	return writeTagged(w, r, series)
}

// An ExecRequest is a command to execute in a task.
type ExecRequest struct {
	Argv           []string          `json:"argv"`
	Env            map[string]string `json:"env,omitempty"`
	Dir            string            `json:"dir,omitempty"`
	Stdin          string            `json:"stdin,omitempty"`
	TimeoutSeconds job.Count         `json:"timeoutSeconds,omitempty"` // 0 is 60; at most 600
}

// An ExecResult is how it ended.
type ExecResult struct {
	Exit      compute.Exit `json:"exit"`
	Stdout    string       `json:"stdout"`
	Stderr    string       `json:"stderr"`
	Truncated bool         `json:"truncated,omitempty"` // there was more than 1 MiB of one of them
}

// limited keeps the first bytes that are written to it.
type limited struct {
	bytes.Buffer
	cut bool
}

func (l *limited) Write(p []byte) (int, error) {
	room := maxExecOutput - l.Len()
	if len(p) > room {
		l.cut = true
		_, _ = l.Buffer.Write(p[:room])
		return len(p), nil
	}
	return l.Buffer.Write(p)
}

func (h jobRoutes) exec(w http.ResponseWriter, r *http.Request) error {
	var req ExecRequest
	if err := readMessage(r, &req); err != nil {
		return err
	}
	if len(req.Argv) == 0 || req.Argv[0] == "" {
		return problem.New(problem.Invalid, "argv: there is nothing to execute")
	}
	timeout := defaultExecute
	if req.TimeoutSeconds > 0 {
		timeout = min(time.Duration(req.TimeoutSeconds)*time.Second, maxExecTime)
	}
	ctx, cancel := context.WithTimeout(r.Context(), timeout)
	defer cancel()
	var stdout, stderr limited
	exit, err := h.jobs.Exec(ctx, user(r), r.PathValue("id"), compute.Command{
		Argv: req.Argv, Env: req.Env, Dir: req.Dir, Stdin: strings.NewReader(req.Stdin), Stdout: &stdout, Stderr: &stderr,
	})
	if err != nil {
		return err
	}
	return WriteJSON(w, http.StatusOK, ExecResult{exit, stdout.String(), stderr.String(), stdout.cut || stderr.cut})
}

// Compute is what containers can have, and what they have.
type Compute struct {
	Probe   compute.Probe   `json:"probe"`
	Profile compute.Profile `json:"profile"`
	Groups  []job.GroupUse  `json:"groups"`
}

func (h jobRoutes) compute(w http.ResponseWriter, r *http.Request) error {
	probe, err := h.jobs.Probe(r.Context())
	if err != nil {
		return err
	}
	return writeTagged(w, r, Compute{Probe: probe, Profile: h.jobs.Profile(user(r)), Groups: h.jobs.Groups()})
}

func (h jobRoutes) events(w http.ResponseWriter, r *http.Request) error {
	id := r.PathValue("id")
	if _, err := h.jobs.Job(r.Context(), user(r), id); err != nil {
		return err
	}
	return h.stream(w, r, id, jobQuery{})
}

func (h jobRoutes) allEvents(w http.ResponseWriter, r *http.Request) error {
	q, err := readJobQuery(r.URL.Query())
	if err != nil {
		return err
	}
	return h.stream(w, r, "", q)
}

func (h jobRoutes) stream(w http.ResponseWriter, r *http.Request, only string, q jobQuery) error {
	var out *EventStream
	defer func() {
		if out != nil {
			out.Close()
		}
	}()
	return h.watch(r, only, q, func() eventSender {
		out = NewEventStream(w)
		return out
	})
}

// An eventSender sends notifications: JSON, with an id and a name.
type eventSender interface {
	Send(id, name string, data []byte) error
}

// watch sends what is there, "snapshotEnd", and then every change. What comes
// twice, or late, has a version that tells. begin begins the answer.
func (h jobRoutes) watch(r *http.Request, only string, q jobQuery, begin func() eventSender) error {
	watch := h.jobs.Watch() // before the snapshot, so that nothing is missed
	defer watch.Close()
	var all []job.Whole
	var err error
	if only != "" {
		one, oneErr := h.jobs.Job(r.Context(), user(r), only)
		all, err = []job.Whole{one}, oneErr
	} else {
		all, err = h.chosen(r.Context(), user(r), q)
	}
	if err != nil {
		return err
	}
	s := &jobStream{jobs: h.jobs, out: begin(), seen: map[string]int64{}, chosen: map[string]bool{}}
	for _, one := range all {
		tasks := one.Tasks
		if only == "" {
			if tasks, err = h.jobs.Tasks(r.Context(), user(r), one.Job.ID, false); err != nil {
				return err
			}
		}
		s.chosen[one.Job.ID] = true
		s.job(one.Job)
		for _, t := range tasks {
			s.task(t, false)
		}
	}
	s.send("snapshotEnd", "", job.Notification{SnapshotEnd: &struct{}{}})
	if only != "" && all[0].Job.Status.State == job.Finished {
		return nil
	}
	return s.follow(r.Context(), watch, user(r), only, q)
}

// A jobStream sends changes of jobs, each once.
type jobStream struct {
	jobs   *job.Jobs
	out    eventSender
	seen   map[string]int64 // the newest version of each job and task that was sent
	chosen map[string]bool  // whether the query chooses a job
	err    error            // of the client, which went away
}

// wants reports whether the tasks of a job are to be sent.
func (s *jobStream) wants(ctx context.Context, u auth.User, id string, q jobQuery) bool {
	if _, known := s.chosen[id]; !known {
		w, err := s.jobs.Job(ctx, u, id)
		s.chosen[id] = err == nil && q.match(w.Job)
	}
	return s.chosen[id]
}

func (s *jobStream) send(name, id string, n job.Notification) {
	n.Timestamp = time.Now().UnixMilli()
	data, err := json.Marshal(n)
	if err == nil && s.err == nil {
		s.err = s.out.Send(id, name, data)
	}
}

func (s *jobStream) fresh(id string, version int64) bool {
	if s.seen[id] >= version {
		return false
	}
	s.seen[id] = version
	return true
}

func (s *jobStream) job(j job.Job) {
	if s.fresh(j.ID, j.Version) {
		s.send("jobUpdate", strconv.FormatInt(j.Version, 10), job.Notification{JobUpdate: &job.JobUpdate{Job: j.Message()}})
	}
}

func (s *jobStream) task(t job.Task, moved bool) {
	if s.fresh(t.ID, t.Version) {
		s.send("taskUpdate", strconv.FormatInt(t.Version, 10), job.Notification{TaskUpdate: &job.TaskUpdate{Task: t.Message(), MovedFromAnotherJob: moved}})
	}
}

func (s *jobStream) follow(ctx context.Context, watch *job.Watch, u auth.User, only string, q jobQuery) error {
	for s.err == nil {
		var c job.Change
		var open bool
		select {
		case <-ctx.Done():
			return nil
		case c, open = <-watch.Changes:
		}
		if !open {
			return watch.Err()
		}
		if auth.Allow(u, auth.Read, auth.Object{Kind: auth.JobKind, Owner: c.User}) != nil {
			continue
		}
		if c.Task != nil {
			if (only == "" || c.Task.JobID == only) && s.wants(ctx, u, c.Task.JobID, q) && q.matchTask(*c.Task) {
				s.task(*c.Task, c.Moved)
			}
			continue
		}
		if only != "" && c.Job.ID != only {
			continue
		}
		s.chosen[c.Job.ID] = q.match(*c.Job)
		if !s.chosen[c.Job.ID] {
			continue
		}
		s.job(*c.Job)
		if only != "" && c.Job.Status.State == job.Finished {
			return nil
		}
	}
	return nil
}

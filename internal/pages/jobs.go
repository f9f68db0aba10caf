package pages

import (
	"crypto/rand"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"quire/internal/api"
	"quire/internal/compute"
	"quire/internal/job"
	"quire/internal/problem"
	"quire/internal/run"
)

// Bounds of the pages of containers.
const (
	recentJobs  = 20           // finished ones that are listed
	maxJobLog   = 256 << 10    // bytes of the end of a log that are shown
	workspaceAt = "/workspace" // where the form mounts the workspace
)

// registerJobs adds the pages of containers.
func (s *site) registerJobs(rt *api.Router) {
	page := api.Policy{Access: api.SignedIn, Page: true}
	rt.Handle("GET /compute", page, s.compute)
	rt.Handle("GET /compute/events", page, s.computeEvents)
	rt.Handle("POST /compute/servers/{user}/stop", page, s.stopServer)
	rt.Handle("POST /compute/servers/{user}/extend", page, s.extendServer)
	rt.Handle("GET /compute/new", page, s.launchForm)
	rt.Handle("POST /compute/new", page, s.launch)
	rt.Handle("GET /compute/starting", page, s.starting)
	rt.Handle("GET /compute/starting/events", page, s.startingEvents)
	rt.Handle("GET /compute/{id}", page, s.job)
	rt.Handle("GET /compute/{id}/events", page, s.jobEvents)
	rt.Handle("POST /compute/{id}", page, s.killJob)
}

// noCompute is the error where there are no containers.
func (s *site) noCompute() error {
	if s.cfg.Jobs == nil {
		return problem.New(problem.NotFound, "there are no containers on this server: its configuration says compute: none")
	}
	return nil
}

// A jobLine is one job in a list.
type jobLine struct {
	job.Job
	Tasks []job.Task
}

// Sign is the job's state as that of a run, for its sign and colour.
func (l jobLine) Sign() string { return sign(runState(l.Status)) }

// Class is the CSS class of the state.
func (l jobLine) Class() string { return class(runState(l.Status)) }

// Word is the state in words.
func (l jobLine) Word() string {
	switch l.Status.State {
	case job.Accepted:
		for _, t := range l.Tasks {
			if t.Status.State == job.Started {
				return "Running"
			}
		}
		return "Waiting"
	case job.KillInitiated:
		return "Ending"
	}
	return map[string]string{job.Normal: "Succeeded", job.Killed: "Ended"}[l.Status.ReasonCode]
}

// Why is the reason, for a person.
func (l jobLine) Why() string {
	if l.Status.ReasonMessage != "" {
		return l.Status.ReasonMessage
	}
	for _, t := range l.Tasks {
		if t.Live() && t.Status.ReasonMessage != "" {
			return t.Status.ReasonMessage
		}
	}
	return ""
}

// Size is the container's size in words.
func (l jobLine) Size() string { return sizeWords(l.Descriptor.Container.Resources.Size()) }

// runState is where a job is as the state of a run.
func runState(s job.Status) run.State {
	switch {
	case s.State != job.Finished:
		return run.Running
	case s.ReasonCode == job.Normal:
		return run.Succeeded
	case s.ReasonCode == job.Killed:
		return run.Cancelled
	}
	return run.Failed
}

func sizeWords(r compute.Resources) string {
	words := compute.FormatCPU(r.CPUMilli) + ", " + compute.FormatBytes(r.MemoryBytes)
	if r.GPUs > 0 {
		words += fmt.Sprintf(", %d GPUs", r.GPUs)
	}
	return words
}

func (s *site) jobLines(r *http.Request, f job.Filter) ([]jobLine, error) {
	all, err := s.cfg.Jobs.List(r.Context(), user(r), f)
	if err != nil {
		return nil, err
	}
	lines := make([]jobLine, len(all))
	for i, j := range all {
		lines[i].Job = j
		if lines[i].Tasks, err = s.cfg.Jobs.Tasks(r.Context(), user(r), j.ID, false); err != nil {
			return nil, err
		}
	}
	return lines, nil
}

// A jobPage is what the page of a job shows.
type jobPage struct {
	jobLine
	All      []job.Task
	Log      string
	Limit    compute.Resources
	Warnings []string
	Start    []job.Phase // of the newest task
}

// Starting reports whether the newest task starts: its parts say what it waits for.
func (d *jobPage) Starting() bool { return len(underWay(d.Start)) > 0 }

// job shows one job: its tasks, what they use, and what the newest of them wrote.
func (s *site) job(w http.ResponseWriter, r *http.Request) error {
	data, err := s.jobPage(r)
	if err != nil {
		return err
	}
	return s.show(w, r, http.StatusOK, "job", view{
		Title: data.Descriptor.ApplicationName, Section: "compute", Crumbs: []crumb{{"Compute", s.to("/compute")}}, Data: data,
	})
}

func (s *site) jobPage(r *http.Request) (*jobPage, error) {
	if err := s.noCompute(); err != nil {
		return nil, err
	}
	found, err := s.cfg.Jobs.Job(r.Context(), user(r), r.PathValue("id"))
	if err != nil {
		return nil, err
	}
	tasks, err := s.cfg.Jobs.Tasks(r.Context(), user(r), found.Job.ID, true)
	if err != nil {
		return nil, err
	}
	data := &jobPage{jobLine: jobLine{found.Job, found.Tasks}, All: tasks, Limit: found.Job.Descriptor.Container.Resources.Size()}
	if len(tasks) > 0 {
		newest := tasks[len(tasks)-1]
		data.Start = newest.Start()
		log, err := s.cfg.Jobs.Logs(r.Context(), user(r), newest.ID, compute.LogOptions{TailBytes: maxJobLog})
		if err != nil {
			return nil, err
		}
		text, err := io.ReadAll(io.LimitReader(log, maxJobLog))
		_ = log.Close()
		if err != nil {
			return nil, problem.WrapAs(problem.Unavailable, err, "reading a log")
		}
		data.Log = strings.ToValidUTF8(string(text), "\uFFFD")
	}
	probe, err := s.cfg.Jobs.Probe(r.Context())
	if err != nil {
		return nil, err
	}
	data.Warnings = probe.Warnings(data.Limit)
	return data, nil
}

func (s *site) killJob(w http.ResponseWriter, r *http.Request) error {
	if err := s.noCompute(); err != nil {
		return err
	}
	if _, err := s.cfg.Jobs.Kill(r.Context(), user(r), r.PathValue("id")); err != nil {
		return err
	}
	http.Redirect(w, r, s.to("/compute/"+r.PathValue("id")), http.StatusSeeOther)
	return nil
}

// A sizeField is one number of the launch form.
type sizeField struct {
	Name, Label, Unit string
	Min, Max          int64
	Value, Problem    string
	field             string // as violations name it
}

// A launchForm is the deck's form, with what is typed and what is wrong.
type launchForm struct {
	Name, NameProblem string
	MaxName           int
	Sizes             []sizeField
	Env, EnvProblem   string
	Command           string
	CommandProblem    string
	Mount             bool
	Error, Nonce      string
	Presets           []preset
	Warnings          []string

	Notebook string // that a person came from and goes back to; "" is none

	Servers bool // whether notebook servers have a size here
	Server  bool // whether the container is for one
	Running bool // whether one's own runs: launching ends it
	Kernels int  // of it
}

type preset struct{ Name, Title string }

func newLaunchForm(p compute.Profile, size compute.Resources) *launchForm {
	gib := compute.GiB
	f := &launchForm{MaxName: p.MaxName, Mount: true, Nonce: rand.Text(), Sizes: []sizeField{
		{"cpus", "CPUs", "", p.Limits.CPUMilli.Min / 1000, p.Limits.CPUMilli.Max / 1000, strconv.FormatFloat(float64(size.CPUMilli)/1000, 'f', -1, 64), "", "cpu"},
		{"memory", "Memory", "GB", p.Limits.MemoryBytes.Min / gib, p.Limits.MemoryBytes.Max / gib, strconv.FormatInt(size.MemoryBytes/gib, 10), "", "memoryMB"},
		{"disk", "Disk Space", "GB", p.Limits.DiskBytes.Min / gib, p.Limits.DiskBytes.Max / gib, strconv.FormatInt(size.DiskBytes/gib, 10), "", "diskMB"},
		{"gpus", "GPUs", "", p.Limits.GPUs.Min, p.Limits.GPUs.Max, strconv.FormatInt(size.GPUs, 10), "", "gpu"},
		{"network", "Network Bandwidth", "Mbps", p.Limits.NetworkMbps.Min, p.Limits.NetworkMbps.Max, strconv.FormatInt(size.NetworkMbps, 10), "", "networkMbps"},
	}}
	for _, one := range p.Presets {
		f.Presets = append(f.Presets, preset{one.Name, one.Title})
	}
	return f
}

func (s *site) launchForm(w http.ResponseWriter, r *http.Request) error {
	if err := s.noCompute(); err != nil {
		return err
	}
	profile := s.cfg.Jobs.Profile(user(r))
	size, name, env := profile.Defaults, "", ""
	server, err := s.ownServer(r)
	if err != nil {
		return err
	}
	forServer := server != nil && r.URL.Query().Get("for") != "command"
	if forServer {
		size, name, env = server.Launch.Resources, server.Launch.Name, server.Launch.Env
	}
	if chosen, ok := profile.Preset(r.URL.Query().Get("preset")); ok {
		size = chosen.Resources
	}
	f := newLaunchForm(profile, size)
	f.Server, f.Name, f.Env = forServer, name, env
	f.Notebook = s.cameFrom(r)
	return s.showLaunch(w, r, http.StatusOK, f)
}

// ownServer is the notebook server of who asks; nil where those have no size.
func (s *site) ownServer(r *http.Request) (*ServerView, error) {
	if s.cfg.Servers == nil {
		return nil, nil
	}
	v, err := s.cfg.Servers.Look(r.Context(), user(r).Name)
	if err != nil || !v.Contained {
		return nil, err
	}
	return &v, nil
}

func (s *site) showLaunch(w http.ResponseWriter, r *http.Request, status int, f *launchForm) error {
	probe, err := s.cfg.Jobs.Probe(r.Context())
	if err != nil {
		return err
	}
	f.Warnings = probe.Warnings(s.cfg.Jobs.Profile(user(r)).Defaults)
	server, err := s.ownServer(r)
	if err != nil {
		return err
	}
	if f.Servers = server != nil; f.Servers {
		f.Running, f.Kernels = server.State != "stopped", server.Kernels
	}
	return s.show(w, r, status, "launch", view{Title: "Container Parameters", Section: "compute", Crumbs: []crumb{{"Compute", s.to("/compute")}}, Data: f})
}

// take reads what was typed. What is no number is a problem of its field.
func (f *launchForm) take(form url.Values) job.Descriptor {
	f.Name, f.Env, f.Command = strings.TrimSpace(form.Get("name")), form.Get("env"), form.Get("command")
	f.Mount, f.Nonce, f.Server = form.Has("mount"), form.Get("nonce"), form.Get("for") == "server"
	numbers := map[string]float64{}
	for i := range f.Sizes {
		one := &f.Sizes[i]
		one.Value = strings.TrimSpace(form.Get(one.Name))
		n, err := strconv.ParseFloat(one.Value, 64)
		const most = 1e6 // no unit has more
		switch {
		case err != nil:
			one.Problem = "Want a number"
		case one.Name != "cpus" && n != float64(int64(n)):
			one.Problem = "Want a whole number"
		case n < float64(one.Min), n > float64(one.Max), n > most:
			one.Problem = fmt.Sprintf("Must be between %d and %d", one.Min, one.Max)
		}
		numbers[one.Name] = min(max(n, 0), most)
	}
	env, wrong := compute.ParseEnv(f.Env)
	for _, one := range wrong {
		f.EnvProblem = both(f.EnvProblem, one.Message)
	}
	if strings.TrimSpace(f.Command) == "" && !f.Server {
		f.CommandProblem = "A command is needed"
	}
	const megabytes = 1024
	d := job.Descriptor{ApplicationName: f.Name, Batch: &job.Batch{Size: 1}, Container: job.Container{
		EntryPoint: []string{"sh", "-c", strings.ReplaceAll(f.Command, "\r\n", "\n")}, Env: env,
		Resources: job.ContainerResources{
			CPU: job.Double(numbers["cpus"]), MemoryMB: job.Count(numbers["memory"] * megabytes), DiskMB: job.Count(numbers["disk"] * megabytes),
			GPU: job.Count(numbers["gpus"]), NetworkMbps: job.Count(numbers["network"]),
		},
	}}
	if f.Mount {
		d.Container.Resources.EFSMounts = []job.Mount{{EFSID: job.VolumeID, MountPoint: workspaceAt}}
	}
	return d
}

func both(before, more string) string {
	if before == "" {
		return more
	}
	return before + "; " + more
}

// blame puts what is wrong beside the fields that it is about.
func (f *launchForm) blame(wrong compute.Violations) {
	for _, v := range wrong {
		switch {
		case v.Field == "applicationName":
			f.NameProblem = both(f.NameProblem, v.Message)
			continue
		case v.Field == "container.env":
			f.EnvProblem = both(f.EnvProblem, v.Message)
			continue
		}
		known := false
		for i := range f.Sizes {
			if v.Field == "container.resources."+f.Sizes[i].field {
				known = true
				if f.Sizes[i].Problem == "" {
					f.Sizes[i].Problem = v.Message
				}
			}
		}
		if !known {
			f.Error = both(f.Error, v.Field+": "+v.Message)
		}
	}
}

func (f *launchForm) bad() bool {
	for _, one := range f.Sizes {
		if one.Problem != "" {
			return true
		}
	}
	return f.NameProblem+f.EnvProblem+f.CommandProblem+f.Error != ""
}

func (s *site) launch(w http.ResponseWriter, r *http.Request) error {
	if err := s.noCompute(); err != nil {
		return err
	}
	if err := readForm(r); err != nil {
		return err
	}
	profile := s.cfg.Jobs.Profile(user(r))
	f := newLaunchForm(profile, profile.Defaults)
	f.Notebook = s.cameFrom(r)
	o := job.Order{Descriptor: f.take(r.PostForm), IdempotencyKey: r.PostForm.Get("nonce")}
	if f.Server {
		return s.launchServer(w, r, f, o.Descriptor)
	}
	_, wrong, err := s.cfg.Jobs.Check(r.Context(), user(r), o)
	if err != nil {
		return err
	}
	f.blame(wrong)
	if f.bad() {
		return s.showLaunch(w, r, http.StatusBadRequest, f)
	}
	made, err := s.cfg.Jobs.Create(r.Context(), user(r), o)
	if err != nil {
		f.Error = text(err)
		return s.showLaunch(w, r, api.Status(err), f)
	}
	http.Redirect(w, r, s.to("/compute/"+made.ID), http.StatusSeeOther)
	return nil
}

// launchServer starts one's own notebook server as the form says. One that runs
// is ended first, with what is open saved.
func (s *site) launchServer(w http.ResponseWriter, r *http.Request, f *launchForm, d job.Descriptor) error {
	if s.cfg.Servers == nil {
		return problem.New(problem.NotFound, "there are no notebook servers here")
	}
	want := compute.Launch{Name: f.Name, Resources: d.Container.Resources.Size(), Env: strings.ReplaceAll(f.Env, "\r\n", "\n")}
	if f.EnvProblem == "" {
		wrong, err := s.cfg.Servers.Check(r.Context(), user(r).Name, want)
		if err != nil {
			return err
		}
		f.blame(wrong)
	}
	if f.bad() {
		return s.showLaunch(w, r, http.StatusBadRequest, f)
	}
	if err := s.cfg.Servers.Begin(r.Context(), user(r).Name, want); err != nil {
		f.Error = text(err)
		return s.showLaunch(w, r, api.Status(err), f)
	}
	to := s.to("/compute")
	if f.Notebook != "" {
		to += "?notebook=" + url.QueryEscape(f.Notebook)
	}
	http.Redirect(w, r, to, http.StatusSeeOther)
	return nil
}

// cameFrom is the notebook, one of the person's own, from whose editor they came
// to choose a size; "" when it was none.
func (s *site) cameFrom(r *http.Request) string {
	p := r.URL.Query().Get("notebook")
	if s.editorURL(r, p) == "" {
		return ""
	}
	return p
}

package pages

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"time"

	"quire/internal/api"
	"quire/internal/auth"
	"quire/internal/compute"
	"quire/internal/job"
	"quire/internal/problem"
)

// Servers are people's notebook servers.
type Servers interface {
	// Look says how a person's server is; it is not started.
	Look(ctx context.Context, user string) (ServerView, error)
	// Begin starts a person's server, or ends it and starts it anew, in a
	// container as launch says; what is wrong with that is said at once, and the
	// start goes on behind it.
	Begin(ctx context.Context, user string, launch compute.Launch) error
	// Check says what is wrong with a launch.
	Check(ctx context.Context, user string, launch compute.Launch) (compute.Violations, error)
	// End stops a person's server; by asked for it.
	End(ctx context.Context, user, by string) error
	// Extend keeps an idle server for so long from now.
	Extend(ctx context.Context, user string, d time.Duration) error
}

// A ServerView is how a person's notebook server is.
type ServerView struct {
	Contained bool   // whether it has, or would have, a container
	Isolation string // the same in words
	State     string // stopped, queued, creating, starting, ready, stopping
	Reason    string
	Running   bool
	Launch    compute.Launch // its own, or that of the one before
	Job       string
	Kernels   int
	Busy      string    // what runs
	Connected int       // who is there
	IdleSince time.Time // zero while it is in use
	StopsAt   time.Time // zero where it does not
	Warning   bool      // that StopsAt is near
	Ended     string
	Start     []job.Phase // of its container
}

// A containerLine is one running container in the list.
type containerLine struct {
	jobLine
	Task     job.Task
	Limit    compute.Resources
	CPUMilli int64       // in use now
	Server   *ServerView // of a notebook server
	Open     string      // where a person works with it
	Up       time.Duration
	Mine     bool
}

// Purpose is what it is there for, in words.
func (l containerLine) Purpose() string {
	if l.Extras.Purpose != "" {
		return l.Extras.Purpose
	}
	return "job"
}

// Stage is where it is, in words.
func (l containerLine) Stage() string {
	if l.Server != nil {
		return map[string]string{
			"queued": "Waiting for room", "creating": "Container is being made", "starting": "Server is starting", "ready": "Ready", "stopping": "Ending",
		}[l.Server.State]
	}
	return l.Word()
}

// Phases are those of the start of a container that is not there yet.
func (l containerLine) Phases() []job.Phase {
	if l.Server != nil {
		return underWay(l.Server.Start)
	}
	return underWay(l.Task.Start())
}

// CPUShare and MemoryShare are what is in use of the limit, in per cent.
func (l containerLine) CPUShare() int64 { return share(l.CPUMilli, l.Limit.CPUMilli) }

// MemoryShare is what is in use of the limit, in per cent.
func (l containerLine) MemoryShare() int64 {
	return share(l.Task.Usage.MemoryBytes, l.Limit.MemoryBytes)
}

func share(n, of int64) int64 {
	if of <= 0 {
		return 0
	}
	return min(100, n*100/of)
}

// Idle says for how long nobody used it and when it ends, or why it goes on.
func (l containerLine) Idle(now time.Time) string {
	v := l.Server
	switch {
	case v == nil || !v.Running:
		return ""
	case v.Busy != "":
		return "in use: " + v.Busy
	case v.IdleSince.IsZero():
		return "in use"
	}
	text := "idle for " + coarse(now.Sub(v.IdleSince))
	if !v.StopsAt.IsZero() {
		text += ", stops in " + coarse(v.StopsAt.Sub(now))
	}
	return text
}

// coarse is a time that does not change every second.
func coarse(d time.Duration) string {
	switch {
	case d < time.Minute:
		return "less than a minute"
	case d < 2*time.Hour:
		return fmt.Sprintf("%d min", int(d.Minutes()))
	}
	return fmt.Sprintf("%d h %d min", int(d.Hours()), int(d.Minutes())%60)
}

// A computePage is what the page of containers shows.
type computePage struct {
	Live     []containerLine
	Ended    []jobLine
	Probe    compute.Probe
	Warnings []string
	Groups   []job.GroupUse
	Server   *ServerView // one's own notebook server; nil where there are none
	User     string
	Back     string // the notebook to go back to; "" is none
	Now      time.Time
}

// compute shows what runs, what ended lately, and what is not enforced.
func (s *site) compute(w http.ResponseWriter, r *http.Request) error {
	data, err := s.computePage(r)
	if err != nil {
		return err
	}
	return s.show(w, r, http.StatusOK, "compute", view{Title: "Compute", Section: "compute", Data: data})
}

func (s *site) computePage(r *http.Request) (*computePage, error) {
	if err := s.noCompute(); err != nil {
		return nil, err
	}
	ctx := r.Context()
	data := &computePage{Groups: s.cfg.Jobs.Groups(), User: user(r).Name, Back: s.cameFrom(r), Now: s.cfg.Now()}
	live, err := s.jobLines(r, job.Filter{Active: true})
	if err != nil {
		return nil, err
	}
	for _, one := range live {
		line, err := s.containerLine(ctx, user(r), one)
		if err != nil {
			return nil, err
		}
		data.Live = append(data.Live, line)
	}
	if data.Ended, err = s.jobLines(r, job.Filter{State: job.Finished, Limit: recentJobs}); err != nil {
		return nil, err
	}
	if data.Probe, err = s.cfg.Jobs.Probe(ctx); err != nil {
		return nil, err
	}
	data.Warnings = data.Probe.Warnings(s.cfg.Jobs.Profile(user(r)).Defaults)
	if s.cfg.Servers != nil {
		own, err := s.cfg.Servers.Look(ctx, data.User)
		if err != nil {
			return nil, err
		}
		data.Server = &own
	}
	return data, nil
}

// containerLine is a job with what its first live task uses now.
func (s *site) containerLine(ctx context.Context, u auth.User, one jobLine) (containerLine, error) {
	line := containerLine{jobLine: one, Limit: one.Descriptor.Container.Resources.Size(), Mine: one.User == u.Name}
	for _, t := range one.Tasks {
		if !t.Live() {
			continue
		}
		line.Task = t
		if started, ok := t.Since(job.Started); ok {
			line.Up = s.cfg.Now().Sub(started)
			series, err := s.cfg.Jobs.Series(ctx, u, t.ID)
			if err != nil && !problem.Is(err, problem.NotFound) {
				return line, err
			}
			line.CPUMilli = (series.CPUMilli() + 5) / 10 * 10 // hundredths are enough
		}
		break
	}
	switch {
	case s.cfg.Servers != nil && one.Extras.Purpose == "notebook server":
		v, err := s.cfg.Servers.Look(ctx, one.User)
		if err != nil {
			return line, nil //nolint:nilerr // it may just be ending: the job says how it is
		}
		line.Server = &v
		if line.Mine {
			line.Open = s.to("/user/" + one.User + "/")
		}
	case len(one.Extras.Purpose) > 4 && one.Extras.Purpose[:4] == "run ":
		line.Open = s.to("/runs/" + one.Extras.Purpose[4:])
	}
	return line, nil
}

// computeEvery is how often the list is looked at while somebody watches.
const computeEvery = time.Second

// computeEvents sends the list of containers as it is drawn, when it has changed.
func (s *site) computeEvents(w http.ResponseWriter, r *http.Request) error {
	if err := s.noCompute(); err != nil {
		return err
	}
	return s.sendDrawn(w, r, "compute", "containers", func(r *http.Request) (any, bool, error) {
		data, err := s.computePage(r)
		return data, false, err
	})
}

// sendDrawn sends a part of a page as it is drawn, when it has changed, until
// draw says that it stays as it is. What draw cannot do now is tried again.
func (s *site) sendDrawn(w http.ResponseWriter, r *http.Request, page, part string, draw func(*http.Request) (data any, stays bool, err error)) error {
	ctx, cancel := s.rt.Streaming(r.Context())
	defer cancel()
	r = r.WithContext(ctx)
	stream := api.NewEventStream(w)
	defer stream.Close()
	tick := time.NewTicker(computeEvery)
	defer tick.Stop()
	var last []byte
	for {
		data, stays, err := draw(r)
		if err == nil {
			var text bytes.Buffer
			if err = s.look()[page].ExecuteTemplate(&text, part, data); err == nil && !bytes.Equal(text.Bytes(), last) {
				if stream.Send("", "page", text.Bytes()) != nil {
					return nil // whoever watched is gone
				}
				last = text.Bytes()
			}
		}
		if err == nil && stays {
			<-ctx.Done() // an answer that ends is asked for again
			return nil
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// ofServer returns whose notebook server a form is about: one's own, or for an
// administrator anybody's.
func (s *site) ofServer(r *http.Request) (string, error) {
	if s.cfg.Servers == nil {
		return "", problem.New(problem.NotFound, "there are no notebook servers here")
	}
	name := r.PathValue("user")
	return name, auth.Allow(user(r), auth.Manage, auth.Object{Kind: auth.JobKind, Owner: name})
}

func (s *site) stopServer(w http.ResponseWriter, r *http.Request) error {
	name, err := s.ofServer(r)
	if err != nil {
		return err
	}
	if err := s.cfg.Servers.End(r.Context(), name, user(r).Name); err != nil {
		return err
	}
	http.Redirect(w, r, s.to("/compute"), http.StatusSeeOther)
	return nil
}

// extendBy is how much longer a server goes on for each press of Extend.
const extendBy = time.Hour

func (s *site) extendServer(w http.ResponseWriter, r *http.Request) error {
	name, err := s.ofServer(r)
	if err != nil {
		return err
	}
	v, err := s.cfg.Servers.Look(r.Context(), name)
	if err != nil {
		return err
	}
	more := extendBy
	if left := v.StopsAt.Sub(s.cfg.Now()); left > 0 {
		more += left
	}
	if err := s.cfg.Servers.Extend(r.Context(), name, more); err != nil {
		return err
	}
	http.Redirect(w, r, s.to("/compute"), http.StatusSeeOther)
	return nil
}

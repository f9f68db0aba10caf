package pages

import (
	"net/http"

	"quire/internal/job"
	"quire/internal/problem"
)

// A phaseLine is a part of a container's start, as pages show it.
type phaseLine struct {
	job.Phase
	Sign, Word string
	Percent    int64 // of the bytes that are known; -1 is not known
}

// phaseWords are the parts of a start in words: while it is in one, and else.
var phaseWords = map[string][2]string{
	"queued":   {"Waiting for room", "Queued"},
	"pulling":  {"Bringing the image", "Image"},
	"creating": {"Making the container", "Container"},
	"starting": {"Starting the command", "Start"},
	"running":  {"Running", "Running"},
	"ready":    {"Waiting for the server to answer", "Ready"},
}

// phaseSigns are the signs of their states, with which no colour is needed.
var phaseSigns = map[job.PhaseState]string{job.PhaseDone: "✓", job.PhaseNow: "▶", job.PhaseAhead: "○", job.PhaseEnded: "✕"}

// phaseLines are the parts of a start as pages show them.
func phaseLines(phases []job.Phase) []phaseLine {
	lines := make([]phaseLine, len(phases))
	for i, p := range phases {
		l := phaseLine{Phase: p, Sign: phaseSigns[p.State], Word: phaseWords[p.Name][1], Percent: -1}
		if p.State == job.PhaseNow {
			l.Word = phaseWords[p.Name][0]
		}
		if l.Word == "" {
			l.Word = p.Name
		}
		if p.TotalBytes > 0 && p.State == job.PhaseNow {
			l.Percent = share(p.DoneBytes, p.TotalBytes)
		}
		lines[i] = l
	}
	return lines
}

// underWay returns the phases of a start that is not over, and otherwise none.
func underWay(phases []job.Phase) []job.Phase {
	for _, p := range phases {
		if p.State == job.PhaseNow {
			return phases
		}
	}
	return nil
}

// jobEvents sends the state of one job as it is drawn, when it has changed, until
// it has finished.
func (s *site) jobEvents(w http.ResponseWriter, r *http.Request) error {
	if _, err := s.jobPage(r); err != nil {
		return err
	}
	return s.sendDrawn(w, r, "job", "jobstate", func(r *http.Request) (any, bool, error) {
		data, err := s.jobPage(r)
		return data, err == nil && data.Status.State == job.Finished, err
	})
}

// A startingPage is what somebody sees who opened their notebook server before it
// answers.
type startingPage struct {
	Server ServerView
	Next   string // where they were going
	Ready  bool
	Failed string // why it did not start
	Over   bool   // nothing changes any more
}

// starting shows how the start of one's own notebook server goes, and leads on
// when it answers.
func (s *site) starting(w http.ResponseWriter, r *http.Request) error {
	data, err := s.startingPage(r)
	if err != nil {
		return err
	}
	if data.Ready {
		http.Redirect(w, r, data.Next, http.StatusSeeOther)
		return nil
	}
	return s.show(w, r, http.StatusOK, "starting", view{Title: "Your notebook server", Section: "compute", Data: data})
}

func (s *site) startingEvents(w http.ResponseWriter, r *http.Request) error {
	if _, err := s.startingPage(r); err != nil {
		return err
	}
	return s.sendDrawn(w, r, "starting", "serverstart", func(r *http.Request) (any, bool, error) {
		data, err := s.startingPage(r)
		return data, err == nil && data.Over, err
	})
}

func (s *site) startingPage(r *http.Request) (*startingPage, error) {
	if s.cfg.Servers == nil {
		return nil, problem.New(problem.NotFound, "there are no notebook servers here")
	}
	server, err := s.cfg.Servers.Look(r.Context(), user(r).Name)
	if err != nil {
		return nil, err
	}
	data := &startingPage{Server: server, Next: s.rt.SafeNext(r.URL.Query().Get("next"))}
	switch {
	case server.State == "ready":
		data.Ready, data.Over = true, true
	case server.State == "stopped" && server.Ended != "":
		data.Failed, data.Over = server.Ended, true
	}
	return data, nil
}

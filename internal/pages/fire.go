package pages

import (
	"fmt"
	"html/template"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"quire/internal/chart"
	"quire/internal/problem"
	"quire/internal/schedule"
)

// A stepsPart is the steps of a schedule as a graph, with the states of one fire.
type stepsPart struct {
	Fire  *schedule.Fire // nil when none began yet
	Graph template.HTML
	Other string // that the definition is another one now, in words
	Tasks []schedule.Task
	Steps []schedule.Step // of the definition that it ran by
}

// scheduleGraph shows the steps as a graph with the states of the newest fire
// that began.
func (s *site) scheduleGraph(w http.ResponseWriter, r *http.Request) error {
	p, err := s.scheduleHead(r, "graph")
	if err != nil {
		return err
	}
	const look = 50 // a schedule may have skipped a while
	fires, err := s.cfg.Schedules.History(r.Context(), user(r), p.Name, schedule.FireFilter{Any: true, Limit: look})
	if err != nil {
		return err
	}
	part := &stepsPart{}
	for i := range fires {
		if len(fires[i].Tasks) > 0 {
			part.Fire = &fires[i]
			break
		}
	}
	part.Graph = s.stepGraph(p.Schedule, part.Fire)
	p.Part = part
	return s.showSchedule(w, r, http.StatusOK, p)
}

// fire shows one fire: its steps as a graph, and what each ran.
func (s *site) fire(w http.ResponseWriter, r *http.Request) error {
	p, err := s.scheduleHead(r, "fire")
	if err != nil {
		return err
	}
	f, err := s.cfg.Schedules.Fire(r.Context(), user(r), p.Name, r.PathValue("id"))
	if err != nil {
		return err
	}
	part := &stepsPart{Fire: &f, Tasks: f.Tasks}
	ran := p.Schedule
	if f.Definition != nil {
		ran.Definition = *f.Definition
	}
	if f.Revision != 0 && f.Revision != p.Revision {
		part.Other = fmt.Sprintf("It ran by revision %d of the definition, and would run again by that one; now it is revision %d.", f.Revision, p.Revision)
	}
	part.Graph, part.Steps = s.stepGraph(ran, &f), ran.Definition.Steps
	p.Part = part
	return s.showSchedule(w, r, http.StatusOK, p)
}

// fireAction runs a fire again, or stops it.
func (s *site) fireAction(w http.ResponseWriter, r *http.Request) error {
	if err := readForm(r); err != nil {
		return err
	}
	name, id := r.PathValue("name"), r.PathValue("id")
	var err error
	switch do := r.PostForm.Get("do"); do {
	case "stop":
		_, err = s.cfg.Schedules.StopFire(r.Context(), user(r), name, id)
	case "restart":
		p, wrong := s.runAgain(r)
		if p != nil {
			return s.showSchedule(w, r, http.StatusBadRequest, p)
		}
		err = wrong
	default:
		err = problem.New(problem.Invalid, "%q is no action", do)
	}
	if err != nil {
		return err
	}
	return s.redirect(w, r, s.to("/schedules/")+url.PathEscape(name)+"/fires/"+url.PathEscape(id))
}

// stepGraph draws the steps of a definition with the states of a fire, which may
// be nil.
func (s *site) stepGraph(one schedule.Schedule, f *schedule.Fire) template.HTML {
	cells := map[string]gridCell{}
	if f != nil {
		cells = cellsOf(*f)
	}
	title := "The steps of " + one.Name
	if f != nil {
		title += " in the fire of " + f.Slot.UTC().Format("2006-01-02 15:04") + " UTC"
	}
	var steps []chart.Step
	for _, step := range one.Definition.Steps {
		box := chart.Step{Name: step.Name, After: step.After, Label: step.Name, Link: s.to("/view/") + escapePath(step.Notebook)}
		c, ok := cells[step.Name]
		if ok {
			state := fireState(c.State)
			box.State, box.Sign, box.Note = stateName(class(state)), fireSign(c.State), fireWord(c.State)
			if c.Tasks > 1 {
				box.Note += fmt.Sprintf(", %d runs", c.Tasks)
			}
			if c.To.After(c.From) && !c.From.IsZero() {
				box.Note += ", " + seconds(c.To.Sub(c.From).Round(100*time.Millisecond).Seconds())
			}
			box.Label += " " + box.Note
			box.Link = s.to("/schedules/") + one.Name + "/fires/" + f.ID
			if c.Run != "" {
				box.Link = s.to("/runs/") + c.Run
			}
		}
		if step.Notebook == "" && c.Run == "" && !ok {
			box.Link = s.to("/schedules/") + one.Name
			if step.Schedule != "" {
				box.Link = s.to("/schedules/") + step.Schedule
			}
		}
		box.Label += ", " + step.What()
		if len(step.After) > 0 {
			box.Label += ", after " + strings.Join(step.After, " and ")
			if step.When != schedule.WhenSucceeded {
				box.Edge = string(step.When)
				box.Label += " if " + box.Edge
				switch { // there is little room
				case strings.Contains(box.Edge, "{{"):
					box.Edge = "condition"
				case step.When == schedule.WhenSome:
					box.Edge = "some"
				}
			}
		}
		if c.Reason != "" {
			box.Label += ": " + short(c.Reason)
		}
		steps = append(steps, box)
	}
	return drawn(chart.Steps(title, steps))
}

// An activityPart is who did what to a schedule.
type activityPart struct {
	Activity []schedule.Activity
	Older    string
}

// deeds say in words what was done.
var deeds = map[schedule.Deed]string{
	schedule.FoundOther: "saw another environment", schedule.Created: "made the schedule", schedule.Changed: "changed the definition", schedule.PausedIt: "paused it", schedule.ResumedIt: "resumed it",
	schedule.RanIt: "fired it by hand", schedule.RestartedFire: "ran a fire again", schedule.StoppedFire: "stopped a fire", schedule.Backfilled: "began a backfill",
	schedule.PausedBackfill: "paused a backfill", schedule.ResumedBackfill: "let a backfill go on", schedule.StoppedBackfill: "stopped a backfill",
	schedule.DeletedIt: "removed the schedule",
}

func deed(d schedule.Deed) string {
	if words, ok := deeds[d]; ok {
		return words
	}
	return string(d)
}

func (s *site) scheduleActivity(w http.ResponseWriter, r *http.Request) error {
	p, err := s.scheduleHead(r, "activity")
	if err != nil {
		return err
	}
	const most = 50
	all, err := s.cfg.Schedules.Activity(r.Context(), user(r), p.Name, schedule.ActivityFilter{Limit: most, Before: r.URL.Query().Get("cursor")})
	if err != nil {
		return err
	}
	part := &activityPart{Activity: all}
	if len(all) == most {
		part.Older = "/schedules/" + p.Name + "/activity?cursor=" + url.QueryEscape(all[most-1].ID)
	}
	p.Part = part
	return s.showSchedule(w, r, http.StatusOK, p)
}

// A backfillPart is the backfills of a schedule, and one that is asked for.
type backfillPart struct {
	Backfills []schedule.Backfill
	From, To  string
	Parallel  string
	Newest    bool
	Paused    bool
	Preview   []slotLine
	Count     int    // of the preview's slots, more than those that are shown
	Runs      int    // that it comes to, as far as is known
	Takes     string // about how long, "" when nothing is known
}

// scheduleBackfill shows the backfills and the form of a new one.
func (s *site) scheduleBackfill(w http.ResponseWriter, r *http.Request) error {
	p, _, err := s.backfillPage(r)
	if err != nil {
		return err
	}
	return s.showSchedule(w, r, http.StatusOK, p)
}

func (s *site) backfillPage(r *http.Request) (*schedulePage, *backfillPart, error) {
	p, err := s.scheduleHead(r, "backfill")
	if err != nil {
		return nil, nil, err
	}
	part := &backfillPart{Parallel: "1"}
	if part.Backfills, err = s.cfg.Schedules.Backfills(r.Context(), user(r), p.Name); err != nil {
		return nil, nil, err
	}
	p.Part = part
	return p, part, nil
}

func (part *backfillPart) take(form url.Values) {
	part.From, part.To, part.Newest, part.Paused = form.Get("from"), form.Get("to"), form.Has("newest"), form.Has("paused")
	if n := form.Get("parallel"); n != "" {
		part.Parallel = n
	}
}

// shownSlots is how many slots of a preview are on the page.
const shownSlots = 100

// preview notes which slots a backfill would fire, and what that comes to.
func (s *site) preview(r *http.Request, p *schedulePage, part *backfillPart, slots []time.Time, parallel int) error {
	table, err := p.Definition.Timetable()
	if err != nil {
		return err
	}
	part.Count, part.Runs = len(slots), len(slots)*len(p.Definition.Steps)
	for _, slot := range slots[:min(len(slots), shownSlots)] {
		part.Preview = append(part.Preview, slotLine{slot, table.Local(slot).Format("Mon 2006-01-02 15:04:05 MST"), table.Note(slot)})
	}
	recent, err := s.cfg.Schedules.History(r.Context(), user(r), p.Name, schedule.FireFilter{Any: true, Limit: 20})
	if err != nil {
		return err
	}
	var total time.Duration
	n := 0
	for _, f := range recent {
		if f.State == schedule.Succeeded && !f.Started.IsZero() {
			total, n = total+f.Finished.Sub(f.Started), n+1
		}
	}
	if n > 0 {
		part.Takes = duration(max(time.Second, total/time.Duration(n)*time.Duration((len(slots)+parallel-1)/parallel)))
	}
	return nil
}

// parallelOf reads how many are to run at once.
func parallelOf(text string) (int, bool) {
	n, err := strconv.Atoi(text)
	return n, err == nil && n >= 1 && n <= 100
}

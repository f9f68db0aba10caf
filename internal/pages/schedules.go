package pages

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"quire/internal/api"
	"quire/internal/auth"
	"quire/internal/parameter"
	"quire/internal/problem"
	"quire/internal/run"
	"quire/internal/schedule"
)

// registerSchedules adds the pages of schedules.
func (s *site) registerSchedules(rt *api.Router) {
	page := api.Policy{Access: api.SignedIn, Page: true}
	rt.Handle("GET /schedules", page, s.schedules)
	rt.Handle("GET /schedules/{name}", page, s.schedule)
	rt.Handle("POST /schedules/{name}", page, s.scheduleAction)
	rt.Handle("POST /schedules/{name}/fires/{id}", page, s.fireAction)
	rt.Handle("GET /schedule/{path...}", page, s.scheduleForm)
	rt.Handle("POST /schedule/{path...}", page, s.createSchedule)
}

// ticks is how many fires the strip of the list shows.
const ticks = 14

// A scheduleRow is one schedule in the list.
type scheduleRow struct {
	schedule.Schedule
	Next  *slotLine
	Last  *schedule.Fire
	Ticks []schedule.Fire // oldest first
	Mine  bool
}

// A slotLine is a slot in UTC, in its zone, and what the clock does there.
type slotLine struct {
	Slot  time.Time
	Local string
	Note  string
}

// upcoming are the next n slots of a definition.
func upcoming(d schedule.Definition, now time.Time, n int) []slotLine {
	table, err := d.Timetable()
	if err != nil {
		return nil
	}
	var all []slotLine
	for _, slot := range table.Upcoming(now, n) {
		all = append(all, slotLine{slot, table.Local(slot).Format("Mon 2006-01-02 15:04:05 MST"), table.Note(slot)})
	}
	return all
}

// fireState is the state of a fire as that of a run, for its sign and word.
func fireState(s schedule.State) run.State {
	switch s {
	case schedule.Due, schedule.Waiting, schedule.Ready:
		return run.Queued
	case schedule.Skipped:
		return run.Cancelled
	}
	return run.State(s)
}

func fireWord(s schedule.State) string {
	if s == schedule.Skipped {
		return "Skipped"
	}
	return word(fireState(s))
}

// laneWord says why a fire is beside the schedule's own.
func laneWord(lane string) string {
	if strings.HasPrefix(lane, schedule.LaneManual) {
		return "by hand"
	}
	return "backfill"
}

func mine(u auth.User, s schedule.Schedule) bool { return u.Admin || u.Name == s.Owner }

// schedules lists all schedules.
func (s *site) schedules(w http.ResponseWriter, r *http.Request) error {
	all, err := s.cfg.Schedules.List(r.Context(), user(r))
	if err != nil {
		return err
	}
	recent, err := s.cfg.Schedules.Recent(r.Context(), user(r), ticks)
	if err != nil {
		return err
	}
	rows := make([]scheduleRow, len(all))
	for i, one := range all {
		row := scheduleRow{Schedule: one, Mine: mine(user(r), one)}
		if next := upcoming(one.Definition, s.cfg.Now(), 1); len(next) > 0 && !one.Paused {
			row.Next = &next[0]
		}
		for n, f := range recent[one.ID] {
			if n == 0 {
				row.Last = &f
			}
			row.Ticks = append([]schedule.Fire{f}, row.Ticks...)
		}
		rows[i] = row
	}
	return s.show(w, r, http.StatusOK, "schedules", view{Title: "Schedules", Section: "schedules", Data: rows})
}

// A schedulePage is what the page of one schedule shows.
type schedulePage struct {
	scheduleRow
	Upcoming  []slotLine
	Fires     []schedule.Fire
	Older     string // address of the next page
	Backfills []schedule.Backfill
	Latest    map[string]bool // steps whose source is latest
	Error     string
	Text      string // of the definition, as it stands in the field
	// A backfill that is asked for.
	From, To string
	Parallel string
	Newest   bool
	Preview  []time.Time
}

// schedule shows one schedule: how it stands, what it fired, what comes.
func (s *site) schedule(w http.ResponseWriter, r *http.Request) error {
	p, err := s.schedulePage(r)
	if err != nil {
		return err
	}
	return s.showSchedule(w, r, http.StatusOK, p)
}

func (s *site) schedulePage(r *http.Request) (*schedulePage, error) {
	u, name := user(r), r.PathValue("name")
	found, err := s.cfg.Schedules.Get(r.Context(), u, name)
	if err != nil {
		return nil, err
	}
	p := &schedulePage{scheduleRow: scheduleRow{Schedule: found, Mine: mine(u, found)}, Text: found.Text, Parallel: "1", Latest: map[string]bool{}}
	if !found.Paused {
		p.Upcoming = upcoming(found.Definition, s.cfg.Now(), 5)
	}
	for _, step := range found.Definition.Steps {
		p.Latest[step.Name] = step.Source == schedule.Latest
	}
	const most = 50
	p.Fires, err = s.cfg.Schedules.History(r.Context(), u, name, schedule.FireFilter{Any: true, Limit: most, Before: r.URL.Query().Get("cursor")})
	if err != nil {
		return nil, err
	}
	if len(p.Fires) == most {
		p.Older = "/schedules/" + name + "?cursor=" + url.QueryEscape(p.Fires[most-1].ID)
	}
	p.Backfills, err = s.cfg.Schedules.Backfills(r.Context(), u, name)
	return p, err
}

func (s *site) showSchedule(w http.ResponseWriter, r *http.Request, status int, p *schedulePage) error {
	return s.show(w, r, status, "schedule", view{
		Title: p.Name, Section: "schedules", Crumbs: []crumb{{"Schedules", s.to("/schedules")}, {p.Name, s.to("/schedules/") + p.Name}}, Data: p,
	})
}

// scheduleAction does what a button of the page asks for. What cannot be done is
// said on the page, with what was typed.
func (s *site) scheduleAction(w http.ResponseWriter, r *http.Request) error {
	if err := readForm(r); err != nil {
		return err
	}
	ctx, u, name, form := r.Context(), user(r), r.PathValue("name"), r.PostForm
	here := "/schedules/" + url.PathEscape(name)
	var err error
	switch form.Get("do") {
	case "pause":
		_, err = s.cfg.Schedules.Pause(ctx, u, name, strings.TrimSpace(form.Get("reason")))
	case "resume":
		_, err = s.cfg.Schedules.Resume(ctx, u, name)
	case "run":
		_, err = s.cfg.Schedules.RunNow(ctx, u, name, "")
	case "delete":
		here, err = "/schedules", s.cfg.Schedules.Delete(ctx, u, name)
	case "apply":
		err = s.applyAs(r, name, form.Get("text"))
	case "backfill":
		var p *schedulePage
		if p, err = s.backfill(r); err == nil && p != nil {
			return s.showSchedule(w, r, http.StatusOK, p)
		}
	case "pause-backfill", "resume-backfill":
		_, err = s.cfg.Schedules.PauseBackfill(ctx, u, name, form.Get("id"), form.Get("do") == "pause-backfill")
	default:
		err = problem.New(problem.Invalid, "%q is no action", form.Get("do"))
	}
	if problem.Is(err, problem.Invalid) || problem.Is(err, problem.TooLarge) {
		p, pageErr := s.schedulePage(r)
		if pageErr != nil {
			return err
		}
		p.Error = text(err)
		p.takeBackfill(form)
		if form.Has("text") {
			p.Text = form.Get("text")
		}
		return s.showSchedule(w, r, http.StatusBadRequest, p)
	}
	if err != nil {
		return err
	}
	return s.redirect(w, r, s.to(here))
}

// applyAs applies a definition that must keep the name of the page it is on.
func (s *site) applyAs(r *http.Request, name, definition string) error {
	definition = strings.ReplaceAll(definition, "\r\n", "\n")
	if d, faults := schedule.Read([]byte(definition)); len(faults) == 0 && d.Name != name {
		return problem.New(problem.Invalid, "the definition is called %q, and this is schedule %q", d.Name, name)
	}
	_, _, err := s.cfg.Schedules.Apply(r.Context(), user(r), []byte(definition))
	return err
}

func (p *schedulePage) takeBackfill(form url.Values) {
	p.From, p.To, p.Newest = form.Get("from"), form.Get("to"), form.Has("newest")
	if n := form.Get("parallel"); n != "" {
		p.Parallel = n
	}
}

// backfill shows which slots a backfill would fire, or fires them; then there is
// no page.
func (s *site) backfill(r *http.Request) (*schedulePage, error) {
	p, err := s.schedulePage(r)
	if err != nil {
		return nil, err
	}
	p.takeBackfill(r.PostForm)
	var req schedule.BackfillRequest
	for _, one := range []struct {
		text string
		into *time.Time
	}{{p.From, &req.From}, {p.To, &req.To}} {
		if *one.into, err = time.Parse("2006-01-02T15:04", one.text); err != nil {
			return nil, problem.New(problem.Invalid, "%q: want a time such as 2026-03-07T00:00", one.text)
		}
	}
	if req.Parallel, err = strconv.Atoi(p.Parallel); err != nil {
		return nil, problem.New(problem.Invalid, "at once: want 1 to 100")
	}
	req.Newest = p.Newest
	if r.PostForm.Has("preview") {
		p.Preview, err = s.cfg.Schedules.Preview(r.Context(), user(r), p.Name, req)
		return p, err
	}
	_, err = s.cfg.Schedules.Backfill(r.Context(), user(r), p.Name, req)
	return nil, err
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
		from := schedule.Restart(r.PostForm.Get("from"))
		if from == "" {
			from = schedule.FromFailed
		}
		_, err = s.cfg.Schedules.Restart(r.Context(), user(r), name, id, from)
	default:
		err = problem.New(problem.Invalid, "%q is no action", do)
	}
	if err != nil {
		return err
	}
	return s.redirect(w, r, s.to("/schedules/")+url.PathEscape(name))
}

// A scheduleForm makes a schedule of a notebook.
type scheduleForm struct {
	Path     string
	Name     string
	Cron     string
	Zone     string
	Source   string
	Strategy string
	CatchUp  string
	Fields   []field
	Upcoming []slotLine
	Text     string // the definition; "" before it was looked at
	Error    string
}

func (s *site) scheduleFormFor(r *http.Request) (*scheduleForm, error) {
	path := pathOf(r)
	nb, version, err := s.load(r, path)
	if err != nil {
		return nil, err
	}
	base := strings.TrimSuffix(path[strings.LastIndexByte(path, '/')+1:], ".ipynb")
	name := strings.Trim(strings.Map(func(c rune) rune {
		switch {
		case c >= 'a' && c <= 'z', c >= '0' && c <= '9', c == '-', c == '_':
			return c
		}
		return '-'
	}, strings.ToLower(base)), "-_")
	f := &scheduleForm{
		Path: path, Name: name[:min(len(name), 63)], Cron: "0 6 * * *", Zone: "UTC", Source: string(schedule.Snapshot),
		Strategy: string(schedule.Sequential), CatchUp: string(schedule.CatchLatest), Fields: formOf(path, version, nb).Fields,
	}
	for i := range f.Fields { // every field is a text: it may hold an expression
		f.Fields[i].Value = ""
	}
	return f, nil
}

// scheduleForm shows the form of a new schedule.
func (s *site) scheduleForm(w http.ResponseWriter, r *http.Request) error {
	f, err := s.scheduleFormFor(r)
	if err != nil {
		return err
	}
	return s.showScheduleForm(w, r, http.StatusOK, f)
}

func (s *site) showScheduleForm(w http.ResponseWriter, r *http.Request, status int, f *scheduleForm) error {
	return s.show(w, r, status, "scheduleform", view{
		Title: "Schedule " + f.Path[strings.LastIndexByte(f.Path, '/')+1:], Section: "schedules", Crumbs: s.crumbs(f.Path), Data: f,
	})
}

// createSchedule shows when the schedule would fire, or makes it.
func (s *site) createSchedule(w http.ResponseWriter, r *http.Request) error {
	if err := readForm(r); err != nil {
		return err
	}
	f, err := s.scheduleFormFor(r)
	if err != nil {
		return err
	}
	form := r.PostForm
	f.Name, f.Cron, f.Zone = strings.TrimSpace(form.Get("name")), strings.TrimSpace(form.Get("cron")), strings.TrimSpace(form.Get("timezone"))
	f.Source, f.Strategy, f.CatchUp = form.Get("source"), form.Get("strategy"), form.Get("catchUp")
	for i := range f.Fields {
		f.Fields[i].Value = form.Get("p." + f.Fields[i].Name)
	}
	definition, err := f.definition()
	if err != nil {
		return err
	}
	d, faults := schedule.Read(definition)
	var words []string
	for _, fault := range faults {
		words = append(words, fault.Text)
	}
	f.Error = strings.Join(words, "; ")
	if f.Error == "" && form.Has("preview") {
		f.Upcoming, f.Text = upcoming(d, s.cfg.Now(), 5), string(definition)
		return s.showScheduleForm(w, r, http.StatusOK, f)
	}
	if f.Error == "" {
		if _, err = s.cfg.Schedules.Get(r.Context(), user(r), f.Name); err == nil {
			f.Error = "there is a schedule called " + f.Name + " already: choose another name, or change that one on its page"
		}
	}
	if f.Error == "" {
		_, _, err = s.cfg.Schedules.Apply(r.Context(), user(r), definition)
		if err != nil && !problem.Is(err, problem.Invalid) {
			return err
		}
		if err != nil {
			f.Error = text(err)
		}
	}
	if f.Error != "" {
		return s.showScheduleForm(w, r, http.StatusBadRequest, f)
	}
	return s.redirect(w, r, s.to("/schedules/")+f.Name)
}

// definition writes what the form says as a definition that a person may keep.
func (f *scheduleForm) definition() ([]byte, error) {
	type trigger struct {
		Cron string `yaml:"cron"`
	}
	d := struct {
		Format     int            `yaml:"schedule"`
		Name       string         `yaml:"name"`
		Zone       string         `yaml:"timezone"`
		Triggers   []trigger      `yaml:"triggers"`
		Notebook   string         `yaml:"notebook"`
		Source     string         `yaml:"source"`
		Strategy   string         `yaml:"strategy"`
		CatchUp    string         `yaml:"catchUp"`
		Parameters map[string]any `yaml:"parameters,omitempty"`
	}{schedule.Format, f.Name, f.Zone, []trigger{{f.Cron}}, f.Path, f.Source, f.Strategy, f.CatchUp, map[string]any{}}
	for _, one := range f.Fields {
		if one.Value == "" || one.Widget == "secret" {
			continue
		}
		d.Parameters[one.Name] = typed(one)
	}
	return yaml.Marshal(d)
}

// typed is what stands in a field with the type that the notebook declares; an
// expression stays a text.
func typed(f field) any {
	if f.Type == parameter.TypeStr || strings.Contains(f.Value, "{{") {
		return f.Value
	}
	if n, err := strconv.ParseInt(f.Value, 10, 64); err == nil {
		return n
	}
	var v any
	if json.Unmarshal([]byte(f.Value), &v) == nil {
		return v
	}
	return f.Value
}

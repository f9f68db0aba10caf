package pages

import (
	"encoding/json"
	"html/template"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"quire/internal/api"
	"quire/internal/notify"
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
	rt.Handle("GET /schedules/{name}/grid", page, s.scheduleGrid)
	rt.Handle("GET /schedules/{name}/graph", page, s.scheduleGraph)
	rt.Handle("GET /schedules/{name}/activity", page, s.scheduleActivity)
	rt.Handle("GET /schedules/{name}/backfill", page, s.scheduleBackfill)
	rt.Handle("GET /schedules/{name}/definition", page, s.scheduleDefinition)
	rt.Handle("GET /schedules/{name}/fires/{id}", page, s.fire)
	rt.Handle("GET /schedules/{name}/fires/{id}/again", page, s.fireAgain)
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

// Zoned reports whether the slot reads otherwise in its zone than in UTC.
func (l slotLine) Zoned() bool { return !strings.HasSuffix(l.Local, " UTC") }

// strategyWords says what a fire does while those before it are not over.
func strategyWords(s schedule.Strategy) string {
	switch s {
	case schedule.Sequential:
		return "a fire waits for the one before it"
	case schedule.StrictSequential:
		return "a fire waits for the one before it, and none starts after a failure"
	case schedule.FirstOnly:
		return "a fire is skipped while the one before it is not over"
	case schedule.LastOnly:
		return "a fire stops the one before it"
	case schedule.Parallel:
		return "fires may run beside each other"
	}
	return string(s)
}

// catchUpWords says what becomes of slots that came while no server ran.
func catchUpWords(c schedule.CatchUp) string {
	switch c {
	case schedule.CatchAll:
		return "all of the slots that come while no server runs fire later"
	case schedule.CatchNone:
		return "slots that come while no server runs do not fire"
	}
	return "of the slots that come while no server runs the newest fires"
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

func fireSign(s schedule.State) string {
	if s == schedule.Skipped {
		return "–"
	}
	return sign(fireState(s))
}

// laneWord says why a fire is beside the schedule's own.
func laneWord(lane string) string {
	switch kind, _, _ := strings.Cut(lane, "/"); kind {
	case schedule.LaneManual:
		return "by hand"
	case schedule.LaneNested:
		return "for a step of another schedule"
	}
	return "backfill"
}

// schedules lists all schedules.
func (s *site) schedules(w http.ResponseWriter, r *http.Request) error {
	if shown := r.URL.Query().Get("view"); shown == "day" || shown == "week" {
		return s.coming(w, r, shown)
	}
	all, err := s.cfg.Schedules.List(r.Context(), user(r))
	if err != nil {
		return err
	}
	recent, err := s.cfg.Schedules.Recent(r.Context(), user(r), ticks)
	if err != nil {
		return err
	}
	rows, mine := make([]scheduleRow, len(all)), s.cfg.Schedules.Mine(r.Context(), user(r))
	for i, one := range all {
		row := scheduleRow{Schedule: one, Mine: mine(one)}
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

// A schedulePage is what the pages of one schedule show: what they share, and
// the part of one of them.
type schedulePage struct {
	scheduleRow
	Tab   string // overview, grid, graph, backfill, activity, definition, fire, again
	Error string
	Text  string // of the definition, as it stands in the field
	Part  any
}

// An overviewPart is how a schedule stands: what it fired, what comes.
type overviewPart struct {
	Upcoming []slotLine
	Events   []string // what it waits for that has no time
	Fires    []schedule.Fire
	Older    string // address of the next page
	History  template.HTML
	Notices  []notify.Notice
	Latest   map[string]bool // steps whose source is latest
}

// scheduleHead finds the schedule of a page.
func (s *site) scheduleHead(r *http.Request, tab string) (*schedulePage, error) {
	u := user(r)
	found, err := s.cfg.Schedules.Get(r.Context(), u, r.PathValue("name"))
	if err != nil {
		return nil, err
	}
	return &schedulePage{scheduleRow: scheduleRow{Schedule: found, Mine: s.cfg.Schedules.Mine(r.Context(), u)(found)}, Tab: tab, Text: found.Text}, nil
}

// schedule shows one schedule: how it stands, what it fired, what comes.
func (s *site) schedule(w http.ResponseWriter, r *http.Request) error {
	p, err := s.overview(r)
	if err != nil {
		return err
	}
	return s.showSchedule(w, r, http.StatusOK, p)
}

func (s *site) overview(r *http.Request) (*schedulePage, error) {
	p, err := s.scheduleHead(r, "overview")
	if err != nil {
		return nil, err
	}
	u, name := user(r), p.Name
	part := &overviewPart{Latest: map[string]bool{}}
	if !p.Paused {
		part.Upcoming, part.Events = upcoming(p.Definition, s.cfg.Now(), 5), p.Definition.Events()
	}
	for _, step := range p.Definition.Steps {
		part.Latest[step.Name] = step.Source == schedule.Latest
	}
	const most = 50
	part.Fires, err = s.cfg.Schedules.History(r.Context(), u, name, schedule.FireFilter{Any: true, Limit: most, Before: r.URL.Query().Get("cursor")})
	if err != nil {
		return nil, err
	}
	part.History = s.fireHistory(part.Fires)
	if len(part.Fires) == most {
		part.Older = "/schedules/" + name + "?cursor=" + url.QueryEscape(part.Fires[most-1].ID)
	}
	part.Notices, err = s.cfg.Schedules.Notices(r.Context(), u, name)
	p.Part = part
	return p, err
}

// scheduleDefinition shows the definition as it was written, to change it.
func (s *site) scheduleDefinition(w http.ResponseWriter, r *http.Request) error {
	p, err := s.scheduleHead(r, "definition")
	if err != nil {
		return err
	}
	return s.showSchedule(w, r, http.StatusOK, p)
}

func (s *site) showSchedule(w http.ResponseWriter, r *http.Request, status int, p *schedulePage) error {
	crumbs := []crumb{{"Schedules", s.to("/schedules")}, {p.Name, s.to("/schedules/") + p.Name}}
	return s.show(w, r, status, "schedule", view{Title: p.Name, Section: "schedules", Crumbs: crumbs, Data: p})
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
		given := map[string]string{}
		for field := range form {
			if input, ok := strings.CutPrefix(field, "in."); ok && form.Get(field) != "" {
				given[input] = form.Get(field)
			}
		}
		var inputs json.RawMessage
		if inputs, err = schedule.GivenInputs(given); err == nil {
			_, err = s.cfg.Schedules.RunWith(ctx, u, name, "", inputs)
		}
	case "delete":
		here, err = "/schedules", s.cfg.Schedules.Delete(ctx, u, name)
	case "apply":
		err = s.applyAs(r, name, form.Get("text"))
	case "backfill":
		var p *schedulePage
		if p, err = s.backfill(r); err == nil && p != nil {
			return s.showSchedule(w, r, http.StatusOK, p)
		}
		here += "/backfill"
	case "pause-backfill", "resume-backfill":
		_, err = s.cfg.Schedules.PauseBackfill(ctx, u, name, form.Get("id"), form.Get("do") == "pause-backfill")
		here += "/backfill"
	case "stop-backfill":
		_, err = s.cfg.Schedules.StopBackfill(ctx, u, name, form.Get("id"))
		here += "/backfill"
	default:
		err = problem.New(problem.Invalid, "%q is no action", form.Get("do"))
	}
	if problem.Is(err, problem.Invalid) || problem.Is(err, problem.TooLarge) {
		p, pageErr := s.failedAction(r)
		if pageErr != nil {
			return err
		}
		p.Error = text(err)
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

// failedAction is the page on which something could not be done, with what was
// typed.
func (s *site) failedAction(r *http.Request) (*schedulePage, error) {
	switch form := r.PostForm; form.Get("do") {
	case "apply":
		p, err := s.scheduleHead(r, "definition")
		if err == nil {
			p.Text = form.Get("text")
		}
		return p, err
	case "backfill", "pause-backfill", "resume-backfill", "stop-backfill":
		p, part, err := s.backfillPage(r)
		if err == nil {
			part.take(form)
		}
		return p, err
	}
	return s.overview(r)
}

// backfill shows which slots a backfill would fire, or fires them; then there is
// no page.
func (s *site) backfill(r *http.Request) (*schedulePage, error) {
	p, part, err := s.backfillPage(r)
	if err != nil {
		return nil, err
	}
	part.take(r.PostForm)
	var req schedule.BackfillRequest
	for _, one := range []struct {
		text string
		into *time.Time
	}{{part.From, &req.From}, {part.To, &req.To}} {
		if *one.into, err = time.Parse("2006-01-02T15:04", one.text); err != nil {
			return nil, problem.New(problem.Invalid, "%q: want a time such as 2026-03-07T00:00", one.text)
		}
	}
	var ok bool
	if req.Parallel, ok = parallelOf(part.Parallel); !ok {
		return nil, problem.New(problem.Invalid, "at once: want 1 to 100")
	}
	req.Newest, req.Paused = part.Newest, part.Paused
	if r.PostForm.Has("preview") {
		slots, err := s.cfg.Schedules.Preview(r.Context(), user(r), p.Name, req)
		if err != nil {
			return nil, err
		}
		return p, s.preview(r, p, part, slots, req.Parallel)
	}
	_, err = s.cfg.Schedules.Backfill(r.Context(), user(r), p.Name, req)
	return nil, err
}

// shownFires are how many of the next fires the form shows.
const shownFires = 5

// A scheduleForm makes a schedule of a notebook.
type scheduleForm struct {
	Path     string
	Template string // the name of the template; "" for a notebook
	Name     string
	often
	Zone     string
	Source   string
	Strategy string
	CatchUp  string
	Fields   []field
	Upcoming []slotLine
	Events   []string // what it waits for that has no time
	Others   []string // names of schedules
	Text     string   // the definition; "" before it was looked at
	Error    string
	From     string // the run whose parameters were taken
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
		Path: path, Name: name[:min(len(name), 63)], often: daily, Zone: "UTC", Source: string(schedule.Snapshot),
		Strategy: string(schedule.Sequential), CatchUp: string(schedule.CatchLatest), Fields: formOf(path, version, nb).Fields,
	}
	if err := s.offerSecrets(r, f.Fields); err != nil {
		return nil, err
	}
	f.Template, _ = s.templateName(path)
	others, err := s.cfg.Schedules.List(r.Context(), user(r))
	if err != nil {
		return nil, err
	}
	const most = 500 // to choose from; others are written
	for _, one := range others[:min(len(others), most)] {
		f.Others = append(f.Others, one.Name)
	}
	f.File = "users/" + user(r).Name + "/in/*.csv"
	for i := range f.Fields { // every field is a text: it may hold an expression
		f.Fields[i].Value = ""
	}
	return f, nil
}

// scheduleForm shows the form of a new schedule, and when it would fire as it
// stands. The query may name a run whose parameters to take ("from").
func (s *site) scheduleForm(w http.ResponseWriter, r *http.Request) error {
	f, err := s.scheduleFormFor(r)
	if err != nil {
		return err
	}
	if id := r.URL.Query().Get("from"); id != "" {
		old, err := s.cfg.Runs.Get(r.Context(), user(r), id)
		if err != nil {
			return err
		}
		set, err := parameter.FromJSON("the run's parameters", old.Parameters)
		if err != nil {
			return err
		}
		f.From = id
		for i := range f.Fields {
			if v, ok := set.Get(f.Fields[i].Name); ok && f.Fields[i].Widget != "secret" {
				f.Fields[i].Value = f.Fields[i].show(v)
			}
		}
		if old.Owner == user(r).Name {
			bindAgain(f.Fields, old.Secrets)
		}
	}
	if definition, err := f.definition(); err == nil {
		if d, faults := schedule.Read(definition); len(faults) == 0 {
			f.Upcoming, f.Events, f.Text = upcoming(d, s.cfg.Now(), shownFires), d.Events(), string(definition)
		}
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
	f.Name, f.Zone = strings.TrimSpace(form.Get("name")), strings.TrimSpace(form.Get("timezone"))
	f.take(form)
	f.Source, f.Strategy, f.CatchUp = form.Get("source"), form.Get("strategy"), form.Get("catchUp")
	for i := range f.Fields {
		f.Fields[i].Value = form.Get("p." + f.Fields[i].Name)
	}
	takeSecrets(f.Fields, form)
	definition, err := f.definition()
	if problem.Is(err, problem.Invalid) {
		f.Error = text(err)
		return s.showScheduleForm(w, r, http.StatusBadRequest, f)
	}
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
		f.Upcoming, f.Events, f.Text = upcoming(d, s.cfg.Now(), shownFires), d.Events(), string(definition)
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
	triggers, err := f.triggers()
	if err != nil {
		return nil, err
	}
	d := struct {
		Format     int               `yaml:"schedule"`
		Name       string            `yaml:"name"`
		Zone       string            `yaml:"timezone"`
		Triggers   []trigger         `yaml:"triggers"`
		Notebook   string            `yaml:"notebook,omitempty"`
		Template   string            `yaml:"template,omitempty"`
		Source     string            `yaml:"source"`
		Strategy   string            `yaml:"strategy"`
		CatchUp    string            `yaml:"catchUp"`
		Parameters map[string]any    `yaml:"parameters,omitempty"`
		Secrets    map[string]string `yaml:"secrets,omitempty"`
	}{
		Format: schedule.Format, Name: f.Name, Zone: f.Zone, Triggers: triggers, Notebook: f.Path, Source: f.Source,
		Strategy: f.Strategy, CatchUp: f.CatchUp, Parameters: map[string]any{}, Secrets: map[string]string{},
	}
	if f.Template != "" {
		d.Notebook, d.Template = "", f.Template
	}
	for _, one := range f.Fields {
		switch {
		case one.Value == "":
			continue
		case one.Widget == "secret":
			d.Secrets[one.Name] = one.Value
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

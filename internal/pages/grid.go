package pages

import (
	"fmt"
	"html"
	"html/template"
	"math"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"quire/internal/problem"
	"quire/internal/schedule"
)

// A gridPart is fires by step: a column for each fire, a row for each step.
type gridPart struct {
	Lane    string // "all", "own" or the id of a backfill
	Count   int    // columns asked for
	Counts  []int
	Lanes   []gridLane
	Table   template.HTML
	Older   string // address of the columns before
	Newer   string // of the newest ones, when these are not
	Columns int
	Live    bool // some of it is not over
}

type gridLane struct{ ID, Name string }

// gridCounts are the numbers of columns that the page offers; the last is the
// most that there are in one page.
var gridCounts = []int{25, 60, 250, 1000}

// gridFilter reads which fires a request is about.
func gridFilter(q url.Values) (schedule.FireFilter, error) {
	f := schedule.FireFilter{Any: true, Limit: 60, Before: q.Get("cursor")}
	switch lane := q.Get("lane"); lane {
	case "", "all":
	case "own":
		f.Any = false
	default:
		f.Any, f.Lane = false, lane
	}
	if text := q.Get("n"); text != "" {
		n, err := strconv.Atoi(text)
		if most := gridCounts[len(gridCounts)-1]; err != nil || n < 1 || n > most {
			return f, problem.New(problem.Invalid, "n %.20q: want 1 to %d columns", text, most)
		}
		f.Limit = n
	}
	return f, nil
}

// scheduleGrid shows how each step of each fire went.
func (s *site) scheduleGrid(w http.ResponseWriter, r *http.Request) error {
	q := r.URL.Query()
	f, err := gridFilter(q)
	if err != nil {
		return err
	}
	p, err := s.scheduleHead(r, "grid")
	if err != nil {
		return err
	}
	fires, err := s.cfg.Schedules.History(r.Context(), user(r), p.Name, f)
	if err != nil {
		return err
	}
	part := &gridPart{Lane: q.Get("lane"), Count: f.Limit, Counts: gridCounts, Columns: len(fires)}
	backfills, err := s.cfg.Schedules.Backfills(r.Context(), user(r), p.Name)
	if err != nil {
		return err
	}
	part.Lanes = []gridLane{{"all", "All"}, {"own", "Its own"}}
	for _, b := range backfills {
		part.Lanes = append(part.Lanes, gridLane{b.ID, "Backfill of " + b.From.UTC().Format("2006-01-02") + " to " + b.To.UTC().Format("2006-01-02") + ", by " + b.By})
	}
	if part.Lane == "" {
		part.Lane = "all"
	}
	here := s.to("/schedules/") + p.Name + "/grid?" + url.Values{"lane": {part.Lane}, "n": {strconv.Itoa(f.Limit)}}.Encode()
	if len(fires) == f.Limit {
		part.Older = here + "&cursor=" + url.QueryEscape(fires[len(fires)-1].ID)
	}
	if f.Before != "" {
		part.Newer = here
	}
	part.Live = slices.ContainsFunc(fires, func(f schedule.Fire) bool { return !f.State.Ended() })
	g := grid{site: s, name: p.Name, steps: stepsOf(p.Definition, fires), now: s.cfg.Now()}
	part.Table = g.draw(fires)
	p.Part = part
	return s.showSchedule(w, r, http.StatusOK, p)
}

// stepsOf are the names of the rows: the steps of the definition, then those that
// only old fires have.
func stepsOf(d schedule.Definition, fires []schedule.Fire) []string {
	var names []string
	there := map[string]bool{}
	for _, step := range d.Steps {
		names, there[step.Name] = append(names, step.Name), true
	}
	for _, f := range fires {
		for _, t := range f.Tasks {
			if !there[t.Step] {
				names, there[t.Step] = append(names, t.Step), true
			}
		}
	}
	return names
}

// A grid is a table under way. It is written here and not by a template, which
// takes a second for the thousands of cells that it may have.
type grid struct {
	site  *site
	name  string
	steps []string
	now   time.Time
	b     strings.Builder
}

// draw writes the table of fires, which are newest first; the newest is at the
// right.
func (g *grid) draw(newestFirst []schedule.Fire) template.HTML {
	if len(newestFirst) == 0 {
		return ""
	}
	fires := slices.Clone(newestFirst)
	slices.Reverse(fires)
	g.b.Grow(len(fires)*(200+len(g.steps)*170) + 1000)
	g.b.WriteString(`<table class="s-grid" role="grid" aria-label="Steps by fire"><thead>`)
	hours := g.spans(fires)
	g.heads(fires, hours)
	g.b.WriteString("</thead><tbody>")
	cells := make([]map[string]gridCell, len(fires))
	for i, f := range fires {
		cells[i] = cellsOf(f)
	}
	for _, step := range g.steps {
		g.b.WriteString(`<tr><th scope="row">` + html.EscapeString(step) + "</th>")
		for i, f := range fires {
			g.cell(f, step, cells[i])
		}
		g.b.WriteString("</tr>")
	}
	g.b.WriteString("</tbody></table>")
	return template.HTML(g.b.String()) //nolint:gosec // what is foreign in it was escaped
}

// spans writes the row of days, or of months where a day has few fires, and
// reports whether it is of days.
func (g *grid) spans(fires []schedule.Fire) (days bool) {
	name := func(form string, f schedule.Fire) string { return f.Slot.UTC().Format(form) }
	count := func(form string) int {
		n := 1
		for i := 1; i < len(fires); i++ {
			if name(form, fires[i]) != name(form, fires[i-1]) {
				n++
			}
		}
		return n
	}
	form, part := "Jan 2006", "2006-01"
	if days = len(fires) >= 3*count("2006-01-02"); days {
		form, part = "Jan 2", "2006-01-02"
	}
	g.b.WriteString(`<tr class="s-grid-span"><td></td>`)
	for i := 0; i < len(fires); {
		n := i + 1
		for n < len(fires) && name(part, fires[n]) == name(part, fires[i]) {
			n++
		}
		hidden := ""
		if n-i == 1 && len(fires) > 1 { // there is no room for it
			hidden = ` class="q-vh"`
		}
		g.b.WriteString(`<th scope="colgroup" colspan="` + strconv.Itoa(n-i) + `"><span` + hidden + ">" + name(form, fires[i]) + "</span></th>")
		i = n
	}
	g.b.WriteString("</tr>")
	return days
}

// barHigh is how high the longest bar of the heads is.
const barHigh = 34

// heads writes the row of fires: how long each took as a bar, and its hour or day.
func (g *grid) heads(fires []schedule.Fire, hours bool) {
	longest := 1.0
	for _, f := range fires {
		longest = max(longest, g.took(f))
	}
	form := "02"
	if hours {
		form = "15"
	}
	g.b.WriteString(`<tr><th scope="col" class="s-grid-corner">Step</th>`)
	for _, f := range fires {
		state := fireState(f.State)
		took := g.took(f)
		high := int(math.Ceil(took / longest * barHigh))
		label := f.Slot.UTC().Format("2006-01-02 15:04") + " UTC, " + fireWord(f.State)
		if f.Count > 1 {
			label += fmt.Sprintf(", %d slots", f.Count)
		}
		if took > 0 {
			label += ", " + seconds(took)
		}
		if f.Lane != schedule.LaneSchedule {
			label += ", " + laneWord(f.Lane) + " of " + f.By
		}
		if f.Reason != "" {
			label += ": " + short(f.Reason)
		}
		label = html.EscapeString(label)
		g.b.WriteString(`<th scope="col"><a href="` + g.fireURL(f) + `" aria-label="` + label + `" title="` + label + `"><svg width="16" height="36" aria-hidden="true"><rect class="q-m-` +
			stateName(class(state)) + `" x="2" width="12" y="` + strconv.Itoa(36-max(high, 2)) + `" height="` + strconv.Itoa(max(high, 2)) + `"/></svg>` + f.Slot.UTC().Format(form) + "</a></th>")
	}
	g.b.WriteString("</tr>")
}

func (g *grid) took(f schedule.Fire) float64 {
	if f.Started.IsZero() {
		return 0
	}
	end := f.Finished
	if end.IsZero() {
		end = g.now
	}
	return max(0, end.Sub(f.Started).Seconds())
}

func (g *grid) fireURL(f schedule.Fire) string {
	return g.site.to("/schedules/") + g.name + "/fires/" + f.ID
}

// A gridCell is a step of a fire: all of its tasks together.
type gridCell struct {
	State    schedule.State
	Tasks    int
	Run      string // when it is one
	Reason   string
	From, To time.Time
	Try      int
}

// worst orders the states by how much a person has to know of them.
var worst = []schedule.State{
	schedule.Failed, schedule.TimedOut, schedule.Running, schedule.Ready, schedule.Waiting, schedule.Due, schedule.Cancelled, schedule.Skipped, schedule.Succeeded,
}

func cellsOf(f schedule.Fire) map[string]gridCell {
	cells := make(map[string]gridCell, len(f.Tasks))
	for _, t := range f.Tasks {
		c, there := cells[t.Step]
		c.Tasks++
		if !there || slices.Index(worst, t.State) < slices.Index(worst, c.State) {
			c.State, c.Reason = t.State, t.Reason
			if t.Message != "" {
				c.Reason = t.Message
			}
		}
		if c.Run = t.Run; c.Tasks > 1 {
			c.Run = ""
		}
		if !t.Started.IsZero() && (c.From.IsZero() || t.Started.Before(c.From)) {
			c.From = t.Started
		}
		if t.Finished.After(c.To) {
			c.To = t.Finished
		}
		c.Try = max(c.Try, t.Try)
		cells[t.Step] = c
	}
	return cells
}

// cell writes one step of one fire. A fire that has not begun has no tasks: its
// steps wait, or were skipped, with it.
func (g *grid) cell(f schedule.Fire, step string, cells map[string]gridCell) {
	c, there := cells[step]
	if !there {
		if len(f.Tasks) > 0 { // the step was not in the definition of that fire
			g.b.WriteString("<td></td>")
			return
		}
		c = gridCell{State: f.State, Reason: f.Reason}
	}
	state := fireState(c.State)
	where := g.fireURL(f)
	if c.Run != "" {
		where = g.site.to("/runs/") + c.Run
	}
	said := fireWord(c.State)
	if c.Tasks > 1 {
		said += fmt.Sprintf(", %d runs", c.Tasks)
	}
	tip := step + ", " + f.Slot.UTC().Format("2006-01-02 15:04") + " UTC: " + said
	if !c.From.IsZero() && c.To.After(c.From) {
		tip += ", " + seconds(c.To.Sub(c.From).Seconds())
	}
	if c.Try > 1 {
		tip += fmt.Sprintf(", try %d", c.Try)
	}
	if c.Reason != "" {
		tip += ": " + short(c.Reason)
	}
	g.b.WriteString(`<td><a class="` + class(state) + `" href="` + where + `" aria-label="` + said + `" title="` + html.EscapeString(tip) + `">` + fireSign(c.State) + "</a></td>")
}

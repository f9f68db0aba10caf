package pages

import (
	"fmt"
	"html/template"
	"math"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"quire/internal/chart"
	"quire/internal/compute"
	"quire/internal/job"
	"quire/internal/problem"
	"quire/internal/run"
	"quire/internal/schedule"
)

// maxMarks is how many runs a history shows.
const maxMarks = 90

// drawn is a picture as the templates put it on the page: it was escaped when it
// was drawn.
func drawn(p chart.Picture) template.HTML { return template.HTML(p.Figure()) } //nolint:gosec // see above

// seconds writes the values of an axis of durations.
func seconds(v float64) string {
	if v <= 0 {
		return "0 s"
	}
	if v >= 1 && v < 60 && v == math.Trunc(v) {
		return strconv.FormatFloat(v, 'f', 0, 64) + " s"
	}
	return duration(time.Duration(v * float64(time.Second)))
}

func stateName(c string) string {
	switch c {
	case "q-ok":
		return "ok"
	case "q-bad":
		return "bad"
	case "q-warn":
		return "warn"
	}
	return "busy"
}

// history draws how long runs took and how they ended, oldest first; all are
// newest first. It is empty where there is too little to see.
func (s *site) history(all []run.Run, what string) template.HTML {
	all = all[:min(len(all), maxMarks)]
	if len(all) < 2 {
		return ""
	}
	var marks []chart.Mark
	var took []float64
	good, ended := 0, 0
	for _, r := range slices.Backward(all) {
		d := r.Duration(s.cfg.Now()).Seconds()
		m := chart.Mark{
			Value: d, State: stateName(class(r.State)), Link: s.to("/runs/") + r.ID, When: r.Created.UTC().Format("Jan 2"),
			Label: fmt.Sprintf("%s, %s, %s", r.Created.UTC().Format("2006-01-02 15:04"), word(r.State), seconds(d)),
		}
		if r.State != run.Succeeded {
			m.Sign = sign(r.State)
		}
		if r.State.Ended() {
			ended++
		}
		if r.State == run.Succeeded {
			good++
			took = append(took, d)
		}
		marks = append(marks, m)
	}
	return drawn(chart.History(historyTitle(len(marks), good, ended, took, what), marks, seconds))
}

func historyTitle(n, good, ended int, took []float64, what string) string {
	title := fmt.Sprintf("Duration of the last %d %s", n, what)
	if ended > 0 {
		title += fmt.Sprintf(": %d of %d succeeded", good, ended)
	}
	if len(took) > 0 {
		slices.Sort(took)
		title += ", half of them in less than " + seconds(took[len(took)/2])
	}
	return title
}

// fireHistory draws the fires of a schedule, which are newest first.
func (s *site) fireHistory(fires []schedule.Fire) template.HTML {
	var marks []chart.Mark
	var took []float64
	good, ended := 0, 0
	for _, f := range slices.Backward(fires[:min(len(fires), maxMarks)]) {
		if f.Count > 1 { // slots that were skipped together
			continue
		}
		d := math.NaN()
		if !f.Started.IsZero() {
			end := f.Finished
			if end.IsZero() {
				end = s.cfg.Now()
			}
			d = end.Sub(f.Started).Seconds()
		}
		state := fireState(f.State)
		m := chart.Mark{Value: d, State: stateName(class(state)), When: f.Slot.UTC().Format("Jan 2")}
		if f.State == schedule.Succeeded {
			good++
			took = append(took, d)
		} else {
			m.Sign = fireSign(f.State)
		}
		if f.State.Ended() && f.State != schedule.Skipped {
			ended++
		}
		m.Label = fmt.Sprintf("%s, %s, %s", f.Slot.UTC().Format("2006-01-02 15:04"), fireWord(f.State), seconds(max(d, 0)))
		if len(f.Tasks) == 1 && f.Tasks[0].Run != "" {
			m.Link = s.to("/runs/") + f.Tasks[0].Run
		}
		marks = append(marks, m)
	}
	if len(marks) < 2 {
		return ""
	}
	return drawn(chart.History(historyTitle(len(marks), good, ended, took, "fires"), marks, seconds))
}

// A usagePart is what the container of a run used, as its page shows it.
type usagePart struct {
	Why     string // why there is nothing
	Report  run.UsageReport
	Charts  []template.HTML
	Samples []usageRow
	Every   time.Duration
}

type usageRow struct {
	At     time.Time
	Memory string
	CPU    string
}

// usage shows what the container of a run used over its life, against its limits.
func (s *site) usage(w http.ResponseWriter, r *http.Request) error {
	h, _, err := s.headOf(r, "compute")
	if err != nil {
		return err
	}
	attempt := 0
	if text := r.URL.Query().Get("attempt"); text != "" {
		if attempt, err = strconv.Atoi(text); err != nil || attempt < 1 {
			return problem.New(problem.Invalid, "attempt %.20q: want a number from 1", text)
		}
	}
	report, err := s.cfg.Runs.Usage(r.Context(), user(r), h.Run.ID, attempt)
	if err != nil {
		return err
	}
	part := usagePart{Why: report.Reason, Report: report, Every: time.Duration(report.EverySeconds) * time.Second}
	if part.Why == "" && len(report.Samples) < 2 {
		part.Why = "nothing was measured yet: it ended, or began, within a second"
	}
	if part.Why == "" {
		part.Charts = usageCharts(report.Series)
		part.Samples = usageRows(report.Series, 30)
	}
	h.Body = part
	return s.runPart(w, r, h)
}

// usageTable is the measurements as a table that is drawn: processors in use
// between each two of them, and memory.
func usageTable(series job.Series) *chart.Table {
	names := []string{"time", "processors", "memory", "throttled"}
	return chart.NewTable(names, len(series.Samples), func(r, c int) any {
		one := series.Samples[r]
		switch c {
		case 0:
			return time.UnixMilli(one.At)
		case 2:
			return one.MemoryBytes
		}
		if r == 0 {
			return nil
		}
		before := series.Samples[r-1]
		if one.At <= before.At {
			return nil
		}
		if c == 3 {
			return float64(one.ThrottledMs-before.ThrottledMs) / float64(one.At-before.At)
		}
		return max(0, float64(one.CPUMs-before.CPUMs)/float64(one.At-before.At))
	})
}

// usageCharts draws memory and processors over time, with their limits.
func usageCharts(series job.Series) []template.HTML {
	t := usageTable(series)
	var all []template.HTML
	for _, one := range []struct {
		column, title, limit string
		of                   float64
		value                func(float64) string
	}{
		{"memory", "Memory", "limit " + compute.FormatBytes(series.Limits.MemoryBytes), float64(series.Limits.MemoryBytes), func(v float64) string { return compute.FormatBytes(int64(v)) }},
		{"processors", "Processors in use", "limit " + compute.FormatCPU(series.Limits.CPUMilli), float64(series.Limits.CPUMilli) / 1000, func(v float64) string { return strconv.FormatFloat(v, 'g', 3, 64) }},
	} {
		o := chart.Options{Title: one.title, Height: 240, Value: one.value}
		if one.column == "memory" {
			o.Unit = 1 << 30
			if one.of < 1<<30 {
				o.Unit = 1 << 20
			}
		}
		if one.of > 0 {
			o.Limits = []chart.Limit{{Value: one.of, Label: one.limit}}
		}
		if pic, err := chart.Draw(t, chart.Choice{Form: chart.Line, X: "time", Y: []string{one.column}}, o); err == nil {
			all = append(all, drawn(pic))
		}
	}
	return all
}

// usageRows are the measurements in words, for who cannot see the charts: at most
// limit of them, evenly.
func usageRows(series job.Series, limit int) []usageRow {
	t := usageTable(series)
	cpu := t.Column("processors")
	var rows []usageRow
	step := (len(series.Samples) + limit - 1) / limit
	for i := 0; i < len(series.Samples); i += step {
		row := usageRow{At: time.UnixMilli(series.Samples[i].At), Memory: compute.FormatBytes(series.Samples[i].MemoryBytes)}
		if v := cpu.Num[i]; !math.IsNaN(v) {
			row.CPU = strconv.FormatFloat(v, 'f', 2, 64)
		}
		rows = append(rows, row)
	}
	return rows
}

// A resultChart is a recorded value by a parameter, over the runs of a table.
type resultChart struct {
	X, Y, By string   // what is drawn
	Xs, Ys   []string // what can be
	Picture  template.HTML
	Why      string // why there is none
}

// durationName is how long runs took, among the values that can be drawn.
const durationName = "duration (s)"

// chartOf draws the results of runs as the reader asks in the query for "x", "y"
// and "by", and without one of them as fits.
func (s *site) chartOf(l *runList, rows []runRow, q url.Values) resultChart {
	x, y, by := q.Get("x"), q.Get("y"), q.Get("by")
	c := resultChart{Xs: l.Names, Ys: append(slices.Clone(l.Records), durationName)}
	t := s.resultTable(l, rows)
	if x == "" || t.Column(x) == nil {
		x = mostVaried(t, l.Names)
	}
	if y == "" || t.Column(y) == nil {
		y = firstNumbers(t, c.Ys)
	}
	if !q.Has("by") { // what else was varied, where it is little enough for colours
		others := slices.DeleteFunc(slices.Clone(l.Names), func(name string) bool { return name == x })
		if by = mostVaried(t, others); by != "" && len(values(t, by)) > 8 {
			by = ""
		}
	}
	if t.Column(by) == nil || by == x {
		by = ""
	}
	c.X, c.Y, c.By = x, y, by
	if x == "" || y == "" || len(rows) < 2 {
		return c
	}
	choice := chart.Choice{Form: chart.Scatter, X: x, Y: []string{y}, By: by}
	if col := t.Column(x); col.Kind == chart.Text {
		choice = chart.Choice{Form: chart.Bar, X: x, Y: []string{y}, By: by, Sum: "mean"}
	}
	pic, err := chart.Draw(t, choice, chart.Options{Height: 300, Link: func(row int) string { return s.to("/runs/") + rows[row].ID }})
	if err != nil {
		c.Why = text(err)
		return c
	}
	c.Picture = drawn(pic)
	return c
}

// resultTable is the parameters and records of runs as a table that is drawn.
func (s *site) resultTable(l *runList, rows []runRow) *chart.Table {
	names := slices.Concat(l.Names, l.Records, []string{durationName})
	return chart.NewTable(names, len(rows), func(r, c int) any {
		row := rows[r]
		value := ""
		switch {
		case c < len(l.Names):
			value = row.Params[names[c]]
		case c < len(l.Names)+len(l.Records):
			value = row.Records[names[c]]
		default:
			if d := row.Duration(s.cfg.Now()); d > 0 {
				return d.Seconds()
			}
			return nil
		}
		if value == "" {
			return nil
		}
		if f, err := strconv.ParseFloat(value, 64); err == nil {
			return f
		}
		return value
	})
}

// mostVaried is the parameter with the most values: what a sweep went over.
func mostVaried(t *chart.Table, names []string) string {
	best, most := "", 1
	for _, name := range names {
		if n := len(values(t, name)); n > most {
			best, most = name, n
		}
	}
	return best
}

// values are the different values of a column.
func values(t *chart.Table, name string) map[string]bool {
	seen := map[string]bool{}
	for _, v := range t.Column(name).Text {
		if v != "" {
			seen[v] = true
		}
	}
	return seen
}

// figure shortens a long number, for a column of them; other text stays.
func figure(s string) string {
	if f, err := strconv.ParseFloat(s, 64); err == nil && len(s) > 8 && strings.Contains(s, ".") {
		return strconv.FormatFloat(f, 'g', 6, 64)
	}
	return s
}

// numeric reports whether text is a number.
func numeric(s string) bool {
	_, err := strconv.ParseFloat(s, 64)
	return err == nil
}

// firstNumbers is the first of the values that are numbers.
func firstNumbers(t *chart.Table, names []string) string {
	for _, name := range names {
		if c := t.Column(name); c != nil && c.Kind == chart.Number {
			return name
		}
	}
	return ""
}

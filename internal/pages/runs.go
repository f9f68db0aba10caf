package pages

import (
	"cmp"
	"encoding/json"
	"html/template"
	"net/http"
	"slices"
	"strings"
	"time"

	"quire/internal/engine"
	"quire/internal/parameter"
	"quire/internal/problem"
	"quire/internal/run"
)

const (
	runsPage = 100
	// maxScan is how many runs are looked at for a filter by parameter.
	maxScan    = 5000
	maxColumns = 30 // of each kind in the table of results
)

// A runRow is one run in a list.
type runRow struct {
	run.Run
	Given   []named // the parameters that it was given
	Records map[string]string
	Params  map[string]string
}

type named struct{ Name, Value string }

// A day is the runs of one day, newest first.
type day struct {
	Name string
	Runs []runRow
}

// A runList is what the page of runs shows.
type runList struct {
	Filter    run.Filter
	Parameter string // name=value
	Single    bool   // they are runs of one notebook, so that they have a table of results
	Results   bool
	Days      []day
	Rows      []runRow // of the table of results
	Names     []string // its parameters
	Records   []string // its recorded values
	Next      string
	List      string // address of the same runs as a list
	Table     string // and as a table
	States    []run.State
	Filtered  bool
	More      bool          // runs were left out of the table
	History   template.HTML // durations and ends of one notebook's runs
	Chart     resultChart   // of the results
}

// runs lists runs by day, or the results of one notebook's runs as a table.
func (s *site) runs(w http.ResponseWriter, r *http.Request) error {
	q := r.URL.Query()
	l := runList{
		Filter: run.Filter{
			Notebook: strings.Trim(q.Get("notebook"), "/"), Owner: strings.TrimSpace(q.Get("owner")), State: run.State(q.Get("state")),
			Template: q.Get("template"), Tag: q.Get("tag"), Before: q.Get("cursor"), Limit: runsPage,
		},
		Parameter: strings.TrimSpace(q.Get("parameter")), States: states,
	}
	l.Single = l.Filter.Notebook+l.Filter.Template != "" || strings.HasPrefix(l.Filter.Tag, "sweep:")
	l.Results = q.Get("view") == "results" && l.Single
	l.Filtered = l.Filter.Template != "" || l.Filter.Owner != "" || l.Filter.Notebook != "" || l.Filter.State != "" || l.Filter.Tag != "" || l.Parameter != ""
	all, next, err := s.findRuns(r, l.Filter, l.Parameter)
	if err != nil {
		return err
	}
	rows := make([]runRow, len(all))
	for i, one := range all {
		rows[i] = rowOf(one)
	}
	if l.Results {
		l.table(rows)
		l.More = next != ""
		l.Chart = s.chartOf(&l, rows, q)
	} else {
		l.Days = days(rows, s.cfg.Now())
		if l.Filter.Notebook != "" {
			l.History = s.history(all, "runs")
		}
	}
	if next != "" {
		q.Set("cursor", next)
		l.Next = s.to("/runs?") + q.Encode()
	}
	q.Del("cursor")
	q.Del("view")
	l.List = s.to("/runs?") + q.Encode()
	q.Set("view", "results")
	l.Table = s.to("/runs?") + q.Encode()
	title := "Runs"
	if l.Results {
		title = "Results"
	}
	return s.show(w, r, http.StatusOK, "runs", view{Title: title, Section: "runs", Data: l})
}

// findRuns returns a page of runs and the cursor of the next. A parameter,
// "name=value", is looked for in the newest runs that the filter lets through.
func (s *site) findRuns(r *http.Request, f run.Filter, given string) (found []run.Run, next string, err error) {
	name, value, pair := strings.Cut(given, "=")
	name, value = strings.TrimSpace(name), strings.TrimSpace(value)
	for scanned := 0; ; {
		all, err := s.cfg.Runs.List(r.Context(), user(r), f)
		if err != nil {
			return nil, "", err
		}
		for _, one := range all {
			f.Before = one.ID
			if given == "" || has(one, name, value, pair) {
				found = append(found, one)
			}
			if len(found) == runsPage {
				return found, f.Before, nil
			}
		}
		scanned += len(all)
		if len(all) < f.Limit {
			return found, "", nil
		}
		if scanned >= maxScan {
			return found, f.Before, nil
		}
		f.Limit = 500
	}
}

// has reports whether a run was given a parameter, and with that value.
func has(one run.Run, name, value string, pair bool) bool {
	set, err := parameter.FromJSON("", one.Parameters)
	if err != nil {
		return false
	}
	v, ok := set.Get(name)
	return ok && (!pair || display(v) == value || v.String() == value)
}

const maxShown = 80 // runes of a value in a list

func short(s string) string {
	if runes := []rune(s); len(runes) > maxShown {
		return string(runes[:maxShown-1]) + "…"
	}
	return s
}

func rowOf(one run.Run) runRow {
	row := runRow{Run: one, Params: map[string]string{}, Records: map[string]string{}}
	if set, err := parameter.FromJSON("", one.Parameters); err == nil {
		for name, v := range set.All() {
			value := short(display(v))
			row.Given = append(row.Given, named{name, value})
			row.Params[name] = value
		}
	}
	if res := resultOf(one); res != nil {
		for _, rec := range res.Records {
			text := string(rec.Value)
			if v, err := parameter.ParseJSON(rec.Value); err == nil {
				text = display(v)
			}
			row.Records[rec.Name] = short(text)
		}
	}
	return row
}

// table takes the columns of the results from the rows.
func (l *runList) table(rows []runRow) {
	names, records := map[string]bool{}, map[string]bool{}
	for _, one := range rows {
		for name := range one.Params {
			names[name] = true
		}
		for name := range one.Records {
			records[name] = true
		}
	}
	l.Rows, l.Names, l.Records = rows, columns(names), columns(records)
}

func columns(set map[string]bool) []string {
	var names []string
	for name := range set {
		names = append(names, name)
	}
	slices.SortFunc(names, cmp.Compare)
	return names[:min(len(names), maxColumns)]
}

func days(rows []runRow, now time.Time) []day {
	var all []day
	for _, one := range rows {
		name := dayName(one.Created, now)
		if len(all) == 0 || all[len(all)-1].Name != name {
			all = append(all, day{Name: name})
		}
		last := &all[len(all)-1]
		last.Runs = append(last.Runs, one)
	}
	return all
}

func dayName(t, now time.Time) string {
	const form = "Monday, 2 January 2006"
	switch t.UTC().Format(form) {
	case now.UTC().Format(form):
		return "Today"
	case now.UTC().AddDate(0, 0, -1).Format(form):
		return "Yesterday"
	}
	return t.UTC().Format(form)
}

func resultOf(r run.Run) *engine.Result {
	if len(r.Result) == 0 {
		return nil
	}
	var res struct {
		engine.Result
		Parameters json.RawMessage `json:"parameters"`
	}
	if json.Unmarshal(r.Result, &res) != nil {
		return nil
	}
	return &res.Result
}

func (s *site) cancel(w http.ResponseWriter, r *http.Request) error {
	id := r.PathValue("id")
	_, err := s.cfg.Runs.Cancel(r.Context(), user(r), id)
	if err != nil && !problem.Is(err, problem.Conflict) { // it ended meanwhile: its page says so
		return err
	}
	return s.redirect(w, r, s.to("/runs/")+id)
}

func (s *site) retry(w http.ResponseWriter, r *http.Request) error {
	created, err := s.cfg.Runs.Retry(r.Context(), user(r), r.PathValue("id"))
	if err != nil {
		return err
	}
	return s.redirect(w, r, s.to("/runs/")+created.ID)
}

package pages

import (
	"encoding/json"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"

	"quire/internal/parameter"
	"quire/internal/problem"
	"quire/internal/run"
)

// A sweepForm is the form that runs a notebook with many values. Each field
// takes several, one a line.
type sweepForm struct {
	*runForm
	Typed   map[string]string // by name of the parameter
	Rows    [][]string        // the runs that would be started
	Names   []string          // of the columns
	Shown   bool              // the runs were asked to be shown
	MaxRuns int
}

// sweepForm shows the form.
func (s *site) sweepForm(w http.ResponseWriter, r *http.Request) error {
	f, err := s.sweepFor(r)
	if err != nil {
		return err
	}
	return s.showSweep(w, r, http.StatusOK, f)
}

func (s *site) sweepFor(r *http.Request) (*sweepForm, error) {
	base, err := s.formFor(r)
	if err != nil {
		return nil, err
	}
	return &sweepForm{runForm: base, Typed: map[string]string{}, MaxRuns: run.MaxSweep}, nil
}

func (s *site) showSweep(w http.ResponseWriter, r *http.Request, status int, f *sweepForm) error {
	name := strings.TrimSuffix(f.Path[strings.LastIndexByte(f.Path, '/')+1:], ".ipynb")
	return s.show(w, r, status, "sweep", view{Title: "Sweep " + name, Section: f.section(), Crumbs: s.crumbs(f.Path), Data: f})
}

// startSweep shows the runs that the values make, or starts them.
func (s *site) startSweep(w http.ResponseWriter, r *http.Request) error {
	if err := readForm(r); err != nil {
		return err
	}
	f, err := s.sweepFor(r)
	if err != nil {
		return err
	}
	f.takeValues(r.PostForm)
	req, err := f.sweep()
	if err == nil && !f.bad() {
		req.Preview = r.PostForm.Has("preview")
		var made run.Sweep
		made, err = s.cfg.Runs.Sweep(r.Context(), user(r), req)
		if err == nil && !req.Preview {
			return s.redirect(w, r, s.to("/runs?view=results&tag=")+url.QueryEscape(made.Tag))
		}
		f.rows(made.Sets)
	}
	switch {
	case problem.Is(err, problem.Invalid), problem.Is(err, problem.TooLarge):
		f.Error = text(err)
	case err != nil:
		return err
	}
	if f.bad() {
		f.Shown = false
		return s.showSweep(w, r, http.StatusBadRequest, f)
	}
	return s.showSweep(w, r, http.StatusOK, f)
}

func (f *sweepForm) takeValues(form url.Values) {
	f.take(form)
	for _, d := range f.Fields {
		f.Typed[d.Name] = strings.ReplaceAll(form.Get("v."+d.Name), "\r\n", "\n")
	}
}

// sweep is the request of what was typed.
func (f *sweepForm) sweep() (run.SweepRequest, error) {
	f.Secrets = boundSecrets(f.Fields)
	base, err := f.request(parameter.Set{})
	if err != nil {
		return run.SweepRequest{}, err
	}
	base.IdempotencyKey = "sweep " + f.Nonce
	var grid parameter.Set
	for i := range f.Fields {
		d := &f.Fields[i]
		if d.Widget == "secret" {
			continue // the same in all of them
		}
		values, err := d.values(f.Typed[d.Name])
		if err != nil {
			d.Problem = text(err)
		}
		if len(values) > 0 {
			grid.Put(d.Name, parameter.List(values...))
		}
	}
	if grid.Len() == 0 && !f.bad() {
		return run.SweepRequest{}, problem.New(problem.Invalid, "every field is empty: give at least one of them values, one a line")
	}
	data, err := grid.MarshalJSON()
	return run.SweepRequest{Request: base, Grid: data}, err
}

// rangePattern is 1..10 and 0..1 step 0.25.
var rangePattern = regexp.MustCompile(`^(-?\d+(?:\.\d+)?)\s*\.\.\s*(-?\d+(?:\.\d+)?)(?:\s+step\s+(\d+(?:\.\d+)?))?$`)

// values reads what was typed into a field: a value a line, or a range of
// numbers.
func (d *field) values(typed string) ([]parameter.Value, error) {
	var all []parameter.Value
	for line := range strings.Lines(typed) {
		line = strings.TrimSpace(line)
		if line == "" {
			continue
		}
		if m := rangePattern.FindStringSubmatch(line); m != nil && d.Widget == "number" {
			more, err := span(m[1], m[2], m[3], d.Type == parameter.TypeInt)
			if err != nil {
				return nil, err
			}
			all = append(all, more...)
			continue
		}
		one := *d
		one.Value, one.Initial, one.Default, one.Checked = line, "", nil, line == "true" || line == "True" || line == "1"
		if d.Widget == "checkbox" {
			all = append(all, parameter.FromFlag(line))
			continue
		}
		if v, ok := one.value(); ok {
			all = append(all, v)
		}
	}
	if len(all) > run.MaxSweep {
		return nil, problem.New(problem.Invalid, "%d values, at most %d", len(all), run.MaxSweep)
	}
	return all, nil
}

// span is the numbers from one to another, both included.
func span(from, to, step string, whole bool) ([]parameter.Value, error) {
	a, err1 := strconv.ParseFloat(from, 64)
	b, err2 := strconv.ParseFloat(to, 64)
	by := 1.0
	var err3 error
	if step != "" {
		by, err3 = strconv.ParseFloat(step, 64)
	}
	if err1 != nil || err2 != nil || err3 != nil || by <= 0 || b < a {
		return nil, problem.New(problem.Invalid, "%s..%s: want a range such as 1..10 or 0..1 step 0.25", from, to)
	}
	n := int((b-a)/by + 1e-9)
	if n >= run.MaxSweep {
		return nil, problem.New(problem.Invalid, "%s..%s has %d values, at most %d", from, to, n+1, run.MaxSweep)
	}
	var all []parameter.Value
	for i := range n + 1 {
		v := a + float64(i)*by
		if whole && v == float64(int64(v)) {
			all = append(all, parameter.Int(int64(v)))
		} else {
			all = append(all, parameter.FromFlag(strconv.FormatFloat(v, 'g', 12, 64)))
		}
	}
	return all, nil
}

// rows are the sets of parameters as a table.
func (f *sweepForm) rows(sets []json.RawMessage) {
	f.Shown = true
	seen := map[string]bool{}
	var parsed []parameter.Set
	for _, one := range sets {
		set, err := parameter.FromJSON("", one)
		if err != nil {
			continue
		}
		parsed = append(parsed, set)
		for _, name := range set.Names() {
			if !seen[name] {
				seen[name] = true
				f.Names = append(f.Names, name)
			}
		}
	}
	for _, set := range parsed {
		var row []string
		for _, name := range f.Names {
			v, _ := set.Get(name)
			row = append(row, short(display(v)))
		}
		f.Rows = append(f.Rows, row)
	}
}

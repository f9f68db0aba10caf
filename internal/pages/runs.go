package pages

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"quire/internal/engine"
	"quire/internal/notebook"
	"quire/internal/parameter"
	"quire/internal/problem"
	"quire/internal/run"
	"quire/internal/viewer"
)

// runForm shows the form that turns a notebook into a run.
func (s *site) runForm(w http.ResponseWriter, r *http.Request) error {
	p := strings.Trim(r.PathValue("path"), "/")
	nb, number, err := s.load(r, p)
	if err != nil {
		return err
	}
	return s.showForm(w, r, http.StatusOK, p, number, fieldsOf(nb, nil), "")
}

// A field is one parameter in the form.
type field struct {
	Name, Type, Help, Default, Value string
	Choices                          []string
	Problem                          string
}

func (s *site) showForm(w http.ResponseWriter, r *http.Request, status int, p string, number int64, fields []field, failure string) error {
	return s.show(w, r, status, "runform", view{Title: "Run " + p, Section: "runs", Crumbs: crumbs(p), Data: map[string]any{
		"Path": p, "Version": number, "Fields": fields, "Error": failure,
	}})
}

// fieldsOf makes a form from the notebook's parameters cell; values are what a
// person has typed already.
func fieldsOf(nb *notebook.Notebook, values url.Values) []field {
	i := nb.ParametersCell()
	if i < 0 {
		return nil
	}
	definitions, _ := parameter.Inspect(nb.Language(), nb.Cells[i].Source)
	var fields []field
	for _, d := range definitions {
		f := field{Name: d.Name, Type: d.Type, Help: d.Help, Default: d.Default}
		if values != nil {
			f.Value = values.Get("p." + d.Name)
		}
		fields = append(fields, f)
	}
	return fields
}

// submit queues a run from the form.
func (s *site) submit(w http.ResponseWriter, r *http.Request) error {
	p := strings.Trim(r.PathValue("path"), "/")
	if err := r.ParseForm(); err != nil {
		return problem.WrapAs(problem.Invalid, err, "reading the form")
	}
	var set parameter.Set
	for key, values := range r.PostForm {
		name, ok := strings.CutPrefix(key, "p.")
		if ok && len(values) > 0 && values[0] != "" {
			set.Put(name, parameter.FromFlag(values[0]))
		}
	}
	raw, err := json.Marshal(set)
	if err != nil {
		return err
	}
	created, err := s.cfg.Runs.Submit(r.Context(), user(r), run.Request{Notebook: p, Parameters: raw})
	if problem.Is(err, problem.Invalid) {
		nb, number, loadErr := s.load(r, p)
		if loadErr != nil {
			return loadErr
		}
		return s.showForm(w, r, http.StatusBadRequest, p, number, fieldsOf(nb, r.PostForm), err.Error())
	}
	if err != nil {
		return err
	}
	http.Redirect(w, r, "/runs/"+created.ID, http.StatusSeeOther)
	return nil
}

func (s *site) runs(w http.ResponseWriter, r *http.Request) error {
	q := r.URL.Query()
	f := run.Filter{
		Notebook: strings.Trim(q.Get("notebook"), "/"), Owner: q.Get("owner"), State: run.State(q.Get("state")),
		Before: q.Get("cursor"), Limit: 100,
	}
	all, err := s.cfg.Runs.List(r.Context(), user(r), f)
	if err != nil {
		return err
	}
	next := ""
	if len(all) == f.Limit {
		q.Set("cursor", all[len(all)-1].ID)
		next = "?" + q.Encode()
	}
	return s.show(w, r, http.StatusOK, "runs", view{Title: "Runs", Section: "runs", Live: true, Data: map[string]any{
		"Runs": all, "Filter": f, "Next": next,
	}})
}

// run shows a run: what it is, how it stands, and its notebook as far as it has
// come. While it goes on, a script puts in the cells that have finished.
func (s *site) run(w http.ResponseWriter, r *http.Request) error {
	id := r.PathValue("id")
	found, err := s.cfg.Runs.Get(r.Context(), user(r), id)
	if err != nil {
		return err
	}
	nb, err := s.cfg.Runs.Output(r.Context(), user(r), id)
	if err != nil {
		return err
	}
	v := view{Title: found.Name(), Section: "runs", Live: !found.State.Ended(), Data: map[string]any{
		"Run": found, "Result": resultOf(found), "Duration": found.Duration(s.cfg.Now()),
	}}
	return s.stream(w, r, v, nb, s.runOptions(found))
}

func (s *site) runOptions(found run.Run) viewer.Options {
	at := escapePath(found.Notebook)
	return viewer.Options{
		Fragment: true, Cache: s.cache, Title: found.Name(),
		FrameURL: func(cell, output int) string {
			return "/runs/" + found.ID + "/frame?cell=" + strconv.Itoa(cell) + "&output=" + strconv.Itoa(output)
		},
		Byline: []string{"run " + found.ID, "by " + found.Owner},
		Actions: []viewer.Action{
			{Label: "Run again with other parameters", URL: "/run/" + at, Primary: true},
			{Label: "Source", URL: "/view/" + at + "?version=" + strconv.FormatInt(found.Version, 10)},
			{Label: "Download", URL: "/api/runs/" + found.ID + "/output"},
		},
	}
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

// runCell shows one cell of a run as it is now, for the live page.
func (s *site) runCell(w http.ResponseWriter, r *http.Request) error {
	found, err := s.cfg.Runs.Get(r.Context(), user(r), r.PathValue("id"))
	if err != nil {
		return err
	}
	nb, err := s.cfg.Runs.Output(r.Context(), user(r), found.ID)
	if err != nil {
		return err
	}
	index, err := strconv.Atoi(r.PathValue("index"))
	if err != nil {
		return problem.New(problem.NotFound, "no such cell")
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	return viewer.RenderCell(w, nb, index, s.runOptions(found))
}

func (s *site) runFrame(w http.ResponseWriter, r *http.Request) error {
	nb, err := s.cfg.Runs.Output(r.Context(), user(r), r.PathValue("id"))
	if err != nil {
		return err
	}
	return writeFrame(w, r, nb)
}

func (s *site) cancel(w http.ResponseWriter, r *http.Request) error {
	id := r.PathValue("id")
	if _, err := s.cfg.Runs.Cancel(r.Context(), user(r), id); err != nil {
		return err
	}
	http.Redirect(w, r, "/runs/"+id, http.StatusSeeOther)
	return nil
}

func (s *site) retry(w http.ResponseWriter, r *http.Request) error {
	created, err := s.cfg.Runs.Retry(r.Context(), user(r), r.PathValue("id"))
	if err != nil {
		return err
	}
	http.Redirect(w, r, "/runs/"+created.ID, http.StatusSeeOther)
	return nil
}

// diff compares two notebooks: files, versions of files, or outputs of runs.
// Each side is a path, a path@version, or run:ID.
func (s *site) diff(w http.ResponseWriter, r *http.Request) error {
	a, err := s.side(r, r.URL.Query().Get("a"))
	if err != nil {
		return err
	}
	b, err := s.side(r, r.URL.Query().Get("b"))
	if err != nil {
		return err
	}
	d := viewer.Compare(a, b)
	return s.writeDiff(w, r, d)
}

func (s *site) side(r *http.Request, name string) (*notebook.Notebook, error) {
	if id, ok := strings.CutPrefix(name, "run:"); ok {
		return s.cfg.Runs.Output(r.Context(), user(r), id)
	}
	p, version, _ := strings.Cut(name, "@")
	clone := r.Clone(r.Context())
	clone.URL.RawQuery = url.Values{"version": {version}}.Encode()
	nb, _, err := s.load(clone, strings.Trim(p, "/"))
	return nb, err
}

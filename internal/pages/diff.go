package pages

import (
	"io"
	"net/http"
	"strconv"
	"strings"

	"quire/internal/notebook"
	"quire/internal/problem"
	"quire/internal/viewer"
)

func number(text string) (int64, error) {
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < 1 {
		return 0, problem.New(problem.Invalid, "%.20q: want the number of a version", text)
	}
	return n, nil
}

// A comparison is the form that chooses the sides of a difference.
type comparison struct{ A, B, Problem string }

// diff compares two notebooks: files, versions of files, or outputs of runs.
// Each side is a path, a path@version, or run:ID.
func (s *site) diff(w http.ResponseWriter, r *http.Request) error {
	c := comparison{A: r.URL.Query().Get("a"), B: r.URL.Query().Get("b")}
	v := view{Title: "Compare", Section: "files", Data: c}
	if c.A == "" || c.B == "" {
		return s.show(w, r, http.StatusOK, "diff", v)
	}
	a, err := s.side(r, c.A)
	var b *notebook.Notebook
	if err == nil {
		b, err = s.side(r, c.B)
	}
	switch problem.KindOf(err) {
	case problem.NotFound, problem.Invalid, problem.Denied:
		if err != nil {
			c.Problem = text(err)
			v.Data = c
			return s.show(w, r, http.StatusNotFound, "diff", v)
		}
	}
	if err != nil {
		return err
	}
	opts := viewer.Options{Fragment: true, Cache: s.cache, Title: "Compare", Lead: func(w io.Writer) error {
		return s.look()["diff"].ExecuteTemplate(w, "sides", c)
	}}
	if err := s.begin(w, r, v); err != nil {
		return err
	}
	if err := viewer.RenderDiff(w, viewer.Compare(a, b), opts); err != nil {
		return err
	}
	return s.end(w)
}

func (s *site) side(r *http.Request, name string) (*notebook.Notebook, error) {
	if id, ok := strings.CutPrefix(name, "run:"); ok {
		return s.cfg.Runs.Output(r.Context(), user(r), id)
	}
	p, version, _ := cutVersion(name)
	nb, _, err := s.loadVersion(r, strings.Trim(p, "/"), version)
	return nb, err
}

// cutVersion parts "path@7". A name may hold an @: only digits behind the last
// one are a version.
func cutVersion(name string) (path, version string, ok bool) {
	if i := strings.LastIndexByte(name, '@'); i >= 0 {
		if _, err := number(name[i+1:]); err == nil {
			return name[:i], name[i+1:], true
		}
	}
	return name, "", false
}

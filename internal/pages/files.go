package pages

import (
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"quire/internal/contents"
	"quire/internal/notebook"
	"quire/internal/problem"
	"quire/internal/run"
	"quire/internal/viewer"
)

// A row is one line of a listing.
type row struct {
	contents.Entry
	URL  string
	Last *run.Run // of the notebook's runs; nil when there is none
}

const pageSize = 200

// workspace lists a directory.
func (s *site) workspace(w http.ResponseWriter, r *http.Request) error {
	p := strings.Trim(r.PathValue("path"), "/")
	q := r.URL.Query()
	opt := contents.ListOptions{
		Sort: contents.Sort(q.Get("sort")), Filter: q.Get("filter"), Cursor: q.Get("cursor"), Limit: pageSize,
	}
	page, err := s.cfg.Volume.List(r.Context(), user(r), p, opt)
	if err != nil {
		return err
	}
	rows := make([]row, len(page.Entries))
	for i, e := range page.Entries {
		rows[i] = row{Entry: e, URL: entryURL(e)}
		if e.Type != contents.Notebook {
			continue
		}
		last, err := s.cfg.Runs.List(r.Context(), user(r), run.Filter{Notebook: e.Path, Limit: 1})
		if err != nil {
			return err
		}
		if len(last) > 0 {
			rows[i].Last = &last[0]
		}
	}
	next := ""
	if page.Next != "" {
		q.Set("cursor", page.Next)
		next = "?" + q.Encode()
	}
	title := "Workspaces"
	if p != "" {
		title = p
	}
	return s.show(w, r, http.StatusOK, "workspace", view{Title: title, Section: "files", Crumbs: crumbs(p), Live: true, Data: map[string]any{
		"Path": p, "Rows": rows, "Next": next, "Total": page.Total, "Sort": string(opt.Sort), "Filter": opt.Filter,
		"Users": p == "users",
	}})
}

func entryURL(e contents.Entry) string {
	return "/view/" + escapePath(e.Path)
}

// load reads the notebook at p, or one version of it ("version" in the query).
func (s *site) load(r *http.Request, p string) (*notebook.Notebook, int64, error) {
	var body io.ReadCloser
	var number int64
	if id := r.URL.Query().Get("version"); id != "" {
		n, err := strconv.ParseInt(id, 10, 64)
		if err != nil {
			return nil, 0, problem.New(problem.Invalid, "version: want a number")
		}
		_, opened, err := s.cfg.Volume.OpenVersion(r.Context(), user(r), p, n)
		if err != nil {
			return nil, 0, err
		}
		body, number = opened, n
	} else {
		e, opened, err := s.cfg.Volume.Read(r.Context(), user(r), p)
		if err != nil {
			return nil, 0, err
		}
		body, number = opened, e.Version
	}
	defer body.Close()
	nb, err := notebook.Read(body)
	return nb, number, problem.Wrap(err, "reading %s", p)
}

// view shows a file.
func (s *site) view(w http.ResponseWriter, r *http.Request) error {
	p := strings.Trim(r.PathValue("path"), "/")
	e, err := s.cfg.Volume.Stat(r.Context(), user(r), p)
	if err != nil {
		return err
	}
	switch e.Type {
	case contents.Directory:
		return s.workspace(w, r)
	case contents.Notebook:
		return s.viewNotebook(w, r, p)
	}
	return s.viewFile(w, r, e)
}

func (s *site) viewNotebook(w http.ResponseWriter, r *http.Request, p string) error {
	nb, number, err := s.load(r, p)
	if err != nil {
		return err
	}
	at := escapePath(p)
	opts := s.options(at, number)
	opts.HideCode = r.URL.Query().Get("code") == "0"
	opts.Byline = []string{p}
	if number > 0 {
		opts.Byline = append(opts.Byline, "version "+strconv.FormatInt(number, 10))
	}
	opts.Actions = []viewer.Action{
		{Label: "Run with parameters", URL: "/run/" + at, Primary: true},
		{Label: "Runs", URL: "/runs?notebook=" + url.QueryEscape(p)},
		{Label: "Versions", URL: "/versions/" + at},
		{Label: "Download", URL: "/files/" + at + "?download=1"},
	}
	return s.stream(w, r, view{Title: p, Section: "files", Crumbs: crumbs(p)}, nb, opts)
}

// options says where the parts of the notebook at the escaped path are.
func (s *site) options(at string, number int64) viewer.Options {
	return viewer.Options{
		Fragment: true, Cache: s.cache,
		FrameURL: func(cell, output int) string {
			return "/frame/" + at + "?version=" + strconv.FormatInt(number, 10) + "&cell=" + strconv.Itoa(cell) + "&output=" + strconv.Itoa(output)
		},
	}
}

// stream writes a page around a notebook as the notebook is rendered.
func (s *site) stream(w http.ResponseWriter, r *http.Request, v view, nb *notebook.Notebook, opts viewer.Options) error {
	v.Now, v.User = s.cfg.Now(), user(r)
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", csp)
	h.Set("Cache-Control", "no-store")
	if err := templates["file"].ExecuteTemplate(w, "before", v); err != nil {
		return err
	}
	_ = http.NewResponseController(w).Flush()
	if err := viewer.Render(w, nb, opts); err != nil {
		return err
	}
	return templates["file"].ExecuteTemplate(w, "after", v)
}

// frame shows one output that needs script, in a document of its own without
// an origin.
func (s *site) frame(w http.ResponseWriter, r *http.Request) error {
	nb, _, err := s.load(r, strings.Trim(r.PathValue("path"), "/"))
	if err != nil {
		return err
	}
	return writeFrame(w, r, nb)
}

func writeFrame(w http.ResponseWriter, r *http.Request, nb *notebook.Notebook) error {
	cell, err1 := strconv.Atoi(r.URL.Query().Get("cell"))
	output, err2 := strconv.Atoi(r.URL.Query().Get("output"))
	if err1 != nil || err2 != nil || cell < 0 || cell >= len(nb.Cells) || output < 0 || output >= len(nb.Cells[cell].Outputs) {
		return problem.New(problem.NotFound, "the notebook has no such output")
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", viewer.FrameCSP("")+"; frame-ancestors 'self'")
	return viewer.RenderFrame(w, nb.Cells[cell].Outputs[output], "")
}

// maxText is how much of a text file a page shows, in bytes.
const maxText = 1 << 20

// viewFile shows a file that is no notebook: its text, or where to get it.
func (s *site) viewFile(w http.ResponseWriter, r *http.Request, e contents.Entry) error {
	data := map[string]any{"Entry": e, "Raw": "/files/" + escapePath(e.Path)}
	switch {
	case strings.HasPrefix(e.Mime, "image/") && e.Mime != "image/svg+xml":
		data["Image"] = true
	default:
		_, body, err := s.cfg.Volume.Read(r.Context(), user(r), e.Path)
		if err != nil {
			return err
		}
		defer body.Close()
		text, err := io.ReadAll(io.LimitReader(body, maxText))
		if err != nil {
			return err
		}
		if strings.ToValidUTF8(string(text), "") == string(text) {
			data["Text"], data["Cut"] = string(text), e.Size > maxText
		}
	}
	return s.show(w, r, http.StatusOK, "file", view{Title: e.Path, Section: "files", Crumbs: crumbs(e.Path), Data: data})
}

// versions lists the versions of a file.
func (s *site) versions(w http.ResponseWriter, r *http.Request) error {
	p := strings.Trim(r.PathValue("path"), "/")
	all, err := s.cfg.Volume.Versions(r.Context(), user(r), p, 0, 200)
	if err != nil {
		return err
	}
	return s.show(w, r, http.StatusOK, "versions", view{Title: "Versions of " + p, Section: "files", Crumbs: crumbs(p), Data: map[string]any{
		"Path": p, "Versions": all, "Notebook": strings.HasSuffix(p, ".ipynb"),
	}})
}

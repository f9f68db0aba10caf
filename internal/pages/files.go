package pages

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"io"
	"mime"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strconv"
	"strings"

	"quire/internal/contents"
	"quire/internal/notebook"
	"quire/internal/problem"
	"quire/internal/viewer"
)

// load reads the notebook at p, or one version of it ("version" in the query).
func (s *site) load(r *http.Request, p string) (*notebook.Notebook, int64, error) {
	return s.loadVersion(r, p, r.URL.Query().Get("version"))
}

func (s *site) loadVersion(r *http.Request, p, version string) (*notebook.Notebook, int64, error) {
	body, number, err := s.open(r, p, version)
	if err != nil {
		return nil, 0, err
	}
	defer body.Close()
	nb, err := notebook.Read(body)
	return nb, number, problem.Wrap(err, "reading %s", p)
}

// open opens the file at p, or one version of it.
func (s *site) open(r *http.Request, p, version string) (io.ReadCloser, int64, error) {
	if name, ok := s.templateName(p); ok {
		_, source, number, err := s.openTemplate(r, name, version)
		return io.NopCloser(bytes.NewReader(source)), int64(number), err
	}
	if version == "" {
		e, body, err := s.cfg.Volume.Read(r.Context(), user(r), p)
		return body, e.Version, err
	}
	n, err := strconv.ParseInt(version, 10, 64)
	if err != nil {
		return nil, 0, problem.New(problem.Invalid, "version: want a number")
	}
	_, body, err := s.cfg.Volume.OpenVersion(r.Context(), user(r), p, n)
	return body, n, err
}

func pathOf(r *http.Request) string { return strings.Trim(r.PathValue("path"), "/") }

// view shows a directory, a notebook or another file.
func (s *site) view(w http.ResponseWriter, r *http.Request) error {
	if name, ok := s.templateName(pathOf(r)); ok {
		return s.viewTemplate(w, r, name)
	}
	e, err := s.cfg.Volume.Stat(r.Context(), user(r), pathOf(r))
	if at, version, ok := cutVersion(pathOf(r)); ok && problem.Is(err, problem.NotFound) {
		q := r.URL.Query()
		q.Set("version", version)
		http.Redirect(w, r, s.to("/view/")+escapePath(at)+"?"+q.Encode(), http.StatusFound)
		return nil
	}
	if err != nil {
		return err
	}
	switch e.Type {
	case contents.Directory:
		return s.workspace(w, r, e)
	case contents.Notebook:
		return s.viewNotebook(w, r, e)
	}
	return s.viewFile(w, r, e)
}

func (s *site) viewNotebook(w http.ResponseWriter, r *http.Request, e contents.Entry) error {
	q := r.URL.Query()
	body, number, err := s.open(r, e.Path, q.Get("version"))
	if err != nil {
		return err
	}
	defer body.Close()
	book, err := notebook.ReadBook(body)
	if err != nil {
		return problem.Wrap(err, "reading %s", e.Path)
	}
	if as := q.Get("as"); as != "" {
		nb, err := book.Whole()
		if err != nil {
			return err
		}
		return export(w, nb, strings.TrimSuffix(e.Name, path.Ext(e.Name)), as)
	}
	at := escapePath(e.Path)
	pinned := ""
	if q.Get("version") != "" {
		pinned = "?version=" + strconv.FormatInt(number, 10)
	}
	opts := s.options(e.Path, number)
	opts.Cell = book.Cell
	opts.HideCode = q.Get("code") == "0"
	opts.Byline = []string{e.Name}
	if number > 0 {
		opts.Byline = append(opts.Byline, "version "+strconv.FormatInt(number, 10))
	}
	if pinned == "" {
		known, err := s.cfg.Volume.Trusted(r.Context(), user(r), e.Path, e.Hash)
		if err != nil {
			return err
		}
		if !known {
			opts.Byline = append(opts.Byline, "not yet run or saved by you")
		}
	}
	opts.Actions = []viewer.Action{
		{Label: "Run with parameters", URL: s.to("/run/") + at + pinned, Primary: true},
		{Label: "Clone to my workspace", URL: s.to("/clone/") + at + pinned, Post: true},
		{Label: "Schedule", URL: s.to("/schedule/") + at},
		{Label: "Runs", URL: s.to("/runs?notebook=") + url.QueryEscape(e.Path)},
		{Label: "Versions", URL: s.to("/versions/") + at},
		downloads(s.to("/view/")+at, pinned),
	}
	opts.Actions = s.editors(r, e.Path, pinned, opts.Actions)
	if e.Writable {
		opts.Actions = append(opts.Actions, viewer.Action{Label: "More", Menu: []viewer.Action{
			{Label: "Publish as template", URL: s.to("/publish/") + at},
			{Label: "Rename or move", URL: s.to("/rename/") + at},
			{Label: "Duplicate", URL: s.to("/duplicate/") + at, Post: true},
			{Label: "Delete", URL: s.to("/delete/") + at, Post: true},
		}})
	}
	return s.stream(w, r, view{Title: e.Name, Section: section(r, e.Path), Crumbs: s.crumbs(e.Path)}, book.Notebook, opts)
}

// downloads is the menu of the forms of a notebook at an address.
func downloads(at, query string) viewer.Action {
	join := "?as="
	if query != "" {
		join = query + "&as="
	}
	return viewer.Action{Label: "Download", Menu: []viewer.Action{
		{Label: "Notebook (.ipynb)", URL: at + join + "ipynb"},
		{Label: "Script (.py)", URL: at + join + "py"},
		{Label: "Web page (.html)", URL: at + join + "html"},
		{Label: "Markdown (.md)", URL: at + join + "md"},
	}}
}

// export sends a notebook as a file in another form.
func export(w http.ResponseWriter, nb *notebook.Notebook, name, as string) error {
	var write func(io.Writer) error
	kind := ""
	switch as {
	case "ipynb":
		kind, write = "application/x-ipynb+json", nb.Write
	case "py":
		kind, write = "text/plain; charset=utf-8", func(w io.Writer) error { return viewer.WriteScript(w, nb) }
	case "md":
		kind, write = "text/markdown; charset=utf-8", func(w io.Writer) error { return viewer.WriteMarkdown(w, nb) }
	case "html":
		kind, write = "text/html; charset=utf-8", func(w io.Writer) error {
			return viewer.Render(w, nb, viewer.Options{Standalone: true})
		}
	default:
		return problem.New(problem.Invalid, "as=%.20q: want one of ipynb, py, html, md", as)
	}
	h := w.Header()
	h.Set("Content-Type", kind)
	h.Set("Content-Security-Policy", "sandbox; default-src 'none'")
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Disposition", mime.FormatMediaType("attachment", map[string]string{"filename": name + "." + as}))
	return write(w)
}

// options says where the parts of the notebook at p are.
func (s *site) options(p string, number int64) viewer.Options {
	at, query := escapePath(p), "?"
	if number > 0 {
		query = "?version=" + strconv.FormatInt(number, 10) + "&"
	}
	part := func(cell, output int) string {
		return at + query + "cell=" + strconv.Itoa(cell) + "&output=" + strconv.Itoa(output)
	}
	return viewer.Options{
		Fragment: true, Cache: s.cache, LinkURL: s.linkURL(p), ImageURL: s.imageURL(p),
		FrameURL: func(cell, output int) string { return s.to("/frame/") + part(cell, output) },
		OutputURL: func(cell, output int, mime string) string {
			return s.to("/output/") + part(cell, output) + "&mime=" + url.QueryEscape(mime)
		},
		TableURL: func(cell, output int) string { return s.to("/output/") + part(cell, output) + "&as=table" },
	}
}

// linkURL leads relative links of the file at p to the pages of the files.
func (s *site) linkURL(p string) func(string) string {
	return func(ref string) string {
		target, u, ok := resolve(p, ref)
		if !ok {
			return ""
		}
		to := s.to("/view/") + escapePath(target)
		if u.Fragment != "" {
			to += "#" + u.EscapedFragment()
		}
		return to
	}
}

// imageURL leads to pictures in the folder of the file at p, and nowhere else.
func (s *site) imageURL(p string) func(string) string {
	return func(ref string) string {
		target, _, ok := resolve(p, ref)
		dir := path.Dir(p)
		if !ok || dir != "." && !strings.HasPrefix(target, dir+"/") || !strings.HasPrefix(contents.MimeOf(target), "image/") {
			return ""
		}
		return s.to("/files/") + escapePath(target)
	}
}

// resolve returns the path that a relative address in the file at p names.
func resolve(p, ref string) (string, *url.URL, bool) {
	u, err := url.Parse(ref)
	if err != nil || u.IsAbs() || u.Host != "" || u.Path == "" || strings.HasPrefix(u.Path, "/") {
		return "", nil, false
	}
	target, err := contents.CleanPath(path.Join(path.Dir(p), u.Path))
	return target, u, err == nil
}

// begin writes what comes before a page that is written as it goes.
func (s *site) begin(w http.ResponseWriter, r *http.Request, v view) error {
	v.Now, v.User = s.cfg.Now(), user(r)
	setHeader(w.Header(), r)
	if err := s.look()["stream"].ExecuteTemplate(w, "before", v); err != nil {
		return err
	}
	_ = http.NewResponseController(w).Flush()
	return nil
}

func (s *site) end(w http.ResponseWriter) error {
	return s.look()["stream"].ExecuteTemplate(w, "after", nil)
}

// stream writes a page around a notebook as the notebook is rendered.
func (s *site) stream(w http.ResponseWriter, r *http.Request, v view, nb *notebook.Notebook, opts viewer.Options) error {
	if err := s.begin(w, r, v); err != nil {
		return err
	}
	if err := viewer.Render(w, nb, opts); err != nil {
		return err
	}
	return s.end(w)
}

// frame shows one output that needs script, in a document of its own without
// an origin.
func (s *site) frame(w http.ResponseWriter, r *http.Request) error {
	nb, _, err := s.load(r, pathOf(r))
	if err != nil {
		return err
	}
	return s.writeFrame(w, r, nb)
}

// output sends the whole of one output.
func (s *site) output(w http.ResponseWriter, r *http.Request) error {
	nb, _, err := s.load(r, pathOf(r))
	if err != nil {
		return err
	}
	return writeOutput(w, r, nb)
}

func outputOf(r *http.Request, nb *notebook.Notebook) (*notebook.Output, error) {
	cell, err1 := strconv.Atoi(r.URL.Query().Get("cell"))
	output, err2 := strconv.Atoi(r.URL.Query().Get("output"))
	if err1 != nil || err2 != nil || cell < 0 || cell >= len(nb.Cells) || output < 0 || output >= len(nb.Cells[cell].Outputs) {
		return nil, problem.New(problem.NotFound, "the notebook has no such output")
	}
	return nb.Cells[cell].Outputs[output], nil
}

func (s *site) writeFrame(w http.ResponseWriter, r *http.Request, nb *notebook.Notebook) error {
	o, err := outputOf(r, nb)
	if err != nil {
		return err
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", viewer.FrameCSP(nb, o)+"; frame-ancestors 'self'")
	return viewer.RenderFrame(w, nb, o, s.to("/static/"))
}

// rasters are the types of pictures that are sent as what they are; all else is
// sent as text, which no browser acts on.
var rasters = map[string]bool{"image/png": true, "image/jpeg": true, "image/gif": true, "image/webp": true}

func writeOutput(w http.ResponseWriter, r *http.Request, nb *notebook.Notebook) error {
	o, err := outputOf(r, nb)
	if err != nil {
		return err
	}
	if r.URL.Query().Get("as") == "table" {
		t := viewer.ReadTable(o)
		if t == nil {
			return problem.New(problem.NotFound, "the output holds no table")
		}
		cell, _ := strconv.Atoi(r.URL.Query().Get("cell")) // outputOf has seen to both
		output, _ := strconv.Atoi(r.URL.Query().Get("output"))
		return writeTable(w, renderedTable{Names: t.Names, Rows: t.Rows, Whole: int64(t.Whole), DX: viewer.ChartOf(nb.Cells[cell], output)})
	}
	kind := r.URL.Query().Get("mime")
	var data []byte
	switch value := o.Data[kind].(type) {
	case string:
		data = []byte(value)
	case notebook.Raw:
		data = value
	default:
		switch o.Type {
		case notebook.Stream:
			data = []byte(o.Text)
		case notebook.ErrorOutput:
			data = []byte(strings.Join(o.Traceback, "\n"))
		default:
			return problem.New(problem.NotFound, "the output has nothing of the type %.60q", kind)
		}
	}
	h := w.Header()
	h.Set("Content-Type", "text/plain; charset=utf-8")
	h.Set("Content-Security-Policy", "sandbox; default-src 'none'")
	h.Set("Cache-Control", "no-store")
	if rasters[kind] {
		picture, err := base64.StdEncoding.DecodeString(strings.Join(strings.Fields(string(data)), ""))
		if err != nil {
			return problem.New(problem.Invalid, "the picture is not base64")
		}
		h.Set("Content-Type", kind)
		data = picture
	}
	_, err = w.Write(data)
	return err
}

// writeTable sends the values of a table to the script that explores it.
func writeTable(w http.ResponseWriter, t renderedTable) error {
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Cache-Control", "no-store")
	return problem.Wrap(json.NewEncoder(w).Encode(t), "sending a table")
}

// viewFile shows a file that is no notebook.
func (s *site) viewFile(w http.ResponseWriter, r *http.Request, e contents.Entry) error {
	_, body, err := s.cfg.Volume.Read(r.Context(), user(r), e.Path)
	if err != nil {
		return err
	}
	defer body.Close()
	at := escapePath(e.Path)
	opts := viewer.Options{
		Fragment: true, Cache: s.cache, Title: e.Name, LinkURL: s.linkURL(e.Path), ImageURL: s.imageURL(e.Path),
		Byline: []string{byteSize(e.Size)},
		Actions: []viewer.Action{
			{Label: "Download", URL: s.to("/files/") + at + "?download=1"},
			{Label: "Clone to my workspace", URL: s.to("/clone/") + at, Post: true},
		},
	}
	if !e.Modified.IsZero() {
		opts.Byline = append(opts.Byline, "modified "+ago(e.Modified, s.cfg.Now()))
	}
	if editor := s.editorURL(r, e.Path); editor != "" {
		opts.Actions = slices.Insert(opts.Actions, 1, viewer.Action{Label: "Open in editor", URL: editor})
	}
	if e.Writable {
		opts.Actions = append(opts.Actions, viewer.Action{Label: "More", Menu: []viewer.Action{
			{Label: "Versions", URL: s.to("/versions/") + at},
			{Label: "Rename or move", URL: s.to("/rename/") + at},
			{Label: "Duplicate", URL: s.to("/duplicate/") + at, Post: true},
			{Label: "Delete", URL: s.to("/delete/") + at, Post: true},
		}})
	}
	if err := s.begin(w, r, view{Title: e.Name, Section: section(r, e.Path), Crumbs: s.crumbs(e.Path)}); err != nil {
		return err
	}
	if err := viewer.RenderFile(w, e.Name, body, s.to("/files/")+at, opts); err != nil {
		return err
	}
	return s.end(w)
}

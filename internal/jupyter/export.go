package jupyter

import (
	"bytes"
	"io"
	"mime"
	"net/http"
	"path"
	"strings"

	"quire/internal/api"
	"quire/internal/notebook"
	"quire/internal/problem"
	"quire/internal/viewer"
)

// maxExport is the largest notebook that is converted, in bytes.
const maxExport = 256 << 20

// An exporter writes a notebook in another form.
type exporter struct {
	mime, suffix string
	write        func(w io.Writer, nb *notebook.Notebook, name string) error
}

var exporters = map[string]exporter{
	"html": {"text/html", ".html", func(w io.Writer, nb *notebook.Notebook, name string) error {
		return viewer.Render(w, nb, viewer.Options{Title: strings.TrimSuffix(name, ".ipynb"), Standalone: true})
	}},
	"markdown": {"text/markdown", ".md", func(w io.Writer, nb *notebook.Notebook, _ string) error { return viewer.WriteMarkdown(w, nb) }},
	"script":   {"text/plain", ".txt", func(w io.Writer, nb *notebook.Notebook, _ string) error { return viewer.WriteScript(w, nb) }},
	"notebook": {"application/x-ipynb+json", ".ipynb", func(w io.Writer, nb *notebook.Notebook, _ string) error {
		data, err := nb.Bytes()
		if err != nil {
			return err
		}
		_, err = w.Write(data)
		return err
	}},
}

func (s *Server) exportRoutes() []route {
	return []route{
		{pattern: "GET /api/nbconvert", handler: s.listExporters},
		{pattern: "GET /nbconvert/{format}/{path...}", handler: s.export},
		{pattern: "POST /nbconvert/{format}", handler: s.exportPosted},
	}
}

func (s *Server) listExporters(w http.ResponseWriter, _ *http.Request) error {
	all := map[string]any{}
	for name, e := range exporters {
		all[name] = map[string]string{"output_mimetype": e.mime}
	}
	return api.WriteJSON(w, http.StatusOK, all)
}

func findExporter(name string) (exporter, error) {
	e, ok := exporters[name]
	if !ok {
		return e, problem.New(problem.NotFound, "no export to %s: there are html, markdown, notebook and script", clip(name, 40))
	}
	return e, nil
}

func (s *Server) export(w http.ResponseWriter, r *http.Request) error {
	e, err := findExporter(r.PathValue("format"))
	if err != nil {
		return err
	}
	p := strings.Trim(r.PathValue("path"), "/")
	_, body, err := s.cfg.Volume.Read(r.Context(), s.cfg.User, s.full(p))
	if err != nil {
		return err
	}
	defer body.Close()
	data, err := io.ReadAll(io.LimitReader(body, maxExport+1))
	if err != nil {
		return err
	}
	return convert(w, r, e, data, path.Base(p))
}

func (s *Server) exportPosted(w http.ResponseWriter, r *http.Request) error {
	e, err := findExporter(r.PathValue("format"))
	if err != nil {
		return err
	}
	var body struct {
		Name    string    `json:"name"`
		Content rawObject `json:"content"`
	}
	if err := readJSON(r, &body); err != nil {
		return err
	}
	if body.Name == "" {
		body.Name = "notebook.ipynb"
	}
	return convert(w, r, e, body.Content, path.Base(body.Name))
}

// rawObject is JSON as it came.
type rawObject []byte

// UnmarshalJSON implements json.Unmarshaler.
func (o *rawObject) UnmarshalJSON(b []byte) error {
	*o = bytes.Clone(b)
	return nil
}

// convert answers with a notebook in another form. What came from the notebook
// must not act in this server's name: the answer is sandboxed.
func convert(w http.ResponseWriter, r *http.Request, e exporter, data []byte, name string) error {
	if len(data) > maxExport {
		return problem.New(problem.TooLarge, "%s has over %d bytes", clip(name, 200), maxExport)
	}
	nb, err := notebook.Parse(data)
	if err != nil {
		return problem.WrapAs(problem.Invalid, err, "%s is not a notebook", clip(name, 200))
	}
	var b bytes.Buffer
	if err := e.write(&b, nb, name); err != nil {
		return err
	}
	h := w.Header()
	h.Set("Content-Type", e.mime+"; charset=utf-8")
	h.Set("Content-Security-Policy", "sandbox; default-src 'none'; img-src data:; style-src 'unsafe-inline'; frame-ancestors 'self'")
	if download := r.URL.Query().Get("download"); download == "true" || download == "1" {
		h.Set("Content-Disposition", mime.FormatMediaType("attachment", map[string]string{
			"filename": strings.TrimSuffix(name, ".ipynb") + scriptSuffix(e, nb),
		}))
	}
	_, err = w.Write(b.Bytes())
	return err
}

// scriptSuffix is the suffix of the exported file; a script has that of its
// language when the notebook says so.
func scriptSuffix(e exporter, nb *notebook.Notebook) string {
	if e.suffix != ".txt" {
		return e.suffix
	}
	switch nb.Language() {
	case "python":
		return ".py"
	case "r", "R":
		return ".r"
	}
	return e.suffix
}

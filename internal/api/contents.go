package api

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"net/url"
	"path"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"quire/internal/auth"
	"quire/internal/contents"
	"quire/internal/notebook"
	"quire/internal/problem"
)

// maxSaveBody is the largest body of a save, in bytes, as Jupyter has it.
const maxSaveBody = 512 << 20

// RegisterContents adds the Jupyter contents API: all of it for a person's
// workspace under /user/<name>/api/contents, and read-only for the whole volume
// under /api/contents and /files, as Commuter has it; and versions under
// /api/versions.
func RegisterContents(rt *Router, volume *contents.Volume) {
	h := contentsRoutes{volume: volume}
	read := func(d Doc) Policy { return Policy{Access: SignedIn, QueryToken: true, Doc: d} }
	write := func(d Doc) Policy {
		return Policy{Access: SignedIn, QueryToken: true, MaxBody: maxSaveBody, Doc: d}
	}
	get := read(Doc{Summary: "A file or directory, as Jupyter describes it", Response: model{}, Query: map[string]string{
		"type": "file, directory or notebook", "format": "text, base64 or json", "content": "0 leaves the content out",
	}})
	raw := read(Doc{Summary: "The bytes of a file", Query: map[string]string{"download": "1 makes a browser save it"}})
	rt.Handle("GET /api/contents/{path...}", get, h.at("", h.get))
	rt.Handle("GET /api/contents", get, h.at("", h.get))
	rt.Handle("GET /files/{path...}", raw, h.at("", h.file))
	rt.Handle("GET /api/versions/{path...}", read(Doc{Summary: "The versions of a file, newest first, or the bytes of one", Response: versionPage{}, Query: map[string]string{
		"cursor": "next of the page before", "number": "the version whose bytes are wanted",
	}}), h.at("", h.versions))
	rt.Handle("POST /api/versions/{path...}", write(Doc{Summary: "Make an older version the newest again", Request: restoreRequest{}, Response: versionModel{}}), h.at("", h.restore))
	const own = "/user/{user}/api/contents"
	for _, pattern := range []string{own, own + "/{path...}"} {
		rt.Handle("GET "+pattern, get, h.at("users", h.get))
		rt.Handle("PUT "+pattern, write(Doc{Summary: "Save a file; base names the version that was changed", Request: saveModel{}, Response: model{}}), h.at("users", h.put))
		rt.Handle("POST "+pattern, write(Doc{Summary: "Make a file, a copy or a checkpoint", Request: saveModel{}, Response: model{}, Status: http.StatusCreated}), h.at("users", h.post))
		rt.Handle("PATCH "+pattern, write(Doc{Summary: "Rename a file", Request: saveModel{}, Response: model{}}), h.at("users", h.patch))
		rt.Handle("DELETE "+pattern, write(Doc{Summary: "Move a file to the trash", Status: http.StatusNoContent}), h.at("users", h.remove))
	}
	rt.Handle("GET /user/{user}/files/{path...}", raw, h.at("users", h.file))
}

type contentsRoutes struct{ volume *contents.Volume }

// A target is what a request is about: base is the part of the volume's path
// that the client does not see.
type target struct {
	base, path string
}

func (t target) full() string { return strings.Trim(t.base+"/"+t.path, "/") }

func (t target) shown(full string) string {
	return strings.Trim(strings.TrimPrefix(full, t.base), "/")
}

type contentsHandler func(http.ResponseWriter, *http.Request, target) error

func (h contentsRoutes) at(base string, next contentsHandler) Handler {
	return func(w http.ResponseWriter, r *http.Request) error {
		t := target{path: strings.Trim(r.PathValue("path"), "/")}
		if base != "" {
			name := r.PathValue("user")
			if !auth.ValidName(name) {
				return problem.New(problem.NotFound, "no user %q", clip(name, 64))
			}
			t.base = base + "/" + name
		}
		return next(w, r, t)
	}
}

// A model is Jupyter's description of a file: all its keys are always there.
type model struct {
	Name         string        `json:"name"`
	Path         string        `json:"path"`
	Type         contents.Type `json:"type"`
	Writable     bool          `json:"writable"`
	Created      *time.Time    `json:"created"`
	LastModified *time.Time    `json:"last_modified"`
	MimeType     *string       `json:"mimetype"`
	Size         *int64        `json:"size"`
	Format       *string       `json:"format"`
	Content      any           `json:"content"`
	Message      string        `json:"message,omitempty"`
	Version      int64         `json:"version,omitempty"` // ours: the base of the next save
}

func modelOf(e contents.Entry, t target) model {
	m := model{Name: e.Name, Path: t.shown(e.Path), Type: e.Type, Writable: e.Writable, Version: e.Version}
	if m.Path == "" {
		m.Name = ""
	}
	if !e.Modified.IsZero() {
		m.Created, m.LastModified = &e.Created, &e.Modified
	}
	if e.Type != contents.Directory {
		m.Size = &e.Size
	}
	if e.Type == contents.File && e.Mime != "" {
		m.MimeType = &e.Mime
	}
	return m
}

func (h contentsRoutes) get(w http.ResponseWriter, r *http.Request, t target) error {
	if p, ok := strings.CutSuffix(t.path, "/checkpoints"); ok && t.base != "" {
		t.path = p
		return h.checkpoints(w, r, t)
	}
	q := r.URL.Query()
	want, err := oneOf(q, "type", "", "directory", "file", "notebook")
	if err != nil {
		return err
	}
	format, err := oneOf(q, "format", "", "text", "base64", "json")
	if err != nil {
		return err
	}
	content, err := oneOf(q, "content", "1", "0")
	if err != nil {
		return err
	}
	e, err := h.volume.Stat(r.Context(), user(r), t.full())
	if err != nil {
		return err
	}
	if (want == "directory") != (e.Type == contents.Directory) && want != "" {
		return problem.New(problem.Invalid, "%s is a %s, not a %s", t.path, e.Type, want)
	}
	m := modelOf(e, t)
	if e.Type == contents.Notebook && want == "file" {
		m.Type = contents.File
	}
	setModified(w, e.Modified)
	if content == "0" {
		return WriteJSON(w, http.StatusOK, m)
	}
	if m.Type == contents.Directory {
		return h.list(w, r, t, m)
	}
	return h.content(w, r, t, m, format)
}

func oneOf(q url.Values, key string, allowed ...string) (string, error) {
	value := q.Get(key)
	if value == "" {
		return allowed[0], nil
	}
	for _, a := range allowed {
		if value == a {
			return value, nil
		}
	}
	return "", problem.New(problem.Invalid, "%s=%s: want one of %s", key, clip(value, 40), strings.Trim(strings.Join(allowed, ", "), ", "))
}

func setModified(w http.ResponseWriter, t time.Time) {
	if !t.IsZero() {
		w.Header().Set("Last-Modified", t.UTC().Format(http.TimeFormat))
	}
}

func (h contentsRoutes) list(w http.ResponseWriter, r *http.Request, t target, m model) error {
	page, err := h.volume.List(r.Context(), user(r), t.full(), contents.ListOptions{})
	if err != nil {
		return err
	}
	json := "json"
	m.Format = &json
	models := make([]model, len(page.Entries))
	for i, e := range page.Entries {
		models[i] = modelOf(e, t)
	}
	m.Content = models
	return WriteJSON(w, http.StatusOK, m)
}

// content answers with a file's content in the form asked for.
func (h contentsRoutes) content(w http.ResponseWriter, r *http.Request, t target, m model, format string) error {
	_, body, err := h.volume.Read(r.Context(), user(r), t.full())
	if err != nil {
		return err
	}
	defer body.Close()
	data, err := io.ReadAll(io.LimitReader(body, maxSaveBody))
	if err != nil {
		return err
	}
	if m.Type == contents.Notebook {
		nb, err := notebook.Parse(data)
		if err != nil {
			return &problem.Error{Kind: problem.Invalid, Op: "Unreadable Notebook: " + t.path, Err: err}
		}
		doc, err := jupyterDocument(nb)
		if err != nil {
			return err
		}
		format, m.Content = "json", doc
		m.Format = &format
		return WriteJSON(w, http.StatusOK, m)
	}
	text := utf8.Valid(data)
	if format == "text" && !text {
		return problem.New(problem.Invalid, "%s is not UTF-8 text: ask for format=base64", t.path)
	}
	if format == "" || format == "json" {
		format = "base64"
		if text {
			format = "text"
		}
	}
	m.Format = &format
	if m.MimeType == nil {
		guess := "application/octet-stream"
		if text {
			guess = "text/plain"
		}
		m.MimeType = &guess
	}
	m.Content = string(data)
	if format == "base64" {
		m.Content = base64.StdEncoding.EncodeToString(data)
	}
	return WriteJSON(w, http.StatusOK, m)
}

// jupyterDocument is a notebook as Jupyter's server sends it: like the file,
// with all lists of lines joined.
func jupyterDocument(nb *notebook.Notebook) (json.RawMessage, error) {
	var b bytes.Buffer
	b.WriteString(`{"cells":[`)
	for i, c := range nb.Cells {
		if i > 0 {
			b.WriteByte(',')
		}
		data, err := notebook.MarshalCell(c)
		if err != nil {
			return nil, err
		}
		b.Write(data)
	}
	// The rest is what a notebook without cells has.
	bare := *nb
	bare.Cells = nil
	rest, err := bare.Bytes()
	if err != nil {
		return nil, err
	}
	_, after, ok := bytes.Cut(rest, []byte(`"cells": []`))
	if !ok {
		return nil, errors.New("a notebook without cells has no place for them")
	}
	b.WriteByte(']')
	b.Write(after)
	return b.Bytes(), nil
}

// file answers with the bytes of a file: ranges, conditional requests, and a
// policy under which nothing in it may run or be loaded.
func (h contentsRoutes) file(w http.ResponseWriter, r *http.Request, t target) error {
	e, body, err := h.volume.Read(r.Context(), user(r), t.full())
	if err != nil {
		return err
	}
	defer body.Close()
	header := w.Header()
	header.Set("Content-Security-Policy", "sandbox; default-src 'none'; img-src data: 'self'; style-src 'unsafe-inline'; frame-ancestors 'self'")
	header.Set("Content-Type", mimeForBrowser(e))
	header.Set("Cache-Control", "private, no-cache")
	header.Set("ETag", `"`+strconv.FormatInt(e.Modified.UnixNano(), 36)+"-"+strconv.FormatInt(e.Size, 36)+`"`)
	if r.URL.Query().Get("download") == "1" {
		header.Set("Content-Disposition", mime.FormatMediaType("attachment", map[string]string{"filename": e.Name}))
	}
	http.ServeContent(w, r, "", e.Modified, body)
	return nil
}

func mimeForBrowser(e contents.Entry) string {
	switch {
	case e.Type == contents.Notebook:
		return "application/x-ipynb+json"
	case e.Mime == "":
		return "application/octet-stream"
	case strings.HasPrefix(e.Mime, "text/"):
		return e.Mime + "; charset=utf-8"
	}
	return e.Mime
}

// A saveModel is what a client sends to save, rename or create.
type saveModel struct {
	Type     string          `json:"type"`
	Format   string          `json:"format"`
	Path     string          `json:"path"`
	Ext      string          `json:"ext"`
	CopyFrom string          `json:"copy_from"`
	Chunk    *int            `json:"chunk"`
	Content  json.RawMessage `json:"content"`
	Base     *int64          `json:"base"` // ours: the version that was changed; without it the client is a plain one
}

func readModel(r *http.Request) (saveModel, error) {
	var m saveModel
	data, err := io.ReadAll(r.Body)
	if err != nil {
		return m, err
	}
	if len(bytes.TrimSpace(data)) == 0 {
		return m, nil
	}
	// Jupyter's clients send fields of all kinds: unknown ones are ignored.
	return m, problem.WrapAs(problem.Invalid, json.Unmarshal(data, &m), "reading the request's JSON")
}

func (h contentsRoutes) put(w http.ResponseWriter, r *http.Request, t target) error {
	m, err := readModel(r)
	if err != nil {
		return err
	}
	if m.Chunk != nil {
		return problem.New(problem.Invalid, "uploads in chunks are taken by the notebook server, not here: send the file whole")
	}
	if m.Type == "directory" {
		if err := h.volume.Mkdir(r.Context(), user(r), t.full()); err != nil && !problem.Is(err, problem.Exists) {
			return err
		}
		return h.answer(w, r, t, http.StatusCreated)
	}
	data, err := m.bytes(t.path)
	if err != nil {
		return err
	}
	opt := contents.SaveOptions{Plain: m.Base == nil}
	if m.Base != nil {
		opt.Base = *m.Base
	}
	_, statErr := h.volume.Stat(r.Context(), user(r), t.full())
	saved, err := h.volume.Save(r.Context(), user(r), t.full(), bytes.NewReader(data), opt)
	if err != nil {
		return err
	}
	status := http.StatusOK
	if problem.Is(statErr, problem.NotFound) {
		status = http.StatusCreated
	}
	return h.answerVersion(w, r, t, status, saved.Number)
}

// bytes is the content to save as it is to be on the disk.
func (m saveModel) bytes(name string) ([]byte, error) {
	if m.Type == "notebook" || m.Type == "" && strings.HasSuffix(name, ".ipynb") {
		if len(m.Content) == 0 {
			return nil, problem.New(problem.Invalid, "there is no content to save")
		}
		nb, err := notebook.Parse(m.Content)
		if err != nil {
			return nil, problem.Wrap(err, "the notebook to save is not one")
		}
		return nb.Bytes()
	}
	var text string
	if err := json.Unmarshal(m.Content, &text); err != nil {
		return nil, problem.WrapAs(problem.Invalid, err, "content: want a string")
	}
	switch m.Format {
	case "text", "":
		return []byte(text), nil
	case "base64":
		data, err := base64.StdEncoding.DecodeString(strings.NewReplacer("\n", "", "\r", "").Replace(text))
		return data, problem.WrapAs(problem.Invalid, err, "content")
	}
	return nil, problem.New(problem.Invalid, "format=%s: want text or base64", clip(m.Format, 40))
}

// answer sends what is at t now.
func (h contentsRoutes) answer(w http.ResponseWriter, r *http.Request, t target, status int) error {
	return h.answerVersion(w, r, t, status, 0)
}

// answerVersion is answer with the version that the request made, if any: by
// now there may be a newer one.
func (h contentsRoutes) answerVersion(w http.ResponseWriter, r *http.Request, t target, status int, version int64) error {
	e, err := h.volume.Stat(r.Context(), user(r), t.full())
	if err != nil {
		return err
	}
	if version > 0 {
		e.Version = version
	}
	setModified(w, e.Modified)
	if status == http.StatusCreated {
		w.Header().Set("Location", (&url.URL{Path: path.Join(strings.TrimSuffix(r.URL.Path, "/"), "")}).EscapedPath())
	}
	return WriteJSON(w, status, modelOf(e, t))
}

// post makes a new file with a free name, or a copy; or a checkpoint.
func (h contentsRoutes) post(w http.ResponseWriter, r *http.Request, t target) error {
	if p, id, ok := checkpointPath(t.path); ok {
		t.path = p
		return h.postCheckpoint(w, r, t, id)
	}
	m, err := readModel(r)
	if err != nil {
		return err
	}
	if e, err := h.volume.Stat(r.Context(), user(r), t.full()); err != nil {
		return err
	} else if e.Type != contents.Directory {
		return problem.New(problem.Invalid, "%s is not a directory", t.path)
	}
	if m.CopyFrom != "" {
		return h.copy(w, r, t, m)
	}
	name, insert := "untitled"+dotted(m.Ext), ""
	body := []byte{}
	switch {
	case m.Type == "directory":
		name, insert = "Untitled Folder", " "
	case m.Type == "notebook", m.Type == "" && (m.Ext == ".ipynb" || m.Ext == "ipynb"):
		name = "Untitled.ipynb"
		if body, err = notebook.New().Bytes(); err != nil {
			return err
		}
	case m.Ext == "":
		name = "untitled.txt"
	}
	if name, err = h.volume.FreeName(r.Context(), user(r), t.full(), name, insert); err != nil {
		return err
	}
	made := target{t.base, strings.Trim(t.path+"/"+name, "/")}
	if m.Type == "directory" {
		err = h.volume.Mkdir(r.Context(), user(r), made.full())
	} else {
		_, err = h.volume.Save(r.Context(), user(r), made.full(), bytes.NewReader(body), contents.SaveOptions{})
	}
	if err != nil {
		return err
	}
	return h.answer(w, r, made, http.StatusCreated)
}

func dotted(ext string) string {
	if ext == "" || strings.HasPrefix(ext, ".") {
		return ext
	}
	return "." + ext
}

func (h contentsRoutes) copy(w http.ResponseWriter, r *http.Request, t target, m saveModel) error {
	from := target{t.base, strings.Trim(m.CopyFrom, "/")}
	name := path.Base(from.path)
	insert := ""
	if path.Dir("/"+from.path) == path.Clean("/"+t.path) {
		insert = "-Copy"
	}
	name, err := h.volume.FreeName(r.Context(), user(r), t.full(), name, insert)
	if err != nil {
		return err
	}
	made := target{t.base, strings.Trim(t.path+"/"+name, "/")}
	if _, err := h.volume.Copy(r.Context(), user(r), from.full(), made.full()); err != nil {
		return err
	}
	return h.answer(w, r, made, http.StatusCreated)
}

func (h contentsRoutes) patch(w http.ResponseWriter, r *http.Request, t target) error {
	m, err := readModel(r)
	if err != nil {
		return err
	}
	to := target{t.base, strings.Trim(m.Path, "/")}
	if to.path == "" {
		return problem.New(problem.Invalid, "path: say what the new one is")
	}
	if err := h.volume.Rename(r.Context(), user(r), t.full(), to.full()); err != nil {
		return err
	}
	return h.answer(w, r, to, http.StatusOK)
}

func (h contentsRoutes) remove(w http.ResponseWriter, r *http.Request, t target) error {
	if p, id, ok := checkpointPath(t.path); ok && id != "" {
		// Versions are kept: the checkpoint is no more, its version is.
		if _, err := h.version(r, target{t.base, p}, id); err != nil {
			return err
		}
		w.WriteHeader(http.StatusNoContent)
		return nil
	}
	if err := h.volume.Delete(r.Context(), user(r), t.full()); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

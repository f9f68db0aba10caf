package api

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
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
// /api/versions. live is where files may be open; nil is nowhere.
func RegisterContents(rt *Router, volume *contents.Volume, live Live) {
	h := contentsRoutes{volume: volume, live: live, made: &answers{}}
	read := func(d Doc) Policy { return Policy{Access: SignedIn, QueryToken: true, Doc: d} }
	write := func(d Doc) Policy {
		return Policy{Access: SignedIn, QueryToken: true, MaxBody: maxSaveBody, Doc: d}
	}
	get := read(Doc{Summary: "A file or directory, as Jupyter describes it", Response: model{}, Query: map[string]string{
		"type": "file, directory or notebook", "format": "text, base64 or json", "content": "0 leaves the content out", "hash": "1 adds the hash",
		"limit": "of a directory, the most entries; without it, all", "cursor": "next of the page before",
		"sort": "name, modified or size", "filter": "entries whose names hold this",
	}})
	raw := read(Doc{Summary: "The bytes of a file", Query: map[string]string{"download": "1 makes a browser save it"}})
	rt.Handle("GET /api/contents/{path...}", get, h.at("", h.get))
	rt.Handle("GET /api/contents", get, h.at("", h.get))
	rt.Handle("GET /files/{path...}", raw, h.at("", h.file))
	rt.Handle("GET /api/versions/{path...}", read(Doc{Summary: "The versions of a file, newest first, or the bytes of one", Response: versionPage{}, Query: map[string]string{
		"cursor": "next of the page before", "number": "the version whose bytes are wanted",
	}}), h.at("", h.versions))
	rt.Handle("POST /api/versions/{path...}", write(Doc{Summary: "Make an older version the newest again", Request: restoreRequest{}, Response: versionModel{}}), h.at("", h.restore))
	registerTrash(rt, volume)
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

type contentsRoutes struct {
	volume *contents.Volume
	live   Live
	made   *answers
}

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
	Created      time.Time     `json:"created"`
	LastModified time.Time     `json:"last_modified"`
	MimeType     *string       `json:"mimetype"`
	Size         *int64        `json:"size"`
	Hash         *string       `json:"hash"`
	HashAlgo     *string       `json:"hash_algorithm"`
	Format       *string       `json:"format"`
	Content      any           `json:"content"`
	Message      string        `json:"message,omitempty"`
	Version      int64         `json:"version,omitempty"` // ours: the base of the next save
	Next         string        `json:"next,omitempty"`    // ours: the cursor of a directory's next page
	Trusted      *bool         `json:"trusted,omitempty"` // ours: of a notebook, whether the caller has run or saved it as it is
}

func (m *model) setTrust(trusted bool) {
	if m.Type == contents.Notebook {
		m.Trusted = &trusted
	}
}

func modelOf(e contents.Entry, t target) model {
	m := model{Name: e.Name, Path: t.shown(e.Path), Type: e.Type, Writable: e.Writable && t.base != "", Version: e.Version}
	if m.Path == "" {
		m.Name = ""
	}
	// Jupyter's clients refuse a file without times: where nobody knows them it
	// is 1970, as Jupyter's own server has it.
	m.Created, m.LastModified = known(e.Created), known(e.Modified)
	if e.Type != contents.Directory {
		m.Size = &e.Size
	}
	if e.Type == contents.File && e.Mime != "" {
		m.MimeType = &e.Mime
	}
	return m
}

func known(t time.Time) time.Time {
	if t.IsZero() {
		return time.Unix(0, 0).UTC()
	}
	return t
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
	hash, err := oneOf(q, "hash", "0", "1")
	if err != nil {
		return err
	}
	e, err := h.volume.Stat(r.Context(), user(r), t.full())
	if err != nil {
		return err
	}
	if (want == "directory") != (e.Type == contents.Directory) && want != "" {
		return because("bad type", problem.New(problem.Invalid, "%s is a %s, not a %s", t.path, e.Type, want))
	}
	m := modelOf(e, t)
	how := reading{want: contents.Type(want), format: format, content: content == "1", hash: hash == "1"}
	setModified(w, e.Modified)
	tag, trusted, err := h.tag(r, e)
	if err != nil {
		return err
	}
	m.setTrust(trusted)
	if how.content && e.Type == contents.Notebook && t.base != "" {
		h.volume.Saw(t.full(), clientOf(r), e.Version)
	}
	if a := h.made.get(how.key(t, m), tag); a != nil && m.Type != contents.Directory {
		if notModified(w, r, a.tag) {
			return nil
		}
		return a.write(w, r)
	}
	switch {
	case m.Type == contents.Directory && content == "1":
		return h.list(w, r, t, m)
	case how.content || how.hash:
		return h.content(w, r, t, how)
	case m.Type != contents.Directory && notModified(w, r, tag):
		return nil
	}
	m.Type = m.as(contents.Type(want))
	return WriteJSON(w, http.StatusOK, m)
}

// as is the type that a file is shown as: what the client asks for.
func (m model) as(want contents.Type) contents.Type {
	if want == "" || m.Type == contents.Directory {
		return m.Type
	}
	return want
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

// list answers with a directory: all of it, as Jupyter's clients want it, or one
// page where the query has a limit.
func (h contentsRoutes) list(w http.ResponseWriter, r *http.Request, t target, m model) error {
	opt, err := listOptions(r.URL.Query())
	if err != nil {
		return err
	}
	key := fmt.Sprint(t.base, "\x00", t.path, "\x00", user(r).Name, opt)
	state, known := h.volume.ListTag(user(r), t.full())
	if known {
		if a := h.made.get(key, state); a != nil {
			if notModified(w, r, a.etag) {
				return nil
			}
			return a.write(w, r)
		}
	}
	page, err := h.volume.List(r.Context(), user(r), t.full(), opt)
	if err != nil {
		return err
	}
	if !page.Read.IsZero() {
		w.Header().Set("Age", strconv.Itoa(max(0, int(time.Since(page.Read).Seconds()))))
	}
	json := "json"
	m.Format, m.Next = &json, page.Next
	models := make([]model, len(page.Entries))
	for i, e := range page.Entries {
		models[i] = modelOf(e, t)
	}
	m.Content = models
	a, err := taggedAnswer(m)
	if err != nil {
		return err
	}
	// What was read belongs to the state only when that did not change meanwhile.
	if now, ok := h.volume.ListTag(user(r), t.full()); known && ok && now == state {
		h.made.keep(key, state, a)
	}
	if notModified(w, r, a.etag) {
		return nil
	}
	return a.write(w, r)
}

// listOptions are ours, for folders too large for one answer: Jupyter's clients
// send none of them and get everything.
func listOptions(q url.Values) (opt contents.ListOptions, err error) {
	order, err := oneOf(q, "sort", "", string(contents.ByName), string(contents.ByModified), string(contents.BySize))
	if err != nil {
		return opt, err
	}
	opt = contents.ListOptions{Sort: contents.Sort(order), Filter: q.Get("filter"), Cursor: q.Get("cursor")}
	if text := q.Get("limit"); text != "" {
		if opt.Limit, err = strconv.Atoi(text); err != nil || opt.Limit < 1 {
			return opt, problem.New(problem.Invalid, "limit=%s: want a number from 1", clip(text, 40))
		}
	}
	return opt, nil
}

// A reading is how a client wants to have a file.
type reading struct {
	want    contents.Type // "" is what it is
	format  string        // "" is what fits
	content bool
	hash    bool
}

// content answers with a file's content, or its hash, in the form asked for.
func (h contentsRoutes) content(w http.ResponseWriter, r *http.Request, t target, how reading) error {
	e, body, err := h.volume.Read(r.Context(), user(r), t.full())
	if err != nil {
		return err
	}
	defer body.Close()
	setModified(w, e.Modified)
	tag, trusted, err := h.tag(r, e)
	if err != nil || notModified(w, r, tag) {
		return err
	}
	if e.Size > maxSaveBody {
		return problem.New(problem.TooLarge, "%s has %d bytes, at most %d are sent as JSON: use /files", t.path, e.Size, maxSaveBody)
	}
	data, err := io.ReadAll(io.LimitReader(body, maxSaveBody))
	if err != nil {
		return err
	}
	m := modelOf(e, t)
	m.Type = m.as(how.want)
	m.setTrust(trusted)
	if how.hash {
		sum, algorithm := sha256.Sum256(data), "sha256"
		text := hex.EncodeToString(sum[:])
		m.Hash, m.HashAlgo = &text, &algorithm
	}
	switch {
	case !how.content:
	case m.Type == contents.Notebook:
		err = m.setNotebook(data, trusted)
	default:
		err = m.setText(data, how.format)
	}
	if err != nil {
		return err
	}
	if data, err = json.Marshal(m); err != nil {
		return err
	}
	made := &answer{body: append(data, '\n')}
	if time.Since(e.Modified) > settled {
		h.made.keep(how.key(t, modelOf(e, t)), tag, made)
	}
	return made.write(w, r)
}

// key tells apart what the same file is to those who ask for it.
func (how reading) key(t target, m model) string {
	return fmt.Sprint(t.base, "\x00", t.path, "\x00", m.Writable, how)
}

// setNotebook makes a notebook the content. One that breaks the rules of its
// format is sent with a message that says which.
func (m *model) setNotebook(data []byte, trusted bool) error {
	nb, err := notebook.Parse(data)
	if err != nil {
		return &problem.Error{Kind: problem.Invalid, Op: "Unreadable Notebook: " + m.Path, Err: err}
	}
	if err := nb.Validate(); err != nil {
		m.Message = clip("Notebook validation failed: "+err.Error(), 4000)
	}
	doc, err := jupyterDocument(nb, trusted)
	if err != nil {
		return err
	}
	if !json.Valid(doc) {
		return problem.New(problem.Invalid, "%s holds NaN or Infinity, which JSON has not: get it from /files", m.Path)
	}
	format := "json"
	m.Format, m.Content = &format, doc
	return nil
}

// setText makes the bytes of a file the content, as text where they are.
func (m *model) setText(data []byte, format string) error {
	text := utf8.Valid(data)
	if format == "text" && !text {
		return because("bad format", problem.New(problem.Invalid, "%s is not UTF-8 text: ask for format=base64", m.Path))
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
	return nil
}

// jupyterDocument is a notebook as Jupyter's server sends it: like the file,
// with all lists of lines joined.
func jupyterDocument(nb *notebook.Notebook, trusted bool) (json.RawMessage, error) {
	var b bytes.Buffer
	b.WriteString(`{"cells":[`)
	cells := newCellWriter(trusted)
	for i, c := range nb.Cells {
		if i > 0 {
			b.WriteByte(',')
		}
		data, err := cells.marshal(c)
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
	if e, err := h.volume.Stat(r.Context(), user(r), t.full()); err == nil && e.Type == contents.Directory {
		return problem.New(problem.Denied, "%s is a directory: only files have bytes", t.path)
	}
	e, body, err := h.volume.Read(r.Context(), user(r), t.full())
	if err != nil {
		return err
	}
	defer body.Close()
	header := w.Header()
	header.Set("Content-Security-Policy", "sandbox; default-src 'none'; img-src data: 'self'; style-src 'unsafe-inline'; frame-ancestors 'self'")
	header.Set("Content-Type", mimeForBrowser(e))
	header.Set("Cache-Control", "private, no-cache")
	header.Set("ETag", fileTag(e))
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

package api

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"path"
	"strings"
	"time"

	"quire/internal/contents"
	"quire/internal/notebook"
	"quire/internal/problem"
	"quire/internal/session"
)

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

// mayName refuses what Jupyter's server refuses to write with 400: the root and
// names that begin with a dot, which reading finds missing.
func mayName(p string) error {
	if p == "" {
		return problem.New(problem.Invalid, "the workspace itself cannot be saved, renamed or deleted")
	}
	for name := range strings.SplitSeq(p, "/") {
		if strings.HasPrefix(name, ".") {
			return problem.New(problem.Invalid, "%s: names that begin with a dot are hidden and cannot be written here", clip(p, 200))
		}
	}
	return nil
}

func (h contentsRoutes) put(w http.ResponseWriter, r *http.Request, t target) error {
	if err := mayName(t.path); err != nil {
		return err
	}
	m, err := readModel(r)
	switch {
	case err != nil:
		return err
	case m.CopyFrom != "":
		return problem.New(problem.Invalid, "copy_from: a copy is made with POST, not with PUT")
	case m.Chunk != nil:
		return h.putChunk(w, r, t, m)
	}
	var from contents.Hash
	if h.live != nil && strings.HasSuffix(t.path, ".ipynb") {
		release := h.live.Hold(r.Context(), t.full())
		defer func() { release(from) }()
	}
	before, err := h.checkCondition(r, t)
	if err != nil {
		return err
	}
	if m.Type == "directory" {
		if err := h.volume.Mkdir(r.Context(), user(r), t.full()); err != nil && !problem.Is(err, problem.Exists) {
			return err
		}
		return h.answer(w, r, t, http.StatusCreated)
	}
	data, known, err := m.bytes(t.path)
	if err != nil {
		return err
	}
	opt := saveOn(r, before, m.saveOptions(r))
	sure := !opt.Plain || h.volume.LastSeen(t.full(), opt.Client) > 0 // of what it was made from
	saved, err := h.volume.Save(r.Context(), user(r), t.full(), bytes.NewReader(data), opt)
	if err != nil {
		return asStale(r, err)
	}
	if base, err := h.volume.Version(r.Context(), user(r), t.full(), saved.Base); err == nil && sure && saved.Number != before.Version {
		from = base.Hash
	}
	if known && saved.Hash == hashOf(data) { // and not what others wrote besides
		if err := h.volume.Trust(r.Context(), user(r), t.full(), saved.Hash); err != nil {
			return err
		}
	}
	status := http.StatusOK
	if before.Name == "" {
		status = http.StatusCreated
	}
	return h.answerVersion(w, r, t, status, saved.Number)
}

func hashOf(data []byte) contents.Hash {
	sum := sha256.Sum256(data)
	return contents.Hash(hex.EncodeToString(sum[:]))
}

// saveOptions says whether the client knows versions.
func (m saveModel) saveOptions(r *http.Request) contents.SaveOptions {
	if m.Base == nil {
		return contents.SaveOptions{Plain: true, Client: clientOf(r), Merge: session.Merge}
	}
	return contents.SaveOptions{Base: *m.Base}
}

// putChunk takes one part of a large file. The answer to all but the last says
// what the file is to be, for the client to go on.
func (h contentsRoutes) putChunk(w http.ResponseWriter, r *http.Request, t target, m saveModel) error {
	if m.Type != "file" {
		return problem.New(problem.Invalid, "type=%s: only files come in chunks", clip(m.Type, 40))
	}
	if *m.Chunk < 1 && *m.Chunk != contents.LastPart {
		return problem.New(problem.Invalid, "chunk=%d: want 1, 2, 3 ... and -1 for the last", *m.Chunk)
	}
	data, _, err := m.bytes(t.path)
	if err != nil {
		return err
	}
	before, statErr := h.volume.Stat(r.Context(), user(r), t.full())
	version, saved, err := h.volume.UploadPart(r.Context(), user(r), t.full(), *m.Chunk, bytes.NewReader(data), m.saveOptions(r))
	if err != nil {
		return err
	}
	status := http.StatusOK
	if problem.Is(statErr, problem.NotFound) {
		status = http.StatusCreated
		now := time.Now().UTC()
		before = contents.Entry{Name: path.Base(t.path), Path: t.full(), Type: contents.File, Modified: now, Created: now, Writable: true}
	}
	if saved {
		return h.answerVersion(w, r, t, status, version.Number)
	}
	return WriteJSON(w, status, modelOf(before, t))
}

// bytes is the content to save as it is to be on the disk. known says that it is
// a notebook whose outputs the client says the user has made or seen.
func (m saveModel) bytes(name string) (data []byte, known bool, err error) {
	if m.Type == "notebook" || m.Type == "" && strings.HasSuffix(name, ".ipynb") {
		if len(m.Content) == 0 {
			return nil, false, problem.New(problem.Invalid, "there is no content to save")
		}
		nb, err := notebook.Parse(m.Content)
		if err != nil {
			return nil, false, problem.Wrap(err, "the notebook to save is not one")
		}
		known = saysTrusted(nb, m.Content)
		data, err = nb.Bytes()
		return data, known, err
	}
	if m.Type != "file" && m.Type != "" {
		return nil, false, because("bad type", problem.New(problem.Invalid, "type=%s: want file, notebook or directory", clip(m.Type, 40)))
	}
	if len(m.Content) == 0 {
		return nil, false, problem.New(problem.Invalid, "there is no content to save")
	}
	var text string
	if err := json.Unmarshal(m.Content, &text); err != nil {
		return nil, false, problem.WrapAs(problem.Invalid, err, "content: want a string")
	}
	switch m.Format {
	case "text", "":
		return []byte(text), false, nil
	case "base64":
		data, err := base64.StdEncoding.DecodeString(strings.NewReplacer("\n", "", "\r", "").Replace(text))
		return data, false, problem.WrapAs(problem.Invalid, err, "content")
	}
	return nil, false, because("bad format", problem.New(problem.Invalid, "format=%s: want text or base64", clip(m.Format, 40)))
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
	if e.Type != contents.Directory {
		tag, _, err := h.tag(r, e)
		if err != nil {
			return err
		}
		w.Header().Set("ETag", tag)
	}
	if status == http.StatusCreated {
		w.Header().Set("Location", (&url.URL{Path: path.Join(strings.TrimSuffix(r.URL.Path, "/"), "")}).EscapedPath())
	}
	return WriteJSON(w, status, modelOf(e, t))
}

// trust notes that the user trusts a notebook as it is.
func (h contentsRoutes) trust(w http.ResponseWriter, r *http.Request, t target) error {
	e, err := h.volume.Stat(r.Context(), user(r), t.full())
	if err != nil {
		return err
	}
	if e.Type != contents.Notebook {
		return problem.New(problem.Invalid, "%s is not a notebook", t.path)
	}
	if err := h.volume.Trust(r.Context(), user(r), t.full(), e.Hash); err != nil {
		return err
	}
	return h.answer(w, r, t, http.StatusCreated)
}

// post makes a new file with a free name, or a copy; or a checkpoint.
func (h contentsRoutes) post(w http.ResponseWriter, r *http.Request, t target) error {
	if p, id, ok := checkpointPath(t.path); ok {
		t.path = p
		return h.postCheckpoint(w, r, t, id)
	}
	if p, ok := strings.CutSuffix(t.path, "/trust"); ok {
		t.path = p
		return h.trust(w, r, t)
	}
	if t.path != "" {
		if err := mayName(t.path); err != nil {
			return err
		}
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
	if err := mayName(t.path); err != nil {
		return err
	}
	m, err := readModel(r)
	if err != nil {
		return err
	}
	to := target{t.base, strings.Trim(m.Path, "/")}
	if to.path == "" {
		return problem.New(problem.Invalid, "path: say what the new one is")
	}
	if err := mayName(to.path); err != nil {
		return err
	}
	if _, err := h.checkCondition(r, t); err != nil {
		return err
	}
	if err := h.volume.Rename(r.Context(), user(r), t.full(), to.full()); err != nil {
		return err
	}
	return h.answer(w, r, to, http.StatusOK)
}

func (h contentsRoutes) remove(w http.ResponseWriter, r *http.Request, t target) error {
	if err := mayName(t.path); err != nil {
		return err
	}
	if p, id, ok := checkpointPath(t.path); ok && id != "" {
		return h.dropCheckpoint(w, r, target{t.base, p}, id)
	}
	if _, err := h.checkCondition(r, t); err != nil {
		return err
	}
	if err := h.volume.Delete(r.Context(), user(r), t.full()); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

package api

import (
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"quire/internal/contents"
	"quire/internal/problem"
)

// checkpointPath takes "a.ipynb/checkpoints/7" apart; id is "" for the list.
func checkpointPath(p string) (file, id string, ok bool) {
	if file, ok := strings.CutSuffix(p, "/checkpoints"); ok {
		return file, "", true
	}
	i := strings.LastIndex(p, "/checkpoints/")
	if i < 0 || strings.Contains(p[i+len("/checkpoints/"):], "/") {
		return "", "", false
	}
	return p[:i], p[i+len("/checkpoints/"):], true
}

type checkpoint struct {
	ID           string    `json:"id"`
	LastModified time.Time `json:"last_modified"`
}

func checkpointOf(v contents.Version) checkpoint {
	return checkpoint{strconv.FormatInt(v.Number, 10), v.Time}
}

// checkpoints lists those versions that Jupyter's clients may name.
func (h contentsRoutes) checkpoints(w http.ResponseWriter, r *http.Request, t target) error {
	all, err := h.volume.Checkpoints(r.Context(), user(r), t.full())
	// Of what is not there there are none, as Jupyter's server has it: JupyterLab
	// asks for those of the old name while a file is being renamed.
	if err != nil && !problem.Is(err, problem.NotFound) {
		return err
	}
	list := []checkpoint{}
	for _, v := range all {
		list = append(list, checkpointOf(v))
	}
	return writeTagged(w, r, list)
}

// postCheckpoint makes a checkpoint, or makes the file what it was at one.
func (h contentsRoutes) postCheckpoint(w http.ResponseWriter, r *http.Request, t target, id string) error {
	if id == "" {
		v, err := h.volume.AddCheckpoint(r.Context(), user(r), t.full())
		if err != nil {
			return err
		}
		made := checkpointOf(v)
		w.Header().Set("Location", strings.TrimSuffix(r.URL.EscapedPath(), "/")+"/"+made.ID)
		return WriteJSON(w, http.StatusCreated, made)
	}
	number, err := checkpointNumber(t, id)
	if err != nil {
		return err
	}
	if _, err := h.volume.RestoreCheckpoint(r.Context(), user(r), t.full(), number); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

func (h contentsRoutes) dropCheckpoint(w http.ResponseWriter, r *http.Request, t target, id string) error {
	number, err := checkpointNumber(t, id)
	if err != nil {
		return err
	}
	if err := h.volume.DropCheckpoint(r.Context(), user(r), t.full(), number); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

func checkpointNumber(t target, id string) (int64, error) {
	number, err := strconv.ParseInt(id, 10, 64)
	if err != nil || number < 1 {
		return 0, problem.New(problem.NotFound, "%s has no checkpoint %q", t.path, clip(id, 40))
	}
	return number, nil
}

type versionModel struct {
	Number int64          `json:"number"`
	Author string         `json:"author"`
	Time   time.Time      `json:"time"`
	Cause  contents.Cause `json:"cause"`
	Size   int64          `json:"size"`
	Hash   contents.Hash  `json:"hash"`
	Base   int64          `json:"base"`
}

type versionPage struct {
	Versions []versionModel `json:"versions"`
	Next     string         `json:"next,omitempty"` // cursor of the next page
}

type restoreRequest struct {
	Restore int64 `json:"restore"` // number of the version
}

// versions lists the versions of a file, or answers with the bytes of the one
// that ?number= names.
func (h contentsRoutes) versions(w http.ResponseWriter, r *http.Request, t target) error {
	q := r.URL.Query()
	if id := q.Get("number"); id != "" {
		number, err := strconv.ParseInt(id, 10, 64)
		if err != nil {
			return problem.New(problem.Invalid, "number: want a whole number")
		}
		v, body, err := h.volume.OpenVersion(r.Context(), user(r), t.full(), number)
		if err != nil {
			return err
		}
		defer body.Close()
		if notModified(w, r, `"`+string(v.Hash)+`"`) {
			return nil
		}
		w.Header().Set("Content-Type", "application/octet-stream")
		w.Header().Set("Content-Disposition", "attachment")
		_, err = io.Copy(w, body)
		return err
	}
	before, _ := strconv.ParseInt(q.Get("cursor"), 10, 64)
	const limit = 100
	all, err := h.volume.Versions(r.Context(), user(r), t.full(), before, limit)
	if err != nil {
		return err
	}
	page := versionPage{Versions: []versionModel{}}
	for _, v := range all {
		page.Versions = append(page.Versions, versionModel{v.Number, v.Author, v.Time, v.Cause, v.Size, v.Hash, v.Base})
	}
	if len(all) == limit {
		page.Next = strconv.FormatInt(all[len(all)-1].Number, 10)
	}
	return writeTagged(w, r, page)
}

// restore makes an older version the newest again.
func (h contentsRoutes) restore(w http.ResponseWriter, r *http.Request, t target) error {
	var req restoreRequest
	if err := ReadJSON(r, &req); err != nil {
		return err
	}
	v, err := h.volume.RestoreVersion(r.Context(), user(r), t.full(), req.Restore)
	if err != nil {
		return err
	}
	return WriteJSON(w, http.StatusOK, versionModel{v.Number, v.Author, v.Time, v.Cause, v.Size, v.Hash, v.Base})
}

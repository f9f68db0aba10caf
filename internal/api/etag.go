package api

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"

	"quire/internal/contents"
	"quire/internal/problem"
)

// writeTagged answers with v as JSON under an ETag made of its bytes, or with
// 304 when the client has them already.
func writeTagged(w http.ResponseWriter, r *http.Request, v any) error {
	a, err := taggedAnswer(v)
	if err != nil || notModified(w, r, a.etag) {
		return err
	}
	return a.write(w, r)
}

// taggedAnswer is v as JSON, with an ETag made of its bytes.
func taggedAnswer(v any) (*answer, error) {
	data, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(data)
	return &answer{body: append(data, '\n'), etag: `"` + hex.EncodeToString(sum[:12]) + `"`}, nil
}

// notModified sets the ETag of an answer and reports whether the client has it,
// which is answered then.
func notModified(w http.ResponseWriter, r *http.Request, tag string) bool {
	h := w.Header()
	h.Set("ETag", tag)
	h.Set("Cache-Control", "private, no-cache")
	if !tagIn(r.Header.Get("If-None-Match"), tag) {
		return false
	}
	w.WriteHeader(http.StatusNotModified)
	return true
}

// tagIn reports whether a header's list of ETags names tag; "*" names all.
func tagIn(header, tag string) bool {
	for one := range strings.SplitSeq(header, ",") {
		one = strings.TrimSpace(one)
		if one == "*" || strings.TrimPrefix(one, "W/") == tag {
			return true
		}
	}
	return false
}

// fileTag is the ETag of a file: when it changed and its size, and a notebook's
// version, which a look at it always knows.
func fileTag(e contents.Entry) string { return `"` + stateOf(e) + `"` }

// trustedTag is fileTag for who trusts the notebook: they get more with it.
func trustedTag(e contents.Entry) string { return `"` + stateOf(e) + `-t"` }

func stateOf(e contents.Entry) string {
	tag := strconv.FormatInt(e.Modified.UnixNano(), 36) + "-" + strconv.FormatInt(e.Size, 36)
	if e.Type == contents.Notebook {
		tag += "-" + strconv.FormatInt(e.Version, 36)
	}
	return tag
}

// tag returns the ETag of a file for who asks, and whether they trust it.
func (h contentsRoutes) tag(r *http.Request, e contents.Entry) (tag string, trusted bool, err error) {
	if e.Type == contents.Notebook {
		trusted, err = h.volume.Trusted(r.Context(), user(r), e.Path, e.Hash)
	}
	if trusted {
		return trustedTag(e), true, err
	}
	return fileTag(e), false, err
}

// A staleError is what a request with If-Match or If-None-Match gets when the
// file is not what the client thinks. It is answered with 412.
type staleError struct{ error }

func (s *staleError) Unwrap() error { return s.error }

func conditional(r *http.Request) bool {
	return r.Header.Get("If-Match") != "" || r.Header.Get("If-None-Match") != ""
}

// checkCondition fails when a request that changes the file names a state of it
// that is not the present one. It returns what the file is, which has no name
// when there is none.
func (h contentsRoutes) checkCondition(r *http.Request, t target) (contents.Entry, error) {
	e, err := h.volume.Stat(r.Context(), user(r), t.full())
	missing := problem.Is(err, problem.NotFound)
	if err != nil && !missing {
		return contents.Entry{}, err
	}
	match, noneMatch := r.Header.Get("If-Match"), r.Header.Get("If-None-Match")
	switch {
	case match != "" && (missing || !tagIn(match, fileTag(e)) && !tagIn(match, trustedTag(e))):
		return e, &staleError{problem.New(problem.Conflict, "%s is not what If-Match names: read it again", t.path)}
	case noneMatch != "" && !missing && (tagIn(noneMatch, fileTag(e)) || tagIn(noneMatch, trustedTag(e))):
		return e, &staleError{problem.New(problem.Conflict, "%s is there already, and If-None-Match asks that it is not", t.path)}
	case missing:
		return contents.Entry{}, nil
	}
	return e, nil
}

// saveOn is how a save with a condition is made: on the version that was
// checked, so that a save in between is noticed.
func saveOn(r *http.Request, e contents.Entry, opt contents.SaveOptions) contents.SaveOptions {
	if !opt.Plain || !conditional(r) || e.Name != "" && e.Type != contents.Notebook {
		return opt
	}
	return contents.SaveOptions{Base: e.Version}
}

// asStale makes a save that came too late one whose condition did not hold.
func asStale(r *http.Request, err error) error {
	if err != nil && conditional(r) && problem.Is(err, problem.Conflict) {
		return &staleError{err}
	}
	return err
}

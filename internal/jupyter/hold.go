package jupyter

import (
	"context"
	"net/http"
	"sync"
	"time"

	"github.com/google/uuid"

	"quire/internal/api"
	"quire/internal/contents"
	"quire/internal/problem"
)

var _ api.Live = (*Server)(nil)

// Hold implements api.Live for who saves in this process.
func (s *Server) Hold(ctx context.Context, path string) func(contents.Hash) {
	release := s.documents.Hold(ctx, path)
	return func(from contents.Hash) { release(string(from)) }
}

// Limits of holds by others.
const (
	maxHolds = 64
	holdLife = 30 * time.Second
)

// A holds keeps what ends the holds of others, by their ids.
type holds struct {
	mu  sync.Mutex
	all map[string]hold
}

type hold struct {
	release func(from string)
	limit   *time.Timer // whoever asked may be gone
}

// holdDocument keeps a live document from writing to its file, which somebody
// who shares the folder is about to write: the platform. Its id ends that.
func (s *Server) holdDocument(w http.ResponseWriter, r *http.Request) error {
	release := s.documents.Hold(r.Context(), s.full(r.PathValue("path")))
	id := uuid.NewString()
	h := &s.holds
	h.mu.Lock()
	full := len(h.all) >= maxHolds
	if !full {
		if h.all == nil {
			h.all = map[string]hold{}
		}
		h.all[id] = hold{release, time.AfterFunc(holdLife, func() { h.end(id, "") })}
	}
	h.mu.Unlock()
	if full {
		release("")
		return problem.New(problem.Unavailable, "%d files are being written already", maxHolds)
	}
	return api.WriteJSON(w, http.StatusOK, map[string]string{"id": id})
}

// end ends a hold and reports whether it was there.
func (h *holds) end(id, from string) bool {
	h.mu.Lock()
	one, ok := h.all[id]
	delete(h.all, id)
	h.mu.Unlock()
	if !ok {
		return false
	}
	one.limit.Stop()
	one.release(from)
	return true
}

// releaseDocument ends a hold. from is the hash of what the file was made from.
func (s *Server) releaseDocument(w http.ResponseWriter, r *http.Request) error {
	if !s.holds.end(r.PathValue("id"), clip(r.URL.Query().Get("from"), 64)) {
		return problem.New(problem.NotFound, "nothing is held under %s", clip(r.PathValue("id"), 64))
	}
	return api.WriteJSON(w, http.StatusOK, nil)
}

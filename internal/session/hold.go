package session

import (
	"context"
	"log/slog"
	"time"
)

const (
	holdLimit = 20 * time.Second // how long a document keeps from its file
	holdWait  = 10 * time.Second // for a document to be written first
)

// Hold writes the live document of the notebook at path into it, if one is open,
// and keeps the document from writing again until release is called, for 20 s at
// most: what is saved in between is made from all that was in the document.
// release takes the hash of the file that it was made from, "" when that is not
// known or nothing was saved, and the document looks at its file. Without an open
// document release does nothing.
func (s *Rooms) Hold(ctx context.Context, path string) (release func(from string)) {
	r := s.opened(path)
	if r == nil {
		return func(string) {}
	}
	ctx, cancel := context.WithTimeout(ctx, holdWait)
	defer cancel()
	held := make(chan struct{})
	err := r.post(ctx, func() {
		r.saveNow(func(string) {
			r.heldUntil = r.cfg.Now().Add(holdLimit)
			close(held)
		})
	})
	if err == nil {
		select {
		case <-held:
		case <-r.closed:
		case <-ctx.Done():
			s.cfg.Log.LogAttrs(ctx, slog.LevelWarn, "a live document was not written before somebody else saves",
				slog.String("path", path))
		}
	}
	return func(from string) {
		r.postAlways(func() {
			r.heldUntil, r.from, r.look = time.Time{}, from, true
			r.atTheDisk(r.cfg.Now())
		})
	}
}

// opened returns the room of the notebook at path, nil when it is not open.
func (s *Rooms) opened(path string) *Room {
	s.mu.Lock()
	o := s.open[Info{Format: "json", Type: kindNotebook, FileID: s.ids[path]}.Room()]
	s.mu.Unlock()
	if o == nil {
		return nil
	}
	select {
	case <-o.ready:
		return o.room
	default: // it reads the file when it opens
		return nil
	}
}

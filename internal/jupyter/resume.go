package jupyter

import (
	"context"
	"encoding/json"
	"log/slog"
	"strings"
	"time"

	"quire/internal/kernel/keeper"
)

// A notedSession is a session as the keeper of the kernels keeps it for the next
// server.
type notedSession struct {
	ID     string    `json:"id"`
	Path   string    `json:"path"`
	Name   string    `json:"name"`
	Kind   string    `json:"kind"`
	Kernel string    `json:"kernel"`
	Made   time.Time `json:"made"`
}

// noteSessions tells the keeper which sessions there are.
func (s *Server) noteSessions() {
	if s.cfg.Keeper == nil {
		return
	}
	s.noting.Lock() // the last note is the newest
	defer s.noting.Unlock()
	s.mu.Lock()
	noted := make([]notedSession, 0, len(s.sessions))
	for _, one := range s.sessions {
		noted = append(noted, notedSession{one.id, one.path, one.name, one.kind, one.kernel.id, one.made})
	}
	s.mu.Unlock()
	if err := s.cfg.Keeper.Note(s.ctx, noted); err != nil && s.ctx.Err() == nil {
		s.cfg.Log.LogAttrs(s.ctx, slog.LevelWarn, "sessions are not kept for a restart", slog.String("err", err.Error()))
	}
}

// Resume takes up the kernels and sessions of a server that was killed, with the
// cells that run, and begins to warm up the default kernel. It is called once,
// before the first request.
func (s *Server) Resume(ctx context.Context) error {
	if s.cfg.Keeper == nil {
		return nil
	}
	found, note, err := s.cfg.Keeper.Resume(ctx)
	if err != nil {
		return err
	}
	s.mu.Lock()
	var begin []func()
	for _, f := range found {
		l := newLive(f.ID, f.Spec, f.Dir, s.cfg.State, s.cfg.Log)
		after := l.restore(&f)
		cfg := s.kernelConfig(f.Spec)
		cfg.Dir = f.Dir
		if s.cfg.Env != nil {
			cfg.Env = s.cfg.Env()
		}
		s.kernels[f.ID] = l
		begin = append(begin, func() {
			l.launch(s.ctx, func(ctx context.Context) (process, error) {
				k, err := s.cfg.Keeper.Attach(ctx, f, after, cfg, s.kernelConfig(f.Spec))
				if err != nil {
					return nil, err
				}
				return k, nil
			})
			s.cfg.Log.LogAttrs(s.ctx, slog.LevelInfo, "kernel found again", slog.String("kernel_id", f.ID), slog.String("state", f.State))
		})
		for session := range f.Sessions {
			if name, is := strings.CutPrefix(session, documentSessions); is {
				begin = append(begin, func() { s.background.Go(func() { s.reopen(l, name) }) })
			}
		}
	}
	var noted []notedSession
	if len(note) > 0 {
		if err := json.Unmarshal(note, &noted); err != nil {
			s.cfg.Log.LogAttrs(ctx, slog.LevelWarn, "sessions are lost", slog.String("err", err.Error()))
		}
	}
	for _, n := range noted {
		if l := s.kernels[n.Kernel]; l != nil {
			s.sessions[n.ID] = &session{id: n.ID, path: n.Path, name: n.Name, kind: n.Kind, kernel: l, made: n.Made}
		}
	}
	s.mu.Unlock()
	for _, do := range begin {
		do()
	}
	s.prepare()
	return nil
}

// reopen opens a live document whose cells ran when the server ended: it goes on
// with them. One that cannot be opened is no client any more.
func (s *Server) reopen(l *live, name string) {
	if _, err := s.documents.Open(s.ctx, name); err != nil {
		s.cfg.Log.LogAttrs(s.ctx, slog.LevelWarn, "a live document cannot go on", slog.String("document", name), slog.String("err", err.Error()))
		l.forget(documentSessions + name)
	}
}

// forget ends a client that is not coming back.
func (l *live) forget(session string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if c := l.clients[session]; c != nil {
		delete(l.clients, session)
		c.end()
	}
}

var _ process = (*keeper.Kernel)(nil)

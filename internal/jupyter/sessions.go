package jupyter

import (
	"context"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/google/uuid"

	"quire/internal/api"
	"quire/internal/problem"
)

// A session ties a document to a kernel.
type session struct {
	id, path, name, kind string
	kernel               *live
	made                 time.Time
}

// A sessionModel is Jupyter's description of a session.
type sessionModel struct {
	ID       string        `json:"id"`
	Path     string        `json:"path"`
	Name     string        `json:"name"`
	Type     string        `json:"type"`
	Kernel   kernelModel   `json:"kernel"`
	Notebook *sessionPaper `json:"notebook,omitempty"`
}

type sessionPaper struct {
	Path string `json:"path"`
	Name string `json:"name"`
}

func (s *Server) sessionRoutes() []route {
	return []route{
		{pattern: "GET /api/sessions", handler: s.listSessions},
		{pattern: "POST /api/sessions", handler: s.postSession},
		{pattern: "GET /api/sessions/{id}", handler: s.getSession},
		{pattern: "PATCH /api/sessions/{id}", handler: s.patchSession},
		{pattern: "DELETE /api/sessions/{id}", handler: s.deleteSession},
	}
}

func (s *Server) session(id string) (*session, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if one := s.sessions[id]; one != nil {
		return one, nil
	}
	return nil, problem.New(problem.NotFound, "no session %s", clip(id, 64))
}

// model describes a session as it is now.
func (s *Server) sessionModel(one *session) sessionModel {
	s.mu.Lock()
	m := sessionModel{ID: one.id, Path: one.path, Name: one.name, Type: one.kind}
	l := one.kernel
	s.mu.Unlock()
	m.Kernel = l.model()
	if m.Type == "notebook" {
		m.Notebook = &sessionPaper{Path: m.Path, Name: m.Name}
	}
	return m
}

func (s *Server) listSessions(w http.ResponseWriter, _ *http.Request) error {
	s.mu.Lock()
	all := make([]*session, 0, len(s.sessions))
	for _, one := range s.sessions {
		all = append(all, one)
	}
	s.mu.Unlock()
	slices.SortFunc(all, func(a, b *session) int { return a.made.Compare(b.made) })
	models := []sessionModel{}
	for _, one := range all {
		models = append(models, s.sessionModel(one))
	}
	return api.WriteJSON(w, http.StatusOK, models)
}

// A sessionRequest is what a client sends to make or change a session. Fields
// that are absent are nil.
type sessionRequest struct {
	Path     *string `json:"path"`
	Name     *string `json:"name"`
	Type     *string `json:"type"`
	Notebook *struct {
		Path string `json:"path"`
		Name string `json:"name"`
	} `json:"notebook"`
	Kernel *struct {
		ID   *string `json:"id"`
		Name *string `json:"name"`
	} `json:"kernel"`
}

func (q *sessionRequest) kernelID() string {
	if q.Kernel == nil || q.Kernel.ID == nil {
		return ""
	}
	return *q.Kernel.ID
}

func (q *sessionRequest) kernelName() string {
	if q.Kernel == nil || q.Kernel.Name == nil {
		return ""
	}
	return *q.Kernel.Name
}

const maxSessionText = 4096

func (q *sessionRequest) validate() error {
	for _, text := range []*string{q.Path, q.Name, q.Type} {
		if text != nil && len(*text) > maxSessionText {
			return problem.New(problem.TooLarge, "a session's path, name and type have at most %d bytes", maxSessionText)
		}
	}
	return nil
}

func (s *Server) postSession(w http.ResponseWriter, r *http.Request) error {
	var q sessionRequest
	if err := readJSON(r, &q); err != nil {
		return err
	}
	if q.Notebook != nil && q.Path == nil { // as clients before Jupyter 5 send it
		kind := "notebook"
		q.Path, q.Name, q.Type = &q.Notebook.Path, &q.Notebook.Name, &kind
	}
	if q.Path == nil {
		return problem.New(problem.Invalid, "path: say which document the session is for")
	}
	if q.Type == nil || *q.Type == "" {
		return problem.New(problem.Invalid, "type: want notebook, console or file")
	}
	if err := q.validate(); err != nil {
		return err
	}
	release, err := s.holdPath(r.Context(), *q.Path)
	if err != nil {
		return err
	}
	defer release()
	one := s.sessionAt(*q.Path)
	if one == nil {
		if one, err = s.newSession(r.Context(), &q); err != nil {
			if problem.Is(err, problem.NotFound) && q.kernelID() == "" {
				return noKernelspec(w, q.kernelName(), err)
			}
			return err
		}
	}
	w.Header().Set("Location", s.cfg.Base+"/api/sessions/"+url.PathEscape(one.id))
	return api.WriteJSON(w, http.StatusCreated, s.sessionModel(one))
}

// noKernelspec answers as Jupyter's server does when a kernel is not installed.
func noKernelspec(w http.ResponseWriter, name string, err error) error {
	return api.WriteJSON(w, http.StatusNotImplemented, map[string]any{
		"message":       "The '" + clip(name, 80) + "' kernel is not available. Please pick another suitable kernel instead, or install that kernel.",
		"short_message": clip(name, 80) + " not found", "reason": api.ErrorText(err),
	})
}

// holdPath lets one request at a time make the session of a path.
func (s *Server) holdPath(ctx context.Context, path string) (func(), error) {
	for {
		s.mu.Lock()
		busy := s.creating[path]
		if busy == nil {
			done := make(chan struct{})
			s.creating[path] = done
			s.mu.Unlock()
			return func() {
				s.mu.Lock()
				delete(s.creating, path)
				s.mu.Unlock()
				close(done)
			}, nil
		}
		s.mu.Unlock()
		select {
		case <-busy:
		case <-ctx.Done():
			return nil, problem.Wrap(ctx.Err(), "waiting for the session of %s", clip(path, 200))
		}
	}
}

func (s *Server) sessionAt(path string) *session {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, one := range s.sessions {
		if one.path == path {
			return one
		}
	}
	return nil
}

// newSession makes a session with a kernel that runs, or a new one.
func (s *Server) newSession(ctx context.Context, q *sessionRequest) (*session, error) {
	one := &session{id: uuid.NewString(), path: *q.Path, kind: *q.Type, made: time.Now()}
	if q.Name != nil {
		one.name = *q.Name
	}
	var err error
	if id := q.kernelID(); id != "" {
		one.kernel, err = s.kernel(id)
	} else {
		one.kernel, err = s.startKernel(ctx, q.kernelName(), *q.Path, *q.Path)
	}
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	s.sessions[one.id] = one
	s.mu.Unlock()
	s.noteSessions()
	return one, nil
}

func (s *Server) getSession(w http.ResponseWriter, r *http.Request) error {
	one, err := s.session(r.PathValue("id"))
	if err != nil {
		return err
	}
	return api.WriteJSON(w, http.StatusOK, s.sessionModel(one))
}

func (s *Server) patchSession(w http.ResponseWriter, r *http.Request) error {
	one, err := s.session(r.PathValue("id"))
	if err != nil {
		return err
	}
	var q sessionRequest
	if err := readJSON(r, &q); err != nil {
		return err
	}
	if err := q.validate(); err != nil {
		return err
	}
	s.mu.Lock()
	for field, value := range map[*string]*string{&one.path: q.Path, &one.name: q.Name, &one.kind: q.Type} {
		if value != nil {
			*field = *value
		}
	}
	path, before := one.path, one.kernel
	s.mu.Unlock()
	if err := s.changeKernel(r.Context(), one, path, before, &q); err != nil {
		return err
	}
	s.noteSessions()
	return api.WriteJSON(w, http.StatusOK, s.sessionModel(one))
}

// changeKernel gives a session the kernel that a PATCH asks for, and ends the
// one before when no session uses it.
func (s *Server) changeKernel(ctx context.Context, one *session, path string, before *live, q *sessionRequest) error {
	var next *live
	var err error
	switch {
	case q.kernelID() == before.id:
		return nil
	case q.kernelID() != "":
		if next, err = s.kernel(q.kernelID()); err != nil {
			return problem.New(problem.Invalid, "no kernel %s to change to", clip(q.kernelID(), 64))
		}
	case q.kernelName() != "":
		if next, err = s.startKernel(ctx, q.kernelName(), path, path); err != nil {
			return err
		}
	default:
		return nil
	}
	s.mu.Lock()
	one.kernel = next
	used := false
	for _, other := range s.sessions {
		used = used || other.kernel == before
	}
	s.mu.Unlock()
	if used {
		return nil
	}
	if err := s.shutdownKernel(ctx, before.id); err != nil && !problem.Is(err, problem.NotFound) {
		return err
	}
	return nil
}

func (s *Server) deleteSession(w http.ResponseWriter, r *http.Request) error {
	one, err := s.session(r.PathValue("id"))
	if err != nil {
		return err
	}
	s.mu.Lock()
	delete(s.sessions, one.id)
	id := one.kernel.id
	s.mu.Unlock()
	if err := s.shutdownKernel(r.Context(), id); err != nil && !problem.Is(err, problem.NotFound) {
		return err
	}
	return noContent(w)
}

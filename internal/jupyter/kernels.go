package jupyter

import (
	"context"
	"errors"
	"maps"
	"net/http"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/coder/websocket"
	"github.com/google/uuid"

	"quire/internal/api"
	"quire/internal/contents"
	"quire/internal/kernel"
	"quire/internal/kernel/wire"
	"quire/internal/problem"
)

// maxKernels bounds what a client may start.
const maxKernels = 500

func (s *Server) kernelRoutes() []route {
	return []route{
		{pattern: "GET /api/kernels", handler: s.listKernels},
		{pattern: "POST /api/kernels", handler: s.postKernel},
		{pattern: "GET /api/kernels/{id}", handler: s.getKernel},
		{pattern: "DELETE /api/kernels/{id}", handler: s.deleteKernel},
		{pattern: "POST /api/kernels/{id}/interrupt", handler: s.interruptKernel},
		{pattern: "POST /api/kernels/{id}/restart", handler: s.restartKernel},
		{pattern: "GET /api/kernels/{id}/channels", handler: s.channels},
		{pattern: "GET /api/kernelspecs", handler: s.listSpecs},
		{pattern: "GET /api/kernelspecs/{name}", handler: s.getSpec},
		{pattern: "GET /kernelspecs/{name}/{file}", handler: s.specFile},
	}
}

func (s *Server) allKernels() []*live {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.SortedFunc(maps.Values(s.kernels), func(a, b *live) int { return a.made.Compare(b.made) })
}

// kernel returns the kernel with the id; the error has kind NotFound.
func (s *Server) kernel(id string) (*live, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if l := s.kernels[id]; l != nil {
		return l, nil
	}
	return nil, problem.New(problem.NotFound, "no kernel %s: it was shut down, or the server was started again since", clip(id, 64))
}

func (s *Server) listKernels(w http.ResponseWriter, _ *http.Request) error {
	models := []kernelModel{}
	for _, l := range s.allKernels() {
		models = append(models, l.model())
	}
	return api.WriteJSON(w, http.StatusOK, models)
}

func (s *Server) postKernel(w http.ResponseWriter, r *http.Request) error {
	var body struct {
		Name string `json:"name"`
		Path string `json:"path"`
	}
	if err := readJSON(r, &body); err != nil {
		return err
	}
	l, err := s.startKernel(r.Context(), body.Name, body.Path, "")
	if err != nil {
		return err
	}
	w.Header().Set("Location", s.cfg.Base+"/api/kernels/"+url.PathEscape(l.id))
	return api.WriteJSON(w, http.StatusCreated, l.model())
}

// startKernel starts a kernel in the directory of a contents path, which may
// also name a file there. sessionName is the notebook's path for the kernel.
func (s *Server) startKernel(ctx context.Context, name, path, sessionName string) (*live, error) {
	if name == "" {
		name = s.defaultKernel()
	}
	spec, err := s.cfg.Kernels.Find(name)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	count := len(s.kernels)
	s.mu.Unlock()
	if count >= maxKernels {
		return nil, problem.New(problem.Unavailable, "%d kernels run already: shut some down first", count)
	}
	cfg := s.kernelConfig(spec)
	cfg.Dir = s.directory(ctx, path)
	if s.cfg.Env != nil {
		cfg.Env = append(cfg.Env, s.cfg.Env()...)
	}
	if sessionName != "" {
		cfg.Env = append(cfg.Env, "JPY_SESSION_NAME="+s.disk(sessionName), "QUIRE_NOTEBOOK="+s.full(sessionName))
	}
	l := newLive(uuid.NewString(), spec, cfg.Dir, s.cfg.State, s.cfg.Log)
	s.mu.Lock()
	closed := s.closed
	if !closed {
		s.kernels[l.id] = l
		// The one who asked may go away; the kernel starts all the same.
		l.launch(s.ctx, s.starter(l.id, cfg))
	}
	s.mu.Unlock()
	if closed {
		return nil, problem.New(problem.Unavailable, "the server is stopping")
	}
	if err := s.atOnce(l); err != nil {
		return nil, err
	}
	s.events.kernel("start", l)
	return l, nil
}

// startPatience is how long the answer to a start waits for a kernel that is
// there at once, or cannot be started at all. Clients go on with one that is
// starting.
const startPatience = 100 * time.Millisecond

// atOnce returns the error of a kernel whose start fails at once; it is
// forgotten.
func (s *Server) atOnce(l *live) error {
	timer := time.NewTimer(startPatience)
	defer timer.Stop()
	select {
	case <-l.started:
	case <-timer.C:
		return nil
	}
	l.mu.Lock()
	failed := l.k == nil && l.state == stateDead
	err := l.failed
	l.mu.Unlock()
	if !failed {
		return nil
	}
	s.mu.Lock()
	delete(s.kernels, l.id)
	s.mu.Unlock()
	return errors.Join(err, l.close(context.WithoutCancel(s.ctx)))
}

// starter starts a kernel at the keeper, or in this process where there is none.
func (s *Server) starter(id string, cfg kernel.Config) starter {
	base := s.kernelConfig(cfg.Spec)
	if s.cfg.Keeper != nil {
		return func(ctx context.Context) (process, error) {
			k, err := s.cfg.Keeper.Start(ctx, id, cfg, base)
			if err != nil {
				return nil, err
			}
			s.noteSessions() // also of the kernels that were there before this keeper
			return k, nil
		}
	}
	return func(ctx context.Context) (process, error) {
		k, err := s.pools.Get(ctx, cfg, base)
		if err != nil {
			return nil, err
		}
		return ownProcess{k}, nil
	}
}

// Adopt takes a kernel that runs already, which the server owns from now on.
// cwd is where it was started.
func (s *Server) Adopt(k *kernel.Kernel, cwd string) {
	l := newLive(k.ID(), k.Spec(), cwd, s.cfg.State, s.cfg.Log)
	l.launch(s.ctx, func(context.Context) (process, error) { return ownProcess{k}, nil })
	s.mu.Lock()
	s.kernels[l.id] = l
	s.mu.Unlock()
	s.events.kernel("start", l)
}

func (s *Server) kernelConfig(spec kernel.Spec) kernel.Config {
	return kernel.Config{
		Spec: spec, Dir: s.cfg.Dir, Log: s.cfg.Log, SpillDir: s.cfg.State, StartTimeout: s.cfg.StartTimeout, Username: s.cfg.User.Name,
	}
}

// directory returns where on the disk a kernel for a contents path starts: the
// directory itself or the one that holds the file; the folder's root when there
// is none such, as for paths that a client has made up.
func (s *Server) directory(ctx context.Context, path string) string {
	for p := strings.Trim(path, "/"); p != ""; p = parent(p) {
		e, err := s.cfg.Volume.Stat(ctx, s.cfg.User, s.full(p))
		if err == nil && e.Type == contents.Directory {
			return s.disk(p)
		}
	}
	return s.cfg.Dir
}

// full returns the path on the volume of a client's path: of the person's own files
// and, where it says so, of those in the shared folder. No file of their own has such
// a path: names that begin with a dot are hidden.
func (s *Server) full(path string) string {
	path = strings.Trim(path, "/")
	if rest, ok := s.shared(path); ok {
		return strings.Trim("shared/"+rest, "/")
	}
	return strings.Trim("users/"+s.cfg.User.Name+"/"+path, "/")
}

// shared returns the rest of a client's path of a file in the shared folder.
func (s *Server) shared(path string) (string, bool) {
	if path == contents.BesideHome {
		return "", s.cfg.Shared != ""
	}
	rest, ok := strings.CutPrefix(path, contents.BesideHome+"/")
	return rest, ok && s.cfg.Shared != ""
}

// disk returns where a client's path is on the disk.
func (s *Server) disk(path string) string {
	if rest, ok := s.shared(strings.Trim(path, "/")); ok {
		return filepath.Join(s.cfg.Shared, filepath.FromSlash(rest))
	}
	return filepath.Join(s.cfg.Dir, filepath.FromSlash(path))
}

func parent(path string) string {
	dir, _, found := cutLast(path, "/")
	if !found {
		return ""
	}
	return dir
}

func cutLast(s, sep string) (before, after string, found bool) {
	if i := strings.LastIndex(s, sep); i >= 0 {
		return s[:i], s[i+len(sep):], true
	}
	return s, "", false
}

func (s *Server) getKernel(w http.ResponseWriter, r *http.Request) error {
	l, err := s.kernel(r.PathValue("id"))
	if err != nil {
		return err
	}
	return api.WriteJSON(w, http.StatusOK, l.model())
}

func (s *Server) deleteKernel(w http.ResponseWriter, r *http.Request) error {
	if err := s.shutdownKernel(r.Context(), r.PathValue("id")); err != nil {
		return err
	}
	return noContent(w)
}

// shutdownKernel ends a kernel and forgets it and its sessions.
func (s *Server) shutdownKernel(ctx context.Context, id string) error {
	l, err := s.kernel(id)
	if err != nil {
		return err
	}
	s.mu.Lock()
	delete(s.kernels, id)
	for sid, one := range s.sessions {
		if one.kernel == l {
			delete(s.sessions, sid)
		}
	}
	s.mu.Unlock()
	s.noteSessions()
	// The client that asked may go away; the kernel ends all the same.
	err = l.close(context.WithoutCancel(ctx))
	s.events.kernel("shutdown", l)
	return err
}

func (s *Server) interruptKernel(w http.ResponseWriter, r *http.Request) error {
	l, err := s.kernel(r.PathValue("id"))
	if err != nil {
		return err
	}
	k, err := l.process()
	if err != nil {
		return err
	}
	if err := k.Interrupt(r.Context()); err != nil {
		return err
	}
	s.events.kernel("interrupt", l)
	return noContent(w)
}

func (s *Server) restartKernel(w http.ResponseWriter, r *http.Request) error {
	l, err := s.kernel(r.PathValue("id"))
	if err != nil {
		return err
	}
	if err := l.again(context.WithoutCancel(r.Context())); err != nil {
		return err
	}
	s.events.kernel("restart", l)
	return api.WriteJSON(w, http.StatusOK, l.model())
}

// channels is the WebSocket that carries all channels of a kernel. A client that
// comes back with its session_id may say in last_seen the msg_id of the last
// message that it saw: then it gets what follows, each once.
func (s *Server) channels(w http.ResponseWriter, r *http.Request) error {
	l, err := s.kernel(r.PathValue("id"))
	if err != nil {
		return err
	}
	session := clip(r.URL.Query().Get("session_id"), 200)
	if session == "" {
		session = uuid.NewString()
	}
	conn, err := accept(w, r, protocolV1)
	if err != nil || conn == nil {
		return err
	}
	c := l.join(session)
	if c == nil {
		_ = conn.Close(websocket.StatusGoingAway, "the kernel was shut down")
		return nil
	}
	ctx, cancel := s.untilClosed(r.Context())
	defer cancel()
	c.serve(ctx, conn, framingFor(conn.Subprotocol()), clip(r.URL.Query().Get("last_seen"), 200), func(ctx context.Context, m *wire.Message) { l.send(ctx, c, m) })
	return nil
}

// untilClosed returns a context that ends with ctx or with the Server.
func (s *Server) untilClosed(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(s.ctx, cancel)
	return ctx, func() { stop(); cancel() }
}

// accept makes a request a WebSocket; nil when it was none and was answered.
// The router has checked the origin.
func accept(w http.ResponseWriter, r *http.Request, protocols ...string) (*websocket.Conn, error) {
	if r.Header.Get("Upgrade") == "" {
		return nil, problem.New(problem.Invalid, "this address speaks WebSocket only")
	}
	conn, err := websocket.Accept(w, r, &websocket.AcceptOptions{
		Subprotocols: protocols, InsecureSkipVerify: true, CompressionMode: websocket.CompressionDisabled,
	})
	if err != nil {
		return nil, nil //nolint:nilerr,nilnil // Accept has answered with the reason
	}
	return conn, nil
}

// Kernels returns how many kernels clients have started and not ended.
func (s *Server) Kernels() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.kernels)
}

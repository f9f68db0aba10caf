package jupyter

import (
	"context"
	"net/http"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"sync"

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
	all := make([]*live, 0, len(s.kernels))
	for _, l := range s.kernels {
		all = append(all, l)
	}
	slices.SortFunc(all, func(a, b *live) int { return a.k.StartedAt().Compare(b.k.StartedAt()) })
	return all
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
	w.Header().Set("Location", s.cfg.Base+"/api/kernels/"+url.PathEscape(l.k.ID()))
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
	if sessionName != "" {
		cfg.Env = append(cfg.Env, "JPY_SESSION_NAME="+filepath.Join(s.cfg.Dir, filepath.FromSlash(sessionName)))
	}
	k, err := s.pools.get(ctx, s, cfg)
	if err != nil {
		return nil, err
	}
	l := newLive(k, cfg.Dir, s.cfg.State, s.cfg.Log)
	s.mu.Lock()
	if !s.closed {
		s.kernels[k.ID()] = l
	}
	closed := s.closed
	s.mu.Unlock()
	if closed {
		_ = l.close(context.WithoutCancel(ctx))
		return nil, problem.New(problem.Unavailable, "the server is stopping")
	}
	s.events.kernel("start", l)
	return l, nil
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
			return filepath.Join(s.cfg.Dir, filepath.FromSlash(p))
		}
	}
	return s.cfg.Dir
}

// full returns the path on the volume of a client's path.
func (s *Server) full(path string) string {
	return strings.Trim("users/"+s.cfg.User.Name+"/"+strings.Trim(path, "/"), "/")
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
	if err := l.k.Interrupt(r.Context()); err != nil {
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

// channels is the WebSocket that carries all channels of a kernel.
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
	c.serve(ctx, conn, framingFor(conn.Subprotocol()), func(ctx context.Context, m *wire.Message) { l.send(ctx, c, m) })
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

// pools are the started kernels that wait, by the directory of their spec.
type pools struct {
	mu     sync.Mutex
	pools  map[string]*kernel.Pool
	closed bool
}

// maxPools bounds the kernelspecs that have kernels waiting.
const maxPools = 4

// prepare begins to start waiting kernels of a spec.
func (p *pools) prepare(s *Server, spec kernel.Spec) *kernel.Pool {
	if s.cfg.Warm < 1 {
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if pool := p.pools[spec.Dir]; pool != nil || p.closed || len(p.pools) >= maxPools {
		return pool
	}
	pool, err := kernel.NewPool(s.kernelConfig(spec), min(s.cfg.Warm, 8))
	if err != nil {
		return nil
	}
	if p.pools == nil {
		p.pools = map[string]*kernel.Pool{}
	}
	p.pools[spec.Dir] = pool
	return pool
}

// get returns a kernel as cfg asks for, a waiting one when there is one.
func (p *pools) get(ctx context.Context, s *Server, cfg kernel.Config) (*kernel.Kernel, error) {
	p.mu.Lock()
	pool := p.pools[cfg.Spec.Dir]
	p.mu.Unlock()
	if pool != nil {
		return pool.Get(ctx, cfg)
	}
	k, err := kernel.Start(ctx, cfg)
	if err == nil {
		p.prepare(s, cfg.Spec)
	}
	return k, err
}

func (p *pools) close() {
	p.mu.Lock()
	p.closed = true
	all := p.pools
	p.pools = nil
	p.mu.Unlock()
	for _, pool := range all {
		_ = pool.Close()
	}
}

// Kernels returns how many kernels clients have started and not ended.
func (s *Server) Kernels() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.kernels)
}

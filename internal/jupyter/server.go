package jupyter

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"quire/internal/api"
	"quire/internal/auth"
	"quire/internal/contents"
	"quire/internal/kernel"
	"quire/internal/kernel/keeper"
	"quire/internal/problem"
	documents "quire/internal/session"
)

// A Config is what a Server needs. Volume, User, Dir, State and Sessions are
// required.
type Config struct {
	Volume   *contents.Volume
	Sessions *auth.Sessions
	User     auth.User // whose folder it is; their workspace is users/<name>
	Dir      string    // the workspace on the disk, absolute: where kernels and terminals start
	Shared   string    // the shared folder on the disk, absolute: .shared/ in clients' paths; "" is none
	State    string    // directory for settings and for what waits for slow clients
	Version  string    // of Quire
	Base     string    // the path under which everything is served: "" or "/user/ann"

	Kernels       kernel.Finder
	DefaultKernel string // empty: python3 if it is installed, else the first
	Warm          int    // started kernels kept waiting for each kernelspec in use, at most 8; 0 is none
	// Keeper lets kernels outlive a server that is killed: see Resume. With nil they
	// are processes of this one.
	Keeper       *keeper.Keeper
	StartTimeout time.Duration // of a kernel; zero is kernel.DefaultStartTimeout
	NoTerminals  bool          // no shells
	// Env is what kernels and terminals find in their environment besides; nil is
	// nothing. It is asked at each start.
	Env func() []string
	Lab string // directory of a built JupyterLab, share/jupyter/lab; empty is none

	Stop func() // ends the server, for POST /api/shutdown; nil answers 403
	Log  *slog.Logger
}

// A Server is the Jupyter server for one folder. It is safe for concurrent use.
// Close ends its kernels and terminals.
type Server struct {
	cfg     Config
	started time.Time
	active  atomic.Int64 // Unix nanoseconds of the last request that counts
	events  eventHub
	pools   *kernel.Pools // of kernels in this process
	noting  sync.Mutex    // one note to the keeper at a time

	ctx    context.Context // ends with the Server
	cancel context.CancelFunc

	background sync.WaitGroup // what nobody waits for

	mu        sync.Mutex
	closed    bool
	kernels   map[string]*live
	sessions  map[string]*session
	terminals map[string]*terminal
	creating  map[string]chan struct{} // paths whose session is being made

	documents *documents.Rooms
	holds     holds
	languages languageUse
}

// New returns a Server and begins to warm up the default kernel.
func New(cfg Config) (*Server, error) {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if err := os.MkdirAll(filepath.Join(cfg.State, settingsDir), 0o700); err != nil {
		return nil, problem.WrapAs(problem.Unavailable, err, "making the folder for settings")
	}
	ctx, cancel := context.WithCancel(context.Background())
	s := &Server{
		cfg: cfg, started: time.Now(), ctx: ctx, cancel: cancel,
		kernels: map[string]*live{}, sessions: map[string]*session{},
		terminals: map[string]*terminal{}, creating: map[string]chan struct{}{}, pools: kernel.NewPools(cfg.Warm),
	}
	if err := s.openDocuments(); err != nil {
		cancel()
		return nil, err
	}
	s.touch()
	if cfg.Keeper == nil {
		s.prepare()
	}
	return s, nil
}

// prepare begins to start waiting kernels of the default kernelspec.
func (s *Server) prepare() {
	spec, err := s.cfg.Kernels.Find(s.defaultKernel())
	if err != nil {
		return // who wants a kernel is told
	}
	if s.cfg.Keeper == nil {
		s.pools.Prepare(s.kernelConfig(spec))
		return
	}
	s.background.Go(func() {
		if err := s.cfg.Keeper.Prepare(s.ctx, s.kernelConfig(spec)); err != nil && s.ctx.Err() == nil {
			s.cfg.Log.LogAttrs(s.ctx, slog.LevelWarn, "no kernel waits", slog.String("kernel", spec.Name), slog.String("err", err.Error()))
		}
	})
}

// Close ends kernels, terminals and connections, and returns when they are
// gone. Twice is fine.
func (s *Server) Close() error {
	s.mu.Lock()
	s.closed = true
	var kernels []*live
	for _, l := range s.kernels {
		kernels = append(kernels, l)
	}
	var terminals []*terminal
	for _, t := range s.terminals {
		terminals = append(terminals, t)
	}
	clear(s.kernels)
	clear(s.sessions)
	s.mu.Unlock()
	s.cancel()
	if err := s.documents.Close(); err != nil {
		s.cfg.Log.LogAttrs(context.Background(), slog.LevelWarn, "live documents did not end well", slog.String("err", err.Error()))
	}
	var wg sync.WaitGroup
	for _, l := range kernels {
		wg.Go(func() {
			if err := l.close(context.Background()); err != nil {
				s.cfg.Log.LogAttrs(context.Background(), slog.LevelWarn, "kernel did not end well", slog.String("err", err.Error()))
			}
		})
	}
	for _, t := range terminals {
		wg.Go(t.close)
	}
	wg.Wait()
	s.languages.close()
	s.background.Wait()
	s.pools.Close()
	if s.cfg.Keeper != nil {
		return s.cfg.Keeper.Close()
	}
	return nil
}

// touch notes a request that counts as activity.
func (s *Server) touch() { s.active.Store(time.Now().UnixNano()) }

// LastActivity is when somebody or a kernel did something last.
func (s *Server) LastActivity() time.Time {
	last := time.Unix(0, s.active.Load())
	for _, l := range s.allKernels() {
		if at := l.model().LastActivity; at.After(last) {
			last = at
		}
	}
	for _, t := range s.allTerminals() {
		if at := t.model().LastActivity; at.After(last) {
			last = at
		}
	}
	return last.UTC().Truncate(time.Microsecond)
}

// A route is one line of the tables below.
type route struct {
	pattern string
	handler api.Handler
	quiet   bool // no activity
}

// Register adds every route of the Jupyter API but files' and checkpoints',
// which are api.RegisterWorkspace's.
func (s *Server) Register(rt *api.Router) {
	policy := api.Policy{Access: api.SignedIn, QueryToken: true}
	for _, table := range [][]route{
		s.serverRoutes(), s.kernelRoutes(), s.sessionRoutes(), s.terminalRoutes(), s.exportRoutes(), s.labRoutes(), s.collaborationRoutes(), s.languageRoutes(),
	} {
		for _, r := range table {
			rt.Handle(r.pattern, policy, s.counted(r))
		}
	}
	s.registerOpen(rt)
}

// counted makes a request to a route count as activity.
func (s *Server) counted(r route) api.Handler {
	return func(w http.ResponseWriter, req *http.Request) error {
		if !r.quiet {
			s.touch()
		}
		return r.handler(w, req)
	}
}

// readJSON decodes a request's body as Jupyter's clients send it: unknown
// fields are ignored, and an empty body is an empty object.
func readJSON(r *http.Request, v any) error {
	dec := json.NewDecoder(r.Body)
	err := dec.Decode(v)
	if err != nil && err.Error() == "EOF" {
		return nil
	}
	return problem.WrapAs(problem.Invalid, err, "reading the request's JSON")
}

func noContent(w http.ResponseWriter) error {
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// clip shortens foreign text.
func clip(s string, n int) string {
	if len(s) > n {
		return s[:n] + "..."
	}
	return s
}

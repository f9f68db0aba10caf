package server

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"quire/internal/api"
	"quire/internal/contents"
	"quire/internal/db/sqlite"
	"quire/internal/jupyter"
	"quire/internal/kernel"
	"quire/internal/kernel/keeper"
	"quire/internal/problem"
	"quire/internal/run"
	"quire/internal/socket"
)

// A NotebookConfig is all that can be chosen about a notebook server. The zero
// value of each field but Dir is its default.
type NotebookConfig struct {
	// Dir is the folder that is served. It must be there.
	Dir string
	// Shared is the platform's shared folder, whose notebooks can be opened, too, as
	// .shared/ of the folder. Default: none.
	Shared string
	// Listen is the address to answer on, HOST:PORT; port 0 picks a free one.
	// Default 127.0.0.1:8888, or a free port when that one is taken.
	Listen string
	// Data is where versions, settings and the token are kept, outside Dir.
	// Default quire/notebooks/<hash of Dir> in the user's data directory.
	Data string
	// Token is the access token, at least 16 characters. Default: made at the
	// first start and kept in Data.
	Token string
	// User is the name of the person. Default: the operating system's user.
	User string
	// BaseURL is the path that everything is served under, such as "/user/ann/".
	// Default "/".
	BaseURL string
	// Hosts are further values of the Host header to answer, HOST:PORT.
	Hosts []string
	// InsecureBehindProxy allows an address other than loopback without TLS.
	InsecureBehindProxy bool
	// Kernel is the kernelspec for who names none. Default: python3.
	Kernel string
	// Warm is how many started kernels wait for each kernelspec in use: 1 to 8,
	// some 60 MB each; -1 is none. Default 1.
	Warm int
	// NoTerminals leaves shells out.
	NoTerminals bool
	// Socket is the path of a Unix socket to answer on, instead of Listen: for a
	// platform that passes requests on. The host is then localhost, and no address
	// to open is known. Default: none.
	Socket string
	// Idle ends the server when for so long nobody was connected and no kernel or
	// terminal did anything; a kernel that is busy is never ended. Default: never.
	Idle time.Duration
	// Hub is the JupyterHub that has started this server; nil is none.
	Hub *Hub
	// Keeper starts the process that keeps the kernels, so that they outlive this
	// one when it is killed: a program and its arguments, to which a directory is
	// added. Empty: kernels are processes of this one.
	Keeper []string
	// Adopt is a kernel that runs already; nil is none. The server owns it, also
	// when it does not open.
	Adopt *kernel.Kernel
	// AdoptDir is where that kernel was started.
	AdoptDir string
}

var baseURLPattern = regexp.MustCompile(`^(/[A-Za-z0-9][A-Za-z0-9._~@+-]*)*$`)

// validate fills in defaults.
func (c *NotebookConfig) validate() error {
	dir, err := filepath.Abs(c.Dir)
	if err != nil {
		return problem.WrapAs(problem.Invalid, err, "finding the folder")
	}
	if dir, err = filepath.EvalSymlinks(dir); err != nil {
		return problem.New(problem.NotFound, "the folder %s does not exist", c.Dir)
	}
	if info, err := os.Stat(dir); err != nil || !info.IsDir() {
		return problem.New(problem.Invalid, "%s is not a folder", c.Dir)
	}
	c.Dir = dir
	if c.Shared != "" {
		if c.Shared, err = filepath.EvalSymlinks(c.Shared); err != nil {
			return problem.New(problem.NotFound, "the shared folder does not exist: %s", err)
		}
	}
	c.BaseURL = strings.TrimSuffix("/"+strings.Trim(c.BaseURL, "/"), "/")
	if !baseURLPattern.MatchString(c.BaseURL) || len(c.BaseURL) > 512 {
		return problem.New(problem.Invalid, "base URL %q: want a path such as /user/ann/", c.BaseURL)
	}
	if c.Warm == 0 {
		c.Warm = 1
	}
	if c.Warm < -1 || c.Warm > 8 {
		return problem.New(problem.Invalid, "%d waiting kernels: want 1 to 8, or -1 for none", c.Warm)
	}
	if c.Data == "" {
		sum := sha256.Sum256([]byte(dir))
		var base Config
		if err := base.validateData(); err != nil {
			return err
		}
		c.Data = filepath.Join(base.Data, "notebooks", hex.EncodeToString(sum[:6]))
	}
	if c.Data, err = filepath.Abs(c.Data); err != nil {
		return problem.WrapAs(problem.Invalid, err, "data")
	}
	return nil
}

// A Notebook is a Jupyter server for one folder.
type Notebook struct {
	cfg  NotebookConfig
	base *Server // data directory, records, volume, token, listener
	jup  *jupyter.Server
	idle *idleWatch
	pass relays   // in Data, when the platform has started this
	gate *hubGate // nil without a Hub
	stop context.CancelCauseFunc
	done context.Context
}

var errAskedToStop = errors.New("a client asked the server to stop")

// NewNotebook opens everything that cfg names and listens, but answers nothing
// before Serve. The caller closes it, also after Serve.
func NewNotebook(ctx context.Context, cfg NotebookConfig, opt Options) (*Notebook, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	platform := Config{
		Listen: cfg.Listen, Data: cfg.Data, Token: cfg.Token, User: cfg.User, Hosts: cfg.Hosts,
		InsecureBehindProxy: cfg.InsecureBehindProxy,
	}
	if err := platform.Validate(); err != nil {
		return nil, err
	}
	if opt.Log == nil {
		opt.Log = slog.New(slog.DiscardHandler)
	}
	n := &Notebook{cfg: cfg, base: &Server{cfg: platform, log: opt.Log, version: opt.Version}}
	n.done, n.stop = context.WithCancelCause(context.Background())
	if err := n.open(ctx); err != nil {
		return nil, errors.Join(err, n.Close())
	}
	return n, nil
}

func (n *Notebook) open(ctx context.Context) error {
	s := n.base
	if err := s.takeData(); err != nil {
		return err
	}
	var err error
	if s.db, err = sqlite.Open(ctx, s.data("quire.db")); err != nil {
		return err
	}
	versions, err := s.objectStore(ctx, "versions")
	if err != nil {
		return err
	}
	s.blobs = &contents.Blobs{Store: versions, Doomed: s.db}
	s.volume, err = contents.Open(ctx, contents.Config{
		Dir: s.data("files"), Blobs: s.blobs, Versions: s.db,
		Homes: map[string]string{s.cfg.User: n.cfg.Dir}, Shared: n.cfg.Shared, Log: s.log,
	})
	if err != nil {
		return err
	}
	if err := s.openUser(ctx); err != nil {
		return err
	}
	user, err := s.db.User(ctx, s.cfg.User)
	if err != nil {
		return err
	}
	var keep *keeper.Keeper
	if len(n.cfg.Keeper) > 0 {
		keep = keeper.New(s.data("kernels"), n.cfg.Keeper, n.cfg.Warm, s.log)
	}
	n.jup, err = jupyter.New(jupyter.Config{
		Volume: s.volume, Sessions: s.sessions, User: user, Dir: n.cfg.Dir, Shared: n.cfg.Shared, State: s.data("state"), Version: s.version,
		Base: n.cfg.BaseURL, DefaultKernel: n.cfg.Kernel, Warm: n.cfg.Warm, NoTerminals: n.cfg.NoTerminals, Keeper: keep,
		Lab: findLab(), Stop: func() { n.stop(errAskedToStop) }, Log: s.log,
		Env: func() []string { return n.pass.env(n.cfg.Data) },
	})
	if err != nil {
		return err
	}
	if n.cfg.Adopt != nil {
		n.jup.Adopt(n.cfg.Adopt, n.cfg.AdoptDir)
	}
	n.idle = &idleWatch{limit: n.cfg.Idle, busy: n.jup.Busy, active: n.jup.LastActivity}
	return n.listen()
}

// findLab returns where a built JupyterLab lies, "" when none is installed.
func findLab() string {
	for _, dir := range kernel.DefaultPaths() {
		lab := filepath.Join(dir, "lab")
		if _, err := os.Stat(filepath.Join(lab, "static", "index.html")); err == nil {
			return lab
		}
	}
	return ""
}

func (n *Notebook) listen() error {
	s := n.base
	var err error
	if n.cfg.Socket != "" {
		s.listener, err = socket.Listen(n.cfg.Socket)
	} else {
		s.listener, err = net.Listen("tcp", s.cfg.Listen)
		if s.cfg.anyPort && errors.Is(err, syscall.EADDRINUSE) {
			s.listener, err = net.Listen("tcp", "127.0.0.1:0")
		}
	}
	if err != nil {
		return problem.WrapAs(problem.Unavailable, err, "listening on %s", s.cfg.Listen)
	}
	rt := n.routes()
	var handler http.Handler = rt
	if n.cfg.Hub != nil {
		n.gate = &hubGate{
			hub: n.cfg.Hub, next: rt, base: n.cfg.BaseURL, cookie: rt.CookieName(), token: s.token, sessions: s.sessions, set: rt.SetSession,
			client: &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }},
			now:    time.Now, log: s.log,
			known: map[[32]byte]hubAnswer{}, people: map[[32]byte]string{}, waiting: map[string]hubWaiting{},
		}
		handler = n.gate
	}
	s.http = &http.Server{
		Handler: n.idle.counted(handler, isWatching), ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 64 << 10,
		ErrorLog: slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
	}
	s.http.RegisterOnShutdown(rt.EndStreams)
	return nil
}

func (n *Notebook) routes() *api.Router {
	s := n.base
	hosts := []string{socketHost}
	if addr, ok := s.listener.Addr().(*net.TCPAddr); ok && n.cfg.Hub == nil {
		port := fmt.Sprint(addr.Port)
		hosts = append([]string{
			net.JoinHostPort("127.0.0.1", port), net.JoinHostPort("localhost", port), net.JoinHostPort("::1", port),
		}, s.cfg.Hosts...)
	}
	m := newMetrics(func(context.Context) (map[run.State]int, error) { return nil, nil })
	m.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "quire_kernels", Help: "Kernels that clients have started.",
	}, func() float64 { return float64(n.jup.Kernels()) }))
	rt := api.NewRouter(api.Config{Sessions: s.sessions, Log: s.log, Hosts: hosts, Base: n.cfg.BaseURL, Observe: m.observe})
	m.register(rt)
	api.RegisterHealth(rt, s.ready)
	api.RegisterWorkspace(rt, s.volume, n.jup, s.cfg.User)
	n.jup.Register(rt)
	n.registerSaves(rt)
	return rt
}

// SignInURL is the address to open: it carries the token, and is printed once
// and never logged. It is empty for a server on a socket.
func (n *Notebook) SignInURL() string {
	if n.cfg.Socket != "" || n.cfg.Hub != nil {
		return ""
	}
	return strings.TrimSuffix(n.base.URL(), "/") + n.cfg.BaseURL + "/?token=" + n.base.token
}

// Serve answers requests until ctx ends or a client asks the server to stop.
// Then the kernels and terminals are ended.
func (n *Notebook) Serve(ctx context.Context) error {
	s := n.base
	if err := n.jup.Resume(ctx); err != nil {
		return err
	}
	s.http.BaseContext = func(net.Listener) context.Context { return context.WithoutCancel(ctx) }
	failed := make(chan error, 1)
	go func() { failed <- s.http.Serve(s.listener) }()
	watching, seen := context.WithCancel(ctx)
	defer seen()
	idle := make(chan bool, 1)
	go func() { idle <- n.idle.wait(watching) }()
	if n.gate != nil {
		var reports sync.WaitGroup
		reports.Go(func() { n.gate.report(watching, n.jup.LastActivity) })
		defer reports.Wait()
		defer seen()
	}
	reason := "it was asked to stop"
	select {
	case err := <-failed:
		return problem.WrapAs(problem.Unavailable, err, "serving")
	case <-ctx.Done():
	case <-n.done.Done():
	case <-idle:
		if ctx.Err() == nil {
			reason = fmt.Sprintf("nobody was connected and nothing ran for %v", n.cfg.Idle)
		}
	}
	s.log.LogAttrs(ctx, slog.LevelInfo, "notebook server ends", slog.String("reason", reason))
	if n.cfg.Socket != "" {
		if err := os.WriteFile(s.data(endedFile), []byte(reason), 0o600); err != nil {
			s.log.LogAttrs(ctx, slog.LevelWarn, "the reason was not kept", slog.String("err", err.Error()))
		}
	}
	closing := make(chan error, 1)
	go func() { closing <- n.jup.Close() }()
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownGrace)
	defer cancel()
	err := s.http.Shutdown(grace)
	if err != nil {
		err = s.http.Close()
	}
	return errors.Join(err, <-closing)
}

// Close releases everything. Closing twice, or what NewNotebook did not
// finish, is no error.
func (n *Notebook) Close() error {
	var err error
	n.stop(nil)
	if n.jup != nil {
		err = n.jup.Close()
	}
	n.pass.stop()
	return errors.Join(err, n.base.Close())
}

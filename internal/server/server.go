package server

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"quire/internal/api"
	"quire/internal/auth"
	"quire/internal/compute"
	"quire/internal/contents"
	"quire/internal/db"
	"quire/internal/db/postgres"
	"quire/internal/db/sqlite"
	"quire/internal/job"
	"quire/internal/nbtemplate"
	"quire/internal/notify"
	"quire/internal/pages"
	"quire/internal/problem"
	"quire/internal/query"
	"quire/internal/query/duckdb"
	"quire/internal/run"
	"quire/internal/schedule"
	"quire/internal/search"
	"quire/internal/secret"
	"quire/internal/storage"
	"quire/internal/storage/local"
)

// A Server is the platform on one machine.
type Server struct {
	cfg       Config
	log       *slog.Logger
	version   string
	lock      *os.File
	reserve   *reserve
	db        *db.DB
	volume    *contents.Volume
	blobs     *contents.Blobs
	objects   []storage.Store
	driver    compute.Driver // nil without compute
	jobs      *job.Jobs      // nil without compute
	runs      *run.Runs
	warm      *run.Warm // nil when no process waits for runs
	templates *nbtemplate.Templates
	schedules *schedule.Schedules
	notices   *notify.Sender
	exporter  *exporter // of lineage; nil exports none
	index     *search.Index
	queries   *query.Gateway

	credentials *query.Credentials
	secrets     *secret.Secrets
	lazy        map[string]*lazySource // by the connection's name
	places      []compute.Driver       // besides driver
	near        compute.Driver         // of the engines' processes; nil until one is wanted
	duckdb      *duckdb.Source         // makes the sample; may be nil
	spawn       *spawner
	sessions    *auth.Sessions
	people      *auth.Groups
	listener    net.Listener
	router      *api.Router
	traces      *tracing
	http        *http.Server
	gate        net.Listener // for containers; nil without compute
	grpc        net.Listener // for Titus's clients; nil where none is wanted
	token       string
	mounts      map[string]storage.Store // by name
	sampled     bool                     // the sample was put on the volume by this start
}

// Options are what is not configuration.
type Options struct {
	Log     *slog.Logger
	Version string
	// Command is this binary and the subcommand that runs an attempt.
	Command []string
	// Notebook is this binary and the subcommand that serves a folder to Jupyter
	// clients. Without it no notebook servers are started.
	Notebook []string
}

// shutdownGrace is how long requests may take to end when the server stops.
const shutdownGrace = 10 * time.Second

// New opens everything that cfg names and listens, but answers nothing before
// Serve. The caller closes it, also after Serve.
func New(ctx context.Context, cfg Config, opt Options) (*Server, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if opt.Log == nil {
		opt.Log = slog.New(slog.DiscardHandler)
	}
	s := &Server{cfg: cfg, log: opt.Log, version: opt.Version}
	if err := s.open(ctx, opt); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

func (s *Server) open(ctx context.Context, opt Options) error {
	if err := s.takeData(); err != nil {
		return err
	}
	s.reserve = &reserve{dir: s.cfg.Data, log: s.log}
	s.reserve.look(false)
	var err error
	if s.traces, err = newTracing(s.cfg.Traces, s.version, s.log); err != nil {
		return err
	}
	if s.db, err = s.openRecords(ctx); err != nil {
		return err
	}
	if err := s.openVolume(ctx); err != nil {
		return err
	}
	if err := s.openUser(ctx); err != nil {
		return err
	}
	if err := s.openIdentities(ctx); err != nil {
		return err
	}
	if err := s.openCredentials(ctx); err != nil {
		return err
	}
	if err := s.openCompute(ctx); err != nil {
		return err
	}
	objects, err := s.objectStore(ctx, "runs")
	if err != nil {
		return err
	}
	if err := s.openTemplates(ctx); err != nil {
		return err
	}
	if s.cfg.Lineage.on() {
		s.db.ExportLineage()
		s.exporter = newExporter(s.cfg.Lineage, s.db, s.publicURL, s.log)
	}
	carriers, sender := s.newNotices()
	s.notices = sender
	s.runs = run.New(run.Config{
		Templates: s.templates,
		Store:     s.db, Spool: s.shared("spool"), Objects: objects, Volume: s.volume, Files: s.shared("files"),
		Launcher: s.launcher(opt.Command), Containers: s.containers(opt.Command), Permits: s.cfg.Permits, Keep: s.cfg.KeepRuns,
		Several: s.cfg.Database != "", Pass: s.runPass, Revoke: s.revokePass, Tells: carriers.Known, Notices: s.db.Notices,
		Dates: schedule.Dates, User: s.db.User, Secrets: s.secrets,
		Version: s.version, Log: s.log, Tracer: s.traces.tracer(),
	})
	s.schedules = s.newSchedules(carriers)
	if err := s.openQueries(ctx); err != nil {
		return err
	}
	s.index = &search.Index{Store: s.db, Volume: s.volume, Log: s.log}
	house, plain := s.contain(ctx)
	s.spawn = newSpawner(&spawner{
		dir: s.data("notebooks"), files: s.shared("files"), command: opt.Notebook, base: s.cfg.BasePath, idle: s.cfg.NotebookIdle, house: house, plain: plain,
		volume: s.volume, users: s.db, pass: s.writePass, log: s.log,
	})
	if err := s.openGate(); err != nil {
		return err
	}
	s.listener, err = net.Listen("tcp", s.cfg.Listen)
	if s.cfg.anyPort && errors.Is(err, syscall.EADDRINUSE) {
		s.listener, err = net.Listen("tcp", "127.0.0.1:0")
	}
	if err != nil {
		return problem.WrapAs(problem.Unavailable, err, "listening on %s", s.cfg.Listen)
	}
	if err := s.listenGRPC(); err != nil {
		return err
	}
	s.router = s.routes()
	s.http = &http.Server{
		Handler: s.router, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 64 << 10,
		ErrorLog: slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
	}
	s.http.RegisterOnShutdown(s.router.EndStreams)
	return nil
}

// launcher starts attempts with command, from a waiting process where one is
// wanted.
func (s *Server) launcher(command []string) run.Launcher {
	cold := &run.Processes{Command: command}
	if s.cfg.WarmRuns < 1 || len(command) == 0 {
		return cold
	}
	s.warm = &run.Warm{
		Next: cold, Command: append(slices.Clone(command), "--warm"), Dir: s.data("spool"), Size: s.cfg.WarmRuns, Log: s.log,
	}
	return s.warm
}

func (s *Server) data(names ...string) string {
	return filepath.Join(append([]string{s.cfg.Data}, names...)...)
}

// shared is a place that all servers of one database have.
func (s *Server) shared(names ...string) string {
	return filepath.Join(append([]string{s.cfg.Shared}, names...)...)
}

// openRecords opens the database.
func (s *Server) openRecords(ctx context.Context) (*db.DB, error) {
	if s.cfg.Database != "" {
		return postgres.Open(ctx, s.cfg.Database)
	}
	return sqlite.Open(ctx, s.data("quire.db"))
}

// How long the lock of the data directory is waited for.
const (
	lockGrace = time.Second
	lockPoll  = 20 * time.Millisecond
)

// takeData makes the data directory, sees that it is ours alone, and locks it:
// two servers on one directory would undo each other.
func (s *Server) takeData() error {
	if err := os.MkdirAll(s.cfg.Data, 0o700); err != nil {
		return problem.WrapAs(problem.Unavailable, err, "making the data directory")
	}
	if err := os.MkdirAll(s.cfg.Shared, 0o700); err != nil {
		return problem.WrapAs(problem.Unavailable, err, "making the shared directory")
	}
	info, err := os.Stat(s.cfg.Data)
	if err != nil {
		return problem.WrapAs(problem.Unavailable, err, "looking at the data directory")
	}
	if info.Mode().Perm()&0o022 != 0 {
		return problem.New(problem.Invalid, "the data directory %s can be written by others: run chmod 700 on it", s.cfg.Data)
	}
	if s.lock, err = os.OpenFile(s.data("lock"), os.O_RDWR|os.O_CREATE, 0o600); err != nil {
		return problem.WrapAs(problem.Unavailable, err, "locking the data directory")
	}
	// A server that was killed while it started a process is gone only when that
	// process has let the lock go, a moment later.
	for tried := time.Now(); ; time.Sleep(lockPoll) {
		err := syscall.Flock(int(s.lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return nil
		}
		if time.Since(tried) > lockGrace {
			return problem.New(problem.Exists, "another Quire serves %s already: stop it, or choose another --data", s.cfg.Data)
		}
	}
}

// objectStore opens the part of the objects with the given name.
func (s *Server) objectStore(ctx context.Context, part string) (storage.Store, error) {
	where := s.cfg.Objects
	if where == "" {
		where = s.shared("objects")
	}
	var store storage.Store
	var err error
	if strings.Contains(where, "://") {
		store, err = OpenPrefix(ctx, strings.TrimSuffix(where, "/")+"/"+part)
	} else {
		dir := filepath.Join(where, part)
		if err = os.MkdirAll(dir, 0o700); err == nil {
			store, err = local.Open(local.Config{Dir: dir})
		}
	}
	if err != nil {
		return nil, problem.Wrap(err, "opening the objects")
	}
	s.objects = append(s.objects, store)
	return store, nil
}

func (s *Server) openVolume(ctx context.Context) error {
	versions, err := s.objectStore(ctx, "versions")
	if err != nil {
		return err
	}
	s.blobs = &contents.Blobs{Store: versions, Doomed: s.db}
	mounts := map[string]storage.Store{}
	for name, where := range s.cfg.Mounts {
		store, err := OpenPrefix(ctx, where)
		if err != nil {
			return problem.Wrap(err, "mounting %s", name)
		}
		mounts[name] = store
		s.objects = append(s.objects, store)
	}
	s.mounts = mounts
	cfg := contents.Config{
		Dir: s.shared("files"), Blobs: s.blobs, Versions: s.db, Trust: s.db, Mounts: mounts,
		QuotaBytes: s.cfg.QuotaBytes, Room: s.reserve.room, Log: s.log,
	}
	if s.cfg.Sample {
		if s.sampled, err = s.addSample(ctx, cfg); err != nil {
			return err
		}
	}
	s.volume, err = contents.Open(ctx, cfg)
	return err
}

// openUser makes the local user, with a workspace and the access token.
func (s *Server) openUser(ctx context.Context) error {
	s.sessions, s.people = &auth.Sessions{Store: s.db}, s.cfg.people(s.db.Claims)
	u, err := s.db.User(ctx, s.cfg.User)
	if err != nil && !problem.Is(err, problem.NotFound) {
		return err
	}
	u.Name, u.Admin, u.Disabled = s.cfg.User, true, false
	if err := errors.Join(s.db.PutUser(ctx, u), s.volume.AddWorkspace(u.Name)); err != nil {
		return err
	}
	s.token = s.cfg.Token
	file := s.data("token")
	if s.token == "" {
		data, err := os.ReadFile(file)
		switch {
		case err == nil:
			s.token = strings.TrimSpace(string(data))
		case errors.Is(err, fs.ErrNotExist):
			s.token = auth.NewSecret()
			err = replaceFile(file, s.token+"\n")
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return problem.WrapAs(problem.Unavailable, err, "keeping the access token")
		}
	}
	return s.sessions.SetToken(ctx, s.token, u)
}

func (s *Server) routes() *api.Router {
	addr := s.listener.Addr().(*net.TCPAddr)
	port := fmt.Sprint(addr.Port)
	hosts := append([]string{
		net.JoinHostPort("127.0.0.1", port), net.JoinHostPort("localhost", port), net.JoinHostPort("::1", port),
	}, s.cfg.Hosts...)
	m := newMetrics(s.runs.Waiting)
	rt := api.NewRouter(api.Config{Sessions: s.sessions, Log: s.log, Hosts: hosts, ErrorPage: pages.ErrorPage(s.cfg.BasePath), Base: s.cfg.BasePath, Secure: s.cfg.InsecureBehindProxy, Observe: m.observe, Tracer: s.traces.tracer()})
	m.register(rt)
	api.RegisterHealth(rt, s.ready)
	people := api.People{Sessions: s.sessions, AddWorkspace: s.volume.AddWorkspace, Groups: s.people.Of}
	api.RegisterPeople(rt, people)
	api.RegisterRuns(rt, s.runs)
	api.RegisterTemplates(rt, s.templates)
	api.RegisterSchedules(rt, s.schedules)
	api.RegisterLineage(rt, s.runs)
	if s.jobs != nil {
		api.RegisterJobs(rt, s.jobs)
	}
	api.RegisterContents(rt, s.volume, s.spawn)
	s.registerNotebooks(rt)
	s.registerAttached(rt)
	api.RegisterSearch(rt, s.index)
	api.RegisterQueries(rt, s.queries, s.credentials)
	api.RegisterSecrets(rt, s.secrets)
	api.RegisterCommuter(rt, s.index)
	api.RegisterOpenAPI(rt, s.version)
	pages.Register(rt, pages.Config{
		Volume: s.volume, Runs: s.runs, Jobs: s.jobs, Queries: s.queries, Servers: shownServers{s.spawn}, Templates: s.templates, Schedules: s.schedules,
		Sessions: s.sessions, Secrets: s.secrets, Elsewhere: s.elsewhere(), Search: s.index, Version: s.version,
		Notebooks: len(s.spawn.command) > 0, Lab: s.spawn.editor, QuotaBytes: s.cfg.QuotaBytes,
	})
	return rt
}

// ready reports whether the server can do its work now.
func (s *Server) ready(ctx context.Context) error { return s.db.Ping(ctx) }

// URL is where the server is, without a token.
func (s *Server) URL() string {
	host, _, err := net.SplitHostPort(s.cfg.Listen)
	if err != nil || host == "" {
		host = "127.0.0.1"
	}
	return "http://" + net.JoinHostPort(host, fmt.Sprint(s.listener.Addr().(*net.TCPAddr).Port)) + s.cfg.BasePath + "/"
}

// SignInURL is the address for the local user to open: it carries the token,
// and is printed once and never logged.
func (s *Server) SignInURL() string { return s.URL() + "?token=" + url.QueryEscape(s.token) }

// Serve answers requests until ctx ends, then lets the requests that are under
// way finish. Runs go on without the server.
func (s *Server) Serve(ctx context.Context) error {
	stopJobs, err := s.startJobs(ctx)
	if err != nil {
		return err
	}
	defer stopJobs()
	if err := errors.Join(s.runs.Start(ctx), s.index.Start(ctx), s.announce()); err != nil {
		return err
	}
	defer s.runs.Stop()
	if err := s.schedules.Start(ctx); err != nil {
		return err
	}
	defer s.schedules.Stop()
	if err := s.notices.Start(ctx); err != nil {
		return err
	}
	defer s.notices.Stop()
	if s.cfg.Lineage.on() {
		s.exporter.start(ctx)
		defer s.exporter.end()
	}
	if err := s.spawn.start(ctx); err != nil {
		return err
	}
	defer s.spawn.stop()
	defer s.index.Stop()
	defer s.keepReserve(ctx)()
	defer s.keepTrash(ctx)()
	if s.warm != nil {
		if err := s.warm.Start(); err != nil {
			return err
		}
		defer s.warm.Stop()
	}
	if s.sampled {
		s.runSample(ctx)
		defer s.runStarters(ctx)()
	}
	defer func() { _ = os.Remove(s.data(addressFile)) }()
	s.http.BaseContext = func(net.Listener) context.Context { return context.WithoutCancel(ctx) }
	failed := make(chan error, 1)
	go func() { failed <- s.http.Serve(s.listener) }()
	go func() { _ = s.http.Serve(s.gate) }() // ends with the other one
	defer s.serveGRPC(ctx)()
	defer s.keepPasses(ctx)()
	defer s.makeSample(ctx)()
	select {
	case err := <-failed:
		return problem.WrapAs(problem.Unavailable, err, "serving")
	case <-ctx.Done():
	}
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownGrace)
	defer cancel()
	if err := s.http.Shutdown(grace); err != nil {
		return s.http.Close() // streams of events do not end by themselves
	}
	return nil
}

// Close releases everything. Closing twice, or what New did not finish, is no
// error.
func (s *Server) Close() error {
	var errs []error
	if s.listener != nil {
		if err := s.listener.Close(); !errors.Is(err, net.ErrClosed) {
			errs = append(errs, err)
		}
	}
	for _, more := range []net.Listener{s.gate, s.grpc} {
		if more == nil {
			continue
		}
		if err := more.Close(); !errors.Is(err, net.ErrClosed) {
			errs = append(errs, err)
		}
	}
	if s.spawn != nil {
		s.spawn.stop()
	}
	if s.volume != nil {
		errs = append(errs, s.volume.Close())
		s.volume = nil
	}
	if s.queries != nil {
		errs = append(errs, s.queries.Close())
		s.queries = nil
	}
	for _, place := range s.places {
		errs = append(errs, place.Close())
	}
	s.places = nil
	if s.driver != nil {
		errs = append(errs, s.driver.Close())
		s.driver = nil
	}
	for _, store := range s.objects {
		errs = append(errs, store.Close())
	}
	s.objects = nil
	if s.db != nil {
		errs = append(errs, s.db.Close())
		s.db = nil
	}
	errs = append(errs, s.traces.close())
	if s.lock != nil {
		errs = append(errs, s.lock.Close())
		s.lock = nil
	}
	return errors.Join(errs...)
}

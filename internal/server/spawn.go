package server

import (
	"bufio"
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"quire/internal/api"
	"quire/internal/auth"
	"quire/internal/contents"
	"quire/internal/problem"
	"quire/internal/socket"
)

// Files in the directory of a person's notebook server, besides what a server
// keeps there anyway (lock, token, quire.db).
const (
	socketFile   = "socket" // where it answers
	baseFile     = "base"   // the path that it was started under
	endedFile    = "ended"  // why it ended
	notebookLog  = "log"    // what it and its kernels wrote
	maxLogBytes  = 4 << 20  // of the log before it is begun anew; the one before is kept
	maxEndedText = 500      // bytes of the reason that are read
	maxSecret    = 256      // bytes of a secret
	maxBase      = 1024     // bytes of a base path
)

// Times of notebook servers.
const (
	startLimit = 30 * time.Second      // for one to answer
	stopLimit  = 30 * time.Second      // for one to end
	lookEvery  = 20 * time.Millisecond // while one starts or ends
)

// A spawner starts each person's notebook server when it is first used and
// passes requests on to it. The servers are processes in sessions of their own:
// they go on when the platform ends, are known by the lock on their directory,
// and are found again by their socket. It is safe for concurrent use.
type spawner struct {
	dir     string   // of the servers' directories, one per user
	files   string   // of the workspaces
	command []string // this binary and the subcommand that serves a folder; empty starts none
	base    string   // the platform's base path
	idle    time.Duration
	house   *housing // gives each server a container; nil where there are none
	plain   string   // why there are none, in words
	volume  *contents.Volume
	pass    func(ctx context.Context, user, dir string, contained bool, life time.Duration) error // nil gives none
	users   interface {
		User(ctx context.Context, name string) (auth.User, error)
	}
	log *slog.Logger

	ctx    context.Context //nolint:containedctx // it is the spawner's life
	cancel context.CancelFunc
	done   sync.WaitGroup

	mu      sync.Mutex
	closed  bool
	servers map[string]*personal
}

// A personal is one person's notebook server, running or not.
type personal struct {
	user   string
	dir    string
	at     string        // the path that it answers under
	turn   chan struct{} // held while it is started or stopped; capacity 1
	client *http.Client  // reaches it over its socket, and never follows redirects

	mu        sync.Mutex
	secret    string // its access token; "" when it is not known yet
	following bool
	launching bool
	failed    string        // why the last start failed
	told      *activity     // what it said last of its idleness
	news      chan struct{} // closed and made anew when that changes
}

// newSpawner returns a spawner with the fields of s. The caller stops it.
func newSpawner(s *spawner) *spawner {
	s.ctx, s.cancel = context.WithCancel(context.Background())
	s.servers = map[string]*personal{}
	return s
}

// start finds the servers that run already, and follows them until stop.
func (s *spawner) start(ctx context.Context) error {
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		return problem.WrapAs(problem.Unavailable, err, "making the directory of notebook servers")
	}
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		return problem.WrapAs(problem.Unavailable, err, "looking for notebook servers")
	}
	for _, e := range entries {
		if !e.IsDir() || !auth.ValidName(e.Name()) {
			continue
		}
		p := s.of(e.Name())
		if p.answers(ctx) && p.learn() == nil {
			s.log.LogAttrs(ctx, slog.LevelInfo, "notebook server found again", slog.String("user", p.user))
			s.follow(p)
		}
	}
	return nil
}

// stop ends what the spawner does. The servers go on. Twice is no error.
func (s *spawner) stop() {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.cancel()
	s.done.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range s.servers {
		p.client.CloseIdleConnections()
	}
}

// of returns the server of a user whose name is valid.
func (s *spawner) of(name string) *personal {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.servers[name]
	if p == nil {
		p = newPersonal(name, filepath.Join(s.dir, name), s.base+"/user/"+name)
		s.servers[name] = p
	}
	return p
}

// newPersonal returns the server whose folder is dir and that answers under at.
func newPersonal(user, dir, at string) *personal {
	transport := &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return socket.Dial(ctx, filepath.Join(dir, socketFile))
		},
		DisableCompression: true, MaxIdleConnsPerHost: 8, IdleConnTimeout: 30 * time.Second,
	}
	return &personal{user: user, dir: dir, at: at, turn: make(chan struct{}, 1), client: &http.Client{
		Transport:     transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// ready returns the server of a user, which is started when it does not run.
func (s *spawner) ready(ctx context.Context, name string) (*personal, error) {
	if _, err := s.users.User(ctx, name); err != nil {
		return nil, err
	}
	p := s.of(name)
	if p.known() && p.answers(ctx) {
		s.follow(p)
		return p, nil
	}
	back, err := p.hold(ctx)
	if err != nil {
		return nil, err
	}
	defer back()
	// The one who asked may go away; the server starts all the same. They are
	// told when it takes long, and a container goes on starting.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), startLimit+stopLimit)
	defer cancel()
	defer context.AfterFunc(s.ctx, cancel)()
	if p.answers(ctx) {
		if err := p.learn(); err != nil {
			return nil, err
		}
		same, err := s.unmoved(ctx, p)
		if err != nil {
			return nil, err
		}
		if same {
			s.follow(p)
			return p, nil
		}
		s.log.LogAttrs(ctx, slog.LevelInfo, "notebook server starts anew under another path", slog.String("user", name))
		if err := s.end(ctx, p, "the platform answers under another path"); err != nil {
			return nil, err
		}
	}
	if err := s.launch(ctx, p, nil); err != nil {
		return nil, err
	}
	s.follow(p)
	return p, nil
}

// patience is how long the page of a server waits for it before how its start goes
// is shown.
const patience = 1500 * time.Millisecond

// soon is ready for somebody who sees a page meanwhile: a start that takes long
// goes on behind it, and p is nil.
func (s *spawner) soon(ctx context.Context, name string) (p *personal, err error) {
	type started struct {
		p   *personal
		err error
	}
	done := make(chan started, 1)
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil, problem.New(problem.Unavailable, "the server ends")
	}
	s.done.Go(func() {
		p, err := s.ready(ctx, name)
		done <- started{p, err}
		if err != nil && ctx.Err() != nil && !problem.Is(err, problem.Timeout) { // nobody waits for it any more, and it does not go on
			s.log.LogAttrs(s.ctx, slog.LevelWarn, "notebook server did not start", slog.String("user", name), slog.String("error", err.Error()))
		}
	})
	s.mu.Unlock()
	late := time.NewTimer(patience)
	defer late.Stop()
	select {
	case r := <-done:
		return r.p, r.err
	case <-late.C:
		return nil, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// hold takes the turn of a person's server; the caller gives it back.
func (p *personal) hold(ctx context.Context) (back func(), err error) {
	select {
	case p.turn <- struct{}{}:
		return func() { <-p.turn }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// begin starts a person's server in the room that they ask for. One that runs
// already is left alone: kind Conflict.
func (s *spawner) begin(ctx context.Context, name string, ask serverRequest) error {
	p := s.of(name)
	back, err := p.hold(ctx)
	if err != nil {
		return err
	}
	defer back()
	if p.answers(ctx) {
		return problem.New(problem.Conflict, "your notebook server runs already: restart it to give it another size")
	}
	r, err := s.wanted(ctx, p, ask)
	if err != nil {
		return err
	}
	return s.launchFor(ctx, p, r)
}

// launchFor starts the server whether who asked goes away or not. It takes as
// long as the start advances: a process by itself is bounded by its launch.
func (s *spawner) launchFor(ctx context.Context, p *personal, r *room) error {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	defer context.AfterFunc(s.ctx, cancel)()
	if err := s.launch(ctx, p, r); err != nil {
		return err
	}
	s.follow(p)
	return nil
}

// again ends a person's server, with what is open saved, and starts it in the
// room that they ask for. It returns how many kernels ended.
func (s *spawner) again(ctx context.Context, name string, ask serverRequest) (kernels int, err error) {
	p := s.of(name)
	back, err := p.hold(ctx)
	if err != nil {
		return 0, err
	}
	defer back()
	r, err := s.wanted(ctx, p, ask) // before anything ends
	if err != nil {
		return 0, err
	}
	if st, err := s.status(ctx, p); err == nil {
		kernels = st.Kernels
	}
	if err := s.end(context.WithoutCancel(ctx), p, name+" restarted it"); err != nil {
		return 0, err
	}
	return kernels, s.launchFor(ctx, p, r)
}

// unmoved reports whether a running server answers under our path.
func (s *spawner) unmoved(ctx context.Context, p *personal) (bool, error) {
	if s.house != nil {
		if w, ok, err := s.house.newest(ctx, p.user, true); err != nil || ok {
			return ok && s.samePath(p, w.Job), err
		}
	}
	base, err := readPlain(filepath.Join(p.dir, baseFile), maxBase)
	return err == nil && string(base) == s.base, nil
}

// end stops a server, for a reason, and returns when it is gone. The caller has
// the turn.
func (s *spawner) end(ctx context.Context, p *personal, reason string) error {
	if ok, err := s.stopJob(ctx, p, reason); ok || err != nil {
		return err
	}
	return p.stop(ctx)
}

// launch starts the server and returns when it answers: in a container of the
// size of r, or of the one before when r is nil. The caller has the turn.
func (s *spawner) launch(ctx context.Context, p *personal, r *room) (err error) {
	p.launches(true, nil)
	defer func() { p.launches(false, err) }()
	if len(s.command) == 0 {
		return problem.New(problem.Unavailable, "this platform starts no notebook servers")
	}
	if s.house != nil {
		if ok, err := s.awaitJob(ctx, p); ok || err != nil {
			return err
		}
	}
	if err := s.volume.AddWorkspace(p.user); err != nil {
		return err
	}
	if err := os.MkdirAll(p.dir, 0o700); err != nil {
		return problem.WrapAs(problem.Unavailable, err, "making the directory of the notebook server")
	}
	if err := p.released(ctx); err != nil {
		return err
	}
	for _, name := range []string{baseFile, endedFile, socketFile} {
		if err := os.Remove(filepath.Join(p.dir, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return problem.WrapAs(problem.Unavailable, err, "preparing the notebook server")
		}
	}
	if err := writeNew(filepath.Join(p.dir, baseFile), []byte(s.base)); err != nil {
		return problem.WrapAs(problem.Unavailable, err, "preparing the notebook server")
	}
	if s.pass != nil {
		if err := s.pass(ctx, p.user, p.dir, s.house != nil, passLife); err != nil {
			return err
		}
	}
	if s.house != nil {
		if r == nil {
			last, err := s.house.last(ctx, p.user)
			if err != nil {
				return err
			}
			r = &last
		}
		return s.launchJob(ctx, p, *r)
	}
	began := time.Now()
	exited, err := s.exec(p)
	if err != nil {
		return err
	}
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	limit := time.NewTimer(startLimit)
	defer limit.Stop()
	for !p.answers(ctx) {
		select {
		case err := <-exited:
			s.log.LogAttrs(ctx, slog.LevelError, "notebook server did not start", slog.String("user", p.user), slog.String("log", filepath.Join(p.dir, notebookLog)), slog.Any("err", err))
			return problem.New(problem.Unavailable, "the notebook server of %s ended before it answered: its log says why", p.user)
		case <-limit.C:
			return problem.New(problem.Timeout, "the notebook server of %s did not answer within %v: try again in a moment", p.user, startLimit)
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
	s.log.LogAttrs(ctx, slog.LevelInfo, "notebook server started", slog.String("user", p.user), slog.Int64("dur_ms", time.Since(began).Milliseconds()))
	return p.learn()
}

// launches notes that the server is being started, or how that ended.
func (p *personal) launches(now bool, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.launching, p.failed = now, ""
	if err != nil && !problem.Is(err, problem.Timeout) && !problem.Is(err, problem.Canceled) {
		p.failed = api.ErrorText(err)
	}
}

// exec starts the process. Its end is sent to the channel.
func (s *spawner) exec(p *personal) (<-chan error, error) {
	name := filepath.Join(p.dir, notebookLog)
	if info, err := os.Stat(name); err == nil && info.Size() > maxLogBytes {
		if err := os.Rename(name, name+".1"); err != nil {
			return nil, problem.WrapAs(problem.Unavailable, err, "putting the notebook server's log aside")
		}
	}
	log, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return nil, problem.WrapAs(problem.Unavailable, err, "opening the notebook server's log")
	}
	defer log.Close()
	// No context: the process is to outlive the platform.
	cmd := exec.Command(s.command[0], s.arguments(p)...) //nolint:noctx // see above
	cmd.Stdout, cmd.Stderr = log, log
	cmd.Dir = p.dir
	cmd.Env = slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "QUIRE_TOKEN=") })
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return nil, problem.WrapAs(problem.Unavailable, err, "starting the notebook server")
	}
	exited := make(chan error, 1)
	go func() { exited <- cmd.Wait() }() // it goes on after us, or ends here
	return exited, nil
}

// editor reports whether the servers have JupyterLab to show.
func (s *spawner) editor() bool { return len(s.command) > 0 && findLab() != "" }

// known reports whether the server's secret was read.
func (p *personal) known() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.secret != ""
}

// learn reads the server's secret, which it keeps from start to start.
func (p *personal) learn() error {
	data, err := readPlain(filepath.Join(p.dir, "token"), maxSecret)
	if err != nil {
		return problem.WrapAs(problem.Unavailable, err, "reading the notebook server's secret")
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.secret = strings.TrimSpace(string(data))
	return nil
}

// answers reports whether the server takes connections.
func (p *personal) answers(ctx context.Context) bool {
	conn, err := socket.Dial(ctx, filepath.Join(p.dir, socketFile))
	if err != nil {
		return false
	}
	return conn.Close() == nil
}

// released returns when no process holds the server's directory.
func (p *personal) released(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, stopLimit)
	defer cancel()
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		lock, err := openLock(filepath.Join(p.dir, "lock"))
		if err != nil {
			return problem.WrapAs(problem.Unavailable, err, "looking for the notebook server")
		}
		err = syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		_ = lock.Close()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return problem.New(problem.Timeout, "the notebook server of %s takes long to end: try again in a moment", p.user)
		case <-tick.C:
		}
	}
}

// ask makes a request of the platform's own to the server.
func (p *personal) ask(ctx context.Context, method, base, path string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, "http://"+socketHost+base+"/user/"+p.user+path, http.NoBody)
	if err != nil {
		return nil, err
	}
	p.mu.Lock()
	req.Header.Set("Authorization", "token "+p.secret)
	p.mu.Unlock()
	res, err := p.client.Do(req)
	if err != nil {
		return nil, problem.WrapAs(problem.Unavailable, err, "asking the notebook server of %s", p.user)
	}
	if res.StatusCode != http.StatusOK {
		_ = res.Body.Close()
		return nil, problem.New(problem.Unavailable, "the notebook server of %s answered %d", p.user, res.StatusCode)
	}
	return res, nil
}

// stop asks the server to end and returns when it is gone, with its kernels. The
// caller has the turn.
func (p *personal) stop(ctx context.Context) error {
	if !p.answers(ctx) {
		return nil
	}
	base, err := readPlain(filepath.Join(p.dir, baseFile), maxBase)
	if err != nil {
		return problem.WrapAs(problem.Unavailable, err, "stopping the notebook server")
	}
	if err := p.learn(); err != nil {
		return err
	}
	res, err := p.ask(ctx, http.MethodPost, string(base), "/api/shutdown")
	switch {
	case err == nil:
		_ = res.Body.Close()
	case p.answers(ctx): // else it ended by itself while it was asked
		return err
	}
	return p.released(ctx)
}

// reason is why the server ended, "" when it did not say.
func (p *personal) reason() string {
	text, err := readPlain(filepath.Join(p.dir, endedFile), maxEndedText)
	if err != nil {
		return ""
	}
	return strings.ToValidUTF8(string(text), "\uFFFD")
}

// follow makes versions of what the server saves, as it saves, until it ends. It
// returns at once; following twice is following once.
func (s *spawner) follow(p *personal) {
	p.mu.Lock()
	before := p.following
	p.following = true
	p.mu.Unlock()
	if before {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return
	}
	s.done.Go(func() {
		err := s.listen(s.ctx, p)
		p.mu.Lock()
		p.following = false
		p.mu.Unlock()
		if s.ctx.Err() == nil {
			reason := p.reason()
			if reason == "" && err != nil {
				reason = err.Error()
			}
			s.log.LogAttrs(s.ctx, slog.LevelInfo, "notebook server ended", slog.String("user", p.user), slog.String("reason", reason))
		}
	})
}

// listen reads the server's stream of saves to its end.
func (s *spawner) listen(ctx context.Context, p *personal) error {
	res, err := p.ask(ctx, http.MethodGet, s.base, savesPath)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	owner := auth.User{Name: p.user}
	lines := bufio.NewScanner(res.Body)
	event := ""
	for lines.Scan() {
		if name, ok := strings.CutPrefix(lines.Text(), "event: "); ok {
			event = name
			continue
		}
		path, ok := strings.CutPrefix(lines.Text(), "data: ")
		if ok && event == "idle" {
			s.heed(ctx, p, path)
			continue
		}
		if !ok || !strings.HasPrefix(path, "users/"+p.user+"/") {
			continue
		}
		// To look at the versions is to find out that there is a new one.
		if _, err := s.volume.Versions(ctx, owner, path, 0, 1); err != nil && !errors.Is(err, fs.ErrNotExist) && !problem.Is(err, problem.NotFound) {
			s.log.LogAttrs(ctx, slog.LevelWarn, "a save of a notebook server is no version yet", slog.String("path", path), slog.String("err", err.Error()))
		}
	}
	return lines.Err()
}

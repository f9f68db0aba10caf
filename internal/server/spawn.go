package server

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
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

	"quire/internal/auth"
	"quire/internal/contents"
	"quire/internal/problem"
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
	volume  *contents.Volume
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
	turn   chan struct{} // held while it is started or stopped; capacity 1
	client *http.Client  // reaches it over its socket, and never follows redirects

	mu        sync.Mutex
	secret    string // its access token; "" when it is not known yet
	following bool
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
		dir := filepath.Join(s.dir, name)
		transport := &http.Transport{
			DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
				return dialSocket(ctx, filepath.Join(dir, socketFile))
			},
			DisableCompression: true, MaxIdleConnsPerHost: 8, IdleConnTimeout: 30 * time.Second,
		}
		p = &personal{user: name, dir: dir, turn: make(chan struct{}, 1), client: &http.Client{
			Transport:     transport,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		}}
		s.servers[name] = p
	}
	return p
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
	select {
	case p.turn <- struct{}{}:
		defer func() { <-p.turn }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	// The one who asked may go away; the server starts all the same.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), startLimit+stopLimit)
	defer cancel()
	if p.answers(ctx) {
		if err := p.learn(); err != nil {
			return nil, err
		}
		if base, err := os.ReadFile(filepath.Join(p.dir, baseFile)); err == nil && string(base) == s.base {
			s.follow(p)
			return p, nil
		}
		s.log.LogAttrs(ctx, slog.LevelInfo, "notebook server starts anew under another path", slog.String("user", name))
		if err := p.stop(ctx); err != nil {
			return nil, err
		}
	}
	if err := s.launch(ctx, p); err != nil {
		return nil, err
	}
	s.follow(p)
	return p, nil
}

// launch starts the server's process and returns when it answers. The caller has
// the turn.
func (s *spawner) launch(ctx context.Context, p *personal) error {
	if len(s.command) == 0 {
		return problem.New(problem.Unavailable, "this platform starts no notebook servers")
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
	if err := os.WriteFile(filepath.Join(p.dir, baseFile), []byte(s.base), 0o600); err != nil {
		return problem.WrapAs(problem.Unavailable, err, "preparing the notebook server")
	}
	if err := os.Remove(filepath.Join(p.dir, endedFile)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return problem.WrapAs(problem.Unavailable, err, "preparing the notebook server")
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
	argv := append(slices.Clone(s.command[1:]), filepath.Join(s.files, "users", p.user),
		"--socket", filepath.Join(p.dir, socketFile), "--data", p.dir, "--user", p.user,
		"--base-url", s.base+"/user/"+p.user+"/", "--idle", s.idle.String())
	// No context: the process is to outlive the platform.
	cmd := exec.Command(s.command[0], argv...) //nolint:noctx // see above
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
	data, err := os.ReadFile(filepath.Join(p.dir, "token"))
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
	conn, err := dialSocket(ctx, filepath.Join(p.dir, socketFile))
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
		lock, err := os.OpenFile(filepath.Join(p.dir, "lock"), os.O_RDWR|os.O_CREATE, 0o600)
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
	base, err := os.ReadFile(filepath.Join(p.dir, baseFile))
	if err != nil {
		return problem.WrapAs(problem.Unavailable, err, "stopping the notebook server")
	}
	if err := p.learn(); err != nil {
		return err
	}
	res, err := p.ask(ctx, http.MethodPost, string(base), "/api/shutdown")
	if err != nil {
		return err
	}
	_ = res.Body.Close()
	return p.released(ctx)
}

// A notebookStatus says how a person's notebook server is.
type notebookStatus struct {
	Running      bool      `json:"running"`
	URL          string    `json:"url"`
	Started      time.Time `json:"started,omitzero"`
	LastActivity time.Time `json:"lastActivity,omitzero"`
	Connections  int       `json:"connections"`
	Kernels      int       `json:"kernels"`
	Ended        string    `json:"ended,omitempty"` // why it ended, when it does not run
}

// status looks at a server without starting it.
func (s *spawner) status(ctx context.Context, p *personal) (notebookStatus, error) {
	st := notebookStatus{URL: s.base + "/user/" + p.user + "/"}
	if !p.answers(ctx) {
		st.Ended = p.reason()
		return st, nil
	}
	if err := p.learn(); err != nil {
		return st, err
	}
	res, err := p.ask(ctx, http.MethodGet, s.base, "/api/status")
	if err != nil {
		return st, err
	}
	defer res.Body.Close()
	var answer struct {
		Started      time.Time `json:"started"`
		LastActivity time.Time `json:"last_activity"`
		Connections  int       `json:"connections"`
		Kernels      int       `json:"kernels"`
	}
	if err := json.NewDecoder(io.LimitReader(res.Body, 64<<10)).Decode(&answer); err != nil {
		return st, problem.WrapAs(problem.Unavailable, err, "reading how the notebook server is")
	}
	st.Running, st.Started, st.LastActivity = true, answer.Started, answer.LastActivity
	st.Connections, st.Kernels = answer.Connections, answer.Kernels
	return st, nil
}

// reason is why the server ended, "" when it did not say.
func (p *personal) reason() string {
	f, err := os.Open(filepath.Join(p.dir, endedFile))
	if err != nil {
		return ""
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxEndedText))
	if err != nil {
		return ""
	}
	return string(text)
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
	for lines.Scan() {
		path, ok := strings.CutPrefix(lines.Text(), "data: ")
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

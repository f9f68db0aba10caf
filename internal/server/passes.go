package server

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"quire/internal/auth"
	"quire/internal/compute"
	"quire/internal/problem"
	"quire/internal/socket"
)

// Times of passes.
const (
	passLife  = 24 * time.Hour // of a token that kernels have
	passRenew = time.Hour      // so often the passes of notebook servers are renewed
)

// gateFile is the socket in the directory gate that containers reach the server
// by: it is all that leads out of one without a network.
const gateFile = "socket"

// writePass gives what runs in a directory a pass of a user's: to ask as that
// user, without an administrator's rights.
func (s *Server) writePass(ctx context.Context, user, dir string, contained bool, life time.Duration) error {
	token, expires, err := s.sessions.Issue(ctx, auth.User{Name: user}, life)
	if err != nil {
		return err
	}
	p := auth.Pass{URL: s.URL(), Token: token, Expires: expires}
	if contained {
		p.Socket = s.data("gate", gateFile)
	}
	return p.Write(dir)
}

// runPass is the pass of an attempt at a run.
func (s *Server) runPass(ctx context.Context, owner, dir string, contained bool, timeout time.Duration) error {
	return s.writePass(ctx, owner, dir, contained, max(passLife, timeout+time.Hour))
}

// revokePass ends a token of a pass, whoever wrote it there.
func (s *Server) revokePass(ctx context.Context, dir string) {
	p, err := auth.ReadPass(dir)
	if err != nil {
		return
	}
	if err := s.sessions.SignOut(ctx, p.Token); err != nil {
		s.log.LogAttrs(ctx, slog.LevelWarn, "a token is not revoked before its time", slog.String("error", err.Error()))
	}
	_ = os.Remove(filepath.Join(dir, auth.PassFile))
}

// openGate listens where containers reach the server.
func (s *Server) openGate() error {
	if err := os.MkdirAll(s.data("gate"), 0o700); err != nil {
		return problem.WrapAs(problem.Unavailable, err, "making the way in for containers")
	}
	var err error
	s.gate, err = socket.Listen(s.data("gate", gateFile))
	return problem.WrapAs(problem.Unavailable, err, "listening for containers")
}

// gateMount shows the gate in a container, where it is outside.
func (s *Server) gateMount() []compute.Mount {
	dir, err := filepath.EvalSymlinks(s.data())
	if err != nil {
		return nil // nothing can be mounted from there
	}
	gate := filepath.Join(dir, "gate")
	if err := os.MkdirAll(gate, 0o700); err != nil {
		s.log.LogAttrs(context.Background(), slog.LevelWarn, "containers will not reach this server", slog.String("error", err.Error()))
		return nil
	}
	return []compute.Mount{{Source: gate, Target: s.data("gate"), ReadOnly: true}}
}

// keepPasses renews the passes of notebook servers, and forgets tokens that have
// expired, until the function that it returns is called.
func (s *Server) keepPasses(ctx context.Context) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		tick := time.NewTicker(passRenew)
		defer tick.Stop()
		for {
			s.spawn.renewPasses(ctx)
			if err := s.db.DeleteExpired(ctx, time.Now()); err != nil && ctx.Err() == nil {
				s.log.LogAttrs(ctx, slog.LevelWarn, "tokens that have expired are kept", slog.String("error", err.Error()))
			}
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
		}
	}()
	return func() {
		cancel()
		<-ended
	}
}

// renewPasses gives each notebook server that answers a new pass.
func (s *spawner) renewPasses(ctx context.Context) {
	s.mu.Lock()
	var all []*personal
	for _, p := range s.servers {
		all = append(all, p)
	}
	s.mu.Unlock()
	for _, p := range all {
		if ctx.Err() != nil || !p.answers(ctx) {
			continue
		}
		if err := s.pass(ctx, p.user, p.dir, s.house != nil, passLife); err != nil {
			s.log.LogAttrs(ctx, slog.LevelWarn, "the pass of a notebook server is not renewed", slog.String("user", p.user), slog.String("error", err.Error()))
		}
	}
}

// A relays keeps the addresses of passes working in a container.
type relays struct {
	mu    sync.Mutex
	urls  []string
	stops []func()
}

// env is what a kernel is told of the pass in dir; nothing where there is none.
func (r *relays) env(dir string) []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	p, err := auth.ReadPass(dir)
	if err != nil {
		return nil
	}
	if !slices.Contains(r.urls, p.URL) {
		stop, err := p.Relay()
		if err != nil {
			return nil
		}
		r.urls, r.stops = append(r.urls, p.URL), append(r.stops, stop)
	}
	return p.Env(dir)
}

func (r *relays) stop() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, stop := range r.stops {
		stop()
	}
}

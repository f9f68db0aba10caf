package server

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"time"

	"quire/internal/auth"
	"quire/internal/compute"
	"quire/internal/pages"
	"quire/internal/problem"
)

// shownServers are the notebook servers as pages show them.
type shownServers struct{ s *spawner }

var _ pages.Servers = shownServers{}

// Look implements pages.Servers.
func (v shownServers) Look(ctx context.Context, user string) (pages.ServerView, error) {
	if !auth.ValidName(user) {
		return pages.ServerView{}, problem.New(problem.NotFound, "no user %.64q", user)
	}
	st, err := v.s.status(ctx, v.s.of(user))
	if err != nil {
		return pages.ServerView{}, err
	}
	out := pages.ServerView{
		Contained: st.Contained, Isolation: st.Isolation, State: st.State, Reason: st.Reason, Running: st.Running, Job: st.Job,
		Kernels: st.Kernels, Ended: st.Ended, Start: st.Start, Launch: compute.Launch{Name: st.Name},
	}
	if st.Size != nil {
		out.Launch.Resources = *st.Size
	}
	if v.s.house != nil {
		r, err := v.s.house.last(ctx, user)
		if err != nil {
			return out, err
		}
		out.Launch.Env = envLines(r.Env)
	}
	if a := st.Idle; a != nil {
		out.Busy, out.Connected, out.IdleSince, out.StopsAt, out.Warning = a.Busy, a.Connected, a.IdleSince, a.StopsAt, a.Warning
	}
	return out, nil
}

// envLines are variables as the form has them, a line each.
func envLines(env map[string]string) string {
	lines := make([]string, 0, len(env))
	for name, value := range env {
		lines = append(lines, name+"="+value)
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

func asked(l compute.Launch) serverRequest {
	r := l.Resources
	return serverRequest{Name: &l.Name, Env: &l.Env, Resources: &sizeWanted{
		CPUMilli: &r.CPUMilli, MemoryBytes: &r.MemoryBytes, DiskBytes: &r.DiskBytes, GPUs: &r.GPUs, NetworkMbps: &r.NetworkMbps,
	}}
}

// Check implements pages.Servers.
func (v shownServers) Check(ctx context.Context, user string, l compute.Launch) (compute.Violations, error) {
	_, err := v.s.wanted(ctx, v.s.of(user), asked(l))
	var wrong compute.Violations
	if errors.As(err, &wrong) {
		return wrong, nil
	}
	return nil, err
}

// Begin implements pages.Servers.
func (v shownServers) Begin(ctx context.Context, user string, l compute.Launch) error {
	if _, err := v.s.users.User(ctx, user); err != nil {
		return err
	}
	v.s.mu.Lock()
	defer v.s.mu.Unlock()
	if v.s.closed {
		return problem.New(problem.Unavailable, "the server ends")
	}
	v.s.done.Go(func() {
		if _, err := v.s.again(v.s.ctx, user, asked(l)); err != nil {
			v.s.log.LogAttrs(v.s.ctx, slog.LevelError, "notebook server did not start", slog.String("user", user), slog.String("error", err.Error()))
		}
	})
	return nil
}

// End implements pages.Servers.
func (v shownServers) End(ctx context.Context, user, by string) error {
	if !auth.ValidName(user) {
		return problem.New(problem.NotFound, "no user %.64q", user)
	}
	p := v.s.of(user)
	back, err := p.hold(ctx)
	if err != nil {
		return err
	}
	defer back()
	return v.s.end(ctx, p, by+" stopped it")
}

// Extend implements pages.Servers.
func (v shownServers) Extend(ctx context.Context, user string, d time.Duration) error {
	if !auth.ValidName(user) {
		return problem.New(problem.NotFound, "no user %.64q", user)
	}
	_, err := v.s.extend(ctx, v.s.of(user), min(d, maxExtend))
	return err
}

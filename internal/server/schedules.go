package server

import (
	"bytes"
	"context"
	"io"
	"path"
	"slices"
	"time"

	"quire/internal/auth"
	"quire/internal/contents"
	"quire/internal/notify"
	"quire/internal/problem"
	"quire/internal/schedule"
)

// A HookConfig is a webhook that schedules may wait for.
type HookConfig struct {
	// Key, a reference, env:NAME or file:/path, is what its calls are signed with.
	Key string `yaml:"key"`
}

func validateHooks(hooks map[string]HookConfig) (wrong []string) {
	for name, hook := range hooks {
		if !schedule.ValidName(name) {
			wrong = append(wrong, "hooks: "+name+": want a name of lower-case letters, digits, - and _")
		}
		if !isReference(hook.Key) {
			wrong = append(wrong, "hooks."+name+".key: want a reference, env:NAME or file:/path")
		}
	}
	return wrong
}

// newSchedules returns what fires the schedules: over the same records as the
// runs, for whoever owns them.
func (s *Server) newSchedules(carriers *notify.Carriers) *schedule.Schedules {
	hooks := map[string]func() (string, error){}
	for name, hook := range s.cfg.Hooks {
		hooks[name] = secretOf(hook.Key)
	}
	return schedule.New(schedule.Config{
		Hooks: hooks, Store: s.db, Several: s.cfg.Database != "", Runs: s.runs, User: s.db.User, Services: s.services, Groups: s.groupsOf, Commit: s.runs.Commit, Tested: s.runs.TestedWith,
		Tells: carriers.Known, Keep: s.keepNotebook, Files: watchedFiles{s.volume, s.mounts, time.Now}, Log: s.log,
	})
}

// keepNotebook writes a notebook that the platform makes to the workspaces, and
// returns the version that has its bytes.
func (s *Server) keepNotebook(ctx context.Context, u auth.User, file string, nb []byte) (int64, error) {
	old, body, err := s.volume.Read(ctx, u, file)
	switch {
	case problem.Is(err, problem.NotFound):
		if err := s.volume.MakeFolders(ctx, u, path.Dir(file)); err != nil {
			return 0, err
		}
	case err != nil:
		return 0, err
	default:
		there, err := io.ReadAll(io.LimitReader(body, int64(len(nb))+1))
		body.Close()
		if err != nil {
			return 0, problem.WrapAs(problem.Unavailable, err, "reading %s", file)
		}
		if bytes.Equal(there, nb) {
			return old.Version, nil
		}
	}
	saved, err := s.volume.Save(ctx, u, file, bytes.NewReader(nb), contents.SaveOptions{Base: old.Version})
	return saved.Number, err
}

// services are the service identities.
func (s *Server) services(ctx context.Context) ([]auth.User, error) {
	all, err := s.db.Users(ctx)
	return slices.DeleteFunc(all, func(u auth.User) bool { return u.Service == nil }), err
}

package server

import (
	"bytes"
	"context"
	"embed"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"quire/internal/auth"
	"quire/internal/contents"
	"quire/internal/kernel"
	"quire/internal/problem"
	"quire/internal/run"
)

// sampleFiles are the sample workspaces: users/ and shared/ as on the volume,
// and local/, which goes into the workspace of the local user.
//
//go:embed sample
var sampleFiles embed.FS

// samplePeople are the users of the sample. They have no access tokens.
var samplePeople = []string{"kylek", "mpacer", "mufford"}

// sampleAges say how long ago the files of the sample were changed; a directory
// is as old as what was changed last in it. What is not named is as old as the
// directory above it.
var sampleAges = map[string]time.Duration{
	"local":                            5 * time.Minute,
	"users/mufford/MySparkJob.ipynb":   6 * time.Hour,
	"users/mufford/New_Titles.ipynb":   24 * time.Hour,
	"users/mufford/playback_agg.ipynb": 48 * time.Hour,
	"users/mufford/Untitled3.ipynb":    21 * 24 * time.Hour,
	"users/mpacer":                     24 * time.Hour,
	"users/kylek":                      48 * time.Hour,
	"users/mufford":                    6 * time.Hour,
	"shared":                           72 * time.Hour,
}

// The states of the sample, kept in the data directory, so that a start that
// was cut off goes on and a sample that was deleted does not come back.
const (
	sampleFile  = "sample"
	sampleBegun = "begun\n"
	sampleDone  = "done\n"
)

// addSample puts the sample on the volume when there is nothing of people on
// it. It reports whether it did.
func (s *Server) addSample(ctx context.Context, cfg contents.Config) (added bool, err error) {
	marker := s.shared(sampleFile)
	state, err := os.ReadFile(marker)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return false, problem.WrapAs(problem.Unavailable, err, "looking for the sample")
	}
	if string(state) == sampleDone {
		return false, nil
	}
	if string(state) != sampleBegun && !s.emptyVolume(cfg.Dir) {
		return false, nil
	}
	if err := os.WriteFile(marker, []byte(sampleBegun), 0o600); err != nil {
		return false, problem.WrapAs(problem.Unavailable, err, "noting the sample")
	}
	if err := s.writeSample(ctx, cfg); err != nil {
		return false, problem.Wrap(err, "putting the sample on the volume")
	}
	return true, problem.WrapAs(problem.Unavailable, os.WriteFile(marker, []byte(sampleDone), 0o600), "noting the sample")
}

// emptyVolume reports whether nobody has a file on the volume.
func (s *Server) emptyVolume(dir string) bool {
	empty := true
	for _, top := range []string{"users", "shared"} {
		_ = filepath.WalkDir(filepath.Join(dir, top), func(_ string, d fs.DirEntry, err error) error {
			if err == nil && !d.IsDir() {
				empty = false
				return fs.SkipAll
			}
			return nil
		})
	}
	return empty
}

// writeSample saves each file as its owner, at its time, so that the versions
// say the same as the listing.
func (s *Server) writeSample(ctx context.Context, cfg contents.Config) (err error) {
	start := time.Now()
	var at time.Time
	cfg.Now = func() time.Time { return at }
	volume, err := contents.Open(ctx, cfg)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, volume.Close()) }()
	for _, name := range samplePeople {
		if err := errors.Join(s.db.PutUser(ctx, auth.User{Name: name}), volume.AddWorkspace(name)); err != nil {
			return err
		}
	}
	if err := volume.AddWorkspace(s.cfg.User); err != nil {
		return err
	}
	dirs := map[string]time.Time{}
	err = fs.WalkDir(sampleFiles, "sample", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		inSample := strings.TrimPrefix(strings.TrimPrefix(name, "sample"), "/")
		target, u := s.sampleTarget(inSample)
		if target == "" {
			return nil
		}
		at = start.Add(-sampleAge(inSample))
		if d.IsDir() {
			dirs[target] = at
			err = volume.Mkdir(ctx, u, target)
			if problem.Is(err, problem.Exists) || problem.Is(err, problem.Denied) { // a workspace itself
				return nil
			}
			return err
		}
		return saveSample(ctx, volume, u, name, target, filepath.Join(cfg.Dir, filepath.FromSlash(target)), at)
	})
	for dir, t := range dirs {
		err = errors.Join(err, os.Chtimes(filepath.Join(cfg.Dir, filepath.FromSlash(dir)), t, t))
	}
	return err
}

// saveSample saves one file; one that a start before this one has written stays.
func saveSample(ctx context.Context, volume *contents.Volume, u auth.User, name, target, disk string, at time.Time) error {
	data, err := sampleFiles.ReadFile(name)
	if err != nil {
		return err
	}
	_, err = volume.Save(ctx, u, target, bytes.NewReader(data), contents.SaveOptions{})
	if problem.Is(err, problem.Conflict) || problem.Is(err, problem.Exists) {
		return nil
	}
	return errors.Join(err, os.Chtimes(disk, at, at))
}

// sampleTarget is where a file of the sample goes, and who saves it; "" for
// what is no file of its own.
func (s *Server) sampleTarget(name string) (string, auth.User) {
	first, rest, _ := strings.Cut(name, "/")
	switch {
	case first == "local" && rest != "":
		return path.Join("users", s.cfg.User, rest), auth.User{Name: s.cfg.User}
	case first == "users" && rest != "":
		owner, _, _ := strings.Cut(rest, "/")
		return name, auth.User{Name: owner}
	case first == "shared":
		return name, auth.User{Name: "kylek"}
	}
	return "", auth.User{}
}

func sampleAge(name string) time.Duration {
	for {
		if age, ok := sampleAges[name]; ok {
			return age
		}
		if name == "." {
			return 0
		}
		name = path.Dir(name)
	}
}

// runSample runs the local user's notebook once, so that the list of runs is
// not empty. It needs a kernel.
func (s *Server) runSample(ctx context.Context) {
	if _, err := (kernel.Finder{}).Find("python3"); err != nil {
		s.log.LogAttrs(ctx, slog.LevelInfo, "the sample notebook is not run: no Python kernel was found")
		return
	}
	_, err := s.runs.Submit(ctx, auth.User{Name: s.cfg.User, Admin: true}, run.Request{
		Notebook: "users/" + s.cfg.User + "/Welcome.ipynb", Tags: []string{"sample"}, IdempotencyKey: "the first run of the sample",
	})
	if err != nil {
		s.log.LogAttrs(ctx, slog.LevelWarn, "the sample notebook is not run", slog.String("error", err.Error()))
	}
}

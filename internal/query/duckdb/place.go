package duckdb

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"quire/internal/compute"
	"quire/internal/problem"
	"quire/internal/query/worker"
)

// home is the folder of an owner, and where their catalog is.
func (s *Source) home(owner string) (home, catalog string) {
	switch {
	case owner == "": // the one that makes the sample
		home = filepath.Join(s.cfg.Dir, "sample")
	case owner == everybody:
		return filepath.Join(s.cfg.Dir, "shared", filepath.Base(s.cfg.Shared)), s.cfg.Shared
	default:
		home = filepath.Join(s.cfg.Dir, "users", owner)
	}
	return home, filepath.Join(home, "catalog")
}

// place is where an owner's process runs, with the folders that it sees.
func (s *Source) place(ctx context.Context, owner, id string) (worker.Place, error) {
	cfg := s.cfg
	exe, err := s.program()
	if err != nil {
		return worker.Place{}, err
	}
	home, catalog := s.home(owner)
	temp, run := filepath.Join(home, "temp"), filepath.Join(home, "run", id)
	_ = os.RemoveAll(temp) // what a process before this one has left
	for _, dir := range []string{catalog, temp, run} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return worker.Place{}, problem.WrapAs(problem.Unavailable, err, "making the catalog of %s", owner)
		}
	}
	set := settings{
		Catalog: filepath.Join(catalog, "catalog.duckdb"), Temp: temp, Threads: cfg.Threads, IdleSeconds: int(cfg.Idle.Seconds()),
		Memory: fmt.Sprintf("%dMiB", (cfg.MemoryBytes*3/4)>>20), Disk: fmt.Sprintf("%dMiB", cfg.DiskBytes>>20),
		Allowed: []string{temp}, Shared: owner == everybody,
	}
	mounts := []compute.Mount{{Source: exe, Target: exe, ReadOnly: true}, {Source: catalog, Target: catalog}, {Source: temp, Target: temp}}
	dir := temp
	folders := []string{"users/" + owner, "shared"}
	if owner == everybody {
		folders = folders[1:]
	}
	for _, folder := range folders {
		at := filepath.Join(cfg.Files, filepath.FromSlash(folder))
		if info, err := os.Stat(at); err != nil || !info.IsDir() || cfg.Files == "" || owner == "" {
			continue
		}
		mounts = append(mounts, compute.Mount{Source: at, Target: at})
		set.Allowed = append(set.Allowed, at)
		if dir == temp {
			dir, set.Search = at, at+","+cfg.Files
		}
	}
	if info, err := os.Stat(cfg.Sample); err == nil && info.IsDir() {
		mounts = append(mounts, compute.Mount{Source: cfg.Sample, Target: cfg.Sample, ReadOnly: owner != ""})
		set.Sample, set.Allowed = cfg.Sample, append(set.Allowed, cfg.Sample)
	}
	// The path of a socket may not be long: inside it is a short one, where the
	// container has folders of its own.
	place := worker.Place{Socket: filepath.Join(run, "socket")}
	set.Socket = place.Socket
	if worker.Isolated(ctx, cfg.Driver) {
		set.Socket = "/quire/socket"
		mounts = append(mounts, compute.Mount{Source: run, Target: "/quire"})
	}
	argument, err := worker.Argument(set)
	place.Spec = compute.Spec{
		Argv: []string{exe, argument}, Dir: dir, Mounts: mounts, Env: map[string]string{"GOMEMLIMIT": "256MiB", "HOME": temp},
	}
	return place, err
}

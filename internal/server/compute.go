package server

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"quire/internal/auth"
	"quire/internal/compute"
	"quire/internal/compute/process"
	"quire/internal/job"
	"quire/internal/kernel"
	"quire/internal/problem"
	"quire/internal/run"
)

// The places where containers can run, as the configuration names them.
const (
	computeAuto    = "auto"
	computeLocal   = "local"
	computeProcess = "process"
	computeNone    = "none"
)

// A GroupConfig is a capacity group in the configuration: Count times the
// largest container is what its jobs may have together. What is 0 is without
// limit.
type GroupConfig struct {
	Tier        string  `yaml:"tier"` // Critical or Flex
	CPUs        float64 `yaml:"cpus"`
	MemoryGB    int64   `yaml:"memoryGB"`
	DiskGB      int64   `yaml:"diskGB"`
	GPUs        int64   `yaml:"gpus"`
	NetworkMbps int64   `yaml:"networkMbps"`
	Count       int     `yaml:"count"` // default 1
}

// validateCompute checks where containers run and what groups there are.
func (c *Config) validateCompute() (wrong []string) {
	if c.Compute == "" {
		c.Compute = computeAuto
	}
	if !slices.Contains([]string{computeAuto, computeLocal, computeProcess, computeNone}, c.Compute) {
		wrong = append(wrong, "compute: "+c.Compute+": want auto, local, process or none")
	}
	for name, g := range c.Groups {
		if !auth.ValidName(strings.ToLower(name)) {
			wrong = append(wrong, "groups: "+name+": want letters, digits, - and _")
		}
		if g.CPUs < 0 || g.MemoryGB < 0 || g.DiskGB < 0 || g.GPUs < 0 || g.NetworkMbps < 0 || g.Count < 0 {
			wrong = append(wrong, "groups: "+name+": no number may be below 0")
		}
		if g.Tier != "" && g.Tier != "Critical" && g.Tier != "Flex" {
			wrong = append(wrong, "groups: "+name+": tier: want Critical or Flex")
		}
	}
	return wrong
}

func (c *Config) groups() []job.Group {
	var all []job.Group
	for name, g := range c.Groups {
		all = append(all, job.Group{Name: name, Tier: g.Tier, Count: max(g.Count, 1), Instance: compute.Resources{
			CPUMilli: int64(g.CPUs * 1000), MemoryBytes: g.MemoryGB * compute.GiB, DiskBytes: g.DiskGB * compute.GiB,
			GPUs: g.GPUs, NetworkMbps: g.NetworkMbps,
		}})
	}
	return all
}

// openCompute opens the place where containers run, and the jobs over it. With
// compute: none there is neither.
func (s *Server) openCompute(ctx context.Context) error {
	if s.cfg.Compute == computeNone {
		return nil
	}
	install, err := s.installID()
	if err != nil {
		return err
	}
	if s.driver, err = s.openDriver(ctx); err != nil {
		return problem.Wrap(err, "opening the place where containers run")
	}
	s.jobs = job.New(job.Config{
		Store: s.db, Driver: s.driver, Groups: s.cfg.groups(), Files: s.data("files"), Logs: s.data("joblogs"),
		Install: install, Keep: s.cfg.KeepRuns, Log: s.log,
	})
	return nil
}

// openDriver opens what the configuration names; auto is local where that
// works, and where it does not, the log and every page about containers say so.
func (s *Server) openDriver(ctx context.Context) (compute.Driver, error) {
	if s.cfg.Compute != computeProcess {
		dir, err := s.containerDir(computeLocal)
		if err != nil {
			return nil, err
		}
		paths, _ := hostPaths()
		driver, err := openMachine(ctx, dir, paths)
		if err == nil || s.cfg.Compute == computeLocal {
			return driver, err
		}
		s.log.LogAttrs(ctx, slog.LevelWarn, "containers are plain processes: nothing is isolated", slog.String("error", err.Error()))
	}
	dir, err := s.containerDir(computeProcess)
	if err != nil {
		return nil, err
	}
	return process.Open(process.Config{Dir: dir})
}

func (s *Server) containerDir(driver string) (string, error) {
	dir := s.data("containers", driver)
	return dir, problem.WrapAs(problem.Unavailable, os.MkdirAll(dir, 0o700), "making room for containers")
}

// hostPaths are the folders outside the system's own that kernels need: Python
// environments, with the Python that they link to, and kernelspecs. Those that
// are reached by a link are there under their real names, and as mounts under
// the other ones.
func hostPaths() (all []string, linked []compute.Mount) {
	add := func(dir string) {
		real, err := filepath.EvalSymlinks(dir)
		if err == nil && real != dir {
			linked = append(linked, compute.Mount{Source: real, Target: dir, ReadOnly: true})
			dir = real
		}
		if info, err := os.Stat(dir); err != nil || !info.IsDir() || strings.HasPrefix(dir+"/", "/usr/") {
			return
		}
		for _, have := range all {
			if strings.HasPrefix(dir+"/", have+"/") {
				return
			}
		}
		all = append(all, dir)
	}
	for _, data := range kernel.DefaultPaths() {
		prefix := filepath.Dir(filepath.Dir(data))
		python, err := filepath.EvalSymlinks(filepath.Join(prefix, "bin", "python3"))
		if err != nil { // not an environment: its kernelspecs only
			add(data)
			continue
		}
		add(prefix)
		add(filepath.Dir(filepath.Dir(python)))
	}
	return all, linked
}

// installID returns the name of this installation: made once, kept for ever.
func (s *Server) installID() (string, error) {
	file := s.data("install")
	data, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		id := job.NewID()
		return id, problem.WrapAs(problem.Unavailable, os.WriteFile(file, []byte(id+"\n"), 0o600), "naming this installation")
	}
	return strings.TrimSpace(string(data)), problem.WrapAs(problem.Unavailable, err, "reading this installation's name")
}

// startJobs keeps the jobs until stop is called.
func (s *Server) startJobs(ctx context.Context) (stop func(), err error) {
	if s.jobs == nil {
		return func() {}, nil
	}
	return s.jobs.Stop, s.jobs.Start(ctx)
}

// containers executes runs that ask for a size; nil where there are none.
func (s *Server) containers(command []string) *run.Containers {
	if s.jobs == nil || len(command) == 0 {
		return nil
	}
	_, linked := hostPaths()
	return &run.Containers{Jobs: s.jobs, Command: command, Files: s.data("files"), Mounts: linked}
}

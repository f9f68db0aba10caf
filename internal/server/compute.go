package server

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"strings"

	"quire/internal/auth"
	"quire/internal/compute"
	"quire/internal/compute/process"
	"quire/internal/job"
	"quire/internal/problem"
)

// The places where containers can run, as the configuration names them.
const (
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
		c.Compute = computeProcess
	}
	if c.Compute != computeProcess && c.Compute != computeNone {
		wrong = append(wrong, "compute: "+c.Compute+": want process or none")
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
func (s *Server) openCompute() error {
	if s.cfg.Compute == computeNone {
		return nil
	}
	if err := os.MkdirAll(s.data("containers"), 0o700); err != nil {
		return problem.WrapAs(problem.Unavailable, err, "making room for containers")
	}
	driver, err := process.Open(process.Config{Dir: s.data("containers")})
	if err != nil {
		return problem.Wrap(err, "opening the place where containers run")
	}
	s.driver = driver
	install, err := s.installID()
	if err != nil {
		return err
	}
	s.jobs = job.New(job.Config{
		Store: s.db, Driver: s.driver, Groups: s.cfg.groups(), Files: s.data("files"), Logs: s.data("joblogs"),
		Install: install, Keep: s.cfg.KeepRuns, Log: s.log,
	})
	return nil
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

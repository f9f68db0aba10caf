package server

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"quire/internal/auth"
	"quire/internal/compute"
	"quire/internal/compute/docker"
	"quire/internal/compute/process"
	"quire/internal/compute/program"
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
	computeDocker  = "docker"
	computeCluster = "kubernetes"
	computeNone    = "none"
)

// A DockerConfig is the Docker host of compute: docker.
type DockerConfig struct {
	// Host is where the Docker daemon answers, as DOCKER_HOST has it:
	// unix:///var/run/docker.sock, tcp://HOST:PORT, npipe. Default: DOCKER_HOST,
	// else unix:///var/run/docker.sock.
	Host string `yaml:"host"`
	// Image is the image of containers that name none, by reference with digest.
	// It has to hold what notebooks need: a Python with ipykernel. Default: none,
	// and such containers are refused.
	Image string `yaml:"image"`
	// Network is the Docker network of containers that are to reach something.
	// Default: none, and containers have no network.
	Network string `yaml:"network"`
	// HostPaths are folders of this machine that containers without an image of
	// their own see, read-only, where they are: a Python environment. With any,
	// they get PATH, QUIRE_ENV and JUPYTER_PATH of the server too. Default: none.
	HostPaths []string `yaml:"hostPaths"`
	// Executable is a quire binary for Linux, where the Docker host has it.
	// Default: the server's own.
	Executable string `yaml:"executable"`
}

func (c *DockerConfig) validate() (wrong []string) {
	for _, path := range append(slices.Clone(c.HostPaths), c.Executable) {
		if path != "" && (!filepath.IsAbs(path) || filepath.Clean(path) != path) {
			wrong = append(wrong, "docker: "+path+": want an absolute path without . and ..")
		}
	}
	if strings.ContainsAny(c.Image+c.Network, " \t\n") {
		wrong = append(wrong, "docker: image and network hold no spaces")
	}
	return wrong
}

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
	if !slices.Contains([]string{computeAuto, computeLocal, computeProcess, computeDocker, computeCluster, computeNone}, c.Compute) {
		wrong = append(wrong, "compute: "+c.Compute+": want auto, local, process, docker, kubernetes or none")
	}
	wrong = append(wrong, c.Docker.validate()...)
	if c.Compute == computeCluster {
		wrong = append(wrong, c.Kubernetes.validate()...)
	}
	wrong = append(wrong, c.validateNetwork()...)
	wrong = append(wrong, c.validateProfiles()...)
	for name, folder := range c.Images {
		real, err := filepath.EvalSymlinks(folder)
		if info, statErr := os.Stat(real); err != nil || statErr != nil || !info.IsDir() || !filepath.IsAbs(folder) {
			wrong = append(wrong, "images: "+name+": want the absolute path of a folder that is there")
			continue
		}
		c.Images[name] = real
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
	if s.driver, err = s.openDriver(ctx, install); err != nil {
		return problem.Wrap(err, "opening the place where containers run")
	}
	network, err := s.networkPolicy(ctx)
	if err != nil {
		return err
	}
	s.jobs = job.New(job.Config{
		Network: network, Profile: s.cfg.profiles(s.groupsOf),
		Store: s.db, Driver: s.driver, Groups: s.cfg.groups(), Files: s.shared("files"), Logs: s.data("joblogs"),
		Install: install, Keep: s.cfg.KeepRuns, Log: s.log,
	})
	return nil
}

// openDriver opens what the configuration names; auto is local where that
// works, and where it does not, the log and every page about containers say so.
func (s *Server) openDriver(ctx context.Context, install string) (compute.Driver, error) {
	switch s.cfg.Compute {
	case computeDocker:
		return s.openDocker(ctx, install)
	case computeCluster:
		return s.openCluster(ctx, install)
	}
	if s.cfg.Compute != computeProcess {
		dir, err := s.containerDir(computeLocal)
		if err != nil {
			return nil, err
		}
		paths, _ := hostPaths()
		driver, err := s.openMachine(ctx, dir, paths, s.cfg.Images)
		if err == nil || s.cfg.Compute == computeLocal {
			return driver, err
		}
		s.log.LogAttrs(ctx, slog.LevelWarn, "containers are plain processes: nothing is isolated", slog.String("error", err.Error()))
	}
	dir, err := s.containerDir(computeProcess)
	if err != nil {
		return nil, err
	}
	return process.Open(process.Config{Dir: dir, Program: s.shimProgram(ctx)})
}

// shimProgram is what is started beside each container: nil is this program itself,
// which takes longer to start.
func (s *Server) shimProgram(ctx context.Context) *os.File {
	file, err := program.Shim()
	if err != nil {
		s.log.LogAttrs(ctx, slog.LevelWarn, "containers start more slowly", slog.String("error", err.Error()))
	}
	return file
}

// openDocker opens a Docker host. One that does not answer now may do later:
// that is said in the log, and by every container that is asked for.
func (s *Server) openDocker(ctx context.Context, install string) (compute.Driver, error) {
	dir, err := s.containerDir(computeDocker)
	if err != nil {
		return nil, err
	}
	c := s.cfg.Docker
	for _, path := range c.HostPaths { // what a link leads to is there under its own name too
		if real, err := filepath.EvalSymlinks(path); err == nil && !slices.Contains(c.HostPaths, real) {
			c.HostPaths = append(c.HostPaths[:len(c.HostPaths):len(c.HostPaths)], real)
		}
	}
	driver, err := docker.Open(docker.Config{
		Dir: dir, Place: install, Host: c.Host, Executable: c.Executable, Image: c.Image, Network: c.Network, HostPaths: c.HostPaths,
	})
	if err != nil {
		return nil, err
	}
	s.tryPlace(ctx, driver)
	return driver, nil
}

// tryPlace says in the log when a place for containers does not answer.
func (s *Server) tryPlace(ctx context.Context, driver compute.Driver) {
	const patience = 3 * time.Second
	bounded, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if _, err := driver.Probe(bounded); err != nil {
		s.log.LogAttrs(ctx, slog.LevelWarn, "the place for containers does not answer: they wait for it",
			slog.String("compute", s.cfg.Compute), slog.String("error", err.Error()))
	}
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
		return id, problem.WrapAs(problem.Unavailable, replaceFile(file, id+"\n"), "naming this installation")
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

// beside reports whether containers share this machine's files and sockets: a
// server in one is reached by a socket in a folder that is mounted there.
func (c *Config) beside() bool {
	if c.Compute != computeDocker {
		return c.Compute != computeCluster
	}
	host := c.Docker.Host
	if host == "" {
		host = os.Getenv("DOCKER_HOST")
	}
	return runtime.GOOS == "linux" && (host == "" || strings.HasPrefix(host, "unix://")) // elsewhere Docker runs in a machine of its own
}

// ownMounts are what every container with one of our programs in it needs besides
// the files that it works on: this machine's programs under their other names,
// and the way to this server.
func (s *Server) ownMounts() []compute.Mount {
	if !s.cfg.beside() {
		return nil
	}
	if s.cfg.Compute == computeDocker { // host paths are there under all their names
		return s.gateMount()
	}
	_, linked := hostPaths()
	return append(linked, s.gateMount()...)
}

// passedOn are the variables of this process, by name, that programs in
// containers get: where the machine's programs are, where they see them.
func (c *Config) passedOn() []string {
	names := []string{"LANG", "TZ"}
	if c.Compute == computeCluster || c.Compute == computeDocker && len(c.Docker.HostPaths) == 0 {
		return names // the image knows better
	}
	return append(names, "PATH", "QUIRE_ENV", "JUPYTER_PATH", "JUPYTER_DATA_DIR")
}

// containers executes runs that ask for a size; nil where there are none.
func (s *Server) containers(command []string) *run.Containers {
	if s.jobs == nil || len(command) == 0 {
		return nil
	}
	c := &run.Containers{
		Jobs: s.jobs, Command: command, Files: s.shared("files"), Base: s.cfg.BasePath, User: s.db.User,
		InUse: func(ctx context.Context, dir, base string) bool { return s.spawn.keptInUse(ctx, dir, base) },
	}
	if s.cfg.beside() { // elsewhere a kept kernel's socket is another machine's
		c.Keep, c.Kept = max(0, s.cfg.KeepFailed), s.cfg.KeptFailed
	}
	c.Apart = !s.cfg.beside()
	c.Mounts = s.ownMounts()
	c.Env = s.cfg.passedOn()
	if s.cfg.Compute == computeCluster {
		c.Command = append([]string{s.sharedBinary()}, command[1:]...)
	}
	return c
}

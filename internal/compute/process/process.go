//go:build unix

// Package process is the compute driver that isolates nothing: a container is
// a process of the server's own user, with a shim beside it. It is for systems
// without namespaces, and says so in Probe.
package process

import (
	"context"
	"encoding/json"
	"os"
	"syscall"

	"quire/internal/compute"
	"quire/internal/compute/shim"
)

// Config is what the driver needs.
type Config struct {
	Dir      string   // where containers are kept; required
	Program  *os.File // what is started beside a container, as with program.Shim; nil is the running binary
	LogBytes int64    // how much of a log is kept; 0 is shim.DefaultLogBytes
}

// Driver runs containers as plain processes.
type Driver struct{ *shim.Place }

var _ compute.Driver = (*Driver)(nil)

// Open opens the driver. The caller closes it.
func Open(cfg Config) (*Driver, error) {
	place, err := shim.Open(shim.Options{
		Name: "process", Dir: cfg.Dir, Program: cfg.Program, LogBytes: cfg.LogBytes,
	}, isolation{})
	if err != nil {
		return nil, err
	}
	return &Driver{place}, nil
}

// Probe says that nothing is enforced.
func (*Driver) Probe(context.Context) (compute.Probe, error) {
	p := compute.Probe{
		Driver:  "process",
		Summary: "Containers are plain processes of the server's user: nothing is isolated and no limit is kept.",
		Support: make(map[compute.Resource]compute.Support),
		Refuses: []compute.Resource{compute.GPU},
	}
	for _, r := range compute.AllResources() {
		p.Support[r] = compute.Support{Level: compute.Unsupported, Reason: "the process driver isolates nothing"}
	}
	return p, nil
}

// isolation is none.
type isolation struct{}

// Plan refuses what plain processes cannot have.
func (isolation) Plan(spec compute.Spec) (json.RawMessage, error) {
	var found compute.Violations
	if spec.Image != "" || spec.Root != "" {
		found.Add("image", "the process driver has no images: commands of this machine are executed")
	}
	if spec.Resources.GPUs > 0 {
		found.Add("resources.gpus", "the process driver cannot give out GPUs")
	}
	for _, m := range spec.Mounts {
		if m.Source != m.Target {
			found.Add("mounts", "the process driver cannot mount %s elsewhere than where it is", m.Source)
		}
	}
	return nil, found.Err("planning")
}

// Launch starts the command as it is.
func (isolation) Launch(spec compute.Spec, _ json.RawMessage, _ string) (*shim.Launch, error) {
	env := map[string]string{"PATH": os.Getenv("PATH"), "HOME": home(), "LANG": "C.UTF-8"}
	for name, value := range spec.Env {
		env[name] = value
	}
	dir := spec.Dir
	for _, m := range spec.Mounts {
		if dir == "" && !m.ReadOnly {
			dir = m.Target
		}
	}
	if dir == "" {
		dir = home()
	}
	return &shim.Launch{
		Attr: &syscall.SysProcAttr{Setsid: true},
		Config: shim.Config{
			Argv: spec.Argv, Env: shim.EnvList(env), Dir: dir,
			Limits: shim.Limits{MemoryBytes: spec.Resources.MemoryBytes},
		},
	}, nil
}

func home() string {
	if dir, err := os.UserHomeDir(); err == nil {
		return dir
	}
	return "/"
}

// Measure has nothing to add to what the shim measured.
func (isolation) Measure(compute.Spec, json.RawMessage, string, *compute.Stats) {}

// Release has nothing to take away.
func (isolation) Release(compute.Spec, json.RawMessage, string) error { return nil }

//go:build unix && !linux

package shim

import "syscall"

// order is one process to start.
type order struct {
	path, dir string
	argv, env []string
	files     [3]uintptr
}

// spawner starts processes, and limits nothing here.
type spawner struct{}

func newSpawner(Config) *spawner { return &spawner{} }

func (*spawner) start(o order) (int, *syscall.WaitStatus, error) {
	pid, err := syscall.ForkExec(o.path, o.argv, &syscall.ProcAttr{
		Dir: o.dir, Env: o.env, Files: o.files[:], Sys: &syscall.SysProcAttr{Setsid: true},
	})
	return pid, nil, err
}

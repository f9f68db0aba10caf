//go:build unix && !linux

package kernel

import (
	"os/exec"
	"syscall"
)

// maxrssUnit is the unit of rusage's Maxrss in bytes.
const maxrssUnit = 1

// ownGroup makes a process the leader of its own session. These systems have
// no signal for a parent's death; kernels that mind JPY_PARENT_PID end by
// themselves.
func ownGroup() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setsid: true} }

// awaitExit returns when the child has ended; here that reaps it.
func awaitExit(cmd *exec.Cmd) { _ = cmd.Wait() }

package kernel

import (
	"os/exec"
	"syscall"

	"golang.org/x/sys/unix"
)

// maxrssUnit is the unit of rusage's Maxrss in bytes.
const maxrssUnit = 1024

// ownGroup makes a process the leader of its own session and ends it with the
// thread that started it.
func ownGroup() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setsid: true, Pdeathsig: syscall.SIGKILL}
}

// awaitExit returns when the child has ended, without reaping it.
func awaitExit(cmd *exec.Cmd) {
	for {
		err := unix.Waitid(unix.P_PID, cmd.Process.Pid, nil, unix.WEXITED|unix.WNOWAIT, nil)
		if err != unix.EINTR {
			return
		}
	}
}

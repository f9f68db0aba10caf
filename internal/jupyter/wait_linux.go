package jupyter

import (
	"errors"
	"syscall"

	"golang.org/x/sys/unix"
)

// awaitExit returns when a child has ended. It is not reaped, so that its number
// still means its session.
func awaitExit(pid int) {
	for {
		err := unix.Waitid(unix.P_PID, pid, nil, unix.WEXITED|unix.WNOWAIT, nil)
		if !errors.Is(err, syscall.EINTR) {
			return
		}
	}
}

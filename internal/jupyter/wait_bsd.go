//go:build darwin || freebsd || netbsd || openbsd || dragonfly

package jupyter

import (
	"errors"
	"syscall"

	"golang.org/x/sys/unix"
)

// awaitExit returns when a child has ended. It is not reaped, so that its number
// still means its session.
func awaitExit(pid int) {
	queue, err := unix.Kqueue()
	if err != nil {
		return
	}
	defer unix.Close(queue)
	var ask unix.Kevent_t
	unix.SetKevent(&ask, pid, unix.EVFILT_PROC, unix.EV_ADD|unix.EV_ONESHOT)
	ask.Fflags = unix.NOTE_EXIT
	for {
		// A process that has ended cannot be asked about: that is an answer too.
		_, err := unix.Kevent(queue, []unix.Kevent_t{ask}, make([]unix.Kevent_t, 1), nil)
		if !errors.Is(err, syscall.EINTR) {
			return
		}
	}
}

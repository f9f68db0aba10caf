package socket

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"quire/internal/problem"
)

// withPlain calls do with a path that leads to the socket itself: whoever
// can change its folder cannot put a link in its place meanwhile.
func withPlain(path string, do func(string) error) error {
	fd, err := unix.Open(path, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return &os.PathError{Op: "open", Path: path, Err: err}
	}
	defer func() { _ = unix.Close(fd) }()
	var stat unix.Stat_t
	if err := unix.Fstat(fd, &stat); err != nil {
		return err
	}
	if stat.Mode&unix.S_IFMT != unix.S_IFSOCK {
		return problem.New(problem.Invalid, "%s is not a socket", path)
	}
	return do(fmt.Sprintf("/proc/self/fd/%d", fd))
}

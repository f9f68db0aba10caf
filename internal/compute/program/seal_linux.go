package program

import (
	"errors"
	"os"
	"strconv"

	"golang.org/x/sys/unix"

	"quire/internal/problem"
)

// Seal returns a file in memory that holds a program and never changes. Closing it
// is the caller's.
func Seal(program []byte) (*os.File, error) {
	f, err := seal(program)
	return f, problem.WrapAs(problem.Unavailable, err, "putting the program of containers into memory")
}

func seal(program []byte) (*os.File, error) {
	// MFD_EXEC is needed where vm.memfd_noexec is 1, and unknown before Linux 6.3.
	fd, err := unix.MemfdCreate("quire-shim", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING|unix.MFD_EXEC)
	if errors.Is(err, unix.EINVAL) {
		fd, err = unix.MemfdCreate("quire-shim", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	}
	if err != nil {
		return nil, err
	}
	writable := os.NewFile(uintptr(fd), "quire-shim")
	defer writable.Close()
	if _, err := writable.Write(program); err != nil {
		return nil, err
	}
	if err := writable.Chmod(0o555); err != nil {
		return nil, err
	}
	if _, err := unix.FcntlInt(writable.Fd(), unix.F_ADD_SEALS, unix.F_SEAL_WRITE|unix.F_SEAL_GROW|unix.F_SEAL_SHRINK|unix.F_SEAL_SEAL); err != nil {
		return nil, err
	}
	return os.Open("/proc/self/fd/" + strconv.Itoa(int(writable.Fd())))
}

package socket

import (
	"errors"
	"io"
	"os"
	"syscall"
	"time"
)

// A Source is what ReadNow reads: a connection, a pipe or a terminal.
type Source interface {
	syscall.Conn
	SetReadDeadline(t time.Time) error
}

// ReadNow reads what has come already, also when the read deadline has passed,
// and leaves it passed. Where a deadline says how long to wait for more, a
// machine that stalls would otherwise lose what was there in time. When nothing
// is there the error is os.ErrDeadlineExceeded.
func ReadNow(s Source, b []byte) (n int, err error) {
	raw, err := s.SyscallConn()
	if err != nil {
		return 0, err
	}
	if err := s.SetReadDeadline(time.Time{}); err != nil {
		return 0, err
	}
	defer func() { _ = s.SetReadDeadline(time.Unix(1, 0)) }()
	failed := raw.Read(func(fd uintptr) bool {
		for {
			if n, err = syscall.Read(int(fd), b); !errors.Is(err, syscall.EINTR) {
				return true // it does not wait
			}
		}
	})
	switch {
	case failed != nil:
		return 0, failed
	case errors.Is(err, syscall.EAGAIN):
		return 0, os.ErrDeadlineExceeded
	case err != nil:
		return 0, err
	case n == 0 && len(b) > 0:
		return 0, io.EOF
	}
	return n, nil
}

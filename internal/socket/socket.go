// Package socket listens on Unix sockets and connects to them, also where their
// path is longer than the operating system takes, and where somebody hostile can
// change the folder that they are in. It also reads to the end what somebody
// leaves behind who is gone.
package socket

import (
	"context"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"runtime"
)

// MaxPath is how long the path of a Unix socket may be everywhere, in bytes.
const MaxPath = 100

// Listen listens on a socket that only our own user may connect to. A socket
// that was left there is replaced: the caller sees to it that nobody else uses
// the path.
func Listen(path string) (net.Listener, error) {
	if info, err := os.Lstat(path); err == nil && info.Mode().Type() == fs.ModeSocket {
		if err := os.Remove(path); err != nil {
			return nil, err
		}
	}
	var l *net.UnixListener
	err := withPath(path, func(short string) (err error) {
		l, err = net.ListenUnix("unix", &net.UnixAddr{Name: short, Net: "unix"})
		return err
	})
	if err != nil {
		return nil, err
	}
	l.SetUnlinkOnClose(false) // by its short path, which is gone
	if err := os.Chmod(path, 0o600); err != nil {
		_ = l.Close()
		return nil, err
	}
	return l, nil
}

// Dial connects to a socket. Its folder may belong to somebody hostile: a link
// in its place leads nowhere.
func Dial(ctx context.Context, path string) (conn net.Conn, err error) {
	err = withPlain(path, func(short string) (err error) {
		conn, err = (&net.Dialer{}).DialContext(ctx, "unix", short)
		return err
	})
	return conn, err
}

// There reports whether there is a socket at path; a link to one is none, on
// Linux.
func There(path string) bool {
	return withPlain(path, func(string) error { return nil }) == nil
}

// withPath calls do with a path of the socket that the operating system takes:
// one that is too long is reached through its open directory on Linux.
func withPath(path string, do func(string) error) error {
	if len(path) <= MaxPath || runtime.GOOS != "linux" {
		return do(path)
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer dir.Close()
	return do(fmt.Sprintf("/proc/self/fd/%d/%s", dir.Fd(), filepath.Base(path)))
}

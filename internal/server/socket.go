package server

import (
	"context"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"quire/internal/api"
	"quire/internal/auth"
	"quire/internal/problem"
)

// socketHost is the Host header of requests over a socket.
const socketHost = "localhost"

// maxSocketPath is how long the path of a Unix socket may be everywhere.
const maxSocketPath = 100

// withSocketPath calls do with a path of the socket that the operating system
// takes: one that is too long is reached through its open directory on Linux.
func withSocketPath(path string, do func(string) error) error {
	if len(path) <= maxSocketPath || runtime.GOOS != "linux" {
		return do(path)
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer dir.Close()
	return do(fmt.Sprintf("/proc/self/fd/%d/%s", dir.Fd(), filepath.Base(path)))
}

// listenSocket listens on a Unix socket that only we may connect to. A socket
// that was left there is replaced: the caller holds the lock of its directory.
func listenSocket(path string) (net.Listener, error) {
	if info, err := os.Lstat(path); err == nil && info.Mode().Type() == fs.ModeSocket {
		if err := os.Remove(path); err != nil {
			return nil, err
		}
	}
	var l *net.UnixListener
	err := withSocketPath(path, func(short string) (err error) {
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

// dialSocket connects to a Unix socket.
func dialSocket(ctx context.Context, path string) (conn net.Conn, err error) {
	err = withSocketPath(path, func(short string) (err error) {
		conn, err = (&net.Dialer{}).DialContext(ctx, "unix", short)
		return err
	})
	return conn, err
}

// savesPath is where a notebook server says what it has saved.
const savesPath = "/api/quire/saves"

// isWatching reports whether a request only looks at a notebook server, so that
// it may end for idleness all the same.
func isWatching(r *http.Request) bool {
	for _, path := range []string{savesPath, "/api/status", "/healthz", "/readyz", "/metrics"} {
		if strings.HasSuffix(r.URL.Path, path) {
			return true
		}
	}
	return false
}

// registerSaves adds the stream of events that name what was saved here, by its
// path on the volume. The platform makes versions of it at once.
func (n *Notebook) registerSaves(rt *api.Router) {
	rt.Handle("GET "+savesPath, api.Policy{Access: api.SignedIn}, func(w http.ResponseWriter, r *http.Request) error {
		if u, _ := auth.UserFrom(r.Context()); u.Name != n.base.cfg.User {
			return problem.New(problem.Denied, "only the person whose folder it is may follow it")
		}
		changes, end := n.base.volume.Changes()
		defer end()
		ctx, cancel := rt.Streaming(r.Context())
		defer cancel()
		stream := api.NewEventStream(w)
		defer stream.Close()
		for {
			select {
			case <-ctx.Done():
				return nil
			case path, ok := <-changes:
				if !ok {
					return nil
				}
				if err := stream.Send("", "saved", []byte(path)); err != nil {
					return nil //nolint:nilerr // the platform is gone
				}
			}
		}
	})
}

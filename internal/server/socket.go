package server

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"quire/internal/api"
	"quire/internal/auth"
	"quire/internal/problem"
)

// socketHost is the Host header of requests over a socket.
const socketHost = "localhost"

// readPlain reads the first bytes of a file that somebody hostile may have made:
// it follows no link, waits for nobody, and takes regular files only.
func readPlain(name string, most int64) ([]byte, error) {
	file, err := os.OpenFile(name, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, problem.New(problem.Invalid, "%s is not a regular file", filepath.Base(name))
	}
	return io.ReadAll(io.LimitReader(file, most))
}

// writeNew writes a file that is not there, also where somebody hostile makes
// one.
func writeNew(name string, data []byte) error {
	file, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return err
	}
	_, err = file.Write(data)
	return errors.Join(err, file.Close())
}

// openLock opens the lock of a folder, which somebody hostile may have made
// something else of: that is taken away.
func openLock(name string) (*os.File, error) {
	for range 2 {
		file, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0o600)
		if err == nil {
			info, err := file.Stat()
			if err == nil && info.Mode().IsRegular() {
				return file, nil
			}
			_ = file.Close()
		}
		if err := os.RemoveAll(name); err != nil {
			return nil, err
		}
	}
	return nil, problem.New(problem.Unavailable, "%s is not a regular file", filepath.Base(name))
}

// savesPath is where a notebook server says what it has saved.
const savesPath = "/api/quire/saves"

// Where a notebook server says whether it is in use, and is asked to go on.
const (
	activityPath = "/api/quire/activity"
	extendPath   = "/api/quire/extend"
)

// maxExtend is how long an idle server can be asked to go on.
const maxExtend = 24 * time.Hour

// isWatching reports whether a request only looks at a notebook server, so that
// it may end for idleness all the same.
func isWatching(r *http.Request) bool {
	for _, path := range []string{savesPath, activityPath, extendPath, "/api/status", "/healthz", "/readyz", "/metrics"} {
		if strings.HasSuffix(r.URL.Path, path) {
			return true
		}
	}
	return false
}

// registerSaves adds the stream of events that name what was saved here, by its
// path on the volume. The platform makes versions of it at once.
func (n *Notebook) registerSaves(rt *api.Router) {
	rt.Handle("GET "+activityPath, api.Policy{Access: api.SignedIn}, func(w http.ResponseWriter, _ *http.Request) error {
		return api.WriteJSON(w, http.StatusOK, n.idle.state(time.Now()))
	})
	rt.Handle("POST "+extendPath, api.Policy{Access: api.SignedIn}, func(w http.ResponseWriter, r *http.Request) error {
		seconds, err := strconv.ParseInt(r.URL.Query().Get("seconds"), 10, 64)
		if err != nil || seconds < 1 || seconds > int64(maxExtend/time.Second) {
			return problem.New(problem.Invalid, "seconds: want 1 to %d", int64(maxExtend/time.Second))
		}
		n.idle.extend(time.Now(), time.Duration(seconds)*time.Second)
		return api.WriteJSON(w, http.StatusOK, n.idle.state(time.Now()))
	})
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
		near := n.idle.changes()
		for {
			select {
			case <-ctx.Done():
				return nil
			case <-near:
				near = n.idle.changes()
				data, err := json.Marshal(n.idle.state(time.Now()))
				if err == nil {
					err = stream.Send("", "idle", data)
				}
				if err != nil {
					return nil //nolint:nilerr // the platform is gone
				}
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

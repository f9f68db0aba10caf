//go:build unix

package docker

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"github.com/moby/moby/api/types/mount"

	"quire/internal/compute"
	"quire/internal/problem"
)

// The files of a container in the driver's folder.
const (
	noteStop  = "stop.json"
	noteLock  = "lock"
	noteMount = "mount-" // and the number of the mount: what a root server shows as the container user's
)

// stopNote tells that somebody wanted a container to end.
type stopNote struct {
	At    time.Time     `json:"at"`
	Grace time.Duration `json:"grace"`
}

func (d *Driver) note(id, name string) string { return filepath.Join(d.dir, id, name) }

func (d *Driver) stopNote(id string) (stopNote, bool) {
	var n stopNote
	data, err := os.ReadFile(d.note(id, noteStop))
	return n, err == nil && json.Unmarshal(data, &n) == nil
}

func (d *Driver) writeStopNote(id string, n stopNote) error {
	data, err := json.Marshal(n)
	if err == nil {
		err = os.MkdirAll(filepath.Join(d.dir, id), 0o700)
	}
	if err == nil {
		err = os.WriteFile(d.note(id, noteStop)+".new", data, 0o600)
	}
	if err == nil {
		err = os.Rename(d.note(id, noteStop)+".new", d.note(id, noteStop))
	}
	return problem.WrapAs(problem.Unavailable, err, "noting that it is to end")
}

// alone excludes other processes from starting a container.
func (d *Driver) alone(ctx context.Context, id string) (release func(), err error) {
	if err := os.MkdirAll(filepath.Join(d.dir, id), 0o700); err != nil {
		return nil, problem.WrapAs(problem.Unavailable, err, "locking it")
	}
	f, err := os.OpenFile(d.note(id, noteLock), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, problem.WrapAs(problem.Unavailable, err, "locking it")
	}
	for {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return func() { f.Close() }, nil
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) && !errors.Is(err, syscall.EINTR) {
			f.Close()
			return nil, problem.WrapAs(problem.Unavailable, err, "locking it")
		}
		select {
		case <-ctx.Done():
			f.Close()
			return nil, ctx.Err()
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// discard takes away what the driver keeps about a container. It goes by the
// names that it gave, and never into a folder: below a mount's are the files
// of a workspace.
func (d *Driver) discard(id string) error {
	dir := filepath.Join(d.dir, id)
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	for _, e := range entries {
		name := filepath.Join(dir, e.Name())
		if one := unmount(name); one != nil {
			err = errors.Join(err, one)
			continue
		}
		err = errors.Join(err, os.Remove(name))
	}
	if err == nil {
		err = os.Remove(dir)
	}
	return problem.WrapAs(problem.Unavailable, err, "taking away what is kept about it")
}

// prepare returns the mounts of a container, for Docker.
func (d *Driver) prepare(spec compute.Spec) ([]mount.Mount, error) {
	bind := func(source, target string, readOnly bool) mount.Mount {
		return mount.Mount{Type: mount.TypeBind, Source: source, Target: target, ReadOnly: readOnly}
	}
	all := []mount.Mount{bind(d.cfg.Executable, innerPath, true)}
	if spec.Image == "" {
		for _, path := range d.cfg.HostPaths {
			all = append(all, bind(path, path, true))
		}
	}
	for i, m := range spec.Mounts {
		source := m.Source
		if mapsOwners() {
			source = d.note(spec.ID, noteMount+strconv.Itoa(i))
			if err := makeTarget(m.Source, source); err != nil {
				return nil, err
			}
		}
		all = append(all, bind(source, m.Target, m.ReadOnly))
	}
	return all, nil
}

// makeTarget makes a folder or a file to mount something on.
func makeTarget(source, target string) error {
	info, err := os.Lstat(source)
	if err != nil {
		return problem.WrapAs(problem.NotFound, err, "mount %s", source)
	}
	if err := os.MkdirAll(filepath.Dir(target), 0o700); err != nil {
		return problem.WrapAs(problem.Unavailable, err, "mount %s", source)
	}
	if info.IsDir() {
		err = os.Mkdir(target, 0o700)
	} else {
		err = os.WriteFile(target, nil, 0o600)
	}
	if errors.Is(err, fs.ErrExist) {
		err = nil
	}
	return problem.WrapAs(problem.Unavailable, err, "mount %s", source)
}

// attach makes the mounts of a container that is about to start, where they
// are not there yet.
func (d *Driver) attach(spec compute.Spec) error {
	if !mapsOwners() {
		return nil
	}
	uid, gid := user(spec)
	for i, m := range spec.Mounts {
		if err := d.mountOwned(m, d.note(spec.ID, noteMount+strconv.Itoa(i)), uid, gid); err != nil {
			return err
		}
	}
	return nil
}

package docker

import (
	"errors"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"quire/internal/compute"
	"quire/internal/compute/shim"
	"quire/internal/problem"
)

// mapsOwners tells whether mounts show our files as the container user's: a
// server of root has workspaces of root, and there is no root in containers.
func mapsOwners() bool { return os.Geteuid() == 0 }

// user is who a container's processes are. Docker shows them to themselves as
// they are on the host, and so a server of an ordinary user runs them as that
// user, who owns the workspaces.
func user(spec compute.Spec) (uid, gid int) {
	uid, gid = spec.UID, spec.GID
	if uid == 0 {
		uid = compute.DefaultUID
		if !mapsOwners() {
			uid = os.Geteuid()
		}
	}
	if gid == 0 {
		gid = compute.DefaultUID
		if !mapsOwners() {
			gid = os.Getegid()
		}
	}
	return uid, gid
}

// mountOwned mounts a mount's source on target with the container's user as
// the owner of our files.
func (d *Driver) mountOwned(m compute.Mount, target string, uid, gid int) error {
	if isMount(target) {
		return nil
	}
	ns, err := d.owner(uid, gid)
	if err != nil {
		return err
	}
	if err := makeTarget(m.Source, target); err != nil {
		return err
	}
	fd, err := shim.CloneTree(m.Source, m.ReadOnly, unix.RESOLVE_NO_SYMLINKS, int(ns.Fd()))
	switch {
	case errors.Is(err, unix.ELOOP):
		return problem.New(problem.Invalid, "mount %s: a part of the path is a symbolic link; give the real path", m.Source)
	case errors.Is(err, unix.ENOENT):
		return problem.New(problem.NotFound, "mount %s: it is not there", m.Source)
	case err != nil:
		return problem.WrapAs(problem.Unavailable, err, "mount %s with the container's user as its owner (its file system has to allow that; a server of an ordinary user does without)", m.Source)
	}
	defer unix.Close(fd)
	err = unix.MoveMount(fd, "", unix.AT_FDCWD, target, unix.MOVE_MOUNT_F_EMPTY_PATH)
	return problem.WrapAs(problem.Unavailable, err, "mount %s", m.Source)
}

// owner returns the user namespace that shows our files as a user's.
func (d *Driver) owner(uid, gid int) (*os.File, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	key := uid<<32 | gid
	if ns := d.owners[key]; ns != nil {
		return ns, nil
	}
	ns, err := shim.OwnerMap(nil, uid, gid)
	if err == nil {
		d.owners[key] = ns
	}
	return ns, err
}

// isMount tells whether something is mounted on a path.
func isMount(path string) bool {
	var at, above unix.Statx_t
	if unix.Statx(unix.AT_FDCWD, path, unix.AT_SYMLINK_NOFOLLOW, unix.STATX_MNT_ID, &at) != nil ||
		unix.Statx(unix.AT_FDCWD, filepath.Dir(path), unix.AT_SYMLINK_NOFOLLOW, unix.STATX_MNT_ID, &above) != nil {
		return false
	}
	return at.Mnt_id != above.Mnt_id
}

// unmount takes a mount off a path, where there is one. The mount itself goes
// on in containers that have it.
func unmount(path string) error {
	for isMount(path) {
		if err := unix.Unmount(path, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW); err != nil {
			return err
		}
	}
	return nil
}

//go:build unix && !linux

package docker

import (
	"os"

	"quire/internal/compute"
)

func mapsOwners() bool { return false }

// user is who a container's processes are: us, who own the workspaces.
func user(spec compute.Spec) (uid, gid int) {
	uid, gid = spec.UID, spec.GID
	if uid == 0 {
		uid = os.Geteuid()
	}
	if gid == 0 {
		gid = os.Getegid()
	}
	return uid, gid
}

func (*Driver) mountOwned(compute.Mount, string, int, int) error { return nil }

func unmount(string) error { return nil }

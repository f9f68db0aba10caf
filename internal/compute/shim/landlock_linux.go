package shim

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// The rights of Landlock's first version, and those that came later.
const (
	landRead     = unix.LANDLOCK_ACCESS_FS_EXECUTE | unix.LANDLOCK_ACCESS_FS_READ_FILE | unix.LANDLOCK_ACCESS_FS_READ_DIR
	landFirst    = 1<<13 - 1
	landRefer    = unix.LANDLOCK_ACCESS_FS_REFER
	landTruncate = unix.LANDLOCK_ACCESS_FS_TRUNCATE
	landIoctl    = unix.LANDLOCK_ACCESS_FS_IOCTL_DEV
	landFile     = unix.LANDLOCK_ACCESS_FS_EXECUTE | unix.LANDLOCK_ACCESS_FS_READ_FILE | unix.LANDLOCK_ACCESS_FS_WRITE_FILE | landTruncate | landIoctl
)

// LandlockVersion returns the version of Landlock in this kernel; 0 is none.
func LandlockVersion() int {
	n, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, unix.LANDLOCK_CREATE_RULESET_VERSION)
	if errno != 0 {
		return 0
	}
	return int(n)
}

// landlock lets this thread, and what it starts, read everything that the
// container sees and write only below the given paths. Without Landlock in
// the kernel the mounts alone keep that.
func landlock(writable []string) error {
	version := LandlockVersion()
	if version == 0 {
		return nil
	}
	attr := unix.LandlockRulesetAttr{Handled_access_fs: landFirst}
	size := unsafe.Sizeof(attr.Handled_access_fs)
	if version >= 2 {
		attr.Handled_access_fs |= landRefer
	}
	if version >= 3 {
		attr.Handled_access_fs |= landTruncate
	}
	if version >= 5 {
		attr.Handled_access_fs |= landIoctl
	}
	if version >= 6 {
		attr.Scoped = unix.LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET
		size = unsafe.Offsetof(attr.Quiet_access_fs)
	}
	rules, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, uintptr(unsafe.Pointer(&attr)), size, 0)
	if errno != 0 {
		return errno
	}
	defer unix.Close(int(rules))
	allow := func(path string, access uint64) error {
		fd, err := unix.Open(path, unix.O_PATH|unix.O_CLOEXEC, 0)
		if err == unix.ENOENT {
			return nil
		}
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		var stat unix.Stat_t
		if err := unix.Fstat(fd, &stat); err != nil {
			return err
		}
		if stat.Mode&unix.S_IFMT != unix.S_IFDIR {
			access &= landFile
		}
		rule := unix.LandlockPathBeneathAttr{Allowed_access: access & attr.Handled_access_fs, Parent_fd: int32(fd)}
		_, _, errno := unix.Syscall6(unix.SYS_LANDLOCK_ADD_RULE, rules, unix.LANDLOCK_RULE_PATH_BENEATH, uintptr(unsafe.Pointer(&rule)), 0, 0, 0)
		if errno != 0 {
			return errno
		}
		return nil
	}
	if err := allow("/", landRead); err != nil {
		return err
	}
	for _, path := range []string{"/dev", "/proc"} {
		if err := allow(path, landFile); err != nil {
			return err
		}
	}
	for _, path := range writable {
		if err := allow(path, attr.Handled_access_fs); err != nil {
			return err
		}
	}
	if _, _, errno := unix.Syscall(unix.SYS_LANDLOCK_RESTRICT_SELF, rules, 0, 0); errno != 0 {
		return errno
	}
	return nil
}

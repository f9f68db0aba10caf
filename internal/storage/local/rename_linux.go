package local

import (
	"os"

	"golang.org/x/sys/unix"
)

// renameNoReplace renames a file within dir; it fails when the new name exists.
func renameNoReplace(dir *os.File, from, to string) error {
	fd := int(dir.Fd())
	return os.NewSyscallError("renameat2", unix.Renameat2(fd, from, fd, to, unix.RENAME_NOREPLACE))
}

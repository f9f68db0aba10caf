//go:build !linux

package local

import (
	"os"
	"syscall"
)

// renameNoReplace is only known on Linux.
func renameNoReplace(_ *os.File, _, _ string) error {
	return os.NewSyscallError("renameat2", syscall.ENOTSUP)
}

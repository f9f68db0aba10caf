//go:build unix

package engine

import (
	"os"
	"syscall"
)

// lockFile takes the lock of an open file, and reports false when another open
// file has it. The lock goes with the process.
func lockFile(f *os.File) bool {
	return syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) == nil
}

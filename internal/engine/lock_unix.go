//go:build unix

package engine

import (
	"os"
	"syscall"
)

// canLock tells whether lockFile excludes others here.
const canLock = true

// lockFile takes the lock of an open file, and reports false when another open
// file has it. The lock goes with the process.
func lockFile(f *os.File) bool {
	return syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) == nil
}

// shareLock takes the lock of an open file for reading, which others may do too, and
// reports false when another open file has it for itself.
func shareLock(f *os.File) bool {
	return syscall.Flock(int(f.Fd()), syscall.LOCK_SH|syscall.LOCK_NB) == nil
}

// ownFile reports whether a file belongs to the user that we are.
func ownFile(st os.FileInfo) bool {
	sys, ok := st.Sys().(*syscall.Stat_t)
	return ok && int(sys.Uid) == os.Geteuid()
}

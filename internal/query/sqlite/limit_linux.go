package sqlite

import "syscall"

// limitFiles is the most that one file which the process writes may have: those
// for what it sorts. Where the system does not let it, the disk is the limit.
func limitFiles(bytes int64) {
	_ = syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: uint64(bytes), Max: uint64(bytes)})
}

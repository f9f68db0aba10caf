package session

import (
	"os"

	"golang.org/x/sys/unix"
)

// syncData brings a file's bytes to the disk, without its times.
func syncData(f *os.File) error { return unix.Fdatasync(int(f.Fd())) }

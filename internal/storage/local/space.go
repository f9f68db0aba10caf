package local

import (
	"errors"
	"strconv"
	"syscall"

	"quire/internal/problem"
)

// full adds to "no space" what a person asks next: how much there is, and where.
func (s *Store) full(err error) error {
	if !errors.Is(err, syscall.ENOSPC) {
		return err
	}
	var st syscall.Statfs_t
	if syscall.Statfs(s.dir, &st) != nil {
		return err
	}
	size := uint64(st.Bsize) //nolint:unconvert,gosec // a block size; its type differs between systems
	return &problem.Error{
		Kind: problem.Unavailable,
		Msg:  "the disk is full (" + mib(st.Bavail*size) + " of " + mib(st.Blocks*size) + " free); what was there before is unchanged",
		Err:  syscall.ENOSPC,
	}
}

func mib(n uint64) string { return strconv.FormatUint(n>>20, 10) + " MiB" }

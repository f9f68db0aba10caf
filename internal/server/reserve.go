package server

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"time"

	"quire/internal/problem"
)

// A reserve is space on the disk of the data that is given up when the disk is
// full, so that signing in, reading, deleting, cancelling and starting the
// server go on working: the records need a little room even for those. While it
// is given up nothing new is taken. It is safe for concurrent use.
type reserve struct {
	dir string // of the data
	log *slog.Logger
	low atomic.Bool
}

const (
	reserveFile  = "reserve"
	reserveMost  = 32 << 20 // bytes; on a small disk an eighth of it
	reserveEvery = time.Second
)

// look gives the reserve up when the disk is full, and takes it again when
// there is space; take is false where that would take too long.
func (r *reserve) look(take bool) {
	var disk syscall.Statfs_t
	if err := syscall.Statfs(r.dir, &disk); err != nil {
		return // the disk itself is in trouble: what needs it says so
	}
	block := int64(disk.Bsize) //nolint:unconvert // its type differs between systems
	free, size := int64(disk.Bavail)*block, min(reserveMost, int64(disk.Blocks)*block/8)
	name := filepath.Join(r.dir, reserveFile)
	_, err := os.Lstat(name)
	held := err == nil
	switch {
	case held && free < size/2:
		r.low.Store(true) // before there is room: it is not for what is new
		if err = os.Remove(name); err == nil {
			held, free = false, free+size
			r.log.Warn("the disk is full: nothing new is taken until there is space", "free_bytes", free, "needed_bytes", 2*size)
		}
	case !held && take && free >= 2*size:
		held = r.take(name, size) == nil
	}
	if was := r.low.Swap(!held && free < 2*size); was && held {
		r.log.Info("there is space on the disk again")
	}
}

// take fills the reserve's file.
func (r *reserve) take(name string, size int64) error {
	temp := name + ".new"
	if err := os.Remove(temp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	file, err := os.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = io.CopyN(file, zeros{}, size)
	if err = errors.Join(err, file.Close()); err == nil {
		err = os.Rename(temp, name)
	}
	if err != nil {
		_ = os.Remove(temp)
	}
	return err
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

// keep looks again and again until ctx ends.
func (r *reserve) keep(ctx context.Context) {
	tick := time.NewTicker(reserveEvery)
	defer tick.Stop()
	for {
		r.look(true)
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// room says whether something new may be taken.
func (r *reserve) room() error {
	if r.low.Load() {
		return problem.New(problem.Unavailable,
			"the server's disk is full: nothing new is taken until there is space; what is there is unchanged and can be read and deleted")
	}
	return nil
}

// keepReserve looks at the reserve until what it returns is called.
func (s *Server) keepReserve(ctx context.Context) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.reserve.keep(ctx)
	}()
	return func() {
		cancel()
		<-done
	}
}

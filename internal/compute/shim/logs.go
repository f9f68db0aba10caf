//go:build unix

package shim

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"

	"github.com/fsnotify/fsnotify"

	"quire/internal/compute"
	"quire/internal/problem"
)

func sortStrings(list []string) { slices.Sort(list) }

// tryLock takes a lock of a file, shared or alone, without waiting.
func tryLock(f *os.File, alone bool) bool {
	how := syscall.LOCK_SH
	if alone {
		how = syscall.LOCK_EX
	}
	return syscall.Flock(int(f.Fd()), how|syscall.LOCK_NB) == nil
}

// Logs opens a container's log.
func (p *Place) Logs(ctx context.Context, id string, opt compute.LogOptions) (io.ReadCloser, error) {
	if _, err := p.read(id); err != nil {
		return nil, err
	}
	f, err := p.root.Open(filepath.Join(id, "log"))
	if errors.Is(err, fs.ErrNotExist) && !opt.Follow {
		return io.NopCloser(strings.NewReader("")), nil // it was never started
	}
	if errors.Is(err, fs.ErrNotExist) {
		f, err = p.root.OpenFile(filepath.Join(id, "log"), os.O_RDONLY|os.O_CREATE, 0o600)
	}
	var size int64
	if err == nil {
		size, err = f.Seek(0, io.SeekEnd)
	}
	if err != nil {
		return nil, problem.WrapAs(problem.Unavailable, err, "reading the log of container %s", id)
	}
	offset := max(0, size-p.logMax)
	if opt.TailBytes > 0 {
		offset = max(offset, size-opt.TailBytes)
	}
	if _, err := f.Seek(offset, io.SeekStart); err != nil {
		f.Close()
		return nil, problem.WrapAs(problem.Unavailable, err, "reading the log of container %s", id)
	}
	if !opt.Follow {
		return struct {
			io.Reader
			io.Closer
		}{io.LimitReader(f, size-offset), f}, nil
	}
	return p.follow(ctx, id, f)
}

// follower reads a log until its container has ended.
type follower struct {
	ctx    context.Context //nolint:containedctx // a reader has no other way to end; Close cancels it
	cancel context.CancelFunc
	file   *os.File
	events *fsnotify.Watcher
	ended  <-chan struct{}
	wg     sync.WaitGroup
	once   sync.Once
}

func (p *Place) follow(ctx context.Context, id string, f *os.File) (io.ReadCloser, error) {
	events, err := fsnotify.NewWatcher()
	if err == nil {
		err = events.Add(filepath.Join(p.dir, id, "log"))
	}
	if err != nil {
		f.Close()
		if events != nil {
			events.Close()
		}
		return nil, problem.WrapAs(problem.Unavailable, err, "following the log of container %s", id)
	}
	ended := make(chan struct{})
	fw := &follower{file: f, events: events, ended: ended}
	fw.ctx, fw.cancel = context.WithCancel(ctx)
	fw.wg.Go(func() {
		defer close(ended)
		p.Wait(fw.ctx, id) //nolint:errcheck // however it ends, there is nothing more to follow
	})
	return fw, nil
}

// Read returns what is there, or waits for more.
func (f *follower) Read(b []byte) (int, error) {
	last := false
	for {
		n, err := f.file.Read(b)
		if n > 0 || (err != nil && err != io.EOF) || last || len(b) == 0 {
			return n, err
		}
		select {
		case <-f.events.Events:
		case <-f.ended:
			last = true
			if err := f.ctx.Err(); err != nil {
				return 0, problem.Wrap(err, "following a log")
			}
		}
	}
}

// Close ends the following; Close twice is fine.
func (f *follower) Close() error {
	f.once.Do(func() {
		f.cancel()
		f.wg.Wait()
		f.events.Close()
		f.file.Close()
	})
	return nil
}

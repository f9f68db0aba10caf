package local

import (
	"context"
	"errors"
	"os"
	"syscall"
	"time"

	"quire/internal/problem"
)

// lockWait bounds how long a Put waits for another process to put its own file in
// place, which takes less than a millisecond unless that process is stopped.
const lockWait = 30 * time.Second

// pathLock is the lock of one folder within this process: a semaphore, so that
// waiting for it ends with a context.
type pathLock struct {
	sem   chan struct{}
	users int // guarded by Store.mu
}

// lock takes the lock of a folder, in this process and among processes, and
// returns what gives it back.
func (s *Store) lock(ctx context.Context, dir *folder, name string) (func(), error) {
	s.mu.Lock()
	l := s.locks[name]
	if l == nil {
		l = &pathLock{sem: make(chan struct{}, 1)}
		s.locks[name] = l
	}
	l.users++
	s.mu.Unlock()
	release := func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if l.users--; l.users == 0 {
			delete(s.locks, name)
		}
	}
	select {
	case l.sem <- struct{}{}:
	case <-ctx.Done():
		release()
		return nil, context.Cause(ctx)
	}
	if err := lockFile(ctx, dir.self); err != nil {
		<-l.sem
		release()
		return nil, err
	}
	return func() {
		_ = syscall.Flock(int(dir.self.Fd()), syscall.LOCK_UN) // closing gives it back too
		<-l.sem
		release()
	}, nil
}

type lockResult int

const (
	lockTaken       lockResult = iota
	lockHeld                   // by somebody else
	lockUnsupported            // as on some shared disks: then only this process is covered
)

func tryLock(f *os.File) lockResult {
	for {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		switch {
		case err == nil:
			return lockTaken
		case errors.Is(err, syscall.EINTR):
		case errors.Is(err, syscall.EWOULDBLOCK):
			return lockHeld
		default:
			return lockUnsupported
		}
	}
}

func lockFile(ctx context.Context, f *os.File) error {
	deadline := time.Now().Add(lockWait)
	for wait := 50 * time.Microsecond; tryLock(f) == lockHeld; wait = min(2*wait, 20*time.Millisecond) {
		if time.Now().After(deadline) {
			return problem.New(problem.Unavailable, "its folder stayed locked by another process for %v", lockWait)
		}
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return context.Cause(ctx)
		}
	}
	return nil
}

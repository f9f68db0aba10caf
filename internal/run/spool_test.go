package run

import (
	"os"
	"sync"
	"syscall"
	"testing"

	"quire/internal/problem"
)

// TestLookedAtWhileItStarts: who looks whether an attempt lives does not keep it
// from living.
func TestLookedAtWhileItStarts(t *testing.T) {
	t.Parallel()
	s, done := spool(t.TempDir()), make(chan struct{})
	var looking sync.WaitGroup
	looking.Go(func() {
		for {
			select {
			case <-done:
				return
			default:
				s.alive()
			}
		}
	})
	for range 2000 {
		lock, err := s.hold()
		if err != nil {
			t.Errorf("it was not started: %v", err)
			break
		}
		_ = lock.Close()
	}
	close(done)
	looking.Wait()
	// Nor is it taken for alive because two look at it.
	other, err := os.Open(s.path(lockFile))
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	if err := syscall.Flock(int(other.Fd()), syscall.LOCK_SH|syscall.LOCK_NB); err != nil || s.alive() {
		t.Errorf("while another one looks, it lives: %t, %v", s.alive(), err)
	}
	_ = other.Close()
	lock, err := s.hold()
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	if _, err := s.hold(); !problem.Is(err, problem.Conflict) || !s.alive() {
		t.Errorf("a second one: %v; the first lives: %t", err, s.alive())
	}
}

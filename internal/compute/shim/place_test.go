//go:build unix

package shim

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"quire/internal/compute"
	"quire/internal/problem"
)

// onePlace is a place with the folder of one container.
func onePlace(t *testing.T) *Place {
	t.Helper()
	p, err := Open(Options{Name: "test", Dir: t.TempDir()}, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	if err := p.root.Mkdir("a", 0o700); err != nil {
		t.Fatal(err)
	}
	return p
}

func (p *Place) openLock(t *testing.T) *os.File {
	t.Helper()
	f, err := p.root.OpenFile(filepath.Join("a", "lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

// TestLockIsWaitedFor: what a killed starter began to start holds the lock until it
// finds out, on a busy machine after seconds. The next starter waits for it.
func TestLockIsWaitedFor(t *testing.T) {
	t.Parallel()
	p := onePlace(t)
	before, mine := p.openLock(t), p.openLock(t)
	if !tryLock(before, true) {
		t.Fatal("the lock is not free")
	}
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(50*time.Millisecond, cancel)
	if err := p.takeLock(ctx, "a", mine); !problem.Is(problem.Wrap(err, "waiting"), problem.Canceled) {
		t.Errorf("nobody waits any more: %v", err)
	}
	time.AfterFunc(1500*time.Millisecond, func() { before.Close() })
	if err := p.takeLock(t.Context(), "a", mine); err != nil {
		t.Errorf("it was let go after a second and a half: %v", err)
	}
	other := p.openLock(t)
	if _, err := mine.WriteString(told); err != nil {
		t.Fatal(err)
	}
	if err := p.takeLock(t.Context(), "a", other); err != errStarted { //nolint:errorlint // it is returned as it is
		t.Errorf("it was started: %v", err)
	}
	if err := p.root.Remove(filepath.Join("a", "lock")); err != nil {
		t.Fatal(err)
	}
	mine.Close()
	if err := p.takeLock(t.Context(), "a", other); !problem.Is(err, problem.Conflict) {
		t.Errorf("a lock that is not at its place any more: %v", err)
	}
}

// TestFilesAreReplacedWhole: several write the same file of a container at once,
// each something of another length.
func TestFilesAreReplacedWhole(t *testing.T) {
	t.Parallel()
	p := onePlace(t)
	again, err := Open(Options{Name: "test", Dir: p.dir}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	var wg sync.WaitGroup
	for i := range 4 {
		data, _ := json.Marshal(strings.Repeat("x", 1+1000*i))
		by := []*Place{p, again}[i%2]
		wg.Go(func() {
			for range 500 {
				if err := by.replace("a", "exit.json", data); err != nil {
					t.Error(err)
					return
				}
				var read string
				if err := by.readJSON("a", "exit.json", &read); err != nil || len(read)%1000 != 1 {
					t.Errorf("read %d bytes, %v", len(read), err)
					return
				}
			}
		})
	}
	wg.Wait()
}

// TestLogOfASlowDisk: the end of a log is kept where writing it takes long, and
// somebody outside who holds the pipe is not waited for.
func TestLogOfASlowDisk(t *testing.T) {
	t.Parallel()
	slow, disk, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer slow.Close()
	k := &keeper{log: &logFile{file: disk}}
	out, log, err := k.pump()
	if err != nil {
		t.Fatal(err)
	}
	const size = 120_000 // more than both pipes hold
	wrote := make(chan error, 1)
	go func() {
		_, err := out.Write(make([]byte, size))
		wrote <- errors.Join(err, out.Close())
	}()
	had := make(chan int, 1)
	time.AfterFunc(2500*time.Millisecond, func() {
		data, _ := io.ReadAll(slow)
		had <- len(data)
	})
	if err := <-wrote; err != nil {
		t.Fatal(err)
	}
	log.settle()
	disk.Close()
	if n := <-had; n != size {
		t.Errorf("%d bytes of %d are in the log", n, size)
	}
	held, log, err := k.pump()
	if err != nil {
		t.Fatal(err)
	}
	defer held.Close()
	began := time.Now()
	if log.settle(); time.Since(began) > 30*time.Second {
		t.Errorf("a pipe that somebody outside holds was waited for, for %v", time.Since(began))
	}
}

// TestOutputThatIsTakenSlowly: a caller that takes the output of a command slowly
// gets all of it, and what the command left behind is not waited for.
func TestOutputThatIsTakenSlowly(t *testing.T) {
	t.Parallel()
	from, caller, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer from.Close()
	s, err := newStreams(compute.Command{Stdout: caller})
	if err != nil {
		t.Fatal(err)
	}
	const size = 120_000 // more than both pipes hold
	had := make(chan int, 1)
	time.AfterFunc(2500*time.Millisecond, func() {
		data, _ := io.ReadAll(from)
		had <- len(data)
	})
	if _, err := s.theirs[1].Write(make([]byte, size)); err != nil {
		t.Fatal(err)
	}
	defer closeAll(s.theirs[:]) // left behind, they are held until then
	s.finish()
	caller.Close()
	if n := <-had; n != size {
		t.Errorf("%d bytes of %d came", n, size)
	}
}

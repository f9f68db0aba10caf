package kernel

import (
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"quire/internal/problem"
)

func TestPortsAreHeldOnce(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "ports")
	var mu sync.Mutex
	seen := make(map[int]bool)
	low, high := portRange()
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			held, err := lockPorts(dir, 5)
			if err != nil {
				t.Error(err)
				return
			}
			t.Cleanup(held.release)
			mu.Lock()
			defer mu.Unlock()
			for _, p := range held.ports {
				if seen[p] || p < low || p > high {
					t.Errorf("port %d is given twice, or outside %d-%d", p, low, high)
				}
				seen[p] = true
			}
		})
	}
	wg.Wait()
}

func TestPortInUseIsPassedOver(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	addr, ok := l.Addr().(*net.TCPAddr)
	if !ok {
		t.Fatal("no TCP address")
	}
	if _, ok := lockPort(dir, addr.Port); ok {
		t.Error("a port that somebody listens on is given")
	}
	_ = l.Close()
	var f *os.File
	soon(t, "a free port is given", func() bool { f, ok = lockPort(dir, addr.Port); return ok })
	if _, again := lockPort(dir, addr.Port); again {
		t.Error("a held port is given")
	}
	_ = f.Close()
	soon(t, "a released port is given", func() bool { f, ok = lockPort(dir, addr.Port); return ok })
	_ = f.Close()
}

// soon waits for what a process that another test starts holds up: until it
// executes its program it has our locks and sockets, also those that we close.
func soon(t *testing.T, what string, holds func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(time.Minute); !holds(); <-tick.C {
		if time.Now().After(end) {
			t.Fatalf("it never came to this: %s", what)
		}
	}
}

func TestRuntimeDirMustBeOurs(t *testing.T) {
	t.Parallel()
	base := t.TempDir()
	open := filepath.Join(base, "open")
	if err := os.Mkdir(open, 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(open, 0o777); err != nil {
		t.Fatal(err)
	}
	if err := secureDir(open); err != nil {
		t.Fatal(err)
	}
	if st, err := os.Stat(open); err != nil || st.Mode().Perm() != 0o700 {
		t.Errorf("mode %v, %v, want 0700", st.Mode(), err)
	}
	link := filepath.Join(base, "link")
	if err := os.Symlink(open, link); err != nil {
		t.Fatal(err)
	}
	if err := secureDir(link); !problem.Is(err, problem.Denied) {
		t.Errorf("a link is taken: %v", err)
	}
	file := filepath.Join(base, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := secureDir(file); !problem.Is(err, problem.Denied) {
		t.Errorf("a file is taken: %v", err)
	}
}

// TestSweep: folders of dead programs go, those of living ones stay.
func TestSweep(t *testing.T) {
	t.Parallel()
	base := filepath.Join(t.TempDir(), "run")
	alive, err := newKernelDir(base)
	if err != nil {
		t.Fatal(err)
	}
	dead, err := newKernelDir(base)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dead.path, "connection.json"), []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(temporaryOf(dead.path), 0o700); err != nil {
		t.Fatal(err)
	}
	_ = dead.lock.Close() // as the end of its program does
	soon(t, "the folder of a dead program goes", func() bool {
		sweep(base)
		_, err := os.Stat(dead.path)
		return os.IsNotExist(err)
	})
	if _, err := os.Stat(alive.path); err != nil {
		t.Errorf("the folder of a living program: %v", err)
	}
	if _, err := os.Stat(temporaryOf(dead.path)); !os.IsNotExist(err) {
		t.Errorf("the temporary files of a dead program: %v", err)
	}
	alive.remove()
	alive.remove()
	if _, err := os.Stat(alive.path); !os.IsNotExist(err) {
		t.Errorf("a removed folder: %v", err)
	}
}

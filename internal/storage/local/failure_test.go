package local

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"quire/internal/problem"
	"quire/internal/storage"
)

// Some failures need a process of their own: the test starts itself again with
// this variable naming what to do, in the folder that the next one names.
const (
	roleVariable = "QUIRE_LOCAL_TEST_ROLE"
	dirVariable  = "QUIRE_LOCAL_TEST_DIR"
)

func TestMain(m *testing.M) {
	if role := os.Getenv(roleVariable); role != "" {
		os.Exit(child(role, os.Getenv(dirVariable)))
	}
	os.Exit(m.Run())
}

// child plays one role and prints the kind and text of the error that it met.
func child(role, dir string) int {
	s, err := Open(Config{Dir: dir})
	if err != nil {
		fmt.Println(problem.KindOf(err), err)
		return 1
	}
	ctx := context.Background()
	switch role {
	case "read":
		_, _, err = storage.ReadAll(ctx, s, "a", 0)
	case "write":
		_, err = storage.PutBytes(ctx, s, "a", []byte("new"), storage.PutOptions{})
	case "write past the limit":
		signal.Ignore(syscall.SIGXFSZ)
		limit := syscall.Rlimit{Cur: 1 << 20, Max: 1 << 20}
		if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &limit); err != nil {
			fmt.Println(err)
			return 1
		}
		_, err = s.Put(ctx, "a", endless{}, storage.PutOptions{})
	case "write for ever":
		_, err = s.Put(ctx, "a", &announcing{}, storage.PutOptions{})
	}
	fmt.Println(problem.KindOf(err), err)
	return 0
}

type endless struct{}

func (endless) Read(p []byte) (int, error) { return len(p), nil }

// announcing gives some bytes, says so, and then nothing more for ever.
type announcing struct{ given int }

func (a *announcing) Read(p []byte) (int, error) {
	if a.given > 1<<20 {
		signal.Notify(make(chan os.Signal, 1), syscall.SIGUSR1) // or Go ends a program that can do nothing more
		fmt.Println("half written")
		select {}
	}
	a.given += len(p)
	return len(p), nil
}

func startChild(t *testing.T, role, dir string, attr *syscall.SysProcAttr) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), roleVariable+"="+role, dirVariable+"="+dir)
	cmd.SysProcAttr = attr
	return cmd
}

func oldFile(t *testing.T, dir string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, "a"), []byte("old"), 0o644); err != nil {
		t.Fatal(err)
	}
}

func wantOnlyOld(t *testing.T, dir string) {
	t.Helper()
	got, err := os.ReadFile(filepath.Join(dir, "a"))
	if err != nil || string(got) != "old" {
		t.Errorf("the file holds %d bytes (%v), want the old ones", len(got), err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 1 {
		t.Errorf("the folder holds %v (%v), want only a", entries, err)
	}
}

func TestKilledWriterLeavesTheOldBytes(t *testing.T) {
	t.Parallel()
	s := setup(t)
	oldFile(t, s.dir)
	for range 3 {
		cmd := startChild(t, "write for ever", s.dir, nil)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(out, make([]byte, len("half written"))); err != nil {
			t.Fatalf("the writer said nothing: %v", err)
		}
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait() // it was killed
		if got, err := os.ReadFile(s.Location("a")); err != nil || string(got) != "old" {
			t.Fatalf("the file holds %d bytes (%v), want the old ones", len(got), err)
		}
		// What it left is neither listed nor readable, and never more than one file.
		page, err := s.List(t.Context(), storage.ListOptions{Recursive: true})
		if err != nil || len(page.Entries) != 1 {
			t.Errorf("listed: %+v, %v", page, err)
		}
		if entries, err := os.ReadDir(s.dir); err != nil || len(entries) != 2 {
			t.Errorf("the folder holds %v (%v), want a and one temporary file", entries, err)
		}
	}
	if _, err := put(t, s, "a", "old", storage.PutOptions{}); err != nil {
		t.Fatal(err)
	}
	wantOnlyOld(t, s.dir)
}

// A temporary file whose writer lives is not taken for dead.
func TestLivingWriterKeepsItsFile(t *testing.T) {
	t.Parallel()
	s := setup(t)
	r, w := io.Pipe()
	done := make(chan error, 1)
	go func() {
		_, err := s.Put(context.Background(), "a", r, storage.PutOptions{})
		done <- err
	}()
	if _, err := io.WriteString(w, "slow "); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if _, err := put(t, s, "a", "quick", storage.PutOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := io.WriteString(w, "but whole"); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(s.Location("a")); err != nil || string(got) != "slow but whole" {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestFileSizeLimitLeavesTheOldBytes(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	oldFile(t, dir)
	out, err := startChild(t, "write past the limit", dir, nil).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if got := string(out); !strings.HasPrefix(got, "too large writing "+dir+"/a: the file is larger") {
		t.Errorf("got %q", got)
	}
	wantOnlyOld(t, dir)
}

// Only root may mount a small disk; everybody else has the test above, which
// takes the same way through the code.
func TestFullDiskLeavesTheOldBytes(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Log("not root: a small disk cannot be mounted")
		return
	}
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=1m"); err != nil {
		if errors.Is(err, syscall.EPERM) {
			t.Log("mounting is not allowed here")
			return
		}
		t.Fatal(err)
	}
	t.Cleanup(func() {
		// A child that another test forks just now may have the disk open until it runs
		// its own program.
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	s, err := Open(Config{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	oldFile(t, dir)
	_, err = s.Put(t.Context(), "a", bytes.NewReader(make([]byte, 4<<20)), storage.PutOptions{})
	if !problem.Is(err, problem.Unavailable) || !strings.Contains(err.Error(), "writing "+dir+"/a: the disk is full (") ||
		!strings.Contains(err.Error(), "of 1 MiB free)") {
		t.Errorf("got %v", err)
	}
	wantOnlyOld(t, dir)
	if err := os.WriteFile(filepath.Join(dir, "fill"), make([]byte, 1<<20), 0o600); !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("filling the disk: %v", err)
	}
	if got, _, err := storage.ReadAll(t.Context(), s, "a", 0); err != nil || string(got) != "old" {
		t.Errorf("reading from a full disk: %q, %v", got, err)
	}
	if err := s.Delete(t.Context(), "a"); err != nil {
		t.Errorf("deleting from a full disk: %v", err)
	}
}

func TestNoPermission(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	// TempDir's parents are closed to others; the child below may be another user.
	for d := dir; d != os.TempDir() && d != "/"; d = filepath.Dir(d) {
		if err := os.Chmod(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	oldFile(t, dir)
	if err := os.Chmod(filepath.Join(dir, "a"), 0); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o555); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.Chmod(dir, 0o755) })
	var attr *syscall.SysProcAttr
	binary, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if os.Geteuid() == 0 { // who may do everything: go on as somebody who may not
		attr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
		binary = publicCopy(t, binary)
	}
	for role, want := range map[string]string{
		"read":  "denied reading " + dir + "/a: permission denied\n",
		"write": "denied writing " + dir + "/a: permission denied\n",
	} {
		var out []byte
		for {
			cmd := startChild(t, role, dir, attr)
			cmd.Path, cmd.Args = binary, []string{binary}
			// A child that another test forks just now may hold the copy open for
			// writing until it runs its own program.
			if out, err = cmd.CombinedOutput(); !errors.Is(err, syscall.ETXTBSY) {
				break
			}
		}
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		if string(out) != want {
			t.Errorf("got %q, want %q", out, want)
		}
	}
}

// publicCopy copies the test binary to where another user may start it.
func publicCopy(t *testing.T, binary string) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "quire-local-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(binary)
	if err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(dir, "test")
	if err := os.WriteFile(name, data, 0o755); err != nil {
		t.Fatal(err)
	}
	return name
}

func TestNamedPipeDoesNotBlock(t *testing.T) {
	t.Parallel()
	s := setup(t)
	if err := syscall.Mkfifo(filepath.Join(s.dir, "pipe"), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if _, _, err := s.Get(ctx, "pipe", storage.GetOptions{}); !problem.Is(err, problem.Invalid) {
		t.Errorf("got %v, want Invalid", err)
	}
	if _, err := s.Stat(ctx, "pipe"); !problem.Is(err, problem.Invalid) {
		t.Errorf("got %v, want Invalid", err)
	}
}

func TestWritersInManyProcessesDoNotTear(t *testing.T) {
	t.Parallel()
	s := setup(t)
	var cmds []*exec.Cmd
	for range 4 {
		cmd := startChild(t, "write", s.dir, nil)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		cmds = append(cmds, cmd)
	}
	for _, cmd := range cmds {
		if err := cmd.Wait(); err != nil {
			t.Error(err)
		}
	}
	if got, err := os.ReadFile(s.Location("a")); err != nil || string(got) != "new" {
		t.Errorf("got %q, %v", got, err)
	}
	if entries, err := os.ReadDir(s.dir); err != nil || len(entries) != 1 {
		t.Errorf("the folder holds %v (%v), want only a", entries, err)
	}
}

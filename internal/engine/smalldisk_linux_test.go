package engine

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"quire/internal/problem"
)

// TestSmallDisk fills a real file system while a run goes on: what was there
// before stays whole, and the run's notebook is kept elsewhere.
func TestSmallDisk(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir()) // where the kept notebook goes
	dir := t.TempDir()
	if err := unix.Mount("quire-test", dir, "tmpfs", 0, "size=256k"); err != nil {
		t.Logf("no file system to fill (%v): TestFullDisk stands for it", err)
		return
	}
	defer func() { _ = unix.Unmount(dir, unix.MNT_DETACH) }()
	path := filepath.Join(dir, "out.ipynb")
	if err := os.WriteFile(path, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	filler := bytes.Repeat([]byte("x"), 240<<10)
	res, _, _, err := runFake(t, Request{Output: NewFile(path, FileOptions{})}, "print a", "flood 100 10000", "print b")
	if problem.KindOf(err) != problem.Unavailable || !strings.Contains(err.Error(), path) || res.Cells.Executed != 3 {
		t.Fatalf("error %v, %d cells ran", err, res.Cells.Executed)
	}
	if got := readBook(t, path); len(got.Cells) != 3 {
		t.Errorf("the file holds %d cells, want the pending notebook whole", len(got.Cells))
	}
	// No room even to begin: the old bytes stay.
	if err := os.WriteFile(path, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	left, _ := filepath.Glob(filepath.Join(dir, ".out*"))
	for _, f := range left {
		_ = os.Remove(f)
	}
	_ = os.WriteFile(filepath.Join(dir, "filler"), filler, 0o600)
	for n := 4 << 10; n > 0; n /= 2 { // what is left of the last page
		f, err := os.OpenFile(filepath.Join(dir, "filler"), os.O_APPEND|os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		for err == nil {
			_, err = f.Write(filler[:n])
		}
		_ = f.Close()
	}
	if _, _, _, err := runFake(t, Request{Output: NewFile(path, FileOptions{})}, "print a"); problem.KindOf(err) != problem.Unavailable {
		t.Errorf("error %v", err)
	}
	if data, err := os.ReadFile(path); err != nil || string(data) != "precious" {
		t.Errorf("the old file now holds %d bytes, %v", len(data), err)
	}
}

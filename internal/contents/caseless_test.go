package contents_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"quire/internal/contents"
	"quire/internal/db/sqlite"
	"quire/internal/problem"
	"quire/internal/storage/mem"
)

// caseless mounts a FAT file system, which takes "A" and "a" for one name, at
// dir, and is only there where QUIRE_TEST_FAT says so: as root, with fusefat.
func caseless(t *testing.T) string {
	t.Helper()
	image, dir := filepath.Join(t.TempDir(), "fat.img"), filepath.Join(t.TempDir(), "mnt")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(image, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(image, 64<<20); err != nil {
		t.Fatal(err)
	}
	for _, argv := range [][]string{{"mkfs.vfat", image}, {"fusefat", "-o", "rw+", image, dir}} {
		if out, err := exec.CommandContext(t.Context(), argv[0], argv[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("%s: %v: %s", argv[0], err, out)
		}
	}
	t.Cleanup(func() {
		if out, err := exec.CommandContext(context.Background(), "fusermount3", "-u", "-z", dir).CombinedOutput(); err != nil {
			t.Errorf("unmounting: %v: %s", err, out)
		}
	})
	return dir
}

// TestCaseTricks writes to other spellings of names on a file system that
// ignores case: none leads into another's workspace or into what is hidden, and
// no file is lost to one that only looks new. (Who is signed in may read every
// file by its own name, so that reading by another spelling gives nothing away.)
func TestCaseTricks(t *testing.T) {
	if os.Getenv("QUIRE_TEST_FAT") == "" {
		return
	}
	dir := caseless(t)
	if err := os.WriteFile(filepath.Join(dir, "probe"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(dir, "PROBE")); err != nil {
		t.Fatalf("the file system does not ignore case: %v", err)
	}
	d, err := sqlite.Open(context.Background(), filepath.Join(t.TempDir(), "q.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	b := &bundle{ctx: context.Background(), dir: filepath.Join(dir, "files")}
	b.cfg = contents.Config{Dir: b.dir, Blobs: &contents.Blobs{Store: mem.New(mem.Config{})}, Versions: d, Trust: d}
	b.open(t)
	first := b.save(t, "users/ann/mine.ipynb", "ann's", 0)
	for _, path := range []string{
		"users/ANN/a.txt", "Users/ann/a.txt", "USERS/ann/a.txt", "SHARED/a.txt", "users/Anna/a.txt",
		"users/ann/.TRASH/a.txt", "users/ann/.Trash/a.txt", ".UPLOADS/a.txt", "users/ANN/mine.ipynb",
	} {
		if _, err := b.Save(b.ctx, ann, path, strings.NewReader("x"), contents.SaveOptions{Plain: true}); err == nil {
			t.Errorf("%s was written", path)
		}
		if _, err := b.Save(b.ctx, anna, path, strings.NewReader("x"), contents.SaveOptions{Plain: true}); err == nil {
			t.Errorf("%s was written by another", path)
		}
	}
	for _, path := range []string{"users/ANN/mine.ipynb", "users/Ann/mine.ipynb", "Users/ann/mine.ipynb"} {
		if err := b.Delete(b.ctx, anna, path); err == nil {
			t.Errorf("another deletes %s", path)
		}
	}
	// A file that is new by its name and there by the disk's is not overwritten.
	if _, err := b.Save(b.ctx, ann, "users/ann/MINE.ipynb", strings.NewReader("new"), contents.SaveOptions{}); !problem.Is(err, problem.Conflict) {
		t.Errorf("a new file over another of the same letters: %v", err)
	}
	if _, err := b.Save(b.ctx, ann, "users/ann/Mine.ipynb", strings.NewReader("plain"), contents.SaveOptions{Plain: true}); err != nil {
		t.Errorf("a plain client's save: %v", err)
	}
	_, r, err := b.OpenVersion(b.ctx, ann, "users/ann/mine.ipynb", first.Number)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if data := make([]byte, 16); true {
		if n, _ := r.Read(data); string(data[:n]) != "ann's" {
			t.Errorf("what a plain client's save replaced is %q among the versions", data[:n])
		}
	}
}

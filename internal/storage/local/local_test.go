package local

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"quire/internal/problem"
	"quire/internal/storage"
)

func setup(t *testing.T) *Store {
	t.Helper()
	s, err := Open(Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func put(t *testing.T, s storage.Store, path, data string, opt storage.PutOptions) (storage.Info, error) {
	t.Helper()
	return s.Put(context.Background(), path, strings.NewReader(data), opt)
}

func TestLinksCannotLeaveTheFolder(t *testing.T) {
	t.Parallel()
	s := setup(t)
	outside := t.TempDir()
	secret := filepath.Join(outside, "secret")
	if err := os.WriteFile(secret, []byte("outside"), 0o600); err != nil {
		t.Fatal(err)
	}
	link := func(target, name string) {
		if err := os.Symlink(target, filepath.Join(s.dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	link(secret, "file")
	link(outside, "dir")
	ctx := context.Background()
	for _, p := range []string{"file", "dir/secret"} {
		if _, err := storage.PutBytes(ctx, s, "x", nil, storage.PutOptions{}); err != nil {
			t.Fatal(err)
		}
		if _, _, err := s.Get(ctx, p, storage.GetOptions{}); !problem.Is(err, problem.Denied) {
			t.Errorf("Get %s: got %v, want Denied", p, err)
		}
		if _, err := s.Stat(ctx, p); !problem.Is(err, problem.Denied) {
			t.Errorf("Stat %s: got %v, want Denied", p, err)
		}
	}
	if _, err := put(t, s, "dir/new", "x", storage.PutOptions{}); !problem.Is(err, problem.Denied) {
		t.Errorf("Put through a linked folder: got %v, want Denied", err)
	}
	if err := s.Delete(ctx, "dir/secret"); !problem.Is(err, problem.Denied) {
		t.Errorf("Delete through a linked folder: got %v, want Denied", err)
	}
	if _, err := put(t, s, "file", "mine", storage.PutOptions{}); err != nil {
		t.Errorf("Put over a link: %v", err)
	}
	if got, err := os.ReadFile(secret); err != nil || string(got) != "outside" {
		t.Errorf("the file outside holds %q (%v), want it untouched", got, err)
	}
}

func TestPutLeavesNoTemporaryFile(t *testing.T) {
	t.Parallel()
	s := setup(t)
	for i := range 3 {
		_, err := put(t, s, "a", fmt.Sprint(i), storage.PutOptions{IfNotExist: i == 0})
		if err != nil {
			t.Fatal(err)
		}
	}
	if _, err := put(t, s, "a", "x", storage.PutOptions{IfNotExist: true}); !problem.Is(err, problem.Exists) {
		t.Errorf("got %v, want Exists", err)
	}
	entries, err := os.ReadDir(s.dir)
	if err != nil || len(entries) != 1 {
		t.Errorf("the folder holds %v (%v), want only a", entries, err)
	}
}

func TestPutKeepsTheMode(t *testing.T) {
	t.Parallel()
	s := setup(t)
	name := filepath.Join(s.dir, "a")
	if err := os.WriteFile(name, []byte("old"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(name, 0o640); err != nil {
		t.Fatal(err)
	}
	if _, err := put(t, s, "a", "new", storage.PutOptions{}); err != nil {
		t.Fatal(err)
	}
	fi, err := os.Stat(name)
	if err != nil || fi.Mode().Perm() != 0o640 {
		t.Errorf("mode is %v (%v), want 0640", fi.Mode(), err)
	}
}

package server

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"quire/internal/auth"
	"quire/internal/problem"
	"quire/internal/storage"
)

// TestWatchedFilesOfMounts: in an object store the names that fit are found, not
// what lies deeper, and not what may still be written.
func TestWatchedFilesOfMounts(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	store, err := OpenPrefix(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close() })
	for name, age := range map[string]time.Duration{
		"in/plays-1.csv": time.Hour, "in/plays-2.csv": time.Second, "in/plays-3.txt": time.Hour, "in/deep/plays-4.csv": time.Hour, "plays-5.csv": time.Hour, "in/other.csv": time.Hour,
	} {
		file := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
		at := time.Now().Add(-age)
		if err := os.Chtimes(file, at, at); err != nil {
			t.Fatal(err)
		}
	}
	w := watchedFiles{mounts: map[string]storage.Store{"lake": store}, now: time.Now}
	find := func(folder, pattern string) string {
		t.Helper()
		files, err := w.Find(context.Background(), auth.User{Name: "ann"}, folder, pattern)
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, f := range files {
			names = append(names, fmt.Sprint(f.Path, " ", f.Size))
		}
		slices.Sort(names)
		return strings.Join(names, ", ")
	}
	if got := find("mounts/lake/in", "plays-*.csv"); got != "mounts/lake/in/plays-1.csv 1" {
		t.Errorf("found %q", got)
	}
	if got := find("mounts/lake", "*"); got != "mounts/lake/plays-5.csv 1" {
		t.Errorf("found %q", got)
	}
	if got := find("mounts/lake/none", "[a-z]*"); got != "" {
		t.Errorf("found %q", got)
	}
	if _, err := w.Find(context.Background(), auth.User{Name: "ann"}, "mounts/sea", "*"); !problem.Is(err, problem.NotFound) {
		t.Errorf("a mount that is not there: %v", err)
	}
	if _, err := w.Find(context.Background(), auth.User{}, "mounts/lake", "*"); !problem.Is(err, problem.Denied) {
		t.Errorf("nobody: %v", err)
	}
}

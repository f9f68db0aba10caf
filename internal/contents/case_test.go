package contents_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"quire/internal/contents"
)

// TestOtherSpellingsOfAWorkspace writes to paths that are a workspace's on a disk
// that ignores case, and that links make so on any: what a path may do is decided
// by its spelling, and none but the right one is anybody's.
func TestOtherSpellingsOfAWorkspace(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for link, target := range map[string]string{"Users": "users", "SHARED": "shared", "users/ANN": "ann", "users/Anna": "anna"} {
		if err := os.Symlink(target, filepath.Join(b.dir, link)); err != nil {
			t.Fatal(err)
		}
	}
	b.save(t, "users/ann/mine.txt", "x", 0)
	for _, path := range []string{
		"users/ANN/a.txt", "Users/ann/a.txt", "USERS/ann/a.txt", "SHARED/a.txt", "Shared/a.txt", "users/Anna/a.txt",
		"users/ann/.TRASH/a.txt", "users/ann/.Trash/a.txt", ".UPLOADS/a.txt",
	} {
		_, err := b.Save(b.ctx, ann, path, strings.NewReader("x"), contents.SaveOptions{Plain: true})
		if err == nil {
			t.Errorf("%s was written", path)
		}
	}
	for _, path := range []string{"users/ANN/mine.txt", "users/ann/.TRASH"} {
		if _, err := b.Stat(b.ctx, anna, path); err == nil {
			t.Errorf("%s is shown", path)
		}
	}
	for _, dir := range []string{"users/ann", "users/anna", "shared"} {
		if _, err := os.Stat(filepath.Join(b.dir, dir, "a.txt")); err == nil {
			t.Errorf("%s/a.txt was made", dir)
		}
	}
	for _, path := range []string{"users/ANN/mine.txt", "Users/ann/mine.txt"} {
		if err := b.Delete(b.ctx, ann, path); err == nil {
			t.Errorf("%s was deleted", path)
		}
		if err := b.Rename(b.ctx, ann, "users/ann/mine.txt", path+"2"); err == nil {
			t.Errorf("a file was moved to %s2", path)
		}
	}
}

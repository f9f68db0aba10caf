package kernel

import (
	"os"
	"path/filepath"
	"testing"
)

// TestOwnMatplotlib checks that a folder that takes no file is not what matplotlib
// is given, and that its list of fonts goes along.
func TestOwnMatplotlib(t *testing.T) {
	home := t.TempDir()
	t.Setenv("XDG_CACHE_HOME", home)
	t.Setenv("HOME", home)
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "fontlist-v9.json"), []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	if ownMatplotlib(dir) {
		t.Error("a folder that can be written to is not taken")
	}
	if left, _ := os.ReadDir(dir); len(left) != 1 {
		t.Errorf("the probe stays: %v", left)
	}
	gone := filepath.Join(dir, "gone") // as root, a folder without the right to write takes files
	if !ownMatplotlib(gone) {
		t.Error("a folder that takes no file is given to matplotlib")
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	copyOnce(filepath.Join(dir, "fontlist-v9.json"), filepath.Join(cache, "matplotlib", "fontlist-v9.json"))
	if data, err := os.ReadFile(filepath.Join(cache, "matplotlib", "fontlist-v9.json")); err != nil || string(data) != "{}" {
		t.Errorf("the list of fonts is %q, %v", data, err)
	}
}

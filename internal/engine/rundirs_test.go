package engine

import (
	"os"
	"path/filepath"
	"sync"
	"testing"
)

// TestPrivateFoldersOfManyEngines: an engine that looks for what others left
// behind never takes the folder that one of them is making.
func TestPrivateFoldersOfManyEngines(t *testing.T) {
	t.Parallel()
	base := t.TempDir()
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 200 {
				d := &runDirs{}
				dir, err := d.private(base)
				if err == nil {
					_, err = os.Stat(filepath.Join(filepath.Dir(dir), "lock"))
				}
				if err != nil {
					t.Error(err)
					return
				}
				d.remove()
			}
		})
	}
	wg.Wait()
	left, err := os.ReadDir(base)
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

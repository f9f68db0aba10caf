package contents

import (
	"io/fs"
	"path/filepath"
	"sync"
	"time"

	"quire/internal/problem"
)

// usageCache remembers what the workspaces hold for a short while: counting
// walks all files.
type usageCache struct {
	mu   sync.Mutex
	used map[string]usage
}

type usage struct {
	bytes int64
	at    time.Time
}

// forget makes the next question count again.
func (c *usageCache) forget(workspace string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.used, workspace)
}

const usageLife = 10 * time.Second

// Used returns how many bytes the workspace that path lies in holds, its trash
// included, at most ten seconds ago.
func (v *Volume) Used(path string) (int64, error) {
	workspace, _ := place(path)
	if workspace == "" {
		return 0, nil
	}
	v.usage.mu.Lock()
	defer v.usage.mu.Unlock()
	now := v.now()
	if u, ok := v.usage.used[workspace]; ok && now.Sub(u.at) < usageLife {
		return u.bytes, nil
	}
	root, _, err := v.tree.at(workspace)
	if err != nil {
		return 0, err
	}
	var total int64
	err = fs.WalkDir(root.FS(), ".", func(_ string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return nil //nolint:nilerr // what went away meanwhile counts nothing
		}
		if info, err := d.Info(); err == nil {
			total += info.Size()
		}
		return nil
	})
	if v.usage.used == nil {
		v.usage.used = map[string]usage{}
	}
	v.usage.used[workspace] = usage{total, now}
	return total, disk(err, "counting what %s holds", filepath.ToSlash(workspace))
}

// checkQuota refuses a save of size bytes that would not fit, and counts it.
// What the file held before is not counted off: between two counts the bound is
// soft by what was saved in ten seconds.
func (v *Volume) checkQuota(path string, size int64) error {
	if err := v.hasRoom(path, size); err != nil || v.cfg.QuotaBytes <= 0 {
		return err
	}
	v.usage.mu.Lock()
	defer v.usage.mu.Unlock()
	workspace, _ := place(path)
	u := v.usage.used[workspace]
	u.bytes += size
	v.usage.used[workspace] = u
	return nil
}

// hasRoom fails when size more bytes would not fit.
func (v *Volume) hasRoom(path string, size int64) error {
	if v.cfg.QuotaBytes <= 0 {
		return nil
	}
	used, err := v.Used(path)
	if err != nil {
		return err
	}
	if used+size <= v.cfg.QuotaBytes {
		return nil
	}
	workspace, _ := place(path)
	return problem.New(problem.TooLarge, "saving %s: the workspace %s is full: %.1f of %.1f MiB; delete something or empty its trash",
		path, workspace, float64(used)/(1<<20), float64(v.cfg.QuotaBytes)/(1<<20))
}

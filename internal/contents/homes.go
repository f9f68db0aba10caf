package contents

import (
	"errors"
	"os"
	"path/filepath"
	"strings"

	"quire/internal/auth"
	"quire/internal/problem"
)

// openHomes opens the workspaces that lie elsewhere on the disk.
func (t *tree) openHomes(homes map[string]string, shared string) error {
	if shared != "" {
		root, err := os.OpenRoot(shared)
		if err != nil {
			return errors.Join(disk(err, "opening the folder %s", shared), t.close())
		}
		t.roots["shared"] = root
	}
	for name, dir := range homes {
		if !auth.ValidName(name) {
			return problem.New(problem.Invalid, "%q cannot be a user's name", name)
		}
		root, err := os.OpenRoot(dir)
		if err != nil {
			return errors.Join(disk(err, "opening the folder %s", dir), t.close())
		}
		t.roots["users/"+name] = root
	}
	return nil
}

// diskPath returns where on the disk path lies. It is for watching and for
// keys only: what is there is opened through the tree.
func (v *Volume) diskPath(path string) string {
	workspace, rest := place(path)
	if workspace == "shared" && v.cfg.Shared != "" {
		return filepath.Join(v.cfg.Shared, filepath.FromSlash(rest))
	}
	if dir, ok := v.cfg.Homes[strings.TrimPrefix(workspace, "users/")]; ok && workspace != "" {
		return filepath.Join(dir, filepath.FromSlash(rest))
	}
	return diskPath(v.cfg.Dir, path)
}

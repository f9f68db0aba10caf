package engine

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"quire/internal/kernel"
	"quire/internal/problem"
	"quire/python"
)

// runDirs are the private folders of one run: the notebook helper for the
// kernel to import, and the secrets. They are gone when the run is.
type runDirs struct {
	helper  string // on PYTHONPATH; "" for kernels of other languages
	secrets string // in memory where the system has a place for that; "" without secrets
	vars    []string
	locks   []*os.File
}

// runDirPrefix starts the names of the private folders.
const runDirPrefix = "quire-private-"

// private makes a folder for this run in base ("" is the temporary folder) and
// returns the folder in it to use. Beside that lies a locked file: it tells the
// folders of runs that go on from those that a killed engine left behind, which
// are removed here.
func (d *runDirs) private(base string) (string, error) {
	if base == "" {
		base = os.TempDir()
	}
	removeStale(base)
	for {
		root, err := os.MkdirTemp(base, runDirPrefix)
		if err != nil {
			return "", err
		}
		lock, err := os.OpenFile(filepath.Join(root, "lock"), os.O_RDWR|os.O_CREATE, 0o600)
		if err != nil {
			_ = os.RemoveAll(root)
			return "", err
		}
		if !lockFile(lock) { // another engine has just taken it for a stale one
			_ = lock.Close()
			continue
		}
		dir := filepath.Join(root, "run")
		if err := os.Mkdir(dir, 0o700); errors.Is(err, fs.ErrNotExist) {
			_ = lock.Close() // taken for a stale one, and gone, before we had the lock
			continue
		} else if err != nil {
			return "", errors.Join(err, lock.Close(), os.RemoveAll(root))
		}
		d.locks = append(d.locks, lock)
		return dir, nil
	}
}

// removeStale removes what killed engines of this user left behind.
func removeStale(base string) {
	if !canLock {
		return
	}
	found, _ := filepath.Glob(filepath.Join(base, runDirPrefix+"*"))
	for _, root := range found {
		st, err := os.Lstat(root)
		if err != nil || !st.IsDir() || !ownFile(st) {
			continue
		}
		lock, err := os.OpenFile(filepath.Join(root, "lock"), os.O_RDWR, 0)
		if err != nil {
			continue // being made, or not ours
		}
		if lockFile(lock) {
			wipe(filepath.Join(root, "run"))
			_ = os.RemoveAll(root)
		}
		_ = lock.Close()
	}
}

// wipe overwrites the files of a folder.
func wipe(dir string) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return
	}
	for _, e := range entries {
		if st, err := e.Info(); err == nil && st.Mode().IsRegular() {
			_ = os.WriteFile(filepath.Join(dir, e.Name()), make([]byte, st.Size()), 0o600)
		}
	}
}

// newRunDirs makes them.
func newRunDirs(req *Request, spec kernel.Spec) (*runDirs, error) {
	d := &runDirs{}
	if strings.EqualFold(spec.Language, "python") {
		if err := d.writeHelper(spec); err != nil {
			d.remove()
			return nil, err
		}
	}
	if len(req.Secrets) > 0 {
		if err := d.writeSecrets(req.Secrets); err != nil {
			d.remove()
			return nil, err
		}
	}
	d.vars = append(d.vars, req.Env...)
	if req.Checkpoints != "" {
		path, err := filepath.Abs(req.Checkpoints)
		if err != nil {
			d.remove()
			return nil, problem.Wrap(err, "finding the folder for checkpoints")
		}
		d.vars = append(d.vars, "QUIRE_CHECKPOINT_DIR="+path)
	}
	return d, nil
}

// env is what the kernel gets in its environment.
func (d *runDirs) env() []string { return d.vars }

func (d *runDirs) writeHelper(spec kernel.Spec) error {
	dir, err := d.private("")
	if err != nil {
		return problem.WrapAs(fileKind(err), err, "making a folder for the notebook helper")
	}
	d.helper = dir
	err = fs.WalkDir(python.FS, ".", func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		to := filepath.Join(dir, filepath.FromSlash(path))
		if e.IsDir() {
			return os.MkdirAll(to, 0o700)
		}
		text, err := python.FS.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(to, text, 0o600)
	})
	if err != nil {
		return problem.WrapAs(fileKind(err), err, "writing the notebook helper")
	}
	path, ok := spec.Env["PYTHONPATH"]
	if !ok {
		path = os.Getenv("PYTHONPATH")
	}
	if path != "" {
		path = string(os.PathListSeparator) + path
	}
	d.vars = append(d.vars, "PYTHONPATH="+dir+path)
	return nil
}

// writeSecrets writes one file a secret, readable by this user only, in memory
// (/dev/shm) where there is such a place.
func (d *runDirs) writeSecrets(secrets map[string]string) error {
	base := ""
	if st, err := os.Stat("/dev/shm"); err == nil && st.IsDir() {
		base = "/dev/shm"
	}
	dir, err := d.private(base)
	if err != nil && base != "" {
		dir, err = d.private("")
	}
	if err != nil {
		return problem.WrapAs(fileKind(err), err, "making a folder for secrets")
	}
	d.secrets = dir
	for _, name := range sortedKeys(secrets) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(secrets[name]), 0o600); err != nil {
			return problem.WrapAs(fileKind(err), err, "handing over secret %s", name)
		}
	}
	d.vars = append(d.vars, "QUIRE_SECRETS_DIR="+dir)
	return nil
}

// remove deletes the folders; secrets are overwritten first, in case the
// folder is on a disk.
func (d *runDirs) remove() {
	if d.secrets != "" {
		wipe(d.secrets)
	}
	for _, lock := range d.locks {
		_ = os.RemoveAll(filepath.Dir(lock.Name()))
		_ = lock.Close()
	}
}

// secretCode is the code that assigns a secret to its variable from its file,
// "" where we know no way. It holds the path, never the value.
func secretCode(language, dir, name string) string {
	path := filepath.Join(dir, name)
	switch strings.ToLower(language) {
	case "python":
		return fmt.Sprintf("with open(%q, encoding='utf-8', newline='') as %s: %s = %s.read()", path, name, name, name)
	case "r":
		return fmt.Sprintf("%s <- readChar(%q, file.info(%q)$size, useBytes = TRUE)", name, path, path)
	case "julia":
		return fmt.Sprintf("%s = read(%q, String);", name, path)
	case "bash":
		return fmt.Sprintf("%s=$(cat %q)", name, path)
	}
	return ""
}

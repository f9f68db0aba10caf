package engine

import (
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
	dir, err := os.MkdirTemp("", "quire-helper-")
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
	dir, err := os.MkdirTemp(base, "quire-secrets-")
	if err != nil && base != "" {
		dir, err = os.MkdirTemp("", "quire-secrets-")
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
		if entries, err := os.ReadDir(d.secrets); err == nil {
			for _, e := range entries {
				if st, err := e.Info(); err == nil && st.Mode().IsRegular() {
					_ = os.WriteFile(filepath.Join(d.secrets, e.Name()), make([]byte, st.Size()), 0o600)
				}
			}
		}
		_ = os.RemoveAll(d.secrets)
	}
	if d.helper != "" {
		_ = os.RemoveAll(d.helper)
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

package kernel

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"quire/internal/problem"
)

// defaultRuntimeDir is a folder for sockets and connection files: quire in the
// session's runtime folder, or one of the user's own among temporary files.
func defaultRuntimeDir() string {
	if dir := os.Getenv("XDG_RUNTIME_DIR"); dir != "" {
		if st, err := os.Stat(dir); err == nil && st.IsDir() && ownedByUs(st) {
			return filepath.Join(dir, "quire")
		}
	}
	return filepath.Join(os.TempDir(), "quire-"+itoa(os.Getuid()))
}

// secureDir makes dir, or checks that it is ours and nobody else's.
func secureDir(dir string) error {
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return problem.Wrap(err, "making the runtime folder")
	}
	if err := os.Mkdir(dir, 0o700); err != nil && !os.IsExist(err) {
		return problem.Wrap(err, "making the runtime folder")
	}
	st, err := os.Lstat(dir)
	switch {
	case err != nil:
		return problem.Wrap(err, "looking at the runtime folder")
	case !st.IsDir():
		return problem.New(problem.Denied, "runtime folder %s is not a folder", dir)
	case !ownedByUs(st):
		return problem.New(problem.Denied, "runtime folder %s belongs to another user", dir)
	case st.Mode().Perm()&0o077 != 0:
		if err := os.Chmod(dir, 0o700); err != nil {
			return problem.Wrap(err, "closing the runtime folder to others")
		}
	}
	return nil
}

// kernelDir is one kernel's folder; its lock says that its owner lives.
type kernelDir struct {
	path string
	lock *os.File
}

var sweeps sync.Map // runtime folder -> *sync.Once

// newKernelDir makes a kernel's folder, and removes once per process those
// that dead programs left behind.
func newKernelDir(runtime string) (*kernelDir, error) {
	if err := secureDir(runtime); err != nil {
		return nil, err
	}
	once, _ := sweeps.LoadOrStore(runtime, new(sync.Once))
	if o, ok := once.(*sync.Once); ok {
		o.Do(func() { sweep(runtime) })
	}
	for {
		d, err := makeKernelDir(runtime)
		if err != nil || d != nil {
			return d, err
		}
	}
}

// makeKernelDir returns nil without an error when the sweep of another program
// took the new folder for an abandoned one.
func makeKernelDir(runtime string) (*kernelDir, error) {
	dir, err := os.MkdirTemp(runtime, "k-*")
	if err != nil {
		return nil, problem.Wrap(err, "making a kernel's runtime folder")
	}
	lock, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		_ = os.RemoveAll(dir)
		return nil, problem.Wrap(err, "locking a kernel's runtime folder")
	}
	if !tryLock(lock) {
		_ = lock.Close()
		return nil, nil
	}
	if _, err := os.Stat(lock.Name()); err != nil {
		_ = lock.Close()
		return nil, nil
	}
	return &kernelDir{path: dir, lock: lock}, nil
}

// remove deletes the folder, and the kernel's temporary files. Twice is fine.
func (d *kernelDir) remove() {
	_ = os.RemoveAll(temporaryOf(d.path))
	_ = os.RemoveAll(d.path)
	_ = d.lock.Close()
}

// sweep removes the folders whose owner is gone: their lock can be taken. A
// folder without a lock is being made this moment, or was never finished; it
// is left alone.
func sweep(runtime string) {
	entries, err := os.ReadDir(runtime)
	if err != nil {
		return
	}
	for _, e := range entries {
		if !e.IsDir() || !strings.HasPrefix(e.Name(), "k-") {
			continue
		}
		dir := filepath.Join(runtime, e.Name())
		lock, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_RDWR, 0)
		if err != nil {
			continue
		}
		if tryLock(lock) {
			_ = os.RemoveAll(temporaryOf(dir))
			_ = os.RemoveAll(dir)
		}
		_ = lock.Close()
	}
}

// temporaryDir is the variable that names the folder for temporary files.
const temporaryDir = "TMPDIR"

// temporaryOf is where a kernel that gets a folder for its temporary files has
// it: on the disk for such files, since the runtime folder may lie in memory.
// kernelDir is the kernel's folder there, whose owner owns this one, too.
func temporaryOf(kernelDir string) string {
	return filepath.Join(os.TempDir(), "quire-"+filepath.Base(kernelDir))
}

// leavesTemporary says whether a kernel leaves temporary files behind when it
// is killed: R removes its session's folder only where it ends by itself.
func leavesTemporary(spec Spec) bool { return spec.Language == "R" }

// namesTemporary says whether the spec or the Config has a folder for
// temporary files of its own.
func namesTemporary(cfg *Config) bool {
	_, named := cfg.Spec.Env[temporaryDir]
	return named || slices.ContainsFunc(cfg.Env, func(entry string) bool { return strings.HasPrefix(entry, temporaryDir+"=") })
}

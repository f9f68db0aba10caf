package contents

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"syscall"

	"quire/internal/fault"
	"quire/internal/problem"
)

// A tree is the only way from here to the disk. It opens each workspace as an
// os.Root of its own, so that no link in one leads to another.
type tree struct {
	root  *os.Root
	mu    sync.Mutex
	roots map[string]*os.Root
}

func openTree(dir string) (*tree, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, disk(err, "opening the volume %s", dir)
	}
	return &tree{root: root, roots: map[string]*os.Root{}}, nil
}

func (t *tree) close() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	var errs []error
	for _, r := range t.roots {
		errs = append(errs, r.Close())
	}
	return errors.Join(append(errs, t.root.Close())...)
}

// at returns the root of the workspace that path lies in and the path below it,
// "." for the workspace itself.
func (t *tree) at(path string) (*os.Root, string, error) {
	workspace, rest := place(path)
	if rest == "" {
		rest = "."
	}
	if workspace == "" {
		return t.root, filepath.FromSlash(rest), nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	root := t.roots[workspace]
	if root == nil {
		info, err := t.root.Lstat(filepath.FromSlash(workspace))
		if err != nil {
			return nil, "", disk(err, "opening the workspace %s", workspace)
		}
		if !info.IsDir() {
			return nil, "", problem.New(problem.NotFound, "%s is no workspace", workspace)
		}
		root, err = t.root.OpenRoot(filepath.FromSlash(workspace))
		if err != nil {
			return nil, "", disk(err, "opening the workspace %s", workspace)
		}
		t.roots[workspace] = root
	}
	return root, filepath.FromSlash(rest), nil
}

// stat describes what is at path, following links inside the workspace.
func (t *tree) stat(path string) (fs.FileInfo, error) {
	root, name, err := t.at(path)
	if err != nil {
		return nil, err
	}
	info, err := root.Stat(name)
	if err != nil {
		return nil, disk(err, "looking at %s", path)
	}
	if !info.IsDir() && !info.Mode().IsRegular() {
		return nil, problem.New(problem.NotFound, "%s is neither a file nor a directory", path)
	}
	return info, nil
}

// open opens a regular file for reading.
func (t *tree) open(path string) (*os.File, fs.FileInfo, error) {
	root, name, err := t.at(path)
	if err != nil {
		return nil, nil, err
	}
	// Without O_NONBLOCK, opening a pipe would wait for a writer.
	file, err := root.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, nil, disk(err, "opening %s", path)
	}
	info, err := file.Stat()
	if err == nil && info.Mode().IsRegular() {
		return file, info, nil
	}
	_ = file.Close()
	if err == nil && info.IsDir() {
		return nil, nil, problem.New(problem.Invalid, "%s is a directory", path)
	}
	return nil, nil, problem.New(problem.NotFound, "%s is not a file", path)
}

// readDir lists a directory in no order.
func (t *tree) readDir(path string) ([]fs.DirEntry, fs.FileInfo, error) {
	root, name, err := t.at(path)
	if err != nil {
		return nil, nil, err
	}
	dir, err := root.Open(name)
	if err != nil {
		return nil, nil, disk(err, "listing %s", path)
	}
	defer dir.Close()
	info, err := dir.Stat()
	if err != nil {
		return nil, nil, disk(err, "listing %s", path)
	}
	if !info.IsDir() {
		return nil, nil, problem.New(problem.Invalid, "%s is not a directory", path)
	}
	entries, err := dir.ReadDir(-1)
	return entries, info, disk(err, "listing %s", path)
}

// replace writes all that r holds as the file at path: into a temporary file
// beside it, synced, renamed over it, the directory synced. What was there
// before stays when any step fails. The mode of a file that was there is kept.
func (t *tree) replace(path string, r io.Reader) (fs.FileInfo, error) {
	root, name, err := t.at(path)
	if err != nil {
		return nil, err
	}
	mode := fs.FileMode(0o644)
	if info, err := root.Lstat(name); err == nil {
		if info.IsDir() {
			return nil, problem.New(problem.Invalid, "%s is a directory", path)
		}
		if info.Mode().IsRegular() {
			mode = info.Mode().Perm()
		}
	}
	temp := filepath.Join(filepath.Dir(name), ".quire-"+rand.Text()[:12]+".tmp")
	if fault.On(fault.RenameFirst) {
		temp = name
		_ = root.Remove(name)
	}
	info, err := writeTemp(root, temp, mode, r)
	if err == nil {
		err = root.Rename(temp, name)
	}
	if err != nil {
		_ = root.Remove(temp)
		return nil, disk(err, "writing %s", path)
	}
	return info, disk(syncDir(root, filepath.Dir(name)), "writing %s", path)
}

// extend writes all that r holds behind what the file at path holds, or, when
// fresh, instead of it. It is for files that nobody reads before they are
// whole.
func (t *tree) extend(path string, r io.Reader, fresh bool) (int64, error) {
	root, name, err := t.at(path)
	if err != nil {
		return 0, err
	}
	flags := os.O_WRONLY | os.O_APPEND
	if fresh {
		flags |= os.O_CREATE | os.O_TRUNC
	}
	file, err := root.OpenFile(name, flags, 0o600)
	if err != nil {
		return 0, disk(err, "writing %s", path)
	}
	n, err := io.Copy(file, r)
	return n, disk(errors.Join(err, file.Close()), "writing %s", path)
}

func writeTemp(root *os.Root, temp string, mode fs.FileMode, r io.Reader) (fs.FileInfo, error) {
	file, err := root.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return nil, err
	}
	_, err = io.Copy(file, r)
	if !fault.On(fault.SkipFileSync) {
		err = errors.Join(err, file.Sync())
	}
	info, statErr := file.Stat()
	return info, errors.Join(err, statErr, file.Close())
}

func syncDir(root *os.Root, name string) error {
	if fault.On(fault.SkipDirSync) {
		return nil
	}
	dir, err := root.Open(name)
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

func (t *tree) mkdir(path string) error {
	root, name, err := t.at(path)
	if err != nil {
		return err
	}
	if err := root.Mkdir(name, 0o755); err != nil {
		return disk(err, "making the directory %s", path)
	}
	return disk(syncDir(root, filepath.Dir(name)), "making the directory %s", path)
}

// rename moves within a workspace; it fails with kind Exists when something is
// at the new path. Both directories are synced.
func (t *tree) rename(from, to string) error {
	if _, err := t.lstat(to); err == nil {
		return problem.New(problem.Exists, "%s exists already", to)
	}
	fromRoot, fromName, err := t.at(from)
	if err != nil {
		return err
	}
	toRoot, toName, err := t.at(to)
	if err != nil {
		return err
	}
	if fromRoot != toRoot {
		return problem.New(problem.Invalid, "moving %s to %s: it would leave its workspace; copy it there instead", from, to)
	}
	if err := fromRoot.Rename(fromName, toName); err != nil {
		return disk(err, "moving %s to %s", from, to)
	}
	return disk(errors.Join(syncDir(fromRoot, filepath.Dir(fromName)), syncDir(toRoot, filepath.Dir(toName))), "moving %s to %s", from, to)
}

func (t *tree) lstat(path string) (fs.FileInfo, error) {
	root, name, err := t.at(path)
	if err != nil {
		return nil, err
	}
	info, err := root.Lstat(name)
	return info, disk(err, "looking at %s", path)
}

// removeAll removes a path and what is below it; that it is not there is no
// error. It is for the trash only.
func (t *tree) removeAll(path string) error {
	root, name, err := t.at(path)
	if err != nil {
		return err
	}
	return disk(root.RemoveAll(name), "removing %s", path)
}

func dirOf(path string) string {
	dir, _ := split(path)
	return dir
}

// disk gives an error of the disk its kind and says what was being done.
func disk(err error, format string, args ...any) error {
	if err == nil {
		return nil
	}
	op := fmt.Sprintf(format, args...)
	var known *problem.Error
	switch {
	case errors.As(err, &known):
		return problem.Wrap(err, "%s", op)
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ENOTDIR), errors.Is(err, syscall.ELOOP):
		return &problem.Error{Kind: problem.NotFound, Op: op, Msg: "it does not exist"}
	case errors.Is(err, fs.ErrExist):
		return &problem.Error{Kind: problem.Exists, Op: op, Msg: "it exists already"}
	case errors.Is(err, fs.ErrPermission):
		return &problem.Error{Kind: problem.Denied, Op: op, Msg: "the server has no right to"}
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return &problem.Error{Kind: problem.Unavailable, Op: op, Msg: "the disk is full: delete something or ask for more space; what was there before is unchanged"}
	case isEscape(err):
		return &problem.Error{Kind: problem.NotFound, Op: op, Msg: "it leads out of the workspace"}
	}
	return problem.WrapAs(problem.Unavailable, err, "%s", op)
}

// isEscape recognizes what os.Root says of a path that leaves it; the package
// has no exported error for it.
func isEscape(err error) bool {
	var pe *fs.PathError
	return errors.As(err, &pe) && pe.Err.Error() == "path escapes from parent"
}

// mkdirRoot makes a workspace.
func (t *tree) mkdirRoot(path string) error {
	if err := t.root.Mkdir(filepath.FromSlash(path), 0o755); err != nil {
		return disk(err, "making the workspace %s", path)
	}
	return disk(syncDir(t.root, filepath.Dir(filepath.FromSlash(path))), "making the workspace %s", path)
}

package local

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"syscall"
	"time"

	"quire/internal/fault"
	"quire/internal/problem"
	"quire/internal/storage"
)

// folder is an open directory: where a Put works, whatever happens to its name.
type folder struct {
	root *os.Root
	self *os.File // for sync and lock
}

func (s *Store) openDir(dir string) (*folder, error) {
	root, err := s.root.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	self, err := root.Open(".")
	if err != nil {
		return nil, errors.Join(err, root.Close())
	}
	return &folder{root: root, self: self}, nil
}

func (d *folder) close() {
	_ = d.self.Close() // opened for reading: nothing can be lost
	_ = d.root.Close()
}

// makeDir is openDir for writing: missing folders are made, and made durable.
func (s *Store) makeDir(dir string) (*folder, error) {
	d, err := s.openDir(dir)
	if !errors.Is(err, fs.ErrNotExist) || dir == "." {
		return d, err
	}
	parent, err := s.makeDir(path.Dir(dir))
	if err != nil {
		return nil, err
	}
	defer parent.close()
	if err := parent.root.Mkdir(path.Base(dir), 0o777); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, err
	}
	if err := s.syncDir(parent); err != nil {
		return nil, err
	}
	return s.openDir(dir)
}

// Put implements [storage.Store].
func (s *Store) Put(ctx context.Context, p string, r io.Reader, opt storage.PutOptions) (storage.Info, error) {
	op := "writing " + s.Location(p)
	if err := errors.Join(check(ctx, p), opt.Validate()); err != nil {
		return storage.Info{}, problem.Wrap(err, "%s", op)
	}
	dir, err := s.makeDir(path.Dir(p))
	if err != nil {
		return storage.Info{}, classify(err, op)
	}
	defer dir.close()
	info, err := s.putIn(ctx, dir, p, r, opt)
	if err != nil {
		return storage.Info{}, classify(s.full(err), op)
	}
	return info, nil
}

func (s *Store) putIn(ctx context.Context, dir *folder, p string, r io.Reader, opt storage.PutOptions) (storage.Info, error) {
	base := path.Base(p)
	// An early look spares the work; the one that counts is in commit.
	if err := condition(dir, p, opt); err != nil {
		return storage.Info{}, err
	}
	tmp, err := newTemp(dir, base)
	if err != nil {
		return storage.Info{}, err
	}
	defer tmp.discard()
	src := storage.Bounded(ctx, r, s.cfg.MaxBytes)
	if _, err := io.Copy(tmp.file, struct{ io.Reader }{src}); err != nil {
		return storage.Info{}, err
	}
	if err := s.finish(tmp, base); err != nil {
		return storage.Info{}, err
	}
	if err := ctx.Err(); err != nil {
		return storage.Info{}, context.Cause(ctx)
	}
	if err := s.commit(ctx, tmp, p, opt); err != nil {
		return storage.Info{}, err
	}
	fi, err := tmp.file.Stat()
	if err != nil {
		return storage.Info{}, err
	}
	return infoOf(p, fi), s.syncDir(dir)
}

// finish gives the temporary file the mode of the file it will replace and a
// time of its own, and makes its bytes durable.
func (s *Store) finish(tmp *temp, base string) error {
	if old, err := tmp.dir.root.Lstat(base); err == nil && old.Mode().IsRegular() {
		keepOwner(tmp.file, old)
		if err := tmp.file.Chmod(old.Mode().Perm()); err != nil {
			return err
		}
	}
	now := time.Now()
	if err := tmp.dir.root.Chtimes(tmp.name, now, now); err != nil {
		return err
	}
	if s.cfg.NoSync || fault.On(fault.SkipFileSync) {
		return nil
	}
	return tmp.file.Sync()
}

// keepOwner gives a file that root rewrites back to whom it belonged. Anybody
// else may not, and need not: then the new file belongs to the writer.
func keepOwner(f *os.File, old fs.FileInfo) {
	st, ok := old.Sys().(*syscall.Stat_t)
	if ok && os.Geteuid() == 0 {
		_ = f.Chown(int(st.Uid), int(st.Gid)) // refused on some shared disks: the bytes matter more
	}
}

// commit puts the finished file in place. The folder's lock makes the check and
// the rename one step for all who write through this package, here and in other
// processes; IfNotExist needs no lock, since link never replaces.
func (s *Store) commit(ctx context.Context, tmp *temp, p string, opt storage.PutOptions) error {
	base := path.Base(p)
	unlock, err := s.lock(ctx, tmp.dir, path.Dir(p))
	if err != nil {
		return err
	}
	defer unlock()
	if err := condition(tmp.dir, p, opt); err != nil {
		return err
	}
	if opt.IfNotExist {
		err := tmp.placeNew(base)
		if errors.Is(err, fs.ErrExist) {
			return problem.New(problem.Exists, "it exists already")
		}
		return err
	}
	if err := tmp.dir.root.Rename(tmp.name, base); err != nil {
		return err
	}
	tmp.placed = true
	return nil
}

// condition checks opt against what is there now.
func condition(dir *folder, p string, opt storage.PutOptions) error {
	fi, err := dir.root.Lstat(path.Base(p))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if opt.IfMatch != "" {
			return problem.New(problem.Conflict, "it does not exist any more")
		}
		return nil
	case err != nil:
		return err
	case fi.IsDir():
		return problem.New(problem.Invalid, "it is a folder")
	case opt.IfNotExist:
		return problem.New(problem.Exists, "it exists already")
	case opt.IfMatch != "" && opt.IfMatch != infoOf(p, fi).ETag:
		return problem.New(problem.Conflict, "it changed since it was read")
	}
	return nil
}

func (s *Store) syncDir(dir *folder) error {
	if s.cfg.NoSync || fault.On(fault.SkipDirSync) {
		return nil
	}
	err := dir.self.Sync()
	if errors.Is(err, syscall.EINVAL) || errors.Is(err, syscall.ENOTSUP) {
		return nil // some shared disks cannot sync a folder, and make renames durable themselves
	}
	return err
}

// temp is the temporary file of one Put. It is locked for as long as its writer
// lives, so that others can tell it from one that a killed writer left.
type temp struct {
	dir    *folder
	name   string
	file   *os.File
	placed bool // it is the target now
}

// tempSlots bounds how many temporary files one path can have at once.
const tempSlots = 64

// newTemp makes a temporary file for base in dir, reusing the names of dead ones.
func newTemp(dir *folder, base string) (*temp, error) {
	sum := sha256.Sum256([]byte(base))
	for slot := range tempSlots {
		name := fmt.Sprintf("%s%x-%d", TempPrefix, sum[:8], slot)
		f, err := dir.root.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o666)
		if errors.Is(err, fs.ErrExist) {
			if !removeDead(dir, name) {
				continue
			}
			f, err = dir.root.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o666)
			if errors.Is(err, fs.ErrExist) {
				continue
			}
		}
		if err != nil {
			return nil, err
		}
		// Between making and locking it another writer may have taken it for dead.
		held := tryLock(f) != lockHeld
		if fi, err := f.Stat(); held && err == nil && links(fi) > 0 {
			return &temp{dir: dir, name: name, file: f}, nil
		}
		_ = f.Close()
	}
	return nil, problem.New(problem.Unavailable, "%d others are writing it at the same time", tempSlots)
}

// removeDead removes the temporary file of a writer that is gone, and says
// whether it did.
func removeDead(dir *folder, name string) bool {
	f, err := dir.root.OpenFile(name, os.O_RDWR|syscall.O_NONBLOCK|syscall.O_NOFOLLOW, 0)
	if err != nil {
		return errors.Is(err, fs.ErrNotExist)
	}
	defer func() { _ = f.Close() }()
	if tryLock(f) != lockTaken {
		return false
	}
	// The name may be somebody's new file by now: only the locked one may go.
	mine, err1 := f.Stat()
	named, err2 := dir.root.Lstat(name)
	if err1 != nil || err2 != nil || !os.SameFile(mine, named) {
		return false
	}
	return dir.root.Remove(name) == nil
}

func links(fi fs.FileInfo) uint64 {
	if st, ok := fi.Sys().(*syscall.Stat_t); ok {
		return uint64(st.Nlink) //nolint:unconvert // its type differs between systems
	}
	return 1
}

// placeNew gives the file the name base unless that exists. Linking is atomic
// everywhere; where a disk has no links, Linux can rename without replacing.
func (t *temp) placeNew(base string) error {
	err := t.dir.root.Link(t.name, base)
	switch {
	case err == nil:
		return nil // discard removes the other name
	case errors.Is(err, fs.ErrExist):
		return err
	}
	if renameErr := renameNoReplace(t.dir.self, t.name, base); renameErr != nil {
		return renameErr
	}
	t.placed = true
	return nil
}

// discard ends the temporary file: it is removed unless it became the target.
func (t *temp) discard() {
	if !t.placed {
		_ = t.dir.root.Remove(t.name) // what stays is found dead by the next writer
	}
	_ = t.file.Close() // its bytes were synced, or are not wanted
}

// Package local keeps files in a folder of this machine.
//
// A Put writes a temporary file beside its target, syncs it, puts it in place
// with one rename (or link, for IfNotExist) and syncs the folder; a writer that
// is killed leaves the old bytes and at most one temporary file, which the next
// Put of the same path removes. All access goes through [os.Root]: no path and no
// symbolic link leads out of the folder.
package local

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"mime"
	"os"
	"path"
	"path/filepath"
	"strings"
	"sync"
	"syscall"

	"quire/internal/problem"
	"quire/internal/storage"
)

// TempPrefix begins the names of temporary files. Such names are not listed and
// cannot be read or written through a Store.
const TempPrefix = ".quire-tmp-"

// Config says which folder to use.
type Config struct {
	// Dir is the folder; it must exist. It may be relative to the working
	// directory, and is resolved once, when the store is opened.
	Dir string
	// MaxBytes is the largest file that Put accepts; 0 means no limit but the disk's.
	MaxBytes int64
	// NoSync leaves out the syncs to disk: a power loss may then lose what was
	// acknowledged, though never tear it. For tests and caches.
	NoSync bool
}

// Store is a folder. It implements [storage.Store].
type Store struct {
	cfg  Config
	dir  string // absolute
	root *os.Root

	mu    sync.Mutex
	locks map[string]*pathLock // of the folders in use, by path
}

var _ storage.Store = (*Store)(nil)

// Open opens the folder. Kinds: NotFound, Denied, Invalid when it is no folder.
func Open(cfg Config) (*Store, error) {
	abs, err := filepath.Abs(cfg.Dir)
	if err != nil {
		return nil, problem.Wrap(err, "opening folder %s", cfg.Dir)
	}
	root, err := os.OpenRoot(abs)
	switch {
	case errors.Is(err, syscall.ENOTDIR):
		return nil, problem.New(problem.Invalid, "opening folder %s: it is not a folder", abs)
	case errors.Is(err, fs.ErrNotExist):
		return nil, problem.New(problem.NotFound, "folder %s doesn't exist", abs)
	case err != nil:
		return nil, classify(err, "opening folder "+abs)
	}
	return &Store{cfg: cfg, dir: abs, root: root, locks: map[string]*pathLock{}}, nil
}

// Location implements [storage.Store]: the absolute path of the file.
func (s *Store) Location(p string) string {
	return filepath.Join(s.dir, filepath.FromSlash(p))
}

// Close implements [storage.Store].
func (s *Store) Close() error {
	if err := s.root.Close(); err != nil && !errors.Is(err, fs.ErrClosed) {
		return problem.Wrap(err, "closing folder %s", s.dir)
	}
	return nil
}

// check is done first by every method.
func check(ctx context.Context, p string) error {
	if err := ctx.Err(); err != nil {
		return context.Cause(ctx)
	}
	if err := storage.ValidatePath(p); err != nil {
		return err
	}
	if isTemp(path.Base(p)) {
		return problem.New(problem.Invalid, "path %q: names that begin with %s are reserved", p, TempPrefix)
	}
	return nil
}

func isTemp(name string) bool { return strings.HasPrefix(name, TempPrefix) }

// Get implements [storage.Store].
func (s *Store) Get(ctx context.Context, p string, opt storage.GetOptions) (io.ReadCloser, storage.Info, error) {
	op := "reading " + s.Location(p)
	if err := errors.Join(check(ctx, p), opt.Validate()); err != nil {
		return nil, storage.Info{}, problem.Wrap(err, "%s", op)
	}
	f, fi, err := s.open(p)
	if err != nil {
		return nil, storage.Info{}, classify(err, op)
	}
	info := infoOf(p, fi)
	if opt.Offset > info.Size {
		return nil, storage.Info{}, errors.Join(problem.New(problem.Invalid,
			"%s: offset %d is past its end at %d", op, opt.Offset, info.Size), f.Close())
	}
	length := info.Size - opt.Offset
	if opt.Length > 0 {
		length = min(length, opt.Length)
	}
	// The open file is one complete Put for ever; the size is fixed, so that a
	// program which appends in place does not make the reader endless.
	return &reader{ctx: ctx, f: f, r: io.NewSectionReader(f, opt.Offset, length), op: op}, info, nil
}

// open opens a regular file for reading. O_NONBLOCK keeps a named pipe from
// blocking the open; it changes nothing for a regular file.
func (s *Store) open(p string) (*os.File, fs.FileInfo, error) {
	f, err := s.root.OpenFile(p, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, nil, err
	}
	fi, err := f.Stat()
	if err == nil {
		err = wantRegular(fi)
	}
	if err != nil {
		return nil, nil, errors.Join(err, f.Close())
	}
	return f, fi, nil
}

func wantRegular(fi fs.FileInfo) error {
	switch {
	case fi.IsDir():
		return problem.New(problem.NotFound, "it is a folder, not a file")
	case !fi.Mode().IsRegular():
		return problem.New(problem.Invalid, "it is not a regular file (%s)", fi.Mode().Type())
	}
	return nil
}

type reader struct {
	ctx context.Context // of the Get; the contract says that it covers the reading
	f   *os.File
	r   io.Reader
	op  string
}

func (r *reader) Read(b []byte) (int, error) {
	if r.ctx.Err() != nil {
		return 0, problem.Wrap(context.Cause(r.ctx), "%s", r.op)
	}
	n, err := r.r.Read(b)
	if err != nil && err != io.EOF { //nolint:errorlint // io.Reader's contract is the bare value
		err = classify(err, r.op)
	}
	return n, err
}

func (r *reader) Close() error { return r.f.Close() }

// Stat implements [storage.Store].
func (s *Store) Stat(ctx context.Context, p string) (storage.Info, error) {
	op := "looking at " + s.Location(p)
	if err := check(ctx, p); err != nil {
		return storage.Info{}, problem.Wrap(err, "%s", op)
	}
	fi, err := s.root.Stat(p)
	if err == nil {
		err = wantRegular(fi)
	}
	if err != nil {
		return storage.Info{}, classify(err, op)
	}
	return infoOf(p, fi), nil
}

// Delete implements [storage.Store]. Folders that become empty stay.
func (s *Store) Delete(ctx context.Context, p string) error {
	op := "deleting " + s.Location(p)
	if err := check(ctx, p); err != nil {
		return problem.Wrap(err, "%s", op)
	}
	dir, err := s.openDir(path.Dir(p))
	if missing(err) {
		return nil
	} else if err != nil {
		return classify(err, op)
	}
	defer dir.close()
	unlock, err := s.lock(ctx, dir, path.Dir(p))
	if err != nil {
		return problem.Wrap(err, "%s", op)
	}
	defer unlock()
	fi, err := dir.root.Lstat(path.Base(p))
	if err == nil && fi.IsDir() {
		err = wantRegular(fi)
	}
	if err == nil {
		err = dir.root.Remove(path.Base(p))
	}
	if missing(err) {
		return nil
	} else if err != nil {
		return classify(err, op)
	}
	return classify(s.syncDir(dir), op)
}

// missing says that no file of the name exists, or can: a file where a folder
// would have to be leaves no room for it.
func missing(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR)
}

// Copy implements [storage.Store].
func (s *Store) Copy(ctx context.Context, dst, src string, opt storage.PutOptions) (info storage.Info, err error) {
	r, _, err := s.Get(ctx, src, storage.GetOptions{})
	if err != nil {
		return storage.Info{}, err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	return s.Put(ctx, dst, r, opt)
}

// infoOf makes the ETag of size, time and inode. Put gives every file a time in
// nanoseconds of its own, so a tag does not come back when an inode does.
func infoOf(p string, fi fs.FileInfo) storage.Info {
	return storage.Info{
		Path:        p,
		Size:        fi.Size(),
		ModTime:     fi.ModTime().UTC(),
		ETag:        fmt.Sprintf("%x-%x-%x", fi.ModTime().UnixNano(), fi.Size(), inode(fi)),
		ContentType: contentType(p),
	}
}

func inode(fi fs.FileInfo) uint64 {
	if st, ok := fi.Sys().(*syscall.Stat_t); ok {
		return st.Ino
	}
	return 0
}

// contentType knows notebooks and what the standard library has built in; the
// machine's own tables, which differ from one to the next, are not asked.
func contentType(p string) string {
	ext := strings.ToLower(path.Ext(p))
	switch ext {
	case ".ipynb":
		return "application/x-ipynb+json"
	case "":
		return ""
	}
	return mime.TypeByExtension(ext)
}

package engine

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"syscall"

	"github.com/google/uuid"

	"quire/internal/notebook"
	"quire/internal/problem"
	"quire/internal/storage"
)

// A target is where a whole notebook is put.
type target interface {
	// put replaces the stored notebook, atomically, and returns its size. The
	// first put of a write-once target fails when something is there.
	put(ctx context.Context, nb *notebook.Notebook) (int64, error)
	location() string
}

// fileKind classifies an error of the file system.
func fileKind(err error) problem.Kind {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return problem.NotFound
	case errors.Is(err, fs.ErrExist):
		return problem.Exists
	case errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.EROFS):
		return problem.Denied
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT), errors.Is(err, syscall.EIO):
		return problem.Unavailable
	case errors.Is(err, syscall.EFBIG), errors.Is(err, syscall.ENAMETOOLONG):
		return problem.TooLarge
	}
	return problem.Internal
}

// A fileTarget is a local file.
type fileTarget struct {
	path      string // as the user typed it
	real      string // links followed
	writeOnce bool
	made      bool // write-once: we made it
}

func (t *fileTarget) location() string { return t.path }

// resolve follows links, so that replacing the file keeps them.
func (t *fileTarget) resolve() string {
	if t.real == "" {
		t.real = t.path
		if p, err := filepath.EvalSymlinks(t.path); err == nil {
			t.real = p
		}
	}
	return t.real
}

func (t *fileTarget) put(_ context.Context, nb *notebook.Notebook) (int64, error) {
	path := t.resolve()
	dir := filepath.Dir(path)
	if st, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) || err == nil && !st.IsDir() {
		return 0, problem.New(problem.NotFound, "output folder %s doesn't exist.", dir)
	}
	mode := os.FileMode(0o666)
	if st, err := os.Lstat(path); err == nil {
		switch {
		case st.IsDir():
			return 0, problem.New(problem.Invalid, "output %s is a folder", t.path)
		case t.writeOnce && !t.made:
			return 0, problem.New(problem.Exists, "output %s exists already and is to be written once", t.path)
		case !st.Mode().IsRegular():
			return t.putThrough(path, nb)
		}
		mode = st.Mode().Perm()
	}
	n, err := t.replace(path, mode, nb)
	if err != nil {
		return 0, problem.WrapAs(fileKind(err), err, "writing %s", t.path)
	}
	t.made = true
	return n, nil
}

// replace writes a temporary file in the same folder, syncs it and renames it:
// a reader sees the old bytes or the new ones, and a full disk keeps the old.
func (t *fileTarget) replace(path string, mode os.FileMode, nb *notebook.Notebook) (n int64, err error) {
	dir, name := filepath.Split(path)
	if len(name) > 200 {
		name = name[:200]
	}
	tmp := filepath.Join(dir, "."+name+".quire-tmp-"+strconv.Itoa(os.Getpid())+"-"+uuid.NewString()[:8])
	f, err := os.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return 0, err
	}
	defer func() {
		if err != nil {
			_ = f.Close()
			_ = os.Remove(tmp)
		}
	}()
	w := &counter{w: f}
	bw := bufio.NewWriterSize(w, 256<<10)
	if err := nb.Write(bw); err != nil {
		return 0, err
	}
	if err := bw.Flush(); err != nil {
		return 0, err
	}
	if err := f.Sync(); err != nil {
		return 0, err
	}
	if err := f.Close(); err != nil {
		return 0, err
	}
	if t.writeOnce && !t.made {
		// A link fails when the name is taken, as a rename would not.
		if err := os.Link(tmp, path); err != nil {
			return 0, err
		}
		_ = os.Remove(tmp)
	} else if err := os.Rename(tmp, path); err != nil {
		return 0, err
	}
	syncDir(dir)
	return w.n, nil
}

// putThrough writes to what is not a file: a device or a named pipe.
func (t *fileTarget) putThrough(path string, nb *notebook.Notebook) (int64, error) {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return 0, problem.WrapAs(fileKind(err), err, "writing %s", t.path)
	}
	w := &counter{w: f}
	err = nb.Write(w)
	if closed := f.Close(); err == nil {
		err = closed
	}
	if err != nil {
		return 0, problem.WrapAs(fileKind(err), err, "writing %s", t.path)
	}
	return w.n, nil
}

// syncDir makes a rename survive a loss of power. Some file systems cannot sync
// a folder; the rename is done all the same.
func syncDir(dir string) {
	if dir == "" {
		dir = "."
	}
	d, err := os.Open(dir)
	if err != nil {
		return
	}
	_ = d.Sync()
	_ = d.Close()
}

// A counter counts what passes to a writer.
type counter struct {
	w io.Writer
	n int64
}

func (c *counter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += int64(n)
	return n, err
}

// A storeTarget is a path in an object store.
type storeTarget struct {
	store     storage.Store
	path      string
	writeOnce bool
	etag      string // of what we put last; write-once only
}

func (t *storeTarget) location() string { return t.store.Location(t.path) }

// put stores the notebook in one piece. A write-once target is reserved by the
// first put, and every later one replaces only what this run has put: two
// writers cannot both think that the path is theirs.
func (t *storeTarget) put(ctx context.Context, nb *notebook.Notebook) (int64, error) {
	data, err := nb.Bytes()
	if err != nil {
		return 0, err
	}
	opt := storage.PutOptions{ContentType: "application/x-ipynb+json"}
	if t.writeOnce {
		opt.IfMatch = t.etag
		opt.IfNotExist = t.etag == ""
	}
	info, err := t.store.Put(ctx, t.path, bytes.NewReader(data), opt)
	if err != nil {
		if problem.Is(err, problem.Exists) && t.writeOnce {
			return 0, problem.New(problem.Exists, "output %s exists already and is to be written once", t.location())
		}
		return 0, problem.Wrap(err, "writing %s", t.location())
	}
	t.etag = info.ETag
	return int64(len(data)), nil
}

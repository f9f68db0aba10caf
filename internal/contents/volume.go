package contents

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"quire/internal/auth"
	"quire/internal/problem"
	"quire/internal/storage"
)

// A Config says where a volume is and what it may hold.
type Config struct {
	// Dir is the volume's directory on a disk; it is made when it is not there.
	Dir string
	// Blobs keeps the bytes of versions.
	Blobs *Blobs
	// Versions keeps the records of versions.
	Versions VersionStore
	// Trust remembers what users have run or saved; nil trusts nothing.
	Trust TrustStore
	// Mounts are stores shown read-only under mounts/<name>/.
	Mounts map[string]storage.Store
	// Homes are workspaces that lie elsewhere: users' names and the directories,
	// absolute and there already, that are shown as users/<name>/.
	Homes map[string]string
	// Shared is the shared folder where it lies elsewhere, in the same way; "" is shared
	// below Dir.
	Shared string
	// MaxFileBytes is the largest file that may be saved; 0 is 1 GiB.
	MaxFileBytes int64
	// QuotaBytes is how much one workspace may hold on the volume, its trash
	// included; 0 is no limit.
	QuotaBytes int64
	// Room, when not nil, says why nothing new is taken now: the disk is full. It
	// is asked before each save.
	Room func() error
	// Now is the clock; time.Now when nil.
	Now func() time.Time
	// Log gets what nobody waits for; it may be nil.
	Log *slog.Logger
}

const defaultMaxFile = 1 << 30

// versioned is the largest file other than a notebook whose saves are kept as
// versions, in bytes. Notebooks are always versioned.
const versioned = 16 << 20

// A Volume is the workspaces of all users. It is safe for concurrent use.
type Volume struct {
	cfg     Config
	tree    *tree
	locks   pathLocks
	cache   listCache
	usage   usageCache
	changes changeHub
	moves   moveHub
	seen    seenVersions
	uploads uploads
	mounted mountIndex
}

// Open opens a volume and finishes the saves that a server before this one
// acknowledged and did not live to write. The caller closes it.
func Open(ctx context.Context, cfg Config) (*Volume, error) {
	if cfg.MaxFileBytes == 0 {
		cfg.MaxFileBytes = defaultMaxFile
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	for _, dir := range []string{"users", "shared"} {
		if err := os.MkdirAll(filepath.Join(cfg.Dir, dir), 0o755); err != nil {
			return nil, disk(err, "making the volume %s", cfg.Dir)
		}
	}
	t, err := openTree(cfg.Dir)
	if err != nil {
		return nil, err
	}
	if err := t.openHomes(cfg.Homes, cfg.Shared); err != nil {
		return nil, err
	}
	v := &Volume{cfg: cfg, tree: t}
	v.mounted.start()
	// What was being sent when a server before this one ended does not come back.
	if err := errors.Join(t.removeAll(uploadDir), t.mkdir(uploadDir), v.recover(ctx)); err != nil {
		return nil, errors.Join(err, v.Close())
	}
	return v, nil
}

// Close releases the volume. Files still open stay readable.
func (v *Volume) Close() error {
	v.cache.close()
	v.mounted.close()
	v.changes.close()
	return v.tree.close()
}

// AddWorkspace makes users/<name>/ when it is not there.
func (v *Volume) AddWorkspace(name string) error {
	if !auth.ValidName(name) {
		return problem.New(problem.Invalid, "%q cannot be a user's name: want 1 to 63 lower-case letters, digits, - and _", name)
	}
	err := v.tree.mkdirRoot("users/" + name)
	if problem.Is(err, problem.Exists) {
		return nil
	}
	return err
}

// Stat describes what is at path.
func (v *Volume) Stat(ctx context.Context, u auth.User, path string) (Entry, error) {
	path, err := v.check(u, auth.Read, path)
	if err != nil {
		return Entry{}, err
	}
	if store, below, ok := v.mount(path); ok {
		return statMount(ctx, store, path, below)
	}
	if path == "mounts" {
		return Entry{Name: "mounts", Path: "mounts", Type: Directory}, nil
	}
	info, err := v.tree.stat(path)
	if err != nil {
		return Entry{}, err
	}
	e := newEntry(path, info)
	e.Writable = auth.Allow(u, auth.Write, auth.FileAt(path)) == nil
	if e.Type == Notebook {
		head, err := v.current(ctx, path)
		if err != nil {
			return Entry{}, err
		}
		e.Version, e.Hash = head.Version.Number, head.Version.Hash
	}
	return e, nil
}

// Read opens a file. The entry is that of the bytes that are read. The caller
// closes the reader.
func (v *Volume) Read(ctx context.Context, u auth.User, path string) (Entry, io.ReadSeekCloser, error) {
	path, err := v.check(u, auth.Read, path)
	if err != nil {
		return Entry{}, nil, err
	}
	if store, below, ok := v.mount(path); ok {
		return readMount(ctx, store, path, below)
	}
	unlock := v.locks.lock(path)
	defer unlock()
	file, info, err := v.tree.open(path)
	if err != nil {
		return Entry{}, nil, err
	}
	e := newEntry(path, info)
	e.Writable = auth.Allow(u, auth.Write, auth.FileAt(path)) == nil
	if e.Type == Notebook {
		head, err := v.notice(ctx, path)
		if err != nil {
			return Entry{}, nil, errors.Join(err, file.Close())
		}
		e.Version, e.Hash = head.Version.Number, head.Version.Hash
	}
	return e, file, nil
}

// check cleans path and asks whether u may do verb there.
func (v *Volume) check(u auth.User, verb auth.Verb, path string) (string, error) {
	path, err := CleanPath(path)
	if err != nil {
		return "", err
	}
	return path, auth.Allow(u, verb, auth.FileAt(path))
}

// checkWrite is check for writing a thing of its own: not a workspace itself.
func (v *Volume) checkWrite(u auth.User, path string) (string, error) {
	path, err := v.check(u, auth.Write, path)
	if err != nil {
		return "", err
	}
	if _, rest := place(path); rest == "" {
		return "", problem.New(problem.Denied, "%s is a workspace: it is not changed here", orRoot(path))
	}
	return path, nil
}

func orRoot(path string) string {
	if path == "" {
		return "the volume"
	}
	return path
}

// pathLocks holds a lock for each path that somebody works on.
type pathLocks struct {
	mu    sync.Mutex
	locks map[string]*pathLock
}

type pathLock struct {
	sync.Mutex
	users int
}

// lock waits for the lock of path and returns what gives it back.
func (l *pathLocks) lock(path string) func() {
	l.mu.Lock()
	if l.locks == nil {
		l.locks = map[string]*pathLock{}
	}
	p := l.locks[path]
	if p == nil {
		p = &pathLock{}
		l.locks[path] = p
	}
	p.users++
	l.mu.Unlock()
	p.Lock()
	return func() {
		p.Unlock()
		l.mu.Lock()
		defer l.mu.Unlock()
		if p.users--; p.users == 0 {
			delete(l.locks, path)
		}
	}
}

// now is the time as it is kept: in UTC, in microseconds.
func (v *Volume) now() time.Time { return v.cfg.Now().UTC().Truncate(time.Microsecond) }

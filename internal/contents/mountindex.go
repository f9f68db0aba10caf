package contents

import (
	"context"
	"slices"
	"sync"
	"time"

	"quire/internal/problem"
	"quire/internal/storage"
)

// A folder of an object store is listed a thousand objects at a time, by name
// only. So that a large one can be sorted, filtered and opened at once, its
// entries are kept for a while; a page says how old they are.
const (
	indexFresh = time.Minute      // younger ones are shown and nothing is asked
	indexLife  = time.Hour        // older ones are read again before they are shown
	indexMost  = 1_000_000        // entries of one folder; larger ones are not kept
	indexTotal = 2 * indexMost    // entries of all folders together
	indexWait  = 10 * time.Minute // the longest that a folder is read in the background
)

// mountIndex keeps the entries of folders of mounts.
type mountIndex struct {
	mu      sync.Mutex
	folders map[string]*mountFolder // by path on the volume
	ctx     context.Context         //nolint:containedctx // ends the reading when the volume is closed
	stop    context.CancelFunc
	done    sync.WaitGroup
}

// A mountFolder is what is kept of one folder.
type mountFolder struct {
	entries []Entry   // by name; nil when nothing was read yet
	at      time.Time // when the reading began
	used    time.Time
	reading chan struct{} // closed when the reading that goes on ends; nil when none does
	err     error         // of the last reading
}

func (x *mountIndex) start() {
	x.folders = map[string]*mountFolder{}
	x.ctx, x.stop = context.WithCancel(context.Background())
}

func (x *mountIndex) close() {
	x.mu.Lock()
	if x.stop != nil {
		x.stop()
	}
	x.mu.Unlock()
	x.done.Wait()
}

// folder returns the entries of a folder and when they were read; ok is false
// when it has not been read within indexLife. Old entries are read again in the
// background, for the next who asks.
func (v *Volume) folder(store storage.Store, path, below string) (entries []Entry, at time.Time, ok bool) {
	x, now := &v.mounted, v.cfg.Now()
	x.mu.Lock()
	defer x.mu.Unlock()
	f := x.folders[path]
	if f == nil || f.entries == nil || now.Sub(f.at) > indexLife {
		return nil, time.Time{}, false
	}
	f.used = now
	if now.Sub(f.at) > indexFresh {
		x.read(v, f, store, path, below)
	}
	return f.entries, f.at, true
}

// learn begins to read a folder in the background, unless somebody does.
func (v *Volume) learn(store storage.Store, path, below string) *mountFolder {
	x := &v.mounted
	x.mu.Lock()
	defer x.mu.Unlock()
	f := x.folders[path]
	if f == nil {
		f = &mountFolder{used: v.cfg.Now()}
		x.folders[path] = f
	}
	x.read(v, f, store, path, below)
	return f
}

// read reads a folder in a goroutine of its own; the caller holds the lock.
func (x *mountIndex) read(v *Volume, f *mountFolder, store storage.Store, path, below string) {
	if f.reading != nil || x.ctx.Err() != nil {
		return
	}
	done, at := make(chan struct{}), v.cfg.Now()
	f.reading = done
	x.done.Go(func() {
		ctx, cancel := context.WithTimeout(x.ctx, indexWait)
		defer cancel()
		entries, err := readFolder(ctx, store, path, below)
		x.mu.Lock()
		defer x.mu.Unlock()
		f.reading, f.err = nil, err
		if err == nil {
			f.entries, f.at = entries, at
			x.makeRoom(path)
		}
		close(done)
	})
}

// wait returns when a folder has been read, with its entries.
func (x *mountIndex) wait(ctx context.Context, f *mountFolder) ([]Entry, time.Time, error) {
	x.mu.Lock()
	reading := f.reading
	x.mu.Unlock()
	if reading != nil {
		select {
		case <-ctx.Done():
			return nil, time.Time{}, context.Cause(ctx)
		case <-reading:
		}
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	return f.entries, f.at, f.err
}

// makeRoom forgets the folders that nobody asked for longest, but not path, as
// long as all together are too large. The caller holds the lock.
func (x *mountIndex) makeRoom(path string) {
	total := 0
	for _, f := range x.folders {
		total += len(f.entries)
	}
	for total > indexTotal || len(x.folders) > maxWatched {
		oldest := ""
		for p, f := range x.folders {
			if p != path && f.reading == nil && (oldest == "" || f.used.Before(x.folders[oldest].used)) {
				oldest = p
			}
		}
		if oldest == "" {
			return
		}
		total -= len(x.folders[oldest].entries)
		delete(x.folders, oldest)
	}
}

// readFolder reads all entries of a folder, ordered by name.
func readFolder(ctx context.Context, store storage.Store, path, below string) ([]Entry, error) {
	entries, token := []Entry{}, ""
	for {
		page, err := store.List(ctx, storage.ListOptions{Prefix: below, Token: token})
		if err != nil {
			return nil, err
		}
		entries = appendMounted(entries, path, page.Entries)
		if len(entries) > indexMost {
			return nil, problem.New(problem.TooLarge, "%s has more than %d entries: name a folder further down", path, indexMost)
		}
		if token = page.Next; token == "" {
			break
		}
	}
	slices.SortFunc(entries, orderOf(ByName))
	return entries, nil
}

func appendMounted(entries []Entry, path string, found []storage.Entry) []Entry {
	for _, s := range found {
		if _, name := split(s.Path); checkName(name) == nil {
			entries = append(entries, mountEntry(join(path, name), s))
		}
	}
	return entries
}

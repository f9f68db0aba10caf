package contents

import (
	"cmp"
	"context"
	"encoding/base64"
	"encoding/json"
	"io/fs"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/fsnotify/fsnotify"

	"quire/internal/auth"
	"quire/internal/problem"
)

// A Sort is an order of a listing; directories come first in each.
type Sort string

// The orders.
const (
	ByName     Sort = "name"     // the default
	ByModified Sort = "modified" // newest first
	BySize     Sort = "size"     // largest first
)

// ListOptions chooses what List returns.
type ListOptions struct {
	Sort   Sort
	Filter string // entries whose names hold this, letter case aside
	Since  time.Time
	Limit  int    // the most entries of a page; 0 is all
	Cursor string // Next of the page before, with the same Sort and Filter
}

// A Page is one page of a directory.
type Page struct {
	Entries []Entry
	Next    string // "" on the last page
	Total   int    // entries that the filter lets through; -1 when not counted
	// Read is when the folder of an object store was read, which may be up to an
	// hour ago; zero when the entries are those of this moment.
	Read time.Time
}

// List lists a directory. Hidden files, links that lead out, pipes and sockets
// are left out.
func (v *Volume) List(ctx context.Context, u auth.User, path string, opt ListOptions) (Page, error) {
	path, err := v.check(u, auth.Read, path)
	if err != nil {
		return Page{}, err
	}
	if store, below, ok := v.mount(path); ok {
		return v.listMount(ctx, store, path, below, opt)
	}
	entries, err := v.entries(path)
	if err != nil {
		return Page{}, err
	}
	page, err := pageOf(entries, opt)
	if err != nil {
		return Page{}, err
	}
	for i := range page.Entries {
		e := &page.Entries[i]
		e.Writable = auth.Allow(u, auth.Write, auth.FileAt(e.Path)) == nil
	}
	return page, nil
}

// ListTag names the state of a directory as List would show it: as long as it
// is the same, so is what List returns. ok is false when nothing is known of the
// directory without reading it.
func (v *Volume) ListTag(u auth.User, path string) (tag string, ok bool) {
	path, err := v.check(u, auth.Read, path)
	if err != nil {
		return "", false
	}
	if _, _, mounted := v.mount(path); mounted {
		return "", false
	}
	return v.cache.tag(path)
}

// pageOf cuts one page out of all entries of a directory, which are ordered by
// name. The page's entries are its own.
func pageOf(entries []Entry, opt ListOptions) (Page, error) {
	entries = filter(entries, opt)
	at := sorted(entries, opt.Sort)
	page := Page{Total: len(entries)}
	if opt.Cursor != "" {
		last, err := decodeCursor(opt.Cursor)
		if err != nil {
			return Page{}, err
		}
		order := orderOf(opt.Sort)
		from, found := slices.BinarySearchFunc(at, last, func(i int32, last Entry) int { return order(entries[i], last) })
		if found {
			from++
		}
		at = at[from:]
	}
	if opt.Limit > 0 && len(at) > opt.Limit {
		at = at[:opt.Limit]
		page.Next = encodeCursor(entries[at[len(at)-1]])
	}
	page.Entries = make([]Entry, len(at))
	for i, n := range at {
		page.Entries[i] = entries[n]
	}
	return page, nil
}

// sorted returns the places of entries, which are ordered by name, in another
// order: that of orderOf, without comparing names and without moving entries, so
// that a folder of 100,000 is sorted in some milliseconds.
func sorted(entries []Entry, by Sort) []int32 {
	type key struct {
		rank  int8 // directories first
		large int64
		small int64
		at    int32 // two that are equal stay ordered by name
	}
	keys := make([]key, len(entries))
	for i := range entries {
		e, k := &entries[i], key{at: int32(i)}
		if e.Type != Directory {
			k.rank = 1
		}
		switch by {
		case ByModified:
			k.large, k.small = -e.Modified.Unix(), -int64(e.Modified.Nanosecond())
		case BySize:
			k.large = -e.Size
		}
		keys[i] = k
	}
	if by == ByModified || by == BySize {
		slices.SortFunc(keys, func(a, b key) int {
			return cmp.Or(cmp.Compare(a.rank, b.rank), cmp.Compare(a.large, b.large), cmp.Compare(a.small, b.small), cmp.Compare(a.at, b.at))
		})
	}
	at := make([]int32, len(keys))
	for i := range keys {
		at[i] = keys[i].at
	}
	return at
}

// entries returns all that a directory shows, ordered by name. The result is
// shared: it must not be changed.
func (v *Volume) entries(path string) ([]Entry, error) {
	if path == "mounts" {
		return v.mountEntries(), nil
	}
	if entries, ok := v.cache.get(path); ok {
		return entries, nil
	}
	done := v.cache.begin(path, v.diskPath(path))
	found, _, err := v.tree.readDir(path)
	if err != nil {
		done(nil, false)
		return nil, err
	}
	entries := make([]Entry, 0, len(found))
	for _, d := range found {
		if e, ok := v.describe(path, d); ok {
			entries = append(entries, e)
		}
	}
	if path == "" && len(v.cfg.Mounts) > 0 {
		entries = append(entries, Entry{Name: "mounts", Path: "mounts", Type: Directory})
	}
	slices.SortFunc(entries, orderOf(ByName))
	done(entries, true)
	return entries, nil
}

// describe returns the entry of one name in a directory; ok is false for what
// is not shown.
func (v *Volume) describe(dir string, d fs.DirEntry) (Entry, bool) {
	if checkName(d.Name()) != nil {
		return Entry{}, false
	}
	path := join(dir, d.Name())
	if d.Type()&fs.ModeSymlink != 0 {
		info, err := v.tree.stat(path) // fails for links that are broken or lead out
		if err != nil {
			return Entry{}, false
		}
		return newEntry(path, info), true
	}
	if !d.IsDir() && !d.Type().IsRegular() {
		return Entry{}, false
	}
	info, err := d.Info()
	if err != nil {
		return Entry{}, false // gone since
	}
	return newEntry(path, info), true
}

func filter(entries []Entry, opt ListOptions) []Entry {
	if opt.Filter == "" && opt.Since.IsZero() {
		return entries
	}
	want := strings.ToLower(opt.Filter)
	var kept []Entry
	for _, e := range entries {
		if strings.Contains(strings.ToLower(e.Name), want) && !e.Modified.Before(opt.Since) {
			kept = append(kept, e)
		}
	}
	return kept
}

// orderOf returns a total order: no two entries of a directory are equal in it.
func orderOf(s Sort) func(a, b Entry) int {
	return func(a, b Entry) int {
		if a.Type != b.Type && (a.Type == Directory || b.Type == Directory) {
			if a.Type == Directory {
				return -1
			}
			return 1
		}
		switch s {
		case ByModified:
			if c := b.Modified.Compare(a.Modified); c != 0 {
				return c
			}
		case BySize:
			if c := cmp.Compare(b.Size, a.Size); c != 0 {
				return c
			}
		}
		if c := strings.Compare(strings.ToLower(a.Name), strings.ToLower(b.Name)); c != 0 {
			return c
		}
		return strings.Compare(a.Name, b.Name)
	}
}

// A cursor is the last entry of a page, as far as the orders look at it.
type cursor struct {
	Name     string    `json:"n"`
	Dir      bool      `json:"d,omitempty"`
	Modified time.Time `json:"m"`
	Size     int64     `json:"s,omitempty"`
}

func encodeCursor(e Entry) string {
	data, _ := json.Marshal(cursor{Name: e.Name, Dir: e.Type == Directory, Modified: e.Modified, Size: e.Size})
	return base64.RawURLEncoding.EncodeToString(data)
}

func decodeCursor(s string) (Entry, error) {
	var c cursor
	data, err := base64.RawURLEncoding.DecodeString(s)
	if err == nil {
		err = json.Unmarshal(data, &c)
	}
	if err != nil {
		return Entry{}, problem.New(problem.Invalid, "the cursor %.40q was not given by this server: begin at the first page", s)
	}
	return Entry{Name: c.Name, Type: typeOf(c.Name, c.Dir), Modified: c.Modified, Size: c.Size}, nil
}

// listCache keeps listings of directories for as long as the operating system
// says that nothing in them changed. Where it cannot watch a directory, nothing
// is kept.
type listCache struct {
	once    sync.Once
	mu      sync.Mutex
	watcher *fsnotify.Watcher
	dirs    map[string]*listing // by the path on the disk
	paths   map[string]string   // from the volume's path to that on the disk
}

type listing struct {
	entries []Entry
	valid   bool
	epoch   int // one more at each change
}

// maxWatched is how many directories are watched at most.
const maxWatched = 1024

func (c *listCache) start() {
	c.mu.Lock() // who changes something before the first listing looks here too
	defer c.mu.Unlock()
	c.dirs, c.paths = map[string]*listing{}, map[string]string{}
	w, err := fsnotify.NewBufferedWatcher(64)
	if err != nil {
		return
	}
	c.watcher = w
	go func() {
		for {
			select {
			case event, ok := <-w.Events:
				if !ok {
					return
				}
				c.drop(event.Name)
			case _, ok := <-w.Errors:
				if !ok {
					return
				}
				c.dropAll() // events were lost
			}
		}
	}()
}

func (c *listCache) get(path string) ([]Entry, bool) {
	c.once.Do(c.start)
	c.mu.Lock()
	defer c.mu.Unlock()
	l := c.dirs[c.paths[path]]
	if l == nil || !l.valid {
		return nil, false
	}
	return l.entries, true
}

// tag names the listing that get would return.
func (c *listCache) tag(path string) (string, bool) {
	c.once.Do(c.start)
	c.mu.Lock()
	defer c.mu.Unlock()
	l := c.dirs[c.paths[path]]
	if l == nil || !l.valid {
		return "", false
	}
	return strconv.Itoa(l.epoch), true
}

// begin watches a directory before it is read. The result is called with what
// was read; it is kept only when nothing changed meanwhile.
func (c *listCache) begin(path, disk string) func([]Entry, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	l := c.dirs[disk]
	if l == nil {
		if c.watcher == nil || len(c.dirs) >= maxWatched || c.watcher.Add(disk) != nil {
			return func([]Entry, bool) {}
		}
		l = &listing{}
		c.dirs[disk], c.paths[path] = l, disk
	}
	epoch := l.epoch
	return func(entries []Entry, ok bool) {
		c.mu.Lock()
		defer c.mu.Unlock()
		if ok && l.epoch == epoch {
			l.entries, l.valid = entries, true
		}
	}
}

// drop forgets the listing that holds the file or directory name.
func (c *listCache) drop(name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, dir := range []string{name, parentOf(name)} {
		if l := c.dirs[dir]; l != nil {
			l.valid, l.entries, l.epoch = false, nil, l.epoch+1
		}
	}
}

func (c *listCache) dropAll() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, l := range c.dirs {
		l.valid, l.entries, l.epoch = false, nil, l.epoch+1
	}
}

func (c *listCache) close() {
	c.once.Do(c.start)
	if c.watcher != nil {
		_ = c.watcher.Close()
	}
}

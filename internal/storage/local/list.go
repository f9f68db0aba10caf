package local

import (
	"container/heap"
	"context"
	"encoding/base64"
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"sort"
	"strings"

	"quire/internal/problem"
	"quire/internal/storage"
)

// List implements [storage.Store]. Links are followed where they stay inside the
// folder, except that a recursive listing does not walk through linked folders.
// Empty folders are listed too.
func (s *Store) List(ctx context.Context, opt storage.ListOptions) (storage.Page, error) {
	op := "listing " + s.Location(opt.Prefix)
	if err := errors.Join(ctx.Err(), opt.Validate()); err != nil {
		return storage.Page{}, problem.Wrap(err, "%s", op)
	}
	after, err := decodeToken(opt)
	if err != nil {
		return storage.Page{}, problem.Wrap(err, "%s", op)
	}
	l := lister{ctx: ctx, store: s, opt: opt, after: after, limit: opt.PageSize()}
	dir, namePrefix := path.Split(opt.Prefix)
	if err := l.folder(strings.TrimSuffix(dir, "/"), namePrefix, 0); err != nil && !missing(err) {
		return storage.Page{}, classify(err, op)
	}
	if len(l.page.Entries) > l.limit {
		l.page.Entries = l.page.Entries[:l.limit]
		l.page.Next = base64.RawURLEncoding.EncodeToString([]byte(sortKey(l.page.Entries[l.limit-1])))
	}
	return l.page, nil
}

func sortKey(e storage.Entry) string {
	if e.Dir {
		return e.Path + "/"
	}
	return e.Path
}

func decodeToken(opt storage.ListOptions) (string, error) {
	if opt.Token == "" {
		return "", nil
	}
	key, err := base64.RawURLEncoding.DecodeString(opt.Token)
	if err != nil || len(key) > storage.MaxPathBytes+1 || !strings.HasPrefix(string(key), opt.Prefix) {
		return "", problem.New(problem.Invalid, "page token %.40q is not one of this listing", opt.Token)
	}
	return string(key), nil
}

// maxDepth bounds a recursive listing; a path of MaxPathBytes cannot be deeper.
const maxDepth = storage.MaxPathBytes / 2

// lister collects one page, and one entry more when there is a next page.
type lister struct {
	ctx   context.Context // of the one List that it lives for
	store *Store
	opt   storage.ListOptions
	after string // the sort key of the last entry of the page before
	limit int
	page  storage.Page
}

func (l *lister) full() bool { return len(l.page.Entries) > l.limit }

// folder adds what dir holds, beginning with namePrefix, after the token.
func (l *lister) folder(dir, namePrefix string, depth int) error {
	if depth > maxDepth {
		return nil
	}
	at := ""
	if dir != "" {
		at = dir + "/"
	}
	// Some of the chosen names may fall out again (links to nowhere, pipes), so
	// go on from the last one until the page is full or the folder is done.
	for after := l.after; !l.full(); {
		want := l.limit + 1 - len(l.page.Entries)
		names, err := l.names(dir, at, namePrefix, after, want)
		if err != nil {
			return err
		}
		for _, n := range names {
			if err := l.add(n, depth); err != nil {
				return err
			}
			if l.full() {
				return nil
			}
		}
		if len(names) < want {
			return nil
		}
		after = names[len(names)-1].key
	}
	return nil
}

type name struct {
	key  string // the path, with a slash at the end of a folder's
	path string
	dir  bool
}

// add adds one name of a folder: its entry, or in a recursive listing what is in it.
func (l *lister) add(n name, depth int) error {
	if err := l.ctx.Err(); err != nil {
		return context.Cause(l.ctx)
	}
	if n.dir && l.opt.Recursive {
		err := l.folder(n.path, "", depth+1)
		if missing(err) || errors.Is(err, fs.ErrPermission) && depth > 0 {
			return nil // gone meanwhile; or closed to us, deep inside what was asked for
		}
		return err
	}
	if n.dir {
		l.page.Entries = append(l.page.Entries, storage.Entry{Info: storage.Info{Path: n.path}, Dir: true})
		return nil
	}
	fi, err := l.store.root.Stat(n.path)
	if err != nil || !fi.Mode().IsRegular() {
		return nil //nolint:nilerr // gone meanwhile, a link to nowhere or outside, a pipe: no file to list
	}
	l.page.Entries = append(l.page.Entries, storage.Entry{Info: infoOf(n.path, fi)})
	return nil
}

// names returns the first want names of dir, sorted, whose keys come after after.
// It looks at every name of the folder but keeps only want of them.
func (l *lister) names(dir, at, namePrefix, after string, want int) ([]name, error) {
	open := dir
	if open == "" {
		open = "."
	}
	f, err := l.store.root.OpenFile(open, os.O_RDONLY, 0)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	var best maxHeap
	for {
		if l.ctx.Err() != nil {
			return nil, context.Cause(l.ctx)
		}
		entries, err := f.ReadDir(1024)
		for _, e := range entries {
			if n, ok := l.name(at, e, namePrefix, after); ok {
				best.keep(n, want)
			}
		}
		if errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return nil, err
		}
	}
	sort.Slice(best, func(i, j int) bool { return best[i].key < best[j].key })
	return best, nil
}

// name turns a directory entry into a name, unless it is none of this page's.
func (l *lister) name(at string, e fs.DirEntry, namePrefix, after string) (name, bool) {
	base := e.Name()
	if !strings.HasPrefix(base, namePrefix) || isTemp(base) {
		return name{}, false
	}
	n := name{path: at + base, dir: e.IsDir()}
	if e.Type()&fs.ModeSymlink != 0 && !l.opt.Recursive {
		fi, err := l.store.root.Stat(n.path)
		if err != nil {
			return name{}, false
		}
		n.dir = fi.IsDir()
	}
	n.key = n.path
	if n.dir {
		n.key += "/"
	}
	// A folder that the token is inside of is still to be walked.
	done := n.key <= after && !(n.dir && l.opt.Recursive && strings.HasPrefix(after, n.key) && after != n.key)
	if done || storage.ValidatePath(n.path) != nil {
		return name{}, false
	}
	return n, true
}

// maxHeap keeps the smallest names seen, the largest of them on top.
type maxHeap []name

func (h maxHeap) Len() int           { return len(h) }
func (h maxHeap) Less(i, j int) bool { return h[i].key > h[j].key }
func (h maxHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *maxHeap) Push(x any)        { *h = append(*h, x.(name)) }
func (h *maxHeap) Pop() any {
	old := *h
	last := old[len(old)-1]
	*h = old[:len(old)-1]
	return last
}

func (h *maxHeap) keep(n name, want int) {
	switch {
	case len(*h) < want:
		heap.Push(h, n)
	case want > 0 && n.key < (*h)[0].key:
		(*h)[0] = n
		heap.Fix(h, 0)
	}
}

package contents

import (
	"context"
	"io"
	"slices"
	"strings"

	"quire/internal/problem"
	"quire/internal/storage"
)

// mount returns the store that path lies in and the path below it; ok is false
// for paths on the volume.
func (v *Volume) mount(path string) (storage.Store, string, bool) {
	below, ok := strings.CutPrefix(path, "mounts/")
	if !ok {
		return nil, "", false
	}
	name, rest, _ := strings.Cut(below, "/")
	store := v.cfg.Mounts[name]
	return store, rest, store != nil
}

func (v *Volume) mountEntries() []Entry {
	var entries []Entry
	for name := range v.cfg.Mounts {
		entries = append(entries, Entry{Name: name, Path: "mounts/" + name, Type: Directory})
	}
	slices.SortFunc(entries, orderOf(ByName))
	return entries
}

func statMount(ctx context.Context, store storage.Store, path, below string) (Entry, error) {
	if below == "" {
		return mountEntry(path, storage.Entry{Dir: true}), nil
	}
	info, err := store.Stat(ctx, below)
	if err == nil {
		return mountEntry(path, storage.Entry{Info: info}), nil
	}
	if !problem.Is(err, problem.NotFound) {
		return Entry{}, err
	}
	page, listErr := store.List(ctx, storage.ListOptions{Prefix: below + "/", Limit: 1})
	if listErr != nil {
		return Entry{}, listErr
	}
	if len(page.Entries) == 0 {
		return Entry{}, err
	}
	return mountEntry(path, storage.Entry{Dir: true}), nil
}

func mountEntry(path string, s storage.Entry) Entry {
	_, name := split(path)
	e := Entry{Name: name, Path: path, Type: typeOf(name, s.Dir), Modified: s.ModTime, Created: s.ModTime}
	if e.Type != Directory {
		e.Size = s.Size
	}
	if e.Type == File {
		e.Mime = MimeOf(name)
	}
	return e
}

// storeCursor marks a cursor that is the store's own, for pages that came from
// the store and not from what is kept of the folder.
const storeCursor = "store."

// listMount lists a folder of an object store. The first pages by name come
// from the store while the folder is read in the background; everything else is
// a look at the whole folder.
func (v *Volume) listMount(ctx context.Context, store storage.Store, path, below string, opt ListOptions) (Page, error) {
	if below != "" {
		below += "/"
	}
	token, fromStore := strings.CutPrefix(opt.Cursor, storeCursor)
	entries, at, kept := v.folder(store, path, below)
	simple := opt.Limit > 0 && opt.Filter == "" && opt.Since.IsZero() && (opt.Sort == ByName || opt.Sort == "")
	if fromStore || !kept && simple && opt.Cursor == "" {
		return v.listStore(ctx, store, path, below, token, opt.Limit)
	}
	if !kept {
		var err error
		if entries, at, err = v.mounted.wait(ctx, v.learn(store, path, below)); err != nil {
			return Page{}, problem.Wrap(err, "listing %s", path)
		}
	}
	page, err := pageOf(entries, opt)
	page.Read = at
	return page, err
}

// listStore lists one page in the store's own order.
func (v *Volume) listStore(ctx context.Context, store storage.Store, path, below, token string, limit int) (Page, error) {
	out := Page{Total: -1}
	for {
		page, err := store.List(ctx, storage.ListOptions{Prefix: below, Limit: limit, Token: token})
		if err != nil {
			return Page{}, err
		}
		out.Entries = appendMounted(out.Entries, path, page.Entries)
		if token = page.Next; token == "" || len(out.Entries) > 0 {
			break
		}
	}
	if token == "" {
		out.Total = len(out.Entries)
	} else {
		out.Next = storeCursor + token
		v.learn(store, path, below)
	}
	slices.SortFunc(out.Entries, orderOf(ByName))
	return out, nil
}

// maxMounted is the largest object that is opened from a mount, in bytes.
const maxMounted = 1 << 30

// readMount opens an object. Its reader seeks by asking the store for ranges.
func readMount(ctx context.Context, store storage.Store, path, below string) (Entry, io.ReadSeekCloser, error) {
	if below == "" {
		return Entry{}, nil, problem.New(problem.Invalid, "%s is a directory", path)
	}
	info, err := store.Stat(ctx, below)
	if err != nil {
		return Entry{}, nil, err
	}
	if info.Size < 0 || info.Size > maxMounted {
		return Entry{}, nil, problem.New(problem.TooLarge, "%s has %d bytes, at most %d are opened here", path, info.Size, int64(maxMounted))
	}
	return mountEntry(path, storage.Entry{Info: info}), &object{ctx: ctx, store: store, path: below, size: info.Size}, nil
}

// object reads an object of a store with seeking.
type object struct {
	ctx    context.Context //nolint:containedctx // a reader lives for one request
	store  storage.Store
	path   string
	size   int64
	offset int64
	cur    io.ReadCloser
}

func (o *object) Read(p []byte) (int, error) {
	if o.offset >= o.size {
		return 0, io.EOF
	}
	if o.cur == nil {
		r, _, err := o.store.Get(o.ctx, o.path, storage.GetOptions{Offset: o.offset})
		if err != nil {
			return 0, err
		}
		o.cur = r
	}
	n, err := o.cur.Read(p)
	o.offset += int64(n)
	return n, err
}

func (o *object) Seek(offset int64, whence int) (int64, error) {
	switch whence {
	case io.SeekCurrent:
		offset += o.offset
	case io.SeekEnd:
		offset += o.size
	}
	if offset < 0 {
		return 0, problem.New(problem.Invalid, "seeking before the start of %s", o.path)
	}
	if offset != o.offset {
		_ = o.Close()
		o.offset = offset
	}
	return offset, nil
}

func (o *object) Close() error {
	if o.cur == nil {
		return nil
	}
	err := o.cur.Close()
	o.cur = nil
	return err
}

package server

import (
	"context"
	"io"
	"os"
	"strings"

	"quire/internal/problem"
	"quire/internal/storage"
	"quire/internal/storage/local"
)

// OpenPrefix opens a folder of an object store, "s3://bucket/a/b", or of this
// machine, as a store of its own. The caller closes it.
func OpenPrefix(ctx context.Context, name string) (storage.Store, error) {
	if schemeOf(name) == "" {
		info, err := os.Stat(name)
		if err != nil || !info.IsDir() {
			return nil, problem.New(problem.NotFound, "%s is not a directory", name)
		}
		return local.Open(local.Config{Dir: name})
	}
	// OpenPath wants the name of a file; the one given is never touched.
	store, path, err := OpenPath(ctx, strings.TrimSuffix(name, "/")+"/x")
	if err != nil {
		return nil, err
	}
	return &prefixed{store, strings.TrimSuffix(path, "x")}, nil
}

// prefixed is the part of a store whose paths begin with prefix, which ends
// with a slash or is empty.
type prefixed struct {
	inner  storage.Store
	prefix string
}

var _ storage.Store = (*prefixed)(nil)

func (p *prefixed) info(i storage.Info) storage.Info {
	i.Path = strings.TrimPrefix(i.Path, p.prefix)
	return i
}

// Get implements storage.Store.
func (p *prefixed) Get(ctx context.Context, path string, opt storage.GetOptions) (io.ReadCloser, storage.Info, error) {
	r, i, err := p.inner.Get(ctx, p.prefix+path, opt)
	return r, p.info(i), err
}

// Put implements storage.Store.
func (p *prefixed) Put(ctx context.Context, path string, r io.Reader, opt storage.PutOptions) (storage.Info, error) {
	i, err := p.inner.Put(ctx, p.prefix+path, r, opt)
	return p.info(i), err
}

// Stat implements storage.Store.
func (p *prefixed) Stat(ctx context.Context, path string) (storage.Info, error) {
	i, err := p.inner.Stat(ctx, p.prefix+path)
	return p.info(i), err
}

// List implements storage.Store.
func (p *prefixed) List(ctx context.Context, opt storage.ListOptions) (storage.Page, error) {
	opt.Prefix = p.prefix + opt.Prefix
	page, err := p.inner.List(ctx, opt)
	for i := range page.Entries {
		page.Entries[i].Info = p.info(page.Entries[i].Info)
	}
	return page, err
}

// Delete implements storage.Store.
func (p *prefixed) Delete(ctx context.Context, path string) error {
	return p.inner.Delete(ctx, p.prefix+path)
}

// Copy implements storage.Store.
func (p *prefixed) Copy(ctx context.Context, dst, src string, opt storage.PutOptions) (storage.Info, error) {
	i, err := p.inner.Copy(ctx, p.prefix+dst, p.prefix+src, opt)
	return p.info(i), err
}

// Location implements storage.Store.
func (p *prefixed) Location(path string) string { return p.inner.Location(p.prefix + path) }

// Close implements storage.Store.
func (p *prefixed) Close() error { return p.inner.Close() }

// Package mem keeps files in memory: for tests, and for what need not last.
package mem

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"quire/internal/problem"
	"quire/internal/storage"
)

// DefaultMaxBytes is the largest file of a store whose Config names no limit.
const DefaultMaxBytes = 1 << 30

// Config says how much a store takes. The zero value is fine.
type Config struct {
	// MaxBytes is the largest file that Put accepts; 0 means DefaultMaxBytes.
	MaxBytes int64
	// Now gives the time of a Put; nil means time.Now.
	Now func() time.Time
}

// Store is a set of files in memory. It implements [storage.Store].
type Store struct {
	cfg Config

	mu    sync.RWMutex
	files map[string]file
	puts  uint64 // numbers the ETags
}

type file struct {
	data []byte // never changed
	info storage.Info
}

var _ storage.Store = (*Store)(nil)

// New returns an empty store.
func New(cfg Config) *Store {
	if cfg.MaxBytes <= 0 {
		cfg.MaxBytes = DefaultMaxBytes
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	return &Store{cfg: cfg, files: map[string]file{}}
}

// Location implements [storage.Store].
func (s *Store) Location(path string) string { return "mem:///" + path }

// Close implements [storage.Store].
func (s *Store) Close() error { return nil }

func check(ctx context.Context, path string) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return storage.ValidatePath(path)
}

// Get implements [storage.Store].
func (s *Store) Get(ctx context.Context, path string, opt storage.GetOptions) (io.ReadCloser, storage.Info, error) {
	op := "reading " + s.Location(path)
	if err := errors.Join(check(ctx, path), opt.Validate()); err != nil {
		return nil, storage.Info{}, problem.Wrap(err, "%s", op)
	}
	f, err := s.file(path)
	if err != nil {
		return nil, storage.Info{}, problem.Wrap(err, "%s", op)
	}
	if opt.Offset > f.info.Size {
		return nil, storage.Info{}, problem.New(problem.Invalid, "%s: offset %d is past its end at %d", op, opt.Offset, f.info.Size)
	}
	data := f.data[opt.Offset:]
	if opt.Length > 0 && opt.Length < int64(len(data)) {
		data = data[:opt.Length]
	}
	return &reader{src: storage.Bounded(ctx, bytes.NewReader(data), 0), op: op}, f.info, nil
}

type reader struct {
	src *storage.BoundedReader
	op  string
}

func (r *reader) Read(p []byte) (int, error) {
	n, err := r.src.Read(p)
	if r.src.Err() != nil {
		err = problem.Wrap(err, "%s", r.op)
	}
	return n, err
}

func (r *reader) Close() error { return nil }

func (s *Store) file(path string) (file, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	f, ok := s.files[path]
	if !ok {
		return file{}, problem.New(problem.NotFound, "it does not exist")
	}
	return f, nil
}

// Put implements [storage.Store].
func (s *Store) Put(ctx context.Context, path string, r io.Reader, opt storage.PutOptions) (storage.Info, error) {
	op := "writing " + s.Location(path)
	if err := errors.Join(check(ctx, path), opt.Validate()); err != nil {
		return storage.Info{}, problem.Wrap(err, "%s", op)
	}
	data, err := io.ReadAll(storage.Bounded(ctx, r, s.cfg.MaxBytes))
	if err == nil && ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		return storage.Info{}, problem.Wrap(err, "%s", op)
	}
	info, err := s.put(path, data, opt)
	return info, problem.Wrap(err, "%s", op)
}

func (s *Store) put(path string, data []byte, opt storage.PutOptions) (storage.Info, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	old, exists := s.files[path]
	switch {
	case opt.IfNotExist && exists:
		return storage.Info{}, problem.New(problem.Exists, "it exists already")
	case opt.IfMatch != "" && !exists:
		return storage.Info{}, problem.New(problem.Conflict, "it does not exist any more")
	case opt.IfMatch != "" && opt.IfMatch != old.info.ETag:
		return storage.Info{}, problem.New(problem.Conflict, "it changed since it was read")
	}
	s.puts++
	info := storage.Info{
		Path:        path,
		Size:        int64(len(data)),
		ModTime:     s.cfg.Now().UTC(),
		ETag:        strconv.FormatUint(s.puts, 36),
		ContentType: opt.ContentType,
	}
	s.files[path] = file{data: data, info: info}
	return info, nil
}

// Stat implements [storage.Store].
func (s *Store) Stat(ctx context.Context, path string) (storage.Info, error) {
	err := check(ctx, path)
	var f file
	if err == nil {
		f, err = s.file(path)
	}
	return f.info, problem.Wrap(err, "looking at %s", s.Location(path))
}

// Delete implements [storage.Store].
func (s *Store) Delete(ctx context.Context, path string) error {
	if err := check(ctx, path); err != nil {
		return problem.Wrap(err, "deleting %s", s.Location(path))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.files, path)
	return nil
}

// Copy implements [storage.Store].
func (s *Store) Copy(ctx context.Context, dst, src string, opt storage.PutOptions) (storage.Info, error) {
	r, info, err := s.Get(ctx, src, storage.GetOptions{})
	if err != nil {
		return storage.Info{}, err
	}
	if opt.ContentType == "" {
		opt.ContentType = info.ContentType
	}
	return s.Put(ctx, dst, r, opt)
}

// List implements [storage.Store].
func (s *Store) List(ctx context.Context, opt storage.ListOptions) (storage.Page, error) {
	op := "listing " + s.Location(opt.Prefix)
	if err := errors.Join(ctx.Err(), opt.Validate()); err != nil {
		return storage.Page{}, problem.Wrap(err, "%s", op)
	}
	after, err := base64.RawURLEncoding.DecodeString(opt.Token)
	if err != nil || !strings.HasPrefix(string(after), opt.Prefix) && opt.Token != "" {
		return storage.Page{}, problem.New(problem.Invalid, "%s: page token %.40q is not one of this listing", op, opt.Token)
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	var page storage.Page
	last := string(after)
	for _, path := range slices.Sorted(maps.Keys(s.files)) {
		if !strings.HasPrefix(path, opt.Prefix) || path <= last || strings.HasSuffix(last, "/") && strings.HasPrefix(path, last) {
			continue
		}
		if len(page.Entries) == opt.PageSize() {
			page.Next = base64.RawURLEncoding.EncodeToString([]byte(last))
			break
		}
		rest := path[len(opt.Prefix):]
		if i := strings.IndexByte(rest, '/'); i >= 0 && !opt.Recursive {
			dir := path[:len(opt.Prefix)+i]
			page.Entries = append(page.Entries, storage.Entry{Info: storage.Info{Path: dir}, Dir: true})
			last = dir + "/"
			continue
		}
		page.Entries = append(page.Entries, storage.Entry{Info: s.files[path].info})
		last = path
	}
	return page, nil
}

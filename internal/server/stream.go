package server

import (
	"context"
	"io"
	"os"
	"sync"

	"quire/internal/problem"
	"quire/internal/storage"
)

// stream is a store of one thing that has no name, no length and no second try:
// standard input and output, a named pipe, a device. Get reads it to its end;
// every Put appends its bytes, at once and not atomically.
type stream struct {
	name   string // for messages
	input  func() (io.ReadCloser, error)
	output func() (io.WriteCloser, error)
	mu     sync.Mutex // one Put at a time
}

var _ storage.Store = (*stream)(nil)

func newStdio() *stream {
	return &stream{
		name:   "-",
		input:  func() (io.ReadCloser, error) { return io.NopCloser(os.Stdin), nil },
		output: func() (io.WriteCloser, error) { return keepOpen{os.Stdout}, nil },
	}
}

func newDevice(name string) *stream {
	return &stream{
		name:   name,
		input:  func() (io.ReadCloser, error) { return os.Open(name) },
		output: func() (io.WriteCloser, error) { return os.OpenFile(name, os.O_WRONLY, 0) },
	}
}

type keepOpen struct{ io.Writer }

func (keepOpen) Close() error { return nil }

func (s *stream) Get(ctx context.Context, _ string, opt storage.GetOptions) (io.ReadCloser, storage.Info, error) {
	if ctx.Err() != nil {
		return nil, storage.Info{}, context.Cause(ctx)
	}
	if opt != (storage.GetOptions{}) {
		return nil, storage.Info{}, s.cannot("read a part of")
	}
	r, err := s.input()
	if err != nil {
		return nil, storage.Info{}, problem.WrapAs(problem.Unavailable, err, "reading %s", s.name)
	}
	return r, storage.Info{Path: s.name, Size: -1}, nil
}

func (s *stream) Put(ctx context.Context, _ string, r io.Reader, opt storage.PutOptions) (info storage.Info, err error) {
	if opt.IfNotExist || opt.IfMatch != "" {
		return storage.Info{}, s.cannot("write once to")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	w, err := s.output()
	if err != nil {
		return storage.Info{}, problem.WrapAs(problem.Unavailable, err, "writing %s", s.name)
	}
	src := storage.Bounded(ctx, r, 0)
	_, err = io.Copy(w, struct{ io.Reader }{src})
	if closeErr := w.Close(); err == nil {
		err = closeErr
	}
	switch {
	case err != nil && src.Err() == nil:
		err = problem.WrapAs(problem.Unavailable, err, "writing %s", s.name)
	case err != nil:
		err = problem.Wrap(err, "writing %s", s.name)
	}
	return storage.Info{Path: s.name, Size: src.Count()}, err
}

func (s *stream) Stat(context.Context, string) (storage.Info, error) {
	return storage.Info{Path: s.name, Size: -1}, nil
}

func (s *stream) List(context.Context, storage.ListOptions) (storage.Page, error) {
	return storage.Page{}, s.cannot("list")
}

func (s *stream) Delete(context.Context, string) error { return s.cannot("delete") }

func (s *stream) Copy(context.Context, string, string, storage.PutOptions) (storage.Info, error) {
	return storage.Info{}, s.cannot("copy")
}

func (s *stream) Location(string) string { return s.name }

func (s *stream) Close() error { return nil }

func (s *stream) cannot(what string) error {
	return problem.New(problem.Invalid, "it is not possible to %s %s: it is a stream, not a file", what, s.name)
}

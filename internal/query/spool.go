package query

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"quire/internal/problem"
)

// A spool is the file of one result: written once, from its beginning, and read
// by any number meanwhile and afterwards.
type spool struct {
	path string

	mu      sync.Mutex
	file    *os.File // nil when it is no longer written
	size    int64
	ended   bool
	err     error
	changed chan struct{} // closed and replaced when something above changes
}

func newSpool(path string) *spool {
	return &spool{path: path, changed: make(chan struct{})}
}

// endedSpool is of a result that is complete.
func endedSpool(path string, size int64) *spool {
	s := newSpool(path)
	s.size, s.ended = size, true
	return s
}

// Write implements io.Writer.
func (s *spool) Write(p []byte) (int, error) {
	s.mu.Lock()
	file := s.file
	s.mu.Unlock()
	if file == nil {
		var err error
		if file, err = os.OpenFile(s.path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600); err != nil {
			return 0, problem.WrapAs(problem.Unavailable, err, "keeping the result")
		}
		s.mu.Lock()
		s.file = file
		s.mu.Unlock()
	}
	n, err := file.Write(p)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.size += int64(n)
	s.tell()
	return n, problem.WrapAs(problem.Unavailable, err, "keeping the result")
}

// close says that nothing is written any more. Readers wait until end is called.
func (s *spool) close() error {
	s.mu.Lock()
	file := s.file
	s.file = nil
	s.mu.Unlock()
	if file == nil {
		return nil
	}
	return file.Close()
}

// end lets the readers come to the end; err is why the result is not whole, nil
// when it is.
func (s *spool) end(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.ended {
		s.ended, s.err = true, err
		s.tell()
	}
}

func (s *spool) tell() {
	close(s.changed)
	s.changed = make(chan struct{})
}

// look returns how much there is, whether that is all, what is closed when there
// is more, and why a result that has ended is not whole.
func (s *spool) look() (size int64, ended bool, changed <-chan struct{}, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.size, s.ended, s.changed, s.err
}

// A Result reads the Arrow stream of a query while it is written: Read waits
// for more. The caller closes it.
type Result struct {
	ctx   context.Context //nolint:containedctx // a reader's life is one request
	spool *spool
	file  *os.File
	at    int64
}

// open opens the result for reading, once it has a first byte. It returns nil
// when the statement has ended and has no result.
func (s *spool) open(ctx context.Context) (*Result, error) {
	for {
		size, ended, changed, err := s.look()
		switch {
		case size > 0:
			file, err := os.Open(s.path)
			if errors.Is(err, fs.ErrNotExist) {
				return nil, problem.New(problem.NotFound, "the result is no longer kept: run the statement again")
			}
			return &Result{ctx: ctx, spool: s, file: file}, problem.WrapAs(problem.Unavailable, err, "opening the result")
		case ended:
			return nil, err
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-changed:
		}
	}
}

// Read implements io.Reader. The error at the end of a result that is not whole
// is why it is not.
func (r *Result) Read(p []byte) (int, error) {
	for {
		size, ended, changed, err := r.spool.look()
		if r.at < size {
			n, err := r.file.ReadAt(p[:min(int64(len(p)), size-r.at)], r.at)
			r.at += int64(n)
			if n > 0 {
				err = nil
			}
			return n, err
		}
		if ended {
			if err == nil {
				err = io.EOF
			}
			return 0, err
		}
		select {
		case <-r.ctx.Done():
			return 0, r.ctx.Err()
		case <-changed:
		}
	}
}

// Skip goes n bytes on without reading them.
func (r *Result) Skip(n int64) { r.at += n }

// Whole tells whether all of the result is there, and how many bytes that is.
func (r *Result) Whole() (int64, bool) {
	size, ended, _, err := r.spool.look()
	return size, ended && err == nil
}

// Close implements io.Closer.
func (r *Result) Close() error { return r.file.Close() }

// results is the folder of the spools.
type results struct{ dir string }

func (r results) path(id string) string { return filepath.Join(r.dir, id+".arrow") }

// trim removes the oldest results until what is left is within a size; keep
// says which are needed now.
func (r results) trim(most int64, keep func(id string) bool) error {
	entries, err := os.ReadDir(r.dir) // by name, which is by time
	if err != nil {
		return err
	}
	var total int64
	sizes := make([]int64, len(entries))
	for i, e := range entries {
		if info, err := e.Info(); err == nil {
			sizes[i] = info.Size()
			total += sizes[i]
		}
	}
	for i, e := range entries {
		id, ok := strings.CutSuffix(e.Name(), ".arrow")
		if total <= most {
			return nil
		}
		if ok && !keep(id) && os.Remove(filepath.Join(r.dir, e.Name())) == nil {
			total -= sizes[i]
		}
	}
	return nil
}

package storage

import (
	"bytes"
	"context"
	"errors"
	"io"

	"quire/internal/problem"
)

// ReadAll returns all bytes at path, with their Info. It fails with TooLarge,
// without reading further, when there are more than maxBytes; maxBytes of 0 or
// less means no limit beyond the driver's own.
func ReadAll(ctx context.Context, s Store, path string, maxBytes int64) (data []byte, info Info, err error) {
	r, info, err := s.Get(ctx, path, GetOptions{})
	if err != nil {
		return nil, Info{}, err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	tooLarge := func() error {
		return problem.New(problem.TooLarge, "reading %s: it is larger than the limit of %d bytes", s.Location(path), maxBytes)
	}
	if maxBytes > 0 && info.Size > maxBytes {
		return nil, Info{}, tooLarge()
	}
	var buf bytes.Buffer
	// A size that is claimed but not true must not take memory.
	const most = 64 << 20
	if info.Size > 0 {
		buf.Grow(int(min(info.Size, most)) + bytes.MinRead)
	}
	var src io.Reader = r
	if maxBytes > 0 {
		src = io.LimitReader(r, maxBytes+1)
	}
	if _, err := buf.ReadFrom(src); err != nil {
		return nil, Info{}, problem.Wrap(err, "reading %s", s.Location(path))
	}
	if maxBytes > 0 && int64(buf.Len()) > maxBytes {
		return nil, Info{}, tooLarge()
	}
	return buf.Bytes(), info, nil
}

// PutBytes is Put of data.
func PutBytes(ctx context.Context, s Store, path string, data []byte, opt PutOptions) (Info, error) {
	return s.Put(ctx, path, bytes.NewReader(data), opt)
}

// Bounded returns a reader of r for drivers to pull a Put's bytes through: it
// fails with the context's error once ctx is done, and with TooLarge once r has
// given more than maxBytes (0 or less: no limit). It remembers the failure, so
// that a driver can tell r's faults from its own.
func Bounded(ctx context.Context, r io.Reader, maxBytes int64) *BoundedReader {
	return &BoundedReader{ctx: ctx, src: r, max: maxBytes}
}

// BoundedReader is what Bounded returns. It is for one goroutine at a time.
type BoundedReader struct {
	ctx context.Context // of the one Put that it lives for
	src io.Reader
	max int64
	n   int64
	err error
}

// Read implements io.Reader.
func (b *BoundedReader) Read(p []byte) (int, error) {
	if b.err != nil {
		return 0, b.err
	}
	if err := b.ctx.Err(); err != nil {
		b.err = context.Cause(b.ctx)
		return 0, b.err
	}
	n, err := b.src.Read(p)
	b.n += int64(n)
	if b.max > 0 && b.n > b.max {
		b.err = problem.New(problem.TooLarge, "it is larger than the limit of %d bytes", b.max)
		return 0, b.err
	}
	if err != nil && !errors.Is(err, io.EOF) {
		b.err = err
	}
	return n, err
}

// Err returns the first failure of reading, other than io.EOF, or nil.
func (b *BoundedReader) Err() error { return b.err }

// Count returns how many bytes were read.
func (b *BoundedReader) Count() int64 { return b.n }

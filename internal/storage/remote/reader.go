package remote

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"quire/internal/problem"
	"quire/internal/storage"
)

// reader reads one object, over as many connections as it takes.
type reader struct {
	store  *Store
	ctx    context.Context // of the Get; the contract says that it covers the reading
	path   string
	op     string
	etag   string // of the first answer; a later one must be the same
	offset int64  // of the next byte
	end    int64  // where to stop; -1 when not known

	body   io.ReadCloser
	conn   context.Context    // of the connection of body
	cancel context.CancelFunc // ends that connection
	stall  *time.Timer
	broken int // connections that broke without giving a byte
	err    error
}

// open asks for the bytes from offset to end.
func (r *reader) open() (storage.Info, error) {
	c := r.store.read(http.MethodGet, r.path)
	if c.header == nil {
		c.header = http.Header{}
	}
	whole := r.offset == 0 && r.end < 0
	switch {
	case whole:
	case r.end < 0:
		c.header.Set("Range", fmt.Sprintf("bytes=%d-", r.offset))
	default:
		c.header.Set("Range", fmt.Sprintf("bytes=%d-%d", r.offset, r.end-1))
	}
	ctx, cancel := context.WithCancelCause(r.ctx)
	resp, err := r.store.calls.do(ctx, c)
	if err != nil {
		cancel(nil)
		return storage.Info{}, err
	}
	info := r.store.info(r.path, resp.Header, resp.ContentLength)
	switch {
	case r.etag != "" && info.ETag != r.etag:
		err = problem.New(problem.Conflict, "it changed while it was read")
	case !whole && resp.StatusCode != http.StatusPartialContent:
		// The service sends all of it, ranges or not: leave out what comes before.
		_, err = io.CopyN(io.Discard, resp.Body, r.offset)
		if errors.Is(err, io.EOF) {
			err = &statusError{status: http.StatusRequestedRangeNotSatisfiable}
		}
	}
	if err != nil {
		cancel(nil)
		return storage.Info{}, errors.Join(err, resp.Body.Close())
	}
	r.etag = info.ETag
	r.body = resp.Body
	wait := r.store.calls.cfg.Stall
	r.conn = ctx
	r.stall = time.AfterFunc(wait, func() {
		cancel(problem.New(problem.Unavailable, "nothing came for %v", wait))
	})
	r.stall.Stop() // it runs during a Read only: the caller may take its time
	r.cancel = func() {
		r.stall.Stop()
		cancel(nil)
	}
	return info, nil
}

// Read implements io.Reader.
func (r *reader) Read(p []byte) (int, error) {
	if r.err != nil {
		return 0, r.err
	}
	for {
		n, err := r.read(p)
		if n > 0 || err == nil || r.err != nil {
			return n, r.err
		}
		if r.err = r.again(err); r.err != nil {
			return 0, r.err
		}
	}
}

// read reads once from the open connection and sets r.err at the true end.
func (r *reader) read(p []byte) (int, error) {
	if r.end >= 0 {
		if r.offset >= r.end {
			r.err = io.EOF
			return 0, nil
		}
		p = p[:min(int64(len(p)), r.end-r.offset)]
	}
	r.stall.Reset(r.store.calls.cfg.Stall)
	n, err := r.body.Read(p)
	r.stall.Stop()
	r.offset += int64(n)
	if err != nil && r.ctx.Err() == nil && r.conn.Err() != nil {
		err = context.Cause(r.conn)
	}
	if n > 0 {
		r.broken = 0
	}
	switch {
	case err == io.EOF && r.end < 0: //nolint:errorlint // io.Reader's contract is the bare value
		r.err = io.EOF
	case r.offset > r.store.calls.cfg.MaxBytes:
		r.err = problem.New(problem.TooLarge, "%s: it is larger than the limit of %d bytes", r.op, r.store.calls.cfg.MaxBytes)
	case err == io.EOF: //nolint:errorlint // as above
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

// again makes a new connection after one broke, if that is safe: only the ETag
// says that what follows belongs to what came before.
func (r *reader) again(cause error) error {
	if r.ctx.Err() != nil {
		return problem.Wrap(context.Cause(r.ctx), "%s", r.op)
	}
	r.broken++
	if r.etag == "" || r.end < 0 || r.broken >= r.store.calls.cfg.Attempts {
		return classify(fmt.Errorf("the connection broke at byte %d: %w", r.offset, cause), r.op)
	}
	_ = r.Close() // it is broken already
	if err := r.store.calls.wait(r.ctx, r.broken, cause); err != nil {
		return problem.Wrap(err, "%s", r.op)
	}
	if _, err := r.open(); err != nil {
		return classify(err, r.op)
	}
	return nil
}

// Close implements io.Closer.
func (r *reader) Close() error {
	r.cancel()
	return r.body.Close()
}

package remote

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"quire/internal/problem"
	"quire/internal/storage"
)

// dialect is how one service is spoken to. Paths are valid, options too; errors
// are raw, and the Store classifies them.
type dialect interface {
	// location is storage.Store's Location.
	location(path string) string
	// read returns the request for an object's bytes (GET) or description (HEAD).
	read(method, path string) call
	// info reads the description from the header of read's answer; Size is that of
	// the whole object, and -1 where it is not known.
	info(path string, h http.Header, length int64) storage.Info
	// put stores data in one request.
	put(ctx context.Context, path string, data []byte, opt storage.PutOptions) (storage.Info, error)
	// upload begins an upload in parts; nil when the service has none.
	upload(ctx context.Context, path string, opt storage.PutOptions) (upload, error)
	list(ctx context.Context, opt storage.ListOptions, token string) (storage.Page, error)
	remove(ctx context.Context, path string) error
	// copy copies within the service; errNoCopy when it cannot.
	copy(ctx context.Context, dst, src string, opt storage.PutOptions) (storage.Info, error)
}

// upload is a file that is sent in parts. Nothing is visible before finish.
type upload interface {
	// part sends the next part; last says that none follows.
	part(ctx context.Context, number int, data []byte, last bool) error
	finish(ctx context.Context) (storage.Info, error)
	// abort ends an upload that will not be finished.
	abort(ctx context.Context) error
}

var errNoCopy = errors.New("the service cannot copy this")

// Store is one bucket, container or folder of a web server. It implements
// [storage.Store].
type Store struct {
	dialect
	calls *caller
}

var _ storage.Store = (*Store)(nil)

// Location implements [storage.Store].
func (s *Store) Location(path string) string { return s.location(path) }

// Close implements [storage.Store]: it lets go of idle connections.
func (s *Store) Close() error {
	s.calls.client.CloseIdleConnections()
	return nil
}

func check(ctx context.Context, path string) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return storage.ValidatePath(path)
}

// Get implements [storage.Store]. A connection that breaks is made again from
// where it broke, as long as the object is still the same one.
func (s *Store) Get(ctx context.Context, path string, opt storage.GetOptions) (io.ReadCloser, storage.Info, error) {
	op := "reading " + s.location(path)
	if err := errors.Join(check(ctx, path), opt.Validate()); err != nil {
		return nil, storage.Info{}, problem.Wrap(err, "%s", op)
	}
	r := &reader{store: s, ctx: ctx, path: path, op: op, offset: opt.Offset, end: -1}
	if opt.Length > 0 {
		r.end = opt.Offset + opt.Length
	}
	info, err := r.open()
	if isStatus(err, http.StatusRequestedRangeNotSatisfiable) {
		return s.emptyRange(ctx, path, opt, op)
	}
	if err != nil {
		return nil, storage.Info{}, classify(err, op)
	}
	if info.Size > s.calls.cfg.MaxBytes {
		return nil, storage.Info{}, errors.Join(problem.New(problem.TooLarge,
			"%s: it is larger than the limit of %d bytes", op, s.calls.cfg.MaxBytes), r.Close())
	}
	if info.Size >= 0 && (r.end < 0 || r.end > info.Size) {
		r.end = info.Size
	}
	return r, info, nil
}

// emptyRange answers a range that begins at the end, which is no error here.
func (s *Store) emptyRange(ctx context.Context, path string, opt storage.GetOptions, op string) (io.ReadCloser, storage.Info, error) {
	info, err := s.stat(ctx, path)
	if err != nil {
		return nil, storage.Info{}, classify(err, op)
	}
	if opt.Offset > info.Size {
		return nil, storage.Info{}, problem.New(problem.Invalid, "%s: offset %d is past its end at %d", op, opt.Offset, info.Size)
	}
	return io.NopCloser(bytes.NewReader(nil)), info, nil
}

// Stat implements [storage.Store].
func (s *Store) Stat(ctx context.Context, path string) (storage.Info, error) {
	op := "looking at " + s.location(path)
	if err := check(ctx, path); err != nil {
		return storage.Info{}, problem.Wrap(err, "%s", op)
	}
	info, err := s.stat(ctx, path)
	if err != nil {
		return storage.Info{}, classify(err, op)
	}
	return info, nil
}

// describer is a dialect that does not describe an object in headers.
type describer interface {
	describe(ctx context.Context, path string) (storage.Info, error)
}

func (s *Store) stat(ctx context.Context, path string) (storage.Info, error) {
	if d, ok := s.dialect.(describer); ok {
		return d.describe(ctx, path)
	}
	resp, err := s.calls.do(ctx, s.read(http.MethodHead, path))
	if err != nil {
		return storage.Info{}, err
	}
	return s.info(path, resp.Header, resp.ContentLength), drain(resp)
}

// Put implements [storage.Store]. Up to PartBytes go in one request; more go in
// parts that become visible together.
func (s *Store) Put(ctx context.Context, path string, r io.Reader, opt storage.PutOptions) (storage.Info, error) {
	op := "writing " + s.location(path)
	if err := errors.Join(check(ctx, path), opt.Validate()); err != nil {
		return storage.Info{}, problem.Wrap(err, "%s", op)
	}
	info, err := s.send(ctx, path, storage.Bounded(ctx, r, s.calls.cfg.MaxBytes), opt)
	if err != nil {
		return storage.Info{}, classify(conditional(err, opt), op)
	}
	return info, nil
}

func (s *Store) send(ctx context.Context, path string, src *storage.BoundedReader, opt storage.PutOptions) (storage.Info, error) {
	opt.ContentType = contentType(path, opt.ContentType)
	var first bytes.Buffer
	more, err := fill(&first, src, s.calls.cfg.PartBytes)
	if err != nil {
		return storage.Info{}, problem.Wrap(err, "reading what to store")
	}
	if !more {
		return s.put(ctx, path, nonNil(first.Bytes()), opt)
	}
	if opt.IfNotExist || opt.IfMatch != "" {
		// An early look spares sending it all; the one that counts is at the end.
		if err := s.precheck(ctx, path, opt); err != nil {
			return storage.Info{}, err
		}
	}
	up, err := s.upload(ctx, path, opt)
	if err != nil {
		return storage.Info{}, err
	}
	if up == nil {
		more, err := fill(&first, src, maxWebPut)
		if err != nil {
			return storage.Info{}, problem.Wrap(err, "reading what to store")
		}
		if more {
			return storage.Info{}, problem.New(problem.TooLarge, "it is larger than the limit of %d bytes for one request", maxWebPut)
		}
		return s.put(ctx, path, first.Bytes(), opt)
	}
	info, err := s.sendParts(ctx, up, &first, src)
	if err != nil {
		// The context may be what ended the upload.
		late, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
		defer cancel()
		_ = up.abort(late) // the service's own rules remove what is left; the first error is the one to tell
		return storage.Info{}, err
	}
	info.Path, info.Size = path, src.Count()
	return info, nil
}

// nonNil makes an empty body of no body.
func nonNil(b []byte) []byte {
	if b == nil {
		return []byte{}
	}
	return b
}

func (s *Store) precheck(ctx context.Context, path string, opt storage.PutOptions) error {
	info, err := s.stat(ctx, path)
	switch {
	case err == nil && opt.IfNotExist:
		return problem.New(problem.Exists, "it exists already")
	case err == nil && info.ETag != opt.IfMatch:
		return problem.New(problem.Conflict, "it changed since it was read")
	case err == nil, opt.IfNotExist && isStatus(err, http.StatusNotFound):
		return nil
	}
	return err
}

func (s *Store) sendParts(ctx context.Context, up upload, buf *bytes.Buffer, src io.Reader) (storage.Info, error) {
	// Two buffers, since only with the next one is it known which is the last.
	next := new(bytes.Buffer)
	for number := 1; ; number++ {
		next.Reset()
		if _, err := fill(next, src, s.calls.cfg.PartBytes<<(number/1000)); err != nil {
			return storage.Info{}, problem.Wrap(err, "reading what to store")
		}
		last := next.Len() == 0
		if err := up.part(ctx, number, buf.Bytes(), last); err != nil {
			return storage.Info{}, err
		}
		if last {
			return up.finish(ctx)
		}
		buf, next = next, buf
	}
}

// fill reads up to n bytes and says whether there may be more.
func fill(buf *bytes.Buffer, src io.Reader, n int) (bool, error) {
	got, err := buf.ReadFrom(io.LimitReader(src, int64(n)))
	return got == int64(n), err
}

// Delete implements [storage.Store].
func (s *Store) Delete(ctx context.Context, path string) error {
	op := "deleting " + s.location(path)
	if err := check(ctx, path); err != nil {
		return problem.Wrap(err, "%s", op)
	}
	err := s.remove(ctx, path)
	var status *statusError
	if errors.As(err, &status) && status.status == http.StatusNotFound && status.code != "NoSuchBucket" && status.code != "ContainerNotFound" {
		return nil
	}
	return classify(err, op)
}

// Copy implements [storage.Store]: within the service where that can be done.
func (s *Store) Copy(ctx context.Context, dst, src string, opt storage.PutOptions) (info storage.Info, err error) {
	op := "copying " + s.location(src) + " to " + s.location(dst)
	if err := errors.Join(check(ctx, src), check(ctx, dst), opt.Validate()); err != nil {
		return storage.Info{}, problem.Wrap(err, "%s", op)
	}
	info, err = s.copy(ctx, dst, src, opt)
	if !errors.Is(err, errNoCopy) {
		return info, classify(conditional(err, opt), op)
	}
	r, from, err := s.Get(ctx, src, storage.GetOptions{})
	if err != nil {
		return storage.Info{}, err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	if opt.ContentType == "" {
		opt.ContentType = from.ContentType
	}
	return s.Put(ctx, dst, r, opt)
}

// List implements [storage.Store].
func (s *Store) List(ctx context.Context, opt storage.ListOptions) (storage.Page, error) {
	op := "listing " + s.location(opt.Prefix)
	if err := opt.Validate(); err != nil {
		return storage.Page{}, problem.Wrap(err, "%s", op)
	}
	if ctx.Err() != nil {
		return storage.Page{}, problem.Wrap(context.Cause(ctx), "%s", op)
	}
	token, err := decodeToken(opt)
	if err != nil {
		return storage.Page{}, problem.Wrap(err, "%s", op)
	}
	page, err := s.list(ctx, opt, token)
	if err != nil {
		return storage.Page{}, classify(err, op)
	}
	page.Entries = slices.DeleteFunc(page.Entries, func(e storage.Entry) bool {
		return storage.ValidatePath(e.Path) != nil
	})
	// Services give objects and folders apart; the contract wants one order.
	slices.SortFunc(page.Entries, func(a, b storage.Entry) int { return strings.Compare(sortKey(a), sortKey(b)) })
	page.Next = encodeToken(opt, page.Next)
	return page, nil
}

func sortKey(e storage.Entry) string {
	if e.Dir {
		return e.Path + "/"
	}
	return e.Path
}

// A token is the service's own, behind a mark of the listing that it belongs to.
func listingMark(opt storage.ListOptions) string {
	sum := sha256.Sum256([]byte(strconv.FormatBool(opt.Recursive) + opt.Prefix))
	return string(sum[:6])
}

func encodeToken(opt storage.ListOptions, token string) string {
	if token == "" {
		return ""
	}
	return base64.RawURLEncoding.EncodeToString([]byte(listingMark(opt) + token))
}

func decodeToken(opt storage.ListOptions) (string, error) {
	if opt.Token == "" {
		return "", nil
	}
	const most = 8 << 10
	data, err := base64.RawURLEncoding.DecodeString(opt.Token)
	token, ok := strings.CutPrefix(string(data), listingMark(opt))
	if err != nil || !ok || len(token) > most {
		return "", problem.New(problem.Invalid, "page token %.40q is not one of this listing", opt.Token)
	}
	return token, nil
}

// contentType is what is stored when the caller names none.
func contentType(path, given string) string {
	switch {
	case given != "":
		return given
	case strings.HasSuffix(path, ".ipynb"), strings.HasSuffix(path, ".json"):
		return "application/json"
	}
	return "application/octet-stream"
}

// etag takes the quotes off a strong tag.
func etag(raw string) string {
	if strings.HasPrefix(raw, "W/") {
		return raw
	}
	return strings.Trim(raw, `"`)
}

func quote(tag string) string {
	if strings.HasPrefix(tag, "W/") {
		return tag
	}
	return `"` + tag + `"`
}

// conditions are the headers of opt where HTTP's own are understood.
func conditions(h http.Header, opt storage.PutOptions) {
	if opt.IfNotExist {
		h.Set("If-None-Match", "*")
	}
	if opt.IfMatch != "" {
		h.Set("If-Match", quote(opt.IfMatch))
	}
}

// plainInfo reads the headers that HTTP itself defines.
func plainInfo(path string, h http.Header, length int64) storage.Info {
	info := storage.Info{Path: path, Size: length, ETag: etag(h.Get("ETag")), ContentType: h.Get("Content-Type")}
	if _, total, ok := strings.Cut(h.Get("Content-Range"), "/"); ok {
		info.Size = -1
		if n, err := strconv.ParseInt(total, 10, 64); err == nil && n >= 0 {
			info.Size = n
		}
	}
	if t, err := http.ParseTime(h.Get("Last-Modified")); err == nil {
		info.ModTime = t.UTC()
	}
	return info
}

// stored is the description that the answer to a Put gives.
func stored(path string, size int64, h http.Header) storage.Info {
	info := storage.Info{Path: path, Size: size, ETag: etag(h.Get("ETag"))}
	for _, name := range []string{"Last-Modified", "Date"} {
		if t, err := http.ParseTime(h.Get(name)); err == nil {
			info.ModTime = t.UTC()
			break
		}
	}
	return info
}

// Package storagetest holds what every driver of package storage must do.
//
// A change of behaviour is first a case here. Drivers call Run from their tests:
//
//	storagetest.Run(t, func(t *testing.T) storage.Store { return mem.New(mem.Config{}) })
package storagetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"quire/internal/problem"
	"quire/internal/storage"
)

// Suite says what is tested. Open is needed; the rest describes what a medium
// cannot do, which the contract of storage.Store allows.
type Suite struct {
	// Open returns an empty store, for one test. The suite closes it.
	Open func(t *testing.T) storage.Store
	// CannotList says that List fails with kind Invalid, as on a web server.
	CannotList bool
	// KeepsContentType says that Stat returns the ContentType given to Put.
	KeepsContentType bool
	// OneFolderPage says that the server to test against, not the driver, cannot
	// page a listing that has folders in it.
	OneFolderPage bool
	// LargeBytes is the size of the largest file of the suite; 0 means 20 MiB,
	// more than any driver sends in one piece.
	LargeBytes int
}

// Run runs the whole suite on stores made by open, each with a ContentType of its
// own choice.
func Run(t *testing.T, open func(t *testing.T) storage.Store) {
	t.Helper()
	Suite{Open: open}.Run(t)
}

// Run runs every case on a store of its own, in parallel.
func (s Suite) Run(t *testing.T) {
	t.Helper()
	if s.LargeBytes == 0 {
		s.LargeBytes = 20 << 20
	}
	for _, c := range []struct {
		name string
		run  func(*testing.T, *fixture)
	}{
		{"round trip", testRoundTrip},
		{"info is the same from put, stat and get", testInfo},
		{"range", testRange},
		{"not found", testNotFound},
		{"delete", testDelete},
		{"overwrite", testOverwrite},
		{"open reader keeps the old bytes", testOpenReader},
		{"if not exist", testIfNotExist},
		{"if match", testIfMatch},
		{"large", testLarge},
		{"race of creators", testCreateRace},
		{"race of large creators", testLargeCreateRace},
		{"race of compare and set", testMatchRace},
		{"writers and readers", testWritersAndReaders},
		{"failing source", testFailingSource},
		{"canceled", testCanceled},
		{"bad paths", testBadPaths},
		{"odd names", testOddNames},
		{"copy", testCopy},
		{"list", testList},
		{"list pages", testListPages},
		{"list many", testListMany},
		{"bad listings", testBadListings},
		{"content type", testContentType},
		{"close", testClose},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
			t.Cleanup(cancel)
			store := s.Open(t)
			t.Cleanup(func() {
				if err := store.Close(); err != nil {
					t.Errorf("Close: %v", err)
				}
			})
			c.run(t, &fixture{Store: store, Suite: s, ctx: ctx})
		})
	}
}

// fixture is one store under test.
type fixture struct {
	storage.Store
	Suite
	ctx context.Context // of the one test that it lives for
}

func (f *fixture) put(t *testing.T, path, data string) storage.Info {
	t.Helper()
	info, err := f.Put(f.ctx, path, strings.NewReader(data), storage.PutOptions{})
	if err != nil {
		t.Fatalf("Put %s: %v", path, err)
	}
	return info
}

func (f *fixture) get(t *testing.T, path string) string {
	t.Helper()
	data, _, err := storage.ReadAll(f.ctx, f.Store, path, 0)
	if err != nil {
		t.Fatalf("Get %s: %v", path, err)
	}
	return string(data)
}

// want fails the test unless err is of the kind and names the path.
func (f *fixture) want(t *testing.T, err error, kind problem.Kind, path string) {
	t.Helper()
	if !problem.Is(err, kind) {
		t.Errorf("got %v (kind %v), want kind %v", err, problem.KindOf(err), kind)
		return
	}
	if path != "" && !strings.Contains(err.Error(), f.Location(path)) {
		t.Errorf("the message %q does not name %s", err, f.Location(path))
	}
}

// pattern is n bytes that differ from place to place.
func pattern(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i ^ i>>8 ^ i>>16*7)
	}
	return b
}

func testRoundTrip(t *testing.T, f *fixture) {
	for _, size := range []int{0, 1, 4096, 70_001} {
		path := fmt.Sprintf("dir/sub/%d.bin", size)
		data := string(pattern(size))
		if info := f.put(t, path, data); info.Size != int64(size) || info.Path != path {
			t.Errorf("Put of %d bytes returned %+v", size, info)
		}
		if got := f.get(t, path); got != data {
			t.Errorf("%d bytes came back as %d, or changed", size, len(got))
		}
	}
}

func testInfo(t *testing.T, f *fixture) {
	before := time.Now().Add(-time.Minute)
	put := f.put(t, "a.ipynb", "{}")
	stat, err := f.Stat(f.ctx, "a.ipynb")
	if err != nil {
		t.Fatal(err)
	}
	r, get, err := f.Get(f.ctx, "a.ipynb", storage.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Close(); err != nil {
		t.Errorf("closing an unread reader: %v", err)
	}
	for what, info := range map[string]storage.Info{"put": put, "stat": stat, "get": get} {
		if info.Path != "a.ipynb" || info.Size != 2 || info.ETag == "" || info.ETag != put.ETag {
			t.Errorf("%s: %+v, want size 2 and ETag %q", what, info, put.ETag)
		}
	}
	if stat.ModTime.Before(before) || stat.ModTime.After(time.Now().Add(time.Minute)) || stat.ModTime.Location() != time.UTC {
		t.Errorf("ModTime %v: want now, in UTC", stat.ModTime)
	}
}

func testRange(t *testing.T, f *fixture) {
	f.put(t, "a", "0123456789")
	for _, tt := range []struct {
		offset, length int64
		want           string
		kind           problem.Kind
	}{
		{0, 0, "0123456789", 0},
		{0, 3, "012", 0},
		{4, 2, "45", 0},
		{7, 0, "789", 0},
		{8, 100, "89", 0},
		{10, 0, "", 0},
		{10, 5, "", 0},
		{11, 0, "", problem.Invalid},
		{11, 1, "", problem.Invalid},
		{-1, 0, "", problem.Invalid},
		{0, -1, "", problem.Invalid},
	} {
		r, info, err := f.Get(f.ctx, "a", storage.GetOptions{Offset: tt.offset, Length: tt.length})
		if tt.kind != 0 {
			f.want(t, err, tt.kind, "a")
			continue
		}
		if err != nil {
			t.Errorf("%d+%d: %v", tt.offset, tt.length, err)
			continue
		}
		got, err := io.ReadAll(r)
		if string(got) != tt.want || err != nil || info.Size != 10 {
			t.Errorf("%d+%d: got %q, %v, size %d; want %q, size 10", tt.offset, tt.length, got, err, info.Size, tt.want)
		}
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	}
}

func testNotFound(t *testing.T, f *fixture) {
	f.put(t, "there/x", "x")
	for _, path := range []string{"no", "no/where/at/all", "there/y", "there/x/below"} {
		_, _, err := f.Get(f.ctx, path, storage.GetOptions{})
		f.want(t, err, problem.NotFound, path)
		_, _, err = f.Get(f.ctx, path, storage.GetOptions{Offset: 1, Length: 1})
		f.want(t, err, problem.NotFound, path)
		_, err = f.Stat(f.ctx, path)
		f.want(t, err, problem.NotFound, path)
		_, err = f.Copy(f.ctx, "dst", path, storage.PutOptions{})
		f.want(t, err, problem.NotFound, path)
	}
	// A folder is no file.
	_, err := f.Stat(f.ctx, "there")
	f.want(t, err, problem.NotFound, "there")
	_, _, err = f.Get(f.ctx, "there", storage.GetOptions{})
	f.want(t, err, problem.NotFound, "there")
}

func testDelete(t *testing.T, f *fixture) {
	f.put(t, "d/a", "x")
	for range 2 {
		if err := f.Delete(f.ctx, "d/a"); err != nil {
			t.Fatalf("Delete: %v", err)
		}
	}
	if err := f.Delete(f.ctx, "never/was/here"); err != nil {
		t.Errorf("Delete of nothing: %v", err)
	}
	_, err := f.Stat(f.ctx, "d/a")
	f.want(t, err, problem.NotFound, "d/a")
	f.put(t, "d/a", "again")
	if got := f.get(t, "d/a"); got != "again" {
		t.Errorf("got %q", got)
	}
}

func testOverwrite(t *testing.T, f *fixture) {
	seen := map[string]bool{}
	for i := range 20 {
		data := fmt.Sprintf("%02d", i) // the same length each time
		info := f.put(t, "a", data)
		if seen[info.ETag] || info.ETag == "" {
			t.Errorf("put %d: ETag %q came back", i, info.ETag)
		}
		seen[info.ETag] = true
		if got := f.get(t, "a"); got != data {
			t.Errorf("put %d: got %q", i, got)
		}
	}
	f.put(t, "a", "a longer one")
	f.put(t, "a", "short")
	if got := f.get(t, "a"); got != "short" {
		t.Errorf("got %q", got)
	}
}

func testOpenReader(t *testing.T, f *fixture) {
	old := pattern(3000)
	f.put(t, "a", string(old))
	r, _, err := f.Get(f.ctx, "a", storage.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = r.Close() }()
	head := make([]byte, 10)
	if _, err := io.ReadFull(r, head); err != nil {
		t.Fatal(err)
	}
	f.put(t, "a", "new")
	rest, err := io.ReadAll(r)
	if err == nil && !bytes.Equal(append(head, rest...), old) {
		t.Errorf("the reader got %d bytes that are not what it opened", len(rest)+10)
	}
}

func testIfNotExist(t *testing.T, f *fixture) {
	once := storage.PutOptions{IfNotExist: true}
	if _, err := storage.PutBytes(f.ctx, f.Store, "o/a", []byte("first"), once); err != nil {
		t.Fatal(err)
	}
	_, err := storage.PutBytes(f.ctx, f.Store, "o/a", []byte("second"), once)
	f.want(t, err, problem.Exists, "o/a")
	if got := f.get(t, "o/a"); got != "first" {
		t.Errorf("a refused Put left %q", got)
	}
	if err := f.Delete(f.ctx, "o/a"); err != nil {
		t.Fatal(err)
	}
	if _, err := storage.PutBytes(f.ctx, f.Store, "o/a", []byte("third"), once); err != nil {
		t.Errorf("after Delete: %v", err)
	}
}

func testIfMatch(t *testing.T, f *fixture) {
	put := func(data, etag string) (storage.Info, error) {
		return storage.PutBytes(f.ctx, f.Store, "a", []byte(data), storage.PutOptions{IfMatch: etag})
	}
	_, err := put("x", "no-such-tag")
	f.want(t, err, problem.Conflict, "a")
	one := f.put(t, "a", "one")
	two, err := put("two", one.ETag)
	if err != nil {
		t.Fatal(err)
	}
	_, err = put("lost", one.ETag)
	f.want(t, err, problem.Conflict, "a")
	if got := f.get(t, "a"); got != "two" {
		t.Errorf("a refused Put left %q", got)
	}
	if _, err := put("three", two.ETag); err != nil {
		t.Errorf("with the newest tag: %v", err)
	}
	_, err = storage.PutBytes(f.ctx, f.Store, "a", nil, storage.PutOptions{IfMatch: "x", IfNotExist: true})
	f.want(t, err, problem.Invalid, "a")
}

func testLarge(t *testing.T, f *fixture) {
	data := pattern(f.LargeBytes)
	// A plain reader: the driver does not know the length.
	src := func() io.Reader { return io.MultiReader(bytes.NewReader(data)) }
	once := storage.PutOptions{IfNotExist: true}
	info, err := f.Put(f.ctx, "large", src(), once)
	if err != nil || info.Size != int64(len(data)) {
		t.Fatalf("Put: %+v, %v", info, err)
	}
	got, stat, err := storage.ReadAll(f.ctx, f.Store, "large", 0)
	if err != nil || !bytes.Equal(got, data) {
		t.Fatalf("%d bytes came back, %v", len(got), err)
	}
	if stat.ETag != info.ETag {
		t.Errorf("ETag %q from Put, %q from Get", info.ETag, stat.ETag)
	}
	data[0]++
	_, err = f.Put(f.ctx, "large", src(), once)
	f.want(t, err, problem.Exists, "large")
	_, err = f.Put(f.ctx, "large", src(), storage.PutOptions{IfMatch: "no-such-tag"})
	f.want(t, err, problem.Conflict, "large")
	data[0]--
	if got, _, err := storage.ReadAll(f.ctx, f.Store, "large", 0); err != nil || !bytes.Equal(got, data) {
		t.Errorf("a refused Put changed it: %d bytes, %v", len(got), err)
	}
	_, _, err = storage.ReadAll(f.ctx, f.Store, "large", 1000)
	f.want(t, err, problem.TooLarge, "large")
}

var errSource = errors.New("the source broke")

// brokenReader gives n bytes, then fails.
type brokenReader struct {
	n   int
	err error
}

func (b *brokenReader) Read(p []byte) (int, error) {
	if b.n == 0 {
		return 0, b.err
	}
	n := min(b.n, len(p))
	b.n -= n
	return n, nil
}

func testFailingSource(t *testing.T, f *fixture) {
	f.put(t, "old", "old")
	for _, n := range []int{0, 100, f.LargeBytes} {
		for _, path := range []string{"old", "new"} {
			cause := problem.WrapAs(problem.Denied, errSource, "reading")
			_, err := f.Put(f.ctx, path, &brokenReader{n: n, err: cause}, storage.PutOptions{})
			f.want(t, err, problem.Denied, path)
			if !errors.Is(err, errSource) {
				t.Errorf("the source's error is not in %v", err)
			}
		}
	}
	if got := f.get(t, "old"); got != "old" {
		t.Errorf("a failed Put left %q", got)
	}
	_, err := f.Stat(f.ctx, "new")
	f.want(t, err, problem.NotFound, "new")
	if !f.CannotList {
		if got := f.all(t, storage.ListOptions{Recursive: true}); strings.Join(got, " ") != "old" {
			t.Errorf("after failed Puts the store lists %v", got)
		}
	}
}

// cancelingReader gives n bytes, then ends the context and goes on.
type cancelingReader struct {
	n      int
	cancel func()
}

func (c *cancelingReader) Read(p []byte) (int, error) {
	if c.n -= len(p); c.n <= 0 {
		c.cancel()
		return len(p), nil // endless: only the context stops it
	}
	return len(p), nil
}

func testCanceled(t *testing.T, f *fixture) {
	f.put(t, "a", "old")
	ctx, cancel := context.WithCancel(f.ctx)
	_, err := f.Put(ctx, "a", &cancelingReader{n: 100_000, cancel: cancel}, storage.PutOptions{})
	f.want(t, err, problem.Canceled, "a")
	if got := f.get(t, "a"); got != "old" {
		t.Errorf("a canceled Put left %d bytes", len(got))
	}
	_, err = f.Stat(ctx, "a")
	f.want(t, err, problem.Canceled, "a")
	_, _, err = f.Get(ctx, "a", storage.GetOptions{})
	f.want(t, err, problem.Canceled, "a")
	f.want(t, f.Delete(ctx, "a"), problem.Canceled, "a")
	if got := f.get(t, "a"); got != "old" {
		t.Errorf("a canceled Delete left %q", got)
	}
	if !f.CannotList {
		_, err = f.List(ctx, storage.ListOptions{})
		f.want(t, err, problem.Canceled, "")
	}
}

func testBadPaths(t *testing.T, f *fixture) {
	f.put(t, "a", "x")
	for _, path := range []string{
		"", "/", "/a", "a/", "a//b", ".", "..", "./a", "../a", "a/..", "a/../b", "a/./b",
		`..\a`, `a\b`, "a\x00b", "a\nb", "a\x7f", "\xff\xfe", "/etc/passwd",
		strings.Repeat("n", storage.MaxNameBytes+1), strings.Repeat("dir/", 300) + "a",
	} {
		_, _, err := f.Get(f.ctx, path, storage.GetOptions{})
		f.want(t, err, problem.Invalid, "")
		_, err = f.Put(f.ctx, path, strings.NewReader("x"), storage.PutOptions{})
		f.want(t, err, problem.Invalid, "")
		_, err = f.Stat(f.ctx, path)
		f.want(t, err, problem.Invalid, "")
		f.want(t, f.Delete(f.ctx, path), problem.Invalid, "")
		_, err = f.Copy(f.ctx, path, "a", storage.PutOptions{})
		f.want(t, err, problem.Invalid, "")
		_, err = f.Copy(f.ctx, "b", path, storage.PutOptions{})
		f.want(t, err, problem.Invalid, "")
	}
}

func testOddNames(t *testing.T, f *fixture) {
	names := []string{
		"with space", "per%20cent", "%", "plus+and&", "hash#", "what?x=1", "semi;colon", "quote'\"", "a=b",
		"ümlaut", "日本/ノート.ipynb", "🙂", ".hidden", "..a", "a..b", "...", "-dash", "~tilde", "c:d", "<html>",
		"trailing ", "UPPER", "upper", strings.Repeat("n", storage.MaxNameBytes),
	}
	for i, name := range names {
		f.put(t, name, fmt.Sprint(i))
	}
	for i, name := range names {
		if got := f.get(t, name); got != fmt.Sprint(i) {
			t.Errorf("%q: got %q, want %d", name, got, i)
		}
	}
	if f.CannotList {
		return
	}
	if got := f.all(t, storage.ListOptions{Recursive: true, Limit: 5}); len(got) != len(names) {
		t.Errorf("%d of %d names are listed: %q", len(got), len(names), got)
	}
}

func testCopy(t *testing.T, f *fixture) {
	f.put(t, "src/a", "data")
	info, err := f.Copy(f.ctx, "dst/b c", "src/a", storage.PutOptions{})
	if err != nil {
		t.Fatal(err)
	}
	stat, err := f.Stat(f.ctx, "dst/b c")
	if err != nil || stat.ETag != info.ETag || info.Size != 4 || info.Path != "dst/b c" {
		t.Errorf("Copy returned %+v, Stat %+v, %v", info, stat, err)
	}
	f.put(t, "src/a", "changed")
	if got := f.get(t, "dst/b c"); got != "data" {
		t.Errorf("the copy holds %q", got)
	}
	_, err = f.Copy(f.ctx, "dst/b c", "src/a", storage.PutOptions{IfNotExist: true})
	f.want(t, err, problem.Exists, "dst/b c")
	_, err = f.Copy(f.ctx, "dst/b c", "src/a", storage.PutOptions{IfMatch: "no-such-tag"})
	f.want(t, err, problem.Conflict, "dst/b c")
	if got := f.get(t, "dst/b c"); got != "data" {
		t.Errorf("a refused Copy left %q", got)
	}
	if _, err := f.Copy(f.ctx, "new", "src/a", storage.PutOptions{IfNotExist: true}); err != nil {
		t.Error(err)
	}
	if got := f.get(t, "new"); got != "changed" {
		t.Errorf("the new copy holds %q", got)
	}
}

func testContentType(t *testing.T, f *fixture) {
	opt := storage.PutOptions{ContentType: "application/x-ipynb+json"}
	if _, err := storage.PutBytes(f.ctx, f.Store, "a.ipynb", []byte("{}"), opt); err != nil {
		t.Fatal(err)
	}
	info, err := f.Stat(f.ctx, "a.ipynb")
	if err != nil {
		t.Fatal(err)
	}
	if f.KeepsContentType && info.ContentType != opt.ContentType {
		t.Errorf("got %q, want %q", info.ContentType, opt.ContentType)
	}
	if _, err := f.Copy(f.ctx, "b.ipynb", "a.ipynb", storage.PutOptions{}); err != nil {
		t.Fatal(err)
	}
	info, err = f.Stat(f.ctx, "b.ipynb")
	if err != nil || f.KeepsContentType && info.ContentType != opt.ContentType {
		t.Errorf("the copy has %q (%v), want %q", info.ContentType, err, opt.ContentType)
	}
}

func testClose(t *testing.T, f *fixture) {
	f.put(t, "a", "x")
	for range 2 {
		if err := f.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	}
}

package contents_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"quire/internal/auth"
	"quire/internal/contents"
	"quire/internal/db/dbtest"
	"quire/internal/problem"
	"quire/internal/storage"
	"quire/internal/storage/mem"
)

var (
	ann  = auth.User{Name: "ann"}
	anna = auth.User{Name: "anna"}
)

type bundle struct {
	*contents.Volume
	cfg contents.Config
	dir string
	ctx context.Context //nolint:containedctx // of one test
}

func setup(t *testing.T) *bundle {
	t.Helper()
	ctx, dir := context.Background(), t.TempDir()
	d := dbtest.Open(t, filepath.Join(dir, "q.db"))
	b := &bundle{ctx: ctx, dir: filepath.Join(dir, "files")}
	b.cfg = contents.Config{Dir: b.dir, Blobs: &contents.Blobs{Store: mem.New(mem.Config{})}, Versions: d, Trust: d}
	b.open(t)
	return b
}

func (b *bundle) open(t *testing.T) {
	t.Helper()
	v, err := contents.Open(b.ctx, b.cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = v.Close() })
	b.Volume = v
	for _, name := range []string{"ann", "anna"} {
		if err := v.AddWorkspace(name); err != nil {
			t.Fatal(err)
		}
	}
}

func (b *bundle) save(t *testing.T, path, body string, base int64) contents.Version {
	t.Helper()
	v, err := b.Save(b.ctx, ann, path, strings.NewReader(body), contents.SaveOptions{Base: base})
	if err != nil {
		t.Fatalf("saving %s: %v", path, err)
	}
	return v
}

func (b *bundle) read(t *testing.T, path string) string {
	t.Helper()
	_, r, err := b.Read(b.ctx, ann, path)
	if err != nil {
		t.Fatalf("reading %s: %v", path, err)
	}
	defer r.Close()
	data, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func (b *bundle) version(t *testing.T, path string, number int64) string {
	t.Helper()
	_, r, err := b.OpenVersion(b.ctx, ann, path, number)
	if err != nil {
		t.Fatalf("opening version %d: %v", number, err)
	}
	defer r.Close()
	data, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func TestSaveAndVersions(t *testing.T) {
	t.Parallel()
	b := setup(t)
	const path = "users/ann/a.ipynb"
	one := b.save(t, path, "one", 0)
	two := b.save(t, path, "two", one.Number)
	if got := b.read(t, path); got != "two" {
		t.Errorf("the file holds %q", got)
	}
	if got := b.version(t, path, one.Number); got != "one" {
		t.Errorf("the first version holds %q", got)
	}
	restored, err := b.RestoreVersion(b.ctx, ann, path, one.Number)
	if err != nil || b.read(t, path) != "one" {
		t.Errorf("restoring: %v, the file holds %q", err, b.read(t, path))
	}
	all, err := b.Versions(b.ctx, ann, path, 0, 0)
	if err != nil || len(all) != 3 || all[0] != restored || all[1] != two {
		t.Errorf("versions %+v, %v", all, err)
	}
}

func TestStaleSaveKeepsBothSides(t *testing.T) {
	t.Parallel()
	b := setup(t)
	const path = "users/ann/a.ipynb"
	one := b.save(t, path, "one", 0)
	b.save(t, path, "two", one.Number)
	_, err := b.Save(b.ctx, ann, path, strings.NewReader("late"), contents.SaveOptions{Base: one.Number})
	var conflict *contents.ConflictError
	if !errors.As(err, &conflict) || !problem.Is(err, problem.Conflict) {
		t.Fatalf("a stale save gave %v", err)
	}
	if got := b.read(t, path); got != "two" {
		t.Errorf("the file holds %q", got)
	}
	if got := b.version(t, path, conflict.Refused.Number); got != "late" {
		t.Errorf("the refused side holds %q", got)
	}
	plain, err := b.Save(b.ctx, ann, path, strings.NewReader("plain"), contents.SaveOptions{Plain: true})
	if err != nil || b.read(t, path) != "plain" || b.version(t, path, plain.Base) != "two" {
		t.Errorf("a plain client's save: %+v, %v", plain, err)
	}
}

func TestChangesOutsideBecomeVersions(t *testing.T) {
	t.Parallel()
	b := setup(t)
	const path = "users/ann/a.ipynb"
	one := b.save(t, path, "one", 0)
	if err := os.WriteFile(filepath.Join(b.dir, path), []byte("from git"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := b.Save(b.ctx, ann, path, strings.NewReader("mine"), contents.SaveOptions{Base: one.Number})
	if !problem.Is(err, problem.Conflict) {
		t.Fatalf("a save over a change from outside gave %v", err)
	}
	e, err := b.Stat(b.ctx, ann, path)
	if err != nil || b.version(t, path, e.Version) != "from git" {
		t.Errorf("the newest version is %d: %v", e.Version, err)
	}
}

func TestAcknowledgedSaveSurvivesACrashBeforeTheFile(t *testing.T) {
	t.Parallel()
	b := setup(t)
	const path = "users/ann/a.ipynb"
	one := b.save(t, path, "one", 0)
	hash, size, err := b.cfg.Blobs.Put(b.ctx, strings.NewReader("two"))
	if err != nil {
		t.Fatal(err)
	}
	// What Save does up to the point where the server dies.
	_, err = b.cfg.Versions.AppendVersion(b.ctx, contents.Append{
		Base:    &one.Number,
		Version: contents.Version{Path: path, Hash: hash, Size: size, Author: "ann", Cause: contents.Saved, Base: one.Number, Time: time.Now()},
	})
	if err != nil {
		t.Fatal(err)
	}
	b.open(t)
	if got := b.read(t, path); got != "two" {
		t.Errorf("after the restart the file holds %q", got)
	}
}

func TestManySavesOneWins(t *testing.T) {
	t.Parallel()
	b := setup(t)
	const path, n = "users/ann/a.ipynb", 12
	one := b.save(t, path, "one", 0)
	var wg sync.WaitGroup
	errs := make([]error, n)
	for i := range n {
		wg.Go(func() {
			_, errs[i] = b.Save(b.ctx, ann, path, strings.NewReader(strings.Repeat(fmt.Sprint(i%10), 100_000)), contents.SaveOptions{Base: one.Number})
		})
	}
	wg.Wait()
	won := 0
	for _, err := range errs {
		if err == nil {
			won++
		} else if !problem.Is(err, problem.Conflict) {
			t.Error(err)
		}
	}
	if won != 1 {
		t.Errorf("%d saves on one version were taken", won)
	}
	got := b.read(t, path)
	if len(got) != 100_000 || strings.Count(got, got[:1]) != len(got) {
		t.Error("the file is torn")
	}
	all, err := b.Versions(b.ctx, ann, path, 0, 0)
	if err != nil || len(all) != n+1 {
		t.Errorf("%d versions are kept, want %d: %v", len(all), n+1, err)
	}
}

func TestNoPathLeavesItsWorkspace(t *testing.T) {
	t.Parallel()
	b := setup(t)
	outside := filepath.Join(filepath.Dir(b.dir), "secret.txt")
	annas := filepath.Join(b.dir, "users/anna/private.txt")
	for _, file := range []string{outside, annas} {
		if err := os.WriteFile(file, []byte("secret"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	links := map[string]string{
		"out": "../../../secret.txt", "abs": outside, "dir": "../../..", "absdir": filepath.Dir(outside),
		"anna": "../anna", "annafile": "../anna/private.txt", "proc": "/proc/self/root",
	}
	for name, target := range links {
		if err := os.Symlink(target, filepath.Join(b.dir, "users/ann", name)); err != nil {
			t.Fatal(err)
		}
	}
	paths := []string{
		"../secret.txt", "users/ann/../../../secret.txt", "users/ann/../anna/private.txt", "/../secret.txt", "users/../../secret.txt",
		"users/ann/out", "users/ann/abs", "users/ann/dir/secret.txt", "users/ann/absdir/secret.txt",
		"users/ann/anna/private.txt", "users/ann/annafile", "users/ann/proc/etc/passwd",
		"users/ann/..", "users/ann/.", "users/ann/a\x00b", "users/ann/..\\..\\secret.txt", "users/ann//x", "users/ann/./x",
		"users/ann/\xff", "users/ann/a\nb", "users/ann/\u202etxt.exe", strings.Repeat("a/", 600) + "a", "users/ann/" + strings.Repeat("x", 256),
		"users/ann/.hidden", "users/ann/.trash/x", ".ssh/id_rsa", "users/ann/.\u2024/x",
	}
	for _, path := range paths {
		if _, r, err := b.Read(b.ctx, ann, path); err == nil {
			r.Close()
			t.Errorf("%q was read", path)
		}
		for _, op := range []struct {
			name string
			err  error
		}{
			{"saved", saveErr(b, path)},
			{"deleted", b.Delete(b.ctx, ann, path+"/x")},
			{"made", b.Mkdir(b.ctx, ann, path+"/d")},
			{"moved out", b.Rename(b.ctx, ann, path+"/private.txt", "users/ann/got.txt")},
		} {
			// A save replaces a link and does not follow it.
			if op.err == nil && (op.name != "saved" || !strings.HasPrefix(path, "users/ann/")) {
				t.Errorf("%q was %s", path, op.name)
			}
		}
	}
	for _, file := range []string{outside, annas} {
		if data, err := os.ReadFile(file); err != nil || string(data) != "secret" {
			t.Errorf("%s now holds %q (%v)", file, data, err)
		}
	}
	if left, _ := filepath.Glob(filepath.Join(b.dir, "users/anna/*")); len(left) != 1 {
		t.Errorf("anna's workspace holds %v", left)
	}
}

func saveErr(b *bundle, path string) error {
	_, err := b.Save(b.ctx, ann, path, strings.NewReader("overwritten"), contents.SaveOptions{Plain: true})
	return err
}

func TestNobodyWritesWhatIsAnothers(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.save(t, "users/ann/a.ipynb", "one", 0)
	for name, err := range map[string]error{
		"save":      saveAs(b, anna, "users/ann/a.ipynb"),
		"mkdir":     b.Mkdir(b.ctx, anna, "users/ann/d"),
		"rename":    b.Rename(b.ctx, anna, "users/ann/a.ipynb", "users/anna/a.ipynb"),
		"delete":    b.Delete(b.ctx, anna, "users/ann/a.ipynb"),
		"workspace": b.Delete(b.ctx, ann, "users/ann"),
		"root":      saveAs(b, ann, "a.ipynb"),
		"users":     saveAs(b, ann, "users/bob"),
		"mounts":    saveAs(b, ann, "mounts/lake/x.txt"),
	} {
		if !problem.Is(err, problem.Denied) {
			t.Errorf("%s: %v, want denied", name, err)
		}
	}
	if err := saveAs(b, anna, "shared/x.txt"); err != nil {
		t.Errorf("shared: %v", err)
	}
}

func saveAs(b *bundle, u auth.User, path string) error {
	_, err := b.Save(b.ctx, u, path, strings.NewReader("x"), contents.SaveOptions{Plain: true})
	return err
}

func TestTrashAndRename(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for _, err := range []error{b.Mkdir(b.ctx, ann, "users/ann/d_%"), b.Mkdir(b.ctx, ann, "users/ann/dxy")} {
		if err != nil {
			t.Fatal(err)
		}
	}
	one := b.save(t, "users/ann/d_%/a.ipynb", "one", 0)
	b.save(t, "users/ann/d_%/a.ipynb", "two", one.Number)
	b.save(t, "users/ann/dxy/a.ipynb", "other", 0)
	if err := b.Rename(b.ctx, ann, "users/ann/d_%", "users/ann/é"); err != nil {
		t.Fatal(err)
	}
	if got := b.version(t, "users/ann/é/a.ipynb", 1); got != "one" {
		t.Errorf("after the rename version 1 holds %q", got)
	}
	if got := b.version(t, "users/ann/dxy/a.ipynb", 1); got != "other" {
		t.Errorf("another directory's version 1 holds %q", got)
	}
	if err := b.Rename(b.ctx, ann, "users/ann/dxy", "users/ann/é"); !problem.Is(err, problem.Exists) {
		t.Errorf("renaming onto something gave %v", err)
	}
	if err := b.Delete(b.ctx, ann, "users/ann/é"); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Stat(b.ctx, ann, "users/ann/é/a.ipynb"); !problem.Is(err, problem.NotFound) {
		t.Errorf("what was deleted is there: %v", err)
	}
	all, err := b.Trash(b.ctx, ann, "users/ann")
	if err != nil || len(all) != 1 || all[0].Path != "users/ann/é" {
		t.Fatalf("trash %+v, %v", all, err)
	}
	if path, err := b.Restore(b.ctx, ann, "users/ann", all[0].ID); err != nil || path != "users/ann/é" {
		t.Fatalf("restored %q: %v", path, err)
	}
	if got := b.read(t, "users/ann/é/a.ipynb"); got != "two" || b.version(t, "users/ann/é/a.ipynb", 1) != "one" {
		t.Errorf("after restoring the file holds %q", got)
	}
}

func TestTrashIsEmptiedAfterThirtyDays(t *testing.T) {
	t.Parallel()
	b := setup(t)
	now := time.Now()
	b.cfg.Now = func() time.Time { return now }
	b.open(t)
	b.save(t, "users/ann/a.ipynb", "one", 0)
	if err := b.Delete(b.ctx, ann, "users/ann/a.ipynb"); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		later time.Duration
		want  int
	}{{0, 1}, {29 * 24 * time.Hour, 1}, {2 * 24 * time.Hour, 0}} {
		now = now.Add(tt.later)
		if err := b.EmptyTrashes(b.ctx); err != nil {
			t.Fatal(err)
		}
		all, err := b.Trash(b.ctx, ann, "users/ann")
		if err != nil || len(all) != tt.want {
			t.Errorf("trash %+v, want %d: %v", all, tt.want, err)
		}
	}
}

// TestDiscard frees the space of what was deleted at once, and only for who may
// write the workspace.
func TestDiscard(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.cfg.QuotaBytes = 1000
	b.open(t)
	for _, name := range []string{"a", "b"} {
		b.save(t, "users/ann/"+name+".ipynb", strings.Repeat("x", 400), 0)
		if err := b.Delete(b.ctx, ann, "users/ann/"+name+".ipynb"); err != nil {
			t.Fatal(err)
		}
	}
	_, err := b.Save(b.ctx, ann, "users/ann/c.ipynb", strings.NewReader(strings.Repeat("x", 400)), contents.SaveOptions{})
	if !problem.Is(err, problem.TooLarge) {
		t.Fatalf("saving with a full trash: %v, want too large", err)
	}
	all, err := b.Trash(b.ctx, ann, "users/ann")
	if err != nil || len(all) != 2 {
		t.Fatalf("trash %+v: %v", all, err)
	}
	stranger := auth.User{Name: "eve"}
	if _, err := b.Discard(b.ctx, stranger, "users/ann", ""); !problem.Is(err, problem.Denied) {
		t.Errorf("a stranger empties the trash: %v, want denied", err)
	}
	if _, err := b.Discard(b.ctx, ann, "shared", ""); !problem.Is(err, problem.Denied) {
		t.Errorf("a user empties the trash of shared: %v, want denied", err)
	}
	if n, err := b.Discard(b.ctx, ann, "users/ann", "0-x"); n != 0 || !problem.Is(err, problem.NotFound) {
		t.Errorf("discarding what is not there: %d, %v", n, err)
	}
	if n, err := b.Discard(b.ctx, ann, "users/ann", all[0].ID); n != 1 || err != nil {
		t.Errorf("discarding one: %d, %v", n, err)
	}
	b.save(t, "users/ann/c.ipynb", strings.Repeat("x", 400), 0)
	if n, err := b.Discard(b.ctx, ann, "users/ann", ""); n != 1 || err != nil {
		t.Errorf("discarding the rest: %d, %v", n, err)
	}
	used, err := b.Used("users/ann")
	if err != nil || used != 400 {
		t.Errorf("%d bytes are used, want the 400 of the new file: %v", used, err)
	}
	if left, err := b.Trash(b.ctx, ann, "users/ann"); err != nil || len(left) != 0 {
		t.Errorf("left in the trash: %+v, %v", left, err)
	}
}

func TestList(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.cfg.Mounts = map[string]storage.Store{"lake": mem.New(mem.Config{})}
	b.open(t)
	for i := range 25 {
		b.save(t, fmt.Sprintf("users/ann/n%02d.ipynb", i), strings.Repeat("x", i), 0)
	}
	if err := b.Mkdir(b.ctx, ann, "users/ann/zdir"); err != nil {
		t.Fatal(err)
	}
	for _, sort := range []contents.Sort{"", contents.ByName, contents.ByModified, contents.BySize} {
		var names []string
		opt := contents.ListOptions{Sort: sort, Limit: 7}
		for {
			page, err := b.List(b.ctx, ann, "users/ann", opt)
			if err != nil {
				t.Fatal(err)
			}
			for _, e := range page.Entries {
				names = append(names, e.Name)
			}
			if opt.Cursor = page.Next; opt.Cursor == "" {
				break
			}
		}
		if len(names) != 26 || names[0] != "zdir" {
			t.Errorf("sorted by %q: %d names, %v", sort, len(names), names)
		}
	}
	page, err := b.List(b.ctx, anna, "users/ann", contents.ListOptions{Filter: "N1"})
	if err != nil || len(page.Entries) != 10 || page.Entries[0].Writable {
		t.Errorf("filtered: %+v, %v", page.Entries, err)
	}
	root, err := b.List(b.ctx, ann, "", contents.ListOptions{})
	if err != nil || len(root.Entries) != 3 {
		t.Errorf("root: %+v, %v", root.Entries, err)
	}
	if _, err := b.List(b.ctx, ann, "users/ann", contents.ListOptions{Cursor: "?"}); !problem.Is(err, problem.Invalid) {
		t.Errorf("a bad cursor gave %v", err)
	}
}

func TestListingIsNeverStale(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for i := range 50 {
		b.save(t, fmt.Sprintf("users/ann/n%d.txt", i), "x", 0)
		page, err := b.List(b.ctx, ann, "users/ann", contents.ListOptions{})
		if err != nil || len(page.Entries) != i+1 {
			t.Fatalf("after %d saves %d entries are listed: %v", i+1, len(page.Entries), err)
		}
	}
}

func TestQuotaAndLimit(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.cfg.QuotaBytes, b.cfg.MaxFileBytes = 1000, 600
	b.open(t)
	b.save(t, "users/ann/a.txt", strings.Repeat("x", 600), 0)
	for path, size := range map[string]int{"users/ann/b.txt": 500, "users/ann/c.txt": 601} {
		_, err := b.Save(b.ctx, ann, path, strings.NewReader(strings.Repeat("x", size)), contents.SaveOptions{})
		if !problem.Is(err, problem.TooLarge) {
			t.Errorf("%s of %d bytes gave %v", path, size, err)
		}
		if _, err := b.Stat(b.ctx, ann, path); !problem.Is(err, problem.NotFound) {
			t.Errorf("%s is there: %v", path, err)
		}
	}
	if _, err := b.Save(b.ctx, anna, "users/anna/b.txt", strings.NewReader(strings.Repeat("x", 500)), contents.SaveOptions{}); err != nil {
		t.Errorf("another's workspace is full too: %v", err)
	}
}

func TestBlobsCutAndJoin(t *testing.T) {
	t.Parallel()
	ctx, store := context.Background(), mem.New(mem.Config{})
	blobs := &contents.Blobs{Store: store}
	var text strings.Builder
	for i := range 200_000 {
		fmt.Fprintf(&text, "line %d of a notebook\n", i*i)
	}
	for _, body := range []string{"", "x", text.String(), text.String()[:2_000_000] + "changed" + text.String()[2_000_000:]} {
		hash, size, err := blobs.Put(ctx, strings.NewReader(body))
		if err != nil || size != int64(len(body)) {
			t.Fatalf("size %d, %v", size, err)
		}
		r, err := blobs.Open(ctx, hash)
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(r)
		if err != nil || string(got) != body {
			t.Errorf("%d bytes became %d: %v", len(body), len(got), err)
		}
	}
	page, err := store.List(ctx, storage.ListOptions{Recursive: true})
	if err != nil {
		t.Fatal(err)
	}
	var kept int64
	for _, e := range page.Entries {
		kept += e.Size
	}
	if whole := int64(text.Len()); kept > whole+whole/2 {
		t.Errorf("two versions that differ in a word take %d bytes, one %d", kept, whole)
	}
}

package contents_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"quire/internal/contents"
	"quire/internal/db/sqlite"
	"quire/internal/problem"
	"quire/internal/storage"
	"quire/internal/storage/mem"
)

// A freeBundle is a volume whose bytes are freed after an hour.
type freeBundle struct {
	*bundle
	store *brokenDelete
	now   time.Time
	doom  contents.DoomStore
}

// brokenDelete is a store whose deleting can fail.
type brokenDelete struct {
	storage.Store
	broken bool
}

func (b *brokenDelete) Delete(ctx context.Context, path string) error {
	if b.broken {
		return errors.New("cut off")
	}
	return b.Store.Delete(ctx, path)
}

func setupFree(t *testing.T) *freeBundle {
	t.Helper()
	f := &freeBundle{bundle: setup(t), store: &brokenDelete{Store: mem.New(mem.Config{})}, now: time.Now()}
	d, err := sqlite.Open(f.ctx, filepath.Join(t.TempDir(), "doom.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	f.doom = d
	f.cfg.Blobs, f.cfg.Versions, f.cfg.Trust = &contents.Blobs{Store: f.store, Doomed: d}, d, d
	f.open(t)
	return f
}

// free lets hours pass and then frees.
func (f *freeBundle) free(t *testing.T, hours float64) contents.Freed {
	t.Helper()
	freed, err := f.tryFree(hours)
	if err != nil {
		t.Fatal(err)
	}
	return freed
}

func (f *freeBundle) tryFree(hours float64) (contents.Freed, error) {
	f.now = f.now.Add(time.Duration(hours * float64(time.Hour)))
	return f.cfg.Blobs.Free(f.ctx, contents.FreeOptions{After: time.Hour, Now: func() time.Time { return f.now }})
}

func (f *freeBundle) objects(t *testing.T) int {
	t.Helper()
	page, err := f.store.List(f.ctx, storage.ListOptions{Recursive: true})
	if err != nil {
		t.Fatal(err)
	}
	return len(page.Entries)
}

func (f *freeBundle) discard(t *testing.T, path string) {
	t.Helper()
	if err := f.Delete(f.ctx, ann, path); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Discard(f.ctx, ann, "users/ann", ""); err != nil {
		t.Fatal(err)
	}
}

// opens reads all of a version.
func (f *freeBundle) opens(t *testing.T, path string, number int64, want string) {
	t.Helper()
	_, r, err := f.OpenVersion(f.ctx, ann, path, number)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if data, err := io.ReadAll(r); err != nil || string(data) != want {
		t.Errorf("version %d of %s has %d bytes, not %d: %v", number, path, len(data), len(want), err)
	}
}

// large is a body of several chunks, which differs from others at one place.
func large(seed, where int) string {
	var b strings.Builder
	for i := range 60_000 {
		if i == where {
			fmt.Fprintf(&b, "changed by %d\n", seed)
		}
		fmt.Fprintf(&b, "line %d of a notebook\n", i*i)
	}
	return b.String()
}

func TestFreeTakesWhatNoVersionNames(t *testing.T) {
	t.Parallel()
	f := setupFree(t)
	one, two := large(1, 100), large(2, 59_000)
	f.save(t, "users/ann/a.ipynb", one, 0)
	f.save(t, "users/ann/b.ipynb", two, 0)
	f.save(t, "users/ann/c.ipynb", "small", 0)
	all := f.objects(t)
	if freed := f.free(t, 100); freed.Objects+freed.Doomed > 0 || f.objects(t) != all {
		t.Fatalf("%+v: what versions name was doomed", freed)
	}
	f.discard(t, "users/ann/a.ipynb")
	f.discard(t, "users/ann/c.ipynb")
	if freed := f.free(t, 1); freed.Doomed < 3 || freed.Objects > 0 || f.objects(t) != all {
		t.Fatalf("%+v: want two bodies doomed, and kept for an hour", freed)
	}
	if freed := f.free(t, 0.9); freed.Objects > 0 || f.objects(t) != all {
		t.Fatalf("%+v: freed before its time", freed)
	}
	freed := f.free(t, 0.2)
	if freed.Objects < 3 || f.objects(t) != all-freed.Objects {
		t.Fatalf("%+v, %d objects of %d are left", freed, f.objects(t), all)
	}
	f.opens(t, "users/ann/b.ipynb", 1, two)
	if freed := f.free(t, 100); freed.Objects+freed.Doomed > 0 {
		t.Errorf("%+v: there was nothing left to free", freed)
	}
}

// A save whose bytes are there already must not lose them to a Free that had
// its eye on them.
func TestFreeSparesWhatIsSavedAgain(t *testing.T) {
	t.Parallel()
	f := setupFree(t)
	body := large(1, 100)
	f.save(t, "users/ann/a.ipynb", body, 0)
	f.discard(t, "users/ann/a.ipynb")
	f.free(t, 2) // dooms
	f.save(t, "users/ann/again.ipynb", body, 0)
	f.discard(t, "users/ann/again.ipynb") // nothing names them again
	if freed := f.free(t, 2); freed.Objects > 0 {
		t.Errorf("%+v: what was saved again has its whole time again", freed)
	}
	f.save(t, "users/ann/third.ipynb", body, 0)
	f.free(t, 2)
	f.free(t, 2)
	f.opens(t, "users/ann/third.ipynb", 1, body)
}

// A save that was under way when its bytes were doomed may be committed since.
func TestFreeLooksTwice(t *testing.T) {
	t.Parallel()
	f := setupFree(t)
	v := f.save(t, "users/ann/a.ipynb", "small", 0)
	object := string(v.Hash[:2]) + "/" + string(v.Hash)
	if err := f.doom.Doom(f.ctx, []string{object}, f.now); err != nil {
		t.Fatal(err)
	}
	if freed := f.free(t, 2); freed.Objects > 0 {
		t.Errorf("%+v: a version names it", freed)
	}
	f.opens(t, "users/ann/a.ipynb", 1, "small")
	f.discard(t, "users/ann/a.ipynb")
	if freed := f.free(t, 2); freed.Objects > 0 {
		t.Errorf("%+v: its time begins when nothing names it", freed)
	}
}

// A save waits for bytes that are being freed, and a server that died over it
// leaves nothing that cannot be saved.
func TestFreeIsCutOff(t *testing.T) {
	t.Parallel()
	f := setupFree(t)
	f.save(t, "users/ann/a.ipynb", "small", 0)
	f.discard(t, "users/ann/a.ipynb")
	f.free(t, 2)
	f.store.broken = true
	if _, err := f.tryFree(2); err == nil {
		t.Fatal("a Free that could not delete did")
	}
	f.store.broken = false
	ctx, cancel := context.WithTimeout(f.ctx, 200*time.Millisecond)
	defer cancel()
	object := f.claimed(t)
	if _, err := f.Save(ctx, ann, "users/ann/b.ipynb", strings.NewReader("small"), contents.SaveOptions{}); err == nil {
		t.Error("a save counts on bytes that may go at any moment")
	}
	if busy, err := f.doom.Spare(f.ctx, object, f.now); err != nil || busy {
		t.Errorf("a claim of long ago cannot be taken back: %v, %v", busy, err)
	}
	f.save(t, "users/ann/b.ipynb", "small", 0)
	f.free(t, 2)
	f.free(t, 2)
	f.opens(t, "users/ann/b.ipynb", 1, "small")
}

// claimed returns the one object that there is.
func (f *freeBundle) claimed(t *testing.T) string {
	t.Helper()
	page, err := f.store.List(f.ctx, storage.ListOptions{Recursive: true})
	if err != nil || len(page.Entries) != 1 {
		t.Fatalf("%d objects, %v", len(page.Entries), err)
	}
	return page.Entries[0].Path
}

// Where the list of what a version is made of cannot be read, nothing goes.
func TestFreeStopsAtDamage(t *testing.T) {
	t.Parallel()
	f := setupFree(t)
	v := f.save(t, "users/ann/a.ipynb", large(1, 100), 0)
	f.save(t, "users/ann/b.ipynb", "small", 0)
	f.discard(t, "users/ann/b.ipynb")
	f.free(t, 2)
	list := string(v.Hash[:2]) + "/" + string(v.Hash) + ".m"
	if _, err := f.store.Put(f.ctx, list, strings.NewReader("{"), storage.PutOptions{}); err != nil {
		t.Fatal(err)
	}
	all := f.objects(t)
	if _, err := f.tryFree(2); err == nil || problem.KindOf(err) != problem.Internal {
		t.Errorf("a list that is damaged: %v", err)
	}
	if f.objects(t) != all {
		t.Error("something was freed although a part of what is named cannot be read")
	}
}

package contents_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"quire/internal/contents"
	"quire/internal/problem"
)

// part sends one part of a file and returns whether that was the end.
func (b *bundle) part(path string, number int, text string) (bool, error) {
	_, saved, err := b.UploadPart(b.ctx, ann, path, number, strings.NewReader(text), contents.SaveOptions{Plain: true})
	return saved, err
}

func (b *bundle) staged(t *testing.T) int {
	t.Helper()
	found, err := os.ReadDir(filepath.Join(b.dir, ".uploads"))
	if err != nil {
		t.Fatal(err)
	}
	return len(found)
}

func TestUploadInParts(t *testing.T) {
	t.Parallel()
	b := setup(t)
	const path = "users/ann/a.txt"
	b.save(t, path, "before", 0)
	for i, text := range []string{"one ", "two "} {
		if saved, err := b.part(path, i+1, text); saved || err != nil {
			t.Fatalf("part %d: saved %v, %v", i+1, saved, err)
		}
	}
	if got := b.read(t, path); got != "before" {
		t.Errorf("while parts come the file is %q", got)
	}
	if saved, err := b.part(path, contents.LastPart, "three"); !saved || err != nil {
		t.Fatalf("the last part: %v, %v", saved, err)
	}
	if got := b.read(t, path); got != "one two three" {
		t.Errorf("the file is %q", got)
	}
	if n := b.staged(t); n != 0 {
		t.Errorf("%d files are left of the upload", n)
	}
	if all, err := b.Versions(b.ctx, ann, path, 0, 0); err != nil || len(all) != 2 {
		t.Errorf("%d versions, %v; want one for what was there and one for the upload", len(all), err)
	}
}

func TestUploadPartsOutOfTurn(t *testing.T) {
	t.Parallel()
	b := setup(t)
	const path = "users/ann/a.txt"
	now := time.Now()
	b.cfg.Now = func() time.Time { return now }
	b.open(t)
	for _, number := range []int{2, contents.LastPart} {
		if _, err := b.part(path, number, "x"); !problem.Is(err, problem.Conflict) {
			t.Errorf("part %d without a first: %v", number, err)
		}
	}
	for _, step := range []struct {
		number int
		kind   problem.Kind
	}{{1, -1}, {3, problem.Conflict}, {2, -1}, {2, problem.Conflict}} {
		if _, err := b.part(path, step.number, "x"); (err != nil) != (step.kind >= 0) || err != nil && !problem.Is(err, step.kind) {
			t.Errorf("part %d: %v", step.number, err)
		}
	}
	if _, _, err := b.UploadPart(b.ctx, anna, path, 1, strings.NewReader("x"), contents.SaveOptions{}); !problem.Is(err, problem.Denied) {
		t.Errorf("somebody else's workspace: %v", err)
	}
	// An hour later the next upload drops it.
	now = now.Add(2 * time.Hour)
	if _, err := b.part("users/ann/b.txt", 1, "x"); err != nil {
		t.Fatal(err)
	}
	if n := b.staged(t); n != 1 {
		t.Errorf("%d uploads are kept, want the new one", n)
	}
	if _, err := b.part(path, contents.LastPart, "x"); !problem.Is(err, problem.Conflict) {
		t.Errorf("an old upload goes on: %v", err)
	}
	// And a server that starts again knows none.
	b.open(t)
	if n := b.staged(t); n != 0 {
		t.Errorf("%d uploads outlived the server", n)
	}
}

func TestUploadIsBounded(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.cfg.MaxFileBytes = 10
	b.open(t)
	const path = "users/ann/a.txt"
	if _, err := b.part(path, 1, "123456"); err != nil {
		t.Fatal(err)
	}
	if _, err := b.part(path, 2, "123456"); !problem.Is(err, problem.TooLarge) {
		t.Errorf("12 of 10 bytes: %v", err)
	}
	if n := b.staged(t); n != 0 {
		t.Errorf("%d files are left of what was refused", n)
	}
}

func TestCheckpoints(t *testing.T) {
	t.Parallel()
	b := setup(t)
	const path = "users/ann/a.ipynb"
	b.save(t, path, "one", 0)
	one, err := b.AddCheckpoint(b.ctx, ann, path)
	if err != nil {
		t.Fatal(err)
	}
	again, err := b.AddCheckpoint(b.ctx, ann, path)
	if err != nil || again.Number != one.Number {
		t.Errorf("the same bytes made checkpoint %d and %d, %v", one.Number, again.Number, err)
	}
	b.save(t, path, "two", 1)
	if _, err := b.RestoreCheckpoint(b.ctx, ann, path, 1); !problem.Is(err, problem.NotFound) {
		t.Errorf("a version that is no checkpoint was restored: %v", err)
	}
	if _, err := b.RestoreCheckpoint(b.ctx, ann, path, one.Number); err != nil {
		t.Fatal(err)
	}
	if got := b.read(t, path); got != "one" {
		t.Errorf("the file is %q", got)
	}
	if err := b.DropCheckpoint(b.ctx, ann, path, one.Number); err != nil {
		t.Fatal(err)
	}
	if err := b.DropCheckpoint(b.ctx, ann, path, one.Number); !problem.Is(err, problem.NotFound) {
		t.Errorf("it was dropped twice: %v", err)
	}
	if all, err := b.Checkpoints(b.ctx, ann, path); err != nil || len(all) != 0 {
		t.Errorf("%d checkpoints are left, %v", len(all), err)
	}
	if got := b.version(t, path, one.Number); got != "one" {
		t.Errorf("the version of a dropped checkpoint is %q", got)
	}
}

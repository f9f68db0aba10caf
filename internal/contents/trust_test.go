package contents_test

import (
	"os"
	"path/filepath"
	"testing"

	"quire/internal/auth"
	"quire/internal/contents"
)

func (b *bundle) trusted(t *testing.T, u auth.User, path string) bool {
	t.Helper()
	e, err := b.Stat(b.ctx, u, path)
	if err != nil {
		t.Fatal(err)
	}
	ok, err := b.Trusted(b.ctx, u, path, e.Hash)
	if err != nil {
		t.Fatal(err)
	}
	return ok
}

// TestTrustIsOfOneContentAtOnePath goes through what gains and loses trust.
func TestTrustIsOfOneContentAtOnePath(t *testing.T) {
	t.Parallel()
	b := setup(t)
	const path = "users/ann/a.ipynb"
	first := b.save(t, path, "one", 0)
	if b.trusted(t, ann, path) {
		t.Error("a save alone is trusted: nobody said that its outputs are known")
	}
	if err := b.Trust(b.ctx, ann, path, first.Hash); err != nil {
		t.Fatal(err)
	}
	if !b.trusted(t, ann, path) || b.trusted(t, anna, path) {
		t.Error("what ann trusts is trusted by her, and by nobody else")
	}
	if _, err := b.Copy(b.ctx, ann, path, "users/ann/copy.ipynb"); err != nil {
		t.Fatal(err)
	}
	if b.trusted(t, ann, "users/ann/copy.ipynb") {
		t.Error("a copy carries trust")
	}
	if err := os.WriteFile(filepath.Join(b.dir, path), []byte("from outside"), 0o600); err != nil {
		t.Fatal(err)
	}
	if b.trusted(t, ann, path) {
		t.Error("what changed on the disk is trusted")
	}
	if _, err := b.RestoreVersion(b.ctx, ann, path, first.Number); err != nil {
		t.Fatal(err)
	}
	if !b.trusted(t, ann, path) {
		t.Error("the same bytes at the same place are not trusted")
	}
	if err := b.Rename(b.ctx, ann, path, "users/ann/b.ipynb"); err != nil {
		t.Fatal(err)
	}
	if !b.trusted(t, ann, "users/ann/b.ipynb") {
		t.Error("a file that was moved lost its trust")
	}
	b.save(t, path, "one", 0)
	if b.trusted(t, ann, path) {
		t.Error("another file took over the trust of one that was moved away")
	}
	if err := b.Trust(b.ctx, ann, path, contents.Hash("../x")); err == nil {
		t.Error("something that is no hash was taken")
	}
}

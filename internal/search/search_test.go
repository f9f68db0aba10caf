package search_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"quire/internal/auth"
	"quire/internal/contents"
	"quire/internal/db/dbtest"
	"quire/internal/search"
	"quire/internal/storage/mem"
)

var ann = auth.User{Name: "ann"}

func setup(t *testing.T) (*search.Index, *contents.Volume) {
	t.Helper()
	dir := t.TempDir()
	d := dbtest.Open(t, filepath.Join(dir, "q.db"))
	v, err := contents.Open(t.Context(), contents.Config{
		Dir: filepath.Join(dir, "files"), Versions: d, Blobs: &contents.Blobs{Store: mem.New(mem.Config{})},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = v.Close() })
	if err := v.AddWorkspace("ann"); err != nil {
		t.Fatal(err)
	}
	return &search.Index{Store: d, Volume: v}, v
}

func save(t *testing.T, v *contents.Volume, path, metadata string, cells ...string) {
	t.Helper()
	var list []string
	for i, text := range cells {
		list = append(list, fmt.Sprintf(`{"cell_type":"markdown","id":"c%d","metadata":{},"source":[%q]}`, i, text))
	}
	body := `{"cells":[` + strings.Join(list, ",") + `],"metadata":{` + metadata + `},"nbformat":4,"nbformat_minor":5}`
	if _, err := v.Save(t.Context(), ann, path, strings.NewReader(body), contents.SaveOptions{Plain: true}); err != nil {
		t.Fatal(err)
	}
}

func find(t *testing.T, x *search.Index, q string) []string {
	t.Helper()
	hits, err := x.Search(t.Context(), ann, q, 0)
	if err != nil {
		t.Fatalf("searching %q: %v", q, err)
	}
	var found []string
	for _, h := range hits {
		found = append(found, fmt.Sprintf("%s#%s", h.Path, h.Anchor))
	}
	return found
}

func TestSearch(t *testing.T) {
	t.Parallel()
	x, v := setup(t)
	const path = "users/ann/New_Titles.ipynb"
	save(t, v, path, `"title":"Titles of May","authors":[{"name":"M Ufford"}],"nteract":{"tags":["weekly"]}`,
		"# Playback by device", "SELECT device_type FROM vid_agg_fr", "Café in Zürich")
	if err := x.Update(t.Context(), path); err != nil {
		t.Fatal(err)
	}
	for q, want := range map[string]string{
		"playback": "#c0", "play": "#c0", "device_type": "#c1", "vid_agg": "#c1", "cafe zurich": "#c2",
		"ufford": "#", "weekly": "#", "new_titles": "#", "may titles": "#",
		"playback café": "", "nothing": "", `"`: "", `playback"`: "#c0", "a:b OR (": "", "*": "", "NEAR": "", "": "",
		"\x00": "", strings.Repeat("x ", 5000): "",
	} {
		got := find(t, x, q)
		if want == "" && len(got) != 0 || want != "" && (len(got) == 0 || got[0] != path+want) {
			t.Errorf("%.40q found %v, want %q", q, got, want)
		}
	}
	all, err := x.Described(t.Context(), ann)
	if err != nil || len(all) != 1 || all[0].Title != "Titles of May" || all[0].Authors != "M Ufford" {
		t.Errorf("described %+v: %v", all, err)
	}
}

func TestIndexFollowsTheVolume(t *testing.T) {
	t.Parallel()
	x, v := setup(t)
	if err := v.Mkdir(t.Context(), ann, "users/ann/d"); err != nil {
		t.Fatal(err)
	}
	save(t, v, "users/ann/d/a.ipynb", "", "before")
	if err := x.Update(t.Context(), "users/ann"); err != nil {
		t.Fatal(err)
	}
	save(t, v, "users/ann/d/a.ipynb", "", "after")
	if err := v.Rename(t.Context(), ann, "users/ann/d", "users/ann/e"); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"users/ann/d", "users/ann/e"} {
		if err := x.Update(t.Context(), path); err != nil {
			t.Fatal(err)
		}
	}
	if got := find(t, x, "before"); len(got) != 0 {
		t.Errorf("what was replaced is found: %v", got)
	}
	if got := find(t, x, "after"); len(got) != 1 || got[0] != "users/ann/e/a.ipynb#c0" {
		t.Errorf("found %v", got)
	}
	if err := v.Delete(t.Context(), ann, "users/ann/e"); err != nil {
		t.Fatal(err)
	}
	if err := x.Update(t.Context(), "users/ann/e"); err != nil {
		t.Fatal(err)
	}
	if got := find(t, x, "after"); len(got) != 0 {
		t.Errorf("what was deleted is found: %v", got)
	}
}

// cutOff is a store that cannot keep one document.
type cutOff struct {
	search.Store
	path string
}

func (c cutOff) PutDocument(ctx context.Context, d search.Document) error {
	if d.Path == c.path {
		return errors.New("cut off")
	}
	return c.Store.PutDocument(ctx, d)
}

// TestWalkThatIsCutOff: what a walk did not come to is still found.
func TestWalkThatIsCutOff(t *testing.T) {
	t.Parallel()
	x, v := setup(t)
	save(t, v, "users/ann/a.ipynb", "", "first")
	save(t, v, "users/ann/b.ipynb", "", "second")
	if err := x.Update(t.Context(), "users/ann/b.ipynb"); err != nil {
		t.Fatal(err)
	}
	x.Store = cutOff{x.Store, "users/ann/a.ipynb"}
	if err := x.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(x.Stop)
	save(t, v, "users/ann/c.ipynb", "", "third") // comes to the index behind the walk
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for limit := time.Now().Add(time.Minute); len(find(t, x, "third")) == 0; <-tick.C {
		if time.Now().After(limit) {
			t.Fatal("what was saved is not found")
		}
	}
	if got := find(t, x, "second"); len(got) != 1 {
		t.Errorf("found %v", got)
	}
}

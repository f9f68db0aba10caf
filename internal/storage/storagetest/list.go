package storagetest

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"quire/internal/problem"
	"quire/internal/storage"
)

// all lists every page; folders end with a slash.
func (f *fixture) all(t *testing.T, opt storage.ListOptions) []string {
	t.Helper()
	var names []string
	for range 10_000 {
		page, err := f.List(f.ctx, opt)
		if err != nil {
			t.Fatalf("List %+v: %v", opt, err)
		}
		if len(page.Entries) > opt.PageSize() {
			t.Errorf("a page of %d entries holds %d", opt.PageSize(), len(page.Entries))
		}
		for _, e := range page.Entries {
			name := e.Path
			if e.Dir {
				name += "/"
			}
			names = append(names, name)
		}
		if page.Next == "" {
			return names
		}
		opt.Token = page.Next
	}
	t.Fatalf("List %+v never ends", opt)
	return nil
}

var listed = []string{
	"a-b", "a/1", "a/2", "a/b/c/d", "a/b/e", "a0", "ab", "b/1", "z/y/x/w", "é/ü",
}

var listCases = []struct {
	prefix    string
	recursive bool
	want      []string
}{
	{"", true, listed},
	{"", false, []string{"a-b", "a/", "a0", "ab", "b/", "z/", "é/"}},
	{"a", false, []string{"a-b", "a/", "a0", "ab"}},
	{"a/", false, []string{"a/1", "a/2", "a/b/"}},
	{"a/", true, []string{"a/1", "a/2", "a/b/c/d", "a/b/e"}},
	{"a/b", true, []string{"a/b/c/d", "a/b/e"}},
	{"a/b", false, []string{"a/b/"}},
	{"a/b/", false, []string{"a/b/c/", "a/b/e"}},
	{"z/y/x/w", false, []string{"z/y/x/w"}},
	{"z/y/x/w", true, []string{"z/y/x/w"}},
	{"é/", false, []string{"é/ü"}},
	{"no", true, nil},
	{"no/such/", false, nil},
	{"ab/", false, nil}, // a file, not a folder
	{".", false, nil},
	{"a/..", true, nil},
}

func testList(t *testing.T, f *fixture) {
	if f.CannotList {
		_, err := f.List(f.ctx, storage.ListOptions{})
		f.want(t, err, problem.Invalid, "")
		return
	}
	if got := f.all(t, storage.ListOptions{}); len(got) != 0 {
		t.Errorf("an empty store lists %v", got)
	}
	for _, p := range listed {
		f.put(t, p, p)
	}
	for _, c := range listCases {
		opt := storage.ListOptions{Prefix: c.prefix, Recursive: c.recursive}
		if got := f.all(t, opt); !slices.Equal(got, c.want) {
			t.Errorf("List %+v:\n got %q\nwant %q", opt, got, c.want)
		}
	}
	page, err := f.List(f.ctx, storage.ListOptions{Prefix: "a/1"})
	if err != nil || len(page.Entries) != 1 {
		t.Fatalf("got %+v, %v", page, err)
	}
	if e := page.Entries[0]; e.Size != 3 || e.ModTime.IsZero() || e.Dir {
		t.Errorf("entry %+v: want size 3 and a time", e)
	}
}

func testListPages(t *testing.T, f *fixture) {
	if f.CannotList {
		return
	}
	for _, p := range listed {
		f.put(t, p, p)
	}
	for limit := 1; limit <= len(listed)+1; limit++ {
		for _, c := range listCases {
			if f.OneFolderPage && !c.recursive {
				continue
			}
			opt := storage.ListOptions{Prefix: c.prefix, Recursive: c.recursive, Limit: limit}
			if got := f.all(t, opt); !slices.Equal(got, c.want) {
				t.Errorf("List %+v:\n got %q\nwant %q", opt, got, c.want)
			}
		}
	}
	// What is deleted after a page was given must not end or repeat the listing.
	page, err := f.List(f.ctx, storage.ListOptions{Recursive: true, Limit: 3})
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Delete(f.ctx, "a/2"); err != nil {
		t.Fatal(err)
	}
	got := f.all(t, storage.ListOptions{Recursive: true, Limit: 3, Token: page.Next})
	if want := listed[3:]; !slices.Equal(got, want) {
		t.Errorf("after a deletion: got %q, want %q", got, want)
	}
}

func testListMany(t *testing.T, f *fixture) {
	if f.CannotList {
		return
	}
	const n = 230
	var wg sync.WaitGroup
	var want []string
	next := make(chan string)
	for range 8 {
		wg.Go(func() {
			for p := range next {
				if _, err := storage.PutBytes(f.ctx, f.Store, p, []byte("x"), storage.PutOptions{}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	for i := range n {
		p := fmt.Sprintf("many/%03d", i)
		want = append(want, p)
		next <- p
	}
	close(next)
	wg.Wait()
	for _, limit := range []int{0, 50, 77, n, 1_000_000} {
		if got := f.all(t, storage.ListOptions{Prefix: "many/", Limit: limit}); !slices.Equal(got, want) {
			t.Errorf("limit %d: %d of %d are listed, or in another order", limit, len(got), n)
		}
	}
}

func testBadListings(t *testing.T, f *fixture) {
	if f.CannotList {
		return
	}
	f.put(t, "a", "x")
	for _, opt := range []storage.ListOptions{
		{Prefix: "/"},
		{Prefix: "/etc/"},
		{Prefix: "../"},
		{Prefix: "a/../b"},
		{Prefix: "a//"},
		{Prefix: `a\b`},
		{Prefix: "a\x00"},
		{Prefix: "\xff"},
		{Prefix: strings.Repeat("x/", 2000)},
		{Limit: -1},
		{Prefix: "a", Token: "no token of ours !"},
	} {
		_, err := f.List(f.ctx, opt)
		f.want(t, err, problem.Invalid, "")
	}
}

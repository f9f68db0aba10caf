package contents_test

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"quire/internal/contents"
	"quire/internal/storage"
	"quire/internal/storage/mem"
)

// counted counts the listings of a store.
type counted struct {
	storage.Store
	lists atomic.Int64
}

func (c *counted) List(ctx context.Context, opt storage.ListOptions) (storage.Page, error) {
	c.lists.Add(1)
	return c.Store.List(ctx, opt)
}

// mounted opens a volume with a mount of n notebooks and a folder.
func mounted(t *testing.T, n int, now func() time.Time) (*bundle, *counted) {
	t.Helper()
	b := setup(t)
	lake := &counted{Store: mem.New(mem.Config{})}
	for i := range n {
		// Upper and lower case, so that the store's order is not ours.
		b.put(t, lake, fmt.Sprintf("big/%c%05d.ipynb", "aB"[i%2], i), strings.Repeat("x", i%50))
	}
	b.put(t, lake, "big/zz/deep.txt", "x")
	b.cfg.Mounts, b.cfg.Now = map[string]storage.Store{"lake": lake}, now
	b.open(t)
	return b, lake
}

func (b *bundle) put(t *testing.T, s storage.Store, path, body string) {
	t.Helper()
	if _, err := s.Put(b.ctx, path, strings.NewReader(body), storage.PutOptions{}); err != nil {
		t.Fatal(err)
	}
}

func (b *bundle) list(t *testing.T, path string, opt contents.ListOptions) contents.Page {
	t.Helper()
	page, err := b.List(b.ctx, ann, path, opt)
	if err != nil {
		t.Fatalf("listing %s %+v: %v", path, opt, err)
	}
	return page
}

// all follows the pages of a listing and returns the names.
func (b *bundle) all(t *testing.T, path string, opt contents.ListOptions) []string {
	t.Helper()
	var names []string
	for {
		page := b.list(t, path, opt)
		for _, e := range page.Entries {
			names = append(names, e.Name)
		}
		if opt.Cursor = page.Next; page.Next == "" {
			return names
		}
	}
}

const big = "mounts/lake/big"

func TestMountIsPagedWhole(t *testing.T) {
	t.Parallel()
	const n = 2345
	for name, opt := range map[string]contents.ListOptions{
		"by the store": {Limit: 200}, "by size": {Limit: 200, Sort: contents.BySize}, "at once": {},
		"a page of all": {Limit: 5000}, "newest": {Limit: 777, Sort: contents.ByModified},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b, _ := mounted(t, n, nil)
			for range 2 { // cold, and kept
				seen := map[string]bool{}
				for _, name := range b.all(t, big, opt) {
					if seen[name] {
						t.Errorf("%s is listed twice", name)
					}
					seen[name] = true
				}
				if len(seen) != n+1 {
					t.Errorf("%d names, want %d", len(seen), n+1)
				}
			}
		})
	}
}

func TestMountIsKeptAndSaysItsAge(t *testing.T) {
	t.Parallel()
	var clock atomic.Int64
	start := time.Now()
	b, lake := mounted(t, 1500, func() time.Time { return start.Add(time.Duration(clock.Load())) })
	opt := contents.ListOptions{Sort: contents.ByModified, Limit: 10}
	first := b.list(t, big, opt)
	if first.Total != 1501 || first.Read.IsZero() || first.Entries[0].Name != "zz" {
		t.Errorf("the first page: %d in all, read %v, %s first", first.Total, first.Read, first.Entries[0].Name)
	}
	asked := lake.lists.Load()
	for _, opt := range []contents.ListOptions{opt, {Filter: "00007"}, {Sort: contents.BySize, Limit: 5}, {Limit: 5}} {
		b.list(t, big, opt)
	}
	if got := lake.lists.Load(); got != asked {
		t.Errorf("the store was asked %d times more within a minute", got-asked)
	}
	// A minute later the kept one is shown, with its age, and read again behind it.
	b.put(t, lake, "big/A_new.ipynb", "x")
	clock.Store(int64(2 * time.Minute))
	if page := b.list(t, big, opt); !page.Read.Equal(first.Read) || page.Total != 1501 {
		t.Errorf("what is kept was not shown: %d in all, read %v", page.Total, page.Read)
	}
	for end := time.Now().Add(time.Minute); b.list(t, big, opt).Total != 1502; {
		if time.Now().After(end) {
			t.Fatal("it was never read again")
		}
	}
	// After an hour nothing old is shown.
	b.put(t, lake, "big/B_new.ipynb", "x")
	clock.Store(int64(3 * time.Hour))
	if page := b.list(t, big, opt); page.Total != 1503 {
		t.Errorf("after an hour: %d in all, want 1503", page.Total)
	}
}

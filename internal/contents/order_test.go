package contents

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// made returns n entries with many equal times and sizes, ordered by name.
func made(n int) []Entry {
	rng := rand.New(rand.NewPCG(1, 2))
	entries := make([]Entry, n)
	for i := range entries {
		name := fmt.Sprintf("%c%06d.ipynb", "aB"[rng.IntN(2)], rng.IntN(1<<30))
		entries[i] = Entry{Name: name, Type: typeOf(name, rng.IntN(10) == 0), Size: int64(rng.IntN(5))}
		switch rng.IntN(4) {
		case 0: // its time is not known
		case 1:
			entries[i].Modified = time.Unix(1_500_000_000, int64(rng.IntN(3)))
		default:
			entries[i].Modified = time.Unix(int64(rng.IntN(3))*1_000_000_000, 0)
		}
	}
	slices.SortFunc(entries, orderOf(ByName))
	return entries
}

// TestSortedIsTheOrder holds the quick way of sorting against the definition.
func TestSortedIsTheOrder(t *testing.T) {
	t.Parallel()
	entries := made(2000)
	for _, by := range []Sort{"", ByName, ByModified, BySize} {
		at := sorted(entries, by)
		order := orderOf(by)
		for i := 1; i < len(at); i++ {
			if order(entries[at[i-1]], entries[at[i]]) >= 0 {
				t.Fatalf("by %q: %+v stands before %+v", by, entries[at[i-1]], entries[at[i]])
			}
		}
	}
}

// BenchmarkPageOf100000 is the first page of a large folder.
func BenchmarkPageOf100000(b *testing.B) {
	entries := made(100_000)
	for _, by := range []Sort{ByName, ByModified, BySize} {
		b.Run(string(by), func(b *testing.B) {
			for b.Loop() {
				if _, err := pageOf(entries, ListOptions{Sort: by, Limit: 200}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

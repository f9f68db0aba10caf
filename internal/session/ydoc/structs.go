package ydoc

import (
	"slices"
	"sort"
)

// chunkSize is how many structs lie in one chunk at most.
const chunkSize = 256

// structs are all items of one client, by clock and without gaps. They lie in
// chunks, so that a split in the middle of a long history stays cheap.
type structs struct {
	chunks [][]*item // none is empty
}

// A place names one struct: its chunk and its index there.
type place struct{ chunk, i int }

// state returns the clock after the last struct.
func (s *structs) state() uint64 {
	if len(s.chunks) == 0 {
		return 0
	}
	last := s.chunks[len(s.chunks)-1]
	x := last[len(last)-1]
	return x.id.Clock + x.len
}

// first returns the place of the first struct.
func (s *structs) first() place { return place{} }

// find returns the place of the struct that holds clock, which must be below
// state.
func (s *structs) find(clock uint64) place {
	c := sort.Search(len(s.chunks), func(i int) bool { return s.chunks[i][0].id.Clock > clock }) - 1
	chunk := s.chunks[max(c, 0)]
	i := sort.Search(len(chunk), func(i int) bool { return chunk[i].id.Clock > clock }) - 1
	return place{max(c, 0), max(i, 0)}
}

func (s *structs) valid(p place) bool {
	return p.chunk >= 0 && p.chunk < len(s.chunks) && p.i >= 0 && p.i < len(s.chunks[p.chunk])
}

func (s *structs) at(p place) *item { return s.chunks[p.chunk][p.i] }

// next returns the place after p, which is not valid at the end.
func (s *structs) next(p place) place {
	if p.i+1 < len(s.chunks[p.chunk]) {
		return place{p.chunk, p.i + 1}
	}
	return place{p.chunk + 1, 0}
}

// prev returns the place before p, which is not valid at the beginning.
func (s *structs) prev(p place) place {
	if p.i > 0 {
		return place{p.chunk, p.i - 1}
	}
	if p.chunk == 0 {
		return place{-1, 0}
	}
	return place{p.chunk - 1, len(s.chunks[p.chunk-1]) - 1}
}

// push adds x at the end.
func (s *structs) push(x *item) {
	n := len(s.chunks)
	if n == 0 || len(s.chunks[n-1]) == chunkSize {
		s.chunks = append(s.chunks, append(make([]*item, 0, 4), x))
		return
	}
	s.chunks[n-1] = append(s.chunks[n-1], x)
}

// insertAfter adds x behind p.
func (s *structs) insertAfter(p place, x *item) {
	chunk := s.chunks[p.chunk]
	if len(chunk) == chunkSize {
		half := slices.Clone(chunk[chunkSize/2:])
		clear(chunk[chunkSize/2:])
		s.chunks[p.chunk] = chunk[:chunkSize/2]
		s.chunks = slices.Insert(s.chunks, p.chunk+1, half)
		if p.i >= chunkSize/2 {
			p = place{p.chunk + 1, p.i - chunkSize/2}
		}
	}
	s.chunks[p.chunk] = slices.Insert(s.chunks[p.chunk], p.i+1, x)
}

// remove takes the struct at p out, which is not the first one, and returns the
// place before it.
func (s *structs) remove(p place) place {
	before := s.prev(p)
	s.chunks[p.chunk] = slices.Delete(s.chunks[p.chunk], p.i, p.i+1)
	if len(s.chunks[p.chunk]) == 0 {
		s.chunks = slices.Delete(s.chunks, p.chunk, p.chunk+1)
	}
	return before
}

// A span is a run of clocks of one client.
type span struct{ clock, len uint64 }

func (s span) end() uint64 { return s.clock + s.len }

// A deleteSet says which clocks of which clients are deleted.
type deleteSet map[uint64][]span

// add notes one more run, joined with the last one where they touch.
func (ds deleteSet) add(client, clock, n uint64) {
	spans := ds[client]
	if l := len(spans); l > 0 && spans[l-1].end() == clock {
		spans[l-1].len += n
		return
	}
	ds[client] = append(spans, span{clock, n})
}

// spans counts the runs.
func (ds deleteSet) spans() int {
	n := 0
	for _, spans := range ds {
		n += len(spans)
	}
	return n
}

// normalize sorts the runs and joins those that touch or overlap.
func (ds deleteSet) normalize() {
	for client, spans := range ds {
		if len(spans) < 2 {
			continue
		}
		slices.SortFunc(spans, func(a, b span) int {
			switch {
			case a.clock < b.clock:
				return -1
			case a.clock > b.clock:
				return 1
			}
			return 0
		})
		kept := spans[:1]
		for _, s := range spans[1:] {
			if l := &kept[len(kept)-1]; l.end() >= s.clock {
				l.len = max(l.len, s.end()-l.clock)
			} else {
				kept = append(kept, s)
			}
		}
		ds[client] = kept
	}
}

// has reports whether id is in the set, which must be normal.
func (ds deleteSet) has(id ID) bool {
	spans := ds[id.Client]
	i := sort.Search(len(spans), func(i int) bool { return spans[i].end() > id.Clock })
	return i < len(spans) && spans[i].clock <= id.Clock
}

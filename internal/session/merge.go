package session

import (
	"maps"
	"reflect"
	"slices"
	"strings"

	"quire/internal/notebook"
	"quire/internal/session/ydoc"
)

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

// mergeOutside brings into the live document what theirs changed since base: what
// somebody saved who was not connected. Cells are matched by their ids. Where the
// live document changed the same thing since, it stays as it is; those places
// are returned, one line each.
func mergeOutside(d *ydoc.Doc, base, theirs *notebook.Notebook) (conflicts []string) {
	m := &merging{d: d, cells: d.Array(rootCells), base: byID(base.Cells), theirs: byID(theirs.Cells)}
	d.Transact(nil, func() {
		m.metadata(base, theirs)
		m.existing(base)
		m.order(base, theirs)
		m.added(theirs)
	})
	return m.conflicts
}

// Merge returns the notebook ours with what theirs changed since base, matched
// cell by cell, or what both have changed, in words: then nothing is merged. All
// three are the bytes of files.
func Merge(base, ours, theirs []byte) (merged []byte, conflicts []string, err error) {
	from, err := notebookPaper{}.parse(base)
	if err != nil {
		return nil, nil, err
	}
	our, err := from.parse(ours)
	if err != nil {
		return nil, nil, err
	}
	their, err := from.parse(theirs)
	if err != nil {
		return nil, nil, err
	}
	d := ydoc.New(newClientID())
	our.fill(d)
	if conflicts = our.merge(d, their, []paper{from}, true); len(conflicts) > 0 {
		return nil, conflicts, nil
	}
	merged, err = our.snapshot(d).bytes()
	return merged, nil, err
}

type merging struct {
	d            *ydoc.Doc
	cells        *ydoc.Array
	base, theirs map[string]*notebook.Cell
	conflicts    []string
}

func (m *merging) conflict(what string) { m.conflicts = append(m.conflicts, what) }

// live returns the place of each live cell.
func (m *merging) live() map[string]int {
	at := map[string]int{}
	for i, v := range m.cells.All() {
		if c, ok := v.(*ydoc.Map); ok {
			if _, twice := at[c.String("id")]; !twice {
				at[c.String("id")] = i
			}
		}
	}
	return at
}

func (m *merging) metadata(base, theirs *notebook.Notebook) {
	meta := m.d.Map(rootMeta)
	if theirs.Minor != base.Minor {
		meta.Set("nbformat_minor", theirs.Minor)
	}
	md := meta.Map("metadata")
	if md == nil {
		md = meta.SetMap("metadata")
	}
	m.keys("the notebook's metadata", md, base.Metadata, theirs.Metadata)
}

// keys merges an object key by key.
func (m *merging) keys(where string, live *ydoc.Map, base, theirs notebook.Object) {
	for _, key := range sortedKeys(union(base, theirs)) {
		was, is := plainOf(base[key]), plainOf(theirs[key])
		_, inBase := base[key]
		_, inTheirs := theirs[key]
		if inBase == inTheirs && reflect.DeepEqual(was, is) {
			continue
		}
		now, inLive := live.JSON()[key]
		switch {
		case inLive == inTheirs && reflect.DeepEqual(now, is):
		case inLive != inBase || !reflect.DeepEqual(now, was):
			m.conflict(where + ": " + key)
		case inTheirs:
			live.Set(key, is)
		default:
			live.Delete(key)
		}
	}
}

func union(a, b notebook.Object) notebook.Object {
	all := maps.Clone(a)
	if all == nil {
		all = notebook.Object{}
	}
	maps.Copy(all, b)
	return all
}

// existing merges the cells that base had.
func (m *merging) existing(base *notebook.Notebook) {
	for i := m.cells.Len() - 1; i >= 0; i-- {
		c := m.cells.Map(i)
		if c == nil {
			continue
		}
		id := c.String("id")
		was, is := m.base[id], m.theirs[id]
		switch {
		case was == nil:
		case is == nil && sameCell(renderCell(c, was), was):
			m.cells.Delete(i, 1)
		case is == nil:
			m.conflict("cell " + id + ", which they deleted")
		default:
			m.cell(i, c, was, is)
		}
	}
	live := m.live()
	for _, was := range base.Cells {
		if _, here := live[was.ID]; here {
			continue
		}
		if is := m.theirs[was.ID]; is != nil && !sameCell(is, was) {
			m.conflict("cell " + was.ID + ", which was deleted here")
		}
	}
}

// sameCell compares what people write in a cell and what it put out.
func sameCell(a, b *notebook.Cell) bool {
	return a.Source == b.Source && a.Type == b.Type && sameOutputs(a, b) &&
		reflect.DeepEqual(plainOf(a.Metadata), plainOf(b.Metadata))
}

func sameOutputs(a, b *notebook.Cell) bool {
	return slices.EqualFunc(a.Outputs, b.Outputs, func(x, y *notebook.Output) bool {
		return x == y || reflect.DeepEqual(plainOutput(x), plainOutput(y))
	}) && reflect.DeepEqual(plainCount(a.ExecutionCount), plainCount(b.ExecutionCount))
}

// cell merges one cell that all three have.
func (m *merging) cell(index int, c *ydoc.Map, was, is *notebook.Cell) {
	if is.Type != was.Type && c.String("cell_type") == string(was.Type) {
		id := c.String("id")
		live := renderCell(c, was)
		if live.Source != was.Source {
			m.conflict("cell " + id + ", whose kind they changed")
			return
		}
		m.cells.Delete(index, 1)
		insertCell(m.cells, index, is)
		return
	}
	if text := c.Text("source"); text != nil && is.Source != was.Source {
		merged, ok := merge3(was.Source, text.String(), is.Source)
		if !ok {
			m.conflict("the text of cell " + was.ID)
		}
		text.Replace(merged)
	}
	if md := c.Map("metadata"); md != nil {
		m.keys("the metadata of cell "+was.ID, md, was.Metadata, is.Metadata)
	}
	m.outputs(c, was, is)
}

func (m *merging) outputs(c *ydoc.Map, was, is *notebook.Cell) {
	outputs := c.Array("outputs")
	if is.Type != notebook.Code || outputs == nil || sameOutputs(was, is) {
		return
	}
	live := renderCell(c, was)
	switch {
	case sameOutputs(live, is):
	case !sameOutputs(live, was):
		m.conflict("the outputs of cell " + was.ID)
	default:
		outputs.Delete(0, outputs.Len())
		for i, o := range is.Outputs {
			insertOutput(outputs, i, o)
		}
		if v, _ := c.Get("execution_count"); !reflect.DeepEqual(v, plainCount(is.ExecutionCount)) {
			c.Set("execution_count", plainCount(is.ExecutionCount))
		}
	}
}

// order takes over their order of the cells that all have, when the live
// document still has base's.
func (m *merging) order(base, theirs *notebook.Notebook) {
	live := m.live()
	common := func(cells []*notebook.Cell) (ids []string) {
		for _, c := range cells {
			_, here := live[c.ID]
			if here && m.base[c.ID] != nil && m.theirs[c.ID] != nil {
				ids = append(ids, c.ID)
			}
		}
		return ids
	}
	before, after := common(base.Cells), common(theirs.Cells)
	now := slices.SortedFunc(slices.Values(before), func(a, b string) int { return live[a] - live[b] })
	switch {
	case slices.Equal(before, after), slices.Equal(now, after):
		return
	case !slices.Equal(now, before):
		m.conflict("the order of the cells")
		return
	}
	for i, id := range after {
		at := m.live()
		places := slices.Sorted(func(yield func(int) bool) {
			for _, id := range after {
				if !yield(at[id]) {
					return
				}
			}
		})
		if at[id] != places[i] {
			m.move(at[id], places[i])
		}
	}
}

// move moves a live cell, as Jupyter does it: a copy is put in its new place.
func (m *merging) move(from, to int) {
	c := renderCell(m.cells.Map(from), m.base[m.cells.Map(from).String("id")])
	m.cells.Delete(from, 1)
	insertCell(m.cells, to, c)
}

// added puts their new cells behind the cells that they are behind in theirs.
func (m *merging) added(theirs *notebook.Notebook) {
	live := m.live()
	before := ""
	for _, c := range theirs.Cells {
		if _, here := live[c.ID]; here {
			before = c.ID
			continue
		}
		if m.base[c.ID] != nil {
			continue // deleted here
		}
		at := 0
		if before != "" {
			at = m.live()[before] + 1
		}
		insertCell(m.cells, at, c)
		before = c.ID
	}
}

// merge3 merges two texts that were made from base. When both changed the same
// lines it returns live and false.
func merge3(base, live, theirs string) (string, bool) {
	switch {
	case theirs == base || live == theirs:
		return live, true
	case live == base:
		return theirs, true
	}
	b, l, t := strings.SplitAfter(base, "\n"), strings.SplitAfter(live, "\n"), strings.SplitAfter(theirs, "\n")
	l0, l1 := changedLines(b, l)
	t0, t1 := changedLines(b, t)
	switch {
	case l0 == l1 && t0 == t1 && l0 == t0: // both put something in at one place
	case l1 <= t0:
		return strings.Join(slices.Concat(l[:len(l)-(len(b)-l1)], b[l1:t0], t[t0:]), ""), true
	case t1 <= l0:
		return strings.Join(slices.Concat(t[:len(t)-(len(b)-t1)], b[t1:l0], l[l0:]), ""), true
	}
	return live, false
}

// changedLines returns the lines of base between what both begin and end with.
func changedLines(base, other []string) (from, to int) {
	for from < len(base) && from < len(other) && base[from] == other[from] {
		from++
	}
	to = len(base)
	for end := len(other); to > from && end > from && base[to-1] == other[end-1]; to, end = to-1, end-1 {
	}
	return from, to
}

// closest returns which of the candidates theirs was made from most likely: a
// plain client does not say what it saw. It is the one of which the fewest cells
// were changed; of several the first one when they are what clients were given,
// otherwise the one of which the least text was changed.
func closest(theirs *notebook.Notebook, candidates []*notebook.Notebook, given bool) int {
	best, leastCells, leastBytes := -1, 0, 0
	for i, c := range candidates {
		cells, text := distance(c, theirs)
		if best < 0 || cells < leastCells || (cells == leastCells && !given && text < leastBytes) {
			best, leastCells, leastBytes = i, cells, text
		}
	}
	return best
}

// distance measures how much was changed from a to b, in cells and in bytes of
// text.
func distance(a, b *notebook.Notebook) (cells, text int) {
	old := byID(a.Cells)
	for _, c := range b.Cells {
		was := old[c.ID]
		delete(old, c.ID)
		switch {
		case was == nil:
			cells, text = cells+1, text+len(c.Source)
		case !sameCell(was, c):
			cells, text = cells+1, text+changedBytes(was.Source, c.Source)
		}
	}
	for _, c := range old {
		cells, text = cells+1, text+len(c.Source)
	}
	return cells, text
}

// changedBytes counts what lies between what both texts begin and end with.
func changedBytes(a, b string) int {
	for len(a) > 0 && len(b) > 0 && a[0] == b[0] {
		a, b = a[1:], b[1:]
	}
	for len(a) > 0 && len(b) > 0 && a[len(a)-1] == b[len(b)-1] {
		a, b = a[:len(a)-1], b[:len(b)-1]
	}
	return len(a) + len(b)
}

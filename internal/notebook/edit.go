package notebook

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"hash/maphash"
	"slices"
	"strconv"
)

// New returns an empty notebook of the current format.
func New() *Notebook {
	return &Notebook{Format: CurrentFormat, Minor: CurrentMinor, Metadata: Object{}, Cells: []*Cell{}}
}

// NewCode returns a code cell with a random id, no outputs and no count.
func NewCode(source string) *Cell {
	return &Cell{Type: Code, ID: RandomID(), Source: source, Metadata: Object{}, Outputs: []*Output{}}
}

// NewMarkdown returns a markdown cell with a random id.
func NewMarkdown(source string) *Cell {
	return &Cell{Type: Markdown, ID: RandomID(), Source: source, Metadata: Object{}}
}

// NewRaw returns a raw cell with a random id.
func NewRaw(source string) *Cell {
	return &Cell{Type: RawCell, ID: RandomID(), Source: source, Metadata: Object{}}
}

// RandomID returns a cell id of 8 random hex digits, as nbformat makes them.
func RandomID() string {
	var b [4]byte
	rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}

// Upgrade brings the notebook to CurrentMinor when it is older, and gives an id
// from newID, RandomID when it is nil, to every cell without one and to every
// cell whose id an earlier cell has. Ids that are there are kept.
func (nb *Notebook) Upgrade(newID func() string) {
	if newID == nil {
		newID = RandomID
	}
	if nb.Minor < CurrentMinor {
		nb.Minor = CurrentMinor
	}
	for _, c := range nb.Cells {
		if _, ok := c.Extra["id"]; ok {
			delete(c.Extra, "id") // older than 4.5 and no string
			if len(c.Extra) == 0 {
				c.Extra = nil
			}
		}
		if c.ID != "" && !ValidID(c.ID) {
			c.ID = ""
		}
	}
	nb.repairIDs(newID, true)
}

// repairIDs does what nbformat's normalize does for notebooks from 4.5 on.
func (nb *Notebook) repairIDs(newID func() string, quiet bool) {
	if nb.Minor < 5 {
		return
	}
	ids := newIDSet(nb.Cells)
	var missing, double []int
	for i, c := range nb.Cells {
		switch {
		case c.ID == "":
			missing = append(missing, i)
		case ids.add(i) != i:
			double = append(double, i)
		}
	}
	if len(missing)+len(double) == 0 {
		return
	}
	taken := make(map[string]bool, len(nb.Cells))
	for _, c := range nb.Cells {
		taken[c.ID] = true
	}
	fresh := func() string {
		for range 100 {
			if id := newID(); !taken[id] {
				taken[id] = true
				return id
			}
		}
		return RandomID() + RandomID() + RandomID() + RandomID() // newID repeats itself
	}
	for _, i := range missing {
		c := nb.Cells[i]
		c.ID = fresh()
		if !quiet {
			nb.warn("cell %d: id is missing: it is %q now", i+1, c.ID)
		}
	}
	for _, i := range double {
		c := nb.Cells[i]
		old := c.ID
		c.ID = fresh()
		if !quiet {
			nb.warn("cell %d: id %q occurs twice: it is %q now", i+1, shorten(old), c.ID)
		}
	}
}

// An idSet finds cells with the same id. It is a hash table of cell numbers,
// counted from 1: a quarter of the size of a map of the ids.
type idSet struct {
	cells []*Cell
	slots []uint32
	seed  maphash.Seed
}

func newIDSet(cells []*Cell) idSet {
	size := 8
	for size < 2*len(cells) {
		size *= 2
	}
	return idSet{cells: cells, slots: make([]uint32, size), seed: maphash.MakeSeed()}
}

// add puts cell i into the set and returns i, or the earlier cell with its id.
func (s idSet) add(i int) int {
	id := s.cells[i].ID
	for h := maphash.String(s.seed, id); ; h++ {
		slot := &s.slots[h&uint64(len(s.slots)-1)]
		if *slot == 0 {
			*slot = uint32(i + 1)
			return i
		}
		if first := int(*slot - 1); s.cells[first].ID == id {
			return first
		}
	}
}

func (nb *Notebook) warn(format string, args ...any) {
	if len(nb.Warnings) <= maxWarnings {
		nb.Warnings = append(nb.Warnings, fmt.Sprintf(format, args...))
	}
}

// Language returns the notebook's programming language in lower case as the
// notebook has it: metadata.language_info.name, else
// metadata.kernelspec.language, "" when neither is there.
func (nb *Notebook) Language() string {
	if name := nb.Metadata.Object("language_info").String("name"); name != "" {
		return name
	}
	return nb.Metadata.Object("kernelspec").String("language")
}

// KernelName returns metadata.kernelspec.name, "" when it is not there.
func (nb *Notebook) KernelName() string {
	return nb.Metadata.Object("kernelspec").String("name")
}

// The tags of the cells that parameters come in.
const (
	ParametersTag = "parameters"
	InjectedTag   = "injected-parameters"
)

// ParametersCell returns the index in Cells of the first cell tagged
// ParametersTag, -1 when there is none.
func (nb *Notebook) ParametersCell() int { return nb.tagged(ParametersTag) }

// InjectedCell returns the index in Cells of the first cell tagged InjectedTag,
// -1 when there is none.
func (nb *Notebook) InjectedCell() int { return nb.tagged(InjectedTag) }

// MarkerTag marks the texts that Papermill, and Quire with it, put into the
// output of a run that failed.
const MarkerTag = "papermill-error-cell-tag"

// Numbers returns the number of each cell as people count them: from 1, as they
// stand in the notebook that its author wrote. What a run puts in, the cell of
// its parameters and the markers of an error, has the number 0, so that a cell
// has the same number in a source, in its output while it runs and afterwards.
func (nb *Notebook) Numbers() []int {
	numbers, n := make([]int, len(nb.Cells)), 0
	for i, c := range nb.Cells {
		if !c.HasTag(InjectedTag) && !c.HasTag(MarkerTag) {
			n++
			numbers[i] = n
		}
	}
	return numbers
}

// CellName names the cell with a number of Numbers: "cell 5".
func CellName(number int) string {
	if number == 0 {
		return "the cell of the run's parameters"
	}
	return fmt.Sprintf("cell %d", number)
}

func (nb *Notebook) tagged(tag string) int {
	return slices.IndexFunc(nb.Cells, func(c *Cell) bool { return c.HasTag(tag) })
}

// Tags returns a copy of the cell's tags, nil when it has none.
func (c *Cell) Tags() []string {
	switch list := c.Metadata["tags"].(type) {
	case []string:
		return slices.Clone(list)
	case []any:
		var tags []string
		for _, item := range list {
			if s, ok := item.(string); ok {
				tags = append(tags, s)
			}
		}
		return tags
	}
	return nil
}

// HasTag reports whether the cell has the tag.
func (c *Cell) HasTag(tag string) bool { return slices.Contains(c.Tags(), tag) }

// SetTags replaces the cell's tags; an empty list is kept as one.
func (c *Cell) SetTags(tags []string) {
	list := make([]any, len(tags))
	for i, t := range tags {
		list[i] = t
	}
	if c.Metadata == nil {
		c.Metadata = Object{}
	}
	c.Metadata["tags"] = list
}

// AddTag adds the tag when the cell does not have it.
func (c *Cell) AddTag(tag string) {
	if tags := c.Tags(); !slices.Contains(tags, tag) {
		c.SetTags(append(tags, tag))
	}
}

// Object returns the object under key, nil when there is none. It is the object
// itself: a change to it is a change to o.
func (o Object) Object(key string) Object {
	v, _ := asObject(o[key])
	return v
}

// String returns the string under key, "" when there is none.
func (o Object) String(key string) string {
	s, _ := o[key].(string)
	return s
}

// Set sets key in the object under name, which it makes when it is not there.
func (o Object) Set(name, key string, val any) {
	in := o.Object(name)
	if in == nil {
		in = Object{}
		o[name] = in
	}
	in[key] = val
}

// Int64 returns the number as an int64, false when it is not a whole number in
// that range.
func (n Number) Int64() (int64, bool) {
	i, err := strconv.ParseInt(string(n), 10, 64)
	return i, err == nil
}

// Float64 returns the nearest float64, NaN and infinities included.
func (n Number) Float64() float64 {
	f, _ := strconv.ParseFloat(string(n), 64)
	return f
}

// Clone returns a copy that shares no part that can be changed with nb: an edit
// of its cells, outputs or metadata does not show in nb. Strings and the bytes
// of Raw values, which nobody may change, are shared.
func (nb *Notebook) Clone() *Notebook {
	n := *nb
	n.Metadata, n.Extra = nb.Metadata.Clone(), nb.Extra.Clone()
	n.Warnings = slices.Clone(nb.Warnings)
	n.Cells = make([]*Cell, len(nb.Cells))
	for i, c := range nb.Cells {
		n.Cells[i] = c.Clone()
	}
	return &n
}

// Clone returns a copy of the cell, as Notebook.Clone does, with the same id.
func (c *Cell) Clone() *Cell {
	if c == nil {
		return nil
	}
	n := *c
	n.Metadata, n.Extra, n.Attachments = c.Metadata.Clone(), c.Extra.Clone(), c.Attachments.Clone()
	n.ExecutionCount = cloneCount(c.ExecutionCount)
	if c.Outputs != nil {
		n.Outputs = make([]*Output, len(c.Outputs))
		for i, o := range c.Outputs {
			n.Outputs[i] = o.Clone()
		}
	}
	return &n
}

// Clone returns a copy of the output, as Notebook.Clone does.
func (o *Output) Clone() *Output {
	if o == nil {
		return nil
	}
	n := *o
	n.Data = MimeBundle(Object(o.Data).Clone())
	n.Metadata, n.Extra = o.Metadata.Clone(), o.Extra.Clone()
	n.ExecutionCount = cloneCount(o.ExecutionCount)
	n.Traceback = slices.Clone(o.Traceback)
	return &n
}

// Clone returns a deep copy of o, nil for nil.
func (o Object) Clone() Object {
	if o == nil {
		return nil
	}
	n := make(Object, len(o))
	for k, v := range o {
		n[k] = cloneAny(v)
	}
	return n
}

func cloneCount(n *int64) *int64 {
	if n == nil {
		return nil
	}
	c := *n
	return &c
}

func cloneAny(v any) any {
	switch v := v.(type) {
	case Object:
		return v.Clone()
	case MimeBundle:
		return MimeBundle(Object(v).Clone())
	case map[string]any:
		return map[string]any(Object(v).Clone())
	case []any:
		n := make([]any, len(v))
		for i := range v {
			n[i] = cloneAny(v[i])
		}
		return n
	case []Object:
		n := make([]Object, len(v))
		for i := range v {
			n[i] = v[i].Clone()
		}
		return n
	case []string:
		return slices.Clone(v)
	case *int64:
		return cloneCount(v)
	}
	return v
}

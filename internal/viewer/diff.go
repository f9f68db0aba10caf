package viewer

import (
	"encoding/json"
	"fmt"
	"hash/maphash"
	"slices"
	"strings"

	"quire/internal/notebook"
)

// A Diff is what differs between two notebooks, cell by cell. Its JSON form is
// a contract.
type Diff struct {
	// Summary says it in one sentence: "Same source; outputs differ in 2 cells".
	Summary string `json:"summary"`
	// Same is true when nothing differs but what is hidden: Metadata and Noise.
	Same       bool          `json:"same"`
	Parameters []ValueChange `json:"parameters,omitempty"`
	Cells      []CellDiff    `json:"cells"`
	// Metadata are differences of the notebook's metadata other than those of
	// every run: kernel and language versions, times, paths.
	Metadata []ValueChange `json:"metadata,omitempty"`

	a, b *notebook.Notebook
}

// A Change is what became of a cell, an output or a value.
type Change string

// The changes. A cell that stands elsewhere is Removed there and Added here.
const (
	Same    Change = "same"
	Changed Change = "changed"
	Added   Change = "added"
	Removed Change = "removed"
)

// A CellDiff is one cell of either notebook, or one of each that belong together.
type CellDiff struct {
	Change Change            `json:"change"`
	A      int               `json:"a"` // index in the first notebook; -1 when Added
	B      int               `json:"b"` // index in the second notebook; -1 when Removed
	Type   notebook.CellType `json:"type"`
	// Source is the line difference of the sources, empty when they are the same.
	Source  []Edit       `json:"source,omitempty"`
	Outputs []OutputDiff `json:"outputs,omitempty"`
	// Metadata are differences that a reader is not asked to look at: tags,
	// execution counts, times.
	Metadata []ValueChange `json:"metadata,omitempty"`
}

// An OutputDiff is one output of a cell that is not the same on both sides.
type OutputDiff struct {
	Change Change `json:"change"`
	A      int    `json:"a"` // index among the first cell's outputs; -1 when Added
	B      int    `json:"b"` // index among the second cell's outputs; -1 when Removed
	// Kind is what the output is: a media type, "stream stdout" or "error".
	Kind string `json:"kind"`
	// Text is the line difference where both sides are text.
	Text []Edit `json:"text,omitempty"`
}

// A ValueChange is one named value that differs; nil stands for none.
type ValueChange struct {
	Name string `json:"name"`
	A    any    `json:"a"`
	B    any    `json:"b"`
}

// An Edit is one line: kept (" "), removed ("-") or added ("+").
type Edit struct {
	Op   string `json:"op"`
	A    int    `json:"a,omitempty"` // line number in the first text, from 1; 0 when added
	B    int    `json:"b,omitempty"` // line number in the second text; 0 when removed
	Text string `json:"text"`
}

// Compare returns what differs between two notebooks. Cells belong together
// when they have the same id, then when their sources are the same, then when
// they are alike. It reads both and changes neither. Its time is bounded: very
// long texts that differ nearly everywhere are shown as replaced.
func Compare(a, b *notebook.Notebook) *Diff {
	d := &Diff{a: a, b: b}
	d.Parameters = objectChanges(runParameters(a), runParameters(b))
	d.Metadata = objectChanges(comparableMetadata(a), comparableMetadata(b))
	for _, pair := range align(a.Cells, b.Cells) {
		d.Cells = append(d.Cells, compareCells(a, b, pair))
	}
	d.summarize()
	return d
}

// comparableMetadata leaves out what every run writes anew.
func comparableMetadata(nb *notebook.Notebook) notebook.Object {
	kept := notebook.Object{}
	for k, v := range nb.Metadata {
		if k != "papermill" && k != "quire" && k != "widgets" {
			kept[k] = v
		}
	}
	return kept
}

func compareCells(a, b *notebook.Notebook, pair [2]int) CellDiff {
	d := CellDiff{Change: Same, A: pair[0], B: pair[1]}
	switch {
	case d.A < 0:
		c := b.Cells[d.B]
		d.Change, d.Type, d.Source = Added, c.Type, lineEdits("", c.Source)
		for j, o := range c.Outputs {
			d.Outputs = append(d.Outputs, OutputDiff{Change: Added, A: -1, B: j, Kind: outputKind(o)})
		}
		return d
	case d.B < 0:
		c := a.Cells[d.A]
		d.Change, d.Type, d.Source = Removed, c.Type, lineEdits(c.Source, "")
		for j, o := range c.Outputs {
			d.Outputs = append(d.Outputs, OutputDiff{Change: Removed, A: j, B: -1, Kind: outputKind(o)})
		}
		return d
	}
	ca, cb := a.Cells[d.A], b.Cells[d.B]
	d.Type = cb.Type
	if ca.Source != cb.Source {
		d.Source = lineEdits(ca.Source, cb.Source)
	}
	d.Outputs = compareOutputs(ca.Outputs, cb.Outputs)
	d.Metadata = objectChanges(ca.Metadata, cb.Metadata)
	if ca.Type != cb.Type {
		d.Metadata = append(d.Metadata, ValueChange{Name: "cell_type", A: string(ca.Type), B: string(cb.Type)})
	}
	if len(d.Source) > 0 || len(d.Outputs) > 0 || ca.Type != cb.Type {
		d.Change = Changed
	}
	return d
}

// compareOutputs pairs outputs in their order, same ones first.
func compareOutputs(a, b []*notebook.Output) []OutputDiff {
	keysA, keysB := outputKeys(a), outputKeys(b)
	var diffs []OutputDiff
	i, j := 0, 0
	pairUp := func(endA, endB int) {
		for ; i < endA || j < endB; i, j = i+1, j+1 {
			switch {
			case i >= endA:
				diffs = append(diffs, OutputDiff{Change: Added, A: -1, B: j, Kind: outputKind(b[j])})
			case j >= endB:
				diffs = append(diffs, OutputDiff{Change: Removed, A: i, B: -1, Kind: outputKind(a[i])})
			default:
				d := OutputDiff{Change: Changed, A: i, B: j, Kind: outputKind(b[j])}
				ta, okA := outputText(a[i])
				if tb, okB := outputText(b[j]); okA && okB && ta != tb {
					d.Text = lineEdits(ta, tb)
				}
				diffs = append(diffs, d)
			}
		}
		i, j = endA, endB
	}
	for _, m := range commonRuns(keysA, keysB) {
		pairUp(m[0], m[1])
		i, j = m[0]+1, m[1]+1
	}
	pairUp(len(a), len(b))
	return diffs
}

var keySeed = maphash.MakeSeed()

// outputKeys returns a hash of what is to be seen of each output: no execution
// counts, no metadata.
func outputKeys(outputs []*notebook.Output) []uint64 {
	keys := make([]uint64, len(outputs))
	for i, o := range outputs {
		var h maphash.Hash
		h.SetSeed(keySeed)
		part := func(s string) {
			fmt.Fprintf(&h, "%d:", len(s))
			_, _ = h.WriteString(s)
		}
		kind := o.Type
		if kind == notebook.ExecuteResult {
			kind = notebook.DisplayData
		}
		part(string(kind))
		part(o.Name)
		part(o.Text)
		part(o.Ename)
		part(o.Evalue)
		for _, mime := range sortedKeys(o.Data) {
			part(mime)
			part(dataText(o, mime))
		}
		keys[i] = h.Sum64()
	}
	return keys
}

func outputKind(o *notebook.Output) string {
	switch o.Type {
	case notebook.Stream:
		return "stream " + o.Name
	case notebook.ErrorOutput:
		return "error"
	}
	for _, mime := range slices.Concat(imageTypes, []string{mimeHTML, mimeMarkdown, mimeLaTeX, mimeJSON, mimeText}) {
		if o.Data[mime] != nil {
			return mime
		}
	}
	if keys := sortedKeys(o.Data); len(keys) > 0 {
		return keys[0]
	}
	return string(o.Type)
}

// outputText returns an output as text, false when it is an image or the like.
func outputText(o *notebook.Output) (string, bool) {
	switch o.Type {
	case notebook.Stream:
		return overstrike(stripANSI(o.Text)), true
	case notebook.ErrorOutput:
		return o.Ename + ": " + stripANSI(o.Evalue), true
	}
	for _, mime := range imageTypes {
		if o.Data[mime] != nil {
			return "", false
		}
	}
	for _, mime := range []string{mimeMarkdown, mimeLaTeX, mimeText, mimeHTML, mimeJSON} {
		if o.Data[mime] != nil {
			return dataText(o, mime), true
		}
	}
	return "", false
}

// objectChanges returns the keys whose values differ, in order, one level deep.
func objectChanges(a, b notebook.Object) []ValueChange {
	var out []ValueChange
	names := sortedKeys(a)
	for k := range b {
		if _, ok := a[k]; !ok {
			names = append(names, k)
		}
	}
	slices.Sort(names)
	for _, k := range names {
		va, okA := a[k]
		vb, okB := b[k]
		if okA == okB && compact(va, 0) == compact(vb, 0) {
			continue
		}
		out = append(out, ValueChange{Name: k, A: jsonValue(va, okA), B: jsonValue(vb, okB)})
	}
	return out
}

// jsonValue returns a value that encoding/json can write: numbers that JSON
// does not know become their text.
func jsonValue(v any, present bool) any {
	switch v := v.(type) {
	case nil:
		if present {
			return "null"
		}
		return nil
	case string, bool, float64, int, int64:
		return v
	case notebook.Number:
		return jsonNumber(string(v))
	}
	if text, cut := cutText(compact(v, 0), 2000); !cut && json.Valid([]byte(text)) {
		return json.RawMessage(text)
	}
	return valueText(v, 2000)
}

// summarize says in one sentence what differs.
func (d *Diff) summarize() {
	source, outputs, added, removed := 0, 0, 0, 0
	for _, c := range d.Cells {
		switch c.Change {
		case Added:
			added++
		case Removed:
			removed++
		case Changed:
			if len(c.Source) > 0 {
				source++
			}
			if len(c.Outputs) > 0 {
				outputs++
			}
		}
	}
	var parts []string
	if source+added+removed == 0 {
		parts = append(parts, "same source")
	}
	if source > 0 {
		parts = append(parts, "source differs in "+count(source, "cell"))
	}
	if added > 0 {
		parts = append(parts, count(added, "cell")+" added")
	}
	if removed > 0 {
		parts = append(parts, count(removed, "cell")+" removed")
	}
	if outputs > 0 {
		parts = append(parts, "outputs differ in "+count(outputs, "cell"))
	} else if source+added+removed == 0 {
		parts = append(parts, "same outputs")
	}
	if n := len(d.Parameters); n > 0 {
		parts = append(parts, count(n, "parameter")+" changed")
	}
	d.Same = source+added+removed+outputs+len(d.Parameters) == 0
	s := strings.Join(parts, "; ")
	if d.Same {
		s = "same source and outputs"
	}
	d.Summary = strings.ToUpper(s[:1]) + s[1:]
}

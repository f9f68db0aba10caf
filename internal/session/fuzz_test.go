package session

import (
	"testing"

	"quire/internal/notebook"
	"quire/internal/session/ydoc"
)

// FuzzRender: whatever clients write into a document, it is a notebook that can be
// read again, and merging with it does not fail.
func FuzzRender(f *testing.F) {
	nb, err := notebook.Parse([]byte(sample))
	if err != nil {
		f.Fatal(err)
	}
	first := ydoc.New(0)
	fill(first, nb)
	state, err := first.Update(nil)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(state)
	edited := ydoc.New(9)
	_ = edited.Apply(state, nil)
	var updates [][]byte
	edited.Updated = func(u []byte, _ any) { updates = append(updates, u) }
	cells := edited.Array(rootCells)
	cells.Insert(0, "text", 7, map[string]any{"id": "x"})
	cells.Map(3).Set("source", "plain")
	cells.Map(4).Set("cell_type", "strange")
	cells.Map(4).SetArray("metadata").Insert(0, []byte{1})
	cells.Map(5).Array("outputs").Insert(0, "no output", map[string]any{"output_type": "stream"})
	cells.Map(5).Set("id", "one")
	edited.Map(rootMeta).Set("metadata", 3)
	edited.Map(rootMeta).Set("nbformat_minor", -1)
	for _, u := range updates {
		f.Add(u)
	}
	blobs := testBlobs(f)
	f.Fuzz(func(t *testing.T, update []byte) {
		d := ydoc.New(5)
		if err := d.Apply(state, nil); err != nil {
			t.Fatal(err)
		}
		_ = d.Apply(update, nil)
		base := notebookPaper{nb, blobs}
		data, err := base.snapshot(d).bytes()
		if err != nil {
			t.Fatal(err)
		}
		again, err := base.parse(data)
		if err != nil {
			t.Fatalf("what was saved cannot be read: %v\n%s", err, data)
		}
		base.merge(d, again, []paper{base}, false)
		other, err := base.parse([]byte(`{"cells":[],"metadata":{},"nbformat":4,"nbformat_minor":5}`))
		if err != nil {
			t.Fatal(err)
		}
		base.merge(d, other, []paper{again}, true)
	})
}

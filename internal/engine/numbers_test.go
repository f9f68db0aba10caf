package engine

import (
	"encoding/json"
	"testing"

	"quire/internal/kernel/kerneltest"
	"quire/internal/notebook"
)

// A cell has one number, the one that its author sees, wherever it is named,
// although a run puts in the cell of its parameters and the markers of an error.
func TestOneNumberForACell(t *testing.T) {
	t.Parallel()
	source := book("fake", "parameters:::a = 1", "print a", "error ValueError bad", "print c")
	numbers, places := map[string][]int{}, map[string]int{}
	res, err := Run(t.Context(), Request{
		Source: source, Kernels: fakeKernels(t, kerneltest.Options{}), Parameters: params("a", 2),
		Events: func(e Event) {
			if e.Index == nil {
				return
			}
			numbers[e.CellID] = append(numbers[e.CellID], e.Cell)
			if e.CellID != "" {
				places[e.CellID] = *e.Index
			}
		},
	})
	if err != nil || res.Error == nil {
		t.Fatalf("%+v, %v", res, err)
	}
	for i, c := range source.Cells[:3] {
		for _, n := range numbers[c.ID] {
			if c.ID == "" || n != i+1 {
				t.Errorf("an event calls cell %d of the source %d", i+1, n)
			}
		}
		if want := min(i, 1)*1 + i; places[c.ID] != want {
			t.Errorf("cell %d of the source stands at %d of the output while it runs, want %d", i+1, places[c.ID], want)
		}
	}
	if res.Error.Cell != 3 || res.Notebook.Cells[res.Error.Index].ID != source.Cells[2].ID {
		t.Errorf("the error is in cell %d, at %d of the output", res.Error.Cell, res.Error.Index)
	}
	for i, n := range res.Notebook.Numbers() {
		if n > 0 && source.Cells[n-1].ID != res.Notebook.Cells[i].ID {
			t.Errorf("the output's cell %d is not the source's", n)
		}
	}
	var own struct{ Cell int }
	text, _ := res.Notebook.Metadata.Object("quire")["error"].(notebook.Raw)
	if err := json.Unmarshal(text, &own); err != nil || own.Cell != 3 {
		t.Errorf("the notebook itself says %s", text)
	}
	if got := res.Err().Error(); got != "cell 3: ValueError: bad" {
		t.Errorf("in words: %q", got)
	}
}

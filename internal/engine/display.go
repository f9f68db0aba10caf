package engine

import "quire/internal/notebook"

// maxDisplayIDs bounds the registry of displays that can be updated.
const maxDisplayIDs = 100_000

// A display is one output that an update_display_data may replace.
type display struct {
	cell *cellState
	item *item
}

// registerDisplay remembers where a display with an id stands.
func (r *run) registerDisplay(id string, c *cellState, it *item) {
	if _, known := r.displays[id]; !known && len(r.displays) >= maxDisplayIDs {
		return
	}
	r.displays[id] = append(r.displays[id], &display{cell: c, item: it})
	delete(c.cleared, id)
}

// updateDisplay replaces the data of every output with the id, in whatever
// cell it stands. A display that clear_output has taken away from the current
// cell comes back with its new data (Papermill loses it).
func (r *run) updateDisplay(id string, from *cellState, o *notebook.Output) {
	for _, d := range r.displays[id] {
		replaced := *d.item.out
		replaced.Data, replaced.Metadata = o.Data, o.Metadata
		size := outputSize(&replaced)
		if d.cell.kept-d.item.size+size > r.maxOutput {
			r.spillOutput(d.cell, o)
			continue
		}
		d.cell.kept += size - d.item.size
		d.item.out, d.item.size = &replaced, size
		d.cell.dirty = true
		r.touch(d.cell)
	}
	if from != nil && from.cleared[id] {
		shown := *o
		shown.Type, shown.ExecutionCount = notebook.DisplayData, nil
		if it := r.appendOutput(from, &shown); it != nil {
			r.registerDisplay(id, from, it)
		}
	}
}

// touch remembers that a cell which has finished has changed and must be
// stored again.
func (r *run) touch(c *cellState) {
	if c.done {
		r.late[c.index] = c
	}
}

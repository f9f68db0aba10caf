package engine

import (
	"fmt"
	"slices"

	"quire/internal/notebook"
)

// The markers that Papermill puts around a failing cell, to the letter: viewers
// and scripts look for the tag, the anchor's id and the text.
const (
	errorMarkerTag = notebook.MarkerTag
	markerStyle    = `style="color:red; font-family:Helvetica Neue, Helvetica, Arial, sans-serif; font-size:2em;"`
	markerTop      = `<span ` + markerStyle + `>An Exception was encountered at '<a href="#papermill-error-cell">In [%s]</a>'.</span>`
	markerAnchor   = `<span id="papermill-error-cell" ` + markerStyle + `>Execution using papermill encountered an exception here and stopped:</span>`
)

// removeMarkers drops the markers of an earlier run.
func removeMarkers(nb *notebook.Notebook) {
	nb.Cells = slices.DeleteFunc(nb.Cells, func(c *notebook.Cell) bool { return c.HasTag(errorMarkerTag) })
}

// addMarkers puts the note at the top and the anchor before cell i, whose
// index becomes i+2.
func addMarkers(nb *notebook.Notebook, i int) {
	count := "None"
	if n := nb.Cells[i].ExecutionCount; n != nil {
		count = fmt.Sprint(*n)
	}
	top := newMarker(fmt.Sprintf(markerTop, count))
	anchor := newMarker(markerAnchor)
	nb.Cells = slices.Insert(nb.Cells, i, anchor)
	nb.Cells = slices.Insert(nb.Cells, 0, top)
}

func newMarker(text string) *notebook.Cell {
	c := notebook.NewMarkdown(text)
	c.Metadata["tags"] = []any{errorMarkerTag}
	return c
}

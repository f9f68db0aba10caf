package nbtemplate

import (
	"encoding/base64"
	"strings"

	"quire/internal/notebook"
)

// A Cover is a piece of an output that stands for a template: a picture, or the
// first lines of a text.
type Cover struct {
	Type string // image/png, image/jpeg, image/svg+xml or text/plain
	Data []byte
}

// Bounds of a cover.
const (
	maxPicture   = 4 << 20
	maxCoverText = 1200
	maxLines     = 14
)

// CoverOf finds the cover in an output notebook: what the chosen cell of the
// source shows, else the last picture, else the last text. ok is false when
// there is nothing.
func CoverOf(nb *notebook.Notebook, cell int) (c Cover, ok bool) {
	if i := outputCell(nb, cell); i >= 0 {
		if c, ok := coverIn(nb.Cells[i], true); ok {
			return c, true
		}
		if c, ok := coverIn(nb.Cells[i], false); ok {
			return c, true
		}
	}
	for _, pictures := range []bool{true, false} {
		for i := len(nb.Cells) - 1; i >= 0; i-- {
			if c, ok := coverIn(nb.Cells[i], pictures); ok {
				return c, true
			}
		}
	}
	return Cover{}, false
}

// outputCell is where cell number n of the source is in the output, which has
// one more where parameters were injected; -1 when n is none.
func outputCell(nb *notebook.Notebook, n int) int {
	for i, c := range nb.Cells {
		if c.HasTag(notebook.InjectedTag) {
			continue
		}
		if n--; n == 0 {
			return i
		}
	}
	return -1
}

var pictureTypes = []string{"image/png", "image/jpeg", "image/svg+xml"}

func coverIn(cell *notebook.Cell, pictures bool) (Cover, bool) {
	for i := len(cell.Outputs) - 1; i >= 0; i-- {
		o := cell.Outputs[i]
		if pictures {
			if c, ok := picture(o); ok {
				return c, true
			}
			continue
		}
		text := ""
		switch o.Type {
		case notebook.Stream:
			if o.Name == "stdout" {
				text = o.Text
			}
		case notebook.DisplayData, notebook.ExecuteResult:
			text, _ = o.Data["text/plain"].(string)
		}
		if text = firstLines(text); text != "" {
			return Cover{"text/plain", []byte(text)}, true
		}
	}
	return Cover{}, false
}

func picture(o *notebook.Output) (Cover, bool) {
	for _, kind := range pictureTypes {
		text, ok := o.Data[kind].(string)
		if !ok || len(text) > maxPicture {
			continue
		}
		if kind == "image/svg+xml" {
			return Cover{kind, []byte(text)}, true
		}
		data, err := base64.StdEncoding.DecodeString(strings.Join(strings.Fields(text), ""))
		if err == nil && len(data) > 0 {
			return Cover{kind, data}, true
		}
	}
	return Cover{}, false
}

func firstLines(text string) string {
	lines := strings.SplitN(strings.Trim(text, "\n"), "\n", maxLines+1)
	text = strings.Join(lines[:min(len(lines), maxLines)], "\n")
	if len(text) > maxCoverText {
		text = strings.ToValidUTF8(text[:maxCoverText], "")
	}
	return strings.TrimRight(text, " \n")
}

package api

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"maps"
	"strconv"

	"quire/internal/notebook"
)

// trustedKey is what Jupyter's clients read and write in a code cell's metadata.
// It is never in a file, where anybody could write it: notebook leaves it out.
const trustedKey = "trusted"

// cellWriter writes cells as Jupyter's server sends them: each code cell says
// whether its outputs are trusted.
type cellWriter struct {
	trusted bool
	key     string // stands for trustedKey while a cell is written; no notebook holds it
}

func newCellWriter(trusted bool) *cellWriter { return &cellWriter{trusted, rand.Text()} }

func (w *cellWriter) marshal(c *notebook.Cell) ([]byte, error) {
	if c.Type != notebook.Code {
		return notebook.MarshalCell(c)
	}
	marked := *c
	marked.Metadata = maps.Clone(c.Metadata)
	if marked.Metadata == nil {
		marked.Metadata = notebook.Object{}
	}
	marked.Metadata[w.key] = w.trusted
	data, err := notebook.MarshalCell(&marked)
	return bytes.Replace(data, []byte(strconv.Quote(w.key)), []byte(strconv.Quote(trustedKey)), 1), err
}

// saysTrusted reports whether a notebook that a client saves says that all its
// outputs are trusted: each code cell that has any. A client that knows nothing
// of trust says nothing. raw is the notebook as it came: reading it drops what it
// says of trust.
func saysTrusted(nb *notebook.Notebook, raw json.RawMessage) bool {
	var said struct {
		Cells []struct{ Metadata struct{ Trusted bool } }
	}
	if bytes.Contains(raw, []byte(strconv.Quote(trustedKey))) && json.Unmarshal(raw, &said) != nil {
		return false
	}
	for i, c := range nb.Cells {
		if c.Type == notebook.Code && len(c.Outputs) > 0 && (i >= len(said.Cells) || !said.Cells[i].Metadata.Trusted) {
			return false
		}
	}
	return true
}

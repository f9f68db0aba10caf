package session

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"math"
	"reflect"
	"strconv"

	"quire/internal/notebook"
	"quire/internal/session/ydoc"
)

// fill puts a notebook into an empty document, in the form of Jupyter's
// YNotebook 2.0. It is deterministic: one notebook gives one document, item by
// item.
func fill(d *ydoc.Doc, nb *notebook.Notebook) {
	d.Transact(nil, func() {
		meta := d.Map(rootMeta)
		meta.Set("nbformat", nb.Format)
		meta.Set("nbformat_minor", nb.Minor)
		putObject(meta.SetMap("metadata"), nb.Metadata)
		cells := d.Array(rootCells)
		for i, c := range nb.Cells {
			insertCell(cells, i, c)
		}
	})
}

// The top-level types of a document.
const (
	rootState  = "state"
	rootMeta   = "meta"
	rootCells  = "cells"
	rootSource = "source" // of a text file
)

func putObject(m *ydoc.Map, o notebook.Object) {
	for _, key := range sortedKeys(o) {
		m.Set(key, plainOf(o[key]))
	}
}

// insertCell puts a cell before index.
func insertCell(cells *ydoc.Array, index int, c *notebook.Cell) *ydoc.Map {
	m := cells.InsertMap(index)
	m.SetText("source").Insert(0, c.Source)
	putObject(m.SetMap("metadata"), c.Metadata)
	m.Set("cell_type", string(c.Type))
	m.Set("id", c.ID)
	if c.Type == notebook.Code {
		outputs := m.SetArray("outputs")
		for i, o := range c.Outputs {
			insertOutput(outputs, i, o)
		}
		m.Set("execution_count", plainCount(c.ExecutionCount))
	} else if c.Attachments != nil {
		m.Set("attachments", plainOf(c.Attachments))
	}
	return m
}

func plainCount(count *int64) any {
	if count == nil {
		return nil
	}
	return float64(*count)
}

// insertOutput puts an output before index. The text of a stream is a text of
// its own, that grows.
func insertOutput(outputs *ydoc.Array, index int, o *notebook.Output) *ydoc.Map {
	m := outputs.InsertMap(index)
	fields := plainOutput(o)
	for _, key := range sortedKeys(fields) {
		if text, ok := fields[key].(string); ok && key == "text" && o.Type == notebook.Stream {
			m.SetText("text").Insert(0, text)
			continue
		}
		m.Set(key, fields[key])
	}
	return m
}

// plainOutput returns an output's fields as nbformat has them.
func plainOutput(o *notebook.Output) map[string]any {
	fields := map[string]any{"output_type": string(o.Type)}
	for key, v := range o.Extra {
		fields[key] = plainOf(v)
	}
	switch o.Type {
	case notebook.Stream:
		fields["name"], fields["text"] = o.Name, o.Text
	case notebook.DisplayData, notebook.ExecuteResult:
		fields["data"], fields["metadata"] = plainOf(notebook.Object(o.Data)), plainOf(o.Metadata)
		if o.Type == notebook.ExecuteResult {
			fields["execution_count"] = plainCount(o.ExecutionCount)
		}
	case notebook.ErrorOutput:
		lines := make([]any, len(o.Traceback))
		for i, line := range o.Traceback {
			lines[i] = line
		}
		fields["ename"], fields["evalue"], fields["traceback"] = o.Ename, o.Evalue, lines
	}
	return fields
}

// plainOf returns a notebook's value as documents hold it. Numbers become
// float64, as JavaScript has them.
func plainOf(v any) any {
	switch v := v.(type) {
	case notebook.Number:
		return v.Float64()
	case int:
		return float64(v)
	case int64:
		return float64(v)
	case notebook.Raw:
		value, err := v.Value()
		if err != nil {
			return string(v)
		}
		return plainOf(value)
	case notebook.Object:
		return plainMap(v)
	case map[string]any:
		return plainMap(v)
	case notebook.MimeBundle:
		return plainMap(v)
	case []any:
		list := make([]any, len(v))
		for i, e := range v {
			list[i] = plainOf(e)
		}
		return list
	case []string:
		list := make([]any, len(v))
		for i, e := range v {
			list[i] = e
		}
		return list
	case nil, bool, string, float64:
		return v
	}
	return nil
}

func plainMap(v map[string]any) map[string]any {
	m := make(map[string]any, len(v))
	for key, e := range v {
		m[key] = plainOf(e)
	}
	return m
}

// storedOf is the way back: it returns a plain value as a notebook holds it.
// Where it is what base was before, base itself is taken, so that a number like
// 1.0 or 12345678901234567890 stays as the file has it.
func storedOf(v, base any) any {
	if base != nil && reflect.DeepEqual(plainOf(base), v) {
		return base
	}
	switch v := v.(type) {
	case map[string]any:
		old, _ := base.(notebook.Object)
		o := make(notebook.Object, len(v))
		for key, e := range v {
			o[key] = storedOf(e, old[key])
		}
		return o
	case []any:
		old, _ := base.([]any)
		list := make([]any, len(v))
		for i, e := range v {
			var was any
			if i < len(old) {
				was = old[i]
			}
			list[i] = storedOf(e, was)
		}
		return list
	case float64:
		switch {
		case v == math.Trunc(v) && math.Abs(v) < 1<<53:
			return int64(v)
		case math.IsNaN(v):
			return notebook.Number("NaN")
		case math.IsInf(v, 0):
			return notebook.Number(map[bool]string{true: "Infinity", false: "-Infinity"}[v > 0])
		}
		return v
	case int64:
		return v
	case []byte:
		return base64.StdEncoding.EncodeToString(v)
	case nil, bool, string:
		return v
	}
	return nil // undefined
}

func storedObject(m map[string]any, base notebook.Object) notebook.Object {
	o, ok := storedOf(m, base).(notebook.Object)
	if !ok {
		return notebook.Object{}
	}
	return o
}

// render returns the document as a notebook. base is what the document was last
// equal to on the disk: what did not change since is taken from it as it is, with
// all its unknown fields. What clients wrote that no notebook can hold is left
// out.
func render(d *ydoc.Doc, base *notebook.Notebook) *notebook.Notebook {
	meta := d.Map(rootMeta)
	nb := &notebook.Notebook{Format: 4, Minor: base.Minor, Extra: base.Extra, Metadata: notebook.Object{}}
	if v, ok := meta.Get("nbformat_minor"); ok {
		if minor, ok := v.(float64); ok && minor >= 0 && minor < 100 {
			nb.Minor = int(minor)
		}
	}
	if m := meta.Map("metadata"); m != nil {
		nb.Metadata = storedObject(m.JSON(), base.Metadata)
	}
	old := byID(base.Cells)
	for _, v := range d.Array(rootCells).All() {
		if m, ok := v.(*ydoc.Map); ok {
			nb.Cells = append(nb.Cells, renderCell(m, old[m.String("id")]))
		}
	}
	return nb
}

func byID(cells []*notebook.Cell) map[string]*notebook.Cell {
	m := make(map[string]*notebook.Cell, len(cells))
	for _, c := range cells {
		m[c.ID] = c
	}
	return m
}

func renderCell(m *ydoc.Map, base *notebook.Cell) *notebook.Cell {
	if base == nil {
		base = &notebook.Cell{}
	}
	c := &notebook.Cell{
		Type: notebook.CellType(m.String("cell_type")), ID: m.String("id"),
		Metadata: notebook.Object{}, Extra: base.Extra,
	}
	if text := m.Text("source"); text != nil {
		c.Source = text.String()
	} else {
		c.Source = m.String("source")
	}
	if md := m.Map("metadata"); md != nil {
		c.Metadata = storedObject(md.JSON(), base.Metadata)
	} else if v, ok := m.Get("metadata"); ok {
		if plain, ok := v.(map[string]any); ok {
			c.Metadata = storedObject(plain, base.Metadata)
		}
	}
	switch c.Type {
	case notebook.Code:
		if v, _ := m.Get("execution_count"); v != nil {
			if n, ok := v.(float64); ok && n == math.Trunc(n) && math.Abs(n) < 1<<53 {
				count := int64(n)
				c.ExecutionCount = &count
			}
		}
		c.Outputs = renderOutputs(m.Array("outputs"), base.Outputs)
	case notebook.Markdown, notebook.RawCell:
		if v, ok := m.Get("attachments"); ok {
			if plain, ok := v.(map[string]any); ok {
				c.Attachments = storedObject(plain, base.Attachments)
			}
		}
	default:
		c.Type = notebook.RawCell
	}
	return c
}

func renderOutputs(outputs *ydoc.Array, base []*notebook.Output) []*notebook.Output {
	if outputs == nil {
		return nil
	}
	var rendered []*notebook.Output
	for i, v := range outputs.All() {
		m, ok := v.(*ydoc.Map)
		if !ok {
			continue
		}
		fields := m.JSON()
		if i < len(base) && reflect.DeepEqual(plainOutput(base[i]), fields) {
			rendered = append(rendered, base[i])
			continue
		}
		if o := renderOutput(fields); o != nil {
			rendered = append(rendered, o)
		}
	}
	return rendered
}

// renderOutput makes an output of its fields, nil when they are none.
func renderOutput(fields map[string]any) *notebook.Output {
	var text bytes.Buffer
	enc := json.NewEncoder(&text)
	enc.SetEscapeHTML(false)
	if enc.Encode(finite(fields)) != nil {
		return nil
	}
	o, err := notebook.UnmarshalOutput(text.Bytes())
	if err != nil {
		return nil
	}
	return o
}

// finite replaces what JSON cannot hold.
func finite(v any) any {
	switch v := v.(type) {
	case float64:
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return nil
		}
		if v == math.Trunc(v) && math.Abs(v) < 1<<53 {
			return json.Number(strconv.FormatInt(int64(v), 10))
		}
	case map[string]any:
		for key, e := range v {
			v[key] = finite(e)
		}
	case []any:
		for i, e := range v {
			v[i] = finite(e)
		}
	case ydoc.Undefined:
		return nil
	}
	return v
}

// giveIDs makes every cell's id one of its own. A notebook older than 4.5 has
// none on the disk: its cells get those of the cells that they are in like, and
// otherwise ids made of their text, the same each time.
func giveIDs(nb, like *notebook.Notebook) {
	taken := map[string]bool{}
	old := map[string][]string{} // ids of like's cells by text
	if like != nil {
		for _, c := range like.Cells {
			old[c.Source] = append(old[c.Source], c.ID)
		}
	}
	for _, c := range nb.Cells {
		if notebook.ValidID(c.ID) && !taken[c.ID] {
			taken[c.ID] = true
		} else {
			c.ID = ""
		}
	}
	for _, c := range nb.Cells {
		for ids := old[c.Source]; c.ID == "" && len(ids) > 0; ids = old[c.Source] {
			old[c.Source] = ids[1:]
			if !taken[ids[0]] {
				c.ID = ids[0]
				taken[c.ID] = true
			}
		}
	}
	if like != nil && len(like.Cells) == len(nb.Cells) { // the same cells, some changed
		for i, c := range nb.Cells {
			if c.ID == "" && !taken[like.Cells[i].ID] {
				c.ID = like.Cells[i].ID
				taken[c.ID] = true
			}
		}
	}
	for _, c := range nb.Cells {
		for n := 0; c.ID == ""; n++ {
			sum := sha256.Sum256([]byte(strconv.Itoa(n) + "\n" + c.Source))
			if id := hex.EncodeToString(sum[:4]); !taken[id] {
				c.ID = id
				taken[id] = true
			}
		}
	}
}

// withoutIDs returns the notebook as it is written: before 4.5 cells have no ids.
func withoutIDs(nb *notebook.Notebook) *notebook.Notebook {
	if nb.Minor >= 5 {
		return nb
	}
	out := *nb
	out.Cells = make([]*notebook.Cell, len(nb.Cells))
	for i, c := range nb.Cells {
		bare := *c
		bare.ID = ""
		out.Cells[i] = &bare
	}
	return &out
}

package notebook

import (
	"strings"
)

// Versions 2 and 3 are decoded straight into version 4, field by field as
// nbformat.convert does. Their cells live in worksheets, which are joined.

func (d *decoder) worksheets(nb *Notebook, f *notebookFields) error {
	nb.Cells = []*Cell{}
	if f.cells != nil {
		d.warn("cells in nbformat %d: left out, it keeps cells in worksheets", d.nbformat)
	}
	if f.worksheets == nil {
		return d.bad(nil, "worksheets", "is missing: want a list of worksheets")
	}
	if f.worksheets[0] != '[' {
		return d.wrongType(f.worksheets, "worksheets", "a list of worksheets")
	}
	for e := d.each(f.worksheets); e.next(); {
		if e.val[0] != '{' {
			return d.wrongType(e.val, "worksheet", "an object")
		}
		var cells []byte
		for m := d.walk(e.val); m.next(); {
			if string(keyText(m.key)) == "cells" {
				cells = m.val
			}
		}
		if cells == nil {
			return d.bad(e.val, "worksheet", "without cells: want a list of cells")
		}
		if cells[0] != '[' {
			return d.wrongType(cells, "worksheet: cells", "a list of cells")
		}
		for e := d.each(cells); e.next(); {
			d.cell++
			c, err := d.oldCell(e.val)
			if err != nil {
				return err
			}
			nb.Cells = append(nb.Cells, c)
		}
		d.cell = 0
	}
	d.cell = 0
	return nil
}

// oldCellFields are the undecoded fields of a cell of version 2 or 3.
type oldCellFields struct {
	kind, input, source, metadata, prompt, outputs, level, collapsed []byte
	extra                                                            [][2][]byte
}

func (d *decoder) oldCell(val []byte) (*Cell, error) {
	if val[0] != '{' {
		return nil, d.wrongType(val, "", "an object")
	}
	var f oldCellFields
	for m := d.walk(val); m.next(); {
		switch key := keyText(m.key); string(key) {
		case "cell_type":
			f.kind = m.val
		case "input":
			f.input = m.val
		case "source":
			f.source = m.val
		case "metadata":
			f.metadata = m.val
		case "prompt_number":
			f.prompt = m.val
		case "outputs":
			f.outputs = m.val
		case "level":
			f.level = m.val
		case "collapsed":
			f.collapsed = m.val
		case "id", "trusted":
		default:
			f.extra = append(f.extra, [2][]byte{m.key, m.val})
		}
	}
	if f.kind == nil {
		return nil, d.bad(val, "cell_type", "is missing: want one of code, markdown, raw, heading, html")
	}
	kind, err := d.str(f.kind, "cell_type")
	if err != nil {
		return nil, err
	}
	c := &Cell{Type: CellType(kind), Metadata: Object{}}
	if f.metadata != nil {
		if c.Metadata, err = d.object(f.metadata, "metadata"); err != nil {
			return nil, err
		}
		delete(c.Metadata, "trusted")
	}
	switch kind {
	case "code":
		err = d.oldCode(c, &f)
	case "markdown", "raw", "heading", "html":
		err = d.oldText(c, &f)
	default:
		err = d.bad(f.kind, "cell_type", "%s: want one of code, markdown, raw, heading, html", show(f.kind))
	}
	if err != nil {
		return nil, err
	}
	return c, nil
}

func (d *decoder) oldExtra(c *Cell, f *oldCellFields, drop ...string) error {
next:
	for _, m := range f.extra {
		key := string(keyText(m[0]))
		for _, k := range drop {
			if k == key {
				continue next
			}
		}
		if err := d.extra(&c.Extra, m[0], m[1]); err != nil {
			return err
		}
	}
	return nil
}

func (d *decoder) oldText(c *Cell, f *oldCellFields) (err error) {
	if f.source == nil {
		d.warn("source is missing: taken for empty")
	} else if c.Source, err = d.oldLines(f.source, "source"); err != nil {
		return err
	}
	if c.Type == "heading" {
		level := int64(1)
		if f.level != nil {
			n, err := d.count(f.level, "level")
			if err != nil || n == nil || *n > 100 {
				return d.wrongType(f.level, "level", "a whole number from 1 to 6")
			}
			level = max(*n, 0)
		}
		c.Source = strings.Repeat("#", int(level)) + " " + strings.Join(splitLines(c.Source), " ")
		c.Type = Markdown
	}
	if c.Type == "html" {
		c.Type = Markdown
	}
	if f.collapsed != nil {
		f.extra = append(f.extra, [2][]byte{[]byte(`"collapsed"`), f.collapsed})
	}
	return d.oldExtra(c, f)
}

func (d *decoder) oldCode(c *Cell, f *oldCellFields) (err error) {
	if f.input != nil {
		if c.Source, err = d.oldLines(f.input, "input"); err != nil {
			return err
		}
	}
	if f.prompt != nil {
		if c.ExecutionCount, err = d.count(f.prompt, "prompt_number"); err != nil {
			return err
		}
	}
	if f.collapsed != nil {
		if err := d.extra(&c.Metadata, []byte(`"collapsed"`), f.collapsed); err != nil {
			return err
		}
	}
	if err := d.oldExtra(c, f, "language", "execution_count"); err != nil {
		return err
	}
	c.Outputs = []*Output{}
	if f.outputs == nil {
		d.warn("outputs is missing: taken for empty")
		return nil
	}
	if f.outputs[0] != '[' {
		return d.wrongType(f.outputs, "outputs", "a list of outputs")
	}
	for e := d.each(f.outputs); e.next(); {
		d.output = len(c.Outputs)
		o, err := d.oldOutput(e.val)
		if err != nil {
			return err
		}
		c.Outputs = append(c.Outputs, o)
	}
	d.output = -1
	return nil
}

// oldLines decodes text whose lines were cut with their line ends (version 3)
// or without (version 2, and some early writers of version 3).
func (d *decoder) oldLines(val []byte, field string) (string, error) {
	s, err := d.text(val, field)
	if err != nil || val[0] != '[' {
		return s, err
	}
	first := d.each(val)
	if first.next() && d.nbformat > 2 {
		if line := unquote(first.val); strings.HasSuffix(line, "\n") || strings.HasSuffix(line, "\r") {
			return s, nil
		}
	}
	lines, err := d.strings(val, field)
	return strings.Join(lines, "\n"), err
}

// mimeOf holds the media types of version 3's short names.
var mimeOf = map[string]string{
	"text": "text/plain", "html": "text/html", "svg": "image/svg+xml", "png": "image/png", "jpeg": "image/jpeg",
	"latex": "text/latex", "json": "application/json", "javascript": "application/javascript",
}

func (d *decoder) oldOutput(val []byte) (*Output, error) {
	if val[0] != '{' {
		return nil, d.wrongType(val, "", "an object")
	}
	var kind []byte
	for m := d.walk(val); m.next(); {
		if string(keyText(m.key)) == "output_type" {
			kind = m.val
		}
	}
	if kind == nil {
		return nil, d.bad(val, "output_type", "is missing: want one of stream, display_data, pyout, pyerr")
	}
	name, err := d.str(kind, "output_type")
	if err != nil {
		return nil, err
	}
	o := &Output{}
	switch name {
	case "stream":
		o.Type = Stream
		err = d.oldStream(o, val)
	case "pyerr":
		o.Type = ErrorOutput
		err = d.oldError(o, val)
	case "pyout":
		o.Type = ExecuteResult
		err = d.oldDisplay(o, val)
	case "display_data":
		o.Type = DisplayData
		err = d.oldDisplay(o, val)
	default:
		err = d.bad(kind, "output_type", "%s: want one of stream, display_data, pyout, pyerr", show(kind))
	}
	return o, err
}

func (d *decoder) oldStream(o *Output, val []byte) (err error) {
	o.Name = "stdout"
	for m := d.walk(val); m.next(); {
		switch key := string(keyText(m.key)); key {
		case "output_type":
		case "stream":
			o.Name, err = d.str(m.val, key)
		case "text":
			o.Text, err = d.oldLines(m.val, key)
		default:
			err = d.extra(&o.Extra, m.key, m.val)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (d *decoder) oldError(o *Output, val []byte) (err error) {
	var f outputFields
	for m := d.walk(val); m.next(); {
		if slot := f.slot(ErrorOutput, string(keyText(m.key))); slot != nil {
			*slot = m.val
			continue
		}
		if err := d.extra(&o.Extra, m.key, m.val); err != nil {
			return err
		}
	}
	return d.errorOutput(o, &f)
}

// oldDisplay decodes an output whose data lies beside its other fields.
func (d *decoder) oldDisplay(o *Output, val []byte) (err error) {
	o.Data, o.Metadata = MimeBundle{}, Object{}
	for m := d.walk(val); m.next(); {
		switch key := unquote(m.key); {
		case key == "output_type" || key == "execution_count":
		case key == "metadata":
			if o.Metadata, err = d.object(m.val, key); err == nil {
				renameMimes(o.Metadata)
			}
		case key == "prompt_number" && o.Type == ExecuteResult:
			o.ExecutionCount, err = d.count(m.val, key)
		default:
			err = d.oldData(o.Data, key, m.val)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (d *decoder) oldData(b MimeBundle, key string, val []byte) error {
	if val[0] != '"' && val[0] != '[' && mimeOf[key] == "" {
		d.warn("%s %s: left out, it is no text", key, show(val))
		return nil
	}
	if err := d.charge(val, costMember); err != nil {
		return err
	}
	s, err := d.oldLines(val, key)
	if err != nil {
		return err
	}
	mime := key
	if long := mimeOf[key]; long != "" {
		mime = long
	}
	if !IsJSONMime(mime) {
		b[mime] = s
		return nil
	}
	if mime != "application/json" { // text in version 4 too
		b[mime] = Raw(appendCompactString(nil, s))
		return nil
	}
	if err := check([]byte(s)); err != nil {
		return d.bad(val, key, "holds what is not JSON: %v", err)
	}
	b[mime] = Raw(s)
	return nil
}

func renameMimes(o Object) {
	for short, long := range mimeOf {
		if v, ok := o[short]; ok {
			delete(o, short)
			o[long] = v
		}
	}
}

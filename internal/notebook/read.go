package notebook

import (
	"bytes"
	"io"
	"io/fs"
	"strconv"
	"strings"

	"quire/internal/problem"
)

// Read reads a notebook of nbformat 2 to 4. Versions 2 and 3 are upgraded to
// 4.5 as Python's nbformat does; a notebook in version 4 keeps its minor version.
//
// What is wrong with a notebook comes in two degrees. A document that is not
// JSON, a wrong type in a field of the notebook, a cell or an output, and an
// unknown kind of cell or output are errors of kind problem.Invalid that name
// the place: "cell 7: outputs[2]: output_type "strem": want one of ...". Cells
// are counted from 1, outputs and lines of a list from 0. Whatever Python's
// nbformat only complains about and that has a safe reading is read, put right
// where it must be, and listed in Warnings: a missing id, execution_count or
// metadata, a tag that occurs twice. Validate is strict about both.
//
// Reading takes about twice the size of the file in memory. A file larger than
// MaxBytes, or nested deeper than MaxDepth, is refused with problem.TooLarge.
func Read(r io.Reader) (*Notebook, error) {
	data, err := readAll(r)
	if err != nil {
		return nil, err
	}
	return Parse(data)
}

// Parse is Read on bytes. It keeps no part of data.
func Parse(data []byte) (*Notebook, error) { return parse(data, RandomID) }

func readAll(r io.Reader) ([]byte, error) {
	size := int64(0)
	switch f := r.(type) {
	case interface{ Len() int }:
		size = int64(f.Len())
	case interface{ Stat() (fs.FileInfo, error) }:
		if info, err := f.Stat(); err == nil && info.Mode().IsRegular() {
			size = info.Size()
		}
	case io.Seeker:
		size = sizeOf(f)
	}
	if size > MaxBytes {
		return nil, problem.New(problem.TooLarge, "the notebook has %d bytes: at most %d are read", size, MaxBytes)
	}
	buf := bytes.NewBuffer(make([]byte, 0, int(max(size, 0))+bytes.MinRead)) // Grow would clear it first
	n, err := buf.ReadFrom(io.LimitReader(r, MaxBytes+1))
	if err != nil {
		return nil, problem.Wrap(err, "reading the notebook after %d bytes", n)
	}
	if n > MaxBytes {
		return nil, problem.New(problem.TooLarge, "the notebook has more than %d bytes", MaxBytes)
	}
	return buf.Bytes(), nil
}

// sizeOf returns how many bytes are left to read, 0 when nobody knows.
func sizeOf(f io.Seeker) int64 {
	at, err := f.Seek(0, io.SeekCurrent)
	if err != nil {
		return 0
	}
	end, err := f.Seek(0, io.SeekEnd)
	if _, back := f.Seek(at, io.SeekStart); err != nil || back != nil {
		return 0 // if it cannot go back, reading says so
	}
	return end - at
}

func parse(data []byte, newID func() string) (*Notebook, error) {
	d, val, err := checked(data)
	if err != nil {
		return nil, err
	}
	nb, err := d.notebook(val)
	if err != nil {
		return nil, err
	}
	nb.Warnings = d.warnings
	nb.repairIDs(newID, d.nbformat < CurrentFormat)
	v := validator{nb: nb, uniqueIDs: true}
	v.notebook()
	for _, is := range v.issues {
		if is.wrongType {
			return nil, problem.New(problem.Invalid, "%s", is.text)
		}
		nb.warn("%s", is.text)
	}
	return nb, nil
}

// notebookFields are the undecoded top-level fields.
type notebookFields struct {
	nbformat, minor, metadata, cells, worksheets []byte
	extra                                        [][2][]byte
}

func (d *decoder) notebook(val []byte) (*Notebook, error) {
	if val[0] != '{' {
		return nil, d.bad(val, "", "not a notebook: want an object, %s", describe(val))
	}
	var f notebookFields
	for m := d.walk(val); m.next(); {
		switch key := keyText(m.key); string(key) {
		case "nbformat":
			f.nbformat = m.val
		case "nbformat_minor":
			f.minor = m.val
		case "metadata":
			f.metadata = m.val
		case "cells":
			f.cells = m.val
		case "worksheets":
			f.worksheets = m.val
			f.extra = append(f.extra, [2][]byte{m.key, m.val})
		default:
			f.extra = append(f.extra, [2][]byte{m.key, m.val})
		}
	}
	if err := d.version(&f); err != nil {
		return nil, err
	}
	nb := &Notebook{Format: CurrentFormat, Minor: d.minor, Metadata: Object{}}
	if err := d.notebookMetadata(nb, &f); err != nil {
		return nil, err
	}
	var err error
	if d.nbformat < CurrentFormat {
		err = d.worksheets(nb, &f)
	} else {
		err = d.cells(nb, &f)
	}
	return nb, err
}

func (d *decoder) version(f *notebookFields) error {
	if f.nbformat == nil {
		return d.bad(nil, "nbformat", "is missing: this is JSON, but not a notebook in nbformat 2 to 4")
	}
	major, err := strconv.Atoi(string(f.nbformat))
	if err != nil {
		return d.wrongType(f.nbformat, "nbformat", "a whole number, 4 in today's notebooks")
	}
	switch {
	case major < 2:
		return d.bad(f.nbformat, "nbformat", "%d: too old: convert it with jupyter nbconvert --to notebook first", major)
	case major > CurrentFormat:
		return d.bad(f.nbformat, "nbformat", "%d: newer than this program reads: want 2 to %d", major, CurrentFormat)
	}
	d.nbformat = major
	if major < CurrentFormat {
		d.minor = CurrentMinor
		return nil
	}
	if f.minor == nil {
		d.minor = 0
		d.warn("nbformat_minor is missing: taken for 0")
		return nil
	}
	d.minor, err = strconv.Atoi(string(f.minor))
	if err != nil || d.minor < 0 {
		return d.wrongType(f.minor, "nbformat_minor", "a whole number, 0 or more")
	}
	return nil
}

func (d *decoder) notebookMetadata(nb *Notebook, f *notebookFields) (err error) {
	if f.metadata == nil {
		d.warn("metadata is missing: taken for empty")
	} else if nb.Metadata, err = d.object(f.metadata, "metadata"); err != nil {
		return err
	}
	stripNotebook(nb.Metadata)
	old := d.nbformat < CurrentFormat
	if old {
		delete(nb.Metadata, "name")
	}
	for _, m := range f.extra {
		key := string(keyText(m[0]))
		if old && (key == "worksheets" || key == "orig_nbformat" || key == "orig_nbformat_minor") {
			continue
		}
		if err := d.extra(&nb.Extra, m[0], m[1]); err != nil {
			return err
		}
	}
	return nil
}

// stripNotebook removes what nbformat keeps out of files, on reading and on writing.
func stripNotebook(meta Object) {
	delete(meta, "orig_nbformat")
	delete(meta, "orig_nbformat_minor")
	delete(meta, "signature")
}

func (d *decoder) cells(nb *Notebook, f *notebookFields) error {
	if f.cells == nil {
		return d.bad(nil, "cells", "is missing: want a list of cells")
	}
	if f.cells[0] != '[' {
		return d.wrongType(f.cells, "cells", "a list of cells")
	}
	if d.cellsAtOnce(nb, f.cells, workers()) {
		return nil
	}
	return d.cellsInTurn(nb, f.cells)
}

func (d *decoder) cellsInTurn(nb *Notebook, list []byte) error {
	nb.Cells = []*Cell{}
	for e := d.each(list); e.next(); {
		d.cell++
		c, err := d.oneCell(e.val)
		if err != nil {
			return err
		}
		nb.Cells = append(nb.Cells, c)
	}
	d.cell = 0
	return nil
}

// cellFields are the undecoded fields of a cell.
type cellFields struct {
	kind, id, source, metadata, count, outputs, attachments []byte
	extra                                                   [][2][]byte
}

func (d *decoder) oneCell(val []byte) (*Cell, error) {
	if val[0] != '{' {
		return nil, d.wrongType(val, "", "an object")
	}
	var f cellFields
	for m := d.walk(val); m.next(); {
		switch key := keyText(m.key); string(key) {
		case "cell_type":
			f.kind = m.val
		case "id":
			f.id = m.val
		case "source":
			f.source = m.val
		case "metadata":
			f.metadata = m.val
		case "execution_count":
			f.count = m.val
		case "outputs":
			f.outputs = m.val
		case "attachments":
			f.attachments = m.val
		default:
			f.extra = append(f.extra, [2][]byte{m.key, m.val})
		}
	}
	c := &Cell{Metadata: Object{}}
	if err := d.cellType(c, val, &f); err != nil {
		return nil, err
	}
	if err := d.cellBody(c, &f); err != nil {
		return nil, err
	}
	if c.Type == Code {
		return c, d.codeBody(c, &f)
	}
	// A count or outputs elsewhere than in a code cell mean nothing: kept.
	if f.count != nil {
		f.extra = append(f.extra, [2][]byte{[]byte(`"execution_count"`), f.count})
	}
	if f.outputs != nil {
		f.extra = append(f.extra, [2][]byte{[]byte(`"outputs"`), f.outputs})
	}
	return c, d.cellExtra(c, &f)
}

func (d *decoder) cellType(c *Cell, val []byte, f *cellFields) error {
	if f.kind == nil {
		return d.bad(val, "cell_type", "is missing: want one of code, markdown, raw")
	}
	kind, err := d.str(f.kind, "cell_type")
	if err != nil {
		return err
	}
	c.Type = CellType(kind)
	if !c.Type.known() && d.minor <= CurrentMinor {
		return d.bad(f.kind, "cell_type", "%s: want one of code, markdown, raw", show(f.kind))
	}
	return nil
}

// cellBody decodes what cells of every type have.
func (d *decoder) cellBody(c *Cell, f *cellFields) (err error) {
	switch {
	case f.metadata == nil:
		d.warn("metadata is missing: taken for empty")
	default:
		if c.Metadata, err = d.object(f.metadata, "metadata"); err != nil {
			return err
		}
		delete(c.Metadata, "trusted")
	}
	switch {
	case f.source != nil:
		if c.Source, err = d.text(f.source, "source"); err != nil {
			return err
		}
		if c.Source == "" && !c.Type.known() {
			f.extra = append(f.extra, [2][]byte{[]byte(`"source"`), []byte("[]")})
		}
	case c.Type.known():
		d.warn("source is missing: taken for empty")
	}
	if f.attachments != nil {
		if c.Attachments, err = d.attachments(f.attachments); err != nil {
			return err
		}
	}
	return d.cellID(c, f)
}

func (d *decoder) cellID(c *Cell, f *cellFields) error {
	switch {
	case f.id == nil:
		return nil
	case f.id[0] == '"' && len(f.id) > 2:
		c.ID = unquote(f.id)
		return nil
	case d.minor < 5:
		f.extra = append(f.extra, [2][]byte{[]byte(`"id"`), f.id})
		return nil
	case f.id[0] == '"':
		return nil // empty: repairIDs gives it one
	}
	return d.wrongType(f.id, "id", "a string")
}

func (d *decoder) cellExtra(c *Cell, f *cellFields) error {
	for _, m := range f.extra {
		if err := d.extra(&c.Extra, m[0], m[1]); err != nil {
			return err
		}
	}
	return nil
}

func (d *decoder) codeBody(c *Cell, f *cellFields) (err error) {
	if f.count == nil {
		d.warn("execution_count is missing: taken for null")
	} else if c.ExecutionCount, err = d.count(f.count, "execution_count"); err != nil {
		return err
	}
	if err := d.cellExtra(c, f); err != nil {
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
		o, err := d.oneOutput(e.val)
		if err != nil {
			return err
		}
		c.Outputs = append(c.Outputs, o)
	}
	d.output = -1
	return nil
}

func (d *decoder) attachments(val []byte) (Object, error) {
	if val[0] != '{' {
		return nil, d.wrongType(val, "attachments", "an object")
	}
	all := Object{}
	for m := d.walk(val); m.next(); {
		name := unquote(m.key)
		field := "attachments: " + strconv.Quote(name)
		if err := d.charge(m.val, costObject+costMember); err != nil {
			return nil, err
		}
		b, err := d.bundle(m.val, field)
		if err != nil {
			return nil, err
		}
		all[name] = Object(b)
	}
	return all, nil
}

// bundle decodes data by media type.
func (d *decoder) bundle(val []byte, field string) (MimeBundle, error) {
	if val[0] != '{' {
		return nil, d.wrongType(val, field, "an object")
	}
	b := MimeBundle{}
	for m := d.walk(val); m.next(); {
		mime := unquote(m.key)
		if err := d.charge(m.val, costMember); err != nil {
			return nil, err
		}
		if IsJSONMime(mime) {
			b[mime] = Raw(clone(m.val))
			continue
		}
		s, err := d.text(m.val, field+": "+mime)
		if err != nil {
			return nil, err
		}
		b[mime] = s
	}
	return b, nil
}

// IsJSONMime reports whether a media type's data is JSON: application/json and
// application/*+json.
func IsJSONMime(mime string) bool {
	return mime == "application/json" || strings.HasPrefix(mime, "application/") && strings.HasSuffix(mime, "+json")
}

// outputFields are the undecoded fields of an output.
type outputFields struct {
	kind, name, text, data, metadata, count, ename, evalue, traceback []byte
}

func (d *decoder) oneOutput(val []byte) (*Output, error) {
	if val[0] != '{' {
		return nil, d.wrongType(val, "", "an object")
	}
	var f outputFields
	for m := d.walk(val); m.next(); {
		if string(keyText(m.key)) == "output_type" {
			f.kind = m.val
		}
	}
	if f.kind == nil {
		return nil, d.bad(val, "output_type", "is missing: want one of stream, display_data, execute_result, error")
	}
	kind, err := d.str(f.kind, "output_type")
	if err != nil {
		return nil, err
	}
	o := &Output{Type: OutputType(kind)}
	if !o.Type.known() && d.minor <= CurrentMinor {
		return nil, d.bad(f.kind, "output_type", "%s: want one of stream, display_data, execute_result, error", show(f.kind))
	}
	for m := d.walk(val); m.next(); {
		slot := f.slot(o.Type, string(keyText(m.key)))
		if slot != nil {
			*slot = m.val
			continue
		}
		if err := d.extra(&o.Extra, m.key, m.val); err != nil {
			return nil, err
		}
		if o.Type != DisplayData && o.Type != ExecuteResult {
			joinText(o.Extra)
		}
	}
	switch o.Type {
	case Stream:
		err = d.stream(o, &f)
	case DisplayData, ExecuteResult:
		err = d.display(o, &f)
	case ErrorOutput:
		err = d.errorOutput(o, &f)
	}
	if err != nil {
		return nil, err
	}
	return o, nil
}

// joinText joins an unknown field named text, as nbformat does.
func joinText(extra Object) {
	list, ok := extra["text"].([]any)
	if !ok {
		return
	}
	var b strings.Builder
	for _, item := range list {
		s, ok := item.(string)
		if !ok {
			return
		}
		b.WriteString(s)
	}
	extra["text"] = b.String()
}

// slot returns where the field named key of an output of type t goes, nil for an
// unknown field.
func (f *outputFields) slot(t OutputType, key string) *[]byte {
	switch {
	case key == "output_type":
		return &f.kind
	case t == Stream && key == "name":
		return &f.name
	case t == Stream && key == "text":
		return &f.text
	case (t == DisplayData || t == ExecuteResult) && key == "data":
		return &f.data
	case (t == DisplayData || t == ExecuteResult) && key == "metadata":
		return &f.metadata
	case t == ExecuteResult && key == "execution_count":
		return &f.count
	case t == ErrorOutput && key == "ename":
		return &f.ename
	case t == ErrorOutput && key == "evalue":
		return &f.evalue
	case t == ErrorOutput && key == "traceback":
		return &f.traceback
	}
	return nil
}

func (d *decoder) stream(o *Output, f *outputFields) (err error) {
	o.Name = "stdout"
	if f.name == nil {
		d.warn("name is missing: taken for stdout")
	} else if o.Name, err = d.str(f.name, "name"); err != nil {
		return err
	}
	if f.text == nil {
		d.warn("text is missing: taken for empty")
		return nil
	}
	o.Text, err = d.text(f.text, "text")
	return err
}

func (d *decoder) display(o *Output, f *outputFields) (err error) {
	o.Data, o.Metadata = MimeBundle{}, Object{}
	if f.data == nil {
		d.warn("data is missing: taken for empty")
	} else if o.Data, err = d.bundle(f.data, "data"); err != nil {
		return err
	}
	if f.metadata == nil {
		d.warn("metadata is missing: taken for empty")
	} else if o.Metadata, err = d.object(f.metadata, "metadata"); err != nil {
		return err
	}
	if o.Type == DisplayData {
		return nil
	}
	if f.count == nil {
		d.warn("execution_count is missing: taken for null")
		return nil
	}
	o.ExecutionCount, err = d.count(f.count, "execution_count")
	return err
}

func (d *decoder) errorOutput(o *Output, f *outputFields) (err error) {
	o.Traceback = []string{}
	for _, part := range []struct {
		val  []byte
		name string
		to   *string
	}{{f.ename, "ename", &o.Ename}, {f.evalue, "evalue", &o.Evalue}} {
		if part.val == nil {
			d.warn("%s is missing: taken for empty", part.name)
		} else if *part.to, err = d.str(part.val, part.name); err != nil {
			return err
		}
	}
	if f.traceback == nil {
		d.warn("traceback is missing: taken for empty")
		return nil
	}
	o.Traceback, err = d.strings(f.traceback, "traceback")
	return err
}

func (t CellType) known() bool { return t == Code || t == Markdown || t == RawCell }

func (t OutputType) known() bool {
	return t == Stream || t == DisplayData || t == ExecuteResult || t == ErrorOutput
}

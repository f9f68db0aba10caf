package notebook

import (
	"bytes"
	"encoding/json"
	"io"
	"sort"
	"strconv"
	"strings"
	"unicode/utf8"

	"quire/internal/problem"
)

// Write writes the notebook byte for byte as Python's nbformat.write does: one
// space of indent, keys in code point order, text cut into lists of lines, a
// newline at the end. It leaves out what nbformat leaves out of files: the
// notebook's orig_nbformat, orig_nbformat_minor and signature, and the cells'
// trusted flags. What is no UTF-8 is written as U+FFFD. It does not validate.
//
// It writes through buffers of its own in pieces of at most 64 KiB and needs no
// memory in proportion to the notebook, except for the index of a Raw value. The
// cells of a big notebook are formatted on several cores; w is written to by the
// caller's goroutine only. It stops soon after the first error of w.
func (nb *Notebook) Write(w io.Writer) error {
	wr := writer{w: w, pretty: true, buf: make([]byte, 0, bufferSize)}
	wr.notebook(nb)
	wr.buf = append(wr.buf, '\n')
	wr.flush()
	return wr.err
}

// Bytes returns what Write writes.
func (nb *Notebook) Bytes() ([]byte, error) {
	var b bytes.Buffer
	if err := nb.Write(&b); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

const (
	bufferSize = 64 << 10
	chunk      = 16 << 10 // bytes that are appended between two looks at the buffer's size
)

// A writer writes JSON as Python's json.dumps does, pretty with indent=1 or
// compact in one line. The first error ends all writing.
type writer struct {
	w      io.Writer // nil: everything stays in buf
	out    *batch    // where full buffers go instead; nil: to w
	buf    []byte
	pretty bool // indent, and cut text into lists of lines
	level  int
	err    error

	cell, output int // where, for errors, as place wants them
}

func (w *writer) flush() {
	switch {
	case w.out != nil:
		w.handOver()
	case w.w != nil:
		w.put(w.buf)
		w.buf = w.buf[:0]
	}
}

func (w *writer) put(piece []byte) {
	if w.err != nil || len(piece) == 0 {
		return
	}
	if _, err := w.w.Write(piece); err != nil {
		w.err = problem.Wrap(err, "writing the notebook")
	}
}

// streams reports whether buf is emptied when it is full.
func (w *writer) streams() bool { return w.w != nil || w.out != nil }

// room makes sure that chunk bytes fit into the buffer.
func (w *writer) room() {
	if len(w.buf)+chunk > bufferSize && w.streams() {
		w.flush()
	}
}

func (w *writer) fail(format string, args ...any) {
	if w.err == nil {
		w.err = problem.New(problem.Invalid, place(w.cell, w.output-1)+format, args...)
	}
}

// raw appends text of any length.
func (w *writer) raw(s string) {
	for len(s) > chunk && w.streams() {
		if w.err != nil {
			return
		}
		w.room()
		w.buf = append(w.buf, s[:chunk]...)
		s = s[chunk:]
	}
	w.room()
	w.buf = append(w.buf, s...)
}

func (w *writer) open(b byte) {
	w.room()
	w.buf = append(w.buf, b)
	w.level++
}

// item begins the n-th item of an array or object.
func (w *writer) item(n int) {
	w.room()
	if n > 0 {
		w.buf = append(w.buf, ',')
	}
	w.newline()
}

func (w *writer) newline() {
	if !w.pretty {
		return
	}
	n := w.level
	w.buf = append(w.buf, indent[:1+min(n, len(indent)-1)]...)
	for ; n >= len(indent); n-- {
		w.buf = append(w.buf, ' ')
	}
}

// indent begins a line.
const indent = "\n                                "

// close ends an array or object of n items.
func (w *writer) close(b byte, n int) {
	w.level--
	w.room()
	if n > 0 {
		w.newline()
	}
	w.buf = append(w.buf, b)
}

// key begins the n-th member of an object.
func (w *writer) key(n int, k string) {
	w.item(n)
	w.str(k)
	w.colon()
}

func (w *writer) colon() {
	w.buf = append(w.buf, ':')
	if w.pretty {
		w.buf = append(w.buf, ' ')
	}
}

// str writes a string.
func (w *writer) str(s string) {
	if w.err != nil {
		return
	}
	w.room()
	w.buf = append(w.buf, '"')
	if utf8.ValidString(s) {
		w.chars(s)
	} else {
		w.repaired(s)
	}
	w.buf = append(w.buf, '"')
}

// chars writes the characters of a valid UTF-8 string.
func (w *writer) chars(s string) {
	for {
		i := 0
		for i+8 <= len(s) && special(loadString(s[i:])) == 0 {
			i += 8
		}
		for i < len(s) && plain[s[i]] {
			i++
		}
		w.raw(s[:i])
		if i == len(s) {
			return
		}
		w.buf = appendEscape(w.buf, s[i])
		s = s[i+1:]
	}
}

func appendEscape(dst []byte, b byte) []byte {
	const hex = "0123456789abcdef"
	switch b {
	case '"', '\\':
		return append(dst, '\\', b)
	case '\n':
		return append(dst, '\\', 'n')
	case '\r':
		return append(dst, '\\', 'r')
	case '\t':
		return append(dst, '\\', 't')
	case '\b':
		return append(dst, '\\', 'b')
	case '\f':
		return append(dst, '\\', 'f')
	}
	return append(dst, '\\', 'u', '0', '0', hex[b>>4], hex[b&15])
}

// repaired writes the characters of a string that is not valid UTF-8: lone
// surrogates as the escapes they were, other bytes as U+FFFD.
func (w *writer) repaired(s string) {
	for s != "" {
		i := 0
		for i < len(s) {
			r, n := utf8.DecodeRuneInString(s[i:])
			if r == utf8.RuneError && n == 1 {
				break
			}
			i += n
		}
		w.chars(s[:i])
		s = s[i:]
		w.room()
		switch r, ok := lone(s); {
		case ok:
			w.buf = append(w.buf, '\\', 'u')
			w.buf = strconv.AppendInt(w.buf, int64(r), 16)
			s = s[3:]
		case s != "":
			w.buf = append(w.buf, "\ufffd"...)
			s = s[1:]
		}
	}
}

func appendCompactString(dst []byte, s string) []byte {
	w := writer{buf: dst}
	w.str(s)
	return w.buf
}

// lines writes text: as a list of its lines when pretty.
func (w *writer) lines(s string) {
	if !w.pretty {
		w.str(s)
		return
	}
	n := 0
	w.open('[')
	for ; s != "" && w.err == nil; n++ {
		end := firstLine(s)
		w.item(n)
		w.str(s[:end])
		s = s[end:]
	}
	w.close(']', n)
}

func (w *writer) strings(list []string) {
	w.open('[')
	for i, s := range list {
		w.item(i)
		w.str(s)
	}
	w.close(']', len(list))
}

func (w *writer) count(n *int64) {
	w.room()
	if n == nil {
		w.buf = append(w.buf, "null"...)
		return
	}
	w.buf = strconv.AppendInt(w.buf, *n, 10)
}

// fields writes an object whose known fields are named in known, in order, and
// written by put, and whose unknown fields are extra.
func (w *writer) fields(known []string, extra Object, put func(name string)) {
	w.open('{')
	if len(extra) > 0 {
		isKnown := make(map[string]bool, len(known))
		for _, k := range known {
			isKnown[k] = true
		}
		all := append([]string(nil), known...)
		for k := range extra {
			if !isKnown[k] {
				all = append(all, k)
			}
		}
		sort.Strings(all)
		for i, k := range all {
			w.key(i, k)
			if isKnown[k] {
				put(k)
			} else {
				w.any(extra[k])
			}
		}
		w.close('}', len(all))
		return
	}
	for i, k := range known {
		w.key(i, k)
		put(k)
	}
	w.close('}', len(known))
}

func (w *writer) notebook(nb *Notebook) {
	known := []string{"cells", "metadata", "nbformat", "nbformat_minor"}
	w.fields(known, nb.Extra, func(name string) {
		switch name {
		case "cells":
			w.open('[')
			if !w.cellsAtOnce(nb.Cells, workers()) {
				w.cells(nb.Cells, 0, len(nb.Cells))
			}
			w.close(']', len(nb.Cells))
		case "metadata":
			w.object(nb.Metadata, "orig_nbformat", "orig_nbformat_minor", "signature")
		case "nbformat":
			w.buf = strconv.AppendInt(w.buf, CurrentFormat, 10)
		case "nbformat_minor":
			w.buf = strconv.AppendInt(w.buf, int64(nb.Minor), 10)
		}
	})
}

// cells writes all[first:end] as items of a list.
func (w *writer) cells(all []*Cell, first, end int) {
	for i := first; i < end && w.err == nil; i++ {
		w.item(i)
		w.cell = i + 1
		w.writeCell(all[i])
	}
	w.cell = 0
}

// cellFieldNames holds the names of a cell's fields for every set of flags.
var cellFieldNames = func() (t [16][]string) {
	for flags := range t {
		names := []string{"cell_type", "metadata"}
		for bit, more := range [][]string{{"attachments"}, {"execution_count", "outputs"}, {"id"}, {"source"}} {
			if flags>>bit&1 == 1 {
				names = append(names, more...)
			}
		}
		sort.Strings(names)
		t[flags] = names
	}
	return t
}()

func (c *Cell) fieldNames() []string {
	flags := 0
	for bit, set := range [...]bool{c.Attachments != nil, c.Type == Code, c.ID != "", c.Type.known() || c.Source != ""} {
		if set {
			flags |= 1 << bit
		}
	}
	return cellFieldNames[flags]
}

func (w *writer) writeCell(c *Cell) {
	if c == nil {
		w.fail("is nil")
		return
	}
	w.fields(c.fieldNames(), c.Extra, func(name string) {
		switch name {
		case "attachments":
			w.attachments(c.Attachments)
		case "cell_type":
			w.str(string(c.Type))
		case "execution_count":
			w.count(c.ExecutionCount)
		case "id":
			w.str(c.ID)
		case "metadata":
			w.object(c.Metadata, "trusted")
		case "outputs":
			w.open('[')
			for i, o := range c.Outputs {
				w.item(i)
				w.output = i + 1
				w.writeOutput(o)
			}
			w.output = 0
			w.close(']', len(c.Outputs))
		case "source":
			w.lines(c.Source)
		}
	})
}

var outputFieldNames = map[OutputType][]string{
	Stream:        {"name", "output_type", "text"},
	DisplayData:   {"data", "metadata", "output_type"},
	ExecuteResult: {"data", "execution_count", "metadata", "output_type"},
	ErrorOutput:   {"ename", "evalue", "output_type", "traceback"},
}

func (w *writer) writeOutput(o *Output) {
	if o == nil {
		w.fail("is nil")
		return
	}
	known := outputFieldNames[o.Type]
	if known == nil {
		known = []string{"output_type"}
	}
	w.fields(known, o.Extra, func(name string) {
		switch name {
		case "output_type":
			w.str(string(o.Type))
		case "name":
			w.str(o.Name)
		case "text":
			w.lines(o.Text)
		case "data":
			w.bundle(o.Data)
		case "metadata":
			w.object(o.Metadata)
		case "execution_count":
			w.count(o.ExecutionCount)
		case "ename":
			w.str(o.Ename)
		case "evalue":
			w.str(o.Evalue)
		case "traceback":
			w.strings(o.Traceback)
		}
	})
}

func sortedKeys[M ~map[string]any](m M) []string {
	if len(m) == 0 {
		return nil
	}
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	return keys
}

func (w *writer) attachments(o Object) {
	keys := sortedKeys(o)
	w.open('{')
	for i, k := range keys {
		w.key(i, k)
		switch b := o[k].(type) {
		case Object:
			w.bundle(MimeBundle(b))
		case MimeBundle:
			w.bundle(b)
		default:
			w.any(b)
		}
	}
	w.close('}', len(keys))
}

// isLined reports whether nbformat cuts the text of a media type into lines.
func isLined(mime string) bool {
	return strings.HasPrefix(mime, "text/") || mime == "application/javascript" || mime == "image/svg+xml"
}

func (w *writer) bundle(b MimeBundle) {
	keys := sortedKeys(b)
	w.open('{')
	for i, k := range keys {
		w.key(i, k)
		if s, ok := b[k].(string); ok && isLined(k) {
			w.lines(s)
			continue
		}
		w.any(b[k])
	}
	w.close('}', len(keys))
}

// object writes o without the members named in drop.
func (w *writer) object(o Object, drop ...string) {
	keys := sortedKeys(o)
	n := 0
	w.open('{')
next:
	for _, k := range keys {
		for _, d := range drop {
			if k == d {
				continue next
			}
		}
		w.key(n, k)
		w.any(o[k])
		n++
	}
	w.close('}', n)
}

func (w *writer) list(n int, item func(i int)) {
	w.open('[')
	for i := 0; i < n && w.err == nil; i++ {
		w.item(i)
		item(i)
	}
	w.close(']', n)
}

// any writes a value of an Object or a MimeBundle.
func (w *writer) any(v any) {
	if w.err != nil {
		return
	}
	if w.level > 2*MaxDepth {
		w.fail("nested deeper than %d levels", MaxDepth)
		return
	}
	w.room()
	switch v := v.(type) {
	case nil:
		w.buf = append(w.buf, "null"...)
	case bool:
		w.buf = strconv.AppendBool(w.buf, v)
	case string:
		w.str(v)
	case Number:
		w.numberText(string(v))
	case json.Number:
		w.numberText(string(v))
	case Raw:
		w.rawValue(v)
	case json.RawMessage:
		w.rawValue(Raw(v))
	case Object:
		w.object(v)
	case MimeBundle:
		w.object(Object(v))
	case map[string]any:
		w.object(v)
	case []any:
		w.list(len(v), func(i int) { w.any(v[i]) })
	case []Object:
		w.list(len(v), func(i int) { w.object(v[i]) })
	case []string:
		w.strings(v)
	case int:
		w.buf = strconv.AppendInt(w.buf, int64(v), 10)
	case int64:
		w.buf = strconv.AppendInt(w.buf, v, 10)
	case *int64:
		w.count(v)
	case float64:
		w.buf = appendFloat(w.buf, v)
	default:
		w.fail("a value of type %T cannot be written as JSON", v)
	}
}

func (w *writer) numberText(text string) {
	c := checker{buf: []byte(text)}
	if text == "" || text[0] != '-' && text[0] != 'N' && text[0] != 'I' && !isDigit(text[0]) ||
		c.document() != nil || c.pos != len(text) {
		w.fail("%q is no number", text)
		return
	}
	w.number(c.buf)
}

// number writes a checked number, of any length.
func (w *writer) number(text []byte) {
	w.room()
	if len(text) <= chunk {
		w.buf = appendNumber(w.buf, text)
		return
	}
	w.raw(string(appendNumber(nil, text)))
}

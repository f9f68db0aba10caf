package notebook

import (
	"fmt"
	"strconv"
	"strings"
	"sync/atomic"

	"quire/internal/problem"
)

// What decoded metadata may cost. Text, sources and outputs cost what they are
// long; a metadata value of many small parts costs many times its text.
const (
	bigValue    = 1 << 20  // bytes; a longer unknown metadata value is kept as Raw
	costBase    = 64 << 20 // bytes
	costPerByte = 4        // bytes for each byte of the document

	costStep = 64 << 10 // bytes that a decoder spends before it tells the others

	costObject = 64
	costMember = 80
	costItem   = 32
)

// maxWarnings bounds Notebook.Warnings.
const maxWarnings = 100

// A decoder turns a checked document into a Notebook.
type decoder struct {
	doc      []byte // the whole document
	big      []span // its big containers, by start
	minor    int
	nbformat int
	cell     int // the cell being decoded, counted from 1; 0 outside of cells
	output   int // the output being decoded, counted from 0; -1 outside of outputs
	cost     int64
	shared   *atomic.Int64 // the cost of all decoders of the document but for the latest part; nil when there is one
	warnings []string
}

// where names the place being decoded, as "cell 7: outputs[2]: ".
func (d *decoder) where() string {
	return place(d.cell, d.output)
}

func place(cell, output int) string {
	switch {
	case cell > 0 && output >= 0:
		return fmt.Sprintf("cell %d: outputs[%d]: ", cell, output)
	case cell > 0:
		return fmt.Sprintf("cell %d: ", cell)
	case output >= 0:
		return fmt.Sprintf("outputs[%d]: ", output)
	}
	return ""
}

// bad returns the error for a field that holds what it must not. val is a part
// of the document, or nil.
func (d *decoder) bad(val []byte, field, format string, args ...any) error {
	at := ""
	if val != nil {
		line, _ := lineColumn(d.doc, cap(d.doc)-cap(val))
		at = fmt.Sprintf(" (line %d)", line)
	}
	if field != "" {
		field += " "
	}
	return problem.New(problem.Invalid, "%s%s%s%s", d.where(), field, fmt.Sprintf(format, args...), at)
}

func (d *decoder) wrongType(val []byte, field, want string) error {
	return d.bad(val, field, "%s: want %s", show(val), want)
}

// show returns a value for an error message, cut to a few words.
func show(val []byte) string {
	const most = 40
	if len(val) <= most {
		return string(val)
	}
	switch val[0] {
	case '{':
		return "{...}"
	case '[':
		return "[...]"
	}
	return strings.ToValidUTF8(string(val[:most]), "") + "..."
}

func (d *decoder) warn(format string, args ...any) {
	if len(d.warnings) <= maxWarnings {
		d.addWarning(d.where() + fmt.Sprintf(format, args...))
	}
}

// addWarning adds a warning with its place, or says once that there are more.
func (d *decoder) addWarning(text string) {
	switch {
	case len(d.warnings) < maxWarnings:
		d.warnings = append(d.warnings, text)
	case len(d.warnings) == maxWarnings:
		d.warnings = append(d.warnings, "and more of the kind")
	}
}

// keyText returns a key's text without its quotes, for comparing. It is the
// decoded key when the key holds an escape.
func keyText(q []byte) []byte {
	for _, b := range q {
		if b == '\\' {
			return []byte(unquote(q))
		}
	}
	return q[1 : len(q)-1]
}

// text decodes a string, or a list of strings that it joins.
func (d *decoder) text(val []byte, field string) (string, error) {
	switch val[0] {
	case '"':
		return unquote(val), nil
	case '[':
	default:
		return "", d.wrongType(val, field, "a string or a list of strings")
	}
	n, i := 0, 0
	for e := d.each(val); e.next(); i++ {
		if e.val[0] != '"' {
			return "", d.wrongType(e.val, fmt.Sprintf("%s[%d]", field, i), "a string")
		}
		n += unquotedLen(e.val)
	}
	if n == 0 {
		return "", nil
	}
	var j joiner
	j.b.Grow(n)
	for e := d.each(val); e.next(); {
		j.add(e.val)
	}
	return j.done(), nil
}

func (d *decoder) str(val []byte, field string) (string, error) {
	if val[0] != '"' {
		return "", d.wrongType(val, field, "a string")
	}
	return unquote(val), nil
}

func (d *decoder) strings(val []byte, field string) ([]string, error) {
	if val[0] != '[' {
		return nil, d.wrongType(val, field, "a list of strings")
	}
	list := []string{}
	for e := d.each(val); e.next(); {
		s, err := d.str(e.val, fmt.Sprintf("%s[%d]", field, len(list)))
		if err != nil {
			return nil, err
		}
		list = append(list, s)
	}
	return list, nil
}

// count decodes an execution count: an integer or null.
func (d *decoder) count(val []byte, field string) (*int64, error) {
	if val[0] == 'n' {
		return nil, nil
	}
	n, err := strconv.ParseInt(string(val), 10, 64)
	if err != nil {
		return nil, d.wrongType(val, field, "a whole number or null")
	}
	return &n, nil
}

// object decodes a metadata object. Large values under keys that Quire does not
// read stay Raw.
func (d *decoder) object(val []byte, field string) (Object, error) {
	if val[0] != '{' {
		return nil, d.wrongType(val, field, "an object")
	}
	o := Object{}
	if err := d.charge(val, costObject); err != nil {
		return nil, err
	}
	for m := d.walk(val); m.next(); {
		if err := d.extra(&o, m.key, m.val); err != nil {
			return nil, err
		}
	}
	return o, nil
}

// readKeys are the metadata keys that are decoded however large they are.
var readKeys = map[string]bool{
	"kernelspec": true, "language_info": true, "papermill": true, "quire": true,
	"tags": true, "name": true, "authors": true, "jupyter": true, "execution": true,
}

// extra decodes one member into *o, which it makes when it is nil.
func (d *decoder) extra(o *Object, key, val []byte) error {
	if *o == nil {
		*o = Object{}
	}
	k := unquote(key)
	if err := d.charge(val, costMember+len(k)); err != nil {
		return err
	}
	if len(val) > bigValue && (val[0] == '{' || val[0] == '[') && !readKeys[k] {
		(*o)[k] = Raw(clone(val))
		return nil
	}
	v, _, err := d.any(val, 0)
	if err != nil {
		return err
	}
	(*o)[k] = v
	return nil
}

func clone(b []byte) []byte {
	return append([]byte{}, b...) // make and copy would clear it first
}

// charge refuses metadata whose decoded form is out of proportion to the document.
func (d *decoder) charge(val []byte, n int) error {
	d.cost += int64(n)
	if d.shared != nil && d.cost < costStep {
		return nil
	}
	if d.spent() <= d.mostCost() {
		return nil
	}
	line, _ := lineColumn(d.doc, cap(d.doc)-cap(val))
	return problem.New(problem.TooLarge, "%smetadata of too many parts (line %d)", d.where(), line)
}

func (d *decoder) mostCost() int64 { return costBase + costPerByte*int64(len(d.doc)) }

// spent returns what the document cost so far.
func (d *decoder) spent() int64 {
	if d.shared == nil {
		return d.cost
	}
	n := d.cost
	d.cost = 0
	return d.shared.Add(n)
}

// any decodes the value at buf[i] and returns the offset after it.
func (d *decoder) any(buf []byte, i int) (any, int, error) {
	switch buf[i] {
	case '{':
		return d.anyObject(buf, i)
	case '[':
		return d.anyList(buf, i)
	}
	end := skipScalar(buf, i)
	if err := d.charge(buf[i:], costItem+end-i); err != nil {
		return nil, 0, err
	}
	return scalar(buf[i:end]), end, nil
}

func scalar(val []byte) any {
	switch val[0] {
	case '"':
		return unquote(val)
	case 't':
		return true
	case 'f':
		return false
	case 'n':
		return nil
	}
	var room [32]byte
	return Number(appendNumber(room[:0], val))
}

func (d *decoder) anyObject(buf []byte, i int) (any, int, error) {
	if err := d.charge(buf[i:], costObject); err != nil {
		return nil, 0, err
	}
	o := Object{}
	for i = skipSpace(buf, i+1); buf[i] != '}'; i = skipSpace(buf, i) {
		if buf[i] == ',' {
			i = skipSpace(buf, i+1)
		}
		k := skipString(buf, i)
		if err := d.charge(buf[i:], costMember+k-i); err != nil {
			return nil, 0, err
		}
		key := unquote(buf[i:k])
		v, end, err := d.any(buf, skipSpace(buf, skipSpace(buf, k)+1))
		if err != nil {
			return nil, 0, err
		}
		o[key] = v
		i = end
	}
	return o, i + 1, nil
}

func (d *decoder) anyList(buf []byte, i int) (any, int, error) {
	if err := d.charge(buf[i:], costItem); err != nil {
		return nil, 0, err
	}
	list := []any{}
	for i = skipSpace(buf, i+1); buf[i] != ']'; i = skipSpace(buf, i) {
		if buf[i] == ',' {
			i = skipSpace(buf, i+1)
		}
		v, end, err := d.any(buf, i)
		if err != nil {
			return nil, 0, err
		}
		list = append(list, v)
		i = end
	}
	return list, i + 1, nil
}

// Value decodes r: nil, bool, string, Number, []any and Object.
func (r Raw) Value() (any, error) {
	d, val, err := checked(r)
	if err != nil {
		return nil, err
	}
	v, _, err := d.any(val, 0)
	return v, err
}

package notebook

import (
	"strconv"

	"quire/internal/problem"
)

// MarshalCell returns the cell as JSON in one line: no byte of it is a newline.
// UnmarshalCell gives the same cell back. It may hold NaN and Infinity, which
// strict JSON parsers refuse.
func MarshalCell(c *Cell) ([]byte, error) {
	w := writer{}
	w.writeCell(c)
	return w.buf, w.err
}

// MarshalJSON is MarshalCell, for encoding/json, which refuses cells that hold
// NaN or Infinity.
func (c *Cell) MarshalJSON() ([]byte, error) { return MarshalCell(c) }

// MarshalOutput returns the output as JSON in one line, as MarshalCell does.
func MarshalOutput(o *Output) ([]byte, error) {
	w := writer{}
	w.writeOutput(o)
	return w.buf, w.err
}

// MarshalJSON is MarshalOutput, for encoding/json.
func (o *Output) MarshalJSON() ([]byte, error) { return MarshalOutput(o) }

// UnmarshalCell reads one cell of nbformat 4 in JSON. Cell types that this
// program does not know are kept. It keeps no part of data.
func UnmarshalCell(data []byte) (*Cell, error) {
	d, data, err := fragment(data)
	if err != nil {
		return nil, problem.Wrap(err, "reading a cell")
	}
	c, err := d.oneCell(data)
	return c, problem.Wrap(err, "reading a cell")
}

// UnmarshalOutput reads one output of nbformat 4 in JSON, as UnmarshalCell does.
func UnmarshalOutput(data []byte) (*Output, error) {
	d, data, err := fragment(data)
	if err != nil {
		return nil, problem.Wrap(err, "reading an output")
	}
	o, err := d.oneOutput(data)
	return o, problem.Wrap(err, "reading an output")
}

// fragment checks a part of a notebook and returns a decoder for it that allows
// kinds of cells and outputs from newer minor versions.
func fragment(data []byte) (*decoder, []byte, error) {
	d, val, err := checked(data)
	if err != nil {
		return nil, nil, err
	}
	d.minor = CurrentMinor + 1
	return d, val, nil
}

// NewOutput makes an output of the content of an iopub message of type stream,
// display_data, update_display_data (which gives display_data), execute_result
// or error. Fields that a notebook does not have, such as transient, are left
// out. Kernels are forgiven what can be understood: missing fields are empty,
// the data of a text type that is a list is joined, and that is neither text
// nor null is kept as its JSON text; null data is left out. Other wrong types
// are problem.Invalid. It keeps no part of content.
func NewOutput(msgType string, content []byte) (*Output, error) {
	o, err := newOutput(msgType, content)
	return o, problem.Wrap(err, "reading a kernel's %s message", shorten(msgType))
}

func newOutput(msgType string, content []byte) (*Output, error) {
	o := &Output{Type: OutputType(msgType)}
	if msgType == "update_display_data" {
		o.Type = DisplayData
	}
	if !o.Type.known() {
		return nil, problem.New(problem.Invalid, "is no output: want one of stream, display_data, execute_result, error")
	}
	d, content, err := fragment(content)
	if err != nil {
		return nil, err
	}
	if content[0] != '{' {
		return nil, d.wrongType(content, "content", "an object")
	}
	var f outputFields
	for m := d.walk(content); m.next(); {
		key := string(keyText(m.key))
		if slot := f.slot(o.Type, key); slot != nil && key != "output_type" {
			*slot = m.val
		}
	}
	switch o.Type {
	case Stream:
		err = d.stream(o, &f)
	case ErrorOutput:
		err = d.errorOutput(o, &f)
	default:
		err = d.kernelDisplay(o, &f)
	}
	if err != nil {
		return nil, err
	}
	return o, nil
}

func (d *decoder) kernelDisplay(o *Output, f *outputFields) (err error) {
	data := f.data
	f.data = []byte("{}")
	if f.metadata != nil && f.metadata[0] == 'n' {
		f.metadata = nil
	}
	if err := d.display(o, f); err != nil {
		return err
	}
	if data == nil || data[0] == 'n' {
		return nil
	}
	if data[0] != '{' {
		return d.wrongType(data, "data", "an object")
	}
	for m := d.walk(data); m.next(); {
		mime := unquote(m.key)
		if err := d.charge(m.val, costMember); err != nil {
			return err
		}
		switch {
		case IsJSONMime(mime):
			o.Data[mime] = Raw(clone(m.val))
		case m.val[0] == 'n':
			delete(o.Data, mime)
		default:
			s, err := d.text(m.val, "data: "+strconv.Quote(mime))
			if err != nil {
				s = string(m.val)
			}
			o.Data[mime] = s
		}
	}
	return nil
}

// Package frame is what the gateway and the process that has an engine in it say
// to each other: frames on one connection for each order.
//
// The gateway sends an Order, for a load followed by Arrow frames and an End,
// and perhaps a Cancel. The other side answers with any number of Status and
// Arrow frames and then one End, and closes the connection. A connection that
// closes before the End is a process that has died.
package frame

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// A Kind is what is in a frame.
type Kind byte

// The kinds of frame.
const (
	Order  Kind = 'O' // JSON, to the engine: see Ask
	Cancel Kind = 'C' // empty, to the engine
	Status Kind = 'S' // JSON: see Report
	Arrow  Kind = 'A' // bytes of an Arrow IPC stream, either way
	End    Kind = 'E' // JSON: see Done; empty at the end of what is loaded
)

// MaxFrame is the largest frame, in bytes.
const MaxFrame = 16 << 20

// An Ask is an order.
type Ask struct {
	What string `json:"what"` // query, tables, table, references, load, parquet, sample
	SQL  string `json:"sql,omitempty"`
	// Values are those of $1, $2 and so on.
	Values   []Value `json:"values,omitempty"`
	ReadOnly bool    `json:"readOnly,omitempty"` // run nothing that changes anything
	MaxRows  int64   `json:"maxRows,omitempty"`  // stop after so many rows; 0 is no limit
	Name     string  `json:"name,omitempty"`     // of a table: name, schema.name or catalog.schema.name
	Mode     string  `json:"mode,omitempty"`     // of a load: create, replace, append
	Path     string  `json:"path,omitempty"`     // of a folder to make the sample in
}

// A Value is the value of a parameter: Type says what is in Text.
type Value struct {
	Type string `json:"type"` // null, bool, int, float, text, date, timestamp, decimal, bytes (base64)
	Text string `json:"text,omitempty"`
}

// A Report tells how far an order is.
type Report struct {
	Columns  []Column `json:"columns,omitempty"` // once, when they are known
	Fraction *float64 `json:"fraction,omitempty"`
	Rows     int64    `json:"rows"`
}

// A Column is one of a result.
type Column struct {
	Name string `json:"name"`
	Type string `json:"type"`
}

// A Done ends the answer to an order.
type Done struct {
	Rows      int64           `json:"rows"`
	Affected  *int64          `json:"affected,omitempty"`  // rows that the statement changed
	Truncated bool            `json:"truncated,omitempty"` // there were more than MaxRows
	Answer    json.RawMessage `json:"answer,omitempty"`    // of what is no query
	Fault     *Fault          `json:"fault,omitempty"`
}

// A Fault is why an order was not done. As an error it is told in full.
type Fault struct {
	Kind    string `json:"kind"` // invalid, not found, denied, too large, canceled, memory, internal
	Message string `json:"message"`
	// Offset is where in the SQL, in bytes from its beginning; -1 is not known.
	Offset int `json:"offset"`
}

// Error implements error.
func (f *Fault) Error() string { return f.Message }

// Faultf makes a Fault of a kind at an offset, which is -1 where there is none.
func Faultf(kind string, offset int, format string, args ...any) error {
	return &Fault{Kind: kind, Message: fmt.Sprintf(format, args...), Offset: offset}
}

// FaultOf returns what is told of an error: nothing of nil; that it was stopped of
// an order that was; else its Fault, or a Fault of the engine's own.
func FaultOf(err error, stopped bool) *Fault {
	if err == nil {
		return nil
	}
	if stopped {
		return &Fault{Kind: "canceled", Message: "it was asked to stop", Offset: -1}
	}
	if f := (*Fault)(nil); errors.As(err, &f) {
		return f
	}
	return &Fault{Kind: "internal", Message: err.Error(), Offset: -1}
}

// Write writes one frame.
func Write(w io.Writer, kind Kind, payload []byte) error {
	if len(payload) > MaxFrame {
		return fmt.Errorf("a frame of %d bytes is above the limit of %d", len(payload), MaxFrame)
	}
	var head [5]byte
	head[0] = byte(kind)
	binary.BigEndian.PutUint32(head[1:], uint32(len(payload)))
	if _, err := w.Write(head[:]); err != nil {
		return err
	}
	_, err := w.Write(payload)
	return err
}

// WriteJSON writes one frame that holds v.
func WriteJSON(w io.Writer, kind Kind, v any) error {
	data, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return Write(w, kind, data)
}

// A Reader reads frames. It keeps one buffer, which the next Read overwrites.
type Reader struct {
	r   io.Reader
	buf []byte
}

// NewReader returns a Reader of r.
func NewReader(r io.Reader) *Reader { return &Reader{r: r} }

// Read returns the next frame. At the end of the stream between two frames the
// error is io.EOF, inside one io.ErrUnexpectedEOF.
func (r *Reader) Read() (Kind, []byte, error) {
	var head [5]byte
	if _, err := io.ReadFull(r.r, head[:]); err != nil {
		return 0, nil, err
	}
	n := binary.BigEndian.Uint32(head[1:])
	if n > MaxFrame {
		return 0, nil, fmt.Errorf("a frame of %d bytes is above the limit of %d", n, MaxFrame)
	}
	if uint32(cap(r.buf)) < n {
		r.buf = make([]byte, n)
	}
	r.buf = r.buf[:n]
	if _, err := io.ReadFull(r.r, r.buf); err != nil {
		if err == io.EOF { //nolint:errorlint // as io.ReadFull says it
			err = io.ErrUnexpectedEOF
		}
		return 0, nil, err
	}
	return Kind(head[0]), r.buf, nil
}

// A Writer writes what it is given as Arrow frames.
type Writer struct{ W io.Writer }

// Write implements io.Writer.
func (w Writer) Write(p []byte) (int, error) {
	written := 0
	for len(p) > 0 {
		n := min(len(p), MaxFrame)
		if err := Write(w.W, Arrow, p[:n]); err != nil {
			return written, err
		}
		written += n
		p = p[n:]
	}
	return written, nil
}

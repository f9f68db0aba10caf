package query

import (
	"context"
	"io"
	"time"
)

// A Source is an engine that statements are sent to. Implementations are safe
// for concurrent use; querytest has the tests that all of them pass.
//
// Errors are of kind problem.Invalid (the statement is wrong), NotFound (what
// it names does not exist), Denied, TooLarge, Timeout, Unavailable (the engine
// does not answer, or is gone) or Canceled; where the engine says at which
// place of the statement, the error has a *Fault in its chain. No error holds a
// credential or an address.
type Source interface {
	// Engine is the name of the engine's kind: "duckdb", "postgres".
	Engine() string

	// Run executes one statement and writes its result, if it has one, to out
	// as it comes. When ctx ends, the engine is told to stop, and Run returns
	// once it was told. Nothing of the statement goes on after Run.
	Run(ctx context.Context, st Statement, out Output) (Outcome, error)

	// Tables reads the engine's catalog: the tables, views and files that the
	// user sees. Columns are filled in where columns is true.
	Tables(ctx context.Context, user string, want TableFilter) ([]Table, error)

	// Load makes or fills a table from an Arrow stream and returns how many rows
	// it was given. It is all or nothing.
	Load(ctx context.Context, user string, to Target, arrow io.Reader) (rows int64, err error)

	// Close ends what the source has open, and waits for it.
	Close() error
}

// A Statement is one to execute: placeholders instead of the parameters' names,
// in the form that the source asks for with a Style.
type Statement struct {
	User     string // whose right and whose catalog it is
	Session  string // the notebook or run that it belongs to; "" is none
	Text     Text
	Values   map[string]Value
	ReadOnly bool  // run nothing that changes anything
	MaxRows  int64 // stop after so many rows, which is no error; 0 is no limit
	Tag      string
}

// An Output takes what a statement has as result. It is used by one goroutine,
// except for Progress.
type Output interface {
	// Columns tells the result's columns, before its first byte.
	Columns(columns []Column)
	// Write takes the bytes of an Arrow IPC stream.
	io.Writer
	// Progress tells how far the statement is.
	Progress(p Progress)
}

// An Outcome is how a statement ended.
type Outcome struct {
	Rows      int64
	Affected  *int64 // rows that the statement changed, where that is known
	Truncated bool   // there were more rows than MaxRows
}

// A Column is one column of a result or of a table.
type Column struct {
	Name     string `json:"name"`
	Type     string `json:"type"` // as the engine calls it
	Comment  string `json:"comment,omitempty"`
	Nullable *bool  `json:"nullable,omitempty"`
}

// Progress is how far a statement is.
type Progress struct {
	Fraction *float64 `json:"fraction"` // 0 to 1; null is not known
	Rows     int64    `json:"rows"`     // of the result, so far
	Bytes    int64    `json:"bytes"`    // of the result, so far
	Message  string   `json:"message,omitempty"`
}

// A TableFilter chooses tables. The zero value is all.
type TableFilter struct {
	Name    string // one table: name, schema.name or catalog.schema.name
	Search  string // words of the table's, a column's or a comment's text
	Columns bool
	Limit   int
}

// A Table is what can be selected from.
type Table struct {
	Catalog  string     `json:"catalog,omitempty"`
	Schema   string     `json:"schema"`
	Name     string     `json:"name"`
	Kind     string     `json:"kind"`           // table, view
	Rows     *int64     `json:"rows,omitempty"` // as the engine counts or estimates them
	Bytes    *int64     `json:"bytes,omitempty"`
	Comment  string     `json:"comment,omitempty"`
	Modified *time.Time `json:"modifiedAt,omitempty"`
	Columns  []Column   `json:"columns,omitempty"`
}

// A Target is where a load goes.
type Target struct {
	Name string // name, schema.name or catalog.schema.name
	Mode string // create, replace, append
}

// A Fault says where in a statement something is wrong.
type Fault struct {
	Offset int // in bytes of the text that was sent to the engine; -1 is not known
	Err    error
}

// Error implements error.
func (f *Fault) Error() string { return f.Err.Error() }

// Unwrap returns the error itself.
func (f *Fault) Unwrap() error { return f.Err }

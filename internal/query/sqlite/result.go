package sqlite

import (
	"fmt"
	"math"
	"strings"
	"sync"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	lib "modernc.org/sqlite/lib"

	"quire/internal/query"
	"quire/internal/query/frame"
)

// The types of columns are those of the first batch, which is small, so that
// somebody sees it soon.
const (
	firstRows  = 1024
	firstBytes = 8 << 20
	longest    = 50 * time.Millisecond // that a row waits to be sent
)

// A value is one of SQLite, of any type in any column.
type value struct {
	kind  int32 // SQLITE_INTEGER, _FLOAT, _TEXT, _BLOB or _NULL
	whole int64
	real  float64
	bytes []byte
}

// A result makes Arrow batches of rows.
type result struct {
	o     *order
	st    *compiled
	names []string
	types []string // as they were declared; "" is an expression

	mu      sync.Mutex
	err     error // of sending what has waited
	first   [][]value
	bytes   int            // of them
	row     []value        // the current one, once the types are known
	batches *query.Batches // nil before the types are known
}

// send sends the rows as an Arrow stream.
func (o *order) send(st *compiled) error {
	r := &result{o: o, st: st}
	r.names, r.types = st.columns()
	defer func() {
		if r.batches != nil {
			r.batches.Release()
		}
	}()
	stop := r.sendWaiting()
	err := r.read()
	stop()
	if err != nil {
		return err
	}
	if err := r.flush(); err != nil {
		return err
	}
	return r.batches.Close()
}

// read goes through the rows.
func (r *result) read() error {
	for {
		more, err := r.st.step()
		if err != nil || !more {
			return err
		}
		if r.o.ask.MaxRows > 0 && r.o.count() == r.o.ask.MaxRows {
			r.o.cut = true
			return nil
		}
		if err := r.add(); err != nil {
			return err
		}
	}
}

// sendWaiting sends rows that have waited for the next one, until the function
// that it returns is called.
func (r *result) sendWaiting() (stop func()) {
	over, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		tick := time.NewTicker(longest)
		defer tick.Stop()
		for {
			select {
			case <-over:
				return
			case <-tick.C:
			}
			r.mu.Lock()
			if (len(r.first) > 0 || r.batches != nil) && r.err == nil {
				r.err = r.flush()
			}
			r.mu.Unlock()
		}
	}()
	return func() {
		close(over)
		<-ended
	}
}

// add takes the current row.
func (r *result) add() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	row := r.row
	if r.batches == nil { // it is kept
		row = make([]value, len(r.names))
	}
	for i := range row {
		row[i] = r.st.value(int32(i))
	}
	r.o.mu.Lock()
	r.o.rows++
	r.o.mu.Unlock()
	if r.err != nil {
		return r.err
	}
	if r.batches == nil {
		r.bytes += sizeOf(row)
		if r.first = append(r.first, row); len(r.first) < firstRows && r.bytes < firstBytes {
			return nil
		}
		return r.flush()
	}
	if err := r.put(row); err != nil || !r.batches.Full() {
		return err
	}
	return r.flush()
}

// sizeOf is about how many bytes a row takes.
func sizeOf(row []value) (bytes int) {
	for _, v := range row {
		bytes += 8 + len(v.bytes)
	}
	return bytes
}

func (r *result) put(row []value) error {
	for i, v := range row {
		if err := put(r.batches.Columns[i], v); err != nil {
			return frame.Faultf("invalid", -1, "column %s: %v: write CAST(%[1]s AS TEXT) where a column holds values of several types", r.names[i], err)
		}
	}
	r.batches.Add(sizeOf(row))
	return nil
}

// flush sends the rows so far as one batch; the first time the types before.
func (r *result) flush() error {
	if r.batches == nil {
		if err := r.decide(); err != nil {
			return err
		}
	}
	return r.batches.Flush()
}

// decide chooses the types of the columns by the first rows, and sends these.
func (r *result) decide() error {
	fields, report := make([]arrow.Field, len(r.names)), frame.Report{}
	for i, name := range r.names {
		seen := map[int32]bool{}
		for _, row := range r.first {
			seen[row[i].kind] = true
		}
		kind := kindOf(seen, r.types[i])
		as := map[int32]arrow.DataType{
			lib.SQLITE_INTEGER: arrow.PrimitiveTypes.Int64, lib.SQLITE_FLOAT: arrow.PrimitiveTypes.Float64,
			lib.SQLITE_TEXT: arrow.BinaryTypes.String, lib.SQLITE_BLOB: arrow.BinaryTypes.Binary,
		}[kind]
		fields[i] = arrow.Field{Name: name, Type: as, Nullable: true}
		if r.types[i] == "" {
			r.types[i] = map[int32]string{lib.SQLITE_INTEGER: "INTEGER", lib.SQLITE_FLOAT: "REAL", lib.SQLITE_TEXT: "TEXT", lib.SQLITE_BLOB: "BLOB"}[kind]
		}
		report.Columns = append(report.Columns, frame.Column{Name: name, Type: r.types[i]})
	}
	if err := r.o.out.SendJSON(frame.Status, report); err != nil {
		return err
	}
	r.batches = query.NewBatches(r.o.out, arrow.NewSchema(fields, nil))
	rows := r.first
	r.first, r.row = nil, make([]value, len(r.names))
	for _, row := range rows {
		if err := r.put(row); err != nil {
			return err
		}
	}
	return nil
}

// kindOf is the type of a column that has shown values of these types: one that
// holds all of them; where there was none, that of its declaration.
func kindOf(seen map[int32]bool, declared string) int32 {
	declared = strings.ToUpper(declared)
	switch {
	case seen[lib.SQLITE_BLOB]:
		return lib.SQLITE_BLOB
	case seen[lib.SQLITE_TEXT]:
		return lib.SQLITE_TEXT
	case seen[lib.SQLITE_FLOAT]:
		return lib.SQLITE_FLOAT
	case seen[lib.SQLITE_INTEGER]:
		// A number that may have a fraction, by the declaration: 3 of NUMERIC is stored
		// as a whole one.
		for _, word := range []string{"NUM", "DEC", "REAL", "FLOA", "DOUB"} {
			if strings.Contains(declared, word) {
				return lib.SQLITE_FLOAT
			}
		}
		return lib.SQLITE_INTEGER
	case strings.Contains(declared, "INT"):
		return lib.SQLITE_INTEGER
	case strings.Contains(declared, "REAL"), strings.Contains(declared, "FLOA"), strings.Contains(declared, "DOUB"):
		return lib.SQLITE_FLOAT
	case strings.Contains(declared, "BLOB"):
		return lib.SQLITE_BLOB
	}
	return lib.SQLITE_TEXT
}

// put adds a value to a column, as the column's type.
func put(b array.Builder, v value) error {
	if v.kind == lib.SQLITE_NULL {
		b.AppendNull()
		return nil
	}
	switch b := b.(type) {
	case *array.Int64Builder:
		if v.kind == lib.SQLITE_INTEGER {
			b.Append(v.whole)
			return nil
		}
		if v.kind == lib.SQLITE_FLOAT && v.real == math.Trunc(v.real) && math.Abs(v.real) < 1<<53 {
			b.Append(int64(v.real))
			return nil
		}
		return fmt.Errorf("%s comes where there were whole numbers before", v.text())
	case *array.Float64Builder:
		switch v.kind {
		case lib.SQLITE_INTEGER:
			b.Append(float64(v.whole))
		case lib.SQLITE_FLOAT:
			b.Append(v.real)
		default:
			return fmt.Errorf("%s comes where there were numbers before", v.text())
		}
	case *array.StringBuilder:
		if v.kind == lib.SQLITE_BLOB {
			return fmt.Errorf("a blob comes where there were texts before")
		}
		b.Append(strings.ToValidUTF8(v.plain(), "\ufffd"))
	case *array.BinaryBuilder:
		b.Append([]byte(v.plain()))
	}
	return nil
}

// plain is the value as SQLite writes it.
func (v value) plain() string {
	switch v.kind {
	case lib.SQLITE_INTEGER:
		return fmt.Sprint(v.whole)
	case lib.SQLITE_FLOAT:
		return strings.TrimSuffix(fmt.Sprintf("%.15g", v.real), ".0")
	}
	return string(v.bytes)
}

// text is the beginning of the value, for a message.
func (v value) text() string {
	switch v.kind {
	case lib.SQLITE_TEXT:
		return fmt.Sprintf("the text %.40q", v.bytes)
	case lib.SQLITE_BLOB:
		return "a blob"
	}
	return v.plain()
}

// columns are the names of the columns, and their types as declared.
func (c *compiled) columns() (names, types []string) {
	for i := range lib.Xsqlite3_column_count(c.db.tls, c.st) {
		names = append(names, goString(lib.Xsqlite3_column_name(c.db.tls, c.st, i)))
		types = append(types, goString(lib.Xsqlite3_column_decltype(c.db.tls, c.st, i)))
	}
	return names, types
}

// value is that of a column of the current row.
func (c *compiled) value(i int32) value {
	v := value{kind: lib.Xsqlite3_column_type(c.db.tls, c.st, i)}
	switch v.kind {
	case lib.SQLITE_INTEGER:
		v.whole = lib.Xsqlite3_column_int64(c.db.tls, c.st, i)
	case lib.SQLITE_FLOAT:
		v.real = lib.Xsqlite3_column_double(c.db.tls, c.st, i)
	case lib.SQLITE_TEXT, lib.SQLITE_BLOB:
		v.bytes = c.bytes(i, v.kind == lib.SQLITE_BLOB)
	}
	return v
}

package spark

import (
	"bytes"
	"errors"
	"strings"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/ipc"

	"quire/internal/query"
)

// errEnough says that a result has all rows that are wanted.
var errEnough = errors.New("that is enough")

// A table writes the batches of a result, each of which comes as an Arrow
// stream of its own, as one stream.
type table struct {
	out       query.Output
	limit     int64 // rows; 0 is no limit
	schema    *arrow.Schema
	w         *ipc.Writer
	rows      int64
	truncated bool
	fraction  *float64
}

// add writes the batches of one stream.
func (t *table) add(stream []byte) error {
	reader, err := ipc.NewReader(bytes.NewReader(stream))
	if err != nil {
		return errWire
	}
	defer reader.Release()
	if t.w == nil {
		t.begin(reader.Schema())
	}
	for reader.Next() {
		if err := t.write(reader.RecordBatch()); err != nil {
			return err
		}
	}
	if reader.Err() != nil {
		return errWire
	}
	return nil
}

func (t *table) begin(schema *arrow.Schema) {
	t.schema = schema
	if schema.NumFields() == 0 { // of a command
		return
	}
	var columns []query.Column
	for _, f := range schema.Fields() {
		columns = append(columns, query.Column{Name: f.Name, Type: typeName(f.Type)})
	}
	t.out.Columns(columns)
	t.w = ipc.NewWriter(t.out, ipc.WithSchema(schema))
}

func (t *table) write(batch arrow.RecordBatch) error {
	if t.w == nil || batch.NumRows() == 0 {
		return nil
	}
	if !batch.Schema().Equal(t.schema) {
		return errWire
	}
	n := batch.NumRows()
	if t.limit > 0 && t.rows+n > t.limit {
		n, t.truncated = t.limit-t.rows, true
	}
	part := batch.NewSlice(0, n)
	defer part.Release()
	if n > 0 {
		if err := t.w.Write(part); err != nil {
			return err
		}
	}
	t.rows += n
	t.tell()
	if t.truncated {
		return errEnough
	}
	return nil
}

func (t *table) tell() { t.out.Progress(query.Progress{Rows: t.rows, Fraction: t.fraction}) }

// close ends the stream.
func (t *table) close() (query.Outcome, error) {
	o := query.Outcome{Rows: t.rows, Truncated: t.truncated}
	if t.w == nil {
		return o, nil
	}
	w := t.w
	t.w = nil
	return o, w.Close()
}

// release frees what a table that was not closed holds.
func (t *table) release() { t.w = nil }

var typeNames = map[arrow.Type]string{
	arrow.NULL: "void", arrow.BOOL: "boolean", arrow.INT8: "tinyint", arrow.INT16: "smallint", arrow.INT32: "int", arrow.INT64: "bigint",
	arrow.FLOAT32: "float", arrow.FLOAT64: "double", arrow.STRING: "string", arrow.LARGE_STRING: "string", arrow.BINARY: "binary",
	arrow.LARGE_BINARY: "binary", arrow.DATE32: "date", arrow.DURATION: "interval day to second", arrow.INTERVAL_MONTHS: "interval year to month",
}

// typeName is a type as Spark calls it.
func typeName(t arrow.DataType) string {
	switch t := t.(type) {
	case *arrow.Decimal128Type:
		return t.String()
	case *arrow.TimestampType:
		if t.TimeZone == "" {
			return "timestamp_ntz"
		}
		return "timestamp"
	case *arrow.MapType:
		return "map<" + typeName(t.KeyType()) + "," + typeName(t.ItemType()) + ">"
	case arrow.ListLikeType:
		return "array<" + typeName(t.Elem()) + ">"
	case *arrow.StructType:
		var fields []string
		for _, f := range t.Fields() {
			fields = append(fields, f.Name+":"+typeName(f.Type))
		}
		return "struct<" + strings.Join(fields, ",") + ">"
	}
	if name := typeNames[t.ID()]; name != "" {
		return name
	}
	return t.String()
}

package query

import (
	"bufio"
	"encoding/base64"
	"encoding/csv"
	"encoding/json"
	"io"
	"math"
	"strconv"
	"strings"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/ipc"

	"quire/internal/problem"
)

// A Page is a part of a result as JSON: each row has its columns' values in
// order. Numbers that JSON cannot hold exactly are texts, as are times and
// decimals; bytes are base64.
type Page struct {
	Columns []Column            `json:"columns"`
	Rows    [][]json.RawMessage `json:"rows"`
	Next    string              `json:"next,omitempty"` // of the page behind; "" at the end
}

// Numeric reports whether a column of a Page holds numbers.
func (c Column) Numeric() bool {
	name := strings.ToLower(c.Type) // as Arrow or an engine calls it
	for _, kind := range []string{"int", "uint", "bigint", "smallint", "tinyint", "hugeint", "float", "double", "real", "decimal", "numeric"} {
		if strings.HasPrefix(name, kind) {
			return !strings.HasPrefix(name, "interval")
		}
	}
	return false
}

// batches calls f with every batch of an Arrow stream.
func batches(r io.Reader, f func(schema *arrow.Schema, batch arrow.RecordBatch) error) error {
	reader, err := ipc.NewReader(bufio.NewReaderSize(r, 256<<10))
	if err != nil {
		return streamError(err)
	}
	defer reader.Release()
	if err := f(reader.Schema(), nil); err != nil {
		return err
	}
	for reader.Next() {
		if err := f(reader.Schema(), reader.RecordBatch()); err != nil {
			return err
		}
	}
	return streamError(reader.Err())
}

// streamError keeps the kind of what ended a result.
func streamError(err error) error {
	if err == nil || err == io.EOF { //nolint:errorlint // as Reader says it
		return nil
	}
	return problem.Wrap(err, "reading the result")
}

// ReadPage reads limit rows of a result, from the given one on.
func ReadPage(r io.Reader, from, limit int64) (Page, error) {
	page := Page{Columns: []Column{}, Rows: [][]json.RawMessage{}}
	var at int64
	stop := problem.New(problem.Internal, "enough")
	err := batches(r, func(schema *arrow.Schema, batch arrow.RecordBatch) error {
		if batch == nil {
			for _, f := range schema.Fields() {
				page.Columns = append(page.Columns, Column{Name: f.Name, Type: f.Type.String()})
			}
			return nil
		}
		first := at
		at += batch.NumRows()
		for row := max(first, from); row < at; row++ {
			if int64(len(page.Rows)) >= limit {
				return stop
			}
			page.Rows = append(page.Rows, jsonRow(batch, int(row-first)))
		}
		return nil
	})
	if err == stop { //nolint:errorlint // it is ours
		page.Next, err = strconv.FormatInt(from+limit, 10), nil
	}
	return page, err
}

func jsonRow(batch arrow.RecordBatch, row int) []json.RawMessage {
	values := make([]json.RawMessage, batch.NumCols())
	for i, column := range batch.Columns() {
		data, err := json.Marshal(plainValue(column, row))
		if err != nil {
			data = []byte("null")
		}
		values[i] = data
	}
	return values
}

// plainValue is a value for JSON, which a browser reads without loss.
func plainValue(column arrow.Array, row int) any {
	if column.IsNull(row) {
		return nil
	}
	switch c := column.(type) {
	case *array.Boolean:
		return c.Value(row)
	case *array.Int8, *array.Int16, *array.Int32, *array.Uint8, *array.Uint16, *array.Uint32:
		return json.RawMessage(column.ValueStr(row))
	case *array.Int64:
		if n := c.Value(row); n > 1<<53 || n < -1<<53 {
			return c.ValueStr(row)
		}
		return c.Value(row)
	case *array.Float32:
		return plainFloat(float64(c.Value(row)), c.ValueStr(row))
	case *array.Float64:
		return plainFloat(c.Value(row), c.ValueStr(row))
	case *array.Decimal128:
		return c.Value(row).ToString(c.DataType().(arrow.DecimalType).GetScale())
	case *array.Decimal256:
		return c.Value(row).ToString(c.DataType().(arrow.DecimalType).GetScale())
	case *array.Binary:
		return base64.StdEncoding.EncodeToString(c.Value(row))
	case array.ListLike:
		from, to := c.ValueOffsets(row)
		list := make([]any, 0, to-from)
		for i := from; i < to; i++ {
			list = append(list, plainValue(c.ListValues(), int(i)))
		}
		return list
	case *array.Struct:
		all := map[string]any{}
		for i, f := range c.DataType().(*arrow.StructType).Fields() {
			all[f.Name] = plainValue(c.Field(i), row)
		}
		return all
	case *array.Dictionary:
		return plainValue(c.Dictionary(), c.GetValueIndex(row))
	}
	return column.ValueStr(row)
}

func plainFloat(f float64, text string) any {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return text
	}
	return f
}

// cellText is a value as text, as CSV and tables have it.
func cellText(column arrow.Array, row int) string {
	if column.IsNull(row) {
		return ""
	}
	switch v := plainValue(column, row).(type) {
	case string:
		return v
	default:
		data, err := json.Marshal(v)
		if err != nil {
			return column.ValueStr(row)
		}
		return string(data)
	}
}

// WriteCSV writes a result as CSV (RFC 4180) with a line of names. Texts that a
// spreadsheet would execute are not changed: the file is data.
func WriteCSV(w io.Writer, r io.Reader) error {
	out := csv.NewWriter(w)
	err := batches(r, func(schema *arrow.Schema, batch arrow.RecordBatch) error {
		if batch == nil {
			var names []string
			for _, f := range schema.Fields() {
				names = append(names, f.Name)
			}
			return out.Write(names)
		}
		line := make([]string, batch.NumCols())
		for row := range int(batch.NumRows()) {
			for i, column := range batch.Columns() {
				line[i] = cellText(column, row)
			}
			if err := out.Write(line); err != nil {
				return err
			}
		}
		out.Flush()
		return out.Error()
	})
	out.Flush()
	if err == nil {
		err = out.Error()
	}
	return err
}

// WriteJSONRows writes a result as JSON, a list with an object for each row.
func WriteJSONRows(w io.Writer, r io.Reader) error {
	first := true
	if _, err := io.WriteString(w, "["); err != nil {
		return err
	}
	var names []string
	err := batches(r, func(schema *arrow.Schema, batch arrow.RecordBatch) error {
		if batch == nil {
			for _, f := range schema.Fields() {
				name, err := json.Marshal(f.Name)
				if err != nil {
					return err
				}
				names = append(names, string(name))
			}
			return nil
		}
		var text strings.Builder
		for row := range int(batch.NumRows()) {
			text.WriteString(map[bool]string{true: "\n{", false: ",\n{"}[first])
			first = false
			for i, value := range jsonRow(batch, row) {
				if i > 0 {
					text.WriteByte(',')
				}
				text.WriteString(names[i])
				text.WriteByte(':')
				text.Write(value)
			}
			text.WriteByte('}')
		}
		_, err := io.WriteString(w, text.String())
		return err
	})
	if err == nil {
		_, err = io.WriteString(w, "\n]\n")
	}
	return err
}

// ReadRows calls f with the columns and then with each row as texts; null is
// told apart from a text that is empty.
func ReadRows(r io.Reader, columns func(names []string) error, f func(values []string, null []bool) error) error {
	return batches(r, func(schema *arrow.Schema, batch arrow.RecordBatch) error {
		if batch == nil {
			var names []string
			for _, field := range schema.Fields() {
				names = append(names, field.Name)
			}
			return columns(names)
		}
		values, null := make([]string, batch.NumCols()), make([]bool, batch.NumCols())
		for row := range int(batch.NumRows()) {
			for i, column := range batch.Columns() {
				values[i], null[i] = cellText(column, row), column.IsNull(row)
			}
			if err := f(values, null); err != nil {
				return err
			}
		}
		return nil
	})
}

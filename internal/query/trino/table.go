package trino

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/decimal128"

	"quire/internal/problem"
	"quire/internal/query"
)

// errEnough says that a result has all rows that are wanted.
var errEnough = errors.New("that is enough")

// A column is one as the protocol has it.
type column struct {
	Name string `json:"name"`
	Type string `json:"type"`
}

// A table makes an Arrow stream of answers.
type table struct {
	out       query.Output
	limit     int64          // rows; 0 is no limit
	batches   *query.Batches // nil before the columns are known
	decode    []decoder
	names     []string
	rows      int64
	truncated bool
}

// take writes the rows of one answer as a batch.
func (t *table) take(a answer) error {
	if t.batches == nil && len(a.Columns) > 0 && a.UpdateType == "" {
		t.begin(a.Columns)
	}
	if t.batches != nil && len(a.Data) > 0 {
		if err := t.add(a.Data); err != nil {
			return err
		}
	}
	p := query.Progress{Rows: t.rows}
	if a.Stats.Progress != nil {
		fraction := min(max(*a.Stats.Progress/100, 0), 1)
		p.Fraction = &fraction
	} else if a.Stats.Total > 0 && a.Stats.State == "RUNNING" {
		fraction := float64(a.Stats.Completed) / float64(a.Stats.Total)
		p.Fraction = &fraction
	}
	if a.Stats.State == "QUEUED" {
		p.Message = "waits for its turn in Trino"
	}
	t.out.Progress(p)
	if t.truncated {
		return errEnough
	}
	return nil
}

func (t *table) begin(columns []column) {
	var fields []arrow.Field
	var told []query.Column
	for _, c := range columns {
		as, decode := decoderOf(c.Type)
		fields = append(fields, arrow.Field{Name: c.Name, Type: as, Nullable: true})
		told = append(told, query.Column{Name: c.Name, Type: c.Type})
		t.decode, t.names = append(t.decode, decode), append(t.names, c.Name)
	}
	t.out.Columns(told)
	t.batches = query.NewBatches(t.out, arrow.NewSchema(fields, nil))
}

func (t *table) add(rows [][]json.RawMessage) error {
	n := int64(len(rows))
	if t.limit > 0 && t.rows+n > t.limit {
		n, t.truncated = t.limit-t.rows, true
	}
	columns := t.batches.Columns
	for _, row := range rows[:n] {
		if len(row) != len(columns) {
			return problem.New(problem.Unavailable, "Trino sent a row of %d values where there are %d columns", len(row), len(columns))
		}
		for i, v := range row {
			if len(v) == 0 || string(v) == "null" {
				columns[i].AppendNull()
			} else if err := t.decode[i](columns[i], v); err != nil {
				return problem.New(problem.Unavailable, "Trino sent a value of column %s that cannot be read", t.names[i])
			}
		}
		t.batches.Add(0) // an answer is a batch, whatever its size
	}
	t.rows += n
	return t.batches.Flush()
}

// close ends the stream.
func (t *table) close(a answer) (query.Outcome, error) {
	o := query.Outcome{Rows: t.rows, Truncated: t.truncated, Affected: a.UpdateCount}
	if t.batches == nil {
		return o, nil
	}
	return o, t.batches.Close()
}

func (t *table) release() {
	if t.batches != nil {
		t.batches.Release()
	}
}

// A decoder appends a value that is not null.
type decoder func(b array.Builder, v json.RawMessage) error

func text(v json.RawMessage) (s string, err error) { return s, json.Unmarshal(v, &s) }

// float reads a number, or "NaN" and "Infinity" as Trino writes them.
func float(v json.RawMessage) (float64, error) {
	return strconv.ParseFloat(strings.Trim(string(v), `"`), 64)
}

// decoderOf says what a column becomes. What Arrow has no plain like of becomes
// text: as Trino writes it, or as JSON.
func decoderOf(name string) (arrow.DataType, decoder) {
	base, arguments, _ := strings.Cut(strings.ToLower(name), "(")
	arguments, zone, _ := strings.Cut(arguments, ")")
	switch base {
	case "boolean":
		return arrow.FixedWidthTypes.Boolean, func(b array.Builder, v json.RawMessage) error {
			b.(*array.BooleanBuilder).Append(string(v) == "true")
			return nil
		}
	case "tinyint", "smallint", "integer", "bigint":
		return integerOf(base)
	case "real", "double":
		return arrow.PrimitiveTypes.Float64, func(b array.Builder, v json.RawMessage) error {
			f, err := float(v)
			b.(*array.Float64Builder).Append(f)
			return err
		}
	case "decimal":
		return decimalOf(arguments)
	case "date":
		return arrow.FixedWidthTypes.Date32, func(b array.Builder, v json.RawMessage) error {
			s, err := text(v)
			if err != nil {
				return err
			}
			at, err := time.Parse(time.DateOnly, s)
			b.(*array.Date32Builder).Append(arrow.Date32FromTime(at))
			return err
		}
	case "timestamp", "timestamp with time zone":
		return timestampOf(base+zone == "timestamp")
	case "varbinary":
		return arrow.BinaryTypes.Binary, func(b array.Builder, v json.RawMessage) error {
			s, err := text(v)
			if err != nil {
				return err
			}
			data, err := base64.StdEncoding.DecodeString(s)
			b.(*array.BinaryBuilder).Append(data)
			return err
		}
	}
	return arrow.BinaryTypes.String, func(b array.Builder, v json.RawMessage) error {
		if v[0] != '"' { // array, map, row
			b.(*array.StringBuilder).Append(string(v))
			return nil
		}
		s, err := text(v)
		b.(*array.StringBuilder).Append(s)
		return err
	}
}

func integerOf(base string) (arrow.DataType, decoder) {
	bits := map[string]int{"tinyint": 8, "smallint": 16, "integer": 32, "bigint": 64}[base]
	as := map[int]arrow.DataType{8: arrow.PrimitiveTypes.Int8, 16: arrow.PrimitiveTypes.Int16, 32: arrow.PrimitiveTypes.Int32, 64: arrow.PrimitiveTypes.Int64}[bits]
	return as, func(b array.Builder, v json.RawMessage) error {
		n, err := strconv.ParseInt(string(v), 10, bits)
		switch b := b.(type) {
		case *array.Int8Builder:
			b.Append(int8(n)) //nolint:gosec // parsed with these bits
		case *array.Int16Builder:
			b.Append(int16(n)) //nolint:gosec // parsed with these bits
		case *array.Int32Builder:
			b.Append(int32(n)) //nolint:gosec // parsed with these bits
		case *array.Int64Builder:
			b.Append(n)
		}
		return err
	}
}

func decimalOf(arguments string) (arrow.DataType, decoder) {
	p, s, _ := strings.Cut(arguments, ",")
	precision, err1 := strconv.ParseInt(strings.TrimSpace(p), 10, 32)
	scale, err2 := strconv.ParseInt(strings.TrimSpace(s), 10, 32)
	if s == "" {
		scale, err2 = 0, nil
	}
	if err1 != nil || err2 != nil || precision < 1 || precision > 38 || scale < 0 || scale > precision {
		precision, scale = 38, 0
	}
	return &arrow.Decimal128Type{Precision: int32(precision), Scale: int32(scale)}, func(b array.Builder, v json.RawMessage) error { //nolint:gosec // below 39
		s, err := text(v)
		if err != nil {
			return err
		}
		n, err := decimal128.FromString(s, int32(precision), int32(scale)) //nolint:gosec // below 39
		b.(*array.Decimal128Builder).Append(n)
		return err
	}
}

func timestampOf(plain bool) (arrow.DataType, decoder) {
	as := &arrow.TimestampType{Unit: arrow.Microsecond, TimeZone: "UTC"}
	if plain {
		as = &arrow.TimestampType{Unit: arrow.Microsecond}
	}
	return as, func(b array.Builder, v json.RawMessage) error {
		s, err := text(v)
		if err != nil {
			return err
		}
		at, err := parseTime(s, plain)
		b.(*array.TimestampBuilder).Append(arrow.Timestamp(at.UnixMicro()))
		return err
	}
}

// parseTime reads "2018-05-08 12:00:00.123", with a zone's name or distance
// behind it where it is not plain.
func parseTime(s string, plain bool) (time.Time, error) {
	const layout = "2006-01-02 15:04:05"
	if plain {
		return time.Parse(layout, s) // a fraction is taken too
	}
	cut := strings.LastIndexByte(s, ' ')
	if cut < 0 {
		return time.Time{}, errors.New("no zone")
	}
	if at, err := time.Parse(layout+" -07:00", s); err == nil {
		return at, nil
	}
	zone, err := time.LoadLocation(s[cut+1:])
	if err != nil {
		return time.Time{}, err
	}
	return time.ParseInLocation(layout, s[:cut], zone)
}

package spark

import (
	"bytes"
	"context"
	"io"
	"strings"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/ipc"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/google/uuid"

	"quire/internal/problem"
	"quire/internal/query"
)

// chunkBytes is how much is sent to Spark at once, before what the format adds:
// it makes rows of its own of it, which are some ten times larger.
const chunkBytes = 4 << 20

// Load implements query.Source. What fits into one message is written at once;
// more is gathered in a table of its own first, from which the target is made.
func (s *Source) Load(ctx context.Context, user string, to query.Target, stream io.Reader) (int64, error) {
	reader, err := ipc.NewReader(stream)
	if err != nil {
		return 0, problem.New(problem.Invalid, "what is loaded is no Arrow stream: %v", err)
	}
	defer reader.Release()
	var parts []string
	for _, part := range query.SplitName(to.Name) {
		parts = append(parts, quote(part))
	}
	session, giveBack := s.session(user, "")
	defer giveBack()
	l := &load{Source: s, session: session, target: strings.Join(parts, "."), mode: to.Mode}
	if l.convert, l.schema, err = converterOf(reader.Schema()); err != nil {
		return 0, err
	}
	defer l.drop(ctx)
	for reader.Next() {
		if err := l.take(ctx, reader.RecordBatch()); err != nil {
			return 0, s.failed(ctx, err)
		}
	}
	if err := reader.Err(); err != nil {
		return 0, problem.WrapAs(problem.Invalid, err, "reading the Arrow stream")
	}
	return l.rows, s.failed(ctx, l.finish(ctx))
}

// A load is one while it goes on.
type load struct {
	*Source
	session *session
	target  string
	mode    string
	convert []func(arrow.Array) (arrow.Array, error)
	schema  *arrow.Schema

	chunk   bytes.Buffer
	w       *ipc.Writer
	rows    int64
	staging string // the table of what was sent; "" is none yet
}

// take adds a batch, in slices that fit.
func (l *load) take(ctx context.Context, batch arrow.RecordBatch) error {
	rows := batch.NumRows()
	var size int64
	for _, c := range batch.Columns() {
		size += int64(c.Data().SizeInBytes()) //nolint:gosec // of memory that is there
	}
	step := max(1, rows*chunkBytes/max(size, chunkBytes))
	for from := int64(0); from < rows; from += step {
		slice := batch.NewSlice(from, min(from+step, rows))
		err := l.add(slice)
		slice.Release()
		if err != nil {
			return err
		}
		if l.chunk.Len() >= chunkBytes {
			if err := l.send(ctx); err != nil {
				return err
			}
		}
	}
	return nil
}

func (l *load) add(batch arrow.RecordBatch) error {
	columns := make([]arrow.Array, batch.NumCols())
	for i, c := range batch.Columns() {
		as, err := l.convert[i](c)
		if err != nil {
			return err
		}
		columns[i] = as
		defer as.Release()
	}
	out := array.NewRecordBatch(l.schema, columns, batch.NumRows())
	defer out.Release()
	l.begin()
	l.rows += batch.NumRows()
	return l.w.Write(out)
}

func (l *load) begin() {
	if l.w == nil {
		l.w = ipc.NewWriter(&l.chunk, ipc.WithSchema(l.schema))
	}
}

// end returns the chunk as one stream.
func (l *load) end() ([]byte, error) {
	l.begin()
	err := l.w.Close()
	l.w = nil
	return l.chunk.Bytes(), err
}

func (l *load) run(ctx context.Context, plan message) error {
	e := &execution{source: l.Source, session: l.session, table: &table{out: &buffer{}}}
	_, err := e.execute(ctx, plan)
	return err
}

// send adds the chunk to the staging table.
func (l *load) send(ctx context.Context) error {
	data, err := l.end()
	if err != nil {
		return err
	}
	if l.staging == "" {
		l.staging = quote("quire_load_" + strings.ReplaceAll(uuid.NewString(), "-", ""))
		if at := strings.LastIndex(l.target, "`.`"); at >= 0 { // beside the target
			l.staging = l.target[:at+2] + l.staging
		}
	}
	err = l.run(ctx, writeTable(l.staging, modeAppend, data))
	l.chunk.Reset()
	return err
}

// finish writes the target.
func (l *load) finish(ctx context.Context) error {
	if l.staging == "" {
		data, err := l.end()
		if err != nil {
			return err
		}
		mode := map[string]int64{"create": modeError, "append": modeAppend, "replace": modeOverwrite}[l.mode]
		return l.run(ctx, writeTable(l.target, mode, data))
	}
	if l.chunk.Len() > 0 || l.w != nil {
		if err := l.send(ctx); err != nil {
			return err
		}
	}
	return l.run(ctx, writeFrom(l.target, map[string]int64{"create": modeError, "append": modeAppend, "replace": modeOverwrite}[l.mode], l.staging))
}

// drop removes the staging table, also when ctx has ended.
func (l *load) drop(ctx context.Context) {
	if l.staging == "" {
		return
	}
	if plan, err := sqlCommand("DROP TABLE IF EXISTS "+l.staging, nil); err == nil {
		_ = l.run(context.WithoutCancel(ctx), plan) // its name says whose it is
	}
}

// converterOf says what the columns become: Spark takes few of Arrow's types.
func converterOf(schema *arrow.Schema) (all []func(arrow.Array) (arrow.Array, error), to *arrow.Schema, err error) {
	var fields []arrow.Field
	for _, f := range schema.Fields() {
		as, convert := converter(f.Type)
		if as == nil {
			return nil, nil, problem.New(problem.Invalid, "column %s: Spark has no type for %s here", f.Name, f.Type)
		}
		fields = append(fields, arrow.Field{Name: f.Name, Type: as, Nullable: true})
		all = append(all, convert)
	}
	return all, arrow.NewSchema(fields, nil), nil
}

// asIs takes a column as it is.
func asIs(a arrow.Array) (arrow.Array, error) {
	a.Retain()
	return a, nil
}

func converter(t arrow.DataType) (arrow.DataType, func(arrow.Array) (arrow.Array, error)) {
	switch t := t.(type) {
	case *arrow.BooleanType, *arrow.Int8Type, *arrow.Int16Type, *arrow.Int32Type, *arrow.Int64Type, *arrow.Float32Type, *arrow.Float64Type,
		*arrow.StringType, *arrow.BinaryType, *arrow.Date32Type, *arrow.Decimal128Type:
		return t, asIs
	case *arrow.Uint8Type, *arrow.Uint16Type:
		return arrow.PrimitiveTypes.Int32, each(arrow.PrimitiveTypes.Int32)
	case *arrow.Uint32Type:
		return arrow.PrimitiveTypes.Int64, each(arrow.PrimitiveTypes.Int64)
	case *arrow.Uint64Type:
		as := &arrow.Decimal128Type{Precision: 20}
		return as, each(as)
	case *arrow.TimestampType:
		as := &arrow.TimestampType{Unit: arrow.Microsecond, TimeZone: t.TimeZone}
		if t.Unit == arrow.Microsecond {
			return as, asIs
		}
		return as, micros(t.Unit, as)
	case *arrow.LargeStringType, *arrow.StringViewType, *arrow.DictionaryType, *arrow.NullType:
		if d, ok := t.(*arrow.DictionaryType); ok && d.ValueType.ID() != arrow.STRING && d.ValueType.ID() != arrow.LARGE_STRING {
			return nil, nil
		}
		return arrow.BinaryTypes.String, each(arrow.BinaryTypes.String)
	case *arrow.LargeBinaryType:
		return arrow.BinaryTypes.Binary, func(a arrow.Array) (arrow.Array, error) {
			b := array.NewBinaryBuilder(memory.DefaultAllocator, arrow.BinaryTypes.Binary)
			defer b.Release()
			for i := range a.Len() {
				if a.IsNull(i) {
					b.AppendNull()
				} else {
					b.Append(a.(*array.LargeBinary).Value(i))
				}
			}
			return b.NewArray(), nil
		}
	}
	return nil, nil
}

// each makes another column of the values' texts.
func each(to arrow.DataType) func(arrow.Array) (arrow.Array, error) {
	return func(a arrow.Array) (arrow.Array, error) {
		b := array.NewBuilder(memory.DefaultAllocator, to)
		defer b.Release()
		b.Reserve(a.Len())
		for i := range a.Len() {
			if a.IsNull(i) {
				b.AppendNull()
			} else if err := b.AppendValueFromString(a.ValueStr(i)); err != nil {
				return nil, problem.WrapAs(problem.Invalid, err, "making %s of a value", to)
			}
		}
		return b.NewArray(), nil
	}
}

// micros makes microseconds of times; what is smaller is left out.
func micros(from arrow.TimeUnit, to *arrow.TimestampType) func(arrow.Array) (arrow.Array, error) {
	return func(a arrow.Array) (arrow.Array, error) {
		b := array.NewTimestampBuilder(memory.DefaultAllocator, to)
		defer b.Release()
		b.Reserve(a.Len())
		for i, v := range a.(*array.Timestamp).Values() {
			if a.IsNull(i) {
				b.AppendNull()
			} else {
				b.Append(arrow.Timestamp(v.ToTime(from).UnixMicro()))
			}
		}
		return b.NewArray(), nil
	}
}

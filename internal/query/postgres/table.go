package postgres

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/big"
	"strconv"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/decimal128"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgtype"

	"quire/internal/problem"
	"quire/internal/query"
)

// firstBatch is how many rows the first batch has: few, so that somebody sees it soon.
const firstBatch = 1024

// A table makes Arrow batches of rows.
type table struct {
	batches *query.Batches
	decode  []func(array.Builder, []byte) error
	names   []string
	out     query.Output
	rows    int64
}

// binaryTypes are the types that are read in binary form.
var binaryTypes = []uint32{
	pgtype.BoolOID, pgtype.Int2OID, pgtype.Int4OID, pgtype.Int8OID, pgtype.OIDOID, pgtype.Float4OID, pgtype.Float8OID, pgtype.NumericOID,
	pgtype.DateOID, pgtype.TimestampOID, pgtype.TimestamptzOID, pgtype.ByteaOID, pgtype.TextOID, pgtype.VarcharOID, pgtype.BPCharOID, pgtype.NameOID,
	pgtype.JSONOID,
}

// formats asks for these in binary form, for all else as text.
func formats() map[uint32]int16 {
	all := make(map[uint32]int16, len(binaryTypes))
	for _, oid := range binaryTypes {
		all[oid] = pgtype.BinaryFormatCode
	}
	return all
}

func newTable(fields []pgconn.FieldDescription, types *pgtype.Map, out query.Output) *table {
	t := &table{out: out}
	var arrowFields []arrow.Field
	var columns []query.Column
	for _, f := range fields {
		as, decode := decoderOf(f)
		arrowFields = append(arrowFields, arrow.Field{Name: f.Name, Type: as, Nullable: true})
		t.decode, t.names = append(t.decode, decode), append(t.names, f.Name)
		columns = append(columns, query.Column{Name: f.Name, Type: typeName(f, types)})
	}
	out.Columns(columns)
	t.batches = query.NewBatches(out, arrow.NewSchema(arrowFields, nil))
	return t
}

func typeName(f pgconn.FieldDescription, types *pgtype.Map) string {
	if p, s, ok := precision(f); ok {
		return fmt.Sprintf("numeric(%d,%d)", p, s)
	}
	if known, ok := types.TypeForOID(f.DataTypeOID); ok {
		return known.Name
	}
	return "oid " + strconv.FormatUint(uint64(f.DataTypeOID), 10)
}

// precision is that of a NUMERIC which has one that fits.
func precision(f pgconn.FieldDescription) (p, s int32, ok bool) {
	if f.DataTypeOID != pgtype.NumericOID || f.TypeModifier < 4 {
		return 0, 0, false
	}
	m := f.TypeModifier - 4
	p, s = m>>16, m&0x7ff
	return p, s, p <= 38 && s <= p
}

// decoderOf says what a column becomes, and how a value that is not null does.
func decoderOf(f pgconn.FieldDescription) (arrow.DataType, func(array.Builder, []byte) error) {
	switch f.DataTypeOID {
	case pgtype.BoolOID:
		return arrow.FixedWidthTypes.Boolean, sized(1, func(b array.Builder, v []byte) { b.(*array.BooleanBuilder).Append(v[0] != 0) })
	case pgtype.Int2OID:
		return arrow.PrimitiveTypes.Int16, sized(2, func(b array.Builder, v []byte) {
			b.(*array.Int16Builder).Append(int16(binary.BigEndian.Uint16(v)))
		})
	case pgtype.Int4OID:
		return arrow.PrimitiveTypes.Int32, sized(4, func(b array.Builder, v []byte) {
			b.(*array.Int32Builder).Append(int32(binary.BigEndian.Uint32(v)))
		})
	case pgtype.OIDOID:
		return arrow.PrimitiveTypes.Uint32, sized(4, func(b array.Builder, v []byte) { b.(*array.Uint32Builder).Append(binary.BigEndian.Uint32(v)) })
	case pgtype.Int8OID:
		return arrow.PrimitiveTypes.Int64, sized(8, func(b array.Builder, v []byte) {
			b.(*array.Int64Builder).Append(int64(binary.BigEndian.Uint64(v)))
		})
	case pgtype.Float4OID:
		return arrow.PrimitiveTypes.Float32, sized(4, func(b array.Builder, v []byte) {
			b.(*array.Float32Builder).Append(math.Float32frombits(binary.BigEndian.Uint32(v)))
		})
	case pgtype.Float8OID:
		return arrow.PrimitiveTypes.Float64, sized(8, func(b array.Builder, v []byte) {
			b.(*array.Float64Builder).Append(math.Float64frombits(binary.BigEndian.Uint64(v)))
		})
	case pgtype.NumericOID:
		return numericDecoder(f)
	case pgtype.DateOID:
		return arrow.FixedWidthTypes.Date32, sized(4, appendDate)
	case pgtype.TimestampOID:
		return &arrow.TimestampType{Unit: arrow.Microsecond}, sized(8, appendTime)
	case pgtype.TimestamptzOID:
		return &arrow.TimestampType{Unit: arrow.Microsecond, TimeZone: "UTC"}, sized(8, appendTime)
	case pgtype.ByteaOID:
		return arrow.BinaryTypes.Binary, func(b array.Builder, v []byte) error {
			b.(*array.BinaryBuilder).Append(v)
			return nil
		}
	}
	return arrow.BinaryTypes.String, func(b array.Builder, v []byte) error {
		b.(*array.StringBuilder).BinaryBuilder.Append(v)
		return nil
	}
}

func sized(n int, add func(array.Builder, []byte)) func(array.Builder, []byte) error {
	return func(b array.Builder, v []byte) error {
		if len(v) != n {
			return problem.New(problem.Unavailable, "PostgreSQL sent a value of %d bytes where %d are due", len(v), n)
		}
		add(b, v)
		return nil
	}
}

// The days and microseconds from 1970, which Arrow counts from, to 2000, which
// PostgreSQL does.
const (
	epochDays   = 10957
	epochMicros = epochDays * 86400 * 1_000_000
)

func appendDate(b array.Builder, v []byte) {
	days := int32(binary.BigEndian.Uint32(v))
	if days == math.MaxInt32 || days == math.MinInt32 { // infinity
		b.AppendNull()
		return
	}
	b.(*array.Date32Builder).Append(arrow.Date32(days + epochDays))
}

func appendTime(b array.Builder, v []byte) {
	micros := int64(binary.BigEndian.Uint64(v))
	if micros == math.MaxInt64 || micros == math.MinInt64 || micros > math.MaxInt64-epochMicros { // infinity
		b.AppendNull()
		return
	}
	b.(*array.TimestampBuilder).Append(arrow.Timestamp(micros + epochMicros))
}

func numericDecoder(f pgconn.FieldDescription) (arrow.DataType, func(array.Builder, []byte) error) {
	p, s, exact := precision(f)
	if !exact {
		return arrow.PrimitiveTypes.Float64, func(b array.Builder, v []byte) error {
			n, err := parseNumeric(v)
			if err != nil {
				return err
			}
			b.(*array.Float64Builder).Append(n.float())
			return nil
		}
	}
	return &arrow.Decimal128Type{Precision: p, Scale: s}, func(b array.Builder, v []byte) error {
		n, err := parseNumeric(v)
		if err != nil {
			return err
		}
		if n.special {
			b.AppendNull() // NaN has no decimal
			return nil
		}
		b.(*array.Decimal128Builder).Append(decimal128.FromBigInt(n.scaled(s)))
		return nil
	}
}

// A numeric is PostgreSQL's: digits of base 10000, the first one with a weight.
type numeric struct {
	digits   []uint16
	weight   int16
	negative bool
	special  bool // NaN or infinity
	sign     uint16
}

func parseNumeric(v []byte) (n numeric, err error) {
	if len(v) < 8 || len(v) != 8+2*int(binary.BigEndian.Uint16(v)) {
		return n, problem.New(problem.Unavailable, "PostgreSQL sent a numeric that is cut off")
	}
	n.weight, n.sign = int16(binary.BigEndian.Uint16(v[2:])), binary.BigEndian.Uint16(v[4:])
	n.negative, n.special = n.sign == 0x4000, n.sign&0xC000 == 0xC000
	for i := 8; i < len(v); i += 2 {
		n.digits = append(n.digits, binary.BigEndian.Uint16(v[i:]))
	}
	return n, nil
}

// float is the nearest double.
func (n numeric) float() float64 {
	switch n.sign {
	case 0xC000:
		return math.NaN()
	case 0xD000:
		return math.Inf(1)
	case 0xF000:
		return math.Inf(-1)
	}
	whole := new(big.Int)
	for _, d := range n.digits {
		whole.Mul(whole, big.NewInt(10000)).Add(whole, big.NewInt(int64(d)))
	}
	exponent := (int(n.weight) + 1 - len(n.digits)) * 4
	f, _ := strconv.ParseFloat(whole.String()+"e"+strconv.Itoa(exponent), 64) // out of range is infinity
	if n.negative {
		return -f
	}
	return f
}

// scaled is the number times ten to the scale.
func (n numeric) scaled(scale int32) *big.Int {
	whole := new(big.Int)
	for _, d := range n.digits {
		whole.Mul(whole, big.NewInt(10000)).Add(whole, big.NewInt(int64(d)))
	}
	exponent := (int64(n.weight)+1-int64(len(n.digits)))*4 + int64(scale)
	power := new(big.Int).Exp(big.NewInt(10), big.NewInt(max(exponent, -exponent)), nil)
	if exponent >= 0 {
		whole.Mul(whole, power)
	} else {
		whole.Quo(whole, power) // the digits behind the scale are zeros
	}
	if n.negative {
		whole.Neg(whole)
	}
	return whole
}

// add adds a row; a value that is nil is null.
func (t *table) add(values [][]byte) error {
	bytes := 0
	for i, v := range values {
		column := t.batches.Columns[i]
		if v == nil {
			column.AppendNull()
			continue
		}
		if err := t.decode[i](column, v); err != nil {
			return problem.Wrap(err, "reading column %s", t.names[i])
		}
		bytes += len(v)
	}
	t.rows++
	t.batches.Add(bytes)
	if t.batches.Full() || t.rows == firstBatch {
		return t.flush()
	}
	return nil
}

// flush sends the rows so far as one batch.
func (t *table) flush() error {
	if t.batches.Waiting() == 0 {
		return nil
	}
	if err := t.batches.Flush(); err != nil {
		return err
	}
	t.out.Progress(query.Progress{Rows: t.rows})
	return nil
}

func (t *table) close() error {
	if err := t.flush(); err != nil {
		return err
	}
	return t.batches.Close()
}

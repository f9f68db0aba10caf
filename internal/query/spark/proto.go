package spark

import (
	"encoding/base64"
	"math"
	"strconv"
	"strings"
	"time"

	"google.golang.org/protobuf/encoding/protowire"

	"quire/internal/problem"
	"quire/internal/query"
)

// A message is one of protobuf while it is built. The numbers of the fields are
// those of spark/connect/*.proto, which Spark keeps between its versions.
type message []byte

func (m message) text(field protowire.Number, s string) message {
	if s == "" {
		return m
	}
	return protowire.AppendString(protowire.AppendTag(m, field, protowire.BytesType), s)
}

// bytes adds a field of bytes or of a message, an empty one too.
func (m message) bytes(field protowire.Number, b []byte) message {
	return protowire.AppendBytes(protowire.AppendTag(m, field, protowire.BytesType), b)
}

func (m message) number(field protowire.Number, n int64) message {
	return protowire.AppendVarint(protowire.AppendTag(m, field, protowire.VarintType), uint64(n)) //nolint:gosec // as protobuf has int64
}

// A field is one of a message that was read: bytes or a number.
type field struct {
	id     protowire.Number
	bytes  []byte
	number int64
}

// read calls f with every field of a message; those of other types are left out.
func read(b []byte, f func(field) error) error {
	for len(b) > 0 {
		id, kind, n := protowire.ConsumeTag(b)
		if n < 0 {
			return errWire
		}
		b = b[n:]
		one := field{id: id}
		switch kind {
		case protowire.BytesType:
			one.bytes, n = protowire.ConsumeBytes(b)
		case protowire.VarintType:
			var v uint64
			v, n = protowire.ConsumeVarint(b)
			one.number = int64(v) //nolint:gosec // as protobuf has int64
		default:
			n = protowire.ConsumeFieldValue(id, kind, b)
		}
		if n < 0 {
			return errWire
		}
		b = b[n:]
		if kind == protowire.BytesType || kind == protowire.VarintType {
			if err := f(one); err != nil {
				return err
			}
		}
	}
	return nil
}

var errWire = problem.New(problem.Unavailable, "Spark sent a message that cannot be read")

// part returns the field of a number, the last one where there are several.
func part(b []byte, id protowire.Number) (found []byte, ok bool, err error) {
	err = read(b, func(f field) error {
		if f.id == id && f.bytes != nil {
			found, ok = f.bytes, true
		}
		return nil
	})
	return found, ok, err
}

// sqlCommand is the plan of a statement: Plan.command.sql_command.input.sql.
func sqlCommand(text string, values []query.Value) (message, error) {
	sql := message(nil).text(1, text)
	for _, v := range values {
		literal, err := literalOf(v)
		if err != nil {
			return nil, err
		}
		sql = sql.bytes(5, message(nil).bytes(1, literal)) // pos_arguments: Expression.literal
	}
	relation := message(nil).bytes(10, sql)
	return message(nil).bytes(2, message(nil).bytes(5, message(nil).bytes(6, relation))), nil
}

// rootOf is the plan that gives the rows of a relation, at most so many.
func rootOf(relation []byte, limit int64) message {
	if limit > 0 && limit < math.MaxInt32 {
		relation = message(nil).bytes(8, message(nil).bytes(1, relation).number(2, limit))
	}
	return message(nil).bytes(1, relation)
}

// The modes of WriteOperation.
const (
	modeAppend    = 1
	modeOverwrite = 2
	modeError     = 3
)

// writeTable is the plan that writes Arrow data to a table.
func writeTable(name string, mode int64, arrow []byte) message {
	relation := message(nil).bytes(11, message(nil).bytes(1, arrow))
	table := message(nil).text(1, name).number(2, 1)
	return message(nil).bytes(2, message(nil).bytes(2, message(nil).bytes(1, relation).bytes(4, table).number(5, mode)))
}

// literalOf is a value as Expression.Literal.
func literalOf(v query.Value) (message, error) {
	switch v.Type {
	case query.Null:
		return message(nil).bytes(1, message(nil).bytes(1, nil)), nil // a null of DataType.null
	case query.Bool:
		if v.Text == "true" {
			return message(nil).number(3, 1), nil
		}
		return message(nil).number(3, 0), nil
	case query.Int:
		if n, err := strconv.ParseInt(v.Text, 10, 32); err == nil {
			return message(nil).number(6, n), nil
		}
		if n, err := strconv.ParseInt(v.Text, 10, 64); err == nil {
			return message(nil).number(7, n), nil
		}
		return decimalOf(v.Text)
	case query.Float:
		f, err := strconv.ParseFloat(v.Text, 64)
		if err != nil {
			return nil, problem.New(problem.Invalid, "%q is no number", v.Text)
		}
		return protowire.AppendFixed64(protowire.AppendTag(nil, 11, protowire.Fixed64Type), math.Float64bits(f)), nil
	case query.Decimal:
		return decimalOf(v.Text)
	case query.Date:
		t, err := time.Parse(time.DateOnly, v.Text)
		if err != nil {
			return nil, problem.New(problem.Invalid, "%q is no date", v.Text)
		}
		return message(nil).number(16, t.Unix()/86400-boolInt(t.Unix()%86400 < 0)), nil
	case query.Timestamp:
		t, zoned, err := v.Time()
		if err != nil {
			return nil, err
		}
		if zoned {
			return message(nil).number(17, t.UnixMicro()), nil
		}
		return message(nil).number(18, t.UnixMicro()), nil
	case query.Bytes:
		data, err := base64.StdEncoding.DecodeString(v.Text)
		if err != nil {
			return nil, problem.New(problem.Invalid, "a value of bytes is not base64")
		}
		return message(nil).bytes(2, data), nil
	}
	return message(nil).bytes(13, []byte(v.Text)), nil
}

func boolInt(b bool) int64 {
	if b {
		return 1
	}
	return 0
}

// decimalOf is a decimal with the digits that are written.
func decimalOf(text string) (message, error) {
	whole, fraction, _ := strings.Cut(strings.TrimLeft(text, "+-"), ".")
	precision := max(len(strings.TrimLeft(whole, "0"))+len(fraction), 1)
	if precision > 38 {
		return nil, problem.New(problem.Invalid, "%s has more than the 38 digits of Spark's decimals", text)
	}
	return message(nil).bytes(12, message(nil).text(1, text).number(2, int64(precision)).number(3, int64(len(fraction)))), nil
}

// writeFrom is the plan that writes one table to another.
func writeFrom(name string, mode int64, from string) message {
	relation := message(nil).bytes(10, message(nil).text(1, "SELECT * FROM "+from))
	table := message(nil).text(1, name).number(2, 1)
	return message(nil).bytes(2, message(nil).bytes(2, message(nil).bytes(1, relation).bytes(4, table).number(5, mode)))
}

//go:build cgo && duckdb_arrow

package main

import (
	"encoding/base64"
	"math/big"
	"strconv"
	"strings"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	duck "github.com/duckdb/duckdb-go-bindings"

	"quire/internal/query/frame"
)

// valueOf makes DuckDB's value of one that was sent. The caller destroys it.
func valueOf(v frame.Value) (duck.Value, error) {
	switch v.Type {
	case "null":
		return duck.CreateNullValue(), nil
	case "bool":
		return duck.CreateBool(v.Text == "true"), nil
	case "int":
		return intValue(v.Text)
	case "float":
		f, err := strconv.ParseFloat(v.Text, 64)
		if err != nil {
			return duck.Value{}, invalid("%q is not a number", v.Text)
		}
		return duck.CreateDouble(f), nil
	case "text":
		return duck.CreateVarcharLength(v.Text, duck.IdxT(len(v.Text))), nil
	case "date":
		t, err := time.Parse(time.DateOnly, v.Text)
		if err != nil {
			return duck.Value{}, invalid("%q is not a date: want 2018-05-08", v.Text)
		}
		return duck.CreateDate(duck.NewDate(int32(t.Unix() / 86400))), nil
	case "timestamp":
		return timeValue(v.Text)
	case "decimal":
		return decimalValue(v.Text)
	case "bytes":
		data, err := base64.StdEncoding.DecodeString(v.Text)
		if err != nil {
			return duck.Value{}, invalid("a value of bytes is not base64")
		}
		return duck.CreateBlob(data), nil
	}
	return duck.Value{}, invalid("a value is of the unknown type %q", v.Type)
}

func intValue(text string) (duck.Value, error) {
	if n, err := strconv.ParseInt(text, 10, 64); err == nil {
		return duck.CreateInt64(n), nil
	}
	n, ok := new(big.Int).SetString(text, 10)
	if !ok || n.BitLen() > 126 {
		return duck.Value{}, invalid("%q is not a whole number that fits", text)
	}
	return duck.CreateHugeInt(huge(n)), nil
}

// huge is n in two halves; n has at most 126 bits.
func huge(n *big.Int) duck.HugeInt {
	low := new(big.Int).And(n, new(big.Int).SetUint64(1<<64-1)) // two's complement, as And has it
	high := new(big.Int).Rsh(n, 64)
	return duck.NewHugeInt(low.Uint64(), high.Int64())
}

func timeValue(text string) (duck.Value, error) {
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02 15:04:05.999999999Z07:00"} {
		if t, err := time.Parse(layout, text); err == nil {
			return duck.CreateTimestampTZ(duck.NewTimestamp(t.UnixMicro())), nil
		}
	}
	for _, layout := range []string{"2006-01-02T15:04:05.999999999", "2006-01-02 15:04:05.999999999", "2006-01-02T15:04", "2006-01-02 15:04", time.DateOnly} {
		if t, err := time.Parse(layout, text); err == nil {
			return duck.CreateTimestamp(duck.NewTimestamp(t.UnixMicro())), nil
		}
	}
	return duck.Value{}, invalid("%q is not a time: want 2018-05-08T12:00:00", text)
}

func decimalValue(text string) (duck.Value, error) {
	digits := strings.TrimLeft(strings.ReplaceAll(text, ".", ""), "+-")
	_, after, _ := strings.Cut(text, ".")
	n, ok := new(big.Int).SetString(strings.ReplaceAll(text, ".", ""), 10)
	if !ok || len(digits) > 38 || strings.Count(text, ".") > 1 {
		return duck.Value{}, invalid("%q is not a decimal of up to 38 digits", text)
	}
	return duck.CreateDecimal(duck.NewDecimal(uint8(max(len(digits), len(after), 1)), uint8(len(after)), huge(n))), nil
}

// typeNames are the types as SQL calls them.
var typeNames = map[duck.Type]string{
	duck.TypeBoolean: "BOOLEAN", duck.TypeTinyInt: "TINYINT", duck.TypeSmallInt: "SMALLINT", duck.TypeInteger: "INTEGER",
	duck.TypeBigInt: "BIGINT", duck.TypeUTinyInt: "UTINYINT", duck.TypeUSmallInt: "USMALLINT", duck.TypeUInteger: "UINTEGER",
	duck.TypeUBigInt: "UBIGINT", duck.TypeFloat: "FLOAT", duck.TypeDouble: "DOUBLE", duck.TypeTimestamp: "TIMESTAMP",
	duck.TypeDate: "DATE", duck.TypeTime: "TIME", duck.TypeInterval: "INTERVAL", duck.TypeHugeInt: "HUGEINT",
	duck.TypeUHugeInt: "UHUGEINT", duck.TypeVarchar: "VARCHAR", duck.TypeBlob: "BLOB", duck.TypeTimestampS: "TIMESTAMP_S",
	duck.TypeTimestampMS: "TIMESTAMP_MS", duck.TypeTimestampNS: "TIMESTAMP_NS", duck.TypeEnum: "ENUM", duck.TypeList: "LIST",
	duck.TypeStruct: "STRUCT", duck.TypeMap: "MAP", duck.TypeArray: "ARRAY", duck.TypeUUID: "UUID", duck.TypeUnion: "UNION",
	duck.TypeBit: "BIT", duck.TypeTimeTZ: "TIME WITH TIME ZONE", duck.TypeTimestampTZ: "TIMESTAMP WITH TIME ZONE", duck.TypeSQLNull: "NULL",
}

// typeName is what a column's type is called.
func typeName(t duck.LogicalType, as arrow.DataType) string {
	if d, ok := as.(arrow.DecimalType); ok && duck.GetTypeId(t) == duck.TypeDecimal {
		return "DECIMAL(" + strconv.Itoa(int(d.GetPrecision())) + "," + strconv.Itoa(int(d.GetScale())) + ")"
	}
	if name := typeNames[duck.GetTypeId(t)]; name != "" {
		return name
	}
	return strings.ToUpper(as.String())
}

package ydoc

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"iter"
	"maps"
	"math"
	"slices"
	"unicode/utf8"
)

// Undefined is JavaScript's undefined, which JSON writes as null.
type Undefined struct{}

// newItem makes the item of plain values: nil, bool, string, float64, int, int64
// (a BigInt), []byte (alone), []any, map[string]any and Undefined. It panics on
// other types, which are mistakes of the program.
func newItem(values []any) *item {
	if b, ok := values[0].([]byte); ok {
		w := &writer{}
		w.uint(uint64(len(b)))
		w.raw(b)
		return &item{kind: contentBinary, len: 1, data: w.b}
	}
	w := &writer{}
	for _, v := range values {
		w.value(v)
	}
	return &item{kind: contentAny, len: uint64(len(values)), data: w.b}
}

func isBytes(v any) bool { _, ok := v.([]byte); return ok }

// value returns element i of a visible item.
func (x *item) value(i uint64) any {
	switch x.kind {
	case contentType:
		return x.node.typed()
	case contentAny:
		r := &reader{b: x.data, at: skipValues(x.data, i)}
		return r.value()
	case contentJSON:
		r := &reader{b: x.data, at: skipStrings(x.data, i)}
		return jsonValue(r.bytes())
	case contentBinary:
		return bytes.Clone((&reader{b: x.data}).bytes())
	case contentString:
		at, _ := byteOffset(x.data, i)
		char, _ := utf8.DecodeRune(x.data[at:])
		return string(char)
	}
	return nil
}

// values returns all elements of a visible item.
func (x *item) values() iter.Seq[any] {
	return func(yield func(any) bool) {
		r := &reader{b: x.data}
		for i := range x.len {
			var v any
			switch x.kind {
			case contentAny:
				v = r.value()
			case contentJSON:
				v = jsonValue(r.bytes())
			default:
				v = x.value(i)
			}
			if !yield(v) {
				return
			}
		}
	}
}

// jsonValue reads what an old client wrote as JSON; what is none is nil.
func jsonValue(text []byte) any {
	var v any
	if json.Unmarshal(text, &v) != nil {
		return nil
	}
	return v
}

// skipValues returns where value number n begins in b, which was checked before.
func skipValues(b []byte, n uint64) int {
	r := &reader{b: b}
	for ; n > 0; n-- {
		r.skipValue(0)
	}
	return r.at
}

// skipStrings is skipValues for strings.
func skipStrings(b []byte, n uint64) int {
	r := &reader{b: b}
	for ; n > 0; n-- {
		r.bytes()
	}
	return r.at
}

// The numbers of values on the wire.
const (
	valueUndefined = 127
	valueNull      = 126
	valueInteger   = 125
	valueFloat32   = 124
	valueFloat64   = 123
	valueBigInt    = 122
	valueFalse     = 121
	valueTrue      = 120
	valueString    = 119
	valueObject    = 118
	valueArray     = 117
	valueBytes     = 116
)

// skipValue checks one value and goes past it.
func (r *reader) skipValue(depth int) {
	if depth > MaxValueDepth {
		r.fail("a value nests more than %d deep", MaxValueDepth)
		return
	}
	switch kind := r.byte(); kind {
	case valueUndefined, valueNull, valueFalse, valueTrue:
	case valueInteger:
		r.integer()
	case valueFloat32:
		r.fixed(4)
	case valueFloat64, valueBigInt:
		r.fixed(8)
	case valueString:
		r.string()
	case valueObject:
		for n := r.uint(); n > 0 && r.err == nil; n-- {
			r.string()
			r.skipValue(depth + 1)
		}
	case valueArray:
		for n := r.uint(); n > 0 && r.err == nil; n-- {
			r.skipValue(depth + 1)
		}
	case valueBytes:
		r.bytes()
	default:
		r.fail("there is no value number %d", kind)
	}
}

// value reads one value, which was checked before.
func (r *reader) value() any {
	switch r.byte() {
	case valueUndefined:
		return Undefined{}
	case valueInteger:
		return r.integer()
	case valueFloat32:
		return float64(math.Float32frombits(binary.BigEndian.Uint32(r.fixed(4))))
	case valueFloat64:
		return math.Float64frombits(binary.BigEndian.Uint64(r.fixed(8)))
	case valueBigInt:
		return int64(binary.BigEndian.Uint64(r.fixed(8)))
	case valueFalse:
		return false
	case valueTrue:
		return true
	case valueString:
		return string(r.bytes())
	case valueObject:
		m := map[string]any{}
		for n := r.uint(); n > 0 && r.err == nil; n-- {
			key := string(r.bytes())
			m[key] = r.value()
		}
		return m
	case valueArray:
		list := []any{}
		for n := r.uint(); n > 0 && r.err == nil; n-- {
			list = append(list, r.value())
		}
		return list
	case valueBytes:
		return bytes.Clone(r.bytes())
	}
	return nil
}

// fixed reads n bytes; after an error they are zero.
func (r *reader) fixed(n int) []byte {
	if r.err != nil || len(r.b)-r.at < n {
		r.fail("it ends too early")
		return make([]byte, n)
	}
	r.at += n
	return r.b[r.at-n : r.at]
}

// integer reads a whole number with a sign, -0 included.
func (r *reader) integer() float64 {
	b := r.byte()
	v, negative := uint64(b&0x3f), b&0x40 != 0
	for shift := 6; b&0x80 != 0; shift += 7 {
		b = r.byte()
		if shift > 48 {
			r.fail("a number is too long")
			return 0
		}
		v |= uint64(b&0x7f) << shift
	}
	if negative {
		return -float64(v)
	}
	return float64(v)
}

func (w *writer) value(v any) {
	switch v := v.(type) {
	case nil:
		w.byte(valueNull)
	case Undefined:
		w.byte(valueUndefined)
	case bool:
		if v {
			w.byte(valueTrue)
		} else {
			w.byte(valueFalse)
		}
	case int:
		w.number(float64(v))
	case float64:
		w.number(v)
	case int64:
		w.byte(valueBigInt)
		w.b = binary.BigEndian.AppendUint64(w.b, uint64(v))
	case string:
		w.byte(valueString)
		w.text(v)
	case []byte:
		w.byte(valueBytes)
		w.uint(uint64(len(v)))
		w.raw(v)
	case []any:
		w.byte(valueArray)
		w.uint(uint64(len(v)))
		for _, e := range v {
			w.value(e)
		}
	case map[string]any:
		w.byte(valueObject)
		w.uint(uint64(len(v)))
		for _, key := range slices.Sorted(maps.Keys(v)) {
			w.text(key)
			w.value(v[key])
		}
	default:
		panic("ydoc: a value of a type that documents do not hold")
	}
}

// text writes a string as UTF-8 whatever it is.
func (w *writer) text(s string) { w.string(string(bytes.ToValidUTF8([]byte(s), replacement))) }

// number writes a number in the shortest of lib0's forms.
func (w *writer) number(v float64) {
	switch {
	case v == math.Trunc(v) && math.Abs(v) <= 1<<31-1:
		w.byte(valueInteger)
		rest := uint64(math.Abs(v))
		b := byte(rest & 0x3f)
		if math.Signbit(v) {
			b |= 0x40
		}
		for rest >>= 6; rest > 0; rest >>= 7 {
			w.byte(b | 0x80)
			b = byte(rest & 0x7f)
		}
		w.byte(b)
	case float64(float32(v)) == v:
		w.byte(valueFloat32)
		w.b = binary.BigEndian.AppendUint32(w.b, math.Float32bits(float32(v)))
	default:
		w.byte(valueFloat64)
		w.b = binary.BigEndian.AppendUint64(w.b, math.Float64bits(v))
	}
}

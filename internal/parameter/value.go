package parameter

import (
	"math"
	"math/big"
	"strings"
)

// Kind is the type of a Value.
type Kind uint8

// The kinds of value. The zero Kind, KindNull, is that of the zero Value.
const (
	KindNull Kind = iota
	KindBool
	KindInt
	KindFloat
	KindString
	KindList
	KindDict
)

var kindNames = [...]string{"null", "bool", "int", "float", "str", "list", "dict"}

// String returns the kind's name as Python has it, and "null" for null.
func (k Kind) String() string {
	if int(k) >= len(kindNames) {
		return "unknown"
	}
	return kindNames[k]
}

// Value is one parameter value: a tree of scalars, lists and ordered
// dictionaries. The zero Value is null. A Value is immutable and may be copied
// and shared between goroutines.
type Value struct {
	kind   Kind
	b      bool
	typed  bool     // text is what a person typed for this value
	i      int64    // KindInt when big is nil
	big    *big.Int // KindInt beyond int64
	f      float64
	s      string
	text   string
	list   []Value
	fields []Field
}

// Field is one entry of a dictionary. Its key is a scalar of any kind.
type Field struct {
	Key   Value
	Value Value
}

// Null returns the null value.
func Null() Value { return Value{} }

// Bool returns a boolean value.
func Bool(b bool) Value { return Value{kind: KindBool, b: b} }

// Int returns an integer value.
func Int(i int64) Value { return Value{kind: KindInt, i: i} }

// BigInt returns an integer value of any size. It copies n; nil is zero.
func BigInt(n *big.Int) Value {
	if n == nil {
		return Int(0)
	}
	if n.IsInt64() {
		return Int(n.Int64())
	}
	return Value{kind: KindInt, big: new(big.Int).Set(n)}
}

// Float returns a floating-point value, which may be NaN or infinite.
func Float(f float64) Value { return Value{kind: KindFloat, f: f} }

// String returns a string value. Bytes that are not UTF-8 are kept.
func String(s string) Value { return Value{kind: KindString, s: s} }

// List returns a list of the given values. It keeps the slice.
func List(values ...Value) Value { return Value{kind: KindList, list: values} }

// Dict returns a dictionary with the given fields in order. Keys that are equal
// as Python has it (1, 1.0 and True are) are one entry, in the place and with
// the key of the first and the value of the last. A list or a dictionary as key
// is replaced by its text.
func Dict(fields ...Field) Value {
	d := Value{kind: KindDict, fields: make([]Field, 0, len(fields))}
	at := make(map[string]int, len(fields))
	for _, f := range fields {
		if f.Key.kind == KindList || f.Key.kind == KindDict {
			f.Key = String(f.Key.String())
		}
		id := f.Key.hashID()
		if i, ok := at[id]; ok {
			d.fields[i].Value = f.Value
			continue
		}
		at[id] = len(d.fields)
		d.fields = append(d.fields, f)
	}
	return d
}

// Kind returns the kind of v.
func (v Value) Kind() Kind { return v.kind }

// IsNull reports whether v is null.
func (v Value) IsNull() bool { return v.kind == KindNull }

// AsBool returns the boolean, and whether v is one.
func (v Value) AsBool() (value, ok bool) { return v.b, v.kind == KindBool }

// AsInt returns the integer, and whether v is an integer that fits an int64.
func (v Value) AsInt() (int64, bool) { return v.i, v.kind == KindInt && v.big == nil }

// AsBigInt returns a copy of the integer, and whether v is one.
func (v Value) AsBigInt() (*big.Int, bool) {
	switch {
	case v.kind != KindInt:
		return nil, false
	case v.big != nil:
		return new(big.Int).Set(v.big), true
	}
	return big.NewInt(v.i), true
}

// AsFloat returns the number as a float64, and whether v is a float or an
// integer. An integer beyond float64's precision is rounded.
func (v Value) AsFloat() (float64, bool) {
	switch {
	case v.kind == KindFloat:
		return v.f, true
	case v.kind == KindInt && v.big == nil:
		return float64(v.i), true
	case v.kind == KindInt:
		f, _ := new(big.Float).SetInt(v.big).Float64()
		return f, true
	}
	return 0, false
}

// AsString returns the string, and whether v is one.
func (v Value) AsString() (string, bool) { return v.s, v.kind == KindString }

// Items returns the elements of a list, nil for other kinds. The slice must not
// be changed.
func (v Value) Items() []Value { return v.list }

// Fields returns the entries of a dictionary in order, nil for other kinds. The
// slice must not be changed.
func (v Value) Fields() []Field { return v.fields }

// Text returns what a person typed for this value on a command line or in a
// form, and whether v was typed so. A declared type may then read the text
// instead of the guess (007 as a string).
func (v Value) Text() (string, bool) { return v.text, v.typed }

// Len returns the number of elements or entries, 0 for scalars.
func (v Value) Len() int { return len(v.list) + len(v.fields) }

// Equal reports whether v and w are of the same kind with the same content;
// NaN equals NaN, and the order of dictionary entries matters not.
func (v Value) Equal(w Value) bool {
	if v.kind != w.kind {
		return false
	}
	switch v.kind {
	case KindBool:
		return v.b == w.b
	case KindInt:
		return v.intText() == w.intText()
	case KindFloat:
		return v.f == w.f || math.IsNaN(v.f) && math.IsNaN(w.f)
	case KindString:
		return v.s == w.s
	case KindList:
		return equalLists(v.list, w.list)
	case KindDict:
		return equalFields(v.fields, w.fields)
	default:
		return true
	}
}

func equalLists(a, b []Value) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if !a[i].Equal(b[i]) {
			return false
		}
	}
	return true
}

func equalFields(a, b []Field) bool {
	if len(a) != len(b) {
		return false
	}
	other := make(map[string]Field, len(b))
	for _, f := range b {
		other[f.Key.hashID()] = f
	}
	for _, f := range a {
		g, ok := other[f.Key.hashID()]
		if !ok || !f.Key.Equal(g.Key) || !f.Value.Equal(g.Value) {
			return false
		}
	}
	return true
}

func (v Value) intText() string {
	if v.big != nil {
		return v.big.String()
	}
	return big.NewInt(v.i).String()
}

// hashID returns a text that two keys share exactly when Python holds them
// equal as dictionary keys.
func (v Value) hashID() string {
	switch v.kind {
	case KindNull:
		return "z"
	case KindBool:
		if v.b {
			return "n1"
		}
		return "n0"
	case KindInt:
		return "n" + v.intText()
	case KindFloat:
		if v.f == math.Trunc(v.f) && !math.IsInf(v.f, 0) {
			n, _ := big.NewFloat(v.f).Int(nil)
			return "n" + n.String()
		}
		return "f" + formatFloat(v.f)
	case KindString:
		return "s" + v.s
	default:
		return "x" + v.String()
	}
}

// keyText returns the key as Python's str has it: what Papermill's translators
// write for a key that is not a string.
func (v Value) keyText() string {
	if v.kind == KindString {
		return v.s
	}
	return v.String()
}

// String returns the value as Python's repr has it, strings in double quotes.
// It is meant for messages; a string in it may be long.
func (v Value) String() string {
	var b strings.Builder
	v.write(&b)
	return b.String()
}

func (v Value) write(b *strings.Builder) {
	switch v.kind {
	case KindNull:
		b.WriteString("None")
	case KindBool:
		if v.b {
			b.WriteString("True")
		} else {
			b.WriteString("False")
		}
	case KindInt:
		b.WriteString(v.intText())
	case KindFloat:
		b.WriteString(formatFloat(v.f))
	case KindString:
		b.WriteString(quotePython(v.s))
	case KindList:
		b.WriteByte('[')
		for i, e := range v.list {
			if i > 0 {
				b.WriteString(", ")
			}
			e.write(b)
		}
		b.WriteByte(']')
	case KindDict:
		b.WriteByte('{')
		for i, f := range v.fields {
			if i > 0 {
				b.WriteString(", ")
			}
			f.Key.write(b)
			b.WriteString(": ")
			f.Value.write(b)
		}
		b.WriteByte('}')
	}
}

package parameter

import (
	"math"
	"strconv"
	"strings"
	"unicode/utf8"
)

// MarshalJSON writes the set as an object in order, as valid JSON for every
// reader. It never fails.
//
// A number that JSON has not is written as the string "NaN", "Infinity" or
// "-Infinity" (Papermill wrote them bare, which strict readers refuse); NonFinite
// tells where. Python's float reads those strings back. Keys that are not
// strings are written as Python's json.dumps does ("1", "true", "null"); when two
// keys become the same text the last wins, in the place of the first. Bytes that
// are not UTF-8 become U+FFFD.
func (s Set) MarshalJSON() ([]byte, error) { return s.Value().MarshalJSON() }

// UnmarshalJSON implements json.Unmarshaler.
func (v *Value) UnmarshalJSON(data []byte) error {
	parsed, err := ParseJSON(data)
	*v = parsed
	return err
}

// MarshalJSON writes the value as Set.MarshalJSON does.
func (v Value) MarshalJSON() ([]byte, error) {
	return v.appendJSON(nil), nil
}

func (v Value) appendJSON(b []byte) []byte {
	switch v.kind {
	case KindBool:
		return strconv.AppendBool(b, v.b)
	case KindInt:
		return append(b, v.intText()...)
	case KindFloat:
		if name := nonFiniteName(v.f); name != "" {
			return append(append(append(b, '"'), name...), '"')
		}
		return append(b, formatFloat(v.f)...)
	case KindString:
		return appendJSONString(b, v.s)
	case KindList:
		b = append(b, '[')
		for i, e := range v.list {
			if i > 0 {
				b = append(b, ',')
			}
			b = e.appendJSON(b)
		}
		return append(b, ']')
	case KindDict:
		b = append(b, '{')
		for i, f := range stringFields(v.fields, Value.jsonKey) {
			if i > 0 {
				b = append(b, ',')
			}
			b = append(appendJSONString(b, f.Key.s), ':')
			b = f.Value.appendJSON(b)
		}
		return append(b, '}')
	default:
		return append(b, "null"...)
	}
}

func nonFiniteName(f float64) string {
	switch {
	case math.IsNaN(f):
		return "NaN"
	case math.IsInf(f, 1):
		return "Infinity"
	case math.IsInf(f, -1):
		return "-Infinity"
	}
	return ""
}

// jsonKey returns the key as Python's json.dumps writes it.
func (v Value) jsonKey() string {
	switch v.kind {
	case KindNull:
		return "null"
	case KindBool:
		return strconv.FormatBool(v.b)
	case KindFloat:
		if name := nonFiniteName(v.f); name != "" {
			return name
		}
	}
	return v.keyText()
}

// stringFields returns fields with their keys as text, each text once.
func stringFields(fields []Field, text func(Value) string) []Field {
	at := make(map[string]int, len(fields))
	out := make([]Field, 0, len(fields))
	for _, f := range fields {
		k := text(f.Key)
		if i, ok := at[k]; ok {
			out[i].Value = f.Value
			continue
		}
		at[k] = len(out)
		out = append(out, Field{Key: String(k), Value: f.Value})
	}
	return out
}

const hexDigits = "0123456789abcdef"

func appendJSONString(b []byte, s string) []byte {
	b = append(b, '"')
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == '"' || r == '\\':
			b = append(b, '\\', byte(r))
		case r == '\n':
			b = append(b, `\n`...)
		case r == '\r':
			b = append(b, `\r`...)
		case r == '\t':
			b = append(b, `\t`...)
		case r < 0x20 || r == 0x7f:
			b = append(b, `\u00`...)
			b = append(b, hexDigits[r>>4], hexDigits[r&15])
		default:
			b = utf8.AppendRune(b, r)
		}
		i += n
	}
	return append(b, '"')
}

// NonFinite returns a JSON pointer (RFC 6901) to every number of the set that
// is NaN or infinite, in order: those that MarshalJSON writes as strings. It is
// nil when there is none.
func (s Set) NonFinite() []string {
	var found []string
	s.Value().nonFinite("", &found)
	return found
}

var pointerEscape = strings.NewReplacer("~", "~0", "/", "~1")

func (v Value) nonFinite(at string, found *[]string) {
	if v.kind == KindFloat && nonFiniteName(v.f) != "" {
		*found = append(*found, at)
	}
	for i, e := range v.list {
		e.nonFinite(at+"/"+strconv.Itoa(i), found)
	}
	if v.kind == KindDict {
		for _, f := range stringFields(v.fields, Value.jsonKey) {
			f.Value.nonFinite(at+"/"+pointerEscape.Replace(f.Key.s), found)
		}
	}
}

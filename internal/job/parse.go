package job

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"math"
	"reflect"
	"strconv"
	"strings"

	"quire/internal/compute"
)

// Count is an unsigned number of 32 bits. In JSON it is a number; a string of
// one is read too.
type Count uint32

// Long is an unsigned number of 64 bits, a string in protobuf's JSON; a number
// is read too.
type Long uint64

// Double is a number with a fraction.
type Double float64

// MarshalJSON implements json.Marshaler.
func (n Long) MarshalJSON() ([]byte, error) {
	return []byte(`"` + strconv.FormatUint(uint64(n), 10) + `"`), nil
}

// UnmarshalJSON implements json.Unmarshaler.
func (n *Long) UnmarshalJSON(data []byte) error {
	v, fault := integer(data, 64)
	if fault != "" {
		return errors.New(fault)
	}
	*n = Long(v)
	return nil
}

// maxList is how many members a list or an object of a descriptor may have.
const maxList = 10_000

// ParseDescriptor reads a descriptor from JSON and returns everything that is
// wrong with its form, by field: what is no JSON, names that are not known or
// stand twice, values of another type. What it means is checked by Validate.
func ParseDescriptor(data []byte) (Descriptor, compute.Violations) {
	var d Descriptor
	wrong := Parse(data, &d)
	return d, wrong
}

// Parse reads a message into v, a pointer to one of this package's structs, as
// ParseDescriptor does.
func Parse(data []byte, v any) compute.Violations {
	p := parser{}
	if !json.Valid(data) {
		var syntax *json.SyntaxError
		var out json.RawMessage
		err := json.Unmarshal(data, &out)
		if errors.As(err, &syntax) {
			p.wrong.Add("", "it is not JSON: %v, at byte %d", syntax, syntax.Offset)
			return p.wrong
		}
		p.wrong.Add("", "it is not JSON: %v", err)
		return p.wrong
	}
	p.value("", data, reflect.ValueOf(v).Elem())
	return p.wrong
}

// A parser collects what is wrong. Its depth is that of the Go types, which
// have an end.
type parser struct{ wrong compute.Violations }

func (p *parser) value(field string, data []byte, v reflect.Value) {
	data = bytes.TrimSpace(data)
	if string(data) == "null" {
		return // as protobuf has it: not given
	}
	switch v.Kind() {
	case reflect.Pointer:
		fresh := reflect.New(v.Type().Elem())
		p.value(field, data, fresh.Elem())
		v.Set(fresh)
	case reflect.Struct:
		p.object(field, data, v)
	case reflect.Map:
		p.members(field, data, v)
	case reflect.Slice:
		p.list(field, data, v)
	default:
		p.scalar(field, data, v)
	}
}

func (p *parser) scalar(field string, data []byte, v reflect.Value) {
	fault := ""
	switch v.Kind() {
	case reflect.String:
		var s string
		if json.Unmarshal(data, &s) != nil {
			fault = "want a string"
		}
		v.SetString(s)
	case reflect.Bool:
		var b bool
		if json.Unmarshal(data, &b) != nil {
			fault = "want true or false"
		}
		v.SetBool(b)
	case reflect.Uint32, reflect.Uint64:
		n, wrong := integer(data, v.Type().Bits())
		fault = wrong
		v.SetUint(n)
	case reflect.Float64:
		f, err := strconv.ParseFloat(strings.Trim(string(data), `"`), 64)
		if err != nil || math.IsNaN(f) || math.IsInf(f, 0) {
			fault, f = "want a number", 0
		}
		v.SetFloat(f)
	}
	if fault != "" {
		p.wrong.Add(field, "%s, not %s", fault, shown(data))
	}
}

// integer reads a number or a string of one. A fraction of nothing but zeros is
// taken, as protobuf does.
func integer(data []byte, bits int) (uint64, string) {
	text := strings.Trim(string(data), `"`)
	n, err := strconv.ParseUint(text, 10, bits)
	if err == nil {
		return n, ""
	}
	f, err := strconv.ParseFloat(text, 64)
	if err == nil && f >= 0 && f < 1<<53 && f == math.Trunc(f) && (bits == 64 || f <= math.MaxUint32) {
		return uint64(f), ""
	}
	return 0, "want a whole number from 0 to 2^" + strconv.Itoa(bits) + "-1"
}

func (p *parser) object(field string, data []byte, v reflect.Value) {
	fields := make(map[string]reflect.Value)
	for i := range v.NumField() {
		name, _, _ := strings.Cut(v.Type().Field(i).Tag.Get("json"), ",")
		fields[name] = v.Field(i)
	}
	p.each(field, data, func(name string, value []byte) {
		target, known := fields[name]
		switch {
		case !known && v.Type() != reflect.TypeFor[Unsupported]():
			p.wrong.Add(under(field, name), "there is no such field")
		case known:
			p.value(under(field, name), value, target)
		}
	})
}

func (p *parser) members(field string, data []byte, v reflect.Value) {
	out := reflect.MakeMap(v.Type())
	p.each(field, data, func(name string, value []byte) {
		element := reflect.New(v.Type().Elem()).Elem()
		p.value(under(field, name), value, element)
		out.SetMapIndex(reflect.ValueOf(name), element)
	})
	v.Set(out)
}

// each calls f with every member of an object, once for each name.
func (p *parser) each(field string, data []byte, f func(name string, value []byte)) {
	dec := json.NewDecoder(bytes.NewReader(data))
	if t, err := dec.Token(); err != nil || t != json.Delim('{') {
		p.wrong.Add(field, "want an object, not %s", shown(data))
		return
	}
	seen := make(map[string]bool)
	for dec.More() {
		token, err := dec.Token()
		name, _ := token.(string)
		var value json.RawMessage
		if err != nil || dec.Decode(&value) != nil {
			p.wrong.Add(field, "it cannot be read")
			return
		}
		if len(seen) == maxList {
			p.wrong.Add(field, "it has more than %d members", maxList)
			return
		}
		if seen[name] {
			p.wrong.Add(under(field, name), "it is given twice")
			continue
		}
		seen[name] = true
		f(name, value)
	}
}

func (p *parser) list(field string, data []byte, v reflect.Value) {
	dec := json.NewDecoder(bytes.NewReader(data))
	if t, err := dec.Token(); err != nil || t != json.Delim('[') {
		p.wrong.Add(field, "want a list, not %s", shown(data))
		return
	}
	for i := 0; dec.More(); i++ {
		var value json.RawMessage
		if err := dec.Decode(&value); err != nil && !errors.Is(err, io.EOF) {
			p.wrong.Add(field, "it cannot be read")
			return
		}
		if i == maxList {
			p.wrong.Add(field, "it has more than %d members", maxList)
			return
		}
		element := reflect.New(v.Type().Elem()).Elem()
		p.value(field+"["+strconv.Itoa(i)+"]", value, element)
		v.Set(reflect.Append(v, element))
	}
}

// under joins the name of a member to that of what holds it. Names come from
// outside and are cut.
func under(field, name string) string {
	const most = 80
	if len(name) > most {
		name = strings.ToValidUTF8(name[:most], "") + "…"
	}
	if field == "" {
		return name
	}
	return field + "." + name
}

// shown says of which type a JSON value is. The value itself may be a secret.
func shown(data []byte) string {
	switch {
	case len(data) == 0:
		return "nothing"
	case data[0] == '{':
		return "an object"
	case data[0] == '[':
		return "a list"
	case data[0] == '"':
		return "this string"
	case data[0] == 't', data[0] == 'f':
		return string(data)
	}
	const most = 40
	if len(data) > most {
		return string(data[:most]) + "…"
	}
	return string(data)
}

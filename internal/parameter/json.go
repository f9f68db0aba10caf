package parameter

import (
	"bytes"
	"fmt"
	"math"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"quire/internal/problem"
)

// FromJSON reads an object of parameter names to values. Beyond JSON it takes
// the bare NaN, Infinity and -Infinity that Python's json writes. Integers of
// any size stay integers, and 1e5 is a float. Errors are of kind Invalid or
// TooLarge and give line and column; name is the file for them.
func FromJSON(name string, data []byte) (Set, error) {
	v, err := ParseJSON(data)
	if err != nil {
		return Set{}, problem.Wrap(err, "reading parameters from %s", name)
	}
	s, err := asSet(v)
	return s, problem.Wrap(err, "reading parameters from %s", name)
}

// ParseJSON reads one JSON value of any kind, as FromJSON does.
func ParseJSON(data []byte) (Value, error) {
	if len(data) > MaxDocument {
		return Value{}, problem.New(problem.TooLarge, "%d bytes are over the limit of %d", len(data), MaxDocument)
	}
	p := jsonReader{data: bytes.TrimPrefix(data, []byte("\xef\xbb\xbf"))}
	v, err := p.value(0)
	if err != nil {
		return Value{}, err
	}
	if p.space(); p.pos < len(p.data) {
		return Value{}, p.errorf("want the end, not %s", p.here())
	}
	return v, nil
}

type jsonReader struct {
	data []byte
	pos  int
}

func (p *jsonReader) errorf(format string, args ...any) error {
	before := p.data[:min(p.pos, len(p.data))]
	line := bytes.Count(before, []byte("\n")) + 1
	col := utf8.RuneCount(before[bytes.LastIndexByte(before, '\n')+1:]) + 1
	return problem.New(problem.Invalid, "not JSON: line %d, column %d: %s", line, col, fmt.Sprintf(format, args...))
}

// here names what is at the position, for a message.
func (p *jsonReader) here() string {
	if p.pos >= len(p.data) {
		return "the end of the text"
	}
	r, _ := utf8.DecodeRune(p.data[p.pos:])
	return strconv.QuoteRune(r)
}

func (p *jsonReader) space() {
	for p.pos < len(p.data) {
		switch p.data[p.pos] {
		case ' ', '\t', '\n', '\r':
			p.pos++
		default:
			return
		}
	}
}

func (p *jsonReader) peek() byte {
	if p.pos < len(p.data) {
		return p.data[p.pos]
	}
	return 0
}

var jsonWords = []struct {
	text  string
	value Value
}{
	{"null", Null()},
	{"true", Bool(true)},
	{"false", Bool(false)},
	{"NaN", Float(math.NaN())},
	{"Infinity", Float(math.Inf(1))},
	{"-Infinity", Float(math.Inf(-1))},
}

func (p *jsonReader) value(depth int) (Value, error) {
	if depth > MaxDepth {
		return Value{}, problem.New(problem.TooLarge, "nested deeper than %d", MaxDepth)
	}
	p.space()
	switch p.peek() {
	case '{':
		return p.object(depth)
	case '[':
		return p.array(depth)
	case '"':
		s, err := p.str()
		return String(s), err
	}
	for _, w := range jsonWords {
		if bytes.HasPrefix(p.data[p.pos:], []byte(w.text)) {
			p.pos += len(w.text)
			return w.value, nil
		}
	}
	return p.number()
}

func (p *jsonReader) object(depth int) (Value, error) {
	var fields []Field
	p.pos++
	if p.space(); p.peek() == '}' {
		p.pos++
		return Dict(), nil
	}
	for {
		if p.space(); p.peek() != '"' {
			return Value{}, p.errorf("want a name in double quotes, not %s", p.here())
		}
		name, err := p.str()
		if err != nil {
			return Value{}, err
		}
		if p.space(); p.peek() != ':' {
			return Value{}, p.errorf("want ':' after the name %s, not %s", shorten(quotePython(name)), p.here())
		}
		p.pos++
		v, err := p.value(depth + 1)
		if err != nil {
			return Value{}, err
		}
		fields = append(fields, Field{Key: String(name), Value: v})
		p.space()
		switch p.peek() {
		case ',':
			p.pos++
		case '}':
			p.pos++
			return Dict(fields...), nil
		default:
			return Value{}, p.errorf("want ',' or '}', not %s", p.here())
		}
	}
}

func (p *jsonReader) array(depth int) (Value, error) {
	list := []Value{}
	p.pos++
	if p.space(); p.peek() == ']' {
		p.pos++
		return List(list...), nil
	}
	for {
		v, err := p.value(depth + 1)
		if err != nil {
			return Value{}, err
		}
		list = append(list, v)
		p.space()
		switch p.peek() {
		case ',':
			p.pos++
		case ']':
			p.pos++
			return List(list...), nil
		default:
			return Value{}, p.errorf("want ',' or ']', not %s", p.here())
		}
	}
}

func (p *jsonReader) digits() int {
	start := p.pos
	for c := p.peek(); c >= '0' && c <= '9'; c = p.peek() {
		p.pos++
	}
	return p.pos - start
}

func (p *jsonReader) number() (Value, error) {
	start := p.pos
	if p.peek() == '-' {
		p.pos++
	}
	zero := p.peek() == '0'
	n := p.digits()
	if n == 0 {
		p.pos = start
		return Value{}, p.errorf("want a value, not %s", p.here())
	}
	if zero && n > 1 {
		return Value{}, p.errorf("a number may not begin with 0")
	}
	float := false
	if p.peek() == '.' {
		float = true
		if p.pos++; p.digits() == 0 {
			return Value{}, p.errorf("want a digit after the point, not %s", p.here())
		}
	}
	if c := p.peek(); c == 'e' || c == 'E' {
		float = true
		if p.pos++; p.peek() == '+' || p.peek() == '-' {
			p.pos++
		}
		if p.digits() == 0 {
			return Value{}, p.errorf("want a digit in the exponent, not %s", p.here())
		}
	}
	text := string(p.data[start:p.pos])
	if len(text) > maxIntDigits {
		return Value{}, problem.New(problem.TooLarge, "a number of %d characters is over the limit of %d", len(text), maxIntDigits)
	}
	if float {
		f, ok := parsePyFloat(text)
		if !ok {
			return Value{}, p.errorf("%s is not a number", shorten(text))
		}
		return Float(f), nil
	}
	v, _ := parsePyInt(text)
	return v, nil
}

func (p *jsonReader) str() (string, error) {
	var b strings.Builder
	p.pos++
	for {
		start := p.pos
		for p.pos < len(p.data) && p.data[p.pos] != '"' && p.data[p.pos] != '\\' && p.data[p.pos] >= 0x20 {
			p.pos++
		}
		if !utf8.Valid(p.data[start:p.pos]) {
			return "", p.errorf("a string is not UTF-8")
		}
		b.Write(p.data[start:p.pos])
		switch c := p.peek(); {
		case p.pos >= len(p.data):
			return "", p.errorf("a string has no end")
		case c == '"':
			p.pos++
			return b.String(), nil
		case c == '\\':
			if err := p.escape(&b); err != nil {
				return "", err
			}
		default:
			return "", p.errorf("a string holds the control character %s", strconv.QuoteRune(rune(c)))
		}
	}
}

var jsonEscapes = map[byte]byte{'"': '"', '\\': '\\', '/': '/', 'b': '\b', 'f': '\f', 'n': '\n', 'r': '\r', 't': '\t'}

func (p *jsonReader) escape(b *strings.Builder) error {
	p.pos++
	c := p.peek()
	if plain, ok := jsonEscapes[c]; ok {
		p.pos++
		b.WriteByte(plain)
		return nil
	}
	if c != 'u' {
		return p.errorf("\\%s is not an escape", p.here())
	}
	r, err := p.hex4()
	if err != nil {
		return err
	}
	if utf16.IsSurrogate(r) {
		if !bytes.HasPrefix(p.data[p.pos:], []byte(`\u`)) {
			return p.errorf("half of a surrogate pair (\\u%04x) stands alone", r)
		}
		p.pos++
		low, err := p.hex4()
		if err != nil {
			return err
		}
		pair := utf16.DecodeRune(r, low)
		if pair == utf8.RuneError {
			return p.errorf("half of a surrogate pair (\\u%04x) stands alone", r)
		}
		r = pair
	}
	b.WriteRune(r)
	return nil
}

// hex4 reads "uXXXX".
func (p *jsonReader) hex4() (rune, error) {
	if len(p.data)-p.pos < 5 {
		return 0, p.errorf("\\u wants four hexadecimal digits")
	}
	n, err := strconv.ParseUint(string(p.data[p.pos+1:p.pos+5]), 16, 16)
	if err != nil {
		return 0, p.errorf("\\u wants four hexadecimal digits")
	}
	p.pos += 5
	return rune(n), nil
}

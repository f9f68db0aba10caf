package parameter

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"quire/internal/problem"
)

// maxWidth is the largest width or precision of a path template's field.
const maxWidth = 4096

// Builtins are the values that a path template has under the name pm. A
// parameter called pm hides them.
type Builtins struct {
	RunUUID string
	// Local is shown without its zone, as Python's datetime.now() is; UTC is shown
	// in UTC, with it.
	Local, UTC time.Time
}

// Format fills a path template as Python's str.format does with the parameters
// and pm: {name}, {d[key]}, {l[0]}, {x:03d}, {x!r}, {pm[run_uuid]},
// {pm[current_datetime_utc]:%Y-%m-%d}, doubled braces for braces. Format specs are
// those of integers, floats, strings and times; a time has the attributes year,
// month, day, hour, minute, second and microsecond, and nothing else has any.
// Errors are of kind Invalid and name the template.
func Format(template string, set Set, pm Builtins) (string, error) {
	if !strings.ContainsAny(template, "{}") {
		return template, nil
	}
	f := templater{set: set, pm: pm}
	out, err := f.fill(template, 2)
	return out, problem.Wrap(err, "filling the path template %s", shorten(strconv.Quote(template)))
}

// item is what a field can hold: a value, a time, or pm itself.
type item struct {
	value Value
	time  time.Time
	kind  itemKind
}

type itemKind uint8

const (
	itemValue itemKind = iota
	itemLocal          // a time without zone
	itemUTC
	itemBuiltins
)

type templater struct {
	set Set
	pm  Builtins
}

func invalid(format string, args ...any) error { return problem.New(problem.Invalid, format, args...) }

func (f *templater) fill(template string, depth int) (string, error) {
	var b strings.Builder
	for i := 0; i < len(template); {
		c := template[i]
		switch {
		case c != '{' && c != '}':
			b.WriteByte(c)
			i++
		case i+1 < len(template) && template[i+1] == c:
			b.WriteByte(c)
			i += 2
		case c == '}':
			return "", invalid("a single '}' stands at character %d: write }} for a brace", utf8.RuneCountInString(template[:i])+1)
		case depth == 0:
			return "", invalid("fields are nested too deep")
		default:
			end, err := fieldEnd(template, i+1)
			if err != nil {
				return "", err
			}
			text, err := f.field(template[i+1:end], depth)
			if err != nil {
				return "", err
			}
			b.WriteString(text)
			i = end + 1
		}
	}
	return b.String(), nil
}

// fieldEnd returns the place of the '}' that ends the field that begins at i.
// Braces inside [] of the name are characters.
func fieldEnd(s string, i int) (int, error) {
	depth, index := 1, false
	for j := i; j < len(s); j++ {
		switch c := s[j]; {
		case index:
			index = c != ']'
		case c == '[' && depth == 1 && !strings.ContainsAny(s[i:j], ":!"):
			index = true
		case c == '{':
			depth++
		case c == '}':
			if depth--; depth == 0 {
				return j, nil
			}
		}
	}
	return 0, invalid("the field that begins at character %d has no '}': write {{ for a brace", utf8.RuneCountInString(s[:i]))
}

// field fills "name!conversion:spec".
func (f *templater) field(text string, depth int) (string, error) {
	name, rest := cutName(text)
	conversion, spec := "", ""
	if after, ok := strings.CutPrefix(rest, "!"); ok {
		_, n := utf8.DecodeRuneInString(after)
		conversion, rest = after[:n], after[n:]
		if rest != "" && rest[0] != ':' {
			return "", invalid("field {%s}: want ':' behind the conversion", shorten(text))
		}
	}
	if rest != "" {
		spec = rest[1:]
	}
	if strings.ContainsAny(name, "{}") {
		return "", invalid("field {%s}: a name holds a brace", shorten(text))
	}
	it, err := f.lookup(name)
	if err != nil {
		return "", err
	}
	if spec, err = f.fill(spec, depth-1); err != nil {
		return "", err
	}
	switch conversion {
	case "":
	case "s":
		it = item{value: String(it.str())}
	case "r":
		it = item{value: String(it.repr())}
	case "a":
		it = item{value: String(asciiOnly(it.repr()))}
	default:
		return "", invalid("field {%s}: conversion %q is none of !s, !r and !a", shorten(text), conversion)
	}
	out, err := it.format(spec)
	if err != nil {
		return "", invalid("field {%s}: %v", shorten(text), err)
	}
	return out, nil
}

// cutName cuts a field before its first '!' or ':' outside [].
func cutName(s string) (name, rest string) {
	index := false
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case index:
			index = c != ']'
		case c == '[':
			index = true
		case c == '!' || c == ':':
			return s[:i], s[i:]
		}
	}
	return s, ""
}

// lookup finds what a name with its indexes and attributes stands for.
func (f *templater) lookup(name string) (item, error) {
	end := strings.IndexAny(name, ".[")
	if end < 0 {
		end = len(name)
	}
	first, path := name[:end], name[end:]
	if first == "" || strings.Trim(first, "0123456789") == "" {
		return item{}, invalid("the field {%s} names no parameter: a path template is filled by name, like {country}", name)
	}
	it := item{}
	if v, ok := f.set.Get(first); ok {
		it.value = v
	} else if first == "pm" {
		it.kind = itemBuiltins
	} else {
		return item{}, invalid("Missing parameter %s", pyRepr(String(first)))
	}
	for path != "" {
		var key string
		if path[0] == '.' {
			path = path[1:]
			end := strings.IndexAny(path, ".[")
			if end < 0 {
				end = len(path)
			}
			key, path = path[:end], path[end:]
			next, ok := it.attribute(key)
			if !ok {
				return item{}, invalid("the field {%s}: there is no attribute %q", shorten(name), key)
			}
			it = next
			continue
		}
		end := strings.IndexByte(path, ']')
		if path[0] != '[' || end <= 1 {
			return item{}, invalid("the field {%s}: want [key] or .attribute, not %s", shorten(name), shorten(path))
		}
		key, path = path[1:end], path[end+1:]
		next, err := f.index(it, key)
		if err != nil {
			return item{}, problem.Wrap(err, "the field {%s}", shorten(name))
		}
		it = next
	}
	return it, nil
}

func (it item) attribute(name string) (item, bool) {
	if it.kind != itemLocal && it.kind != itemUTC {
		return item{}, false
	}
	t := it.shifted()
	n, ok := map[string]int{
		"year": t.Year(), "month": int(t.Month()), "day": t.Day(), "hour": t.Hour(), "minute": t.Minute(), "second": t.Second(),
		"microsecond": t.Nanosecond() / 1000,
	}[name]
	return item{value: Int(int64(n))}, ok
}

// index returns it[key]; a key of digits is a number.
func (f *templater) index(it item, key string) (item, error) {
	number, err := strconv.Atoi(key)
	digits := err == nil && isDigit(key[0])
	if it.kind == itemBuiltins {
		switch key {
		case "run_uuid":
			return item{value: String(f.pm.RunUUID)}, nil
		case "current_datetime_local":
			return item{kind: itemLocal, time: f.pm.Local}, nil
		case "current_datetime_utc":
			return item{kind: itemUTC, time: f.pm.UTC}, nil
		}
		return item{}, invalid("Missing parameter %s", pyRepr(String(key)))
	}
	var elements []Value
	switch it.value.kind {
	case KindDict:
		want := String(key)
		if digits {
			want = Int(int64(number))
		}
		for _, e := range it.value.fields {
			if e.Key.hashID() == want.hashID() {
				return item{value: e.Value}, nil
			}
		}
		return item{}, invalid("Missing parameter %s", pyRepr(want))
	case KindList:
		elements = it.value.list
	case KindString:
		for _, r := range it.value.s {
			elements = append(elements, String(string(r)))
		}
	}
	if it.kind != itemValue || elements == nil && it.value.kind != KindList && it.value.kind != KindString {
		return item{}, invalid("what stands before [%s] has no elements", shorten(key))
	}
	if !digits || number >= len(elements) {
		return item{}, invalid("there is no element %s among %d", shorten(key), len(elements))
	}
	return item{value: elements[number]}, nil
}

// str is Python's str(x).
func (it item) str() string {
	switch it.kind {
	case itemLocal, itemUTC:
		return it.isoTime()
	case itemBuiltins:
		return "pm"
	}
	if it.value.kind == KindString {
		return it.value.s
	}
	return pyRepr(it.value)
}

// repr is Python's repr(x).
func (it item) repr() string {
	if it.kind == itemValue {
		return pyRepr(it.value)
	}
	return it.str()
}

func (it item) shifted() time.Time {
	if it.kind == itemUTC {
		return it.time.UTC().Truncate(time.Microsecond)
	}
	return it.time.Truncate(time.Microsecond)
}

func (it item) isoTime() string {
	t := it.shifted()
	layout := "2006-01-02 15:04:05"
	if t.Nanosecond() != 0 {
		layout += ".000000"
	}
	if it.kind == itemUTC {
		layout += "-07:00"
	}
	return t.Format(layout)
}

// format is Python's format(x, spec).
func (it item) format(spec string) (string, error) {
	switch {
	case spec == "":
		return it.str(), nil
	case it.kind == itemLocal || it.kind == itemUTC:
		return strftime(it.shifted(), spec, it.kind == itemUTC), nil
	case it.kind == itemBuiltins:
		return "", fmt.Errorf("pm takes no format")
	}
	v := it.value
	if v.kind == KindNull || v.kind == KindList || v.kind == KindDict {
		return "", fmt.Errorf("a %s takes no format %s", v.kind, strconv.Quote(shorten(spec)))
	}
	s, err := parseSpec(spec)
	if err != nil {
		return "", err
	}
	switch v.kind {
	case KindString:
		return s.text(v.s)
	case KindFloat:
		return s.float(v.f)
	case KindBool:
		n := int64(0)
		if v.b {
			n = 1
		}
		return s.integer(Int(n))
	default:
		return s.integer(v)
	}
}

// pyRepr is Python's repr of a value.
func pyRepr(v Value) string {
	switch v.kind {
	case KindString:
		return reprString(v.s)
	case KindList:
		parts := make([]string, 0, len(v.list))
		for _, e := range v.list {
			parts = append(parts, pyRepr(e))
		}
		return "[" + strings.Join(parts, ", ") + "]"
	case KindDict:
		parts := make([]string, 0, len(v.fields))
		for _, f := range v.fields {
			parts = append(parts, pyRepr(f.Key)+": "+pyRepr(f.Value))
		}
		return "{" + strings.Join(parts, ", ") + "}"
	default:
		return v.String()
	}
}

func reprString(s string) string {
	quote := '\''
	if strings.ContainsRune(s, '\'') && !strings.ContainsRune(s, '"') {
		quote = '"'
	}
	var b strings.Builder
	b.WriteRune(quote)
	for _, r := range s {
		switch {
		case r == quote || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case slices.Contains([]rune("\n\r\t"), r):
			simpleEscape(&b, r)
		case unicode.IsPrint(r):
			b.WriteRune(r)
		default:
			b.WriteString(escapeRune(r))
		}
	}
	b.WriteRune(quote)
	return b.String()
}

func escapeRune(r rune) string {
	switch {
	case r <= 0xff:
		return fmt.Sprintf(`\x%02x`, r)
	case r <= 0xffff:
		return fmt.Sprintf(`\u%04x`, r)
	}
	return longEscape(r)
}

func asciiOnly(s string) string {
	var b strings.Builder
	for _, r := range s {
		if r < 0x80 {
			b.WriteRune(r)
		} else {
			b.WriteString(escapeRune(r))
		}
	}
	return b.String()
}

package query

import (
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"quire/internal/problem"
)

// A Text is a statement with the places where it names parameters.
type Text struct {
	source string
	refs   []reference
}

// A reference is a place that names a parameter, as ":name".
type reference struct {
	name       string
	start, end int // of ":name" in the source, in bytes
}

// ParseText finds the parameters of a statement: a colon and a name, outside
// of strings, quoted names, comments and casts ("a::int"), and not behind a
// name, a number or a closing bracket, where a colon is a slice or a key.
// It knows the strings of all engines here: 'it”s', E'it\'s', "a name",
// `a name`, $$text$$, $tag$text$tag$, -- and nested /* */ comments.
func ParseText(source string) (Text, error) {
	if !utf8.ValidString(source) {
		return Text{}, problem.New(problem.Invalid, "the statement is not UTF-8 text")
	}
	if i := strings.IndexByte(source, 0); i >= 0 {
		return Text{}, problem.New(problem.Invalid, "the statement holds a zero byte")
	}
	t := Text{source: source}
	for i := 0; i < len(source); {
		if end := skipQuoted(source, i); end > i {
			i = end
			continue
		}
		if source[i] != ':' {
			i++
			continue
		}
		if strings.HasPrefix(source[i:], "::") {
			i += 2
			continue
		}
		end := nameEnd(source, i+1)
		if end == i+1 || !parameterMayFollow(source[:i]) {
			i++
			continue
		}
		t.refs = append(t.refs, reference{source[i+1 : end], i, end})
		i = end
	}
	return t, nil
}

// parameterMayFollow tells whether a colon behind this text begins a parameter.
func parameterMayFollow(before string) bool {
	r, _ := utf8.DecodeLastRuneInString(before)
	return before == "" || !(unicode.IsLetter(r) || unicode.IsDigit(r) || strings.ContainsRune(`_$)]"'`+"`:", r))
}

// nameEnd is where the name that begins at i ends.
func nameEnd(s string, i int) int {
	start := i
	for i < len(s) {
		r, n := utf8.DecodeRuneInString(s[i:])
		if r != '_' && !unicode.IsLetter(r) && (i == start || !unicode.IsDigit(r)) {
			break
		}
		i += n
	}
	return i
}

// skipQuoted returns where the string, quoted name or comment that begins at i
// ends; i when none begins there. What is never closed goes to the end: the
// engine says what is wrong with it.
func skipQuoted(s string, i int) int {
	rest := s[i:]
	switch {
	case strings.HasPrefix(rest, "--"):
		if n := strings.IndexByte(rest, '\n'); n >= 0 {
			return i + n
		}
		return len(s)
	case strings.HasPrefix(rest, "/*"):
		return skipComment(s, i)
	case rest[0] == '\'':
		escapes := i > 0 && (s[i-1] == 'E' || s[i-1] == 'e') && (i == 1 || !isWord(s[i-2]))
		return skipUntil(s, i+1, '\'', escapes)
	case rest[0] == '"' || rest[0] == '`':
		return skipUntil(s, i+1, rest[0], false)
	case rest[0] == '$':
		return skipDollar(s, i)
	}
	return i
}

func isWord(c byte) bool {
	return c == '_' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c >= 0x80
}

func skipComment(s string, i int) int {
	depth := 0
	for i < len(s) {
		switch {
		case strings.HasPrefix(s[i:], "/*"):
			depth++
			i += 2
		case strings.HasPrefix(s[i:], "*/"):
			depth--
			i += 2
			if depth == 0 {
				return i
			}
		default:
			i++
		}
	}
	return i
}

// skipUntil returns what is behind the quote that closes; a doubled one does not.
func skipUntil(s string, i int, quote byte, escapes bool) int {
	for i < len(s) {
		switch {
		case escapes && s[i] == '\\':
			i += 2
		case s[i] == quote && i+1 < len(s) && s[i+1] == quote:
			i += 2
		case s[i] == quote:
			return i + 1
		default:
			i++
		}
	}
	return len(s)
}

// skipDollar skips $tag$text$tag$.
func skipDollar(s string, i int) int {
	if i > 0 && isWord(s[i-1]) {
		return i
	}
	end := nameEnd(s, i+1)
	if end >= len(s) || s[end] != '$' {
		return i
	}
	tag := s[i : end+1]
	n := strings.Index(s[end+1:], tag)
	if n < 0 {
		return len(s)
	}
	return end + 1 + n + len(tag)
}

// Names returns the names of the parameters, each once, in the order in which
// they first stand in the text.
func (t Text) Names() []string {
	var names []string
	seen := map[string]bool{}
	for _, r := range t.refs {
		if !seen[r.name] {
			seen[r.name] = true
			names = append(names, r.name)
		}
	}
	return names
}

// Verb is the first word of the statement, in upper case; "" where it begins
// with something else, as a bracket.
func (t Text) Verb() string {
	for i := 0; i < len(t.source); {
		switch end := skipQuoted(t.source, i); {
		case end > i && (t.source[i] == '-' || t.source[i] == '/'):
			i = end
		case strings.IndexByte(" \t\r\n", t.source[i]) >= 0:
			i++
		default:
			return strings.ToUpper(t.source[i:nameEnd(t.source, i)])
		}
	}
	return ""
}

// Has tells whether a word, in upper case, stands in the statement outside of
// texts and comments.
func (t Text) Has(word string) bool {
	return slices.ContainsFunc(wordsOf(t.source), func(w string) bool { return strings.EqualFold(w, word) })
}

// String returns the text as it was written.
func (t Text) String() string { return t.source }

// Check says which parameter has no value, at its position.
func (t Text) Check(values map[string]Value) error {
	for _, r := range t.refs {
		if _, ok := values[r.name]; !ok {
			return &located{problem.New(problem.Invalid, "parameter :%s has no value: give it one", r.name), t.Position(r.start)}
		}
	}
	return nil
}

// A Position is a place in a text, for a person: both count from 1, columns in
// characters.
type Position struct {
	Line   int `json:"line"`
	Column int `json:"column"`
}

// Position is where the byte at offset of the source is.
func (t Text) Position(offset int) Position {
	before := t.source[:min(max(offset, 0), len(t.source))]
	line := strings.LastIndexByte(before, '\n')
	return Position{Line: strings.Count(before, "\n") + 1, Column: utf8.RuneCountInString(before[line+1:]) + 1}
}

// located is an error at a position of the user's text.
type located struct {
	error
	at Position
}

func (l *located) Unwrap() error { return l.error }

// A Style is how an engine writes placeholders.
type Style int

// The styles.
const (
	Dollar     Style = iota // $1, $2: one for each value, which may stand in several places
	Question                // ?: one for each place
	DollarCast              // $1::integer: as Dollar, with a type where text is not meant
)

// casts are the types that DollarCast names, in PostgreSQL's words.
var casts = map[Type]string{
	Bool: "boolean", Float: "double precision", Date: "date", Decimal: "numeric", Bytes: "bytea",
}

// cast is what DollarCast writes behind a placeholder.
func (v Value) cast() string {
	switch v.Type {
	case Int:
		for _, size := range []struct {
			bits int
			name string
		}{{32, "integer"}, {64, "bigint"}} {
			if _, err := strconv.ParseInt(v.Text, 10, size.bits); err == nil {
				return "::" + size.name
			}
		}
		return "::numeric"
	case Timestamp:
		if _, zoned, _ := v.Time(); zoned {
			return "::timestamptz"
		}
		return "::timestamp"
	}
	if name := casts[v.Type]; name != "" {
		return "::" + name
	}
	return ""
}

// A Bound is a statement with placeholders, and what is bound to them.
type Bound struct {
	SQL    string
	Values []Value
	moves  []move
}

// A move says that the text from sent on is the source's from source on.
type move struct{ sent, source int }

// Bind writes the text for an engine. A list becomes as many placeholders as it
// has values, in brackets where the text has none around it; an empty one is
// NULL, which nothing equals.
func (t Text) Bind(style Style, values map[string]Value) (Bound, error) {
	if err := t.Check(values); err != nil {
		return Bound{}, err
	}
	var b Bound
	var out strings.Builder
	at := map[string][]string{} // the placeholders of a name, for Dollar
	last := 0
	b.moves = append(b.moves, move{0, 0})
	for _, r := range t.refs {
		out.WriteString(t.source[last:r.start])
		b.moves = append(b.moves, move{out.Len(), r.start})
		v := values[r.name]
		marks := at[r.name]
		if marks == nil {
			marks = b.add(style, v)
			if style != Question {
				at[r.name] = marks
			}
		}
		text := strings.Join(marks, ", ")
		if v.List != nil && !inBrackets(t.source, r) {
			text = "(" + text + ")"
		}
		out.WriteString(text)
		last = r.end
		b.moves = append(b.moves, move{out.Len(), r.end})
	}
	out.WriteString(t.source[last:])
	b.SQL = out.String()
	return b, nil
}

func (b *Bound) add(style Style, v Value) []string {
	all := []Value{v}
	if v.List != nil {
		if all = v.List; len(all) == 0 {
			return []string{"NULL"}
		}
	}
	var marks []string
	for _, one := range all {
		b.Values = append(b.Values, one)
		mark := "?"
		switch style {
		case Dollar:
			mark = "$" + strconv.Itoa(len(b.Values))
		case DollarCast:
			mark = "$" + strconv.Itoa(len(b.Values)) + one.cast()
		}
		marks = append(marks, mark)
	}
	return marks
}

// inBrackets tells whether a reference stands alone between brackets.
func inBrackets(s string, r reference) bool {
	before, after := strings.TrimRight(s[:r.start], " \t\r\n"), strings.TrimLeft(s[r.end:], " \t\r\n")
	return (strings.HasSuffix(before, "(") || strings.HasSuffix(before, ",")) && (strings.HasPrefix(after, ")") || strings.HasPrefix(after, ","))
}

// Source returns where in the source the byte at sent of the SQL is.
func (b Bound) Source(sent int) int {
	at := 0
	for _, m := range b.moves {
		if m.sent > sent {
			break
		}
		at = m.source + sent - m.sent
	}
	return at
}

package parameter

import (
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"quire/internal/problem"
)

// sqlTree writes the literals that a parameters cell of SQL has. They are read
// by the SQL kernel and bound; no engine sees them as text.
var sqlTree = &tree{
	null: "NULL", yes: "TRUE", no: "FALSE", str: quotedSQL,
	float: formatFloat, list: joined("[", ", ", "]"),
}

var sqlDialect = &dialect{
	name: "sql", comment: func(text string) string { return strings.TrimSpace("-- " + text) },
	ident: sqlName, assign: assignment("", " = ", ""), value: sqlValue,
}

// sqlValue writes what can be bound to a statement: scalars and lists of them.
func sqlValue(v Value) (string, error) {
	items := []Value{v}
	if v.kind == KindList {
		items = v.list
	}
	for _, e := range items {
		switch {
		case e.kind == KindDict || e.kind == KindList:
			return "", problem.New(problem.Invalid, "a parameter of SQL is a value or a list of values: no dictionary, no list in a list")
		case e.kind == KindFloat && nonFiniteName(e.f) != "":
			return "", problem.New(problem.Invalid, "SQL has no literal for %s", nonFiniteName(e.f))
		}
	}
	return sqlTree.value(v)
}

func quotedSQL(s string) (string, error) {
	if !utf8.ValidString(s) || strings.ContainsRune(s, 0) {
		return "", problem.New(problem.Invalid, "a text in SQL cannot hold a NUL character or bytes that are not UTF-8")
	}
	return "'" + strings.ReplaceAll(s, "'", "''") + "'", nil
}

// sqlName takes what may stand behind a colon in a statement.
func sqlName(s string) (string, bool) {
	for i, r := range s {
		if r != '_' && !unicode.IsLetter(r) && (i == 0 || !unicode.IsDigit(r)) || r == unicode.ReplacementChar {
			return s, false
		}
	}
	return s, s != ""
}

// sqlRules are the strings and comments of the engines' SQL.
var sqlRules = &otherRules{
	line: []string{"--"}, block: [2]string{"/*", "*/"}, nested: true,
	strings: []stringRule{
		{open: "E'", end: "'", escape: '\\', doubled: true, lines: true, when: notWordBefore},
		{open: "e'", end: "'", escape: '\\', doubled: true, lines: true, when: notWordBefore},
		{open: "'", end: "'", doubled: true, lines: true},
		{open: `"`, end: `"`, doubled: true, lines: true},
		{open: "`", end: "`", doubled: true, lines: true},
	},
	special: dollarString,
}

var dollarTag = regexp.MustCompile(`^\$(?:[\pL_][\pL\pN_]*)?\$`)

// dollarString takes $$text$$ and $tag$text$tag$.
func dollarString(m *masker, i int) int {
	if m.src[i] != '$' || isWord(m.before(i)) {
		return i
	}
	tag := dollarTag.FindString(m.src[i:min(len(m.src), i+200)])
	if tag == "" {
		return i
	}
	if n := strings.Index(m.src[i+len(tag):], tag); n >= 0 {
		return i + 2*len(tag) + n
	}
	return len(m.src)
}

// A SQLPart is one part of a cell of SQL: a statement, or the definition of a
// parameter (name = literal, name: type = literal, name: type = for one that
// must be given).
type SQLPart struct {
	Name, Type string // of the parameter; a statement has none
	Text       string // the statement without its semicolon, or the source of the value
	Start, End int    // of Text in the cell, in bytes

	from int // where a definition begins
}

var sqlDefinition = regexp.MustCompile(`^([\pL_][\pL\pN_]*)[ \t]*(?::[ \t]*([^=:;\n]+?)[ \t]*)?=`)

// SplitSQL cuts a cell of SQL into its statements, which end at a semicolon
// outside of strings, quoted names and comments, and its definitions of
// parameters, which end at a line's end or a semicolon outside of brackets.
func SplitSQL(source string) []SQLPart {
	parts, _ := splitSQL(source)
	return parts
}

func splitSQL(source string) ([]SQLPart, masked) {
	m := mask(source, sqlRules)
	var parts []SQLPart
	for i := 0; i < len(m.code); {
		if c := m.code[i]; c == ';' || strings.IndexByte(" \t\r\n", c) >= 0 {
			i++
			continue
		}
		p := SQLPart{Start: i, from: i}
		if f := sqlDefinition.FindSubmatchIndex(m.code[i:min(len(m.code), i+1000)]); f != nil && !slices.Contains([]byte("=>~"), byteAt(m.code, i+f[1])) {
			p.Name, p.Start = source[i+f[2]:i+f[3]], i+f[1]
			if f[4] >= 0 {
				p.Type = strings.Join(strings.Fields(source[i+f[4]:i+f[5]]), " ")
			}
		}
		p.End = sqlEnd(m.code, p.Start, p.Name != "")
		i = p.End
		for p.Start < p.End && strings.IndexByte(" \t\r\n", m.code[p.Start]) >= 0 {
			p.Start++
		}
		for p.End > p.Start && strings.IndexByte(" \t\r\n", m.code[p.End-1]) >= 0 {
			p.End--
		}
		p.Text = source[p.Start:p.End]
		parts = append(parts, p)
	}
	return parts, m
}

func byteAt(b []byte, i int) byte {
	if i < len(b) {
		return b[i]
	}
	return 0
}

// sqlEnd is where the part that begins at i ends.
func sqlEnd(code []byte, i int, definition bool) int {
	depth := 0
	for ; i < len(code); i++ {
		switch c := code[i]; {
		case c == ';':
			return i
		case c == '\n' && definition && depth == 0:
			return i
		case c == '(' || c == '[':
			depth++
		case c == ')' || c == ']':
			depth = max(depth-1, 0)
		}
	}
	return i
}

// OpenSQL tells whether a cell ends inside a string, a quoted name, a comment
// of several lines or a bracket.
func OpenSQL(source string) bool {
	m := mask(source+"\n;", sqlRules)
	return m.code[len(m.code)-1] != ';' || strings.Count(string(m.code), "(") > strings.Count(string(m.code), ")")
}

// ParseSQL reads a literal of a parameters cell: NULL, TRUE, FALSE, a number, a
// 'text' or a list of these in brackets. The error is of kind Invalid.
func ParseSQL(text string) (Value, error) {
	text = strings.TrimSpace(text)
	if n := len(text); n >= 2 && (text[0] == '[' && text[n-1] == ']' || text[0] == '(' && text[n-1] == ')') {
		return parseSQLList(text[1 : n-1])
	}
	if v, ok := sqlScalar(text); ok {
		return v, nil
	}
	return Value{}, problem.New(problem.Invalid, "%s is no literal: want a number, 'text', TRUE, FALSE, NULL, or a list of these as ['FR', 'US']", shorten(text))
}

func parseSQLList(inside string) (Value, error) {
	m := mask(inside, sqlRules)
	list := []Value{}
	from := 0
	for i := 0; i <= len(m.code); i++ {
		if i < len(m.code) && m.code[i] != ',' {
			continue
		}
		text := string(m.code[from:i])
		if part := strings.TrimSpace(text); part != "" {
			v, ok := sqlScalar(strings.TrimSpace(uncommented(m, from, i)))
			if !ok {
				return Value{}, problem.New(problem.Invalid, "%s is no literal: want a number, 'text', TRUE, FALSE or NULL", shorten(strings.TrimSpace(inside[from:i])))
			}
			list = append(list, v)
		} else if i < len(m.code) {
			return Value{}, problem.New(problem.Invalid, "a value is missing in the list [%s]", shorten(inside))
		}
		from = i + 1
	}
	return List(list...), nil
}

// uncommented is the source from start to end with its comments blank.
func uncommented(m masked, start, end int) string {
	text := []byte(m.src[start:end])
	for _, c := range m.comments {
		for i := max(c.start, start); i < min(c.end, end); i++ {
			text[i-start] = ' '
		}
	}
	return string(text)
}

var sqlNumber = regexp.MustCompile(`^[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?$`)

func sqlScalar(text string) (Value, bool) {
	switch strings.ToUpper(text) {
	case "NULL":
		return Null(), true
	case "TRUE":
		return Bool(true), true
	case "FALSE":
		return Bool(false), true
	}
	if n := len(text); n >= 2 && text[0] == '\'' && text[n-1] == '\'' {
		inside := strings.ReplaceAll(text[1:n-1], "''", "\x00")
		return String(strings.ReplaceAll(inside, "\x00", "'")), !strings.Contains(inside, "'")
	}
	if !sqlNumber.MatchString(text) || len(text) > 400 {
		return Value{}, false
	}
	number := strings.TrimPrefix(text, "+")
	if !strings.ContainsAny(number, ".eE") { // 007 is seven, as SQL has it
		sign := ""
		if number[0] == '-' {
			sign, number = "-", number[1:]
		}
		if number = strings.TrimLeft(number, "0"); number == "" {
			number, sign = "0", ""
		}
		number = sign + number
	}
	e, ok := parseAnnotation(number)
	return e.value, ok && e.kind == exprLiteral && (e.value.kind == KindInt || e.value.kind == KindFloat)
}

// inspectSQL reads the definitions of a parameters cell.
func inspectSQL(source string) (defs []Definition, warnings []Warning) {
	parts, m := splitSQL(source)
	r := otherReader{masked: m, language: "sql", rules: sqlRules, line: 1}
	for _, p := range parts {
		if p.Name == "" {
			continue
		}
		before := len(r.defs)
		r.define(span{p.from, p.End}, p.Name, p.Type, span{p.Start, p.End})
		if len(r.defs) == before {
			continue
		}
		d := &r.defs[len(r.defs)-1]
		d.value, d.literal, d.Inferred = Value{}, false, ""
		if d.Required {
			continue
		}
		v, err := ParseSQL(d.Default)
		if err != nil {
			warnings = append(warnings, Warning{Line: d.Line, Text: d.Name + ": " + err.Error()})
			continue
		}
		d.value, d.literal = v, true
		if !v.IsNull() {
			d.Inferred = v.kind.String()
		}
	}
	return r.defs, warnings
}

package parameter

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// pyStatement is one simple statement at the top level of a cell, or the header
// of a compound one.
type pyStatement struct {
	tokens  []pyToken // without comments and the end
	comment string    // on the line on which it ends, if nothing follows it there
	indent  string
	joined  bool // behind a ';'
}

type pyReader struct {
	src      string
	defs     []Definition
	warnings []Warning
	broken   bool // some statement is not Python at all
}

// compound are the words that begin a statement with a body, whose assignments
// are not parameters.
var compound = words("if elif else for while try except finally with def class async")

func inspectPython(src string) ([]Definition, []Warning) {
	src = cellMagic(src)
	tokens, unclosed := lexPython(src)
	r := pyReader{src: src}
	if unclosed > 0 {
		r.broken = true
		r.warnings = append(r.warnings, Warning{unclosed, fmt.Sprintf("Unable to parse line %d: a bracket is opened there and never closed.", unclosed)})
	}
	statements := r.statements(tokens)
	for _, s := range statements {
		r.broken = r.broken || r.notPython(s)
	}
	skipping := false
	for _, s := range statements {
		if !s.joined {
			skipping = s.indent != statements[0].indent && s.indent != "" ||
				slices.Contains(compound, r.text(s.tokens[0])) || r.text(s.tokens[0]) == "@"
		}
		if !skipping {
			r.read(s)
		}
	}
	return r.defs, r.warnings
}

// cellMagic blanks a leading %%magic whose cell is still Python; of another
// language's cell nothing is left.
func cellMagic(src string) string {
	trimmed := strings.TrimLeft(src, " \t\n")
	if !strings.HasPrefix(trimmed, "%%") {
		return src
	}
	word, _, _ := strings.Cut(strings.TrimPrefix(trimmed, "%%"), "\n")
	word, _, _ = strings.Cut(word, " ")
	if slices.Contains(words("time timeit capture prun python python3 pypy"), word) {
		return src // the line itself is read as a line magic
	}
	return ""
}

func (r *pyReader) text(t pyToken) string { return r.src[t.start:t.end] }

// statements groups the tokens.
func (r *pyReader) statements(tokens []pyToken) []pyStatement {
	var all []pyStatement
	var now pyStatement
	joined := false
	for _, t := range tokens {
		switch {
		case t.kind == pyComment:
			now.comment = r.text(t)
		case t.kind != pyNewline:
			if len(now.tokens) == 0 {
				now.indent, now.joined = r.indentAt(t.start), joined
			}
			now.comment = ""
			now.tokens = append(now.tokens, t)
		case len(now.tokens) > 0:
			all = append(all, now)
			now, joined = pyStatement{}, t.semicolon
		default:
			// "a = 1;  # help" has its comment behind an empty statement.
			if joined && now.comment != "" && len(all) > 0 {
				all[len(all)-1].comment = now.comment
			}
			now, joined = pyStatement{}, t.semicolon
		}
	}
	return all
}

func (r *pyReader) indentAt(pos int) string {
	start := strings.LastIndexByte(r.src[:pos], '\n') + 1
	line := r.src[start:pos]
	return line[:len(line)-len(strings.TrimLeft(line, " \t\f"))]
}

// notPython reports whether a statement cannot be Python: an operator at its
// beginning, or something that is no token.
func (r *pyReader) notPython(s pyStatement) bool {
	for _, t := range s.tokens {
		if t.kind == pyBad {
			return true
		}
	}
	first := s.tokens[0]
	return first.kind == pyOp && !slices.Contains(words("( [ { - + ~ * @ ..."), r.text(first))
}

// read takes one statement: a = v, a = b = v, a: T = v, a: T, a, b = v, w.
func (r *pyReader) read(s pyStatement) {
	if r.notPython(s) {
		r.warn(s)
		return
	}
	colon, equals := r.splits(s.tokens)
	if len(equals) == 0 && colon < 0 {
		return
	}
	if r.broken && r.severalEquals(s) {
		r.warn(s) // as Papermill does; in a cell that is Python they are read
		return
	}
	if colon > 0 && (len(equals) == 0 || colon < equals[0]) {
		r.annotated(s, colon, equals)
		return
	}
	if len(equals) == 0 || equals[len(equals)-1] == len(s.tokens)-1 {
		return
	}
	value := s.tokens[equals[len(equals)-1]+1:]
	from := 0
	for _, e := range equals {
		r.targets(s, s.tokens[from:e], value)
		from = e + 1
	}
}

// splits returns the place of the first ':' and of every '=' outside brackets;
// a lambda's colon does not count, and behind it nothing assigns.
func (r *pyReader) splits(tokens []pyToken) (colon int, equals []int) {
	colon = -1
	depth := 0
	for i, t := range tokens {
		switch text := r.text(t); {
		case t.kind == pyName && text == "lambda" && depth == 0:
			return colon, equals
		case t.kind != pyOp:
		case text == "(" || text == "[" || text == "{":
			depth++
		case text == ")" || text == "]" || text == "}":
			depth--
		case depth > 0:
		case text == "=":
			equals = append(equals, i)
		case text == ":" && colon < 0 && len(equals) == 0:
			colon = i
		}
	}
	return colon, equals
}

// severalEquals reports whether a line of the statement has more than one '=',
// which Papermill's reader gives up on.
func (r *pyReader) severalEquals(s pyStatement) bool {
	n := 0
	for _, t := range s.tokens {
		if t.kind == pyOp {
			n += strings.Count(r.text(t), "=")
		}
	}
	return n > 1
}

func (r *pyReader) warn(s pyStatement) {
	line := s.tokens[0].line
	start := strings.LastIndexByte(r.src[:s.tokens[0].start], '\n') + 1
	text, _, _ := strings.Cut(r.src[start:], "\n")
	r.warnings = append(r.warnings, Warning{line, fmt.Sprintf("Unable to parse line %d '%s'.", line, shorten(text))})
}

// annotated takes a: T and a: T = v.
func (r *pyReader) annotated(s pyStatement, colon int, equals []int) {
	if colon != 1 || !r.isTarget(s.tokens[0]) {
		return
	}
	end := len(s.tokens)
	var value []pyToken
	if len(equals) > 0 {
		end, value = equals[0], s.tokens[equals[0]+1:]
	}
	if end == colon+1 || len(equals) > 0 && len(value) == 0 || len(equals) > 1 {
		r.warn(s)
		return
	}
	r.define(s, s.tokens[0], r.annotation(s.tokens[colon+1:end]), value)
}

// annotation returns the text of an annotation; one that is a string is what
// the string says.
func (r *pyReader) annotation(tokens []pyToken) string {
	if len(tokens) == 1 && tokens[0].kind == pyString {
		if v, ok := pyStringValue(r.text(tokens[0])); ok {
			return strings.TrimSpace(v)
		}
	}
	return r.flatten(tokens)
}

func (r *pyReader) isTarget(t pyToken) bool {
	return t.kind == pyName && !slices.Contains(pythonWords, r.text(t))
}

// targets takes the names of one target list. Several names take a value each
// where the value has as many, else all of it.
func (r *pyReader) targets(s pyStatement, target, value []pyToken) {
	names := r.names(target)
	if len(names) == 1 && !r.has(target, ",", "[") {
		r.define(s, names[0], "", value)
		return
	}
	parts := r.commas(r.unwrap(value))
	each := len(parts) == len(names) && r.has(value, ",") && !r.has(target, "*")
	for i, name := range names {
		if each {
			r.define(s, name, "", parts[i])
			continue
		}
		r.define(s, name, "", value)
		last := &r.defs[len(r.defs)-1]
		last.value, last.literal, last.Inferred = Value{}, false, ""
	}
}

// has reports whether one of the operators is among the tokens.
func (r *pyReader) has(tokens []pyToken, ops ...string) bool {
	return slices.ContainsFunc(tokens, func(t pyToken) bool { return t.kind == pyOp && slices.Contains(ops, r.text(t)) })
}

// names returns the names of a target that is a name or a plain list of names;
// of any other target there are none.
func (r *pyReader) names(target []pyToken) []pyToken {
	if len(target) == 1 && r.isTarget(target[0]) {
		return target
	}
	var names []pyToken
	for _, part := range r.commas(r.unwrap(target)) {
		if len(part) == 2 && r.text(part[0]) == "*" {
			part = part[1:]
		}
		if len(part) == 3 && r.text(part[0]) == "(" {
			part = part[1:2]
		}
		if len(part) != 1 || !r.isTarget(part[0]) {
			return nil
		}
		names = append(names, part[0])
	}
	return names
}

// unwrap takes off one pair of brackets that holds all of the tokens.
func (r *pyReader) unwrap(tokens []pyToken) []pyToken {
	if len(tokens) < 2 || r.text(tokens[0]) != "(" && r.text(tokens[0]) != "[" || tokens[0].kind != pyOp {
		return tokens
	}
	depth := 0
	for i, t := range tokens {
		if t.kind != pyOp {
			continue
		}
		switch r.text(t) {
		case "(", "[", "{":
			depth++
		case ")", "]", "}":
			if depth--; depth == 0 && i < len(tokens)-1 {
				return tokens
			}
		}
	}
	return tokens[1 : len(tokens)-1]
}

// commas cuts tokens at the commas outside brackets; an empty last part is left
// out.
func (r *pyReader) commas(tokens []pyToken) [][]pyToken {
	var parts [][]pyToken
	depth, from := 0, 0
	for i, t := range tokens {
		if t.kind == pyName && r.text(t) == "lambda" && depth == 0 {
			break // its own commas cannot be told apart from ours
		}
		if t.kind != pyOp {
			continue
		}
		switch r.text(t) {
		case "(", "[", "{":
			depth++
		case ")", "]", "}":
			depth--
		case ",":
			if depth == 0 {
				parts, from = append(parts, tokens[from:i]), i+1
			}
		}
	}
	if from < len(tokens) {
		parts = append(parts, tokens[from:])
	}
	return parts
}

// pyComments cuts a trailing comment into the type and the help, as Papermill
// does.
var pyComments = regexp.MustCompile(`^#\s*(?:type:\s*(\S*)\s*)?(.*)$`)

// trailing returns what a comment says of a definition. A type in brackets may
// hold spaces.
func trailing(comment string) (typ, help string) {
	m := pyComments.FindStringSubmatch(comment)
	if m == nil {
		return "", ""
	}
	typ, help = m[1], m[2]
	for missing(typ) && help != "" {
		end := strings.IndexByte(help, ']')
		if end < 0 {
			break
		}
		rest := strings.TrimLeft(help[end+1:], "]")
		typ, help = typ+" "+help[:len(help)-len(rest)], strings.TrimSpace(rest)
	}
	return typ, strings.TrimSpace(help)
}

func missing(typ string) bool { return strings.Count(typ, "[") > strings.Count(typ, "]") }

func (r *pyReader) define(s pyStatement, name pyToken, annotation string, value []pyToken) {
	commentType, help := trailing(s.comment)
	d := Definition{
		Name: r.text(name), Type: NoType, Default: r.flatten(value), Help: help,
		Required: len(value) == 0, Line: s.tokens[0].line,
	}
	switch {
	case annotation != "":
		d.Type = annotation
	case commentType != "":
		d.Type = commentType
	}
	if v, ok := r.literal(value); ok {
		d.value, d.literal = v, true
		if !v.IsNull() {
			d.Inferred = v.kind.String()
		}
	}
	r.defs = append(r.defs, d)
}

func (r *pyReader) literal(tokens []pyToken) (Value, bool) {
	if len(tokens) == 0 {
		return Value{}, false
	}
	e, ok := parseExpr(r.src, tokens)
	if !ok {
		return Value{}, false
	}
	return e.literal()
}

// flatten returns the tokens on one line: what is between two tokens of one
// line stays, what is between two lines goes, but for a space that keeps words
// apart.
func (r *pyReader) flatten(tokens []pyToken) string {
	var b strings.Builder
	for i, t := range tokens {
		if i > 0 {
			between := r.src[tokens[i-1].end:t.start]
			switch {
			case !strings.Contains(between, "\n"):
				b.WriteString(between)
			case strings.Contains(between, "\\\n"):
				b.WriteByte(' ')
			case wordy(r.src[tokens[i-1].end-1]) && wordy(r.src[t.start]):
				b.WriteByte(' ')
			}
		}
		b.WriteString(r.text(t))
	}
	return b.String()
}

// wordy reports whether a byte must not touch another such.
func wordy(c byte) bool {
	return c == '_' || c == '"' || c == '\'' || c >= 0x80 || isDigit(c) || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
}

package parameter

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// pyKind is the kind of a Python token.
type pyKind uint8

const (
	pyName pyKind = iota
	pyNumber
	pyString  // a whole literal with its prefix
	pyOp      // operator or bracket
	pyComment // from # to the line's end
	pyNewline // the end of a logical line, or a ';' at depth zero
	pyBad     // what no Python token begins with, or a string without an end
	pyShell   // the rest of an IPython line: %magic, !command, help?
)

// pyToken is one token: source[start:end].
type pyToken struct {
	kind       pyKind
	start, end int
	line       int  // of start, from 1
	semicolon  bool // pyNewline: a ';'
}

// pyLexer cuts Python source into tokens. It reads the grammar of 3.14, whose
// f-strings may hold quotes, and what IPython adds.
type pyLexer struct {
	src    string
	pos    int
	line   int
	depth  int
	tokens []pyToken
	opened []int // lines of the brackets that are open
}

// lexPython returns the tokens of src, ended by a newline, and the line of the
// innermost bracket that is never closed, or 0.
func lexPython(src string) ([]pyToken, int) {
	l := pyLexer{src: src, line: 1}
	for l.pos < len(l.src) {
		l.next()
	}
	unclosed := 0
	if len(l.opened) > 0 {
		unclosed = l.opened[len(l.opened)-1]
	}
	l.add(pyNewline, l.pos, l.pos)
	return l.tokens, unclosed
}

func (l *pyLexer) add(kind pyKind, start, end int) {
	l.tokens = append(l.tokens, pyToken{kind: kind, start: start, end: end, line: l.line})
	l.pos = end
}

// lineEnd returns the position of the next line end, or of the end of src.
func (l *pyLexer) lineEnd(from int) int {
	if i := strings.IndexByte(l.src[from:], '\n'); i >= 0 {
		return from + i
	}
	return len(l.src)
}

// fresh reports whether a logical line begins here.
func (l *pyLexer) fresh() bool {
	if l.depth > 0 {
		return false
	}
	for i := len(l.tokens) - 1; i >= 0; i-- {
		if l.tokens[i].kind != pyComment {
			return l.tokens[i].kind == pyNewline && !l.tokens[i].semicolon
		}
	}
	return true
}

func (l *pyLexer) next() {
	c := l.src[l.pos]
	switch {
	case c == ' ' || c == '\t' || c == '\f':
		l.pos++
		return
	case c == '\n':
		if l.depth == 0 {
			l.add(pyNewline, l.pos, l.pos+1)
		} else {
			l.pos++
		}
		l.line++
		return
	case c == '\\' && l.pos+1 < len(l.src) && l.src[l.pos+1] == '\n':
		l.pos += 2
		l.line++
		return
	case c == '#':
		l.add(pyComment, l.pos, l.lineEnd(l.pos))
		return
	case strings.IndexByte("%!?", c) >= 0 && (l.fresh() || c != '?' && l.afterAssign()):
		l.shellLine()
		return
	}
	if start, quote, ok := l.stringPrefix(l.pos); ok {
		l.string(start, quote)
		return
	}
	switch r, n := utf8.DecodeRuneInString(l.src[l.pos:]); {
	case c >= '0' && c <= '9' || c == '.' && l.pos+1 < len(l.src) && isDigit(l.src[l.pos+1]):
		l.add(pyNumber, l.pos, l.numberEnd())
	case isNameStart(r):
		end := l.pos + n
		for end < len(l.src) {
			r, n := utf8.DecodeRuneInString(l.src[end:])
			if !isNameStart(r) && !unicode.In(r, unicode.Nd, unicode.Mn, unicode.Mc, unicode.Pc) {
				break
			}
			end += n
		}
		l.add(pyName, l.pos, end)
	case strings.IndexByte("()[]{}", c) >= 0:
		l.bracket(c)
	case c == ';' && l.depth == 0:
		l.add(pyNewline, l.pos, l.pos+1)
		l.tokens[len(l.tokens)-1].semicolon = true
	case c == '?' && l.depth == 0 && strings.TrimRight(l.src[l.pos:l.lineEnd(l.pos)], "? \t") == "":
		l.add(pyShell, l.pos, l.lineEnd(l.pos))
	default:
		l.operator(c, n)
	}
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

func isNameStart(r rune) bool {
	return r == '_' || unicode.IsLetter(r) && r != utf8.RuneError || unicode.Is(unicode.Nl, r)
}

// afterAssign reports whether the tokens end in "=" at depth zero, where
// IPython takes ! and % for its own.
func (l *pyLexer) afterAssign() bool {
	n := len(l.tokens)
	return l.depth == 0 && n > 0 && l.tokens[n-1].kind == pyOp && l.text(l.tokens[n-1]) == "="
}

func (l *pyLexer) text(t pyToken) string { return l.src[t.start:t.end] }

// shellLine takes the rest of the line, and of those it is continued on.
func (l *pyLexer) shellLine() {
	start, lines := l.pos, 0
	end := l.lineEnd(start)
	for end < len(l.src) && l.src[end-1] == '\\' {
		end = l.lineEnd(end + 1)
		lines++
	}
	l.add(pyShell, start, end)
	l.line += lines
}

func (l *pyLexer) bracket(c byte) {
	switch c {
	case '(', '[', '{':
		l.depth++
		l.opened = append(l.opened, l.line)
		l.add(pyOp, l.pos, l.pos+1)
	default:
		if l.depth == 0 {
			l.add(pyBad, l.pos, l.pos+1)
			return
		}
		l.depth--
		l.opened = l.opened[:len(l.opened)-1]
		l.add(pyOp, l.pos, l.pos+1)
	}
}

var pyLongOps = []string{"**=", "//=", ">>=", "<<=", "...", "!=", "==", "<=", ">=", ":=", "->", "+=", "-=", "*=", "/=", "%=", "@=", "&=", "|=", "^=", "**", "//", ">>", "<<"}

func (l *pyLexer) operator(c byte, width int) {
	for _, op := range pyLongOps {
		if strings.HasPrefix(l.src[l.pos:], op) {
			l.add(pyOp, l.pos, l.pos+len(op))
			return
		}
	}
	kind := pyBad
	if strings.IndexByte("+-*/%@&|^~<>=:,.;", c) >= 0 {
		kind = pyOp
	}
	l.add(kind, l.pos, l.pos+width)
}

// numberEnd returns the end of the number at the position, generously: what
// Python refuses (1__0, 0x) is one token too.
func (l *pyLexer) numberEnd() int {
	i := l.pos
	hex := strings.HasPrefix(l.src[i:], "0x") || strings.HasPrefix(l.src[i:], "0X")
	for i < len(l.src) {
		c := l.src[i]
		switch {
		case isDigit(c), c == '_', c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z':
			if rest := l.src[i:]; !hex && i > l.pos && numberStops(rest) {
				return i
			}
		case c == '.' && !hex:
		case (c == '+' || c == '-') && !hex && (l.src[i-1] == 'e' || l.src[i-1] == 'E'):
		default:
			return i
		}
		i++
	}
	return i
}

// numberStops reports whether a keyword begins that Python lets follow a digit
// without a space (1if x else 2).
func numberStops(rest string) bool {
	for _, w := range []string{"and", "else", "for", "if", "in", "is", "not", "or"} {
		if strings.HasPrefix(rest, w) {
			return true
		}
	}
	return false
}

// stringPrefix reports whether a string literal begins at i, and where its
// quote is.
func (l *pyLexer) stringPrefix(i int) (start, quote int, ok bool) {
	for q := i; q < len(l.src) && q < i+3; q++ {
		switch l.src[q] {
		case '"', '\'':
			return i, q, true
		case 'r', 'R', 'b', 'B', 'u', 'U', 'f', 'F', 't', 'T':
		default:
			return 0, 0, false
		}
	}
	return 0, 0, false
}

func (l *pyLexer) string(start, quote int) {
	line := l.line
	end, ok := l.stringEnd(start, quote, 0)
	kind := pyString
	if !ok {
		kind = pyBad
	}
	now := l.line
	l.line = line
	l.add(kind, start, end)
	l.line = now
}

// maxNesting is how deep strings inside f-strings may be nested.
const maxNesting = 50

// stringEnd returns the end of a literal and whether it has one; it counts the
// lines that it passes. Without an end it stops at the line's end, a triple one
// at the end of the source.
func (l *pyLexer) stringEnd(start, quote, nesting int) (int, bool) {
	prefix := strings.ToLower(l.src[start:quote])
	formatted := strings.ContainsAny(prefix, "ft")
	raw := strings.Contains(prefix, "r")
	end := l.src[quote : quote+1]
	if strings.HasPrefix(l.src[quote:], strings.Repeat(end, 3)) {
		end = strings.Repeat(end, 3)
	}
	for i := quote + len(end); i < len(l.src); {
		switch c := l.src[i]; {
		case c == '\\':
			i = l.escaped(i, raw, formatted)
		case strings.HasPrefix(l.src[i:], end):
			return i + len(end), true
		case c == '\n':
			if len(end) == 1 {
				return i, false
			}
			l.line++
			i++
		case c == '{' && formatted:
			if strings.HasPrefix(l.src[i:], "{{") {
				i += 2
				continue
			}
			next, ok := l.field(i+1, end, nesting+1)
			if !ok {
				return next, false
			}
			i = next
		default:
			i++
		}
	}
	return len(l.src), false
}

// escaped returns the position behind a backslash and what it escapes.
func (l *pyLexer) escaped(i int, raw, formatted bool) int {
	if i+1 >= len(l.src) {
		return len(l.src)
	}
	switch c := l.src[i+1]; {
	case c == '\n':
		l.line++
	case c == '{' && formatted:
		return i + 1 // the backslash is itself, the brace opens a field
	case c == 'N' && formatted && !raw && strings.HasPrefix(l.src[i+2:], "{"):
		if j := strings.IndexByte(l.src[i:min(len(l.src), i+200)], '}'); j >= 0 {
			return i + j + 1
		}
	}
	return i + 2
}

// field returns the position behind the '}' that ends a replacement field of an
// f-string whose quote is end.
func (l *pyLexer) field(i int, end string, nesting int) (int, bool) {
	if nesting > maxNesting {
		return l.lineEnd(i), false
	}
	depth := 0
	for i < len(l.src) {
		if start, quote, ok := l.stringPrefix(i); ok && !nameBefore(l.src, i) {
			next, ok := l.stringEnd(start, quote, nesting+1)
			if !ok {
				return next, false
			}
			i = next
			continue
		}
		switch c := l.src[i]; {
		case c == '#' && len(end) == 3:
			i = l.lineEnd(i)
			continue
		case c == '\n':
			l.line++
		case c == '(' || c == '[' || c == '{':
			depth++
		case c == '}' && depth == 0:
			return i + 1, true
		case c == ')' || c == ']' || c == '}':
			depth--
		case c == ':' && depth == 0:
			return l.formatSpec(i+1, end, nesting)
		}
		i++
	}
	return len(l.src), false
}

// nameBefore reports whether a name goes on at i, so that its letters are no
// string prefix.
func nameBefore(s string, i int) bool {
	r, _ := utf8.DecodeLastRuneInString(s[:i])
	return isNameStart(r) || unicode.IsDigit(r)
}

// formatSpec returns the position behind the '}' that ends the format spec of a
// field; quotes in it are plain characters, fields may be nested.
func (l *pyLexer) formatSpec(i int, end string, nesting int) (int, bool) {
	for i < len(l.src) {
		switch c := l.src[i]; {
		case strings.HasPrefix(l.src[i:], end):
			return i, false
		case c == '\n' && len(end) == 1:
			return i, false
		case c == '\n':
			l.line++
		case c == '{':
			next, ok := l.field(i+1, end, nesting+1)
			if !ok {
				return next, false
			}
			i = next
			continue
		case c == '}':
			return i + 1, true
		}
		i++
	}
	return len(l.src), false
}

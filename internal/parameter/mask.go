package parameter

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// masked is a source whose strings and comments are blanked: as long as the
// source, so that places in it are places in the source. What is left in it is
// code: brackets, names, operators.
type masked struct {
	src      string
	code     []byte
	comments []span
}

// span is src[start:end].
type span struct{ start, end int }

// masker blanks strings and comments by the rules of one language. It is for
// languages whose parameters are read from the shape of their statements.
type masker struct {
	masked
	rules *otherRules
	heres []string // the ends of here-documents that begin on the next line
}

// mask reads src once.
func mask(src string, rules *otherRules) masked {
	m := masker{masked: masked{src: src, code: []byte(src)}, rules: rules}
	for i := 0; i < len(src); {
		if end := m.comment(i); end > i {
			m.comments = append(m.comments, span{i, end})
			m.blank(i, end, ' ')
			i = end
			continue
		}
		if end := m.literal(i, 0); end > i {
			m.blank(i, end, '"')
			i = end
			continue
		}
		if n := m.joint(i); n > 0 {
			m.blank(i, i+n, ' ')
			m.code[i+n-1] = ' '
			i += n
			continue
		}
		if src[i] == '\n' && len(m.heres) > 0 {
			i = m.hereDocuments(i + 1)
			continue
		}
		i++
	}
	return m.masked
}

// blank overwrites code with c, but keeps line ends of what is no literal.
func (m *masker) blank(start, end int, c byte) {
	for i := start; i < end; i++ {
		if c != ' ' || m.code[i] != '\n' {
			m.code[i] = c
		}
	}
}

// joint returns the length of what joins this line and the next, or 0.
func (m *masker) joint(i int) int {
	if j := m.rules.joint; j != "" && strings.HasPrefix(m.src[i:], j) {
		end := i + len(j)
		for end < len(m.src) && m.rules.looseJoint && m.src[end] != '\n' {
			end++
		}
		if end < len(m.src) && m.src[end] == '\n' {
			return end + 1 - i
		}
	}
	return 0
}

func (m *masker) lineEnd(i int) int {
	if n := strings.IndexByte(m.src[i:], '\n'); n >= 0 {
		return i + n
	}
	return len(m.src)
}

// comment returns the end of the comment that begins at i, or i.
func (m *masker) comment(i int) int {
	if m.rules.wordComments && i > 0 && strings.IndexByte(" \t\n;&|()", m.src[i-1]) < 0 {
		return i
	}
	if open := m.rules.block[0]; open != "" && strings.HasPrefix(m.src[i:], open) && !strings.HasPrefix(m.src[i:], "(*)") {
		return m.blockEnd(i)
	}
	for _, c := range m.rules.line {
		if strings.HasPrefix(m.src[i:], c) {
			return m.lineEnd(i)
		}
	}
	return i
}

func (m *masker) blockEnd(i int) int {
	open, end := m.rules.block[0], m.rules.block[1]
	depth := 0
	for i < len(m.src) {
		switch {
		case strings.HasPrefix(m.src[i:], open) && (depth == 0 || m.rules.nested):
			depth++
			i += len(open)
		case strings.HasPrefix(m.src[i:], end):
			i += len(end)
			if depth--; depth == 0 {
				return i
			}
		default:
			i++
		}
	}
	return i
}

// before returns the character before i, or 0.
func (m *masker) before(i int) rune {
	if i == 0 {
		return 0
	}
	r, _ := utf8.DecodeLastRuneInString(m.src[:i])
	return r
}

func isWord(r rune) bool {
	return r == '_' || unicode.IsLetter(r) || unicode.IsDigit(r)
}

// literal returns the end of the string that begins at i, or i.
func (m *masker) literal(i, nesting int) int {
	if nesting > maxNesting {
		return i
	}
	for _, s := range m.rules.strings {
		if strings.HasPrefix(m.src[i:], s.open) && (s.when == nil || s.when(m, i)) {
			return m.stringEnd(i+len(s.open), s, nesting)
		}
	}
	if m.rules.special != nil {
		return m.rules.special(m, i)
	}
	return i
}

// stringEnd returns the end of a string whose content begins at i. One that may
// not hold line ends stops at the first.
func (m *masker) stringEnd(i int, s stringRule, nesting int) int {
	for i < len(m.src) {
		rest := m.src[i:]
		switch {
		case s.escape != 0 && rest[0] == s.escape:
			i += min(2, len(rest))
		case s.doubled && strings.HasPrefix(rest, s.end+s.end):
			i += 2 * len(s.end)
		case strings.HasPrefix(rest, s.end):
			return i + len(s.end)
		case rest[0] == '\n' && !s.lines:
			return i
		case s.field != "" && strings.HasPrefix(rest, s.field+s.field):
			i += 2 * len(s.field)
		case s.field != "" && strings.HasPrefix(rest, s.field):
			i = m.fieldEnd(i+len(s.field), s, nesting+1)
		default:
			i++
		}
	}
	return i
}

// fieldEnd returns the place behind the bracket that ends an interpolated
// expression.
func (m *masker) fieldEnd(i int, s stringRule, nesting int) int {
	depth := 1
	for i < len(m.src) {
		if end := m.literal(i, nesting); end > i {
			i = end
			continue
		}
		switch c := m.src[i]; {
		case c == '\n' && !s.lines && nesting > 1:
			return i
		case c == '(' || c == '{' || c == '[':
			depth++
		case c == ')' || c == '}' || c == ']':
			if depth--; depth == 0 {
				return i + 1
			}
		}
		i++
	}
	return i
}

// hereDocuments blanks the here-documents that begin at i and returns their end.
func (m *masker) hereDocuments(i int) int {
	for _, word := range m.heres {
		for i < len(m.src) {
			end := m.lineEnd(i)
			last := strings.TrimLeft(m.src[i:end], "\t") == word
			for j := i; j < end; j++ {
				m.code[j] = ' '
			}
			i = min(end+1, len(m.src))
			if last {
				break
			}
		}
	}
	m.heres = nil
	return i
}

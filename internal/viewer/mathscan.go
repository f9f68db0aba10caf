package viewer

import (
	"strconv"
	"strings"
)

// A shelf keeps what must not pass through markdown and the sanitizer: the
// formulas of the author and the HTML that we made ourselves. In the text
// stands a mark that nobody who wrote the text could have known.
type shelf struct {
	nonce string
	items []shelved
}

// A shelved item is trusted HTML, and the text that it was made from.
type shelved struct {
	html string
	text string
}

// put shelves an item and returns its mark, which is made of letters and
// digits only.
func (s *shelf) put(trusted, text string) string {
	s.items = append(s.items, shelved{html: trusted, text: text})
	return s.nonce + strconv.Itoa(len(s.items)-1) + "z"
}

// fill puts back the HTML for every mark in sanitized HTML. There are none in
// attributes by then: sanitize restored their text.
func (s *shelf) fill(html string) string {
	return s.replace(html, func(i shelved) string { return i.html })
}

// plain puts back the text for every mark.
func (s *shelf) plain(text string) string {
	return s.replace(text, func(i shelved) string { return i.text })
}

func (s *shelf) replace(text string, with func(shelved) string) string {
	if s == nil || len(s.items) == 0 || !strings.Contains(text, s.nonce) {
		return text
	}
	var out strings.Builder
	for {
		i := strings.Index(text, s.nonce)
		if i < 0 {
			out.WriteString(text)
			return out.String()
		}
		out.WriteString(text[:i])
		text = text[i+len(s.nonce):]
		number, rest, ok := strings.Cut(text, "z")
		n, err := strconv.Atoi(number)
		if !ok || err != nil || n < 0 || n >= len(s.items) {
			continue
		}
		out.WriteString(with(s.items[n]))
		text = rest
	}
}

// shelveMath replaces the formulas of markdown by marks, outside of code:
// $…$, $$…$$, \( … \), \[ … \] and \begin{…} … \end{…}, as Jupyter reads them,
// except that a dollar before a space or a digit after the closing one is money.
func (s *shelf) shelveMath(src string) string {
	if !strings.ContainsAny(src, `$\`) {
		return src
	}
	var out strings.Builder
	out.Grow(len(src))
	last := 0
	for i := 0; i < len(src); {
		switch src[i] {
		case '`', '~':
			i = skipCode(src, i)
		case '$', '\\':
			end, tex, display := formulaAt(src, i)
			if end == 0 {
				i++
				if src[i-1] == '\\' && i < len(src) && (src[i] == '$' || src[i] == '\\' || src[i] == '`') {
					i++
				}
				continue
			}
			out.WriteString(src[last:i])
			out.WriteString(s.put(formulaHTML(tex, display), src[i:end]))
			i, last = end, end
		default:
			i++
		}
	}
	out.WriteString(src[last:])
	return out.String()
}

func formulaHTML(tex string, display bool) string {
	if ml, ok := mathML(tex, display); ok {
		return ml
	}
	return `<code class="q-tex">` + esc(strings.TrimSpace(tex)) + `</code>`
}

// skipCode returns the end of the code span or fenced block at i.
func skipCode(src string, i int) int {
	c := src[i]
	n := 1
	for i+n < len(src) && src[i+n] == c {
		n++
	}
	fence := n >= 3 && strings.TrimLeft(src[lineStart(src, i):i], " >-*+0123456789.") == ""
	if c == '~' && !fence {
		return i + n
	}
	if !fence {
		run := src[i : i+n]
		for j := i + n; j < len(src); {
			k := strings.Index(src[j:], run)
			if k < 0 {
				break
			}
			end := j + k + n
			for end < len(src) && src[end] == c {
				end++
			}
			if end-(j+k) == n {
				return end
			}
			j = end
		}
		return i + n
	}
	for j := i + n; ; {
		next := strings.IndexByte(src[j:], '\n')
		if next < 0 {
			return len(src)
		}
		j += next + 1
		line := src[j:]
		if end := strings.IndexByte(line, '\n'); end >= 0 {
			line = line[:end]
		}
		end := j + len(line)
		line = strings.Trim(line, " >\t\r")
		if len(line) >= n && strings.Trim(line, string(c)) == "" {
			return end
		}
	}
}

func lineStart(src string, i int) int { return strings.LastIndexByte(src[:i], '\n') + 1 }

// formulaAt returns the end of the formula that starts at i and its TeX; end 0
// when there is none.
func formulaAt(src string, i int) (end int, tex string, display bool) {
	rest := src[i:]
	bounded := rest[:min(len(rest), maxFormulaBytes)]
	pair := func(open, shut string, display bool) (int, string, bool) {
		k := strings.Index(bounded[len(open):], shut)
		if k <= 0 {
			return 0, "", false
		}
		body := bounded[len(open) : len(open)+k]
		if strings.TrimSpace(body) == "" || !display && blankLine(body) {
			return 0, "", false
		}
		return i + len(open) + k + len(shut), body, display
	}
	switch {
	case strings.HasPrefix(rest, "$$"):
		return pair("$$", "$$", true)
	case strings.HasPrefix(rest, `\\[`):
		return pair(`\\[`, `\\]`, true)
	case strings.HasPrefix(rest, `\\(`):
		return pair(`\\(`, `\\)`, false)
	case strings.HasPrefix(rest, `\[`):
		return pair(`\[`, `\]`, true)
	case strings.HasPrefix(rest, `\(`):
		return pair(`\(`, `\)`, false)
	case strings.HasPrefix(rest, `\begin{`):
		name, _, ok := strings.Cut(bounded[len(`\begin{`):], "}")
		if _, known := texEnvironments[strings.TrimSuffix(name, "*")]; !ok || !known {
			return 0, "", false
		}
		shut := `\end{` + name + `}`
		k := strings.Index(bounded, shut)
		if k < 0 {
			return 0, "", false
		}
		return i + k + len(shut), bounded[:k+len(shut)], true
	case rest[0] == '$':
		return dollarFormula(bounded, i)
	}
	return 0, "", false
}

func dollarFormula(s string, at int) (end int, tex string, display bool) {
	if len(s) < 3 || isSpace(s[1]) {
		return 0, "", false
	}
	for j := 1; j < len(s); j++ {
		switch s[j] {
		case '\\':
			if end := wordsEnd(s, j); end > 0 {
				j = end // dollars in there are its own
			} else {
				j++
			}
		case '\n':
			if blankLine(s[:min(j+2, len(s))]) {
				return 0, "", false
			}
		case '$':
			digit := j+1 < len(s) && s[j+1] >= '0' && s[j+1] <= '9'
			if isSpace(s[j-1]) || digit {
				return 0, "", false
			}
			return at + j + 1, s[1:j], false
		}
	}
	return 0, "", false
}

// wordsEnd returns where the braces of \ce or \text at i close, 0 when it is
// neither.
func wordsEnd(s string, i int) int {
	for _, name := range []string{`\ce{`, `\text{`} {
		if strings.HasPrefix(s[i:], name) {
			text, next, ok := balanced(s, i+len(name)-1, '{', '}')
			if ok && !strings.Contains(text, "\n\n") {
				return next - 1
			}
		}
	}
	return 0
}

func isSpace(c byte) bool { return c == ' ' || c == '\n' || c == '\t' || c == '\r' }

func blankLine(s string) bool {
	return strings.Contains(strings.ReplaceAll(s, "\r", ""), "\n\n")
}

package viewer

import (
	"html"
	"strings"
	"unicode/utf8"
)

// pythonWords gives the class of Python's words: keywords, operators in words,
// constants, imports, and the builtins that a reader looks for.
var pythonWords = func() map[string]string {
	m := map[string]string{}
	for class, list := range map[string]string{
		"k":  "as assert async await break class continue def del elif else except finally for global if lambda nonlocal pass raise return try while with yield match case",
		"ow": "and in is not or",
		"kc": "True False None",
		"kn": "import from",
		"bp": "self cls",
		"nb": "abs all any bin bool bytearray bytes callable chr classmethod compile complex dict dir divmod enumerate eval exec filter float format frozenset getattr globals hasattr hash help hex id input int isinstance issubclass iter len list locals map max memoryview min next object oct open ord pow print property range repr reversed round set setattr slice sorted staticmethod str sum super tuple type vars zip display get_ipython",
		"ne": "ArithmeticError AssertionError AttributeError BaseException Exception FileNotFoundError ImportError IndexError IOError KeyError KeyboardInterrupt MemoryError NameError NotImplementedError OSError RuntimeError StopIteration SyntaxError SystemExit TimeoutError TypeError UnicodeError ValueError ZeroDivisionError",
	} {
		for _, w := range strings.Fields(list) {
			m[w] = class
		}
	}
	return m
}()

// A pyScanner colours Python, as IPython reads it, in one pass.
type pyScanner struct {
	src   string
	pos   int
	plain int // where the text without a colour begins that is not written yet
	out   strings.Builder
	// after is the keyword just before a name: "def" and "class" name what follows.
	after string
	// lineStart is true while only spaces were seen on the line.
	lineStart bool
}

func highlightPython(code string) string {
	s := pyScanner{src: code, lineStart: true}
	s.out.Grow(len(code) * 4)
	for s.pos < len(s.src) {
		s.step()
	}
	s.writePlain()
	return s.out.String()
}

func (s *pyScanner) emit(end int, class string) {
	if class == "" {
		s.pos = end
		return
	}
	s.writePlain()
	s.out.WriteString(`<span class="`)
	s.out.WriteString(class)
	s.out.WriteString(`">`)
	s.out.WriteString(html.EscapeString(s.src[s.pos:end]))
	s.out.WriteString(`</span>`)
	s.pos, s.plain = end, end
}

// writePlain writes what came since the last span.
func (s *pyScanner) writePlain() {
	s.out.WriteString(html.EscapeString(s.src[s.plain:s.pos]))
	s.plain = s.pos
}

func (s *pyScanner) step() {
	c := s.src[s.pos]
	switch {
	case c == '\n':
		s.emit(s.pos+1, "")
		s.lineStart = true
		return
	case isSpace(c):
		end := s.pos + 1
		for end < len(s.src) && isSpace(s.src[end]) && s.src[end] != '\n' {
			end++
		}
		s.emit(end, "")
		return
	case c == '#':
		s.emit(s.lineEnd(), "c1")
		return
	case s.lineStart && (c == '%' || c == '!' || c == '?'):
		s.emit(s.lineEnd(), "nd")
		return
	}
	start := s.lineStart
	s.lineStart = false
	switch {
	case start && c == '@':
		end := s.pos + 1
		for end < len(s.src) && (isWordByte(s.src[end]) || s.src[end] == '.') {
			end++
		}
		s.emit(end, "nd")
	case c >= '0' && c <= '9' || c == '.' && s.pos+1 < len(s.src) && s.src[s.pos+1] >= '0' && s.src[s.pos+1] <= '9':
		s.number()
	case c == '"' || c == '\'':
		s.emit(stringEnd(s.src, s.pos), "s")
	case isWordByte(c):
		s.word()
	case strings.IndexByte("+-*/%=<>&|^~@!", c) >= 0:
		end := s.pos + 1
		for end < len(s.src) && strings.IndexByte("+-*/%=<>&|^~@!", s.src[end]) >= 0 {
			end++
		}
		s.emit(end, "o")
	default:
		_, n := utf8.DecodeRuneInString(s.src[s.pos:])
		s.emit(s.pos+n, "")
	}
}

func (s *pyScanner) lineEnd() int {
	if i := strings.IndexByte(s.src[s.pos:], '\n'); i >= 0 {
		return s.pos + i
	}
	return len(s.src)
}

func isWordByte(c byte) bool {
	return isLetter(c) || c >= '0' && c <= '9' || c == '_' || c >= 0x80
}

func (s *pyScanner) number() {
	end := s.pos
	for end < len(s.src) {
		c := s.src[end]
		if isWordByte(c) && c < 0x80 || c == '.' || (c == '+' || c == '-') && (s.src[end-1] == 'e' || s.src[end-1] == 'E') && !strings.HasPrefix(s.src[s.pos:], "0x") {
			end++
			continue
		}
		break
	}
	s.emit(max(end, s.pos+1), "m")
}

func (s *pyScanner) word() {
	end := s.pos
	for end < len(s.src) && isWordByte(s.src[end]) {
		end++
	}
	word := s.src[s.pos:end]
	if len(word) <= 2 && end < len(s.src) && (s.src[end] == '"' || s.src[end] == '\'') && strings.Trim(strings.ToLower(word), "rbuft") == "" {
		s.emit(stringEnd(s.src, end), "s")
		return
	}
	class := pythonWords[word]
	attribute := s.pos > 0 && s.src[s.pos-1] == '.'
	switch {
	case attribute:
		class = ""
	case (class == "k") && (word == "match" || word == "case") && !s.softKeyword(end):
		class = ""
	case class == "" && s.after == "def":
		class = "nf"
	case class == "" && s.after == "class":
		class = "nc"
	}
	s.after = ""
	if word == "def" || word == "class" {
		s.after = word
	}
	s.emit(end, class)
}

// softKeyword reports whether the word that ends at end begins a statement of
// its own: it is first on its line, and a colon ends the line.
func (s *pyScanner) softKeyword(end int) bool {
	line := s.src[lineStart(s.src, s.pos):s.pos]
	rest := s.src[end:]
	if i := strings.IndexByte(rest, '\n'); i >= 0 {
		rest = rest[:i]
	}
	return strings.TrimSpace(line) == "" && strings.HasPrefix(rest, " ") && strings.HasSuffix(strings.TrimSpace(rest), ":")
}

// stringEnd returns the end of the string literal whose quote is at i. A
// backslash keeps a quote from ending a raw string too.
func stringEnd(src string, i int) int {
	q := src[i]
	if strings.HasPrefix(src[i:], strings.Repeat(string(q), 3)) {
		for j := i + 3; j < len(src); j++ {
			if src[j] == '\\' {
				j++
			} else if src[j] == q && strings.HasPrefix(src[j:], strings.Repeat(string(q), 3)) {
				return j + 3
			}
		}
		return len(src)
	}
	for j := i + 1; j < len(src); j++ {
		switch src[j] {
		case '\\':
			j++
		case '\n':
			return j
		case q:
			return j + 1
		}
	}
	return len(src)
}

package viewer

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// Bounds of one \ce: its bytes, and how deep its groups and the words over its
// arrows stand in one another.
const (
	maxChemBytes = 1 << 10
	maxChemDepth = 4
)

// chemistry is \ce of mhchem as notebooks have it: formulas with their numbers,
// charges, isotopes, oxidation states, bonds and states, amounts, addition
// compounds, and arrows with words over and under them. What is beyond that
// makes it fail.
func (p *texParser) chemistry() string {
	src := p.raw()
	if p.failed || len(src) > maxChemBytes {
		return p.fail()
	}
	tex, ok := chemTeX(src, 0)
	if !ok {
		return p.fail()
	}
	return "<mrow>" + p.sub(tex) + "</mrow>"
}

// chemArrows are the arrows, longer signs first.
var chemArrows = []struct{ sign, command string }{
	{"<=>>", "xequilibriumright"},
	{"<<=>", "xequilibriumleft"},
	{"<-->", "xleftrightarrows"},
	{"<=>", "xequilibrium"},
	{"<->", "xleftrightarrow"},
	{"->", "xrightarrow"},
	{"<-", "xleftarrow"},
	{"→", "xrightarrow"},
	{"⇌", "xequilibrium"},
}

// chemBonds are what \bond takes.
var chemBonds = map[string]string{
	"-": `\text{−}`, "1": `\text{−}`, "=": `\text{=}`, "2": `\text{=}`, "#": `\text{≡}`, "3": `\text{≡}`,
	"~": `\text{∼}`, "~-": `\text{≃}`, "~=": `\text{≅}`, "~--": `\text{≅}`, "-~-": `\text{≅}`,
	"...": `{\cdots}`, "....": `{\cdots}`, "->": `{\rightarrow}`, "<-": `{\leftarrow}`,
}

// A chemParser turns \ce into TeX. Every step of it moves i on.
type chemParser struct {
	src   string
	i     int
	depth int
	out   strings.Builder
	start bool // a word begins: a number here is an amount, a sign an operator
	bound bool // something stands before that a number or a charge belongs to
	open  bool // a script without anything before it: the next one stands with it
}

func chemTeX(src string, depth int) (string, bool) {
	if depth > maxChemDepth {
		return "", false
	}
	c := &chemParser{src: src, depth: depth, start: true}
	for c.i < len(c.src) {
		if !c.step() {
			return "", false
		}
	}
	return c.out.String(), true
}

// put writes TeX for the next n bytes.
func (c *chemParser) put(n int, tex string, bound bool) bool {
	c.out.WriteString(tex)
	c.i += n
	c.start, c.bound, c.open = false, bound, false
	return true
}

// operator writes a sign after which a new word begins.
func (c *chemParser) operator(n int, tex string) bool {
	c.put(n, " "+tex+" ", false)
	c.start = true
	return true
}

func (c *chemParser) rest() string { return c.src[c.i:] }

// alone reports whether the byte at i is a word of its own.
func (c *chemParser) alone() bool {
	return c.start && (c.i+1 == len(c.src) || c.src[c.i+1] == ' ')
}

func (c *chemParser) step() bool {
	for _, arrow := range chemArrows {
		if strings.HasPrefix(c.rest(), arrow.sign) {
			return c.arrow(arrow.sign, arrow.command)
		}
	}
	switch b := c.src[c.i]; {
	case b == ' ' || b == '\n' || b == '\t':
		if c.bound {
			c.out.WriteString(`\,`)
		}
		c.i++
		c.start, c.bound, c.open = true, false, false
		return true
	case isLetter(b):
		return c.letters()
	case b >= '0' && b <= '9':
		return c.number()
	case b == '^' && c.alone():
		return c.put(1, `\text{↑}`, true)
	case b == '^' || b == '_':
		return c.script(b)
	case b == '+' || b == '-':
		return c.sign(b)
	case b == '=' && c.start:
		return c.operator(1, "=")
	case b == '=':
		return c.put(1, `\text{=}`, false)
	case b == '#':
		return c.put(1, `\text{≡}`, false)
	case b == '.' || b == '*':
		return c.operator(1, `{\cdot}`)
	case strings.HasPrefix(c.rest(), "·"):
		return c.operator(len("·"), `{\cdot}`)
	case b == '(':
		return c.bracket()
	case b == '[':
		return c.put(1, "[", false)
	case b == ')' || b == ']':
		return c.put(1, string(b), true)
	case strings.HasPrefix(c.rest(), "||"):
		return c.operator(2, `\parallel`)
	case b == '|':
		return c.operator(1, `\mid`)
	case strings.IndexByte(",;:/!'", b) >= 0:
		return c.put(1, string(b), false)
	case b == '{':
		return c.group()
	case b == '$':
		return c.formula()
	case b == '\\':
		return c.command()
	case b >= utf8.RuneSelf:
		r, n := utf8.DecodeRuneInString(c.rest())
		return (unicode.IsLetter(r) || r == '°') && c.put(n, string(r), true)
	}
	return false
}

// letters writes a run of them: elements upright, an amount as "n" slanted.
func (c *chemParser) letters() bool {
	end := c.i
	for end < len(c.src) && isLetter(c.src[end]) {
		end++
	}
	word := c.src[c.i:end]
	next := byte(' ')
	if end < len(c.src) {
		next = c.src[end]
	}
	switch lower := word[0] >= 'a'; {
	case word == "v" && c.alone():
		return c.put(1, `\text{↓}`, true)
	case c.start && len(word) == 1 && lower && next == ' ' && end < len(c.src):
		return c.put(1, word, true)
	case c.start && lower && (len(word) > 1 && word[1] < 'a' && strings.IndexByte("kmnxyz", word[0]) >= 0 || len(word) == 1 && next == '('):
		return c.put(1, word[:1]+`\,`, false)
	}
	return c.put(len(word), `\mathrm{`+word+`}`, true)
}

// number writes how many of what follows there are, or of what stands before.
func (c *chemParser) number() bool {
	end := digits(c.src, c.i)
	if c.bound {
		return c.put(end-c.i, "_{"+c.src[c.i:end]+"}", true)
	}
	for end+1 < len(c.src) && (c.src[end] == '.' || c.src[end] == ',') && c.src[end+1] >= '0' && c.src[end+1] <= '9' {
		end = digits(c.src, end+1)
	}
	text := c.src[c.i:end]
	if end+1 < len(c.src) && c.src[end] == '/' && c.src[end+1] >= '0' && c.src[end+1] <= '9' {
		from := end + 1
		end = digits(c.src, from)
		text = `\tfrac{` + text + "}{" + c.src[from:end] + "}"
	}
	return c.put(end-c.i, text+`\,`, false)
}

// script writes what is raised or lowered. One without anything before it, as
// of an isotope, belongs to what follows.
func (c *chemParser) script(kind byte) bool {
	end, text := c.i+1, ""
	switch {
	case end < len(c.src) && c.src[end] == '{':
		inner, next, ok := balanced(c.src, end, '{', '}')
		if !ok {
			return false
		}
		text, end = inner, next
	case end < len(c.src) && c.src[end] == '$':
		n := strings.IndexByte(c.src[end+1:], '$')
		if n < 0 {
			return false
		}
		text, end = c.src[end:end+n+2], end+n+2
	default:
		from := end
		if end < len(c.src) && (c.src[end] == '-' || c.src[end] == '+') && end+1 < len(c.src) && c.src[end+1] >= '0' && c.src[end+1] <= '9' {
			end++ // ^-1
		}
		end = digits(c.src, end)
		if end == from && end < len(c.src) && (isLetter(c.src[end]) || strings.IndexByte(".*'", c.src[end]) >= 0) {
			end++
		}
		for kind == '^' && end < len(c.src) && strings.IndexByte("+-.", c.src[end]) >= 0 && (end == from || !c.bondAt(end)) {
			end++
		}
		text = c.src[from:end]
	}
	tex, ok := chemScript(text)
	if !ok {
		return false
	}
	if !c.bound && !c.open {
		c.out.WriteString("{}")
	}
	bound := c.bound
	c.put(end-c.i, string(kind)+"{"+tex+"}", bound)
	c.open = !bound
	return true
}

// bondAt reports whether the sign at i leads to what follows, as in \eta^2-C2H4.
func (c *chemParser) bondAt(i int) bool {
	return c.src[i] == '-' && i+1 < len(c.src) && (isLetter(c.src[i+1]) || c.src[i+1] == '>')
}

// chemScript is what stands raised or lowered: numbers, charges, a radical's
// dot, oxidation states upright, a variable slanted, and math between dollars.
func chemScript(text string) (string, bool) {
	var out strings.Builder
	for i := 0; i < len(text); {
		switch b := text[i]; {
		case isLetter(b):
			end := i
			for end < len(text) && isLetter(text[end]) {
				end++
			}
			if word := text[i:end]; len(word) > 1 || word[0] < 'a' {
				out.WriteString(`\mathrm{` + word + "}")
			} else {
				out.WriteString(word)
			}
			i = end
		case b == '.' && i > 0 && i+1 < len(text) && text[i-1] >= '0' && text[i-1] <= '9' && text[i+1] >= '0' && text[i+1] <= '9':
			out.WriteByte('.')
			i++
		case b == '.' || b == '*':
			out.WriteString(`\bullet `)
			i++
		case b == '$':
			n := strings.IndexByte(text[i+1:], '$')
			if n < 0 {
				return "", false
			}
			out.WriteString("{" + text[i+1:i+1+n] + "}")
			i += n + 2
		case b == '\\':
			end := i + 1
			for end < len(text) && isLetter(text[end]) {
				end++
			}
			if !chemSign(text[i+1 : end]) {
				return "", false
			}
			out.WriteString(text[i:end] + " ")
			i = end
		case strings.IndexByte("0123456789+-/,() '", b) >= 0:
			out.WriteByte(b)
			i++
		default:
			return "", false
		}
	}
	return out.String(), out.Len() > 0
}

// sign writes a plus or minus: between words, as a charge, or as a bond.
func (c *chemParser) sign(b byte) bool {
	next := byte(' ')
	if c.i+1 < len(c.src) {
		next = c.src[c.i+1]
	}
	_, state := chemState(c.src[c.i+1:])
	ends := next == ' ' || next == '+' || next == ']' || next == ',' || next == '|' || next == '$' || next == '\n' || state || strings.HasPrefix(c.src[c.i+1:], "->") || next == '<'
	switch {
	case c.start && next == ' ':
		return c.operator(1, string(b))
	case c.bound && (ends || b == '+' && next == ')'):
		end := c.i + 1
		for end < len(c.src) && c.src[end] == b {
			end++
		}
		return c.put(end-c.i, "^{"+c.src[c.i:end]+"}", true)
	case b == '-':
		return c.put(1, `\text{−}`, false)
	}
	return c.operator(1, "+")
}

// chemState reads a state of matter in parentheses, as (aq).
func chemState(s string) (text string, ok bool) {
	end := strings.IndexByte(s, ')')
	if end < 2 || s[0] != '(' {
		return "", false
	}
	switch text = s[1:end]; text {
	case "aq", "s", "l", "g", "c", "cr", "lc", "am", "vit", "mon", "n", "sln", "ads", "aq,sat":
		return text, true
	}
	return "", false
}

func (c *chemParser) bracket() bool {
	if text, ok := chemState(c.rest()); ok && (c.bound || c.start) {
		return c.put(len(text)+2, `\,\mathrm{(`+text+`)}`, true)
	}
	switch rest := c.rest(); {
	case strings.HasPrefix(rest, "(v)"):
		return c.put(3, `\text{↓}`, true)
	case strings.HasPrefix(rest, "(^)"):
		return c.put(3, `\text{↑}`, true)
	}
	return c.put(1, "(", false)
}

// group writes what braces hold: words as they are, else chemistry.
func (c *chemParser) group() bool {
	text, end, ok := balanced(c.src, c.i, '{', '}')
	if !ok {
		return false
	}
	tex := ""
	if text != "" {
		if tex, ok = c.inner(text); !ok {
			return false
		}
	}
	return c.put(end-c.i, "{"+tex+"}", true)
}

// inner is text over an arrow or in braces.
func (c *chemParser) inner(text string) (string, bool) {
	if strings.Contains(strings.TrimSpace(text), " ") && strings.IndexFunc(text, notWord) < 0 {
		return `\text{` + text + "}", true
	}
	return chemTeX(text, c.depth+1)
}

// notWord reports whether a character is none of a few words of prose.
func notWord(r rune) bool {
	return r < 0x80 && !isLetter(byte(r)) && !strings.ContainsRune(" ,.-", r)
}

// formula writes math between dollars as it is.
func (c *chemParser) formula() bool {
	n := strings.IndexByte(c.src[c.i+1:], '$')
	if n < 0 {
		return false
	}
	return c.put(n+2, "{"+c.src[c.i+1:c.i+1+n]+"}", true)
}

// chemSign reports whether a command is one sign of mathematics.
func chemSign(name string) bool {
	return texLetters[name] != "" || texOperators[name] != "" && isLetter(name[0])
}

// command writes a Greek letter, a sign, a bond or words.
func (c *chemParser) command() bool {
	end := c.i + 1
	for end < len(c.src) && isLetter(c.src[end]) {
		end++
	}
	name := c.src[c.i+1 : end]
	switch {
	case name == "" && end < len(c.src) && strings.IndexByte(",;:! ", c.src[end]) >= 0:
		return c.put(2, `\,`, false)
	case name == "" && end < len(c.src) && (c.src[end] == '{' || c.src[end] == '}'):
		return c.put(2, c.src[c.i:end+1], c.src[end] == '}')
	case name == "bond" || name == "text" || name == "mathrm":
		text, next, ok := balanced(c.src, end, '{', '}')
		switch {
		case !ok:
			return false
		case name == "bond":
			bond, known := chemBonds[text]
			return known && c.put(next-c.i, bond, false)
		}
		return strings.IndexFunc(text, notWord) < 0 && c.put(next-c.i, `\text{`+text+"}", true)
	case name == "ce":
		return false
	}
	return chemSign(name) && c.put(end-c.i, `\`+name+" ", true)
}

// arrow writes an arrow, with what its brackets hold over and under it.
func (c *chemParser) arrow(sign, command string) bool {
	i, parts := c.i+len(sign), [2]string{}
	for n := range parts {
		if i >= len(c.src) || c.src[i] != '[' {
			break
		}
		text, next, ok := balanced(c.src, i, '[', ']')
		if !ok {
			return false
		}
		if parts[n], ok = c.inner(text); !ok {
			return false
		}
		i = next
	}
	return c.operator(i-c.i, `\`+command+"[{"+parts[1]+"}]{"+parts[0]+"}")
}

// balanced returns what stands between the bracket at i and the one that closes
// it, and where it goes on.
func balanced(s string, i int, opening, closing byte) (text string, next int, ok bool) {
	if i >= len(s) || s[i] != opening {
		return "", 0, false
	}
	depth := 0
	for j := i; j < len(s); j++ {
		switch s[j] {
		case '\\':
			j++
		case opening:
			depth++
		case closing:
			if depth--; depth == 0 {
				return s[i+1 : j], j + 1, true
			}
		}
	}
	return "", 0, false
}

func digits(s string, i int) int {
	for i < len(s) && s[i] >= '0' && s[i] <= '9' {
		i++
	}
	return i
}

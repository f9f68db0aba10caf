package viewer

import (
	"strings"
	"unicode/utf8"
)

// Bounds of one formula. One that is over them, or that uses a command that is
// not known here, is shown as its TeX text.
const (
	maxFormulaBytes = 8 << 10
	maxFormulaDepth = 40
	maxFormulaNodes = 4000
)

// mathML returns a TeX formula as MathML, without attributes of the author's
// choice: no links, no classes, no styles. It reports false when
// the formula is not one that it knows.
func mathML(tex string, display bool) (string, bool) {
	if len(tex) > maxFormulaBytes || !utf8.ValidString(tex) {
		return "", false
	}
	tex, ok := expandMacros(tex)
	if !ok {
		return "", false
	}
	p := &texParser{src: tex}
	body := p.row(func() bool { return p.pos >= len(p.src) })
	p.space()
	if p.failed || p.pos < len(p.src) {
		return "", false
	}
	body = p.divided(body)
	if p.failed {
		return "", false
	}
	if rows := p.lines(body); rows != "" {
		body = rows
	}
	open := "<math>"
	if display {
		open = `<math display="block">`
	}
	return open + "<mrow>" + body + "</mrow></math>", true
}

// A texParser turns TeX into MathML by recursive descent. Every loop of it
// moves pos on or sets failed.
type texParser struct {
	src    string
	pos    int
	depth  int
	nodes  int
	failed bool
	style  string // mathvariant of letters: "", "b", "bb", "cal", "frak", "sf", "tt", "rm"
}

func (p *texParser) fail() string {
	p.failed = true
	p.pos = len(p.src)
	return ""
}

func (p *texParser) space() {
	for p.pos < len(p.src) {
		switch c := p.src[p.pos]; {
		case c == ' ' || c == '\n' || c == '\t' || c == '\r':
			p.pos++
		case c == '%':
			end := strings.IndexByte(p.src[p.pos:], '\n')
			if end < 0 {
				p.pos = len(p.src)
			} else {
				p.pos += end
			}
		default:
			return
		}
	}
}

func (p *texParser) at(s string) bool { return strings.HasPrefix(p.src[p.pos:], s) }

// atCommand reports whether the command, with its backslash, is next.
func (p *texParser) atCommand(name string) bool {
	if !p.at(name) {
		return false
	}
	rest := p.src[p.pos+len(name):]
	return rest == "" || !isLetter(rest[0])
}

func isLetter(c byte) bool { return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' }

// cellMark and rowMark stand for & and \\ between the parts of a row. No text
// can hold them: "<" is always escaped.
const (
	cellMark = "<&>"
	rowMark  = `<\\>`
)

// row parses atoms until stop says so or the input ends.
func (p *texParser) row(stop func() bool) string {
	if p.depth++; p.depth > maxFormulaDepth {
		return p.fail()
	}
	defer func() { p.depth-- }()
	var out strings.Builder
	for !p.failed {
		p.space()
		if p.pos >= len(p.src) || stop() {
			return out.String()
		}
		if p.nodes++; p.nodes > maxFormulaNodes {
			return p.fail()
		}
		out.WriteString(p.scripted())
	}
	return ""
}

// scripted parses an atom with its primes, subscript and superscript.
func (p *texParser) scripted() string {
	base, kind := "<mrow></mrow>", atomPlain
	if c := p.src[p.pos]; c != '_' && c != '^' && c != '\'' {
		base, kind = p.atom()
		if base == "" || kind == atomMark {
			return base
		}
	}
	sub, sup := "", ""
	for !p.failed {
		p.space()
		switch {
		case p.pos < len(p.src) && p.src[p.pos] == '_' && sub == "":
			p.pos++
			sub = p.argument()
		case p.pos < len(p.src) && p.src[p.pos] == '^' && (sup == "" || strings.HasPrefix(sup, "<mo>′")):
			p.pos++
			sup = joinScript(sup, p.argument())
		case p.pos < len(p.src) && p.src[p.pos] == '\'':
			n := 0
			for p.pos < len(p.src) && p.src[p.pos] == '\'' {
				p.pos++
				n++
			}
			sup = joinScript(sup, "<mo>"+strings.Repeat("′", n)+"</mo>")
		case p.atCommand(`\limits`):
			p.pos += len(`\limits`)
			kind = atomLimits
		case p.atCommand(`\nolimits`):
			p.pos += len(`\nolimits`)
			kind = atomPlain
		default:
			return attachScripts(base, sub, sup, kind == atomLimits)
		}
	}
	return ""
}

func joinScript(a, b string) string {
	if a == "" {
		return b
	}
	return "<mrow>" + a + b + "</mrow>"
}

func attachScripts(base, sub, sup string, limits bool) string {
	both, lower, upper := "msubsup", "msub", "msup"
	if limits {
		both, lower, upper = "munderover", "munder", "mover"
	}
	switch {
	case sub != "" && sup != "":
		return "<" + both + ">" + base + sub + sup + "</" + both + ">"
	case sub != "":
		return "<" + lower + ">" + base + sub + "</" + lower + ">"
	case sup != "":
		return "<" + upper + ">" + base + sup + "</" + upper + ">"
	}
	return base
}

// argument parses one argument: a group in braces or a single atom. It is
// always one element.
func (p *texParser) argument() string {
	p.space()
	if p.pos >= len(p.src) {
		return p.fail()
	}
	if p.src[p.pos] == '{' {
		return p.group()
	}
	if p.depth++; p.depth > maxFormulaDepth {
		return p.fail()
	}
	defer func() { p.depth-- }()
	if c := p.src[p.pos]; c >= '0' && c <= '9' { // one digit, not the number
		p.pos++
		return "<mrow><mn>" + p.styled(string(c)) + "</mn></mrow>"
	}
	atom, _ := p.atom()
	if atom == "" || atom == cellMark || atom == rowMark || strayMark(atom) {
		return "<mrow></mrow>"
	}
	return "<mrow>" + atom + "</mrow>"
}

func (p *texParser) group() string {
	p.pos++
	style := p.style
	body := p.row(func() bool { return p.src[p.pos] == '}' })
	p.style = style
	if p.pos >= len(p.src) {
		return p.fail()
	}
	p.pos++
	if strings.Contains(body, cellMark) || strings.Contains(body, rowMark) {
		return p.fail()
	}
	return "<mrow>" + p.divided(body) + "</mrow>"
}

// raw returns the text of a braced argument, unparsed.
func (p *texParser) raw() string {
	p.space()
	if p.pos >= len(p.src) || p.src[p.pos] != '{' {
		return p.fail()
	}
	depth := 0
	for i := p.pos; i < len(p.src); i++ {
		switch p.src[i] {
		case '\\':
			i++
		case '{':
			depth++
		case '}':
			if depth--; depth == 0 {
				text := p.src[p.pos+1 : i]
				p.pos = i + 1
				return text
			}
		}
	}
	return p.fail()
}

// optional returns the text of an argument in square brackets, "" for none.
func (p *texParser) optional() (string, bool) {
	p.space()
	if p.pos >= len(p.src) || p.src[p.pos] != '[' {
		return "", false
	}
	braces := 0
	for i := p.pos + 1; i < len(p.src); i++ {
		switch c := p.src[i]; {
		case c == '{':
			braces++
		case c == '}':
			braces--
		case c == ']' && braces <= 0:
			text := p.src[p.pos+1 : i]
			p.pos = i + 1
			return text, true
		}
	}
	return p.fail(), false
}

// sub parses text that was taken out of the input.
func (p *texParser) sub(text string) string {
	inner := &texParser{src: text, depth: p.depth, nodes: p.nodes, style: p.style}
	out := inner.row(func() bool { return false })
	p.nodes = inner.nodes
	if inner.failed || strings.Contains(out, cellMark) || strings.Contains(out, rowMark) || strayMark(out) {
		return p.fail()
	}
	return out
}

type atomKind int

const (
	atomPlain  atomKind = iota
	atomLimits          // scripts go under and over
	atomMark            // & or \\
)

func (p *texParser) atom() (string, atomKind) {
	switch c := p.src[p.pos]; {
	case c == '{':
		return p.group(), atomPlain
	case c == '}' || c == '$' || c == '#':
		return p.fail(), atomPlain
	case c == '&':
		p.pos++
		return cellMark, atomMark
	case c == '~':
		p.pos++
		return `<mspace width="0.33em"></mspace>`, atomPlain
	case c == '\\':
		return p.command()
	case c >= '0' && c <= '9':
		start := p.pos
		for p.pos < len(p.src) && (p.src[p.pos] >= '0' && p.src[p.pos] <= '9' ||
			p.src[p.pos] == '.' && p.pos+1 < len(p.src) && p.src[p.pos+1] >= '0' && p.src[p.pos+1] <= '9') {
			p.pos++
		}
		return "<mn>" + p.styled(p.src[start:p.pos]) + "</mn>", atomPlain
	case isLetter(c):
		p.pos++
		return p.identifier(string(c)), atomPlain
	}
	r, n := utf8.DecodeRuneInString(p.src[p.pos:])
	p.pos += n
	switch r {
	case '-':
		return "<mo>−</mo>", atomPlain
	case '*':
		return "<mo>∗</mo>", atomPlain
	case '(', ')', '[', ']', '|':
		return `<mo stretchy="false">` + string(r) + "</mo>", atomPlain
	}
	if r < 0x80 {
		return "<mo>" + esc(string(r)) + "</mo>", atomPlain
	}
	return "<mi>" + esc(string(r)) + "</mi>", atomPlain
}

func (p *texParser) identifier(letter string) string {
	if p.style == "rm" {
		return `<mi mathvariant="normal">` + letter + "</mi>"
	}
	return "<mi>" + p.styled(letter) + "</mi>"
}

// command parses a command, whose backslash is next.
func (p *texParser) command() (string, atomKind) {
	start := p.pos + 1
	end := start
	for end < len(p.src) && isLetter(p.src[end]) {
		end++
	}
	if end == start {
		if start >= len(p.src) {
			return p.fail(), atomPlain
		}
		_, n := utf8.DecodeRuneInString(p.src[start:])
		end = start + n
	}
	name := p.src[start:end]
	p.pos = end
	if s, ok := texLetters[name]; ok {
		return "<mi>" + p.styled(s) + "</mi>", atomPlain
	}
	if s, ok := texOperators[name]; ok {
		return "<mo>" + s + "</mo>", atomPlain
	}
	if s, ok := texBig[name]; ok {
		return "<mo>" + s + "</mo>", bigKind(name)
	}
	if w, ok := texSpaces[name]; ok {
		if w == "" {
			return "", atomPlain
		}
		return `<mspace width="` + w + `"></mspace>`, atomPlain
	}
	if limits, ok := texFunctions[name]; ok {
		if limits {
			return "<mo>" + name + "</mo>", atomLimits
		}
		return `<mi>` + name + `</mi><mo>` + "\u2061" + `</mo>`, atomPlain
	}
	if accent, ok := texAccents[name]; ok {
		return "<mover accent=\"true\">" + p.argument() + "<mo" + accent + "</mo></mover>", atomPlain
	}
	if style, ok := texStyles[name]; ok {
		return p.withStyle(style), atomPlain
	}
	return p.structure(name)
}

func bigKind(name string) atomKind {
	if strings.Contains(name, "int") {
		return atomPlain
	}
	return atomLimits
}

func (p *texParser) withStyle(style string) string {
	old := p.style
	p.style = style
	arg := p.argument()
	p.style = old
	return arg
}

// structure parses the commands that take arguments.
func (p *texParser) structure(name string) (string, atomKind) {
	switch name {
	case `\`, "cr", "newline":
		p.optional()
		return rowMark, atomMark
	case "frac", "dfrac", "tfrac", "cfrac":
		return "<mfrac>" + p.argument() + p.argument() + "</mfrac>", atomPlain
	case "genfrac":
		return p.generalFraction(), atomPlain
	case "cancel", "bcancel", "xcancel":
		return p.cancelled(name), atomPlain
	case "ce":
		return p.chemistry(), atomPlain
	case "binom", "dbinom", "tbinom":
		return `<mrow><mo>(</mo><mfrac linethickness="0">` + p.argument() + p.argument() + `</mfrac><mo>)</mo></mrow>`, atomPlain
	case "sqrt":
		if index, ok := p.optional(); ok {
			index = p.sub(index)
			return "<mroot>" + p.argument() + "<mrow>" + index + "</mrow></mroot>", atomPlain
		}
		return "<msqrt>" + p.argument() + "</msqrt>", atomPlain
	case "text", "textrm", "textnormal", "mbox", "textit", "textbf", "texttt", "textsf", "hbox", "emph":
		text := strings.NewReplacer("~", " ", `\ `, " ", `\_`, "_", `\%`, "%", `\$`, "$", `\&`, "&", `\#`, "#").Replace(p.raw())
		if strings.ContainsAny(text, `\{}$`) {
			return p.fail(), atomPlain
		}
		text = strings.ReplaceAll(esc(text), " ", "\u00a0")
		return "<mtext>" + text + "</mtext>", atomPlain
	case "operatorname":
		limits := atomPlain
		if p.pos < len(p.src) && p.src[p.pos] == '*' {
			p.pos++
			limits = atomLimits
		}
		text := p.raw()
		if strings.ContainsAny(text, `\{}$&`) {
			return p.fail(), atomPlain
		}
		return "<mo>" + esc(strings.TrimSpace(text)) + "</mo>", limits
	case "overline", "bar*", "widebar":
		return "<mover>" + p.argument() + `<mo stretchy="true">‾</mo></mover>`, atomPlain
	case "underline":
		return "<munder>" + p.argument() + `<mo stretchy="true">_</mo></munder>`, atomPlain
	case "overbrace":
		return "<mover>" + p.argument() + `<mo stretchy="true">⏞</mo></mover>`, atomLimits
	case "underbrace":
		return "<munder>" + p.argument() + `<mo stretchy="true">⏟</mo></munder>`, atomLimits
	case "overset", "stackrel":
		over, base := p.argument(), p.argument()
		return "<mover>" + base + over + "</mover>", atomPlain
	case "underset":
		under, base := p.argument(), p.argument()
		return "<munder>" + base + under + "</munder>", atomPlain
	case "not":
		return p.negated(), atomPlain
	case "pmod":
		return `<mspace width="1em"></mspace><mo>(</mo><mi>mod</mi><mspace width="0.33em"></mspace>` + p.argument() + "<mo>)</mo>", atomPlain
	case "mathstrut", "strut":
		return "", atomPlain
	case "boxed", "phantom", "hphantom", "vphantom":
		arg := p.argument()
		if name != "boxed" {
			arg = "<mphantom>" + arg + "</mphantom>"
		}
		return arg, atomPlain
	case "left":
		return p.fenced(), atomPlain
	case "big", "Big", "bigg", "Bigg", "bigl", "bigr", "Bigl", "Bigr", "biggl", "biggr", "Biggl", "Biggr", "bigm", "Bigm":
		size := map[byte]string{'b': "1.2em", 'B': "1.8em"}[name[0]]
		if strings.HasPrefix(strings.ToLower(name), "bigg") {
			size = map[byte]string{'b': "2.4em", 'B': "3em"}[name[0]]
		}
		d := p.delimiter()
		return `<mo stretchy="true" minsize="` + size + `" maxsize="` + size + `">` + d + "</mo>", atomPlain
	case "begin":
		return p.environment(), atomPlain
	case "label", "tag":
		p.raw()
		return "", atomPlain
	}
	return p.extended(name)
}

func (p *texParser) negated() string {
	p.space()
	for tex, sign := range map[string]string{`\in`: "∉", `\subset`: "⊄", `\subseteq`: "⊈", `\equiv`: "≢", `\exists`: "∄", `\sim`: "≁", `\approx`: "≉", `\mid`: "∤", `\parallel`: "∦"} {
		if p.atCommand(tex) {
			p.pos += len(tex)
			return "<mo>" + sign + "</mo>"
		}
	}
	for tex, sign := range map[string]string{"=": "≠", "<": "≮", ">": "≯"} {
		if p.at(tex) {
			p.pos += len(tex)
			return "<mo>" + sign + "</mo>"
		}
	}
	return p.fail()
}

// delimiter parses what follows \left, \right or \big.
func (p *texParser) delimiter() string {
	p.space()
	if p.pos >= len(p.src) {
		return p.fail()
	}
	if p.src[p.pos] != '\\' {
		c := p.src[p.pos]
		p.pos++
		switch c {
		case '.':
			return ""
		case '<':
			return "⟨"
		case '>':
			return "⟩"
		case '(', ')', '[', ']', '|', '/':
			return string(c)
		}
		return p.fail()
	}
	end := p.pos + 1
	for end < len(p.src) && isLetter(p.src[end]) {
		end++
	}
	if end == p.pos+1 {
		end = min(end+1, len(p.src))
	}
	name := p.src[p.pos+1 : end]
	p.pos = end
	if d, ok := texDelimiters[name]; ok {
		return d
	}
	return p.fail()
}

func (p *texParser) fenced() string {
	open := p.delimiter()
	var out strings.Builder
	out.WriteString(`<mrow><mo fence="true" stretchy="true">` + open + "</mo>")
	for !p.failed {
		body := p.row(func() bool { return p.atCommand(`\right`) || p.atCommand(`\middle`) })
		if strings.Contains(body, cellMark) || strings.Contains(body, rowMark) {
			return p.fail()
		}
		out.WriteString("<mrow>" + p.divided(body) + "</mrow>")
		if p.pos >= len(p.src) {
			return p.fail()
		}
		if p.atCommand(`\middle`) {
			p.pos += len(`\middle`)
			out.WriteString(`<mo fence="true" stretchy="true">` + p.delimiter() + "</mo>")
			continue
		}
		p.pos += len(`\right`)
		out.WriteString(`<mo fence="true" stretchy="true">` + p.delimiter() + "</mo></mrow>")
		return out.String()
	}
	return ""
}

// environment parses from after \begin to after the matching \end.
func (p *texParser) environment() string {
	name := p.raw()
	env, ok := texEnvironments[strings.TrimSuffix(name, "*")]
	if !ok {
		return p.fail()
	}
	if strings.TrimSuffix(name, "*") == "array" {
		p.raw()
	}
	body := p.row(func() bool { return p.atCommand(`\end`) })
	if p.failed || p.pos >= len(p.src) {
		return p.fail()
	}
	p.pos += len(`\end`)
	if p.raw() != name {
		return p.fail()
	}
	if strayMark(body) {
		return p.fail()
	}
	table := texTable(body, env.align)
	if env.open == "" && env.close == "" {
		return table
	}
	return `<mrow><mo fence="true" stretchy="true">` + env.open + "</mo>" + table + `<mo fence="true" stretchy="true">` + env.close + "</mo></mrow>"
}

// lines lays out a formula that has \\ or & outside of any environment.
func (p *texParser) lines(body string) string {
	if !strings.Contains(body, cellMark) && !strings.Contains(body, rowMark) {
		return ""
	}
	return texTable(body, true)
}

func texTable(body string, align bool) string {
	var out strings.Builder
	out.WriteString("<mtable")
	if align {
		out.WriteString(` displaystyle="true"`)
	}
	out.WriteString(">")
	rows := strings.Split(body, rowMark)
	if n := len(rows); n > 1 && strings.TrimSpace(rows[n-1]) == "" {
		rows = rows[:n-1]
	}
	for _, row := range rows {
		out.WriteString("<mtr>")
		for i, cell := range strings.Split(row, cellMark) {
			side := ""
			if align {
				side = [2]string{` class="q-mr"`, ` class="q-ml"`}[i%2]
			}
			out.WriteString("<mtd" + side + ">" + cell + "</mtd>")
		}
		out.WriteString("</mtr>")
	}
	out.WriteString("</mtable>")
	return out.String()
}

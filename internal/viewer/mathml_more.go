package viewer

import (
	"strings"
)

// overMarks stand for \over and its kin inside a group, until the group is
// whole. No text can hold them: "<" is always escaped.
var overMarks = map[string]string{"over": "<over>", "choose": "<choose>", "atop": "<atop>"}

// divided turns the body of a group that holds \over or its kin into a
// fraction. A mark that is left makes the formula fail.
func (p *texParser) divided(body string) string {
	for _, mark := range []string{"over", "choose", "atop"} {
		above, below, ok := strings.Cut(body, overMarks[mark])
		if !ok {
			continue
		}
		rule := ` linethickness="0"`
		if mark == "over" {
			rule = ""
		}
		fraction := "<mfrac" + rule + "><mrow>" + above + "</mrow><mrow>" + below + "</mrow></mfrac>"
		if mark == "choose" {
			fraction = "<mrow><mo>(</mo>" + fraction + "<mo>)</mo></mrow>"
		}
		body = fraction
	}
	if strayMark(body) {
		return p.fail()
	}
	return body
}

func strayMark(body string) bool {
	for _, mark := range overMarks {
		if strings.Contains(body, mark) {
			return true
		}
	}
	return false
}

// extended parses commands that are rarer than those of structure.
func (p *texParser) extended(name string) (string, atomKind) {
	switch name {
	case "over", "choose", "atop":
		return overMarks[name], atomMark
	case "mathop":
		return p.argument(), atomLimits
	case "mathrel", "mathbin", "mathord", "mathopen", "mathclose", "mathpunct", "mathinner", "ensuremath", "smash":
		return p.argument(), atomPlain
	case "color": // a page has its own colours, light and dark; the text stays
		p.raw()
		return "", atomPlain
	case "textcolor":
		p.raw()
		return p.argument(), atomPlain
	case "hspace", "vspace", "hskip", "mspace":
		p.raw()
		return `<mspace width="0.5em"></mspace>`, atomPlain
	case "xrightarrow", "xleftarrow", "xleftrightarrow", "xRightarrow", "xmapsto",
		"xequilibrium", "xequilibriumright", "xequilibriumleft", "xleftrightarrows", "xrightleftharpoons":
		return p.longArrow(name), atomPlain
	case "ket":
		return "<mrow><mo>|</mo>" + p.argument() + "<mo>⟩</mo></mrow>", atomPlain
	case "bra":
		return "<mrow><mo>⟨</mo>" + p.argument() + "<mo>|</mo></mrow>", atomPlain
	case "braket":
		return "<mrow><mo>⟨</mo>" + p.argument() + "<mo>⟩</mo></mrow>", atomPlain
	case "abs":
		return "<mrow><mo>|</mo>" + p.argument() + "<mo>|</mo></mrow>", atomPlain
	case "norm":
		return "<mrow><mo>‖</mo>" + p.argument() + "<mo>‖</mo></mrow>", atomPlain
	case "substack":
		inner := &texParser{src: p.raw(), depth: p.depth + 1, nodes: p.nodes, style: p.style}
		body := inner.row(func() bool { return false })
		p.nodes = inner.nodes
		if inner.failed || strayMark(body) {
			return p.fail(), atomPlain
		}
		return texTable(body, false), atomPlain
	case "ref", "eqref":
		text := p.raw()
		if strings.ContainsAny(text, `\{}$`) {
			return p.fail(), atomPlain
		}
		return "<mtext>(" + esc(text) + ")</mtext>", atomPlain
	}
	return p.fail(), atomPlain
}

func (p *texParser) longArrow(name string) string {
	arrow := map[string]string{
		"xrightarrow": "→", "xleftarrow": "←", "xleftrightarrow": "↔", "xRightarrow": "⇒", "xmapsto": "↦",
		"xequilibrium": "⇌", "xrightleftharpoons": "⇌", "xequilibriumright": "⥂", "xequilibriumleft": "⥄", "xleftrightarrows": "⇄",
	}[name]
	sign := `<mo stretchy="true" minsize="2em">` + arrow + "</mo>"
	if under, ok := p.optional(); ok {
		under = p.sub(under)
		return "<munderover>" + sign + "<mrow>" + under + "</mrow>" + p.argument() + "</munderover>"
	}
	return "<mover>" + sign + p.argument() + "</mover>"
}

// Bounds of the macros of one formula: how many are declared, how many are put
// in, and how long the formula may grow, in bytes.
const (
	maxMacros     = 50
	maxExpansions = 200
)

type macro struct {
	params int
	body   string
}

// expandMacros takes the declarations of macros out of a formula and puts their
// bodies where they are used: \newcommand, \renewcommand, \def without a pattern
// and \DeclareMathOperator. It reports false when one cannot be read or when
// there is too much to do. A macro holds in its own formula only.
func expandMacros(tex string) (string, bool) {
	if !strings.Contains(tex, `\newcommand`) && !strings.Contains(tex, `\renewcommand`) && !strings.Contains(tex, `\def\`) && !strings.Contains(tex, `\DeclareMathOperator`) {
		return tex, true
	}
	macros := map[string]macro{}
	expansions := 0
	var out strings.Builder
	p := &texParser{src: tex}
	for p.pos < len(p.src) {
		if p.src[p.pos] != '\\' {
			out.WriteByte(p.src[p.pos])
			p.pos++
			continue
		}
		name := p.name()
		switch name {
		case "newcommand", "renewcommand", "providecommand", "def", "DeclareMathOperator":
			if len(macros) >= maxMacros || !p.declare(name, macros) {
				return "", false
			}
			continue
		}
		m, ok := macros[name]
		if !ok {
			out.WriteString(`\` + name)
			continue
		}
		body := m.body
		for i := range m.params {
			arg := p.raw()
			if p.failed {
				return "", false
			}
			body = strings.ReplaceAll(body, "#"+string(rune('1'+i)), arg)
		}
		if expansions++; expansions > maxExpansions || len(body)+len(p.src)-p.pos > maxFormulaBytes {
			return "", false
		}
		// The body is read again: it may use other macros.
		p.src, p.pos = "{"+body+"}"+p.src[p.pos:], 0
		if out.Len() > maxFormulaBytes {
			return "", false
		}
	}
	return out.String(), out.Len() <= maxFormulaBytes
}

// name returns the name of the command that is next, and moves behind it.
func (p *texParser) name() string {
	start := p.pos + 1
	end := start
	for end < len(p.src) && isLetter(p.src[end]) {
		end++
	}
	if end == start && end < len(p.src) {
		end++
	}
	p.pos = end
	return p.src[start:end]
}

// declare reads what follows \newcommand and its kin.
func (p *texParser) declare(how string, macros map[string]macro) bool {
	p.space()
	if p.pos < len(p.src) && p.src[p.pos] == '*' {
		p.pos++
	}
	p.space()
	name := ""
	switch {
	case p.at(`\`):
		name = p.name()
	case p.at("{"):
		name = strings.TrimPrefix(strings.TrimSpace(p.raw()), `\`)
	}
	if name == "" || !isLetter(name[0]) || strings.HasPrefix(name, "begin") || strings.HasPrefix(name, "end") {
		return false
	}
	m := macro{}
	if count, ok := p.optional(); ok {
		if len(count) != 1 || count[0] < '1' || count[0] > '9' || how == "def" {
			return false
		}
		m.params = int(count[0] - '0')
	}
	m.body = p.raw()
	if p.failed || strings.Contains(m.body, `\newcommand`) || strings.Contains(m.body, `\def\`) {
		return false
	}
	if how == "DeclareMathOperator" {
		m.body = `\operatorname{` + m.body + `}`
	}
	macros[name] = m
	return true
}

// cancelled parses what \cancel and its kin strike through.
func (p *texParser) cancelled(name string) string {
	return `<mrow class="q-` + name + `">` + p.argument() + "</mrow>"
}

// generalFraction parses \genfrac: two delimiters, the thickness of the rule,
// a style, and what stands above and below.
func (p *texParser) generalFraction() string {
	left, right := strings.TrimSpace(p.raw()), strings.TrimSpace(p.raw())
	rule, style := strings.TrimSpace(p.raw()), strings.TrimSpace(p.raw())
	thickness := ""
	switch {
	case rule == "":
	case strings.Trim(rule, "0.") == "pt" || strings.Trim(rule, "0.") == "":
		thickness = ` linethickness="0"`
	case len(rule) > 10 || strings.Trim(rule, "0123456789.ptexm") != "":
		return p.fail()
	}
	if len(style) > 1 || strings.Trim(style, "0123") != "" {
		return p.fail()
	}
	fraction := "<mfrac" + thickness + ">" + p.argument() + p.argument() + "</mfrac>"
	for i, side := range []string{left, right} {
		if side == "." {
			side = ""
		}
		if side == "" {
			continue
		}
		fence := p.sub(side)
		if p.failed || strings.Count(fence, "<") > 2 {
			return p.fail() // one sign, nothing more
		}
		if i == 0 {
			fraction = fence + fraction
		} else {
			fraction += fence
		}
	}
	return "<mrow>" + fraction + "</mrow>"
}

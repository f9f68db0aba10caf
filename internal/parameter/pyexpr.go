package parameter

import (
	"math/big"
	"strconv"
	"strings"
	"unicode/utf8"
)

// exprKind is the kind of an expression.
type exprKind uint8

const (
	exprLiteral exprKind = iota // value
	exprName                    // name, dotted
	exprCall                    // args[0] is called with args[1:] and keywords
	exprIndex                   // args[0] is indexed with args[1:]
	exprUnion                   // args joined by |
	exprList                    // [args] or (args)
	exprDict                    // keys and values in turn in args
)

// expr is the part of Python's expressions that literals and annotations are
// made of.
type expr struct {
	kind     exprKind
	value    Value
	name     string
	args     []*expr
	keywords []keyword
}

type keyword struct {
	name  string
	value *expr
}

// parseExpr parses tokens that are one expression of that part; ok is false for
// any other.
func parseExpr(src string, tokens []pyToken) (e *expr, ok bool) {
	p := exprParser{src: src, tokens: tokens}
	e = p.tuple(0)
	return e, e != nil && p.pos == len(p.tokens)
}

// parseAnnotation parses the text of an annotation.
func parseAnnotation(text string) (*expr, bool) {
	tokens, unclosed := lexPython(text)
	tokens = tokens[:len(tokens)-1]
	for _, t := range tokens {
		if t.kind == pyNewline || t.kind == pyComment {
			return nil, false
		}
	}
	if unclosed > 0 {
		return nil, false
	}
	return parseExpr(text, tokens)
}

// literal returns the value of an expression that is a literal.
func (e *expr) literal() (Value, bool) {
	switch e.kind {
	case exprLiteral:
		return e.value, true
	case exprList:
		items := make([]Value, 0, len(e.args))
		for _, a := range e.args {
			v, ok := a.literal()
			if !ok {
				return Value{}, false
			}
			items = append(items, v)
		}
		return List(items...), true
	case exprDict:
		fields := make([]Field, 0, len(e.args)/2)
		for i := 0; i+1 < len(e.args); i += 2 {
			k, kok := e.args[i].literal()
			v, vok := e.args[i+1].literal()
			if !kok || !vok {
				return Value{}, false
			}
			fields = append(fields, Field{Key: k, Value: v})
		}
		return Dict(fields...), true
	case exprCall:
		return e.floatCall()
	default:
		return Value{}, false
	}
}

// floatCall reads float("nan"), which is how such a number is written.
func (e *expr) floatCall() (Value, bool) {
	if len(e.args) != 2 || e.args[0].name != "float" || len(e.keywords) > 0 || e.args[1].kind != exprLiteral {
		return Value{}, false
	}
	s, ok := e.args[1].value.AsString()
	if !ok {
		return Value{}, false
	}
	f, ok := parsePyFloat(s)
	return Float(f), ok
}

type exprParser struct {
	src    string
	tokens []pyToken
	pos    int
}

func (p *exprParser) peek() string {
	if p.pos < len(p.tokens) {
		return p.src[p.tokens[p.pos].start:p.tokens[p.pos].end]
	}
	return ""
}

// op takes the operator if it comes next.
func (p *exprParser) op(text string) bool {
	if p.pos < len(p.tokens) && p.tokens[p.pos].kind == pyOp && p.peek() == text {
		p.pos++
		return true
	}
	return false
}

// tuple parses an expression or several with commas, up to the end.
func (p *exprParser) tuple(depth int) *expr {
	first := p.union(depth)
	if first == nil || p.pos == len(p.tokens) || p.peek() != "," {
		return first
	}
	list := &expr{kind: exprList, args: []*expr{first}}
	for p.op(",") && p.pos < len(p.tokens) && p.peek() != ")" && p.peek() != "]" {
		e := p.union(depth)
		if e == nil {
			return nil
		}
		list.args = append(list.args, e)
	}
	return list
}

func (p *exprParser) union(depth int) *expr {
	e := p.primary(depth)
	if e == nil || p.peek() != "|" {
		return e
	}
	u := &expr{kind: exprUnion, args: []*expr{e}}
	for p.op("|") {
		if e = p.primary(depth); e == nil {
			return nil
		}
		u.args = append(u.args, e)
	}
	return u
}

// primary parses an atom and what is called or indexed of it.
func (p *exprParser) primary(depth int) *expr {
	if depth > MaxDepth {
		return nil
	}
	e := p.atom(depth)
	for e != nil && (e.kind == exprName || e.kind == exprCall || e.kind == exprIndex) {
		switch {
		case p.op("("):
			e = p.arguments(&expr{kind: exprCall, args: []*expr{e}}, ")", depth+1)
		case p.op("["):
			e = p.arguments(&expr{kind: exprIndex, args: []*expr{e}}, "]", depth+1)
		default:
			return e
		}
	}
	return e
}

func (p *exprParser) arguments(e *expr, end string, depth int) *expr {
	for !p.op(end) {
		name := ""
		if p.pos+1 < len(p.tokens) && p.tokens[p.pos].kind == pyName && p.src[p.tokens[p.pos+1].start:p.tokens[p.pos+1].end] == "=" {
			name = p.peek()
			p.pos += 2
		}
		a := p.union(depth)
		if a == nil {
			return nil
		}
		if name != "" {
			e.keywords = append(e.keywords, keyword{name, a})
		} else {
			e.args = append(e.args, a)
		}
		if !p.op(",") && p.peek() != end {
			return nil
		}
	}
	return e
}

func (p *exprParser) atom(depth int) *expr {
	if p.pos >= len(p.tokens) {
		return nil
	}
	switch t := p.tokens[p.pos]; t.kind {
	case pyName:
		return p.name()
	case pyNumber:
		v, ok := pyNumberValue(p.peek())
		p.pos++
		return literalExpr(v, ok)
	case pyString:
		return p.strings()
	case pyOp:
		return p.bracketed(depth + 1)
	default:
		return nil
	}
}

func literalExpr(v Value, ok bool) *expr {
	if !ok {
		return nil
	}
	return &expr{kind: exprLiteral, value: v}
}

func (p *exprParser) name() *expr {
	text := p.peek()
	p.pos++
	switch text {
	case "None":
		return literalExpr(Null(), true)
	case "True", "False":
		return literalExpr(Bool(text == "True"), true)
	case "lambda", "not", "await", "yield":
		return nil
	}
	for p.pos+1 < len(p.tokens) && p.peek() == "." && p.tokens[p.pos+1].kind == pyName {
		p.pos++
		text += "." + p.peek()
		p.pos++
	}
	return &expr{kind: exprName, name: text}
}

// strings parses adjacent string literals.
func (p *exprParser) strings() *expr {
	var b strings.Builder
	for p.pos < len(p.tokens) && p.tokens[p.pos].kind == pyString {
		s, ok := pyStringValue(p.peek())
		if !ok {
			return nil
		}
		b.WriteString(s)
		p.pos++
	}
	return literalExpr(String(b.String()), true)
}

func (p *exprParser) bracketed(depth int) *expr {
	if depth > MaxDepth {
		return nil
	}
	switch {
	case p.op("-"):
		return negated(p.atom(depth), true)
	case p.op("+"):
		return negated(p.atom(depth), false)
	case p.op("..."):
		return &expr{kind: exprName, name: "..."}
	case p.op("("):
		if p.op(")") {
			return &expr{kind: exprList}
		}
		e := p.tuple(depth)
		if e == nil || !p.op(")") {
			return nil
		}
		return e
	case p.op("["):
		return p.arguments(&expr{kind: exprList}, "]", depth)
	case p.op("{"):
		return p.dict(depth)
	}
	return nil
}

func (p *exprParser) dict(depth int) *expr {
	e := &expr{kind: exprDict}
	for !p.op("}") {
		k := p.union(depth)
		if k == nil || !p.op(":") {
			return nil
		}
		v := p.union(depth)
		if v == nil || !p.op(",") && p.peek() != "}" {
			return nil
		}
		e.args = append(e.args, k, v)
	}
	return e
}

func negated(e *expr, minus bool) *expr {
	if e == nil || e.kind != exprLiteral || e.value.kind != KindInt && e.value.kind != KindFloat {
		return nil
	}
	if !minus {
		return e
	}
	if e.value.kind == KindFloat {
		return literalExpr(Float(-e.value.f), true)
	}
	n, _ := e.value.AsBigInt()
	return literalExpr(BigInt(n.Neg(n)), true)
}

// pyNumberValue reads a number of Python's source.
func pyNumberValue(text string) (Value, bool) {
	low := strings.ToLower(text)
	if len(low) > 1 && low[0] == '0' && strings.IndexByte("xob", low[1]) >= 0 {
		if len(low) > maxIntDigits {
			return Value{}, false
		}
		n, ok := new(big.Int).SetString(strings.ReplaceAll(low, "_", ""), 0)
		return BigInt(n), ok
	}
	if v, ok := parsePyInt(low); ok {
		// 007 is no number in source, 00 is.
		if len(low) > 1 && low[0] == '0' && strings.Trim(low, "0_") != "" {
			return Value{}, false
		}
		return v, true
	}
	f, ok := parsePyFloat(low)
	return Float(f), ok
}

// pyStringValue reads a string literal; bytes, f-strings with fields and named
// characters have no value here.
func pyStringValue(text string) (string, bool) {
	quote := strings.IndexAny(text, `'"`)
	if quote < 0 {
		return "", false
	}
	prefix := strings.ToLower(text[:quote])
	if strings.ContainsAny(prefix, "bft") {
		return "", false
	}
	size := 1
	if len(text) >= quote+6 && text[quote] == text[quote+1] && text[quote] == text[quote+2] {
		size = 3
	}
	if len(text) < quote+2*size {
		return "", false
	}
	body := text[quote+size : len(text)-size]
	if strings.Contains(prefix, "r") || !strings.Contains(body, `\`) {
		return body, true
	}
	return unescapePython(body)
}

var pyEscapes = map[byte]string{
	'\n': "", '\\': `\`, '\'': "'", '"': `"`, 'a': "\a", 'b': "\b", 'f': "\f", 'n': "\n", 'r': "\r", 't': "\t", 'v': "\v",
}

func unescapePython(s string) (string, bool) {
	var b strings.Builder
	for i := 0; i < len(s); {
		if s[i] != '\\' || i+1 == len(s) {
			b.WriteByte(s[i])
			i++
			continue
		}
		c := s[i+1]
		if plain, ok := pyEscapes[c]; ok {
			b.WriteString(plain)
			i += 2
			continue
		}
		digits, base, skip := 0, 16, 2
		switch {
		case c == 'x':
			digits = 2
		case c == 'u':
			digits = 4
		case c == 'U':
			digits = 8
		case c >= '0' && c <= '7':
			base, skip = 8, 1
			for digits < 3 && i+1+digits < len(s) && s[i+1+digits] >= '0' && s[i+1+digits] <= '7' {
				digits++
			}
		case c == 'N':
			return "", false
		default: // an unknown escape is itself
			b.WriteByte('\\')
			i++
			continue
		}
		if i+skip+digits > len(s) {
			return "", false
		}
		n, err := strconv.ParseUint(s[i+skip:i+skip+digits], base, 32)
		if err != nil || !utf8.ValidRune(rune(n)) {
			return "", false
		}
		b.WriteRune(rune(n))
		i += skip + digits
	}
	return b.String(), true
}

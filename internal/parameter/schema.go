package parameter

import (
	"regexp"
	"strings"
)

// Type is the type that a parameter is declared to have.
type Type string

// The types. TypeAny is of parameters whose type says nothing we check.
const (
	TypeAny      Type = "any"
	TypeStr      Type = "str"
	TypeInt      Type = "int"
	TypeFloat    Type = "float" // integers are fine too
	TypeBool     Type = "bool"
	TypeDate     Type = "date"     // a string like 2026-11-23
	TypeDatetime Type = "datetime" // a string like 2026-11-23T14:00:00Z, zone and time optional
	TypeList     Type = "list"
	TypeDict     Type = "dict"
)

// Bound is an end of a range of numbers.
type Bound struct {
	Value     Value `json:"value"`
	Exclusive bool  `json:"exclusive,omitempty"`
}

// Parameter is what is known of one parameter that a notebook declares.
type Parameter struct {
	Name string `json:"name"`
	// Type is the declared type, or the kind of the default when none is declared.
	Type Type `json:"type"`
	// Declared is set when the type is stated by an annotation or a comment: only
	// then is it checked. A kind seen in the default is a hint for a form.
	Declared bool `json:"declared,omitempty"`
	// Element is the declared type of a list's elements or a dict's values, or "".
	Element Type `json:"element,omitempty"`
	// Choices are the only values allowed, when there are any.
	Choices []Value `json:"choices,omitempty"`
	Min     *Bound  `json:"min,omitempty"`
	Max     *Bound  `json:"max,omitempty"`
	// Required is set when there is no default: a run must give a value.
	Required bool `json:"required,omitempty"`
	// Nullable is set when null is a value: Optional, | None, or null as default.
	Nullable bool `json:"nullable,omitempty"`
	// Secret is set when the value must not be shown or stored.
	Secret bool   `json:"secret,omitempty"`
	Help   string `json:"help,omitempty"`
	// Default is the default's value when it is a literal and not secret, else nil.
	Default *Value `json:"default,omitempty"`
	// DefaultText is the default's source text; empty for a secret.
	DefaultText string `json:"defaultText,omitempty"`
	Line        int    `json:"line,omitempty"`
}

// Schema is what a notebook's parameters may be. The zero Schema declares none:
// every name is unknown to it.
type Schema struct {
	Parameters []Parameter `json:"parameters"`
}

// SchemaOf returns the schema that definitions declare. Types come from
// annotations (int, list[str], Optional, X | None, Literal, Annotated with Ge,
// Gt, Le, Lt, Interval or Field, Secret, SecretStr, and the usual names of other
// languages) and "# type:" comments; the comment that is a definition's help adds
// choices ("one of: a, b"), a range ("0..10", "range: 0..10") and "secret".
func SchemaOf(defs []Definition) Schema {
	s := Schema{Parameters: make([]Parameter, 0, len(defs))}
	for _, d := range defs {
		s.Parameters = append(s.Parameters, parameterOf(d))
	}
	return s
}

// Lookup returns the parameter of a name, and whether the schema declares it.
func (s Schema) Lookup(name string) (Parameter, bool) {
	for _, p := range s.Parameters {
		if p.Name == name {
			return p, true
		}
	}
	return Parameter{}, false
}

func parameterOf(d Definition) Parameter {
	p := Parameter{Name: d.Name, Type: TypeAny, Required: d.Required, Help: d.Help, Line: d.Line, DefaultText: d.Default}
	if d.Type != NoType && d.Type != "" {
		p.annotate(d.Type)
	}
	if !p.Declared && d.Inferred != "" {
		p.Type = Type(d.Inferred)
	}
	v, literal := d.Value()
	p.Nullable = p.Nullable || literal && v.IsNull()
	p.readHelp(v)
	if p.Secret {
		p.DefaultText = ""
	} else if literal {
		p.Default = &v
	}
	return p
}

var genericBrackets = strings.NewReplacer("<", "[", ">", "]", "{", "[", "}", "]")

// annotate reads a type's text, Python's first, then what other languages write.
func (p *Parameter) annotate(text string) {
	e, ok := parseAnnotation(text)
	if !ok {
		text = strings.TrimSuffix(text, "?")
		if e, ok = parseAnnotation(genericBrackets.Replace(text)); !ok {
			return
		}
	}
	p.resolve(e, 0)
}

// typeNames are the last words of type names, in lower case.
var typeNames = map[string]Type{
	"str": TypeStr, "string": TypeStr, "text": TypeStr, "character": TypeStr, "char": TypeStr, "anystr": TypeStr, "abstractstring": TypeStr,
	"int": TypeInt, "integer": TypeInt, "long": TypeInt, "short": TypeInt, "int64": TypeInt, "int32": TypeInt, "bigint": TypeInt,
	"int16": TypeInt, "uint": TypeInt, "uint32": TypeInt, "uint64": TypeInt,
	"float": TypeFloat, "double": TypeFloat, "number": TypeFloat, "numeric": TypeFloat, "real": TypeFloat, "float64": TypeFloat, "float32": TypeFloat,
	"bool": TypeBool, "boolean": TypeBool, "logical": TypeBool, "switch": TypeBool,
	"date": TypeDate, "datetime": TypeDatetime, "timestamp": TypeDatetime,
	"list": TypeList, "sequence": TypeList, "seq": TypeList, "array": TypeList, "vector": TypeList, "tuple": TypeList, "iterable": TypeList,
	"collection": TypeList, "mutablesequence": TypeList, "cell": TypeList,
	"dict": TypeDict, "mapping": TypeDict, "map": TypeDict, "mutablemapping": TypeDict, "dictionary": TypeDict, "hashtable": TypeDict, "record": TypeDict,
}

func lastWord(name string) string { return name[strings.LastIndexByte(name, '.')+1:] }

// resolve takes over what an annotation says.
func (p *Parameter) resolve(e *expr, depth int) {
	if depth > 20 {
		return
	}
	switch e.kind {
	case exprLiteral:
		p.literalType(e, depth)
	case exprName:
		p.named(e.name)
	case exprIndex:
		p.indexed(e, depth)
	case exprUnion:
		p.union(e.args, depth)
	case exprCall:
		p.constrain(e)
	}
}

// literalType takes null, a quoted annotation, and TypeScript's literals.
func (p *Parameter) literalType(e *expr, depth int) {
	if e.value.IsNull() {
		p.Nullable = true
		return
	}
	if text, ok := e.value.AsString(); ok {
		if inner, ok := parseAnnotation(text); ok && depth < 10 && inner.kind != exprLiteral {
			p.resolve(inner, depth+1)
		}
	}
}

func (p *Parameter) named(name string) {
	word := lastWord(name)
	switch low := strings.ToLower(word); low {
	case "none", "nonetype", "null", "undefined", "nothing":
		p.Nullable = true
	case "secret", "secretstr", "securestring":
		p.Secret = true
		p.declare(TypeStr)
	case "positiveint", "positivefloat":
		p.declare(typeNames[low[len("positive"):]])
		p.Min = &Bound{Value: Int(0), Exclusive: true}
	case "nonnegativeint", "nonnegativefloat":
		p.declare(typeNames[low[len("nonnegative"):]])
		p.Min = &Bound{Value: Int(0)}
	default:
		if t, ok := typeNames[low]; ok {
			p.declare(t)
		}
	}
}

func (p *Parameter) declare(t Type) { p.Type, p.Declared = t, true }

func (p *Parameter) indexed(e *expr, depth int) {
	args := e.args[1:]
	name := lastWord(e.args[0].name)
	if e.args[0].kind != exprName {
		return
	}
	if len(args) == 0 { // string[]
		p.named(name)
		p.Element = p.Type
		p.declare(TypeList)
		return
	}
	switch low := strings.ToLower(name); low {
	case "literal":
		p.choose(args)
	case "optional", "option", "nullable":
		p.Nullable = true
		p.resolve(args[0], depth+1)
	case "union":
		p.union(args, depth)
	case "annotated":
		p.resolve(args[0], depth+1)
		for _, a := range args[1:] {
			p.constrain(a)
		}
	case "final", "classvar", "required", "readonly":
		p.resolve(args[0], depth+1)
	case "secret":
		p.resolve(args[0], depth+1)
		p.Secret = true
	default:
		p.named(name)
		p.Element = elementOf(p.Type, low, args, depth)
	}
}

// elementOf returns the type of a list's elements or a dict's values.
func elementOf(t Type, name string, args []*expr, depth int) Type {
	var inner Parameter
	switch {
	case t == TypeList && (name != "tuple" || len(args) == 1 || len(args) == 2 && args[1].name == "..."):
		inner.resolve(args[0], depth+1)
	case t == TypeDict && len(args) == 2:
		inner.resolve(args[1], depth+1)
	}
	if inner.Nullable || len(inner.Choices) > 0 {
		return ""
	}
	return inner.Type
}

func (p *Parameter) choose(args []*expr) {
	for _, a := range args {
		if v, ok := a.literal(); ok && v.IsNull() {
			p.Nullable = true
		} else if ok {
			p.Choices = append(p.Choices, v)
		}
	}
	p.declare(commonType(p.Choices))
}

// commonType returns the type of all values, or TypeAny.
func commonType(values []Value) Type {
	if len(values) == 0 {
		return TypeAny
	}
	for _, v := range values {
		if v.kind != values[0].kind {
			return TypeAny
		}
	}
	return Type(values[0].kind.String())
}

// union takes the one member that is not null, numbers of two sorts as floats,
// literals as choices, and gives up on other mixtures.
func (p *Parameter) union(members []*expr, depth int) {
	var merged Parameter
	types := 0
	for _, m := range members {
		if m.kind == exprLiteral && !m.value.IsNull() {
			if text, ok := m.value.AsString(); !ok || typeNames[strings.ToLower(text)] == "" {
				merged.choose([]*expr{m})
				continue
			}
		}
		one := Parameter{Type: TypeAny}
		one.resolve(m, depth+1)
		p.Nullable = p.Nullable || one.Nullable
		if one.Declared || one.Secret || !one.Nullable {
			if types++; types > 1 && numeric(one.Type) && numeric(merged.Type) {
				one.Type, types = TypeFloat, 1
			}
			merged = one
		}
	}
	if types > 1 || types == 1 && len(merged.Choices) > 0 && !merged.Declared {
		merged = Parameter{Type: TypeAny, Secret: p.Secret || merged.Secret, Declared: true}
	}
	nullable := p.Nullable
	p.Type, p.Declared, p.Element, p.Choices, p.Min, p.Max = merged.Type, merged.Declared, merged.Element, merged.Choices, merged.Min, merged.Max
	p.Secret, p.Nullable = p.Secret || merged.Secret, nullable
}

func numeric(t Type) bool { return t == TypeInt || t == TypeFloat }

// constrain takes what stands beside the type in Annotated, and pydantic's
// conint and confloat.
func (p *Parameter) constrain(e *expr) {
	if e.kind == exprLiteral {
		if text, ok := e.value.AsString(); ok && p.Help == "" {
			p.Help = text
		}
		return
	}
	if e.kind == exprName {
		p.marker(e.name)
		return
	}
	if e.kind != exprCall {
		return
	}
	switch word := strings.ToLower(lastWord(e.args[0].name)); word {
	case "ge", "gt", "le", "lt":
		if len(e.args) == 2 {
			p.bound(word, e.args[1])
		}
	case "conint":
		p.declare(TypeInt)
	case "confloat":
		p.declare(TypeFloat)
	}
	for _, k := range e.keywords {
		if text, ok := k.value.literal(); ok && k.name == "description" && p.Help == "" {
			p.Help, _ = text.AsString()
		}
		p.bound(k.name, k.value)
	}
}

// marker takes a bare name beside the type: only Secret means something there.
func (p *Parameter) marker(name string) {
	if strings.HasPrefix(strings.ToLower(lastWord(name)), "secret") {
		p.Secret = true
	}
}

func (p *Parameter) bound(word string, e *expr) {
	v, ok := e.literal()
	if !ok || v.kind != KindInt && v.kind != KindFloat {
		return
	}
	switch b := (&Bound{Value: v, Exclusive: word == "gt" || word == "lt"}); word {
	case "ge", "gt":
		p.Min = b
	case "le", "lt":
		p.Max = b
	}
}

var (
	helpChoices = regexp.MustCompile(`(?i)(?:^|[\s(,;.])one of:\s*([^;)]+)`)
	helpRange   = regexp.MustCompile(`(?:^|[\s(,;:])(-?\d+(?:\.\d+)?)\s?\.\.\s?(-?\d+(?:\.\d+)?)(?:$|[\s),;.])`)
	helpSecret  = regexp.MustCompile(`(?i)^secret(?:$|[\s:,;.(-])`)
)

// readHelp takes what the comment says of the values.
func (p *Parameter) readHelp(def Value) {
	if helpSecret.MatchString(p.Help) {
		p.Secret = true
	}
	if m := helpChoices.FindStringSubmatch(p.Help); m != nil && len(p.Choices) == 0 {
		text := p.Type == TypeStr || def.kind == KindString
		for item := range strings.SplitSeq(m[1], ",") {
			p.Choices = append(p.Choices, choiceOf(strings.TrimSpace(item), text))
		}
	}
	if m := helpRange.FindStringSubmatch(p.Help); m != nil && p.Min == nil && p.Max == nil && (numeric(p.Type) || p.Type == TypeAny) {
		p.Min, p.Max = &Bound{Value: guess(m[1])}, &Bound{Value: guess(m[2])}
	}
}

func choiceOf(item string, text bool) Value {
	if n := len(item); n >= 2 && (item[0] == '"' || item[0] == '\'') && item[n-1] == item[0] {
		return String(item[1 : n-1])
	}
	if text {
		return String(item)
	}
	return guess(item)
}

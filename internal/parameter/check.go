package parameter

import (
	"fmt"
	"math"
	"strings"
	"time"
)

// Rule is what a given value violates.
type Rule string

// The rules.
const (
	RuleUnknown  Rule = "unknown"
	RuleRequired Rule = "required"
	RuleType     Rule = "type"
	RuleChoice   Rule = "choice"
	RuleRange    Rule = "range"
)

// Violation is one thing that is wrong with given values, in words. The value of
// a secret parameter is never in it.
type Violation struct {
	Name string `json:"name"` // the parameter's
	Rule Rule   `json:"rule"`
	Text string `json:"text"` // what is wrong, without the name
}

// String returns "name: text".
func (v Violation) String() string { return v.Name + ": " + v.Text }

// Check returns everything that is wrong with the set, required parameters that
// it lacks included, in the schema's order; unknown names come last, and only
// when strict. A correct set gives nil.
func (s Schema) Check(set Set, strict bool) []Violation {
	_, violations := s.Apply(set, strict)
	return violations
}

// Apply is Check that also returns the set as the declared types want it:
//
//   - what was typed (a -p flag) for a declared str stays the text (007 is "007",
//     and None is null only where the parameter may be null);
//   - what was typed for a bool may be true, false, yes, no, on, off, 1 or 0;
//   - what was typed for a list or a dict is read as JSON or as a Python literal;
//   - a float without a fraction given for a declared int is that integer.
//
// Values that were not typed are never turned into another kind but for the last,
// and undeclared parameters are left as they are.
func (s Schema) Apply(set Set, strict bool) (Set, []Violation) {
	out := set.Clone()
	var violations []Violation
	for _, p := range s.Parameters {
		v, ok := set.Get(p.Name)
		if !ok {
			if p.Required {
				violations = append(violations, Violation{p.Name, RuleRequired, "a value is required, and none was given"})
			}
			continue
		}
		v = p.coerce(v)
		out.Put(p.Name, v)
		violations = append(violations, p.check(v)...)
	}
	if strict {
		for _, name := range s.Unknown(set) {
			violations = append(violations, Violation{name, RuleUnknown, "unknown parameter" + s.hint(name)})
		}
	}
	return out, violations
}

// Unknown returns the names of the set that the schema does not declare, in the
// set's order.
func (s Schema) Unknown(set Set) []string {
	known := make(map[string]bool, len(s.Parameters))
	for _, p := range s.Parameters {
		known[p.Name] = true
	}
	var names []string
	for name := range set.All() {
		if !known[name] {
			names = append(names, name)
		}
	}
	return names
}

// hint returns what to do about an unknown name.
func (s Schema) hint(name string) string {
	if near := s.Suggest(name); near != "" {
		return fmt.Sprintf(": did you mean %s?", near)
	}
	if len(s.Parameters) == 0 {
		return ": the notebook declares none"
	}
	names := make([]string, 0, len(s.Parameters))
	for _, p := range s.Parameters {
		names = append(names, p.Name)
	}
	return ": the notebook has " + shorten(strings.Join(names, ", "))
}

// Suggest returns the declared name that is most like the given one, or "" when
// none is near.
func (s Schema) Suggest(name string) string {
	best, least := "", max(1, len([]rune(name))/3)+1
	for _, p := range s.Parameters {
		if d := distance(strings.ToLower(name), strings.ToLower(p.Name), least); d < least {
			best, least = p.Name, d
		}
	}
	return best
}

// distance returns the number of edits between a and b (a swap of neighbours is
// one), or limit when it is not less.
func distance(a, b string, limit int) int {
	x, y := []rune(a), []rune(b)
	if len(x)-len(y) >= limit || len(y)-len(x) >= limit || len(x) > 200 {
		return limit
	}
	var before, prev []int
	row := make([]int, len(y)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(x); i++ {
		before, prev, row = prev, row, make([]int, len(y)+1)
		row[0] = i
		for j := 1; j <= len(y); j++ {
			cost := 1
			if x[i-1] == y[j-1] {
				cost = 0
			}
			row[j] = min(prev[j]+1, row[j-1]+1, prev[j-1]+cost)
			if i > 1 && j > 1 && x[i-1] == y[j-2] && x[i-2] == y[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
	}
	return min(row[len(y)], limit)
}

var typedBools = map[string]bool{
	"true": true, "yes": true, "on": true, "1": true, "false": false, "no": false, "off": false, "0": false,
}

func (p Parameter) coerce(v Value) Value {
	text, typed := v.Text()
	if typed && p.Declared {
		if text == "None" && p.Nullable {
			return Null()
		}
		for _, c := range p.Choices {
			if c.Equal(v) || c.kind == KindString && c.s == text {
				return c
			}
		}
		switch p.Type {
		case TypeStr, TypeDate, TypeDatetime:
			return String(text)
		case TypeBool:
			if b, ok := typedBools[strings.ToLower(strings.TrimSpace(text))]; ok {
				return Bool(b)
			}
		case TypeList, TypeDict:
			if w, ok := readTyped(text); ok {
				return w
			}
		}
	}
	if f, ok := v.AsFloat(); ok && p.Declared && p.Type == TypeInt && v.kind == KindFloat && f == math.Trunc(f) && math.Abs(f) < 1<<53 {
		return Int(int64(f))
	}
	return v
}

// readTyped reads the text of a list or a dictionary.
func readTyped(text string) (Value, bool) {
	if v, err := ParseJSON([]byte(text)); err == nil {
		return v, true
	}
	e, ok := parseAnnotation(strings.TrimSpace(text))
	if !ok {
		return Value{}, false
	}
	return e.literal()
}

// shown returns a value for a message.
func (p Parameter) shown(v Value) string {
	if p.Secret {
		return "the value"
	}
	return shorten(v.String())
}

func (p Parameter) check(v Value) []Violation {
	if v.IsNull() && (p.Nullable || !p.Declared && len(p.Choices) == 0 && p.Min == nil && p.Max == nil) {
		return nil
	}
	if text := p.wrongType(v); text != "" {
		return []Violation{{p.Name, RuleType, text}}
	}
	if len(p.Choices) > 0 {
		return p.wrongChoice(v)
	}
	return p.outOfRange(v)
}

func (p Parameter) wrongType(v Value) string {
	if !p.Declared {
		return ""
	}
	if !fits(p.Type, v) {
		return fmt.Sprintf("%s is %s, not %s", p.shown(v), kindPhrase(v), typePhrases[p.Type])
	}
	if p.Element == "" {
		return ""
	}
	for i, e := range v.list {
		if !fits(p.Element, e) {
			return fmt.Sprintf("element %d, %s, is %s, not %s", i, p.shown(e), kindPhrase(e), typePhrases[p.Element])
		}
	}
	for _, f := range v.fields {
		if !fits(p.Element, f.Value) {
			return fmt.Sprintf("the value of %s, %s, is %s, not %s", shorten(f.Key.String()), p.shown(f.Value), kindPhrase(f.Value), typePhrases[p.Element])
		}
	}
	return ""
}

var typePhrases = map[Type]string{
	TypeStr: "a str", TypeInt: "an int", TypeFloat: "a float", TypeBool: "a bool", TypeList: "a list", TypeDict: "a dict",
	TypeDate: "a date like 2026-11-23", TypeDatetime: "a time like 2026-11-23T14:00:00Z", TypeAny: "any value",
}

func kindPhrase(v Value) string {
	switch v.kind {
	case KindNull:
		return "null"
	case KindInt:
		return "an int"
	default:
		return "a " + v.kind.String()
	}
}

func fits(t Type, v Value) bool {
	switch t {
	case TypeStr:
		return v.kind == KindString
	case TypeInt:
		return v.kind == KindInt
	case TypeFloat:
		return v.kind == KindInt || v.kind == KindFloat
	case TypeBool:
		return v.kind == KindBool
	case TypeList:
		return v.kind == KindList
	case TypeDict:
		return v.kind == KindDict
	case TypeDate:
		return v.kind == KindString && isTime(v.s, time.DateOnly)
	case TypeDatetime:
		return v.kind == KindString && isTime(v.s, time.RFC3339, "2006-01-02T15:04:05", "2006-01-02 15:04:05", "2006-01-02T15:04", "2006-01-02 15:04", "2006-01-02 15:04:05Z07:00", time.DateOnly)
	default:
		return true
	}
}

func isTime(s string, layouts ...string) bool {
	for _, layout := range layouts {
		if _, err := time.Parse(layout, s); err == nil {
			return true
		}
	}
	return false
}

func (p Parameter) wrongChoice(v Value) []Violation {
	names := make([]string, 0, len(p.Choices))
	for i, c := range p.Choices {
		if c.Equal(v) {
			return nil
		}
		if i < 20 {
			names = append(names, shorten(c.String()))
		}
	}
	if more := len(p.Choices) - len(names); more > 0 {
		names = append(names, fmt.Sprintf("… (%d more)", more))
	}
	text := fmt.Sprintf("%s is not one of %s", p.shown(v), strings.Join(names, ", "))
	if p.Secret {
		text = "the value is not one of the choices"
	}
	return []Violation{{p.Name, RuleChoice, text}}
}

func (p Parameter) outOfRange(v Value) []Violation {
	if p.Min == nil && p.Max == nil {
		return nil
	}
	f, ok := v.AsFloat()
	if !ok {
		return []Violation{{p.Name, RuleType, fmt.Sprintf("%s is %s, not a number", p.shown(v), kindPhrase(v))}}
	}
	say := func(format string, b *Bound) []Violation {
		return []Violation{{p.Name, RuleRange, fmt.Sprintf(format, p.shown(v), b.Value)}}
	}
	switch {
	case math.IsNaN(f):
		return []Violation{{p.Name, RuleRange, p.shown(v) + " is in no range"}}
	case p.Min != nil && p.Min.Exclusive && compareNumbers(v, p.Min.Value) <= 0:
		return say("%s is not over %s", p.Min)
	case p.Min != nil && compareNumbers(v, p.Min.Value) < 0:
		return say("%s is under its minimum %s", p.Min)
	case p.Max != nil && p.Max.Exclusive && compareNumbers(v, p.Max.Value) >= 0:
		return say("%s is not under %s", p.Max)
	case p.Max != nil && compareNumbers(v, p.Max.Value) > 0:
		return say("%s is over its maximum %s", p.Max)
	}
	return nil
}

// compareNumbers compares two numbers, integers exactly.
func compareNumbers(a, b Value) int {
	x, xok := a.AsBigInt()
	y, yok := b.AsBigInt()
	if xok && yok {
		return x.Cmp(y)
	}
	f, _ := a.AsFloat()
	g, _ := b.AsFloat()
	switch {
	case f < g:
		return -1
	case f > g:
		return 1
	}
	return 0
}

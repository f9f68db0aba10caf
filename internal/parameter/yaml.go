package parameter

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"math/big"
	"path"
	"regexp"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"quire/internal/problem"
)

// Limits on a document of parameters.
const (
	// MaxDocument is the largest parameter document, in bytes.
	MaxDocument = 16 << 20
	// MaxValues is the most values one document may hold once its aliases are
	// expanded.
	MaxValues = 1_000_000
	// MaxDepth is the deepest nesting of lists and dictionaries.
	MaxDepth = 500
)

// FromFile reads a parameters file: JSON when its name ends in .json, else
// YAML. A .json file that is not JSON is tried as YAML, as Papermill reads it.
// name is for messages.
func FromFile(name string, data []byte) (Set, error) {
	if !strings.EqualFold(path.Ext(name), ".json") {
		return FromYAML(name, data)
	}
	s, err := FromJSON(name, data)
	if err == nil {
		return s, nil
	}
	if alt, altErr := FromYAML(name, data); altErr == nil {
		return alt, nil
	}
	return Set{}, err
}

// FromYAML reads a mapping of parameter names to values as Papermill does:
// YAML 1.1 by PyYAML's safe loader, without dates (yes is true, 012 is ten, 1:30
// is ninety, 1e3 without a dot is a string). An empty document or list is an
// empty set. Errors are of kind Invalid or TooLarge and name the line; name is
// the file or flag for them.
func FromYAML(name string, data []byte) (Set, error) {
	v, err := yamlValue(data)
	if err != nil {
		return Set{}, problem.Wrap(err, "reading parameters from %s", name)
	}
	s, err := asSet(v)
	return s, problem.Wrap(err, "reading parameters from %s", name)
}

// asSet turns a document into a set.
func asSet(v Value) (Set, error) {
	if v.IsNull() || v.kind == KindList && len(v.list) == 0 {
		return Set{}, nil
	}
	if v.kind != KindDict {
		return Set{}, problem.New(problem.Invalid, "want a mapping of parameter names to values at the top, not a %s", v.kind)
	}
	var s Set
	for _, f := range v.fields {
		if f.Key.kind != KindString {
			return Set{}, problem.New(problem.Invalid, "parameter name %s is a %s, not a string: put it in quotes", f.Key, f.Key.kind)
		}
		s.Put(f.Key.s, f.Value)
	}
	return s, nil
}

func yamlValue(data []byte) (v Value, err error) {
	if len(data) > MaxDocument {
		return Value{}, problem.New(problem.TooLarge, "%d bytes are over the limit of %d", len(data), MaxDocument)
	}
	// The parser is a third party's and the input hostile: a panic in it is the
	// input's fault, not ours.
	defer func() {
		if r := recover(); r != nil {
			v, err = Value{}, problem.New(problem.Invalid, "not YAML: %v", r)
		}
	}()
	dec := yaml.NewDecoder(bytes.NewReader(yamlDirective.ReplaceAll(data, []byte("${1}%YAML 1.1"))))
	var doc yaml.Node
	if err := dec.Decode(&doc); errors.Is(err, io.EOF) {
		return Null(), nil
	} else if err != nil {
		// PyYAML knows the escape \/ that some JSON writers use; our parser does not.
		if v, jsonErr := ParseJSON(data); jsonErr == nil {
			return v, nil
		}
		return Value{}, yamlError(err)
	}
	var next yaml.Node
	if err := dec.Decode(&next); err == nil {
		return Value{}, problem.New(problem.Invalid, "line %d: want one document, a second begins here", next.Line)
	} else if !errors.Is(err, io.EOF) {
		return Value{}, yamlError(err)
	}
	c := yamlReader{open: make(map[*yaml.Node]bool)}
	return c.value(&doc, 0)
}

// yamlDirective finds the version directive at the top of a document. PyYAML
// reads every version 1.x as 1.1; our parser refuses what is not 1.1.
var yamlDirective = regexp.MustCompile(`\A((?:[ \t]*(?:#[^\n]*)?\r?\n)*)%YAML[ \t]+1\.[0-9]+`)

func yamlError(err error) error {
	return problem.New(problem.Invalid, "not YAML: %s", strings.TrimPrefix(err.Error(), "yaml: "))
}

// yamlReader turns nodes into values by PyYAML's rules.
type yamlReader struct {
	count int
	open  map[*yaml.Node]bool // the anchors being expanded now
}

func (c *yamlReader) value(n *yaml.Node, depth int) (Value, error) {
	if c.count++; c.count > MaxValues {
		return Value{}, problem.New(problem.TooLarge, "line %d: more than %d values once aliases are expanded", n.Line, MaxValues)
	}
	if depth > MaxDepth {
		return Value{}, problem.New(problem.TooLarge, "line %d: nested deeper than %d", n.Line, MaxDepth)
	}
	switch n.Kind {
	case yaml.DocumentNode:
		if len(n.Content) == 0 {
			return Null(), nil
		}
		return c.value(n.Content[0], depth)
	case yaml.AliasNode:
		return c.alias(n, depth)
	case yaml.SequenceNode:
		return c.list(n, depth)
	case yaml.MappingNode:
		return c.dict(n, depth)
	case yaml.ScalarNode:
		return yamlScalar(n)
	default:
		return Null(), nil
	}
}

func (c *yamlReader) alias(n *yaml.Node, depth int) (Value, error) {
	if n.Alias == nil {
		return Value{}, problem.New(problem.Invalid, "line %d: alias *%s has no anchor", n.Line, n.Value)
	}
	if c.open[n.Alias] {
		return Value{}, problem.New(problem.Invalid, "line %d: anchor &%s holds itself", n.Line, n.Value)
	}
	return c.value(n.Alias, depth+1)
}

func (c *yamlReader) list(n *yaml.Node, depth int) (Value, error) {
	if tag := explicitTag(n); tag != "" && tag != "!!seq" {
		return Value{}, badTag(n, tag)
	}
	c.open[n] = true
	defer delete(c.open, n)
	list := make([]Value, 0, len(n.Content))
	for _, e := range n.Content {
		v, err := c.value(e, depth+1)
		if err != nil {
			return Value{}, err
		}
		list = append(list, v)
	}
	return List(list...), nil
}

func (c *yamlReader) dict(n *yaml.Node, depth int) (Value, error) {
	if tag := explicitTag(n); tag != "" && tag != "!!map" {
		return Value{}, badTag(n, tag)
	}
	fields, err := c.fields(n, depth)
	if err != nil {
		return Value{}, err
	}
	return Dict(fields...), nil
}

// fields returns the entries of a mapping, those that it merges in first, so
// that its own win.
func (c *yamlReader) fields(n *yaml.Node, depth int) ([]Field, error) {
	if c.count++; c.count > MaxValues || depth > MaxDepth {
		return nil, problem.New(problem.TooLarge, "line %d: more than %d values, or nested deeper than %d, once aliases are expanded", n.Line, MaxValues, MaxDepth)
	}
	c.open[n] = true
	defer delete(c.open, n)
	var merged, own []Field
	for i := 0; i+1 < len(n.Content); i += 2 {
		kn, vn := n.Content[i], n.Content[i+1]
		if isMergeKey(kn) {
			m, err := c.merge(vn, depth)
			if err != nil {
				return nil, err
			}
			merged = append(merged, m...)
			continue
		}
		k, err := c.key(kn, depth)
		if err != nil {
			return nil, err
		}
		v, err := c.value(vn, depth+1)
		if err != nil {
			return nil, err
		}
		own = append(own, Field{Key: k, Value: v})
	}
	return append(merged, own...), nil
}

func isMergeKey(n *yaml.Node) bool {
	tag := explicitTag(n)
	return n.Kind == yaml.ScalarNode && (tag == "!!merge" || tag == "" && plain(n) && n.Value == "<<")
}

// merge returns the entries that a merge key brings: of a mapping, or of a list
// of mappings of which the first wins.
func (c *yamlReader) merge(n *yaml.Node, depth int) ([]Field, error) {
	if n.Kind == yaml.AliasNode && n.Alias != nil {
		if c.open[n.Alias] {
			return nil, problem.New(problem.Invalid, "line %d: anchor &%s holds itself", n.Line, n.Value)
		}
		n = n.Alias
	}
	switch n.Kind {
	case yaml.MappingNode:
		return c.fields(n, depth+1)
	case yaml.SequenceNode:
		c.open[n] = true
		defer delete(c.open, n)
		var all []Field
		for i := len(n.Content) - 1; i >= 0; i-- {
			e := n.Content[i]
			if e.Kind == yaml.AliasNode && e.Alias != nil && !c.open[e.Alias] {
				e = e.Alias
			}
			if e.Kind != yaml.MappingNode {
				return nil, problem.New(problem.Invalid, "line %d: a merge (<<) wants mappings in its list", e.Line)
			}
			m, err := c.fields(e, depth+1)
			if err != nil {
				return nil, err
			}
			all = append(all, m...)
		}
		return all, nil
	default:
		return nil, problem.New(problem.Invalid, "line %d: a merge (<<) wants a mapping or a list of mappings", n.Line)
	}
}

func (c *yamlReader) key(n *yaml.Node, depth int) (Value, error) {
	if n.Kind == yaml.ScalarNode && n.Value == "=" && plain(n) {
		return String("="), nil
	}
	k, err := c.value(n, depth+1)
	if err != nil {
		return Value{}, err
	}
	if k.kind == KindList || k.kind == KindDict {
		return Value{}, problem.New(problem.Invalid, "line %d: a %s cannot be a key", n.Line, k.kind)
	}
	return k, nil
}

// explicitTag returns the tag that the document states for n, in short form, or
// "". The non-specific tag "!" makes a scalar a string.
func explicitTag(n *yaml.Node) string {
	if n.Style&yaml.TaggedStyle == 0 {
		return ""
	}
	return n.ShortTag()
}

func plain(n *yaml.Node) bool {
	return n.Style&(yaml.DoubleQuotedStyle|yaml.SingleQuotedStyle|yaml.LiteralStyle|yaml.FoldedStyle) == 0
}

func badTag(n *yaml.Node, tag string) error {
	return problem.New(problem.Invalid, "line %d: tag %s is not one a parameter can have", n.Line, tag)
}

// PyYAML's own resolver patterns, in the order in which it tries them.
var (
	yamlBool  = regexp.MustCompile(`^(?:yes|Yes|YES|no|No|NO|true|True|TRUE|false|False|FALSE|on|On|ON|off|Off|OFF)$`)
	yamlFloat = regexp.MustCompile(`^(?:[-+]?(?:[0-9][0-9_]*)\.[0-9_]*(?:[eE][-+][0-9]+)?|\.[0-9][0-9_]*(?:[eE][-+][0-9]+)?|[-+]?[0-9][0-9_]*(?::[0-5]?[0-9])+\.[0-9_]*|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$`)
	yamlInt   = regexp.MustCompile(`^(?:[-+]?0b[0-1_]+|[-+]?0[0-7_]+|[-+]?(?:0|[1-9][0-9_]*)|[-+]?0x[0-9a-fA-F_]+|[-+]?[1-9][0-9_]*(?::[0-5]?[0-9])+)$`)
	yamlNull  = regexp.MustCompile(`^(?:~|null|Null|NULL|)$`)
)

func yamlScalar(n *yaml.Node) (Value, error) {
	switch tag := explicitTag(n); tag {
	case "":
		if !plain(n) {
			return String(n.Value), nil
		}
		return resolvePlain(n)
	case "!!str", "!", "!!value":
		return String(n.Value), nil
	case "!!null":
		return Null(), nil
	case "!!bool":
		return yamlBoolOf(n)
	case "!!int":
		return yamlIntOf(n)
	case "!!float":
		return yamlFloatOf(n)
	default:
		return Value{}, badTag(n, tag)
	}
}

func resolvePlain(n *yaml.Node) (Value, error) {
	switch s := n.Value; {
	case yamlBool.MatchString(s):
		return yamlBoolOf(n)
	case yamlFloat.MatchString(s):
		return yamlFloatOf(n)
	case yamlInt.MatchString(s):
		return yamlIntOf(n)
	case yamlNull.MatchString(s):
		return Null(), nil
	case s == "<<" || s == "=":
		return Value{}, problem.New(problem.Invalid, "line %d: %s stands for a merge or a default in YAML: put it in quotes", n.Line, s)
	default:
		return String(s), nil
	}
}

func yamlBoolOf(n *yaml.Node) (Value, error) {
	switch strings.ToLower(n.Value) {
	case "yes", "true", "on":
		return Bool(true), nil
	case "no", "false", "off":
		return Bool(false), nil
	}
	return Value{}, notA(n, "boolean")
}

func notA(n *yaml.Node, what string) error {
	return problem.New(problem.Invalid, "line %d: %s is not a %s", n.Line, shorten(quotePython(n.Value)), what)
}

func yamlIntOf(n *yaml.Node) (Value, error) {
	s, negative := cutSign(strings.ReplaceAll(n.Value, "_", ""))
	base, digits := 10, s
	switch {
	case s == "0":
	case strings.HasPrefix(s, "0b"):
		base, digits = 2, s[2:]
	case strings.HasPrefix(s, "0x"):
		base, digits = 16, s[2:]
	case strings.HasPrefix(s, "0"):
		base = 8
	case strings.Contains(s, ":"):
		return yamlSexagesimal(n, s, negative)
	}
	if len(digits) > maxIntDigits {
		return Value{}, problem.New(problem.TooLarge, "line %d: an integer of %d digits is over the limit of %d", n.Line, len(digits), maxIntDigits)
	}
	v, ok := new(big.Int).SetString(digits, base)
	if !ok || strings.ContainsAny(digits, "+-_") {
		return Value{}, notA(n, "integer")
	}
	if negative {
		v.Neg(v)
	}
	return BigInt(v), nil
}

func cutSign(s string) (rest string, negative bool) {
	if s != "" && (s[0] == '-' || s[0] == '+') {
		return s[1:], s[0] == '-'
	}
	return s, false
}

func yamlSexagesimal(n *yaml.Node, s string, negative bool) (Value, error) {
	sum, sixty := new(big.Int), big.NewInt(60)
	if len(s) > maxIntDigits {
		return Value{}, problem.New(problem.TooLarge, "line %d: an integer of %d characters is over the limit of %d", n.Line, len(s), maxIntDigits)
	}
	for part := range strings.SplitSeq(s, ":") {
		digit, ok := new(big.Int).SetString(part, 10)
		if !ok {
			return Value{}, notA(n, "integer")
		}
		sum.Add(sum.Mul(sum, sixty), digit)
	}
	if negative {
		sum.Neg(sum)
	}
	return BigInt(sum), nil
}

func yamlFloatOf(n *yaml.Node) (Value, error) {
	s, negative := cutSign(strings.ToLower(strings.ReplaceAll(n.Value, "_", "")))
	var f float64
	switch {
	case s == ".inf":
		f = math.Inf(1)
	case s == ".nan":
		return Float(math.NaN()), nil
	case strings.Contains(s, ":"):
		parts := strings.Split(s, ":")
		base := 1.0
		for i := len(parts) - 1; i >= 0; i-- {
			d, err := strconv.ParseFloat(parts[i], 64)
			if err != nil && !errors.Is(err, strconv.ErrRange) {
				return Value{}, notA(n, "number")
			}
			f += d * base
			base *= 60
		}
	default:
		d, ok := parsePyFloat(s)
		if !ok {
			return Value{}, notA(n, "number")
		}
		f = d
	}
	if negative {
		f = -f
	}
	return Float(f), nil
}

// shorten cuts a text for a message to about 60 characters.
func shorten(s string) string {
	if r := []rune(s); len(r) > 60 {
		return fmt.Sprintf("%s… (%d characters)", string(r[:57]), len(r))
	}
	return s
}

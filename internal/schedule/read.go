package schedule

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"quire/internal/problem"
)

// A Fault is one thing that is wrong in a definition.
type Fault struct {
	Line int    `json:"line"` // from 1; 0 when it is about the whole
	Text string `json:"text"`
}

// String returns the fault with its line.
func (f Fault) String() string {
	if f.Line == 0 {
		return f.Text
	}
	return fmt.Sprintf("line %d: %s", f.Line, f.Text)
}

// asError makes one error of kind Invalid of the faults, nil when there are
// none.
func asError(faults []Fault) error {
	if len(faults) == 0 {
		return nil
	}
	lines := make([]string, len(faults))
	for i, f := range faults {
		lines[i] = f.String()
	}
	return problem.New(problem.Invalid, "%s", strings.Join(lines, "\n"))
}

// Read reads a definition as YAML or JSON. It is strict: an unknown name, a
// wrong type, a step that is not there is a fault, and all of them are
// returned, each with its line. The definition is complete only when there are
// none.
func Read(text []byte) (Definition, []Fault) {
	r := &reader{}
	d := Definition{Format: Format, Zone: "UTC", Strategy: Sequential, Parallel: 1, CatchUp: CatchLatest}
	if len(text) > MaxText {
		return d, []Fault{{Text: fmt.Sprintf("a definition has at most %d KiB", MaxText>>10)}}
	}
	var doc yaml.Node
	if err := yaml.Unmarshal(text, &doc); err != nil {
		return d, []Fault{yamlFault(err)}
	}
	if len(doc.Content) != 1 || doc.Content[0].Kind != yaml.MappingNode {
		return d, []Fault{{Line: 1, Text: "want a mapping with schedule, name, triggers and notebook or steps"}}
	}
	r.noAliases(doc.Content[0], 0)
	if len(r.faults) == 0 {
		r.definition(doc.Content[0], &d)
	}
	for i := range d.Steps {
		if s := &d.Steps[i]; s.Template != "" && s.Notebook == "" {
			s.Notebook = templatePath(s.Template)
		}
	}
	whole := len(r.faults) == 0
	r.followBranches(d)
	r.checkSteps(d, whole)
	r.checkInputs(d)
	if whole {
		r.check(d)
	}
	slices.SortStableFunc(r.faults, func(a, b Fault) int { return a.Line - b.Line })
	return d, r.faults
}

// templatePath is what a template's runs call their notebook; see
// nbtemplate.Path.
func templatePath(name string) string { return "templates/" + name + ".ipynb" }

var yamlLine = regexp.MustCompile(`^yaml: (?:line (\d+): )?(.*)`)

func yamlFault(err error) Fault {
	m := yamlLine.FindStringSubmatch(strings.Split(err.Error(), "\n")[0])
	if m == nil {
		return Fault{Text: err.Error()}
	}
	line, _ := strconv.Atoi(m[1])
	return Fault{Line: line, Text: "not YAML: " + m[2]}
}

// A reader turns nodes into values and collects what is wrong.
type reader struct {
	faults    []Fault
	top       *yaml.Node          // the definition
	unknown   map[*yaml.Node]bool // keys that were told about
	zone      *time.Location
	stepLines map[string]int
	lateLine  int              // of a rule of notify that is about lateness
	signals   bool             // some trigger waits for them
	datesLine int              // of only or except
	longLine  int              // of one about fires that run long
	places    map[string][]int // where texts with expressions are
}

func (r *reader) fail(n *yaml.Node, format string, args ...any) {
	r.faults = append(r.faults, Fault{Line: n.Line, Text: fmt.Sprintf(format, args...)})
}

const maxDepth = 50

// noAliases refuses references within a document, which grow without bound.
func (r *reader) noAliases(n *yaml.Node, depth int) {
	if n.Kind == yaml.AliasNode || n.Anchor != "" {
		r.fail(n, "aliases and anchors (& and *) are not read here")
		return
	}
	if depth > maxDepth {
		r.fail(n, "nested deeper than %d", maxDepth)
		return
	}
	for _, c := range n.Content {
		r.noAliases(c, depth+1)
	}
}

// A part reads the value of one key.
type part func(*yaml.Node)

// mapping reads each key of n with its part. what names the mapping.
func (r *reader) mapping(n *yaml.Node, what string, parts map[string]part) {
	if n.Kind != yaml.MappingNode {
		r.fail(n, "%s: want a mapping, not %s", what, kindOf(n))
		return
	}
	seen := map[string]bool{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		read, known := parts[key.Value]
		switch {
		case !known:
			if !r.unknown[key] { // a trigger that is a signal is read as both
				r.fail(key, "%s has no %q%s", what, key.Value, r.meant(key.Value, parts))
			}
			if r.unknown == nil {
				r.unknown = map[*yaml.Node]bool{}
			}
			r.unknown[key] = true
		case seen[key.Value]:
			r.fail(key, "%q is there twice", key.Value)
		default:
			seen[key.Value] = true
			read(value)
		}
	}
}

// nearest names the key that was perhaps meant: the one that begins most like it.
func nearest(name string, parts map[string]part) string {
	var known []string
	best, same := "", 2
	for _, key := range slices.Sorted(maps.Keys(parts)) {
		known = append(known, key)
		n := 0
		for a, b := folded(name), folded(key); n < min(len(a), len(b)) && a[n] == b[n]; n++ {
		}
		if n > same {
			best, same = key, n
		}
	}
	if best != "" {
		return ": did you mean " + best + "?"
	}
	return ": want one of " + strings.Join(known, ", ")
}

func kindOf(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "a mapping"
	case yaml.SequenceNode:
		return "a list"
	}
	if n.Tag == "!!null" {
		return "nothing"
	}
	return strconv.Quote(n.Value)
}

func (r *reader) text(what string, into *string) part {
	return func(n *yaml.Node) {
		if n.Kind != yaml.ScalarNode || n.Tag == "!!null" {
			r.fail(n, "%s: want a text, not %s", what, kindOf(n))
			return
		}
		*into = n.Value
	}
}

func (r *reader) texts(what string, most int, into *[]string) part {
	return func(n *yaml.Node) {
		switch {
		case n.Kind == yaml.ScalarNode && n.Tag != "!!null":
			r.fail(n, "%s: want a list, such as [%s], not %s", what, n.Value, kindOf(n))
			return
		case n.Kind != yaml.SequenceNode || len(n.Content) > most:
			r.fail(n, "%s: want a list of at most %d", what, most)
			return
		}
		for _, c := range n.Content {
			var one string
			r.text(what, &one)(c)
			*into = append(*into, one)
		}
	}
}

func (r *reader) whole(what string, low, high int, into *int) part {
	return func(n *yaml.Node) {
		v, err := strconv.Atoi(n.Value)
		if n.Kind != yaml.ScalarNode || err != nil || v < low || v > high {
			r.fail(n, "%s: want a whole number from %d to %d, not %s", what, low, high, kindOf(n))
			return
		}
		*into = v
	}
}

func (r *reader) yes(what string, into *bool) part {
	return func(n *yaml.Node) {
		if n.Tag != "!!bool" {
			r.fail(n, "%s: want true or false, not %s", what, kindOf(n))
			return
		}
		*into = n.Value == "true" || n.Value == "True" || n.Value == "TRUE"
	}
}

var spanPattern = regexp.MustCompile(`^(\d+)(s|m|h|d|w)`)

var units = map[string]int64{"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}

// parseSpan reads 90s, 15m, 2h, 1d, 1w or several of them: 1h30m. It returns
// seconds.
func parseSpan(text string) (int64, error) {
	rest, total := strings.TrimSpace(text), int64(0)
	for rest != "" {
		m := spanPattern.FindStringSubmatch(rest)
		if m == nil || len(m[1]) > 9 {
			return 0, problem.New(problem.Invalid, "%q: want a time span such as 90s, 15m, 2h, 1d or 1h30m", text)
		}
		n, _ := strconv.ParseInt(m[1], 10, 64)
		total += n * units[m[2]]
		rest = rest[len(m[0]):]
	}
	if total == 0 && !strings.ContainsAny(text, "0") || total > 3660*86400 {
		return 0, problem.New(problem.Invalid, "%q: want a time span such as 90s, 15m, 2h, 1d or 1h30m", text)
	}
	return total, nil
}

func (r *reader) span(what string, low int64, into *int64) part {
	return func(n *yaml.Node) {
		v, err := parseSpan(n.Value)
		if n.Kind != yaml.ScalarNode || err != nil {
			r.fail(n, "%s: %s: want a time span such as 90s, 15m, 2h or 1d", what, kindOf(n))
			return
		}
		if v < low {
			r.fail(n, "%s: at least %d s", what, low)
			return
		}
		*into = v
	}
}

// localForms are how a time without a zone may be written.
var localForms = []string{"2006-01-02T15:04:05", "2006-01-02T15:04", "2006-01-02 15:04:05", "2006-01-02 15:04", time.DateOnly}

// parseMoment reads an instant with a zone of its own, or a wall-clock time in
// zone.
func parseMoment(text string, zone *time.Location) (time.Time, error) {
	if t, err := time.Parse(time.RFC3339, text); err == nil {
		return t.UTC(), nil
	}
	for _, form := range localForms {
		if t, err := time.Parse(form, text); err == nil {
			return LocalTime(t, zone).UTC(), nil
		}
	}
	return time.Time{}, problem.New(problem.Invalid, "%q: want a time such as 2026-12-01T06:00 or 2026-12-01T06:00:00Z", text)
}

func (r *reader) moment(what string, into *time.Time) part {
	return func(n *yaml.Node) {
		t, err := parseMoment(n.Value, r.zone)
		if n.Kind != yaml.ScalarNode || err != nil || t.Year() < 1970 || t.Year() > 2200 {
			r.fail(n, "%s: %s: want a time such as 2026-12-01T06:00, from 1970 to 2200", what, kindOf(n))
			return
		}
		*into = t
	}
}

func oneOf[T ~string](r *reader, what string, into *T, all ...T) part {
	return func(n *yaml.Node) {
		if n.Kind != yaml.ScalarNode || !slices.Contains(all, T(n.Value)) {
			var names []string
			for _, one := range all {
				names = append(names, string(one))
			}
			r.fail(n, "%s: %s: want one of %s", what, kindOf(n), strings.Join(names, ", "))
			return
		}
		*into = T(n.Value)
	}
}

// value reads any value as JSON. Texts that look like dates stay texts.
func (r *reader) value(n *yaml.Node) any {
	switch n.Kind {
	case yaml.MappingNode:
		m := map[string]any{}
		for i := 0; i+1 < len(n.Content); i += 2 {
			if _, twice := m[n.Content[i].Value]; twice {
				r.fail(n.Content[i], "%q is there twice", n.Content[i].Value)
			}
			m[n.Content[i].Value] = r.value(n.Content[i+1])
		}
		return m
	case yaml.SequenceNode:
		list := make([]any, len(n.Content))
		for i, c := range n.Content {
			list[i] = r.value(c)
		}
		return list
	}
	switch n.Tag {
	case "!!null":
		return nil
	case "!!int", "!!float", "!!bool":
		var v any
		if err := n.Decode(&v); err != nil {
			r.fail(n, "%s is not read", kindOf(n))
		}
		if f, ok := v.(float64); ok && (math.IsNaN(f) || math.IsInf(f, 0)) {
			r.fail(n, "%s cannot be a parameter", n.Value)
			return nil
		}
		return v
	}
	r.noteText(n)
	return n.Value
}

// noteText notes where an expression stands.
func (r *reader) noteText(n *yaml.Node) {
	if strings.Contains(n.Value, "{{") {
		if r.places == nil {
			r.places = map[string][]int{}
		}
		r.places[n.Value] = append(r.places[n.Value], n.Line)
	}
}

// lineOf is where a text with expressions stands, in what begins at a line.
func (r *reader) lineOf(text string, from int) *yaml.Node {
	for _, line := range r.places[text] {
		if line >= from {
			return &yaml.Node{Line: line}
		}
	}
	return &yaml.Node{Line: from}
}

func (r *reader) json(n *yaml.Node) json.RawMessage {
	data, err := json.Marshal(r.value(n))
	if err != nil {
		r.fail(n, "%v", err)
	}
	return data
}

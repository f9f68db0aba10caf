package schedule

import (
	"encoding/json"
	"fmt"
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
	if len(r.faults) == 0 {
		r.check(d)
	}
	slices.SortStableFunc(r.faults, func(a, b Fault) int { return a.Line - b.Line })
	return d, r.faults
}

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
	zone      *time.Location
	stepLines map[string]int
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
			r.fail(key, "%s has no %q%s", what, key.Value, nearest(key.Value, parts))
		case seen[key.Value]:
			r.fail(key, "%q is there twice", key.Value)
		default:
			seen[key.Value] = true
			read(value)
		}
	}
}

// nearest names the key that was perhaps meant.
func nearest(name string, parts map[string]part) string {
	folded := func(s string) string { return strings.ToLower(strings.NewReplacer("_", "", "-", "").Replace(s)) }
	var known []string
	for key := range parts {
		if folded(key) == folded(name) || len(name) > 3 && strings.HasPrefix(folded(key), folded(name)[:3]) {
			return ": did you mean " + key + "?"
		}
		known = append(known, key)
	}
	slices.Sort(known)
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
		if n.Kind != yaml.SequenceNode || len(n.Content) > most {
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
			r.fail(n, "%s: %s: want one of %v", what, kindOf(n), all)
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
	return n.Value
}

func (r *reader) json(n *yaml.Node) json.RawMessage {
	data, err := json.Marshal(r.value(n))
	if err != nil {
		r.fail(n, "%v", err)
	}
	return data
}

func (r *reader) definition(n *yaml.Node, d *Definition) {
	r.zone, r.stepLines = time.UTC, map[string]int{}
	for i := 0; i+1 < len(n.Content); i += 2 { // what is written as local time needs it first
		if n.Content[i].Value == "timezone" {
			zone, err := LoadZone(n.Content[i+1].Value)
			if err != nil {
				r.fail(n.Content[i+1], "timezone: %v", err)
				continue
			}
			r.zone = zone
		}
	}
	format := 0
	one := Step{Name: "notebook", Source: Snapshot, When: WhenSucceeded}
	single := false
	parts := map[string]part{
		"schedule":      r.whole("schedule", Format, Format, &format),
		"name":          r.text("name", &d.Name),
		"description":   r.text("description", &d.Description),
		"tags":          r.texts("tags", 18, &d.Tags),
		"timezone":      r.text("timezone", &d.Zone),
		"triggers":      func(n *yaml.Node) { r.triggers(n, d) },
		"except":        r.texts("except", MaxExcept, &d.Except),
		"start":         r.moment("start", &d.Start),
		"end":           r.moment("end", &d.End),
		"strategy":      oneOf(r, "strategy", &d.Strategy, Sequential, StrictSequential, FirstOnly, LastOnly, Parallel),
		"parallel":      r.whole("parallel", 1, 100, &d.Parallel),
		"catchUp":       oneOf(r, "catchUp", &d.CatchUp, CatchNone, CatchLatest, CatchAll),
		"window":        r.span("window", 1, &d.WindowSeconds),
		"startWithin":   r.span("startWithin", 1, &d.StartWithinSeconds),
		"doneWithin":    r.span("doneWithin", 1, &d.DoneWithinSeconds),
		"stopAtFailure": r.yes("stopAtFailure", &d.StopAtFailure),
		"priority":      r.whole("priority", -100, 100, &d.Priority),
		"steps":         func(n *yaml.Node) { r.steps(n, d) },
	}
	for key, read := range r.notebookParts(&one) {
		parts[key] = func(n *yaml.Node) { single = true; read(n) }
	}
	r.mapping(n, "a definition", parts)
	if len(r.faults) > 0 {
		return
	}
	if format == 0 {
		r.fail(n, "the line \"schedule: %d\" is missing: it is the version of this format", Format)
	}
	if !ValidName(d.Name) {
		r.fail(n, "name: want 1 to 63 lower-case letters, digits, \"-\" and \"_\", not %q", d.Name)
	}
	switch {
	case single && len(d.Steps) > 0:
		r.fail(n, "a definition has notebook or steps, not both")
	case single:
		r.stepLines[one.Name] = n.Line
		d.Steps = []Step{one}
	}
	if len(d.Steps) == 0 && len(r.faults) == 0 {
		r.fail(n, "there is nothing to run: name a notebook, or steps")
	}
}

// notebookParts are the keys about one notebook, in a step or at the top.
func (r *reader) notebookParts(s *Step) map[string]part {
	return map[string]part{
		"notebook": r.text("notebook", &s.Notebook),
		"source":   oneOf(r, "source", &s.Source, Snapshot, Latest),
		"parameters": func(n *yaml.Node) {
			if n.Kind != yaml.MappingNode {
				r.fail(n, "parameters: want a mapping, not %s", kindOf(n))
				return
			}
			s.Parameters = r.json(n)
		},
		"kernel":  r.text("kernel", &s.Kernel),
		"timeout": r.span("timeout", 1, &s.TimeoutSeconds),
		"retries": func(n *yaml.Node) { r.retries(n, &s.Retries) },
		"foreach": func(n *yaml.Node) { s.Foreach = r.json(n) },
	}
}

func (r *reader) retries(n *yaml.Node, into *Retries) {
	if n.Kind == yaml.ScalarNode {
		r.whole("retries", 0, maxRetries, &into.Notebook)(n)
		return
	}
	var backoff string
	r.mapping(n, "retries", map[string]part{
		"notebook": r.whole("retries.notebook", 0, maxRetries, &into.Notebook),
		"platform": r.whole("retries.platform", 0, maxRetries, &into.Platform),
		"timeout":  r.whole("retries.timeout", 0, maxRetries, &into.Timeout),
		"wait":     r.span("retries.wait", 1, &into.WaitSeconds),
		"maxWait":  r.span("retries.maxWait", 1, &into.MaxWaitSeconds),
		"backoff":  oneOf(r, "retries.backoff", &backoff, "fixed", "exponential"),
	})
	into.Exponential = backoff == "exponential"
}

func (r *reader) triggers(n *yaml.Node, d *Definition) {
	if n.Kind != yaml.SequenceNode || len(n.Content) > MaxTriggers {
		r.fail(n, "triggers: want a list of at most %d", MaxTriggers)
		return
	}
	for _, c := range n.Content {
		var t Trigger
		r.mapping(c, "a trigger", map[string]part{
			"cron": func(n *yaml.Node) {
				r.text("cron", &t.Cron)(n)
				if _, err := ParseCron(t.Cron); err != nil {
					r.fail(n, "cron %q: %v", t.Cron, err)
				}
			},
			"every": r.span("every", 1, &t.EverySeconds),
			"from":  r.moment("from", &t.From),
			"at":    r.moment("at", &t.At),
		})
		kinds := 0
		for _, is := range []bool{t.Cron != "", t.EverySeconds != 0, !t.At.IsZero()} {
			if is {
				kinds++
			}
		}
		if kinds != 1 && len(r.faults) == 0 {
			r.fail(c, "a trigger is one of cron, every and at")
		}
		if !t.From.IsZero() && t.EverySeconds == 0 && len(r.faults) == 0 {
			r.fail(c, "from goes with every")
		}
		if t.EverySeconds > 366*86400 {
			r.fail(c, "every: at most 366 days")
		}
		d.Triggers = append(d.Triggers, t)
	}
}

func (r *reader) steps(n *yaml.Node, d *Definition) {
	if n.Kind != yaml.SequenceNode || len(n.Content) == 0 || len(n.Content) > MaxSteps {
		r.fail(n, "steps: want a list of 1 to %d", MaxSteps)
		return
	}
	for _, c := range n.Content {
		s := Step{Source: Snapshot, When: WhenSucceeded}
		parts := r.notebookParts(&s)
		parts["name"] = r.text("name", &s.Name)
		parts["after"] = r.texts("after", MaxSteps, &s.After)
		parts["when"] = oneOf(r, "when", &s.When, WhenSucceeded, WhenFailed, WhenEnded)
		parts["parallel"] = r.whole("parallel", 1, 100, &s.Parallel)
		parts["ignoreFailure"] = r.yes("ignoreFailure", &s.IgnoreFailure)
		r.mapping(c, "a step", parts)
		if !ValidName(s.Name) {
			r.fail(c, "name of a step: want 1 to 63 lower-case letters, digits, \"-\" and \"_\", not %q", s.Name)
		}
		if _, twice := r.stepLines[s.Name]; twice {
			r.fail(c, "two steps are called %q", s.Name)
		}
		r.stepLines[s.Name] = c.Line
		d.Steps = append(d.Steps, s)
	}
}

// check looks at what only the whole shows: dates, dependencies, expressions.
func (r *reader) check(d Definition) {
	for _, text := range d.Except {
		if _, err := parseExcept(text); err != nil {
			r.fail(&yaml.Node{}, "except: %v", err)
		}
	}
	if d.Strategy != Parallel && d.Parallel != 1 {
		r.fail(&yaml.Node{}, "parallel: %d goes with strategy: parallel", d.Parallel)
	}
	if d.WindowSeconds > 0 && d.CatchUp != CatchAll {
		r.fail(&yaml.Node{}, "window goes with catchUp: all")
	}
	if !d.End.IsZero() && d.End.Before(d.Start) {
		r.fail(&yaml.Node{}, "end is before start")
	}
	before := ancestors(d)
	for _, s := range d.Steps {
		at := &yaml.Node{Line: r.stepLines[s.Name]}
		if s.Notebook == "" || !strings.HasSuffix(s.Notebook, ".ipynb") {
			r.fail(at, "notebook: want the path of an .ipynb file, such as users/ann/report.ipynb, not %q", s.Notebook)
		}
		for _, name := range s.After {
			if _, ok := d.step(name); !ok {
				r.fail(at, "step %s: after: there is no step %q", s.Name, name)
			}
		}
		if slices.Contains(before[s.Name], s.Name) {
			r.fail(at, "step %s waits for itself: %s", s.Name, strings.Join(cycle(d, s.Name), " after "))
		}
		r.expressions(at, s, before[s.Name])
	}
}

func (r *reader) expressions(at *yaml.Node, s Step, before []string) {
	var known []string
	for _, name := range before {
		known = append(known, "steps."+name+".")
	}
	for _, one := range []struct {
		what string
		raw  json.RawMessage
		item bool
	}{{"parameters", s.Parameters, s.Foreach != nil}, {"foreach", s.Foreach, false}} {
		if one.raw == nil {
			continue
		}
		for _, err := range checkExpressions(one.raw, known, one.item) {
			r.fail(at, "step %s: %s: %v", s.Name, one.what, err)
		}
	}
	var list []any
	var text string
	if s.Foreach != nil && json.Unmarshal(s.Foreach, &list) != nil && (json.Unmarshal(s.Foreach, &text) != nil || !strings.Contains(text, "{{")) {
		r.fail(at, "step %s: foreach: want a list, or an expression such as {{ steps.find.names }}", s.Name)
	}
	if len(list) > MaxItems {
		r.fail(at, "step %s: foreach: at most %d elements", s.Name, MaxItems)
	}
}

// ancestors returns, for each step, all steps that come before it; a step that
// is its own is part of a cycle.
func ancestors(d Definition) map[string][]string {
	all := map[string][]string{}
	for _, s := range d.Steps {
		var found []string
		for todo := slices.Clone(s.After); len(todo) > 0; todo = todo[1:] {
			if slices.Contains(found, todo[0]) {
				continue
			}
			found = append(found, todo[0])
			before, _ := d.step(todo[0])
			todo = append(todo, before.After...)
		}
		all[s.Name] = found
	}
	return all
}

// cycle is a way from a step back to itself.
func cycle(d Definition, name string) []string {
	before := ancestors(d)
	way := []string{name}
	for at := name; ; {
		s, _ := d.step(at)
		i := slices.IndexFunc(s.After, func(a string) bool { return a == name || slices.Contains(before[a], name) && !slices.Contains(way, a) })
		if i < 0 {
			return way
		}
		at = s.After[i]
		way = append(way, at)
		if at == name {
			return way
		}
	}
}

package schedule

import (
	"bytes"
	"encoding/json"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"quire/internal/problem"
)

// An expression stands between {{ and }} in a parameter: a name, then steps in
// time, then a form. What is more than that is CEL, see celexpr.go. It can read
// what it is given and do nothing else.
//
//	{{ ds }}                     the slot's date in the schedule's zone: 2026-11-24
//	{{ ds - 1d }}                the day before
//	{{ slot - 2h | %Y/%m/%d/%H }}
//	{{ steps.extract.rows }}     what the step recorded under the name
//	{{ item }}, {{ item.name }}  the element of foreach
//	{{ steps.extract.rows > 0 ? "full" : "empty" }}
//
// A text that is one expression and nothing else gets the value with its type;
// else the value is put into the text.
type expression struct {
	name  string // as written: ds, item.name, steps.extract.rows
	shift []shift
	form  string         // of a time; "" is the name's own
	text  string         // what stands between the braces
	cel   *celExpression // when it is more than a name; the others are empty then
}

// A shift moves a time.
type shift struct{ months, days, seconds int }

// timeNames are the names of times, each with the form that it is shown in.
var timeNames = map[string]string{
	"slot": time.RFC3339, "ts": time.RFC3339, "previous": time.RFC3339, "next": time.RFC3339,
	"ds": time.DateOnly, "ds_nodash": "20060102", "month_start": time.DateOnly, "month_end": time.DateOnly,
	"interval_start": time.RFC3339, "interval_end": time.RFC3339,
}

var (
	namesPattern = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_-]*(\.[A-Za-z0-9_-]+)*`)
	shiftPattern = regexp.MustCompile(`^\s*([+-])\s*(\d{1,6})(mo|s|m|h|d|w|y)`)
)

// parseExpression reads what stands between the braces.
func parseExpression(text string) (expression, error) {
	e, err := parseName(text)
	if err == nil {
		return e, nil
	}
	x, wrong := compileCEL(text)
	if wrong != nil {
		if e.name != "" && strings.TrimSpace(text) == e.name { // no more than a name
			wrong = err
		}
		return e, wrong
	}
	return expression{text: text, cel: x}, nil
}

// A piece is a part of a text: between braces or not.
type piece struct {
	text string
	expr bool
}

// pieces takes a text apart at its expressions. open says that one is not closed:
// it is plain text then.
func pieces(text string) (all []piece, open bool) {
	for {
		start := strings.Index(text, "{{")
		if start < 0 {
			break
		}
		end, deep := -1, 0
		for i := start + 2; i < len(text) && end < 0; i++ {
			switch c := text[i]; {
			case c == '"' || c == '\'':
				i += stringEnd(text[i:]) - 1
			case c == '{':
				deep++
			case c == '}' && deep > 0:
				deep--
			case strings.HasPrefix(text[i:], "}}"):
				end = i
			}
		}
		if end < 0 {
			open = true
			break
		}
		if start > 0 {
			all = append(all, piece{text: text[:start]})
		}
		all = append(all, piece{text[start+2 : end], true})
		text = text[end+2:]
	}
	if text != "" {
		all = append(all, piece{text: text})
	}
	return all, open
}

// parseName reads a name, steps in time and a form.
func parseName(text string) (expression, error) {
	body, form, hasForm := strings.Cut(text, "|")
	rest := strings.TrimSpace(body)
	e := expression{text: text}
	e.name = namesPattern.FindString(rest)
	// A minus after a name of a time is a step in time, not a part of the name.
	if base, _, ok := strings.Cut(e.name, "-"); ok && timeNames[base] != "" {
		e.name = base
	}
	if e.name == "" {
		return e, problem.New(problem.Invalid, "{{%s}}: want a name such as ds, slot, item or steps.NAME.VALUE", text)
	}
	for rest = strings.TrimSpace(rest[len(e.name):]); rest != ""; rest = strings.TrimSpace(rest) {
		m := shiftPattern.FindStringSubmatch(rest)
		if m == nil {
			return e, problem.New(problem.Invalid, "{{%s}}: %q: want a step in time such as - 1d, + 2h, - 1mo", text, rest)
		}
		e.shift = append(e.shift, shiftOf(m))
		rest = rest[len(m[0]):]
	}
	isTime := timeNames[e.name] != ""
	if !isTime && (len(e.shift) > 0 || hasForm) {
		return e, problem.New(problem.Invalid, "{{%s}}: %s is no time: steps and forms are for times", text, e.name)
	}
	if hasForm {
		e.form = strings.TrimSpace(form)
		if _, err := format(time.Time{}, e.form); err != nil {
			return e, problem.New(problem.Invalid, "{{%s}}: %v", text, err)
		}
	}
	return e, nil
}

// shiftOf is the step in time that shiftPattern found.
func shiftOf(m []string) shift {
	n, _ := strconv.Atoi(m[1] + m[2])
	return map[string]shift{
		"mo": {months: n}, "y": {months: 12 * n}, "d": {days: n}, "w": {days: 7 * n}, "h": {seconds: 3600 * n}, "m": {seconds: 60 * n}, "s": {seconds: n},
	}[m[3]]
}

func (s shift) apply(t time.Time) time.Time {
	return addMonths(t, s.months).AddDate(0, 0, s.days).Add(time.Duration(s.seconds) * time.Second)
}

// format writes a time by the letters of strftime.
func format(t time.Time, form string) (string, error) {
	if form == "" {
		return "", problem.New(problem.Invalid, "the form after | is missing: want one such as %%Y-%%m-%%d")
	}
	letters := map[byte]string{
		'Y': "2006", 'y': "06", 'm': "01", 'd': "02", 'H': "15", 'M': "04", 'S': "05", 'b': "Jan", 'B': "January",
		'a': "Mon", 'A': "Monday", 'j': "002", 'z': "-0700", 'F': time.DateOnly, 'T': time.TimeOnly,
	}
	var b strings.Builder
	for i := 0; i < len(form); i++ {
		if form[i] != '%' {
			b.WriteByte(form[i])
			continue
		}
		i++
		switch {
		case i == len(form):
			return "", problem.New(problem.Invalid, "%q ends in %%", form)
		case form[i] == '%':
			b.WriteByte('%')
		case form[i] == 's':
			b.WriteString(strconv.FormatInt(t.Unix(), 10))
		case letters[form[i]] != "":
			b.WriteString(t.Format(letters[form[i]]))
		default:
			return "", problem.New(problem.Invalid, "%%%c is not known: want one of %%Y %%y %%m %%d %%H %%M %%S %%F %%T %%j %%b %%B %%a %%A %%z %%s %%%%", form[i])
		}
	}
	return b.String(), nil
}

// A scope is what the expressions of a place may read.
type scope struct {
	steps  []string // that come before
	item   bool
	event  bool
	round  bool     // in a loop: round and last
	when   bool     // succeeded() and its like
	inputs []string // of the definition; nil where it has none
	moment bool     // there is no schedule: times of one moment only
}

// An exprFault is what is wrong with an expression in a text.
type exprFault struct {
	text string
	err  error
}

// checkExpressions returns what is wrong with the expressions in a value.
func checkExpressions(raw json.RawMessage, in scope) []exprFault {
	var faults []exprFault
	var walk func(v any)
	walk = func(v any) {
		switch v := v.(type) {
		case map[string]any:
			for _, key := range slices.Sorted(maps.Keys(v)) {
				walk(v[key])
			}
		case []any:
			for _, one := range v {
				walk(one)
			}
		case string:
			all, open := pieces(v)
			if open {
				faults = append(faults, exprFault{v, problem.New(problem.Invalid, "%.60q: {{ is not closed by }}", v)})
			}
			for _, p := range all {
				if !p.expr {
					continue
				}
				e, err := parseExpression(p.text)
				if err == nil {
					err = e.known(in)
				}
				if err != nil {
					faults = append(faults, exprFault{v, err})
				}
			}
		}
	}
	var v any
	if err := json.Unmarshal(raw, &v); err != nil {
		return []exprFault{{err: err}}
	}
	walk(v)
	return faults
}

func (e expression) known(in scope) error {
	if in.moment {
		if err := e.atMoment(); err != nil {
			return err
		}
	}
	if e.cel != nil {
		return e.cel.known(e.text, in)
	}
	head, rest, _ := strings.Cut(e.name, ".")
	there := false
	switch {
	case timeNames[e.name] != "", e.name == "schedule", e.name == "timezone":
		return nil
	case head == "item":
		there = in.item
	case head == "event":
		there = in.event
	case head == "last", e.name == "round":
		there = in.round
	case head == "inputs":
		if in.inputs != nil && rest != "" && !slices.Contains(in.inputs, strings.Split(rest, ".")[0]) {
			return problem.New(problem.Invalid, "{{ %s }}: it is no input: want one of %s", e.name, strings.Join(in.inputs, ", "))
		}
		there = in.inputs != nil
	case head == "steps":
		step, name, _ := strings.Cut(rest, ".")
		if name != "" && slices.Contains(in.steps, step) {
			return nil
		}
		return problem.New(problem.Invalid, "{{ %s }}: want steps.NAME.VALUE of a step that this one comes after", e.name)
	case in.moment:
		return problem.New(problem.Invalid, "{{ %s }}: it is not known: want ds, ds_nodash, ts, month_start, month_end or timezone", e.name)
	default:
		return problem.New(problem.Invalid, "{{ %s }}: it is not known: want slot, ts, ds, ds_nodash, previous, next, interval_start, interval_end, month_start, month_end, schedule, timezone, item, event.VALUE, inputs.NAME or steps.NAME.VALUE", e.name)
	}
	if !there {
		return problem.New(problem.Invalid, "{{ %s }}: %s", e.name, absent(head))
	}
	return nil
}

// An env is what expressions read.
type env struct {
	schedule string
	table    *Timetable
	slot     time.Time
	item     json.RawMessage
	event    json.RawMessage                       // values of the signals that it was fired by; nil where it was not
	outputs  map[string]map[string]json.RawMessage // step -> name -> value
	none     map[string]bool                       // steps whose foreach had no element: every value is an empty list
	inputs   json.RawMessage                       // an object
	round    int                                   // of a loop, from 0
	last     map[string]json.RawMessage            // what the round before recorded
	// What when reads: the states of the steps before, and what they come to.
	states                  map[string]string
	succeeded, some, failed bool
}

// fill puts values in place of the expressions of a JSON value.
func (e env) fill(raw json.RawMessage) (json.RawMessage, error) {
	if raw == nil || !bytes.Contains(raw, []byte("{{")) {
		return raw, nil
	}
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	var v any
	if err := dec.Decode(&v); err != nil {
		return nil, err
	}
	filled, err := e.walk(v)
	if err != nil {
		return nil, err
	}
	return json.Marshal(filled)
}

func (e env) walk(v any) (any, error) {
	switch v := v.(type) {
	case map[string]any:
		for key, one := range v {
			filled, err := e.walk(one)
			if err != nil {
				return nil, problem.Wrap(err, "%s", key)
			}
			v[key] = filled
		}
	case []any:
		for i, one := range v {
			filled, err := e.walk(one)
			if err != nil {
				return nil, err
			}
			v[i] = filled
		}
	case string:
		return e.text(v)
	}
	return v, nil
}

func (e env) text(text string) (any, error) {
	all, _ := pieces(text)
	var b strings.Builder
	for _, p := range all {
		if !p.expr {
			b.WriteString(p.text)
			continue
		}
		x, err := parseExpression(p.text)
		if err != nil {
			return nil, err
		}
		v, err := e.value(x)
		if err != nil {
			return nil, err
		}
		if len(all) == 1 {
			return v, nil
		}
		if s, ok := v.(string); ok {
			b.WriteString(s)
			continue
		}
		data, err := json.Marshal(v)
		if err != nil {
			return nil, err
		}
		b.Write(data)
	}
	return b.String(), nil
}

func (e env) value(x expression) (any, error) {
	if x.cel != nil {
		return x.cel.eval(e, x.text)
	}
	head, rest, _ := strings.Cut(x.name, ".")
	switch {
	case timeNames[x.name] != "":
		return e.time(x)
	case head == "schedule":
		return e.schedule, nil
	case head == "timezone":
		return e.table.zone.String(), nil
	case head == "item":
		return member(e.item, rest, x.name)
	case head == "event":
		if e.event == nil {
			return nil, problem.New(problem.Invalid, "{{ %s }}: this fire has no event: a signal did not start it", x.name)
		}
		return member(e.event, rest, x.name)
	case head == "inputs":
		return member(e.inputs, rest, x.name)
	case head == "last":
		name, path, _ := strings.Cut(rest, ".")
		if v, ok := e.last[name]; ok {
			return member(v, path, x.name)
		}
		return nil, problem.New(problem.Invalid, "{{ %s }}: the round before recorded no %q: in the first round there is nothing, last.?%s.orValue(...) says what then", x.name, name, name)
	case x.name == "round":
		return e.round, nil
	case head == "steps":
		step, name, _ := strings.Cut(rest, ".")
		v, ok := e.outputs[step][name]
		if first, path, nested := strings.Cut(name, "."); !ok && nested {
			if v, ok = e.outputs[step][first]; ok {
				return member(v, path, x.name)
			}
		}
		switch {
		case !ok && e.none[step]:
			return []any{}, nil
		case !ok:
			return nil, problem.New(problem.Invalid, "{{ %s }}: step %s recorded no %q", x.name, step, name)
		}
		return v, nil
	}
	return nil, problem.New(problem.Invalid, "{{ %s }}: it is not known", x.name)
}

// member is the value at a path of names in a JSON value.
func member(raw json.RawMessage, path, name string) (any, error) {
	for part := range strings.SplitSeq(path, ".") {
		if part == "" {
			break
		}
		var m map[string]json.RawMessage
		if json.Unmarshal(raw, &m) != nil || m[part] == nil {
			return nil, problem.New(problem.Invalid, "{{ %s }}: there is no %q in it", name, part)
		}
		raw = m[part]
	}
	var s string
	if json.Unmarshal(raw, &s) == nil {
		return s, nil
	}
	return raw, nil
}

func (e env) time(x expression) (any, error) {
	t := e.table.Local(e.slot)
	switch x.name {
	case "previous", "next", "interval_start": // an interval is from slot to slot
		find := e.table.Next
		if x.name != "next" {
			find = e.table.Prev
		}
		other, ok := find(e.slot)
		if !ok {
			return nil, problem.New(problem.Invalid, "{{ %s }}: the slot of %s has none", x.name, e.slot.Format(time.RFC3339))
		}
		t = e.table.Local(other)
	case "month_start":
		t = time.Date(t.Year(), t.Month(), 1, 0, 0, 0, 0, t.Location())
	case "month_end":
		t = time.Date(t.Year(), t.Month()+1, 0, 0, 0, 0, 0, t.Location())
	}
	for _, s := range x.shift {
		t = s.apply(t)
	}
	if t.Year() < 1 || t.Year() > 9999 {
		return nil, problem.New(problem.Invalid, "{{ %s }}: the time is out of range", x.name)
	}
	if x.form != "" {
		return format(t, x.form)
	}
	return t.Format(timeNames[x.name]), nil
}

// addMonths keeps the day within the month: a month after 31 January is 28
// February.
func addMonths(t time.Time, n int) time.Time {
	if n == 0 {
		return t
	}
	first := time.Date(t.Year(), t.Month()+time.Month(n), 1, t.Hour(), t.Minute(), t.Second(), 0, t.Location())
	last := date{first.Year(), first.Month(), 1}.length()
	return first.AddDate(0, 0, min(t.Day(), last)-1)
}

// usesOthers reports whether a value reads what is known only while a fire runs.
func usesOthers(raw json.RawMessage) bool {
	return usesSome(raw, "steps", "event", "item", "inputs", "last", "round")
}

// usesSome reports whether the expressions of a value read some of these names.
func usesSome(raw json.RawMessage, names ...string) bool {
	if !bytes.Contains(raw, []byte("{{")) {
		return false
	}
	var v any
	return json.Unmarshal(raw, &v) == nil && inTexts(v, func(text string) bool {
		all, _ := pieces(text)
		for _, p := range all {
			if !p.expr {
				continue
			}
			e, err := parseExpression(p.text)
			if err != nil {
				continue
			}
			head, _, _ := strings.Cut(e.name, ".")
			for _, name := range names {
				if head == name || e.cel != nil && e.cel.idents[name] {
					return true
				}
			}
		}
		return false
	})
}

// inTexts reports whether a text in a value is such.
func inTexts(v any, is func(string) bool) bool {
	switch v := v.(type) {
	case map[string]any:
		for _, one := range v {
			if inTexts(one, is) {
				return true
			}
		}
	case []any:
		return slices.ContainsFunc(v, func(one any) bool { return inTexts(one, is) })
	case string:
		return is(v)
	}
	return false
}

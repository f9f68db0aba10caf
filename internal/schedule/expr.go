package schedule

import (
	"bytes"
	"encoding/json"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"quire/internal/problem"
)

// An expression stands between {{ and }} in a parameter: a name, then steps in
// time, then a form. It can read what it is given and do nothing else.
//
//	{{ ds }}                     the slot's date in the schedule's zone: 2026-11-24
//	{{ ds - 1d }}                the day before
//	{{ slot - 2h | %Y/%m/%d/%H }}
//	{{ steps.extract.rows }}     what the step recorded under the name
//	{{ item }}, {{ item.name }}  the element of foreach
//
// A text that is one expression and nothing else gets the value with its type;
// else the value is put into the text.
type expression struct {
	name  string // as written: ds, item.name, steps.extract.rows
	shift []shift
	form  string // of a time; "" is the name's own
}

// A shift moves a time.
type shift struct{ months, days, seconds int }

// timeNames are the names of times, each with the form that it is shown in.
var timeNames = map[string]string{
	"slot": time.RFC3339, "ts": time.RFC3339, "previous": time.RFC3339, "next": time.RFC3339,
	"ds": time.DateOnly, "ds_nodash": "20060102", "month_start": time.DateOnly, "month_end": time.DateOnly,
}

var (
	exprPattern  = regexp.MustCompile(`\{\{(.*?)\}\}`)
	namesPattern = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_-]*(\.[A-Za-z0-9_-]+)*`)
	shiftPattern = regexp.MustCompile(`^\s*([+-])\s*(\d{1,6})(mo|s|m|h|d|w|y)`)
)

// parseExpression reads what stands between the braces.
func parseExpression(text string) (expression, error) {
	body, form, hasForm := strings.Cut(text, "|")
	rest := strings.TrimSpace(body)
	var e expression
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
		n, _ := strconv.Atoi(m[1] + m[2])
		e.shift = append(e.shift, map[string]shift{
			"mo": {months: n}, "y": {months: 12 * n}, "d": {days: n}, "w": {days: 7 * n}, "h": {seconds: 3600 * n}, "m": {seconds: 60 * n}, "s": {seconds: n},
		}[m[3]])
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

// checkExpressions returns what is wrong with the expressions in a value.
// before are the beginnings "steps.NAME." that may be read.
func checkExpressions(raw json.RawMessage, before []string, item bool) []error {
	var errs []error
	var walk func(v any)
	walk = func(v any) {
		switch v := v.(type) {
		case map[string]any:
			for _, one := range v {
				walk(one)
			}
		case []any:
			for _, one := range v {
				walk(one)
			}
		case string:
			for _, m := range exprPattern.FindAllStringSubmatch(v, -1) {
				e, err := parseExpression(m[1])
				if err == nil {
					err = e.known(before, item)
				}
				if err != nil {
					errs = append(errs, err)
				}
			}
		}
	}
	var v any
	if err := json.Unmarshal(raw, &v); err != nil {
		return []error{err}
	}
	walk(v)
	return errs
}

func (e expression) known(before []string, item bool) error {
	head, _, _ := strings.Cut(e.name, ".")
	switch {
	case timeNames[e.name] != "", e.name == "schedule", e.name == "timezone":
		return nil
	case head == "item":
		if item {
			return nil
		}
		return problem.New(problem.Invalid, "{{ %s }}: there is an item only in the parameters of a step with foreach", e.name)
	case head == "steps":
		if strings.Count(e.name, ".") == 2 && slices.ContainsFunc(before, func(b string) bool { return strings.HasPrefix(e.name, b) }) {
			return nil
		}
		return problem.New(problem.Invalid, "{{ %s }}: want steps.NAME.VALUE of a step that this one comes after", e.name)
	}
	return problem.New(problem.Invalid, "{{ %s }}: it is not known: want slot, ts, ds, ds_nodash, previous, next, month_start, month_end, schedule, timezone, item or steps.NAME.VALUE", e.name)
}

// An env is what expressions read.
type env struct {
	schedule string
	table    *Timetable
	slot     time.Time
	item     json.RawMessage
	outputs  map[string]map[string]json.RawMessage // step -> name -> value
	none     map[string]bool                       // steps whose foreach had no element: every value is an empty list
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
	all := exprPattern.FindAllStringSubmatchIndex(text, -1)
	var b strings.Builder
	at := 0
	for _, m := range all {
		x, err := parseExpression(text[m[2]:m[3]])
		if err != nil {
			return nil, err
		}
		v, err := e.value(x)
		if err != nil {
			return nil, err
		}
		if m[0] == 0 && m[1] == len(text) {
			return v, nil
		}
		b.WriteString(text[at:m[0]])
		if s, ok := v.(string); ok {
			b.WriteString(s)
		} else {
			data, err := json.Marshal(v)
			if err != nil {
				return nil, err
			}
			b.Write(data)
		}
		at = m[1]
	}
	return b.String() + text[at:], nil
}

func (e env) value(x expression) (any, error) {
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
	case head == "steps":
		step, name, _ := strings.Cut(rest, ".")
		v, ok := e.outputs[step][name]
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
	case "previous", "next":
		find := e.table.Next
		if x.name == "previous" {
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
		t = addMonths(t, s.months).AddDate(0, 0, s.days).Add(time.Duration(s.seconds) * time.Second)
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
	for _, m := range exprPattern.FindAllSubmatch(raw, -1) {
		name := strings.TrimSpace(string(m[1]))
		if strings.HasPrefix(name, "steps.") || strings.HasPrefix(name, "item") {
			return true
		}
	}
	return false
}

package schedule

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"quire/internal/auth"
	"quire/internal/problem"
	"quire/internal/run"
)

// A fire that is over may run again with other values than it had. They are looked
// at before anything runs, as those of a definition are when it is applied; then
// they are the fire's: later tries and restarts have them too.

// Values are what a fire that runs again is given in place of what it had.
type Values struct {
	// Inputs are by name, of a definition that has inputs. Parameters are by step and
	// name, of one that has none. An expression in them is a text like any other.
	Inputs     map[string]json.RawMessage            `json:"inputs,omitempty"`
	Parameters map[string]map[string]json.RawMessage `json:"parameters,omitempty"`
}

func (v Values) none() bool { return len(v.Inputs)+len(v.Parameters) == 0 }

// maxReruns is how many restarts a fire remembers, maxShown how many characters of
// a value it shows with them.
const (
	maxReruns = 20
	maxShown  = 200
)

// A Restart says where a fire that is over begins again.
type Restart string

// The places to begin again at. Any other value is the name of a step: it, and
// everything after it, runs again.
const (
	FromFailed    Restart = "@failed"    // what did not succeed
	FromBeginning Restart = "@beginning" // everything
)

// A Rerun is one time that somebody ran a fire again.
type Rerun struct {
	At         time.Time      `json:"at"`
	By         string         `json:"by"`
	From       Restart        `json:"from"`
	Generation int            `json:"generation"` // of the fire from then on
	Changed    []ChangedValue `json:"changed,omitempty"`
	// Kept are the steps that had succeeded and were not run again; of one with
	// foreach or while with how many of its runs.
	Kept []string `json:"kept,omitempty"`
}

// A ChangedValue is a value that a fire was given when it ran again.
type ChangedValue struct {
	Step string `json:"step,omitempty"` // whose parameter it is; "" is an input of the schedule
	Name string `json:"name"`
	Was  string `json:"was,omitempty"` // as JSON, its beginning where it is long; "" where it was not one value
	Is   string `json:"is"`
}

// String returns "load.days = 5 (was 3)".
func (c ChangedValue) String() string {
	text := c.Name + " = " + c.Is
	if c.Step != "" && c.Step != SoleStep {
		text = c.Step + "." + text
	}
	if c.Was != "" {
		text += " (was " + c.Was + ")"
	}
	return text
}

// String says what was done: from where, with what, and what was kept.
func (r Rerun) String() string {
	text := r.From.String()
	for i, c := range r.Changed {
		text += map[bool]string{true: ", with ", false: ", "}[i == 0] + c.String()
	}
	if len(r.Kept) > 0 {
		text += "; had succeeded and not run again: " + strings.Join(r.Kept, ", ")
	}
	return text
}

// String says from where a fire runs again.
func (r Restart) String() string {
	switch r {
	case FromFailed:
		return "from what failed"
	case FromBeginning:
		return "from the beginning"
	}
	return "from step " + string(r)
}

// SoleStep is the name of the step of a definition without steps.
const SoleStep = "notebook"

// repeatable says why a fire cannot run again.
func (f *Fire) repeatable() error {
	switch {
	case !f.State.Ended():
		return problem.New(problem.Conflict, "the fire is not over yet: it is %s", f.State)
	case f.Count > 1:
		return problem.New(problem.Invalid, "the record stands for %d slots: backfill them", f.Count)
	}
	return nil
}

// again is the steps that run again from somewhere, and those that come after them.
func (f *Fire) again(from Restart) (map[string]bool, error) {
	again := map[string]bool{}
	if f.Tasks == nil { // nothing of it ran
		for _, step := range f.Definition.Steps {
			again[step.Name] = true
		}
		return again, nil
	}
	if _, ok := f.Definition.step(string(from)); !ok && from != FromFailed && from != FromBeginning {
		return nil, problem.New(problem.NotFound, "the fire has no step %q: want @failed, @beginning, or one of %s", string(from), strings.Join(f.Definition.stepNames(), ", "))
	}
	for _, t := range f.Tasks {
		if from == FromBeginning || from == FromFailed && t.State != Succeeded || string(from) == t.Step {
			again[t.Step] = true
		}
	}
	if len(again) == 0 {
		return nil, problem.New(problem.Invalid, "nothing in it failed: say from where, @beginning or a step")
	}
	before := ancestors(*f.Definition)
	for _, step := range f.Definition.Steps {
		if slices.ContainsFunc(before[step.Name], func(b string) bool { return again[b] }) {
			again[step.Name] = true
		}
	}
	return again, nil
}

func (d Definition) stepNames() []string {
	var names []string
	for _, s := range d.Steps {
		names = append(names, s.Name)
	}
	return names
}

// give gives a fire other values, and says which they are.
func (f *Fire) give(values Values) (changed []ChangedValue, err error) {
	inputs := map[string]json.RawMessage{}
	if f.Inputs != nil {
		if err := json.Unmarshal(f.Inputs, &inputs); err != nil {
			return nil, err
		}
	}
	for _, name := range slices.Sorted(maps.Keys(values.Inputs)) {
		was, is := inputs[name], values.Inputs[name]
		if bytes.Equal(compact(was), compact(is)) {
			continue
		}
		inputs[name] = is
		changed = append(changed, ChangedValue{Name: name, Was: brief(was), Is: brief(is)})
	}
	if len(values.Inputs) > 0 {
		if f.Inputs, err = json.Marshal(inputs); err != nil {
			return nil, err
		}
	}
	for _, step := range f.Definition.Steps {
		for _, name := range slices.Sorted(maps.Keys(values.Parameters[step.Name])) {
			was, is := f.Parameter(step.Name, name), values.Parameters[step.Name][name]
			if f.Parameters == nil {
				f.Parameters = map[string]map[string]json.RawMessage{}
			}
			if f.Parameters[step.Name] == nil {
				f.Parameters[step.Name] = map[string]json.RawMessage{}
			}
			f.Parameters[step.Name][name] = is
			if !bytes.Equal(compact(was), compact(is)) {
				changed = append(changed, ChangedValue{Step: step.Name, Name: name, Was: brief(was), Is: brief(is)})
			}
		}
	}
	return changed, nil
}

// Parameter is what a step of a fire was given for a parameter: nil where it was not,
// or not one value.
func (f *Fire) Parameter(step, name string) json.RawMessage {
	if v, ok := f.Parameters[step][name]; ok {
		return v
	}
	var was json.RawMessage
	for _, t := range f.Tasks {
		var given map[string]json.RawMessage
		if t.Step != step || t.Parameters == nil || json.Unmarshal(t.Parameters, &given) != nil {
			continue
		}
		if was != nil && !bytes.Equal(was, given[name]) {
			return nil
		}
		was = given[name]
	}
	return was
}

// override puts the values that a fire was given in place of those of a step.
func (f *Fire) override(step string, parameters json.RawMessage) (json.RawMessage, error) {
	if len(f.Parameters[step]) == 0 {
		return parameters, nil
	}
	all := map[string]json.RawMessage{}
	if parameters != nil {
		if err := json.Unmarshal(parameters, &all); err != nil {
			return nil, err
		}
	}
	maps.Copy(all, f.Parameters[step])
	return json.Marshal(all)
}

func compact(raw json.RawMessage) []byte {
	var b bytes.Buffer
	if json.Compact(&b, raw) != nil {
		return raw
	}
	return b.Bytes()
}

// brief is a value as it is shown, its beginning where it is long.
func brief(raw json.RawMessage) string {
	text := string(compact(raw))
	if utf8.RuneCountInString(text) > maxShown {
		text = string([]rune(text)[:maxShown]) + "…"
	}
	return text
}

// rerun notes that a fire runs again, with its tasks as they are then.
func (f *Fire) rerun(one Rerun) {
	for _, step := range f.Definition.Steps {
		kept, all := 0, 0
		for _, t := range f.Tasks {
			if t.Step == step.Name {
				all++
				if t.State == Succeeded {
					kept++
				}
			}
		}
		switch {
		case kept > 0 && kept == all:
			one.Kept = append(one.Kept, step.Name)
		case kept > 0:
			one.Kept = append(one.Kept, fmt.Sprintf("%s (%d of %d)", step.Name, kept, all))
		}
	}
	one.Generation = f.Generation
	f.Reruns = append(f.Reruns, one)
	if len(f.Reruns) > maxReruns {
		f.Reruns = f.Reruns[len(f.Reruns)-maxReruns:]
	}
}

// Restart runs a fire that is over again: what did not succeed (FromFailed),
// everything (FromBeginning), or a step and what comes after it; with other values
// where some are given. What had succeeded and is not run again keeps its runs.
func (s *Schedules) Restart(ctx context.Context, u auth.User, name, fire string, from Restart, values Values) (Fire, error) {
	found, err := s.own(ctx, u, name)
	if err != nil {
		return Fire{}, err
	}
	var looked Fire
	if !values.none() {
		if err := refuseValues(u, found); err != nil {
			return Fire{}, err
		}
		if looked, err = s.checkValues(ctx, found, fire, from, values); err != nil {
			return Fire{}, err
		}
	}
	err = s.change(ctx, found.ID, func(v *View) error {
		f, ok, err := v.Find(fire, "")
		switch {
		case err != nil:
			return err
		case !ok:
			return problem.New(problem.NotFound, "schedule %s has no fire %q", name, fire)
		}
		if err := f.repeatable(); err != nil {
			return err
		}
		if !values.none() && (f.Generation != looked.Generation || f.Tasks == nil && v.Schedule.Revision != found.Revision) {
			return problem.New(problem.Conflict, "somebody else ran the fire again, or changed the definition, just now: look at it and try again")
		}
		now := s.now()
		table, err := v.Schedule.Definition.Timetable()
		if err != nil {
			return err
		}
		m := &machine{view: v, now: now, table: table, changed: map[string]bool{}}
		one := Rerun{At: now, By: u.Name, From: from}
		if err := m.restart(&f, values, one); err != nil {
			return problem.Wrap(err, "running the fire of %s again", f.Slot.Format(time.RFC3339))
		}
		did := f.Reruns[len(f.Reruns)-1]
		v.did(now, Activity{By: u.Name, Did: RestartedFire, Fire: f.ID, Detail: "the fire of " + f.Slot.UTC().Format("2006-01-02 15:04 UTC") + " " + did.String()})
		v.Live = append(v.Live, f)
		v.Put = append(v.Put, f)
		return nil
	})
	if err != nil {
		return Fire{}, err
	}
	return s.cfg.Store.Fire(ctx, fire)
}

// renew is a task as it begins again. The fire's generation gives its runs keys of
// their own.
func renew(t Task, s State) Task {
	if t.Run != "" {
		t.Earlier = append(t.Earlier, t.Run)
	}
	return Task{
		Step: t.Step, Index: t.Index, Item: t.Item, State: s, Notebook: t.Notebook, Schedule: t.Schedule, Parameters: t.Parameters,
		Version: t.Version, Repository: t.Repository, Commit: t.Commit,
		Try: t.Try, Earlier: t.Earlier,
	}
}

// checkValues says everything that is wrong with values for a fire, before anything
// runs, and returns the fire as it was looked at.
func (s *Schedules) checkValues(ctx context.Context, one Schedule, fire string, from Restart, values Values) (Fire, error) {
	if data, err := json.Marshal(values); err != nil || len(data) > maxOutputs {
		return Fire{}, problem.New(problem.TooLarge, "the values: want at most %d KiB of JSON", maxOutputs>>10)
	}
	f, err := s.cfg.Store.Fire(ctx, fire)
	if err == nil && f.Schedule != one.ID {
		err = problem.New(problem.NotFound, "schedule %s has no fire %q", one.Name, fire)
	}
	if err == nil {
		err = f.repeatable()
	}
	if err != nil {
		return f, err
	}
	looked := f
	if f.Tasks == nil {
		f.Definition, f.Pinned = &one.Definition, one.Pinned
	}
	again, err := f.again(from)
	if err != nil {
		return f, err
	}
	wrong := f.misplaced(again, from, values)
	values.Inputs = maps.Clone(values.Inputs)
	maps.DeleteFunc(values.Inputs, func(name string, _ json.RawMessage) bool { return !slices.Contains(f.Definition.inputs(), name) })
	changed, err := f.give(values)
	if err != nil {
		return f, err
	}
	more, err := s.wrongValues(ctx, one, f, again, changed)
	return looked, cmp.Or(err, asInvalid(append(wrong, more...)))
}

func asInvalid(wrong []string) error {
	if len(wrong) == 0 {
		return nil
	}
	return problem.New(problem.Invalid, "%s", strings.Join(wrong, "\n"))
}

// misplaced says which values nothing that runs again would have.
func (f *Fire) misplaced(again map[string]bool, from Restart, values Values) (wrong []string) {
	d := f.Definition
	say := func(format string, args ...any) { wrong = append(wrong, fmt.Sprintf(format, args...)) }
	switch {
	case len(values.Inputs) > 0 && d.Inputs == nil:
		values.Inputs = nil
		say("the definition has no inputs: give parameters of its steps")
	case len(values.Parameters) > 0 && d.Inputs != nil:
		values.Parameters = nil
		say("the definition has inputs, and its parameters come from them: give some of %s", strings.Join(d.inputs(), ", "))
	}
	for _, name := range slices.Sorted(maps.Keys(values.Inputs)) {
		if !slices.Contains(d.inputs(), name) {
			say("there is no input %q: want some of %s", name, strings.Join(d.inputs(), ", "))
			continue
		}
		if why := f.unread(name, again); why != "" {
			say("input %s: %s", name, why)
		}
		for _, step := range d.Steps {
			if again[step.Name] && from == FromFailed && reads(step.Foreach, name) && f.someSucceeded(step.Name) {
				say("input %s: what step %s runs for comes from it, and some of that has succeeded: restart from %s", name, step.Name, step.Name)
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(values.Parameters)) {
		step, ok := d.step(name)
		switch {
		case !ok:
			say("there is no step %q: want some of %s", name, strings.Join(d.stepNames(), ", "))
		case step.Branch != nil:
			say("step %s: it is a branch and has no parameters", name)
		case !again[name]:
			say("step %s: it would not run again: restart from %s or from the beginning", name, name)
		}
		for _, parameter := range slices.Sorted(maps.Keys(values.Parameters[name])) {
			if !variableName.MatchString(parameter) {
				say("step %s: parameter %.60q: want a name of letters, digits and _", name, parameter)
			}
		}
	}
	return wrong
}

func (f *Fire) someSucceeded(step string) bool {
	return slices.ContainsFunc(f.Tasks, func(t Task) bool { return t.Step == step && t.Index >= 0 && t.State == Succeeded })
}

// unread says why nothing that runs again reads an input; "" when something does.
func (f *Fire) unread(name string, again map[string]bool) string {
	var kept []string
	for _, step := range f.Definition.Steps {
		data, err := json.Marshal(step)
		if err != nil || !reads(data, name) {
			continue
		}
		if again[step.Name] {
			return ""
		}
		kept = append(kept, step.Name)
	}
	switch {
	case reads(f.Definition.Outputs, name):
		return ""
	case kept == nil:
		return "no step reads it"
	}
	return fmt.Sprintf("only %s reads it, and would not run again: restart from there or from the beginning", strings.Join(kept, " and "))
}

// reads reports whether the expressions of a value read an input.
func reads(raw json.RawMessage, input string) bool {
	if !bytes.Contains(raw, []byte("{{")) {
		return false
	}
	named := regexp.MustCompile(`\binputs\b.*\b` + regexp.QuoteMeta(input) + `\b`)
	var v any
	return json.Unmarshal(raw, &v) == nil && inTexts(v, func(text string) bool {
		all, _ := pieces(text)
		return slices.ContainsFunc(all, func(p piece) bool { return p.expr && named.MatchString(p.text) })
	})
}

// wrongValues says what the steps that run again do not take of what they would be
// given now. What comes from steps that run again is not known yet.
func (s *Schedules) wrongValues(ctx context.Context, one Schedule, f Fire, again map[string]bool, changed []ChangedValue) (wrong []string, err error) {
	u, err := s.cfg.User(ctx, one.Owner)
	if err != nil {
		return nil, problem.Wrap(err, "looking up the owner of the schedule")
	}
	d := f.Definition
	if err := d.given(f.Inputs); err != nil {
		return []string{err.Error()}, nil
	}
	m := &machine{view: &View{Schedule: one}, now: s.now(), changed: map[string]bool{}}
	if m.table, err = d.Timetable(); err != nil {
		return nil, err
	}
	if err := m.fillInputs(&f); err != nil {
		return []string{err.Error()}, nil
	}
	before := ancestors(*d)
	for _, step := range d.Steps {
		touched := slices.ContainsFunc(changed, func(c ChangedValue) bool {
			return c.Step == step.Name || c.Step == "" && reads(step.Parameters, c.Name)
		})
		if !again[step.Name] || !touched {
			continue
		}
		later := slices.ContainsFunc(before[step.Name], func(b string) bool { return again[b] })
		err := s.checkStep(ctx, u, m.env(&f), &f, step, later)
		switch {
		case problem.Is(err, problem.Invalid), problem.Is(err, problem.NotFound), problem.Is(err, problem.Denied), problem.Is(err, problem.TooLarge):
			wrong = append(wrong, "step "+step.Name+": "+err.Error())
		case err != nil:
			return nil, err
		}
	}
	return wrong, nil
}

// checkStep asks whether a step takes what a fire would give it. later says that
// what steps before record is not known.
func (s *Schedules) checkStep(ctx context.Context, u auth.User, e env, f *Fire, step Step, later bool) error {
	parameters, declared, partial, err := e.sofar(f, step, later)
	if err != nil {
		return err
	}
	if step.Schedule != "" {
		target, err := s.cfg.Store.Schedule(ctx, step.Schedule)
		if err != nil {
			return err
		}
		return target.Definition.takes(parameters)
	}
	if step.written() {
		for _, name := range slices.Sorted(maps.Keys(f.Parameters[step.Name])) {
			if !slices.Contains(declared, name) {
				return problem.New(problem.Invalid, "%s: the definition gives it no such parameter: want some of %s", name, listWords(declared))
			}
		}
	}
	req := run.Request{
		Notebook: step.Notebook, Template: step.Template, Kernel: step.Kernel, TimeoutSeconds: step.TimeoutSeconds, Ref: step.Ref, At: e.table.Local(f.Slot), Literal: true,
		Parameters: parameters, Partial: partial, Strict: true, Undeclared: declared,
	}
	if v := f.Pinned[step.Name]; step.Template != "" {
		req.TemplateVersion = int(v)
	} else {
		req.Version = v
	}
	_, err = s.cfg.Runs.Check(ctx, u, req)
	return err
}

// sofar are the parameters of a step as far as they are known, the names of those that
// its definition gives it, and whether some are not known yet.
func (e env) sofar(f *Fire, step Step, later bool) (parameters json.RawMessage, declared []string, partial bool, err error) {
	unknown := []string{"item", "last", "round"}
	if later {
		unknown = append(unknown, "steps")
	}
	all := map[string]json.RawMessage{}
	if step.Parameters != nil {
		if err := json.Unmarshal(step.Parameters, &all); err != nil {
			return nil, nil, false, err
		}
	}
	declared = slices.Sorted(maps.Keys(all))
	for _, name := range declared {
		if _, given := f.Parameters[step.Name][name]; given {
			continue
		}
		if usesSome(all[name], unknown...) {
			delete(all, name)
			partial = true
			continue
		}
		if all[name], err = e.fill(all[name]); err != nil {
			return nil, nil, false, problem.Wrap(err, "%s", name)
		}
	}
	maps.Copy(all, f.Parameters[step.Name])
	parameters, err = json.Marshal(all)
	return parameters, declared, partial, err
}

package schedule

import (
	"encoding/json"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"quire/internal/auth"
)

// check looks at what only the whole shows.
func (r *reader) check(d Definition) {
	if d.Strategy != Parallel && d.Parallel != 1 {
		r.fail(&yaml.Node{}, "parallel: %d goes with strategy: parallel", d.Parallel)
	}
	if d.WindowSeconds > 0 && d.CatchUp != CatchAll {
		r.fail(&yaml.Node{}, "window goes with catchUp: all")
	}
	if !d.End.IsZero() && d.End.Before(d.Start) {
		r.fail(&yaml.Node{}, "end is before start")
	}
	if r.lateLine > 0 && d.DoneWithinSeconds == 0 && d.DoneBy == "" {
		r.fail(&yaml.Node{Line: r.lateLine}, "notify: on: late goes with doneWithin or doneBy, which say when a fire is late")
	}
	if r.longLine > 0 && d.LongSeconds == 0 {
		r.fail(&yaml.Node{Line: r.longLine}, "notify: on: long-running goes with longRunning, which says how long that is")
	}
	if d.RunAs != "" && !auth.ValidName(d.RunAs) {
		r.fail(&yaml.Node{}, "runAs: want the name of a service identity, not %q", d.RunAs)
	}
	r.someDate(d)
}

// checkSteps looks at what steps are, their dependencies and their expressions.
// Where the rest is not whole, what depends on it is let pass.
func (r *reader) checkSteps(d Definition, whole bool) {
	before := ancestors(d)
	r.signals = len(d.Sources()) > 0 || !whole
	for _, s := range d.Steps {
		at := &yaml.Node{Line: r.stepLines[s.Name]}
		wrong := s.checkKind()
		if wrong == "" {
			wrong = s.checkRef()
		}
		if wrong != "" {
			r.fail(at, "step %s: %s", s.Name, wrong)
		}
		for _, name := range s.After {
			if _, ok := d.step(name); !ok {
				r.fail(at, "step %s: after: there is no step %q", s.Name, name)
			}
		}
		if slices.Contains(before[s.Name], s.Name) {
			r.fail(at, "step %s waits for itself: %s", s.Name, strings.Join(cycle(d, s.Name), " after "))
		}
		r.expressions(at, s, before[s.Name], d.inputs())
	}
}

// followBranches lets the steps that a branch may go to come after it.
func (r *reader) followBranches(d Definition) {
	of := map[string]string{}
	for _, s := range d.Steps {
		at := &yaml.Node{Line: r.stepLines[s.Name]}
		for _, c := range s.Branch {
			for _, name := range c.To {
				i := slices.IndexFunc(d.Steps, func(o Step) bool { return o.Name == name })
				switch {
				case i < 0:
					r.fail(at, "step %s: branch: there is no step %q", s.Name, name)
				case of[name] != "" && of[name] != s.Name:
					r.fail(at, "step %s: branch: %s goes to step %s already", s.Name, of[name], name)
				case !slices.Contains(d.Steps[i].After, s.Name):
					d.Steps[i].After = append(d.Steps[i].After, s.Name)
				}
				of[name] = s.Name
			}
		}
	}
}

// checkInputs looks at the inputs and outputs of a definition.
func (r *reader) checkInputs(d Definition) {
	if d.Inputs != nil {
		var all map[string]any
		if json.Unmarshal(d.Inputs, &all) != nil {
			return
		}
		for _, name := range d.inputs() {
			if !variableName.MatchString(name) {
				r.fail(&yaml.Node{}, "inputs: %q: want a name of letters, digits and _", name)
			}
			if all[name] == nil && len(d.Triggers) > 0 {
				r.fail(&yaml.Node{}, "inputs: %s has no value when a trigger fires: give it one", name)
			}
		}
		for _, fault := range checkExpressions(d.Inputs, scope{event: r.signals}) {
			r.fail(r.lineOf(fault.text, 0), "inputs: %v", fault.err)
		}
	}
	if d.Outputs != nil {
		in := scope{event: r.signals, inputs: d.inputs()}
		for _, s := range d.Steps {
			in.steps = append(in.steps, s.Name)
		}
		for _, fault := range checkExpressions(d.Outputs, in) {
			r.fail(r.lineOf(fault.text, 0), "outputs: %v", fault.err)
		}
	}
}

func (r *reader) expressions(at *yaml.Node, s Step, before []string, inputs []string) {
	in := scope{steps: before, event: r.signals, inputs: inputs}
	for _, one := range []struct {
		what string
		raw  json.RawMessage
		in   scope
	}{
		{"parameters", s.Parameters, scope{steps: before, event: in.event, inputs: inputs, item: s.Foreach != nil, round: s.While != ""}},
		{"foreach", s.Foreach, in},
	} {
		if one.raw == nil {
			continue
		}
		for _, fault := range checkExpressions(one.raw, one.in) {
			r.fail(r.lineOf(fault.text, at.Line), "step %s: %s: %v", s.Name, one.what, fault.err)
		}
	}
	check := func(what, text string, in scope) {
		if !strings.Contains(text, "{{") {
			return
		}
		if err := checkCondition(text, in); err != nil {
			r.fail(r.lineOf(text, at.Line), "step %s: %s: %v", s.Name, what, err)
		}
	}
	for _, c := range s.Branch {
		check("branch", c.When, in)
	}
	loop, when := in, in
	loop.round, when.when = true, true
	check("while", s.While, loop)
	check("when", string(s.When), when)
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

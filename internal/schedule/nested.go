package schedule

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"quire/internal/auth"
	"quire/internal/problem"
)

// A step may be another schedule: its steps run as a fire of that schedule, in a
// lane of its own, and the step waits for it. The fire is asked for as a run is,
// outside of the transaction and under a key of the try; when it is over it tells
// the schedule that asked by a signal, in the transaction that ends it.

// A Parent is the task that a fire was asked for by.
type Parent struct {
	Schedule string `json:"schedule"` // id
	Name     string `json:"name"`     // of the schedule
	Fire     string `json:"fire"`
	Key      string `json:"key"` // of the try
	Depth    int    `json:"depth"`
}

const (
	// LaneNested is where fires are that steps of other schedules asked for; followed
	// by "/" and a key.
	LaneNested   = "nested"
	nestedSource = "nested/" // and the id of the schedule that is told
	nestedAtOnce = 20
	maxDeep      = 10 // schedules within schedules
)

// nest asks for the fire of a task that is a schedule.
func (s *Schedules) nest(ctx context.Context, u auth.User, a ask) (child string, err error) {
	target, err := s.cfg.Store.Schedule(ctx, a.step.Schedule)
	if err != nil {
		return "", err
	}
	if err := s.allow(ctx, u, target); err != nil {
		return "", err
	}
	if err := target.Definition.takes(a.task.Parameters); err != nil {
		return "", err
	}
	if a.depth >= maxDeep {
		return "", problem.New(problem.Invalid, "schedules stand within each other more than %d deep", maxDeep)
	}
	lane := LaneNested + "/" + a.key()
	f := Fire{
		ID: fireID(target.ID, lane, a.slot), Schedule: target.ID, Slot: a.slot, Lane: lane, State: Due, Count: 1, Inputs: a.task.Parameters, Event: a.event, Created: s.now(),
		Parent: &Parent{Schedule: a.id, Name: a.schedule, Fire: a.fire, Key: a.key(), Depth: a.depth + 1},
	}
	err = s.change(ctx, target.ID, func(v *View) error {
		_, there, err := v.Find(f.ID, "")
		if err == nil && !there {
			v.Add = append(v.Add, f)
		}
		return err
	})
	if err != nil { // perhaps it is there all the same: asking again finds it
		return "", err
	}
	return f.ID, nil
}

// takes says what is wrong with values for a schedule's inputs.
func (d Definition) takes(values json.RawMessage) error {
	var given map[string]json.RawMessage
	if len(values) > 0 {
		if err := json.Unmarshal(values, &given); err != nil {
			return problem.New(problem.Invalid, "the inputs of schedule %s: want an object", d.Name)
		}
	}
	inputs := d.inputs()
	for name := range given {
		if !slices.Contains(inputs, name) {
			if len(inputs) == 0 {
				return problem.New(problem.Invalid, "schedule %s has no input %q: it has no inputs", d.Name, name)
			}
			return problem.New(problem.Invalid, "schedule %s has no input %q: want some of %s", d.Name, name, strings.Join(inputs, ", "))
		}
	}
	return nil
}

// given says what is wrong with the inputs that somebody gives, or does not give.
func (d Definition) given(values json.RawMessage) error {
	if err := d.takes(values); err != nil || d.Inputs == nil {
		return err
	}
	var all, some map[string]json.RawMessage
	if err := json.Unmarshal(d.Inputs, &all); err != nil {
		return err
	}
	if len(values) > 0 {
		if err := json.Unmarshal(values, &some); err != nil {
			return err
		}
	}
	for _, name := range d.inputs() {
		if v, ok := some[name]; string(all[name]) == "null" && (!ok || string(v) == "null") {
			return problem.New(problem.Invalid, "schedule %s wants input %s: quire schedule run %s --input %s=VALUE, or its field on the page", d.Name, name, d.Name, name)
		}
	}
	return nil
}

// An Input is what a definition takes.
type Input struct {
	Name    string
	Default string // as JSON; "" when it must be given
}

// Takes are the inputs of a definition, by name.
func (d Definition) Takes() []Input {
	var all map[string]json.RawMessage
	if d.Inputs == nil || json.Unmarshal(d.Inputs, &all) != nil {
		return nil
	}
	var inputs []Input
	for _, name := range d.inputs() {
		one := Input{Name: name}
		if string(all[name]) != "null" {
			one.Default = text(all[name])
		}
		inputs = append(inputs, one)
	}
	return inputs
}

// GivenInputs makes an object of inputs that a person wrote: JSON where it is such,
// else a text. It is nil when there are none.
func GivenInputs(texts map[string]string) (json.RawMessage, error) {
	if len(texts) == 0 {
		return nil, nil
	}
	return json.Marshal(Typed(texts))
}

// Typed are values that a person wrote: JSON where it is such, else a text.
func Typed(texts map[string]string) map[string]json.RawMessage {
	var all map[string]json.RawMessage
	for name, text := range texts {
		if all == nil {
			all = map[string]json.RawMessage{}
		}
		if all[name] = json.RawMessage(text); !json.Valid(all[name]) {
			all[name], _ = json.Marshal(text) // a text always is
		}
	}
	return all
}

// inputs are the names of a definition's inputs, sorted; nil where it has none.
func (d Definition) inputs() []string {
	var all map[string]json.RawMessage
	if d.Inputs == nil || json.Unmarshal(d.Inputs, &all) != nil {
		return nil
	}
	names := []string{}
	for name := range all {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// fillInputs gives a fire that starts the inputs that it was not given.
func (m *machine) fillInputs(f *Fire) error {
	if f.Definition.Inputs == nil {
		return nil
	}
	var values, given map[string]json.RawMessage
	if err := json.Unmarshal(f.Definition.Inputs, &values); err != nil {
		return err
	}
	if f.Inputs != nil {
		if err := json.Unmarshal(f.Inputs, &given); err != nil {
			return err
		}
	}
	e := m.env(f)
	for name, raw := range values {
		if v, ok := given[name]; ok {
			values[name] = v
			continue
		}
		v, err := e.fill(raw)
		if err != nil {
			return fmt.Errorf("input %s: %w", name, err)
		}
		if string(v) == "null" {
			return fmt.Errorf("input %s has no value: whoever runs the schedule is to give one", name)
		}
		values[name] = v
	}
	data, err := json.Marshal(values)
	f.Inputs = data
	return err
}

// giveOutputs notes what a fire that succeeded gives whoever asked for it.
func (m *machine) giveOutputs(f *Fire) error {
	if f.Definition.Outputs == nil && f.Parent == nil {
		return nil
	}
	e := m.env(f)
	if f.Definition.Outputs == nil {
		data, err := json.Marshal(e.outputs)
		if err == nil && len(data) > maxOutputs {
			return fmt.Errorf("what its steps recorded is more than %d KiB: say in outputs what of it is needed", maxOutputs>>10)
		}
		f.Outputs = data
		return err
	}
	data, err := e.fill(f.Definition.Outputs)
	if err != nil {
		return fmt.Errorf("outputs: %w", err)
	}
	if len(data) > maxOutputs {
		return fmt.Errorf("outputs: more than %d KiB", maxOutputs>>10)
	}
	f.Outputs = data
	return nil
}

// An ending is what a fire tells the schedule that asked for it.
type ending struct {
	Child   string                     `json:"child"`
	Fire    string                     `json:"fire"`
	Key     string                     `json:"key"`
	State   State                      `json:"state"`
	Reason  string                     `json:"reason,omitempty"`
	Outputs map[string]json.RawMessage `json:"outputs,omitempty"`
}

// tellParent tells the schedule that asked for a fire that it is over.
func (m *machine) tellParent(f *Fire) {
	if f.Parent == nil {
		return
	}
	end := ending{Child: f.ID, Fire: f.Parent.Fire, Key: f.Parent.Key, State: f.State, Reason: f.Reason}
	if f.Outputs != nil && json.Unmarshal(f.Outputs, &end.Outputs) != nil {
		end.State, end.Reason = Failed, "its outputs are no object"
	}
	data, err := json.Marshal(end)
	if err != nil {
		return
	}
	m.view.Emit = append(m.view.Emit, Signal{
		ID: fmt.Sprintf("%s/%d", f.ID, f.Generation), Source: nestedSource + f.Parent.Schedule, At: m.now, Values: map[string]json.RawMessage{"ending": data},
	})
}

// Nested reports which schedule a signal is for alone, by id.
func (s Signal) Nested() (schedule string, ok bool) {
	return strings.CutPrefix(s.Source, nestedSource)
}

// takeNested notes the ends of fires that tasks wait for.
func (m *machine) takeNested() {
	for i, sig := range m.view.Signals {
		if _, ok := sig.Nested(); !ok {
			continue
		}
		m.done(i)
		var end ending
		if json.Unmarshal(sig.Values["ending"], &end) != nil {
			continue
		}
		for j := range m.view.Live {
			if f := &m.view.Live[j]; f.ID == end.Fire && f.Definition != nil {
				m.noteNested(f, end)
			}
		}
	}
}

func (m *machine) noteNested(f *Fire, end ending) {
	for i := range f.Tasks {
		t := &f.Tasks[i]
		switch {
		case t.State == Running && end.Key == taskKey(f.ID, f.Generation, *t, t.Try):
		case t.State == Ready && end.Key == taskKey(f.ID, f.Generation, *t, t.Try+1): // it was over before it was noted
			t.Try, t.Child, t.Started = t.Try+1, end.Child, m.now
		default:
			continue
		}
		m.touch(f)
		t.Finished, t.Reason, t.Outputs = m.now, end.Reason, end.Outputs
		switch end.State {
		case Succeeded:
			t.State = Succeeded
		case Cancelled, Skipped:
			t.State = Cancelled
		case TimedOut:
			t.Timeouts++
			m.retry(f, t, TimedOut, end.Reason, t.Timeouts, func(r Retries) int { return r.Timeout })
		default:
			t.Failures++
			m.retry(f, t, Failed, end.Reason, t.Failures, func(r Retries) int { return r.Notebook })
		}
		return
	}
}

// stopNested asks a fire that a task waits for to stop.
func (s *Schedules) stopNested(ctx context.Context, a ask) error {
	child, err := s.cfg.Store.Fire(ctx, a.task.Child)
	if err != nil || child.State.Ended() {
		return err
	}
	return s.change(ctx, child.Schedule, func(v *View) error {
		for i := range v.Live {
			f := &v.Live[i]
			if f.ID != child.ID {
				continue
			}
			m := &machine{view: v, now: s.now(), changed: map[string]bool{}}
			why := "schedule " + a.schedule + ", which asked for it, was stopped"
			if f.State == Due {
				m.skip(f, why)
			} else {
				m.stop(f, why)
			}
			v.Put = append(v.Put, *f)
		}
		return nil
	})
}

// nests looks at the schedules that steps of d are: whether they are there, are
// u's to run, take what they are given, and do not run d in turn.
func (s *Schedules) nests(ctx context.Context, u auth.User, d Definition) error {
	var wrong []string
	for _, step := range d.Steps {
		if step.Schedule == "" {
			continue
		}
		if step.Schedule == d.Name {
			return problem.New(problem.Invalid, "step %s: the schedule would run itself for ever", step.Name)
		}
		target, err := s.cfg.Store.Schedule(ctx, step.Schedule)
		if err == nil {
			err = s.allow(ctx, u, target)
		}
		if err == nil {
			err = target.Definition.takes(step.Parameters)
		}
		if problem.Is(err, problem.NotFound) || problem.Is(err, problem.Denied) || problem.Is(err, problem.Invalid) {
			wrong = append(wrong, "step "+step.Name+": "+err.Error())
			continue
		}
		if err != nil {
			return err
		}
		way, err := s.wayBack(ctx, d.Name, target, nil)
		if err != nil {
			return err
		}
		if way != nil {
			wrong = append(wrong, fmt.Sprintf("step %s: the schedule would run itself for ever: %s runs %s", step.Name, d.Name, strings.Join(way, " runs ")))
		}
	}
	if len(wrong) > 0 {
		return problem.New(problem.Invalid, "%s", strings.Join(wrong, "\n"))
	}
	return nil
}

// wayBack is how a schedule runs the one of a name; nil when it does not.
func (s *Schedules) wayBack(ctx context.Context, name string, from Schedule, seen map[string]bool) ([]string, error) {
	if seen == nil {
		seen = map[string]bool{}
	}
	seen[from.Name] = true
	for _, step := range from.Definition.Steps {
		switch {
		case step.Schedule == "" || seen[step.Schedule]:
			continue
		case step.Schedule == name:
			return []string{from.Name, name}, nil
		}
		next, err := s.cfg.Store.Schedule(ctx, step.Schedule)
		if problem.Is(err, problem.NotFound) {
			continue
		}
		if err != nil {
			return nil, err
		}
		if way, err := s.wayBack(ctx, name, next, seen); way != nil || err != nil {
			return append([]string{from.Name}, way...), err
		}
	}
	return nil, nil
}

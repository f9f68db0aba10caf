package schedule

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"quire/internal/problem"
)

// A Case is a way that a branch may go: the steps of To run when When, an
// expression, is true; "" is true.
type Case struct {
	To   []string `json:"to"`
	When string   `json:"when,omitempty"`
}

// Limits of the flow of steps.
const (
	maxCases      = 20
	defaultRounds = 100
	maxRoundsLoop = MaxItems
)

// chosen is the value that a branch records: the names of the steps that run.
const chosen = "chosen"

// condition is the expression of a step's When, when that is one.
func (s Step) condition() (text string, ok bool) {
	return string(s.When), strings.Contains(string(s.When), "{{")
}

// goesTo reports whether the step is a branch to the step of a name.
func (s Step) goesTo(name string) bool {
	return slices.ContainsFunc(s.Branch, func(c Case) bool { return slices.Contains(c.To, name) })
}

// truth is the value of a condition.
func (e env) truth(text string) (bool, error) {
	v, err := e.text(text)
	if err != nil {
		return false, err
	}
	switch v := v.(type) {
	case bool:
		return v, nil
	case json.RawMessage:
		var b bool
		if json.Unmarshal(v, &b) == nil {
			return b, nil
		}
	}
	return false, problem.New(problem.Invalid, "%s: it gives %.60v, want true or false", text, inWords(v))
}

// inWords is a value in words.
func inWords(v any) string {
	data, err := json.Marshal(v)
	if err != nil {
		return fmt.Sprint(v)
	}
	return string(data)
}

// checkCondition says what is wrong with an expression that is a condition.
func checkCondition(text string, in scope) error {
	all, open := pieces(text)
	if open || len(all) != 1 || !all[0].expr {
		return problem.New(problem.Invalid, "%.80q: want one expression and nothing else, such as {{ steps.count.rows > 0 }}", text)
	}
	x, err := parseExpression(all[0].text)
	if err == nil {
		err = x.known(in)
	}
	if err != nil {
		return err
	}
	if x.cel != nil && !x.cel.bool || timeNames[x.name] != "" || x.name == "round" {
		return problem.New(problem.Invalid, "%.80s: want an expression that is true or false", text)
	}
	return nil
}

// An outcome is what a step came to: all of its tasks together.
type outcome struct {
	ended     bool
	failed    bool
	skipped   bool
	broken    bool // it was skipped since something before it failed
	succeeded bool
}

func (o outcome) word() string {
	switch {
	case !o.ended:
		return "running"
	case o.failed:
		return "failed"
	case o.skipped:
		return "skipped"
	}
	return "succeeded"
}

// outcomeOf is what a step of a fire came to.
func outcomeOf(f *Fire, name string) outcome {
	step, _ := f.Definition.step(name)
	o := outcome{ended: true, skipped: true}
	for _, t := range f.Tasks {
		if t.Step != name {
			continue
		}
		o.ended = o.ended && t.State.Ended()
		o.skipped = o.skipped && t.State == Skipped
		o.broken = o.broken || t.Broken
		switch t.State {
		case Failed, TimedOut, Cancelled:
			o.failed = o.failed || !step.IgnoreFailure
		}
	}
	if step.While != "" && !o.failed && !o.skipped { // between two rounds it is not over
		last := lastRound(f, name)
		o.ended = o.ended && (last.Last || last.State != Succeeded)
	}
	o.succeeded = o.ended && !o.failed && !o.skipped
	return o
}

// A turn says whether a step may begin now, or why it never will.
type turn struct {
	now    bool
	never  string
	broken bool // since something failed
	err    error
}

// turnOf looks whether it is a step's turn.
func (m *machine) turnOf(f *Fire, step Step) turn {
	var failed, skipped, broken string
	some := len(step.After) == 0
	states := map[string]string{}
	for _, name := range step.After {
		o := outcomeOf(f, name)
		if !o.ended {
			return turn{}
		}
		switch {
		case o.failed:
			failed = name
		case o.skipped:
			skipped = name
		default:
			some = true
		}
		if o.broken {
			broken = name
		}
		states[name] = o.word()
	}
	for _, name := range step.After { // a branch has the first word
		before, _ := f.Definition.step(name)
		if states[name] == "succeeded" && before.goesTo(step.Name) && !slices.Contains(chosenBy(f, name), step.Name) {
			return turn{never: "step " + name + " went another way"}
		}
	}
	text, ok := step.condition()
	if !ok {
		return byWord(step.When, some, failed, skipped, broken)
	}
	e := m.env(f)
	for name := range e.outputs { // also of those that come before these
		if states[name] == "" {
			states[name] = outcomeOf(f, name).word()
		}
	}
	e.states, e.succeeded, e.some, e.failed = states, failed == "" && skipped == "", failed == "" && broken == "" && some, failed != ""
	if !asksForStates(text) {
		if t := byWord(WhenSucceeded, some, failed, skipped, broken); !t.now {
			return t
		}
	}
	holds, err := e.truth(text)
	switch {
	case err != nil:
		return turn{err: fmt.Errorf("when: %w", err)}
	case !holds:
		return turn{never: "its condition does not hold: " + text}
	}
	return turn{now: true}
}

// asksForStates reports whether a condition says itself what is to become of the
// step after failures: by succeeded(), failed() and their like.
func asksForStates(text string) bool {
	all, _ := pieces(text)
	for _, p := range all {
		if x, err := parseExpression(p.text); p.expr && err == nil && x.cel != nil {
			for _, name := range []string{celStates, celSucceeded, celSome, celFailed} {
				if x.cel.idents[name] {
					return true
				}
			}
		}
	}
	return false
}

// byWord is the turn of a step whose When is a word.
func byWord(when When, some bool, failed, skipped, broken string) turn {
	switch {
	case when == WhenFailed && failed == "":
		return turn{never: "no step before it failed"}
	case when == WhenFailed, when == WhenEnded:
		return turn{now: true}
	case failed != "":
		return turn{never: "step " + failed + " failed", broken: true}
	case when == WhenSome && broken != "":
		return turn{never: "step " + broken + " was skipped after a failure", broken: true}
	case when == WhenSome && !some:
		return turn{never: "no step before it succeeded"}
	case when == WhenSucceeded && skipped != "":
		return turn{never: "step " + skipped + " was skipped", broken: broken != ""}
	}
	return turn{now: true}
}

// chosenBy are the steps that a branch went to.
func chosenBy(f *Fire, name string) []string {
	var all []string
	for _, t := range f.Tasks {
		if t.Step == name && t.Outputs[chosen] != nil {
			_ = json.Unmarshal(t.Outputs[chosen], &all) // it is ours
		}
	}
	return all
}

// branch decides where a branch goes: the first case that holds.
func (m *machine) branch(f *Fire, t *Task, step Step, e env) {
	to := []string{}
	for _, c := range step.Branch {
		holds, err := true, error(nil)
		if c.When != "" {
			holds, err = e.truth(c.When)
		}
		if err != nil {
			m.fail(f, t, Failed, "branch: "+err.Error())
			return
		}
		if holds {
			to = c.To
			break
		}
	}
	data, err := json.Marshal(to)
	if err != nil {
		m.fail(f, t, Failed, err.Error())
		return
	}
	t.State, t.Started, t.Finished, t.Outputs = Succeeded, m.now, m.now, map[string]json.RawMessage{chosen: data}
	t.Reason = "it went to " + strings.Join(to, " and ")
	if len(to) == 0 {
		t.Reason = "no case holds: none of its steps runs"
	}
	m.touch(f)
}

// lastRound is the newest round of a loop; its Index is below 0 before the first.
func lastRound(f *Fire, name string) *Task {
	last := &Task{Index: -1, State: Waiting}
	for i := range f.Tasks {
		if t := &f.Tasks[i]; t.Step == name && t.Index >= last.Index {
			last = t
		}
	}
	return last
}

// rounds begins the next round of each loop whose last one has succeeded, or ends
// the loop. It returns whether it did something.
func (m *machine) rounds(f *Fire) (did bool) {
	for _, step := range f.Definition.Steps {
		if step.While == "" {
			continue
		}
		last := lastRound(f, step.Name)
		if last.State != Succeeded || last.Index < 0 || last.Last {
			continue
		}
		did = true
		if last.Stop {
			why := last.Reason
			m.touch(f)
			t := m.addRound(f, step, last.Index+1)
			t.State, t.Reason, t.Finished = Cancelled, "the loop was stopped", m.now
			if why != "" {
				t.Reason = why
			}
			continue
		}
		m.round(f, step, last.Index+1, last.Outputs)
	}
	return did
}

// round begins a round of a loop where its condition holds.
func (m *machine) round(f *Fire, step Step, n int, recorded map[string]json.RawMessage) {
	m.touch(f)
	e := m.env(f)
	e.round, e.last = n, recorded
	holds, err := e.truth(step.While)
	before := lastRound(f, step.Name)
	if err == nil && !holds {
		before.Last = true
		if n == 0 {
			before.State, before.Reason, before.Started, before.Finished = Succeeded, "its condition did not hold: there was nothing to do", m.now, m.now
		}
		return
	}
	first := *before
	t := m.addRound(f, step, n)
	switch {
	case err != nil:
		m.fail(f, t, Failed, "while: "+err.Error())
	case n >= step.rounds():
		m.fail(f, t, Failed, fmt.Sprintf("its condition still holds after %d rounds, which is as many as it may have", n))
	default:
		m.ready(f, t, step, e)
		if n > 0 && t.State == Ready {
			t.Version, t.Repository, t.Commit = first.Version, first.Repository, first.Commit // all rounds run the same
			t.NotBefore = m.now.Add(time.Duration(step.PauseSeconds) * time.Second)
		}
	}
}

// addRound adds a round to a loop; the first stands in place of what waited.
func (m *machine) addRound(f *Fire, step Step, n int) *Task {
	t := Task{Step: step.Name, Index: n, State: Waiting, Notebook: step.Notebook, Schedule: step.Schedule}
	before := lastRound(f, step.Name)
	i := slices.IndexFunc(f.Tasks, func(o Task) bool { return o.Step == step.Name && o.Index == before.Index })
	if n == 0 {
		f.Tasks[i] = t
	} else {
		i++
		f.Tasks = slices.Insert(f.Tasks, i, t)
	}
	return &f.Tasks[i]
}

// rounds is how many rounds a loop may have.
func (s Step) rounds() int {
	if s.Rounds == 0 {
		return defaultRounds
	}
	return s.Rounds
}

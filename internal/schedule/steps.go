package schedule

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"quire/internal/run"
)

// start gives a fire its tasks.
func (m *machine) start(f *Fire) {
	s := m.view.Schedule
	d := s.Definition
	f.State, f.Reason, f.Started, f.Revision = Running, "", m.now, s.Revision
	f.Definition, f.Pinned = &d, s.Pinned
	f.Tasks = nil
	for _, step := range d.Steps {
		f.Tasks = append(f.Tasks, Task{Step: step.Name, Index: -1, State: Waiting, Notebook: step.Notebook})
	}
	m.touch(f)
	m.advance(f)
}

// advance takes a running fire as far as it goes now.
func (m *machine) advance(f *Fire) {
	if f.State != Running {
		return
	}
	for i := range f.Tasks {
		m.note(f, &f.Tasks[i])
	}
	for m.open(f) { // skipping a step may open others
		m.touch(f)
	}
	m.limit(f)
	m.end(f)
	m.deadline(f)
	for _, t := range f.Tasks {
		switch {
		case t.State != Ready:
		case t.NotBefore.After(m.now):
			m.at(t.NotBefore)
		default: // whoever decided asks for it at once; should it die, somebody else does
			m.at(m.now.Add(askAgain))
		}
	}
}

// askAgain is when a run that is to be asked for is looked at again.
const askAgain = time.Second

// note takes over what became of a task's run.
func (m *machine) note(f *Fire, t *Task) {
	if t.State != Running {
		return
	}
	r, ended := m.view.Ended[t.Run]
	if !ended {
		if m.view.Lost[t.Run] {
			m.fail(f, t, Failed, "its run "+t.Run+" was removed from the records")
		}
		return
	}
	m.touch(f)
	t.Finished, t.Reason = r.Finished, r.Reason
	if !r.Started.IsZero() {
		t.Started = r.Started
	}
	t.Outputs = outputsOf(r)
	switch r.State {
	case run.Succeeded:
		t.State = Succeeded
	case run.Cancelled:
		t.State = Cancelled
	case run.TimedOut:
		t.Timeouts++
		m.retry(f, t, TimedOut, r.Reason, t.Timeouts, func(r Retries) int { return r.Timeout })
	default:
		if strings.Contains(r.Reason, "attempts were lost") {
			t.Losses++
			m.retry(f, t, Failed, r.Reason, t.Losses, func(r Retries) int { return r.Platform })
			return
		}
		t.Failures++
		m.retry(f, t, Failed, r.Reason, t.Failures, func(r Retries) int { return r.Notebook })
	}
}

// outputsOf reads the recorded values of a run.
func outputsOf(r run.Run) map[string]json.RawMessage {
	var result struct {
		Records []struct {
			Name  string          `json:"name"`
			Value json.RawMessage `json:"value"`
		} `json:"records"`
	}
	if len(r.Result) == 0 || json.Unmarshal(r.Result, &result) != nil || len(result.Records) == 0 {
		return nil
	}
	outputs, size := map[string]json.RawMessage{}, 0
	for _, rec := range result.Records {
		if size += len(rec.Name) + len(rec.Value); size > maxOutputs {
			break
		}
		outputs[rec.Name] = rec.Value
	}
	return outputs
}

// maxOutputs is how much of a task's recorded values is kept, in bytes.
const maxOutputs = 64 << 10

// retry asks for another run of a task, or ends it.
func (m *machine) retry(f *Fire, t *Task, state State, reason string, failures int, allowed func(Retries) int) {
	step, _ := f.Definition.step(t.Step)
	if failures > allowed(step.Retries) || t.Stop {
		m.fail(f, t, state, reason)
		return
	}
	wait := backoff(step.Retries, failures)
	t.Earlier = append(t.Earlier, t.Run)
	t.Run, t.State, t.NotBefore = "", Ready, m.now.Add(wait)
	t.Reason = fmt.Sprintf("try %d: %s; it is tried again in %s", t.Try, reason, wait)
	m.touch(f)
}

// backoff is how long to wait before the retry after so many failures.
func backoff(r Retries, failures int) time.Duration {
	wait, most := r.WaitSeconds, r.MaxWaitSeconds
	if wait == 0 {
		wait = 10
	}
	if most == 0 {
		most = 600
	}
	for n := 1; r.Exponential && n < failures && wait < most; n++ {
		wait *= 2
	}
	return time.Duration(min(wait, max(most, r.WaitSeconds))) * time.Second
}

// fail ends a task that did not come to what it should.
func (m *machine) fail(f *Fire, t *Task, state State, reason string) {
	t.State, t.Reason = state, reason
	if t.Finished.IsZero() {
		t.Finished = m.now
	}
	m.touch(f)
	step, _ := f.Definition.step(t.Step)
	if f.Definition.StopAtFailure && !step.IgnoreFailure {
		m.stop(f, "step "+t.Step+" failed")
	}
}

// stop ends what waits in a fire and asks what runs to stop.
func (m *machine) stop(f *Fire, reason string) {
	for i := range f.Tasks {
		t := &f.Tasks[i]
		switch {
		case t.State == Running && !t.Stop:
			t.Stop, t.Reason = true, "asked to stop: "+reason
		case t.State == Waiting, t.State == Ready && (t.Version == 0 || t.NotBefore.After(m.now)):
			t.State, t.Reason, t.Finished = Skipped, reason, m.now
		case t.State == Ready && !t.Stop: // a run may have been asked for already: see it through
			t.Stop, t.Reason = true, "asked to stop: "+reason
		default:
			continue
		}
		m.touch(f)
	}
	if f.Reason == "" {
		f.Reason = reason
		m.touch(f)
	}
	m.end(f)
}

// outcome is what a step came to: all of its tasks together.
func outcome(f *Fire, name string) (ended, failed, skipped bool) {
	step, _ := f.Definition.step(name)
	ended, skipped = true, true
	for _, t := range f.Tasks {
		if t.Step != name {
			continue
		}
		ended = ended && t.State.Ended()
		skipped = skipped && t.State == Skipped
		switch t.State {
		case Failed, TimedOut, Cancelled:
			failed = failed || !step.IgnoreFailure
		}
	}
	return ended, failed, skipped
}

// open lets steps begin whose steps before are over. It returns whether it did
// something.
func (m *machine) open(f *Fire) (did bool) {
	for i := range f.Tasks {
		if f.Tasks[i].State != Waiting || f.Tasks[i].Index >= 0 {
			continue
		}
		step, _ := f.Definition.step(f.Tasks[i].Step)
		begins, reason := fits(f, step)
		switch {
		case reason != "":
			f.Tasks[i].State, f.Tasks[i].Reason, f.Tasks[i].Finished = Skipped, reason, m.now
			return true
		case begins:
			m.begin(f, i, step)
			return true
		}
	}
	return false
}

// fits reports whether a step may begin, or why it never will.
func fits(f *Fire, step Step) (now bool, never string) {
	var failed, skipped string
	for _, name := range step.After {
		ended, bad, passed := outcome(f, name)
		if !ended {
			return false, ""
		}
		if bad {
			failed = name
		}
		if passed {
			skipped = name
		}
	}
	switch {
	case step.When == WhenFailed && failed == "":
		return false, "no step before it failed"
	case step.When == WhenSucceeded && failed != "":
		return false, "step " + failed + " failed"
	case step.When == WhenSucceeded && skipped != "":
		return false, "step " + skipped + " was skipped"
	}
	return true, ""
}

// begin makes the task at index i ready, or one task for each element of
// foreach.
func (m *machine) begin(f *Fire, i int, step Step) {
	e := m.env(f)
	if step.Foreach == nil {
		m.ready(f, &f.Tasks[i], step, e)
		return
	}
	var items []json.RawMessage
	filled, err := e.fill(step.Foreach)
	if err == nil && json.Unmarshal(filled, &items) != nil {
		err = fmt.Errorf("foreach gives no list, but %.80s", filled)
	}
	if err == nil && len(items) > MaxItems {
		err = fmt.Errorf("foreach gives %d elements, at most %d are run", len(items), MaxItems)
	}
	t := &f.Tasks[i]
	switch {
	case err != nil:
		m.fail(f, t, Failed, err.Error())
		return
	case len(items) == 0:
		t.State, t.Reason, t.Finished = Succeeded, "foreach gives no element: there was nothing to do", m.now
		return
	}
	tasks := make([]Task, len(items))
	for n, item := range items {
		tasks[n] = Task{Step: step.Name, Index: n, Item: item, State: Waiting, Notebook: step.Notebook}
		e.item = item
		m.ready(f, &tasks[n], step, e)
		if tasks[n].State == Ready {
			tasks[n].State = Waiting // limit lets as many go as may
		}
	}
	f.Tasks = slices.Concat(f.Tasks[:i], tasks, f.Tasks[i+1:])
}

// ready fills in the parameters of a task.
func (m *machine) ready(f *Fire, t *Task, step Step, e env) {
	parameters, err := e.fill(step.Parameters)
	if err != nil {
		m.fail(f, t, Failed, err.Error())
		return
	}
	t.Parameters, t.State, t.Version = parameters, Ready, f.Pinned[step.Name]
	if t.Try == 0 {
		t.NotBefore = time.Time{}
	}
}

// limit lets elements of foreach go, up to the number that may run at once.
func (m *machine) limit(f *Fire) {
	for _, step := range f.Definition.Steps {
		if step.Foreach == nil {
			continue
		}
		most := step.Parallel
		if most == 0 {
			most = MaxItems
		}
		for i := range f.Tasks {
			if t := &f.Tasks[i]; t.Step == step.Name && (t.State == Ready || t.State == Running) {
				most--
			}
		}
		for i := range f.Tasks {
			if t := &f.Tasks[i]; most > 0 && t.Step == step.Name && t.Index >= 0 && t.State == Waiting {
				t.State = Ready
				m.touch(f)
				most--
			}
		}
	}
}

// env is what the expressions of a fire read now.
func (m *machine) env(f *Fire) env {
	table, err := f.Definition.Timetable()
	if err != nil {
		table = m.table
	}
	e := env{schedule: m.view.Schedule.Name, table: table, slot: f.Slot, outputs: map[string]map[string]json.RawMessage{}, none: map[string]bool{}}
	for _, step := range f.Definition.Steps {
		outputs := map[string]json.RawMessage{}
		lists := map[string][]json.RawMessage{}
		for _, t := range f.Tasks {
			if t.Step != step.Name {
				continue
			}
			if step.Foreach != nil && t.Index < 0 && t.State == Succeeded {
				e.none[step.Name] = true
			}
			for name, v := range t.Outputs {
				outputs[name] = v
				lists[name] = append(lists[name], v)
			}
		}
		if step.Foreach != nil { // the values of all elements, in their order
			for name, list := range lists {
				if data, err := json.Marshal(list); err == nil {
					outputs[name] = data
				}
			}
		}
		e.outputs[step.Name] = outputs
	}
	return e
}

// end ends a fire all of whose tasks are over.
func (m *machine) end(f *Fire) {
	if f.State != Running {
		return
	}
	state, reason := Succeeded, ""
	skipped := true
	for _, t := range f.Tasks {
		if !t.State.Ended() {
			return
		}
		step, _ := f.Definition.step(t.Step)
		skipped = skipped && t.State == Skipped
		if step.IgnoreFailure {
			continue
		}
		switch t.State {
		case Failed, TimedOut:
			state = t.State
			reason = describe(t)
		case Cancelled:
			if state == Succeeded {
				state, reason = Cancelled, describe(t)
			}
		}
	}
	if skipped && f.Reason != "" {
		state, reason = Cancelled, f.Reason
	}
	f.State, f.Finished = state, m.now
	if reason != "" || state == Succeeded {
		f.Reason = reason
	}
	m.touch(f)
	s := &m.view.Schedule
	if s.Definition.Strategy == StrictSequential && f.Lane == LaneSchedule {
		if state == Succeeded {
			s.Blocked = ""
		} else {
			s.Blocked = "the fire of " + f.Slot.Format(time.RFC3339) + " is " + strings.ReplaceAll(string(state), "_", " ") + ": run it again, or resume the schedule to go on without it"
		}
	}
}

func describe(t Task) string {
	what := "step " + t.Step
	if t.Index >= 0 {
		what += fmt.Sprintf(" (element %d)", t.Index+1)
	}
	return what + ": " + t.Reason
}

// deadline marks a fire late that is not over in time.
func (m *machine) deadline(f *Fire) {
	limit := time.Duration(f.Definition.DoneWithinSeconds) * time.Second
	if limit == 0 || f.Late || f.Lane != LaneSchedule {
		return
	}
	end := f.Slot.Add(limit)
	switch {
	case f.State.Ended() && f.Finished.After(end), !f.State.Ended() && m.now.After(end):
		f.Late = true
		m.touch(f)
	case !f.State.Ended():
		m.at(end.Add(time.Microsecond))
	}
}

// A Restart says where a fire that is over begins again.
type Restart string

// The places to begin again at. Any other value is the name of a step: it, and
// everything after it, runs again.
const (
	FromFailed    Restart = "@failed"    // what did not succeed
	FromBeginning Restart = "@beginning" // everything
)

// restart makes a fire that is over run again. Tasks that stay as they were keep
// their runs.
func (m *machine) restart(f *Fire, from Restart) error {
	if f.Definition == nil {
		m.start(f)
		return nil
	}
	again := map[string]bool{}
	for _, t := range f.Tasks {
		if from == FromBeginning || from == FromFailed && t.State != Succeeded || string(from) == t.Step {
			again[t.Step] = true
		}
	}
	if len(again) == 0 {
		return fmt.Errorf("nothing in it is to run again from %s", strings.TrimPrefix(string(from), "@"))
	}
	before := ancestors(*f.Definition)
	for _, step := range f.Definition.Steps {
		if slices.ContainsFunc(before[step.Name], func(b string) bool { return again[b] }) {
			again[step.Name] = true
		}
	}
	var tasks []Task
	done := map[string]bool{}
	for _, t := range f.Tasks {
		step, _ := f.Definition.step(t.Step)
		keep := !again[t.Step] || from == FromFailed && t.State == Succeeded && step.Foreach != nil && !slices.ContainsFunc(before[t.Step], func(b string) bool { return again[b] })
		switch {
		case keep:
			tasks = append(tasks, t)
		case t.Index >= 0 && from == FromFailed && t.Parameters != nil: // this element only
			tasks = append(tasks, renew(t, Waiting))
		case !done[t.Step]:
			done[t.Step] = true
			t.Index, t.Item = -1, nil
			tasks = append(tasks, renew(t, Waiting))
		}
	}
	f.Tasks, f.State, f.Reason, f.Finished, f.Generation = tasks, Running, "", time.Time{}, f.Generation+1
	m.touch(f)
	m.advance(f)
	return nil
}

// renew is a task as it begins again. The fire's generation gives its runs keys of
// their own.
func renew(t Task, s State) Task {
	if t.Run != "" {
		t.Earlier = append(t.Earlier, t.Run)
	}
	return Task{
		Step: t.Step, Index: t.Index, Item: t.Item, State: s, Notebook: t.Notebook, Parameters: t.Parameters, Version: t.Version,
		Try: t.Try, Earlier: t.Earlier,
	}
}

package schedule

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"quire/internal/notify"
	"quire/internal/problem"
	"quire/internal/run"
)

// start gives a fire its tasks.
func (m *machine) start(f *Fire) {
	s := m.view.Schedule
	d := s.Definition
	f.State, f.Reason, f.Started, f.Revision, f.Long = Running, "", m.now, s.Revision, false
	f.Definition, f.Pinned = &d, s.Pinned
	f.Tasks = nil
	for _, step := range d.Steps {
		f.Tasks = append(f.Tasks, Task{Step: step.Name, Index: -1, State: Waiting, Notebook: step.Notebook, Schedule: step.Schedule})
	}
	m.touch(f)
	if err := m.fillInputs(f); err != nil {
		for i := range f.Tasks {
			f.Tasks[i].State, f.Tasks[i].Reason, f.Tasks[i].Finished, f.Tasks[i].Broken = Skipped, err.Error(), m.now, true
		}
		f.Tasks[0].State = Failed
	}
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
	for m.open(f) || m.rounds(f) { // skipping a step may open others
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
const askAgain = 5 * time.Second

// note takes over what became of a task's run.
func (m *machine) note(f *Fire, t *Task) {
	if t.State != Running {
		return
	}
	if t.Child != "" { // see takeNested
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
	m.environment(f, t, r)
	t.Failed, t.Message = r.Failure()
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
	if t.Run != "" {
		t.Earlier = append(t.Earlier, t.Run)
	}
	t.Run, t.Child, t.State, t.NotBefore = "", "", Ready, m.now.Add(wait)
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

// open lets steps begin whose steps before are over. It returns whether it did
// something.
func (m *machine) open(f *Fire) (did bool) {
	for i := range f.Tasks {
		t := &f.Tasks[i]
		if t.State != Waiting || t.Index >= 0 {
			continue
		}
		step, _ := f.Definition.step(t.Step)
		turn := m.turnOf(f, step)
		switch {
		case turn.err != nil:
			m.fail(f, t, Failed, turn.err.Error())
			return true
		case turn.never != "":
			t.State, t.Reason, t.Finished, t.Broken = Skipped, turn.never, m.now, turn.broken
			return true
		case turn.now:
			m.begin(f, i, step)
			return true
		}
	}
	return false
}

// begin makes the task at index i ready, or one task for each element of
// foreach.
func (m *machine) begin(f *Fire, i int, step Step) {
	e := m.env(f)
	switch {
	case step.Branch != nil:
		m.branch(f, &f.Tasks[i], step, e)
		return
	case step.While != "":
		m.round(f, step, 0, nil)
		return
	case step.Foreach == nil:
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
		tasks[n] = Task{Step: step.Name, Index: n, Item: item, State: Waiting, Notebook: step.Notebook, Schedule: step.Schedule}
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
	if err == nil {
		parameters, err = f.override(step.Name, parameters)
	}
	if err != nil {
		m.fail(f, t, Failed, err.Error())
		return
	}
	t.Parameters, t.State, t.Version = parameters, Ready, f.Pinned[step.Name]
	t.Repository, t.Commit = "", ""
	if step.Schedule != "" {
		t.Version = unversioned
	}
	if t.Try == 0 {
		t.NotBefore = time.Time{}
	}
}

// limit lets elements of foreach go, up to the number that may run at once, and
// a round that begins again.
func (m *machine) limit(f *Fire) {
	for _, step := range f.Definition.Steps {
		if step.Foreach == nil && step.While == "" {
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
	e := env{schedule: m.view.Schedule.Name, table: table, slot: f.Slot, event: f.Event, inputs: f.Inputs, outputs: map[string]map[string]json.RawMessage{}, none: map[string]bool{}}
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
			reason = describe(f, t)
		case Cancelled:
			if state == Succeeded {
				state, reason = Cancelled, describe(f, t)
			}
		}
	}
	if skipped && f.Reason != "" {
		state, reason = Cancelled, f.Reason
	}
	if state == Succeeded {
		if err := m.giveOutputs(f); err != nil {
			state, reason = Failed, err.Error()
		}
	}
	f.State, f.Finished = state, m.now
	if reason != "" || state == Succeeded {
		f.Reason = reason
	}
	m.touch(f)
	s := &m.view.Schedule
	m.tell(f)
	m.signal(f)
	m.tellParent(f)
	if f.Lane == LaneSchedule && state != Cancelled {
		s.Last = state
	}
	if s.Definition.Strategy == StrictSequential && f.Lane == LaneSchedule {
		if state == Succeeded {
			s.Blocked = ""
		} else {
			what := map[State]string{TimedOut: "timed out", Cancelled: "was stopped"}[state]
			s.Blocked = "the fire of " + f.Slot.Format(time.RFC3339) + " " + cmp.Or(what, "failed") + ": run it again, or resume the schedule to go on without it"
		}
	}
}

// tell records who is told of a fire that is over.
func (m *machine) tell(f *Fire) {
	switch f.State {
	case Failed, TimedOut:
		m.notice(f, notify.Failure)
	case Succeeded:
		m.notice(f, notify.Success)
		if last := m.view.Schedule.Last; f.Lane == LaneSchedule && (last == Failed || last == TimedOut) {
			m.notice(f, notify.Recovery)
		}
	}
}

// notice records the notices of an event of a fire, once, whoever decides.
func (m *machine) notice(f *Fire, event notify.Event) {
	rules := f.Definition.Notify
	if len(rules) == 0 || f.Lane != LaneSchedule && !strings.HasPrefix(f.Lane, LaneManual) {
		return
	}
	s := m.view.Schedule
	fact := notify.Fact{
		Event: event, Schedule: s.Name, Fire: f.ID, Slot: f.Slot, State: string(f.State), Reason: f.Reason, Owner: s.Owner,
		Path: "/schedules/" + s.Name, At: m.now,
	}
	for _, t := range f.Tasks {
		if len(fact.Parts) == maxParts {
			break
		}
		if event == notify.Failure && t.State == Succeeded {
			continue
		}
		name := nameOf(f, t)
		part := notify.Part{Name: name, State: string(t.State), Run: t.Run, Cell: t.Failed, Message: t.Message, Parameters: t.Parameters}
		if part.Message == "" {
			part.Message = t.Reason
		}
		fact.Parts = append(fact.Parts, part)
	}
	m.view.Notices = append(m.view.Notices, notify.Notices(rules, fmt.Sprintf("%s/%d", f.ID, f.Generation), fact)...)
}

// maxParts is how many tasks a notice tells of.
const maxParts = 20

func describe(f *Fire, t Task) string { return "step " + nameOf(f, t) + ": " + t.Reason }

// nameOf names a task: its step, and which element or round of it.
func nameOf(f *Fire, t Task) string {
	if t.Index < 0 {
		return t.Step
	}
	what := "element"
	if step, _ := f.Definition.step(t.Step); step.While != "" {
		what = "round"
	}
	return fmt.Sprintf("%s (%s %d)", t.Step, what, t.Index+1)
}

// deadline marks a fire late that is not over in time, and one that runs long.
func (m *machine) deadline(f *Fire) {
	if f.Lane != LaneSchedule {
		return
	}
	if limit := time.Duration(f.Definition.LongSeconds) * time.Second; limit > 0 && !f.Long && !f.State.Ended() {
		if end := f.Started.Add(limit); m.now.After(end) {
			f.Long = true
			m.touch(f)
			m.notice(f, notify.LongRunning)
		} else {
			m.at(end.Add(time.Microsecond))
		}
	}
	end := f.Definition.doneUntil(f.Slot)
	if end.IsZero() || f.Late {
		return
	}
	switch {
	case f.State.Ended() && f.Finished.After(end), !f.State.Ended() && m.now.After(end):
		f.Late = true
		m.touch(f)
		m.notice(f, notify.Late)
	case !f.State.Ended():
		m.at(end.Add(time.Microsecond))
	}
}

// doneUntil is when the fire of a slot must be over; zero is never.
func (d Definition) doneUntil(slot time.Time) (end time.Time) {
	if d.DoneWithinSeconds > 0 {
		end = slot.Add(time.Duration(d.DoneWithinSeconds) * time.Second)
	}
	if d.DoneBy == "" {
		return end
	}
	zone, err := LoadZone(d.Zone)
	if err != nil {
		return end
	}
	hour, minute, in, err := parseClock(d.DoneBy, zone)
	if err != nil {
		return end
	}
	if by := clockAfter(slot, hour, minute, in); end.IsZero() || by.Before(end) {
		end = by
	}
	return end
}

// restart makes a fire that is over run again, with what it is given. Tasks that
// stay as they were keep their runs.
func (m *machine) restart(f *Fire, values Values, one Rerun) (err error) {
	if f.Tasks == nil { // it never began
		f.Definition = &m.view.Schedule.Definition
		if one.Changed, err = f.give(values); err != nil {
			return err
		}
		f.rerun(one)
		m.start(f)
		return nil
	}
	from := one.From
	again, err := f.again(from)
	if err != nil {
		return err
	}
	if one.Changed, err = f.give(values); err != nil {
		return err
	}
	if err := m.fillInputs(f); err != nil { // some are missing where that failed when it began
		return problem.WrapAs(problem.Invalid, err, "filling the inputs")
	}
	before := ancestors(*f.Definition)
	var tasks []Task
	done := map[string]bool{}
	anew := map[string]bool{} // steps that failed before there was a run: they begin again
	for _, t := range f.Tasks {
		step, _ := f.Definition.step(t.Step)
		if t.Try == 0 && t.State != Succeeded && t.State != Skipped && (step.While != "" || step.Foreach != nil) {
			anew[t.Step] = true
		}
	}
	for _, t := range f.Tasks {
		step, _ := f.Definition.step(t.Step)
		keep := !again[t.Step] || from == FromFailed && t.State == Succeeded && (step.Foreach != nil || step.While != "") && !anew[t.Step] && !slices.ContainsFunc(before[t.Step], func(b string) bool { return again[b] })
		switch {
		case keep:
			tasks = append(tasks, t)
		case t.Index >= 0 && from == FromFailed && !anew[t.Step]: // this element or round only
			tasks = append(tasks, renew(t, Waiting))
		case !done[t.Step]:
			done[t.Step] = true
			t.Index, t.Item = -1, nil
			tasks = append(tasks, renew(t, Waiting))
		}
	}
	f.Tasks, f.State, f.Reason, f.Started, f.Finished, f.Long, f.Generation = tasks, Running, "", m.now, time.Time{}, false, f.Generation+1
	f.rerun(one)
	if len(one.Changed) > 0 {
		m.refill(f)
	}
	m.touch(f)
	m.advance(f)
	return nil
}

// refill gives the elements and rounds that begin again alone what they would be
// given now.
func (m *machine) refill(f *Fire) {
	for i := range f.Tasks {
		t := &f.Tasks[i]
		if t.Index < 0 || t.State != Waiting {
			continue
		}
		step, _ := f.Definition.step(t.Step)
		e := m.env(f)
		e.item, e.round = t.Item, t.Index
		for _, o := range f.Tasks {
			if o.Step == t.Step && o.Index == t.Index-1 {
				e.last = o.Outputs
			}
		}
		was := *t
		if m.ready(f, t, step, e); t.State == Ready { // the same version as its fellows
			t.State, t.Version, t.Repository, t.Commit = Waiting, was.Version, was.Repository, was.Commit
		}
	}
}

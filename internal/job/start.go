package job

import (
	"time"

	"quire/internal/compute"
)

// A PhaseState is where a task is with a part of its start.
type PhaseState string

// The states of a part of a start.
const (
	PhaseDone  PhaseState = "done"
	PhaseNow   PhaseState = "now"
	PhaseAhead PhaseState = "ahead"
	PhaseEnded PhaseState = "ended" // the task ended in it
)

// A Phase is a part of a task's start, as people see it: queued, pulling (where
// an image had to be brought), creating, starting, running.
type Phase struct {
	Name       string     `json:"name"`
	State      PhaseState `json:"state"`
	Since      int64      `json:"since,omitempty"`  // milliseconds since 1970
	Millis     int64      `json:"millis,omitempty"` // how long it took, once it is done
	Message    string     `json:"message,omitempty"`
	DoneBytes  int64      `json:"doneBytes,omitempty"`
	TotalBytes int64      `json:"totalBytes,omitempty"` // 0 is not known; it may grow
}

// Took is how long a step took.
func (s Phase) Took() time.Duration { return time.Duration(s.Millis) * time.Millisecond }

// A Pull is the bringing of a task's image.
type Pull struct {
	Began      int64 `json:"began,omitempty"` // milliseconds since 1970
	Ended      int64 `json:"ended,omitempty"`
	DoneBytes  int64 `json:"doneBytes,omitempty"`
	TotalBytes int64 `json:"totalBytes,omitempty"`
}

// heed takes the stage that a task's container is in.
func (t *Task) heed(stage compute.Stage, now int64) {
	switch {
	case stage.Name == compute.StagePulling:
		if t.Pull.Began == 0 {
			t.Pull.Began = now
		}
		t.Pull.Ended = 0
		if stage.TotalBytes > 0 {
			t.Pull.DoneBytes, t.Pull.TotalBytes = stage.DoneBytes, stage.TotalBytes
		}
	case t.Pull.Began > 0 && t.Pull.Ended == 0:
		t.Pull.Ended = now
	}
}

// The states of a task that starts, and what they are called.
var startSteps = []struct {
	state State
	name  string
}{{Accepted, "queued"}, {Launched, "creating"}, {StartInitiated, "starting"}, {Started, "running"}}

// Start says how the start of a task went or goes. What a task that ended never
// came to is left out.
func (t Task) Start() []Phase {
	entered := map[State]Status{}
	for _, one := range append(t.History[:len(t.History):len(t.History)], t.Status) {
		if _, ok := entered[one.State]; !ok || one.State == t.Status.State {
			entered[one.State] = one
		}
	}
	first := t.Status.Timestamp
	if len(t.History) > 0 {
		first = t.History[0].Timestamp
	}
	var steps []Phase
	last := -1 // the last that was come to
	for i, one := range startSteps {
		st, ok := entered[one.state]
		if !ok && !t.Live() {
			continue
		}
		step := Phase{Name: one.name, State: PhaseAhead}
		if ok {
			step.State, step.Since, last = PhaseDone, st.Timestamp, len(steps)
			if i == 0 {
				step.Since = first
			}
		}
		steps = append(steps, step)
	}
	if last < 0 {
		return nil
	}
	until := t.Status.Timestamp
	for i := range steps[:last+1] {
		end := until
		if i < last {
			end = steps[i+1].Since
		}
		steps[i].Millis = max(0, end-steps[i].Since)
	}
	now := &steps[last]
	switch {
	case now.Name == "running": // it is there
		now.State, now.Millis = PhaseDone, 0
	case t.Live() && t.Status.State != KillInitiated:
		now.State, now.Millis, now.Message = PhaseNow, 0, t.Status.ReasonMessage
	default:
		now.State = PhaseEnded
	}
	return t.withPull(steps)
}

// withPull puts the bringing of the image before the step that it was a part of.
func (t Task) withPull(steps []Phase) []Phase {
	if t.Pull.Began == 0 {
		return steps
	}
	pull := Phase{Name: "pulling", State: PhaseDone, Since: t.Pull.Began, DoneBytes: t.Pull.DoneBytes, TotalBytes: t.Pull.TotalBytes}
	for i := len(steps) - 1; i >= 0; i-- {
		host := &steps[i]
		if host.Since == 0 || host.Since > t.Pull.Began {
			continue
		}
		if t.Pull.Ended > 0 {
			pull.Millis = t.Pull.Ended - t.Pull.Began
			host.Millis = max(0, host.Millis-pull.Millis)
			pull.DoneBytes = pull.TotalBytes
		} else {
			pull.State, pull.Message = host.State, host.Message
			pull.Millis = host.Millis
			host.State, host.Since, host.Millis, host.Message = PhaseAhead, 0, 0, ""
			if pull.State == PhaseEnded {
				steps = append(steps[:i], steps[i+1:]...)
			}
		}
		return append(steps[:i:i], append([]Phase{pull}, steps[i:]...)...)
	}
	return steps
}

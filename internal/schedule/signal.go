package schedule

import (
	"context"
	"encoding/json"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"

	"quire/internal/problem"
)

// A Signal says that something has happened that schedules may wait for.
type Signal struct {
	ID     string                     `json:"id"` // unique among those of its source
	Source string                     `json:"source"`
	At     time.Time                  `json:"at"`
	Values map[string]json.RawMessage `json:"values"` // {{ event.NAME }} of the fire
	// Held says that it waits for others, by the join of its trigger.
	Held bool `json:"held,omitempty"`
}

// A Wait is what a trigger waits for: a fire of a schedule, a call of a webhook,
// a file or a table.
type Wait struct {
	Schedule string `json:"schedule,omitempty"` // name
	// When is what the fire of Schedule must have come to; "" is succeeded.
	When    When   `json:"when,omitempty"`
	Webhook string `json:"webhook,omitempty"` // name, in the server's configuration
	// File is a path on the volume whose last part may be a pattern, as path.Match has
	// them: each new version of a file that fits is one signal.
	File string `json:"file,omitempty"`
	// Table is written by a run that succeeded, or by a statement outside of runs;
	// Connection, when it is not "", is where.
	Table      string `json:"table,omitempty"`
	Connection string `json:"connection,omitempty"`
	// Match are patterns, as path.Match has them, that values must fit.
	Match map[string]string `json:"match,omitempty"`
}

// Limits of signals.
const (
	maxHeld  = 500 // signals of a schedule that wait for others; older ones are dropped
	maxWaits = 20

	holdSignals = 7 * 24 * time.Hour // how long one waits for the others of its join
	// KeepSignals is how long one that was taken is remembered.
	KeepSignals = 30 * 24 * time.Hour
)

// source names what a wait is about, as Signal.Source does.
func (w Wait) source() string {
	switch {
	case w.Webhook != "":
		return "webhook/" + w.Webhook
	case w.File != "":
		return fileSource + w.File
	case w.Table != "":
		return TableSource(w.Table)
	}
	return "schedule/" + w.Schedule
}

// takes reports whether a signal is what the wait is for.
func (w Wait) takes(s Signal) bool {
	if s.Source != w.source() || w.Connection != "" && w.Connection != text(s.Values["connection"]) {
		return false
	}
	if w.Schedule != "" {
		state := State(text(s.Values["state"]))
		switch w.When {
		case WhenEnded:
		case WhenFailed:
			if state != Failed && state != TimedOut {
				return false
			}
		default:
			if state != Succeeded {
				return false
			}
		}
	}
	for name, pattern := range w.Match {
		if fits, err := path.Match(pattern, text(s.Values[name])); err != nil || !fits || s.Values[name] == nil {
			return false
		}
	}
	return true
}

// text is a value of a signal as it is compared: a text without its quotes.
func text(raw json.RawMessage) string {
	var s string
	if json.Unmarshal(raw, &s) == nil {
		return s
	}
	return string(raw)
}

// Sources are what the triggers of a definition wait for, each once.
func (d Definition) Sources() []string {
	var all []string
	for _, t := range d.Triggers {
		for _, w := range t.Signals {
			if !slices.Contains(all, w.source()) {
				all = append(all, w.source())
			}
		}
	}
	return all
}

// takeSignals fires for the signals that have come. A paused schedule does not
// fire for what came meanwhile: it is recorded as skipped.
func (m *machine) takeSignals() {
	v := m.view
	m.takeNested()
	for i, sig := range v.Signals { // what its own runs write is no news to it
		if strings.HasPrefix(sig.Source, tableSource) && text(sig.Values["schedule"]) == v.Schedule.Name {
			m.done(i)
		}
	}
	for i := range v.Signals {
		if sig := v.Signals[i]; sig.Held && m.now.Sub(sig.At) > holdSignals {
			m.done(i)
		}
	}
	for _, t := range v.Schedule.Definition.Triggers {
		if len(t.Signals) > 0 {
			for m.fireOnce(t) {
			}
		}
	}
	held := 0
	for i, sig := range slices.Backward(v.Signals) { // what no trigger wanted, or has taken
		switch {
		case v.Taken[sig.ID]:
		case m.wanted(sig) && !v.Schedule.Paused && held < maxHeld:
			v.Signals[i].Held = true
			held++
		default:
			m.done(i)
		}
	}
}

// wanted reports whether some trigger is to keep a signal for others to come.
func (m *machine) wanted(sig Signal) bool {
	return slices.ContainsFunc(m.view.Schedule.Definition.Triggers, func(t Trigger) bool {
		return len(t.Signals) > 1 && slices.ContainsFunc(t.Signals, func(w Wait) bool { return w.takes(sig) })
	})
}

func (m *machine) done(i int) {
	if m.view.Taken == nil {
		m.view.Taken = map[string]bool{}
	}
	m.view.Taken[m.view.Signals[i].ID] = true
}

// fireOnce adds a fire for the oldest signals that make a trigger complete.
func (m *machine) fireOnce(t Trigger) bool {
	v := m.view
	sets := map[string][]int{} // by the value of the join: which signal fits each wait, and -1
	for i, sig := range v.Signals {
		if v.Taken[sig.ID] {
			continue
		}
		key := ""
		if t.Join != "" {
			if sig.Values[t.Join] == nil {
				continue
			}
			key = text(sig.Values[t.Join])
		}
		set := sets[key]
		if set == nil {
			set = slices.Repeat([]int{-1}, len(t.Signals))
		}
		for n, w := range t.Signals {
			if set[n] < 0 && w.takes(sig) && !slices.Contains(set, i) {
				set[n] = i
			}
		}
		if sets[key] = set; !slices.Contains(set, -1) {
			m.fireFor(set)
			return true
		}
	}
	return false
}

func (m *machine) fireFor(set []int) {
	v := m.view
	event := map[string]json.RawMessage{}
	at := time.Time{}
	for _, i := range set {
		sig := v.Signals[i]
		m.done(i)
		for name, value := range sig.Values {
			event[name] = value
		}
		if sig.At.After(at) {
			at = sig.At
		}
	}
	f := m.newFire(m.free(at), LaneSchedule)
	data, err := json.Marshal(event)
	if err == nil {
		f.Event = data
	}
	if v.Schedule.Paused {
		f.State, f.Reason, f.Finished = Skipped, "the schedule was paused when the signal came", m.now
	}
	v.Add = append(v.Add, f)
}

// free is the first slot of the schedule's own, from a time on, that is not
// recorded: two signals may come at the same moment.
func (m *machine) free(at time.Time) time.Time {
	v := m.view
	for at = at.UTC().Truncate(time.Microsecond); ; at = at.Add(time.Microsecond) {
		id := fireID(v.Schedule.ID, LaneSchedule, at)
		if slices.ContainsFunc(v.Add, func(f Fire) bool { return f.ID == id }) {
			continue
		}
		if v.Find != nil {
			if _, there, err := v.Find(id, ""); err == nil && there {
				continue
			}
		}
		return at
	}
}

// signal tells that a fire is over, to the schedules that wait for that. Those of
// a backfill are told nobody.
func (m *machine) signal(f *Fire) {
	if f.Lane != LaneSchedule && !strings.HasPrefix(f.Lane, LaneManual) {
		return
	}
	s := m.view.Schedule
	values := map[string]json.RawMessage{}
	for name, value := range map[string]string{
		"schedule": s.Name, "state": string(f.State), "fire": f.ID,
		"slot": m.localSlot(f).Format(time.RFC3339), "ds": m.localSlot(f).Format(time.DateOnly),
	} {
		data, err := json.Marshal(value)
		if err == nil {
			values[name] = data
		}
	}
	m.view.Emit = append(m.view.Emit, Signal{ID: fmt.Sprintf("%s/%d", f.ID, f.Generation), Source: "schedule/" + s.Name, At: m.now, Values: values})
}

func (m *machine) localSlot(f *Fire) time.Time {
	if zone, err := LoadZone(f.Definition.Zone); err == nil {
		return f.Slot.In(zone)
	}
	return f.Slot
}

// unwound looks for schedules that fire each other for ever, once d is applied.
func (s *Schedules) unwound(ctx context.Context, d Definition) error {
	all, err := s.cfg.Store.Schedules(ctx)
	if err != nil {
		return err
	}
	after := map[string][]string{d.Name: d.Sources()}
	for _, other := range all {
		if other.Name != d.Name {
			after[other.Name] = other.Definition.Sources()
		}
	}
	seen := map[string]bool{}
	for todo := [][]string{{d.Name}}; len(todo) > 0; todo = todo[1:] {
		way := todo[0]
		for _, source := range after[way[len(way)-1]] {
			name, ok := strings.CutPrefix(source, "schedule/")
			if ok && name == d.Name {
				return problem.New(problem.Invalid, "it would fire itself for ever: %s", strings.Join(append(way, name), " after "))
			}
			if ok && !seen[name] {
				seen[name] = true
				todo = append(todo, append(slices.Clone(way), name))
			}
		}
	}
	return nil
}

package schedule

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// maxMissed is how many missed slots get a record each; older ones of one
// decision share a record.
const maxMissed = 500

// decide is the whole of the decision about a schedule: it notes what ended,
// records the slots that came, starts the fires whose turn it is, and says when
// to look again. It is a pure function of the view and the time, so that the
// simulation can drive it. Runs to ask for are tasks that are Ready; runs to
// stop are those of tasks with Stop.
func decide(v *View, now time.Time) error {
	table, err := v.Schedule.Definition.Timetable()
	if err != nil {
		return err
	}
	m := &machine{view: v, now: now, table: table, changed: map[string]bool{}}
	m.recordSlots()
	m.takeSignals()
	for i := range m.view.Live {
		m.advance(&m.view.Live[i])
	}
	m.admit()
	for _, f := range m.view.Live {
		if m.changed[f.ID] {
			v.Put = append(v.Put, f)
		}
	}
	v.Schedule.Wake = m.wake()
	return nil
}

// A machine is one decision under way.
type machine struct {
	view    *View
	now     time.Time
	table   *Timetable
	changed map[string]bool // fires that are not as they were
	again   time.Time       // the earliest time at which something else is due
}

// at asks to look again at a time.
func (m *machine) at(t time.Time) {
	if m.again.IsZero() || t.Before(m.again) {
		m.again = t
	}
}

func (m *machine) touch(f *Fire) { m.changed[f.ID] = true }

// recordSlots adds a fire for each slot since the cursor. A paused schedule
// keeps its cursor: what came meanwhile is recorded as skipped when it goes on.
func (m *machine) recordSlots() {
	s := &m.view.Schedule
	if s.Paused || m.now.Before(s.Cursor) {
		return
	}
	slots, dropped, first := m.slots(s.Cursor, m.now)
	if dropped > 0 {
		last, _ := m.table.Prev(slots[0])
		m.skipMany(first, last, dropped, "missed: more than "+fmt.Sprint(maxMissed)+" slots came while nobody looked")
	}
	for i, slot := range slots {
		reason := m.missed(slot, i == len(slots)-1)
		f := m.newFire(slot, LaneSchedule)
		if reason != "" {
			f.State, f.Reason, f.Finished = Skipped, reason, m.now
			m.view.Add = append(m.view.Add, f)
			continue
		}
		m.view.Add = append(m.view.Add, f)
	}
	// Where no slot came the cursor can stay: a decision that changes nothing about
	// the schedule is then not written.
	if len(slots) > 0 || m.now.Sub(s.Cursor) > maxBehind {
		s.Cursor = m.now
	}
}

// maxBehind is how far the cursor stays behind, so that looking from it is cheap.
const maxBehind = 24 * time.Hour

// slots returns the newest slots in (from, to], at most maxMissed, how many
// older ones there are, and the first of them.
func (m *machine) slots(from, to time.Time) (newest []time.Time, dropped int, first time.Time) {
	for at := from; ; {
		slot, ok := m.table.Next(at)
		if !ok || slot.After(to) {
			return newest, dropped, first
		}
		if len(newest) == 0 && dropped == 0 {
			first = slot
		}
		newest, at = append(newest, slot), slot
		if len(newest) == 2*maxMissed {
			newest = append([]time.Time{}, newest[maxMissed:]...)
			dropped += maxMissed
		}
	}
}

func (m *machine) newFire(slot time.Time, lane string) Fire {
	return Fire{ID: fireID(m.view.Schedule.ID, lane, slot), Schedule: m.view.Schedule.ID, Slot: slot.UTC(), Lane: lane, State: Due, Count: 1, Created: m.now}
}

func (m *machine) skipMany(from, to time.Time, n int, reason string) {
	f := m.newFire(to, LaneSchedule)
	f.State, f.Reason, f.Finished, f.From, f.Count = Skipped, reason, m.now, from.UTC(), n
	m.view.Add = append(m.view.Add, f)
}

// missed says why a slot that has passed does not fire, "" when it does.
func (m *machine) missed(slot time.Time, newest bool) string {
	d := m.view.Schedule.Definition
	late := m.now.Sub(slot)
	if late <= Grace {
		return ""
	}
	words := "missed: it was looked at " + late.Round(time.Second).String() + " after its time, "
	switch d.CatchUp {
	case CatchAll:
		if w := time.Duration(d.WindowSeconds) * time.Second; w > 0 && late > w {
			return words + "and the window for catching up is " + w.String()
		}
		return ""
	case CatchNone:
		return words + "and missed slots are not caught up"
	}
	if newest {
		return ""
	}
	return words + "and only the newest missed slot is caught up"
}

// admit starts the fires whose turn it is, lane by lane.
func (m *machine) admit() {
	v := m.view
	var added []Fire
	for _, f := range v.Add {
		if f.State == Due {
			v.Live, m.changed[f.ID] = append(v.Live, f), false
		} else {
			added = append(added, f)
		}
	}
	fresh := len(v.Add) - len(added)
	v.Add = added
	lanes := map[string][]*Fire{}
	var order []string
	for i := range v.Live {
		f := &v.Live[i]
		lane := f.Lane
		for _, kind := range []string{LaneManual, LaneNested} {
			if strings.HasPrefix(lane, kind+"/") {
				lane = kind
			}
		}
		if lanes[lane] == nil {
			order = append(order, lane)
		}
		lanes[lane] = append(lanes[lane], f)
	}
	for _, lane := range order {
		m.admitLane(lane, lanes[lane])
	}
	// New fires are added with what was decided about them.
	for i := len(v.Live) - fresh; i < len(v.Live); i++ {
		v.Add = append(v.Add, v.Live[i])
		delete(m.changed, v.Live[i].ID)
	}
}

// manualAtOnce bounds the fires by hand that run at once.
const manualAtOnce = 20

func (m *machine) admitLane(lane string, fires []*Fire) {
	s := m.view.Schedule
	live := 0
	var due []*Fire
	for _, f := range fires {
		switch f.State {
		case Running:
			live++
		case Due:
			if !m.expired(f) {
				due = append(due, f)
			}
		}
	}
	slices.SortStableFunc(due, func(a, b *Fire) int { return a.Slot.Compare(b.Slot) })
	switch lane {
	case LaneSchedule:
		m.admitOwn(s, fires, due, live)
	case LaneManual:
		m.admitSome(due, live, manualAtOnce, "waits: 20 fires by hand run already")
	case LaneNested:
		m.admitSome(due, live, nestedAtOnce, fmt.Sprintf("waits: %d fires that steps of other schedules asked for run already", nestedAtOnce))
	default:
		i := slices.IndexFunc(m.view.Backfills, func(b Backfill) bool { return b.ID == lane })
		if i < 0 {
			return
		}
		b := m.view.Backfills[i]
		if b.Newest {
			slices.Reverse(due)
		}
		if b.Paused {
			m.hold(due, "waits: the backfill is paused")
			return
		}
		m.admitSome(due, live, b.Parallel, fmt.Sprintf("waits: the backfill runs %d at once", b.Parallel))
	}
}

// admitOwn starts fires of the schedule's own slots, by its strategy.
func (m *machine) admitOwn(s Schedule, fires, due []*Fire, live int) {
	if s.Paused {
		m.hold(due, "waits: the schedule is paused")
		return
	}
	switch s.Definition.Strategy {
	case Parallel:
		m.admitSome(due, live, s.Definition.Parallel, fmt.Sprintf("waits: %d fires run at once", s.Definition.Parallel))
	case FirstOnly:
		m.firstOnly(fires, due)
	case LastOnly:
		m.lastOnly(fires, due)
	case StrictSequential:
		for i, f := range due {
			if blocked := m.view.Schedule.Blocked; blocked != "" {
				m.hold(due[i:], "waits: "+blocked)
				return
			}
			m.admitSome([]*Fire{f}, live, 1, "waits: the fire before is not over")
			if f.State == Running {
				live++
			}
		}
	default:
		m.admitSome(due, live, 1, "waits: the fire before is not over")
	}
}

func (m *machine) admitSome(due []*Fire, live, most int, reason string) {
	for i, f := range due {
		if live >= most {
			m.hold(due[i:], reason)
			return
		}
		m.start(f)
		if f.State == Running {
			live++
		}
	}
}

func (m *machine) firstOnly(fires, due []*Fire) {
	for _, f := range due {
		i := slices.IndexFunc(fires, func(o *Fire) bool { return o.State == Running })
		if i < 0 {
			m.start(f)
			continue
		}
		m.skip(f, "the fire of "+fires[i].Slot.Format(time.RFC3339)+" was still running")
	}
}

func (m *machine) lastOnly(fires, due []*Fire) {
	if len(due) == 0 {
		return
	}
	last := due[len(due)-1]
	for _, f := range due[:len(due)-1] {
		m.skip(f, "the fire of "+last.Slot.Format(time.RFC3339)+" took its place")
	}
	busy := false
	for _, f := range fires {
		if f.State == Running {
			m.stop(f, "the fire of "+last.Slot.Format(time.RFC3339)+" takes its place")
			busy = busy || f.State == Running
		}
	}
	if busy {
		m.hold(due[len(due)-1:], "waits: the fire before is being stopped")
		return
	}
	m.start(last)
}

// hold says why fires do not start yet. It is the same for each, and kept only
// where it is new.
func (m *machine) hold(due []*Fire, reason string) {
	for _, f := range due {
		if f.Reason != reason {
			f.Reason = reason
			m.touch(f)
		}
	}
}

func (m *machine) skip(f *Fire, reason string) {
	f.State, f.Reason, f.Finished = Skipped, reason, m.now
	m.touch(f)
	m.tellParent(f)
}

// expired skips a fire that has waited longer than it may.
func (m *machine) expired(f *Fire) bool {
	limit := time.Duration(m.view.Schedule.Definition.StartWithinSeconds) * time.Second
	if limit == 0 || f.Lane != LaneSchedule {
		return false
	}
	if end := f.Slot.Add(limit); m.now.Before(end) {
		m.at(end)
		return false
	}
	m.skip(f, "it was not its turn within "+limit.String()+" of its time")
	return true
}

// wake is when the schedule is to be looked at next; zero is never.
func (m *machine) wake() time.Time {
	wake := m.again
	if s := m.view.Schedule; !s.Paused {
		if next, ok := m.table.Next(s.Cursor); ok && (wake.IsZero() || next.Before(wake)) {
			wake = next
		}
	}
	return wake
}

package schedule

import (
	"time"

	"quire/internal/problem"
)

// A Timetable answers when a definition fires. It is safe for concurrent use.
type Timetable struct {
	zone   *time.Location
	cron   []Cron
	plain  []Trigger // without a cron
	only   calendar  // nil is every date
	except calendar
	start  time.Time
	end    time.Time
}

// Timetable returns the times of a definition that Read found right.
func (d Definition) Timetable() (*Timetable, error) {
	zone, err := LoadZone(d.Zone)
	if err != nil {
		return nil, err
	}
	t := &Timetable{zone: zone, start: d.Start, end: d.End}
	for _, one := range d.Triggers {
		if len(one.Signals) > 0 {
			continue
		}
		if one.Cron == "" {
			t.plain = append(t.plain, one)
			continue
		}
		c, err := ParseCron(one.Cron)
		if err != nil {
			return nil, problem.Wrap(err, "cron %q", one.Cron)
		}
		t.cron = append(t.cron, c)
	}
	if t.only, err = allDays(d.Only); err != nil {
		return nil, err
	}
	if t.except, err = allDays(d.Except); err != nil {
		return nil, err
	}
	return t, nil
}

// allDays reads the entries of only or except.
func allDays(texts []string) (calendar, error) {
	var all calendar
	for _, text := range texts {
		one, err := parseDates(text)
		if err != nil {
			return nil, err
		}
		all = append(all, one)
	}
	return all, nil
}

// left reports whether slots on the date of an instant are left out.
func (t *Timetable) left(at time.Time) (d date, out bool) {
	if t.only == nil && t.except == nil {
		return d, false
	}
	d = dateOf(at.In(t.zone))
	return d, t.only != nil && !t.only.on(d) || t.except.on(d)
}

// maxLeft is how many dates in a row may be left out before Next gives up: more
// than 40 years.
const maxLeft = 15_000

// Next returns the first slot after at, in UTC. ok is false when there is none.
func (t *Timetable) Next(at time.Time) (slot time.Time, ok bool) {
	if at.Before(t.start) {
		at = t.start.Add(-1)
	}
	for range maxLeft {
		slot, ok = t.following(at)
		if !ok || !t.end.IsZero() && slot.After(t.end) {
			return time.Time{}, false
		}
		d, out := t.left(slot)
		if !out {
			return slot, true
		}
		at = slot
		if next := LocalTime(d.add(1).utc(), t.zone).Add(-1); next.After(at) {
			at = next // no other slot of this date
		}
	}
	return time.Time{}, false
}

func (t *Timetable) following(at time.Time) (first time.Time, ok bool) {
	take := func(next time.Time) {
		if !ok || next.Before(first) {
			first, ok = next.UTC(), true
		}
	}
	for _, c := range t.cron {
		if next, found := c.Next(at, t.zone); found {
			take(next)
		}
	}
	for _, p := range t.plain {
		switch {
		case !p.At.IsZero():
			if p.At.After(at) {
				take(p.At)
			}
		case at.Before(p.From):
			take(p.From)
		default:
			take(intervalStart(p, at).Add(time.Duration(p.EverySeconds) * time.Second))
		}
	}
	return first, ok
}

// intervalStart is the newest slot of an interval that is not after at.
func intervalStart(p Trigger, at time.Time) time.Time {
	from := p.From
	if from.IsZero() {
		from = time.Unix(0, 0)
	}
	n := at.Unix() - from.Unix()
	return time.Unix(from.Unix()+n-((n%p.EverySeconds)+p.EverySeconds)%p.EverySeconds, 0).UTC()
}

// Prev returns the last slot before at. ok is false when there is none.
func (t *Timetable) Prev(at time.Time) (slot time.Time, ok bool) {
	if !t.end.IsZero() && at.After(t.end) {
		at = t.end.Add(1)
	}
	for range maxLeft {
		slot, ok = t.preceding(at)
		if !ok || slot.Before(t.start) {
			return time.Time{}, false
		}
		d, out := t.left(slot)
		if !out {
			return slot, true
		}
		at = slot
		if first := LocalTime(d.utc(), t.zone); first.Before(at) {
			at = first
		}
	}
	return time.Time{}, false
}

func (t *Timetable) preceding(at time.Time) (last time.Time, ok bool) {
	take := func(prev time.Time) {
		if !ok || prev.After(last) {
			last, ok = prev.UTC(), true
		}
	}
	for _, c := range t.cron {
		if prev, found := c.Prev(at, t.zone); found {
			take(prev)
		}
	}
	for _, p := range t.plain {
		switch {
		case !p.At.IsZero():
			if p.At.Before(at) {
				take(p.At)
			}
		case p.From.Before(at):
			take(intervalStart(p, at.Add(-1)))
		}
	}
	return last, ok
}

// Upcoming returns the next n slots after at.
func (t *Timetable) Upcoming(at time.Time, n int) []time.Time {
	var all []time.Time
	for len(all) < n {
		next, ok := t.Next(at)
		if !ok {
			break
		}
		all, at = append(all, next), next
	}
	return all
}

// Note says what the zone's clock does around a slot, "" for nothing.
func (t *Timetable) Note(slot time.Time) string {
	for _, c := range t.cron {
		if next, ok := c.Next(slot.Add(-1), t.zone); ok && next.Equal(slot) {
			if note := c.Note(slot, t.zone); note != "" {
				return note
			}
		}
	}
	return ""
}

// Local is a slot as the clocks of the zone show it.
func (t *Timetable) Local(slot time.Time) time.Time { return slot.In(t.zone) }

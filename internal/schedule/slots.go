package schedule

import (
	"strings"
	"time"

	"quire/internal/problem"
)

// A Timetable answers when a definition fires. It is safe for concurrent use.
type Timetable struct {
	zone   *time.Location
	cron   []Cron
	plain  []Trigger // without a cron
	except []span
	start  time.Time
	end    time.Time
}

// A span is the dates from first to last. A yearly one has year 0.
type span struct{ first, last date }

// Timetable returns the times of a definition that Read found right.
func (d Definition) Timetable() (*Timetable, error) {
	zone, err := LoadZone(d.Zone)
	if err != nil {
		return nil, err
	}
	t := &Timetable{zone: zone, start: d.Start, end: d.End}
	for _, one := range d.Triggers {
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
	for _, text := range d.Except {
		s, err := parseExcept(text)
		if err != nil {
			return nil, err
		}
		t.except = append(t.except, s)
	}
	return t, nil
}

// parseExcept reads 2026-12-25, 12-25 or 2026-12-24..2026-12-31.
func parseExcept(text string) (span, error) {
	from, to, isRange := strings.Cut(text, "..")
	if !isRange {
		to = from
	}
	var s span
	for _, one := range []struct {
		text string
		into *date
	}{{from, &s.first}, {to, &s.last}} {
		if t, err := time.Parse(time.DateOnly, one.text); err == nil {
			*one.into = dateOf(t)
		} else if t, err := time.Parse(time.DateOnly, "2000-"+one.text); err == nil && !isRange {
			*one.into = date{0, t.Month(), t.Day()}
		} else {
			return s, problem.New(problem.Invalid, "%q: want a date such as 2026-12-25, 12-25 for every year, or 2026-12-24..2026-12-31", text)
		}
	}
	if s.last.before(s.first) {
		return s, problem.New(problem.Invalid, "%q runs backwards", text)
	}
	return s, nil
}

func (t *Timetable) excepted(at time.Time) bool {
	d := dateOf(at.In(t.zone))
	for _, s := range t.except {
		on := d
		if s.first.year == 0 {
			on.year = 0
			if on.month == s.first.month && on.day == s.first.day {
				return true
			}
			continue
		}
		if !on.before(s.first) && !s.last.before(on) {
			return true
		}
	}
	return false
}

// maxExcepted is how many slots in a row may be left out before Next gives up.
const maxExcepted = 100_000

// Next returns the first slot after at, in UTC. ok is false when there is none.
func (t *Timetable) Next(at time.Time) (slot time.Time, ok bool) {
	if at.Before(t.start) {
		at = t.start.Add(-1)
	}
	for range maxExcepted {
		slot, ok = t.following(at)
		if !ok || !t.end.IsZero() && slot.After(t.end) {
			return time.Time{}, false
		}
		if !t.excepted(slot) {
			return slot, true
		}
		at = slot
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
	for range maxExcepted {
		slot, ok = t.preceding(at)
		if !ok || slot.Before(t.start) {
			return time.Time{}, false
		}
		if !t.excepted(slot) {
			return slot, true
		}
		at = slot
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

package schedule

import (
	"math/bits"
	"slices"
	"strings"
	"sync"
	"time"
	_ "time/tzdata" // zones where the system has none; there is no other way to bring them

	"quire/internal/problem"
)

// LoadZone returns the IANA time zone of the name, such as Europe/Berlin. ""
// and "UTC" are UTC. "Local" is refused: it would be another zone on another
// machine.
func LoadZone(name string) (*time.Location, error) {
	if name == "" || name == "UTC" {
		return time.UTC, nil
	}
	if zone, ok := loaded.Load(name); ok {
		return zone.(*time.Location), nil //nolint:forcetypeassert // nothing else is stored
	}
	zone, err := time.LoadLocation(name)
	if err != nil || strings.EqualFold(name, "local") {
		return nil, problem.New(problem.Invalid, "time zone %q is not known: want an IANA name such as Europe/Berlin or America/New_York", name)
	}
	loaded.Store(name, zone)
	return zone, nil
}

// loaded are the zones that were asked for, by name: each is a file, and there
// are some 600.
var loaded sync.Map

// A stretch is a part of a local day in which the clock runs evenly: wall-clock
// time is UTC plus offset.
type stretch struct {
	start, end time.Time // instants; end is not in it
	offset     time.Duration
}

// wall is the wall-clock time of an instant in the stretch, counted from the
// midnight with which the date d begins.
func (s stretch) wall(d date, t time.Time) time.Duration { return t.Add(s.offset).Sub(d.utc()) }

// at is the instant at which the clock shows wall.
func (s stretch) at(d date, wall time.Duration) time.Time { return d.utc().Add(wall - s.offset) }

// farthest is more than any zone was ever away from UTC.
const farthest = 16 * time.Hour

const day = 24 * time.Hour

// stretches returns the parts of a local day in order: one on most days, two
// where the clock was put forward or back, none for a date that the zone left
// out (Apia, 2011-12-30).
func stretches(d date, zone *time.Location) []stretch {
	var all []stretch
	midnight := d.utc()
	for t, last := midnight.Add(-farthest), midnight.Add(day+farthest); t.Before(last); {
		offset := offsetAt(t, zone)
		next := offsetChange(t, last, zone)
		// The part of [t, next) whose wall-clock date is d.
		start, end := midnight.Add(-offset), midnight.Add(day-offset)
		if start.Before(t) {
			start = t
		}
		if end.After(next) {
			end = next
		}
		if start.Before(end) {
			all = append(all, stretch{start, end, offset})
		}
		t = next
	}
	return all
}

func offsetAt(t time.Time, zone *time.Location) time.Duration {
	_, seconds := t.In(zone).Zone()
	return time.Duration(seconds) * time.Second
}

// offsetChange is the first instant after t at which the zone's clock is put,
// or last when there is none before. It looks every hour: no clock was ever put
// twice in one. (Time.ZoneBounds is not used: in Go 1.26 it names an end before
// t on the last day of some leap years, 2040-12-31 for one.)
func offsetChange(t, last time.Time, zone *time.Location) time.Time {
	offset := offsetAt(t, zone)
	for t.Before(last) {
		next := t.Add(time.Hour)
		if offsetAt(next, zone) == offset {
			t = next
			continue
		}
		for next.Sub(t) > time.Second { // the change is in (t, next]
			middle := t.Add(next.Sub(t) / 2).Truncate(time.Second)
			if offsetAt(middle, zone) == offset {
				t = middle
			} else {
				next = middle
			}
		}
		if next.Before(last) {
			return next
		}
	}
	return last
}

// horizon is how many days Next looks ahead: 29 February on a Monday may be 40
// years away.
const horizon = 41 * 366

// Next returns the first instant after t, in UTC, at which the cron fires in
// the zone. ok is false when none comes within forty years.
//
// A cron that names hours fires once for each of its times of a local day: a
// time that the clock leaves out fires when the clock goes on, a time that comes
// twice fires the first time. A cron whose hour is "*", "*/n" or 0-23 follows
// real time: it fires whenever the clock shows a fitting time.
func (c Cron) Next(t time.Time, zone *time.Location) (next time.Time, ok bool) {
	d := dateOf(t.In(zone)).add(-1) // where a zone jumped back over midnight, a date comes again
	for range horizon {
		if c.month&(1<<d.month) == 0 {
			d = dateOf(time.Date(d.year, d.month+1, 1, 0, 0, 0, 0, time.UTC))
			continue
		}
		if c.on(d) {
			if next, ok := c.firstOn(d, zone, t); ok {
				return next, true
			}
		}
		d = d.add(1)
	}
	return time.Time{}, false
}

// Prev returns the last instant before t at which the cron fires.
func (c Cron) Prev(t time.Time, zone *time.Location) (prev time.Time, ok bool) {
	d := dateOf(t.In(zone)).add(1)
	for range horizon {
		if c.on(d) {
			times := c.times(d, zone)
			if i, _ := slices.BinarySearchFunc(times, t, time.Time.Compare); i > 0 {
				return times[i-1], true
			}
		}
		d = d.add(-1)
	}
	return time.Time{}, false
}

// firstOn is the first time of a date after t.
func (c Cron) firstOn(d date, zone *time.Location, t time.Time) (time.Time, bool) {
	parts := stretches(d, zone)
	if len(parts) == 0 || !parts[len(parts)-1].end.After(t) {
		return time.Time{}, false
	}
	if len(parts) == 1 && parts[0].end.Sub(parts[0].start) == day {
		from := time.Duration(-1)
		if !parts[0].start.After(t) {
			from = parts[0].wall(d, t)
		}
		minute, ok := c.minuteAfter(from)
		return parts[0].at(d, time.Duration(minute)*time.Minute), ok
	}
	for _, at := range c.times(d, zone) {
		if at.After(t) {
			return at, true
		}
	}
	return time.Time{}, false
}

// minuteAfter is the first minute of the day that fits and lies after a
// wall-clock time; -1 is before midnight.
func (c Cron) minuteAfter(wall time.Duration) (minute int, ok bool) {
	first := 0
	if wall >= 0 {
		first = int(wall/time.Minute) + 1
	}
	for hour, from := first/60, first%60; hour < 24; hour, from = hour+1, 0 {
		if c.hour&(1<<hour) == 0 {
			continue
		}
		if rest := c.minute >> from; rest != 0 {
			return hour*60 + from + bits.TrailingZeros64(rest), true
		}
	}
	return 0, false
}

// times are all times of a date on which the cron fires, in order.
func (c Cron) times(d date, zone *time.Location) []time.Time {
	parts := stretches(d, zone)
	if len(parts) == 0 {
		return nil
	}
	var all []time.Time
	for minute, ok := c.minuteAfter(-1); ok; minute, ok = c.minuteAfter(time.Duration(minute) * time.Minute) {
		wall := time.Duration(minute) * time.Minute
		if c.everyHour {
			for _, s := range parts {
				if at := s.at(d, wall); !at.Before(s.start) && at.Before(s.end) {
					all = append(all, at)
				}
			}
			continue
		}
		at, _ := resolve(parts, d, wall)
		all = append(all, at)
	}
	slices.SortFunc(all, time.Time.Compare)
	return slices.CompactFunc(all, time.Time.Equal)
}

// A fold says what a wall-clock time met on its day.
type fold int

const (
	once  fold = iota
	gap        // the clock left it out
	twice      // it came two times
)

// resolve returns when a wall-clock time of a date comes: the first time where
// it comes twice, the first instant after the gap where it never comes.
func resolve(parts []stretch, d date, wall time.Duration) (time.Time, fold) {
	var found time.Time
	how := gap
	for _, s := range parts {
		at := s.at(d, wall)
		if at.Before(s.start) || !at.Before(s.end) {
			continue
		}
		if how == once {
			return found, twice
		}
		found, how = at, once
	}
	if how == once {
		return found, once
	}
	for _, s := range parts {
		if s.wall(d, s.start) > wall {
			return s.start, gap
		}
	}
	// The gap reaches over midnight: the next date begins where it ends.
	return parts[len(parts)-1].end, gap
}

// LocalTime returns the instant of a wall-clock time in a zone by the rule of
// Cron.Next. The location of t is not looked at.
func LocalTime(t time.Time, zone *time.Location) time.Time {
	d := dateOf(t)
	wall := t.Sub(time.Date(d.year, d.month, d.day, 0, 0, 0, 0, t.Location()))
	parts := stretches(d, zone)
	if len(parts) == 0 { // a date that the zone left out: the next one
		return LocalTime(d.add(1).utc(), zone)
	}
	at, _ := resolve(parts, d, wall)
	return at
}

// Note says in words what the zone's clock does around a fire of the cron, ""
// where it does nothing.
func (c Cron) Note(fire time.Time, zone *time.Location) string {
	d := dateOf(fire.In(zone))
	parts := stretches(d, zone)
	before := stretches(d.add(-1), zone)
	if len(parts) == 1 && parts[0].end.Sub(parts[0].start) == day && len(before) > 0 && before[len(before)-1].offset == parts[0].offset {
		return ""
	}
	clock := fire.In(zone).Format("15:04")
	if c.everyHour {
		if _, how := resolve(parts, d, wallOf(parts, d, fire)); how == twice {
			return "the clock shows " + clock + " twice on this day"
		}
		return ""
	}
	for minute, ok := c.minuteAfter(-1); ok; minute, ok = c.minuteAfter(time.Duration(minute) * time.Minute) {
		wall := time.Duration(minute) * time.Minute
		at, how := resolve(parts, d, wall)
		if !at.Equal(fire) || how == once {
			continue
		}
		named := time.Time{}.Add(wall).Format("15:04")
		if how == gap {
			return named + " does not exist on this day: it fires at " + clock
		}
		return named + " comes twice on this day: it fires at the first"
	}
	return ""
}

func wallOf(parts []stretch, d date, t time.Time) time.Duration {
	for _, s := range parts {
		if !t.Before(s.start) && t.Before(s.end) {
			return s.wall(d, t)
		}
	}
	return -1
}

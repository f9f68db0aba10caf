package schedule

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"quire/internal/problem"
)

// Dates are some dates. They are written as
//
//	2026-12-25, 2026-12-24..2026-12-31   a date, or several
//	12-25                                the same date of every year
//	sat, mon..fri                        days of the week
//	05-mon#L, 01-mon#3                   the last Monday of May, the third of January
//	easter-2, easter+39                  days from (western) Easter Sunday
//	germany, nyse                        a calendar that is known here: calendarNames
type dates interface{ on(date) bool }

// A span is the dates from first to last.
type span struct{ first, last date }

func (s span) on(d date) bool { return !d.before(s.first) && !s.last.before(d) }

// yearly is a date of every year.
type yearly struct {
	month time.Month
	day   int
}

func (y yearly) on(d date) bool { return d.month == y.month && d.day == y.day }

// weekdaySet are days of the week.
type weekdaySet [7]bool

func (w weekdaySet) on(d date) bool { return w[d.weekday()] }

// nth is the n-th weekday of a month, or the last one when n is 0.
type nth struct {
	month   time.Month
	weekday time.Weekday
	n       int
}

func (x nth) on(d date) bool {
	if d.month != x.month || d.weekday() != x.weekday {
		return false
	}
	if x.n == 0 {
		return d.day+7 > d.length()
	}
	return (d.day-1)/7 == x.n-1
}

// fromEaster is so many days from Easter Sunday.
type fromEaster int

func (e fromEaster) on(d date) bool { return easter(d.year).add(int(e)) == d }

// easter is Easter Sunday of the western churches, by the rule of Meeus, Jones
// and Butcher.
func easter(year int) date {
	a, b, c := year%19, year/100, year%100
	d, e := b/4, b%4
	f := (b + 8) / 25
	g := (b - f + 1) / 3
	h := (19*a + b - d - g + 15) % 30
	i, k := c/4, c%4
	l := (32 + 2*e + 2*i - h - k) % 7
	m := (a + 11*h + 22*l) / 451
	n := h + l - 7*m + 114
	return date{year, time.Month(n / 31), n%31 + 1}
}

// A moved holiday is kept on another day when it falls on a weekend: to is how
// many days later, for Saturday and Sunday; 0 for both is never.
type moved struct {
	dates
	saturday, sunday int
	from             int // the first year of it
}

func (m moved) on(d date) bool {
	kept := func(real date, by int) bool {
		return by != 0 && real.year >= m.from && m.dates.on(real)
	}
	switch d.weekday() {
	case time.Saturday:
		return m.saturday == 0 && d.year >= m.from && m.dates.on(d)
	case time.Sunday:
		return m.sunday == 0 && d.year >= m.from && m.dates.on(d)
	}
	for back := -2; back <= 3; back++ {
		real := d.add(-back)
		switch real.weekday() {
		case time.Saturday:
			if m.saturday == back && kept(real, m.saturday) {
				return true
			}
		case time.Sunday:
			if m.sunday == back && kept(real, m.sunday) {
				return true
			}
		}
	}
	return d.year >= m.from && m.dates.on(d)
}

// A calendar is the dates of all of its parts.
type calendar []dates

func (c calendar) on(d date) bool {
	return slices.ContainsFunc(c, func(one dates) bool { return one.on(d) })
}

// calendars are the calendars that definitions may name.
var calendars = map[string]dates{
	"weekends":      weekdaySet{time.Saturday: true, time.Sunday: true},
	"business-days": weekdaySet{false, true, true, true, true, true, false},
	// The days on which TARGET, and so the payments in euro, is closed; weekends
	// are not among them.
	"target": calendar{yearly{1, 1}, fromEaster(-2), fromEaster(1), yearly{5, 1}, yearly{12, 25}, yearly{12, 26}},
	// Germany: the holidays of all of its states.
	"germany": calendar{yearly{1, 1}, fromEaster(-2), fromEaster(1), yearly{5, 1}, fromEaster(39), fromEaster(50), yearly{10, 3}, yearly{12, 25}, yearly{12, 26}},
	"france": calendar{
		yearly{1, 1},
		fromEaster(1),
		yearly{5, 1},
		yearly{5, 8},
		fromEaster(39), fromEaster(50),
		yearly{7, 14},
		yearly{8, 15},
		yearly{11, 1},
		yearly{11, 11},
		yearly{12, 25},
	},
	// England and Wales, without days that are proclaimed for one year.
	"england": calendar{
		moved{dates: yearly{1, 1}, saturday: 2, sunday: 1},
		fromEaster(-2), fromEaster(1),
		nth{5, time.Monday, 1},
		nth{5, time.Monday, 0},
		nth{8, time.Monday, 0},
		moved{dates: yearly{12, 25}, saturday: 2, sunday: 2},
		moved{dates: yearly{12, 26}, saturday: 2, sunday: 2},
	},
	// The federal holidays of the United States, on the days on which they are kept.
	"us-federal": calendar{
		moved{dates: yearly{1, 1}, saturday: -1, sunday: 1},
		nth{1, time.Monday, 3},
		nth{2, time.Monday, 3},
		nth{5, time.Monday, 0},
		moved{dates: yearly{6, 19}, saturday: -1, sunday: 1, from: 2021},
		moved{dates: yearly{7, 4}, saturday: -1, sunday: 1},
		nth{9, time.Monday, 1},
		nth{10, time.Monday, 2},
		moved{dates: yearly{11, 11}, saturday: -1, sunday: 1},
		nth{11, time.Thursday, 4},
		moved{dates: yearly{12, 25}, saturday: -1, sunday: 1},
	},
	// The days on which the New York Stock Exchange is closed all day, but for
	// weekends and days of mourning. New Year on a Saturday is not kept before.
	"nyse": calendar{
		moved{dates: yearly{1, 1}, sunday: 1},
		nth{1, time.Monday, 3},
		nth{2, time.Monday, 3},
		fromEaster(-2),
		nth{5, time.Monday, 0},
		moved{dates: yearly{6, 19}, saturday: -1, sunday: 1, from: 2022},
		moved{dates: yearly{7, 4}, saturday: -1, sunday: 1},
		nth{9, time.Monday, 1},
		nth{11, time.Thursday, 4},
		moved{dates: yearly{12, 25}, saturday: -1, sunday: 1},
	},
}

// calendarNames are the names of calendars, sorted.
func calendarNames() []string { return slices.Sorted(maps.Keys(calendars)) }

var weekdayNames = []string{"sun", "mon", "tue", "wed", "thu", "fri", "sat"}

// parseDates reads one entry of only or except.
func parseDates(text string) (dates, error) {
	if known, ok := calendars[text]; ok {
		return known, nil
	}
	if rest, ok := strings.CutPrefix(text, "easter"); ok {
		n, err := strconv.Atoi("0" + rest)
		if rest != "" {
			n, err = strconv.Atoi(rest)
		}
		if err == nil && n >= -100 && n <= 200 && (rest == "" || rest[0] == '+' || rest[0] == '-') {
			return fromEaster(n), nil
		}
	}
	if month, rest, ok := strings.Cut(text, "-"); ok && strings.Contains(rest, "#") {
		return parseNth(text, month, rest)
	}
	from, to, isRange := strings.Cut(text, "..")
	if !isRange {
		to = from
	}
	if first := slices.Index(weekdayNames, from); first >= 0 {
		if last := slices.Index(weekdayNames, to); last >= 0 {
			var w weekdaySet
			for d := first; ; d = (d + 1) % 7 {
				w[d] = true
				if d == last {
					return w, nil
				}
			}
		}
	}
	if t, err := time.Parse(time.DateOnly, "2000-"+text); err == nil {
		return yearly{t.Month(), t.Day()}, nil
	}
	first, err := time.Parse(time.DateOnly, from)
	last, err2 := time.Parse(time.DateOnly, to)
	if err != nil || err2 != nil {
		return nil, problem.New(problem.Invalid, "%q: want a date such as 2026-12-25, 12-25 for every year, 2026-12-24..2026-12-31, sat, mon..fri, 05-mon#L, easter-2, or one of %s",
			text, strings.Join(calendarNames(), ", "))
	}
	if last.Before(first) {
		return nil, problem.New(problem.Invalid, "%q runs backwards", text)
	}
	return span{dateOf(first), dateOf(last)}, nil
}

// parseNth reads the rest of 05-mon#L, behind its month.
func parseNth(text, month, rest string) (dates, error) {
	name, number, _ := strings.Cut(rest, "#")
	m, err := strconv.Atoi(month)
	w := slices.Index(weekdayNames, name)
	n := strings.Index(" 12345", number)
	if number == "L" {
		n = 0
	}
	if err != nil || m < 1 || m > 12 || w < 0 || n < 0 || len(number) != 1 || number == " " {
		return nil, problem.New(problem.Invalid, "%q: want a month, a day of the week and which of them: 01-mon#3 is the third Monday of January, 05-mon#L the last of May", text)
	}
	return nth{time.Month(m), time.Weekday(w), n}, nil
}

// parseClock reads a time of the day, and a time zone where it has one of its own:
// 07:00, or 07:00 Europe/Paris.
func parseClock(text string, zone *time.Location) (hour, minute int, in *time.Location, err error) {
	clock, name, own := strings.Cut(strings.TrimSpace(text), " ")
	t, err := time.Parse("15:04", clock)
	if err != nil {
		return 0, 0, nil, problem.New(problem.Invalid, "%q: want a time of the day such as 07:00, or 07:00 Europe/Paris", text)
	}
	if own {
		if zone, err = LoadZone(strings.TrimSpace(name)); err != nil {
			return 0, 0, nil, fmt.Errorf("%q: %w", text, err)
		}
	}
	return t.Hour(), t.Minute(), zone, nil
}

// clockAfter is the first time after an instant at which the clock of a zone shows
// a time of the day.
func clockAfter(at time.Time, hour, minute int, zone *time.Location) time.Time {
	d := dateOf(at.In(zone))
	for n := 0; ; n++ {
		next := d.add(n)
		if t := LocalTime(time.Date(next.year, next.month, next.day, hour, minute, 0, 0, time.UTC), zone); t.After(at) {
			return t.UTC()
		}
	}
}

package schedule

import (
	"fmt"
	"math/bits"
	"strconv"
	"strings"
	"time"

	"quire/internal/problem"
)

// A Cron is the five fields of cron: minute, hour, day of the month, month, day
// of the week. It says wall-clock times; Next makes instants of them in a time
// zone. The zero Cron never fires. A Cron is safe for concurrent use.
type Cron struct {
	text   string
	minute uint64 // bit 0 to 59
	hour   uint64 // bit 0 to 23
	month  uint64 // bit 1 to 12
	dom    days
	dow    weekdays
	// everyHour says that the hour is no choice ("*", "*/2", "0-23"): such a cron
	// follows real time, others name times of the day.
	everyHour bool
}

// days is the field for the day of the month.
type days struct {
	set      uint64 // bit 1 to 31
	last     []int  // "L", "L-3": so many days before the last
	near     []int  // "15W": the working day nearest to it
	lastWork bool   // "LW"
	star     bool   // it begins with "*" or is "?"
}

// weekdays is the field for the day of the week; 0 is Sunday.
type weekdays struct {
	set  uint64    // bit 0 to 6
	nth  [6]uint64 // "5#3": bit 5 of nth[3]
	last uint64    // "5L": the last one of the month
	star bool
}

// maxCron is the longest text of a cron that is read, in bytes.
const maxCron = 256

// macros are names for whole crons.
var macros = map[string]string{
	"@yearly": "0 0 1 1 *", "@annually": "0 0 1 1 *", "@monthly": "0 0 1 * *", "@weekly": "0 0 * * 0",
	"@daily": "0 0 * * *", "@midnight": "0 0 * * *", "@hourly": "0 * * * *",
}

var (
	monthNames = []string{"", "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"}
	dayNames   = []string{"sun", "mon", "tue", "wed", "thu", "fri", "sat"}
)

// A field is one of the five, while it is read.
type field struct {
	name     string
	min, max int
	names    []string // names[v] stands for v; may be nil
	at       int      // of its first byte in the cron, from 1
	text     string
}

// fail is an error at byte i of the field, of kind Invalid.
func (f field) fail(i int, format string, args ...any) error {
	return problem.New(problem.Invalid, "character %d: %s: %s", f.at+i, f.name, fmt.Sprintf(format, args...))
}

// ParseCron reads "30 2 * * mon-fri" or a name such as @daily. An error is of
// kind Invalid and says at which character what is wrong, and also when the cron
// can never fire (31 February).
//
// Each field is "*" or "?", or a list with commas of values, ranges (1-5) and
// steps (*/15, 0-30/10, 5/20). Months and weekdays have English names of three
// letters. The day of the month knows L (the last), L-3, 15W (the working day
// nearest to the 15th) and LW; the day of the week knows 5#3 (the third Friday)
// and 5L (the last one); 0 and 7 are Sunday. Where both day fields choose, a day
// that either of them takes is taken.
func ParseCron(text string) (Cron, error) {
	if len(text) > maxCron {
		return Cron{}, problem.New(problem.Invalid, "a cron has at most %d characters", maxCron)
	}
	whole := text
	if trimmed := strings.TrimSpace(text); strings.HasPrefix(trimmed, "@") {
		known, ok := macros[strings.ToLower(trimmed)]
		if !ok {
			return Cron{}, problem.New(problem.Invalid,
				"character %d: %q is not known: want @hourly, @daily, @weekly, @monthly or @yearly, or the five fields", 1+strings.IndexByte(text, '@'), trimmed)
		}
		whole = known
	}
	fields, err := cronFields(whole)
	if err != nil {
		return Cron{}, err
	}
	c := Cron{text: strings.TrimSpace(text)}
	if c.minute, _, err = fields[0].bits(); err != nil {
		return Cron{}, err
	}
	if c.hour, c.everyHour, err = fields[1].bits(); err != nil {
		return Cron{}, err
	}
	c.everyHour = c.everyHour || c.hour == 1<<24-1
	if c.dom, err = parseDays(fields[2]); err != nil {
		return Cron{}, err
	}
	if c.month, _, err = fields[3].bits(); err != nil {
		return Cron{}, err
	}
	if c.dow, err = parseWeekdays(fields[4]); err != nil {
		return Cron{}, err
	}
	if !c.possible() {
		return Cron{}, problem.New(problem.Invalid, "character %d: this never fires: no %s has such a day", fields[2].at, monthsOf(c.month))
	}
	return c, nil
}

// cronFields cuts a cron into its fields.
func cronFields(text string) ([5]field, error) {
	fields := [5]field{
		{name: "minute", min: 0, max: 59},
		{name: "hour", min: 0, max: 23},
		{name: "day of the month", min: 1, max: 31},
		{name: "month", min: 1, max: 12, names: monthNames},
		{name: "day of the week", min: 0, max: 7, names: dayNames},
	}
	n := 0
	for i := 0; i < len(text); {
		if text[i] == ' ' || text[i] == '\t' {
			i++
			continue
		}
		end := i
		for end < len(text) && text[end] != ' ' && text[end] != '\t' {
			end++
		}
		if n == len(fields) {
			return fields, problem.New(problem.Invalid,
				"character %d: %q is a sixth field: want five, minute hour day month weekday (there are no seconds and no years)", i+1, text[i:end])
		}
		fields[n].text, fields[n].at = text[i:end], i+1
		n, i = n+1, end
	}
	if n < len(fields) {
		return fields, problem.New(problem.Invalid, "character %d: the %s is missing: want five fields, minute hour day month weekday", len(text)+1, fields[n].name)
	}
	return fields, nil
}

// bits reads a field of values, ranges and steps. every is true when it begins
// with "*" or is "?".
func (f field) bits() (set uint64, every bool, err error) {
	at := 0
	for part := range strings.SplitSeq(f.text, ",") {
		one, star, err := f.part(part, at)
		if err != nil {
			return 0, false, err
		}
		set |= one
		every = every || star && at == 0
		at += len(part) + 1
	}
	return set, every, nil
}

// part reads one element of a list, which begins at byte at of the field.
func (f field) part(part string, at int) (set uint64, star bool, err error) {
	span, stepText, hasStep := strings.Cut(part, "/")
	low, high := f.min, f.max
	if f.max == 7 {
		high = 6 // Sunday once
	}
	switch {
	case span == "*" || span == "?":
		star = true
		if span == "?" && hasStep {
			return 0, false, f.fail(at, "? takes no step: write */%s", stepText)
		}
	case span == "":
		return 0, false, f.fail(at, "a value is missing")
	default:
		from, to, isRange := strings.Cut(span, "-")
		if low, err = f.value(from, at); err != nil {
			return 0, false, err
		}
		if isRange {
			if high, err = f.value(to, at+len(from)+1); err != nil {
				return 0, false, err
			}
			if high < low && f.max == 7 && high == 0 {
				high = 7 // fri-sun
			}
			if high < low {
				return 0, false, f.fail(at, "the range %s runs backwards: write two ranges with a comma between them", span)
			}
		} else if !hasStep {
			high = low
		}
	}
	step := 1
	if hasStep {
		if step, err = strconv.Atoi(stepText); err != nil || step < 1 || step > f.max || !digits(stepText) {
			return 0, false, f.fail(at+len(span)+1, "the step %q: want a number from 1 to %d", stepText, f.max)
		}
	}
	for v := low; v <= high; v += step {
		if f.max == 7 && v == 7 {
			set |= 1
			continue
		}
		set |= 1 << v
	}
	return set, star, nil
}

// value reads a number or a name that begins at byte at of the field.
func (f field) value(text string, at int) (int, error) {
	lower := strings.ToLower(text)
	for v, name := range f.names {
		if name != "" && name == lower {
			return v, nil
		}
	}
	n, err := strconv.Atoi(text)
	if err != nil || !digits(text) {
		if text == "" {
			return 0, f.fail(at, "a value is missing")
		}
		return 0, f.fail(at, "%q is not known: want %s", text, f.want())
	}
	if n < f.min || n > f.max {
		return 0, f.fail(at, "%d is out of range: want %s", n, f.want())
	}
	return n, nil
}

func (f field) want() string {
	want := fmt.Sprintf("%d to %d", f.min, f.max)
	if f.names != nil {
		want += " or a name such as " + f.names[len(f.names)-1]
	}
	return want
}

func digits(text string) bool {
	for _, r := range text {
		if r < '0' || r > '9' {
			return false
		}
	}
	return text != ""
}

// parseDays reads the day of the month.
func parseDays(f field) (days, error) {
	d := days{star: strings.HasPrefix(f.text, "*") || strings.HasPrefix(f.text, "?")}
	at := 0
	for part := range strings.SplitSeq(f.text, ",") {
		upper := strings.ToUpper(part)
		switch {
		case upper == "L":
			d.last = append(d.last, 0)
		case upper == "LW" || upper == "WL":
			d.lastWork = true
		case strings.HasPrefix(upper, "L-"):
			n, err := strconv.Atoi(part[2:])
			if err != nil || n < 0 || n > 30 || !digits(part[2:]) {
				return d, f.fail(at+2, "%q days before the last: want 0 to 30", part[2:])
			}
			d.last = append(d.last, n)
		case strings.HasSuffix(upper, "W"):
			n, err := f.value(part[:len(part)-1], at)
			if err != nil {
				return d, err
			}
			d.near = append(d.near, n)
		default:
			set, _, err := f.part(part, at)
			if err != nil {
				return d, err
			}
			d.set |= set
		}
		at += len(part) + 1
	}
	return d, nil
}

// parseWeekdays reads the day of the week.
func parseWeekdays(f field) (weekdays, error) {
	w := weekdays{star: strings.HasPrefix(f.text, "*") || strings.HasPrefix(f.text, "?")}
	at := 0
	for part := range strings.SplitSeq(f.text, ",") {
		day, nth, isNth := strings.Cut(part, "#")
		switch {
		case isNth:
			v, err := f.value(day, at)
			if err != nil {
				return w, err
			}
			n, err := strconv.Atoi(nth)
			if err != nil || n < 1 || n > 5 || !digits(nth) {
				return w, f.fail(at+len(day)+1, "%q: which one of the month? want 1 to 5", nth)
			}
			w.nth[n] |= 1 << (v % 7)
		case len(part) > 1 && strings.HasSuffix(strings.ToUpper(part), "L"):
			v, err := f.value(part[:len(part)-1], at)
			if err != nil {
				return w, err
			}
			w.last |= 1 << (v % 7)
		default:
			set, _, err := f.part(part, at)
			if err != nil {
				return w, err
			}
			w.set |= set
		}
		at += len(part) + 1
	}
	return w, nil
}

// String returns the cron as it was written.
func (c Cron) String() string { return c.text }

// A date is a day of the calendar, without a place.
type date struct {
	year  int
	month time.Month
	day   int
}

func dateOf(t time.Time) date {
	y, m, d := t.Date()
	return date{y, m, d}
}

// utc is the date as an instant, for counting with.
func (d date) utc() time.Time { return time.Date(d.year, d.month, d.day, 0, 0, 0, 0, time.UTC) }

func (d date) add(n int) date { return dateOf(d.utc().AddDate(0, 0, n)) }

func (d date) weekday() time.Weekday { return d.utc().Weekday() }

func (d date) before(e date) bool { return d.utc().Before(e.utc()) }

// String returns the date as 2026-03-08.
func (d date) String() string { return d.utc().Format(time.DateOnly) }

// length is how many days the month has.
func (d date) length() int { return time.Date(d.year, d.month+1, 0, 0, 0, 0, 0, time.UTC).Day() }

// on reports whether the cron fires on a date.
func (c Cron) on(d date) bool {
	if c.month&(1<<d.month) == 0 {
		return false
	}
	dom, dow := c.dom.has(d), c.dow.has(d)
	if c.dom.star || c.dow.star {
		return dom && dow
	}
	return dom || dow
}

func (d days) has(on date) bool {
	if d.set&(1<<on.day) != 0 {
		return true
	}
	length := on.length()
	for _, n := range d.last {
		if on.day == length-n {
			return true
		}
	}
	if d.lastWork && on.day == workday(date{on.year, on.month, length}).day {
		return true
	}
	for _, n := range d.near {
		if n <= length && workday(date{on.year, on.month, n}) == on {
			return true
		}
	}
	return false
}

// workday is the day from Monday to Friday that is nearest to d in its month.
func workday(d date) date {
	switch d.weekday() {
	case time.Saturday:
		if d.day == 1 {
			return d.add(2)
		}
		return d.add(-1)
	case time.Sunday:
		if d.day == d.length() {
			return d.add(-2)
		}
		return d.add(1)
	}
	return d
}

func (w weekdays) has(on date) bool {
	bit := uint64(1) << on.weekday()
	return w.set&bit != 0 || w.nth[(on.day-1)/7+1]&bit != 0 || w.last&bit != 0 && on.day > on.length()-7
}

// possible reports whether any day of the calendar fits, which repeats after
// 400 years; no day that ever comes is further away than 40.
func (c Cron) possible() bool {
	if c.minute == 0 || c.hour == 0 {
		return false
	}
	for year := 2000; year < 2045; year++ {
		for month := time.January; month <= time.December; month++ {
			if c.month&(1<<month) == 0 {
				continue
			}
			first := date{year, month, 1}
			for n := range first.length() {
				if c.on(date{year, month, n + 1}) {
					return true
				}
			}
		}
	}
	return false
}

func monthsOf(set uint64) string {
	if bits.OnesCount64(set) != 1 {
		return "month of these"
	}
	return time.Month(bits.TrailingZeros64(set)).String()
}

// words are the crons that most people write, in words; "at" and the cron for
// the others.
func (c Cron) words() string {
	f := strings.Fields(c.text)
	if whole, ok := macros[strings.ToLower(c.text)]; ok {
		f = strings.Fields(whole)
	}
	if len(f) != 5 || f[3] != "*" || !digits(f[0]) {
		return "at " + c.text
	}
	minute, _ := strconv.Atoi(f[0])
	if f[1] == "*" && f[2] == "*" && f[4] == "*" {
		return fmt.Sprintf("every hour at minute %d", minute)
	}
	hour, err := strconv.Atoi(f[1])
	if err != nil || !digits(f[1]) {
		return "at " + c.text
	}
	clock := fmt.Sprintf(" at %02d:%02d", hour, minute)
	switch dow := strings.ToLower(f[4]); {
	case f[2] == "*" && dow == "*":
		return "every day" + clock
	case f[2] == "*" && (dow == "mon-fri" || dow == "1-5"):
		return "every weekday" + clock
	case f[2] == "*" && bits.OnesCount64(c.dow.set) == 1 && c.dow.last == 0 && c.dow.nth == [6]uint64{}:
		return "every " + time.Weekday(bits.TrailingZeros64(c.dow.set)).String() + clock
	case strings.EqualFold(f[2], "l") && dow == "*":
		return "on the last day of each month" + clock
	case digits(f[2]) && dow == "*":
		return "on day " + f[2] + " of each month" + clock
	}
	return "at " + c.text
}

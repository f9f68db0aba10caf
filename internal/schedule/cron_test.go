package schedule

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// forms are twenty ways to write a cron.
var forms = []string{
	"* * * * *", "*/15 * * * *", "0 * * * *", "5,35 * * * *", "0 */2 * * *", "30 0-23 * * *",
	"30 2 * * *", "30 1 * * *", "0 0 * * *", "30 0 * * *", "15 2 * * *", "0,30 1-3 * * *", "*/20 2 * * *",
	"0 9-17 * * mon-fri", "30 2 * * sun", "0 0 1 * *", "45 1 L * *", "0 2 * * 7#1", "30 23 * * 6L", "0 3 15W * *",
}

// zones are where the table looks, each with an instant near two transitions.
var zones = []struct {
	name string
	near [2]string
}{
	{"America/New_York", [2]string{"2026-03-08T07:00:00Z", "2026-11-01T06:00:00Z"}},
	{"America/Santiago", [2]string{"2026-09-06T04:00:00Z", "2026-04-05T03:00:00Z"}},
	{"Australia/Lord_Howe", [2]string{"2026-10-03T15:30:00Z", "2026-04-04T15:00:00Z"}},
	{"Europe/Berlin", [2]string{"2026-03-29T01:00:00Z", "2026-10-25T01:00:00Z"}},
	{"America/Sao_Paulo", [2]string{"2018-11-04T03:00:00Z", "2018-02-18T02:00:00Z"}},
	{"Pacific/Apia", [2]string{"2011-12-30T10:00:00Z", "2012-03-31T14:00:00Z"}},
	{"UTC", [2]string{"2026-03-08T07:00:00Z", "2026-11-01T06:00:00Z"}},
}

func mustTime(t testing.TB, text string) time.Time {
	t.Helper()
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		t.Fatal(err)
	}
	return at
}

func mustCron(t testing.TB, text string) Cron {
	t.Helper()
	c, err := ParseCron(text)
	if err != nil {
		t.Fatalf("%q: %v", text, err)
	}
	return c
}

func mustZone(t testing.TB, name string) *time.Location {
	t.Helper()
	zone, err := LoadZone(name)
	if err != nil {
		t.Fatal(err)
	}
	return zone
}

// naive says whether a value fits a field, read in the plainest way.
func naive(text string, value, low, high int) bool {
	for _, name := range [][2]string{{"sun", "0"}, {"mon", "1"}, {"fri", "5"}} {
		text = strings.ReplaceAll(text, name[0], name[1])
	}
	for part := range strings.SplitSeq(text, ",") {
		span, stepText, _ := strings.Cut(part, "/")
		step, _ := strconv.Atoi(stepText)
		from, to := low, high
		if span != "*" {
			a, b, isRange := strings.Cut(span, "-")
			from, _ = strconv.Atoi(a)
			to, _ = strconv.Atoi(b)
			if !isRange {
				to = from
			}
		}
		for v := from; v <= to; v += max(step, 1) {
			if v == value {
				return true
			}
		}
	}
	return false
}

// naiveDay says whether a date fits the day fields of one of the forms.
func naiveDay(form string, on time.Time) bool {
	f := strings.Fields(form)
	tomorrow := on.AddDate(0, 0, 1)
	dow := int(on.Weekday())
	switch {
	case f[2] == "L":
		return tomorrow.Day() == 1
	case f[2] == "15W":
		fifteenth := on.AddDate(0, 0, 15-on.Day())
		shift := map[time.Weekday]int{time.Saturday: -1, time.Sunday: 1}[fifteenth.Weekday()]
		return on.Equal(fifteenth.AddDate(0, 0, shift))
	case f[4] == "7#1":
		return dow == 0 && on.Day() <= 7
	case f[4] == "6L":
		return dow == 6 && on.AddDate(0, 0, 7).Month() != on.Month()
	}
	return naive(f[2], on.Day(), 1, 31) && naive(f[4], dow, 0, 6)
}

// A shown is what a clock shows: minutes since midnight of a date.
type shown struct {
	date string
	of   int
}

// A walked span is every minute of it with what the clock showed.
type walked struct {
	times []time.Time
	shows []shown
	first map[shown]time.Time
	dates []string
}

func walk(zone *time.Location, from, to time.Time) *walked {
	w := &walked{first: map[shown]time.Time{}}
	for t := from.Add(-30 * time.Hour); t.Before(to.Add(30 * time.Hour)); t = t.Add(time.Minute) {
		local := t.In(zone)
		c := shown{local.Format(time.DateOnly), local.Hour()*60 + local.Minute()}
		w.times, w.shows = append(w.times, t), append(w.shows, c)
		if _, ok := w.first[c]; !ok {
			w.first[c] = t
		}
		if !slices.Contains(w.dates, c.date) {
			w.dates = append(w.dates, c.date)
		}
	}
	return w
}

// after is the first time at which the clock shows something later.
func (w *walked) after(c shown) (time.Time, bool) {
	for i, later := range w.shows {
		if later.date > c.date || later.date == c.date && later.of > c.of {
			return w.times[i], true
		}
	}
	return time.Time{}, false
}

// brute says when a form fires, from every minute of a span: the rule of
// Cron.Next in its plainest words.
func brute(form string, w *walked, from, to time.Time) []time.Time {
	f := strings.Fields(form)
	onDay := map[string]bool{}
	for _, d := range w.dates {
		on, _ := time.Parse(time.DateOnly, d)
		onDay[d] = naive(f[3], int(on.Month()), 1, 12) && naiveDay(form, on)
	}
	var minutes [60]bool
	var hours [24]bool
	for v := range minutes {
		minutes[v] = naive(f[0], v, 0, 59)
	}
	for v := range hours {
		hours[v] = naive(f[1], v, 0, 23)
	}
	fits := func(c shown) bool { return minutes[c.of%60] && hours[c.of/60] && onDay[c.date] }
	var fires []time.Time
	if strings.HasPrefix(f[1], "*") || f[1] == "0-23" {
		for i, c := range w.shows {
			if fits(c) {
				fires = append(fires, w.times[i])
			}
		}
	} else {
		for _, d := range w.dates {
			for of := range 1440 {
				c := shown{d, of}
				if !fits(c) {
					continue
				}
				at, ok := w.first[c]
				if !ok {
					at, ok = w.after(c)
				}
				if ok {
					fires = append(fires, at)
				}
			}
		}
	}
	slices.SortFunc(fires, time.Time.Compare)
	fires = slices.CompactFunc(fires, time.Time.Equal)
	return slices.DeleteFunc(fires, func(t time.Time) bool { return !t.After(from) || t.After(to) })
}

// TestTransitions holds Next against the brute walk: seven zones, two
// transitions each, twenty forms.
func TestTransitions(t *testing.T) {
	t.Parallel()
	for _, z := range zones {
		zone := mustZone(t, z.name)
		for _, near := range z.near {
			middle := mustTime(t, near)
			from, to := middle.Add(-50*time.Hour), middle.Add(50*time.Hour)
			all := walk(zone, from, to)
			for _, form := range forms {
				t.Run(z.name+" "+near+" "+form, func(t *testing.T) {
					t.Parallel()
					c := mustCron(t, form)
					var got []time.Time
					for at := from; ; {
						next, ok := c.Next(at, zone)
						if !ok {
							t.Fatalf("no fire after %v", at)
						}
						if !next.After(at) {
							t.Fatalf("the fire after %v is %v", at, next)
						}
						if prev, ok := c.Prev(next.Add(time.Nanosecond), zone); !ok || !prev.Equal(next) {
							t.Fatalf("the last fire until %v is %v", next, prev)
						}
						if next.After(to) {
							break
						}
						got = append(got, next)
						at = next
					}
					if want := brute(form, all, from, to); !slices.EqualFunc(got, want, time.Time.Equal) {
						t.Errorf("%d fires, want %d:\n got %s\nwant %s", len(got), len(want), local(got, zone), local(want, zone))
					}
				})
			}
		}
	}
}

func local(times []time.Time, zone *time.Location) string {
	var b strings.Builder
	for i, at := range times {
		if i == 40 {
			return b.String() + " ..."
		}
		fmt.Fprintf(&b, " %s", at.In(zone).Format("02T15:04-0700"))
	}
	return b.String()
}

// TestKnownFires are answers that people worked out.
func TestKnownFires(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ name, cron, zone, from, want string }{
		{"spring gap", "30 2 * * *", "America/New_York", "2026-03-07T00:00:00Z", "2026-03-07T07:30:00Z 2026-03-08T07:00:00Z 2026-03-09T06:30:00Z"},
		{"fall-back, first time only", "30 1 * * *", "America/New_York", "2026-10-31T12:00:00Z", "2026-11-01T05:30:00Z 2026-11-02T06:30:00Z"},
		{"hourly in the gap", "0 * * * *", "America/New_York", "2026-03-08T05:30:00Z", "2026-03-08T06:00:00Z 2026-03-08T07:00:00Z 2026-03-08T08:00:00Z"},
		{"hourly at fall-back", "0 * * * *", "America/New_York", "2026-11-01T04:30:00Z", "2026-11-01T05:00:00Z 2026-11-01T06:00:00Z 2026-11-01T07:00:00Z"},
		{"two times in one gap are one fire", "0,30 2 * * *", "America/New_York", "2026-03-07T12:00:00Z", "2026-03-08T07:00:00Z 2026-03-09T06:00:00Z 2026-03-09T06:30:00Z"},
		{"missing midnight", "0 0 * * *", "America/Santiago", "2026-09-05T12:00:00Z", "2026-09-06T04:00:00Z 2026-09-07T03:00:00Z"},
		{"midnight twice", "0 0 * * *", "America/Santiago", "2026-04-04T02:00:00Z", "2026-04-04T03:00:00Z 2026-04-05T04:00:00Z"},
		{"23:30 twice", "30 23 * * *", "America/Santiago", "2026-04-04T12:00:00Z", "2026-04-05T02:30:00Z 2026-04-06T03:30:00Z"},
		{"half an hour missing", "15 2 * * *", "Australia/Lord_Howe", "2026-10-03T00:00:00Z", "2026-10-03T15:30:00Z 2026-10-04T15:15:00Z"},
		{"half an hour twice", "45 1 * * *", "Australia/Lord_Howe", "2026-04-04T00:00:00Z", "2026-04-04T14:45:00Z 2026-04-05T15:15:00Z"},
		{"a date that never was", "0 10 * * *", "Pacific/Apia", "2011-12-29T00:00:00Z", "2011-12-29T20:00:00Z 2011-12-30T20:00:00Z"},
		{"every minute", "* * * * *", "UTC", "2026-01-01T00:00:30Z", "2026-01-01T00:01:00Z 2026-01-01T00:02:00Z"},
		{"leap day", "0 0 29 2 *", "UTC", "2026-01-01T00:00:00Z", "2028-02-29T00:00:00Z 2032-02-29T00:00:00Z"},
		{"over the century", "0 0 29 2 *", "UTC", "2096-03-01T00:00:00Z", "2104-02-29T00:00:00Z"},
		{"a leap day on a Sunday is forty years away", "0 0 29 2 */7", "UTC", "2088-03-01T00:00:00Z", "2128-02-29T00:00:00Z"},
		{"last day", "0 0 L * *", "UTC", "2026-02-01T00:00:00Z", "2026-02-28T00:00:00Z 2026-03-31T00:00:00Z"},
		{"third before last", "0 0 L-2 * *", "UTC", "2026-02-01T00:00:00Z", "2026-02-26T00:00:00Z 2026-03-29T00:00:00Z"},
		{"third Friday", "0 0 * * 5#3", "UTC", "2026-11-01T00:00:00Z", "2026-11-20T00:00:00Z 2026-12-18T00:00:00Z"},
		{"last Friday", "0 0 * * friL", "UTC", "2026-11-01T00:00:00Z", "2026-11-27T00:00:00Z"},
		{"15W on a Sunday", "0 0 15W * *", "UTC", "2026-11-01T00:00:00Z", "2026-11-16T00:00:00Z 2026-12-15T00:00:00Z"},
		{"1W on a Saturday stays in the month", "0 0 1W * *", "UTC", "2026-07-20T00:00:00Z", "2026-08-03T00:00:00Z"},
		{"LW", "0 0 LW * *", "UTC", "2026-10-15T00:00:00Z", "2026-10-30T00:00:00Z"},
		{"either day field", "0 0 13 * 5", "UTC", "2026-11-01T00:00:00Z", "2026-11-06T00:00:00Z 2026-11-13T00:00:00Z 2026-11-20T00:00:00Z"},
		{"daily", "@daily", "Europe/Berlin", "2026-06-01T00:00:00Z", "2026-06-01T22:00:00Z"},
		{"weekends", "0 8 * * sat,sun", "UTC", "2026-11-20T00:00:00Z", "2026-11-21T08:00:00Z 2026-11-22T08:00:00Z 2026-11-28T08:00:00Z"},
		{"fri-sun", "0 8 * * fri-sun", "UTC", "2026-11-19T00:00:00Z", "2026-11-20T08:00:00Z 2026-11-21T08:00:00Z 2026-11-22T08:00:00Z 2026-11-27T08:00:00Z"},
		{"a value with a step", "5/20 3 * * *", "UTC", "2026-11-19T00:00:00Z", "2026-11-19T03:05:00Z 2026-11-19T03:25:00Z 2026-11-19T03:45:00Z 2026-11-20T03:05:00Z"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c, at := mustCron(t, tt.cron), mustTime(t, tt.from)
			for want := range strings.FieldsSeq(tt.want) {
				next, ok := c.Next(at, mustZone(t, tt.zone))
				if got := next.Format(time.RFC3339); !ok || got != want {
					t.Fatalf("after %s: %s, want %s", at.Format(time.RFC3339), got, want)
				}
				at = next
			}
		})
	}
}

func TestNotes(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ cron, zone, fire, want string }{
		{"30 2 * * *", "America/New_York", "2026-03-08T07:00:00Z", "02:30 does not exist on this day: it fires at 03:00"},
		{"30 1 * * *", "America/New_York", "2026-11-01T05:30:00Z", "01:30 comes twice on this day: it fires at the first"},
		{"0 * * * *", "America/New_York", "2026-11-01T05:00:00Z", "the clock shows 01:00 twice on this day"},
		{"0 0 * * *", "America/Santiago", "2026-09-06T04:00:00Z", "00:00 does not exist on this day: it fires at 01:00"},
		{"30 9 * * *", "America/New_York", "2026-03-08T13:30:00Z", ""},
		{"30 2 * * *", "America/New_York", "2026-03-09T06:30:00Z", ""},
	} {
		if got := mustCron(t, tt.cron).Note(mustTime(t, tt.fire), mustZone(t, tt.zone)); got != tt.want {
			t.Errorf("%s in %s at %s: %q, want %q", tt.cron, tt.zone, tt.fire, got, tt.want)
		}
	}
}

// TestBadCrons: every error says where.
func TestBadCrons(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ cron, want string }{
		{"", "character 1: the minute is missing"},
		{"* * *", "character 6: the month is missing"},
		{"0 0 0 * * *", "character 11: \"*\" is a sixth field"},
		{"60 * * * *", "character 1: minute: 60 is out of range: want 0 to 59"},
		{"0 24 * * *", "character 3: hour: 24 is out of range"},
		{"0 1,2,x * * *", "character 7: hour: \"x\" is not known"},
		{"0 5-2 * * *", "character 3: hour: the range 5-2 runs backwards"},
		{"0 1- * * *", "character 5: hour: a value is missing"},
		{"*/0 * * * *", "character 3: minute: the step \"0\""},
		{"*/+5 * * * *", "character 3: minute: the step \"+5\""},
		{"0 0 32 * *", "character 5: day of the month: 32 is out of range"},
		{"0 0 * jann *", "character 7: month: \"jann\" is not known: want 1 to 12 or a name such as dec"},
		{"0 0 * * 8", "character 9: day of the week: 8 is out of range: want 0 to 7 or a name such as sat"},
		{"0 0 * * 5#6", "character 11: day of the week: \"6\": which one of the month? want 1 to 5"},
		{"0 0 30 2 *", "this never fires: no February has such a day"},
		{"0 0 31 4,6,9,11 *", "this never fires: no month of these has such a day"},
		{"@fortnightly", "character 1: \"@fortnightly\" is not known"},
		{"0 0 ?/2 * *", "? takes no step: write */2"},
		{strings.Repeat("1,", 200) + "1 * * * *", "at most 256 characters"},
	} {
		_, err := ParseCron(tt.cron)
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%q: %v, want %q", tt.cron, err, tt.want)
		}
	}
	if _, err := LoadZone("Local"); err == nil {
		t.Error("Local is taken for a zone")
	}
	if _, err := LoadZone("../../etc/passwd"); err == nil {
		t.Error("a path is taken for a zone")
	}
}

// FuzzCron: what parses has a next fire after now, which is the last one before
// the instant behind it, and reads again as itself.
func FuzzCron(f *testing.F) {
	for i, form := range forms {
		f.Add(form, int64(1772953200+i*1000), zones[i%len(zones)].name)
	}
	f.Fuzz(func(t *testing.T, text string, seconds int64, zoneName string) {
		zone, err := LoadZone(zoneName)
		if err != nil {
			zone = time.UTC
		}
		c, err := ParseCron(text)
		if err != nil {
			return
		}
		now := time.Unix(seconds%(1<<33), 0) // 1697 to 2242
		next, ok := c.Next(now, zone)
		if !ok {
			t.Fatalf("%q never fires after %v", text, now)
		}
		if !next.After(now) {
			t.Fatalf("%q in %s: the fire after %v is %v", text, zone, now, next)
		}
		if prev, ok := c.Prev(next.Add(1), zone); !ok || !prev.Equal(next) {
			t.Fatalf("%q in %s: the last fire until %v is %v", text, zone, next, prev)
		}
		again, err := ParseCron(c.String())
		if err != nil {
			t.Fatalf("%q does not read again: %v", c.String(), err)
		}
		if n, _ := again.Next(now, zone); !n.Equal(next) {
			t.Fatalf("%q fires at %v, read again at %v", text, next, n)
		}
	})
}

func BenchmarkCronNext(b *testing.B) {
	c, zone, at := mustCron(b, "30 2 * * mon-fri"), mustZone(b, "Europe/Berlin"), mustTime(b, "2026-01-01T00:00:00Z")
	for b.Loop() {
		at, _ = c.Next(at, zone)
		if at.Year() > 2100 {
			at = mustTime(b, "2026-01-01T00:00:00Z")
		}
	}
}

// TestFarYears: the zones of the standard library name a wrong bound on the last
// day of some leap years.
func TestFarYears(t *testing.T) {
	t.Parallel()
	c, zone := mustCron(t, "0 12 * * *"), mustZone(t, "Europe/Berlin")
	at := mustTime(t, "2040-12-01T00:00:00Z")
	for range 60 {
		next, ok := c.Next(at, zone)
		if !ok || next.Sub(at) > day+time.Hour || next.Hour() != 11 {
			t.Fatalf("after %v: %v", at, next)
		}
		at = next
	}
}

func TestWords(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ cron, want string }{
		{"30 2 * * *", "every day at 02:30"},
		{"0 6 * * mon-fri", "every weekday at 06:00"},
		{"0 6 * * 7", "every Sunday at 06:00"},
		{"5 * * * *", "every hour at minute 5"},
		{"0 6 L * *", "on the last day of each month at 06:00"},
		{"0 6 1 * *", "on day 1 of each month at 06:00"},
		{"@daily", "every day at 00:00"},
		{"*/5 * * * *", "at */5 * * * *"},
		{"0 6 * * 5#3", "at 0 6 * * 5#3"},
		{"0 6 1 1 *", "at 0 6 1 1 *"},
		{"0 6 13 * 5", "at 0 6 13 * 5"},
	} {
		if got := mustCron(t, tt.cron).words(); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.cron, got, tt.want)
		}
	}
}

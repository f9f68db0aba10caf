package schedule

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"
)

// proclaimed are days that an independent list has and no rule gives: proclaimed
// for one year, or moved in it, with "-" before those that were not kept then.
var proclaimed = map[string]string{
	"england 2011": "04-29",                    // a wedding
	"england 2012": "-05-28 06-04 06-05",       // a jubilee
	"england 2020": "-05-04 05-08",             // the end of the war, 75 years
	"england 2022": "-05-30 06-02 06-03 09-19", // a jubilee, a funeral
	"england 2023": "05-08",                    // a coronation
	"germany 2017": "10-31",                    // the Reformation, 500 years
	"nyse 2012":    "10-29 10-30",              // a storm
	"nyse 2018":    "12-05",                    // days of mourning
	"nyse 2025":    "01-09",
}

// TestCalendarsAgainstAnotherList holds each calendar against what the Python package
// holidays says, from 2010 to 2040: testdata/holidays.txt.
func TestCalendarsAgainstAnotherList(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("testdata/holidays.txt")
	if err != nil {
		t.Fatal(err)
	}
	years := 0
	for line := range strings.Lines(string(text)) {
		words := strings.Fields(line)
		if words[0] == "#" {
			continue
		}
		name, year := words[0], 0
		if _, err := fmt.Sscan(words[1], &year); err != nil {
			t.Fatal(err)
		}
		theirs := map[string]bool{}
		for _, day := range words[2:] {
			theirs[day] = true
		}
		var differ []string
		for d := (date{year, 1, 1}); d.year == year; d = d.add(1) {
			if w := d.weekday(); w == time.Saturday || w == time.Sunday {
				continue
			}
			switch day := d.String()[5:]; {
			case theirs[day] && !calendars[name].on(d):
				differ = append(differ, day)
			case !theirs[day] && calendars[name].on(d):
				differ = append(differ, "-"+day)
			}
		}
		if got := strings.Join(differ, " "); got != proclaimed[words[0]+" "+words[1]] {
			t.Errorf("%s %d: differs by %q, want %q", name, year, got, proclaimed[words[0]+" "+words[1]])
		}
		years++
	}
	if years != 6*31 {
		t.Errorf("%d years were compared", years)
	}
}

// TestCalendars holds calendars against lists that their keepers published.
func TestCalendars(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		year int
		want string // without Saturdays and Sundays
	}{
		{"us-federal", 2026, "01-01 01-19 02-16 05-25 06-19 07-03 09-07 10-12 11-11 11-26 12-25"},
		{"us-federal", 2021, "01-01 01-18 02-15 05-31 06-18 07-05 09-06 10-11 11-11 11-25 12-24 12-31"},
		{"us-federal", 2020, "01-01 01-20 02-17 05-25 07-03 09-07 10-12 11-11 11-26 12-25"},
		{"nyse", 2026, "01-01 01-19 02-16 04-03 05-25 06-19 07-03 09-07 11-26 12-25"},
		{"nyse", 2021, "01-01 01-18 02-15 04-02 05-31 07-05 09-06 11-25 12-24"},
		{"nyse", 2023, "01-02 01-16 02-20 04-07 05-29 06-19 07-04 09-04 11-23 12-25"},
		{"england", 2021, "01-01 04-02 04-05 05-03 05-31 08-30 12-27 12-28"},
		{"england", 2026, "01-01 04-03 04-06 05-04 05-25 08-31 12-25 12-28"},
		{"france", 2026, "01-01 04-06 05-01 05-08 05-14 05-25 07-14 11-11 12-25"},
		{"germany", 2026, "01-01 04-03 04-06 05-01 05-14 05-25 12-25"},
		{"target", 2024, "01-01 03-29 04-01 05-01 12-25 12-26"},
	} {
		var got []string
		for d := (date{tt.year, 1, 1}); d.year == tt.year; d = d.add(1) {
			if w := d.weekday(); w != time.Saturday && w != time.Sunday && calendars[tt.name].on(d) {
				got = append(got, d.String()[5:])
			}
		}
		if all := strings.Join(got, " "); all != tt.want {
			t.Errorf("%s %d: %s\nwant %s", tt.name, tt.year, all, tt.want)
		}
	}
}

func TestEntriesOfDates(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"2026-03-05": "03-05", "03-05": "03-05", "2026-03-05..2026-03-07": "03-05 03-06 03-07", "sun": "03-01 03-08 03-15 03-22 03-29",
		"sat..sun": "03-01 03-07 03-08 03-14 03-15 03-21 03-22 03-28 03-29", "03-mon#2": "03-09", "03-tue#L": "03-31", "easter-8": "03-28", "03-mon#5": "03-30",
	} {
		one, err := parseDates(text)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for d := (date{2026, 3, 1}); d.month == 3; d = d.add(1) {
			if one.on(d) {
				got = append(got, d.String()[5:])
			}
		}
		if all := strings.Join(got, " "); all != want {
			t.Errorf("%s: %s, want %s", text, all, want)
		}
	}
	for _, bad := range []string{"", "13-01", "02-30", "mon#2", "01-mon#6", "01-mon#", "00-mon#1", "easter3", "easter+1000", "bavaria", "2026-03-05..2026-03-04", "mon..12-25"} {
		if _, err := parseDates(bad); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
}

// TestOnlyDates: slots on the dates of only, without those of except, forwards and
// backwards, and far apart.
func TestOnlyDates(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ text, want string }{
		{"triggers: [{cron: 0 6 * * *}]\nonly: [business-days]\nexcept: [us-federal]", "2026-07-01 06:00, 2026-07-02 06:00, 2026-07-06 06:00"},
		{"triggers: [{cron: \"* * * * *\"}]\nonly: [12-25]", "2026-12-25 00:00, 2026-12-25 00:01, 2026-12-25 00:02"},
		{"triggers: [{every: 12h}]\nonly: 08-mon#L", "2026-08-31 00:00, 2026-08-31 12:00, 2027-08-30 00:00"},
	} {
		d, faults := Read([]byte("schedule: 1\nname: a\nnotebook: a.ipynb\n" + tt.text))
		if len(faults) > 0 {
			t.Fatal(faults)
		}
		table, err := d.Timetable()
		if err != nil {
			t.Fatal(err)
		}
		at := time.Date(2026, 7, 1, 0, 0, 0, 0, time.UTC)
		var got []string
		for _, slot := range table.Upcoming(at, 3) {
			got = append(got, slot.Format("2006-01-02 15:04"))
			if last, ok := table.Prev(slot.Add(1)); !ok || !last.Equal(slot) {
				t.Errorf("the slot before a moment after %s is %s", slot, last)
			}
		}
		if all := strings.Join(got, ", "); all != tt.want {
			t.Errorf("%s\nfires at %s\nwant     %s", tt.text, all, tt.want)
		}
	}
}

package pages

import (
	"fmt"
	"net/http"
	"slices"
	"time"
)

// A comingSlot is a slot that will fire, of some schedule.
type comingSlot struct {
	Schedule string
	Slot     time.Time
	Local    string
	Note     string
}

// A calendarEntry is what a schedule does on one day.
type calendarEntry struct {
	Schedule string
	When     string // 06:00, or 06:00 to 23:00, 18 times
	first    time.Time
}

// A calendarDay is one column of the week, in UTC.
type calendarDay struct {
	Name    string
	Day     time.Time
	Entries []calendarEntry
}

// A comingPage is what will fire: the next 24 hours, or the week.
type comingPage struct {
	View   string // day or week
	Slots  []comingSlot
	Left   int // slots that are not shown
	Days   []calendarDay
	Paused int // schedules that will not fire because they are paused
}

// Bounds of what is shown.
const (
	maxComing   = 500  // slots of the next 24 hours
	maxUpcoming = 2000 // slots of one schedule that are looked at
)

// coming shows what all schedules will fire.
func (s *site) coming(w http.ResponseWriter, r *http.Request, shown string) error {
	all, err := s.cfg.Schedules.List(r.Context(), user(r))
	if err != nil {
		return err
	}
	now := s.cfg.Now().UTC()
	p := comingPage{View: shown}
	title, end := "Next 24 hours", now.Add(24*time.Hour)
	today := now.Truncate(24 * time.Hour)
	if shown == "week" {
		title, end = "Week", today.AddDate(0, 0, 7)
		for n := range 7 {
			day := today.AddDate(0, 0, n)
			p.Days = append(p.Days, calendarDay{Name: day.Format("Mon 2 Jan"), Day: day})
		}
	}
	for _, one := range all {
		if one.Paused {
			p.Paused++
			continue
		}
		table, err := one.Definition.Timetable()
		if err != nil {
			continue // its own page says so
		}
		var slots []time.Time
		for _, slot := range table.Upcoming(now, maxUpcoming) {
			if slot.Before(end) {
				slots = append(slots, slot)
			}
		}
		if shown == "week" {
			p.fill(one.Name, slots)
			continue
		}
		for _, slot := range slots {
			p.Slots = append(p.Slots, comingSlot{one.Name, slot, table.Local(slot).Format("Mon 15:04 MST"), table.Note(slot)})
		}
	}
	slices.SortStableFunc(p.Slots, func(a, b comingSlot) int { return a.Slot.Compare(b.Slot) })
	if len(p.Slots) > maxComing {
		p.Slots, p.Left = p.Slots[:maxComing], len(p.Slots)-maxComing
	}
	for i := range p.Days {
		slices.SortStableFunc(p.Days[i].Entries, func(a, b calendarEntry) int { return a.first.Compare(b.first) })
	}
	return s.show(w, r, http.StatusOK, "coming", view{Title: title, Section: "schedules", Crumbs: []crumb{{"Schedules", s.to("/schedules")}}, Data: p})
}

// fill puts the slots of a schedule into the days of the week, one entry a day.
func (p *comingPage) fill(name string, slots []time.Time) {
	for i := range p.Days {
		var mine []time.Time
		for _, slot := range slots {
			if slot.Truncate(24 * time.Hour).Equal(p.Days[i].Day) {
				mine = append(mine, slot)
			}
		}
		if len(mine) == 0 {
			continue
		}
		e := calendarEntry{Schedule: name, When: mine[0].Format("15:04"), first: mine[0]}
		if n := len(mine); n > 1 {
			e.When = fmt.Sprintf("%s to %s, %d times", e.When, mine[n-1].Format("15:04"), n)
		}
		p.Days[i].Entries = append(p.Days[i].Entries, e)
	}
}

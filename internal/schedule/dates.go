package schedule

import (
	"bytes"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"time"

	"quire/internal/problem"
)

// maxMoment is how many expressions Dates evaluates at once: each may give as
// much as maxValues.
const maxMoment = 50

// ofSchedules are the names that mean something only where there is a schedule.
var ofSchedules = []string{"previous", "next", "interval_start", "interval_end", "schedule"}

// Dates puts values in place of the expressions of a JSON value that belongs to no
// schedule: ds is the date of at, in at's zone.
func Dates(raw json.RawMessage, at time.Time) (json.RawMessage, error) {
	switch n := bytes.Count(raw, []byte("{{")); {
	case n == 0:
		return raw, nil
	case n > maxMoment:
		return nil, problem.New(problem.Invalid, "%d expressions {{ }}, at most %d are taken", n, maxMoment)
	}
	if faults := checkExpressions(raw, scope{moment: true}); len(faults) > 0 {
		return nil, faults[0].err
	}
	return env{table: &Timetable{zone: at.Location()}, slot: at}.fill(raw)
}

// atMoment says what an expression reads that only a schedule has.
func (e expression) atMoment() error {
	names := []string{e.name}
	if e.cel != nil {
		names = slices.Collect(maps.Keys(e.cel.idents))
		for _, one := range e.cel.shifted {
			names = append(names, one.name)
		}
	}
	for _, name := range ofSchedules {
		if slices.Contains(names, name) {
			return problem.New(problem.Invalid, "{{ %s }}: %s is of schedules: here are ds, ds_nodash, ts, month_start, month_end and timezone", strings.TrimSpace(e.text), name)
		}
	}
	return nil
}

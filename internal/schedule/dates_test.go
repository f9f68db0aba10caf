package schedule_test

import (
	"strings"
	"testing"
	"time"

	"quire/internal/problem"
	"quire/internal/schedule"
)

func TestDates(t *testing.T) {
	t.Parallel()
	zone, err := time.LoadLocation("Pacific/Auckland")
	if err != nil {
		t.Fatal(err)
	}
	at := time.Date(2026, 11, 30, 20, 0, 0, 0, time.UTC).In(zone) // the next day there
	for text, want := range map[string]string{
		`"plain"`:                        `"plain"`,
		`"{{ ds }}"`:                     `"2026-12-01"`,
		`"{{ ds - 1d }}"`:                `"2026-11-30"`,
		`"from {{ month_start - 1mo }}"`: `"from 2026-11-01"`,
		`"{{ ds | %Y/%m }}"`:             `"2026/12"`,
		`["{{ ds }}", 1]`:                `["2026-12-01",1]`,
		`"{{ ds > '2026' ? 1 : 2 }}"`:    `1`,
		`"{{ timezone }}"`:               `"Pacific/Auckland"`,
		`"{{ \"{{ x }}\" }}"`:            `"{{ x }}"`,
	} {
		if got, err := schedule.Dates([]byte(text), at); err != nil || string(got) != want {
			t.Errorf("%s gives %s, %v, want %s", text, got, err, want)
		}
	}
	for text, want := range map[string]string{
		`"{{ sd }}"`: "sd", `"{{ previous }}"`: "of schedules", `"{{ next - 1d }}"`: "of schedules", `"{{ previous > ds }}"`: "of schedules",
		`"{{ schedule + ds }}"`: "of schedules", `"{{ item }}"`: "item", `"{{ steps.a.b }}"`: "steps", `"{{ inputs.a + ds }}"`: "inputs", `"{{ ds"`: "not closed",
		`["` + strings.Repeat("{{ ds }}", 60) + `"]`: "at most 50",
	} {
		if got, err := schedule.Dates([]byte(text), at); !problem.Is(err, problem.Invalid) || !strings.Contains(err.Error(), want) {
			t.Errorf("%.40s gives %s, %v, want an error with %q", text, got, err, want)
		}
	}
}

package schedule_test

import (
	"context"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"quire/internal/auth"
	"quire/internal/db/dbtest"
	"quire/internal/run"
	"quire/internal/schedule"
)

// BenchmarkFire is one slot of one of a thousand schedules, from due to
// succeeded, with runs that do nothing.
func BenchmarkFire(b *testing.B) {
	const schedules = 1000
	records := dbtest.Open(b, filepath.Join(b.TempDir(), "q.db"))
	w := &world{now: time.Date(2026, 3, 7, 0, 0, 0, 0, time.UTC), records: records, version: 1}
	s := schedule.New(schedule.Config{
		Store: records, Runs: fakeRuns{w, records}, Now: func() time.Time { return w.now },
		User: func(context.Context, string) (auth.User, error) { return ann, nil },
	})
	for i := range schedules {
		text := fmt.Sprintf("schedule: 1\nname: s%d\nnotebook: users/ann/a.ipynb\ntimezone: Europe/Berlin\ntriggers: [{cron: \"* * * * *\"}]\n", i)
		if _, _, err := s.Apply(b.Context(), ann, []byte(text)); err != nil {
			b.Fatal(err)
		}
	}
	b.ResetTimer()
	for fired := 0; fired < b.N; fired += schedules {
		w.now = w.now.Add(time.Minute)
		for range schedules/256 + 1 {
			if err := schedule.Round(b.Context(), s); err != nil {
				b.Fatal(err)
			}
		}
		b.StopTimer()
		for {
			live, err := records.Runs(b.Context(), run.Filter{State: run.Queued, Limit: 500})
			if err != nil {
				b.Fatal(err)
			}
			if len(live) == 0 {
				break
			}
			for _, r := range live {
				_, err := records.ChangeRun(b.Context(), r.ID, func(r run.Run) (run.Run, error) {
					r.State, r.Finished = run.Succeeded, w.now
					return r, nil
				})
				if err != nil {
					b.Fatal(err)
				}
			}
		}
		b.StartTimer()
		for range schedules/256 + 1 {
			if err := schedule.Round(b.Context(), s); err != nil {
				b.Fatal(err)
			}
		}
	}
}

// BenchmarkBackfill plans a month of hours of five steps.
func BenchmarkBackfill(b *testing.B) {
	records := dbtest.Open(b, filepath.Join(b.TempDir(), "q.db"))
	w := &world{now: time.Date(2026, 3, 7, 0, 0, 0, 0, time.UTC), records: records, version: 1}
	s := schedule.New(schedule.Config{
		Store: records, Runs: fakeRuns{w, records}, Now: func() time.Time { return w.now },
		User: func(context.Context, string) (auth.User, error) { return ann, nil },
	})
	for n := 0; b.Loop(); n++ {
		b.StopTimer()
		text := fmt.Sprintf("schedule: 1\nname: s%d\ntriggers: [{cron: 0 * * * *}]\nsteps:\n", n)
		for i := range 5 {
			text += fmt.Sprintf("- {name: s%d, notebook: a.ipynb, after: [%s]}\n", i, map[bool]string{true: fmt.Sprintf("s%d", i-1)}[i > 0])
		}
		if _, _, err := s.Apply(b.Context(), ann, []byte(text)); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
		_, err := s.Backfill(b.Context(), ann, fmt.Sprintf("s%d", n), schedule.BackfillRequest{From: w.now.AddDate(0, -1, 0), To: w.now, Parallel: 10})
		if err != nil {
			b.Fatal(err)
		}
	}
}

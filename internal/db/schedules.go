package db

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"time"

	"quire/internal/problem"
	"quire/internal/run"
	"quire/internal/schedule"
)

var _ schedule.Store = (*DB)(nil)

// asker is what both a database and a transaction can do.
type asker interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// bodies reads rows whose only column is a JSON body.
func bodies[T any](ctx context.Context, q asker, what, query string, args ...any) ([]T, error) {
	rows, err := q.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, problem.WrapAs(problem.Unavailable, err, "listing %s", what)
	}
	defer rows.Close()
	var all []T
	for rows.Next() {
		var body string
		var v T
		if err = rows.Scan(&body); err == nil {
			err = json.Unmarshal([]byte(body), &v)
		}
		if err != nil {
			return nil, problem.WrapAs(problem.Unavailable, err, "listing %s", what)
		}
		all = append(all, v)
	}
	return all, problem.WrapAs(problem.Unavailable, rows.Err(), "listing %s", what)
}

// CreateSchedule implements schedule.Store.
func (d *DB) CreateSchedule(ctx context.Context, s schedule.Schedule) error {
	body, err := json.Marshal(s)
	if err != nil {
		return err
	}
	return d.tx(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `INSERT INTO schedules (id, name, wake, body) VALUES (?, ?, ?, ?)`, s.ID, s.Name, micros(s.Wake), string(body))
		if err != nil && d.unique(err) {
			return problem.New(problem.Exists, "there is a schedule called %s already", s.Name)
		}
		if err != nil {
			return problem.WrapAs(problem.Unavailable, err, "adding schedule %s", s.Name)
		}
		return putRevision(ctx, tx, s)
	})
}

func putRevision(ctx context.Context, tx *sql.Tx, s schedule.Schedule) error {
	definition, err := json.Marshal(s.Definition)
	if err != nil {
		return err
	}
	pinned, err := json.Marshal(s.Pinned)
	if err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, `INSERT INTO schedule_revisions (schedule, number, definition, pinned, text) VALUES (?, ?, ?, ?, ?)`,
		s.ID, s.Revision, string(definition), string(pinned), s.Text)
	return problem.WrapAs(problem.Unavailable, err, "keeping revision %d of schedule %s", s.Revision, s.Name)
}

// Schedule implements schedule.Store.
func (d *DB) Schedule(ctx context.Context, name string) (schedule.Schedule, error) {
	return oneSchedule(ctx, d.read, `name = ?`, name)
}

func oneSchedule(ctx context.Context, q asker, where, value string) (s schedule.Schedule, err error) {
	var body string
	err = q.QueryRowContext(ctx, `SELECT body FROM schedules WHERE `+where, value).Scan(&body)
	if err := one(err, "schedule %s", value); err != nil {
		return s, err
	}
	return s, json.Unmarshal([]byte(body), &s)
}

// Schedules implements schedule.Store.
func (d *DB) Schedules(ctx context.Context) ([]schedule.Schedule, error) {
	return bodies[schedule.Schedule](ctx, d.read, "schedules", `SELECT body FROM schedules ORDER BY name`)
}

// ChangeSchedule implements schedule.Store.
func (d *DB) ChangeSchedule(ctx context.Context, id string, change func(*schedule.View) error) error {
	return d.tx(ctx, func(tx *sql.Tx) error {
		v, err := scheduleView(ctx, tx, id)
		if err != nil {
			return err
		}
		if err := change(v); err != nil {
			return err
		}
		if v.Deleted {
			_, err := tx.ExecContext(ctx, `DELETE FROM schedules WHERE id = ?`, id)
			return problem.WrapAs(problem.Unavailable, err, "removing schedule %s", v.Schedule.Name)
		}
		return putView(ctx, tx, v)
	})
}

// scheduleView reads what a change of a schedule sees.
func scheduleView(ctx context.Context, tx *sql.Tx, id string) (*schedule.View, error) {
	s, err := oneSchedule(ctx, tx, `id = ?`, id)
	if err != nil {
		return nil, err
	}
	v := &schedule.View{Schedule: s}
	v.Live, err = bodies[schedule.Fire](ctx, tx, "fires",
		`SELECT body FROM fires WHERE schedule = ? AND state IN ('due', 'running') ORDER BY slot, lane`, id)
	if err != nil {
		return nil, err
	}
	for i := range v.Live {
		if err := addRevision(ctx, tx, s, &v.Live[i]); err != nil {
			return nil, err
		}
	}
	v.Backfills, err = bodies[schedule.Backfill](ctx, tx, "backfills", `SELECT body FROM backfills WHERE schedule = ? ORDER BY id`, id)
	if err != nil {
		return nil, err
	}
	v.Find = func(fire, lane string) (schedule.Fire, bool, error) {
		found, err := bodies[schedule.Fire](ctx, tx, "fires",
			`SELECT body FROM fires WHERE schedule = ? AND (id = ? OR (? = '' AND lane = ?)) LIMIT 1`, id, fire, fire, lane)
		if err != nil || len(found) == 0 {
			return schedule.Fire{}, false, err
		}
		return found[0], true, addRevision(ctx, tx, s, &found[0])
	}
	return v, endedRuns(ctx, tx, v)
}

// addRevision gives a fire that has started the definition that it runs by.
func addRevision(ctx context.Context, tx *sql.Tx, s schedule.Schedule, f *schedule.Fire) error {
	switch f.Revision {
	case 0:
		return nil
	case s.Revision:
		f.Definition, f.Pinned = &s.Definition, s.Pinned
		return nil
	}
	var definition, pinned string
	err := tx.QueryRowContext(ctx, `SELECT definition, pinned FROM schedule_revisions WHERE schedule = ? AND number = ?`, s.ID, f.Revision).
		Scan(&definition, &pinned)
	if err := one(err, "revision %d of schedule %s", f.Revision, s.Name); err != nil {
		return err
	}
	return errors.Join(json.Unmarshal([]byte(definition), &f.Definition), json.Unmarshal([]byte(pinned), &f.Pinned))
}

// endedRuns looks up the runs that the live fires wait for.
func endedRuns(ctx context.Context, tx *sql.Tx, v *schedule.View) error {
	v.Ended, v.Lost = map[string]run.Run{}, map[string]bool{}
	var ids []any
	for _, f := range v.Live {
		for _, t := range f.Tasks {
			if t.State == schedule.Running {
				ids = append(ids, t.Run)
				v.Lost[t.Run] = true
			}
		}
	}
	for batch := range slices.Chunk(ids, lastRunsBatch) {
		rows, err := tx.QueryContext(ctx, `SELECT `+runColumns+` FROM runs WHERE id IN (`+strings.Repeat(", ?", len(batch))[2:]+`)`, batch...)
		if err != nil {
			return problem.WrapAs(problem.Unavailable, err, "looking for ended runs")
		}
		for rows.Next() {
			r, err := scanRun(rows)
			if err != nil {
				return errors.Join(problem.WrapAs(problem.Unavailable, err, "looking for ended runs"), rows.Close())
			}
			delete(v.Lost, r.ID)
			if r.State.Ended() {
				v.Ended[r.ID] = r
			}
		}
		if err := errors.Join(rows.Err(), rows.Close()); err != nil {
			return problem.WrapAs(problem.Unavailable, err, "looking for ended runs")
		}
	}
	return nil
}

// putView makes what a change wants so.
func putView(ctx context.Context, tx *sql.Tx, v *schedule.View) error {
	s := v.Schedule
	body, err := json.Marshal(s)
	if err != nil {
		return err
	}
	if _, err := tx.ExecContext(ctx, `UPDATE schedules SET wake = ?, body = ? WHERE id = ?`, micros(s.Wake), string(body), s.ID); err != nil {
		return problem.WrapAs(problem.Unavailable, err, "changing schedule %s", s.Name)
	}
	if v.Revised {
		if err := putRevision(ctx, tx, s); err != nil {
			return err
		}
	}
	for _, b := range v.Backfill {
		body, err := json.Marshal(b)
		if err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, `INSERT INTO backfills (id, schedule, body) VALUES (?, ?, ?)
			ON CONFLICT (id) DO UPDATE SET body = excluded.body`, b.ID, s.ID, string(body))
		if err != nil {
			return problem.WrapAs(problem.Unavailable, err, "keeping a backfill of schedule %s", s.Name)
		}
	}
	for _, f := range v.Add {
		if err := putFire(ctx, tx, f, `INSERT INTO fires (body, state, schedule, lane, slot, id) VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING`,
			f.Schedule, f.Lane, micros(f.Slot), f.ID); err != nil {
			return err
		}
	}
	for _, f := range v.Put {
		if err := putFire(ctx, tx, f, `UPDATE fires SET body = ?, state = ? WHERE id = ?`, f.ID); err != nil {
			return err
		}
	}
	return nil
}

// putFire writes a fire and the runs that it waits for.
func putFire(ctx context.Context, tx *sql.Tx, f schedule.Fire, query string, args ...any) error {
	body, err := json.Marshal(f)
	if err != nil {
		return err
	}
	done, err := tx.ExecContext(ctx, query, append([]any{string(body), string(f.State)}, args...)...)
	if err != nil {
		return problem.WrapAs(problem.Unavailable, err, "recording a fire")
	}
	if n, err := done.RowsAffected(); err != nil || n == 0 || f.Tasks == nil {
		return err // the slot is recorded already: the record that is there stands
	}
	if _, err := tx.ExecContext(ctx, `DELETE FROM fire_runs WHERE fire = ?`, f.ID); err != nil {
		return problem.WrapAs(problem.Unavailable, err, "recording a fire")
	}
	for _, t := range f.Tasks {
		if t.State != schedule.Running {
			continue
		}
		if _, err := tx.ExecContext(ctx, `INSERT INTO fire_runs (run, fire, schedule) VALUES (?, ?, ?)`, t.Run, f.ID, f.Schedule); err != nil {
			return problem.WrapAs(problem.Unavailable, err, "recording a fire")
		}
	}
	return nil
}

// DueSchedules implements schedule.Store.
func (d *DB) DueSchedules(ctx context.Context, now time.Time, limit int) ([]string, error) {
	rows, err := d.read.QueryContext(ctx, `
		SELECT id FROM (SELECT id FROM schedules WHERE wake > 0 AND wake <= ? ORDER BY wake LIMIT ?)
		UNION
		SELECT w.schedule FROM fire_runs w LEFT JOIN runs r ON r.id = w.run
		WHERE r.id IS NULL OR r.state NOT IN ('queued', 'starting', 'running') LIMIT ?`, micros(now), limit, limit)
	if err != nil {
		return nil, problem.WrapAs(problem.Unavailable, err, "looking for due schedules")
	}
	defer rows.Close()
	var ids []string
	for rows.Next() {
		var id string
		if err := rows.Scan(&id); err != nil {
			return nil, problem.WrapAs(problem.Unavailable, err, "looking for due schedules")
		}
		ids = append(ids, id)
	}
	return ids, problem.WrapAs(problem.Unavailable, rows.Err(), "looking for due schedules")
}

// Fire implements schedule.Store.
func (d *DB) Fire(ctx context.Context, id string) (schedule.Fire, error) {
	found, err := bodies[schedule.Fire](ctx, d.read, "fires", `SELECT body FROM fires WHERE id = ?`, id)
	if err == nil && len(found) == 0 {
		err = problem.New(problem.NotFound, "fire %s", id)
	}
	if err != nil {
		return schedule.Fire{}, err
	}
	return found[0], nil
}

// Fires implements schedule.Store.
func (d *DB) Fires(ctx context.Context, f schedule.FireFilter) ([]schedule.Fire, error) {
	query, args := `SELECT body FROM fires WHERE schedule = ?`, []any{f.Schedule}
	if !f.Any {
		query, args = query+` AND lane = ?`, append(args, f.Lane)
	}
	if f.Before != "" {
		query, args = query+` AND (slot, id) < (SELECT slot, id FROM fires WHERE id = ?)`, append(args, f.Before)
	}
	return bodies[schedule.Fire](ctx, d.read, "fires", query+` ORDER BY slot DESC, id DESC LIMIT ?`, append(args, f.Limit)...)
}

// LastFires implements schedule.Store.
func (d *DB) LastFires(ctx context.Context, n int) (map[string][]schedule.Fire, error) {
	all, err := bodies[schedule.Fire](ctx, d.read, "fires", `SELECT f.body FROM schedules s JOIN fires f
		ON f.id IN (SELECT id FROM fires WHERE schedule = s.id AND lane = '' ORDER BY slot DESC LIMIT ?) ORDER BY s.id, f.slot DESC`, n)
	last := map[string][]schedule.Fire{}
	for _, f := range all {
		last[f.Schedule] = append(last[f.Schedule], f)
	}
	return last, err
}

// Backfills implements schedule.Store.
func (d *DB) Backfills(ctx context.Context, id string) ([]schedule.Backfill, error) {
	all, err := bodies[schedule.Backfill](ctx, d.read, "backfills", `SELECT body FROM backfills WHERE schedule = ? ORDER BY id DESC LIMIT 100`, id)
	if err != nil {
		return nil, err
	}
	for i := range all {
		if all[i].Counts, err = d.countFires(ctx, id, all[i].ID); err != nil {
			return nil, err
		}
	}
	return all, nil
}

func (d *DB) countFires(ctx context.Context, id, lane string) (map[schedule.State]int, error) {
	rows, err := d.read.QueryContext(ctx, `SELECT state, COUNT(*) FROM fires WHERE schedule = ? AND lane = ? GROUP BY state`, id, lane)
	if err != nil {
		return nil, problem.WrapAs(problem.Unavailable, err, "counting fires")
	}
	defer rows.Close()
	counts := map[schedule.State]int{}
	for rows.Next() {
		var state schedule.State
		var n int
		if err := rows.Scan(&state, &n); err != nil {
			return nil, problem.WrapAs(problem.Unavailable, err, "counting fires")
		}
		counts[state] = n
	}
	return counts, problem.WrapAs(problem.Unavailable, rows.Err(), "counting fires")
}

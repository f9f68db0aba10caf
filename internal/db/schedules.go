package db

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"slices"
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
func (d *DB) CreateSchedule(ctx context.Context, s schedule.Schedule, a schedule.Activity) error {
	body, err := json.Marshal(s)
	if err != nil {
		return err
	}
	return d.tx(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `INSERT INTO schedules (id, name, wake, body) VALUES (?, ?, ?, ?)`, s.ID, s.Name, micros(s.Wake), string(body))
		if err != nil && d.dialect.Unique(err) {
			return problem.New(problem.Exists, "there is a schedule called %s already", s.Name)
		}
		if err != nil {
			return problem.WrapAs(problem.Unavailable, err, "adding schedule %s", s.Name)
		}
		if err := errors.Join(putRevision(ctx, tx, s), d.putWaits(ctx, tx, s)); err != nil {
			return err
		}
		return addActivities(ctx, tx, []schedule.Activity{a})
	})
}

func addActivities(ctx context.Context, tx *sql.Tx, all []schedule.Activity) error {
	for _, a := range all {
		body, err := json.Marshal(a)
		if err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, `INSERT INTO schedule_activity (id, schedule, body) VALUES (?, ?, ?)`, a.ID, a.Schedule, string(body)); err != nil {
			return problem.WrapAs(problem.Unavailable, err, "recording what was done to schedule %s", a.Schedule)
		}
	}
	return nil
}

// Activity implements schedule.Store.
func (d *DB) Activity(ctx context.Context, name string, f schedule.ActivityFilter) ([]schedule.Activity, error) {
	query, args := `SELECT body FROM schedule_activity WHERE schedule = ?`, []any{name}
	if f.Before != "" {
		query, args = query+` AND id < ?`, append(args, f.Before)
	}
	return bodies[schedule.Activity](ctx, d.read, "what was done to schedule "+name, query+` ORDER BY id DESC LIMIT ?`, append(args, f.Limit)...)
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

// ChangeSchedules implements schedule.Store.
func (d *DB) ChangeSchedules(ctx context.Context, ids []string, wait bool, change func(*schedule.View) error) error {
	lock := d.dialect.Lock
	if !wait {
		lock = d.dialect.LockFree
	}
	return d.txOfRows(ctx, func(tx *sql.Tx) error {
		views, was, err := d.scheduleViews(ctx, tx, ids, lock)
		if err != nil {
			return err
		}
		for _, v := range views {
			if err := change(v); err != nil {
				return err
			}
		}
		if err := d.queueRuns(ctx, tx, views); err != nil {
			return err
		}
		return d.putViews(ctx, tx, views, was)
	})
}

// bodiesOf reads the bodies of rows that belong to the schedules of ids. The
// query ends in the column that is one of them; order follows.
func bodiesOf[T any](ctx context.Context, d *DB, tx *sql.Tx, what, query, order string, ids []string) ([]T, error) {
	var all []T
	for batch := range slices.Chunk(ids, rowsAtOnce) {
		in, args := d.in(batch)
		some, err := bodies[T](ctx, tx, what, query+in+order, args...)
		if err != nil {
			return nil, err
		}
		all = append(all, some...)
	}
	return all, nil
}

// scheduleViews reads what changes of schedules see, in the order of ids; one
// that is not there is left out. They are locked in the order of their ids, so that
// two servers do not wait for each other. was is how each is recorded, by id.
func (d *DB) scheduleViews(ctx context.Context, tx *sql.Tx, ids []string, lock string) (views []*schedule.View, was map[string]string, err error) {
	found, err := bodiesOf[json.RawMessage](ctx, d, tx, "schedules", `SELECT body FROM schedules WHERE id`, ` ORDER BY id`+lock, slices.Sorted(slices.Values(ids)))
	if err != nil {
		return nil, nil, err
	}
	byID := map[string]*schedule.View{}
	was = map[string]string{}
	for _, body := range found {
		var s schedule.Schedule
		if err := json.Unmarshal(body, &s); err != nil {
			return nil, nil, err
		}
		was[s.ID] = string(body)
		byID[s.ID] = &schedule.View{Schedule: s, Ended: map[string]run.Run{}, Lost: map[string]bool{}}
	}
	fires, err := bodiesOf[schedule.Fire](ctx, d, tx, "fires",
		`SELECT body FROM fires WHERE state IN ('due', 'running') AND schedule`, ` ORDER BY slot, lane`, ids)
	if err != nil {
		return nil, nil, err
	}
	for _, f := range fires {
		if v := byID[f.Schedule]; v != nil {
			if err := addRevision(ctx, tx, v.Schedule, &f); err != nil {
				return nil, nil, err
			}
			v.Live = append(v.Live, f)
		}
	}
	backfills, err := bodiesOf[schedule.Backfill](ctx, d, tx, "backfills", `SELECT body FROM backfills WHERE schedule`, ` ORDER BY id`, ids)
	if err != nil {
		return nil, nil, err
	}
	for _, b := range backfills {
		if v := byID[b.Schedule]; v != nil {
			v.Backfills = append(v.Backfills, b)
		}
	}
	signals, err := d.signalsOf(ctx, tx, ids)
	if err != nil {
		return nil, nil, err
	}
	for _, id := range ids {
		v := byID[id]
		if v == nil {
			continue
		}
		delete(byID, id)
		v.Signals = signals[id]
		v.Find = func(fire, lane string) (schedule.Fire, bool, error) {
			found, err := bodies[schedule.Fire](ctx, tx, "fires",
				`SELECT body FROM fires WHERE schedule = ? AND (id = ? OR (? = '' AND lane = ?)) LIMIT 1`, id, fire, fire, lane)
			if err != nil || len(found) == 0 {
				return schedule.Fire{}, false, err
			}
			return found[0], true, addRevision(ctx, tx, v.Schedule, &found[0])
		}
		views = append(views, v)
	}
	return views, was, d.endedRuns(ctx, tx, views)
}

// queueRuns adds the runs that views want. Where there is one with the key of one
// of them already, the view names that one instead.
func (d *DB) queueRuns(ctx context.Context, tx *sql.Tx, views []*schedule.View) error {
	var rows [][]any
	added := map[string]bool{}
	for _, v := range views {
		for _, r := range v.Runs {
			values, err := runValues(r)
			if err != nil {
				return err
			}
			rows = append(rows, values)
		}
	}
	err := d.insertRows(ctx, tx, "runs", `INSERT INTO runs (`+runColumns+`)`, `ON CONFLICT DO NOTHING RETURNING id`, rows, func(id string) { added[id] = true })
	if err != nil {
		return err
	}
	for _, v := range views {
		for _, r := range v.Runs {
			if added[r.ID] {
				continue
			}
			old, err := scanRun(tx.QueryRowContext(ctx, `SELECT `+runColumns+` FROM runs WHERE owner = ? AND idempotency = ?`, r.Owner, r.IdempotencyHash))
			if err := one(err, "the run of this idempotency key"); err != nil {
				return err
			}
			if v.Instead == nil {
				v.Instead = map[string]string{}
			}
			v.Instead[r.ID] = old.ID
			for _, f := range slices.Concat(v.Add, v.Put) {
				for i := range f.Tasks {
					if f.Tasks[i].Run == r.ID {
						f.Tasks[i].Run = old.ID
					}
				}
			}
		}
	}
	return nil
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
	return readRevision(ctx, tx, f)
}

// readRevision gives a fire the definition of its revision.
func readRevision(ctx context.Context, q asker, f *schedule.Fire) error {
	var definition, pinned string
	err := q.QueryRowContext(ctx, `SELECT definition, pinned FROM schedule_revisions WHERE schedule = ? AND number = ?`, f.Schedule, f.Revision).
		Scan(&definition, &pinned)
	if err := one(err, "revision %d of schedule %s", f.Revision, f.Schedule); err != nil {
		return err
	}
	return errors.Join(json.Unmarshal([]byte(definition), &f.Definition), json.Unmarshal([]byte(pinned), &f.Pinned))
}

// endedRuns looks up the runs that the live fires wait for.
func (d *DB) endedRuns(ctx context.Context, tx *sql.Tx, views []*schedule.View) error {
	waits := map[string]*schedule.View{}
	var ids []string
	for _, v := range views {
		for _, f := range v.Live {
			for _, t := range f.Tasks {
				if t.State == schedule.Running && t.Child == "" {
					ids = append(ids, t.Run)
					waits[t.Run], v.Lost[t.Run] = v, true
				}
			}
		}
	}
	for batch := range slices.Chunk(ids, rowsAtOnce) {
		in, args := d.in(batch)
		rows, err := tx.QueryContext(ctx, `SELECT `+runColumns+` FROM runs WHERE id`+in, args...)
		if err != nil {
			return problem.WrapAs(problem.Unavailable, err, "looking for ended runs")
		}
		for rows.Next() {
			r, err := scanRun(rows)
			if err != nil {
				return errors.Join(problem.WrapAs(problem.Unavailable, err, "looking for ended runs"), rows.Close())
			}
			v := waits[r.ID]
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

// putViews makes what changes want so: each kind of row in as few statements as
// there can be. A schedule that is as it was is not written.
func (d *DB) putViews(ctx context.Context, tx *sql.Tx, views []*schedule.View, was map[string]string) error {
	var schedules, backfills, adds, puts [][]any
	var signals []schedule.Signal
	waits := map[string][][]any{} // of a fire
	var replaced []string
	for _, v := range views {
		s := v.Schedule
		if err := addActivities(ctx, tx, v.Activities); err != nil {
			return err
		}
		switch {
		case v.Deleted:
			signals = append(signals, v.Emit...)
			if _, err := tx.ExecContext(ctx, `DELETE FROM schedules WHERE id = ?`, s.ID); err != nil {
				return problem.WrapAs(problem.Unavailable, err, "removing schedule %s", s.Name)
			}
			continue
		case v.Skip:
			continue
		case v.Revised:
			if err := errors.Join(putRevision(ctx, tx, s), d.putWaits(ctx, tx, s)); err != nil {
				return err
			}
		}
		if err := putSignals(ctx, tx, v); err != nil {
			return err
		}
		signals = append(signals, v.Emit...)
		body, err := json.Marshal(s)
		if err != nil {
			return err
		}
		if string(body) != was[s.ID] {
			schedules = append(schedules, []any{s.ID, s.Name, micros(s.Wake), string(body)})
		}
		for _, b := range newest(v.Backfill, func(b schedule.Backfill) string { return b.ID }) {
			body, err := json.Marshal(b)
			if err != nil {
				return err
			}
			backfills = append(backfills, []any{b.ID, s.ID, string(body)})
		}
		id := func(f schedule.Fire) string { return f.ID }
		for _, f := range newest(v.Add, id) {
			row, err := fireRow(f, waits)
			if err != nil {
				return err
			}
			adds = append(adds, row)
		}
		for _, f := range newest(v.Put, id) {
			row, err := fireRow(f, waits)
			if err != nil {
				return err
			}
			puts = append(puts, row)
			if f.Tasks != nil {
				replaced = append(replaced, f.ID)
			}
		}
		if err := addNotices(ctx, tx, v.Notices); err != nil {
			return err
		}
	}
	if _, err := d.emit(ctx, tx, signals); err != nil {
		return err
	}
	const fires = `INSERT INTO fires (id, schedule, lane, slot, state, body)`
	if err := errors.Join(
		d.insertRows(ctx, tx, "schedules", `INSERT INTO schedules (id, name, wake, body)`, `ON CONFLICT (id) DO UPDATE SET wake = excluded.wake, body = excluded.body`, schedules, nil),
		d.insertRows(ctx, tx, "backfills", `INSERT INTO backfills (id, schedule, body)`, `ON CONFLICT (id) DO UPDATE SET body = excluded.body`, backfills, nil),
		d.insertRows(ctx, tx, "fires", fires, `ON CONFLICT (id) DO UPDATE SET body = excluded.body, state = excluded.state`, puts, nil),
	); err != nil {
		return err
	}
	for batch := range slices.Chunk(replaced, rowsAtOnce) {
		in, args := d.in(batch)
		if _, err := tx.ExecContext(ctx, `DELETE FROM fire_runs WHERE fire`+in, args...); err != nil {
			return problem.WrapAs(problem.Unavailable, err, "recording fires")
		}
	}
	// Where a slot is recorded already the record that is there stands, and what it
	// waits for.
	err := d.insertRows(ctx, tx, "fires", fires, `ON CONFLICT DO NOTHING RETURNING id`, adds, func(id string) { replaced = append(replaced, id) })
	if err != nil {
		return err
	}
	var runs [][]any
	for _, fire := range replaced {
		runs = append(runs, waits[fire]...)
	}
	return d.insertRows(ctx, tx, "fires", `INSERT INTO fire_runs (run, fire, schedule)`, "", runs, nil)
}

// newest are the last ones of each id, in their order.
func newest[T any](all []T, id func(T) string) []T {
	last := map[string]int{}
	for i, one := range all {
		last[id(one)] = i
	}
	if len(last) == len(all) {
		return all
	}
	var kept []T
	for i, one := range all {
		if last[id(one)] == i {
			kept = append(kept, one)
		}
	}
	return kept
}

// fireRow is the row of a fire. It notes the runs that the fire waits for.
func fireRow(f schedule.Fire, waits map[string][][]any) ([]any, error) {
	body, err := json.Marshal(f)
	for _, t := range f.Tasks {
		if t.State == schedule.Running && t.Child == "" {
			waits[f.ID] = append(waits[f.ID], []any{t.Run, f.ID, f.Schedule})
		}
	}
	return []any{f.ID, f.Schedule, f.Lane, micros(f.Slot), string(f.State), string(body)}, err
}

// DueSchedules implements schedule.Store.
func (d *DB) DueSchedules(ctx context.Context, now time.Time, limit int) ([]string, error) {
	rows, err := d.read.QueryContext(ctx, `
		SELECT id FROM (SELECT id FROM schedules WHERE wake > 0 AND wake <= ? ORDER BY wake LIMIT ?) s
		UNION
		SELECT schedule FROM signals WHERE state = 'new'
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
		err = problem.New(problem.NotFound, "there is no fire %q", id)
	}
	if err != nil {
		return schedule.Fire{}, err
	}
	if found[0].Revision == 0 {
		return found[0], nil
	}
	return found[0], readRevision(ctx, d.read, &found[0])
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
func (d *DB) Backfills(ctx context.Context, id string, limit int) ([]schedule.Backfill, error) {
	all, err := bodies[schedule.Backfill](ctx, d.read, "backfills", `SELECT body FROM backfills WHERE schedule = ? ORDER BY id DESC LIMIT ?`, id, limit)
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
	rows, err := d.read.QueryContext(ctx, `SELECT state, COUNT(*) FROM fires WHERE schedule = ? AND lane = ? AND lane <> '' GROUP BY state`, id, lane)
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

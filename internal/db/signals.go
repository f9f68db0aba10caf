package db

import (
	"context"
	"database/sql"
	"encoding/json"
	"slices"

	"quire/internal/problem"
	"quire/internal/schedule"
)

// putWaits notes what a schedule waits for.
func (d *DB) putWaits(ctx context.Context, tx *sql.Tx, s schedule.Schedule) error {
	if _, err := tx.ExecContext(ctx, `DELETE FROM schedule_waits WHERE schedule = ?`, s.ID); err != nil {
		return problem.WrapAs(problem.Unavailable, err, "noting what schedule %s waits for", s.Name)
	}
	var rows [][]any
	for _, source := range s.Definition.Sources() {
		rows = append(rows, []any{s.ID, source})
	}
	if err := d.insertRows(ctx, tx, "what schedules wait for", `INSERT INTO schedule_waits (schedule, source)`, "", rows, nil); err != nil {
		return err
	}
	return d.putWatches(ctx, tx, s)
}

// mostSignals is how many signals of a schedule one change looks at.
const mostSignals = 1000

// signalsOf reads the signals that have come for schedules, by id of the schedule.
func (d *DB) signalsOf(ctx context.Context, tx *sql.Tx, ids []string) (map[string][]schedule.Signal, error) {
	found := map[string][]schedule.Signal{}
	for batch := range slices.Chunk(ids, rowsAtOnce) {
		in, args := d.in(batch)
		rows, err := tx.QueryContext(ctx, `SELECT schedule, state, body FROM signals WHERE state <> 'done' AND schedule`+in+` ORDER BY at, id`, args...)
		if err != nil {
			return nil, problem.WrapAs(problem.Unavailable, err, "looking for signals")
		}
		err = func() error {
			defer rows.Close()
			for rows.Next() {
				var id, state, body string
				var one schedule.Signal
				if err := rows.Scan(&id, &state, &body); err != nil {
					return err
				}
				if err := json.Unmarshal([]byte(body), &one); err != nil {
					return err
				}
				if one.Held = state == "held"; len(found[id]) < mostSignals {
					found[id] = append(found[id], one)
				}
			}
			return rows.Err()
		}()
		if err != nil {
			return nil, problem.WrapAs(problem.Unavailable, err, "looking for signals")
		}
	}
	return found, nil
}

// putSignals notes what became of the signals of a view.
func putSignals(ctx context.Context, tx *sql.Tx, v *schedule.View) error {
	for _, one := range v.Signals {
		state := "held"
		if v.Taken[one.ID] {
			state = "done"
		}
		if _, err := tx.ExecContext(ctx, `UPDATE signals SET state = ? WHERE schedule = ? AND id = ? AND state <> ?`, state, v.Schedule.ID, one.ID, state); err != nil {
			return problem.WrapAs(problem.Unavailable, err, "noting a signal for schedule %s", v.Schedule.Name)
		}
	}
	return nil
}

// waiting are the schedules that wait for sources, by source.
func (d *DB) waiting(ctx context.Context, tx *sql.Tx, all []schedule.Signal) (map[string][]string, error) {
	var sources []string
	found := map[string][]string{}
	for _, s := range all {
		if _, ok := found[s.Source]; !ok {
			sources, found[s.Source] = append(sources, s.Source), nil
		}
	}
	for batch := range slices.Chunk(sources, rowsAtOnce) {
		in, args := d.in(batch)
		err := func() error {
			rows, err := tx.QueryContext(ctx, `SELECT source, schedule FROM schedule_waits WHERE source`+in, args...)
			if err != nil {
				return err
			}
			defer rows.Close()
			for rows.Next() {
				var source, id string
				if err := rows.Scan(&source, &id); err != nil {
					return err
				}
				found[source] = append(found[source], id)
			}
			return rows.Err()
		}()
		if err != nil {
			return nil, problem.WrapAs(problem.Unavailable, err, "looking for schedules that wait")
		}
	}
	return found, nil
}

// emit adds signals for each schedule that waits for them: as many statements as
// for one, since all the fires that end together tell. It returns how many
// schedules are told.
func (d *DB) emit(ctx context.Context, tx *sql.Tx, all []schedule.Signal) (told int, err error) {
	if len(all) == 0 {
		return 0, nil
	}
	waiting, err := d.waiting(ctx, tx, all)
	if err != nil {
		return 0, err
	}
	var rows [][]any
	for _, s := range all {
		if id, ok := s.Nested(); ok { // it waits without saying so, and may be gone
			if err := emitTo(ctx, tx, id, s); err != nil {
				return 0, err
			}
			continue
		}
		s.ID = s.Source + "/" + s.ID
		body, err := json.Marshal(s)
		if err != nil {
			return 0, err
		}
		for _, id := range waiting[s.Source] {
			rows = append(rows, []any{id, s.ID, "new", micros(s.At), string(body)})
		}
	}
	if len(rows) == 0 {
		return 0, nil
	}
	if err := d.insertRows(ctx, tx, "signals", `INSERT INTO signals (schedule, id, state, at, body)`, `ON CONFLICT DO NOTHING`, rows, nil); err != nil {
		return 0, err
	}
	_, err = tx.ExecContext(ctx, `DELETE FROM signals WHERE state = 'done' AND at < ?`, micros(all[0].At.Add(-schedule.KeepSignals)))
	return len(rows), problem.WrapAs(problem.Unavailable, err, "forgetting old signals")
}

// Signal implements schedule.Store.
func (d *DB) Signal(ctx context.Context, s schedule.Signal) (waiting int, err error) {
	err = d.tx(ctx, func(tx *sql.Tx) error {
		waiting, err = d.emit(ctx, tx, []schedule.Signal{s})
		return err
	})
	return waiting, err
}

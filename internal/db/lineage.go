package db

import (
	"context"
	"database/sql"
	"strings"
	"time"

	"quire/internal/problem"
	"quire/internal/query"
	"quire/internal/run"
)

// ExportLineage says that runs that end are to be exported; call it before the
// records are used.
func (d *DB) ExportLineage() { d.exportLineage = true }

const insertLineage = `INSERT INTO lineage (run, wrote, kind, place, name, at)
	SELECT id, ?, ?, ?, ?, ? FROM runs WHERE id = ? AND owner = ? ON CONFLICT DO NOTHING`

// addQueryLineage records the tables of a statement that a run asked for. A
// statement says itself which run it is of: one of somebody else's is not heeded.
func addQueryLineage(ctx context.Context, tx *sql.Tx, q query.Query) error {
	if q.Run == "" || q.State != query.Succeeded {
		return emitQuery(ctx, tx, q)
	}
	place := placeOf(q)
	for side, names := range q.Tables {
		for _, name := range names {
			if _, err := tx.ExecContext(ctx, insertLineage, flag(side == query.Wrote), string(run.Table), place, strings.ToLower(name), micros(q.Ended), q.Run, q.User); err != nil {
				return problem.WrapAs(problem.Unavailable, err, "recording the lineage of run %s", q.Run)
			}
		}
	}
	return emitQuery(ctx, tx, q)
}

// endRun records what follows from the end of a run, in the transaction that
// ends it: who is told, what files it says that it used, and
// which schedules wait for the tables that it wrote.
func (d *DB) endRun(ctx context.Context, tx *sql.Tx, r run.Run) error {
	if !r.State.Ended() {
		return nil
	}
	if err := addNotices(ctx, tx, r.Notices()); err != nil {
		return err
	}
	for _, use := range r.Files() {
		if _, err := tx.ExecContext(ctx, insertLineage, flag(use.Wrote), string(use.Kind), use.Connection, use.Name, micros(use.At), r.ID, r.Owner); err != nil {
			return problem.WrapAs(problem.Unavailable, err, "recording the lineage of run %s", r.ID)
		}
	}
	if err := emitTables(ctx, tx, r); err != nil {
		return err
	}
	if !d.exportLineage {
		return nil
	}
	_, err := tx.ExecContext(ctx, `INSERT INTO lineage_outbox (run, due, tries) VALUES (?, ?, 0) ON CONFLICT DO NOTHING`, r.ID, micros(r.Finished))
	return problem.WrapAs(problem.Unavailable, err, "noting run %s for export", r.ID)
}

// LineageOfRun implements run.Store.
func (d *DB) LineageOfRun(ctx context.Context, id string) ([]run.Use, error) {
	rows, err := d.read.QueryContext(ctx, `SELECT run, wrote, kind, place, name, at FROM lineage WHERE run = ? ORDER BY kind, place, name LIMIT 1000`, id)
	if err != nil {
		return nil, problem.WrapAs(problem.Unavailable, err, "looking for the lineage of run %s", id)
	}
	defer rows.Close()
	var all []run.Use
	for rows.Next() {
		var use run.Use
		var wrote int
		var at int64
		if err := rows.Scan(&use.Run, &wrote, &use.Kind, &use.Connection, &use.Name, &at); err != nil {
			return nil, problem.WrapAs(problem.Unavailable, err, "looking for the lineage of run %s", id)
		}
		use.Wrote, use.At = wrote == 1, fromMicros(at)
		use.Connection, use.Owner, _ = strings.Cut(use.Connection, "/")
		all = append(all, use)
	}
	return all, problem.WrapAs(problem.Unavailable, rows.Err(), "looking for the lineage of run %s", id)
}

// RunsOfDataset implements run.Store.
func (d *DB) RunsOfDataset(ctx context.Context, s run.Dataset, wrote bool, limit int) ([]run.Run, []time.Time, error) {
	rows, err := d.read.QueryContext(ctx, `SELECT run, at FROM lineage WHERE kind = ? AND place IN (?, ?) AND name = ? AND wrote = ? ORDER BY run DESC LIMIT ?`,
		string(s.Kind), s.Connection, s.Connection+"/"+s.Owner, s.Name, flag(wrote), limit)
	if err != nil {
		return nil, nil, problem.WrapAs(problem.Unavailable, err, "looking for the runs of %s", s.Name)
	}
	defer rows.Close()
	at := map[string]time.Time{}
	var ids []any
	for rows.Next() {
		var id string
		var when int64
		if err := rows.Scan(&id, &when); err != nil {
			return nil, nil, problem.WrapAs(problem.Unavailable, err, "looking for the runs of %s", s.Name)
		}
		ids, at[id] = append(ids, id), fromMicros(when)
	}
	if err := rows.Err(); err != nil || len(ids) == 0 {
		return nil, nil, problem.WrapAs(problem.Unavailable, err, "looking for the runs of %s", s.Name)
	}
	all, err := d.runs(ctx, `SELECT `+runColumns+` FROM runs WHERE id IN (`+marks(len(ids))+`) ORDER BY id DESC`, ids...)
	times := make([]time.Time, len(all))
	for i, r := range all {
		times[i] = at[r.ID]
	}
	return all, times, err
}

// TakeLineage returns up to limit runs whose lineage is to be exported now, and
// makes them due again at until.
func (d *DB) TakeLineage(ctx context.Context, now, until time.Time, limit int) (ids []string, tries []int, err error) {
	var due bool
	err = d.read.QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM lineage_outbox WHERE due <= ?)`, micros(now)).Scan(&due)
	if err != nil || !due {
		return nil, nil, problem.WrapAs(problem.Unavailable, err, "looking for lineage to export")
	}
	err = d.tx(ctx, func(tx *sql.Tx) error {
		rows, err := tx.QueryContext(ctx, `UPDATE lineage_outbox SET due = ?, tries = tries + 1
			WHERE run IN (SELECT run FROM lineage_outbox WHERE due <= ? ORDER BY due LIMIT ?) RETURNING run, tries`, micros(until), micros(now), limit)
		if err != nil {
			return problem.WrapAs(problem.Unavailable, err, "taking lineage to export")
		}
		defer rows.Close()
		for rows.Next() {
			var id string
			var n int
			if err := rows.Scan(&id, &n); err != nil {
				return problem.WrapAs(problem.Unavailable, err, "taking lineage to export")
			}
			ids, tries = append(ids, id), append(tries, n)
		}
		return problem.WrapAs(problem.Unavailable, rows.Err(), "taking lineage to export")
	})
	return ids, tries, err
}

// PutLineage says that the lineage of a run was exported, or with a time that it
// is to be tried again then.
func (d *DB) PutLineage(ctx context.Context, id string, again time.Time) error {
	text, args := `DELETE FROM lineage_outbox WHERE run = ?`, []any{id}
	if !again.IsZero() {
		text, args = `UPDATE lineage_outbox SET due = ? WHERE run = ?`, []any{micros(again), id}
	}
	return d.tx(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, text, args...)
		return problem.WrapAs(problem.Unavailable, err, "noting the export of run %s", id)
	})
}

package db

import (
	"context"
	"database/sql"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"quire/internal/problem"
	"quire/internal/query"
	"quire/internal/run"
	"quire/internal/schedule"
)

// putWatches notes which files a schedule waits for. What was seen of those that
// it waited for before stays.
func (d *DB) putWatches(ctx context.Context, tx *sql.Tx, s schedule.Schedule) error {
	sources := slices.DeleteFunc(s.Definition.Sources(), func(source string) bool { return !schedule.FileSource(source) })
	for _, table := range []string{"schedule_watches", "schedule_files"} {
		text, args := `DELETE FROM `+table+` WHERE schedule = ?`, []any{s.ID}
		if len(sources) > 0 {
			text += ` AND source NOT IN (` + marks(len(sources)) + `)`
			for _, source := range sources {
				args = append(args, source)
			}
		}
		if _, err := tx.ExecContext(ctx, text, args...); err != nil {
			return problem.WrapAs(problem.Unavailable, err, "noting what schedule %s waits for", s.Name)
		}
	}
	var rows [][]any
	for _, source := range sources {
		rows = append(rows, []any{s.ID, source, micros(s.Updated), 0})
	}
	return d.insertRows(ctx, tx, "what schedules wait for", `INSERT INTO schedule_watches (schedule, source, since, looked)`, `ON CONFLICT DO NOTHING`, rows, nil)
}

// Watches implements schedule.Store.
func (d *DB) Watches(ctx context.Context) ([]schedule.Watch, error) {
	rows, err := d.read.QueryContext(ctx, `SELECT w.schedule, w.source, s.body FROM schedule_watches w JOIN schedules s ON s.id = w.schedule ORDER BY s.name, w.source`)
	if err != nil {
		return nil, problem.WrapAs(problem.Unavailable, err, "looking for what schedules wait for")
	}
	defer rows.Close()
	var all []schedule.Watch
	for rows.Next() {
		var w schedule.Watch
		var body string
		var s struct {
			Name   string `json:"name"`
			Owner  string `json:"owner"`
			Paused bool   `json:"paused"`
		}
		if err = rows.Scan(&w.Schedule, &w.Source, &body); err == nil {
			err = json.Unmarshal([]byte(body), &s)
		}
		if err != nil {
			return nil, problem.WrapAs(problem.Unavailable, err, "looking for what schedules wait for")
		}
		w.Name, w.Owner = s.Name, s.Owner
		all = append(all, w)
	}
	return all, problem.WrapAs(problem.Unavailable, rows.Err(), "looking for what schedules wait for")
}

// Arrive implements schedule.Store. Most looks find nothing new: they write
// nothing.
func (d *DB) Arrive(ctx context.Context, w schedule.Watch, files []schedule.File, now time.Time) (arrived int, err error) {
	looked, _, seen, err := seenFiles(ctx, d.read, w)
	if err != nil || looked && sameFiles(seen, files) {
		return 0, err
	}
	err = d.tx(ctx, func(tx *sql.Tx) error {
		arrived = 0
		looked, since, seen, err := seenFiles(ctx, tx, w)
		if problem.Is(err, problem.NotFound) {
			return nil // it waits for it no more
		}
		if err != nil {
			return err
		}
		var rows [][]any
		for _, f := range files {
			version, there := seen[f.Path]
			delete(seen, f.Path)
			if there && version == f.Version {
				continue
			}
			rows = append(rows, []any{w.Schedule, w.Source, f.Path, f.Version})
			if !f.Modified.After(since) && (!looked || f.Modified.After(since.Add(-2*schedule.Settled))) {
				continue // it was there before, or had not settled when it was
			}
			one, err := f.Signal(w.Source, now)
			if err != nil {
				return err
			}
			arrived++
			if err := emitTo(ctx, tx, w.Schedule, one); err != nil {
				return err
			}
		}
		for path := range seen { // what is gone
			if _, err := tx.ExecContext(ctx, `DELETE FROM schedule_files WHERE schedule = ? AND source = ? AND path = ?`, w.Schedule, w.Source, path); err != nil {
				return problem.WrapAs(problem.Unavailable, err, "noting the files of schedule %s", w.Name)
			}
		}
		if err := d.insertRows(ctx, tx, "files", `INSERT INTO schedule_files (schedule, source, path, version)`, `ON CONFLICT (schedule, source, path) DO UPDATE SET version = excluded.version`, rows, nil); err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, `UPDATE schedule_watches SET looked = 1 WHERE schedule = ? AND source = ?`, w.Schedule, w.Source)
		return problem.WrapAs(problem.Unavailable, err, "noting the files of schedule %s", w.Name)
	})
	return arrived, err
}

// seenFiles reads the versions of the files that were there, by path.
func seenFiles(ctx context.Context, q asker, w schedule.Watch) (looked bool, since time.Time, seen map[string]string, err error) {
	var at int64
	err = q.QueryRowContext(ctx, `SELECT looked, since FROM schedule_watches WHERE schedule = ? AND source = ?`, w.Schedule, w.Source).Scan(&looked, &at)
	if err := one(err, "what schedule %s waits for", w.Name); err != nil {
		return false, since, nil, err
	}
	rows, err := q.QueryContext(ctx, `SELECT path, version FROM schedule_files WHERE schedule = ? AND source = ?`, w.Schedule, w.Source)
	if err != nil {
		return false, since, nil, problem.WrapAs(problem.Unavailable, err, "looking for the files of schedule %s", w.Name)
	}
	defer rows.Close()
	seen = map[string]string{}
	for rows.Next() {
		var path, version string
		if err := rows.Scan(&path, &version); err != nil {
			return false, since, nil, problem.WrapAs(problem.Unavailable, err, "looking for the files of schedule %s", w.Name)
		}
		seen[path] = version
	}
	return looked, fromMicros(at), seen, problem.WrapAs(problem.Unavailable, rows.Err(), "looking for the files of schedule %s", w.Name)
}

func sameFiles(seen map[string]string, files []schedule.File) bool {
	return len(seen) == len(files) && !slices.ContainsFunc(files, func(f schedule.File) bool { return seen[f.Path] != f.Version })
}

// emitTables tells the schedules that wait for them of the tables that a run
// wrote which succeeded.
func emitTables(ctx context.Context, tx *sql.Tx, r run.Run) error {
	if r.State != run.Succeeded {
		return nil
	}
	rows, err := tx.QueryContext(ctx, `SELECT l.place, l.name FROM lineage l WHERE l.run = ? AND l.kind = ? AND l.wrote = 1
		AND EXISTS (SELECT 1 FROM schedule_waits w WHERE w.source = 'table/' || l.name) LIMIT 1000`, r.ID, string(run.Table))
	if err != nil {
		return problem.WrapAs(problem.Unavailable, err, "looking for the tables of run %s", r.ID)
	}
	var found [][2]string
	for rows.Next() && err == nil {
		var one [2]string
		err = rows.Scan(&one[0], &one[1])
		found = append(found, one)
	}
	if err == nil {
		err = rows.Err()
	}
	if closed := rows.Close(); err == nil {
		err = closed
	}
	if err != nil {
		return problem.WrapAs(problem.Unavailable, err, "looking for the tables of run %s", r.ID)
	}
	for _, one := range found {
		if err := emitTable(ctx, tx, tableWritten{place: one[0], name: one[1], id: r.ID, user: r.Owner, run: r.ID, notebook: r.Notebook, schedule: scheduleOf(r), at: r.Finished}); err != nil {
			return err
		}
	}
	return nil
}

// emitQuery tells of the tables that a statement outside of runs wrote; those of
// a run count when it succeeds, which may be before its statement is recorded.
func emitQuery(ctx context.Context, tx *sql.Tx, q query.Query) error {
	if q.State != query.Succeeded || len(q.Tables[query.Wrote]) == 0 {
		return nil
	}
	if q.Run != "" {
		r, err := scanRun(tx.QueryRowContext(ctx, `SELECT `+runColumns+` FROM runs WHERE id = ? AND owner = ?`, q.Run, q.User))
		if err := one(err, "run %s", q.Run); err == nil {
			return emitTables(ctx, tx, r)
		} else if !problem.Is(err, problem.NotFound) {
			return err
		}
	}
	for _, name := range q.Tables[query.Wrote] {
		if err := emitTable(ctx, tx, tableWritten{place: placeOf(q), name: name, id: q.ID, user: q.User, notebook: q.Notebook, at: q.Ended}); err != nil {
			return err
		}
	}
	return nil
}

// A tableWritten says that a table was written.
type tableWritten struct {
	place, name   string // as lineage has them
	id            string // of the run or statement
	user          string
	run, notebook string
	schedule      string // whose run it was
	at            time.Time
}

// emitTable tells the schedules that wait for a table. One of a catalog that
// somebody has alone is for their schedules only.
func emitTable(ctx context.Context, tx *sql.Tx, t tableWritten) error {
	connection, owner, _ := strings.Cut(t.place, "/")
	values := map[string]json.RawMessage{}
	for name, value := range map[string]string{"table": t.name, "connection": connection, "user": t.user, "run": t.run, "notebook": t.notebook, "schedule": t.schedule} {
		data, err := json.Marshal(value)
		if err != nil {
			return err
		}
		values[name] = data
	}
	signal := schedule.Signal{ID: t.place + "/" + t.id, Source: schedule.TableSource(t.name), At: t.at, Values: values}
	waiting, err := bodies[schedule.Schedule](ctx, tx, "schedules", `SELECT s.body FROM schedule_waits w JOIN schedules s ON s.id = w.schedule WHERE w.source = ?`, signal.Source)
	if err != nil {
		return err
	}
	for _, s := range waiting {
		if owner != "" && s.Owner != owner {
			continue
		}
		if err := emitTo(ctx, tx, s.ID, signal); err != nil {
			return err
		}
	}
	return nil
}

// emitTo adds a signal for one schedule, where it is there.
func emitTo(ctx context.Context, tx *sql.Tx, id string, s schedule.Signal) error {
	s.ID = s.Source + "/" + s.ID
	body, err := json.Marshal(s)
	if err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, `INSERT INTO signals (schedule, id, state, at, body)
		SELECT id, CAST(? AS TEXT), 'new', CAST(? AS BIGINT), CAST(? AS TEXT) FROM schedules WHERE id = ? ON CONFLICT DO NOTHING`,
		s.ID, micros(s.At), string(body), id)
	return problem.WrapAs(problem.Unavailable, err, "telling of %s", s.Source)
}

// scheduleOf is the name of the schedule that asked for a run; "" when none did.
func scheduleOf(r run.Run) string {
	for _, tag := range r.Tags {
		if name, ok := strings.CutPrefix(tag, "schedule:"); ok {
			return name
		}
	}
	return ""
}

// placeOf is where the tables of a statement are. On DuckDB everybody has a
// catalog of their own.
func placeOf(q query.Query) string {
	if q.Engine == "duckdb" {
		return q.Connection + "/" + q.User
	}
	return q.Connection
}

package db

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"time"

	"quire/internal/job"
	"quire/internal/problem"
)

var _ job.Store = (*DB)(nil)

// CreateJob implements job.Store.
func (d *DB) CreateJob(ctx context.Context, w job.Whole) (created job.Job, err error) {
	created = w.Job
	err = d.tx(ctx, func(tx *sql.Tx) error {
		j := w.Job
		body, err := json.Marshal(j)
		if err != nil {
			return err
		}
		done, err := tx.ExecContext(ctx, `INSERT INTO jobs (id, user_name, state, capacity_group, group_key, idempotency, version, created, finished, body, purpose)
			VALUES (?, ?, ?, ?, ?, ?, ?, ?, 0, ?, ?) ON CONFLICT DO NOTHING`,
			j.ID, j.User, string(j.Status.State), j.Descriptor.Group(), j.Descriptor.Key(), j.IdempotencyHash, j.Version, j.Created, string(body), j.Extras.Purpose)
		if err != nil {
			return problem.WrapAs(problem.Unavailable, err, "keeping job %s", j.ID)
		}
		if n, err := done.RowsAffected(); err == nil && n == 0 {
			created, err = taken(ctx, tx, j)
			return err
		}
		return putTasks(ctx, tx, w.Tasks)
	})
	return created, err
}

// taken returns the job that is there already for a key: the same request
// before, or else an error, for another job of the same group.
func taken(ctx context.Context, tx *sql.Tx, j job.Job) (job.Job, error) {
	if j.IdempotencyHash != "" {
		old, err := scanJob(tx.QueryRowContext(ctx, `SELECT body FROM jobs WHERE user_name = ? AND idempotency = ?`, j.User, j.IdempotencyHash))
		if err = one(err, "the job of this idempotency key"); !problem.Is(err, problem.NotFound) {
			return old, err
		}
	}
	var id string
	err := tx.QueryRowContext(ctx, `SELECT id FROM jobs WHERE group_key = ? AND finished = 0`, j.Descriptor.Key()).Scan(&id)
	if err := one(err, "the job of group %s", j.Descriptor.Key()); err != nil {
		return job.Job{}, err
	}
	return job.Job{}, problem.New(problem.Exists, "job %s is active and has the same jobGroupInfo, %s", id, j.Descriptor.Key())
}

func putTasks(ctx context.Context, tx *sql.Tx, tasks []job.Task) error {
	for _, t := range tasks {
		body, err := json.Marshal(t)
		if err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, `INSERT INTO tasks (id, job, position, replaced, created, body) VALUES (?, ?, ?, ?, ?, ?)
			ON CONFLICT (id) DO UPDATE SET job = excluded.job, position = excluded.position, replaced = excluded.replaced, body = excluded.body`,
			t.ID, t.JobID, t.Index, t.Replaced, t.Version, string(body))
		if err != nil {
			return problem.WrapAs(problem.Unavailable, err, "keeping task %s", t.ID)
		}
	}
	return nil
}

// SaveJobs implements job.Store.
func (d *DB) SaveJobs(ctx context.Context, all ...job.Saved) error {
	return d.tx(ctx, func(tx *sql.Tx) error {
		for _, one := range all {
			j := one.Job
			body, err := json.Marshal(j)
			if err != nil {
				return err
			}
			var finished int64
			if j.Status.State == job.Finished {
				finished = max(j.Status.Timestamp, 1)
			}
			res, err := tx.ExecContext(ctx, `UPDATE jobs SET state = ?, version = ?, finished = ?, body = ? WHERE id = ? AND version = ?`,
				string(j.Status.State), j.Version, finished, string(body), j.ID, one.Before)
			if err != nil {
				return problem.WrapAs(problem.Unavailable, err, "changing job %s", j.ID)
			}
			if n, err := res.RowsAffected(); err != nil || n != 1 {
				return problem.New(problem.Unavailable, "job %s was changed by another server meanwhile", j.ID)
			}
			if err := putTasks(ctx, tx, one.Tasks); err != nil {
				return err
			}
		}
		return nil
	})
}

func scanJob(row interface{ Scan(...any) error }) (j job.Job, err error) {
	var body string
	if err := row.Scan(&body); err != nil {
		return j, err
	}
	return j, json.Unmarshal([]byte(body), &j)
}

// Job implements job.Store.
func (d *DB) Job(ctx context.Context, id string) (job.Job, error) {
	j, err := scanJob(d.read.QueryRowContext(ctx, `SELECT body FROM jobs WHERE id = ?`, id))
	return j, one(err, "job %s", id)
}

// Jobs implements job.Store.
func (d *DB) Jobs(ctx context.Context, f job.Filter) ([]job.Job, error) {
	query := `SELECT body FROM jobs WHERE TRUE`
	var args []any
	for _, c := range []struct{ condition, value string }{
		{"user_name = ?", f.User},
		{"state = ?", string(f.State)},
		{"capacity_group = ?", f.Group},
		{"purpose = ?", f.Purpose},
	} {
		if c.value != "" {
			query += " AND " + c.condition
			args = append(args, c.value)
		}
	}
	if f.Active {
		query += " AND finished = 0"
	}
	if f.After != (job.Cursor{}) {
		query += " AND (created < ? OR created = ? AND id < ?)"
		args = append(args, f.After.Created, f.After.Created, f.After.ID)
	}
	query += " ORDER BY created DESC, id DESC"
	if f.Limit > 0 {
		query += " LIMIT ?"
		args = append(args, f.Limit)
	}
	return scanAll[job.Job](ctx, d.read, "listing jobs", query, args...)
}

// Task implements job.Store.
func (d *DB) Task(ctx context.Context, id string) (t job.Task, err error) {
	var body string
	err = d.read.QueryRowContext(ctx, `SELECT body FROM tasks WHERE id = ?`, id).Scan(&body)
	if err := one(err, "task %s", id); err != nil {
		return t, err
	}
	return t, json.Unmarshal([]byte(body), &t)
}

// Tasks implements job.Store.
func (d *DB) Tasks(ctx context.Context, id string, all bool) ([]job.Task, error) {
	return scanAll[job.Task](ctx, d.read, "listing tasks",
		`SELECT body FROM tasks WHERE job = ? AND (? OR NOT replaced) ORDER BY position, created`, id, all)
}

// ActiveJobs implements job.Store.
func (d *DB) ActiveJobs(ctx context.Context) ([]job.Whole, error) {
	jobs, err := scanAll[job.Job](ctx, d.read, "listing jobs", `SELECT body FROM jobs WHERE finished = 0 ORDER BY created, id`)
	if err != nil {
		return nil, err
	}
	all := make([]job.Whole, len(jobs))
	for i, j := range jobs {
		all[i].Job = j
		if all[i].Tasks, err = d.Tasks(ctx, j.ID, false); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// DeleteJobs implements job.Store.
func (d *DB) DeleteJobs(ctx context.Context, before time.Time) (ids []string, err error) {
	err = d.tx(ctx, func(tx *sql.Tx) error {
		rows, err := tx.QueryContext(ctx, `SELECT id FROM tasks WHERE job IN (SELECT id FROM jobs WHERE finished > 0 AND finished < ?)`, before.UnixMilli())
		if err != nil {
			return problem.WrapAs(problem.Unavailable, err, "removing old jobs")
		}
		if ids, err = column[string](rows); err != nil {
			return problem.WrapAs(problem.Unavailable, err, "removing old jobs")
		}
		_, err = tx.ExecContext(ctx, `DELETE FROM jobs WHERE finished > 0 AND finished < ?`, before.UnixMilli())
		return problem.WrapAs(problem.Unavailable, err, "removing old jobs")
	})
	return ids, err
}

// column reads rows of one column to their end.
func column[T any](rows *sql.Rows) (all []T, err error) {
	defer rows.Close()
	for rows.Next() {
		var v T
		if err := rows.Scan(&v); err != nil {
			return nil, err
		}
		all = append(all, v)
	}
	return all, errors.Join(rows.Err(), rows.Close())
}

// scanAll reads rows of one column, a JSON object each.
func scanAll[T any](ctx context.Context, handle *sql.DB, doing, query string, args ...any) ([]T, error) {
	rows, err := handle.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, problem.WrapAs(problem.Unavailable, err, "%s", doing)
	}
	defer rows.Close()
	var all []T
	for rows.Next() {
		var body string
		var v T
		if err := rows.Scan(&body); err != nil {
			return nil, problem.WrapAs(problem.Unavailable, err, "%s", doing)
		}
		if err := json.Unmarshal([]byte(body), &v); err != nil {
			return nil, problem.WrapAs(problem.Internal, err, "%s", doing)
		}
		all = append(all, v)
	}
	return all, problem.WrapAs(problem.Unavailable, rows.Err(), "%s", doing)
}

package db

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"slices"
	"time"

	"quire/internal/fault"
	"quire/internal/problem"
	"quire/internal/run"
)

var _ run.Store = (*DB)(nil)

const runColumns = `id, owner, notebook, version, source, parameters, kernel, tags, priority, timeout, retries,
	state, reason, attempt, lost, cancelled, created, not_before, started, finished, result, published, retry_of, idempotency,
	container, used, template, template_version, notify, git, tested, output, output_problem, secrets`

const insertRun = `INSERT INTO runs (` + runColumns + `)
	VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`

func scanRun(row interface{ Scan(...any) error }) (run.Run, error) {
	var r run.Run
	var parameters, tags, result, container, used, told, git, secrets string
	var created, notBefore, started, finished int64
	err := row.Scan(&r.ID, &r.Owner, &r.Notebook, &r.Version, &r.Source, &parameters, &r.Kernel, &tags, &r.Priority,
		&r.TimeoutSeconds, &r.Retries, &r.State, &r.Reason, &r.Attempt, &r.Lost, &r.CancelledBy, &created, &notBefore,
		&started, &finished, &result, &r.Published, &r.RetryOf, &r.IdempotencyHash,
		&container, &used, &r.Template, &r.TemplateVersion, &told, &git, &r.Tested, &r.Output, &r.OutputProblem, &secrets)
	if err != nil {
		return r, err
	}
	r.Parameters = json.RawMessage(parameters)
	if result != "" {
		r.Result = json.RawMessage(result)
	}
	r.Created, r.NotBefore, r.Started, r.Finished = fromMicros(created), fromMicros(notBefore), fromMicros(started), fromMicros(finished)
	if err := errors.Join(optional(container, &r.Container), optional(used, &r.Used), optional(told, &r.Notify), optional(git, &r.Git), optional(secrets, &r.Secrets)); err != nil {
		return r, err
	}
	return r, json.Unmarshal([]byte(tags), &r.Tags)
}

// optional reads JSON that may not be there.
func optional(text string, v any) error {
	if text == "" {
		return nil
	}
	return json.Unmarshal([]byte(text), v)
}

// optionalText is the JSON of what may not be there: plain numbers and times,
// which always have one.
func optionalText(there bool, v any) string {
	if !there {
		return ""
	}
	text, err := json.Marshal(v)
	if err != nil {
		return ""
	}
	return string(text)
}

func runValues(r run.Run) ([]any, error) {
	tags := r.Tags
	if tags == nil {
		tags = []string{}
	}
	text, err := json.Marshal(tags)
	container, used := optionalText(r.Container != nil, r.Container), optionalText(r.Used != nil, r.Used)
	return []any{
		r.ID, r.Owner, r.Notebook, r.Version, r.Source, string(r.Parameters), r.Kernel, string(text), r.Priority,
		r.TimeoutSeconds, r.Retries, string(r.State), r.Reason, r.Attempt, r.Lost, r.CancelledBy, micros(r.Created),
		micros(r.NotBefore), micros(r.Started), micros(r.Finished), string(r.Result), r.Published, r.RetryOf, r.IdempotencyHash,
		container, used, r.Template, r.TemplateVersion, optionalText(len(r.Notify) > 0, r.Notify),
		optionalText(r.Git != nil, r.Git), r.Tested, r.Output, r.OutputProblem, optionalText(len(r.Secrets) > 0, r.Secrets),
	}, err
}

// CreateRun implements run.Store.
func (d *DB) CreateRun(ctx context.Context, r run.Run) (run.Run, error) {
	values, err := runValues(r)
	if err != nil {
		return run.Run{}, err
	}
	if fault.On(fault.AckRunEarly) {
		go func() {
			time.Sleep(50 * time.Millisecond)
			_, _ = d.write.ExecContext(context.WithoutCancel(ctx), insertRun, values...)
		}()
		return r, nil
	}
	_, err = d.write.ExecContext(ctx, insertRun, values...)
	if err != nil && d.dialect.Unique(err) && r.IdempotencyHash != "" {
		row := d.read.QueryRowContext(ctx, `SELECT `+runColumns+` FROM runs WHERE owner = ? AND idempotency = ?`, r.Owner, r.IdempotencyHash)
		old, err := scanRun(row)
		return old, one(err, "the run of this idempotency key")
	}
	return r, problem.WrapAs(problem.Unavailable, err, "queueing run %s", r.ID)
}

// Run implements run.Store.
func (d *DB) Run(ctx context.Context, id string) (run.Run, error) {
	r, err := scanRun(d.read.QueryRowContext(ctx, `SELECT `+runColumns+` FROM runs WHERE id = ?`, id))
	return r, one(err, "run %s", id)
}

// Runs implements run.Store.
func (d *DB) Runs(ctx context.Context, f run.Filter) ([]run.Run, error) {
	query := `SELECT ` + runColumns + ` FROM runs WHERE TRUE`
	var args []any
	for _, c := range []struct {
		column, value string
	}{{"owner = ?", f.Owner}, {"notebook = ?", f.Notebook}, {"template = ?", f.Template}, {"state = ?", string(f.State)}, {"id < ?", f.Before}} {
		if c.value != "" {
			query += " AND " + c.column
			args = append(args, c.value)
		}
	}
	if f.Tag != "" {
		tag, err := json.Marshal(f.Tag)
		if err != nil {
			return nil, err
		}
		query += " AND instr(tags, ?) > 0"
		args = append(args, string(tag))
	}
	return d.runs(ctx, query+` ORDER BY id DESC LIMIT ?`, append(args, f.Limit)...)
}

// LastRuns implements run.Store.
func (d *DB) LastRuns(ctx context.Context, notebooks []string) (map[string]run.Run, error) {
	last := map[string]run.Run{}
	for batch := range slices.Chunk(notebooks, rowsAtOnce) {
		args := make([]any, len(batch))
		for i, path := range batch {
			args[i] = path
		}
		all, err := d.runs(ctx, `SELECT `+runColumns+` FROM runs
			WHERE id IN (SELECT MAX(id) FROM runs WHERE notebook IN (`+marks(len(batch))+`) GROUP BY notebook)`, args...)
		if err != nil {
			return nil, err
		}
		for _, r := range all {
			last[r.Notebook] = r
		}
	}
	return last, nil
}

// Unpublished implements run.Store.
func (d *DB) Unpublished(ctx context.Context) ([]run.Run, error) {
	return d.runs(ctx, `SELECT `+runColumns+` FROM runs
		WHERE NOT published AND state NOT IN ('queued', 'starting', 'running') ORDER BY id LIMIT 1000`)
}

func (d *DB) runs(ctx context.Context, query string, args ...any) ([]run.Run, error) {
	rows, err := d.read.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, problem.WrapAs(problem.Unavailable, err, "listing runs")
	}
	defer rows.Close()
	var all []run.Run
	for rows.Next() {
		r, err := scanRun(rows)
		if err != nil {
			return nil, problem.WrapAs(problem.Unavailable, err, "listing runs")
		}
		all = append(all, r)
	}
	return all, problem.WrapAs(problem.Unavailable, rows.Err(), "listing runs")
}

// CountRuns implements run.Store.
func (d *DB) CountRuns(ctx context.Context) (map[run.State]int, error) {
	rows, err := d.read.QueryContext(ctx, `SELECT state, COUNT(*) FROM runs WHERE state IN ('queued', 'starting', 'running') GROUP BY state`)
	if err != nil {
		return nil, problem.WrapAs(problem.Unavailable, err, "counting runs")
	}
	defer rows.Close()
	counts := map[run.State]int{}
	for rows.Next() {
		var state run.State
		var n int
		if err := rows.Scan(&state, &n); err != nil {
			return nil, problem.WrapAs(problem.Unavailable, err, "counting runs")
		}
		counts[state] = n
	}
	return counts, problem.WrapAs(problem.Unavailable, rows.Err(), "counting runs")
}

const attemptColumns = `run, number, fence, state, reason, claimed, started, finished, lease`

// Attempts implements run.Store.
func (d *DB) Attempts(ctx context.Context, id string) ([]run.Attempt, error) {
	return d.attempts(ctx, `SELECT `+attemptColumns+` FROM attempts WHERE run = ? ORDER BY number`, id)
}

// Live implements run.Store.
func (d *DB) Live(ctx context.Context) ([]run.Attempt, error) {
	return d.attempts(ctx, `SELECT `+attemptColumns+` FROM attempts WHERE state IN ('starting', 'running') ORDER BY run`)
}

func (d *DB) attempts(ctx context.Context, query string, args ...any) ([]run.Attempt, error) {
	rows, err := d.read.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, problem.WrapAs(problem.Unavailable, err, "listing attempts")
	}
	defer rows.Close()
	var all []run.Attempt
	for rows.Next() {
		var a run.Attempt
		var claimed, started, finished, lease int64
		if err := rows.Scan(&a.Run, &a.Number, &a.Fence, &a.State, &a.Reason, &claimed, &started, &finished, &lease); err != nil {
			return nil, problem.WrapAs(problem.Unavailable, err, "listing attempts")
		}
		a.Claimed, a.Started, a.Finished, a.Lease = fromMicros(claimed), fromMicros(started), fromMicros(finished), fromMicros(lease)
		all = append(all, a)
	}
	return all, problem.WrapAs(problem.Unavailable, rows.Err(), "listing attempts")
}

// Claim implements run.Store.
func (d *DB) Claim(ctx context.Context, fence string, now, lease time.Time, permits int) (r run.Run, a run.Attempt, ok bool, err error) {
	// A look without the write lock first: usually there is nothing to do.
	var due bool
	err = d.read.QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM runs WHERE state = 'queued' AND not_before <= ?)`, micros(now)).Scan(&due)
	if err != nil || !due {
		return r, a, false, problem.WrapAs(problem.Unavailable, err, "looking for work")
	}
	err = d.tx(ctx, func(tx *sql.Tx) error {
		var live int
		if err := tx.QueryRowContext(ctx, `SELECT COUNT(*) FROM attempts WHERE state IN ('starting', 'running')`).Scan(&live); err != nil {
			return problem.WrapAs(problem.Unavailable, err, "looking for work")
		}
		if live >= permits {
			return nil
		}
		r, err = scanRun(tx.QueryRowContext(ctx, `SELECT `+runColumns+` FROM runs
			WHERE state = 'queued' AND not_before <= ? ORDER BY priority DESC, id LIMIT 1`, micros(now)))
		if errors.Is(err, sql.ErrNoRows) {
			return nil
		}
		if err != nil {
			return problem.WrapAs(problem.Unavailable, err, "looking for work")
		}
		r.State, r.Attempt, ok = run.Starting, r.Attempt+1, true
		a = run.Attempt{Run: r.ID, Number: r.Attempt, Fence: fence, State: run.Starting, Claimed: now, Lease: lease}
		_, err = tx.ExecContext(ctx, `INSERT INTO attempts (`+attemptColumns+`) VALUES (?, ?, ?, ?, '', ?, 0, 0, ?)`,
			a.Run, a.Number, a.Fence, string(a.State), micros(a.Claimed), micros(a.Lease))
		if err != nil {
			return problem.WrapAs(problem.Unavailable, err, "starting an attempt of run %s", r.ID)
		}
		return putRun(ctx, tx, r)
	})
	return r, a, ok && err == nil, err
}

func putRun(ctx context.Context, tx *sql.Tx, r run.Run) error {
	_, err := tx.ExecContext(ctx, `UPDATE runs SET state = ?, reason = ?, attempt = ?, lost = ?, cancelled = ?, not_before = ?,
		started = ?, finished = ?, result = ?, published = ?, used = ?, output_problem = ? WHERE id = ?`,
		string(r.State), r.Reason, r.Attempt, r.Lost, r.CancelledBy, micros(r.NotBefore), micros(r.Started), micros(r.Finished),
		string(r.Result), r.Published, optionalText(r.Used != nil, r.Used), r.OutputProblem, r.ID)
	return problem.WrapAs(problem.Unavailable, err, "changing run %s", r.ID)
}

// fenced returns the run of an attempt when the attempt is the newest, lives,
// and is the caller's.
func fenced(ctx context.Context, tx *sql.Tx, a run.Attempt) (run.Run, error) {
	r, err := scanRun(tx.QueryRowContext(ctx, `SELECT `+runColumns+` FROM runs WHERE id = ?`, a.Run))
	if err := one(err, "run %s", a.Run); err != nil {
		return r, err
	}
	var fence, state string
	err = tx.QueryRowContext(ctx, `SELECT fence, state FROM attempts WHERE run = ? AND number = ?`, a.Run, a.Number).Scan(&fence, &state)
	if err := one(err, "attempt %d of run %s", a.Number, a.Run); err != nil {
		return r, err
	}
	if r.Attempt != a.Number || fence != a.Fence || run.State(state).Ended() || r.State.Ended() {
		return r, problem.New(problem.Conflict, "attempt %d of run %s is not the one that counts", a.Number, a.Run)
	}
	return r, nil
}

func putAttempt(ctx context.Context, tx *sql.Tx, a run.Attempt) error {
	_, err := tx.ExecContext(ctx, `UPDATE attempts SET state = ?, reason = ?, started = ?, finished = ?, lease = ? WHERE run = ? AND number = ?`,
		string(a.State), a.Reason, micros(a.Started), micros(a.Finished), micros(a.Lease), a.Run, a.Number)
	return problem.WrapAs(problem.Unavailable, err, "changing attempt %d of run %s", a.Number, a.Run)
}

// Advance implements run.Store.
func (d *DB) Advance(ctx context.Context, a run.Attempt) error {
	return d.tx(ctx, func(tx *sql.Tx) error {
		r, err := fenced(ctx, tx, a)
		if err != nil {
			return err
		}
		if err := putAttempt(ctx, tx, a); err != nil {
			return err
		}
		if r.State == a.State {
			return nil
		}
		r.State, r.Started = a.State, a.Started
		return putRun(ctx, tx, r)
	})
}

// Complete implements run.Store.
func (d *DB) Complete(ctx context.Context, a run.Attempt, next func(run.Run) run.Run) (r run.Run, err error) {
	err = d.tx(ctx, func(tx *sql.Tx) error {
		if r, err = fenced(ctx, tx, a); err != nil {
			return err
		}
		if err := putAttempt(ctx, tx, a); err != nil {
			return err
		}
		r = next(r)
		return errors.Join(putRun(ctx, tx, r), d.endRun(ctx, tx, r))
	})
	return r, err
}

// ChangeRun implements run.Store.
func (d *DB) ChangeRun(ctx context.Context, id string, change func(run.Run) (run.Run, error)) (r run.Run, err error) {
	err = d.tx(ctx, func(tx *sql.Tx) error {
		r, err = scanRun(tx.QueryRowContext(ctx, `SELECT `+runColumns+` FROM runs WHERE id = ?`, id))
		if err := one(err, "run %s", id); err != nil {
			return err
		}
		ended := r.State.Ended()
		if r, err = change(r); err != nil {
			return err
		}
		if err := putRun(ctx, tx, r); err != nil || ended {
			return err
		}
		return d.endRun(ctx, tx, r)
	})
	return r, err
}

// DeleteRuns implements run.Store.
func (d *DB) DeleteRuns(ctx context.Context, before time.Time) (ids []string, err error) {
	err = d.tx(ctx, func(tx *sql.Tx) error {
		rows, err := tx.QueryContext(ctx, `DELETE FROM runs WHERE published AND finished > 0 AND finished < ? RETURNING id`, micros(before))
		if err != nil {
			return problem.WrapAs(problem.Unavailable, err, "removing old runs")
		}
		defer rows.Close()
		for rows.Next() {
			var id string
			if err := rows.Scan(&id); err != nil {
				return problem.WrapAs(problem.Unavailable, err, "removing old runs")
			}
			ids = append(ids, id)
		}
		return problem.WrapAs(problem.Unavailable, rows.Err(), "removing old runs")
	})
	return ids, err
}

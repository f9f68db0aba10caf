package db

import (
	"context"
	"database/sql"
	"encoding/json"
	"time"

	"quire/internal/notify"
	"quire/internal/problem"
)

var _ notify.Store = (*DB)(nil)

// addNotices records notices; one that is recorded already stands.
func addNotices(ctx context.Context, tx *sql.Tx, all []notify.Notice) error {
	for _, n := range all {
		body, err := json.Marshal(n)
		if err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, `INSERT INTO notices (id, schedule, state, together, due, created, body) VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING`,
			n.ID, n.Fact.About(), string(n.State), n.Group, micros(n.Due), micros(n.Created), string(body))
		if err != nil {
			return problem.WrapAs(problem.Unavailable, err, "recording a notice")
		}
	}
	return nil
}

// TakeNotices implements notify.Store.
func (d *DB) TakeNotices(ctx context.Context, now, until time.Time, limit int) ([]notify.Notice, error) {
	// A look without the write lock first: usually there is nothing to do.
	var due bool
	err := d.read.QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM notices WHERE state = 'pending' AND due <= ?)`, micros(now)).Scan(&due)
	if err != nil || !due {
		return nil, problem.WrapAs(problem.Unavailable, err, "looking for notices")
	}
	var taken []notify.Notice
	err = d.tx(ctx, func(tx *sql.Tx) error {
		var err error
		taken, err = bodies[notify.Notice](ctx, tx, "notices",
			`SELECT body FROM (SELECT body, together, due, id FROM notices WHERE state = 'pending' AND due <= ? ORDER BY due, id LIMIT ?) AS soon ORDER BY together, due, id`,
			micros(now), limit)
		if err != nil {
			return err
		}
		for _, n := range taken {
			if _, err := tx.ExecContext(ctx, `UPDATE notices SET due = ? WHERE id = ?`, micros(until), n.ID); err != nil {
				return problem.WrapAs(problem.Unavailable, err, "taking a notice")
			}
		}
		return nil
	})
	return taken, err
}

// PutNotice implements notify.Store.
func (d *DB) PutNotice(ctx context.Context, n notify.Notice) error {
	body, err := json.Marshal(n)
	if err != nil {
		return err
	}
	return d.tx(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `UPDATE notices SET state = ?, due = ?, body = ? WHERE id = ?`, string(n.State), micros(n.Due), string(body), n.ID)
		return problem.WrapAs(problem.Unavailable, err, "changing notice %s", n.ID)
	})
}

// Notices implements notify.Store.
func (d *DB) Notices(ctx context.Context, schedule string, limit int) ([]notify.Notice, error) {
	return bodies[notify.Notice](ctx, d.read, "notices", `SELECT body FROM notices WHERE schedule = ? ORDER BY created DESC, id LIMIT ?`, schedule, limit)
}

// RecordNotices records notices in a transaction of their own.
func (d *DB) RecordNotices(ctx context.Context, all []notify.Notice) error {
	return d.tx(ctx, func(tx *sql.Tx) error { return addNotices(ctx, tx, all) })
}

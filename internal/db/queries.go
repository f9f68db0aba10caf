package db

import (
	"context"
	"database/sql"
	"encoding/json"
	"strings"
	"time"

	"quire/internal/problem"
	"quire/internal/query"
)

var _ query.Store = (*DB)(nil)

// PutQuery implements query.Store.
func (d *DB) PutQuery(ctx context.Context, q query.Query) error {
	body, err := json.Marshal(q)
	if err != nil {
		return err
	}
	return d.tx(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `INSERT INTO queries (id, owner, connection, state, notebook, run, submitted, statement, body)
			VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
			ON CONFLICT (id) DO UPDATE SET state = excluded.state, body = excluded.body`,
			q.ID, q.User, q.Connection, string(q.State), q.Notebook, q.Run, micros(q.Submitted), q.Statement, string(body))
		if err != nil {
			return problem.WrapAs(problem.Unavailable, err, "recording query %s", q.ID)
		}
		for side, names := range q.Tables {
			for _, name := range names {
				_, err := tx.ExecContext(ctx, `INSERT INTO query_tables (query, connection, name, wrote) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING`,
					q.ID, q.Connection, strings.ToLower(name), flag(side == query.Wrote))
				if err != nil {
					return problem.WrapAs(problem.Unavailable, err, "recording the tables of query %s", q.ID)
				}
			}
		}
		return addQueryLineage(ctx, tx, q)
	})
}

// Query implements query.Store.
func (d *DB) Query(ctx context.Context, id string) (q query.Query, err error) {
	var body string
	err = d.read.QueryRowContext(ctx, `SELECT body FROM queries WHERE id = ?`, id).Scan(&body)
	if err := one(err, "query %s", id); err != nil {
		return q, err
	}
	return q, json.Unmarshal([]byte(body), &q)
}

// Queries implements query.Store.
func (d *DB) Queries(ctx context.Context, f query.Filter) ([]query.Query, error) {
	where, args := []string{"1 = 1"}, []any{}
	add := func(condition string, value string) {
		if value != "" {
			where, args = append(where, condition), append(args, value)
		}
	}
	add("owner = ?", f.User)
	add("connection = ?", f.Connection)
	add("state = ?", string(f.State))
	add("notebook = ?", f.Notebook)
	add("run = ?", f.Run)
	add("id < ?", f.Before)
	for _, word := range strings.Fields(f.Search) {
		add(`LOWER(statement) LIKE ? ESCAPE '\'`, "%"+likeText(strings.ToLower(word))+"%")
	}
	args = append(args, f.Limit)
	return bodies[query.Query](ctx, d.read, "queries", `SELECT body FROM queries WHERE `+strings.Join(where, " AND ")+` ORDER BY id DESC LIMIT ?`, args...)
}

// likeText is a text that LIKE takes as it is.
func likeText(text string) string {
	return strings.NewReplacer(`\`, `\\`, `%`, `\%`, `_`, `\_`).Replace(text)
}

// TableQueries implements query.Store.
func (d *DB) TableQueries(ctx context.Context, connection, table string, wrote bool, limit int) ([]query.Query, error) {
	return bodies[query.Query](ctx, d.read, "queries of a table", `SELECT q.body FROM query_tables t JOIN queries q ON q.id = t.query
		WHERE t.connection = ? AND t.name = ? AND t.wrote = ? ORDER BY t.query DESC LIMIT ?`, connection, strings.ToLower(table), flag(wrote), limit)
}

// DeleteQueries implements query.Store.
func (d *DB) DeleteQueries(ctx context.Context, before time.Time) error {
	return d.tx(ctx, func(tx *sql.Tx) error {
		for _, statement := range []string{
			`DELETE FROM query_tables WHERE query IN (SELECT id FROM queries WHERE submitted < ?)`, `DELETE FROM queries WHERE submitted < ?`,
		} {
			if _, err := tx.ExecContext(ctx, statement, micros(before)); err != nil {
				return problem.WrapAs(problem.Unavailable, err, "forgetting old queries")
			}
		}
		return nil
	})
}

// flag is a condition as a number, which every database has.
func flag(b bool) int {
	if b {
		return 1
	}
	return 0
}

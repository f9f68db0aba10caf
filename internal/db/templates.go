package db

import (
	"context"
	"database/sql"
	"encoding/json"
	"time"

	"quire/internal/nbtemplate"
	"quire/internal/problem"
)

var _ nbtemplate.Store = (*DB)(nil)

// ChangeTemplate implements nbtemplate.Store.
func (d *DB) ChangeTemplate(ctx context.Context, name string,
	change func(*nbtemplate.Template) (nbtemplate.Template, *nbtemplate.Version, string, error),
) error {
	return d.tx(ctx, func(tx *sql.Tx) error {
		found, err := bodies[nbtemplate.Template](ctx, tx, "templates", `SELECT body FROM templates WHERE name = ?`, name)
		if err != nil {
			return err
		}
		var old *nbtemplate.Template
		if len(found) > 0 {
			old = &found[0]
		}
		t, add, key, err := change(old)
		if err != nil {
			return err
		}
		body, err := json.Marshal(t)
		if err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, `INSERT INTO templates (name, body) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET body = excluded.body`, name, string(body))
		if err != nil || add == nil {
			return problem.WrapAs(problem.Unavailable, err, "keeping template %s", name)
		}
		if body, err = json.Marshal(add); err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, `INSERT INTO template_versions (template, number, idempotency, body) VALUES (?, ?, ?, ?)`, name, add.Number, key, string(body))
		return problem.WrapAs(problem.Unavailable, err, "keeping version %d of template %s", add.Number, name)
	})
}

// Template implements nbtemplate.Store.
func (d *DB) Template(ctx context.Context, name string) (nbtemplate.Template, error) {
	found, err := bodies[nbtemplate.Template](ctx, d.read, "templates", `SELECT body FROM templates WHERE name = ?`, name)
	if err == nil && len(found) == 0 {
		err = problem.New(problem.NotFound, "template %s does not exist", name)
	}
	if err != nil {
		return nbtemplate.Template{}, err
	}
	return found[0], nil
}

// Templates implements nbtemplate.Store.
func (d *DB) Templates(ctx context.Context) ([]nbtemplate.Template, error) {
	return bodies[nbtemplate.Template](ctx, d.read, "templates", `SELECT body FROM templates ORDER BY name`)
}

// TemplateVersions implements nbtemplate.Store.
func (d *DB) TemplateVersions(ctx context.Context, name string) ([]nbtemplate.Version, error) {
	return bodies[nbtemplate.Version](ctx, d.read, "versions", `SELECT body FROM template_versions WHERE template = ? ORDER BY number DESC`, name)
}

// TemplateVersion implements nbtemplate.Store.
func (d *DB) TemplateVersion(ctx context.Context, name string, number int) (nbtemplate.Version, error) {
	return d.templateVersion(ctx, `SELECT body FROM template_versions WHERE template = ? AND number = ?`, name, number)
}

// KeyedVersion implements nbtemplate.Store.
func (d *DB) KeyedVersion(ctx context.Context, name, key string) (nbtemplate.Version, error) {
	return d.templateVersion(ctx, `SELECT body FROM template_versions WHERE template = ? AND idempotency = ? AND idempotency <> ''`, name, key)
}

func (d *DB) templateVersion(ctx context.Context, query, name string, arg any) (nbtemplate.Version, error) {
	found, err := bodies[nbtemplate.Version](ctx, d.read, "versions", query, name, arg)
	if err == nil && len(found) == 0 {
		err = problem.New(problem.NotFound, "template %s has no version %v", name, arg)
	}
	if err != nil {
		return nbtemplate.Version{}, err
	}
	return found[0], nil
}

// TemplateUses implements nbtemplate.Store.
func (d *DB) TemplateUses(ctx context.Context, name string, since time.Time) (map[string]nbtemplate.Use, error) {
	where, args := `template <> ''`, []any{micros(since), micros(since)}
	if name != "" {
		where, args = where+` AND template = ?`, append(args, name)
	}
	rows, err := d.read.QueryContext(ctx, `SELECT template, COUNT(*),
		COUNT(*) FILTER (WHERE finished >= ? AND state IN ('succeeded', 'failed', 'timed_out')),
		COUNT(*) FILTER (WHERE finished >= ? AND state = 'succeeded'),
		COUNT(DISTINCT owner), COALESCE(MAX(id) FILTER (WHERE state = 'succeeded'), ''), MAX(id)
		FROM runs WHERE `+where+` GROUP BY template`, args...)
	if err != nil {
		return nil, problem.WrapAs(problem.Unavailable, err, "counting the runs of templates")
	}
	defer rows.Close()
	uses, last := map[string]nbtemplate.Use{}, map[string]string{}
	for rows.Next() {
		var of, newest string
		var u nbtemplate.Use
		if err := rows.Scan(&of, &u.Runs, &u.Recent, &u.Succeeded, &u.People, &u.Good, &newest); err != nil {
			return nil, problem.WrapAs(problem.Unavailable, err, "counting the runs of templates")
		}
		uses[of], last[of] = u, newest
	}
	if err := rows.Err(); err != nil {
		return nil, problem.WrapAs(problem.Unavailable, err, "counting the runs of templates")
	}
	for of, id := range last {
		r, err := d.Run(ctx, id)
		if err != nil {
			continue // it was removed just now
		}
		u := uses[of]
		u.Last = r.Created
		uses[of] = u
	}
	return uses, nil
}

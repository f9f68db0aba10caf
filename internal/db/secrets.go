package db

import (
	"context"
	"database/sql"
	"encoding/base64"
	"time"

	"quire/internal/problem"
	"quire/internal/secret"
)

var _ secret.Store = (*DB)(nil)

const sealedColumns = `owner, name, key_id, sealed, changed, changed_by, used`

// PutSealed implements secret.Store.
func (d *DB) PutSealed(ctx context.Context, s secret.Sealed, most int) error {
	return d.tx(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `INSERT INTO secrets (`+sealedColumns+`) VALUES (?, ?, ?, ?, ?, ?, ?)
			ON CONFLICT (owner, name) DO UPDATE SET key_id = excluded.key_id, sealed = excluded.sealed, changed = excluded.changed, changed_by = excluded.changed_by`,
			s.Owner, s.Name, s.Key, base64.StdEncoding.EncodeToString(s.Data), micros(s.Changed), s.By, micros(s.Used))
		if err != nil || most == 0 {
			return problem.WrapAs(problem.Unavailable, err, "keeping secret %s", s.Name)
		}
		n := 0
		if err := tx.QueryRowContext(ctx, `SELECT COUNT(*) FROM secrets WHERE owner = ?`, s.Owner).Scan(&n); err != nil {
			return problem.WrapAs(problem.Unavailable, err, "counting the secrets of %s", s.Owner)
		}
		if n > most {
			return problem.New(problem.TooLarge, "secret %s would be one more than the %d that %s may have: remove one first", s.Name, most, s.Owner)
		}
		return nil
	})
}

// ReplaceSealed implements secret.Store.
func (d *DB) ReplaceSealed(ctx context.Context, old, next secret.Sealed) error {
	_, err := d.write.ExecContext(ctx, `UPDATE secrets SET key_id = ?, sealed = ? WHERE owner = ? AND name = ? AND sealed = ?`,
		next.Key, base64.StdEncoding.EncodeToString(next.Data), old.Owner, old.Name, base64.StdEncoding.EncodeToString(old.Data))
	return problem.WrapAs(problem.Unavailable, err, "encrypting secret %s again", old.Name)
}

func scanSealed(row interface{ Scan(...any) error }) (s secret.Sealed, err error) {
	var data string
	var changed, used int64
	if err := row.Scan(&s.Owner, &s.Name, &s.Key, &data, &changed, &s.By, &used); err != nil {
		return s, err
	}
	s.Changed, s.Used = fromMicros(changed), fromMicros(used)
	s.Data, err = base64.StdEncoding.DecodeString(data)
	return s, err
}

// Sealed implements secret.Store.
func (d *DB) Sealed(ctx context.Context, owner, name string) (secret.Sealed, error) {
	s, err := scanSealed(d.read.QueryRowContext(ctx, `SELECT `+sealedColumns+` FROM secrets WHERE owner = ? AND name = ?`, owner, name))
	return s, one(err, "secret %s", name)
}

// SealedOf implements secret.Store.
func (d *DB) SealedOf(ctx context.Context, owner string) ([]secret.Sealed, error) {
	return d.sealed(ctx, `SELECT `+sealedColumns+` FROM secrets WHERE owner = ? ORDER BY name`, owner)
}

// AllSealed implements secret.Store.
func (d *DB) AllSealed(ctx context.Context) ([]secret.Sealed, error) {
	return d.sealed(ctx, `SELECT `+sealedColumns+` FROM secrets ORDER BY owner, name`)
}

func (d *DB) sealed(ctx context.Context, query string, args ...any) ([]secret.Sealed, error) {
	rows, err := d.read.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, problem.WrapAs(problem.Unavailable, err, "reading secrets")
	}
	defer rows.Close()
	var all []secret.Sealed
	for rows.Next() {
		s, err := scanSealed(rows)
		if err != nil {
			return nil, problem.WrapAs(problem.Unavailable, err, "reading secrets")
		}
		all = append(all, s)
	}
	return all, problem.WrapAs(problem.Unavailable, rows.Err(), "reading secrets")
}

// DeleteSealed implements secret.Store.
func (d *DB) DeleteSealed(ctx context.Context, owner, name string) (bool, error) {
	done, err := d.write.ExecContext(ctx, `DELETE FROM secrets WHERE owner = ? AND name = ?`, owner, name)
	if err != nil {
		return false, problem.WrapAs(problem.Unavailable, err, "forgetting secret %s", name)
	}
	n, err := done.RowsAffected()
	return n > 0, err
}

// UseSealed implements secret.Store.
func (d *DB) UseSealed(ctx context.Context, owner string, names []string, at time.Time) error {
	args := []any{micros(at), owner}
	for _, name := range names {
		args = append(args, name)
	}
	if len(names) == 0 {
		return nil
	}
	_, err := d.write.ExecContext(ctx, `UPDATE secrets SET used = ? WHERE owner = ? AND name IN (`+marks(len(names))+`)`, args...)
	return problem.WrapAs(problem.Unavailable, err, "noting that secrets were used")
}

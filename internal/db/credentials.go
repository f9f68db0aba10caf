package db

import (
	"context"
	"database/sql"
	"encoding/base64"
	"time"

	"quire/internal/problem"
	"quire/internal/query"
)

var _ query.SealedStore = (*DB)(nil)

// PutSealed implements query.SealedStore.
func (d *DB) PutSealed(ctx context.Context, s query.Sealed) error {
	return d.tx(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `INSERT INTO connection_credentials (connection, key_id, sealed, changed, changed_by) VALUES (?, ?, ?, ?, ?)
			ON CONFLICT (connection) DO UPDATE SET key_id = excluded.key_id, sealed = excluded.sealed, changed = excluded.changed, changed_by = excluded.changed_by`,
			s.Connection, s.Key, base64.StdEncoding.EncodeToString(s.Data), micros(s.Changed), s.By)
		return problem.WrapAs(problem.Unavailable, err, "keeping the credential of connection %s", s.Connection)
	})
}

const sealedColumns = `SELECT connection, key_id, sealed, changed, changed_by FROM connection_credentials`

func scanSealed(row interface{ Scan(...any) error }) (s query.Sealed, err error) {
	var data string
	var changed int64
	if err := row.Scan(&s.Connection, &s.Key, &data, &changed, &s.By); err != nil {
		return s, err
	}
	s.Changed = time.UnixMicro(changed).UTC()
	s.Data, err = base64.StdEncoding.DecodeString(data)
	return s, err
}

// Sealed implements query.SealedStore.
func (d *DB) Sealed(ctx context.Context, connection string) (query.Sealed, error) {
	s, err := scanSealed(d.read.QueryRowContext(ctx, sealedColumns+` WHERE connection = ?`, connection))
	return s, one(err, "credential of connection %s", connection)
}

// AllSealed implements query.SealedStore.
func (d *DB) AllSealed(ctx context.Context) ([]query.Sealed, error) {
	rows, err := d.read.QueryContext(ctx, sealedColumns+` ORDER BY connection`)
	if err != nil {
		return nil, problem.WrapAs(problem.Unavailable, err, "reading the credentials of connections")
	}
	defer rows.Close()
	var all []query.Sealed
	for rows.Next() {
		s, err := scanSealed(rows)
		if err != nil {
			return nil, problem.WrapAs(problem.Unavailable, err, "reading the credentials of connections")
		}
		all = append(all, s)
	}
	return all, problem.WrapAs(problem.Unavailable, rows.Err(), "reading the credentials of connections")
}

// DeleteSealed implements query.SealedStore.
func (d *DB) DeleteSealed(ctx context.Context, connection string) error {
	return d.tx(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `DELETE FROM connection_credentials WHERE connection = ?`, connection)
		return problem.WrapAs(problem.Unavailable, err, "forgetting the credential of connection %s", connection)
	})
}

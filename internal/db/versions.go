package db

import (
	"context"
	"database/sql"
	"errors"
	"strings"
	"time"

	"quire/internal/contents"
	"quire/internal/fault"
	"quire/internal/problem"
)

var (
	_ contents.VersionStore = (*DB)(nil)
	_ contents.TrustStore   = (*DB)(nil)
)

const versionColumns = `v.number, v.hash, v.size, v.author, v.time, v.cause, v.base`

func scanVersion(row interface{ Scan(...any) error }, path string, more ...any) (contents.Version, error) {
	v := contents.Version{Path: path}
	var at int64
	err := row.Scan(append([]any{&v.Number, &v.Hash, &v.Size, &v.Author, &at, &v.Cause, &v.Base}, more...)...)
	v.Time = fromMicros(at)
	return v, err
}

// Head implements contents.VersionStore.
func (d *DB) Head(ctx context.Context, path string) (contents.Head, error) {
	var h contents.Head
	var inode int64
	row := d.read.QueryRowContext(ctx, `
		SELECT `+versionColumns+`, d.applied, d.size, d.mod_time, d.inode
		FROM documents d JOIN versions v ON v.document = d.id AND v.number = d.head
		WHERE d.path = ?`, path)
	version, err := scanVersion(row, path, &h.Applied, &h.Stamp.Size, &h.Stamp.ModTime, &inode)
	h.Version, h.Stamp.Inode = version, uint64(inode)
	return h, one(err, "a version of %s", path)
}

// AppendVersion implements contents.VersionStore.
func (d *DB) AppendVersion(ctx context.Context, a contents.Append) (contents.Version, error) {
	if fault.On(fault.AckSaveEarly) {
		return d.appendLater(ctx, a)
	}
	if fault.On(fault.CheckOutside) && a.Base != nil {
		if head, err := d.Head(ctx, a.Version.Path); err == nil && head.Version.Number != *a.Base {
			return contents.Version{}, problem.New(problem.Conflict, "the version is stale")
		}
		a.Base = nil
	}
	return d.appendVersion(ctx, a)
}

// appendLater is a fault to plant: it answers before it has done it.
func (d *DB) appendLater(ctx context.Context, a contents.Append) (contents.Version, error) {
	v := a.Version
	v.Number = 1
	if a.Base != nil {
		v.Number = *a.Base + 1
	}
	go func() {
		time.Sleep(50 * time.Millisecond)
		_, _ = d.appendVersion(context.WithoutCancel(ctx), a)
	}()
	return v, nil
}

func (d *DB) appendVersion(ctx context.Context, a contents.Append) (contents.Version, error) {
	v := a.Version
	err := d.tx(ctx, func(tx *sql.Tx) error {
		if _, err := tx.ExecContext(ctx, `INSERT INTO documents (path) VALUES (?) ON CONFLICT (path) DO NOTHING`, v.Path); err != nil {
			return problem.WrapAs(problem.Unavailable, err, "adding a version of %s", v.Path)
		}
		var id, head, newest int64
		err := tx.QueryRowContext(ctx, `
			SELECT id, head, (SELECT COALESCE(MAX(number), 0) FROM versions WHERE document = id)
			FROM documents WHERE path = ?`, v.Path).Scan(&id, &head, &newest)
		if err != nil {
			return problem.WrapAs(problem.Unavailable, err, "adding a version of %s", v.Path)
		}
		if a.Base != nil && *a.Base != head {
			return problem.New(problem.Conflict, "%s is at version %d, not %d", v.Path, head, *a.Base)
		}
		v.Number = newest + 1
		_, err = tx.ExecContext(ctx, `
			INSERT INTO versions (document, number, hash, size, author, time, cause, base) VALUES (?, ?, ?, ?, ?, ?, ?, ?)`,
			id, v.Number, string(v.Hash), v.Size, v.Author, micros(v.Time), string(v.Cause), v.Base)
		if err == nil && !a.Side {
			_, err = tx.ExecContext(ctx, `UPDATE documents SET head = ?, applied = ?, size = ?, mod_time = ?, inode = ? WHERE id = ?`,
				v.Number, a.Applied, a.Stamp.Size, a.Stamp.ModTime, int64(a.Stamp.Inode), id)
		}
		return problem.WrapAs(problem.Unavailable, err, "adding a version of %s", v.Path)
	})
	return v, err
}

// SetApplied implements contents.VersionStore.
func (d *DB) SetApplied(ctx context.Context, path string, number int64, s contents.Stamp) error {
	_, err := d.write.ExecContext(ctx, `
		UPDATE documents SET applied = TRUE, size = ?, mod_time = ?, inode = ? WHERE path = ? AND head = ?`,
		s.Size, s.ModTime, int64(s.Inode), path, number)
	return problem.WrapAs(problem.Unavailable, err, "noting that %s is written", path)
}

// Unapplied implements contents.VersionStore.
func (d *DB) Unapplied(ctx context.Context) ([]contents.Version, error) {
	return d.versions(ctx, `
		SELECT d.path, `+versionColumns+` FROM documents d
		JOIN versions v ON v.document = d.id AND v.number = d.head WHERE NOT d.applied ORDER BY d.id`)
}

// ListVersions implements contents.VersionStore.
func (d *DB) ListVersions(ctx context.Context, path string, before int64, limit int) ([]contents.Version, error) {
	return d.versions(ctx, `
		SELECT d.path, `+versionColumns+` FROM documents d JOIN versions v ON v.document = d.id
		WHERE d.path = ? AND (? = 0 OR v.number < ?) ORDER BY v.number DESC LIMIT ?`, path, before, before, limit)
}

func (d *DB) versions(ctx context.Context, query string, args ...any) ([]contents.Version, error) {
	rows, err := d.read.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, problem.WrapAs(problem.Unavailable, err, "listing versions")
	}
	defer rows.Close()
	var all []contents.Version
	for rows.Next() {
		var path string
		v, err := scanVersion(prefixed{rows, &path}, "")
		if err != nil {
			return nil, problem.WrapAs(problem.Unavailable, err, "listing versions")
		}
		v.Path = path
		all = append(all, v)
	}
	return all, problem.WrapAs(problem.Unavailable, rows.Err(), "listing versions")
}

// prefixed scans one column of its own before the others.
type prefixed struct {
	rows  *sql.Rows
	first any
}

func (p prefixed) Scan(dest ...any) error { return p.rows.Scan(append([]any{p.first}, dest...)...) }

// Version implements contents.VersionStore.
func (d *DB) Version(ctx context.Context, path string, number int64) (contents.Version, error) {
	row := d.read.QueryRowContext(ctx, `
		SELECT `+versionColumns+` FROM documents d JOIN versions v ON v.document = d.id
		WHERE d.path = ? AND v.number = ?`, path, number)
	v, err := scanVersion(row, path)
	return v, one(err, "version %d of %s", number, path)
}

// DropCheckpoint implements contents.VersionStore.
func (d *DB) DropCheckpoint(ctx context.Context, path string, number int64) error {
	res, err := d.write.ExecContext(ctx, `UPDATE versions SET cause = ? WHERE number = ? AND cause = ?
		AND document = (SELECT id FROM documents WHERE path = ?)`, string(contents.Dropped), number, string(contents.Checkpoint), path)
	if err != nil {
		return problem.WrapAs(problem.Unavailable, err, "dropping a checkpoint of %s", path)
	}
	if n, err := res.RowsAffected(); err != nil || n == 0 {
		return errors.Join(problem.New(problem.NotFound, "%s has no checkpoint %d", path, number), err)
	}
	return nil
}

// MoveVersions implements contents.VersionStore.
func (d *DB) MoveVersions(ctx context.Context, from, to string) error {
	return d.tx(ctx, func(tx *sql.Tx) error {
		err := forget(ctx, tx, to)
		if err == nil {
			// substr and not LIKE: a path may hold % and _.
			_, err = tx.ExecContext(ctx, `
				UPDATE documents SET path = ? || substr(path, ?)
				WHERE path = ? OR substr(path, 1, ?) = ?`,
				to, runes(from)+1, from, runes(from)+1, from+"/")
		}
		if err == nil {
			_, err = tx.ExecContext(ctx, `UPDATE trusted SET path = ? || substr(path, ?) WHERE path = ? OR substr(path, 1, ?) = ?`,
				to, runes(from)+1, from, runes(from)+1, from+"/")
		}
		return problem.WrapAs(problem.Unavailable, err, "moving the versions of %s", from)
	})
}

// ForgetVersions implements contents.VersionStore.
func (d *DB) ForgetVersions(ctx context.Context, path string) error {
	return d.tx(ctx, func(tx *sql.Tx) error {
		return problem.WrapAs(problem.Unavailable, forget(ctx, tx, path), "forgetting the versions of %s", path)
	})
}

func forget(ctx context.Context, tx *sql.Tx, path string) error {
	if strings.Trim(path, "/") == "" {
		return errors.New("the root's versions are never forgotten")
	}
	for _, table := range []string{"documents", "trusted"} {
		_, err := tx.ExecContext(ctx, `DELETE FROM `+table+` WHERE path = ? OR substr(path, 1, ?) = ?`, path, runes(path)+1, path+"/")
		if err != nil {
			return err
		}
	}
	return nil
}

// PutTrust implements contents.TrustStore.
func (d *DB) PutTrust(ctx context.Context, user, path string, hash contents.Hash) error {
	_, err := d.write.ExecContext(ctx, `INSERT INTO trusted (user_name, path, hash, time) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING`,
		user, path, string(hash), micros(time.Now()))
	return problem.WrapAs(problem.Unavailable, err, "noting that %s is trusted", path)
}

// HasTrust implements contents.TrustStore.
func (d *DB) HasTrust(ctx context.Context, user, path string, hash contents.Hash) (bool, error) {
	var found bool
	err := d.read.QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM trusted WHERE user_name = ? AND path = ? AND hash = ?)`,
		user, path, string(hash)).Scan(&found)
	return found, problem.WrapAs(problem.Unavailable, err, "looking whether %s is trusted", path)
}

// runes is the length that SQL's substr counts in.
func runes(s string) int { return len([]rune(s)) }

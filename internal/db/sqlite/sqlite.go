// Package sqlite opens Quire's records in one SQLite file: the embedded
// default, for one server on one machine.
package sqlite

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"path"
	"slices"

	"modernc.org/sqlite" // also registers the database/sql driver
	sqlite3 "modernc.org/sqlite/lib"

	"quire/internal/db"
	"quire/internal/fault"
	"quire/internal/problem"
)

//go:embed migrations/*.sql
var migrations embed.FS

// readers is how many queries may run beside the one writer.
const readers = 4

// Open opens the database in file, making it when it is not there, and brings
// its tables up to date. Commits are on the disk when they return
// (synchronous=FULL). The file must be on a local disk: SQLite's locks do not
// hold on network file systems.
func Open(ctx context.Context, file string) (*db.DB, error) {
	write, err := open(file, 1)
	if err != nil {
		return nil, problem.WrapAs(problem.Unavailable, err, "opening the database %s", file)
	}
	if err := migrate(ctx, write); err != nil {
		return nil, errors.Join(problem.WrapAs(problem.Unavailable, err, "preparing the database %s", file), write.Close())
	}
	read, err := open(file, readers)
	if err != nil {
		return nil, errors.Join(problem.WrapAs(problem.Unavailable, err, "opening the database %s", file), write.Close())
	}
	return db.New(write, read, isUnique), nil
}

func open(file string, conns int) (*sql.DB, error) {
	query := url.Values{
		"_pragma": {
			"busy_timeout(10000)", "journal_mode(WAL)", "synchronous(FULL)",
			"foreign_keys(ON)", "trusted_schema(OFF)", "cache_size(-8192)",
		},
		// A transaction takes the write lock when it begins, so that two of
		// them wait for each other and do not fail half-way.
		"_txlock": {"immediate"},
	}
	switch {
	case fault.On(fault.SyncOff):
		query["_pragma"] = append(query["_pragma"], "synchronous(OFF)")
	case fault.On(fault.SyncNormal):
		query["_pragma"] = append(query["_pragma"], "synchronous(NORMAL)")
	}
	handle, err := sql.Open("sqlite", "file:"+(&url.URL{Path: file}).EscapedPath()+"?"+query.Encode())
	if err != nil {
		return nil, err
	}
	handle.SetMaxOpenConns(conns)
	handle.SetMaxIdleConns(conns)
	return handle, handle.Ping()
}

// migrate applies the migrations that the database does not have, each in a
// transaction of its own.
func migrate(ctx context.Context, handle *sql.DB) error {
	names, err := fs.Glob(migrations, "migrations/*.sql")
	if err != nil {
		return err
	}
	slices.Sort(names)
	var have int
	if err := handle.QueryRowContext(ctx, `PRAGMA user_version`).Scan(&have); err != nil {
		return err
	}
	if have > len(names) {
		return fmt.Errorf("it was made by a newer Quire (schema %d, this one knows %d): use that or a newer one", have, len(names))
	}
	for i, name := range names[have:] {
		if err := apply(ctx, handle, name, have+i+1); err != nil {
			return fmt.Errorf("migration %s: %w", path.Base(name), err)
		}
	}
	return nil
}

func apply(ctx context.Context, handle *sql.DB, name string, version int) error {
	text, err := migrations.ReadFile(name)
	if err != nil {
		return err
	}
	tx, err := handle.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }()
	if _, err := tx.ExecContext(ctx, string(text)); err != nil {
		return err
	}
	if _, err := tx.ExecContext(ctx, fmt.Sprintf(`PRAGMA user_version = %d`, version)); err != nil {
		return err
	}
	return tx.Commit()
}

func isUnique(err error) bool {
	var e *sqlite.Error
	if !errors.As(err, &e) {
		return false
	}
	return e.Code() == sqlite3.SQLITE_CONSTRAINT_UNIQUE || e.Code() == sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY
}

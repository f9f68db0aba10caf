// Package sqlite opens Quire's records in one SQLite file: the embedded
// default, for one server on one machine.
package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"strings"

	"modernc.org/sqlite" // also registers the database/sql driver
	sqlite3 "modernc.org/sqlite/lib"

	"quire/internal/db"
	"quire/internal/fault"
	"quire/internal/problem"
)

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
	// One server has this file: whatever the one before was about to free, it is
	// not freeing any more.
	if _, err := write.ExecContext(ctx, `UPDATE doomed_objects SET claimed = 0 WHERE claimed <> 0`); err != nil {
		return nil, errors.Join(problem.WrapAs(problem.Unavailable, err, "preparing the database %s", file), write.Close())
	}
	read, err := open(file, readers)
	if err != nil {
		return nil, errors.Join(problem.WrapAs(problem.Unavailable, err, "opening the database %s", file), write.Close())
	}
	return db.New(write, read, dialect), nil
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

// numbered is how many migrations were counted by the file's user_version
// before databases knew them by name.
const numbered = 9

// migrate brings the tables up to date, in one transaction.
func migrate(ctx context.Context, handle *sql.DB) error {
	tx, err := handle.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }()
	err = db.Migrate(ctx, tx, dialect.Name, func(names []string) ([]string, error) {
		var have int
		if err := tx.QueryRowContext(ctx, `PRAGMA user_version`).Scan(&have); err != nil {
			return nil, err
		}
		if have > numbered {
			return nil, fmt.Errorf("it was made by a newer Quire (schema %d): use that or a newer one", have)
		}
		return names[:have], nil
	})
	if err != nil {
		return err
	}
	return tx.Commit()
}

// dialect is SQLite's: its one writing connection keeps transactions in a row.
var dialect = db.Dialect{
	Name:   "sqlite",
	Unique: isUnique,
	Search: db.SearchDialect{
		Insert: `INSERT INTO search_cells (text, document, anchor, cell) VALUES (?, ?, ?, ?)`,
		Cells: `SELECT s.path, s.title, c.anchor, c.cell, snippet(search_cells, 0, char(2), char(3), '…', 24)
			FROM search_cells c JOIN search_documents s ON s.id = c.document
			WHERE search_cells MATCH ? ORDER BY c.rank LIMIT ?`,
		Runs: `SELECT r.id, r.owner, r.notebook, snippet(search_runs, 0, char(2), char(3), '…', 24)
			FROM search_runs s JOIN runs r ON r.rowid = s.rowid
			WHERE search_runs MATCH ? ORDER BY s.rowid DESC LIMIT ?`,
		Words: words,
	},
}

// words is the query for all words, the last one also as a beginning. Each is
// quoted: none of them is taken for FTS5's own syntax.
func words(all []string) string {
	quoted := make([]string, len(all))
	for i, w := range all {
		quoted[i] = `"` + strings.ReplaceAll(w, `"`, `""`) + `"`
	}
	return strings.Join(quoted, " AND ") + " *"
}

func isUnique(err error) bool {
	var e *sqlite.Error
	if !errors.As(err, &e) {
		return false
	}
	return e.Code() == sqlite3.SQLITE_CONSTRAINT_UNIQUE || e.Code() == sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY
}

// Package db keeps the records of the domains in SQL: users and credentials,
// versions of files, runs and their attempts. Each domain declares the store it
// needs; this package implements them all over one database.
//
// A DB is safe for concurrent use. SQL here is what SQLite and PostgreSQL both
// understand, with ? for a value; what differs is in the Dialect, in the drivers'
// directories, and in the migrations that end in .sqlite.sql or .postgres.sql.
package db

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"quire/internal/problem"
)

// A DB is an open database.
type DB struct {
	write   *sql.DB
	read    *sql.DB
	dialect Dialect

	exportLineage bool // runs that end are noted for export
}

// A Dialect is what one kind of database does in its own way.
type Dialect struct {
	// Name is the name of the driver, and of the migrations that are its own.
	Name string
	// Unique reports whether an error is the violation of a unique constraint.
	Unique func(error) bool
	// Begin is executed at the start of each transaction that writes; "" is
	// nothing. Transactions that write must run one after another: records are
	// read, decided about and written in one.
	Begin string
	// Lists says that a list is one value of a statement.
	Lists bool
	// Lock ends a SELECT of rows that are changed in a transaction of their own, which
	// does not begin with Begin; "" has those run one after another as well. LockFree
	// is that, and leaves out rows that somebody else has.
	Lock, LockFree string
	// Search is how words are found.
	Search SearchDialect
}

// New returns a DB over two handles of one database: write serializes its
// transactions, read may run many at once. Drivers call it.
func New(write, read *sql.DB, dialect Dialect) *DB {
	return &DB{write: write, read: read, dialect: dialect}
}

// Close ends all connections.
func (d *DB) Close() error { return errors.Join(d.read.Close(), d.write.Close()) }

// Ping reports whether the database answers.
func (d *DB) Ping(ctx context.Context) error {
	return problem.WrapAs(problem.Unavailable, d.read.PingContext(ctx), "asking the database")
}

// tx runs f in one transaction, committed when f returns nil. When it returns
// nil the work is on the disk.
func (d *DB) tx(ctx context.Context, f func(*sql.Tx) error) error {
	return d.begin(ctx, d.dialect.Begin, f)
}

// txOfRows is a transaction that locks the rows that it decides about, with
// Dialect.Lock, where the database can.
func (d *DB) txOfRows(ctx context.Context, f func(*sql.Tx) error) error {
	if d.dialect.Lock == "" {
		return d.tx(ctx, f)
	}
	return d.begin(ctx, "", f)
}

func (d *DB) begin(ctx context.Context, first string, f func(*sql.Tx) error) error {
	tx, err := d.write.BeginTx(ctx, nil)
	if err != nil {
		return problem.WrapAs(problem.Unavailable, err, "beginning a transaction")
	}
	defer func() { _ = tx.Rollback() }()
	if first != "" {
		if _, err := tx.ExecContext(ctx, first); err != nil {
			return problem.WrapAs(problem.Unavailable, err, "beginning a transaction")
		}
	}
	if err := f(tx); err != nil {
		return err
	}
	return problem.WrapAs(problem.Unavailable, tx.Commit(), "committing a transaction")
}

// one turns sql.ErrNoRows into an error of kind NotFound that says that what the
// words name does not exist.
func one(err error, format string, args ...any) error {
	if errors.Is(err, sql.ErrNoRows) {
		return problem.New(problem.NotFound, "%s does not exist", fmt.Sprintf(format, args...))
	}
	if err != nil {
		return problem.WrapAs(problem.Unavailable, err, "looking up %s", fmt.Sprintf(format, args...))
	}
	return nil
}

// Times are kept as microseconds since 1970 in UTC; 0 is the zero time.

func micros(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMicro()
}

func fromMicros(n int64) time.Time {
	if n == 0 {
		return time.Time{}
	}
	return time.UnixMicro(n).UTC()
}

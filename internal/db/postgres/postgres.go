// Package postgres opens Quire's records in a PostgreSQL database: for several
// servers over one set of records. PostgreSQL 14 or newer.
package postgres

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"

	"quire/internal/db"
	"quire/internal/problem"
)

// Connections that are kept: writing ones wait for each other anyway.
const (
	writers = 4
	readers = 8
)

// writeLock is the advisory lock that every transaction that writes takes, so
// that they run one after another whatever server they come from, as on SQLite.
// It goes with the transaction, also when its server dies.
const writeLock = 7239843

// uniqueViolation is PostgreSQL's code for it.
const uniqueViolation = "23505"

// Open opens the database that a URL names, as
// postgres://user@host:5432/name, and brings its tables up to date: one server at
// a time. Commits are on the disk when they return, whatever the database's own
// default is. The password may be in the URL, or where PostgreSQL's own programs
// look for it (PGPASSWORD, PGPASSFILE). No error holds the URL's password.
func Open(ctx context.Context, address string) (*db.DB, error) {
	cfg, err := pgx.ParseConfig(address)
	if err != nil {
		return nil, problem.New(problem.Invalid, "the database %s: %s", Redacted(address), cause(err))
	}
	cfg.RuntimeParams["application_name"] = "quire"
	cfg.RuntimeParams["synchronous_commit"] = "on"
	cfg.RuntimeParams["timezone"] = "UTC"
	if cfg.ConnectTimeout == 0 {
		cfg.ConnectTimeout = 10 * time.Second
	}
	write, read := open(cfg, writers), open(cfg, readers)
	if err := migrate(ctx, write); err != nil {
		return nil, errors.Join(problem.WrapAs(problem.Unavailable, err, "preparing the database %s", Redacted(address)), write.Close(), read.Close())
	}
	return db.New(write, read, dialect), nil
}

// Redacted is the address of a database without its password.
func Redacted(address string) string {
	u, err := url.Parse(address)
	if err != nil || u.Scheme == "" {
		return "(its address is not a URL)"
	}
	query := u.Query()
	for name := range query {
		if strings.Contains(name, "password") {
			query.Del(name)
		}
	}
	u.RawQuery = query.Encode()
	return u.Redacted()
}

// cause is the reason at the end of an error about an address, which quotes the
// whole of it before.
func cause(err error) string {
	for next := errors.Unwrap(err); next != nil; next = errors.Unwrap(next) {
		err = next
	}
	text := err.Error()
	if strings.Contains(text, "://") {
		return "want postgres://user@host:port/name"
	}
	return text
}

func open(cfg *pgx.ConnConfig, conns int) *sql.DB {
	handle := sql.OpenDB(connector{stdlib.GetConnector(*cfg)})
	handle.SetMaxOpenConns(conns)
	handle.SetMaxIdleConns(conns)
	handle.SetConnMaxIdleTime(5 * time.Minute)
	return handle
}

func migrate(ctx context.Context, handle *sql.DB) error {
	tx, err := handle.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }()
	if _, err := tx.ExecContext(ctx, dialect.Begin); err != nil {
		return err
	}
	if err := db.Migrate(ctx, tx, dialect.Name, nil); err != nil {
		return err
	}
	return tx.Commit()
}

var dialect = db.Dialect{
	Name: "postgres",
	Unique: func(err error) bool {
		var e *pgconn.PgError
		return errors.As(err, &e) && e.Code == uniqueViolation
	},
	Begin: fmt.Sprintf(`SELECT pg_advisory_xact_lock(%d)`, writeLock),
	Lists: true,
	// Rows that refer to a locked one may be added meanwhile.
	Lock: ` FOR NO KEY UPDATE`, LockFree: ` FOR NO KEY UPDATE SKIP LOCKED`,
	Search: db.SearchDialect{
		Insert: `INSERT INTO search_cells (text, document, anchor, cell) VALUES (?, ?, ?, ?)`,
		Cells: `SELECT s.path, s.title, c.anchor, c.cell, ts_headline('simple', c.text, q, ` + headline + `)
			FROM (SELECT c.document, c.anchor, c.cell, c.text, q, ts_rank(c.words, q) AS rank
				FROM search_cells c, to_tsquery('simple', search_fold(?)) q WHERE c.words @@ q
				ORDER BY rank DESC, c.document DESC, c.cell LIMIT ?) c
			JOIN search_documents s ON s.id = c.document ORDER BY c.rank DESC, s.id DESC, c.cell`,
		Runs: `SELECT r.id, r.owner, r.notebook, ts_headline('simple', ` + runText + `, q, ` + headline + `)
			FROM runs r, to_tsquery('simple', search_fold(?)) q WHERE r.words @@ q ORDER BY r.id DESC LIMIT ?`,
		Words: words,
	},
}

// headline is how ts_headline marks what was found.
const headline = `'MaxWords=24, MinWords=12, MaxFragments=1, StartSel=' || chr(2) || ', StopSel=' || chr(3)`

const runText = `replace(replace(r.notebook, '/', ' '), '.', ' ') || ' ' || r.parameters || ' ' || r.tags || ' ' || r.id`

// words is the tsquery for all words, the last one also as a beginning. Each is
// quoted: none of them is taken for an operator.
func words(all []string) string {
	quoted := make([]string, len(all))
	for i, w := range all {
		w = strings.Map(func(r rune) rune {
			if r == '\'' || r == '\\' || r == 0 {
				return ' '
			}
			return r
		}, w)
		quoted[i] = "'" + w + "'"
	}
	return strings.Join(quoted, " & ") + ":*"
}

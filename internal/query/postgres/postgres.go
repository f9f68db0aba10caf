// Package postgres is the source for PostgreSQL, and for what speaks its
// protocol, by pgx.
//
// Values come in binary form and become Arrow columns without a detour. A
// NUMERIC without a precision becomes a double; cast it to numeric(p, s) where
// every digit counts. Types that are not known here become text. One statement
// is sent at a time: the protocol binds parameters to one.
package postgres

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgconn/ctxwatch"
	"github.com/jackc/pgx/v5/pgxpool"

	"quire/internal/problem"
	"quire/internal/query"
)

// Config is what the source needs.
type Config struct {
	DSN      string // postgres://user:password@host:port/database?sslmode=... or "key=value" words
	Parallel int    // connections at once. Default 4
}

// Source sends statements to one PostgreSQL database.
type Source struct{ pool *pgxpool.Pool }

var _ query.Source = (*Source)(nil)

// New returns a Source. It connects when it is first asked. The caller closes it.
func New(cfg Config) (*Source, error) {
	c, err := pgxpool.ParseConfig(cfg.DSN)
	if err != nil {
		// The error repeats the address, perhaps with its password.
		return nil, problem.New(problem.Invalid, "the DSN is not one of PostgreSQL: want postgres://user:password@host:port/database")
	}
	c.MaxConns = int32(max(cfg.Parallel, 0)) + 2 // and for the catalog
	if cfg.Parallel == 0 {
		c.MaxConns = 6
	}
	c.MaxConnIdleTime = 5 * time.Minute
	c.ConnConfig.ConnectTimeout = 10 * time.Second
	c.ConnConfig.DefaultQueryExecMode = pgx.QueryExecModeDescribeExec
	c.ConnConfig.RuntimeParams["application_name"] = "quire"
	c.ConnConfig.BuildContextWatcherHandler = func(conn *pgconn.PgConn) ctxwatch.Handler {
		return &pgconn.CancelRequestContextWatcherHandler{Conn: conn, DeadlineDelay: 3 * time.Second}
	}
	// What the statement before has set in its session is not this one's.
	c.PrepareConn = func(ctx context.Context, conn *pgx.Conn) (bool, error) {
		_, err := conn.Exec(ctx, "DISCARD ALL", pgx.QueryExecModeSimpleProtocol)
		return err == nil, nil // one that broke is replaced
	}
	pool, err := pgxpool.NewWithConfig(context.Background(), c)
	if err != nil {
		return nil, problem.WrapAs(problem.Internal, err, "making the connections")
	}
	return &Source{pool}, nil
}

// Engine implements query.Source.
func (*Source) Engine() string { return "postgres" }

// Close implements query.Source.
func (s *Source) Close() error {
	s.pool.Close()
	return nil
}

// Run implements query.Source.
func (s *Source) Run(ctx context.Context, st query.Statement, out query.Output) (o query.Outcome, err error) {
	b, err := st.Text.Bind(query.DollarCast, st.Values)
	if err != nil {
		return o, err
	}
	arguments, err := argumentsOf(b.Values)
	if err != nil {
		return o, err
	}
	conn, err := s.pool.Acquire(ctx)
	if err != nil {
		return o, failure(ctx, err)
	}
	defer conn.Release()
	if st.ReadOnly {
		if _, err := conn.Exec(ctx, "BEGIN READ ONLY", pgx.QueryExecModeSimpleProtocol); err != nil {
			return o, failure(ctx, err)
		}
		defer func() {
			end, cancel := context.WithTimeout(context.WithoutCancel(ctx), 3*time.Second)
			defer cancel()
			if _, ending := conn.Exec(end, "ROLLBACK", pgx.QueryExecModeSimpleProtocol); ending != nil {
				_ = conn.Conn().Close(end)
			}
		}()
	}
	o, err = run(ctx, conn.Conn(), b.SQL, arguments, st.MaxRows, out)
	var pg *pgconn.PgError
	if errors.As(err, &pg) && ctx.Err() == nil {
		return o, st.Text.AtOffset(b, offsetOf(b.SQL, int(pg.Position)), failure(ctx, err))
	}
	return o, failure(ctx, err)
}

// run executes one statement and sends its rows.
func run(ctx context.Context, conn *pgx.Conn, sql string, arguments []any, maxRows int64, out query.Output) (o query.Outcome, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	rows, err := conn.Query(ctx, sql, append([]any{pgx.QueryResultFormatsByOID(formats())}, arguments...)...)
	if err != nil {
		return o, err
	}
	// Closing reads the rest, which may be long: the server is told to stop first.
	defer func() {
		cancel()
		rows.Close()
	}()
	fields := rows.FieldDescriptions()
	if len(fields) == 0 {
		for rows.Next() {
		}
		if err := rows.Err(); err != nil {
			return o, err
		}
		if tag := rows.CommandTag(); tag.Insert() || tag.Update() || tag.Delete() || strings.HasPrefix(tag.String(), "MERGE") || strings.HasPrefix(tag.String(), "SELECT") {
			n := tag.RowsAffected()
			o.Affected = &n
		}
		return o, nil
	}
	table := newTable(fields, conn.TypeMap(), out)
	defer table.batches.Release()
	for rows.Next() {
		if maxRows > 0 && table.rows == maxRows {
			o.Truncated = true
			break
		}
		if err := table.add(rows.RawValues()); err != nil {
			return o, err
		}
	}
	o.Rows = table.rows
	if err := rows.Err(); err != nil && !o.Truncated {
		return o, err
	}
	return o, table.close()
}

// argumentsOf are the values as texts, which PostgreSQL reads by their casts.
func argumentsOf(values []query.Value) ([]any, error) {
	all := make([]any, len(values))
	for i, v := range values {
		switch v.Type {
		case query.Null:
		case query.Bytes:
			data, err := base64.StdEncoding.DecodeString(v.Text)
			if err != nil {
				return nil, problem.New(problem.Invalid, "a value of bytes is not base64")
			}
			all[i] = `\x` + hex.EncodeToString(data)
		default:
			if strings.ContainsRune(v.Text, 0) {
				return nil, problem.New(problem.Invalid, "a text for PostgreSQL cannot hold a zero byte")
			}
			all[i] = v.Text
		}
	}
	return all, nil
}

// offsetOf is the byte at PostgreSQL's position, which counts characters from 1.
func offsetOf(sql string, position int) int {
	if position < 1 {
		return -1
	}
	at := 0
	for range position - 1 {
		_, n := utf8.DecodeRuneInString(sql[at:])
		at += n
	}
	return at
}

// failure is an error of PostgreSQL, or of the way there, as ours: without
// address and credentials.
func failure(ctx context.Context, err error) error {
	var pg *pgconn.PgError
	var known *problem.Error
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case errors.As(err, &known):
		return err
	case errors.As(err, &pg):
		return serverFailure(pg)
	}
	return problem.New(problem.Unavailable, "PostgreSQL does not answer, or the connection to it broke: try again; if it goes on, ask who keeps this connection")
}

func serverFailure(pg *pgconn.PgError) error {
	kind := query.KindOfState(pg.Code)
	switch {
	case strings.HasPrefix(pg.Code, "28"):
		return problem.New(problem.Denied, "PostgreSQL does not accept the credentials of this connection: ask who keeps it")
	case pg.Code == "42601" && strings.Contains(pg.Message, "multiple commands"):
		return problem.New(problem.Invalid, "send one statement at a time on this connection: there are several in this text")
	case pg.Code == "57014":
		return problem.New(problem.Canceled, "PostgreSQL stopped the statement: %s", pg.Message)
	}
	text := pg.Message
	for _, more := range []string{pg.Detail, pg.Hint} {
		if more != "" {
			text += ". " + strings.TrimSuffix(more, ".")
		}
	}
	return problem.New(kind, "%s", text)
}

package postgres

import (
	"context"
	"database/sql/driver"
	"errors"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/jackc/pgx/v5/stdlib"
)

// A connector makes connections that take ? for a value, as all SQL of Quire's
// records does, where PostgreSQL has $1, $2 and so on.
type connector struct{ driver.Connector }

// Connect implements driver.Connector.
func (c connector) Connect(ctx context.Context) (driver.Conn, error) {
	inner, err := c.Connector.Connect(ctx)
	if err != nil {
		return nil, err
	}
	connection, ok := inner.(*stdlib.Conn)
	if !ok {
		return nil, errors.New("the PostgreSQL driver made a connection of another kind")
	}
	return conn{connection}, nil
}

// conn is a connection of the driver, all of which it does.
type conn struct{ *stdlib.Conn }

var (
	_ driver.ExecerContext      = conn{}
	_ driver.QueryerContext     = conn{}
	_ driver.ConnPrepareContext = conn{}
)

func (c conn) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	return c.Conn.ExecContext(ctx, numbered(query), texts(args))
}

func (c conn) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	return c.Conn.QueryContext(ctx, numbered(query), texts(args))
}

func (c conn) PrepareContext(ctx context.Context, query string) (driver.Stmt, error) {
	return c.Conn.PrepareContext(ctx, numbered(query))
}

// texts replaces what no text of PostgreSQL can hold, the character 0 and bytes
// that are not UTF-8, which a cell of a notebook may have.
func texts(args []driver.NamedValue) []driver.NamedValue {
	for i, a := range args {
		switch v := a.Value.(type) {
		case string:
			args[i].Value = plain(v)
		case []string: // it is the caller's
			if slices.ContainsFunc(v, func(s string) bool { return plain(s) != s }) {
				all := make([]string, len(v))
				for n, s := range v {
					all[n] = plain(s)
				}
				args[i].Value = all
			}
		}
	}
	return args
}

// plain is a text as PostgreSQL can hold it.
func plain(s string) string {
	if !strings.Contains(s, "\x00") && utf8.ValidString(s) {
		return s
	}
	return strings.ReplaceAll(strings.ToValidUTF8(s, "\uFFFD"), "\x00", "\uFFFD")
}

// numbered replaces each ? outside of a literal by $1, $2 and so on.
func numbered(query string) string {
	if !strings.Contains(query, "?") {
		return query
	}
	var b strings.Builder
	b.Grow(len(query) + 16)
	n, quoted := 0, false
	for i := range len(query) {
		switch c := query[i]; {
		case c == '\'':
			quoted = !quoted
			b.WriteByte(c)
		case c == '?' && !quoted:
			n++
			b.WriteByte('$')
			b.WriteString(strconv.Itoa(n))
		default:
			b.WriteByte(c)
		}
	}
	return b.String()
}

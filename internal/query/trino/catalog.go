package trino

import (
	"bytes"
	"context"
	"io"
	"strings"

	"quire/internal/problem"
	"quire/internal/query"
)

const (
	tablesText = `SELECT table_schema, table_name, CASE table_type WHEN 'VIEW' THEN 'view' ELSE 'table' END
FROM information_schema.tables WHERE table_schema <> 'information_schema' ORDER BY 1, 2 LIMIT 50000`
	columnsText = `SELECT table_schema, table_name, column_name, data_type, is_nullable
FROM information_schema.columns WHERE table_schema <> 'information_schema' ORDER BY 1, 2, ordinal_position LIMIT 500000`
)

// Tables implements query.Source: of the DSN's catalog.
func (s *Source) Tables(ctx context.Context, user string, want query.TableFilter) ([]query.Table, error) {
	if s.catalog == "" {
		return nil, problem.New(problem.Invalid, "the DSN of this connection names no catalog, whose tables would be listed: SHOW CATALOGS shows those that there are")
	}
	var all []query.Table
	at := map[string]int{}
	err := s.collect(ctx, user, tablesText, func(v []string, _ []bool) error {
		at[strings.Join(v[:2], "\x00")] = len(all)
		all = append(all, query.Table{Catalog: s.catalog, Schema: v[0], Name: v[1], Kind: v[2]})
		return nil
	})
	if err == nil && (want.Columns || want.Name != "" || want.Search != "") {
		err = s.collect(ctx, user, columnsText, func(v []string, _ []bool) error {
			nullable := v[4] != "NO"
			if i, ok := at[strings.Join(v[:2], "\x00")]; ok {
				all[i].Columns = append(all[i].Columns, query.Column{Name: v[2], Type: v[3], Nullable: &nullable})
			}
			return nil
		})
	}
	if err != nil {
		return nil, problem.Wrap(err, "reading the catalog")
	}
	return query.ChooseTables(all, want), nil
}

// buffer is an Output of which only the bytes are wanted.
type buffer struct{ bytes.Buffer }

func (*buffer) Columns([]query.Column)  {}
func (*buffer) Progress(query.Progress) {}

// collect runs a statement of our own and reads its rows as texts.
func (s *Source) collect(ctx context.Context, user, statement string, f func(values []string, null []bool) error) error {
	parsed, err := query.ParseText(statement)
	if err != nil {
		return err
	}
	var b buffer
	if _, err := s.Run(ctx, query.Statement{User: user, Text: parsed}, &b); err != nil || b.Len() == 0 {
		return err
	}
	return query.ReadRows(&b, func([]string) error { return nil }, f)
}

// Load implements query.Source: Trino's protocol has no way to send rows.
func (*Source) Load(context.Context, string, query.Target, io.Reader) (int64, error) {
	return 0, problem.New(problem.Invalid, "a frame cannot be written over Trino, whose protocol takes no rows: write it where Trino reads, as Parquet, or to another connection")
}

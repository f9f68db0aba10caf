package duckdb

import (
	"context"
	"io"
	"strconv"
	"strings"

	"quire/internal/problem"
	"quire/internal/query"
)

// maxCatalog is how many columns are read of a catalog.
const maxCatalog = 200_000

// asker runs a statement of our own.
type asker func(ctx context.Context, text string, values map[string]query.Value) (io.Reader, error)

const tablesText = `
SELECT database_name, schema_name, table_name AS name, 'table' AS kind, estimated_size AS rows, comment FROM duckdb_tables() WHERE NOT internal
UNION ALL
SELECT database_name, schema_name, view_name, 'view', NULL, comment FROM duckdb_views() WHERE NOT internal
ORDER BY 1, 2, 3`

const columnsText = `
SELECT database_name, schema_name, table_name, column_name, data_type, comment, is_nullable FROM duckdb_columns() WHERE NOT internal
ORDER BY 1, 2, 3, column_index`

// readTables reads the catalog. It is small: what is wanted of it is chosen here.
func readTables(ctx context.Context, ask asker, want query.TableFilter) ([]query.Table, error) {
	answer, err := ask(ctx, tablesText, nil)
	if err != nil {
		return nil, problem.Wrap(err, "reading the catalog")
	}
	var all []query.Table
	at := map[string]int{}
	err = query.ReadRows(answer, func([]string) error { return nil }, func(v []string, null []bool) error {
		t := query.Table{Catalog: v[0], Schema: v[1], Name: v[2], Kind: v[3], Comment: v[5]}
		if n, err := strconv.ParseInt(v[4], 10, 64); err == nil && !null[4] {
			t.Rows = &n
		}
		at[strings.Join(v[:3], "\x00")] = len(all)
		all = append(all, t)
		return nil
	})
	if err == nil && (want.Columns || want.Name != "" || want.Search != "") {
		err = addColumns(ctx, ask, all, at)
	}
	if err != nil {
		return nil, problem.Wrap(err, "reading the catalog")
	}
	return query.ChooseTables(all, want), nil
}

func addColumns(ctx context.Context, ask asker, all []query.Table, at map[string]int) error {
	answer, err := ask(ctx, columnsText, nil)
	if err != nil {
		return err
	}
	return query.ReadRows(answer, func([]string) error { return nil }, func(v []string, _ []bool) error {
		i, ok := at[strings.Join(v[:3], "\x00")]
		if !ok {
			return nil
		}
		nullable := v[6] == "true"
		all[i].Columns = append(all[i].Columns, query.Column{Name: v[3], Type: v[4], Comment: v[5], Nullable: &nullable})
		return nil
	})
}

package postgres

import (
	"context"
	"io"
	"math/big"
	"strings"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/ipc"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"quire/internal/problem"
	"quire/internal/query"
)

const tablesText = `
SELECT n.nspname, c.relname, CASE WHEN c.relkind IN ('v', 'm') THEN 'view' ELSE 'table' END,
	CASE WHEN c.relkind = 'v' OR c.reltuples < 0 THEN NULL ELSE c.reltuples::bigint END,
	CASE WHEN c.relkind IN ('r', 'm') THEN pg_total_relation_size(c.oid) END, coalesce(obj_description(c.oid, 'pg_class'), '')
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND n.nspname NOT IN ('pg_catalog', 'information_schema') AND n.nspname !~ '^pg_toast|^pg_temp'
	AND has_table_privilege(c.oid, 'SELECT')
ORDER BY 1, 2 LIMIT 50000`

const columnsText = `
SELECT n.nspname, c.relname, a.attname, format_type(a.atttypid, a.atttypmod), coalesce(col_description(c.oid, a.attnum), ''), NOT a.attnotnull
FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE a.attnum > 0 AND NOT a.attisdropped AND c.relkind IN ('r', 'p', 'v', 'm', 'f') AND n.nspname NOT IN ('pg_catalog', 'information_schema')
	AND n.nspname !~ '^pg_toast|^pg_temp'
ORDER BY 1, 2, a.attnum LIMIT 500000`

// Tables implements query.Source.
func (s *Source) Tables(ctx context.Context, _ string, want query.TableFilter) ([]query.Table, error) {
	rows, err := s.pool.Query(ctx, tablesText)
	if err != nil {
		return nil, failure(ctx, err)
	}
	all, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (t query.Table, err error) {
		return t, row.Scan(&t.Schema, &t.Name, &t.Kind, &t.Rows, &t.Bytes, &t.Comment)
	})
	if err != nil {
		return nil, failure(ctx, err)
	}
	if want.Columns || want.Name != "" || want.Search != "" {
		if err := s.addColumns(ctx, all); err != nil {
			return nil, failure(ctx, err)
		}
	}
	return query.ChooseTables(all, want), nil
}

func (s *Source) addColumns(ctx context.Context, all []query.Table) error {
	at := map[[2]string]int{}
	for i, t := range all {
		at[[2]string{t.Schema, t.Name}] = i
	}
	rows, err := s.pool.Query(ctx, columnsText)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var schema, name string
		var c query.Column
		var nullable bool
		if err := rows.Scan(&schema, &name, &c.Name, &c.Type, &c.Comment, &nullable); err != nil {
			return err
		}
		c.Nullable = &nullable
		if i, ok := at[[2]string{schema, name}]; ok {
			all[i].Columns = append(all[i].Columns, c)
		}
	}
	return rows.Err()
}

// Load implements query.Source: one transaction, with COPY.
func (s *Source) Load(ctx context.Context, _ string, to query.Target, stream io.Reader) (n int64, err error) {
	reader, err := ipc.NewReader(stream)
	if err != nil {
		return 0, problem.New(problem.Invalid, "what is loaded is no Arrow stream: %v", err)
	}
	defer reader.Release()
	parts := query.SplitName(to.Name)
	if len(parts) > 2 {
		return 0, problem.New(problem.Invalid, "%s: want name or schema.name", to.Name)
	}
	tx, err := s.pool.Begin(ctx)
	if err != nil {
		return 0, failure(ctx, err)
	}
	defer func() { _ = tx.Rollback(context.WithoutCancel(ctx)) }() // nothing, once it is committed
	if err := makeTable(ctx, tx, parts, to.Mode, reader.Schema()); err != nil {
		return 0, failure(ctx, err)
	}
	var names []string
	for _, f := range reader.Schema().Fields() {
		names = append(names, f.Name)
	}
	n, err = tx.CopyFrom(ctx, pgx.Identifier(parts), names, &copied{reader: reader})
	if err != nil {
		return 0, failure(ctx, err)
	}
	return n, failure(ctx, tx.Commit(ctx))
}

func makeTable(ctx context.Context, tx pgx.Tx, parts []string, mode string, schema *arrow.Schema) error {
	name := pgx.Identifier(parts).Sanitize()
	if mode == "append" {
		return nil
	}
	if mode == "replace" {
		if _, err := tx.Exec(ctx, "DROP TABLE IF EXISTS "+name); err != nil {
			return err
		}
	}
	var columns []string
	for _, f := range schema.Fields() {
		as, ok := sqlTypes[f.Type.ID()]
		if d, isDecimal := f.Type.(arrow.DecimalType); isDecimal {
			as, ok = "numeric", d.GetPrecision() > 0
		}
		if t, isTime := f.Type.(*arrow.TimestampType); isTime && t.TimeZone == "" {
			as = "timestamp"
		}
		if !ok {
			return problem.New(problem.Invalid, "column %s: PostgreSQL has no type for %s here", f.Name, f.Type)
		}
		columns = append(columns, pgx.Identifier{f.Name}.Sanitize()+" "+as)
	}
	_, err := tx.Exec(ctx, "CREATE TABLE "+name+" ("+strings.Join(columns, ", ")+")")
	return err
}

// sqlTypes are what Arrow's types become.
var sqlTypes = map[arrow.Type]string{
	arrow.BOOL: "boolean", arrow.INT8: "smallint", arrow.INT16: "smallint", arrow.INT32: "integer", arrow.INT64: "bigint",
	arrow.UINT8: "smallint", arrow.UINT16: "integer", arrow.UINT32: "bigint", arrow.UINT64: "numeric", arrow.FLOAT32: "real", arrow.FLOAT64: "double precision",
	arrow.STRING: "text", arrow.LARGE_STRING: "text", arrow.STRING_VIEW: "text", arrow.BINARY: "bytea", arrow.LARGE_BINARY: "bytea",
	arrow.DATE32: "date", arrow.TIMESTAMP: "timestamptz", arrow.DICTIONARY: "text", arrow.NULL: "text",
}

// copied gives the rows of an Arrow stream to COPY.
type copied struct {
	reader *ipc.Reader
	row    int
	ready  bool
}

// Next implements pgx.CopyFromSource.
func (c *copied) Next() bool {
	for {
		if c.ready && c.row+1 < int(c.reader.RecordBatch().NumRows()) {
			c.row++
			return true
		}
		if !c.reader.Next() {
			return false
		}
		c.ready, c.row = true, -1
	}
}

// Err implements pgx.CopyFromSource.
func (c *copied) Err() error {
	if err := c.reader.Err(); err != nil && err != io.EOF { //nolint:errorlint // as the reader says it
		return problem.WrapAs(problem.Invalid, err, "reading the Arrow stream")
	}
	return nil
}

// Values implements pgx.CopyFromSource.
func (c *copied) Values() ([]any, error) {
	batch := c.reader.RecordBatch()
	values := make([]any, batch.NumCols())
	for i, column := range batch.Columns() {
		values[i] = valueAt(column, c.row)
	}
	return values, nil
}

func valueAt(column arrow.Array, row int) any {
	if column.IsNull(row) {
		return nil
	}
	switch a := column.(type) {
	case *array.Boolean:
		return a.Value(row)
	case *array.Int8:
		return int16(a.Value(row))
	case *array.Int16:
		return a.Value(row)
	case *array.Int32:
		return a.Value(row)
	case *array.Int64:
		return a.Value(row)
	case *array.Float32:
		return a.Value(row)
	case *array.Float64:
		return a.Value(row)
	case *array.Binary:
		return a.Value(row)
	case *array.LargeBinary:
		return a.Value(row)
	case *array.Date32:
		return a.Value(row).ToTime()
	case *array.Timestamp:
		return a.Value(row).ToTime(a.DataType().(*arrow.TimestampType).Unit).In(time.UTC)
	case *array.Dictionary:
		return valueAt(a.Dictionary(), a.GetValueIndex(row))
	case *array.Uint8:
		return int16(a.Value(row))
	case *array.Uint16:
		return int32(a.Value(row))
	case *array.Uint32:
		return int64(a.Value(row))
	case *array.Uint64:
		return pgtype.Numeric{Int: new(big.Int).SetUint64(a.Value(row)), Valid: true}
	case *array.Decimal128:
		return pgtype.Numeric{Int: a.Value(row).BigInt(), Exp: -a.DataType().(*arrow.Decimal128Type).Scale, Valid: true}
	}
	return column.ValueStr(row)
}

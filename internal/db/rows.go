package db

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"

	"quire/internal/problem"
)

// rowsAtOnce is how many rows one statement reads or writes.
const rowsAtOnce = 500

// marks are so many marks for values: "?, ?, ?".
func marks(n int) string { return strings.Repeat(", ?", n)[2:] }

// in says in a statement that a column is one of some texts. Where the database
// takes a list as one value, the statement is the same for any number of them, and
// so is prepared once.
func (d *DB) in(all []string) (text string, args []any) {
	if d.dialect.Lists {
		return ` = ANY(?)`, []any{all}
	}
	args = make([]any, len(all))
	for i, one := range all {
		args[i] = one
	}
	return ` IN (` + marks(len(all)) + `)`, args
}

// values are rows in a statement that adds them: as marks for each value, or, where
// the database takes lists, as one for each column.
func (d *DB) values(rows [][]any) (text string, args []any, err error) {
	if !d.dialect.Lists {
		return ` VALUES ` + strings.Repeat(`, (`+marks(len(rows[0]))+`)`, len(rows))[2:], slices.Concat(rows...), nil
	}
	types := make([]string, len(rows[0]))
	for i := range rows[0] {
		var list any
		switch rows[0][i].(type) {
		case string:
			list, types[i] = columnOf[string](rows, i), `?::text[]`
		case int64:
			list, types[i] = columnOf[int64](rows, i), `?::bigint[]`
		case int:
			list, types[i] = columnOf[int](rows, i), `?::bigint[]`
		case bool:
			list, types[i] = columnOf[bool](rows, i), `?::boolean[]`
		default:
			return "", nil, fmt.Errorf("column %d has values of type %T", i, rows[0][i])
		}
		args = append(args, list)
	}
	return ` SELECT * FROM unnest(` + strings.Join(types, ", ") + `)`, args, nil
}

// columnOf are the values of one column, which are of one type.
func columnOf[T any](rows [][]any, i int) []T {
	all := make([]T, len(rows))
	for n, row := range rows {
		all[n], _ = row[i].(T)
	}
	return all
}

// insertRows adds rows, many with one statement. each is told what the end of the
// statement returns.
func (d *DB) insertRows(ctx context.Context, tx *sql.Tx, what, insert, end string, rows [][]any, each func(string)) error {
	for batch := range slices.Chunk(rows, rowsAtOnce) {
		values, args, err := d.values(batch)
		if err != nil {
			return err
		}
		returned, err := tx.QueryContext(ctx, insert+values+` `+end, args...)
		if err != nil {
			return problem.WrapAs(problem.Unavailable, err, "recording %s", what)
		}
		for returned.Next() {
			var value string
			if err = returned.Scan(&value); err != nil {
				break
			}
			each(value)
		}
		if err := errors.Join(err, returned.Err(), returned.Close()); err != nil {
			return problem.WrapAs(problem.Unavailable, err, "recording %s", what)
		}
	}
	return nil
}

package db

import (
	"context"
	"database/sql"
	"embed"
	"fmt"
	"io/fs"
	"slices"
	"strings"
)

//go:embed migrations/*.sql
var migrations embed.FS

// A migration is one change of the tables. Its name is how a database knows
// that it has had it.
type migration struct{ name, text string }

// migrationsFor returns the migrations of a dialect in their order. A file is
// NNNN_name.sql, or for one dialect alone NNNN_name.DIALECT.sql; its migration is
// called NNNN_name.
func migrationsFor(dialect string) ([]migration, error) {
	files, err := fs.Glob(migrations, "migrations/*.sql")
	if err != nil {
		return nil, err
	}
	slices.Sort(files)
	var all []migration
	for _, file := range files {
		name := strings.TrimSuffix(strings.TrimPrefix(file, "migrations/"), ".sql")
		name, only, variant := strings.Cut(name, ".")
		if variant && only != dialect {
			continue
		}
		text, err := migrations.ReadFile(file)
		if err != nil {
			return nil, err
		}
		all = append(all, migration{name, string(text)})
	}
	return all, nil
}

// Migrate brings the tables of the database behind tx up to date, or does
// nothing when it returns an error: commit what it did only when it returns nil.
// before names migrations that the database has had although it does not say so.
// A database that has had migrations unknown here is one of a newer Quire, and is
// refused.
func Migrate(ctx context.Context, tx *sql.Tx, dialect string, before func(names []string) ([]string, error)) error {
	all, err := migrationsFor(dialect)
	if err != nil {
		return err
	}
	had, err := migrated(ctx, tx, all, before)
	if err != nil {
		return err
	}
	for _, m := range all {
		if had[m.name] {
			delete(had, m.name)
			continue
		}
		if _, err := tx.ExecContext(ctx, m.text); err != nil {
			return fmt.Errorf("migration %s: %w", m.name, err)
		}
		if _, err := tx.ExecContext(ctx, `INSERT INTO migrations (name) VALUES (?)`, m.name); err != nil {
			return fmt.Errorf("migration %s: %w", m.name, err)
		}
	}
	for name := range had {
		return fmt.Errorf("it was made by a newer Quire (this one does not know its migration %s): use that or a newer one", name)
	}
	return nil
}

// migrated reads which migrations a database has had.
func migrated(ctx context.Context, tx *sql.Tx, all []migration, before func([]string) ([]string, error)) (map[string]bool, error) {
	if _, err := tx.ExecContext(ctx, `CREATE TABLE IF NOT EXISTS migrations (name TEXT PRIMARY KEY)`); err != nil {
		return nil, err
	}
	if before != nil {
		names := make([]string, len(all))
		for i, m := range all {
			names[i] = m.name
		}
		old, err := before(names)
		if err != nil {
			return nil, err
		}
		for _, name := range old {
			if _, err := tx.ExecContext(ctx, `INSERT INTO migrations (name) VALUES (?) ON CONFLICT DO NOTHING`, name); err != nil {
				return nil, err
			}
		}
	}
	rows, err := tx.QueryContext(ctx, `SELECT name FROM migrations`)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	had := map[string]bool{}
	for rows.Next() {
		var name string
		if err := rows.Scan(&name); err != nil {
			return nil, err
		}
		had[name] = true
	}
	return had, rows.Err()
}

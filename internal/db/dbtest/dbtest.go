// Package dbtest opens records for tests: in SQLite, or with
// QUIRE_TEST_RECORDS=postgres in the PostgreSQL server that QUIRE_TEST_POSTGRES
// names, so that one suite holds for both.
package dbtest

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"net/url"
	"os"
	"path/filepath"
	"testing"

	_ "github.com/jackc/pgx/v5/stdlib" // registers the driver

	"quire/internal/db"
	"quire/internal/db/postgres"
	"quire/internal/db/sqlite"
)

// OnPostgres reports whether the records of this test run are in PostgreSQL.
func OnPostgres() bool { return os.Getenv("QUIRE_TEST_RECORDS") == "postgres" }

// Open opens the records called file, a path in a directory of the test: the
// file itself for SQLite, a database named after it for PostgreSQL. Opening it
// again is a second server on the same records. They are closed when the test
// ends.
func Open(tb testing.TB, file string) *db.DB {
	tb.Helper()
	ctx := context.Background()
	var records *db.DB
	var err error
	if OnPostgres() {
		records, err = postgres.Open(ctx, Database(tb, file))
	} else {
		records, err = sqlite.Open(ctx, file)
	}
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = records.Close() })
	return records
}

// Database makes the PostgreSQL database of a file when it is not there and
// returns its address. It goes when the first test that asked for it ends.
func Database(tb testing.TB, file string) string {
	tb.Helper()
	server := os.Getenv("QUIRE_TEST_POSTGRES")
	address, err := url.Parse(server)
	if err != nil || server == "" {
		tb.Fatal("QUIRE_TEST_POSTGRES does not name a PostgreSQL server")
	}
	full, err := filepath.Abs(file)
	if err != nil {
		tb.Fatal(err)
	}
	sum := sha256.Sum256([]byte(full))
	name := "q" + hex.EncodeToString(sum[:12])
	handle, err := sql.Open("pgx", server)
	if err != nil {
		tb.Fatal(err)
	}
	defer handle.Close()
	var there bool
	if err := handle.QueryRow(`SELECT EXISTS (SELECT 1 FROM pg_database WHERE datname = $1)`, name).Scan(&there); err != nil {
		tb.Fatal(err)
	}
	if !there {
		if _, err := handle.Exec(`CREATE DATABASE ` + name + ` ENCODING 'UTF8' TEMPLATE template0`); err != nil {
			tb.Fatal(err)
		}
		tb.Cleanup(func() { drop(tb, server, name) })
	}
	address.Path = "/" + name
	return address.String()
}

func drop(tb testing.TB, server, name string) {
	handle, err := sql.Open("pgx", server)
	if err == nil {
		defer handle.Close()
		_, err = handle.Exec(`DROP DATABASE IF EXISTS ` + name + ` WITH (FORCE)`)
	}
	if err != nil {
		tb.Errorf("removing the database %s: %v", name, err)
	}
}

package postgres

import (
	"context"
	"database/sql"
	"os"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"quire/internal/problem"
)

func TestNumbered(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ query, want string }{
		{"SELECT 1", "SELECT 1"},
		{"UPDATE a SET b = ? WHERE c = ?", "UPDATE a SET b = $1 WHERE c = $2"},
		{"SELECT '?' || ?, 'it''s ?' WHERE x = ?", "SELECT '?' || $1, 'it''s ?' WHERE x = $2"},
	} {
		if got := numbered(tt.query); got != tt.want {
			t.Errorf("%s became %s, want %s", tt.query, got, tt.want)
		}
	}
}

func TestWordsAreNoOperators(t *testing.T) {
	t.Parallel()
	if got, want := words([]string{"a' | 'b", `c\`, "d & !e"}), `'a  |  b' & 'c ' & 'd & !e':*`; got != want {
		t.Errorf("the query is %s, want %s", got, want)
	}
}

// TestNoPassword looks for the password in what is said about an address.
func TestNoPassword(t *testing.T) {
	t.Parallel()
	const secret = "canary-7"
	for _, address := range []string{
		"postgres://quire:" + secret + "@127.0.0.1:1/quire",
		"postgres://quire@127.0.0.1:1/quire?password=" + secret,
		"postgres://quire:" + secret + "@127.0.0.1:notaport/quire",
		"host=127.0.0.1 port=1 password=" + secret,
		"postgres://quire:" + secret + "@127.0.0.1:1/quire?sslmode=what",
	} {
		_, err := Open(t.Context(), address)
		if err == nil {
			t.Fatalf("%s was opened", address)
		}
		if strings.Contains(err.Error(), secret) {
			t.Errorf("the error holds the password: %v", err)
		}
	}
}

func TestNewerDatabaseIsRefused(t *testing.T) {
	t.Parallel()
	server := os.Getenv("QUIRE_TEST_POSTGRES")
	if server == "" {
		return // make test sets it
	}
	ctx := context.Background()
	d, err := Open(ctx, server)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	handle := rawHandle(t, server)
	if _, err := handle.Exec(`INSERT INTO migrations (name) VALUES ('9999_later')`); err != nil {
		t.Fatal(err)
	}
	defer func() { _, _ = handle.Exec(`DELETE FROM migrations WHERE name = '9999_later'`) }()
	if again, err := Open(ctx, server); !problem.Is(err, problem.Unavailable) || !strings.Contains(err.Error(), "newer Quire") {
		if err == nil {
			_ = again.Close()
		}
		t.Errorf("opening a database of a newer Quire: %v", err)
	}
}

func rawHandle(t *testing.T, address string) *sql.DB {
	t.Helper()
	cfg, err := pgx.ParseConfig(address)
	if err != nil {
		t.Fatal(err)
	}
	handle := open(cfg, 1)
	t.Cleanup(func() { _ = handle.Close() })
	return handle
}

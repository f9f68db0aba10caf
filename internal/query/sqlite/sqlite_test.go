package sqlite_test

import (
	"context"
	"database/sql"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	_ "modernc.org/sqlite"

	"quire/internal/compute"
	"quire/internal/compute/shim"
	"quire/internal/problem"
	"quire/internal/query"
	"quire/internal/query/querytest"
	"quire/internal/query/sqlite"
)

func TestMain(m *testing.M) {
	switch {
	case len(os.Args) > 1 && os.Args[1] == shim.Command:
		os.Exit(shim.Main())
	case len(os.Args) == 3 && os.Args[1] == sqlite.Command:
		os.Exit(sqlite.Main(os.Args[2], os.Stderr))
	}
	os.Exit(m.Run())
}

// open makes shared/orders.db in a volume and a source of it.
func open(t *testing.T, driver compute.Driver, file string, change func(*sqlite.Config)) (s *sqlite.Source, root string) {
	t.Helper()
	root, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{"files/shared", "files/users/bob"} {
		if err := os.MkdirAll(filepath.Join(root, dir), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	fill(t, filepath.Join(root, "files/shared/orders.db"))
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cfg := sqlite.Config{File: file, Files: filepath.Join(root, "files"), Dir: filepath.Join(root, "sqlite"), Executable: exe, Driver: driver, Label: t.Name(), MemoryBytes: 256 * compute.MiB}
	if change != nil {
		change(&cfg)
	}
	if s, err = sqlite.New(cfg); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		if left, err := driver.List(context.Background(), nil); err != nil || len(left) > 0 {
			t.Errorf("containers are left: %v, %v", left, err)
		}
	})
	return s, root
}

// fill makes a file as another program leaves one.
func fill(t *testing.T, file string) {
	t.Helper()
	db, err := sql.Open("sqlite", file)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.Exec(`PRAGMA journal_mode = WAL;
		CREATE TABLE orders (id INTEGER PRIMARY KEY, country TEXT NOT NULL, price NUMERIC, made DATE, data BLOB, odd);
		INSERT INTO orders VALUES (1, 'FR', 3, '2018-05-08', x'00ff', 1), (2, 'it''s ü', 4.5, NULL, NULL, 'a');
		CREATE INDEX countries ON orders (country);
		CREATE VIEW cheap AS SELECT id FROM orders WHERE price < 4;
		CREATE TABLE late AS WITH RECURSIVE t(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM t LIMIT 5000) SELECT CASE WHEN n < 4000 THEN n ELSE 'x' END AS v FROM t`); err != nil {
		t.Fatal(err)
	}
}

func ask(t *testing.T, s *sqlite.Source, text string) (string, error) {
	t.Helper()
	var out querytest.Collected
	if _, err := s.Run(t.Context(), querytest.Statement(t, text, nil), &out); err != nil {
		return "", err
	}
	var rows []string
	for _, row := range out.Page(t).Rows {
		var values []string
		for _, v := range row {
			values = append(values, string(v))
		}
		rows = append(rows, strings.Join(values, " "))
	}
	return strings.Join(rows, "; "), nil
}

const (
	series  = "WITH RECURSIVE t(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM t LIMIT 1000000) SELECT n FROM t"
	forever = "WITH RECURSIVE t(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM t) SELECT n FROM t WHERE n < 0 OR n = 1"
)

func TestSource(t *testing.T) {
	t.Parallel()
	s, root := open(t, querytest.Place(t), "shared/orders.db", nil)
	querytest.Run(t, querytest.Subject{Source: s, User: "ann", Series: series, Forever: forever, NoWrites: true, Untyped: true})
	for text, want := range map[string]string{
		"SELECT id, country, price, made, data, odd FROM orders": `1 "FR" 3 "2018-05-08" "AP8=" "1"; 2 "it's ü" 4.5 null null "a"`,
		"SELECT count(*) FROM cheap -- all":                      "1",
		"SELECT name, type FROM pragma_table_info('cheap');":     `"id" "INTEGER"`,
		"SELECT 9223372036854775807, -1, NULL":                   `"9223372036854775807" -1 null`,
		"SELECT hex(zeroblob(2)), x'', ''":                       `"0000" "" ""`,
		"EXPLAIN QUERY PLAN SELECT * FROM orders WHERE id = 1":   `3 0 41 "SEARCH orders USING INTEGER PRIMARY KEY (rowid=?)"`,
	} {
		if got, err := ask(t, s, text); err != nil || got != want && !strings.HasPrefix(text, "EXPLAIN") {
			t.Errorf("%s: %s, %v; want %s", text, got, err, want)
		}
	}
	if _, err := ask(t, s, "SELECT v FROM late"); !problem.Is(err, problem.Invalid) || !strings.Contains(err.Error(), `column v: the text "x" comes where there were whole numbers`) {
		t.Errorf("a column of several types: %v", err)
	}
	if got, err := ask(t, s, "SELECT sum(CAST(v AS TEXT) = 'x') FROM late"); err != nil || got != "1001" {
		t.Errorf("%s, %v", got, err)
	}
	_, err := ask(t, s, "SELECT 1,\n  nothing FROM orders")
	if at, ok := query.PositionOf(err); !ok || at != (query.Position{Line: 2, Column: 3}) {
		t.Errorf("%v is at %v (%v)", err, at, ok)
	}
	found, err := s.Tables(t.Context(), "ann", query.TableFilter{Columns: true})
	if err != nil || len(found) != 3 || found[0].Name != "cheap" || found[0].Kind != "view" || len(found[2].Columns) != 6 || found[2].Columns[1].Type != "TEXT" || *found[2].Columns[1].Nullable {
		t.Errorf("%+v, %v", found, err)
	}
	refused(t, s, root)
}

// refused is what a statement may not do, and what SQLite itself keeps it from.
func refused(t *testing.T, s *sqlite.Source, root string) {
	t.Helper()
	other := filepath.Join(root, "files/users/bob/secret.db")
	fill(t, other)
	before, err := os.ReadFile(filepath.Join(root, "files/shared/orders.db"))
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{
		"ATTACH '" + other + "' AS other", "ATTACH ':memory:' AS m", "DETACH main", "SELECT load_extension('/tmp/x.so')", "INSERT INTO orders (country) VALUES ('x')",
		"DELETE FROM orders", "UPDATE orders SET price = 1", "DROP TABLE orders", "CREATE TEMP TABLE x (a)", "VACUUM", "VACUUM INTO '/tmp/quire-sqlite-escape.db'",
		"PRAGMA query_only = OFF", "PRAGMA temp_store_directory = '/tmp'", "PRAGMA hard_heap_limit", "PRAGMA database_list", "PRAGMA writable_schema = ON", "REINDEX", "ANALYZE",
		"BEGIN", "SAVEPOINT x", "SELECT 1; SELECT 2", "SELECT 1; DELETE FROM orders", "CREATE VIRTUAL TABLE x USING fts5(a)", "SELECT readfile('/etc/passwd')", "SELECT writefile('/tmp/x', 'y')",
		"WITH x AS (SELECT 1) INSERT INTO orders (country) SELECT 'x'", "REPLACE INTO orders (id, country) VALUES (1, 'x')", "EXPLAIN DELETE FROM orders", "SELECT fts3_tokenizer('simple')", "-- nothing",
		"SELECT \"no such name\"", "SELECT ?", "SELECT $a",
	} {
		if got, err := ask(t, s, text); err == nil {
			t.Errorf("%s: it gave %q", text, got)
		}
	}
	if after, err := os.ReadFile(filepath.Join(root, "files/shared/orders.db")); err != nil || string(after) != string(before) {
		t.Errorf("the file was changed: %v", err)
	}
}

// TestPlainProcess sees what holds without a container.
func TestPlainProcess(t *testing.T) {
	t.Parallel()
	s, root := open(t, querytest.Plain(t), "shared/orders.db", nil)
	refused(t, s, root)
	// Somebody puts a link in the file's place.
	if err := os.Remove(filepath.Join(root, "files/shared/orders.db")); err != nil {
		t.Fatal(err)
	}
	if _, err := ask(t, s, "SELECT 1"); !problem.Is(err, problem.Unavailable) || !strings.Contains(err.Error(), "is not there") {
		t.Errorf("without its file: %v", err)
	}
	if err := os.Symlink(filepath.Join(root, "files/users/bob/secret.db"), filepath.Join(root, "files/shared/orders.db")); err != nil {
		t.Fatal(err)
	}
	if got, err := ask(t, s, "SELECT country FROM orders"); err == nil {
		t.Errorf("a link to another person's file was read: %s", got)
	}
	if err := os.Remove(filepath.Join(root, "files/shared/orders.db")); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(root, "files/shared/orders.db"), []byte(strings.Repeat("not a database ", 100)), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := ask(t, s, "SELECT 1 FROM sqlite_schema"); !problem.Is(err, problem.Unavailable) || !strings.Contains(err.Error(), "not one of SQLite") {
		t.Errorf("a file of something else: %v", err)
	}
}

// TestOutOfMemory sees that a statement that takes all memory ends alone.
func TestOutOfMemory(t *testing.T) {
	t.Parallel()
	s, _ := open(t, querytest.Place(t), "shared/orders.db", func(c *sqlite.Config) { c.MemoryBytes = 128 * compute.MiB })
	for _, text := range []string{
		"SELECT length(hex(zeroblob(100000000)))",
		"WITH RECURSIVE t(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM t) SELECT length(group_concat(hex(zeroblob(1000000)))) FROM t",
	} {
		if got, err := ask(t, s, text); !problem.Is(err, problem.TooLarge) {
			t.Errorf("%s: %s, %v; want that it is too large", text, got, err)
		}
	}
	if got, err := ask(t, s, "SELECT 1"); err != nil || got != "1" {
		t.Errorf("afterwards: %s, %v", got, err)
	}
}

// TestCancel measures how soon a statement ends.
func TestCancel(t *testing.T) {
	t.Parallel()
	s, _ := open(t, querytest.Place(t), "shared/orders.db", nil)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	first := querytest.Collected{First: make(chan struct{})}
	var stopped time.Time
	go func() {
		select {
		case <-first.First: // a row is there, and the next one never comes
			stopped = time.Now()
			cancel()
		case <-ctx.Done():
		}
	}()
	_, err := s.Run(ctx, querytest.Statement(t, forever, nil), &first)
	cancel()
	if err == nil || stopped.IsZero() {
		t.Fatalf("%v, want it cancelled", err)
	}
	t.Logf("it ended %v after it was cancelled", time.Since(stopped))
	// At any moment: also before the statement has begun.
	never := querytest.Statement(t, "WITH RECURSIVE t(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM t) SELECT n FROM t WHERE n < 0", nil)
	for i := range 40 {
		began := time.Now()
		soon, end := context.WithTimeout(t.Context(), time.Duration(i)*100*time.Microsecond)
		if _, err := s.Run(soon, never, &querytest.Collected{}); err == nil {
			t.Error("it ended by itself")
		}
		end()
		if took := time.Since(began); took > 4*time.Second { // one that goes on holds 5 s
			t.Errorf("statement %d, cancelled at once, took %v", i, took)
		}
	}
}

func TestWhereIs(t *testing.T) {
	t.Parallel()
	for _, file := range []string{"", "orders.db", "shared", "users/ann", "../x.db", "shared/../../x.db", "mounts/lake/x.db"} {
		_, err := sqlite.New(sqlite.Config{File: file, Files: t.TempDir(), Dir: t.TempDir(), Executable: "/"})
		if !problem.Is(err, problem.Invalid) {
			t.Errorf("%q was taken: %v", file, err)
		}
	}
}

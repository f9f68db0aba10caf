package duckdb_test

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"quire/internal/compute"
	"quire/internal/compute/shim"
	"quire/internal/problem"
	"quire/internal/query"
	"quire/internal/query/duckdb"
	"quire/internal/query/querytest"
)

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == shim.Command {
		os.Exit(shim.Main())
	}
	os.Exit(m.Run())
}

func open(t *testing.T, driver compute.Driver, change func(*duckdb.Config)) (*duckdb.Source, string) {
	t.Helper()
	if !duckdb.Embedded() {
		t.Skip("DuckDB is not built in: tools/duckdb.sh builds it")
	}
	root, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{"files/users/ann", "files/users/bob", "files/shared"} {
		if err := os.MkdirAll(filepath.Join(root, dir), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	cfg := duckdb.Config{Dir: filepath.Join(root, "duckdb"), Files: filepath.Join(root, "files"), Driver: driver, Label: "test", MemoryBytes: 512 * compute.MiB}
	if change != nil {
		change(&cfg)
	}
	s, err := duckdb.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		left, err := driver.List(context.Background(), nil)
		if err != nil || len(left) > 0 {
			t.Errorf("containers are left: %v, %v", left, err)
		}
	})
	return s, root
}

func ask(t *testing.T, s *duckdb.Source, user, text string) (string, error) {
	t.Helper()
	parsed, err := query.ParseText(text)
	if err != nil {
		t.Fatal(err)
	}
	var out querytest.Collected
	if _, err := s.Run(t.Context(), query.Statement{User: user, Text: parsed}, &out); err != nil {
		return "", err
	}
	if out.Bytes.Len() == 0 {
		return "", nil
	}
	var values []string
	for _, row := range out.Page(t).Rows {
		for _, v := range row {
			values = append(values, string(v))
		}
	}
	return strings.Join(values, " "), nil
}

const forever = "SELECT count(*) FROM range(100000000) a, range(100000000) b WHERE hash(a.range * b.range) = 1"

func TestSource(t *testing.T) {
	t.Parallel()
	s, _ := open(t, querytest.Place(t), nil)
	querytest.Run(t, querytest.Subject{Source: s, User: "ann", Series: "SELECT range AS n FROM range(1000000)", Forever: forever})
}

func TestPlainProcess(t *testing.T) {
	t.Parallel()
	s, root := open(t, querytest.Plain(t), nil)
	if got, err := ask(t, s, "ann", "SELECT 42"); err != nil || got != "42" {
		t.Fatalf("%s, %v", got, err)
	}
	refused(t, s, root)
}

// refused is what DuckDB itself keeps a person from, also without a container.
func refused(t *testing.T, s *duckdb.Source, root string) {
	t.Helper()
	secret := filepath.Join(root, "files/users/bob/secret.csv")
	if err := os.WriteFile(secret, []byte("a\n42\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(secret, filepath.Join(root, "files/users/ann/link.csv")); err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{
		"SELECT * FROM '" + secret + "'", "SELECT * FROM read_text('/etc/passwd')", "SELECT * FROM '../bob/secret.csv'", "SELECT * FROM glob('/**')",
		"ATTACH '" + filepath.Join(root, "duckdb/users/bob/catalog/catalog.duckdb") + "' AS b", "COPY (SELECT 1) TO '/tmp/quire-duckdb-escape.csv'",
		"INSTALL httpfs", "LOAD httpfs", "SELECT * FROM 'https://example.com/x.csv'", "SET memory_limit = '100GB'", "SET enable_external_access = true",
		"RESET lock_configuration", "PRAGMA temp_directory = '/tmp'", "EXPORT DATABASE '/tmp/quire-export'", "SET allowed_directories = ['/']",
	} {
		if got, err := ask(t, s, "ann", text); err == nil {
			t.Errorf("%s: it gave %q", text, got)
		}
	}
}

func TestFiles(t *testing.T) {
	t.Parallel()
	driver := querytest.Place(t)
	s, root := open(t, driver, nil)
	for name, text := range map[string]string{"users/ann/a.csv": "n\n1\n2\n", "shared/b.json": `[{"n": 5}]`} {
		if err := os.WriteFile(filepath.Join(root, "files", name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for text, want := range map[string]string{
		"SELECT sum(n) FROM 'a.csv'": `"3"`, "SELECT n FROM 'shared/b.json'": "5",
		"COPY (SELECT 7 AS n) TO 'made.parquet'": "", "SELECT count(*) FROM '" + filepath.Join(root, "files/users/ann/a.csv") + "'": "2",
	} {
		if got, err := ask(t, s, "ann", text); err != nil || got != want {
			t.Errorf("%s: %s, %v; want %s", text, got, err, want)
		}
	}
	if _, err := os.Stat(filepath.Join(root, "files/users/ann/made.parquet")); err != nil {
		t.Error(err)
	}
	refused(t, s, root)
	if probe, err := driver.Probe(t.Context()); err == nil && probe.Driver == "local" {
		// Where a link leads is not there in the container.
		if got, err := ask(t, s, "ann", "SELECT * FROM 'link.csv'"); err == nil {
			t.Errorf("a link to another person's file was read: %s", got)
		}
	}
}

// TestCatalogs sees that a person's tables are their own, and stay.
func TestCatalogs(t *testing.T) {
	t.Parallel()
	s, _ := open(t, querytest.Place(t), func(c *duckdb.Config) { c.Idle = time.Second })
	if _, err := ask(t, s, "ann", "CREATE TABLE mine AS SELECT 1 AS a; INSERT INTO mine VALUES (2)"); err != nil {
		t.Fatal(err)
	}
	if _, err := ask(t, s, "bob", "FROM mine"); !problem.Is(err, problem.NotFound) {
		t.Errorf("bob sees it: %v", err)
	}
	if got, err := ask(t, s, "ann", "SELECT sum(a) FROM mine"); err != nil || got != `"3"` {
		t.Errorf("%s, %v", got, err)
	}
	if _, err := ask(t, s, "../bob", "SELECT 1"); !problem.Is(err, problem.Invalid) {
		t.Errorf("a user with a path for a name: %v", err)
	}
}

// TestCancelAtOnce cancels statements at any moment, also before they have begun.
func TestCancelAtOnce(t *testing.T) {
	t.Parallel()
	s, _ := open(t, querytest.Place(t), nil)
	if _, err := ask(t, s, "ann", "SELECT 1"); err != nil {
		t.Fatal(err)
	}
	st := querytest.Statement(t, forever, nil)
	for i := range 40 {
		began := time.Now()
		soon, end := context.WithTimeout(t.Context(), time.Duration(i)*200*time.Microsecond)
		if _, err := s.Run(soon, st, &querytest.Collected{}); err == nil {
			t.Error("it ended by itself")
		}
		end()
		if took := time.Since(began); took > 4*time.Second { // one that goes on holds 5 s
			t.Errorf("statement %d, cancelled at once, took %v", i, took)
		}
	}
}

// TestSharedCatalog sees that all have one catalog, which readers do not change,
// and that no person's files are seen from it.
func TestSharedCatalog(t *testing.T) {
	t.Parallel()
	s, root := open(t, querytest.Place(t), func(c *duckdb.Config) { c.Shared = filepath.Join(filepath.Dir(c.Dir), "catalogs", "team") })
	for name, text := range map[string]string{"users/ann/a.csv": "n\n1\n", "shared/b.csv": "n\n7\n"} {
		if err := os.WriteFile(filepath.Join(root, "files", name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := ask(t, s, "ann", "CREATE TABLE plays AS SELECT 1 AS a; CREATE SEQUENCE s; CREATE VIEW b AS FROM 'shared/b.csv'"); err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]string{"FROM plays": "1", "FROM b": "7", "CREATE TEMP TABLE own AS SELECT 3 AS a; FROM own": "3"} {
		if got, err := ask(t, s, "bob", text); err != nil || got != want {
			t.Errorf("bob: %s: %s, %v; want %s", text, got, err, want)
		}
	}
	// What one has in a session is not there for the other.
	if _, err := ask(t, s, "ann", "FROM own"); !problem.Is(err, problem.NotFound) {
		t.Errorf("ann sees bob's temporary table: %v", err)
	}
	read := func(text string) error {
		st := querytest.Statement(t, text, nil)
		st.User, st.ReadOnly = "bob", true
		_, err := s.Run(t.Context(), st, &querytest.Collected{})
		return err
	}
	for _, text := range []string{
		"INSERT INTO plays VALUES (2)", "EXPLAIN ANALYZE INSERT INTO plays VALUES (2)", "EXPLAIN (ANALYZE) INSERT INTO plays VALUES (2)", "DROP TABLE plays", "CREATE TABLE x (a INT)",
		"SELECT nextval('s')", "COPY plays TO 'shared/out.csv'", "EXPLAIN ANALYZE COPY plays TO 'shared/out.csv'", "PREPARE p AS INSERT INTO plays VALUES (2); EXECUTE p",
		"CREATE TEMP TABLE x (a INT)", "CHECKPOINT", "CALL enable_logging()", "FROM enable_logging()", "PRAGMA enable_profiling", "COMMENT ON TABLE plays IS 'x'", "COMMIT; INSERT INTO plays VALUES (2)",
		"FROM query('INSERT INTO plays VALUES (2)')", "SET GLOBAL threads = 1", "SET GLOBAL search_path = 'x'",
	} {
		if err := read(text); err == nil {
			t.Errorf("a reader did: %s", text)
		}
	}
	if err := read("FROM plays"); err != nil {
		t.Errorf("a reader does not read: %v", err)
	}
	for _, text := range []string{
		"FROM 'a.csv'", "FROM '" + filepath.Join(root, "files/users/ann/a.csv") + "'", "FROM 'users/ann/a.csv'", "ATTACH ':memory:' AS m", "DETACH catalog", "ATTACH 'shared/x.duckdb' AS x",
		"CALL enable_logging()", `FROM system.main."enable_logging"()`, "FROM query('FROM enable' || '_logging()')", "FROM \"query\" /* */ ('SELECT 1')", "PRAGMA enable_profiling", "FROM duckdb_logs",
	} {
		if got, err := ask(t, s, "ann", text); err == nil {
			t.Errorf("%s: it gave %q", text, got)
		}
	}
	if got, err := ask(t, s, "ann", "SELECT count(*) FROM plays"); err != nil || got != "1" {
		t.Errorf("in the end: %s, %v", got, err)
	}
	refused(t, s, root)
}

// TestOutOfMemory sees that a statement that takes all memory ends alone.
func TestOutOfMemory(t *testing.T) {
	t.Parallel()
	s, _ := open(t, querytest.Place(t), func(c *duckdb.Config) { c.DiskBytes = 64 * compute.MiB })
	if _, err := ask(t, s, "bob", "CREATE TABLE mine AS SELECT 1 AS a"); err != nil {
		t.Fatal(err)
	}
	_, err := ask(t, s, "ann", "SELECT len(list(range)) FROM range(200000000)")
	if !problem.Is(err, problem.TooLarge) || !strings.Contains(err.Error(), "memory") {
		t.Errorf("%v, want that it ran out of memory", err)
	}
	if got, err := ask(t, s, "bob", "FROM mine"); err != nil || got != "1" {
		t.Errorf("bob: %s, %v", got, err)
	}
	if got, err := ask(t, s, "ann", "SELECT 1"); err != nil || got != "1" {
		t.Errorf("ann afterwards: %s, %v", got, err)
	}
}

func TestParquet(t *testing.T) {
	t.Parallel()
	s, _ := open(t, querytest.Place(t), nil)
	var made bytes.Buffer
	if err := s.Parquet(t.Context(), "ann", bytes.NewReader(querytest.Stream(t)), &made); err != nil {
		t.Fatal(err)
	}
	if b := made.Bytes(); !bytes.HasPrefix(b, []byte("PAR1")) || !bytes.HasSuffix(b, []byte("PAR1")) {
		t.Errorf("%d bytes that are no Parquet", len(b))
	}
}

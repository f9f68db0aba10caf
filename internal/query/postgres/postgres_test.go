package postgres_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"quire/internal/problem"
	"quire/internal/query"
	"quire/internal/query/postgres"
	"quire/internal/query/querytest"
)

// start starts a PostgreSQL for the test and returns its address.
func start(t *testing.T) string {
	t.Helper()
	script, err := filepath.Abs("../../../tools/postgres.sh")
	if err != nil {
		t.Fatal(err)
	}
	if exec.Command(script, "have").Run() != nil {
		t.Skip("PostgreSQL's server is not installed (tools/test-env.sh installs it)")
	}
	dir, err := os.MkdirTemp("/tmp", "quire-pg-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = exec.Command(script, "stop", dir).Run() })
	cmd := exec.Command(script, "start", dir)
	var out bytes.Buffer
	cmd.Stdout = &out
	if err := cmd.Run(); err != nil {
		t.Fatalf("starting PostgreSQL: %v\n%s", err, out.String())
	}
	return strings.TrimSpace(out.String())
}

func open(t *testing.T, dsn string) *postgres.Source {
	t.Helper()
	s, err := postgres.New(postgres.Config{DSN: dsn})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func TestSource(t *testing.T) {
	t.Parallel()
	dsn := start(t)
	s := open(t, dsn)
	querytest.Run(t, querytest.Subject{
		Source: s, User: "ann", Series: "SELECT n FROM generate_series(1, 1000000) n", Forever: "SELECT pg_sleep(600)",
		Running: func(t *testing.T) int { return running(t, s) },
	})
	t.Run("Types", func(t *testing.T) { testTypes(t, s) })
	t.Run("Several", func(t *testing.T) { testSeveral(t, s) })
	t.Run("Session", func(t *testing.T) { testSession(t, s) })
	t.Run("Gone", func(t *testing.T) { testGone(t, s) })
	t.Run("Credentials", func(t *testing.T) { testCredentials(t, dsn) })
}

func ask(t *testing.T, s *postgres.Source, text string) ([]string, error) {
	t.Helper()
	parsed, err := query.ParseText(text)
	if err != nil {
		t.Fatal(err)
	}
	var out querytest.Collected
	if _, err := s.Run(t.Context(), query.Statement{User: "ann", Text: parsed}, &out); err != nil {
		return nil, err
	}
	var values []string
	if out.Bytes.Len() == 0 {
		return nil, nil
	}
	for _, row := range out.Page(t).Rows {
		for _, v := range row {
			values = append(values, string(v))
		}
	}
	return values, nil
}

func running(t *testing.T, s *postgres.Source) int {
	got, err := ask(t, s, "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query LIKE '%pg_sleep%' AND pid <> pg_backend_pid()")
	if err != nil {
		t.Fatal(err)
	}
	n, err := strconv.Atoi(got[0])
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func testTypes(t *testing.T, s *postgres.Source) {
	for text, want := range map[string]string{
		"SELECT 12.345::numeric(10,2)": `"12.35"`, "SELECT (-0.05)::numeric(38,4)": `"-0.0500"`, "SELECT 100000::numeric(10,0)": `"100000"`, "SELECT 1e20::numeric": `100000000000000000000`,
		"SELECT 'NaN'::numeric": `"NaN"`, "SELECT avg(x) FROM (VALUES (1), (2)) t(x)": `1.5`,
		"SELECT DATE '2018-05-08'": `"2018-05-08"`, "SELECT TIMESTAMPTZ '2018-05-08 12:00+02'": `"2018-05-08T10:00:00Z"`, "SELECT 'infinity'::date": `null`,
		"SELECT '\\x0001'::bytea": `"AAE="`, "SELECT '{\"a\": 1}'::jsonb": `"{\"a\": 1}"`, "SELECT ARRAY[1,2]": `"{1,2}"`, "SELECT INTERVAL '1 day'": `"1 day"`,
		"SELECT 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'::uuid": `"a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"`, "SELECT true": `true`, "SELECT 'x'::char(3)": `"x  "`,
		"SELECT 9223372036854775807": `"9223372036854775807"`, "SELECT 1.5::real": `1.5`, "SELECT TIME '10:30'": `"10:30:00"`,
	} {
		got, err := ask(t, s, text)
		if err != nil || len(got) != 1 || got[0] != want {
			t.Errorf("%s: %v, %v; want %s", text, got, err, want)
		}
	}
}

func testSeveral(t *testing.T, s *postgres.Source) {
	if _, err := ask(t, s, "SELECT 1; SELECT 2"); !problem.Is(err, problem.Invalid) || !strings.Contains(err.Error(), "one statement at a time") {
		t.Errorf("two statements: %v", err)
	}
}

// testSession sees that nothing of a statement is there for the next one.
func testSession(t *testing.T, s *postgres.Source) {
	for range 8 { // whatever connection it gets
		if _, err := ask(t, s, "SET application_name = 'mine'"); err != nil {
			t.Fatal(err)
		}
		if got, err := ask(t, s, "SHOW application_name"); err != nil || got[0] != `"quire"` {
			t.Errorf("a setting of the statement before is there: %v, %v", got, err)
		}
	}
}

// testGone is of an engine that goes away in mid-stream.
func testGone(t *testing.T, s *postgres.Source) {
	_, err := ask(t, s, "SELECT pg_terminate_backend(pg_backend_pid()), g FROM generate_series(1, 100000) g")
	if !problem.Is(err, problem.Unavailable) || strings.Contains(err.Error(), "127.0.0.1") {
		t.Errorf("the engine went away: %v", err)
	}
	if got, err := ask(t, s, "SELECT 1"); err != nil || got[0] != "1" {
		t.Errorf("afterwards: %v, %v", got, err)
	}
}

func testCredentials(t *testing.T, dsn string) {
	if _, err := postgres.New(postgres.Config{DSN: "postgres://ann:hush@[bad"}); !problem.Is(err, problem.Invalid) || strings.Contains(err.Error(), "hush") {
		t.Errorf("a DSN that is none: %v", err)
	}
	down := open(t, "postgres://ann:hush@127.0.0.1:1/x?connect_timeout=2")
	_, err := ask(t, down, "SELECT 1")
	if !problem.Is(err, problem.Unavailable) || strings.Contains(err.Error(), "hush") || strings.Contains(err.Error(), "127.0.0.1") {
		t.Errorf("an engine that is down: %v", err)
	}
	missing := open(t, strings.Replace(dsn, "/postgres?", "/nothing?", 1))
	if _, err := ask(t, missing, "SELECT 1"); err == nil || strings.Contains(err.Error(), "127.0.0.1") {
		t.Errorf("a database that is not there: %v", err)
	}
}

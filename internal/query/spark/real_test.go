//go:build spark

package spark_test

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/ipc"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"quire/internal/problem"
	"quire/internal/query"
	"quire/internal/query/querytest"
	"quire/internal/query/spark"
)

// TestRealSpark runs on a Spark Connect server, which QUIRE_TEST_SPARK names:
// make test-spark starts one.
func TestRealSpark(t *testing.T) {
	s, err := spark.New(spark.Config{DSN: os.Getenv("QUIRE_TEST_SPARK")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	const forever = "SELECT id FROM range(100000000000000) WHERE id < 0"
	querytest.Run(t, querytest.Subject{
		Source: s, User: "ann", Series: "SELECT id AS n FROM range(1000000)", Forever: forever, Uncounted: true, Running: jobs,
	})
	t.Run("Deck", func(t *testing.T) { testDeck(t, s) })
	t.Run("Session", func(t *testing.T) { testSession(t, s) })
	t.Run("Types", func(t *testing.T) { testTypes(t, s) })
	t.Run("Progress", func(t *testing.T) { testProgress(t, s) })
	t.Run("CancelSoon", func(t *testing.T) { testCancelSoon(t, s, forever) })
	t.Run("Staged", func(t *testing.T) { testStaged(t, s) })
	t.Run("Reading", func(t *testing.T) { testReading(t, s) })
	t.Run("Messages", func(t *testing.T) { testMessages(t, s) })
}

func get(t *testing.T, path string, into any) {
	t.Helper()
	r, err := http.Get(os.Getenv("QUIRE_TEST_SPARK_UI") + "/api/v1/applications" + path) //nolint:noctx,gosec // the server of the test
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = r.Body.Close() }()
	if err := json.NewDecoder(r.Body).Decode(into); err != nil {
		t.Fatal(err)
	}
}

// jobs is how many jobs run in Spark, as its own page has it.
func jobs(t *testing.T) int {
	var apps []struct{ ID string }
	get(t, "", &apps)
	var running []any
	get(t, "/"+apps[0].ID+"/jobs?status=running", &running)
	return len(running)
}

func run(t *testing.T, ctx context.Context, s *spark.Source, session, text string, values map[string]string, out query.Output) error {
	t.Helper()
	st := querytest.Statement(t, text, values)
	st.Session = session
	_, err := s.Run(ctx, st, out)
	return err
}

func rows(t *testing.T, s *spark.Source, session, text string, values map[string]string) string {
	t.Helper()
	var out querytest.Collected
	if err := run(t, t.Context(), s, session, text, values, &out); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	if out.Bytes.Len() == 0 {
		return ""
	}
	all, err := json.Marshal(out.Page(t).Rows)
	if err != nil {
		t.Fatal(err)
	}
	return string(all)
}

// playback is a small table as the sample has it.
func playback(t *testing.T) []byte {
	t.Helper()
	schema := arrow.NewSchema([]arrow.Field{
		{Name: "ts", Type: &arrow.TimestampType{Unit: arrow.Nanosecond}},
		{Name: "device_type", Type: arrow.BinaryTypes.LargeString},
		{Name: "country", Type: &arrow.DictionaryType{IndexType: arrow.PrimitiveTypes.Int8, ValueType: arrow.BinaryTypes.String}},
		{Name: "seconds", Type: arrow.PrimitiveTypes.Uint32},
	}, nil)
	b := array.NewRecordBuilder(memory.DefaultAllocator, schema)
	defer b.Release()
	at := time.Date(2018, 5, 8, 12, 0, 0, 0, time.UTC)
	for i, device := range []string{"TV", "phone", "TV"} {
		b.Field(0).(*array.TimestampBuilder).Append(arrow.Timestamp(at.Add(time.Duration(i) * time.Hour).UnixNano()))
		b.Field(1).(*array.LargeStringBuilder).Append(device)
		if err := b.Field(2).(*array.BinaryDictionaryBuilder).AppendString("FR"); err != nil {
			t.Fatal(err)
		}
		b.Field(3).(*array.Uint32Builder).Append(uint32(1800 * (i + 1)))
	}
	batch := b.NewRecordBatch()
	defer batch.Release()
	var out bytes.Buffer
	w := ipc.NewWriter(&out, ipc.WithSchema(schema))
	if err := w.Write(batch); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// testDeck executes the statements of the deck, as the sample's notebook has them.
func testDeck(t *testing.T, s *spark.Source) {
	if _, err := s.Load(t.Context(), "ann", query.Target{Name: "playback", Mode: "replace"}, bytes.NewReader(playback(t))); err != nil {
		t.Fatal(err)
	}
	rows(t, s, "deck.ipynb", "DROP TABLE IF EXISTS vid_agg_fr_2018_05_08", nil)
	text := `CREATE TABLE vid_agg_fr_2018_05_08 AS
(
  SELECT
    device_type,
    CAST(ts AS DATE) AS day,
    count(*) AS plays,
    sum(seconds) / 3600.0 AS hours
  FROM playback
  WHERE country = :country
    AND ts >= TIMESTAMP '2018-05-08'
    AND ts < TIMESTAMP '2018-05-08' + INTERVAL 1 DAY * :days
  GROUP BY device_type, CAST(ts AS DATE)
)`
	if got := rows(t, s, "deck.ipynb", text, map[string]string{"country": `"FR"`, "days": "7"}); got != "" {
		t.Errorf("making a table gave %s", got)
	}
	want := `[["TV","2018-05-08",2,2],["phone","2018-05-08",1,1]]`
	if got := rows(t, s, "deck.ipynb", "SELECT device_type, day, plays, CAST(hours AS DOUBLE) AS hours FROM vid_agg_fr_2018_05_08 ORDER BY 1", nil); got != want {
		t.Errorf("the table has %s, want %s", got, want)
	}
}

// testSession is of what one cell sets for the next, and for no other notebook.
func testSession(t *testing.T, s *spark.Source) {
	rows(t, s, "a.ipynb", "CREATE OR REPLACE TEMPORARY VIEW mine AS SELECT 7 AS n", nil)
	if got := rows(t, s, "a.ipynb", "SELECT n FROM mine", nil); got != "[[7]]" {
		t.Errorf("the next cell sees %s", got)
	}
	if err := run(t, t.Context(), s, "b.ipynb", "SELECT n FROM mine", nil, &querytest.Collected{}); !problem.Is(err, problem.NotFound) {
		t.Errorf("another notebook: %v, want that there is no such table", err)
	}
	if got := rows(t, s, "a.ipynb", "SHOW VIEWS", nil); !strings.Contains(got, `"mine"`) {
		t.Errorf("SHOW VIEWS gives %s", got)
	}
}

func testTypes(t *testing.T, s *spark.Source) {
	got := rows(t, s, "", `SELECT CAST(1 AS TINYINT) AS a, CAST(1.50 AS DECIMAL(10,2)) AS b, DATE '2018-05-08' AS c, TIMESTAMP_NTZ '2018-05-08 12:00:00' AS d,
		array(1, 2) AS e, named_struct('x', 1, 'y', 'z') AS f, CAST(NULL AS STRING) AS g, X'00ff' AS h, float('nan') AS i`, nil)
	want := `[[1,"1.50","2018-05-08","2018-05-08T12:00:00Z",[1,2],{"x":1,"y":"z"},null,"AP8=","NaN"]]`
	if got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

// told is an Output that calls a function with the progress.
type told struct {
	querytest.Collected
	f func(query.Progress)
}

func (o *told) Progress(p query.Progress) { o.f(p) }

func testProgress(t *testing.T, s *spark.Source) {
	ctx, stop := context.WithTimeout(t.Context(), time.Minute)
	defer stop()
	var once sync.Once
	out := told{f: func(p query.Progress) {
		if p.Fraction != nil && *p.Fraction >= 0 && *p.Fraction < 1 {
			once.Do(stop)
		}
	}}
	err := run(t, ctx, s, "", "SELECT id FROM range(0, 100000000000000, 1, 64) WHERE id < 0", nil, &out)
	if context.Cause(ctx) != context.Canceled || err == nil { //nolint:errorlint // it is that or the deadline
		t.Errorf("no progress was told: %v", err)
	}
}

// testCancelSoon says how soon a statement that runs has ended in Spark.
func testCancelSoon(t *testing.T, s *spark.Source, forever string) {
	for range 3 {
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- run(t, ctx, s, "", forever, nil, &querytest.Collected{}) }()
		for jobs(t) == 0 {
			time.Sleep(20 * time.Millisecond) //nolint:forbidigo // Spark itself is asked
		}
		began := time.Now()
		cancel()
		err := <-ended
		returned := time.Since(began)
		for jobs(t) > 0 {
			time.Sleep(5 * time.Millisecond) //nolint:forbidigo // Spark itself is asked
		}
		t.Logf("cancelled after %v, and no job runs after %v", returned.Round(time.Millisecond), time.Since(began).Round(time.Millisecond))
		if err == nil {
			t.Error("it ended by itself")
		}
	}
}

// testStaged loads more than one message holds.
func testStaged(t *testing.T, s *spark.Source) {
	schema := arrow.NewSchema([]arrow.Field{{Name: "n", Type: arrow.PrimitiveTypes.Int64}}, nil)
	const batches, size = 5, 200_000
	var data bytes.Buffer
	w := ipc.NewWriter(&data, ipc.WithSchema(schema))
	for range batches {
		b := array.NewInt64Builder(memory.DefaultAllocator)
		b.AppendValues(make([]int64, size), nil)
		column := b.NewArray()
		if err := w.Write(array.NewRecordBatch(schema, []arrow.Array{column}, size)); err != nil {
			t.Fatal(err)
		}
	}
	whole := bytes.Clone(data.Bytes())
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	rows(t, s, "", "DROP TABLE IF EXISTS staged", nil)
	// A stream that is cut off makes no table, and leaves none of ours.
	if _, err := s.Load(t.Context(), "ann", query.Target{Name: "staged", Mode: "create"}, bytes.NewReader(whole[:len(whole)-1000])); !problem.Is(err, problem.Invalid) {
		t.Errorf("a stream that is cut off: %v", err)
	}
	if got := rows(t, s, "", "SHOW TABLES LIKE '*load*|staged'", nil); got != "[]" {
		t.Errorf("it left %s", got)
	}
	n, err := s.Load(t.Context(), "ann", query.Target{Name: "default.staged", Mode: "create"}, &data)
	if err != nil || n != batches*size {
		t.Fatalf("%d rows, %v", n, err)
	}
	if got := rows(t, s, "", "SELECT count(*) FROM staged", nil); got != "[[1000000]]" {
		t.Errorf("it has %s rows", got)
	}
	rows(t, s, "", "DROP TABLE staged", nil)
	if got := rows(t, s, "", "SHOW TABLES LIKE '*load*'", nil); got != "[]" {
		t.Errorf("it left %s", got)
	}
}

// testReading is of what a read-only connection executes, and of what leads to
// a change behind a word that reads.
func testReading(t *testing.T, s *spark.Source) {
	rows(t, s, "", "DROP TABLE IF EXISTS readers", nil)
	rows(t, s, "", "CREATE TABLE readers (id BIGINT)", nil)
	for text, want := range map[string]string{
		"SELECT id FROM range(3) ORDER BY id DESC": "[[2],[1],[0]]", "WITH a AS (SELECT 1 AS n) SELECT n FROM a;": "[[1]]", "(SELECT 2 AS n)": "[[2]]",
		"FROM range(1) SELECT id": "[[0]]", "VALUES (4)": "[[4]]",
		"WITH a AS (SELECT 1 AS id) INSERT INTO readers SELECT id FROM a": "", "FROM range(1) INSERT INTO readers SELECT id": "",
		"INSERT INTO readers VALUES (1)": "", "DROP TABLE readers": "", "SET spark.sql.ansi.enabled = false": "",
	} {
		parsed, err := query.ParseText(text)
		if err != nil {
			t.Fatal(err)
		}
		var out querytest.Collected
		_, err = s.Run(t.Context(), query.Statement{User: "ann", Text: parsed, ReadOnly: true}, &out)
		if want == "" {
			if err == nil {
				t.Errorf("%s was executed", text)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if got, _ := json.Marshal(out.Page(t).Rows); string(got) != want {
			t.Errorf("%s: %s, want %s", text, got, want)
		}
	}
	if got := rows(t, s, "", "SELECT count(*) FROM readers", nil); got != "[[0]]" {
		t.Errorf("readers wrote %s rows", got)
	}
}

func testMessages(t *testing.T, s *spark.Source) {
	for _, tt := range []struct {
		text, want string
		kind       problem.Kind
	}{
		{"SELECT 1/0", "zero", problem.Invalid},
		{"SELECT nothing FROM playback", "nothing", problem.Invalid},
		{"CREATE TABLE playback (a INT)", "already exists", problem.Exists},
		{"SELECT * FROM parquet.`/no/such/file`", "/no/such/file", problem.Invalid},
		{"USE no_such_schema", "no_such_schema", problem.NotFound},
		{"SELECT 1; SELECT 2", "SELECT", problem.Invalid},
	} {
		err := run(t, t.Context(), s, "", tt.text, nil, &querytest.Collected{})
		if problem.KindOf(err) != tt.kind || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "\n") || strings.HasPrefix(err.Error(), "[") {
			t.Errorf("%s: %v (%v), want %v with %q", tt.text, err, problem.KindOf(err), tt.kind, tt.want)
		}
	}
}

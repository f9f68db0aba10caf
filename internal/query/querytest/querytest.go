// Package querytest has the tests that every query.Source passes.
package querytest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
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
)

// A Subject is a source to test, with what differs in its SQL.
type Subject struct {
	Source query.Source
	User   string
	// Series is a statement of a million rows with one column n, from 0 or 1 on.
	Series string
	// Forever is a statement that does not end by itself in a test's time.
	Forever string
	// Running counts what the engine does besides asking this; nil does not ask.
	Running func(t *testing.T) int
	// Uncounted is of an engine that does not say how many rows were changed.
	Uncounted bool
	// NoWrites is of an engine that the tests cannot make tables in.
	NoWrites bool
	// NoLoads is of an engine that takes no rows.
	NoLoads bool
	// Untyped is of an engine whose conditions are the numbers 1 and 0, and whose
	// dates are texts.
	Untyped bool
}

// Collected is an Output that keeps everything.
type Collected struct {
	mu    sync.Mutex
	Bytes bytes.Buffer
	Told  []query.Column
	Last  query.Progress
	First chan struct{} // closed at the first byte, when not nil
	Fail  error         // what Write answers, when not nil
}

// Columns implements query.Output.
func (c *Collected) Columns(columns []query.Column) { c.Told = columns }

// Write implements query.Output.
func (c *Collected) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.Fail != nil {
		return 0, c.Fail
	}
	if c.First != nil && c.Bytes.Len() == 0 {
		close(c.First)
	}
	return c.Bytes.Write(p)
}

// Progress implements query.Output.
func (c *Collected) Progress(p query.Progress) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.Last = p
}

// Page is the result, up to 10,000 rows.
func (c *Collected) Page(t *testing.T) query.Page {
	t.Helper()
	page, err := query.ReadPage(bytes.NewReader(c.Bytes.Bytes()), 0, 10_000)
	if err != nil {
		t.Fatal(err)
	}
	return page
}

// Run runs all tests.
func Run(t *testing.T, s Subject) {
	for name, test := range map[string]func(*testing.T, Subject){
		"Values": testValues, "Injection": testInjection, "WrongSQL": testWrongSQL, "MissingTable": testMissing, "ReadOnly": testReadOnly,
		"MaxRows": testMaxRows, "Million": testMillion, "Cancel": testCancel, "ReaderFails": testReaderFails, "Write": testWrite, "Load": testLoad, "Empty": testEmpty,
	} {
		t.Run(name, func(t *testing.T) { test(t, s) })
	}
}

// Statement is text with these parameters, each as JSON, of ann.
func Statement(t *testing.T, text string, parameters map[string]string) query.Statement {
	t.Helper()
	parsed, err := query.ParseText(text)
	if err != nil {
		t.Fatal(err)
	}
	raw := map[string]json.RawMessage{}
	for name, value := range parameters {
		raw[name] = json.RawMessage(value)
	}
	values, err := query.ParseValues(raw)
	if err != nil {
		t.Fatal(err)
	}
	return query.Statement{User: "ann", Text: parsed, Values: values}
}

// DSN checks what New said to a connection string that may hold the secret
// s3cr3t: nothing where want is "", else an error with want and without it.
func DSN(t *testing.T, dsn, want string, source io.Closer, err error) {
	t.Helper()
	switch {
	case err == nil:
		_ = source.Close()
		if want != "" {
			t.Errorf("%s was taken, want %q", dsn, want)
		}
	case want == "" || !problem.Is(err, problem.Invalid) || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "s3cr3t"):
		t.Errorf("%s: %v, want %q", dsn, err, want)
	}
}

func (s Subject) run(t *testing.T, ctx context.Context, text string, parameters map[string]string, change func(*query.Statement), out query.Output) (query.Outcome, error) {
	t.Helper()
	st := Statement(t, text, parameters)
	st.User = s.User
	if change != nil {
		change(&st)
	}
	return s.Source.Run(ctx, st, out)
}

// ask runs a statement and returns its rows as JSON.
func (s Subject) ask(t *testing.T, text string, parameters map[string]string) string {
	t.Helper()
	var out Collected
	if _, err := s.run(t, t.Context(), text, parameters, nil, &out); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	data, err := json.Marshal(out.Page(t).Rows)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func testValues(t *testing.T, s Subject) {
	for _, tt := range []struct{ text, value, want string }{
		{"SELECT :v + 1 AS a", "41", `[[42]]`},
		{"SELECT CAST(:v AS VARCHAR(20)) AS a", `"it's"`, `[["it's"]]`},
		{"SELECT CAST(:v AS INTEGER) IS NULL AS a", "null", `[[true]]`},
		{"SELECT NOT :v AS a", "true", `[[false]]`},
		{"SELECT :v / 4.0 > 0.5 AS a", "3.0", `[[true]]`},
		{"SELECT :v > DATE '2018-05-07' AND :v < DATE '2018-05-09' AS a", `{"type":"date","value":"2018-05-08"}`, `[[true]]`},
		{"SELECT :v > TIMESTAMP '2018-05-08 11:00:00' AS a", `{"type":"timestamp","value":"2018-05-08T12:00:00"}`, `[[true]]`},
		{"SELECT 2 IN (:v) AS a, 4 IN (:v) AS b", `[1,2,3]`, `[[true,false]]`},
		{"SELECT CASE WHEN 2 IN (:v) THEN 1 ELSE 0 END AS a", `[]`, `[[0]]`},
		{"SELECT ':v' AS a, :v AS b -- :v", `1`, `[[":v",1]]`},
	} {
		if s.Untyped {
			tt.text = strings.NewReplacer("DATE '", "'", "TIMESTAMP '", "'").Replace(tt.text)
			tt.want = strings.NewReplacer("true", "1", "false", "0").Replace(tt.want)
		}
		if got := s.ask(t, tt.text, map[string]string{"v": tt.value}); got != tt.want {
			t.Errorf("%s with %s: %s, want %s", tt.text, tt.value, got, tt.want)
		}
	}
}

func testInjection(t *testing.T, s Subject) {
	for _, evil := range []string{"'; DROP TABLE x; --", "1 OR 1=1", "$1", ":v", "\\'; SELECT 1; --", "' UNION SELECT 'leak"} {
		data, err := json.Marshal(evil)
		if err != nil {
			t.Fatal(err)
		}
		got := s.ask(t, "SELECT CAST(:v AS VARCHAR(100)) AS a WHERE CAST(:v AS VARCHAR(100)) <> 'x'", map[string]string{"v": string(data)})
		if want := "[[" + string(data) + "]]"; got != want {
			t.Errorf("%q came back as %s", evil, got)
		}
	}
}

func testWrongSQL(t *testing.T, s Subject) {
	text := "SELECT 1 AS a,\n  :v AS b,\n  ä FRM x"
	_, err := s.run(t, t.Context(), "SELECT 1 AS a,\n  :v AS b\n  FRM x y z", map[string]string{"v": "12345678"}, nil, &Collected{})
	if !problem.Is(err, problem.Invalid) {
		t.Fatalf("%v, want it invalid", err)
	}
	at, ok := query.PositionOf(err)
	if !ok || at.Line != 3 {
		t.Errorf("%v is at %v (%v), want line 3", err, at, ok)
	}
	if _, err = s.run(t, t.Context(), text, map[string]string{"v": "1"}, nil, &Collected{}); !problem.Is(err, problem.Invalid) {
		t.Errorf("%v, want it invalid", err)
	}
}

func testMissing(t *testing.T, s Subject) {
	_, err := s.run(t, t.Context(), "SELECT *\nFROM no_such_table_here", nil, nil, &Collected{})
	if !problem.Is(err, problem.NotFound) || !strings.Contains(err.Error(), "no_such_table_here") {
		t.Fatalf("%v, want that the table does not exist", err)
	}
	if at, ok := query.PositionOf(err); !ok || at != (query.Position{Line: 2, Column: 6}) {
		t.Errorf("it is at %v (%v), want line 2, column 6", at, ok)
	}
}

func testReadOnly(t *testing.T, s Subject) {
	readOnly := func(st *query.Statement) { st.ReadOnly = true }
	_, err := s.run(t, t.Context(), "CREATE TABLE querytest_forbidden (a INTEGER)", nil, readOnly, &Collected{})
	if !problem.Is(err, problem.Denied) {
		t.Errorf("a read-only connection made a table: %v", err)
	}
	var out Collected
	if _, err := s.run(t, t.Context(), "SELECT 1 AS a", nil, readOnly, &out); err != nil || len(out.Page(t).Rows) != 1 {
		t.Errorf("a read-only connection does not read: %v", err)
	}
}

func testMaxRows(t *testing.T, s Subject) {
	var out Collected
	o, err := s.run(t, t.Context(), s.Series, nil, func(st *query.Statement) { st.MaxRows = 3000 }, &out)
	if err != nil || o.Rows != 3000 || !o.Truncated {
		t.Fatalf("%+v, %v; want 3000 rows of more", o, err)
	}
	if n := len(out.Page(t).Rows); n != 3000 {
		t.Errorf("%d rows came", n)
	}
	o, err = s.run(t, t.Context(), "SELECT 1 AS a", nil, func(st *query.Statement) { st.MaxRows = 1 }, &Collected{})
	if err != nil || o.Rows != 1 || o.Truncated {
		t.Errorf("%+v, %v; want one row and no more", o, err)
	}
}

func testMillion(t *testing.T, s Subject) {
	out := Collected{First: make(chan struct{})}
	o, err := s.run(t, t.Context(), s.Series, nil, nil, &out)
	if err != nil || o.Rows != 1_000_000 {
		t.Fatalf("%+v, %v", o, err)
	}
	reader, err := ipc.NewReader(bytes.NewReader(out.Bytes.Bytes()))
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Release()
	var rows int64
	for reader.Next() {
		rows += reader.RecordBatch().NumRows()
	}
	if rows != 1_000_000 || reader.Err() != nil {
		t.Errorf("%d rows, %v", rows, reader.Err())
	}
	if len(out.Told) != 1 || out.Told[0].Name != "n" || out.Told[0].Type == "" {
		t.Errorf("the columns are %v", out.Told)
	}
}

func testCancel(t *testing.T, s Subject) {
	ctx, cancel := context.WithCancel(t.Context())
	var stopped time.Time
	timer := time.AfterFunc(300*time.Millisecond, func() {
		stopped = time.Now()
		cancel()
	})
	defer timer.Stop()
	_, err := s.run(t, ctx, s.Forever, nil, nil, &Collected{})
	if !errors.Is(err, context.Canceled) && !problem.Is(err, problem.Canceled) {
		t.Fatalf("%v, want it cancelled", err)
	}
	if took := time.Since(stopped); took > 5*time.Second { // in a busy test; bench says how fast it is
		t.Errorf("it took %v to stop", took)
	}
	for range 1500 {
		if s.Running == nil || s.Running(t) == 0 {
			return
		}
		time.Sleep(20 * time.Millisecond) //nolint:forbidigo // the engine itself is asked
	}
	t.Error("the statement goes on in the engine")
}

// testReaderFails is of a result that is too large, say: nothing goes on.
func testReaderFails(t *testing.T, s Subject) {
	want := problem.New(problem.TooLarge, "that is enough")
	_, err := s.run(t, t.Context(), s.Series, nil, nil, &Collected{Fail: want})
	if !problem.Is(err, problem.TooLarge) || !strings.Contains(err.Error(), "that is enough") {
		t.Errorf("%v, want what the reader said", err)
	}
	if got := s.ask(t, "SELECT 1 AS a", nil); got != "[[1]]" {
		t.Errorf("the next statement gives %s", got)
	}
}

func testEmpty(t *testing.T, s Subject) {
	var out Collected
	o, err := s.run(t, t.Context(), "SELECT 1 AS a WHERE 1 = 0", nil, nil, &out)
	if err != nil || o.Rows != 0 {
		t.Fatalf("%+v, %v", o, err)
	}
	if page := out.Page(t); len(page.Columns) != 1 || len(page.Rows) != 0 {
		t.Errorf("%+v, want one column and no row", page)
	}
}

func (s Subject) exec(t *testing.T, text string) query.Outcome {
	t.Helper()
	o, err := s.run(t, t.Context(), text, nil, nil, &Collected{})
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return o
}

func testWrite(t *testing.T, s Subject) {
	if s.NoWrites {
		return
	}
	s.exec(t, "DROP TABLE IF EXISTS querytest_write")
	s.exec(t, "CREATE TABLE querytest_write AS (SELECT 1 AS a, 'x' AS b)")
	defer s.exec(t, "DROP TABLE querytest_write")
	if o := s.exec(t, "INSERT INTO querytest_write VALUES (2, 'y'), (3, 'z')"); !s.Uncounted && (o.Affected == nil || *o.Affected != 2) {
		t.Errorf("inserting two rows: %+v", o)
	}
	found, err := s.Source.Tables(t.Context(), s.User, query.TableFilter{Name: "QUERYTEST_write"})
	if err != nil || len(found) != 1 || len(found[0].Columns) != 2 || found[0].Columns[1].Name != "b" || found[0].Kind != "table" {
		t.Errorf("the catalog has %+v: %v", found, err)
	}
	if found, err := s.Source.Tables(t.Context(), s.User, query.TableFilter{Name: "querytest_nothing"}); err != nil || len(found) != 0 {
		t.Errorf("the catalog has %+v: %v", found, err)
	}
}

// Stream is an Arrow stream of two columns and three rows.
func Stream(t *testing.T) []byte {
	t.Helper()
	schema := arrow.NewSchema([]arrow.Field{{Name: "n", Type: arrow.PrimitiveTypes.Int64, Nullable: true}, {Name: "s", Type: arrow.BinaryTypes.String, Nullable: true}}, nil)
	b := array.NewRecordBuilder(memory.DefaultAllocator, schema)
	defer b.Release()
	b.Field(0).(*array.Int64Builder).AppendValues([]int64{1, 2, 3}, []bool{true, false, true})
	b.Field(1).(*array.StringBuilder).AppendValues([]string{"a", "it's", "ü"}, nil)
	batch := b.NewRecordBatch()
	defer batch.Release()
	var out bytes.Buffer
	w := ipc.NewWriter(&out, ipc.WithSchema(schema))
	if err := errors.Join(w.Write(batch), w.Close()); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func testLoad(t *testing.T, s Subject) {
	if s.NoWrites || s.NoLoads {
		return
	}
	s.exec(t, "DROP TABLE IF EXISTS querytest_load")
	data := Stream(t)
	load := func(mode string, stream []byte) (int64, error) {
		return s.Source.Load(t.Context(), s.User, query.Target{Name: "querytest_load", Mode: mode}, bytes.NewReader(stream))
	}
	for _, step := range []struct {
		mode string
		want string
	}{{"create", `[[3]]`}, {"append", `[[6]]`}, {"replace", `[[3]]`}} {
		if n, err := load(step.mode, data); err != nil || n != 3 {
			t.Fatalf("%s: %d rows, %v", step.mode, n, err)
		}
		if got := s.ask(t, "SELECT count(*) AS n FROM querytest_load", nil); got != step.want {
			t.Errorf("after %s there are %s, want %s", step.mode, got, step.want)
		}
	}
	if _, err := load("create", data); err == nil {
		t.Error("a table that is there was made again")
	}
	if _, err := load("append", data[:len(data)-40]); err == nil {
		t.Error("a stream that is cut off was loaded")
	}
	if _, err := load("append", []byte("not arrow")); !problem.Is(err, problem.Invalid) {
		t.Errorf("what is no stream: %v", err)
	}
	if got := s.ask(t, "SELECT n, s FROM querytest_load ORDER BY s", nil); got != `[[1,"a"],[null,"it's"],[3,"ü"]]` {
		t.Errorf("the table has %s", got)
	}
	s.exec(t, "DROP TABLE querytest_load")
}

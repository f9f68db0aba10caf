package trino_test

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"

	"quire/internal/problem"
	"quire/internal/query"
	"quire/internal/query/querytest"
	"quire/internal/query/trino"
)

func TestAddress(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ dsn, want string }{
		{"trino://trino.example.com", ""},
		{"trino://ann:s3cr3t@trino.example.com/hive/default", ""},
		{"trino://ann:s3cr3t@127.0.0.1:8080/hive?tls=false", ""},
		{"trino://ann:s3cr3t@trino.example.com/hive?tls=false", "encrypted"},
		{"https://ann:s3cr3t@trino.example.com", "want trino://"},
		{"trino://ann:s3cr3t@trino.example.com/a/b/c", "want trino://"},
		{"trino://trino.example.com?password=s3cr3t", "not known"},
		{"trino://ann:s3cr3t@%zz", "want trino://"},
	} {
		s, err := trino.New(trino.Config{DSN: tt.dsn})
		querytest.DSN(t, tt.dsn, tt.want, s, err)
	}
}

// A fake answers a statement with these, one after another.
type fake struct {
	answers []string // {next} is the address of the next one

	mu      sync.Mutex
	posted  string
	header  http.Header
	at      int
	deleted int
	busy    int // how often it is too busy first
}

func (f *fake) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch r.Method {
	case http.MethodDelete:
		f.deleted++
		w.WriteHeader(http.StatusNoContent)
		return
	case http.MethodPost:
		body, _ := io.ReadAll(r.Body)
		f.posted, f.header, f.at = string(body), r.Header.Clone(), 0
	}
	if f.busy > 0 {
		f.busy--
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	text := f.answers[min(f.at, len(f.answers)-1)]
	f.at++
	_, _ = io.WriteString(w, strings.ReplaceAll(text, "{next}", "http://elsewhere.example/v1/statement/executing/1"))
}

func start(t *testing.T, f *fake) *trino.Source {
	t.Helper()
	server := httptest.NewServer(f)
	t.Cleanup(server.Close)
	s, err := trino.New(trino.Config{DSN: "trino://ann:s3cr3t@" + strings.TrimPrefix(server.URL, "http://") + "/hive?tls=false"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func run(t *testing.T, ctx context.Context, s *trino.Source, text string, values map[string]string, st query.Statement, out query.Output) (query.Outcome, error) {
	t.Helper()
	full := querytest.Statement(t, text, values)
	st.User, st.Text, st.Values = full.User, full.Text, full.Values
	return s.Run(ctx, st, out)
}

func TestRows(t *testing.T) {
	t.Parallel()
	const columns = `"columns":[{"name":"n","type":"bigint"},{"name":"d","type":"decimal(10,2)"},{"name":"t","type":"timestamp(3) with time zone"},{"name":"x","type":"double"},{"name":"l","type":"array(integer)"},{"name":"b","type":"varbinary"}]`
	f := &fake{busy: 1, answers: []string{
		`{"id":"q","nextUri":"{next}","stats":{"state":"QUEUED"}}`,
		`{"id":"q","nextUri":"{next}",` + columns + `,"data":[[1,"1.50","2018-05-08 12:00:00.123 Europe/Paris",2.5,[1,2],"AP8="]],"stats":{"state":"RUNNING","progressPercentage":40}}`,
		`{"id":"q",` + columns + `,"data":[[null,null,null,"NaN",null,null]],"stats":{"state":"FINISHED","progressPercentage":100}}`,
	}}
	s := start(t, f)
	var out querytest.Collected
	o, err := run(t, t.Context(), s, "SELECT :a, :b", map[string]string{"a": `"it's"`, "b": `{"type":"date","value":"2018-05-08"}`}, query.Statement{Tag: "q1"}, &out)
	if err != nil || o.Rows != 2 {
		t.Fatalf("%+v, %v", o, err)
	}
	rows, _ := json.Marshal(out.Page(t).Rows)
	if want := `[[1,"1.50","2018-05-08T10:00:00.123Z",2.5,"[1,2]","AP8="],[null,null,null,"NaN",null,null]]`; string(rows) != want {
		t.Errorf("%s, want %s", rows, want)
	}
	if want := "EXECUTE quire USING 'it''s', DATE '2018-05-08'"; f.posted != want {
		t.Errorf("posted %s, want %s", f.posted, want)
	}
	if got, _ := url.QueryUnescape(f.header.Get("X-Trino-Prepared-Statement")); got != "quire=SELECT ?, ?" {
		t.Errorf("prepared %s", got)
	}
	if user, password, _ := (&http.Request{Header: f.header}).BasicAuth(); user != "ann" || password != "s3cr3t" {
		t.Error("the credential was not sent")
	}
	if f.deleted != 0 {
		t.Error("a statement that had ended was told to stop")
	}
}

// TestStops is of what ends a statement before its end: Trino is told each time.
func TestStops(t *testing.T) {
	t.Parallel()
	const endless = `{"id":"q","nextUri":"{next}","columns":[{"name":"n","type":"bigint"}],"data":[[1],[2]],"stats":{"state":"RUNNING"}}`
	for name, do := range map[string]func(s *trino.Source) error{
		"rows": func(s *trino.Source) error {
			o, err := run(t, t.Context(), s, "SELECT 1", nil, query.Statement{MaxRows: 3}, &querytest.Collected{})
			if err == nil && (o.Rows != 3 || !o.Truncated) {
				t.Errorf("%+v, want 3 rows of more", o)
			}
			return err
		},
		"reader": func(s *trino.Source) error {
			_, err := run(t, t.Context(), s, "SELECT 1", nil, query.Statement{}, &querytest.Collected{Fail: problem.New(problem.TooLarge, "enough")})
			if !problem.Is(err, problem.TooLarge) {
				return err
			}
			return nil
		},
		"cancel": func(s *trino.Source) error {
			ctx, cancel := context.WithCancel(t.Context())
			_, err := run(t, ctx, s, "SELECT 1", nil, query.Statement{}, &canceller{cancel: cancel})
			if ctx.Err() == nil || err == nil {
				t.Error("it was not cancelled")
			}
			return nil
		},
	} {
		f := &fake{answers: []string{endless}}
		if err := do(start(t, f)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		f.mu.Lock()
		if f.deleted != 1 {
			t.Errorf("%s: Trino was told %d times to stop", name, f.deleted)
		}
		f.mu.Unlock()
	}
}

// A canceller is an Output at whose first progress somebody cancels.
type canceller struct {
	querytest.Collected
	cancel func()
}

func (c *canceller) Progress(query.Progress) { c.cancel() }

func TestErrors(t *testing.T) {
	t.Parallel()
	f := &fake{answers: []string{`{"id":"q","stats":{"state":"FAILED"},"error":{"message":"line 2:6: Table 'hive.default.x' does not exist","errorName":"TABLE_NOT_FOUND","errorType":"USER_ERROR","errorLocation":{"lineNumber":2,"columnNumber":6}}}`}}
	s := start(t, f)
	_, err := run(t, t.Context(), s, "SELECT *\nFROM x", nil, query.Statement{}, &querytest.Collected{})
	if at, ok := query.PositionOf(err); !problem.Is(err, problem.NotFound) || err.Error() != "Table 'hive.default.x' does not exist" || !ok || at != (query.Position{Line: 2, Column: 6}) {
		t.Errorf("%v at %v", err, at)
	}
	for text, denied := range map[string]bool{
		"INSERT INTO x VALUES (1)": true, "explain /* x */ analyze INSERT INTO x VALUES (1)": true, "EXPLAIN SELECT 1": false, "(SELECT 1)": false, "CALL x()": true,
	} {
		if _, err := run(t, t.Context(), s, text, nil, query.Statement{ReadOnly: true}, &querytest.Collected{}); problem.Is(err, problem.Denied) != denied {
			t.Errorf("%s: %v", text, err)
		}
	}
	f.answers = []string{`{"id":"q","nextUri":"http://elsewhere.example/steal","stats":{"state":"QUEUED"}}`}
	if _, err := run(t, t.Context(), s, "SELECT 1", nil, query.Statement{}, &querytest.Collected{}); !problem.Is(err, problem.Unavailable) {
		t.Errorf("an address of another: %v", err)
	}
	f.answers = []string{"<html>"}
	if _, err := run(t, t.Context(), s, "SELECT 1", nil, query.Statement{}, &querytest.Collected{}); !problem.Is(err, problem.Unavailable) {
		t.Errorf("what is no answer: %v", err)
	}
}

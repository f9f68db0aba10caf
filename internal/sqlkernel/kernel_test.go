package sqlkernel_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"quire/internal/kernel"
	"quire/internal/kernel/kerneltest"
	"quire/internal/kernel/wire"
	"quire/internal/problem"
	"quire/internal/query"
	"quire/internal/sqlkernel"
)

// TestMain makes this binary the kernel, with a gateway of the tests behind it.
func TestMain(m *testing.M) {
	if file, asked := kernel.SQLConnectionFile(os.Args[1:]); asked {
		g := &gateway{all: map[string]*query.Query{}, ended: make(chan struct{})}
		err := sqlkernel.Run(context.Background(), sqlkernel.Config{
			ConnectionFile: file, Gateway: func() (sqlkernel.Gateway, error) { return g, nil },
		})
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// gateway answers by the statement's first word: SELECT with a row that says
// what was asked, INSERT with 3 rows changed, WRONG with an error at its second
// line, SLOW when it is cancelled.
type gateway struct {
	mu    sync.Mutex
	all   map[string]*query.Query
	ended chan struct{}
}

func (g *gateway) SubmitQuery(_ context.Context, req query.Request) (query.Query, error) {
	asked, err := json.Marshal(req.Parameters)
	if err != nil {
		return query.Query{}, err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	q := query.Query{ID: fmt.Sprint(len(g.all)), State: query.Succeeded, Connection: req.Connection, Statement: req.Statement + " " + string(asked)}
	switch word, _, _ := strings.Cut(req.Statement, " "); word {
	case "SELECT":
		q.HasResult, q.Rows = true, 1
	case "INSERT":
		n := int64(3)
		q.Affected = &n
	case "SLOW":
		q.State = query.Running
	default:
		q.State, q.Error = query.Failed, &query.Failure{Detail: "not SQL", Reason: problem.Invalid.String(), Position: &query.Position{Line: 2, Column: 3}}
	}
	g.all[q.ID] = &q
	return q, nil
}

func (g *gateway) Query(ctx context.Context, id string, _ int) (query.Query, error) {
	select {
	case <-ctx.Done():
		return query.Query{}, ctx.Err()
	case <-g.ended:
	}
	return g.CancelQuery(ctx, id)
}

func (g *gateway) CancelQuery(_ context.Context, id string) (query.Query, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.all[id].State = query.Cancelled
	return *g.all[id], nil
}

func (g *gateway) QueryResult(_ context.Context, id, _ string) (io.ReadCloser, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	said, err := json.Marshal(g.all[id].Connection + "|" + g.all[id].Statement)
	if err != nil {
		return nil, err
	}
	var cancelled []string
	for _, q := range g.all {
		if q.State == query.Cancelled {
			cancelled = append(cancelled, q.ID)
		}
	}
	page := query.Page{Columns: []query.Column{{Name: "said", Type: "utf8"}, {Name: "said", Type: "int64"}}, Rows: [][]json.RawMessage{{said, []byte(fmt.Sprint(len(cancelled)))}}}
	data, err := json.Marshal(page)
	return io.NopCloser(strings.NewReader(string(data))), err
}

func (g *gateway) Catalog(context.Context, string) ([]query.Table, error) {
	return []query.Table{{Schema: "main", Name: "playback", Kind: "table", Columns: []query.Column{{Name: "country", Type: "VARCHAR"}, {Name: "Odd name", Type: "INTEGER"}}}}, nil
}

func start(t *testing.T) *kernel.Kernel {
	t.Helper()
	spec, err := kernel.Finder{}.Find("sql")
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "sk") // a short path: sockets lie in it
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	k, err := kernel.Start(t.Context(), kernel.Config{Spec: spec, Dir: t.TempDir(), RuntimeDir: dir})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = k.Close() })
	return k
}

// told is what a cell published, a line for each message.
func told(t *testing.T, k *kernel.Kernel, code string) string {
	t.Helper()
	var lines []string
	for _, m := range kerneltest.Collect(t, t.Context(), k, code) {
		var c struct {
			Text   string `json:"text"`
			Ename  string `json:"ename"`
			Evalue string `json:"evalue"`
			Status string `json:"status"`
			Data   map[string]any
		}
		if err := m.Decode(&c); err != nil {
			t.Fatal(err)
		}
		switch m.Type() {
		case "stream":
			lines = append(lines, strings.TrimSpace(c.Text))
		case "error":
			lines = append(lines, c.Ename+": "+c.Evalue)
		case "display_data", "execute_result":
			raw, err := json.Marshal(c.Data["application/vnd.dataresource+json"])
			if err != nil {
				t.Fatal(err)
			}
			var table struct {
				Data []map[string]any `json:"data"`
			}
			if err := json.Unmarshal(raw, &table); err != nil || len(table.Data) != 1 || c.Data["text/html"] == nil || c.Data["text/plain"] == nil {
				t.Fatalf("%s: %s, %v", m.Type(), m.Content, err)
			}
			lines = append(lines, fmt.Sprint(m.Type(), " ", table.Data[0]["said"]))
		}
	}
	return strings.Join(lines, "\n")
}

func TestCells(t *testing.T) {
	t.Parallel()
	k := start(t)
	for _, tt := range []struct{ name, code, want string }{
		{"parameters", "-- Parameters\ncountry = 'it''s; --'\ndays: int = 7 -- h\nl = [1, NULL]", ""},
		{"several", "SELECT :days ; INSERT x;\nSELECT ':days', :country, :l -- :x", "display_data |SELECT :days {\"days\":7}\n3 rows changed\n" +
			`execute_result |SELECT ':days', :country, :l {"country":"it's; --","l":[1,null]}`},
		{"connection of a cell", "-- connection: far\nSELECT 1", `execute_result far|SELECT 1 {}`},
		{"not of the next", "SELECT 1", `execute_result |SELECT 1 {}`},
		{"connection of the notebook", "%connection far", ""},
		{"of the next", "SELECT 1", `execute_result far|SELECT 1 {}`},
		{"place of an error", "SELECT 1;\n -- é\n /* x */ WRONG é\n  here", "display_data far|SELECT 1 {}\nSQLError: line 4, column 3: not SQL"},
		{"on the statement's first line", "SELECT 1; SELECT :missing", "display_data far|SELECT 1 {}\nSQLError: line 1, column 18: parameter :missing has no value: give it one"},
		{"no literal", "a = 1\nb = now()", "SQLError: line 2, column 5: parameter b: now() is no literal: want a number, 'text', TRUE, FALSE, NULL, or a list of these as ['FR', 'US']"},
		{"nothing", " -- only words", ""},
	} {
		if got := told(t, k, tt.code); got != tt.want {
			t.Errorf("%s: got\n%s\nwant\n%s", tt.name, got, tt.want)
		}
	}
}

// An interrupt cancels the statement at the gateway, and the kernel lives.
func TestInterrupt(t *testing.T) {
	t.Parallel()
	k := start(t)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	e, err := k.Execute(ctx, kernel.ExecuteRequest{Code: "SLOW x; SELECT never", StoreHistory: true})
	if err != nil {
		t.Fatal(err)
	}
	interrupted := false
	for {
		m, err := e.Next(ctx)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if m.Type() == "status" && strings.Contains(string(m.Content), `"busy"`) && m.ParentHeader.MsgID == e.ID() {
			// The statement may not be submitted yet: it is not, then, or is and is cancelled.
			if err := k.Interrupt(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		interrupted = interrupted || m.Type() == "error" && strings.Contains(string(m.Content), `"KeyboardInterrupt"`)
		if m.Type() == "execute_result" {
			t.Error("the statement behind it was executed")
		}
	}
	if !interrupted {
		t.Error("the cell did not end with KeyboardInterrupt")
	}
	if got := told(t, k, "SELECT alive"); got != "execute_result |SELECT alive {}" {
		t.Errorf("after the interrupt: %s", got)
	}
	began := time.Now()
	if err := k.Shutdown(t.Context(), 5*time.Minute); err != nil || time.Since(began) > 2*time.Minute {
		t.Errorf("shutdown: %v after %v", err, time.Since(began))
	}
}

func TestComplete(t *testing.T) {
	t.Parallel()
	k := start(t)
	told(t, k, "country = 'FR'")
	for _, tt := range []struct{ code, matches string }{
		{"SELECT é, cou| FROM playback", `["country"]`},
		{"SELECT * FROM pla|", `["playback"]`},
		{"SELECT p.| FROM playback AS p", `["country","\"Odd name\""]`},
		{"SELECT main.pl|", `["playback"]`},
		{"SELECT :cou|", `["country"]`},
		{"sel|", `["select"]`},
	} {
		before, after, _ := strings.Cut(tt.code, "|")
		m, err := k.Request(t.Context(), wire.Shell, "complete_request", map[string]any{"code": before + after, "cursor_pos": len([]rune(before))})
		if err != nil {
			t.Fatal(err)
		}
		var reply struct {
			Matches json.RawMessage `json:"matches"`
			End     int             `json:"cursor_end"`
		}
		if err := m.Decode(&reply); err != nil || string(reply.Matches) != tt.matches || reply.End != len([]rune(before)) {
			t.Errorf("%s: %s, %v, want %s", tt.code, m.Content, err, tt.matches)
		}
	}
	for code, want := range map[string]string{"SELECT 1": "complete", "SELECT 'a": "incomplete"} {
		m, err := k.Request(t.Context(), wire.Shell, "is_complete_request", map[string]any{"code": code})
		if err != nil || !strings.Contains(string(m.Content), `"`+want+`"`) {
			t.Errorf("%s: %v, want %s", code, err, want)
		}
	}
}

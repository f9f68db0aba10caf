package run_test

import (
	"encoding/json"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"quire/internal/auth"
	"quire/internal/db/dbtest"
	"quire/internal/query"
	"quire/internal/run"
)

// TestLineageIsRecorded ends runs that used tables and files, and asks from both
// sides.
func TestLineageIsRecorded(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	d := dbtest.Open(t, filepath.Join(t.TempDir(), "q.db"))
	d.ExportLineage()
	now := time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC)
	s := run.New(run.Config{Store: d})
	add := func(owner, notebook string) run.Run {
		r, err := d.CreateRun(ctx, run.Run{ID: run.NewID(now), Owner: owner, Notebook: notebook, State: run.Queued, Parameters: []byte("{}"), Created: now})
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	end := func(r run.Run, state run.State, result string) {
		t.Helper()
		_, err := d.ChangeRun(ctx, r.ID, func(r run.Run) (run.Run, error) {
			r.State, r.Result, r.Finished = state, json.RawMessage(result), now
			return r, nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	ask := func(r run.Run, user string, state query.State, tables map[string][]string) {
		t.Helper()
		if err := d.PutQuery(ctx, query.Query{ID: run.NewID(now), User: user, Connection: "duckdb", State: state, Run: r.ID, Submitted: now, Ended: now, Tables: tables}); err != nil {
			t.Fatal(err)
		}
	}
	load, report := add("ann", "users/ann/etl/load.ipynb"), add("ann", "users/ann/report.ipynb")
	ask(load, "ann", query.Succeeded, map[string][]string{query.Wrote: {"Plays"}, query.Read: {"playback"}})
	ask(load, "ann", query.Failed, map[string][]string{query.Wrote: {"never"}})
	ask(load, "eve", query.Succeeded, map[string][]string{query.Wrote: {"forged"}})
	if err := d.PutQuery(ctx, query.Query{ID: run.NewID(now), User: "ann", Connection: "local", Engine: "duckdb", State: query.Succeeded, Run: report.ID, Submitted: now, Ended: now, Tables: map[string][]string{query.Wrote: {"own"}}}); err != nil {
		t.Fatal(err)
	}
	ask(report, "ann", query.Succeeded, map[string][]string{query.Read: {"plays"}})
	end(load, run.Succeeded, `{"records":[{"name":"wrote","value":["out.parquet","shared/all.csv","../../../etc/passwd","s3://lake/x.parquet",""]},{"name":"read","value":"users/ann/in.csv"},{"name":"read","value":7},{"name":"other","value":"no.csv"}]}`)
	end(report, run.Failed, `{"records":[{"name":"read","value":"shared/all.csv"}]}`)

	got, err := s.Lineage(ctx, ann, load.ID)
	want := run.Lineage{
		Wrote: []run.Dataset{
			{Kind: run.File, Name: "s3://lake/x.parquet"}, {Kind: run.File, Name: "shared/all.csv"}, {Kind: run.File, Name: "users/ann/etl/out.parquet"}, {Kind: run.Table, Connection: "duckdb", Name: "plays"},
		},
		Read: []run.Dataset{{Kind: run.File, Name: "users/ann/in.csv"}, {Kind: run.Table, Connection: "duckdb", Name: "playback"}},
	}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v: %v", got, want, err)
	}
	for _, tt := range []struct {
		dataset run.Dataset
		wrote   bool
		runs    string
	}{
		{run.Dataset{Kind: run.Table, Connection: "duckdb", Name: "PLAYS"}, true, load.ID},
		{run.Dataset{Kind: run.Table, Connection: "duckdb", Name: "plays"}, false, report.ID},
		{run.Dataset{Kind: run.File, Name: "shared/all.csv"}, false, report.ID},
		{run.Dataset{Kind: run.Table, Connection: "duckdb", Name: "forged"}, true, ""},
		{run.Dataset{Kind: run.Table, Connection: "duckdb", Name: "never"}, true, ""},
		{run.Dataset{Kind: run.Table, Connection: "other", Name: "plays"}, true, ""},
		// A table in a catalog of ann's own is hers for ann, and for bob only when he says so.
		{run.Dataset{Kind: run.Table, Connection: "local", Name: "own"}, true, report.ID},
		{run.Dataset{Kind: run.Table, Connection: "local", Name: "own", Owner: "bob"}, true, ""},
	} {
		all, err := s.DatasetRuns(ctx, ann, tt.dataset, tt.wrote, 0)
		var ids []string
		for _, r := range all {
			ids = append(ids, r.Run)
		}
		if err != nil || strings.Join(ids, " ") != tt.runs {
			t.Errorf("%+v wrote %v: %v, want %q: %v", tt.dataset, tt.wrote, ids, tt.runs, err)
		}
	}
	if _, err := s.Lineage(ctx, auth.User{Name: "ann"}, run.NewID(now)); err == nil {
		t.Error("the lineage of no run")
	}

	// Both are to be exported, once, and again when that did not work.
	ids, tries, err := d.TakeLineage(ctx, now, now.Add(time.Minute), 10)
	if err != nil || len(ids) != 2 || tries[0] != 1 {
		t.Fatalf("taken %v %v: %v", ids, tries, err)
	}
	if again, _, err := d.TakeLineage(ctx, now, now.Add(time.Minute), 10); err != nil || len(again) != 0 {
		t.Errorf("taken twice: %v, %v", again, err)
	}
	if err := d.PutLineage(ctx, ids[0], time.Time{}); err != nil {
		t.Fatal(err)
	}
	if err := d.PutLineage(ctx, ids[1], now.Add(time.Second)); err != nil {
		t.Fatal(err)
	}
	if again, tries, err := d.TakeLineage(ctx, now.Add(time.Second), now.Add(time.Minute), 10); err != nil || len(again) != 1 || again[0] != ids[1] || tries[0] != 2 {
		t.Errorf("taken again %v %v: %v", again, tries, err)
	}
}

func TestOpenLineage(t *testing.T) {
	t.Parallel()
	r := run.Run{ID: "06h2r7ep6tjqf8msnkwbffs8v0", Notebook: "users/ann/a.ipynb", State: run.Failed, Reason: "cell 3", Created: time.Unix(1, 0), Started: time.Unix(2, 0), Finished: time.Unix(3, 0)}
	uses := []run.Use{
		{Dataset: run.Dataset{Kind: run.Table, Connection: "pg", Name: "public.t"}, Wrote: true},
		{Dataset: run.Dataset{Kind: run.File, Name: "s3://lake/a/b.csv"}},
		{Dataset: run.Dataset{Kind: run.File, Name: "shared/x.csv"}},
	}
	events := run.OpenLineage(r, uses, run.OpenLineageConfig{Namespace: "quire", Server: "https://q"})
	text, err := json.Marshal(events)
	if err != nil || len(events) != 2 {
		t.Fatal(err, len(events))
	}
	for _, word := range []string{
		`"eventType":"START"`, `"eventType":"FAIL"`, `"eventTime":"1970-01-01T00:00:02Z"`, `{"name":"public.t","namespace":"quire/pg"}`,
		`{"name":"a/b.csv","namespace":"s3://lake"}`, `{"name":"shared/x.csv","namespace":"quire"}`, `"message":"cell 3"`, `"name":"users/ann/a.ipynb"`,
	} {
		if !strings.Contains(string(text), word) {
			t.Errorf("there is no %s in %s", word, text)
		}
	}
	if id := run.UUID(r.ID); len(id) != 36 || id[14] != '7' || !strings.ContainsRune("89ab", rune(id[19])) || id == run.UUID(run.NewID(time.Now())) {
		t.Errorf("the UUID is %s", id)
	}
}

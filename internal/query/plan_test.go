package query_test

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"quire/internal/query"
	"quire/internal/query/querytest"
)

// TestPlan is of statements that took long: what the engine says of them is in
// their record, and it was asked to read only.
func TestPlan(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	var asked []query.Statement
	now := time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC)
	store := &records{all: map[string]query.Query{}}
	g, err := query.New(query.Config{
		Store: store, Dir: t.TempDir(),
		Now: func() time.Time { // each look is a second later
			mu.Lock()
			defer mu.Unlock()
			now = now.Add(time.Second)
			return now
		},
		Connections: []*query.Connection{{Name: "main", Default: true, Source: scripted{run: func(_ context.Context, st query.Statement, out query.Output) (query.Outcome, error) {
			mu.Lock()
			asked = append(asked, st)
			mu.Unlock()
			_, err := out.Write(querytest.Stream(t))
			return query.Outcome{Rows: 3}, err
		}}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	ended(t, g, submit(t, g, query.Request{Statement: "SELECT 1", Parameters: map[string]json.RawMessage{"api_token": json.RawMessage(`"it's"`)}}).ID)
	ended(t, g, submit(t, g, query.Request{Statement: "CREATE TABLE x AS SELECT 1"}).ID)
	ended(t, g, submit(t, g, query.Request{Statement: "ANALYZE SELECT 1"}).ID)
	if err := g.Close(); err != nil { // waits for what is behind a statement's end
		t.Fatal(err)
	}
	var plans []string
	for _, q := range store.all {
		if q.Plan != "" {
			plans = append(plans, q.Statement+": "+q.Plan)
		}
	}
	if want := []string{"SELECT 1: a\n***\nü"}; !slices.Equal(plans, want) {
		t.Errorf("plans %q, want %q", plans, want)
	}
	explained := 0
	for _, st := range asked {
		if strings.HasPrefix(st.Text.String(), "EXPLAIN") {
			explained++
			if !st.ReadOnly || st.Text.String() != "EXPLAIN SELECT 1" {
				t.Errorf("asked %q, read-only %v", st.Text, st.ReadOnly)
			}
		}
	}
	if explained != 1 {
		t.Errorf("%d statements were explained", explained)
	}
	if all, err := g.History(t.Context(), ann, query.Filter{}); err != nil || slices.ContainsFunc(all, func(q query.Query) bool { return q.Plan != "" }) {
		t.Errorf("a list has plans: %v", err)
	}
}

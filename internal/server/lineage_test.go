package server

import (
	"bufio"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"quire/internal/db/sqlite"
	"quire/internal/run"
)

// TestLineageIsExported ends a run while the receiver is away: its events come
// when it is back, and are in the file.
func TestLineageIsExported(t *testing.T) {
	t.Setenv("LINEAGE_TEST_KEY", "s3cret")
	ctx := t.Context()
	dir := t.TempDir()
	records, err := sqlite.Open(ctx, filepath.Join(dir, "q.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer records.Close()
	records.ExportLineage()
	var away atomic.Bool
	var bodies []string
	receiver := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if away.Load() || r.Header.Get("Authorization") != "Bearer s3cret" {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		body, _ := io.ReadAll(r.Body)
		bodies = append(bodies, string(body))
	}))
	defer receiver.Close()
	now := time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC)
	r, err := records.CreateRun(ctx, run.Run{ID: run.NewID(now), Owner: "ann", Notebook: "users/ann/a.ipynb", State: run.Queued, Parameters: []byte("{}"), Created: now})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := records.ChangeRun(ctx, r.ID, func(r run.Run) (run.Run, error) {
		r.State, r.Finished, r.Result = run.Succeeded, now, json.RawMessage(`{"records":[{"name":"wrote","value":"out.csv"}]}`)
		return r, nil
	}); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "lineage.jsonl")
	e := newExporter(LineageConfig{URL: receiver.URL, Key: "env:LINEAGE_TEST_KEY", File: file}, records, func() string { return "https://q/" }, slog.New(slog.DiscardHandler))
	e.now = func() time.Time { return now }
	round := func() {
		t.Helper()
		if err := e.round(ctx); err != nil {
			t.Fatal(err)
		}
	}
	away.Store(true)
	round()
	away.Store(false)
	if round(); len(bodies) != 0 {
		t.Fatalf("it is asked again at once: %v", bodies)
	}
	now = now.Add(15 * time.Second)
	round()
	round()
	if len(bodies) != 2 || !strings.Contains(bodies[1], `"COMPLETE"`) || !strings.Contains(bodies[1], "users/ann/out.csv") {
		t.Fatalf("the receiver was given %v", bodies)
	}
	text, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer text.Close()
	lines := 0
	for scan := bufio.NewScanner(text); scan.Scan(); lines++ {
		if !json.Valid(scan.Bytes()) || strings.Contains(scan.Text(), "s3cret") {
			t.Errorf("a line is %s", scan.Text())
		}
	}
	if lines != 2 {
		t.Errorf("%d lines, want 2", lines)
	}
	e.end()
}

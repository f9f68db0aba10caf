package server_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"quire/internal/query/duckdb"
)

// sqlNotebook is a notebook of SQL with a parameters cell.
const sqlNotebook = `{"cells": [
 {"cell_type": "code", "execution_count": null, "id": "c1", "metadata": {"tags": ["parameters"]}, "outputs": [], "source": "-- Parameters\ncountry = 'US'\nleast: int = 2"},
 {"cell_type": "code", "execution_count": null, "id": "c2", "metadata": {}, "outputs": [],
  "source": "CREATE OR REPLACE TABLE v AS SELECT * FROM (VALUES ('FR', 1), ('FR', 22), ('US', 33), ('x''; DROP TABLE v; --', 44)) t(country, n);\nINSERT INTO v VALUES ('FR', 55);\nSELECT n AS shown FROM v WHERE country = :country AND n >= :least ORDER BY n"},
 {"cell_type": "code", "execution_count": null, "id": "c3", "metadata": {}, "outputs": [], "source": "SELECT count(*) AS rows FROM v;%s"}
], "metadata": {"kernelspec": {"name": "sql", "display_name": "SQL", "language": "sql"}}, "nbformat": 4, "nbformat_minor": 5}`

// TestSQLNotebook runs notebooks of SQL on the real binary and its DuckDB, on a
// machine without a Python, as durable runs.
func TestSQLNotebook(t *testing.T) {
	t.Parallel()
	if !duckdb.Embedded() {
		t.Skip("DuckDB is not built in: tools/duckdb.sh builds it")
	}
	data := filepath.Join(t.TempDir(), "data")
	home := filepath.Join(data, "files", "users", "ann")
	if err := os.MkdirAll(home, 0o700); err != nil {
		t.Fatal(err)
	}
	for name, more := range map[string]string{"good": "", "bad": `\nSELECT *\nFROM nowhere`} {
		if err := os.WriteFile(filepath.Join(home, name+".ipynb"), fmt.Appendf(nil, sqlNotebook, more), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	none := t.TempDir()
	s := liveServer{t, startQuire(t, []string{"QUIRE_ENV=" + none, "JUPYTER_PATH=" + none, "JUPYTER_DATA_DIR=" + none, "VIRTUAL_ENV=", "PATH=/nonexistent"},
		"up", "--listen", "127.0.0.1:0", "--data", data, "--user", "ann")}
	for _, tt := range []struct {
		name, country, state string
		want                 []string
	}{
		{"good", "x'; DROP TABLE v; --", "succeeded", []string{`country = 'x''; DROP TABLE v; --'`, `"shown": 44`, `"rows": 5`, "1 row changed"}},
		{"bad", "FR", "failed", []string{`"ename": "NotFound"`, "line 3, column 6", "nowhere"}},
	} {
		status, text := s.do(http.MethodPost, "api/runs", map[string]any{"notebook": "users/ann/" + tt.name + ".ipynb", "parameters": map[string]any{"country": tt.country}})
		var made struct {
			ID string `json:"id"`
		}
		if err := json.Unmarshal(text, &made); status != http.StatusCreated || err != nil {
			t.Fatalf("%s: %d %s %v", tt.name, status, text, err)
		}
		id := made.ID
		ended := s.await("api/runs/"+id, func(run map[string]any) bool { return run["finished"] != "0001-01-01T00:00:00Z" })
		if ended["state"] != tt.state {
			t.Errorf("%s: %v: %v", tt.name, ended["state"], ended["reason"])
		}
		out := s.text("api/runs/" + id + "/output")
		for _, want := range tt.want {
			if !strings.Contains(strings.ReplaceAll(out, `": `, `":`), strings.ReplaceAll(want, `": `, `":`)) {
				t.Errorf("%s: the output has no %s:\n%.3000s", tt.name, want, out)
			}
		}
	}
}

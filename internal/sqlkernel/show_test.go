package sqlkernel

import (
	"encoding/json"
	"strings"
	"testing"

	"quire/internal/query"
)

// What is shown is bounded, says so, and is escaped.
func TestBundle(t *testing.T) {
	t.Parallel()
	page := query.Page{Columns: []query.Column{{Name: "<b>", Type: "utf8"}, {Name: "n", Type: "decimal128(9, 2)"}, {Name: "f", Type: "double"}}}
	long, err := json.Marshal(strings.Repeat("é", 5000))
	if err != nil {
		t.Fatal(err)
	}
	for range 1000 {
		page.Rows = append(page.Rows, []json.RawMessage{long, []byte(`"1.50"`), []byte(`"NaN"`)})
	}
	page.Rows[0][0] = []byte(`"<script>\u001b[31m\n"`)
	got := bundle(page, query.Query{Rows: 1_234_567, Truncated: true, Connection: "local"})
	table, err := json.Marshal(got["application/vnd.dataresource+json"])
	if err != nil || len(table) > maxResource+1<<16 || !strings.Contains(string(table), `"n":1.50`) || !strings.Contains(string(table), `"f":null`) {
		t.Errorf("%d bytes, %v: %.300s", len(table), err, table)
	}
	for form, limit := range map[string]int{"text/html": 1 << 20, "text/plain": 1 << 16} {
		text, _ := got[form].(string)
		if len(text) > limit || strings.Contains(text, "<script>") && form == "text/html" || strings.Contains(text, "\x1b") && form == "text/plain" {
			t.Errorf("%s: %d bytes: %.300s", form, len(text), text)
		}
		for _, want := range []string{"1,234,567 rows × 3 columns", "are shown", "limit of rows", "local"} {
			if !strings.Contains(text, want) {
				t.Errorf("%s does not say %q", form, want)
			}
		}
	}
}

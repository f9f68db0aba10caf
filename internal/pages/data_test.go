package pages

import (
	"encoding/json"
	"strings"
	"testing"

	"quire/internal/query"
)

func TestResultForTheExplorer(t *testing.T) {
	t.Parallel()
	row := func(values ...string) (all []json.RawMessage) {
		for _, v := range values {
			all = append(all, json.RawMessage(v))
		}
		return all
	}
	long := strings.Repeat("x", 2*maxCell)
	got := explored(query.Page{
		Columns: []query.Column{{Name: "n", Type: "int64"}, {Name: "d", Type: "decimal(20, 2)"}, {Name: "n", Type: "utf8"}},
		Rows: [][]json.RawMessage{
			row("7", `"12.50"`, `"12.50"`), row(`"9007199254740993"`, `"NaN"`, "null"), row("1", `"12345678901234567.89"`, `"`+long+`"`),
			row("2", `"-1e999"`, `["`+long+`"]`),
		},
	})
	data, err := json.Marshal(got)
	if err != nil {
		t.Fatal(err)
	}
	text := string(data)
	for _, want := range []string{`"names":["n","d","n 2"]`, `[7,12.50,"12.50"]`, `["9007199254740993",null,null]`, `"12345678901234567.89"`, `"-1e999"`, `x…"`} {
		if !strings.Contains(text, want) {
			t.Errorf("%s is not in %s", want, text)
		}
	}
	if strings.Contains(text, long) {
		t.Error("a long value is sent whole")
	}
}

package viewer

import (
	"bufio"
	"bytes"
	"encoding/json"
	"os"
	"strings"
	"testing"
)

// TestANSI holds terminal text to a file that the editor's web/src/outputs is held
// to as well.
func TestANSIFile(t *testing.T) {
	t.Parallel()
	const file = "testdata/ansi.json"
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var cases []struct {
		Text string `json:"text"`
		HTML string `json:"html"`
	}
	if err := json.Unmarshal(data, &cases); err != nil || len(cases) < 20 {
		t.Fatalf("%d cases, %v", len(cases), err)
	}
	for i, c := range cases {
		var b strings.Builder
		w := bufio.NewWriter(&b)
		writeANSI(w, c.Text)
		_ = w.Flush()
		if *update {
			cases[i].HTML = b.String()
		} else if b.String() != c.HTML {
			t.Errorf("%q:\n got %s\nwant %s", c.Text, b.String(), c.HTML)
		}
	}
	if *update {
		var out bytes.Buffer
		enc := json.NewEncoder(&out)
		enc.SetEscapeHTML(false)
		enc.SetIndent("", " ")
		if err := enc.Encode(cases); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, out.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

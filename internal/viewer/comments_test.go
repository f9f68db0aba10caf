package viewer

import (
	"strings"
	"testing"

	"quire/internal/notebook"
)

// TestComments: comments are shown as text, resolved ones are not.
func TestComments(t *testing.T) {
	t.Parallel()
	c := notebook.NewCode("x")
	c.ID = "a"
	c.Metadata = notebook.Object{"quire_comments": []any{
		notebook.Object{"author": "Ann <b>", "at": "2026-11-30T08:00:00Z", "text": "Why <script>alert(1)</script>?"},
		notebook.Object{"author": "Bob", "at": "not a time\"><img>", "text": "and this"},
		notebook.Object{"author": "Bob", "text": "settled", "resolved": true},
		"no comment",
		notebook.Object{"text": int64(3)},
	}}
	nb := emptyNotebook()
	nb.Cells = append(nb.Cells, c)
	var b strings.Builder
	if err := RenderCell(&b, nb, 0, Options{}); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"Ann &lt;b&gt;", "Why &lt;script&gt;", "2026-11-30 08:00 UTC", "and this"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("the cell lacks %q: %s", want, b.String())
		}
	}
	for _, bad := range []string{"<script", "<img", "settled", "not a time"} {
		if strings.Contains(b.String(), bad) {
			t.Errorf("the cell has %q: %s", bad, b.String())
		}
	}
}

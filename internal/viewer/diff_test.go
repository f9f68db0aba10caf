package viewer

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"quire/internal/notebook"
)

func withID(id string, c *notebook.Cell) *notebook.Cell {
	c.ID = id
	return c
}

func stream(text string) *notebook.Output {
	return &notebook.Output{Type: notebook.Stream, Name: "stdout", Text: text}
}

func TestCompare(t *testing.T) {
	t.Parallel()
	base := func() *notebook.Notebook {
		return document(withID("a", prose("# Title")), withID("b", code("x = 1", stream("1\n"))), withID("c", code("y = load(x)\nprint(y)", stream("2\n"))))
	}
	for _, tt := range []struct {
		name string
		edit func(nb *notebook.Notebook)
		want string
		same bool
	}{
		{"same", func(*notebook.Notebook) {}, "Same source and outputs", true},
		{"counts and times are noise", func(nb *notebook.Notebook) {
			n := int64(9)
			nb.Cells[1].ExecutionCount = &n
			nb.Cells[1].Metadata = notebook.Object{"papermill": notebook.Object{"duration": notebook.Number("3")}}
		}, "Same source and outputs", true},
		{"outputs", func(nb *notebook.Notebook) {
			nb.Cells[1].Outputs[0] = stream("3\n")
			nb.Cells[2].Outputs = nil
		}, "Same source; outputs differ in 2 cells", false},
		{"source", func(nb *notebook.Notebook) { nb.Cells[1].Source = "x = 2" }, "Source differs in 1 cell", false},
		{"new ids", func(nb *notebook.Notebook) {
			for i, c := range nb.Cells {
				c.ID = fmt.Sprint("new", i)
			}
			nb.Cells[2].Source = "y = load(x, 2)\nprint(y)"
		}, "Source differs in 1 cell", false},
		{"added", func(nb *notebook.Notebook) {
			nb.Cells = append([]*notebook.Cell{withID("n", code("import os"))}, nb.Cells...)
		}, "1 cell added", false},
		{"removed", func(nb *notebook.Notebook) { nb.Cells = nb.Cells[1:] }, "1 cell removed", false},
		{"replaced", func(nb *notebook.Notebook) { nb.Cells[0] = withID("z", prose("Something else entirely")) }, "1 cell added; 1 cell removed", false},
		{"parameters", func(nb *notebook.Notebook) {
			nb.Metadata["papermill"] = notebook.Object{"parameters": notebook.Object{"n": notebook.Number("1")}}
		}, "Same source; same outputs; 1 parameter changed", false},
		{"all gone", func(nb *notebook.Notebook) { nb.Cells = nil }, "3 cells removed", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			b := base()
			tt.edit(b)
			d := Compare(base(), b)
			if d.Summary != tt.want || d.Same != tt.same {
				t.Errorf("summary %q, same %v; want %q, %v", d.Summary, d.Same, tt.want, tt.same)
			}
			back := Compare(b, base())
			if back.Same != tt.same || len(back.Cells) != len(d.Cells) {
				t.Errorf("the other way round: %q", back.Summary)
			}
		})
	}
}

// TestEditsRebuild checks on random texts that the edits give both texts back
// and keep a longest common subsequence.
func TestEditsRebuild(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(1, 2))
	random := func() []string {
		out := make([]string, rng.IntN(14))
		for i := range out {
			out[i] = string(rune('a' + rng.IntN(4)))
		}
		return out
	}
	for range 3000 {
		la, lb := random(), random()
		var a, b []string
		kept := 0
		for _, e := range lineEdits(strings.Join(la, "\n"), strings.Join(lb, "\n")) {
			if e.Op != "+" {
				a = append(a, e.Text)
			}
			if e.Op != "-" {
				b = append(b, e.Text)
			}
			if e.Op == " " {
				kept++
			}
		}
		if strings.Join(a, "\n") != strings.Join(la, "\n") || strings.Join(b, "\n") != strings.Join(lb, "\n") {
			t.Fatalf("%q, %q: rebuilt %q, %q", la, lb, a, b)
		}
		if want := longestCommon(la, lb); kept != want {
			t.Fatalf("%q, %q: %d lines kept, want %d", la, lb, kept, want)
		}
	}
}

func longestCommon(a, b []string) int {
	best := make([][]int, len(a)+1)
	for i := range best {
		best[i] = make([]int, len(b)+1)
	}
	for i := range a {
		for j := range b {
			if a[i] == b[j] {
				best[i+1][j+1] = best[i][j] + 1
			} else {
				best[i+1][j+1] = max(best[i][j+1], best[i+1][j])
			}
		}
	}
	return best[len(a)][len(b)]
}

// TestCompareIsBounded compares texts and notebooks that have nothing in common.
func TestCompareIsBounded(t *testing.T) {
	t.Parallel()
	big := func(word string) *notebook.Notebook {
		var b strings.Builder
		for i := range 12000 {
			fmt.Fprintf(&b, "%s %d\n", word, i)
		}
		nb := document(code(b.String(), stream(b.String())))
		for i := range 700 {
			nb.Cells = append(nb.Cells, code(fmt.Sprintf("%s = %d + %s", word, i, word)))
		}
		return nb
	}
	start := time.Now()
	d := Compare(big("a"), big("b"))
	if took := time.Since(start); took > 2*time.Minute {
		t.Errorf("took %v", took)
	}
	if d.Same {
		t.Error("they are not the same")
	}
}

func TestDiffForms(t *testing.T) {
	t.Parallel()
	payload := `"></script><script>__pwn=1</script>` + "\x1b]0;x\x07"
	a := document(prose("one"), code("x = 1\n"+payload, display("image/png", "AAAA"), display("text/html", payload)), code("same"))
	b := document(prose(payload), code("x = 2\n"+payload, display("image/png", "BBBB"), display("text/html", "<b>"+payload)), code("same"))
	b.Metadata["papermill"] = notebook.Object{"parameters": notebook.Object{payload: payload, "nan": notebook.Number("NaN"), "deep": notebook.Object{"a": []any{notebook.Number("1"), nil}}}}
	d := Compare(a, b)
	var page, plain, js bytes.Buffer
	if err := RenderDiff(&page, d, Options{}); err != nil {
		t.Fatal(err)
	}
	for _, f := range faults(page.String()) {
		t.Error(f)
	}
	for _, want := range []string{"Cell 2, code", "data:image/png;base64,AAAA", "data:image/png;base64,BBBB", "x = 1", "x = 2", "1 cell is the same"} {
		if !strings.Contains(page.String(), want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	if err := d.WriteText(&plain, false); err != nil {
		t.Fatal(err)
	}
	if strings.ContainsAny(plain.String(), "\x1b\x07") || !strings.Contains(plain.String(), "- x = 1\n  + x = 2\n") {
		t.Errorf("text: %q", plain.String())
	}
	if err := d.WriteJSON(&js); err != nil {
		t.Fatal(err)
	}
	var back map[string]any
	if !strings.Contains(plain.String(), `deep: – → {"a": [1, null]}`) {
		t.Errorf("text: %q", plain.String())
	}
	if err := json.Unmarshal(js.Bytes(), &back); err != nil || back["summary"] != d.Summary {
		t.Errorf("JSON: %v: %s", err, js.String())
	}
}

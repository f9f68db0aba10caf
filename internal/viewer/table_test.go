package viewer

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"quire/internal/notebook"
)

// A tableCase is a file of testdata/tables: an output, and what its table holds.
// web/src/explorer reads the same files.
type tableCase struct {
	Output json.RawMessage `json:"output"`
	DX     json.RawMessage `json:"dx"`
	Names  []string        `json:"names"`
	Rows   [][]any         `json:"rows"`
	Whole  int             `json:"whole"`
	Title  string          `json:"title"` // of the chart that dx asks for
}

func tableCases(t *testing.T) map[string]tableCase {
	t.Helper()
	files, err := filepath.Glob("testdata/tables/*.json")
	if err != nil || len(files) < 5 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	cases := map[string]tableCase{}
	for _, f := range files {
		data, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		var c tableCase
		if err := json.Unmarshal(data, &c); err != nil {
			t.Fatalf("%s: %v", f, err)
		}
		cases[filepath.Base(f)] = c
	}
	return cases
}

func TestReadTable(t *testing.T) {
	t.Parallel()
	for name, c := range tableCases(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o, err := notebook.UnmarshalOutput(c.Output)
			if err != nil {
				t.Fatal(err)
			}
			got := ReadTable(o)
			if got == nil {
				t.Fatal("no table was found")
			}
			text, err := json.Marshal(got.Rows)
			if err != nil {
				t.Fatal(err)
			}
			var rows [][]any
			if err := json.Unmarshal(text, &rows); err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(c.Names, got.Names) + cmp.Diff(c.Rows, rows) + cmp.Diff(c.Whole, got.Whole); d != "" {
				t.Errorf("-want +got:\n%s", d)
			}
			if c.DX == nil {
				return
			}
			pic, err := DrawTable(o, c.DX)
			if err != nil || pic == nil || pic.Title != c.Title {
				t.Errorf("the chart is %v, %v; want %q", pic, err, c.Title)
			}
		})
	}
}

// TestChosenChart checks that a chart that somebody chose stands on the page,
// above its table, from wherever the choice is kept.
func TestChosenChart(t *testing.T) {
	t.Parallel()
	table := display(mimeTable, `{"schema":{"fields":[{"name":"city"},{"name":"n"}]},"data":[{"city":"Rome","n":3},{"city":"Oslo","n":5}]}`)
	bars := notebook.Object{"view": "bar", "chart": notebook.Object{"dim1": "city", "metric1": "n"}}
	inOutput := *table
	inOutput.Metadata = notebook.Object{mimeTable: notebook.Object{"dx": bars}}
	cell := code("", table)
	cell.Metadata["dx"] = notebook.Object{"0": bars}
	for name, nb := range map[string]*notebook.Notebook{"cell": document(cell), "nteract": document(code("", &inOutput))} {
		for _, opts := range []Options{{}, {Standalone: true}} {
			page := render(t, nb, opts)
			at, fold, rows := strings.Index(page, `<figcaption>n by city`), strings.Index(page, "<summary>Table"), strings.Index(page, `<table class="q-table"`)
			if at < 0 || fold < at || rows < fold || strings.Count(page, "<svg") != 1 {
				t.Errorf("%s: figure at %d, fold at %d, table at %d", name, at, fold, rows)
			}
		}
	}
	for why, dx := range map[string]notebook.Object{"a table": {"view": "grid"}, "": {"view": "parallel"}} {
		cell := code("", table)
		cell.Metadata["dx"] = notebook.Object{"0": dx}
		page := render(t, document(cell), Options{})
		if strings.Contains(page, "<svg") || !strings.Contains(page, `<table class="q-table"`) || (why == "") != strings.Contains(page, "cannot be drawn") {
			t.Errorf("view %v is not shown as its table", dx)
		}
	}
}

func TestRenderOutput(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name  string
		o     *notebook.Output
		dx    string
		want  string
		frame string
	}{
		{"html", display("text/html", "<b>x</b>"), "", `<div class="q-out q-html q-text"><b>x</b></div>`, ""},
		{"markdown", display("text/markdown", "*x*"), "", "<em>x</em>", ""},
		{"script", display("text/html", "<b>x</b><script>1</script>"), "", "", mimeHTML},
		{"plotly", display("application/vnd.plotly.v1+json", "{}", "text/plain", "x"), "", "", "application/vnd.plotly.v1+json"},
		{"map", display("application/geo+json", `{"type":"Point","coordinates":[1,2]}`), "", "Map of one shape", ""},
		{"not a map", display("application/geo+json", `{"type":"x"}`), "", `class="q-out q-json"`, ""},
		{"chart", display("text/html", "<table><tr><th>a</th><th>n</th></tr><tr><td>x</td><td>1</td></tr></table>"), `{"view":"bar"}`, "<svg", ""},
		{"picture", display("image/png", "AAAA"), "", `alt="Plot output of cell 3"`, ""},
	} {
		var dx []byte
		if tt.dx != "" {
			dx = []byte(tt.dx)
		}
		got := RenderOutput(tt.o, 3, dx, Options{})
		if got.Frame != tt.frame || !strings.Contains(got.HTML, tt.want) {
			t.Errorf("%s: %+v", tt.name, got)
		}
	}
}

func TestShell(t *testing.T) {
	t.Parallel()
	for _, kind := range Shells {
		page, csp, err := Shell(kind, "/static/")
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasPrefix(csp, "sandbox allow-scripts; default-src 'none'; ") || strings.Contains(csp, "connect-src") || strings.Contains(csp, "allow-same-origin") {
			t.Errorf("%s: the policy is %s", kind, csp)
		}
		if inline := strings.Contains(csp, "unsafe-inline' 'unsafe-eval"); inline != (kind == "html") || strings.Contains(page, "<script>") != (kind == "html") {
			t.Errorf("%s: inline script %v", kind, inline)
		}
	}
	if _, _, err := Shell("x", ""); err == nil {
		t.Error("there is a shell of another kind")
	}
}

func FuzzReadTable(f *testing.F) {
	f.Add("<table><thead><tr><th></th><th>a</th></tr></thead><tbody><tr><th rowspan=2>x</th><td colspan=9>1</td></tr><tr><td>...</td></tr></tbody></table><p>9 rows × 2 columns</p>")
	f.Add("<table><tr><td rowspan=99999999 colspan=99999999>x")
	f.Fuzz(func(t *testing.T, src string) {
		table := ReadTable(display("text/html", src))
		if table == nil {
			return
		}
		seen := map[string]bool{}
		for _, n := range table.Names {
			if seen[n] {
				t.Errorf("two columns %q", n)
			}
			seen[n] = true
		}
		if _, err := json.Marshal(table.Rows); err != nil {
			t.Error(err)
		}
		_ = table.Chart()
	})
}

func TestTablesSayWhereTheirValuesAre(t *testing.T) {
	t.Parallel()
	nb, err := notebook.Parse([]byte(`{"nbformat":4,"nbformat_minor":5,"metadata":{},"cells":[{"cell_type":"code","id":"a","source":"","execution_count":1,
"metadata":{"dx":{"1":{"view":"bar"}}},"outputs":[
{"output_type":"display_data","metadata":{},"data":{"text/html":"<table><tr><td>1</td></tr></table>"}},
{"output_type":"display_data","metadata":{},"data":{"text/html":"<table border=1 class=\"dataframe\"><tr><td>1</td></tr></table>"}},
{"output_type":"display_data","metadata":{},"data":{"application/vnd.dataresource+json":{"data":[{"n":1}]}}}]}]}`))
	if err != nil {
		t.Fatal(err)
	}
	show := func(opts Options) string {
		var b strings.Builder
		if err := Render(&b, nb, opts); err != nil {
			t.Fatal(err)
		}
		return b.String()
	}
	at := func(cell, output int) string { return "/output/x?a=\"1\"&output=" + string(rune('0'+output)) }
	page := show(Options{TableURL: at})
	for output, want := range []bool{false, true, true} {
		mark := `<div data-table="/output/x?a=&#34;1&#34;&amp;output=` + string(rune('0'+output)) + `" data-label="Table of cell 1">`
		if strings.Contains(page, mark) != want {
			t.Errorf("output %d has its address: %v, want %v", output, !want, want)
		}
	}
	if strings.Contains(show(Options{TableURL: at, Standalone: true}), "data-table") || strings.Contains(show(Options{}), "data-table") {
		t.Error("a page without a server names an address")
	}
	if dx := ChartOf(nb.Cells[0], 1); string(dx) != `{"view": "bar"}` || ChartOf(nb.Cells[0], 2) != nil {
		t.Errorf("the charts are %s and %s", dx, ChartOf(nb.Cells[0], 2))
	}
}

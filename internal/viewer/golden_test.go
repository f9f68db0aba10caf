package viewer

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"quire/internal/notebook"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func every(tb testing.TB) *notebook.Notebook {
	tb.Helper()
	data, err := os.ReadFile("testdata/every.in.ipynb")
	if err != nil {
		tb.Fatal(err)
	}
	nb, err := notebook.Parse(data)
	if err != nil {
		tb.Fatal(err)
	}
	return nb
}

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(strings.Split(string(want), "\n"), strings.Split(string(got), "\n")); d != "" {
		t.Errorf("%s differs (-want +got); rewrite it with -update if that is meant:\n%s", name, d)
	}
}

// TestGolden holds the pages of a notebook that has every kind of output.
func TestGolden(t *testing.T) {
	t.Parallel()
	for name, opts := range map[string]Options{
		"every.served.html": {
			FrameURL: func(cell, output int) string {
				return "https://frames.test/" + string(rune('a'+cell)) + string(rune('a'+output))
			},
			OutputURL: func(int, int, string) string { return "/files/output" },
			Actions:   []Action{{Label: "Run with parameters", URL: "/run/x", Primary: true}}, Byline: []string{"v7"},
		},
		"every.static.html": {Fragment: true, HideCode: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			nb := every(t)
			page := render(t, nb, opts)
			for _, f := range inspect(page, len(nb.Cells)) {
				t.Error(f)
			}
			golden(t, name, []byte(page))
		})
	}
	t.Run("exports", func(t *testing.T) {
		t.Parallel()
		var script, md bytes.Buffer
		if err := WriteScript(&script, every(t)); err != nil {
			t.Fatal(err)
		}
		if err := WriteMarkdown(&md, every(t)); err != nil {
			t.Fatal(err)
		}
		golden(t, "every.py.txt", script.Bytes())
		golden(t, "every.md.txt", md.Bytes())
	})
}

// TestStandalone checks that the page needs nothing else and allows no script.
func TestStandalone(t *testing.T) {
	t.Parallel()
	page := render(t, every(t), Options{Standalone: true})
	for _, want := range []string{"<style>" + Stylesheet() + "</style>", esc(StylesheetHash()), "default-src &#39;none&#39;"} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %.60q", want)
		}
	}
	for _, not := range []string{"<iframe", "<link", "url(", "@import"} {
		if strings.Contains(page, not) {
			t.Errorf("the page has %q", not)
		}
	}
	if strings.Contains(Stylesheet(), "</") {
		t.Error("the stylesheet could end the element that it stands in")
	}
}

package viewer

import (
	"strings"
	"testing"

	"quire/internal/notebook"
)

// page renders the cells as one page.
func pageOf(t *testing.T, opts Options, cells ...*notebook.Cell) string {
	t.Helper()
	nb := document()
	nb.Cells = cells
	var out strings.Builder
	if err := Render(&out, nb, opts); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

// What a cache gives must be what no cache would have made, on every page.
func TestCacheChangesNothing(t *testing.T) {
	t.Parallel()
	link := func(dir string) func(string) string {
		return func(ref string) string { return "/view/" + dir + "/" + ref }
	}
	cells := []*notebook.Cell{
		prose("# One\n\n## Same\n\ntext"),
		prose("## Same\n\n$x^2$ and [a](other.ipynb#Same) ![p](plot.png)\n"),
		prose("## Same\n\n# *Two* `code` <b>&amp;</b>\n\n```python\nx = 1 < 2\n```\n[#](#Same) <https://example.org>"),
		prose("## Same\n\ntext"), code("def f(x):\n    return 'a' < x  # é"),
	}
	cache := NewCache(0)
	for _, dir := range []string{"a", "b", "a"} {
		opts := Options{LinkURL: link(dir), ImageURL: func(ref string) string { return "/files/" + dir + "/" + ref }}
		want := pageOf(t, opts, cells...)
		opts.Cache = cache
		for range 2 {
			if got := pageOf(t, opts, cells...); got != want {
				t.Fatalf("page in %s with a cache:\n%s\nwithout:\n%s", dir, got, want)
			}
		}
		if !strings.Contains(want, `id="n-Same-3"`) || !strings.Contains(want, "/view/"+dir+"/other.ipynb") {
			t.Fatalf("the page lacks what the test is about:\n%s", want)
		}
	}
	opts := Options{Cache: cache}
	if got, want := pageOf(t, opts, cells...), pageOf(t, Options{}, cells...); got != want {
		t.Fatalf("a page without links, with a cache:\n%s\nwithout:\n%s", got, want)
	}
}

// The mark of a heading's id is not to be guessed, and no text can hold a part of it.
func TestHeadingsAreNotForged(t *testing.T) {
	t.Parallel()
	got := pageOf(t, Options{Cache: NewCache(0)}, prose("# qh0z\n\n<h2 id=\"qh0z\">x</h2> qz0z qh1z [a](#qh0z)"))
	if strings.Count(got, `id="n-qh0z"`) != 2 || !strings.Contains(got, "qz0z qh1z") {
		t.Fatalf("marks of the author's own are text:\n%s", got)
	}
}

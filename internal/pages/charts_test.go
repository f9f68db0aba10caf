package pages_test

import (
	"net/url"
	"strings"
	"testing"
)

// TestCharts looks for the charts of one notebook's runs on their pages, under
// hostile names and values.
func TestCharts(t *testing.T) {
	t.Parallel()
	b := setup(t)
	const runs = "/runs?notebook=users/ann/a.ipynb"
	if page := b.get(runs, 200); strings.Contains(page, "<svg class=\"q-svg\"") {
		t.Error("a chart of no runs")
	}
	for _, days := range []string{"1", "2", "3"} {
		b.submit(url.Values{"p.country": {"US"}, "p.days": {days}})
	}
	page := b.get(runs, 200)
	b.check(runs, page)
	if !strings.Contains(page, "Duration of the last 3 runs: 0 of 3 succeeded") || strings.Count(page, `class="q-m-bad"`) != 3 || !strings.Contains(page, `aria-label="How the runs went"`) {
		t.Error("the history of the runs is not there")
	}
	for _, target := range []string{runs + "&view=results", runs + "&view=results&x=days&y=score&by=", runs + "&view=results&x=" + url.QueryEscape(evil) + "&y=nothing&by=" + url.QueryEscape(evil)} {
		page := b.get(target, 200)
		b.check(target, page)
		if !strings.Contains(page, `aria-label="Chart of the results"`) || !strings.Contains(page, `<select id="chart-x" name="x">`) {
			t.Errorf("%s has no chart", target)
		}
	}
	if page := b.get(runs+"&view=results&x=days&by=", 200); !strings.Contains(page, "score against days") || strings.Count(page, `<a href="/runs/`) < 6 {
		t.Error("the points do not lead to their runs")
	}
	id := b.submit(url.Values{"p.country": {"US"}, "p.days": {"4"}})
	if page := b.get("/runs/"+id+"/compute", 200); !strings.Contains(page, "nothing is measured") {
		t.Error("a run without a container does not say that nothing is measured")
	}
	b.get("/runs/"+id+"/compute?attempt=x", 400)
	b.get("/runs/"+id+"/compute?attempt=99", 404)
}

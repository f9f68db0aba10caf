package chart

import (
	"strings"
	"testing"
)

// TestStepsAreInOrder lays out a diamond with a long edge: every step stands to
// the right of those that it comes after, and no box covers another.
func TestStepsAreInOrder(t *testing.T) {
	t.Parallel()
	steps := []Step{
		{Name: "find"},
		{Name: "load", After: []string{"find"}},
		{Name: "check", After: []string{"find"}},
		{Name: "report", After: []string{"load", "check", "find"}},
		{Name: "alone"},
		{Name: "x", After: []string{"y", "nobody", "x"}},
		{Name: "y", After: []string{"x"}}, // a circle
	}
	places, links := arrange(steps)
	at := map[string]place{}
	for _, p := range places {
		if p.step >= 0 {
			at[steps[p.step].Name] = p
		}
	}
	for _, pair := range [][2]string{{"find", "load"}, {"find", "check"}, {"load", "report"}, {"check", "report"}} {
		if at[pair[0]].x+boxWide >= at[pair[1]].x {
			t.Errorf("%s does not stand left of %s", pair[0], pair[1])
		}
	}
	for i, a := range places {
		for _, b := range places[i+1:] {
			if a.x == b.x && a.y < b.y+boxHigh && b.y < a.y+boxHigh {
				t.Errorf("two places are at %v and %v", a, b)
			}
		}
	}
	ends := 0
	for _, l := range links {
		if places[l.to].rank != places[l.from].rank+1 {
			t.Errorf("a piece of a line spans ranks %d to %d", places[l.from].rank, places[l.to].rank)
		}
		if l.last {
			ends++
		}
	}
	if ends < 5 {
		t.Errorf("%d lines end at a step, want at least 5", ends)
	}
}

func TestStepsEscape(t *testing.T) {
	t.Parallel()
	evil := `"><script>x</script>`
	svg := Steps(evil, []Step{{Name: evil, Label: evil, Note: evil, Sign: "✕", State: "bad", Link: evil, Edge: evil}, {Name: "b", After: []string{evil}, Edge: evil}}).Figure()
	if strings.Contains(svg, "<script") {
		t.Errorf("hostile text became an element: %s", svg)
	}
	if n := strings.Count(svg, "q-step-head"); n != 1 {
		t.Errorf("%d lines end at a step, want 1", n)
	}
}

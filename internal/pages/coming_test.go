package pages_test

import (
	"net/http"
	"strings"
	"testing"

	"golang.org/x/net/html"
)

// TestComing looks at what will fire, with schedules that fire often, rarely and
// not at all.
func TestComing(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.check("nothing", b.get("/schedules?view=day", http.StatusOK))
	for name, trigger := range map[string]string{"hourly": "every: 1h", "daily": `cron: "30 6 * * *"`, "paused": "every: 1m", "often": "every: 10s"} {
		text := "schedule: 1\nname: " + name + "\nnotebook: users/ann/a.ipynb\ntriggers: [{" + trigger + "}]\n"
		if _, _, err := b.schedules.Apply(t.Context(), ann, []byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := b.schedules.Pause(t.Context(), ann, "paused", ""); err != nil {
		t.Fatal(err)
	}
	day := b.get("/schedules?view=day", http.StatusOK)
	b.check("day", day)
	if !strings.Contains(day, "later fires are not shown") || strings.Contains(day, "/schedules/paused") || !strings.Contains(day, "1 paused schedule is left out") {
		t.Error("the day shows too much, or a schedule that is paused")
	}
	columns, entries := 0, 0
	each(b.check("week", b.get("/schedules?view=week", http.StatusOK)), func(n *html.Node) {
		switch {
		case n.Data == "th":
			columns++
		case n.Data == "a" && attr(n, "href") == "/schedules/daily":
			entries++
		}
	})
	if columns != 7 || entries < 6 {
		t.Errorf("the week has %d days, %d of them with the daily schedule", columns, entries)
	}
}

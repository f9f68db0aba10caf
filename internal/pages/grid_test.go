package pages_test

import (
	"database/sql"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"quire/internal/schedule"
)

// fiveSteps is a definition of five steps, each hour.
func fiveSteps(name string) []byte {
	text := "schedule: 1\nname: " + name + "\ntriggers: [{cron: 0 * * * *}]\nsteps:\n"
	before := ""
	for i := range 5 {
		text += fmt.Sprintf("- {name: s%d, notebook: users/ann/d.ipynb, after: [%s]}\n", i, before)
		before = fmt.Sprintf("s%d", i)
	}
	return []byte(text)
}

// seedFires writes n ended fires of five runs each into the records, by hand:
// nobody wants to wait for them.
func (b *bundle) seedFires(id, lane string, n int) {
	b.Helper()
	handle, err := sql.Open("sqlite", b.records)
	if err != nil {
		b.Fatal(err)
	}
	defer handle.Close()
	var tasks []string
	for i := range 5 {
		tasks = append(tasks, fmt.Sprintf(`{"step":"s%d","index":-1,"state":"succeeded","notebook":"users/ann/d.ipynb","version":1,"parameters":{"day":"2026-01-01","country":"FR"},`+
			`"try":1,"run":"06h2r7ep6tjqf8msnkwbffs8v0","started":"2026-01-01T00:00:00Z","finished":"2026-01-01T00:00:0%dZ","outputs":{"rows":42}}`, i, i+1))
	}
	body := `"count":1,"revision":1,"state":"succeeded","started":"2026-01-01T00:00:00Z","finished":"2026-01-01T00:00:05Z","tasks":[` + strings.Join(tasks, ",") + `]}`
	_, err = handle.Exec(`PRAGMA busy_timeout = 60000;
		WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < ?1 - 1)
		INSERT INTO fires (id, schedule, lane, slot, state, body)
		SELECT printf('%s%024d', ?4, i), ?2, ?3, 1000000 * (1700000000 + i * 3600), 'succeeded',
			'{"id":"' || printf('%s%024d', ?4, i) || '","schedule":"' || ?2 || '","lane":"' || ?3 || '","slot":"' || strftime('%Y-%m-%dT%H:%M:%SZ', 1700000000 + i * 3600, 'unixepoch') || '",' || ?5
		FROM n`, n, id, lane, "f"+lane[:min(len(lane), 3)], body)
	if err != nil {
		b.Fatal(err)
	}
}

// TestGridOfManyFires turns the pages of a grid and finds each fire once.
func TestGridOfManyFires(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.save("users/ann/d.ipynb", notebookOf(code("a", "1", "", "")))
	one, _, err := b.schedules.Apply(t.Context(), ann, fiveSteps("many"))
	if err != nil {
		t.Fatal(err)
	}
	b.seedFires(one.ID, "", 130)
	seen := map[string]bool{}
	at := "/schedules/many/grid?lane=own&n=60"
	for _, want := range []int{60, 60, 10} {
		page := b.get(at, http.StatusOK)
		b.check(at, page)
		if n := strings.Count(page, "<td><a "); n != 5*want {
			t.Fatalf("%s has %d cells, want %d", at, n, 5*want)
		}
		for part := range strings.SplitSeq(page, "/schedules/many/fires/") {
			if id, _, ok := strings.Cut(part, `"`); ok && strings.HasPrefix(id, "f0") {
				seen[id] = true
			}
		}
		_, after, _ := strings.Cut(page, `>Show</button> <a class="q-button" href="`)
		at, _, _ = strings.Cut(after, `"`)
		at = strings.ReplaceAll(at, "&amp;", "&")
	}
	if len(seen) != 130 {
		t.Errorf("the pages have %d fires, want 130", len(seen))
	}
}

// BenchmarkGrid shows a page of the grid of a schedule with 1,000,000 runs in
// 200,000 fires, the grid of a month's hourly backfill (3,600 runs), and the
// overview. Promises: 200 ms, 1 s.
func BenchmarkGrid(bench *testing.B) {
	b := setup(bench)
	b.save("users/ann/d.ipynb", notebookOf(code("a", "1", "", "")))
	one, _, err := b.schedules.Apply(bench.Context(), ann, fiveSteps("many"))
	if err != nil {
		bench.Fatal(err)
	}
	began := time.Now()
	b.seedFires(one.ID, "", 200_000)
	from := time.Unix(1_700_000_000, 0).Truncate(time.Hour)
	bench.Logf("200,000 fires were made in %s", time.Since(began))
	began = time.Now()
	back, err := b.schedules.Backfill(bench.Context(), ann, "many", schedule.BackfillRequest{From: from, To: from.Add(719 * time.Hour), Parallel: 1, Paused: true})
	if err != nil {
		bench.Fatal(err)
	}
	bench.Logf("720 fires of five steps were planned in %s", time.Since(began))
	b.seedFires(one.ID, "monthly", 720)
	old := fmt.Sprintf("f%024d", 100_000)
	for _, page := range []struct{ name, at string }{
		{"newest", "/schedules/many/grid?lane=own"},
		{"middle", "/schedules/many/grid?n=60&cursor=" + old},
		{"month", "/schedules/many/grid?lane=monthly&n=1000"},
		{"waiting", "/schedules/many/grid?lane=" + back.ID + "&n=1000"},
		{"overview", "/schedules/many"},
	} {
		bench.Run(page.name, func(bench *testing.B) {
			for bench.Loop() {
				b.get(page.at, http.StatusOK)
			}
		})
	}
}

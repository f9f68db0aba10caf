package pages_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
)

// TestSchedulePages makes a schedule of a notebook in the form and does with it
// what its page offers.
func TestSchedulePages(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.check("/schedules", b.get("/schedules", http.StatusOK))
	form := b.get("/schedule/users/ann/a.ipynb", http.StatusOK)
	b.check("/schedule", form)
	if strings.Contains(form, `name="p.token"`) {
		t.Error("the form asks for a secret")
	}
	values := url.Values{
		"name": {"nightly"}, "cron": {"30 2 * * *"}, "timezone": {"America/New_York"}, "source": {"snapshot"}, "strategy": {"sequential"},
		"catchUp": {"all"}, "p.days": {"3"}, "p.title": {"of {{ ds }} " + strings.ReplaceAll(evil, "{{.}}", "")}, "preview": {"1"},
	}
	_, page := b.post("/schedule/users/ann/a.ipynb", values, http.StatusOK)
	b.check("preview", page)
	if !strings.Contains(page, "02:30:00 E") || !strings.Contains(page, "days: 3") {
		t.Errorf("the preview is %s", page)
	}
	values.Del("preview")
	values.Set("cron", "30 25 * * *")
	_, page = b.post("/schedule/users/ann/a.ipynb", values, http.StatusBadRequest)
	if b.check("bad cron", page); !strings.Contains(page, "character 4: hour: 25 is out of range") || !strings.Contains(page, "America/New_York") {
		t.Errorf("a bad cron: %s", page)
	}
	values.Set("cron", "30 2 * * *")
	values.Set("p.days", "99")
	if _, page = b.post("/schedule/users/ann/a.ipynb", values, http.StatusBadRequest); !strings.Contains(page, "days") || !strings.Contains(page, "42") {
		t.Errorf("a parameter out of its range: %s", page)
	}
	values.Set("p.days", "3")
	to, _ := b.post("/schedule/users/ann/a.ipynb", values, http.StatusSeeOther)
	if to != "/schedules/nightly" {
		t.Fatalf("it leads to %s", to)
	}
	if _, page = b.post("/schedule/users/ann/a.ipynb", values, http.StatusBadRequest); !strings.Contains(page, "there is a schedule called nightly already") {
		t.Errorf("the same name again: %s", page)
	}
	b.schedulePage(to)
}

// schedulePage uses the buttons of a schedule's page.
func (b *bundle) schedulePage(at string) {
	b.Helper()
	see := func(words ...string) {
		b.Helper()
		page := b.get(at, http.StatusOK)
		b.check(at, page)
		for _, word := range words {
			if !strings.Contains(page, word) {
				b.Errorf("%q is not on %s", word, at)
			}
		}
	}
	act := func(pairs ...string) {
		b.Helper()
		form := url.Values{}
		for i := 0; i < len(pairs); i += 2 {
			form.Set(pairs[i], pairs[i+1])
		}
		b.post(at, form, http.StatusSeeOther)
	}
	see("every day at 02:30, America/New_York", "later changes are not taken", "It has not fired yet")
	act("do", "pause", "reason", evil)
	see("Paused by ann")
	if list := b.get("/schedules", http.StatusOK); !strings.Contains(list, "Resume nightly") {
		b.Error("the list does not offer to resume it")
	} else {
		b.check("/schedules", list)
	}
	act("do", "resume")
	act("do", "run")
	see("by hand, ann", "/runs/")
	_, page := b.post(at, url.Values{"do": {"backfill"}, "from": {"2026-01-01T00:00"}, "to": {"2026-01-04T00:00"}, "parallel": {"2"}, "preview": {"1"}}, http.StatusOK)
	if b.check("backfill", page); !strings.Contains(page, "3 slots would fire") || !strings.Contains(page, "2026-01-01 07:30:00 UTC") {
		b.Errorf("the preview of the backfill: %s", page)
	}
	_, page = b.post(at, url.Values{"do": {"backfill"}, "from": {"2026-01-04T00:00"}, "to": {"2026-01-01T00:00"}, "parallel": {"2"}}, http.StatusBadRequest)
	if b.check("bad backfill", page); !strings.Contains(page, `value="2026-01-04T00:00"`) {
		b.Error("what was typed is gone")
	}
	act("do", "backfill", "from", "2026-01-01T00:00", "to", "2026-01-04T00:00", "parallel", "2")
	see("backfill, ann", "waits: the backfill runs 2 at once")
	_, page = b.post(at, url.Values{"do": {"apply"}, "text": {"schedule: 1\nname: other\nnotebook: users/ann/a.ipynb"}}, http.StatusBadRequest)
	if b.check("apply", page); !strings.Contains(page, "name: other") || !strings.Contains(page, "is called &#34;other&#34;") {
		b.Errorf("another name: %s", page)
	}
	act("do", "delete")
	b.get(at, http.StatusNotFound)
}

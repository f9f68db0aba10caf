package pages_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"quire/internal/schedule"
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
	if page := b.get(at+"/activity", http.StatusOK); !strings.Contains(page, "paused it") || strings.Contains(page, "<img src=x") {
		b.Errorf("the activity: %s", page)
	}
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
	b.scheduleTabs(at)
	_, page = b.post(at, url.Values{"do": {"apply"}, "text": {"schedule: 1\nname: other\nnotebook: users/ann/a.ipynb"}}, http.StatusBadRequest)
	if b.check("apply", page); !strings.Contains(page, "name: other") || !strings.Contains(page, "is called &#34;other&#34;") {
		b.Errorf("another name: %s", page)
	}
	act("do", "delete")
	b.get(at, http.StatusNotFound)
}

// scheduleTabs looks at the other pages of a schedule that has a fire by hand and
// a backfill.
func (b *bundle) scheduleTabs(at string) {
	b.Helper()
	ctx := b.Context()
	name := strings.TrimPrefix(at, "/schedules/")
	for tab, words := range map[string][]string{
		"/grid":                {`role="grid"`, `scope="row">`, "by hand of ann", `data-poll`, "space pauses"},
		"/grid?lane=own&n=1":   {"It has not fired yet"},
		"/graph":               {"q-steps", "/runs/", "with the states of the"},
		"/activity":            {"began a backfill", "3 slots, 2 at once, oldest first", "resumed it", "made the schedule"},
		"/backfill":            {"2 running", "1 due", "stop-backfill", "oldest first"},
		"/definition":          {"name: nightly"},
		"/grid?cursor=unknown": {"It has not fired yet"},
	} {
		page := b.get(at+tab, http.StatusOK)
		b.check(at+tab, page)
		for _, word := range words {
			if !strings.Contains(strings.ToLower(page), strings.ToLower(word)) {
				b.Errorf("%q is not on %s", word, at+tab)
			}
		}
	}
	b.get(at+"/grid?n=1001", http.StatusBadRequest)
	all, err := b.schedules.Backfills(ctx, ann, name)
	if err != nil || len(all) != 1 {
		b.Fatalf("backfills: %v, %v", all, err)
	}
	grid := b.get(at+"/grid?lane="+all[0].ID, http.StatusOK)
	if n := strings.Count(grid, "<td><a "); n != 3 {
		b.Errorf("the grid of the backfill has %d cells, want 3", n)
	}
	fires, err := b.schedules.History(ctx, ann, name, schedule.FireFilter{Any: true, Limit: 10})
	if err != nil || len(fires) == 0 {
		b.Fatalf("fires: %v, %v", fires, err)
	}
	for _, f := range fires {
		page := b.get(at+"/fires/"+f.ID, http.StatusOK)
		b.check(at+"/fires/ID", page)
		if !strings.Contains(page, "The fire of "+f.Slot.Format("2006-01-02 15:04:05")) {
			b.Error("the page of a fire is another's")
		}
	}
	b.get(at+"/fires/unknown", http.StatusNotFound)
	b.post(at, url.Values{"do": {"stop-backfill"}, "id": {all[0].ID}}, http.StatusSeeOther)
	if page := b.get(at+"/activity", http.StatusOK); !strings.Contains(page, "1 that waited were skipped, 2 that ran stopped") {
		b.Errorf("the backfill's end is not in the activity: %s", page)
	}
}

// TestScheduleFormTriggers: the form offers what has no time, and writes it.
func TestScheduleFormTriggers(t *testing.T) {
	t.Parallel()
	b := setup(t)
	const at = "/schedule/users/ann/a.ipynb"
	for _, tt := range []struct{ often, field, value, trigger, words string }{
		{"file", "file", "users/ann/in/*.csv", "file: users/ann/in/*.csv", "when users/ann/in/*.csv has arrived"},
		{"table", "table", "Plays", "table: Plays", "when table plays was written"},
		{"schedule", "other", "load", "schedule: load", "when load has succeeded"},
		{"webhook", "hook", "deploy", "webhook: deploy", "when webhook deploy is called"},
		{"hand", "", "", "triggers: []", "only by hand"},
	} {
		form := url.Values{"name": {"x"}, "often": {tt.often}, "timezone": {"UTC"}, "source": {"snapshot"}, "strategy": {"sequential"}, "catchUp": {"latest"}, "outcome": {"succeeded"}, "preview": {"1"}}
		if tt.field != "" {
			if _, page := b.post(at, form, http.StatusBadRequest); !strings.Contains(page, "it is empty") {
				t.Errorf("%s: an empty field is not told", tt.often)
			}
			form.Set(tt.field, tt.value)
		}
		_, page := b.post(at, form, http.StatusOK)
		for _, want := range []string{tt.trigger, "<li>" + tt.words + "</li>", `<option value="` + tt.often + `" selected>`} {
			if !strings.Contains(page, want) {
				t.Errorf("%s: the page has no %q", tt.often, want)
			}
		}
	}
}

// TestFireAgain runs fires again with other values, by their form: parameters of a
// notebook, as it declares them, and inputs. What is wrong stands on the form.
func TestFireAgain(t *testing.T) {
	t.Parallel()
	b := setup(t)
	skipped := func(name, text string) string { // a fire that never began
		t.Helper()
		if _, _, err := b.schedules.Apply(t.Context(), ann, []byte("schedule: 1\nname: "+name+"\ntriggers: [{cron: 0 6 * * *}]\n"+text)); err != nil {
			t.Fatal(err)
		}
		day := time.Date(2026, 3, 7, 6, 0, 0, 0, time.UTC)
		f, err := b.schedules.Backfill(t.Context(), ann, name, schedule.BackfillRequest{From: day, To: day, Paused: true})
		if err == nil {
			_, err = b.schedules.StopBackfill(t.Context(), ann, name, f.ID)
		}
		fires, wrong := b.schedules.History(t.Context(), ann, name, schedule.FireFilter{Any: true})
		if err != nil || wrong != nil || len(fires) != 1 || fires[0].State != schedule.Skipped {
			t.Fatal(fires, err, wrong)
		}
		return "/schedules/" + name + "/fires/" + fires[0].ID
	}
	has := func(what, page string, words ...string) {
		t.Helper()
		b.check(what, page)
		for _, word := range words {
			if !strings.Contains(page, word) {
				t.Errorf("%s has no %q:\n%s", what, word, page)
			}
		}
	}
	at := skipped("plain", "notebook: users/ann/a.ipynb\nparameters: {title: \"of {{ ds }}\"}")
	has("its page", b.get(at, http.StatusOK), at+"/again")
	page := b.get(at+"/again", http.StatusOK)
	has("the form", page, `name="p.notebook.days"`, "was of {{ ds }}", "from 1 to 42", `value="@beginning" selected`)
	if strings.Contains(page, "p.notebook.token") {
		t.Error("the form asks for a secret")
	}
	form := url.Values{"do": {"restart"}, "values": {"1"}, "from": {"@beginning"}, "p.notebook.days": {"99"}, "p.notebook.title": {evil}}
	_, page = b.post(at, form, http.StatusBadRequest)
	has("a value out of range", page, `role="alert"`, "days: 99 is over its maximum 42", `value="99"`)
	form.Set("p.notebook.days", "41")
	if to, _ := b.post(at, form, http.StatusSeeOther); to != at {
		t.Errorf("it leads to %s", to)
	}
	has("its page", b.get(at, http.StatusOK), "days = 41", "from the beginning", "&#34;days&#34;:41")
	has("the activity", b.get("/schedules/plain/activity", http.StatusOK), "ran a fire again", "days = 41, title = ")
	has("the form of one that runs", b.get(at+"/again", http.StatusOK), "It is not over yet: it is running")

	at = skipped("taking", "inputs: {n: 3, day: \"{{ ds }}\"}\nsteps: [{name: load, notebook: users/ann/a.ipynb, parameters: {days: \"{{ inputs.n }}\", title: \"{{ inputs.day }}\"}}]")
	has("the form of inputs", b.get(at+"/again", http.StatusOK), `name="in.n"`, `placeholder="3"`, "was {{ ds }}")
	form = url.Values{"do": {"restart"}, "values": {"1"}, "from": {"@beginning"}, "in.n": {"many"}}
	_, page = b.post(at, form, http.StatusBadRequest)
	has("an input of the wrong type", page, "step load: ", "days: &#34;many&#34; is a str, not an int", `value="many"`)
	form.Set("in.n", "7")
	b.post(at, form, http.StatusSeeOther)
	has("its page", b.get(at, http.StatusOK), "n = 7", "Its inputs:", `&#34;day&#34;:&#34;2026-03-07&#34;`)
}

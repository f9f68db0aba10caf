package pages_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/html"

	"quire/internal/nbtemplate"
	"quire/internal/problem"
	"quire/internal/run"
)

// published publishes users/ann/a.ipynb by the form and returns the page of it.
func (b *bundle) published() string {
	b.Helper()
	to, _ := b.post("/publish/users/ann/a.ipynb", url.Values{
		"name": {"report"}, "title": {"A " + evil[:20]}, "description": {"Some *words* " + evil}, "role": {"data analyst"}, "tags": {"<u>\"tag"}, "note": {evil},
	}, http.StatusSeeOther)
	if to != "/templates/report" {
		b.Fatalf("publishing leads to %q", to)
	}
	return to
}

// TestTemplatePages renders every page of templates with hostile text.
func TestTemplatePages(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.check("empty", b.get("/templates", http.StatusOK))
	b.published()
	b.save("users/ann/a.ipynb", source+" ")
	b.published()
	to, _ := b.post("/run/templates/report.ipynb?version=1", url.Values{"p.title": {evil}}, http.StatusSeeOther)
	b.await(strings.TrimPrefix(to, "/runs/"))
	for _, target := range []string{
		"/templates", "/templates?role=data+analyst&q=" + url.QueryEscape(evil), "/templates?q=words", "/templates?tag=" + url.QueryEscape(evil), "/templates/report", "/templates/report?version=1",
		"/publish/users/ann/a.ipynb", "/publish/users/ann/a.ipynb?name=report", "/publish/users/ann/a.ipynb?name=" + url.QueryEscape(evil),
		"/run/templates/report.ipynb", "/run/templates/report.ipynb?version=1", "/sweep/templates/report.ipynb", "/sweep/users/ann/a.ipynb",
		"/view/templates/report.ipynb", "/view/templates/report.ipynb?version=1", "/schedule/templates/report.ipynb", "/runs?template=report&view=results",
		"/diff?a=templates/report.ipynb@1&b=templates/report.ipynb@2", to, to + "/timeline",
	} {
		doc := b.check(target, b.get(target, http.StatusOK))
		each(doc, func(n *html.Node) {
			if n.Data == "img" && attr(n, "src") == "x" || n.Data == "u" {
				t.Errorf("%s: hostile text became an element %s", target, n.Data)
			}
		})
	}
	for target, status := range map[string]int{
		"/templates/none": http.StatusNotFound, "/templates/" + url.PathEscape(evil): http.StatusNotFound, "/templates/report?version=9": http.StatusNotFound,
		"/templates/report?version=x": http.StatusBadRequest, "/view/templates/none.ipynb": http.StatusNotFound,
		"/templates/report/cover/" + strings.TrimPrefix(to, "/runs/") + "?cell=0": http.StatusNotFound, "/run/templates/none.ipynb": http.StatusNotFound,
	} {
		b.check(target, b.get(target, status))
	}
}

// TestTemplateRun runs the version whose form was filled in, as who asks.
func TestTemplateRun(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.published()
	b.save("users/ann/a.ipynb", strings.Replace(source, "print(1)", "print(2)", 1))
	b.published()
	to, _ := b.post("/run/templates/report.ipynb?version=1", url.Values{"p.days": {"9"}, "p.country": {"DE"}, "p.title": {"x"}}, http.StatusSeeOther)
	r := b.await(strings.TrimPrefix(to, "/runs/"))
	if r.Template != "report" || r.TemplateVersion != 1 || r.Owner != "ann" || string(r.Parameters) != `{"country":"DE","days":9}` {
		t.Errorf("the run is %+v", r)
	}
	nb, err := b.runs.Source(t.Context(), ann, r.ID)
	if err != nil || nb.Cells[len(nb.Cells)-1].Source != "print(1)" {
		t.Errorf("its source is not that of version 1: %v", err)
	}
	_, page := b.post("/run/templates/report.ipynb?version=2", url.Values{"p.days": {"99"}}, http.StatusBadRequest)
	if !strings.Contains(page, "days") {
		t.Error("a value out of range is not said")
	}
	b.post("/templates/report", url.Values{"do": {"retire"}, "reason": {"old"}}, http.StatusSeeOther)
	_, page = b.post("/run/templates/report.ipynb?version=2", url.Values{}, http.StatusBadRequest)
	if !strings.Contains(page, "was retired by ann: old") {
		t.Error("a retired template ran")
	}
	b.post("/templates/report", url.Values{"do": {"restore"}}, http.StatusSeeOther)
	to, _ = b.post("/templates/report", url.Values{"do": {"clone"}, "version": {"1"}}, http.StatusSeeOther)
	if to != "/view/users/ann/report.ipynb" {
		t.Errorf("the clone is at %q", to)
	}
}

// TestSweepForm shows each run before any is started.
func TestSweepForm(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.published()
	for _, path := range []string{"/sweep/templates/report.ipynb", "/sweep/users/ann/a.ipynb"} {
		form := url.Values{"nonce": {"n" + path}, "v.country": {"US\r\nDE"}, "v.days": {"1..3"}, "v.share": {"0..0.5 step 0.25"}, "preview": {"1"}}
		_, page := b.post(path, form, http.StatusOK)
		if !strings.Contains(page, "Start 18 runs") {
			t.Errorf("%s: 18 runs are not shown", path)
		}
		if all, err := b.runs.List(t.Context(), ann, run.Filter{}); err != nil || len(all)%18 != 0 {
			t.Errorf("%s: a preview started runs: %d, %v", path, len(all), err)
		}
		form.Del("preview")
		to, _ := b.post(path, form, http.StatusSeeOther)
		again, _ := b.post(path, form, http.StatusSeeOther)
		tag, _ := url.Parse(to)
		all, err := b.runs.List(t.Context(), ann, run.Filter{Tag: tag.Query().Get("tag"), Limit: 100})
		if err != nil || len(all) != 18 || to != again {
			t.Errorf("%s: %d runs, %v; sent again: %s and %s", path, len(all), err, to, again)
		}
		b.check(to, b.get(to, http.StatusOK))
	}
	for value, want := range map[string]string{"0": "days", "x": "days", "5..1": "want a range", "1..9999": "at most"} {
		_, page := b.post("/sweep/templates/report.ipynb", url.Values{"v.days": {value}, "preview": {"1"}}, http.StatusBadRequest)
		if !strings.Contains(page, want) {
			t.Errorf("days %s: no %q on the page", value, want)
		}
		b.check(value, page)
	}
	_, page := b.post("/sweep/templates/report.ipynb", url.Values{"preview": {"1"}}, http.StatusBadRequest)
	if !strings.Contains(page, "every field is empty") {
		t.Error("an empty form is taken")
	}
}

// TestDatesAndOutputOfATemplate takes {{ ds }} as a default and as a value, and puts
// the output where the template says, or the form.
func TestDatesAndOutputOfATemplate(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.save("users/ann/a.ipynb", notebookOf(
		`{"cell_type":"code","id":"params","metadata":{"tags":["parameters"]},"execution_count":null,"outputs":[],"source":"day: date = \"{{ ds - 1d }}\"\nuntil: date\nsql: str = \"SELECT {{ x }}\""}`,
		code("work", "print(1)", "", ""),
	))
	form := url.Values{"name": {"daily"}, "output": {"shared/{nothing}/"}}
	_, page := b.post("/publish/users/ann/a.ipynb", form, http.StatusBadRequest)
	b.check("publish", page)
	if !strings.Contains(page, "nothing") {
		t.Error("a place that no run can have is not said")
	}
	form.Set("output", "users/{user}/out/{day}.ipynb")
	b.post("/publish/users/ann/a.ipynb", form, http.StatusSeeOther)
	now := time.Now()
	today, yesterday := now.Format(time.DateOnly), now.AddDate(0, 0, -1).Format(time.DateOnly)
	target := "/run/templates/daily.ipynb"
	page = b.get(target, http.StatusOK)
	b.check(target, page)
	for _, want := range []string{"Now: <b>" + yesterday, "users/{user}/out/{day}.ipynb", ">yesterday<"} {
		if !strings.Contains(page, want) {
			t.Errorf("the form has no %q", want)
		}
	}
	form = url.Values{"p.day": {"{{ ds - 1d }}"}, "m.until": {"{{ ds }}"}, "p.sql": {"SELECT {{ x }}"}, "output": {"users/{user}/out/{day}.ipynb"}, "preview": {"1"}}
	_, page = b.post(target, form, http.StatusOK)
	for _, want := range []string{"users/ann/out/" + yesterday + ".ipynb", "until = &#34;" + today} {
		if !strings.Contains(page, want) {
			t.Errorf("the preview has no %q", want)
		}
	}
	form.Del("preview")
	b.launcher.succeed.Store(true)
	to, _ := b.post(target, form, http.StatusSeeOther)
	r := b.await(strings.TrimPrefix(to, "/runs/"))
	if want := `{"until":"` + today + `","day":"` + yesterday + `"}`; string(r.Parameters) != want || r.Output != "users/ann/out/"+yesterday+".ipynb" || r.OutputProblem != "" {
		t.Errorf("the run has %s, not %s; its output is %s, %s", r.Parameters, want, r.Output, r.OutputProblem)
	}
	page = b.get(to, http.StatusOK)
	b.check(to, page)
	if !strings.Contains(page, `href="/view/`+r.Output) {
		t.Error("the run's page does not lead to its output")
	}
	b.get("/view/"+r.Output, http.StatusOK)
	form.Set("output", "users/bob/x.ipynb")
	_, page = b.post(target, form, http.StatusBadRequest)
	b.check("output", page)
	if !strings.Contains(page, "belongs to bob") || !strings.Contains(page, `value="users/bob/x.ipynb"`) {
		t.Error("the form does not say that the place is another's")
	}
	form.Set("p.day", "{{ dz }}")
	_, page = b.post(target, form, http.StatusBadRequest)
	if !strings.Contains(page, "is not known") {
		t.Error("a name that is none is not said")
	}
}

// TestDatesOfATemplate fills what is given and the defaults, for the time and the
// zone of a request, and is one run for one key whatever the time.
func TestDatesOfATemplate(t *testing.T) {
	t.Parallel()
	b := setup(t)
	dated := notebookOf(`{"cell_type":"code","id":"params","metadata":{"tags":["parameters"]},"execution_count":null,"outputs":[],"source":"day: \"date\" = \"{{ ds - 1d }}\"\nnote: str = \"\"\nsql: str = \"{{ x }}\""}`)
	publish := func(source, output string) error {
		b.save("users/ann/a.ipynb", source)
		_, _, err := b.templates.Publish(t.Context(), ann, nbtemplate.Publication{Name: "daily", Notebook: "users/ann/a.ipynb", Output: output})
		return err
	}
	for _, wrong := range []string{"{{ sd }}", "{{ ds", "{{ ds | %d }}"} {
		if err := publish(strings.ReplaceAll(dated, "{{ ds - 1d }}", wrong), ""); !problem.Is(err, problem.Invalid) || !strings.Contains(err.Error(), "the default of day") {
			t.Errorf("the default %s of a date: %v", wrong, err)
		}
	}
	if err := publish(dated, "users/{user}/{ds}/{day}.ipynb"); err != nil {
		t.Fatal(err)
	}
	zone, err := time.LoadLocation("Pacific/Auckland")
	if err != nil {
		t.Fatal(err)
	}
	at := time.Date(2026, 3, 1, 20, 0, 0, 0, time.UTC).In(zone) // the second there
	submit := func(req run.Request) run.Run {
		t.Helper()
		req.Template = "daily"
		r, err := b.runs.Submit(t.Context(), ann, req)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	first := submit(run.Request{At: at, Parameters: []byte(`{"note":"{{ ts }}"}`), IdempotencyKey: "k"})
	if string(first.Parameters) != `{"note":"2026-03-02T09:00:00+13:00","day":"2026-03-01"}` || first.Output != "users/ann/2026-03-02/2026-03-01.ipynb" {
		t.Errorf("the run has %s, its output is %s", first.Parameters, first.Output)
	}
	if again := submit(run.Request{At: at.Add(time.Hour), Parameters: []byte(`{"note":"{{ ts }}"}`), IdempotencyKey: "k"}); again.ID != first.ID {
		t.Error("the same request at another time is another run")
	}
	b.await(first.ID)
	if retried, err := b.runs.Retry(t.Context(), ann, first.ID); err != nil || string(retried.Parameters) != string(first.Parameters) || retried.Output != first.Output {
		t.Errorf("tried again: %s into %s, %v", retried.Parameters, retried.Output, err)
	}
	if r := submit(run.Request{At: at, Literal: true, Output: run.NoOutput, Parameters: []byte(`{"note":"{{ ts }}"}`)}); string(r.Parameters) != `{"note":"{{ ts }}","day":"2026-03-01"}` || r.Output != "" {
		t.Errorf("what is literal became %s, into %q", r.Parameters, r.Output)
	}
	if r := submit(run.Request{At: at, Parameters: []byte(`{"note":"SELECT {{ x }}"}`)}); !strings.Contains(string(r.Parameters), "SELECT {{ x }}") {
		t.Errorf("text that is not ours became %s", r.Parameters)
	}
	if _, err := b.runs.Submit(t.Context(), ann, run.Request{Template: "daily", Parameters: []byte(`{"note":"{{ tz }}"}`)}); !problem.Is(err, problem.Invalid) {
		t.Errorf("a name that is none: %v", err)
	}
}

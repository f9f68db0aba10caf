package pages_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"golang.org/x/net/html"

	"quire/internal/auth"
	"quire/internal/problem"
	"quire/internal/run"
)

const canary = "s3cr3t-canary"

// TestSecretsOfAPerson sets and removes secrets on the account page, which never shows
// a value.
func TestSecretsOfAPerson(t *testing.T) {
	t.Parallel()
	b := setup(t)
	page := b.get("/account", http.StatusOK)
	if b.check("empty", page); !strings.Contains(page, "No secrets yet.") || !strings.Contains(page, `id="secrets"`) {
		t.Errorf("the page is %s", page)
	}
	to, _ := b.post("/account/secrets", url.Values{"name": {"api_token"}, "value": {canary}}, http.StatusSeeOther)
	if to != "/account#secrets" {
		t.Errorf("it leads to %s", to)
	}
	page = b.get("/account", http.StatusOK)
	if b.check("one", page); !strings.Contains(page, "<code>api_token</code>") || !strings.Contains(page, "never") || strings.Contains(page, canary) {
		t.Errorf("the page is %s", page)
	}
	for _, form := range []url.Values{
		{"name": {evil}, "value": {canary}}, {"name": {"x"}, "value": {""}}, {"name": {"x"}, "value": {strings.Repeat(canary, 10000)}}, {"name": {"1x"}, "value": {canary}},
	} {
		_, page := b.post("/account/secrets", form, http.StatusUnprocessableEntity)
		if b.check("wrong", page); !strings.Contains(page, `role="alert"`) || strings.Contains(page, canary) {
			t.Errorf("%.40v: %s", form, page)
		}
	}
	for range 2 {
		b.post("/account/secrets", url.Values{"remove": {"api_token"}}, http.StatusSeeOther)
	}
	if page := b.get("/account", http.StatusOK); !strings.Contains(page, "No secrets yet.") {
		t.Errorf("it is still there: %s", page)
	}
}

// choices are what the form offers for a parameter that is a secret.
func choices(doc *html.Node, parameter string) (all []string, chosen string) {
	each(doc, func(n *html.Node) {
		if n.Data != "option" || n.Parent == nil || attr(n.Parent, "name") != "s."+parameter || n.FirstChild == nil || has(n, "value") {
			return
		}
		all = append(all, n.FirstChild.Data)
		if has(n, "selected") {
			chosen = n.FirstChild.Data
		}
	})
	return all, chosen
}

// TestSecretsInTheRunForm: a notebook and a template are given what was chosen, by
// name, and nothing else.
func TestSecretsInTheRunForm(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.published()
	for _, one := range [][2]string{{"ann", "api_token"}, {"ann", "other"}, {"bob", "of_bob"}} {
		if err := b.secrets.Set(t.Context(), auth.User{Name: one[0]}, "", one[1], canary); err != nil {
			t.Fatal(err)
		}
	}
	for _, target := range []string{"/run/users/ann/a.ipynb", "/run/templates/report.ipynb?version=1", "/sweep/templates/report.ipynb", "/schedule/users/ann/a.ipynb"} {
		page := b.get(target, http.StatusOK)
		doc := b.check(target, page)
		if all, chosen := choices(doc, "token"); strings.Join(all, " ") != "api_token other" || chosen != "" || !strings.Contains(page, `href="/account#secrets"`) {
			t.Errorf("%s offers %v, %q", target, all, chosen)
		}
	}
	// The address chooses none: a link of somebody else's is not to.
	if _, chosen := choices(b.check("link", b.get("/run/templates/report.ipynb?s.token=api_token&p.token=api_token", http.StatusOK)), "token"); chosen != "" {
		t.Errorf("a link chose %s", chosen)
	}
	for _, target := range []string{"/run/users/ann/a.ipynb", "/run/templates/report.ipynb?version=1"} {
		form := with("s.token", "api_token")
		form.Set("preview", "1")
		if _, page := b.post(target, form, http.StatusOK); !strings.Contains(page, "Secrets: token from api_token.") {
			t.Errorf("%s: the preview is %s", target, page)
		}
		form.Del("preview")
		form.Set("nonce", "1")
		to, _ := b.post(target, form, http.StatusSeeOther)
		id := strings.TrimPrefix(to, "/runs/")
		r := b.await(id)
		if len(r.Secrets) != 1 || r.Secrets["token"] != "api_token" || string(r.Parameters) != "{}" {
			t.Errorf("%s: given %v, %s", target, r.Secrets, r.Parameters)
		}
		if page := b.get(to, http.StatusOK); !strings.Contains(page, "Secrets: token from api_token.") || strings.Contains(page, canary) {
			t.Errorf("%s: %s", to, page)
		}
		again := b.check("again", b.get(strings.SplitN(target, "?", 2)[0]+"?from="+id, http.StatusOK))
		if _, chosen := choices(again, "token"); chosen != "api_token" {
			t.Errorf("%s again: %q is chosen", target, chosen)
		}
		for _, name := range []string{"of_bob", "none", evil} {
			_, page := b.post(target, with("s.token", name), http.StatusBadRequest)
			if b.check(name, page); !strings.Contains(page, "you have no secret of that name") {
				t.Errorf("%s was taken: %s", name, page)
			}
		}
	}
	// A schedule has the name, and its runs are given the value.
	schedule := url.Values{
		"name": {"nightly"}, "cron": {"30 2 * * *"}, "timezone": {"UTC"}, "source": {"snapshot"}, "strategy": {"sequential"}, "catchUp": {"all"}, "s.token": {"api_token"},
	}
	b.post("/schedule/users/ann/a.ipynb", schedule, http.StatusSeeOther)
	if made, err := b.schedules.Get(t.Context(), ann, "nightly"); err != nil || made.Definition.Steps[0].Secrets["token"] != "api_token" || !strings.Contains(made.Text, "secrets:\n    token: api_token") {
		t.Errorf("%+v, %v", made, err)
	}
	if page := b.get("/schedules/nightly", http.StatusOK); !strings.Contains(page, "secrets: token from api_token") {
		t.Errorf("its page does not say what it is given: %s", page)
	}
	schedule.Set("name", "other")
	schedule.Set("s.token", "of_bob")
	if _, page := b.post("/schedule/users/ann/a.ipynb", schedule, http.StatusBadRequest); !strings.Contains(page, "you have no secret named of_bob") {
		t.Errorf("bob's was taken: %s", page)
	}
	// One that is needed must be chosen.
	b.save("users/ann/needs.ipynb", notebookOf(code("p", "token: str  # secret", `"tags":["parameters"]`, "")))
	_, page := b.post("/run/users/ann/needs.ipynb", url.Values{"s.token": {""}}, http.StatusBadRequest)
	if b.check("needs", page); !strings.Contains(page, "this notebook needs a secret: choose one of yours") {
		t.Errorf("without one: %s", page)
	}
	to, _ := b.post("/run/users/ann/needs.ipynb", url.Values{"s.token": {"other"}}, http.StatusSeeOther)
	b.await(strings.TrimPrefix(to, "/runs/"))
	// A version of a template has no names of its publisher's.
	v, err := b.templates.Version(t.Context(), ann, "report", 1)
	if err != nil || strings.Contains(quote(v.Notebook), "api_token") {
		t.Errorf("%+v, %v", v, err)
	}
	if _, err := b.runs.Submit(t.Context(), auth.User{Name: "bob"}, run.Request{Template: "report", Secrets: map[string]string{"token": "api_token"}}); !problem.Is(err, problem.Invalid) {
		t.Errorf("bob was given ann's: %v", err)
	}
}

// TestSecretsInASweep: all runs are given the same.
func TestSecretsInASweep(t *testing.T) {
	t.Parallel()
	b := setup(t)
	if err := b.secrets.Set(t.Context(), ann, "", "api_token", canary); err != nil {
		t.Fatal(err)
	}
	form := url.Values{"v.days": {"1..2"}, "s.token": {"api_token"}, "nonce": {"n"}}
	b.post("/sweep/users/ann/a.ipynb", form, http.StatusSeeOther)
	all, err := b.runs.List(t.Context(), ann, run.Filter{})
	if err != nil || len(all) != 2 || all[0].Secrets["token"] != "api_token" || all[1].Secrets["token"] != "api_token" {
		t.Errorf("%v, %v", all, err)
	}
	form.Set("s.token", "none")
	_, page := b.post("/sweep/users/ann/a.ipynb", form, http.StatusBadRequest)
	b.check("wrong", page)
}

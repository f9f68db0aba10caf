package pages_test

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"golang.org/x/net/html"

	"quire/internal/run"
)

func request(b *bundle, method, target string) *http.Request {
	r := httptest.NewRequest(method, target, nil)
	r.Host = host
	r.AddCookie(&http.Cookie{Name: b.router.CookieName(), Value: b.cookie})
	return r
}

func (b *bundle) serve(r *http.Request) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	b.router.ServeHTTP(w, r)
	return w
}

// untouched is the form of users/ann/a.ipynb as it is shown.
func untouched() url.Values {
	return url.Values{
		"p.country": {"US"}, "p.days": {"7"}, "p.share": {"0.5"}, "p.title": {"x"}, "p.devices": {"[]"}, "p.limit": {""},
	}
}

func with(name, value string) url.Values {
	form := untouched()
	form.Set(name, value)
	return form
}

func TestFieldsFitTheirParameters(t *testing.T) {
	t.Parallel()
	b := setup(t)
	doc := b.check("form", b.get("/run/users/ann/a.ipynb", http.StatusOK))
	got := map[string]string{}
	each(doc, func(n *html.Node) {
		name, ok := strings.CutPrefix(attr(n, "name"), "p.")
		if !ok {
			return
		}
		got[name] = n.Data + " " + attr(n, "type")
		if name == "days" && (attr(n, "min") != "1" || attr(n, "max") != "42" || attr(n, "step") != "1" || attr(n, "value") != "7") {
			t.Errorf("days: %v", n.Attr)
		}
	})
	want := map[string]string{
		"country": "select ", "days": "input number", "share": "input number", "flag": "input checkbox",
		"title": "input text", "devices": "textarea ", "limit": "input number",
	}
	for name := range want {
		if got[name] != want[name] {
			t.Errorf("%s is %q, want %q", name, got[name], want[name])
		}
	}
	if _, ok := got["token"]; ok {
		t.Error("the secret can be typed")
	}
}

func TestOnlyWhatDiffersIsGiven(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for _, tt := range []struct {
		name string
		form url.Values
		want string
	}{
		{"nothing", untouched(), `{}`},
		{"choice", with("p.country", "DE"), `{"country":"DE"}`},
		{"int", with("p.days", "9"), `{"days":9}`},
		{"float", with("p.share", "2"), `{"share":2}`},
		{"bool", with("p.flag", "true"), `{"flag":true}`},
		{"text stays text", with("p.title", "007"), `{"title":"007"}`},
		{"empty text", with("p.title", ""), `{"title":""}`},
		{"list", with("p.devices", `["TV", "a\"b"]`), `{"devices":["TV","a\"b"]}`},
		{"optional", with("p.limit", "3"), `{"limit":3}`},
		{"empty number is the default", with("p.days", ""), `{}`},
		{"further", with("extra", `{"other": {"a": 1}}`), `{"other":{"a":1}}`},
		{"a secret is not taken", with("p.token", "canary"), `{}`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			id := b.submit(tt.form)
			r, err := b.runs.Get(t.Context(), ann, id)
			if err != nil || string(r.Parameters) != tt.want {
				t.Errorf("given %s, want %s: %v", r.Parameters, tt.want, err)
			}
		})
	}
}

func TestWrongValuesAreKeptAndNamed(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for _, tt := range []struct{ name, value string }{
		{"days", "43"}, {"days", "many"}, {"country", "XX"}, {"share", evil}, {"devices", "{"}, {"limit", "x"},
	} {
		form := with("p."+tt.name, tt.value)
		form.Set("p.title", "keep "+evil)
		form.Set("p.flag", "true")
		_, page := b.post("/run/users/ann/a.ipynb", form, http.StatusBadRequest)
		doc := b.check(tt.name+"="+tt.value, page)
		described, kept, checked := "", "", false
		each(doc, func(n *html.Node) {
			switch attr(n, "name") {
			case "p." + tt.name:
				described = attr(n, "aria-describedby")
				if n.Data == "input" && attr(n, "value") != tt.value {
					t.Errorf("%s: the value is %q now", tt.name, attr(n, "value"))
				}
			case "p.title":
				kept = attr(n, "value")
			case "p.flag":
				checked = has(n, "checked")
			}
		})
		if !strings.Contains(described, "e.") || kept != "keep "+evil || !checked {
			t.Errorf("%s=%s: described by %q, title %q, flag %v", tt.name, tt.value, described, kept, checked)
		}
	}
	for _, form := range []url.Values{with("extra", "{"), with("retries", "x"), with("timeout", "-1"), with("extra", `{"token": "canary"}`), with("extra", `{"days": 99}`)} {
		_, page := b.post("/run/users/ann/a.ipynb", form, http.StatusBadRequest)
		b.check(form.Encode(), page)
	}
	all, err := b.runs.List(t.Context(), ann, run.Filter{})
	if err != nil || len(all) != 0 {
		t.Errorf("runs of wrong forms: %v, %v", all, err)
	}
}

func TestPreviewShowsTheCellAndRunsNothing(t *testing.T) {
	t.Parallel()
	b := setup(t)
	form := with("p.title", `it's "`)
	form.Set("p.country", "DE")
	form.Set("preview", "1")
	_, page := b.post("/run/users/ann/a.ipynb", form, http.StatusOK)
	doc := b.check("preview", page)
	text := ""
	each(doc, func(n *html.Node) {
		if n.Data == "pre" && n.FirstChild != nil {
			text = n.FirstChild.Data
		}
	})
	if text != "# Parameters\ncountry = \"DE\"\ntitle = \"it's \\\"\"\n" {
		t.Errorf("preview %q", text)
	}
	if all, err := b.runs.List(t.Context(), ann, run.Filter{}); err != nil || len(all) != 0 {
		t.Errorf("a preview ran: %v, %v", all, err)
	}
}

func TestFormSentTwiceIsOneRun(t *testing.T) {
	t.Parallel()
	b := setup(t)
	form := with("nonce", "once")
	if first, second := b.submit(form), b.submit(form); first != second {
		t.Errorf("two runs: %s and %s", first, second)
	}
}

func TestRunsAreFilteredAndTabled(t *testing.T) {
	t.Parallel()
	b := setup(t)
	one, two := b.submit(with("p.country", "DE")), b.submit(with("p.days", "9"))
	for query, want := range map[string][2]bool{
		"":                           {true, true},
		"parameter=country%3DDE":     {true, false},
		"parameter=days":             {false, true},
		"parameter=days%3D8":         {false, false},
		"state=succeeded":            {false, false},
		"state=failed&owner=ann":     {true, true},
		"owner=bob":                  {false, false},
		"notebook=users/ann/a.ipynb": {true, true},
		"notebook=users/ann/b.ipynb": {false, false},
		"notebook=users/ann/a.ipynb&view=results": {true, true},
	} {
		page := b.get("/runs?"+query, http.StatusOK)
		if got := [2]bool{strings.Contains(page, one), strings.Contains(page, two)}; got != want {
			t.Errorf("%s shows %v, want %v", query, got, want)
		}
	}
	page := b.get("/view/users/ann", http.StatusOK)
	if !strings.Contains(page, `href="/runs/`+two+`"`) || strings.Contains(page, `href="/runs/`+one+`"`) {
		t.Error("the listing does not show the newest run beside the name")
	}
}

func TestRunPageLeadsToTheError(t *testing.T) {
	t.Parallel()
	b := setup(t)
	id := b.submit(nil)
	page := b.get("/runs/"+id, http.StatusOK)
	if !strings.Contains(page, `href="/runs/`+id+`#cell-work"`) {
		t.Error("no link to the cell that failed")
	}
	to, _ := b.post("/runs/"+id+"/clone", nil, http.StatusSeeOther)
	if to != "/view/users/ann/a-run.ipynb" {
		t.Errorf("clone leads to %s", to)
	}
	b.check(to, b.get(to, http.StatusOK))
	b.launcher.hold.Store(true)
	held := b.submit(nil)
	if page := b.get("/runs/"+held, http.StatusOK); !strings.Contains(page, "data-live") {
		t.Error("a run that goes on is not followed")
	}
	b.post("/runs/"+held+"/cancel", nil, http.StatusSeeOther)
	b.post("/runs/"+id+"/cancel", nil, http.StatusSeeOther) // it has ended: its page says so
	again, _ := b.post("/runs/"+id+"/retry", nil, http.StatusSeeOther)
	if again == "/runs/"+id {
		t.Error("a retry is the same run")
	}
}

// TestLinksOfTexts checks where relative addresses in texts lead.
func TestLinksOfTexts(t *testing.T) {
	t.Parallel()
	b := setup(t)
	doc := b.check("notebook", b.get("/view/users/ann/a.ipynb", http.StatusOK))
	links, images := map[string]bool{}, map[string]bool{}
	each(doc, func(n *html.Node) {
		switch n.Data {
		case "a":
			links[attr(n, "href")] = true
		case "img":
			images[attr(n, "src")] = true
		}
	})
	if !links["/view/users/ann/b.csv"] {
		t.Error("the relative link is lost")
	}
	if !images["/files/users/ann/pic.png"] || len(images) != 1 {
		t.Errorf("images %v", images)
	}
}

package pages_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"golang.org/x/net/html"
)

// TestEveryPage renders every page with hostile text in every place, and holds
// it against what a page must be.
func TestEveryPage(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.save("users/ann/a.ipynb", source+" ") // a second version
	name := `x"><img src=x onerror=pwn()>.ipynb`
	if err := b.volume.Mkdir(t.Context(), ann, "users/ann/<b>dir"); err != nil {
		t.Fatal(err)
	}
	b.save("users/ann/"+name, source)
	b.save("users/ann/<b>dir/'\"<i>.md", "# hello")
	b.save("users/ann/gone"+name, source)
	b.post("/delete/users/ann/gone"+url.PathEscape(name), nil, http.StatusSeeOther)
	id := b.submit(url.Values{"p.title": {evil}, "tags": {`<u>"tag`}})
	b.submit(url.Values{"p.title": {"y"}, "p.country": {"DE"}})
	b.launcher.hold.Store(true)
	held := b.submit(url.Values{"p.title": {evil + "held"}})
	odd := url.PathEscape(name)
	at := "/runs/" + id
	for _, target := range []string{
		"/login?next=" + url.QueryEscape(evil),
		"/view/", "/view/users", "/view/users/ann", "/view/shared", "/view/users/bob",
		"/view/users/ann?filter=" + url.QueryEscape(evil) + "&sort=" + url.QueryEscape(evil) + "&since=" + url.QueryEscape(evil) + "&state=" + url.QueryEscape(evil),
		"/view/users/ann?state=failed", "/view/users/ann?since=day&sort=modified", "/view/users?filter=b",
		"/view/users/ann/a.ipynb", "/view/users/ann/a.ipynb?version=1", "/view/users/ann/a.ipynb?code=0", "/view/users/ann/" + odd,
		"/view/users/ann/b.csv", "/view/users/ann/c.json", "/view/users/ann/d.py", "/view/users/ann/README.md", "/view/users/ann/pic.png",
		"/view/users/ann/%3Cb%3Edir", "/view/users/ann/%3Cb%3Edir/%27%22%3Ci%3E.md",
		"/versions/users/ann/a.ipynb", "/versions/users/ann/d.py", "/versions/users/ann/" + odd, "/trash/users/ann", "/trash/shared", "/rename/users/ann/" + odd,
		"/diff", "/diff?a=users/ann/a.ipynb@1&b=users/ann/a.ipynb", "/diff?a=users/ann/a.ipynb@1&b=run:" + id,
		"/run/users/ann/a.ipynb", "/run/users/ann/a.ipynb?version=1", "/run/users/ann/" + odd, "/run/users/ann/a.ipynb?from=" + id,
		"/run/users/ann/a.ipynb?p.title=" + url.QueryEscape(evil) + "&p.days=" + url.QueryEscape(evil),
		"/runs", "/runs?notebook=users/ann/a.ipynb", "/runs?notebook=users/ann/a.ipynb&view=results", "/runs?owner=" + url.QueryEscape(evil),
		"/runs?notebook=" + url.QueryEscape(evil) + "&view=results", "/runs?parameter=" + url.QueryEscape("title="+evil), "/runs?state=failed&tag=x",
		at, at + "?code=0", at + "/timeline", at + "/log", at + "/attempts",
		"/runs/" + held, "/runs/" + held + "/timeline", "/runs/" + held + "/log", "/runs/" + held + "/attempts",
		"/lineage?file=" + url.QueryEscape(evil), "/lineage?connection=local&table=x", "/search", "/search?q=" + url.QueryEscape("notebook"), "/search?q=" + url.QueryEscape(evil), "/discover",
	} {
		doc := b.check(target, b.get(target, http.StatusOK))
		each(doc, func(n *html.Node) {
			if n.Data == "img" && attr(n, "src") == "x" || n.Data == "u" || n.Data == "i" {
				t.Errorf("%s: hostile text became an element %s", target, n.Data)
			}
		})
	}
	for target, status := range map[string]int{
		"/view/users/ann/missing.ipynb": http.StatusNotFound, "/view/users/ann/" + url.PathEscape(evil): http.StatusNotFound,
		"/runs/" + url.PathEscape(evil): http.StatusNotFound, "/runs/06h0nax974k8qw7wcbqe8mdh48": http.StatusNotFound,
		"/view/users/ann/a.ipynb?version=99": http.StatusNotFound, "/view/users/ann/a.ipynb?version=" + url.QueryEscape(evil): http.StatusBadRequest,
		"/diff?a=" + url.QueryEscape(evil) + "&b=run:x": http.StatusNotFound, "/trash/users/bob": http.StatusForbidden,
		"/view/users/ann?cursor=" + url.QueryEscape(evil): http.StatusBadRequest, "/view/users/ann/a.ipynb?as=" + url.QueryEscape(evil): http.StatusBadRequest,
	} {
		b.check(target, b.get(target, status))
	}
}

// TestPagesNeedSigningIn asks for every page without a cookie.
func TestPagesNeedSigningIn(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.cookie = "wrong"
	for _, target := range []string{"/view/users/ann/a.ipynb", "/runs", "/diff", "/run/users/ann/a.ipynb", "/trash/users/ann", "/output/users/ann/a.ipynb"} {
		w := b.do(http.MethodGet, target, nil, "")
		if w.Code != http.StatusSeeOther || !strings.HasPrefix(w.Header().Get("Location"), "/login?next=") {
			t.Errorf("%s: %d to %q", target, w.Code, w.Header().Get("Location"))
		}
	}
	for _, target := range []string{"/delete/users/ann/a.ipynb", "/new/users/ann", "/clone/users/ann/a.ipynb", "/run/users/ann/a.ipynb"} {
		b.post(target, nil, http.StatusForbidden)
	}
}

// TestFormsOfOtherSitesAreRefused sends a form with another origin.
func TestFormsOfOtherSitesAreRefused(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for _, route := range b.router.Routes() {
		method, path, _ := strings.Cut(route.Pattern, " ")
		if method != http.MethodPost || !route.Policy.Page {
			continue
		}
		path = strings.NewReplacer("{path...}", "users/ann/a.ipynb", "{id}", "06h0nax974k8qw7wcbqe8mdh48").Replace(path)
		r := request(b, http.MethodPost, path)
		r.Header.Set("Origin", "http://evil.example")
		if w := b.serve(r); w.Code != http.StatusForbidden {
			t.Errorf("%s: %d", path, w.Code)
		}
	}
	if _, err := b.volume.Stat(t.Context(), ann, "users/ann/a.ipynb"); err != nil {
		t.Error(err)
	}
}

// TestFormsSayWhereTheyComeFrom holds the policy under which a browser sends the
// Origin of a page with its forms; under no-referrer it sends "null", which is
// refused. An address with a token in it goes nowhere.
func TestFormsSayWhereTheyComeFrom(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for target, want := range map[string]string{
		"/login": "same-origin", "/view/users/ann": "same-origin", "/view/users/ann/a.ipynb": "same-origin", "/run/users/ann/a.ipynb": "same-origin",
		"/view/users/ann/nothing.ipynb": "same-origin", "/?token=wrong": "no-referrer",
	} {
		w := b.do(http.MethodGet, target, nil, "")
		if got := w.Header().Get("Referrer-Policy"); got != want {
			t.Errorf("%s: Referrer-Policy %q, want %q", target, got, want)
		}
		if strings.Contains(w.Body.String(), `name="referrer"`) {
			t.Errorf("%s: the page has a policy of its own", target)
		}
	}
}

func TestFilesAreChangedByForms(t *testing.T) {
	t.Parallel()
	b := setup(t)
	exists := func(path string, want bool) {
		t.Helper()
		if _, err := b.volume.Stat(t.Context(), ann, path); (err == nil) != want {
			t.Errorf("%s: %v", path, err)
		}
	}
	to, _ := b.post("/new/users/ann", url.Values{"kind": {"notebook"}, "name": {"new"}}, http.StatusSeeOther)
	if to != "/view/users/ann/new.ipynb" {
		t.Errorf("new leads to %s", to)
	}
	b.check(to, b.get(to, http.StatusOK))
	b.post("/new/users/ann", url.Values{"kind": {"folder"}, "name": {"dir"}}, http.StatusSeeOther)
	b.post("/new/users/ann", url.Values{"kind": {"notebook"}, "name": {"../bob/x"}}, http.StatusBadRequest)
	b.post("/new/users/bob", url.Values{"kind": {"notebook"}}, http.StatusForbidden)
	b.post("/rename/users/ann/new.ipynb", url.Values{"name": {"dir/moved.ipynb"}}, http.StatusSeeOther)
	exists("users/ann/new.ipynb", false)
	exists("users/ann/dir/moved.ipynb", true)
	b.post("/rename/users/ann/a.ipynb", url.Values{"name": {"../bob/a.ipynb"}}, http.StatusForbidden)
	b.post("/duplicate/users/ann/a.ipynb", nil, http.StatusSeeOther)
	exists("users/ann/a-Copy1.ipynb", true)
	b.post("/delete/users/ann/a.ipynb", nil, http.StatusSeeOther)
	exists("users/ann/a.ipynb", false)
	all, err := b.volume.Trash(t.Context(), ann, "users/ann")
	if err != nil || len(all) != 1 {
		t.Fatalf("trash %v: %v", all, err)
	}
	b.post("/trash/users/ann", url.Values{"id": {all[0].ID}}, http.StatusSeeOther)
	b.post("/trash/users/bob", url.Values{"discard": {"all"}}, http.StatusForbidden)
	b.post("/trash/users/ann", url.Values{"discard": {"1-none"}}, http.StatusNotFound)
	b.post("/trash/users/ann", url.Values{"discard": {"all"}}, http.StatusSeeOther)
	exists("users/ann/a.ipynb", true)
	b.save("users/bob/theirs.ipynb", source)
	b.post("/delete/users/bob/theirs.ipynb", nil, http.StatusForbidden)
	if to, _ = b.post("/clone/users/bob/theirs.ipynb", nil, http.StatusSeeOther); to != "/view/users/ann/theirs.ipynb" {
		t.Errorf("clone leads to %s", to)
	}
	exists("users/ann/theirs.ipynb", true)
}

func TestUpload(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for _, tt := range []struct {
		dir, want string
		names     []string
		status    int
	}{
		{dir: "users/ann", names: []string{"up.txt"}, want: "/view/users/ann/up.txt", status: http.StatusSeeOther},
		{dir: "users/ann", names: []string{"up.txt"}, want: "/view/users/ann/up-1.txt", status: http.StatusSeeOther},
		{dir: "users/ann", names: []string{"1.txt", "2.txt"}, want: "/view/users/ann", status: http.StatusSeeOther},
		{dir: "users/ann", names: []string{"../../bob/x.txt"}, want: "/view/users/ann/x.txt", status: http.StatusSeeOther},
		{dir: "users/ann", names: []string{`C:\secret\y.txt`}, want: "/view/users/ann/y.txt", status: http.StatusSeeOther},
		{dir: "users/bob", names: []string{"x.txt"}, status: http.StatusForbidden},
		{dir: "users/ann", status: http.StatusBadRequest},
	} {
		body, kind := upload(t, tt.names...)
		w := b.do(http.MethodPost, "/upload/"+tt.dir, body, kind)
		if w.Code != tt.status || w.Header().Get("Location") != tt.want {
			t.Errorf("%v to %s: %d to %q, want %d to %q", tt.names, tt.dir, w.Code, w.Header().Get("Location"), tt.status, tt.want)
		}
	}
}

func TestVersionsAreRestored(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.save("users/ann/a.ipynb", strings.Replace(source, "print(1)", "print(2)", 1))
	b.post("/versions/users/ann/a.ipynb", url.Values{"number": {"1"}}, http.StatusSeeOther)
	if page := b.get("/view/users/ann/a.ipynb?as=py", http.StatusOK); !strings.Contains(page, "print(1)") || strings.Contains(page, "print(2)") {
		t.Errorf("restored: %s", page)
	}
	if page := b.get("/view/users/ann/a.ipynb?version=2&as=py", http.StatusOK); !strings.Contains(page, "print(2)") {
		t.Errorf("version 2: %s", page)
	}
	for target, want := range map[string]string{
		"/view/users/ann/a.ipynb@2?code=0": "/view/users/ann/a.ipynb?code=0&version=2", "/view/users/ann/none.ipynb@x": "",
	} {
		if w := b.do(http.MethodGet, target, nil, ""); !strings.HasSuffix(w.Header().Get("Location"), want) || (want == "") != (w.Code == http.StatusNotFound) {
			t.Errorf("%s: %d, to %q", target, w.Code, w.Header().Get("Location"))
		}
	}
	if page := b.get("/diff?a=users/ann/a.ipynb@1&b=users/ann/a.ipynb@2", http.StatusOK); !strings.Contains(page, "Cell 3, code") {
		t.Error("the difference of version 1 and 2 does not name cell 3")
	}
}

func TestDownloads(t *testing.T) {
	t.Parallel()
	b := setup(t)
	id := b.submit(nil)
	for _, at := range []string{"/view/users/ann/a.ipynb", "/runs/" + id} {
		for as, want := range map[string]string{"ipynb": `"nbformat"`, "py": "# %%", "md": "# A notebook", "html": "<!doctype html>"} {
			w := b.do(http.MethodGet, at+"?as="+as, nil, "")
			if w.Code != http.StatusOK || !strings.Contains(w.Body.String(), want) || !strings.HasPrefix(w.Header().Get("Content-Disposition"), "attachment") {
				t.Errorf("%s as %s: %d %v", at, as, w.Code, w.Header())
			}
		}
	}
	w := b.do(http.MethodGet, "/runs/"+id+"/output?cell=2&output=1&mime=text/html", nil, "")
	if w.Header().Get("Content-Type") != "text/plain; charset=utf-8" || !strings.Contains(w.Body.String(), "<script>") {
		t.Errorf("output: %v %s", w.Header(), w.Body)
	}
	w = b.do(http.MethodGet, "/runs/"+id+"/frame?cell=2&output=1", nil, "")
	if policy := w.Header().Get("Content-Security-Policy"); !strings.Contains(policy, "sandbox") || strings.Contains(policy, "allow-same-origin") {
		t.Errorf("frame: %q", policy)
	}
}

package server

import (
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/net/html"
)

// TestBasePath follows every link, picture, script and form of a server whose
// pages are under /team/quire: none leads out of it, and none leads nowhere.
func TestBasePath(t *testing.T) {
	t.Parallel()
	const base = "/team/quire"
	s, err := New(t.Context(), Config{
		Listen: "127.0.0.1:0", Data: filepath.Join(t.TempDir(), "data"), User: "ann", BasePath: base + "/", Sample: true,
	}, Options{Command: []string{"false"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	if want := "http://" + s.listener.Addr().String() + base + "/"; s.URL() != want {
		t.Errorf("the address is %s, want %s", s.URL(), want)
	}
	var cookie *http.Cookie
	ask := func(method, target, body string) *httptest.ResponseRecorder {
		r := httptest.NewRequestWithContext(t.Context(), method, target, strings.NewReader(body))
		r.Host = s.listener.Addr().String()
		r.Header.Set("Accept", "text/html")
		if method != http.MethodGet {
			r.Header.Set("Origin", "http://"+r.Host)
		}
		if cookie != nil {
			r.AddCookie(cookie)
		}
		w := httptest.NewRecorder()
		s.http.Handler.ServeHTTP(w, r)
		return w
	}
	w := ask("GET", base+"/?token="+s.token, "")
	if cookies := w.Result().Cookies(); len(cookies) != 1 || cookies[0].Path != base+"/" || w.Header().Get("Location") != base+"/" {
		t.Fatalf("signing in: %d %v %v", w.Code, w.Header(), cookies)
	} else {
		cookie = cookies[0]
	}
	created := ask("POST", base+"/api/runs", `{"notebook":"users/ann/Welcome.ipynb"}`)
	at := created.Header().Get("Location")
	if created.Code != http.StatusCreated || !strings.HasPrefix(at, base+"/api/runs/") {
		t.Fatalf("a run: %d at %q: %s", created.Code, at, created.Body)
	}
	todo := []string{base + "/", base + "/login", strings.Replace(at, "/api", "", 1), base + "/search?q=title", base + "/discover", base + "/nothing"}
	seen := map[string]bool{}
	for len(todo) > 0 {
		target := todo[0]
		todo = todo[1:]
		w := ask("GET", target, "")
		if w.Code >= 400 && target != base+"/nothing" {
			t.Errorf("%s: %d", target, w.Code)
		}
		found := []string{w.Header().Get("Location")}
		if strings.HasPrefix(w.Header().Get("Content-Type"), "text/html") && !strings.Contains(target, "as=html") {
			found = append(found, references(t, w)...)
		}
		for _, ref := range found {
			ref, _, _ = strings.Cut(ref, "#")
			switch {
			case !strings.HasPrefix(ref, "/"):
			case !strings.HasPrefix(ref, base+"/"):
				t.Errorf("%s leads to %s", target, ref)
			case !seen[ref] && len(seen) < 400:
				seen[ref] = true
				todo = append(todo, ref)
			}
		}
	}
	if len(seen) < 60 {
		t.Errorf("only %d addresses were followed", len(seen))
	}
	if w := ask("GET", "/view/", ""); w.Code != http.StatusNotFound {
		t.Errorf("a page without the base path: %d", w.Code)
	}
}

// references returns what a page refers to, but for forms that change things.
func references(t *testing.T, w *httptest.ResponseRecorder) []string {
	t.Helper()
	doc, err := html.Parse(w.Body)
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for n := range doc.Descendants() {
		for _, a := range n.Attr {
			switch a.Key {
			case "href", "src":
				found = append(found, a.Val)
			case "action", "formaction":
				// Only that it stays below the base path: GET is not its method.
				if strings.HasPrefix(a.Val, "/") && !strings.HasPrefix(a.Val, "/team/quire/") {
					t.Errorf("a form goes to %s", a.Val)
				}
			}
		}
	}
	return found
}

func TestBasePathIsChecked(t *testing.T) {
	t.Parallel()
	for _, path := range []string{"quire", "/a b", "//evil", "/..", "/a//b", "/a?b", "/{x}"} {
		c := Config{BasePath: path, User: "ann", Data: t.TempDir()}
		if err := c.Validate(); err == nil || !strings.Contains(err.Error(), "basePath") {
			t.Errorf("%q was taken: %v", path, err)
		}
	}
}

// TestBehindAProxy signs in through a proxy that adds TLS: browsers say https in
// Origin, and the cookie is for https only.
func TestBehindAProxy(t *testing.T) {
	t.Parallel()
	const host = "notebooks.example.com"
	s, err := New(t.Context(), Config{
		Listen: "127.0.0.1:0", Data: filepath.Join(t.TempDir(), "data"), User: "ann", Hosts: []string{host}, InsecureBehindProxy: true,
	}, Options{Command: []string{"false"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	for origin, want := range map[string]int{"https://" + host: http.StatusSeeOther, "http://" + host: http.StatusForbidden, "https://evil.example.com": http.StatusForbidden} {
		r := httptest.NewRequestWithContext(t.Context(), "POST", "/login", strings.NewReader("token="+s.token))
		r.Host = host
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.Header.Set("Origin", origin)
		w := httptest.NewRecorder()
		s.router.ServeHTTP(w, r)
		if w.Code != want {
			t.Errorf("signing in from %s: %d, want %d", origin, w.Code, want)
		}
		for _, c := range w.Result().Cookies() {
			if want == http.StatusSeeOther && (!c.Secure || !c.HttpOnly || c.Name != "__Host-quire") {
				t.Errorf("the cookie %+v", c)
			}
		}
	}
}

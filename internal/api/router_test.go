package api

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"quire/internal/auth"
	"quire/internal/db/sqlite"
	"quire/internal/problem"
)

const testHost = "127.0.0.1:8888"

type bundle struct {
	router        *Router
	token, cookie string
	log           *bytes.Buffer
}

func setup(t *testing.T) *bundle {
	t.Helper()
	ctx := context.Background()
	d, err := sqlite.Open(ctx, t.TempDir()+"/q.db")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	sessions := &auth.Sessions{Store: d}
	b := &bundle{token: auth.NewSecret(), log: &bytes.Buffer{}}
	ann := auth.User{Name: "ann"}
	if err := errors.Join(d.PutUser(ctx, ann), sessions.SetToken(ctx, b.token, ann)); err != nil {
		t.Fatal(err)
	}
	if b.cookie, _, err = sessions.SignIn(ctx, b.token); err != nil {
		t.Fatal(err)
	}
	b.router = NewRouter(Config{
		Sessions: sessions, Hosts: []string{testHost},
		Log: slog.New(slog.NewTextHandler(b.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	})
	hello := func(w http.ResponseWriter, r *http.Request) error {
		u, _ := auth.UserFrom(r.Context())
		_, err := io.WriteString(w, "hello "+u.Name)
		return err
	}
	b.router.Handle("GET /public", Policy{Access: Public}, hello)
	b.router.Handle("GET /in", Policy{Access: SignedIn}, hello)
	b.router.Handle("POST /in", Policy{Access: SignedIn, MaxBody: 100}, func(w http.ResponseWriter, r *http.Request) error {
		var v struct{ A int }
		return ReadJSON(r, &v)
	})
	b.router.Handle("GET /page", Policy{Access: SignedIn, Page: true}, hello)
	b.router.Handle("GET /jupyter", Policy{Access: SignedIn, QueryToken: true}, hello)
	b.router.Handle("GET /admin", Policy{Access: Admin}, hello)
	b.router.Handle("GET /panic", Policy{Access: Public}, func(http.ResponseWriter, *http.Request) error { panic("canary-detail") })
	b.router.Handle("GET /internal", Policy{Access: Public}, func(http.ResponseWriter, *http.Request) error { return errors.New("canary-detail") })
	b.router.Handle("GET /missing", Policy{Access: Public}, func(http.ResponseWriter, *http.Request) error {
		return problem.New(problem.NotFound, "no notebook %q", "a.ipynb")
	})
	return b
}

func (b *bundle) do(method, target string, header map[string]string, body string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, target, strings.NewReader(body))
	r.Host = testHost
	for k, v := range header {
		if k == "Host" {
			r.Host = v
			continue
		}
		r.Header.Set(k, v)
	}
	w := httptest.NewRecorder()
	b.router.ServeHTTP(w, r)
	return w
}

func TestWhoMayReachARoute(t *testing.T) {
	t.Parallel()
	b := setup(t)
	token := map[string]string{"Authorization": "Bearer " + b.token}
	cookie := map[string]string{"Cookie": b.router.CookieName() + "=" + b.cookie}
	with := func(base map[string]string, k, v string) map[string]string {
		m := map[string]string{k: v}
		for k, v := range base {
			m[k] = v
		}
		return m
	}
	for _, tt := range []struct {
		name, method, target string
		header               map[string]string
		want                 int
	}{
		{"public", "GET", "/public", nil, 200},
		{"nobody", "GET", "/in", nil, 403},
		{"nobody on a page", "GET", "/page?x=1", nil, 303},
		{"nobody upgrading a page", "GET", "/page", map[string]string{"Upgrade": "websocket"}, 403},
		{"token", "GET", "/in", token, 200},
		{"Jupyter's form", "GET", "/in", map[string]string{"Authorization": "token " + b.token}, 200},
		{"wrong token", "GET", "/in", map[string]string{"Authorization": "Bearer " + auth.NewSecret()}, 403},
		{"basic", "GET", "/in", map[string]string{"Authorization": "Basic " + b.token}, 403},
		{"cookie", "GET", "/in", cookie, 200},
		{"token as cookie", "GET", "/in", map[string]string{"Cookie": b.router.CookieName() + "=" + b.token}, 403},
		{"query token where it is not taken", "GET", "/in?token=" + b.token, nil, 403},
		{"query token", "GET", "/jupyter?token=" + b.token, nil, 200},
		{"not an administrator", "GET", "/admin", token, 403},
		{"other host", "GET", "/public", map[string]string{"Host": "evil.test:8888"}, 421},
		{"host in capitals", "GET", "/public", map[string]string{"Host": "127.0.0.1:8888"}, 200},
		{"post by token", "POST", "/in", token, 400},
		{"post by cookie, no origin", "POST", "/in", cookie, 403},
		{"post by cookie, own origin", "POST", "/in", with(cookie, "Origin", "http://"+testHost), 400},
		{"post by cookie, https origin", "POST", "/in", with(cookie, "Origin", "https://"+testHost), 403},
		{"post by cookie, other origin", "POST", "/in", with(cookie, "Origin", "http://evil.test"), 403},
		{"post by cookie, origin null", "POST", "/in", with(cookie, "Origin", "null"), 403},
		{"post by cookie, suffix origin", "POST", "/in", with(cookie, "Origin", "http://"+testHost+".evil.test"), 403},
		{"post by cookie, same-origin fetch", "POST", "/in", with(cookie, "Sec-Fetch-Site", "same-origin"), 400},
		{"post by cookie, cross-site fetch", "POST", "/in", with(cookie, "Sec-Fetch-Site", "cross-site"), 403},
		{"post by cookie, same-site fetch", "POST", "/in", with(cookie, "Sec-Fetch-Site", "same-site"), 403},
		{"post by token, other origin", "POST", "/in", with(token, "Origin", "http://evil.test"), 403},
		{"upgrade by cookie, no origin", "GET", "/in", with(cookie, "Upgrade", "websocket"), 403},
		{"unknown", "GET", "/nothing", token, 404},
		{"wrong method", "DELETE", "/in", token, 405},
		{"not found", "GET", "/missing", nil, 404},
		{"panic", "GET", "/panic", nil, 500},
		{"internal", "GET", "/internal", nil, 500},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := b.do(tt.method, tt.target, tt.header, "")
			if w.Code != tt.want {
				t.Errorf("status %d, want %d: %s", w.Code, tt.want, w.Body)
			}
			if strings.Contains(w.Body.String(), "canary-detail") {
				t.Errorf("the answer tells what only the log may: %s", w.Body)
			}
			if strings.Contains(w.Header().Get("Location"), "token=") {
				t.Errorf("a token in a redirect: %s", w.Header().Get("Location"))
			}
		})
	}
	log := b.log.String()
	if strings.Contains(log, b.token) || strings.Contains(log, b.cookie) {
		t.Error("a secret is in the log")
	}
	if !strings.Contains(log, "canary-detail") {
		t.Error("the log does not tell why a request failed")
	}
}

func TestBodies(t *testing.T) {
	t.Parallel()
	b := setup(t)
	token := map[string]string{"Authorization": "Bearer " + b.token}
	for body, want := range map[string]int{
		`{"A":1}`: 200, `{"A":1}{"A":2}`: 400, `{"B":1}`: 400, `{`: 400, `[]`: 400,
		`{"A":1` + strings.Repeat(" ", 200) + `}`: 413,
	} {
		if w := b.do("POST", "/in", token, body); w.Code != want {
			t.Errorf("%q: status %d, want %d: %s", clip(body, 40), w.Code, want, w.Body)
		}
	}
}

func TestRouteWithoutPolicyPanics(t *testing.T) {
	t.Parallel()
	defer func() {
		if recover() == nil {
			t.Error("a route without a policy was taken")
		}
	}()
	NewRouter(Config{}).Handle("GET /x", Policy{}, nil)
}

func TestSafeNext(t *testing.T) {
	t.Parallel()
	for _, next := range []string{"/a", "/a?b=c", "/view/users/a%20b.ipynb"} {
		if got := SafeNext(next); got != next {
			t.Errorf("%q became %q", next, got)
		}
	}
	for _, next := range []string{
		"", "//evil.test", "/\\evil.test", "\\evil", "https:evil", "https://evil", "///evil", "/\t/evil", "javascript:alert(1)",
		"/\n//evil", "evil", "http:/evil", strings.Repeat("/a", 5000),
	} {
		if got := SafeNext(next); got != "/" {
			t.Errorf("%q was let through as %q", next, got)
		}
	}
}

func TestStreamsEndWithTheServer(t *testing.T) {
	t.Parallel()
	rt := NewRouter(Config{})
	before, stop := rt.Streaming(t.Context())
	defer stop()
	if before.Err() != nil {
		t.Error("a stream ended at once")
	}
	rt.EndStreams()
	after, stop := rt.Streaming(t.Context())
	defer stop()
	for name, ctx := range map[string]context.Context{"of before": before, "of after": after} {
		select {
		case <-ctx.Done():
		case <-time.After(10 * time.Second):
			t.Errorf("a stream %s goes on", name)
		}
	}
}

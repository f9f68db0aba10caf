package server

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"quire/internal/api"
	"quire/internal/auth"
)

type bundle struct {
	*Server
	router *api.Router
	log    *bytes.Buffer
}

func setup(t *testing.T) *bundle {
	t.Helper()
	log := &bytes.Buffer{}
	s, err := New(t.Context(), Config{Listen: "127.0.0.1:0", Data: filepath.Join(t.TempDir(), "data"), User: "ann"}, Options{
		Log: slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug})), Command: []string{"false"},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return &bundle{s, s.http.Handler.(*api.Router), log}
}

func (b *bundle) do(method, path string, header map[string]string) *httptest.ResponseRecorder {
	r := httptest.NewRequestWithContext(context.Background(), method, path, strings.NewReader(""))
	r.Host = b.listener.Addr().String()
	for k, v := range header {
		r.Header.Set(k, v)
	}
	w := httptest.NewRecorder()
	b.router.ServeHTTP(w, r)
	return w
}

// nowhere fails when a file of the data, but one, holds a secret.
func (b *bundle) nowhere(t *testing.T, secret, but string) {
	t.Helper()
	looked := 0
	err := filepath.WalkDir(b.cfg.Data, func(path string, d os.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // it went while we looked
		}
		if err != nil || !d.Type().IsRegular() || path == but {
			return err
		}
		data, err := os.ReadFile(path)
		if bytes.Contains(data, []byte(secret)) {
			t.Errorf("the secret is in %s", path)
		}
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		looked++
		return err
	})
	if err != nil || looked < 3 {
		t.Errorf("looked at %d files: %v", looked, err)
	}
}

// open are the routes that anybody may reach, and nothing else is: a new one is
// added here with thought.
var open = map[string]bool{
	"GET /healthz": true, "GET /readyz": true, "GET /{$}": true, "GET /login": true, "POST /login": true, "GET /static/{name}": true, "GET /static/app/{path...}": true,
	"POST /api/hooks/{name}": true, // its call is signed: Schedules.Call
	"GET /user/{user}/api":   true, "GET /user/{user}/login": true, "POST /user/{user}/login": true,
}

var wildcard = regexp.MustCompile(`\{[^}]*\}`)

// TestEveryRouteWithoutACredential walks the whole route table, upgrades
// included: without a credential, and with a wrong one, nothing but the open
// routes is reached.
func TestEveryRouteWithoutACredential(t *testing.T) {
	t.Parallel()
	b := setup(t)
	routes := b.router.Routes()
	if len(routes) < 20 {
		t.Fatalf("only %d routes", len(routes))
	}
	seen := map[string]bool{}
	for _, route := range routes {
		seen[route.Pattern] = true
		if (route.Policy.Access == api.Public) != open[route.Pattern] {
			t.Errorf("%s: its access is %d, and open says %v", route.Pattern, route.Policy.Access, open[route.Pattern])
		}
		if open[route.Pattern] {
			continue
		}
		method, path, _ := strings.Cut(route.Pattern, " ")
		path = wildcard.ReplaceAllString(strings.TrimSuffix(path, "{$}"), "x")
		for name, header := range map[string]map[string]string{
			"nobody":       nil,
			"upgrade":      {"Upgrade": "websocket", "Connection": "Upgrade"},
			"wrong token":  {"Authorization": "Bearer " + auth.NewSecret()},
			"empty token":  {"Authorization": "Bearer "},
			"wrong cookie": {"Cookie": b.router.CookieName() + "=" + auth.NewSecret()},
		} {
			w := b.do(method, path, header)
			login := w.Code == http.StatusSeeOther && strings.HasPrefix(w.Header().Get("Location"), "/login?next=")
			if w.Code != http.StatusForbidden && !login {
				t.Errorf("%s, %s: status %d, want 403 or the sign-in page", route.Pattern, name, w.Code)
			}
		}
	}
	for pattern := range open {
		if !seen[pattern] {
			t.Errorf("%s is listed as open and is no route", pattern)
		}
	}
}

// TestTokenIsNowhere looks for the token in everything the server writes but
// the one address it prints.
func TestTokenIsNowhere(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for _, path := range []string{"/?token=" + b.token, "/api/runs?token=" + b.token, "/view/x?token=" + b.token, "/api/contents/x?token=" + b.token} {
		w := b.do("GET", path, map[string]string{"Referer": "http://x/?token=" + b.token})
		for name, values := range w.Header() {
			if strings.Contains(strings.Join(values, " "), b.token) {
				t.Errorf("%s: the token is in the header %s", path, name)
			}
		}
		body, _ := io.ReadAll(w.Body)
		if bytes.Contains(body, []byte(b.token)) {
			t.Errorf("%s: the token is in the answer", path)
		}
	}
	if bytes.Contains(b.log.Bytes(), []byte(b.token)) {
		t.Error("the token is in the log")
	}
	b.nowhere(t, b.token, b.data("token"))
	info, err := os.Stat(b.data("token"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the token's file is open to others: %v %v", info, err)
	}
}

func TestTwoServersOnOneDirectory(t *testing.T) {
	t.Parallel()
	b := setup(t)
	_, err := New(t.Context(), b.cfg, Options{Command: []string{"false"}})
	if err == nil || !strings.Contains(err.Error(), "another Quire") {
		t.Errorf("a second server started: %v", err)
	}
}

func TestConfigErrorsComeAllAtOnce(t *testing.T) {
	t.Parallel()
	c := Config{Listen: "0.0.0.0:80", Token: "short", Permits: -1, KeepRuns: -1, QuotaBytes: -1, Mounts: map[string]string{"a/b": "x"}}
	err := c.Validate()
	if err == nil {
		t.Fatal("it was taken")
	}
	for _, want := range []string{"listen", "QUIRE_TOKEN", "permits", "keepRuns", "quotaBytes", "mounts"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("the error does not name %s: %v", want, err)
		}
	}
	if strings.Contains(err.Error(), "short") {
		t.Error("the error tells the token")
	}
}

var update = flag.Bool("update", false, "rewrite the golden files")

// TestOpenAPI holds the contract with programs: a change of it is seen in
// review.
func TestOpenAPI(t *testing.T) {
	t.Parallel()
	got, err := api.OpenAPI(setup(t).router.Routes(), "test")
	if err != nil {
		t.Fatal(err)
	}
	const golden = "testdata/openapi.json"
	if *update {
		if err := os.WriteFile(golden, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("the API is not what %s says: look at the change and run the test with -update (%v)", golden, err)
	}
}

// TestEveryAPIRouteIsDescribed keeps the description whole.
func TestEveryAPIRouteIsDescribed(t *testing.T) {
	t.Parallel()
	for _, route := range setup(t).router.Routes() {
		if !route.Policy.Page && route.Policy.Doc.Summary == "" && !strings.Contains(route.Pattern, "/static/") {
			t.Errorf("%s has no summary", route.Pattern)
		}
	}
}

// TestSecretParameterIsNowhere gives a run a parameter that the notebook
// declares a secret, and looks for it in everything that is kept and said.
func TestSecretParameterIsNowhere(t *testing.T) {
	t.Parallel()
	b := setup(t)
	const canary = "canary-4f1d9c0e7b"
	ask := func(method, path, body string) *httptest.ResponseRecorder {
		r := httptest.NewRequestWithContext(t.Context(), method, path, strings.NewReader(body))
		r.Host = b.listener.Addr().String()
		r.Header.Set("Authorization", "Bearer "+b.token)
		w := httptest.NewRecorder()
		b.Server.router.ServeHTTP(w, r)
		return w
	}
	notebook := `{"type":"notebook","format":"json","content":{"cells":[{"cell_type":"code","id":"p","metadata":{"tags":["parameters"]},"execution_count":null,` +
		`"source":"country: str = 'FR'\ntoken: Secret = ''  # secret","outputs":[]}],"metadata":{"kernelspec":{"name":"python3","display_name":"P","language":"python"}},"nbformat":4,"nbformat_minor":5}}`
	if w := ask("PUT", "/user/ann/api/contents/s.ipynb", notebook); w.Code != http.StatusCreated {
		t.Fatalf("saving: %d %s", w.Code, w.Body)
	}
	w := ask("POST", "/api/runs", `{"notebook":"users/ann/s.ipynb","parameters":{"country":"DE","token":"`+canary+`"}}`)
	if w.Code != http.StatusBadRequest || !strings.Contains(w.Body.String(), "token: it is a secret") {
		t.Errorf("a secret was taken: %d %s", w.Code, w.Body)
	}
	answers := w.Body.String()
	if w := ask("POST", "/api/runs", `{"notebook":"users/ann/s.ipynb","parameters":{"country":"Norway"},"tags":["nightly"]}`); w.Code != http.StatusCreated {
		t.Fatalf("a run without the secret: %d %s", w.Code, w.Body)
	}
	for _, path := range []string{"/api/runs", "/runs", "/runs?notebook=users/ann/s.ipynb&view=results", "/api/search?q=" + canary, "/api/search?q=norway"} {
		answers += ask("GET", path, "").Body.String()
	}
	if !strings.Contains(answers, "Run of s.ipynb") {
		t.Errorf("the run is not found by its parameter")
	}
	if strings.Contains(answers, canary) || strings.Contains(b.log.String(), canary) {
		t.Error("an answer or the log tells the secret")
	}
	b.nowhere(t, canary, "")
}

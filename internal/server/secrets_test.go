package server

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"quire/internal/auth"
)

// TestSecretsOfPeopleAreTheirs: over HTTP nobody sees, sets or binds another's, no
// answer, file or log has a value, and a pass is no way to one.
func TestSecretsOfPeopleAreTheirs(t *testing.T) {
	t.Parallel()
	b := setup(t)
	const canary = "canary-77c1e0d2aa"
	answers := &strings.Builder{}
	ask := func(token, method, path, body string) int {
		t.Helper()
		r := httptest.NewRequestWithContext(t.Context(), method, path, strings.NewReader(body))
		r.Host = b.listener.Addr().String()
		r.Header.Set("Authorization", "Bearer "+token)
		if strings.HasPrefix(path, "/account") {
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		}
		w := httptest.NewRecorder()
		b.router.ServeHTTP(w, r)
		answers.WriteString(w.Body.String())
		for name, values := range w.Header() {
			answers.WriteString(name + strings.Join(values, " "))
		}
		return w.Code
	}
	bob := auth.User{Name: "bob"}
	if err := b.sessions.Change(t.Context(), bob); err != nil {
		t.Fatal(err)
	}
	token, _, err := b.sessions.NewToken(t.Context(), bob, "test", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	pass, _, err := b.sessions.Issue(t.Context(), bob, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	admin := b.token // ann's
	adminPass, _, err := b.sessions.Issue(t.Context(), auth.User{Name: "ann"}, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	notebook := `{"type":"notebook","format":"json","content":{"cells":[{"cell_type":"code","id":"p","metadata":{"tags":["parameters"]},"execution_count":null,` +
		`"source":"token: str  # secret","outputs":[]}],"metadata":{"kernelspec":{"name":"python3","display_name":"P","language":"python"}},"nbformat":4,"nbformat_minor":5}}`
	for _, tt := range []struct {
		who, token, method, path, body string
		want                           int
	}{
		{"ann", admin, "PUT", "/user/ann/api/contents/s.ipynb", notebook, http.StatusCreated},
		{"bob", token, "PUT", "/api/secrets/api", `{"value":"` + canary + `"}`, http.StatusNoContent},
		{"bob", token, "PUT", "/api/secrets/a-b", `{"value":"` + canary + `"}`, http.StatusBadRequest},
		{"bob", token, "PUT", "/api/secrets/big", `{"value":"` + strings.Repeat("x", 70000) + `"}`, http.StatusRequestEntityTooLarge},
		{"bob", token, "GET", "/api/secrets", "", http.StatusOK},
		{"bob", token, "GET", "/api/secrets/api", "", http.StatusMethodNotAllowed},
		{"bob", token, "GET", "/account", "", http.StatusOK},
		{"ann", admin, "GET", "/api/secrets?of=bob", "", http.StatusForbidden},
		{"ann", admin, "PUT", "/api/secrets/api?of=bob", `{"value":"x"}`, http.StatusForbidden},
		{"ann", admin, "DELETE", "/api/secrets/api?of=bob", "", http.StatusForbidden},
		{"ann", admin, "DELETE", "/api/secrets/api", "", http.StatusNotFound},
		{"ann", admin, "POST", "/api/runs", `{"notebook":"users/ann/s.ipynb","secrets":{"token":"api"}}`, http.StatusBadRequest},
		{"ann", admin, "POST", "/api/runs/sweep", `{"notebook":"users/ann/s.ipynb","secrets":{"token":"api"},"grid":{"x":[1]}}`, http.StatusBadRequest},
		{"bob", token, "POST", "/api/runs", `{"notebook":"users/ann/s.ipynb"}`, http.StatusBadRequest},
		{"bob", token, "POST", "/api/runs", `{"notebook":"users/ann/s.ipynb","secrets":{"token":"api"}}`, http.StatusCreated},
		{"a pass", pass, "GET", "/api/runs", "", http.StatusOK},
		{"a pass", pass, "GET", "/api/secrets", "", http.StatusForbidden},
		{"a pass", pass, "PUT", "/api/secrets/api", `{"value":"x"}`, http.StatusForbidden},
		{"a pass", pass, "DELETE", "/api/secrets/api", "", http.StatusForbidden},
		{"a pass", pass, "POST", "/api/runs", `{"notebook":"users/ann/s.ipynb","secrets":{"token":"api"}}`, http.StatusForbidden},
		{"a pass", pass, "POST", "/api/users/bob/tokens", `{"label":"mine"}`, http.StatusForbidden},
		{"a pass", pass, "POST", "/account", "label=mine&days=0", http.StatusForbidden},
		{"ann's pass", adminPass, "GET", "/api/runs", "", http.StatusOK},
		{"ann's pass", adminPass, "POST", "/api/users", `{"name":"eve","admin":true}`, http.StatusForbidden},
		{"ann's pass", adminPass, "PATCH", "/api/users/bob", `{"admin":true}`, http.StatusForbidden},
		{"ann's pass", adminPass, "GET", "/people", "", http.StatusForbidden},
		{"a pass", pass, "POST", "/account/secrets", "name=api&value=x", http.StatusForbidden},
		{"a pass", pass, "POST", "/login", "token=" + pass, http.StatusForbidden},
		{"a pass", pass, "POST", "/api/schedules", `{"text":"schedule: 1\nname: mine\nnotebook: users/ann/s.ipynb\nsecrets: {token: api}\n"}`, http.StatusForbidden},
	} {
		if got := ask(tt.token, tt.method, tt.path, tt.body); got != tt.want {
			t.Errorf("%s: %s %s: %d, want %d", tt.who, tt.method, tt.path, got, tt.want)
		}
	}
	for _, path := range []string{"/api/runs", "/runs", "/api/search?q=" + canary, "/api/search?q=api"} {
		ask(admin, "GET", path, "")
	}
	if !strings.Contains(answers.String(), `"name":"api"`) {
		t.Error("bob's secret is not listed")
	}
	if strings.Contains(answers.String(), canary) || strings.Contains(b.log.String(), canary) {
		t.Error("an answer or the log has the value")
	}
	if !strings.Contains(b.log.String(), "a secret was set") {
		t.Error("the log does not say that one was set")
	}
	b.nowhere(t, canary, "")
}

package server_test

import (
	"fmt"
	"html"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// oidcVariable names a certified provider's example server.
const oidcVariable = "QUIRE_TEST_OIDC_SERVER"

// person is a browser of its own, as far as signing in needs one.
type person struct {
	t *testing.T
	*http.Client
}

func newPerson(t *testing.T) person {
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	return person{t, &http.Client{Jar: jar, Timeout: 2 * time.Minute}}
}

// read returns what an answer says and where it was found.
func (p person) read(answer *http.Response, err error) (status int, at *url.URL, text string) {
	p.t.Helper()
	if err != nil {
		p.t.Fatal(err)
	}
	defer answer.Body.Close()
	data, err := io.ReadAll(answer.Body)
	if err != nil {
		p.t.Fatal(err)
	}
	return answer.StatusCode, answer.Request.URL, html.UnescapeString(string(data))
}

var authRequest = regexp.MustCompile(`name="id" value="([^"]+)"`)

// signIn goes from the platform to the provider, fills in its form, and comes
// back.
func (p person) signIn(platform, user string) (status int, at *url.URL, text string) {
	p.t.Helper()
	status, at, text = p.read(p.Get(platform + "login/elsewhere?next=/runs"))
	found := authRequest.FindStringSubmatch(text)
	if found == nil {
		p.t.Fatalf("the provider's form: %d at %s: %.500s", status, at, text)
	}
	form := url.Values{"id": {found[1]}, "username": {user}, "password": {"verysecure"}}
	return p.read(p.PostForm(at.Scheme+"://"+at.Host+"/login/username", form))
}

func startProvider(t *testing.T, port, back string) {
	t.Helper()
	cmd := exec.Command(os.Getenv(oidcVariable))
	cmd.Env = append(os.Environ(), fmt.Sprint("PORT=", port), "REDIRECT_URI="+back)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	for end := time.Now().Add(2 * time.Minute); ; <-time.After(20 * time.Millisecond) {
		answer, err := http.Get(fmt.Sprintf("http://localhost:%s/.well-known/openid-configuration", port))
		if err == nil {
			_ = answer.Body.Close()
			return
		}
		if time.Now().After(end) {
			t.Fatal("the provider does not start")
		}
	}
}

// TestSignInElsewhere signs people in at a real OpenID Connect provider.
func TestSignInElsewhere(t *testing.T) {
	t.Parallel()
	if os.Getenv(oidcVariable) == "" {
		return // make test sets it
	}
	_, port, err := net.SplitHostPort(freeAddress(t))
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	config := filepath.Join(dir, "quire.yaml")
	text := fmt.Sprintf("listen: 127.0.0.1:0\ndata: %s\nuser: root\ncompute: none\nwarmRuns: -1\noidc:\n  issuer: http://localhost:%s/\n  clientID: web\n  clientSecret: env:OIDC_SECRET\n  join: true\n  groupsClaim: email\nuserGroups:\n  zitadel: {claims: [test-user2@zitadel.ch]}\n  other: {claims: [somebody@else]}\n",
		filepath.Join(dir, "data"), port)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	platform := strings.Replace(startQuire(t, []string{"OIDC_SECRET=secret"}, "serve", "--config", config), "127.0.0.1", "localhost", 1)

	ann := newPerson(t)
	if status, _, page := ann.read(ann.Get(platform + "login/elsewhere")); status != http.StatusServiceUnavailable || !strings.Contains(page, "asking http://localhost") {
		t.Errorf("while the provider is away: %d %.300s", status, page)
	}
	startProvider(t, port, platform+"login/back")
	if _, _, page := ann.read(ann.Get(platform + "login")); !strings.Contains(page, "Sign in with localhost") {
		t.Error("the form does not lead to the provider")
	}

	status, at, page := ann.signIn(platform, "test-user2")
	if status != http.StatusOK || at.Path != "/runs" || !strings.Contains(page, "Test User2") {
		t.Fatalf("after signing in: %d at %s: %.500s", status, at, page)
	}
	if _, err := os.Stat(filepath.Join(dir, "data", "files", "users", "test-user2")); err != nil {
		t.Errorf("no workspace was made: %v", err)
	}
	if status, _, _ := ann.read(ann.Get(platform + "people")); status != http.StatusForbidden {
		t.Errorf("who joined sees the administrators' page: %d", status)
	}
	// The same person in another browser is the same user.
	if status, at, page := newPerson(t).signIn(platform, "test-user2"); status != http.StatusOK || at.Path != "/runs" || !strings.Contains(page, "Test User2") {
		t.Errorf("signing in again: %d at %s", status, at)
	}

	lookAtForgeries(t, platform, ann)

	// The provider's claim makes them a member of a group.
	root := site{platform}
	var list struct {
		Users []struct {
			Name   string
			Groups []string
		}
	}
	root.call(t, "GET", "api/users", "", &list)
	for _, u := range list.Users {
		if got := strings.Join(u.Groups, " "); got != map[string]string{"test-user2": "zitadel"}[u.Name] {
			t.Errorf("%s is in %q", u.Name, got)
		}
	}
	root.call(t, "PATCH", "api/users/test-user2", `{"disabled":true}`, nil)
	if status, at, _ := ann.read(ann.Get(platform + "runs")); at.Path != "/login" {
		t.Errorf("a disabled user's session: %d at %s", status, at)
	}
	if status, _, page := newPerson(t).signIn(platform, "test-user2"); status != http.StatusForbidden || !strings.Contains(page, "may not sign in any more") {
		t.Errorf("a disabled user signs in: %d %.300s", status, page)
	}
	// An administrator made this user with the address that the provider knows.
	root.call(t, "POST", "api/users", `{"name":"boss","email":"test-user@zitadel.ch"}`, nil)
	if status, _, page := newPerson(t).signIn(platform, "test-user@localhost"); status != http.StatusOK || !strings.Contains(page, ">boss<") {
		t.Errorf("by the address: %d %.300s", status, page)
	}
}

// lookAtForgeries comes back from the provider with what nobody was given.
func lookAtForgeries(t *testing.T, platform string, ann person) {
	t.Helper()
	mallory := newPerson(t)
	mallory.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	begun, err := mallory.Get(platform + "login/elsewhere")
	if err != nil {
		t.Fatal(err)
	}
	_ = begun.Body.Close()
	to, err := begun.Location()
	if err != nil {
		t.Fatal(err)
	}
	if q := to.Query(); q.Get("code_challenge_method") != "S256" || q.Get("nonce") == "" || q.Get("state") == "" {
		t.Errorf("the provider is asked without PKCE, nonce or state: %s", to)
	}
	for name, back := range map[string]string{
		"another state": "?code=x&state=abc", "no state": "?code=x",
		"a code that is none": "?code=x&state=" + to.Query().Get("state"),
		"a refusal":           "?error=access_denied&state=" + to.Query().Get("state"),
	} {
		status, _, page := mallory.read(mallory.Get(platform + "login/back" + back))
		if status != http.StatusForbidden || !strings.Contains(page, `role="alert"`) || strings.Contains(page, "secret") {
			t.Errorf("%s: %d %.300s", name, status, page)
		}
		// The cookie was for one time.
		begun, err := mallory.Get(platform + "login/elsewhere")
		if err != nil {
			t.Fatal(err)
		}
		_ = begun.Body.Close()
		if to, err = begun.Location(); err != nil {
			t.Fatal(err)
		}
	}
	// The state of one browser is nothing to another.
	if status, _, _ := ann.read(ann.Get(platform + "login/back?code=x&state=" + to.Query().Get("state"))); status != http.StatusForbidden {
		t.Errorf("another browser's state: %d", status)
	}
}

package server

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"quire/internal/auth"
	"quire/internal/socket"
)

// token adds a user with a workspace and returns an access token of theirs.
func (b *bundle) user(t *testing.T, name string) string {
	t.Helper()
	u := auth.User{Name: name}
	secret := auth.NewSecret()
	for _, err := range []error{b.db.PutUser(t.Context(), u), b.volume.AddWorkspace(name), b.sessions.SetToken(t.Context(), secret, u)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	return secret
}

// TestNotebookServersAreOnesOwn asks for one's own, another's and nobody's
// notebook server, as a person and as an administrator.
func TestNotebookServersAreOnesOwn(t *testing.T) {
	t.Parallel()
	b := setup(t)
	// SetToken keeps one token per user, so that each person has theirs.
	tokens := map[string]string{"ann": b.token, "bob": b.user(t, "bob"), "carl": b.user(t, "carl")}
	for _, tt := range []struct {
		who, method, path string
		want              int
	}{
		{"bob", "GET", "/user/carl/api/kernels", 403},
		{"bob", "GET", "/user/carl/api/kernels/x/channels", 403},
		{"bob", "GET", "/user/carl/lab", 403},
		{"bob", "GET", "/user/carl/", 403},
		{"bob", "POST", "/user/carl/api/shutdown", 403},
		{"bob", "GET", "/user/nobody/api/kernels", 403},
		{"bob", "GET", "/api/users/carl/server", 403},
		{"bob", "DELETE", "/api/users/carl/server", 403},
		{"bob", "GET", "/api/users/bob/server", 200},
		{"bob", "GET", "/user/bob/lab", 503}, // this test's platform starts none
		// An administrator looks and stops, and does not work in it.
		{"ann", "GET", "/user/bob/api/kernels", 403},
		{"ann", "GET", "/user/bob/lab/tree/x.ipynb", 403},
		{"ann", "GET", "/user/bob/logout", 403},
		{"ann", "GET", "/api/users/bob/server", 200},
		{"ann", "DELETE", "/api/users/bob/server", 204},
		{"ann", "GET", "/user/nobody/api/kernels", 404},
		{"ann", "GET", "/user/nobody/lab", 404},
		{"ann", "GET", "/user/%2e%2e/lab", 404},
		{"ann", "GET", "/user/a%2Fb/lab", 404},
		{"ann", "GET", "/api/users/nobody/server", 404},
		{"ann", "GET", "/api/users/%2e%2e/server", 404},
	} {
		w := b.do(tt.method, tt.path, map[string]string{"Authorization": "token " + tokens[tt.who]})
		if w.Code != tt.want {
			t.Errorf("%s: %s %s: %d, want %d: %s", tt.who, tt.method, tt.path, w.Code, tt.want, w.Body)
		}
	}
	if entries, _ := os.ReadDir(b.data("notebooks")); len(entries) > 1 { // bob's, who asked for his
		t.Errorf("others were made too: %v", entries)
	}
}

// fakeNotebookServer answers where ann's notebook server would, and returns its secret.
func fakeNotebookServer(t *testing.T, b *bundle, answer http.HandlerFunc) (secret string) {
	t.Helper()
	p := b.spawn.of("ann")
	if err := os.MkdirAll(p.dir, 0o700); err != nil {
		t.Fatal(err)
	}
	secret = auth.NewSecret()
	for name, text := range map[string]string{"token": secret + "\n", baseFile: ""} {
		if err := os.WriteFile(filepath.Join(p.dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	listener, err := socket.Listen(filepath.Join(p.dir, socketFile))
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(filepath.Join(p.dir, socketFile)); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the socket is open to others: %v %v", info, err)
	}
	fake := &http.Server{Handler: answer}
	served := make(chan error, 1)
	go func() { served <- fake.Serve(listener) }()
	t.Cleanup(func() { _ = fake.Close(); <-served })
	return secret
}

// TestNotebookServerThatIsEnding: it still takes connections when it was killed
// already. What only asks is answered by the one that comes after it.
func TestNotebookServerThatIsEnding(t *testing.T) {
	t.Parallel()
	b := setup(t)
	var left atomic.Int32
	fakeNotebookServer(t, b, func(w http.ResponseWriter, r *http.Request) {
		if !strings.HasSuffix(r.URL.Path, "/api/kernels") {
			w.WriteHeader(http.StatusNotFound)
		} else if left.Add(-1) >= 0 {
			panic(http.ErrAbortHandler)
		} else {
			_, _ = io.WriteString(w, "[]")
		}
	})
	ann := map[string]string{"Authorization": "token " + b.token}
	for _, tt := range []struct {
		method string
		ends   int32
		want   int
	}{{"GET", 3, http.StatusOK}, {"GET", 0, http.StatusOK}, {"POST", 1, http.StatusServiceUnavailable}} {
		left.Store(tt.ends)
		if w := b.do(tt.method, "/user/ann/api/kernels", ann); w.Code != tt.want {
			t.Errorf("%s, %d times cut off: %d, want %d: %s", tt.method, tt.ends, w.Code, tt.want, w.Body)
		}
	}
}

// TestNotebookServerSeesNoSecretOfThePlatform passes requests on to a server that
// writes down what it was sent, and tries to act on the browser.
func TestNotebookServerSeesNoSecretOfThePlatform(t *testing.T) {
	t.Parallel()
	b := setup(t)
	own := fakeNotebookServer(t, b, func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, savesPath) {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		h := w.Header()
		h.Set("Set-Cookie", b.router.CookieName()+"=stolen; Path=/")
		h.Set("Clear-Site-Data", `"cookies"`)
		h.Set("X-Content-Type-Options", "sniff")
		h.Set("Content-Security-Policy", "default-src 'self'")
		body, _ := io.ReadAll(r.Body)
		_ = json.NewEncoder(w).Encode(map[string]any{"header": r.Header, "uri": r.RequestURI, "host": r.Host, "body": string(body)})
	})

	cookie, _, err := b.sessions.SignIn(t.Context(), b.token)
	if err != nil {
		t.Fatal(err)
	}
	r := httptest.NewRequestWithContext(context.Background(), "POST", "/user/ann/api/some%2Fthing?a=1&token="+b.token, strings.NewReader("body"))
	r.Host = b.listener.Addr().String()
	r.Header.Set("Authorization", "token "+b.token)
	r.Header.Set("Cookie", b.router.CookieName()+"="+cookie+"; _xsrf=0123456789abcdef")
	r.Header.Set("X-Xsrftoken", "0123456789abcdef")
	r.Header.Set("Origin", "http://"+r.Host)
	r.Header.Set("Referer", "http://"+r.Host+"/?token="+b.token)
	w := httptest.NewRecorder()
	b.router.ServeHTTP(w, r)
	seen := w.Body.String()
	for name, secret := range map[string]string{"the token": b.token, "the cookie": cookie, "the XSRF cookie": "0123456789abcdef"} {
		if strings.Contains(seen, secret) {
			t.Errorf("the notebook server was sent %s: %s", name, seen)
		}
	}
	for _, want := range []string{"token " + own, `"uri":"/user/ann/api/some%2Fthing?a=1"`, `"host":"localhost"`, `"body":"body"`} {
		if !strings.Contains(seen, want) {
			t.Errorf("the notebook server was not sent %s: %s", want, seen)
		}
	}
	for name, want := range map[string]string{
		"Set-Cookie": "", "Clear-Site-Data": "", "X-Content-Type-Options": "nosniff", "Content-Security-Policy": "default-src 'self'",
	} {
		if got := strings.Join(w.Header().Values(name), "|"); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
}

// TestSavesOfANotebookServerAreVersions lets a server say what it saved: that is
// a version before anybody looks at the file.
func TestSavesOfANotebookServerAreVersions(t *testing.T) {
	t.Parallel()
	b := setup(t)
	p := b.spawn.of("ann")
	if err := os.MkdirAll(p.dir, 0o700); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"token": auth.NewSecret(), baseFile: ""} {
		if err := os.WriteFile(filepath.Join(p.dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	listener, err := socket.Listen(filepath.Join(p.dir, socketFile))
	if err != nil {
		t.Fatal(err)
	}
	saves := make(chan string)
	fake := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_ = http.NewResponseController(w).Flush()
		for {
			select {
			case <-r.Context().Done():
				return
			case path := <-saves:
				_, _ = io.WriteString(w, "event: saved\ndata: "+path+"\n\n")
				_ = http.NewResponseController(w).Flush()
			}
		}
	})}
	served := make(chan error, 1)
	go func() { served <- fake.Serve(listener) }()
	t.Cleanup(func() { _ = fake.Close(); <-served })
	if _, err := b.spawn.ready(t.Context(), "ann"); err != nil {
		t.Fatal(err)
	}
	const path = "users/ann/live.txt"
	for n, text := range []string{"one", "two", "three"} {
		if err := os.WriteFile(b.data("files", path), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		saves <- "users/bob/x.txt" // not this person's: no matter
		saves <- path
		for deadline := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
			head, err := b.db.Head(t.Context(), path)
			if err == nil && head.Version.Number == int64(n+1) {
				break
			}
			if time.Now().After(deadline) {
				t.Fatalf("save %d is no version: %+v %v", n+1, head.Version, err)
			}
		}
	}
}

// TestStartThatTakesLongIsShown: who opens a notebook server in a browser before it
// answers sees how its start goes, and why it failed.
func TestStartThatTakesLongIsShown(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.spawn.house = nil // jobs do not run here
	own := filepath.Join(b.data("notebooks"), "ann")
	if err := os.MkdirAll(own, 0o700); err != nil {
		t.Fatal(err)
	}
	pipe := filepath.Join(own, "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	goOn, err := os.OpenFile(pipe, os.O_RDWR, 0) // keeps what is written until it is read
	if err != nil {
		t.Fatal(err)
	}
	defer goOn.Close()
	b.spawn.command = []string{"/bin/sh", "-c", "read x <" + pipe + "; exit 3", "notebook"}
	open := func(path string) *httptest.ResponseRecorder {
		return b.do("GET", path, map[string]string{"Authorization": "token " + b.token, "Accept": "text/html"})
	}
	w := open("/user/ann/lab/tree/a.ipynb?x=1")
	where := w.Header().Get("Location")
	if w.Code != http.StatusSeeOther || where != "/compute/starting?next=%2Fuser%2Fann%2Flab%2Ftree%2Fa.ipynb%3Fx%3D1" {
		t.Fatalf("%d %q %s", w.Code, where, w.Body)
	}
	if w = open(where); w.Code != http.StatusOK || !strings.Contains(w.Body.String(), "It is starting") ||
		!strings.Contains(w.Body.String(), `href="/user/ann/lab/tree/a.ipynb?x=1"`) || !strings.Contains(w.Body.String(), "events?next=%2Fuser%2Fann%2Flab%2Ftree%2Fa.ipynb%3Fx%3D1") {
		t.Errorf("while it starts: %d %s", w.Code, w.Body)
	}
	if _, err := goOn.WriteString("go\n"); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(time.Minute); !strings.Contains(w.Body.String(), "It did not start"); w = open(where) {
		if time.Now().After(deadline) {
			t.Fatalf("after it failed: %s", w.Body)
		}
		time.Sleep(20 * time.Millisecond)
	}
	if text := w.Body.String(); !strings.Contains(text, "Try again") || strings.Contains(text, "data-stream") {
		t.Errorf("after it failed: %s", text)
	}

	listener, err := socket.Listen(filepath.Join(own, socketFile))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(own, "token"), []byte("secret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	fake := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "{}") })}
	served := make(chan error, 1)
	go func() { served <- fake.Serve(listener) }()
	t.Cleanup(func() { _ = fake.Close(); <-served })
	for next, want := range map[string]string{"/user/ann/lab": "/user/ann/lab", "//evil": "/", "https:evil": "/"} {
		if w := open("/compute/starting?next=" + url.QueryEscape(next)); w.Code != http.StatusSeeOther || w.Header().Get("Location") != want {
			t.Errorf("a server that answers, to %s: %d %q", next, w.Code, w.Header().Get("Location"))
		}
	}
}

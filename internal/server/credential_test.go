package server

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"quire/internal/auth"
	"quire/internal/db/dbtest"
	"quire/internal/problem"
	"quire/internal/query"
	"quire/internal/secret"
)

// TestStoredCredential sets the credential of a connection while the server runs.
func TestStoredCredential(t *testing.T) {
	t.Parallel()
	log := &bytes.Buffer{}
	data := filepath.Join(t.TempDir(), "data")
	s, err := New(t.Context(), Config{Listen: "127.0.0.1:0", Data: data, User: "root", Connections: map[string]ConnectionConfig{
		"dwh":   {Engine: "postgres", DSN: storedCredential},
		"fixed": {Engine: "postgres", DSN: "postgres://x@127.0.0.1:1/x"},
	}}, Options{Log: slog.New(slog.NewTextHandler(log, nil)), Command: []string{"false"}})
	if err != nil {
		t.Fatal(err)
	}
	end := sync.OnceValue(s.Close)
	t.Cleanup(func() { _ = end() })
	root := auth.User{Name: "root", Admin: true}
	ask := func() string {
		q, err := s.queries.Submit(t.Context(), root, query.Request{Connection: "dwh", Statement: "SELECT 1"})
		if err != nil {
			t.Fatal(err)
		}
		ctx, end := context.WithTimeout(t.Context(), 3*time.Minute)
		defer end()
		if q, err = s.queries.Await(ctx, root, q.ID, true); err != nil || q.Error == nil {
			t.Fatalf("%+v, %v", q, err)
		}
		return q.Error.Detail
	}
	put := func(name, secret string) int {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodPut, "/api/connections/"+name+"/credential", strings.NewReader(`{"secret":"`+secret+`"}`))
		r.Host = s.listener.Addr().String()
		r.Header.Set("Authorization", "Bearer "+s.token)
		r.Header.Set("Content-Type", "application/json")
		w := httptest.NewRecorder()
		s.http.Handler.ServeHTTP(w, r)
		return w.Code
	}
	if got := ask(); !strings.Contains(got, "no credential yet") {
		t.Errorf("before it is set: %s", got)
	}
	if code := put("fixed", "x"); code != http.StatusBadRequest && code != http.StatusUnprocessableEntity {
		t.Errorf("a connection of the configuration: %d", code)
	}
	if code := put("nothing", "x"); code != http.StatusNotFound {
		t.Errorf("a connection that is not there: %d", code)
	}
	if code := put("dwh", "postgres://quire:s3cr3tpw@127.0.0.1:1/x"); code != http.StatusNoContent {
		t.Fatalf("setting it: %d", code)
	}
	if got := ask(); !strings.Contains(got, "PostgreSQL does not answer") {
		t.Errorf("after it was set: %s", got)
	}
	if code := put("dwh", "s3cr3tpw is no DSN"); code != http.StatusNoContent {
		t.Fatalf("setting it: %d", code)
	}
	if got := ask(); !strings.Contains(got, "not one of PostgreSQL") {
		t.Errorf("with one that is wrong: %s", got)
	}
	// It is in no file, record or log, when all is written.
	if err := end(); err != nil {
		t.Error(err)
	}
	_ = filepath.WalkDir(data, func(path string, e fs.DirEntry, _ error) error {
		if e != nil && e.Type().IsRegular() {
			if text, err := os.ReadFile(path); err == nil && bytes.Contains(text, []byte("s3cr3tpw")) {
				t.Errorf("%s holds the credential", path)
			}
		}
		return nil
	})
	if strings.Contains(log.String(), "s3cr3tpw") {
		t.Error("the log holds the credential")
	}
	info, err := os.Stat(filepath.Join(data, "credentials.key"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the key's file: %v, %v", info, err)
	}
}

// TestSealedRecords is of the store of secrets, in either database.
func TestSealedRecords(t *testing.T) {
	t.Parallel()
	ctx, d := t.Context(), dbtest.Open(t, filepath.Join(t.TempDir(), "quire.db"))
	if _, err := d.Sealed(ctx, "", "dwh"); !problem.Is(err, problem.NotFound) {
		t.Errorf("none: %v", err)
	}
	at := time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC)
	for _, text := range []string{"first", "second"} {
		want := secret.Sealed{Name: "dwh", Key: "k1", Data: []byte(text), Changed: at, By: "root"}
		if err := d.PutSealed(ctx, want, 0); err != nil {
			t.Fatal(err)
		}
		got, err := d.Sealed(ctx, "", "dwh")
		if err != nil || got.Key != "k1" || string(got.Data) != text || !got.Changed.Equal(at) || got.By != "root" || !got.Used.IsZero() {
			t.Errorf("%+v, %v", got, err)
		}
	}
	for _, name := range []string{"b", "a"} {
		if err := d.PutSealed(ctx, secret.Sealed{Owner: "ann", Name: name, Data: []byte(name)}, 2); err != nil {
			t.Fatal(err)
		}
	}
	if err := d.PutSealed(ctx, secret.Sealed{Owner: "ann", Name: "c"}, 2); !problem.Is(err, problem.TooLarge) {
		t.Errorf("a third of two: %v", err)
	}
	if err := d.UseSealed(ctx, "ann", []string{"a"}, at); err != nil {
		t.Fatal(err)
	}
	if err := d.PutSealed(ctx, secret.Sealed{Owner: "ann", Name: "a", Data: []byte("anew")}, 2); err != nil {
		t.Errorf("one that is there: %v", err)
	}
	if mine, err := d.SealedOf(ctx, "ann"); err != nil || len(mine) != 2 || mine[0].Name != "a" || !mine[0].Used.Equal(at) || !mine[1].Used.IsZero() {
		t.Errorf("%+v, %v", mine, err)
	}
	// What was changed meanwhile is not put back.
	if err := d.ReplaceSealed(ctx, secret.Sealed{Owner: "ann", Name: "a", Data: []byte("a")}, secret.Sealed{Key: "k2", Data: []byte("old")}); err != nil {
		t.Fatal(err)
	}
	if got, err := d.Sealed(ctx, "ann", "a"); err != nil || string(got.Data) != "anew" {
		t.Errorf("%+v, %v", got, err)
	}
	if err := d.ReplaceSealed(ctx, secret.Sealed{Owner: "ann", Name: "a", Data: []byte("anew")}, secret.Sealed{Key: "k2", Data: []byte("next")}); err != nil {
		t.Fatal(err)
	}
	if got, err := d.Sealed(ctx, "ann", "a"); err != nil || string(got.Data) != "next" || got.Key != "k2" {
		t.Errorf("%+v, %v", got, err)
	}
	for _, want := range []bool{true, false} {
		if found, err := d.DeleteSealed(ctx, "ann", "a"); err != nil || found != want {
			t.Errorf("deleted: %t, %v", found, err)
		}
	}
	if all, err := d.AllSealed(ctx); err != nil || len(all) != 2 || all[0].Name != "dwh" {
		t.Errorf("%+v, %v", all, err)
	}
}

// A stub is a source that counts and waits.
type stub struct {
	query.Source
	dsn    string
	closed *[]string
	wait   chan struct{}
}

func (s *stub) Run(context.Context, query.Statement, query.Output) (query.Outcome, error) {
	if s.wait != nil {
		<-s.wait
	}
	return query.Outcome{}, errors.New(s.dsn)
}

func (*stub) Quote(part string) string { return "`" + part + "`" }

func (s *stub) Close() error {
	*s.closed = append(*s.closed, s.dsn)
	return nil
}

// TestLazySource is of a credential that changes under a statement.
func TestLazySource(t *testing.T) {
	t.Parallel()
	dsn, wait, begun := "one", make(chan struct{}), make(chan struct{}, 10)
	var closed []string
	l := &lazySource{get: func(context.Context) (string, error) { return dsn, nil }, open: func(_ context.Context, dsn string) (query.Source, error) {
		s := &stub{dsn: dsn, closed: &closed}
		if dsn == "one" {
			s.wait = wait
		}
		begun <- struct{}{}
		return s, nil
	}}
	ended := make(chan error)
	go func() {
		_, err := l.Run(t.Context(), query.Statement{}, nil)
		ended <- err
	}()
	<-begun
	dsn = "two"
	l.forget()
	if _, err := l.Run(t.Context(), query.Statement{}, nil); err == nil || err.Error() != "two" || len(closed) != 0 {
		t.Errorf("%v, closed %v", err, closed)
	}
	if got := l.Quote("a"); got != "`a`" || (&lazySource{}).Quote("a") != `"a"` {
		t.Errorf("a name is quoted as %s", got)
	}
	close(wait)
	if err := <-ended; err.Error() != "one" || !slices.Equal(closed, []string{"one"}) {
		t.Errorf("%v, closed %v", err, closed)
	}
	if err := l.Close(); err != nil || !slices.Equal(closed, []string{"one", "two"}) {
		t.Errorf("%v, closed %v", err, closed)
	}
}

// TestVault reads from a store with Vault's protocol.
func TestVault(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("X-Vault-Token") != "s3cr3ttoken" || r.Header.Get("X-Vault-Namespace") != "team" {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		switch r.URL.Path {
		case "/v1/secret/data/dwh":
			_, _ = w.Write([]byte(`{"data":{"data":{"dsn":"sc://v2"},"metadata":{"version":3}}}`))
		case "/v1/kv/dwh":
			_, _ = w.Write([]byte(`{"data":{"dsn":"sc://v1"}}`))
		case "/v1/elsewhere":
			http.Redirect(w, r, "http://127.0.0.1:1/", http.StatusTemporaryRedirect)
		default:
			w.WriteHeader(http.StatusNotFound)
		}
	}))
	defer server.Close()
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte("s3cr3ttoken\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("VAULT_ADDR", server.URL)
	t.Setenv("VAULT_TOKEN", "")
	t.Setenv("VAULT_TOKEN_FILE", file)
	t.Setenv("VAULT_NAMESPACE", "team")
	for ref, want := range map[string]string{"vault:secret/data/dwh#dsn": "sc://v2", "vault:kv/dwh#dsn": "sc://v1"} {
		if got, err := vaultSecret(t.Context(), ref); got != want || err != nil {
			t.Errorf("%s: %q, %v", ref, got, err)
		}
	}
	for ref, kind := range map[string]problem.Kind{
		"vault:kv/dwh#other": problem.NotFound, "vault:kv/none#dsn": problem.NotFound, "vault:elsewhere#dsn": problem.Unavailable, "vault:kv/../x#dsn": problem.Invalid,
	} {
		if _, err := vaultSecret(t.Context(), ref); !problem.Is(err, kind) || strings.Contains(err.Error(), "127.0.0.1") {
			t.Errorf("%s: %v, want %v", ref, err, kind)
		}
	}
	t.Setenv("VAULT_TOKEN", "wrong")
	if _, err := vaultSecret(t.Context(), "vault:kv/dwh#dsn"); !problem.Is(err, problem.Denied) {
		t.Errorf("with a wrong token: %v", err)
	}
	t.Setenv("VAULT_ADDR", "")
	if _, err := vaultSecret(t.Context(), "vault:kv/dwh#dsn"); !problem.Is(err, problem.Unavailable) {
		t.Errorf("without an address: %v", err)
	}
}

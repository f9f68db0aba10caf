package server

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"
	"time"

	"quire/internal/auth"
	"quire/internal/problem"
	"quire/internal/query"
	"quire/internal/secret"
)

// storedCredential is the dsn of a connection whose credential is kept by the
// server: quire connection set.
const storedCredential = "stored"

// vaultPrefix begins a reference to a store that speaks Vault's protocol:
// vault:PATH#FIELD.
const vaultPrefix = "vault:"

// later tells whether a dsn is looked up when a statement needs it, and not when
// the server starts: it may be changed meanwhile.
func later(dsn string) bool { return dsn == storedCredential || strings.HasPrefix(dsn, vaultPrefix) }

// openCredentials makes what keeps the credentials of connections and the secrets of
// people. What is encrypted with a former key is encrypted again.
func (s *Server) openCredentials(ctx context.Context) error {
	file := s.shared("credentials.key")
	box := &secret.Box{Store: s.db}
	c := &query.Credentials{
		Box: box,
		Takes: func(name string) error {
			one, ok := s.cfg.Connections[name]
			switch {
			case !ok:
				return problem.New(problem.NotFound, "the configuration has no connection %s", name)
			case one.DSN != storedCredential:
				return problem.New(problem.Invalid, "connection %s takes its credential from the configuration: write dsn: %s there to set it here", name, storedCredential)
			}
			return nil
		},
		Changed: func(ctx context.Context, u auth.User, name string) {
			s.log.LogAttrs(ctx, slog.LevelInfo, "a connection's credential was changed", slog.String("connection", name), slog.String("user", u.Name))
			if lazy := s.lazy[name]; lazy != nil {
				lazy.forget()
			}
		},
	}
	if s.cfg.CredentialKey == "" {
		box.Keys = func() (secret.Keyring, error) { return keyFile(file) }
		box.Rotated = func(ring secret.Keyring) error {
			return problem.Wrap(replaceFile(file, ring.String()), "keeping the key of credentials")
		}
	} else {
		box.Keys = func() (secret.Keyring, error) {
			text, err := reference(s.cfg.CredentialKey)
			if err != nil {
				return nil, problem.Wrap(err, "reading credentialKey")
			}
			return secret.ParseKeyring(text)
		}
		if _, err := box.Keys(); err != nil {
			return err
		}
	}
	s.credentials, s.secrets = c, &secret.Secrets{Box: box, User: s.db.User, Groups: s.people.Of, Log: s.log}
	if _, err := box.Reseal(ctx); err != nil {
		// Connections that need none of them work.
		s.log.LogAttrs(ctx, slog.LevelWarn, "credentials of connections, or secrets of people, cannot be read", slog.String("error", err.Error()))
	}
	return nil
}

// keyFile reads the keys, and makes one where there is no file yet.
func keyFile(file string) (secret.Keyring, error) {
	for range 2 {
		data, err := os.ReadFile(file)
		if err == nil {
			return secret.ParseKeyring(string(data))
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return nil, problem.WrapAs(problem.Unavailable, err, "reading the key of credentials")
		}
		if err := createFile(file, secret.Keyring{secret.NewKey()}.String()); err != nil && !errors.Is(err, fs.ErrExist) {
			return nil, problem.WrapAs(problem.Unavailable, err, "keeping the key of credentials")
		}
	}
	return nil, problem.New(problem.Unavailable, "the key of credentials comes and goes")
}

// createFile makes a file whole or not at all, and never over another one.
func createFile(file, text string) error {
	temporary, err := writeBeside(file, text)
	if err != nil {
		return err
	}
	return errors.Join(os.Link(temporary, file), os.Remove(temporary))
}

// replaceFile replaces a file; it is the old one or the new one.
func replaceFile(file, text string) error {
	temporary, err := writeBeside(file, text)
	if err == nil {
		err = os.Rename(temporary, file)
	}
	return problem.WrapAs(problem.Unavailable, err, "writing %s", file)
}

func writeBeside(file, text string) (string, error) {
	f, err := os.OpenFile(file+"."+rand.Text()+".new", os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return "", err
	}
	_, err = f.WriteString(text)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return "", errors.Join(err, os.Remove(f.Name()))
	}
	return f.Name(), nil
}

// A lazySource is one whose credential is looked up when it is needed, and
// again now and then: when it has changed, statements from then on go to a new
// source, and the old one is closed behind its last statement.
type lazySource struct {
	engine string
	get    func(ctx context.Context) (string, error)
	open   func(ctx context.Context, dsn string) (query.Source, error)

	mu      sync.Mutex
	checked time.Time
	dsn     string
	now     *counted
}

// counted is a source with how many use it.
type counted struct {
	query.Source
	uses    int
	retired bool
}

var _ query.Source = (*lazySource)(nil)

// lookAgain is how long a credential is taken for what it was.
const lookAgain = 30 * time.Second

// forget looks the credential up at the next statement.
func (l *lazySource) forget() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.checked = time.Time{}
}

// take returns the source, to be given back.
func (l *lazySource) take(ctx context.Context) (query.Source, func(), error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.now == nil || time.Since(l.checked) > lookAgain {
		dsn, err := l.get(ctx)
		if err != nil {
			return nil, nil, err
		}
		if l.now == nil || dsn != l.dsn {
			source, err := l.open(context.WithoutCancel(ctx), dsn)
			if err != nil {
				return nil, nil, err
			}
			l.retire()
			l.now, l.dsn = &counted{Source: source}, dsn
		}
		l.checked = time.Now()
	}
	c := l.now
	c.uses++
	return c.Source, func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		if c.uses--; c.uses == 0 && c.retired {
			_ = c.Close()
		}
	}, nil
}

// retire closes the source that is used now, once nobody uses it.
func (l *lazySource) retire() {
	if l.now == nil {
		return
	}
	l.now.retired = true
	if l.now.uses == 0 {
		_ = l.now.Close()
	}
	l.now = nil
}

// Engine implements query.Source.
func (l *lazySource) Engine() string { return l.engine }

// Quote implements query.Quoter, as the source does that is used now: it was asked
// for the table before.
func (l *lazySource) Quote(part string) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.now != nil {
		if own, ok := l.now.Source.(query.Quoter); ok {
			return own.Quote(part)
		}
	}
	return query.QuoteName(part)
}

// Run implements query.Source.
func (l *lazySource) Run(ctx context.Context, st query.Statement, out query.Output) (query.Outcome, error) {
	source, done, err := l.take(ctx)
	if err != nil {
		return query.Outcome{}, err
	}
	defer done()
	return source.Run(ctx, st, out)
}

// Tables implements query.Source.
func (l *lazySource) Tables(ctx context.Context, user string, want query.TableFilter) ([]query.Table, error) {
	source, done, err := l.take(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	return source.Tables(ctx, user, want)
}

// Load implements query.Source.
func (l *lazySource) Load(ctx context.Context, user string, to query.Target, arrow io.Reader) (int64, error) {
	source, done, err := l.take(ctx)
	if err != nil {
		return 0, err
	}
	defer done()
	return source.Load(ctx, user, to, arrow)
}

// Close implements query.Source. The gateway waits for its statements before.
func (l *lazySource) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.retire()
	return nil
}

// vaultTimeout is the longest that a store of secrets may take.
const vaultTimeout = 10 * time.Second

// vaultSecret reads vault:PATH#FIELD from the store that VAULT_ADDR names, with
// VAULT_TOKEN or what is in VAULT_TOKEN_FILE; versions 1 and 2 of its key-value
// engine. Its errors name the path and neither the address nor what it answered.
func vaultSecret(ctx context.Context, ref string) (string, error) {
	path, name, ok := strings.Cut(strings.TrimPrefix(ref, vaultPrefix), "#")
	if !ok || path == "" || name == "" || strings.Contains(path, "..") {
		return "", problem.New(problem.Invalid, "want vault:PATH#FIELD, as vault:secret/data/warehouse#dsn")
	}
	base, token := os.Getenv("VAULT_ADDR"), os.Getenv("VAULT_TOKEN")
	if file := os.Getenv("VAULT_TOKEN_FILE"); token == "" && file != "" {
		data, err := os.ReadFile(file) // an agent renews it
		if err != nil {
			return "", problem.WrapAs(problem.Unavailable, err, "reading VAULT_TOKEN_FILE")
		}
		token = strings.TrimSpace(string(data))
	}
	if base == "" || token == "" {
		return "", problem.New(problem.Unavailable, "the server's environment has no VAULT_ADDR, or neither VAULT_TOKEN nor VAULT_TOKEN_FILE: %s%s cannot be read", vaultPrefix, path)
	}
	ctx, end := context.WithTimeout(ctx, vaultTimeout)
	defer end()
	address, err := url.JoinPath(base, "v1", path)
	if err != nil {
		return "", problem.New(problem.Invalid, "VAULT_ADDR is no address")
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return "", problem.New(problem.Invalid, "VAULT_ADDR is no address")
	}
	r.Header.Set("X-Vault-Token", token)
	r.Header.Set("X-Vault-Request", "true")
	if space := os.Getenv("VAULT_NAMESPACE"); space != "" {
		r.Header.Set("X-Vault-Namespace", space)
	}
	// A redirect would take the token elsewhere.
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	answer, err := client.Do(r)
	if err != nil {
		return "", problem.New(problem.Unavailable, "the store of secrets does not answer: %s%s cannot be read", vaultPrefix, path)
	}
	defer func() { _ = answer.Body.Close() }()
	switch answer.StatusCode {
	case http.StatusOK:
	case http.StatusForbidden:
		return "", problem.New(problem.Denied, "the store of secrets does not let this server read %s", path)
	case http.StatusNotFound:
		return "", problem.New(problem.NotFound, "the store of secrets has no %s", path)
	default:
		return "", problem.New(problem.Unavailable, "the store of secrets answers with %d for %s", answer.StatusCode, path)
	}
	var found struct {
		Data map[string]json.RawMessage `json:"data"`
	}
	if err := json.NewDecoder(io.LimitReader(answer.Body, 1<<20)).Decode(&found); err != nil {
		return "", problem.New(problem.Unavailable, "what the store of secrets answers for %s is not understood", path)
	}
	var inner map[string]json.RawMessage
	if nested, ok := found.Data["data"]; ok && json.Unmarshal(nested, &inner) == nil { // version 2
		found.Data = inner
	}
	var secret string
	if json.Unmarshal(found.Data[name], &secret) != nil || secret == "" {
		return "", problem.New(problem.NotFound, "%s in the store of secrets has no text %s", path, name)
	}
	return secret, nil
}

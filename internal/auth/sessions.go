package auth

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"time"

	"quire/internal/problem"
)

// A Hash is the SHA-256 of a secret in hex. Only hashes are kept.
type Hash string

// HashOf returns the hash under which secret is kept. Secrets are random and at
// least 128 bits long, so that a plain hash is enough.
func HashOf(secret string) Hash {
	sum := sha256.Sum256([]byte(secret))
	return Hash(hex.EncodeToString(sum[:]))
}

// A Credential is a secret that stands for a user: an access token, which
// scripts and Jupyter clients send, or a session, which a browser's cookie
// names.
type Credential struct {
	Hash    Hash
	ID      string // names it to people; not secret; empty for sessions
	Label   string // what it is for, in its owner's words
	User    User
	Kind    CredentialKind
	Created time.Time
	Expires time.Time // zero: never
}

// A CredentialKind tells access tokens from browser sessions.
type CredentialKind string

// The kinds of credential.
const (
	Token   CredentialKind = "token"
	Session CredentialKind = "session"
)

// A Store keeps users and credentials. Implementations are safe for concurrent
// use. A missing record is an error of kind NotFound.
type Store interface {
	PutUser(ctx context.Context, u User) error
	User(ctx context.Context, name string) (User, error)
	Users(ctx context.Context) ([]User, error)
	PutCredential(ctx context.Context, c Credential) error
	Credential(ctx context.Context, h Hash) (Credential, error)
	DeleteCredential(ctx context.Context, h Hash) error
	// Credentials returns all of a user's, the newest first.
	Credentials(ctx context.Context, user string) ([]Credential, error)
	// DeleteCredentials removes all of a user's, or only the one called id.
	DeleteCredentials(ctx context.Context, user, id string) (removed int, err error)
	// Identity returns who subject is at issuer.
	Identity(ctx context.Context, issuer, subject string) (User, error)
	PutIdentity(ctx context.Context, issuer, subject, user string) error
	// PutClaims replaces the groups that a user has where they sign in.
	PutClaims(ctx context.Context, user string, groups []string) error
	Claims(ctx context.Context, user string) ([]string, error)
	DeleteExpired(ctx context.Context, now time.Time) error
	// PutService makes a user a service identity; PutUser does not change that.
	PutService(ctx context.Context, u User) error
}

// SessionLife is how long a browser session lasts after signing in.
const SessionLife = 30 * 24 * time.Hour

// Sessions signs people in and checks who a credential stands for. It is safe
// for concurrent use.
type Sessions struct {
	Store Store
	Now   func() time.Time // time.Now when nil
}

func (s *Sessions) now() time.Time {
	if s.Now != nil {
		return s.Now()
	}
	return time.Now()
}

// NewSecret returns 256 random bits as 43 URL-safe characters.
func NewSecret() string {
	b := make([]byte, 32)
	_, _ = rand.Read(b) // never fails: see crypto/rand
	return base64.RawURLEncoding.EncodeToString(b)
}

// SetToken makes secret an access token of u that does not expire.
func (s *Sessions) SetToken(ctx context.Context, secret string, u User) error {
	if len(secret) < 16 {
		return problem.New(problem.Invalid, "an access token needs at least 16 characters")
	}
	return s.Store.PutCredential(ctx, Credential{
		Hash: HashOf(secret), User: u, Kind: Token, Created: s.now(),
	})
}

// SignIn exchanges an access token for a new browser session and returns the
// session's secret, which belongs in a cookie and nowhere else.
func (s *Sessions) SignIn(ctx context.Context, token string) (string, User, error) {
	u, err := s.check(ctx, token, Token)
	if err == nil {
		err = errors.Join(refuseService(u), RefusePass(u, "nobody signs in"))
	}
	if err != nil {
		return "", User{}, err
	}
	secret, err := s.begin(ctx, u)
	return secret, u, err
}

// begin makes a browser session of u and returns its secret.
func (s *Sessions) begin(ctx context.Context, u User) (string, error) {
	secret, now := NewSecret(), s.now()
	err := s.Store.PutCredential(ctx, Credential{
		Hash: HashOf(secret), User: u, Kind: Session, Created: now, Expires: now.Add(SessionLife),
	})
	return secret, problem.Wrap(err, "signing %s in", u.Name)
}

// Token returns whose access token secret is. The error is of kind Denied and
// is the same for every wrong secret.
func (s *Sessions) Token(ctx context.Context, secret string) (User, error) {
	return s.check(ctx, secret, Token)
}

// Session returns whose browser session secret is.
func (s *Sessions) Session(ctx context.Context, secret string) (User, error) {
	return s.check(ctx, secret, Session)
}

// SignOut ends a browser session. Ending one that is not there is no error.
func (s *Sessions) SignOut(ctx context.Context, secret string) error {
	err := s.Store.DeleteCredential(ctx, HashOf(secret))
	if problem.Is(err, problem.NotFound) {
		return nil
	}
	return err
}

func (s *Sessions) check(ctx context.Context, secret string, kind CredentialKind) (User, error) {
	denied := problem.New(problem.Denied, "this token or session is not known here, or it has expired")
	if len(secret) < 16 || len(secret) > 256 {
		return User{}, denied
	}
	// The look-up is by hash: its time says nothing about the secret.
	c, err := s.Store.Credential(ctx, HashOf(secret))
	switch {
	case problem.Is(err, problem.NotFound):
		return User{}, denied
	case err != nil:
		return User{}, problem.Wrap(err, "checking who is asking")
	case c.Kind != kind, c.User.Disabled, !c.Expires.IsZero() && !s.now().Before(c.Expires):
		return User{}, denied
	}
	if c.User.Pass { // what runs in an administrator's name is no administrator
		c.User.Admin = false
	}
	return c.User, nil
}

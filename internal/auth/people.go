package auth

import (
	"context"
	"net/url"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"quire/internal/problem"
)

// Limits of what is said about people and tokens, in characters.
const (
	maxDisplayName = 100
	maxEmail       = 254
	maxLabel       = 100
)

// Validate says what is wrong with a user.
func (u User) Validate() error {
	switch {
	case !ValidName(u.Name):
		return problem.New(problem.Invalid, "name: %q: want 1 to 63 lower-case letters, digits, - and _, beginning with a letter or digit", u.Name)
	case !plain(u.DisplayName, maxDisplayName):
		return problem.New(problem.Invalid, "displayName: want at most %d characters in one line", maxDisplayName)
	case u.Email != "" && (!plain(u.Email, maxEmail) || strings.Count(u.Email, "@") != 1 || strings.ContainsAny(u.Email, " <>\"")):
		return problem.New(problem.Invalid, "email: %q is no address", u.Email)
	}
	return nil
}

// plain reports whether text is one line of at most limit characters.
func plain(text string, limit int) bool {
	return utf8.ValidString(text) && utf8.RuneCountInString(text) <= limit && !strings.ContainsFunc(text, unicode.IsControl)
}

// MaxTokenLife is the longest life of a token that expires.
const MaxTokenLife = 10 * 365 * 24 * time.Hour

// NewToken makes an access token of u and returns its secret, which is shown
// once and kept nowhere. A life of 0 is for ever.
func (s *Sessions) NewToken(ctx context.Context, u User, label string, life time.Duration) (secret string, c Credential, err error) {
	if err := refuseService(u); err != nil {
		return "", c, err
	}
	if !plain(label, maxLabel) {
		return "", c, problem.New(problem.Invalid, "label: want at most %d characters in one line", maxLabel)
	}
	if life < 0 || life > MaxTokenLife {
		return "", c, problem.New(problem.Invalid, "expiresInSeconds: want 0, which is never, to %d", int64(MaxTokenLife.Seconds()))
	}
	secret = NewSecret()
	c = Credential{Hash: HashOf(secret), ID: NewSecret()[:12], Label: label, User: u, Kind: Token, Created: s.now()}
	if life > 0 {
		c.Expires = c.Created.Add(life)
	}
	return secret, c, problem.Wrap(s.Store.PutCredential(ctx, c), "keeping a token of %s", u.Name)
}

// Tokens returns the tokens of a user that were made by NewToken and hold, the
// newest first.
func (s *Sessions) Tokens(ctx context.Context, user string) ([]Credential, error) {
	all, err := s.Store.Credentials(ctx, user)
	if err != nil {
		return nil, err
	}
	tokens := []Credential{}
	for _, c := range all {
		if c.Kind == Token && c.ID != "" && (c.Expires.IsZero() || s.now().Before(c.Expires)) {
			tokens = append(tokens, c)
		}
	}
	return tokens, nil
}

// Revoke ends the token of a user that is called id.
func (s *Sessions) Revoke(ctx context.Context, user, id string) error {
	if id == "" {
		return problem.New(problem.Invalid, "which token?")
	}
	n, err := s.Store.DeleteCredentials(ctx, user, id)
	if err == nil && n == 0 {
		err = problem.New(problem.NotFound, "%s has no token %s", user, id)
	}
	return err
}

// Change changes a user and, when they are disabled by it, ends their sessions
// and tokens. The platform keeps one administrator who may sign in.
func (s *Sessions) Change(ctx context.Context, u User) error {
	if err := u.Validate(); err != nil {
		return err
	}
	if u.Service != nil {
		return problem.New(problem.Conflict, "%s is a service identity: the server's configuration says what it is (identities)", u.Name)
	}
	all, err := s.Store.Users(ctx)
	if err != nil {
		return err
	}
	admins := 0
	for _, other := range all {
		if other.Name == u.Name {
			other = u
		}
		if other.Email != "" && other.Name != u.Name && strings.EqualFold(other.Email, u.Email) {
			return problem.New(problem.Exists, "email: %s is %s's", u.Email, other.Name)
		}
		if other.Admin && !other.Disabled {
			admins++
		}
	}
	if admins == 0 {
		return problem.New(problem.Conflict, "%s is the only administrator: make somebody else one first", u.Name)
	}
	if err := s.Store.PutUser(ctx, u); err != nil {
		return err
	}
	if u.Disabled {
		_, err = s.Store.DeleteCredentials(ctx, u.Name, "")
	}
	return err
}

// An Identity is somebody as the place where they signed in knows them.
type Identity struct {
	Issuer, Subject string // together they are one person, for good
	Name            string // what they would like to be called; need not be valid
	DisplayName     string
	Email           string
	EmailVerified   bool     // the issuer says that the address is theirs
	Groups          []string // that they are in, as the issuer calls them
}

// Known returns the user that an identity is, and begins a browser session. A
// user who was made with the verified address of an identity is that person; a
// person who is new becomes a user when join is true. made says that they did.
func (s *Sessions) Known(ctx context.Context, id Identity, join bool) (secret string, u User, made bool, err error) {
	if id.Issuer == "" || id.Subject == "" {
		return "", u, false, problem.New(problem.Denied, "who signed in is not said")
	}
	u, err = s.Store.Identity(ctx, id.Issuer, id.Subject)
	if problem.Is(err, problem.NotFound) {
		u, made, err = s.meet(ctx, id, join)
	}
	if err != nil {
		return "", u, made, err
	}
	if u.Disabled {
		return "", u, made, problem.New(problem.Denied, "%s may not sign in any more: ask an administrator", u.Name)
	}
	if err := s.Store.PutClaims(ctx, u.Name, boundedClaims(id.Groups)); err != nil {
		return "", u, made, err
	}
	secret, err = s.begin(ctx, u)
	return secret, u, made, err
}

// meet finds or makes the user of an identity that was not seen before.
func (s *Sessions) meet(ctx context.Context, id Identity, join bool) (u User, made bool, err error) {
	all, err := s.Store.Users(ctx)
	if err != nil {
		return u, false, err
	}
	name := userName(id)
	for _, other := range all {
		if id.EmailVerified && id.Email != "" && strings.EqualFold(other.Email, id.Email) {
			return other, false, s.Store.PutIdentity(ctx, id.Issuer, id.Subject, other.Name)
		}
	}
	for _, other := range all {
		if other.Name == name {
			return u, false, problem.New(problem.Denied, "there is a user %s already who is somebody else: ask an administrator to give that user the address %s, or another name", name, id.Email)
		}
	}
	switch {
	case !join:
		return u, false, problem.New(problem.Denied, "%s is not a user here: ask an administrator", id.Email)
	case !ValidName(name):
		return u, false, problem.New(problem.Denied, "no user name can be made of %q: ask an administrator", id.Name)
	}
	u = User{Name: name, DisplayName: firstRunes(id.DisplayName, maxDisplayName)}
	if id.EmailVerified {
		u.Email = id.Email
	}
	if err := u.Validate(); err != nil {
		return u, false, problem.WrapAs(problem.Denied, err, "making a user of who signed in")
	}
	if err := s.Store.PutUser(ctx, u); err != nil {
		return u, false, err
	}
	return u, true, s.Store.PutIdentity(ctx, id.Issuer, id.Subject, u.Name)
}

// userName makes a valid name of what somebody would like to be called.
func userName(id Identity) string {
	name := id.Name
	if name == "" {
		name = id.Email
	}
	name, _, _ = strings.Cut(strings.ToLower(name), "@")
	name = strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= '0' && r <= '9', r == '-', r == '_':
			return r
		case r == '.', r == ' ', r == '+':
			return '-'
		}
		return -1
	}, name)
	return firstRunes(strings.TrimLeft(name, "-_"), 63)
}

func firstRunes(text string, n int) string {
	text = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return -1
		}
		return r
	}, strings.ToValidUTF8(text, ""))
	runes := []rune(text)
	return string(runes[:min(n, len(runes))])
}

// Elsewhere is a place where people sign in, such as their company's. It is safe
// for concurrent use.
type Elsewhere interface {
	// Name is what people know it by.
	Name() string
	// Begin returns the address to send a browser to, which leads it back to
	// redirect, and what the browser keeps until then, in a cookie that is for
	// nothing else.
	Begin(ctx context.Context, redirect string) (address, keep string, err error)
	// Finish returns who came back, by what the browser kept and the query that it
	// came with. An error of kind Denied says why somebody is not let in.
	Finish(ctx context.Context, redirect, keep string, answer url.Values) (Identity, error)
}

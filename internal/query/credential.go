package query

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"strings"
	"time"

	"quire/internal/auth"
	"quire/internal/problem"
)

// A Sealed is the credential of a connection as it is kept: encrypted.
type Sealed struct {
	Connection string
	Key        string // the id of the key that it is encrypted with
	Data       []byte // nonce and ciphertext
	Changed    time.Time
	By         string // who set it
}

// A SealedStore keeps credentials. Implementations are safe for concurrent use.
// A missing one is an error of kind NotFound.
type SealedStore interface {
	PutSealed(ctx context.Context, s Sealed) error
	Sealed(ctx context.Context, connection string) (Sealed, error)
	AllSealed(ctx context.Context) ([]Sealed, error)
	// DeleteSealed forgets one; that there is none is no error.
	DeleteSealed(ctx context.Context, connection string) error
}

// A Keyring has the keys that credentials are encrypted with: AES-256-GCM. The
// first one encrypts; the others are former ones, with which what is not
// encrypted again yet is read.
type Keyring []Key

// A Key is one of 32 random bytes.
type Key [32]byte

// NewKey returns a random one.
func NewKey() (k Key) {
	_, _ = rand.Read(k[:]) // never fails
	return k
}

// String writes a key as ParseKeyring reads it.
func (k Key) String() string { return base64.StdEncoding.EncodeToString(k[:]) }

// id names a key and says nothing about it.
func (k Key) id() string {
	sum := sha256.Sum256(append([]byte("quire credential key "), k[:]...))
	return hex.EncodeToString(sum[:6])
}

func (k Key) gcm() (cipher.AEAD, error) {
	block, err := aes.NewCipher(k[:])
	if err != nil {
		return nil, err
	}
	return cipher.NewGCMWithRandomNonce(block)
}

// ParseKeyring reads keys, each 32 bytes as base64, apart by commas or lines. No
// error repeats them.
func ParseKeyring(text string) (Keyring, error) {
	var ring Keyring
	for _, part := range strings.FieldsFunc(text, func(r rune) bool { return r == ',' || r == '\n' || r == '\r' || r == ' ' }) {
		data, err := base64.StdEncoding.DecodeString(part)
		if err != nil || len(data) != len(Key{}) {
			return nil, problem.New(problem.Invalid, "a key for credentials is not 32 bytes as base64: head -c 32 /dev/urandom | base64 makes one")
		}
		ring = append(ring, Key(data))
	}
	if len(ring) == 0 {
		return nil, problem.New(problem.Invalid, "there is no key for credentials")
	}
	return ring, nil
}

// String writes the keys as ParseKeyring reads them.
func (r Keyring) String() string {
	var b strings.Builder
	for _, k := range r {
		b.WriteString(k.String() + "\n")
	}
	return b.String()
}

// seal encrypts a credential for one connection: as another one's it cannot be
// read.
func (r Keyring) seal(connection, secret string) (Sealed, error) {
	gcm, err := r[0].gcm()
	if err != nil {
		return Sealed{}, problem.WrapAs(problem.Internal, err, "encrypting a credential")
	}
	return Sealed{Connection: connection, Key: r[0].id(), Data: gcm.Seal(nil, nil, []byte(secret), []byte(connection))}, nil
}

func (r Keyring) open(s Sealed) (string, error) {
	for _, k := range r {
		if k.id() != s.Key {
			continue
		}
		gcm, err := k.gcm()
		if err != nil {
			return "", problem.WrapAs(problem.Internal, err, "decrypting a credential")
		}
		secret, err := gcm.Open(nil, nil, s.Data, []byte(s.Connection))
		if err != nil {
			return "", problem.New(problem.Unavailable, "the credential of connection %s was changed where it is kept: quire connection set %s sets it again", s.Connection, s.Connection)
		}
		return string(secret), nil
	}
	return "", problem.New(problem.Unavailable, "the credential of connection %s is encrypted with a key that this server does not have: give it the key, or set the credential again with quire connection set %s", s.Connection, s.Connection)
}

// Credentials are those of connections, encrypted in the records.
type Credentials struct {
	Store SealedStore
	// Keys reads the keys: they may be changed while the server runs.
	Keys func() (Keyring, error)
	// Rotated replaces the keys by these; nil where that is done elsewhere.
	Rotated func(Keyring) error
	// Takes says why a connection takes no credential from here; nil is that it does.
	Takes func(connection string) error
	// Changed is told of what was set or unset.
	Changed func(ctx context.Context, u auth.User, connection string)
	Now     func() time.Time // time.Now when nil
}

// maxCredential is the longest credential, in bytes.
const maxCredential = 64 << 10

// Set keeps a credential, encrypted, instead of the one before. Only an
// administrator may.
func (c *Credentials) Set(ctx context.Context, u auth.User, connection, secret string) error {
	if err := c.allow(u, connection); err != nil {
		return err
	}
	if secret = strings.TrimSpace(secret); secret == "" || len(secret) > maxCredential || strings.ContainsAny(secret, "\x00\n") {
		return problem.New(problem.Invalid, "a credential is one line of up to %d bytes", maxCredential)
	}
	keys, err := c.Keys()
	if err != nil {
		return err
	}
	s, err := keys.seal(connection, secret)
	if err != nil {
		return err
	}
	s.Changed, s.By = c.now(), u.Name
	if err := c.Store.PutSealed(ctx, s); err != nil {
		return err
	}
	c.Changed(ctx, u, connection)
	return nil
}

// Unset forgets a credential.
func (c *Credentials) Unset(ctx context.Context, u auth.User, connection string) error {
	if err := c.allow(u, connection); err != nil {
		return err
	}
	if err := c.Store.DeleteSealed(ctx, connection); err != nil {
		return err
	}
	c.Changed(ctx, u, connection)
	return nil
}

func (c *Credentials) allow(u auth.User, connection string) error {
	if !u.Admin {
		return problem.New(problem.Denied, "only an administrator sets the credentials of connections")
	}
	return c.Takes(connection)
}

// Get decrypts the credential of a connection. It is for the server itself.
func (c *Credentials) Get(ctx context.Context, connection string) (string, error) {
	s, err := c.Store.Sealed(ctx, connection)
	if problem.Is(err, problem.NotFound) {
		return "", problem.New(problem.Unavailable, "connection %s has no credential yet: an administrator sets it with quire connection set %s", connection, connection)
	}
	if err != nil {
		return "", err
	}
	keys, err := c.Keys()
	if err != nil {
		return "", err
	}
	return keys.open(s)
}

// Rotate makes a new key, encrypts all credentials with it and forgets the
// former ones. It returns how many there are.
func (c *Credentials) Rotate(ctx context.Context, u auth.User) (int, error) {
	if !u.Admin {
		return 0, problem.New(problem.Denied, "only an administrator changes the key of credentials")
	}
	if c.Rotated == nil {
		return 0, problem.New(problem.Invalid, "the key is the configuration's: put a new one before it in credentialKey, as NEW,OLD, and restart; then the old one can go")
	}
	keys, err := c.Keys()
	if err != nil {
		return 0, err
	}
	// Until everything is encrypted again, all keys are kept.
	next := append(Keyring{NewKey()}, keys...)
	if err := c.Rotated(next); err != nil {
		return 0, err
	}
	n, err := c.Reseal(ctx)
	if err != nil {
		return n, err
	}
	return n, c.Rotated(next[:1])
}

// Reseal encrypts with the first key what is encrypted with another one, and
// returns how many credentials there are.
func (c *Credentials) Reseal(ctx context.Context) (int, error) {
	all, err := c.Store.AllSealed(ctx)
	if err != nil || len(all) == 0 {
		return 0, err
	}
	keys, err := c.Keys()
	if err != nil {
		return 0, err
	}
	for _, s := range all {
		if s.Key == keys[0].id() {
			continue
		}
		secret, err := keys.open(s)
		if err != nil {
			return 0, err
		}
		next, err := keys.seal(s.Connection, secret)
		if err != nil {
			return 0, err
		}
		next.Changed, next.By = s.Changed, s.By
		if err := c.Store.PutSealed(ctx, next); err != nil {
			return 0, err
		}
	}
	return len(all), nil
}

func (c *Credentials) now() time.Time {
	if c.Now != nil {
		return c.Now().UTC()
	}
	return time.Now().UTC()
}

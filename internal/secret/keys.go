// Package secret keeps secrets encrypted in the records: the credentials of
// connections, which are the platform's own, and what people give their runs.
package secret

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"strings"

	"quire/internal/problem"
)

// A Keyring has the keys that secrets are encrypted with: AES-256-GCM. The first
// one encrypts; the others are former ones, with which what is not encrypted again
// yet is read.
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

// seal encrypts a secret for its owner and name: as another one's it cannot be
// read.
func (r Keyring) seal(s Sealed, value string) (Sealed, error) {
	gcm, err := r[0].gcm()
	if err != nil {
		return s, problem.WrapAs(problem.Internal, err, "encrypting a secret")
	}
	s.Key, s.Data = r[0].id(), gcm.Seal(nil, nil, []byte(value), s.bound())
	return s, nil
}

func (r Keyring) open(s Sealed) (string, error) {
	thing, again := s.words()
	for _, k := range r {
		if k.id() != s.Key {
			continue
		}
		gcm, err := k.gcm()
		if err != nil {
			return "", problem.WrapAs(problem.Internal, err, "decrypting a secret")
		}
		value, err := gcm.Open(nil, nil, s.Data, s.bound())
		if err != nil {
			return "", problem.New(problem.Unavailable, "%s was changed where it is kept: %s sets it again", thing, again)
		}
		return string(value), nil
	}
	return "", problem.New(problem.Unavailable, "%s is encrypted with a key that this server does not have: give it the key, or set it again with %s", thing, again)
}

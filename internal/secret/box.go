package secret

import (
	"context"
	"time"

	"quire/internal/problem"
)

// MaxBytes is the longest secret, in bytes.
const MaxBytes = 64 << 10

// A Sealed is a secret as it is kept: encrypted.
type Sealed struct {
	Owner   string // whose; "" is the platform's: then Name is a connection's
	Name    string
	Key     string // the id of the key that it is encrypted with
	Data    []byte // nonce and ciphertext
	Changed time.Time
	By      string    // who set it
	Used    time.Time // when a run was last given it; zero is never
}

// bound is what the ciphertext is good for. No name has a NUL in it.
func (s Sealed) bound() []byte {
	if s.Owner == "" {
		return []byte(s.Name)
	}
	return []byte(s.Owner + "\x00" + s.Name)
}

// words say what it is, and the command that sets it again.
func (s Sealed) words() (thing, again string) {
	if s.Owner == "" {
		return "the credential of connection " + s.Name, "quire connection set " + s.Name
	}
	return "secret " + s.Name + " of " + s.Owner, "quire secret set " + s.Name
}

// A Store keeps secrets. Implementations are safe for concurrent use. A missing one
// is an error of kind NotFound.
type Store interface {
	// PutSealed keeps one in place of the one before. One that would be more than
	// most of its owner's is refused with kind TooLarge; 0 is no limit.
	PutSealed(ctx context.Context, s Sealed, most int) error
	// ReplaceSealed puts next in place of old, unless that was changed meanwhile.
	ReplaceSealed(ctx context.Context, old, next Sealed) error
	Sealed(ctx context.Context, owner, name string) (Sealed, error)
	// SealedOf returns an owner's, by name.
	SealedOf(ctx context.Context, owner string) ([]Sealed, error)
	// AllSealed returns everybody's, by owner and name.
	AllSealed(ctx context.Context) ([]Sealed, error)
	// DeleteSealed forgets one; found is false where there is none.
	DeleteSealed(ctx context.Context, owner, name string) (found bool, err error)
	// UseSealed notes that secrets of an owner were given to a run.
	UseSealed(ctx context.Context, owner string, names []string, at time.Time) error
}

// A Box encrypts what is put into a Store.
type Box struct {
	Store Store
	// Keys reads the keys: they may be changed while the server runs.
	Keys func() (Keyring, error)
	// Rotated replaces the keys by these; nil where that is done elsewhere.
	Rotated func(Keyring) error
	Now     func() time.Time // time.Now when nil
}

// Put keeps a secret, encrypted, instead of the one before; s says whose it is, its
// name and who sets it. An owner has at most so many; 0 is no limit.
func (b *Box) Put(ctx context.Context, s Sealed, value string, most int) error {
	keys, err := b.Keys()
	if err != nil {
		return err
	}
	if s, err = keys.seal(s, value); err != nil {
		return err
	}
	s.Changed = b.now()
	return b.Store.PutSealed(ctx, s, most)
}

// Get decrypts a secret. It is for the server itself.
func (b *Box) Get(ctx context.Context, owner, name string) (string, error) {
	s, err := b.Store.Sealed(ctx, owner, name)
	if err != nil {
		return "", err
	}
	keys, err := b.Keys()
	if err != nil {
		return "", err
	}
	return keys.open(s)
}

// Rotate makes a new key, encrypts everything with it and forgets the former ones.
// It returns how many secrets there are.
func (b *Box) Rotate(ctx context.Context) (int, error) {
	if b.Rotated == nil {
		return 0, problem.New(problem.Invalid, "the key is the configuration's: put a new one before it in credentialKey, as NEW,OLD, and restart; then the old one can go")
	}
	keys, err := b.Keys()
	if err != nil {
		return 0, err
	}
	// Until everything is encrypted again, all keys are kept.
	next := append(Keyring{NewKey()}, keys...)
	if err := b.Rotated(next); err != nil {
		return 0, err
	}
	n, err := b.Reseal(ctx)
	if err != nil {
		return n, err
	}
	return n, b.Rotated(next[:1])
}

// Reseal encrypts with the first key what is encrypted with another one, and
// returns how many secrets there are. One that cannot be read stays as it is, and
// does not keep the others from it.
func (b *Box) Reseal(ctx context.Context) (int, error) {
	all, err := b.Store.AllSealed(ctx)
	if err != nil || len(all) == 0 {
		return 0, err
	}
	keys, err := b.Keys()
	if err != nil {
		return 0, err
	}
	var wrong []error
	for _, s := range all {
		if s.Key == keys[0].id() {
			continue
		}
		value, err := keys.open(s)
		if err != nil {
			wrong = append(wrong, err)
			continue
		}
		next, err := keys.seal(s, value)
		if err == nil {
			err = b.Store.ReplaceSealed(ctx, s, next)
		}
		if err != nil {
			return 0, err
		}
	}
	if len(wrong) > 0 {
		return 0, problem.Wrap(wrong[0], "%d of %d cannot be encrypted again, the first", len(wrong), len(all))
	}
	return len(all), nil
}

func (b *Box) now() time.Time {
	if b.Now != nil {
		return b.Now().UTC()
	}
	return time.Now().UTC()
}

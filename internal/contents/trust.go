package contents

import (
	"context"

	"quire/internal/auth"
	"quire/internal/problem"
)

// A TrustStore remembers which content of a notebook a user has run or saved,
// by the hash of its bytes: content that somebody else put there, or that
// changed on the disk, is not trusted. A copy is another path and is not either.
// Nothing in a file says that it is trusted. It is safe for concurrent use.
type TrustStore interface {
	// PutTrust notes that the user trusts what hash names at path. Noting it again
	// is no error.
	PutTrust(ctx context.Context, user, path string, hash Hash) error
	// HasTrust reports whether it was noted. Moving the versions of a file moves
	// what was noted of it; forgetting them forgets it.
	HasTrust(ctx context.Context, user, path string, hash Hash) (bool, error)
}

// Trust notes that u has run or saved what hash names at path.
func (v *Volume) Trust(ctx context.Context, u auth.User, path string, hash Hash) error {
	path, err := v.check(u, auth.Read, path)
	if err != nil || v.cfg.Trust == nil {
		return err
	}
	if !validHash(hash) {
		return problem.New(problem.Invalid, "%.80q is no hash of a notebook", hash)
	}
	return v.cfg.Trust.PutTrust(ctx, u.Name, path, hash)
}

// Trusted reports whether u has run or saved what hash names at path. Showing a
// notebook is as safe when it is not: it only says so.
func (v *Volume) Trusted(ctx context.Context, u auth.User, path string, hash Hash) (bool, error) {
	path, err := v.check(u, auth.Read, path)
	if err != nil || v.cfg.Trust == nil || hash == "" {
		return false, err
	}
	return v.cfg.Trust.HasTrust(ctx, u.Name, path, hash)
}

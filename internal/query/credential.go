package query

import (
	"context"
	"strings"

	"quire/internal/auth"
	"quire/internal/problem"
	"quire/internal/secret"
)

// Credentials are those of connections, encrypted in the records.
type Credentials struct {
	Box *secret.Box
	// Takes says why a connection takes no credential from here; nil is that it does.
	Takes func(connection string) error
	// Changed is told of what was set or unset.
	Changed func(ctx context.Context, u auth.User, connection string)
}

// Set keeps a credential, encrypted, instead of the one before. Only an
// administrator may.
func (c *Credentials) Set(ctx context.Context, u auth.User, connection, value string) error {
	if err := c.allow(u, connection); err != nil {
		return err
	}
	if value = strings.TrimSpace(value); value == "" || len(value) > secret.MaxBytes || strings.ContainsAny(value, "\x00\n") {
		return problem.New(problem.Invalid, "a credential is one line of up to %d bytes", secret.MaxBytes)
	}
	if err := c.Box.Put(ctx, secret.Sealed{Name: connection, By: u.Name}, value, 0); err != nil {
		return err
	}
	c.Changed(ctx, u, connection)
	return nil
}

// Unset forgets a credential. That there is none is no error.
func (c *Credentials) Unset(ctx context.Context, u auth.User, connection string) error {
	if err := c.allow(u, connection); err != nil {
		return err
	}
	if _, err := c.Box.Store.DeleteSealed(ctx, "", connection); err != nil {
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
	value, err := c.Box.Get(ctx, "", connection)
	if problem.Is(err, problem.NotFound) {
		return "", problem.New(problem.Unavailable, "connection %s has no credential yet: an administrator sets it with quire connection set %s", connection, connection)
	}
	return value, err
}

// Rotate makes a new key, encrypts all credentials and people's secrets with it and
// forgets the former ones. It returns how many there are.
func (c *Credentials) Rotate(ctx context.Context, u auth.User) (int, error) {
	if !u.Admin {
		return 0, problem.New(problem.Denied, "only an administrator changes the key of credentials")
	}
	return c.Box.Rotate(ctx)
}

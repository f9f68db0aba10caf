package query_test

import (
	"context"
	"strings"
	"testing"

	"quire/internal/auth"
	"quire/internal/problem"
	"quire/internal/query"
	"quire/internal/secret"
	"quire/internal/secret/secrettest"
)

func TestCredentials(t *testing.T) {
	t.Parallel()
	ctx, root, ann := t.Context(), auth.User{Name: "root", Admin: true}, auth.User{Name: "ann"}
	kept, ring, told := secrettest.Store{}, secret.Keyring{secret.NewKey()}, 0
	c := &query.Credentials{
		Box: &secret.Box{
			Store: kept, Keys: func() (secret.Keyring, error) { return ring, nil },
			Rotated: func(next secret.Keyring) error { ring = next; return nil },
		},
		Takes: func(string) error { return nil }, Changed: func(context.Context, auth.User, string) { told++ },
	}
	if _, err := c.Get(ctx, "dwh"); !problem.Is(err, problem.Unavailable) || !strings.Contains(err.Error(), "quire connection set dwh") {
		t.Errorf("without a credential: %v", err)
	}
	if err := c.Set(ctx, ann, "dwh", "x"); !problem.Is(err, problem.Denied) {
		t.Errorf("ann set a credential: %v", err)
	}
	dwh, prod := [2]string{"", "dwh"}, [2]string{"", "prod"}
	const value = "postgres://ann:s3cr3t@db/x"
	if err := c.Set(ctx, root, "dwh", value+"\n"); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(kept[dwh].Data), "s3cr3t") || told != 1 {
		t.Errorf("it is kept as %q, %d times told", kept[dwh].Data, told)
	}
	if got, err := c.Get(ctx, "dwh"); got != value || err != nil {
		t.Errorf("%q, %v", got, err)
	}
	// As another connection's it cannot be read, nor when it was changed.
	other := kept[dwh]
	other.Name = "prod"
	kept[prod] = other
	if got, err := c.Get(ctx, "prod"); err == nil {
		t.Errorf("the credential of dwh was read as prod's: %q", got)
	}
	delete(kept, prod)

	before, old := kept[dwh], ring[0]
	if n, err := c.Rotate(ctx, root); n != 1 || err != nil || len(ring) != 1 || ring[0] == old || kept[dwh].Key == before.Key {
		t.Errorf("rotated %d, %v, %d keys", n, err, len(ring))
	}
	if got, err := c.Get(ctx, "dwh"); got != value || err != nil {
		t.Errorf("after the rotation: %q, %v", got, err)
	}
	if _, err := c.Rotate(ctx, ann); !problem.Is(err, problem.Denied) {
		t.Errorf("ann rotated the key: %v", err)
	}
	kept[dwh] = before // an old backup
	if _, err := c.Get(ctx, "dwh"); !problem.Is(err, problem.Unavailable) || strings.Contains(err.Error(), "s3cr3t") {
		t.Errorf("with a key that is gone: %v", err)
	}
	ring = append(ring, old)
	if n, err := c.Box.Reseal(ctx); n != 1 || err != nil || kept[dwh].Key == before.Key {
		t.Errorf("resealed %d, %v", n, err)
	}
	if err := c.Unset(ctx, root, "dwh"); err != nil || len(kept) != 0 {
		t.Errorf("unset: %v", err)
	}
}

package query_test

import (
	"context"
	"maps"
	"slices"
	"strings"
	"testing"

	"quire/internal/auth"
	"quire/internal/problem"
	"quire/internal/query"
)

// sealed keeps credentials in memory.
type sealed map[string]query.Sealed

func (s sealed) PutSealed(_ context.Context, one query.Sealed) error {
	s[one.Connection] = one
	return nil
}

func (s sealed) Sealed(_ context.Context, name string) (query.Sealed, error) {
	one, ok := s[name]
	if !ok {
		return one, problem.New(problem.NotFound, "there is none")
	}
	return one, nil
}

func (s sealed) AllSealed(context.Context) ([]query.Sealed, error) {
	return slices.Collect(maps.Values(s)), nil
}

func (s sealed) DeleteSealed(_ context.Context, name string) error {
	delete(s, name)
	return nil
}

func TestCredentials(t *testing.T) {
	t.Parallel()
	ctx, root, ann := t.Context(), auth.User{Name: "root", Admin: true}, auth.User{Name: "ann"}
	kept, ring, told := sealed{}, query.Keyring{query.NewKey()}, 0
	c := &query.Credentials{
		Store: kept, Keys: func() (query.Keyring, error) { return ring, nil },
		Rotated: func(next query.Keyring) error { ring = next; return nil },
		Takes:   func(string) error { return nil }, Changed: func(context.Context, auth.User, string) { told++ },
	}
	if _, err := c.Get(ctx, "dwh"); !problem.Is(err, problem.Unavailable) || !strings.Contains(err.Error(), "quire connection set dwh") {
		t.Errorf("without a credential: %v", err)
	}
	if err := c.Set(ctx, ann, "dwh", "x"); !problem.Is(err, problem.Denied) {
		t.Errorf("ann set a credential: %v", err)
	}
	const secret = "postgres://ann:s3cr3t@db/x"
	if err := c.Set(ctx, root, "dwh", secret+"\n"); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(kept["dwh"].Data), "s3cr3t") || told != 1 {
		t.Errorf("it is kept as %q, %d times told", kept["dwh"].Data, told)
	}
	if got, err := c.Get(ctx, "dwh"); got != secret || err != nil {
		t.Errorf("%q, %v", got, err)
	}
	// As another connection's it cannot be read, nor when it was changed.
	other := kept["dwh"]
	other.Connection = "prod"
	kept["prod"] = other
	if got, err := c.Get(ctx, "prod"); err == nil {
		t.Errorf("the credential of dwh was read as prod's: %q", got)
	}
	delete(kept, "prod")

	before, old := kept["dwh"], ring[0]
	if n, err := c.Rotate(ctx, root); n != 1 || err != nil || len(ring) != 1 || ring[0] == old || kept["dwh"].Key == before.Key {
		t.Errorf("rotated %d, %v, %d keys", n, err, len(ring))
	}
	if got, err := c.Get(ctx, "dwh"); got != secret || err != nil {
		t.Errorf("after the rotation: %q, %v", got, err)
	}
	if _, err := c.Rotate(ctx, ann); !problem.Is(err, problem.Denied) {
		t.Errorf("ann rotated the key: %v", err)
	}
	kept["dwh"] = before // an old backup
	if _, err := c.Get(ctx, "dwh"); !problem.Is(err, problem.Unavailable) || strings.Contains(err.Error(), "s3cr3t") {
		t.Errorf("with a key that is gone: %v", err)
	}
	ring = append(ring, old)
	if n, err := c.Reseal(ctx); n != 1 || err != nil || kept["dwh"].Key == before.Key {
		t.Errorf("resealed %d, %v", n, err)
	}
	if err := c.Unset(ctx, root, "dwh"); err != nil || len(kept) != 0 {
		t.Errorf("unset: %v", err)
	}
}

func TestKeyring(t *testing.T) {
	t.Parallel()
	a, b := query.NewKey(), query.NewKey()
	if ring, err := query.ParseKeyring(a.String() + "," + b.String() + "\n"); err != nil || len(ring) != 2 || ring[0] != a {
		t.Errorf("%d keys, %v", len(ring), err)
	}
	for _, text := range []string{"", "c2hvcnQ=", a.String()[:40]} {
		if _, err := query.ParseKeyring(text); !problem.Is(err, problem.Invalid) || text != "" && strings.Contains(err.Error(), text) {
			t.Errorf("%q: %v", text, err)
		}
	}
}

package secret_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"quire/internal/auth"
	"quire/internal/problem"
	"quire/internal/secret"
	"quire/internal/secret/secrettest"
)

const canary = "s3cr3t-canary"

// world is a store with people and a service identity, nightly, that ann may use.
func world() (*secret.Secrets, secrettest.Store, *secret.Keyring) {
	kept, ring := secrettest.Store{}, &secret.Keyring{secret.NewKey()}
	box := &secret.Box{
		Store: kept, Keys: func() (secret.Keyring, error) { return *ring, nil },
		Rotated: func(next secret.Keyring) error { *ring = next; return nil },
	}
	users := map[string]auth.User{
		"ann": {Name: "ann"}, "bob": {Name: "bob"}, "root": {Name: "root", Admin: true},
		"nightly": {Name: "nightly", Service: &auth.Service{Users: []string{"ann"}}},
	}
	return &secret.Secrets{Box: box, User: func(_ context.Context, name string) (auth.User, error) {
		u, ok := users[name]
		if !ok {
			return u, problem.New(problem.NotFound, "no user %s", name)
		}
		return u, nil
	}}, kept, ring
}

// TestWhoseSecrets: a person's secrets are theirs alone, those of a service identity
// belong to who may use it, and nothing that runs with a pass sees to any.
func TestWhoseSecrets(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	s, kept, _ := world()
	ann, bob, root := auth.User{Name: "ann"}, auth.User{Name: "bob"}, auth.User{Name: "root", Admin: true}
	if err := s.Set(ctx, ann, "", "token", canary); err != nil {
		t.Fatal(err)
	}
	if err := s.Set(ctx, ann, "nightly", "token", "other"); err != nil {
		t.Fatal(err)
	}
	if data := kept[[2]string{"ann", "token"}].Data; strings.Contains(string(data), canary) || len(data) < len(canary) {
		t.Errorf("it is kept as %q", data)
	}
	for _, tt := range []struct {
		u  auth.User
		of string
	}{
		{bob, "ann"}, {root, "ann"}, {bob, "nightly"}, {ann, "nobody"}, {auth.User{}, ""}, {auth.User{Name: "ann", Pass: true}, ""},
	} {
		if _, err := s.List(ctx, tt.u, tt.of); !problem.Is(err, problem.Denied) {
			t.Errorf("%v lists those of %q: %v", tt.u, tt.of, err)
		}
		if err := s.Set(ctx, tt.u, tt.of, "token", "x"); !problem.Is(err, problem.Denied) {
			t.Errorf("%v sets one of %q: %v", tt.u, tt.of, err)
		}
		if err := s.Remove(ctx, tt.u, tt.of, "token"); !problem.Is(err, problem.Denied) {
			t.Errorf("%v removes one of %q: %v", tt.u, tt.of, err)
		}
	}
	if all, err := s.List(ctx, root, ""); err != nil || len(all) != 0 {
		t.Errorf("root has %v, %v", all, err)
	}
	if all, err := s.List(ctx, root, "nightly"); err != nil || len(all) != 1 || all[0].By != "ann" || !all[0].Used.IsZero() {
		t.Errorf("those of nightly: %+v, %v", all, err)
	}
	if err := s.Check(ctx, bob, map[string]string{"t": "token"}); !problem.Is(err, problem.NotFound) || !strings.Contains(err.Error(), "secret t: you have no secret named token; set it with quire secret set token") {
		t.Errorf("bob binds ann's: %v", err)
	}
	got, err := s.Give(ctx, ann, map[string]string{"t": "token"})
	if err != nil || got["t"] != canary {
		t.Errorf("%v, %v", got, err)
	}
	if all, err := s.List(ctx, ann, ""); err != nil || len(all) != 1 || time.Since(all[0].Used) > time.Minute || all[0].By != "" {
		t.Errorf("%+v, %v", all, err)
	}
	service := auth.User{Name: "nightly", Service: &auth.Service{}}
	if got, err := s.Give(ctx, service, map[string]string{"t": "token"}); err != nil || got["t"] != "other" {
		t.Errorf("nightly: %v, %v", got, err)
	}
	if _, err := s.Give(ctx, service, map[string]string{"t": "gone"}); !problem.Is(err, problem.NotFound) || !strings.Contains(err.Error(), "nightly has no secret named gone; set it with quire secret set --of nightly gone") {
		t.Errorf("%v", err)
	}
	if err := s.Remove(ctx, ann, "", "token"); err != nil {
		t.Error(err)
	}
	if err := s.Remove(ctx, ann, "", "token"); !problem.Is(err, problem.NotFound) {
		t.Errorf("removed twice: %v", err)
	}
	// What is ann's is not read as bob's.
	other := kept[[2]string{"nightly", "token"}]
	other.Owner = "bob"
	kept[[2]string{"bob", "token"}] = other
	if got, err := s.Give(ctx, bob, map[string]string{"t": "token"}); err == nil {
		t.Errorf("the secret of nightly was read as bob's: %v", got)
	}
}

func TestBounds(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	s, _, _ := world()
	ann := auth.User{Name: "ann"}
	for _, tt := range []struct {
		name, value string
		kind        problem.Kind
	}{
		{"", "x", problem.Invalid},
		{"1a", "x", problem.Invalid},
		{"a/b", "x", problem.Invalid},
		{"a.b", "x", problem.Invalid},
		{strings.Repeat("a", 129), "x", problem.Invalid},
		{"a", "", problem.Invalid},
		{"a", "\xff\xfe", problem.Invalid},
		{"a", "x\x00", problem.Invalid},
		{"a", strings.Repeat("x", secret.MaxBytes+1), problem.TooLarge},
	} {
		if err := s.Set(ctx, ann, "", tt.name, tt.value); !problem.Is(err, tt.kind) {
			t.Errorf("%.20q=%.20q: %v", tt.name, tt.value, err)
		}
	}
	if err := s.Set(ctx, ann, "", strings.Repeat("a", 128), strings.Repeat("x", secret.MaxBytes)); err != nil {
		t.Error(err)
	}
	for i := 1; i < secret.MaxNames; i++ {
		if err := s.Set(ctx, ann, "", fmt.Sprintf("n%d", i), "x"); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Set(ctx, ann, "", "more", "x"); !problem.Is(err, problem.TooLarge) {
		t.Errorf("one too many: %v", err)
	}
	if err := s.Set(ctx, ann, "", "n1", "y"); err != nil {
		t.Errorf("one that is there: %v", err)
	}
}

// TestRotation: one key for all, and one that cannot be read keeps no other from it.
func TestRotation(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	s, kept, ring := world()
	ann := auth.User{Name: "ann"}
	for _, name := range []string{"a", "b"} {
		if err := s.Set(ctx, ann, "", name, canary); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Box.Put(ctx, secret.Sealed{Name: "dwh", By: "root"}, "dsn", 0); err != nil {
		t.Fatal(err)
	}
	before, old := kept[[2]string{"ann", "a"}], (*ring)[0]
	if n, err := s.Box.Rotate(ctx); n != 3 || err != nil || len(*ring) != 1 || (*ring)[0] == old || kept[[2]string{"ann", "a"}].Key == before.Key {
		t.Errorf("rotated %d, %v, %d keys", n, err, len(*ring))
	}
	if got, err := s.Box.Get(ctx, "", "dwh"); got != "dsn" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
	kept[[2]string{"ann", "a"}] = before // of an old backup
	if _, err := s.Give(ctx, ann, map[string]string{"x": "a"}); !problem.Is(err, problem.Unavailable) || strings.Contains(err.Error(), canary) {
		t.Errorf("with a key that is gone: %v", err)
	}
	key := kept[[2]string{"ann", "b"}].Key
	if _, err := s.Box.Rotate(ctx); err == nil || len(*ring) != 2 {
		t.Errorf("rotated with one that cannot be read: %v, %d keys", err, len(*ring))
	}
	if kept[[2]string{"ann", "b"}].Key == key {
		t.Error("the others were not encrypted again")
	}
	*ring = append(*ring, old)
	if n, err := s.Box.Reseal(ctx); n != 3 || err != nil {
		t.Errorf("resealed %d, %v", n, err)
	}
	if got, err := s.Give(ctx, ann, map[string]string{"x": "a"}); got["x"] != canary || err != nil {
		t.Errorf("%v, %v", got, err)
	}
}

func TestKeyring(t *testing.T) {
	t.Parallel()
	a, b := secret.NewKey(), secret.NewKey()
	if ring, err := secret.ParseKeyring(a.String() + "," + b.String() + "\n"); err != nil || len(ring) != 2 || ring[0] != a {
		t.Errorf("%d keys, %v", len(ring), err)
	}
	for _, text := range []string{"", "c2hvcnQ=", a.String()[:40]} {
		if _, err := secret.ParseKeyring(text); !problem.Is(err, problem.Invalid) || text != "" && strings.Contains(err.Error(), text) {
			t.Errorf("%q: %v", text, err)
		}
	}
}

package auth

import (
	"strings"
	"testing"
	"time"

	"quire/internal/problem"
)

func people(t *testing.T, users ...User) (*Sessions, *memStore) {
	t.Helper()
	store := newMemStore()
	for _, u := range users {
		if err := store.PutUser(t.Context(), u); err != nil {
			t.Fatal(err)
		}
	}
	return &Sessions{Store: store}, store
}

func TestNewTokenAndRevoke(t *testing.T) {
	t.Parallel()
	ann := User{Name: "ann"}
	s, store := people(t, ann, User{Name: "bob"})
	now := time.Date(2026, 11, 30, 0, 0, 0, 0, time.UTC)
	s.Now = func() time.Time { return now }
	secret, c, err := s.NewToken(t.Context(), ann, "laptop", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(secret, c.ID) || store.credentials[c.Hash].Hash != HashOf(secret) {
		t.Error("the token is known by more than its hash")
	}
	if u, err := s.Token(t.Context(), secret); err != nil || u != ann {
		t.Fatalf("the token is %v's, %v", u, err)
	}
	if all, err := s.Tokens(t.Context(), "ann"); err != nil || len(all) != 1 || all[0].Label != "laptop" {
		t.Errorf("tokens %v, %v", all, err)
	}
	if err := s.Revoke(t.Context(), "bob", c.ID); !problem.Is(err, problem.NotFound) {
		t.Errorf("another's token was revoked: %v", err)
	}
	now = now.Add(time.Hour)
	if _, err := s.Token(t.Context(), secret); !problem.Is(err, problem.Denied) {
		t.Errorf("an expired token is good: %v", err)
	}
	now = now.Add(-time.Minute)
	if err := s.Revoke(t.Context(), "ann", c.ID); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Token(t.Context(), secret); !problem.Is(err, problem.Denied) {
		t.Errorf("a revoked token is good: %v", err)
	}
	for _, life := range []time.Duration{-1, MaxTokenLife + 1} {
		if _, _, err := s.NewToken(t.Context(), ann, "", life); !problem.Is(err, problem.Invalid) {
			t.Errorf("a life of %v: %v", life, err)
		}
	}
}

func TestChange(t *testing.T) {
	t.Parallel()
	root := User{Name: "root", Admin: true}
	ann := User{Name: "ann", Email: "ann@example.com"}
	s, _ := people(t, root, ann)
	secret, _, err := s.NewToken(t.Context(), ann, "", 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name string
		user User
		want problem.Kind
	}{
		{"no name", User{Name: "A b"}, problem.Invalid},
		{"no address", User{Name: "bob", Email: "bob"}, problem.Invalid},
		{"two lines", User{Name: "bob", DisplayName: "a\nb"}, problem.Invalid},
		{"another's address", User{Name: "bob", Email: "ANN@example.com"}, problem.Exists},
		{"the last administrator", User{Name: "root"}, problem.Conflict},
		{"the last administrator disabled", User{Name: "root", Admin: true, Disabled: true}, problem.Conflict},
	} {
		if err := s.Change(t.Context(), tt.user); !problem.Is(err, tt.want) {
			t.Errorf("%s: %v, want %v", tt.name, err, tt.want)
		}
	}
	ann.Disabled = true
	if err := s.Change(t.Context(), ann); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Token(t.Context(), secret); !problem.Is(err, problem.Denied) {
		t.Errorf("a disabled user's token is good: %v", err)
	}
}

func TestKnown(t *testing.T) {
	t.Parallel()
	s, _ := people(t, User{Name: "root", Admin: true, Email: "root@example.com"}, User{Name: "ann"})
	for _, tt := range []struct {
		name string
		id   Identity
		join bool
		user string
		made bool
		want problem.Kind // zero: signed in
	}{
		{"new", Identity{Issuer: "i", Subject: "1", Email: "Cy.Young@example.com", EmailVerified: true}, true, "cy-young", true, 0},
		{"again", Identity{Issuer: "i", Subject: "1", Name: "somebody-else"}, false, "cy-young", false, 0},
		{"the same subject elsewhere", Identity{Issuer: "j", Subject: "1", Name: "cy-young"}, true, "", false, problem.Denied},
		{"a name that is taken", Identity{Issuer: "i", Subject: "2", Name: "ann", Email: "ann@example.com", EmailVerified: true}, true, "", false, problem.Denied},
		{"root by an address that is not verified", Identity{Issuer: "i", Subject: "3", Name: "x", Email: "root@example.com"}, false, "", false, problem.Denied},
		{"root by their address", Identity{Issuer: "i", Subject: "4", Name: "x", Email: "Root@example.com", EmailVerified: true}, false, "root", false, 0},
		{"nobody may join", Identity{Issuer: "i", Subject: "5", Name: "dan"}, false, "", false, problem.Denied},
		{"no name", Identity{Issuer: "i", Subject: "6", Name: "日本"}, true, "", false, problem.Denied},
		{"no subject", Identity{Issuer: "i", Name: "dan"}, true, "", false, problem.Denied},
	} {
		secret, u, made, err := s.Known(t.Context(), tt.id, tt.join)
		if tt.want != 0 {
			if !problem.Is(err, tt.want) || secret != "" {
				t.Errorf("%s: %v, want %v", tt.name, err, tt.want)
			}
			continue
		}
		if err != nil || u.Name != tt.user || made != tt.made {
			t.Errorf("%s: %v, made %v, %v; want %s", tt.name, u, made, err, tt.user)
			continue
		}
		if who, err := s.Session(t.Context(), secret); err != nil || who.Name != tt.user {
			t.Errorf("%s: the session is %v's, %v", tt.name, who, err)
		}
	}
}

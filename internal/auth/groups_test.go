package auth

import (
	"context"
	"slices"
	"strings"
	"testing"

	"quire/internal/problem"
)

func TestGroups(t *testing.T) {
	t.Parallel()
	store := newMemStore()
	s := &Sessions{Store: store}
	g := &Groups{All: []Group{
		{Name: "research", Members: []string{"ann"}, Claims: []string{"data-research"}},
		{Name: "etl", Claims: []string{"data-etl", "ops"}},
	}, Claims: store.Claims}
	bob := Identity{Issuer: "https://login.example", Subject: "1", Name: "bob"}
	sign := func(groups ...string) {
		t.Helper()
		bob.Groups = groups
		if _, _, _, err := s.Known(t.Context(), bob, true); err != nil {
			t.Fatal(err)
		}
	}
	for _, tt := range []struct {
		user   string
		claims []string // of bob
		want   string
	}{
		{"ann", nil, "research"},
		{"bob", nil, ""},
		{"bob", []string{"ops", "data-research", "ops", strings.Repeat("x", 1000)}, "etl research"},
		{"bob", []string{"data-et", "research", "etl"}, ""}, // the names here are not those there
		{"bob", []string{"data-etl"}, "etl"},
		{"", nil, ""},
	} {
		sign(tt.claims...)
		in, err := g.Of(t.Context(), tt.user)
		if got := strings.Join(in, " "); err != nil || got != tt.want {
			t.Errorf("%s, of whom %v is said, is in %q, %v; want %q", tt.user, tt.claims, got, err, tt.want)
		}
	}
	sign("ops", strings.Repeat("x", 1000), "ops", "a\xff")
	if kept, _ := store.Claims(t.Context(), "bob"); !slices.Equal(kept, []string{"ops"}) {
		t.Errorf("%q is kept", kept)
	}
	g.Claims = func(context.Context, string) ([]string, error) { return nil, problem.New(problem.Unavailable, "away") }
	if in, err := g.Of(t.Context(), "ann"); err == nil || in != nil {
		t.Errorf("without the records ann is in %v, %v; want an error", in, err)
	}
	if in, err := (*Groups)(nil).Of(t.Context(), "ann"); err != nil || in != nil {
		t.Errorf("no groups: %v, %v", in, err)
	}
}

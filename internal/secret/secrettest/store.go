// Package secrettest keeps sealed secrets in memory, for tests.
package secrettest

import (
	"bytes"
	"cmp"
	"context"
	"maps"
	"slices"
	"time"

	"quire/internal/problem"
	"quire/internal/secret"
)

// A Store keeps secrets by owner and name. It is not safe for concurrent use.
type Store map[[2]string]secret.Sealed

var _ secret.Store = Store{}

// PutSealed implements secret.Store.
func (s Store) PutSealed(ctx context.Context, one secret.Sealed, most int) error {
	key := [2]string{one.Owner, one.Name}
	mine, _ := s.SealedOf(ctx, one.Owner)
	if _, there := s[key]; !there && most > 0 && len(mine) >= most {
		return problem.New(problem.TooLarge, "there are %d already", most)
	}
	one.Used = s[key].Used
	s[key] = one
	return nil
}

// ReplaceSealed implements secret.Store.
func (s Store) ReplaceSealed(_ context.Context, old, next secret.Sealed) error {
	if key := [2]string{old.Owner, old.Name}; bytes.Equal(s[key].Data, old.Data) {
		s[key] = next
	}
	return nil
}

// Sealed implements secret.Store.
func (s Store) Sealed(_ context.Context, owner, name string) (secret.Sealed, error) {
	one, ok := s[[2]string{owner, name}]
	if !ok {
		return one, problem.New(problem.NotFound, "there is none")
	}
	return one, nil
}

// SealedOf implements secret.Store.
func (s Store) SealedOf(ctx context.Context, owner string) ([]secret.Sealed, error) {
	all, err := s.AllSealed(ctx)
	return slices.DeleteFunc(all, func(one secret.Sealed) bool { return one.Owner != owner }), err
}

// AllSealed implements secret.Store.
func (s Store) AllSealed(context.Context) ([]secret.Sealed, error) {
	return slices.SortedFunc(maps.Values(s), func(a, b secret.Sealed) int {
		return cmp.Or(cmp.Compare(a.Owner, b.Owner), cmp.Compare(a.Name, b.Name))
	}), nil
}

// DeleteSealed implements secret.Store.
func (s Store) DeleteSealed(_ context.Context, owner, name string) (bool, error) {
	key := [2]string{owner, name}
	_, found := s[key]
	delete(s, key)
	return found, nil
}

// UseSealed implements secret.Store.
func (s Store) UseSealed(_ context.Context, owner string, names []string, at time.Time) error {
	for _, name := range names {
		key := [2]string{owner, name}
		one := s[key]
		one.Used = at
		s[key] = one
	}
	return nil
}

package auth

import (
	"context"
	"slices"
	"unicode/utf8"

	"quire/internal/problem"
)

// A Group is some people under a name. Rights are given to it by what gives
// them: see query.Connection.
type Group struct {
	Name    string
	Members []string // names of users
	// Claims are what the place where people sign in calls it: whoever it says this
	// of is in the group too.
	Claims []string
}

// Groups tells who is in which. The zero value has none. It is safe for
// concurrent use.
type Groups struct {
	All []Group
	// Claims returns what was said of a user when they signed in the last time; nil
	// is that nothing is.
	Claims func(ctx context.Context, user string) ([]string, error)
}

// Of returns the names of the groups that a user is in, in order. An error says
// that it is not known: take it for a no.
func (g *Groups) Of(ctx context.Context, user string) ([]string, error) {
	if g == nil || user == "" {
		return nil, nil
	}
	var claims []string
	if g.Claims != nil && slices.ContainsFunc(g.All, func(one Group) bool { return len(one.Claims) > 0 }) {
		var err error
		if claims, err = g.Claims(ctx, user); err != nil {
			return nil, problem.Wrap(err, "looking for the groups of %s", user)
		}
	}
	var in []string
	for _, one := range g.All {
		if slices.Contains(one.Members, user) || slices.ContainsFunc(one.Claims, func(c string) bool { return slices.Contains(claims, c) }) {
			in = append(in, one.Name)
		}
	}
	slices.Sort(in)
	return in, nil
}

// Limits of what is kept of a person's groups elsewhere.
const (
	maxClaims = 1000
	maxClaim  = 256 // bytes
)

// boundedClaims are those that are kept, without doubles.
func boundedClaims(all []string) []string {
	kept := []string{}
	for _, one := range all {
		if one != "" && len(one) <= maxClaim && utf8.ValidString(one) && len(kept) < maxClaims {
			kept = append(kept, one)
		}
	}
	slices.Sort(kept)
	return slices.Compact(kept)
}

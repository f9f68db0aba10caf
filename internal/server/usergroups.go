package server

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"

	"quire/internal/auth"
)

// A UserGroupConfig is some people under a name.
type UserGroupConfig struct {
	// Members are the names of its users.
	Members []string `yaml:"members"`
	// Claims are what the OpenID Connect provider calls it, in the claim that
	// oidc.groupsClaim names: whoever signs in with one of them is in the group
	// until they sign in without.
	Claims []string `yaml:"claims"`
}

func (c *Config) validateUserGroups() (wrong []string) {
	for _, name := range slices.Sorted(maps.Keys(c.UserGroups)) {
		one, at := c.UserGroups[name], "userGroups: "+name+": "
		if !auth.ValidName(name) {
			wrong = append(wrong, at+"want a name of up to 63 lower-case letters, digits, - and _")
		}
		if len(one.Members)+len(one.Claims) == 0 {
			wrong = append(wrong, at+"name its members, or claims of the OpenID Connect provider")
		}
		for _, user := range one.Members {
			if !auth.ValidName(user) {
				wrong = append(wrong, fmt.Sprintf("%smembers: %.40q is no user's name", at, user))
			}
		}
		if len(one.Claims) > 0 && c.OIDC == nil {
			wrong = append(wrong, at+"claims: nobody signs in elsewhere: set oidc, or name members")
		}
		if slices.Contains(one.Claims, "") {
			wrong = append(wrong, at+"claims: one is empty")
		}
	}
	return wrong
}

// unknownGroup says that a group is not among the groups of people; "" is that it is.
func (c *Config) unknownGroup(name string) string {
	if _, ok := c.UserGroups[name]; ok {
		return ""
	}
	known := "there are none yet"
	if len(c.UserGroups) > 0 {
		known = "there are " + strings.Join(slices.Sorted(maps.Keys(c.UserGroups)), ", ")
	}
	return fmt.Sprintf("groups: %.40q is not in userGroups: %s", name, known)
}

// people returns who is in which group of people.
func (c *Config) people(claims func(ctx context.Context, user string) ([]string, error)) *auth.Groups {
	g := &auth.Groups{Claims: claims}
	for _, name := range slices.Sorted(maps.Keys(c.UserGroups)) {
		one := c.UserGroups[name]
		g.All = append(g.All, auth.Group{Name: name, Members: one.Members, Claims: one.Claims})
	}
	return g
}

// groupsClaim is the claim that groups are read from; "" where none needs it.
func (c *Config) groupsClaim() string {
	for _, one := range c.UserGroups {
		if len(one.Claims) > 0 && c.OIDC != nil {
			return c.OIDC.GroupsClaim
		}
	}
	return ""
}

// groupsOf returns the groups that a user is in, none when that is not known.
func (s *Server) groupsOf(user string) []string {
	in, err := s.people.Of(context.Background(), user)
	if err != nil {
		s.log.LogAttrs(context.Background(), slog.LevelError, "the groups of a user are not known", slog.String("user", user), slog.String("error", err.Error()))
	}
	return in
}

package server

import (
	"context"
	"maps"
	"slices"

	"quire/internal/auth"
	"quire/internal/problem"
)

// An IdentityConfig is a service identity: schedules run as it, so that they do
// not depend on a person who may leave.
type IdentityConfig struct {
	Description string `yaml:"description"`
	// Users, and who is in one of Groups (userGroups), may let schedules run as it;
	// administrators may too.
	Users  []string `yaml:"users"`
	Groups []string `yaml:"groups"`
	// Run are folders and notebooks that it may read and run, as shared/reports or
	// templates/NAME; Write those that it may write. Its own workspace is both.
	Run   []string `yaml:"run"`
	Write []string `yaml:"write"`
	// Connections are those that it may use, besides those that name it in users.
	Connections []string `yaml:"connections"`
}

func (c IdentityConfig) service() *auth.Service {
	return &auth.Service{Description: c.Description, Users: c.Users, Groups: c.Groups, Run: c.Run, Write: c.Write, Connections: c.Connections}
}

func (c *Config) validateIdentities() (wrong []string) {
	for _, name := range slices.Sorted(maps.Keys(c.Identities)) {
		one := c.Identities[name]
		if !auth.ValidName(name) || name == c.User {
			wrong = append(wrong, "identities: "+name+": want a name of lower-case letters, digits, - and _ that is no user's")
		}
		for _, text := range one.service().Validate() {
			wrong = append(wrong, "identities."+name+": "+text)
		}
		for _, group := range one.Groups {
			if text := c.unknownGroup(group); text != "" {
				wrong = append(wrong, "identities."+name+": "+text)
			}
		}
		for _, connection := range one.Connections {
			if _, ok := c.Connections[connection]; !ok && connection != localConnection {
				wrong = append(wrong, "identities."+name+": connections: there is no connection "+connection)
			}
		}
	}
	return wrong
}

// openIdentities makes the records of the service identities what the configuration
// says. One that is not in it any more stays known, and may do nothing.
func (s *Server) openIdentities(ctx context.Context) error {
	all, err := s.db.Users(ctx)
	if err != nil {
		return err
	}
	there := map[string]auth.User{}
	for _, u := range all {
		there[u.Name] = u
		if _, ok := s.cfg.Identities[u.Name]; !ok && u.Service != nil && !u.Disabled {
			u.Disabled = true
			if err := s.db.PutService(ctx, u); err != nil {
				return err
			}
			if _, err := s.db.DeleteCredentials(ctx, u.Name, ""); err != nil {
				return err
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(s.cfg.Identities)) {
		if u, ok := there[name]; ok && u.Service == nil {
			return problem.New(problem.Exists, "identities: %s is a person here: give the service identity another name", name)
		}
		u := auth.User{Name: name, DisplayName: name, Service: s.cfg.Identities[name].service()}
		if err := s.db.PutService(ctx, u); err != nil {
			return err
		}
		if err := s.volume.AddWorkspace(name); err != nil {
			return err
		}
	}
	return nil
}

package server

import (
	"net/url"
	"os"
	"strings"

	"quire/internal/auth/oidc"
	"quire/internal/pages"
	"quire/internal/problem"
)

// An OIDCConfig is an OpenID Connect provider at which people sign in. Register
// <the platform's address>/login/back there as the address to come back to.
type OIDCConfig struct {
	// Issuer is the provider's address, as https://login.example.com. Without TLS
	// only on loopback.
	Issuer string `yaml:"issuer"`
	// ClientID is what the provider knows the platform by.
	ClientID string `yaml:"clientID"`
	// ClientSecret says where its secret is: env:NAME or file:PATH. Default none,
	// for a public client.
	ClientSecret string `yaml:"clientSecret"`
	// Scopes are asked for besides openid. Default profile and email.
	Scopes []string `yaml:"scopes"`
	// NameClaim is the claim that user names are made of. Default
	// preferred_username.
	NameClaim string `yaml:"nameClaim"`
	// GroupsClaim is the claim with the groups that a person is in, for userGroups:
	// a text, or a list of them. Default groups.
	GroupsClaim string `yaml:"groupsClaim"`
	// Join gives a workspace to whoever signs in and has none. Without it an
	// administrator adds people first, with the address that they sign in with.
	Join bool `yaml:"join"`
	// Domains are the only ones whose verified addresses are let in, as
	// example.com. Default all.
	Domains []string `yaml:"domains"`

	secret string
}

// validate also reads the secret. A nil configuration is right.
func (c *OIDCConfig) validate() error {
	if c == nil {
		return nil
	}
	u, err := url.Parse(c.Issuer)
	switch {
	case err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" || u.User != nil:
		return problem.New(problem.Invalid, "oidc.issuer: %q: want the address of a provider, as https://login.example.com", c.Issuer)
	case u.Scheme == "http" && !loopback(u.Hostname()):
		return problem.New(problem.Invalid, "oidc.issuer: %s: without TLS everybody on the way can sign in as anybody: want https", c.Issuer)
	case c.ClientID == "":
		return problem.New(problem.Invalid, "oidc.clientID: want what the provider knows this platform by")
	}
	if c.GroupsClaim == "" {
		c.GroupsClaim = "groups"
	}
	c.secret, err = referred(c.ClientSecret)
	return problem.WrapAs(problem.Invalid, err, "oidc.clientSecret")
}

// referred returns the secret that a reference names, "" for none.
func referred(reference string) (string, error) {
	kind, what, _ := strings.Cut(reference, ":")
	switch {
	case reference == "":
		return "", nil
	case kind == "env" && what != "":
		if secret := os.Getenv(what); secret != "" {
			return secret, nil
		}
		return "", problem.New(problem.Invalid, "the variable %s is not set", what)
	case kind == "file" && what != "":
		data, err := os.ReadFile(what)
		return strings.TrimSpace(string(data)), err
	}
	return "", problem.New(problem.Invalid, "want env:NAME or file:PATH: a secret is not written into a configuration")
}

// elsewhere is where people sign in besides, nil for nowhere.
func (s *Server) elsewhere() *pages.Elsewhere {
	c := s.cfg.OIDC
	if c == nil {
		return nil
	}
	return &pages.Elsewhere{
		Elsewhere: oidc.New(oidc.Config{
			Issuer: c.Issuer, ClientID: c.ClientID, ClientSecret: c.secret, Scopes: c.Scopes, NameClaim: c.NameClaim, Domains: c.Domains,
			GroupsClaim: s.cfg.groupsClaim(),
		}),
		Join: c.Join, AddWorkspace: s.volume.AddWorkspace,
	}
}

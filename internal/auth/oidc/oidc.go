// Package oidc signs people in at an OpenID Connect provider: authorization code
// with PKCE, state and nonce.
package oidc

import (
	"context"
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"

	"quire/internal/auth"
	"quire/internal/problem"
)

// Config says where and as whom.
type Config struct {
	// Issuer is the provider's address, as its discovery document has it.
	Issuer string
	// ClientID and ClientSecret are what the provider knows this platform by.
	ClientID, ClientSecret string
	// Scopes are asked for besides openid. Default profile and email.
	Scopes []string
	// NameClaim is the claim that user names are made of. Default
	// preferred_username, and the address when there is none.
	NameClaim string
	// GroupsClaim is the claim with the groups that a person is in: a text, or a
	// list of them. Default none: groups are not asked for.
	GroupsClaim string
	// Domains are the only ones whose verified addresses are let in; empty is all.
	Domains []string
}

// timeout is how long the provider may take to answer.
const timeout = 15 * time.Second

// A Provider signs people in. It is safe for concurrent use.
type Provider struct {
	cfg    Config
	client *http.Client

	mu    sync.Mutex
	found *oidc.Provider // nil until it was asked the first time
}

var _ auth.Elsewhere = (*Provider)(nil)

// New returns a Provider. Nothing is asked yet: a provider that is away does not
// keep the platform from starting.
func New(cfg Config) *Provider {
	if cfg.Scopes == nil {
		cfg.Scopes = []string{"profile", "email"}
	}
	if cfg.NameClaim == "" {
		cfg.NameClaim = "preferred_username"
	}
	return &Provider{cfg: cfg, client: &http.Client{Timeout: timeout}}
}

// Name implements auth.Elsewhere: the provider's host.
func (p *Provider) Name() string {
	u, err := url.Parse(p.cfg.Issuer)
	if err != nil || u.Host == "" {
		return p.cfg.Issuer
	}
	return u.Hostname()
}

// provider reads the provider's discovery document, once.
func (p *Provider) provider() (*oidc.Provider, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.found != nil {
		return p.found, nil
	}
	// The provider keeps the context for as long as it lives: not a request's.
	found, err := oidc.NewProvider(oidc.ClientContext(context.Background(), p.client), p.cfg.Issuer)
	if err != nil {
		return nil, problem.WrapAs(problem.Unavailable, err, "asking %s how to sign in", p.cfg.Issuer)
	}
	p.found = found
	return found, nil
}

func (p *Provider) oauth(found *oidc.Provider, redirect string) *oauth2.Config {
	return &oauth2.Config{
		ClientID: p.cfg.ClientID, ClientSecret: p.cfg.ClientSecret, Endpoint: found.Endpoint(),
		RedirectURL: redirect, Scopes: append([]string{oidc.ScopeOpenID}, p.cfg.Scopes...),
	}
}

// kept is what the browser keeps while its person is at the provider.
type kept struct{ State, Nonce, Verifier string }

// Begin implements auth.Elsewhere.
func (p *Provider) Begin(_ context.Context, redirect string) (address, keep string, err error) {
	found, err := p.provider()
	if err != nil {
		return "", "", err
	}
	k := kept{State: auth.NewSecret(), Nonce: auth.NewSecret(), Verifier: oauth2.GenerateVerifier()}
	data, err := json.Marshal(k)
	if err != nil {
		return "", "", err
	}
	address = p.oauth(found, redirect).AuthCodeURL(k.State, oidc.Nonce(k.Nonce), oauth2.S256ChallengeOption(k.Verifier))
	return address, base64.RawURLEncoding.EncodeToString(data), nil
}

// Finish implements auth.Elsewhere.
func (p *Provider) Finish(ctx context.Context, redirect, keep string, answer url.Values) (auth.Identity, error) {
	var k kept
	data, err := base64.RawURLEncoding.DecodeString(keep)
	if err != nil || json.Unmarshal(data, &k) != nil || k.State == "" || subtle.ConstantTimeCompare([]byte(k.State), []byte(answer.Get("state"))) != 1 {
		return auth.Identity{}, problem.New(problem.Denied, "signing in was begun elsewhere or too long ago: begin again")
	}
	if code := answer.Get("error"); code != "" {
		return auth.Identity{}, problem.New(problem.Denied, "%s says: %s", p.Name(), firstOf(answer.Get("error_description"), code))
	}
	found, err := p.provider()
	if err != nil {
		return auth.Identity{}, err
	}
	ctx, stop := context.WithTimeout(oidc.ClientContext(ctx, p.client), timeout)
	defer stop()
	token, err := p.oauth(found, redirect).Exchange(ctx, answer.Get("code"), oauth2.VerifierOption(k.Verifier))
	if err != nil {
		return auth.Identity{}, problem.WrapAs(problem.Denied, err, "asking %s who signed in", p.Name())
	}
	raw, _ := token.Extra("id_token").(string)
	id, err := found.Verifier(&oidc.Config{ClientID: p.cfg.ClientID}).Verify(ctx, raw)
	if err != nil {
		return auth.Identity{}, problem.WrapAs(problem.Denied, err, "reading who signed in at %s", p.Name())
	}
	if subtle.ConstantTimeCompare([]byte(id.Nonce), []byte(k.Nonce)) != 1 {
		return auth.Identity{}, problem.New(problem.Denied, "the answer of %s is to another question: begin again", p.Name())
	}
	return p.identity(ctx, found, token, id)
}

// identity reads what is said of a person, in the token and where more is told.
func (p *Provider) identity(ctx context.Context, found *oidc.Provider, token *oauth2.Token, id *oidc.IDToken) (auth.Identity, error) {
	claims := map[string]any{}
	if err := id.Claims(&claims); err != nil {
		return auth.Identity{}, problem.WrapAs(problem.Denied, err, "reading who signed in at %s", p.Name())
	}
	if claims["email"] == nil || claims[p.cfg.NameClaim] == nil || p.cfg.GroupsClaim != "" && claims[p.cfg.GroupsClaim] == nil {
		if info, err := found.UserInfo(ctx, oauth2.StaticTokenSource(token)); err == nil && info.Subject == id.Subject {
			more := map[string]any{}
			if info.Claims(&more) == nil {
				for name, value := range more {
					if claims[name] == nil {
						claims[name] = value
					}
				}
			}
		}
	}
	text := func(name string) string { s, _ := claims[name].(string); return s }
	verified, _ := claims["email_verified"].(bool)
	who := auth.Identity{
		Issuer: id.Issuer, Subject: id.Subject, Name: text(p.cfg.NameClaim), DisplayName: text("name"),
		Email: text("email"), EmailVerified: verified, Groups: groupsOf(claims[p.cfg.GroupsClaim]),
	}
	if !p.letIn(who) {
		return auth.Identity{}, problem.New(problem.Denied, "%s is not of an organization that may sign in here", firstOf(who.Email, who.Name, "this person"))
	}
	return who, nil
}

// groupsOf reads a claim of groups. What is none is left out.
func groupsOf(claim any) (groups []string) {
	all, ok := claim.([]any)
	if !ok {
		all = []any{claim}
	}
	for _, one := range all {
		if name, ok := one.(string); ok {
			groups = append(groups, name)
		}
	}
	return groups
}

// letIn reports whether an identity is of one of the domains.
func (p *Provider) letIn(who auth.Identity) bool {
	if len(p.cfg.Domains) == 0 {
		return true
	}
	_, domain, _ := strings.Cut(who.Email, "@")
	return who.EmailVerified && slices.ContainsFunc(p.cfg.Domains, func(d string) bool { return strings.EqualFold(d, domain) })
}

func firstOf(all ...string) string {
	for _, s := range all {
		if s != "" {
			return s
		}
	}
	return ""
}

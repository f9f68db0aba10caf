package server

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"quire/internal/api"
	"quire/internal/auth"
	"quire/internal/problem"
)

// A Hub is the JupyterHub whose single-user server a notebook server is: what
// JupyterHub 2 and newer says in the environment of what it spawns. People sign
// in there; here nobody is let in whom it does not name.
type Hub struct {
	// API is the address of its API, without a slash at the end.
	API string
	// Token is this server's own, for the API; it is also the secret with which a
	// code is exchanged.
	Token string
	// Client is this server's name among the Hub's OAuth clients.
	Client string
	// Authorize is where a browser is sent to sign in.
	Authorize string
	// Logout is where a browser is sent to sign out.
	Logout string
	// Callback is where it is sent back to: a path, or an address that ends in it.
	Callback string
	// Scopes are those of which a person must have one to come in.
	Scopes []string
	// Activity is where activity is reported; "" nowhere.
	Activity string
	// Server is the name of this server among its owner's; "" is the first.
	Server string
}

// hubBounds: what is asked of a Hub and kept of its answers.
const (
	hubTimeout    = 10 * time.Second
	hubRecheck    = 5 * time.Minute // how long an answer of the Hub is good
	hubEvery      = 5 * time.Minute // how often activity is reported
	hubStateLife  = 10 * time.Minute
	maxHubKept    = 2000
	hubStateName  = "quire-hub-state"
	maxHubAnswer  = 1 << 20
	maxHubWaiting = 500 // sign-ins that have begun
)

// HubFromEnvironment returns what a JupyterHub says in the environment, and fills
// in the configuration that follows from it; nil where there is none. The token
// is taken out of the environment: kernels are not to find it.
func HubFromEnvironment(cfg *NotebookConfig) (*Hub, error) {
	token, service := os.Getenv("JUPYTERHUB_API_TOKEN"), os.Getenv("JUPYTERHUB_SERVICE_URL")
	if token == "" || service == "" {
		return nil, nil //nolint:nilnil // no Hub is no error
	}
	for _, name := range []string{"JUPYTERHUB_API_TOKEN", "JPY_API_TOKEN"} {
		if err := os.Unsetenv(name); err != nil {
			return nil, err
		}
	}
	at, err := url.Parse(service)
	if err != nil || at.Scheme != "http" || at.Port() == "" {
		return nil, problem.New(problem.Invalid, "JUPYTERHUB_SERVICE_URL %q: want http://HOST:PORT/PATH", service)
	}
	public := os.Getenv("JUPYTERHUB_HOST") + strings.TrimSuffix(os.Getenv("JUPYTERHUB_BASE_URL"), "/") + "/hub"
	h := &Hub{
		API: strings.TrimSuffix(os.Getenv("JUPYTERHUB_API_URL"), "/"), Token: token, Client: os.Getenv("JUPYTERHUB_CLIENT_ID"),
		Authorize: public + "/api/oauth2/authorize", Logout: public + "/logout",
		Callback: os.Getenv("JUPYTERHUB_OAUTH_CALLBACK_URL"), Activity: os.Getenv("JUPYTERHUB_ACTIVITY_URL"), Server: os.Getenv("JUPYTERHUB_SERVER_NAME"),
	}
	scopes := os.Getenv("JUPYTERHUB_OAUTH_ACCESS_SCOPES")
	if err := json.Unmarshal([]byte(scopes), &h.Scopes); err != nil || len(h.Scopes) == 0 {
		return nil, problem.New(problem.Invalid, "JUPYTERHUB_OAUTH_ACCESS_SCOPES %q: want a list of scopes; JupyterHub 2 or newer is needed", scopes)
	}
	if h.API == "" || h.Client == "" || h.Callback == "" {
		return nil, problem.New(problem.Invalid, "JUPYTERHUB_API_URL, JUPYTERHUB_CLIENT_ID and JUPYTERHUB_OAUTH_CALLBACK_URL must be set beside JUPYTERHUB_API_TOKEN")
	}
	host := at.Hostname()
	if host == "" {
		host = "0.0.0.0"
	}
	cfg.Listen, cfg.InsecureBehindProxy = net.JoinHostPort(host, at.Port()), true
	cfg.BaseURL, cfg.Hub = os.Getenv("JUPYTERHUB_SERVICE_PREFIX"), h
	if name := os.Getenv("JUPYTERHUB_USER"); cfg.User == "" && auth.ValidName(name) {
		cfg.User = name
	}
	return h, nil
}

// A hubGate stands before a notebook server that is a Hub's. It turns what the
// Hub vouches for into what the server knows, and takes away what it does not.
type hubGate struct {
	hub      *Hub
	next     http.Handler
	base     string
	cookie   string // name of the server's session cookie
	token    string // the server's own access token, which nobody outside has
	sessions *auth.Sessions
	set      func(w http.ResponseWriter, secret string) // the session's cookie
	client   *http.Client
	now      func() time.Time
	log      *slog.Logger

	mu      sync.Mutex
	known   map[[32]byte]hubAnswer // of tokens, by their hash
	people  map[[32]byte]string    // of sessions, by their hash: the Hub's token
	waiting map[string]hubWaiting  // of sign-ins, by their state
}

type hubAnswer struct {
	allowed bool
	at      time.Time
}

type hubWaiting struct {
	next string
	at   time.Time
}

func (g *hubGate) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	r = r.Clone(r.Context())
	g.translateHost(r)
	switch path := strings.TrimPrefix(r.URL.Path, g.base); {
	case path == "/oauth_callback" && r.Method == http.MethodGet:
		g.answer(w, g.callback(w, r))
		return
	case path == "/login" && r.Method == http.MethodGet:
		g.begin(w, r)
		return
	case path == "/logout" && r.Method == http.MethodGet:
		g.set(w, "")
		http.Redirect(w, r, g.hub.Logout, http.StatusFound)
		return
	case path == "/login":
		http.Error(w, "sign in at the JupyterHub", http.StatusForbidden)
		return
	}
	if err := g.translate(r); err != nil {
		g.answer(w, err)
		return
	}
	g.next.ServeHTTP(w, r)
}

// answer writes an error, if there is one.
func (g *hubGate) answer(w http.ResponseWriter, err error) {
	if err == nil {
		return
	}
	g.log.Warn("signing in through the JupyterHub", "err", err.Error())
	w.Header().Set("Cache-Control", "no-store")
	http.Error(w, "Signing in through the JupyterHub: "+err.Error(), api.Status(err))
}

// translateHost makes of the Hub's public address, which the server is not told,
// the server's own. What a page elsewhere sends keeps an Origin that is not ours.
func (g *hubGate) translateHost(r *http.Request) {
	if origin, err := url.Parse(r.Header.Get("Origin")); err == nil && origin.Host != "" && strings.EqualFold(origin.Host, r.Host) {
		r.Header.Set("Origin", "http://"+socketHost)
	}
	r.Host = socketHost
}

// translate replaces the Hub's tokens by the server's, and drops cookies that
// the Hub does not vouch for any more.
func (g *hubGate) translate(r *http.Request) error {
	query := r.URL.Query()
	token := query.Get("token")
	if scheme, sent, ok := strings.Cut(r.Header.Get("Authorization"), " "); ok && (strings.EqualFold(scheme, "token") || strings.EqualFold(scheme, "bearer")) {
		token = strings.TrimSpace(sent)
	}
	if query.Has("token") {
		query.Del("token")
		r.URL.RawQuery = query.Encode()
	}
	r.Header.Del("Authorization")
	if token != "" {
		allowed, err := g.vouches(r.Context(), token)
		if err != nil {
			return err
		}
		secret := auth.NewSecret() // of nobody
		if allowed {
			secret = g.token
		}
		r.Header.Set("Authorization", "Bearer "+secret)
		return nil
	}
	c, err := r.Cookie(g.cookie)
	if err != nil {
		return nil //nolint:nilerr // no cookie
	}
	g.mu.Lock()
	token = g.people[sha256.Sum256([]byte(c.Value))]
	g.mu.Unlock()
	allowed := false
	if token != "" {
		if allowed, err = g.vouches(r.Context(), token); err != nil {
			return err
		}
	}
	if !allowed {
		kept := slices.DeleteFunc(r.Cookies(), func(c *http.Cookie) bool { return c.Name == g.cookie })
		r.Header.Del("Cookie")
		for _, c := range kept {
			r.AddCookie(c)
		}
	}
	return nil
}

// vouches asks the Hub whether who has the token may come in.
func (g *hubGate) vouches(ctx context.Context, token string) (bool, error) {
	if len(token) > 1024 || strings.ContainsAny(token, "\r\n") {
		return false, nil
	}
	key, now := sha256.Sum256([]byte(token)), g.now()
	g.mu.Lock()
	known, ok := g.known[key]
	g.mu.Unlock()
	if ok && now.Sub(known.at) < hubRecheck {
		return known.allowed, nil
	}
	var person struct {
		Name   string   `json:"name"`
		Scopes []string `json:"scopes"`
	}
	status, err := g.ask(ctx, http.MethodGet, g.hub.API+"/user", token, "", nil, &person)
	if err != nil {
		return false, err
	}
	if status >= 500 {
		return false, problem.New(problem.Unavailable, "the JupyterHub answers %d: try again", status)
	}
	answer := hubAnswer{at: now, allowed: status == http.StatusOK && slices.ContainsFunc(person.Scopes, func(s string) bool { return slices.Contains(g.hub.Scopes, s) })}
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.known) >= maxHubKept {
		clear(g.known) // they are asked for again
	}
	g.known[key] = answer
	return answer.allowed, nil
}

// ask sends a request to the Hub and decodes a good answer.
func (g *hubGate) ask(ctx context.Context, method, to, token, kind string, body []byte, out any) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, hubTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, to, bytes.NewReader(body))
	if err != nil {
		return 0, problem.WrapAs(problem.Internal, err, "asking the JupyterHub")
	}
	if token != "" {
		req.Header.Set("Authorization", "token "+token)
	}
	if kind != "" {
		req.Header.Set("Content-Type", kind)
	}
	res, err := g.client.Do(req)
	if err != nil {
		return 0, problem.WrapAs(problem.Unavailable, err, "asking the JupyterHub")
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK || out == nil {
		return res.StatusCode, nil
	}
	err = json.NewDecoder(io.LimitReader(res.Body, maxHubAnswer)).Decode(out)
	return res.StatusCode, problem.WrapAs(problem.Unavailable, err, "reading what the JupyterHub answers")
}

// begin sends a browser to the Hub to sign in.
func (g *hubGate) begin(w http.ResponseWriter, r *http.Request) {
	state, now := rand.Text(), g.now()
	g.mu.Lock()
	for s, one := range g.waiting {
		if now.Sub(one.at) > hubStateLife || len(g.waiting) >= maxHubWaiting {
			delete(g.waiting, s)
		}
	}
	next := api.SafeNext(r.URL.Query().Get("next"))
	if !strings.HasPrefix(next, g.base+"/") {
		next = g.base + "/"
	}
	g.waiting[state] = hubWaiting{next: next, at: now}
	g.mu.Unlock()
	http.SetCookie(w, &http.Cookie{
		Name: hubStateName, Value: state, Path: g.base + "/", HttpOnly: true, SameSite: http.SameSiteLaxMode, MaxAge: int(hubStateLife.Seconds()),
	})
	w.Header().Set("Cache-Control", "no-store")
	http.Redirect(w, r, g.hub.Authorize+"?"+url.Values{
		"client_id": {g.hub.Client}, "redirect_uri": {g.hub.Callback}, "response_type": {"code"}, "state": {state},
	}.Encode(), http.StatusFound)
}

// callback takes a browser that comes back from the Hub with a code.
func (g *hubGate) callback(w http.ResponseWriter, r *http.Request) error {
	query := r.URL.Query()
	c, err := r.Cookie(hubStateName)
	state := query.Get("state")
	if err != nil || state == "" || c.Value != state {
		return problem.New(problem.Denied, "this is not the sign-in that was begun here: open the server again")
	}
	g.mu.Lock()
	begun, ok := g.waiting[state]
	delete(g.waiting, state)
	g.mu.Unlock()
	if !ok || g.now().Sub(begun.at) > hubStateLife {
		return problem.New(problem.Denied, "the sign-in took too long: open the server again")
	}
	if query.Get("code") == "" {
		return problem.New(problem.Denied, "the JupyterHub did not let you in: %.100q", query.Get("error"))
	}
	var given struct {
		Token string `json:"access_token"`
	}
	form := url.Values{
		"client_id": {g.hub.Client}, "client_secret": {g.hub.Token}, "grant_type": {"authorization_code"},
		"code": {query.Get("code")}, "redirect_uri": {g.hub.Callback},
	}
	status, err := g.ask(r.Context(), http.MethodPost, g.hub.API+"/oauth2/token", "", "application/x-www-form-urlencoded", []byte(form.Encode()), &given)
	if err != nil {
		return err
	}
	if status != http.StatusOK || given.Token == "" {
		return problem.New(problem.Denied, "the JupyterHub refuses the code (%d): open the server again", status)
	}
	allowed, err := g.vouches(r.Context(), given.Token)
	if err != nil {
		return err
	}
	if !allowed {
		return problem.New(problem.Denied, "the JupyterHub says that this server is not yours to use")
	}
	secret, _, err := g.sessions.SignIn(r.Context(), g.token)
	if err != nil {
		return err
	}
	g.mu.Lock()
	if len(g.people) >= maxHubKept {
		clear(g.people) // they sign in again, which nobody notices
	}
	g.people[sha256.Sum256([]byte(secret))] = given.Token
	g.mu.Unlock()
	g.set(w, secret)
	http.SetCookie(w, &http.Cookie{Name: hubStateName, Path: g.base + "/", MaxAge: -1})
	w.Header().Set("Cache-Control", "no-store")
	http.Redirect(w, r, begun.next, http.StatusFound)
	return nil
}

// report tells the Hub when somebody did something last, now and then, until ctx
// ends: by that it ends servers that nobody uses.
func (g *hubGate) report(ctx context.Context, last func() time.Time) {
	if g.hub.Activity == "" {
		return
	}
	tick := time.NewTicker(hubEvery)
	defer tick.Stop()
	for {
		at := last().UTC().Format("2006-01-02T15:04:05.000000Z")
		body, err := json.Marshal(map[string]any{"last_activity": at, "servers": map[string]any{g.hub.Server: map[string]any{"last_activity": at}}})
		if err == nil {
			var status int
			if status, err = g.ask(ctx, http.MethodPost, g.hub.Activity, g.hub.Token, "application/json", body, nil); err == nil && status >= 300 {
				err = fmt.Errorf("it answers %d", status)
			}
		}
		if err != nil && !errors.Is(err, context.Canceled) {
			g.log.Warn("reporting activity to the JupyterHub", "err", err.Error())
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

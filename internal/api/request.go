package api

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"net/http"
	"net/url"
	"strings"
	"time"

	"quire/internal/auth"
	"quire/internal/problem"
)

// recorder remembers what was answered.
type recorder struct {
	http.ResponseWriter
	start   time.Time
	pattern string
	status  int
	err     error
}

func (rec *recorder) WriteHeader(status int) {
	if rec.status == 0 {
		rec.status = status
	}
	rec.ResponseWriter.WriteHeader(status)
}

func (rec *recorder) Write(b []byte) (int, error) {
	if rec.status == 0 {
		rec.status = http.StatusOK
	}
	return rec.ResponseWriter.Write(b)
}

// Unwrap lets http.ResponseController reach flushing and deadlines.
func (rec *recorder) Unwrap() http.ResponseWriter { return rec.ResponseWriter }

type requestIDKey struct{}

func requestID() string { return rand.Text()[:16] }

func withRequestID(ctx context.Context, id string) context.Context {
	return context.WithValue(ctx, requestIDKey{}, id)
}

// RequestID returns the id under which the request of ctx is logged, or "".
func RequestID(ctx context.Context) string {
	id, _ := ctx.Value(requestIDKey{}).(string)
	return id
}

// A caller is who a request comes from, and how we know.
type caller struct {
	user   auth.User
	cookie bool // by a cookie, which a browser sends unasked
}

// CookieName returns the name of the session cookie. Over HTTPS no other host
// or path can set it; over plain HTTP on loopback the port keeps two servers'
// cookies apart. Under a base path the cookie is for that path only.
func (rt *Router) CookieName() string {
	switch {
	case rt.cfg.Secure && rt.cfg.Base == "":
		return "__Host-quire"
	case rt.cfg.Secure:
		return "__Secure-quire"
	}
	port := "80"
	if len(rt.cfg.Hosts) > 0 {
		if _, p, ok := strings.Cut(rt.cfg.Hosts[0], ":"); ok {
			port = p
		}
	}
	return "quire-" + port
}

// Secure reports whether browsers reach the server over HTTPS.
func (rt *Router) Secure() bool { return rt.cfg.Secure }

// SetSession gives the browser the cookie of a session; an empty secret takes
// the cookie away.
func (rt *Router) SetSession(w http.ResponseWriter, secret string) {
	c := &http.Cookie{
		Name: rt.CookieName(), Value: secret, Path: rt.URL("/"), HttpOnly: true,
		Secure: rt.cfg.Secure, SameSite: http.SameSiteLaxMode,
		MaxAge: int(auth.SessionLife.Seconds()),
	}
	if secret == "" {
		c.MaxAge = -1
	}
	http.SetCookie(w, c)
}

// authenticate finds out who is asking. It fails when the policy asks for
// somebody and nobody, or somebody without the right, is there.
func (rt *Router) authenticate(r *http.Request, policy Policy) (caller, error) {
	c, err := rt.identify(r, policy)
	switch {
	case policy.Access == Public && problem.Is(err, problem.Denied):
		return caller{}, nil
	case err != nil:
		return caller{}, err
	case policy.Access == Admin:
		return c, auth.Allow(c.user, auth.Manage, auth.Object{Kind: auth.Platform})
	}
	return c, nil
}

func (rt *Router) identify(r *http.Request, policy Policy) (caller, error) {
	if token, ok := headerToken(r); ok {
		u, err := rt.cfg.Sessions.Token(r.Context(), token)
		return caller{user: u}, err
	}
	if policy.QueryToken {
		if token := r.URL.Query().Get("token"); token != "" {
			u, err := rt.cfg.Sessions.Token(r.Context(), token)
			return caller{user: u}, err
		}
	}
	if cookie, err := r.Cookie(rt.CookieName()); err == nil {
		u, err := rt.cfg.Sessions.Session(r.Context(), cookie.Value)
		return caller{user: u, cookie: true}, err
	}
	return caller{}, problem.New(problem.Denied, "sign in first, or send a token: \"Authorization: Bearer ...\"")
}

// headerToken returns the token of an Authorization header, in Jupyter's form
// or the usual one.
func headerToken(r *http.Request) (string, bool) {
	scheme, token, ok := strings.Cut(r.Header.Get("Authorization"), " ")
	if !ok || (!strings.EqualFold(scheme, "token") && !strings.EqualFold(scheme, "bearer")) {
		return "", false
	}
	return strings.TrimSpace(token), true
}

// checkOrigin refuses what a page of another origin makes a browser send in its
// user's name: every unsafe request and every upgrade must come from a page of
// this server, said by Origin or Sec-Fetch-Site. Requests that carry a token of
// their own need no such proof, but an Origin that is not ours is refused even
// there.
func (rt *Router) checkOrigin(r *http.Request, policy Policy, c caller) error {
	if isSafe(r.Method) && !isUpgrade(r) {
		return nil
	}
	if origin := r.Header.Get("Origin"); origin != "" {
		if origin == rt.origin(r) {
			return nil
		}
		return problem.New(problem.Denied, "a page of %s may not do this here", clip(origin, 80))
	}
	if !c.cookie && (c.user.Name != "" || policy.Proves) || sentXSRF(r) {
		return nil
	}
	if site := r.Header.Get("Sec-Fetch-Site"); site == "same-origin" || site == "none" {
		return nil
	}
	return problem.New(problem.Denied, "the request does not say which page it comes from (Origin): send an access token instead of a cookie")
}

// XSRFCookie is the cookie whose value Jupyter's clients send back in the header
// X-XSRFToken. A page of another origin can neither read it nor set that header.
const XSRFCookie = "_xsrf"

// sentXSRF reports whether the request proves as Jupyter's clients do, which are
// programs without an Origin, that it comes from who was given the cookie.
func sentXSRF(r *http.Request) bool {
	c, err := r.Cookie(XSRFCookie)
	if err != nil || len(c.Value) < 16 {
		return false
	}
	return subtle.ConstantTimeCompare([]byte(c.Value), []byte(r.Header.Get("X-XSRFToken"))) == 1
}

func (rt *Router) origin(r *http.Request) string {
	scheme := "http://"
	if rt.cfg.Secure {
		scheme = "https://"
	}
	return scheme + strings.ToLower(r.Host)
}

func isSafe(method string) bool {
	return method == http.MethodGet || method == http.MethodHead || method == http.MethodOptions
}

func isUpgrade(r *http.Request) bool { return r.Header.Get("Upgrade") != "" }

// nextParam returns the request's path and query, without a token, for the
// sign-in page to come back to.
func nextParam(r *http.Request) string {
	query := r.URL.Query()
	query.Del("token")
	next := r.URL.EscapedPath()
	if encoded := query.Encode(); encoded != "" {
		next += "?" + encoded
	}
	return url.QueryEscape(next)
}

// SafeNext returns next when it is a path of this server, and its first page
// otherwise.
func (rt *Router) SafeNext(next string) string {
	if next = SafeNext(next); next == "/" || !strings.HasPrefix(next, rt.cfg.Base+"/") {
		return rt.URL("/")
	}
	return next
}

// SafeNext returns next when it is a path on this host, and "/" otherwise:
// "//evil", "/\evil" and "https:evil" lead elsewhere in a browser.
func SafeNext(next string) string {
	if len(next) > 2048 || !strings.HasPrefix(next, "/") || strings.ContainsAny(next, "\\\t\r\n") {
		return "/"
	}
	if u, err := url.Parse(next); err != nil || u.Host != "" || u.Scheme != "" || strings.HasPrefix(next, "//") {
		return "/"
	}
	return next
}

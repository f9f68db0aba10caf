// Package api is Quire over HTTP: the router that every route goes through, the
// Jupyter-compatible contents routes, and Quire's own JSON API.
package api

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"time"

	"go.opentelemetry.io/otel/trace"

	"quire/internal/auth"
	"quire/internal/problem"
)

// Access says who may reach a route. What they may do there to a particular
// file or run is decided by auth.Allow inside the domains.
type Access int

// The ways of access. The zero value is no policy at all, which Router refuses.
const (
	Public   Access = 1 + iota // anybody, signed in or not
	SignedIn                   // whoever has a session or a token
	Admin                      // administrators
)

// A Policy is what a route demands of a request before its handler runs.
type Policy struct {
	Access Access
	// QueryToken accepts ?token= as well, which Jupyter clients send.
	QueryToken bool
	// Page says that a browser shows the answer: who is not signed in is sent
	// to the sign-in page and errors are pages, not JSON.
	Page bool
	// Proves says that the request itself holds a secret that its handler checks,
	// as a sign-in form does: who sends no Origin, as programs do, is let through.
	Proves bool
	// MaxBody is the most bytes a request body may have; 0 is DefaultMaxBody.
	MaxBody int64
	// Doc describes the route in the OpenAPI document; pages have none.
	Doc Doc
}

// DefaultMaxBody is the limit on request bodies where a route names none.
const DefaultMaxBody = 1 << 20

// A Handler answers a request. An error that it returns is shown to the caller
// by its kind; it must not have begun to write by then.
type Handler func(http.ResponseWriter, *http.Request) error

// A Route is one registered route.
type Route struct {
	Pattern string // as http.ServeMux takes it: "GET /api/runs/{id}"
	Policy  Policy
}

// Config is what a Router needs.
type Config struct {
	Sessions *auth.Sessions
	Log      *slog.Logger
	// Hosts are the values of the Host header that are answered, exactly:
	// "127.0.0.1:8888". A request for another host is refused, so that a page
	// elsewhere cannot reach a server on loopback by rebinding its name.
	Hosts []string
	// Secure says that browsers come over HTTPS.
	Secure bool
	// Base is the path under which everything is served, "" or "/quire".
	Base string
	// ErrorPage shows an error to a person; nil shows plain text.
	ErrorPage func(w http.ResponseWriter, r *http.Request, status int, err error)
	// Tracer makes a span of each request; nil makes none.
	Tracer trace.Tracer
	// Observe is called after each answer; it may be nil.
	Observe func(pattern string, status int, took time.Duration)
}

// A Router sends requests to handlers after the checks that their policies
// ask for. Register all routes before serving; after that it is safe for
// concurrent use.
type Router struct {
	cfg    Config
	mux    *http.ServeMux
	routes []Route
	// streams ends when the server stops; see Streaming.
	streams    context.Context //nolint:containedctx // it is the server's life
	endStreams context.CancelFunc
}

// NewRouter returns a Router without routes.
func NewRouter(cfg Config) *Router {
	rt := &Router{cfg: cfg, mux: http.NewServeMux()}
	rt.streams, rt.endStreams = context.WithCancel(context.Background())
	return rt
}

// Handle registers a route. It panics when the policy names no access: a route
// without one is a programmer's error that no request may ever meet.
func (rt *Router) Handle(pattern string, policy Policy, h Handler) {
	if policy.Access < Public || policy.Access > Admin {
		panic(fmt.Sprintf("api: route %q has no access policy", pattern))
	}
	method, path, ok := strings.Cut(pattern, " ")
	if !ok || !strings.HasPrefix(path, "/") {
		panic(fmt.Sprintf("api: route %q: want \"METHOD /path\"", pattern))
	}
	rt.routes = append(rt.routes, Route{Pattern: pattern, Policy: policy})
	rt.mux.HandleFunc(method+" "+rt.cfg.Base+path, func(w http.ResponseWriter, r *http.Request) {
		rt.serve(w, r, pattern, policy, h)
	})
}

// URL returns the address of a path, which begins with a slash, on this server:
// under the base path. The URL of "" is the base path.
func (rt *Router) URL(path string) string { return rt.cfg.Base + path }

// Routes returns all routes in the order of their registration.
func (rt *Router) Routes() []Route { return slices.Clone(rt.routes) }

// ServeHTTP implements http.Handler.
func (rt *Router) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	rec := &recorder{ResponseWriter: w, start: time.Now()}
	id := requestID()
	r = r.WithContext(withRequestID(rt.startSpan(r), id))
	header := w.Header()
	header.Set("X-Request-Id", id)
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("Referrer-Policy", "no-referrer")
	header.Set("Cross-Origin-Opener-Policy", "same-origin")
	header.Set("Cross-Origin-Resource-Policy", "same-origin")
	header.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'self'")
	defer rt.finish(rec, r)
	if !slices.Contains(rt.cfg.Hosts, strings.ToLower(r.Host)) {
		rt.fail(rec, r, Policy{}, http.StatusMisdirectedRequest,
			problem.New(problem.Denied, "this server does not answer for host %q: add it to hosts in the configuration if it should", clip(r.Host, 80)))
		return
	}
	if h, pattern := rt.mux.Handler(r); pattern == "" {
		rt.noRoute(rec, r, h)
		return
	}
	rt.mux.ServeHTTP(rec, r)
}

// noRoute answers what no route takes in the form of all other errors: h knows
// whether the path or only the method is wrong.
func (rt *Router) noRoute(w http.ResponseWriter, r *http.Request, h http.Handler) {
	seen := &unsent{header: http.Header{}}
	h.ServeHTTP(seen, r)
	policy := Policy{Page: strings.Contains(r.Header.Get("Accept"), "text/html")}
	if seen.status == http.StatusMethodNotAllowed {
		allow := seen.header.Get("Allow")
		w.Header().Set("Allow", allow)
		rt.fail(w, r, policy, seen.status, problem.New(problem.Invalid, "%s is not possible at %s, only %s is", clip(r.Method, 20), clip(r.URL.Path, 200), allow))
		return
	}
	rt.fail(w, r, policy, http.StatusNotFound, problem.New(problem.NotFound, "there is nothing at %s", clip(r.URL.Path, 200)))
}

// unsent is an answer that nobody gets.
type unsent struct {
	header http.Header
	status int
}

func (u *unsent) Header() http.Header         { return u.header }
func (u *unsent) Write(b []byte) (int, error) { return len(b), nil }
func (u *unsent) WriteHeader(status int)      { u.status = status }

// serve runs one route: sign-in, origin, body limit, handler.
func (rt *Router) serve(w http.ResponseWriter, r *http.Request, pattern string, policy Policy, h Handler) {
	if rec, ok := w.(*recorder); ok {
		rec.pattern = pattern
	}
	caller, err := rt.authenticate(r, policy)
	if err != nil && caller.user.Name == "" {
		rt.refuse(w, r, policy, err)
		return
	}
	if err != nil { // somebody without the right
		rt.fail(w, r.WithContext(auth.WithUser(r.Context(), caller.user)), policy, Status(err), err)
		return
	}
	if err := rt.checkOrigin(r, policy, caller); err != nil {
		rt.fail(w, r, policy, http.StatusForbidden, err)
		return
	}
	limit := policy.MaxBody
	if limit == 0 {
		limit = DefaultMaxBody
	}
	if r.ContentLength > limit {
		rt.fail(w, r, policy, http.StatusRequestEntityTooLarge, problem.New(problem.TooLarge, "the request has %d bytes, %d are allowed here", r.ContentLength, limit))
		return
	}
	r.Body = http.MaxBytesReader(w, r.Body, limit)
	if caller.user.Name != "" {
		r = r.WithContext(auth.WithUser(r.Context(), caller.user))
	}
	if err := h(w, r); err != nil {
		rt.fail(w, r, policy, Status(err), err)
	}
}

// refuse answers a request that needs signing in.
func (rt *Router) refuse(w http.ResponseWriter, r *http.Request, policy Policy, err error) {
	if policy.Page && r.Method == http.MethodGet && !isUpgrade(r) && problem.Is(err, problem.Denied) {
		http.Redirect(w, r, rt.cfg.Base+"/login?next="+nextParam(r), http.StatusSeeOther)
		return
	}
	status := http.StatusForbidden
	if problem.Is(err, problem.Unavailable) {
		status = http.StatusServiceUnavailable
	}
	rt.fail(w, r, policy, status, err)
}

// fail shows err to the caller and logs what only we should know.
func (rt *Router) fail(w http.ResponseWriter, r *http.Request, policy Policy, status int, err error) {
	if rec, ok := w.(*recorder); ok {
		rec.err = err
		if rec.status != 0 {
			return // the answer has begun: all that is left is to log
		}
	}
	if policy.Page && rt.cfg.ErrorPage != nil {
		rt.cfg.ErrorPage(w, r, status, err)
		return
	}
	writeProblem(w, r, status, err)
}

// finish recovers a handler's panic and logs the request: its path, never its
// query, which may hold a token.
func (rt *Router) finish(rec *recorder, r *http.Request) {
	if v := recover(); v != nil {
		if v == http.ErrAbortHandler { //nolint:errorlint // the sentinel itself is panicked
			panic(v)
		}
		rt.fail(rec, r, Policy{}, http.StatusInternalServerError, fmt.Errorf("panic: %v", v))
	}
	if rec.status == 0 {
		rec.status = http.StatusOK
	}
	took := time.Since(rec.start)
	endSpan(rec, r)
	if rt.cfg.Observe != nil {
		rt.cfg.Observe(rec.pattern, rec.status, took)
	}
	if rt.cfg.Log == nil {
		return
	}
	level := slog.LevelDebug
	attrs := []slog.Attr{
		slog.String("method", r.Method), slog.String("path", clip(r.URL.Path, 512)),
		slog.Int("status", rec.status), slog.Float64("dur_ms", float64(took.Microseconds())/1000),
		slog.String("request_id", RequestID(r.Context())),
	}
	if rec.err != nil && rec.status >= 500 {
		level = slog.LevelError
		attrs = append(attrs, slog.String("error", rec.err.Error()))
	}
	rt.cfg.Log.LogAttrs(r.Context(), level, "request answered", attrs...)
}

func clip(s string, n int) string {
	if len(s) > n {
		return s[:n] + "..."
	}
	return s
}

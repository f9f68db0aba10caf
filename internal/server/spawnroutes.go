package server

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"
	"time"

	"quire/internal/api"
	"quire/internal/auth"
	"quire/internal/jupyter"
	"quire/internal/problem"
)

// registerNotebooks adds the notebook servers under /user/<name>/, where files
// are the platform's all the same, and what looks at them and stops them.
func (s *Server) registerNotebooks(rt *api.Router) {
	p := notebookRoutes{spawner: s.spawn, sessions: s.sessions, rt: rt}
	page := api.Policy{Access: api.SignedIn, QueryToken: true, Page: true}
	for _, path := range []string{"", "/{$}", "/tree/{path...}"} {
		rt.Handle("GET /user/{user}"+path, page, p.home)
	}
	rt.Handle("GET /user/{user}/logout", page, p.logout)
	// What Jupyter's clients ask before they have signed in, and how VS Code does.
	open := api.Policy{Access: api.Public, QueryToken: true, Page: true}
	rt.Handle("GET /user/{user}/login", open, p.loginPage)
	open.Proves = true
	rt.Handle("POST /user/{user}/login", open, p.login)
	rt.Handle("GET /user/{user}/api", api.Policy{Access: api.Public, QueryToken: true, Doc: api.Doc{
		Summary: "That a Jupyter server is here, and the version of its API",
	}}, p.version)
	for _, path := range []string{
		"/lab", "/lab/{$}", "/lab/tree/{path...}", "/lab/workspaces/{rest...}", "/doc", "/doc/tree/{path...}", "/doc/workspaces/{rest...}",
	} {
		rt.Handle("GET /user/{user}"+path, page, p.page)
	}
	for _, method := range []string{"GET", "POST", "PUT", "PATCH", "DELETE"} {
		rt.Handle(method+" /user/{user}/{rest...}", api.Policy{Access: api.SignedIn, QueryToken: true, Doc: api.Doc{
			Summary: "The rest of the Jupyter server API, by the person's notebook server, which is started for it",
		}}, p.pass)
	}
	const own = "/api/users/{user}/server"
	rt.Handle("GET "+own, api.Policy{Access: api.SignedIn, QueryToken: true, Doc: api.Doc{
		Summary: "How a person's notebook server is; it is not started", Response: notebookStatus{},
	}}, p.status)
	rt.Handle("GET "+own+"/events", api.Policy{Access: api.SignedIn, Doc: api.Doc{
		Summary: "How a person's notebook server is, as server-sent events: now, and when it changes",
	}}, p.events)
	rt.Handle("POST "+own, api.Policy{Access: api.SignedIn, QueryToken: true, Doc: api.Doc{
		Summary: "Start one's own notebook server, in a container of a size; what is left out is as before", Request: serverRequest{}, Response: notebookStatus{},
	}}, p.start)
	rt.Handle("POST "+own+"/restart", api.Policy{Access: api.SignedIn, QueryToken: true, Doc: api.Doc{
		Summary: "Save what is open, end the kernels, and start one's own notebook server anew, perhaps in another size", Request: serverRequest{}, Response: restarted{},
	}}, p.restart)
	rt.Handle("POST "+own+"/extend", api.Policy{Access: api.SignedIn, QueryToken: true, Doc: api.Doc{
		Summary: "Keep an idle notebook server for so long from now", Request: extendRequest{}, Response: activity{},
	}}, p.extend)
	rt.Handle("DELETE "+own, api.Policy{Access: api.SignedIn, QueryToken: true, Doc: api.Doc{
		Summary: "Stop a person's notebook server, with its kernels", Status: http.StatusNoContent,
	}}, p.stop)
}

type notebookRoutes struct {
	spawner  *spawner
	sessions *auth.Sessions
	rt       *api.Router
}

// own returns whose server a request is for: only that person works in it. What
// a notebook shows can act with the rights of whoever looks, so that not even an
// administrator opens another's server in a browser.
func (n notebookRoutes) own(r *http.Request) (string, error) {
	name := r.PathValue("user")
	u, _ := auth.UserFrom(r.Context())
	if u.Name == name && auth.ValidName(name) {
		return name, nil
	}
	if u.Admin {
		if err := n.exists(r); err != nil {
			return "", err
		}
	}
	return "", problem.New(problem.Denied, "this notebook server is another person's: only they work in it")
}

// exists reports, as an error of kind NotFound, that there is no such user.
func (n notebookRoutes) exists(r *http.Request) error {
	name := r.PathValue("user")
	if !auth.ValidName(name) {
		return problem.New(problem.NotFound, "no user %.64q", name)
	}
	_, err := n.spawner.users.User(r.Context(), name)
	return err
}

// managed returns the server that a request looks at or stops: one's own, or for
// an administrator everybody's.
func (n notebookRoutes) managed(r *http.Request) (*personal, error) {
	name := r.PathValue("user")
	u, _ := auth.UserFrom(r.Context())
	if err := auth.Allow(u, auth.Manage, auth.Object{Kind: auth.JobKind, Owner: name}); err != nil {
		return nil, err
	}
	if err := n.exists(r); err != nil {
		return nil, err
	}
	return n.spawner.of(name), nil
}

func (n notebookRoutes) status(w http.ResponseWriter, r *http.Request) error {
	p, err := n.managed(r)
	if err != nil {
		return err
	}
	st, err := n.spawner.status(r.Context(), p)
	if err != nil {
		return err
	}
	return api.WriteJSON(w, http.StatusOK, st)
}

func (n notebookRoutes) stop(w http.ResponseWriter, r *http.Request) error {
	p, err := n.managed(r)
	if err != nil {
		return err
	}
	back, err := p.hold(r.Context())
	if err != nil {
		return err
	}
	defer back()
	u, _ := auth.UserFrom(r.Context())
	if err := n.spawner.end(r.Context(), p, u.Name+" stopped it"); err != nil {
		return err
	}
	n.spawner.log.LogAttrs(r.Context(), slog.LevelInfo, "notebook server stopped", slog.String("user", p.user), slog.String("by", u.Name))
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// readAsked reads what is asked of a server; no body asks for nothing.
func readAsked(r *http.Request, v any) error {
	if r.ContentLength == 0 {
		return nil
	}
	return api.ReadJSON(r, v)
}

func (n notebookRoutes) start(w http.ResponseWriter, r *http.Request) error {
	name, err := n.own(r)
	if err != nil {
		return err
	}
	var ask serverRequest
	if err := readAsked(r, &ask); err != nil {
		return err
	}
	if err := n.spawner.begin(r.Context(), name, ask); err != nil {
		return err
	}
	st, err := n.spawner.status(r.Context(), n.spawner.of(name))
	if err != nil {
		return err
	}
	return api.WriteJSON(w, http.StatusOK, st)
}

// restarted is what came of a restart.
type restarted struct {
	KernelsEnded int            `json:"kernelsEnded"` // with their variables
	Message      string         `json:"message"`
	Server       notebookStatus `json:"server"`
}

func (n notebookRoutes) restart(w http.ResponseWriter, r *http.Request) error {
	name, err := n.own(r)
	if err != nil {
		return err
	}
	var ask serverRequest
	if err := readAsked(r, &ask); err != nil {
		return err
	}
	kernels, err := n.spawner.again(r.Context(), name, ask)
	if err != nil {
		return err
	}
	out := restarted{KernelsEnded: kernels, Message: kernelsEnded(kernels)}
	if out.Server, err = n.spawner.status(r.Context(), n.spawner.of(name)); err != nil {
		return err
	}
	return api.WriteJSON(w, http.StatusOK, out)
}

// kernelsEnded says what a restart cost.
func kernelsEnded(n int) string {
	switch n {
	case 0:
		return "What was open is saved. No kernel ran."
	case 1:
		return "What was open is saved. 1 kernel ended, and its variables are gone: run its cells again."
	}
	return fmt.Sprintf("What was open is saved. %d kernels ended, and their variables are gone: run their cells again.", n)
}

type extendRequest struct {
	Minutes int64 `json:"minutes"` // 1 to 1440; 0 is 60
}

func (q extendRequest) duration() (time.Duration, error) {
	if q.Minutes == 0 {
		q.Minutes = 60
	}
	if q.Minutes < 0 || q.Minutes > int64(maxExtend/time.Minute) {
		return 0, problem.New(problem.Invalid, "minutes: want 1 to %d", int64(maxExtend/time.Minute))
	}
	return time.Duration(q.Minutes) * time.Minute, nil
}

func (n notebookRoutes) extend(w http.ResponseWriter, r *http.Request) error {
	p, err := n.managed(r)
	if err != nil {
		return err
	}
	var ask extendRequest
	if err := readAsked(r, &ask); err != nil {
		return err
	}
	d, err := ask.duration()
	if err != nil {
		return err
	}
	a, err := n.spawner.extend(r.Context(), p, d)
	if err != nil {
		return err
	}
	return api.WriteJSON(w, http.StatusOK, a)
}

// events sends how a server is, at once and when it has changed.
func (n notebookRoutes) events(w http.ResponseWriter, r *http.Request) error {
	p, err := n.managed(r)
	if err != nil {
		return err
	}
	ctx, cancel := n.rt.Streaming(r.Context())
	defer cancel()
	stream := api.NewEventStream(w)
	defer stream.Close()
	tick := time.NewTicker(statusEvery)
	defer tick.Stop()
	var last []byte
	for {
		news := p.changed()
		st, err := n.spawner.status(ctx, p)
		if err == nil {
			data, err := json.Marshal(st)
			if err == nil && !bytes.Equal(data, last) {
				if stream.Send("", "server", data) != nil {
					return nil // whoever watched is gone
				}
				last = data
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-news:
		case <-tick.C:
		}
	}
}

// statusEvery is how often a server is looked at while somebody watches.
const statusEvery = time.Second

// home leads to the editor.
func (n notebookRoutes) home(w http.ResponseWriter, r *http.Request) error {
	name, err := n.own(r)
	if err != nil || n.exchange(w, r) {
		return err
	}
	http.Redirect(w, r, n.rt.URL("/user/"+name+"/lab"), http.StatusSeeOther)
	return nil
}

// loginPage leads to the platform's, with the cookie that Jupyter's clients prove
// themselves with. Programs look for the cookie in an answer that is no redirect.
func (n notebookRoutes) loginPage(w http.ResponseWriter, r *http.Request) error {
	n.giveXSRF(w, r)
	if !strings.Contains(r.Header.Get("Accept"), "text/html") {
		return api.WriteJSON(w, http.StatusOK, map[string]string{"message": "POST the access token here as password"})
	}
	http.Redirect(w, r, n.rt.URL("/login")+"?next="+url.QueryEscape(n.rt.URL("/user/"+url.PathEscape(r.PathValue("user"))+"/")), http.StatusFound)
	return nil
}

// login is Jupyter's form, as VS Code sends it.
func (n notebookRoutes) login(w http.ResponseWriter, r *http.Request) error {
	if err := r.ParseForm(); err != nil {
		return problem.WrapAs(problem.Invalid, err, "reading the form")
	}
	secret, _, err := n.sessions.SignIn(r.Context(), strings.TrimSpace(r.PostForm.Get("password")))
	if err != nil {
		return err
	}
	n.rt.SetSession(w, secret)
	http.Redirect(w, r, n.rt.SafeNext(r.PostForm.Get("next")), http.StatusFound)
	return nil
}

// version answers as every notebook server does, and starts none.
func (n notebookRoutes) version(w http.ResponseWriter, _ *http.Request) error {
	return api.WriteJSON(w, http.StatusOK, map[string]string{"version": jupyter.ProtocolVersion})
}

func (n notebookRoutes) logout(w http.ResponseWriter, r *http.Request) error {
	if _, err := n.own(r); err != nil {
		return err
	}
	if c, err := r.Cookie(n.rt.CookieName()); err == nil {
		if err := n.sessions.SignOut(r.Context(), c.Value); err != nil {
			return err
		}
	}
	n.rt.SetSession(w, "")
	http.Redirect(w, r, n.rt.URL("/login"), http.StatusFound)
	return nil
}

// giveXSRF gives the cookie that Jupyter's clients prove themselves with to who
// has none.
func (n notebookRoutes) giveXSRF(w http.ResponseWriter, r *http.Request) {
	if c, err := r.Cookie(api.XSRFCookie); err != nil || len(c.Value) < 16 {
		http.SetCookie(w, &http.Cookie{
			Name: api.XSRFCookie, Value: rand.Text(), Path: n.rt.URL("/user/" + url.PathEscape(r.PathValue("user")) + "/"), SameSite: http.SameSiteLaxMode,
		})
	}
}

// exchange makes a token in a page's address a cookie, and reports whether it
// answered with a redirect.
func (n notebookRoutes) exchange(w http.ResponseWriter, r *http.Request) bool {
	n.giveXSRF(w, r)
	query := r.URL.Query()
	token := query.Get("token")
	if token == "" {
		return false
	}
	query.Del("token")
	if secret, _, err := n.sessions.SignIn(r.Context(), token); err == nil {
		n.rt.SetSession(w, secret)
	}
	to := url.URL{Path: r.URL.Path, RawPath: r.URL.RawPath, RawQuery: query.Encode()}
	http.Redirect(w, r, to.String(), http.StatusSeeOther)
	return true
}

// page is a page of the notebook server. Who looks at it in a browser sees how the
// start goes, where that takes long.
func (n notebookRoutes) page(w http.ResponseWriter, r *http.Request) error {
	name, err := n.own(r)
	if err != nil || n.exchange(w, r) {
		return err
	}
	if !strings.Contains(r.Header.Get("Accept"), "text/html") {
		return n.pass(w, r)
	}
	p, err := n.spawner.soon(r.Context(), name)
	if err != nil {
		return err
	}
	if p == nil {
		http.Redirect(w, r, n.rt.URL("/compute/starting")+"?next="+url.QueryEscape(r.URL.RequestURI()), http.StatusSeeOther)
		return nil
	}
	return n.handOn(w, r, name, p)
}

// pass hands a request on to the person's notebook server, with that server's
// secret instead of ours.
func (n notebookRoutes) pass(w http.ResponseWriter, r *http.Request) error {
	name, err := n.own(r)
	if err != nil {
		return err
	}
	p, err := n.spawner.ready(r.Context(), name)
	if err != nil {
		return err
	}
	return n.handOn(w, r, name, p)
}

// endLimit is how long a server that was killed may still take connections.
const endLimit = 5 * time.Second

// handOn hands a request on to a person's server. What only asks is asked once
// more where that server was just ending, of the one that comes after it.
func (n notebookRoutes) handOn(w http.ResponseWriter, r *http.Request, name string, p *personal) error {
	ctx := r.Context()
	for deadline := time.Now().Add(endLimit); ; {
		err := n.proxy(w, r, p)
		if err == nil || (r.Method != http.MethodGet && r.Method != http.MethodHead) || ctx.Err() != nil || time.Now().After(deadline) {
			return err
		}
		select {
		case <-ctx.Done():
		case <-time.After(lookEvery):
		}
		if p, err = n.spawner.ready(ctx, name); err != nil {
			return err
		}
	}
}

// proxy hands a request on to a server.
func (n notebookRoutes) proxy(w http.ResponseWriter, r *http.Request, p *personal) error {
	ctx, cancel := n.rt.Streaming(r.Context())
	defer cancel()
	var failed error
	proxy := httputil.ReverseProxy{
		Transport: p.client.Transport, FlushInterval: -1, Rewrite: p.rewrite,
		ModifyResponse: func(res *http.Response) error { cleanAnswer(w.Header(), res.Header); return nil },
		ErrorHandler:   func(_ http.ResponseWriter, _ *http.Request, err error) { failed = err },
		ErrorLog:       slog.NewLogLogger(n.spawner.log.Handler(), slog.LevelDebug),
	}
	proxy.ServeHTTP(w, r.WithContext(ctx))
	if failed != nil && r.Context().Err() == nil {
		return problem.WrapAs(problem.Unavailable, failed, "asking your notebook server: it may just have ended, try again")
	}
	return nil
}

// rewrite takes what is the platform's secret out of a request and puts in what
// the notebook server wants. The path is the same on both.
func (p *personal) rewrite(pr *httputil.ProxyRequest) {
	out := pr.Out
	out.URL.Scheme, out.URL.Host, out.Host = "http", socketHost, socketHost
	for _, name := range []string{"Cookie", "Authorization", "X-Xsrftoken", "Origin", "Referer"} {
		out.Header.Del(name)
	}
	if query := out.URL.Query(); query.Has("token") {
		query.Del("token")
		out.URL.RawQuery = query.Encode()
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	out.Header.Set("Authorization", "token "+p.secret)
}

// cleanAnswer makes the headers of the notebook server's answer fit for ours:
// it decides what a page of its own may load, and nothing else of what keeps
// people apart; it sets no cookies.
func cleanAnswer(ours, theirs http.Header) {
	theirs.Del("Set-Cookie")
	theirs.Del("Set-Cookie2")
	theirs.Del("Clear-Site-Data")
	for name := range ours {
		switch name {
		case "Content-Security-Policy", "Cross-Origin-Resource-Policy":
			if theirs.Get(name) != "" {
				ours.Del(name)
			}
		case "Set-Cookie":
		default:
			theirs.Del(name)
		}
	}
}

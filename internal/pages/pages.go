// Package pages is what a person sees in a browser: workspaces, notebooks,
// runs. Pages are complete without script; the little script there is only
// keeps them up to date.
package pages

import (
	"bytes"
	"compress/gzip"
	"embed"
	"fmt"
	"html/template"
	"io"
	"net/http"
	"net/url"
	"path"
	"strings"
	"sync"
	"time"

	"quire/internal/api"
	"quire/internal/auth"
	"quire/internal/compute"
	"quire/internal/contents"
	"quire/internal/job"
	"quire/internal/nbtemplate"
	"quire/internal/problem"
	"quire/internal/query"
	"quire/internal/run"
	"quire/internal/schedule"
	"quire/internal/search"
	"quire/internal/secret"
	"quire/internal/viewer"
)

//go:embed template/*.html
var templateFiles embed.FS

//go:embed static
var staticFiles embed.FS

// A Config is what the pages need.
type Config struct {
	Volume   *contents.Volume
	Runs     *run.Runs
	Sessions *auth.Sessions
	Search   *search.Index
	// Secrets are those of people; nil has none.
	Secrets *secret.Secrets
	// Templates are what is published; without them there are no pages of it.
	Templates *nbtemplate.Templates
	// Schedules are what fires by itself; without them there are no pages of it.
	Schedules *schedule.Schedules
	// Jobs are the containers; without them the pages of containers say so.
	Jobs *job.Jobs
	// Queries are the ways to data; without them the pages of data say so.
	Queries *query.Gateway
	// Servers are people's notebook servers; nil is none.
	Servers Servers
	Version string
	// Elsewhere is where people sign in besides; nil is nowhere.
	Elsewhere *Elsewhere
	// Notebooks says that people have notebook servers, which the editor needs.
	Notebooks bool
	// Lab reports whether these have JupyterLab to show; nil is no.
	Lab func() bool
	// QuotaBytes is how much a workspace may hold; 0 is no limit.
	QuotaBytes int64
	Now        func() time.Time // time.Now when nil
}

type site struct {
	cfg   Config
	rt    *api.Router
	cache *viewer.Cache

	covers covers
}

// maxUpload is the largest form with files that is taken, in bytes.
const maxUpload = 1 << 30

// Register adds the pages to the router.
func Register(rt *api.Router, cfg Config) {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	s := &site{cfg: cfg, rt: rt, cache: viewer.NewCache(16 << 20)}
	page := api.Policy{Access: api.SignedIn, Page: true}
	form := api.Policy{Access: api.SignedIn, Page: true, MaxBody: 2 << 20}
	public := api.Policy{Access: api.Public, Page: true}
	rt.Handle("GET /{$}", public, s.home)
	rt.Handle("GET /login", public, s.loginPage)
	rt.Handle("POST /login", public, s.login)
	if cfg.Elsewhere != nil {
		rt.Handle("GET /login/elsewhere", public, s.goElsewhere)
		rt.Handle("GET /login/back", public, s.back)
	}
	rt.Handle("POST /logout", page, s.logout)
	rt.Handle("GET /static/{name}", api.Policy{Access: api.Public}, s.static)
	s.registerPeople(rt)
	s.registerJobs(rt)
	s.registerRender(rt)
	s.registerInspect(rt)
	// Files.
	rt.Handle("GET /view/{path...}", page, s.view)
	rt.Handle("GET /frame/{path...}", page, s.frame)
	rt.Handle("GET /output/{path...}", page, s.output)
	rt.Handle("GET /versions/{path...}", page, s.versions)
	rt.Handle("POST /versions/{path...}", page, s.restoreVersion)
	rt.Handle("GET /trash/{path...}", page, s.trash)
	rt.Handle("POST /trash/{path...}", page, s.restore)
	rt.Handle("POST /new/{path...}", page, s.create)
	rt.Handle("POST /upload/{path...}", api.Policy{Access: api.SignedIn, Page: true, MaxBody: maxUpload}, s.upload)
	rt.Handle("GET /rename/{path...}", page, s.renameForm)
	rt.Handle("POST /rename/{path...}", page, s.rename)
	rt.Handle("POST /delete/{path...}", page, s.remove)
	rt.Handle("POST /duplicate/{path...}", page, s.duplicate)
	rt.Handle("POST /clone/{path...}", page, s.clone)
	rt.Handle("GET /diff", page, s.diff)
	rt.Handle("GET /search", page, s.search)
	rt.Handle("GET /discover", page, s.discover)
	// Runs.
	rt.Handle("GET /run/{path...}", page, s.runForm)
	rt.Handle("POST /run/{path...}", form, s.submit)
	rt.Handle("GET /runs", page, s.runs)
	rt.Handle("GET /runs/{id}", page, s.run)
	rt.Handle("GET /runs/{id}/timeline", page, s.timeline)
	rt.Handle("GET /runs/{id}/compute", page, s.usage)
	rt.Handle("GET /runs/{id}/log", page, s.log)
	rt.Handle("GET /runs/{id}/attempts", page, s.attempts)
	rt.Handle("GET /runs/{id}/cells/{index}", page, s.runCell)
	rt.Handle("GET /runs/{id}/frame", page, s.runFrame)
	rt.Handle("GET /runs/{id}/output", page, s.runOutput)
	rt.Handle("POST /runs/{id}/clone", page, s.cloneRun)
	rt.Handle("POST /runs/{id}/cancel", page, s.cancel)
	rt.Handle("POST /runs/{id}/retry", page, s.retry)
	if cfg.Templates != nil {
		s.registerTemplates(rt)
	}
	if cfg.Schedules != nil {
		s.registerSchedules(rt)
	}
	s.registerData(rt)
	rt.Handle("GET /lineage", page, s.lineage)
	rt.Handle("GET /edit/{path...}", page, s.edit)
	rt.Handle("GET /static/app/{path...}", api.Policy{Access: api.Public}, s.app)
}

// A view is what every template gets.
type view struct {
	Title   string
	User    auth.User
	Section string // which entry of the navigation is current: files, shared, people, discover, search, runs
	Crumbs  []crumb
	Class   string // of the body
	Now     time.Time
	Policy  string // the page's Content-Security-Policy, when it is not csp
	Data    any
}

type crumb struct{ Name, URL string }

// crumbs leads from the root to path.
func (s *site) crumbs(p string) []crumb {
	if name, ok := s.templateName(p); ok {
		return []crumb{{"Templates", s.to("/templates")}, {name, s.to("/templates/") + name}}
	}
	list := []crumb{{"Workspaces", s.to("/view/")}}
	at := ""
	for name := range strings.SplitSeq(p, "/") {
		if name == "" {
			continue
		}
		at = strings.TrimPrefix(at+"/"+name, "/")
		list = append(list, crumb{name, s.to("/view/") + escapePath(at)})
	}
	return list
}

// escapePath escapes each name of a slash path for a URL.
func escapePath(p string) string {
	names := strings.Split(p, "/")
	for i, name := range names {
		names[i] = url.PathEscape(name)
	}
	return strings.Join(names, "/")
}

var funcs = template.FuncMap{
	"ago":       ago,
	"dataURL":   dataURL,
	"selectURL": selectURL,
	"stamp":     func(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 UTC") },
	"iso":       func(t time.Time) string { return t.UTC().Format(time.RFC3339) },
	"bytes":     byteSize,
	"escape":    escapePath,
	"duration":  duration,
	"sign":      sign,
	"word":      word,
	"class":     class,
	"runState":  func(s query.State) run.State { return run.State(s) }, // the same words
	"base":      path.Base,
	"micros":    func(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000000Z") },
	"clock":     func(t time.Time) string { return t.UTC().Format("15:04:05.000") },
	"short":     short,
	"plus":      func(a, b int) int { return a + b },
	"marked":    marked,
	"cover":     cover,
	"slashed":   func(u template.URL) bool { return strings.HasPrefix(string(u), "/") },
	"figure":    figure,
	"numeric":   numeric,
	"inc":       func(n int) int { return n + 1 },
	"fireSign":  fireSign,
	"fireClass": func(s schedule.State) string { return class(fireState(s)) },
	"fireWord":  fireWord,
	"laneWord":  laneWord,
	"strategy":  strategyWords,
	"catchUp":   catchUpWords,
	"deed":      deed,
	"shortLock": schedule.ShortLock,
	"bound":     run.BoundWords,
	"size":      compute.FormatBytes,
	"measured":  compute.FormatMeasured,
	"coarse":    coarse,
	"phases":    phaseLines,
	"cpu":       compute.FormatCPU,
}

// A look is the templates for a server whose pages are under a base path.
type look map[string]*template.Template

// looks are parsed when the first page is shown: most commands show none.
var looks sync.Map // base path -> func() look

func lookOf(base string) look {
	parse, _ := looks.LoadOrStore(base, sync.OnceValue(func() look { return parseLook(base) }))
	return parse.(func() look)() //nolint:forcetypeassert // nothing else is stored
}

func parseLook(base string) look {
	links := template.FuncMap{
		"root":   func() string { return base },
		"style":  func() string { return base + "/static/" + viewer.StylesheetName() },
		"app":    func(name string) string { return appURL(base, name) },
		"hitURL": func(h search.Hit) string { return base + hitPath(h) },
	}
	all := look{}
	all["edit"] = template.Must(template.New("edit.html").Funcs(funcs).Funcs(links).ParseFS(templateFiles, "template/edit.html"))
	for _, name := range []string{
		"login", "account", "people", "workspace", "rename", "trash",
		"versions", "diff", "runform", "runs", "run", "error",
		"stream", "search", "discover", "data", "table", "query", "schedules", "schedule", "scheduleform",
		"compute", "job", "launch", "templates", "template", "publish",
		"sweep", "coming", "lineage", "starting",
	} {
		all[name] = template.Must(template.New("layout.html").Funcs(funcs).Funcs(links).ParseFS(templateFiles, "template/layout.html", "template/"+name+".html"))
	}
	return all
}

// to is the address of a path of this server: every link of a page and every
// redirect is made by it, or by root in the templates.
func (s *site) to(path string) string { return s.rt.URL(path) }

func (s *site) look() look { return lookOf(s.rt.URL("")) }

// csp is the policy of every page but the frames.
const csp = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; " +
	"frame-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

// setHeader sets what every page is sent with. Forms say which page they come
// from by Origin, which a browser empties under no-referrer even for a page of
// ours: so the address goes along within this server, and nowhere else. An
// address with the access token in it goes nowhere at all.
func setHeader(h http.Header, r *http.Request) {
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", csp)
	h.Set("Cache-Control", "no-store")
	if !r.URL.Query().Has("token") {
		h.Set("Referrer-Policy", "same-origin")
	}
}

// show renders a page, wholly or not at all.
func (s *site) show(w http.ResponseWriter, r *http.Request, status int, name string, v view) error {
	return render(w, r, s.look(), status, name, v, s.cfg.Now())
}

func render(w http.ResponseWriter, r *http.Request, look look, status int, name string, v view, now time.Time) error {
	v.User, _ = auth.UserFrom(r.Context())
	v.Now = now
	var b bytes.Buffer
	if err := look[name].Execute(&b, v); err != nil {
		return fmt.Errorf("rendering the page %s: %w", name, err)
	}
	setHeader(w.Header(), r)
	if v.Policy != "" {
		w.Header().Set("Content-Security-Policy", v.Policy)
	}
	w.WriteHeader(status)
	_, err := b.WriteTo(w)
	return err
}

// ErrorPage returns what shows an error to a person: what failed, why, and what
// to do. base is the path that all pages are under.
func ErrorPage(base string) func(w http.ResponseWriter, r *http.Request, status int, err error) {
	return func(w http.ResponseWriter, r *http.Request, status int, err error) {
		v := view{Title: http.StatusText(status), Data: map[string]any{
			"Status": status, "Title": http.StatusText(status), "Text": text(err), "ID": api.RequestID(r.Context()),
		}}
		if render(w, r, lookOf(base), status, "error", v, time.Now()) != nil {
			http.Error(w, api.ErrorText(err), status)
		}
	}
}

// text is what a person may see of an error.
func text(err error) string { return api.ErrorText(err) }

// user is who asks; the policies see to it that somebody does.
func user(r *http.Request) auth.User {
	u, _ := auth.UserFrom(r.Context())
	return u
}

// home sends a person to their workspace. The address that the server prints
// at its start carries the access token: it becomes a session, and leaves the
// address bar.
func (s *site) home(w http.ResponseWriter, r *http.Request) error {
	if token := r.URL.Query().Get("token"); token != "" {
		secret, _, err := s.cfg.Sessions.SignIn(r.Context(), token)
		if err != nil {
			return err
		}
		s.rt.SetSession(w, secret)
		http.Redirect(w, r, s.to("/"), http.StatusSeeOther)
		return nil
	}
	u := user(r)
	if u.Name == "" {
		http.Redirect(w, r, s.to("/login"), http.StatusSeeOther)
		return nil
	}
	http.Redirect(w, r, s.to("/view/users/")+u.Name, http.StatusSeeOther)
	return nil
}

func (s *site) loginPage(w http.ResponseWriter, r *http.Request) error {
	return s.showLogin(w, r, http.StatusOK, map[string]any{"Next": s.rt.SafeNext(r.URL.Query().Get("next"))})
}

func (s *site) showLogin(w http.ResponseWriter, r *http.Request, status int, data map[string]any) error {
	if s.cfg.Elsewhere != nil {
		data["Elsewhere"] = s.cfg.Elsewhere.Name()
	}
	return s.show(w, r, status, "login", view{Title: "Sign in", Data: data})
}

func (s *site) login(w http.ResponseWriter, r *http.Request) error {
	if err := r.ParseForm(); err != nil {
		return problem.WrapAs(problem.Invalid, err, "reading the form")
	}
	next := s.rt.SafeNext(r.PostForm.Get("next"))
	secret, _, err := s.cfg.Sessions.SignIn(r.Context(), strings.TrimSpace(r.PostForm.Get("token")))
	if err != nil {
		return s.showLogin(w, r, http.StatusForbidden, map[string]any{
			"Next": next, "Error": "That is not an access token of this server.",
		})
	}
	s.rt.SetSession(w, secret)
	http.Redirect(w, r, next, http.StatusSeeOther)
	return nil
}

func (s *site) logout(w http.ResponseWriter, r *http.Request) error {
	if c, err := r.Cookie(s.rt.CookieName()); err == nil {
		if err := s.cfg.Sessions.SignOut(r.Context(), c.Value); err != nil {
			return err
		}
	}
	s.rt.SetSession(w, "")
	http.Redirect(w, r, s.to("/login"), http.StatusSeeOther)
	return nil
}

// drawScript sends a script of frames. Frames have no origin: to them this is
// another site's, which the policy of the resource must allow.
func drawScript(w http.ResponseWriter, r *http.Request, name string) error {
	packed, err := viewer.DrawScript(name)
	if err != nil {
		return err
	}
	h := w.Header()
	h.Set("Content-Type", "text/javascript; charset=utf-8")
	h.Set("Cross-Origin-Resource-Policy", "cross-origin")
	h.Set("Vary", "Accept-Encoding")
	if strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
		h.Set("Content-Encoding", "gzip")
		_, err = w.Write(packed)
		return err
	}
	plain, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		return problem.WrapAs(problem.Internal, err, "opening %s", name)
	}
	_, err = io.Copy(w, io.LimitReader(plain, 8<<20))
	return problem.Wrap(err, "sending %s", name)
}

func (s *site) static(w http.ResponseWriter, r *http.Request) error {
	name := r.PathValue("name")
	h := w.Header()
	h.Set("Cache-Control", "public, max-age=31536000, immutable")
	switch {
	case name == viewer.StylesheetName():
		h.Set("Content-Type", "text/css; charset=utf-8")
		_, err := w.Write([]byte(viewer.Stylesheet()))
		return err
	case strings.HasSuffix(name, ".js") && strings.Count(name, ".") == 2:
		return drawScript(w, r, name)
	case strings.HasSuffix(name, ".js"):
		h.Set("Content-Type", "text/javascript; charset=utf-8")
	case strings.HasSuffix(name, ".svg"):
		h.Set("Content-Type", "image/svg+xml")
	case strings.HasSuffix(name, ".css"):
		h.Set("Content-Type", "text/css; charset=utf-8")
	default:
		return problem.New(problem.NotFound, "no such file")
	}
	data, err := staticFiles.ReadFile("static/" + path.Base(name))
	if err != nil {
		return problem.New(problem.NotFound, "no such file")
	}
	h.Set("Cache-Control", "no-cache")
	_, err = w.Write(data)
	return err
}

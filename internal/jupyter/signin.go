package jupyter

import (
	"crypto/rand"
	"fmt"
	"html"
	"net/http"
	"net/url"
	"strings"

	"quire/internal/api"
	"quire/internal/problem"
)

// pageCSP is the policy of our own pages: no script, nothing from elsewhere.
const pageCSP = "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; base-uri 'none'; frame-ancestors 'self'"

// registerSignIn adds the pages on which a person signs in, and the first page.
func (s *Server) registerSignIn(rt *api.Router) {
	open := api.Policy{Access: api.Public, QueryToken: true, Page: true}
	rt.Handle("GET /{$}", open, s.entered(rt, s.home))
	rt.Handle("GET /tree/{path...}", open, s.entered(rt, s.home))
	rt.Handle("GET /login", open, s.entered(rt, s.loginPage))
	form := open
	form.Proves = true
	rt.Handle("POST /login", form, func(w http.ResponseWriter, r *http.Request) error { return s.login(rt, w, r) })
	rt.Handle("GET /logout", open, func(w http.ResponseWriter, r *http.Request) error { return s.logout(rt, w, r) })
	signedIn := api.Policy{Access: api.SignedIn, QueryToken: true, Page: true}
	for _, r := range s.labPages() {
		rt.Handle(r.pattern, signedIn, s.entered(rt, s.counted(r)))
	}
}

// entered exchanges a token in a page's address for a cookie, and gives every
// page's visitor the cookie that Jupyter's clients prove themselves with.
func (s *Server) entered(rt *api.Router, next api.Handler) api.Handler {
	return func(w http.ResponseWriter, r *http.Request) error {
		if c, err := r.Cookie(api.XSRFCookie); err != nil || len(c.Value) < 16 {
			http.SetCookie(w, &http.Cookie{Name: api.XSRFCookie, Value: rand.Text(), Path: s.cfg.Base + "/", SameSite: http.SameSiteLaxMode})
		}
		query := r.URL.Query()
		token := query.Get("token")
		if token == "" {
			return next(w, r)
		}
		secret, _, err := s.cfg.Sessions.SignIn(r.Context(), token)
		if err != nil {
			return err
		}
		rt.SetSession(w, secret)
		query.Del("token")
		to := url.URL{Path: r.URL.Path, RawQuery: query.Encode()}
		http.Redirect(w, r, to.String(), http.StatusSeeOther)
		return nil
	}
}

// home sends who is signed in to JupyterLab where it is installed.
func (s *Server) home(w http.ResponseWriter, r *http.Request) error {
	if _, ok := userOf(r); !ok {
		http.Redirect(w, r, s.cfg.Base+"/login", http.StatusSeeOther)
		return nil
	}
	if s.cfg.Lab != "" {
		http.Redirect(w, r, s.cfg.Base+"/lab", http.StatusSeeOther)
		return nil
	}
	return writePage(w, http.StatusOK, "Notebook server", `<p>This is a Jupyter server for one folder. Open its address in JupyterLab, VS Code or
any other Jupyter client.</p><p>When JupyterLab is installed beside the kernels (<code>pip install jupyterlab</code>), it opens here.</p>`)
}

func (s *Server) loginPage(w http.ResponseWriter, r *http.Request) error {
	return s.showLogin(w, r, http.StatusOK, r.URL.Query().Get("next"), "")
}

func (s *Server) showLogin(w http.ResponseWriter, _ *http.Request, status int, next, wrong string) error {
	if wrong != "" {
		wrong = `<p role="alert">` + html.EscapeString(wrong) + `</p>`
	}
	return writePage(w, status, "Sign in", fmt.Sprintf(`%s<form method="post" action="%s/login">
<p><label for="password">Access token</label><br><input id="password" name="password" type="password" autocomplete="current-password" required autofocus></p>
<input type="hidden" name="next" value="%s"><p><button>Sign in</button></p></form>
<p>The token is in the address that the server printed when it started.</p>`,
		wrong, html.EscapeString(s.cfg.Base), html.EscapeString(api.SafeNext(next))))
}

func (s *Server) login(rt *api.Router, w http.ResponseWriter, r *http.Request) error {
	if err := r.ParseForm(); err != nil {
		return problem.WrapAs(problem.Invalid, err, "reading the form")
	}
	next := r.PostForm.Get("next")
	if next == "" {
		next = r.URL.Query().Get("next")
	}
	next = api.SafeNext(next)
	if next == "/" {
		next = s.cfg.Base + "/"
	}
	secret, _, err := s.cfg.Sessions.SignIn(r.Context(), strings.TrimSpace(r.PostForm.Get("password")))
	if problem.Is(err, problem.Denied) {
		return s.showLogin(w, r, http.StatusForbidden, next, "That is not an access token of this server.")
	}
	if err != nil {
		return err
	}
	rt.SetSession(w, secret)
	http.Redirect(w, r, next, http.StatusFound)
	return nil
}

func (s *Server) logout(rt *api.Router, w http.ResponseWriter, r *http.Request) error {
	if c, err := r.Cookie(rt.CookieName()); err == nil {
		if err := s.cfg.Sessions.SignOut(r.Context(), c.Value); err != nil {
			return err
		}
	}
	rt.SetSession(w, "")
	http.Redirect(w, r, s.cfg.Base+"/login", http.StatusFound)
	return nil
}

// writePage answers with a small page. title and body are ours.
func writePage(w http.ResponseWriter, status int, title, body string) error {
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", pageCSP)
	h.Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, err := fmt.Fprintf(w, `<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>%s - Quire</title><style>body{font:1rem/1.5 system-ui,sans-serif;max-width:32rem;margin:4rem auto;padding:0 1rem}
input,button{font:inherit;padding:.4rem .6rem}@media(prefers-color-scheme:dark){body{background:#181a1d;color:#e6e6e6}}</style>
</head><body><main><h1>%s</h1>%s</main></body></html>
`, title, title, body)
	return err
}

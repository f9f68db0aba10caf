package pages

import (
	"encoding/base64"
	"net/http"
	"strings"

	"quire/internal/auth"
	"quire/internal/problem"
)

// Elsewhere is where people sign in who have no token.
type Elsewhere struct {
	auth.Elsewhere
	// Join lets in who has no workspace yet: they get one.
	Join bool
	// AddWorkspace makes the workspace of a new user.
	AddWorkspace func(user string) error
}

// keepCookie holds what a browser keeps while its person is elsewhere, and where
// they want to go then; for ten minutes.
const keepCookie = "quire-elsewhere"

func (s *site) setKeep(w http.ResponseWriter, value string, seconds int) {
	http.SetCookie(w, &http.Cookie{
		Name: keepCookie, Value: value, Path: s.to("/login"), HttpOnly: true, SameSite: http.SameSiteLaxMode,
		Secure: s.rt.Secure(), MaxAge: seconds,
	})
}

// comeBack is the address that the provider sends people back to. The host is
// one of the server's own: the router has seen to it.
func (s *site) comeBack(r *http.Request) string {
	scheme := "http://"
	if s.rt.Secure() {
		scheme = "https://"
	}
	return scheme + r.Host + s.to("/login/back")
}

// goElsewhere sends a browser to where its person signs in.
func (s *site) goElsewhere(w http.ResponseWriter, r *http.Request) error {
	address, keep, err := s.cfg.Elsewhere.Begin(r.Context(), s.comeBack(r))
	if err != nil {
		return s.notIn(w, r, err)
	}
	next := base64.RawURLEncoding.EncodeToString([]byte(s.rt.SafeNext(r.URL.Query().Get("next"))))
	s.setKeep(w, keep+"."+next, 600)
	http.Redirect(w, r, address, http.StatusSeeOther)
	return nil
}

// back takes a person in who was elsewhere.
func (s *site) back(w http.ResponseWriter, r *http.Request) error {
	keep, next := "", ""
	if c, err := r.Cookie(keepCookie); err == nil {
		keep, next, _ = strings.Cut(c.Value, ".")
	}
	s.setKeep(w, "", -1)
	secret, err := s.takeIn(r, keep)
	if err != nil {
		return s.notIn(w, r, err)
	}
	s.rt.SetSession(w, secret)
	path, _ := base64.RawURLEncoding.DecodeString(next)
	http.Redirect(w, r, s.rt.SafeNext(string(path)), http.StatusSeeOther)
	return nil
}

func (s *site) takeIn(r *http.Request, keep string) (secret string, err error) {
	e := s.cfg.Elsewhere
	who, err := e.Finish(r.Context(), s.comeBack(r), keep, r.URL.Query())
	if err != nil {
		return "", err
	}
	secret, u, made, err := s.cfg.Sessions.Known(r.Context(), who, e.Join)
	if err == nil && made {
		err = problem.Wrap(e.AddWorkspace(u.Name), "making the workspace of %s", u.Name)
	}
	return secret, err
}

// notIn shows the form again, with the reason.
func (s *site) notIn(w http.ResponseWriter, r *http.Request, err error) error {
	if !problem.Is(err, problem.Denied) && !problem.Is(err, problem.Unavailable) {
		return err
	}
	status := http.StatusForbidden
	if problem.Is(err, problem.Unavailable) {
		status = http.StatusServiceUnavailable
	}
	return s.showLogin(w, r, status, map[string]any{"Next": s.rt.SafeNext(r.URL.Query().Get("next")), "Error": err.Error()})
}

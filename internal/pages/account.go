package pages

import (
	"net/http"
	"strconv"
	"strings"
	"time"

	"quire/internal/api"
	"quire/internal/auth"
	"quire/internal/problem"
)

// registerPeople adds the page of a person's own tokens, and for administrators
// that of all people.
func (s *site) registerPeople(rt *api.Router) {
	page := api.Policy{Access: api.SignedIn, Page: true}
	admin := api.Policy{Access: api.Admin, Page: true}
	rt.Handle("GET /account", page, s.account)
	rt.Handle("POST /account", page, s.changeAccount)
	rt.Handle("POST /account/secrets", page, s.changeSecrets)
	rt.Handle("GET /people", admin, s.people)
	rt.Handle("POST /people", admin, s.changePeople)
}

// tokenLives are the lives that the form offers, in days; 0 is for ever.
var tokenLives = []int{30, 90, 365, 0}

func (s *site) account(w http.ResponseWriter, r *http.Request) error {
	return s.showAccount(w, r, http.StatusOK, map[string]any{})
}

func (s *site) showAccount(w http.ResponseWriter, r *http.Request, status int, data map[string]any) error {
	tokens, err := s.cfg.Sessions.Tokens(r.Context(), user(r).Name)
	if err != nil {
		return err
	}
	if s.cfg.Secrets != nil {
		all, err := s.cfg.Secrets.List(r.Context(), user(r), "")
		if err != nil && !problem.Is(err, problem.Denied) {
			return err
		}
		data["Secrets"], data["HasSecrets"] = all, err == nil
	}
	data["Tokens"], data["Lives"], data["Admin"] = tokens, tokenLives, user(r).Admin
	w.Header().Set("Cache-Control", "no-store")
	return s.show(w, r, status, "account", view{Title: "Your account", Section: "account", Data: data})
}

// changeAccount makes or ends a token. The secret of a new one is shown in this
// one answer.
func (s *site) changeAccount(w http.ResponseWriter, r *http.Request) error {
	if err := readForm(r); err != nil {
		return err
	}
	if id := r.PostForm.Get("revoke"); id != "" {
		if err := s.cfg.Sessions.Revoke(r.Context(), user(r).Name, id); err != nil {
			return err
		}
		return s.redirect(w, r, s.to("/account"))
	}
	days, err := strconv.Atoi(r.PostForm.Get("days"))
	if err != nil || days < 0 || days > 3650 {
		return problem.New(problem.Invalid, "days: want 0, which is for ever, to 3650")
	}
	if err := auth.RefusePass(user(r), "no access token is made"); err != nil {
		return err
	}
	label := strings.TrimSpace(r.PostForm.Get("label"))
	secret, _, err := s.cfg.Sessions.NewToken(r.Context(), user(r), label, time.Duration(days)*24*time.Hour)
	if problem.Is(err, problem.Invalid) {
		return s.showAccount(w, r, http.StatusUnprocessableEntity, map[string]any{"Error": err.Error(), "Label": label})
	}
	if err != nil {
		return err
	}
	return s.showAccount(w, r, http.StatusOK, map[string]any{"Secret": secret, "Made": label})
}

func (s *site) people(w http.ResponseWriter, r *http.Request) error {
	return s.showPeople(w, r, http.StatusOK, map[string]any{"New": auth.User{}})
}

func (s *site) showPeople(w http.ResponseWriter, r *http.Request, status int, data map[string]any) error {
	all, err := s.cfg.Sessions.Store.Users(r.Context())
	if err != nil {
		return err
	}
	data["People"] = all
	return s.show(w, r, status, "people", view{Title: "People", Section: "people", Data: data})
}

// changePeople adds a user, or changes whether one may sign in.
func (s *site) changePeople(w http.ResponseWriter, r *http.Request) error {
	if err := readForm(r); err != nil {
		return err
	}
	f := r.PostForm
	name := f.Get("name")
	var err error
	switch f.Get("do") {
	case "add":
		u := auth.User{Name: strings.TrimSpace(name), DisplayName: strings.TrimSpace(f.Get("displayName")), Email: strings.TrimSpace(f.Get("email")), Admin: f.Get("admin") != ""}
		people := api.People{Sessions: s.cfg.Sessions, AddWorkspace: s.cfg.Volume.AddWorkspace}
		_, err = people.Add(r.Context(), u)
		if problem.Is(err, problem.Invalid) || problem.Is(err, problem.Exists) {
			return s.showPeople(w, r, http.StatusUnprocessableEntity, map[string]any{"New": u, "Error": err.Error()})
		}
	case "disable", "enable":
		var u auth.User
		if u, err = s.cfg.Sessions.Store.User(r.Context(), name); err == nil {
			u.Disabled = f.Get("do") == "disable"
			err = s.cfg.Sessions.Change(r.Context(), u)
		}
	case "token":
		return s.tokenFor(w, r, name)
	default:
		err = problem.New(problem.Invalid, "what is to be done is not said")
	}
	if err != nil {
		return err
	}
	return s.redirect(w, r, s.to("/people"))
}

// tokenFor makes a first token of somebody, for them to sign in with: it holds
// for a week.
func (s *site) tokenFor(w http.ResponseWriter, r *http.Request, name string) error {
	u, err := s.cfg.Sessions.Store.User(r.Context(), name)
	if err != nil {
		return err
	}
	secret, _, err := s.cfg.Sessions.NewToken(r.Context(), u, "made by "+user(r).Name, 7*24*time.Hour)
	if err != nil {
		return err
	}
	w.Header().Set("Cache-Control", "no-store")
	return s.showPeople(w, r, http.StatusOK, map[string]any{"New": auth.User{}, "Secret": secret, "For": u.Label()})
}

package api

import (
	"context"
	"net/http"
	"time"

	"quire/internal/auth"
	"quire/internal/problem"
)

// People is what the routes of users need.
type People struct {
	Sessions *auth.Sessions
	// AddWorkspace makes the workspace of a user; it may be there.
	AddWorkspace func(user string) error
	// Groups returns the groups of people that a user is in; nil is none.
	Groups func(ctx context.Context, user string) ([]string, error)
}

// A UserModel is a user as the API tells of one.
type UserModel struct {
	Name        string `json:"name"`
	DisplayName string `json:"displayName,omitempty"`
	Admin       bool   `json:"admin"`
	Email       string `json:"email,omitempty"` // told to administrators and to the user
	Disabled    bool   `json:"disabled,omitempty"`
	// Service is what a service identity of the configuration may do and who may use
	// it; left out for people.
	Service *auth.Service `json:"service,omitempty"`
	// Groups are told in the list, to administrators and to the user: they are the
	// configuration's.
	Groups []string `json:"groups,omitempty"`
}

// A UserChange is what is to be changed of a user; what is left out stays.
type UserChange struct {
	DisplayName *string `json:"displayName,omitempty"`
	Admin       *bool   `json:"admin,omitempty"`
	Email       *string `json:"email,omitempty"`
	Disabled    *bool   `json:"disabled,omitempty"`
}

// UserList is what GET /api/users answers.
type UserList struct {
	Users []UserModel `json:"users"`
}

// A TokenModel is an access token. The secret is there once, when it is made.
type TokenModel struct {
	ID      string    `json:"id"`
	Label   string    `json:"label"`
	Created time.Time `json:"created"`
	Expires time.Time `json:"expires,omitzero"` // left out: never
	Token   string    `json:"token,omitempty"`
}

// TokenList is what GET /api/users/{name}/tokens answers.
type TokenList struct {
	Tokens []TokenModel `json:"tokens"`
}

// A TokenRequest asks for a token.
type TokenRequest struct {
	Label            string `json:"label,omitempty"`            // what it is for
	ExpiresInSeconds int64  `json:"expiresInSeconds,omitempty"` // 0 or left out: never
}

// RegisterPeople adds the routes of users and their tokens under /api/users.
func RegisterPeople(rt *Router, p People) {
	signedIn := func(d Doc) Policy { return Policy{Access: SignedIn, Doc: d} }
	admin := func(d Doc) Policy { return Policy{Access: Admin, Doc: d} }
	rt.Handle("GET /api/users", signedIn(Doc{Summary: "Who has a workspace here, by name", Response: UserList{}}), p.list)
	rt.Handle("POST /api/users", admin(Doc{Summary: "Add a user, with a workspace", Request: UserModel{}, Response: UserModel{}, Status: http.StatusCreated}), p.add)
	rt.Handle("PATCH /api/users/{user}", admin(Doc{Summary: "Change a user. A disabled one is signed out everywhere; their files and schedules stay", Request: UserChange{}, Response: UserModel{}}), p.change)
	rt.Handle("GET /api/users/{user}/tokens", signedIn(Doc{Summary: "The access tokens of a user that hold, newest first", Response: TokenList{}}), p.tokens)
	rt.Handle("POST /api/users/{user}/tokens", signedIn(Doc{Summary: "Make an access token; its secret is shown this once", Request: TokenRequest{}, Response: TokenModel{}, Status: http.StatusCreated}), p.issue)
	rt.Handle("DELETE /api/users/{user}/tokens/{id}", signedIn(Doc{Summary: "End an access token", Status: http.StatusNoContent}), p.revoke)
}

func userModel(u auth.User, whole bool) UserModel {
	m := UserModel{Name: u.Name, DisplayName: u.DisplayName, Admin: u.Admin, Disabled: u.Disabled, Service: u.Service}
	if whole {
		m.Email = u.Email
	}
	return m
}

func (p People) list(w http.ResponseWriter, r *http.Request) error {
	all, err := p.Sessions.Store.Users(r.Context())
	if err != nil {
		return err
	}
	me, list := user(r), UserList{Users: make([]UserModel, 0, len(all))}
	for _, u := range all {
		whole := me.Admin || me.Name == u.Name
		m := userModel(u, whole)
		if whole && p.Groups != nil {
			if m.Groups, err = p.Groups(r.Context(), u.Name); err != nil {
				return err
			}
		}
		list.Users = append(list.Users, m)
	}
	return WriteJSON(w, http.StatusOK, list)
}

func (p People) add(w http.ResponseWriter, r *http.Request) error {
	var m UserModel
	if err := ReadJSON(r, &m); err != nil {
		return err
	}
	u, err := p.Add(r.Context(), auth.User{Name: m.Name, DisplayName: m.DisplayName, Admin: m.Admin, Email: m.Email, Disabled: m.Disabled})
	if err != nil {
		return err
	}
	return WriteJSON(w, http.StatusCreated, userModel(u, true))
}

// Add makes a user, with a workspace.
func (p People) Add(ctx context.Context, u auth.User) (auth.User, error) {
	if err := u.Validate(); err != nil {
		return u, err
	}
	_, err := p.Sessions.Store.User(ctx, u.Name)
	switch {
	case err == nil:
		return u, problem.New(problem.Exists, "there is a user %s already", u.Name)
	case !problem.Is(err, problem.NotFound):
		return u, err
	}
	if err := p.Sessions.Change(ctx, u); err != nil {
		return u, err
	}
	return u, p.AddWorkspace(u.Name)
}

func (p People) change(w http.ResponseWriter, r *http.Request) error {
	var c UserChange
	if err := ReadJSON(r, &c); err != nil {
		return err
	}
	u, err := p.Sessions.Store.User(r.Context(), r.PathValue("user"))
	if err != nil {
		return err
	}
	set(&u.DisplayName, c.DisplayName)
	set(&u.Admin, c.Admin)
	set(&u.Email, c.Email)
	set(&u.Disabled, c.Disabled)
	if err := p.Sessions.Change(r.Context(), u); err != nil {
		return err
	}
	return WriteJSON(w, http.StatusOK, userModel(u, true))
}

func set[T any](to, from *T) {
	if from != nil {
		*to = *from
	}
}

// of returns the user of a path when the caller may see to their tokens: their
// own, or anybody's for an administrator.
func (p People) of(r *http.Request) (auth.User, error) {
	me, name := user(r), r.PathValue("user")
	if name != me.Name {
		if err := auth.Allow(me, auth.Manage, auth.Object{Kind: auth.Platform}); err != nil {
			return auth.User{}, err
		}
	}
	return p.Sessions.Store.User(r.Context(), name)
}

func (p People) tokens(w http.ResponseWriter, r *http.Request) error {
	u, err := p.of(r)
	if err != nil {
		return err
	}
	all, err := p.Sessions.Tokens(r.Context(), u.Name)
	if err != nil {
		return err
	}
	list := TokenList{Tokens: make([]TokenModel, len(all))}
	for i, c := range all {
		list.Tokens[i] = tokenModel(c)
	}
	return WriteJSON(w, http.StatusOK, list)
}

func tokenModel(c auth.Credential) TokenModel {
	return TokenModel{ID: c.ID, Label: c.Label, Created: c.Created.UTC(), Expires: c.Expires}
}

func (p People) issue(w http.ResponseWriter, r *http.Request) error {
	var req TokenRequest
	if err := ReadJSON(r, &req); err != nil {
		return err
	}
	if err := auth.RefusePass(user(r), "no access token is made"); err != nil {
		return err
	}
	u, err := p.of(r)
	if err != nil {
		return err
	}
	if u.Disabled {
		return problem.New(problem.Conflict, "%s is disabled: a token would not be taken", u.Name)
	}
	if req.ExpiresInSeconds > int64(auth.MaxTokenLife/time.Second) {
		req.ExpiresInSeconds = -1 // too long: said by NewToken
	}
	secret, c, err := p.Sessions.NewToken(r.Context(), u, req.Label, time.Duration(req.ExpiresInSeconds)*time.Second)
	if err != nil {
		return err
	}
	made := tokenModel(c)
	made.Token = secret
	w.Header().Set("Cache-Control", "no-store")
	return WriteJSON(w, http.StatusCreated, made)
}

func (p People) revoke(w http.ResponseWriter, r *http.Request) error {
	u, err := p.of(r)
	if err != nil {
		return err
	}
	if err := p.Sessions.Revoke(r.Context(), u.Name, r.PathValue("id")); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

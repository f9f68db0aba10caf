package api

import (
	"context"
	"net/http"
	"net/url"
	"time"

	"quire/internal/auth"
	"quire/internal/run"
	"quire/internal/secret"
)

// RegisterSecrets adds the routes of people's secrets under /api/secrets. None of
// them gives a value back.
func RegisterSecrets(rt *Router, secrets *secret.Secrets) {
	h := secretRoutes{secrets}
	doc := func(d Doc) Policy { return Policy{Access: SignedIn, Doc: d} }
	of := map[string]string{"of": "those of a service identity that you may use; your own when left out"}
	rt.Handle("GET /api/secrets", doc(Doc{Summary: "Your secrets, by name: when each was set and last used, never its value", Response: secretList{}, Query: of}), h.list)
	rt.Handle("PUT /api/secrets/{name}", doc(Doc{Summary: "Set a secret: kept encrypted, shown to nobody, given to runs that you bind it to", Request: secretValue{}, Status: http.StatusNoContent, Query: of}), h.set)
	rt.Handle("DELETE /api/secrets/{name}", doc(Doc{Summary: "Forget a secret", Status: http.StatusNoContent, Query: of}), h.remove)
}

type secretRoutes struct{ secrets *secret.Secrets }

type (
	secretList struct {
		Secrets []secret.Secret `json:"secrets"`
	}
	secretValue struct {
		Value string `json:"value"` // text, 1 byte to 64 KiB
	}
)

func (h secretRoutes) list(w http.ResponseWriter, r *http.Request) error {
	all, err := h.secrets.List(r.Context(), user(r), r.URL.Query().Get("of"))
	if err != nil {
		return err
	}
	w.Header().Set("Cache-Control", "no-store")
	return WriteJSON(w, http.StatusOK, secretList{all})
}

func (h secretRoutes) set(w http.ResponseWriter, r *http.Request) error {
	var req secretValue
	if err := ReadJSON(r, &req); err != nil {
		return err
	}
	if err := h.secrets.Set(r.Context(), user(r), r.URL.Query().Get("of"), r.PathValue("name"), req.Value); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

func (h secretRoutes) remove(w http.ResponseWriter, r *http.Request) error {
	if err := h.secrets.Remove(r.Context(), user(r), r.URL.Query().Get("of"), r.PathValue("name")); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// An attempt asks for the secrets of its run with what only it knows.
type (
	attemptRequest struct {
		Attempt int    `json:"attempt"`
		Fence   string `json:"fence"`
	}
	attemptSecrets struct {
		Secrets map[string]string `json:"secrets"` // values by parameter
	}
)

func (h runRoutes) secrets(w http.ResponseWriter, r *http.Request) error {
	var req attemptRequest
	if err := ReadJSON(r, &req); err != nil {
		return err
	}
	values, err := h.runs.SecretsFor(r.Context(), user(r), r.PathValue("id"), req.Attempt, req.Fence)
	if err != nil {
		return err
	}
	w.Header().Set("Cache-Control", "no-store")
	return WriteJSON(w, http.StatusOK, attemptSecrets{values})
}

// Secrets returns the caller's secrets, or those of a service identity, by name.
func (c *Client) Secrets(ctx context.Context, of string) ([]secret.Secret, error) {
	var answer secretList
	return answer.Secrets, c.into(ctx, "/api/secrets"+ofQuery(of), &answer)
}

// SetSecret sets a secret.
func (c *Client) SetSecret(ctx context.Context, of, name, value string) error {
	return c.secret(ctx, http.MethodPut, of, name, secretValue{value})
}

// RemoveSecret forgets a secret.
func (c *Client) RemoveSecret(ctx context.Context, of, name string) error {
	return c.secret(ctx, http.MethodDelete, of, name, nil)
}

func (c *Client) secret(ctx context.Context, method, of, name string, body any) error {
	answer, err := c.do(ctx, method, "/api/secrets/"+url.PathEscape(name)+ofQuery(of), "", body)
	if err != nil {
		return err
	}
	return answer.Body.Close()
}

func ofQuery(of string) string {
	if of == "" {
		return ""
	}
	return "?of=" + url.QueryEscape(of)
}

// secretsTimeout is how long a server may take to give an attempt its secrets.
const secretsTimeout = 30 * time.Second

// AttemptSecrets asks the server for the values of an attempt's secrets, as
// run.AttemptOptions want it. No proxy of the environment comes between, and no
// redirect is followed: they are for nobody else.
func AttemptSecrets(ctx context.Context, pass auth.Pass, spec run.Spec) (map[string]string, error) {
	transport := &http.Transport{DisableKeepAlives: true}
	c := &Client{URL: pass.URL, Token: pass.Token, HTTP: &http.Client{
		Transport: transport, Timeout: secretsTimeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
	var answer attemptSecrets
	err := c.call(ctx, http.MethodPost, "/api/runs/"+url.PathEscape(spec.Run)+"/secrets", "", attemptRequest{spec.Attempt, spec.Fence}, &answer)
	return answer.Secrets, err
}

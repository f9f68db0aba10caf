package api

import (
	"context"
	"net/http"
	"net/url"
)

// Users returns who has a workspace, by name.
func (c *Client) Users(ctx context.Context) ([]UserModel, error) {
	var list UserList
	return list.Users, c.call(ctx, http.MethodGet, "/api/users", "", nil, &list)
}

// AddUser makes a user.
func (c *Client) AddUser(ctx context.Context, u UserModel) (UserModel, error) {
	var made UserModel
	return made, c.call(ctx, http.MethodPost, "/api/users", "", u, &made)
}

// ChangeUser changes what is said of a user.
func (c *Client) ChangeUser(ctx context.Context, name string, change UserChange) (UserModel, error) {
	var changed UserModel
	return changed, c.call(ctx, http.MethodPatch, "/api/users/"+url.PathEscape(name), "", change, &changed)
}

// Tokens returns the access tokens of a user.
func (c *Client) Tokens(ctx context.Context, name string) ([]TokenModel, error) {
	var list TokenList
	return list.Tokens, c.call(ctx, http.MethodGet, "/api/users/"+url.PathEscape(name)+"/tokens", "", nil, &list)
}

// NewToken makes an access token of a user.
func (c *Client) NewToken(ctx context.Context, name string, req TokenRequest) (TokenModel, error) {
	var made TokenModel
	return made, c.call(ctx, http.MethodPost, "/api/users/"+url.PathEscape(name)+"/tokens", "", req, &made)
}

// Revoke ends an access token of a user.
func (c *Client) Revoke(ctx context.Context, name, id string) error {
	answer, err := c.do(ctx, http.MethodDelete, "/api/users/"+url.PathEscape(name)+"/tokens/"+url.PathEscape(id), "", nil)
	if err == nil {
		err = answer.Body.Close()
	}
	return err
}

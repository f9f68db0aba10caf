package api

import (
	"context"
	"io"
	"net/http"
	"net/url"
	"strconv"

	"quire/internal/query"
)

// Connections returns the connections that the caller may use.
func (c *Client) Connections(ctx context.Context) ([]query.ConnectionView, error) {
	var answer connectionList
	return answer.Connections, c.into(ctx, "/api/connections", &answer)
}

// SetCredential sets the credential of a connection.
func (c *Client) SetCredential(ctx context.Context, connection, secret string) error {
	return c.credential(ctx, http.MethodPut, connection, credentialRequest{secret})
}

// UnsetCredential forgets the credential of a connection.
func (c *Client) UnsetCredential(ctx context.Context, connection string) error {
	return c.credential(ctx, http.MethodDelete, connection, nil)
}

func (c *Client) credential(ctx context.Context, method, connection string, body any) error {
	answer, err := c.do(ctx, method, "/api/connections/"+url.PathEscape(connection)+"/credential", "", body)
	if err != nil {
		return err
	}
	return answer.Body.Close()
}

// RotateCredentialKey encrypts all credentials with a new key, and returns how
// many there are.
func (c *Client) RotateCredentialKey(ctx context.Context) (int, error) {
	var answer rotated
	err := c.call(ctx, http.MethodPost, "/api/connections/rotate-key", "", nil, &answer)
	return answer.Credentials, err
}

func (c *Client) into(ctx context.Context, path string, out any) error {
	return c.call(ctx, http.MethodGet, path, "", nil, out)
}

// SubmitQuery asks for a statement to be executed.
func (c *Client) SubmitQuery(ctx context.Context, req query.Request) (query.Query, error) {
	var q query.Query
	err := c.call(ctx, http.MethodPost, "/api/queries", "", req, &q)
	return q, err
}

// Query returns a statement; it waits for its end, up to so many seconds.
func (c *Client) Query(ctx context.Context, id string, wait int) (query.Query, error) {
	var q query.Query
	err := c.into(ctx, "/api/queries/"+url.PathEscape(id)+"?wait="+strconv.Itoa(wait), &q)
	return q, err
}

// CancelQuery asks a statement to stop.
func (c *Client) CancelQuery(ctx context.Context, id string) (query.Query, error) {
	var q query.Query
	err := c.call(ctx, http.MethodPost, "/api/queries/"+url.PathEscape(id)+"/cancel", "", nil, &q)
	return q, err
}

// Queries returns statements, newest first.
func (c *Client) Queries(ctx context.Context, f query.Filter) ([]query.Query, error) {
	v := url.Values{}
	for name, value := range map[string]string{
		"user": f.User, "connection": f.Connection, "state": string(f.State), "notebook": f.Notebook, "run": f.Run, "q": f.Search, "cursor": f.Before,
	} {
		if value != "" {
			v.Set(name, value)
		}
	}
	if f.Limit > 0 {
		v.Set("limit", strconv.Itoa(f.Limit))
	}
	var page queryPage
	err := c.into(ctx, "/api/queries?"+v.Encode(), &page)
	return page.Queries, err
}

// QueryResult opens the result of a statement as arrow, json, csv or parquet.
// It is nil when the statement has none. The caller closes it.
func (c *Client) QueryResult(ctx context.Context, id, format string) (io.ReadCloser, error) {
	answer, err := c.do(ctx, http.MethodGet, "/api/queries/"+url.PathEscape(id)+"/result?format="+format, "", nil)
	if err != nil {
		return nil, err
	}
	if answer.StatusCode == http.StatusNoContent {
		return nil, answer.Body.Close()
	}
	return answer.Body, nil
}

// Catalog returns the tables of a connection with their columns.
func (c *Client) Catalog(ctx context.Context, connection string) ([]query.Table, error) {
	var page catalogPage
	err := c.into(ctx, "/api/catalog?columns=1&connection="+url.QueryEscape(connection), &page)
	tables := make([]query.Table, 0, len(page.Tables))
	for _, t := range page.Tables {
		tables = append(tables, t.Table)
	}
	return tables, err
}

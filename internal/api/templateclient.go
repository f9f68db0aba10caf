package api

import (
	"context"
	"io"
	"net/http"
	"net/url"
	"strconv"

	"quire/internal/nbtemplate"
	"quire/internal/run"
)

func templateAt(name, more string) string { return "/api/templates/" + url.PathEscape(name) + more }

// Publish publishes a notebook.
func (c *Client) Publish(ctx context.Context, p nbtemplate.Publication) (nbtemplate.Template, error) {
	var t nbtemplate.Template
	return t, c.call(ctx, http.MethodPost, "/api/templates", p.IdempotencyKey, p, &t)
}

// Templates returns all templates that a filter takes.
func (c *Client) Templates(ctx context.Context, f nbtemplate.Filter) ([]TemplateUse, error) {
	q := url.Values{"limit": {strconv.Itoa(500)}}
	for key, value := range map[string]string{"role": f.Role, "tag": f.Tag, "q": f.Words, "owner": f.Owner} {
		if value != "" {
			q.Set(key, value)
		}
	}
	if f.Retired {
		q.Set("retired", "true")
	}
	var all []TemplateUse
	for {
		var page templatePage
		if err := c.call(ctx, http.MethodGet, "/api/templates?"+q.Encode(), "", nil, &page); err != nil {
			return nil, err
		}
		if all = append(all, page.Templates...); page.Next == "" {
			return all, nil
		}
		q.Set("cursor", page.Next)
	}
}

// Template returns a template.
func (c *Client) Template(ctx context.Context, name string) (TemplateUse, error) {
	var t TemplateUse
	return t, c.call(ctx, http.MethodGet, templateAt(name, ""), "", nil, &t)
}

// TemplateVersions returns the versions of a template, newest first.
func (c *Client) TemplateVersions(ctx context.Context, name string) ([]nbtemplate.Version, error) {
	var list versionList
	return list.Versions, c.call(ctx, http.MethodGet, templateAt(name, "/versions"), "", nil, &list)
}

// TemplateSource returns the notebook of a version; 0 is the newest.
func (c *Client) TemplateSource(ctx context.Context, name string, version int) ([]byte, error) {
	query := ""
	if version > 0 {
		query = "?version=" + strconv.Itoa(version)
	}
	answer, err := c.do(ctx, http.MethodGet, templateAt(name, "/source"+query), "", nil)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	return io.ReadAll(io.LimitReader(answer.Body, maxAnswer))
}

// CloneTemplate saves the notebook of a version in a folder and returns its
// path.
func (c *Client) CloneTemplate(ctx context.Context, name string, version int, folder string) (string, error) {
	var a cloneAnswer
	err := c.call(ctx, http.MethodPost, templateAt(name, "/clone"), "", cloneRequest{version, folder}, &a)
	return a.Path, err
}

// RetireTemplate takes a template out of the gallery.
func (c *Client) RetireTemplate(ctx context.Context, name, reason string) (nbtemplate.Template, error) {
	var t nbtemplate.Template
	return t, c.call(ctx, http.MethodPost, templateAt(name, "/retire"), "", pauseRequest{reason}, &t)
}

// RestoreTemplate brings a retired template back.
func (c *Client) RestoreTemplate(ctx context.Context, name string) (nbtemplate.Template, error) {
	var t nbtemplate.Template
	return t, c.call(ctx, http.MethodPost, templateAt(name, "/restore"), "", nil, &t)
}

// Sweep asks for a run of each set of values.
func (c *Client) Sweep(ctx context.Context, req run.SweepRequest) (run.Sweep, error) {
	var s run.Sweep
	return s, c.call(ctx, http.MethodPost, "/api/runs/sweep", req.IdempotencyKey, req, &s)
}

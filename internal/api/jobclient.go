package api

import (
	"context"
	"io"
	"net/http"
	"net/url"

	"quire/internal/job"
)

// jobPath returns the path of a job or task; kind is "jobs" or "tasks".
func jobPath(kind, id string, more ...string) string {
	path := "/api/v3/" + kind + "/" + url.PathEscape(id)
	for _, one := range more {
		path += "/" + one
	}
	return path
}

// Launch asks for a job and returns its id. The same key again is the same job.
func (c *Client) Launch(ctx context.Context, d job.Descriptor, key string) (string, error) {
	var made jobID
	return made.ID, c.call(ctx, http.MethodPost, "/api/v3/jobs", key, d, &made)
}

// Job returns a job.
func (c *Client) Job(ctx context.Context, id string) (job.JobMessage, error) {
	var j job.JobMessage
	return j, c.call(ctx, http.MethodGet, jobPath("jobs", id), "", nil, &j)
}

// A page of a list.
type pageOf[T any] struct {
	Items      []T        `json:"items"`
	Pagination pagination `json:"pagination"`
}

// Jobs returns jobs that the filters choose, newest first, at most limit.
func (c *Client) Jobs(ctx context.Context, filters url.Values, limit int) ([]job.JobMessage, error) {
	return listAll[job.JobMessage](ctx, c, "/api/v3/jobs", filters, limit)
}

// Tasks returns tasks that the filters choose, newest first, at most limit.
func (c *Client) Tasks(ctx context.Context, filters url.Values, limit int) ([]job.TaskMessage, error) {
	return listAll[job.TaskMessage](ctx, c, "/api/v3/tasks", filters, limit)
}

func listAll[T any](ctx context.Context, c *Client, path string, filters url.Values, limit int) ([]T, error) {
	q := url.Values{"pageSize": {"200"}}
	for name, values := range filters {
		q[name] = values
	}
	var all []T
	for {
		var page pageOf[T]
		if err := c.call(ctx, http.MethodGet, path+"?"+q.Encode(), "", nil, &page); err != nil {
			return nil, err
		}
		all = append(all, page.Items...)
		if len(all) >= limit {
			return all[:limit], nil
		}
		if !page.Pagination.HasMore {
			return all, nil
		}
		q.Set("cursor", page.Pagination.Cursor)
	}
}

// KillJob asks a job to end.
func (c *Client) KillJob(ctx context.Context, id string) error {
	return c.change(ctx, http.MethodDelete, jobPath("jobs", id))
}

// KillTask asks a task to end; with shrink its service job becomes one smaller.
func (c *Client) KillTask(ctx context.Context, id string, shrink bool) error {
	path := jobPath("tasks", id)
	if shrink {
		path += "?shrink=true"
	}
	return c.change(ctx, http.MethodDelete, path)
}

func (c *Client) change(ctx context.Context, method, path string) error {
	answer, err := c.do(ctx, method, path, "", nil)
	if err != nil {
		return err
	}
	return answer.Body.Close()
}

// TaskLog opens what a task wrote. The caller closes it.
func (c *Client) TaskLog(ctx context.Context, id string, follow bool) (io.ReadCloser, error) {
	path := jobPath("tasks", id, "log")
	if follow {
		path += "?follow=true"
	}
	answer, err := c.do(ctx, http.MethodGet, path, "", nil)
	if err != nil {
		return nil, err
	}
	return answer.Body, nil
}

// Exec executes a command in a running task.
func (c *Client) Exec(ctx context.Context, id string, req ExecRequest) (ExecResult, error) {
	var res ExecResult
	return res, c.call(ctx, http.MethodPost, jobPath("tasks", id, "exec"), "", req, &res)
}

// Compute returns what containers can have on the server.
func (c *Client) Compute(ctx context.Context) (Compute, error) {
	var all Compute
	return all, c.call(ctx, http.MethodGet, "/api/v3/compute", "", nil, &all)
}

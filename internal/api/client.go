package api

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"quire/internal/job"
	"quire/internal/notebook"
	"quire/internal/problem"
	"quire/internal/run"
)

// A Client asks a server. It is safe for concurrent use.
type Client struct {
	URL   string // of the server, without a path behind its base
	Token string // an access token
	HTTP  *http.Client
}

// maxAnswer is the largest answer that is read into memory, in bytes.
const maxAnswer = 1 << 30

// Submit asks for a run.
func (c *Client) Submit(ctx context.Context, req run.Request) (run.Run, error) {
	var r run.Run
	return r, c.call(ctx, http.MethodPost, "/api/runs", req.IdempotencyKey, req, &r)
}

// Run returns a run.
func (c *Client) Run(ctx context.Context, id string) (run.Run, error) {
	var r run.Run
	return r, c.call(ctx, http.MethodGet, "/api/runs/"+url.PathEscape(id), "", nil, &r)
}

// Runs returns runs, newest first, as many as f.Limit asks for (0: 50).
func (c *Client) Runs(ctx context.Context, f run.Filter) ([]run.Run, error) {
	q := url.Values{}
	for key, value := range map[string]string{
		"owner": f.Owner, "notebook": f.Notebook, "template": f.Template, "state": string(f.State), "tag": f.Tag, "cursor": f.Before,
	} {
		if value != "" {
			q.Set(key, value)
		}
	}
	if f.Limit > 0 {
		q.Set("limit", strconv.Itoa(f.Limit))
	}
	var page runPage
	return page.Runs, c.call(ctx, http.MethodGet, "/api/runs?"+q.Encode(), "", nil, &page)
}

// Cancel asks a run to stop.
func (c *Client) Cancel(ctx context.Context, id string) (run.Run, error) {
	var r run.Run
	return r, c.call(ctx, http.MethodPost, "/api/runs/"+url.PathEscape(id)+"/cancel", "", nil, &r)
}

// Retry asks for a run like one that has ended.
func (c *Client) Retry(ctx context.Context, id string) (run.Run, error) {
	var r run.Run
	return r, c.call(ctx, http.MethodPost, "/api/runs/"+url.PathEscape(id)+"/retry", "", nil, &r)
}

// Output returns the output notebook of a run as far as it has come.
func (c *Client) Output(ctx context.Context, id string) (*notebook.Notebook, error) {
	answer, err := c.do(ctx, http.MethodGet, "/api/runs/"+url.PathEscape(id)+"/output", "", nil)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	return notebook.Read(io.LimitReader(answer.Body, maxAnswer))
}

// Follow calls f with each event of a run, from its first, until the run has
// ended, and returns the run. A connection that breaks is made again where it
// broke, for as long as ctx allows. starts, which may be nil, is told how the
// start of its container goes.
func (c *Client) Follow(ctx context.Context, id string, f func(event []byte) error, starts func([]job.Phase)) (run.Run, error) {
	last, wait := "", 100*time.Millisecond
	for {
		ended, done, err := c.stream(ctx, id, &last, f, starts)
		if done || err != nil {
			return ended, err
		}
		select {
		case <-ctx.Done():
			return run.Run{}, ctx.Err()
		case <-time.After(wait):
			wait = min(2*wait, 5*time.Second)
		}
	}
}

// stream reads one connection's worth of events. done is true when the run has
// ended; neither done nor an error means that the connection broke.
func (c *Client) stream(ctx context.Context, id string, last *string, f func([]byte) error, starts func([]job.Phase)) (ended run.Run, done bool, err error) {
	path := "/api/runs/" + url.PathEscape(id) + "/events?from=" + url.QueryEscape(*last)
	answer, err := c.do(ctx, http.MethodGet, path, "", nil)
	if err != nil {
		if problem.Is(err, problem.Unavailable) && ctx.Err() == nil && *last != "" {
			return run.Run{}, false, nil
		}
		return run.Run{}, false, err
	}
	defer answer.Body.Close()
	lines := bufio.NewScanner(answer.Body)
	lines.Buffer(nil, 8<<20)
	var name, id2 string
	var data []byte
	for lines.Scan() {
		key, value, _ := strings.Cut(lines.Text(), ": ")
		switch {
		case lines.Text() == "":
			switch {
			case name == "end":
				return ended, true, json.Unmarshal(data, &ended)
			case name == "start":
				var s startOf
				if starts != nil && json.Unmarshal(data, &s) == nil {
					starts(s.Start)
				}
			case len(data) > 0:
				if err := f(data); err != nil {
					return run.Run{}, false, err
				}
				*last = id2
			}
			name, data = "", nil
		case key == "id":
			id2 = value
		case key == "event":
			name = value
		case key == "data":
			data = append(data, value...)
		}
	}
	return run.Run{}, false, ctx.Err()
}

// call sends body as JSON and decodes the answer into out.
func (c *Client) call(ctx context.Context, method, path, key string, body, out any) error {
	answer, err := c.do(ctx, method, path, key, body)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	err = json.NewDecoder(io.LimitReader(answer.Body, maxAnswer)).Decode(out)
	return problem.WrapAs(problem.Unavailable, err, "reading the answer of %s", c.URL)
}

func (c *Client) do(ctx context.Context, method, path, key string, body any) (*http.Response, error) {
	var r io.Reader
	if body != nil {
		data, err := json.Marshal(body)
		if err != nil {
			return nil, err
		}
		r = bytes.NewReader(data)
	}
	req, err := http.NewRequestWithContext(ctx, method, strings.TrimSuffix(c.URL, "/")+path, r)
	if err != nil {
		return nil, problem.New(problem.Invalid, "%s is no address of a server", c.URL)
	}
	req.Header.Set("Authorization", "Bearer "+c.Token)
	if key != "" {
		req.Header.Set("Idempotency-Key", key)
	}
	client := c.HTTP
	if client == nil {
		client = http.DefaultClient
	}
	answer, err := client.Do(req)
	if err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, problem.WrapAs(problem.Unavailable, plain(err), "asking the server at %s (is it running? quire up starts one)", c.URL)
	}
	if answer.StatusCode >= 300 {
		defer answer.Body.Close()
		return nil, failure(answer)
	}
	return answer, nil
}

// plain takes the address out of an error of net/http, which repeats it.
func plain(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		return u.Err
	}
	return err
}

// failure is the error that an answer tells of.
func failure(answer *http.Response) error {
	var d details
	kind := problem.Unavailable
	for k, status := range statuses {
		if status == answer.StatusCode && k != problem.Exists {
			kind = k
		}
	}
	if json.NewDecoder(io.LimitReader(answer.Body, 1<<20)).Decode(&d) != nil || d.Detail == "" {
		return problem.New(kind, "the server answered %s", answer.Status)
	}
	return problem.New(kind, "%s", d.Detail)
}

package api

import (
	"context"
	"net/http"
	"net/url"
	"time"
)

// Attached is a failed run's kept kernel, opened.
type Attached struct {
	URL  string `json:"url"`
	Path string `json:"path"`
	Run  string `json:"run"`
}

// KeptUntil is when a kept container ends if nobody uses it; zero while somebody
// does.
type KeptUntil struct {
	StopsAt time.Time `json:"stopsAt,omitzero"`
}

// Attach opens the kept kernel of a failed run.
func (c *Client) Attach(ctx context.Context, id string) (a Attached, err error) {
	return a, c.call(ctx, http.MethodPost, "/api/runs/"+url.PathEscape(id)+"/attach", "", struct{}{}, &a)
}

// KeepRun keeps the container of a failed run for so long from now.
func (c *Client) KeepRun(ctx context.Context, id string, d time.Duration) (k KeptUntil, err error) {
	body := map[string]int64{"minutes": int64((d + time.Minute - 1) / time.Minute)}
	return k, c.call(ctx, http.MethodPost, "/api/runs/"+url.PathEscape(id)+"/keep", "", body, &k)
}

// LetGo ends the kept container of a failed run.
func (c *Client) LetGo(ctx context.Context, id string) error {
	answer, err := c.do(ctx, http.MethodDelete, "/api/runs/"+url.PathEscape(id)+"/attach", "", nil)
	if err != nil {
		return err
	}
	return answer.Body.Close()
}

package server

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"quire/internal/api"
	"quire/internal/auth"
	"quire/internal/contents"
	"quire/internal/notebook"
	"quire/internal/problem"
	"quire/internal/run"
	"quire/internal/socket"
)

// registerAttached adds the kept containers of failed runs, each a notebook
// server of its own under /attached/<run>/, for the run's owner and nobody else.
func (s *Server) registerAttached(rt *api.Router) {
	a := &attachedRoutes{s: s, n: notebookRoutes{spawner: s.spawn, sessions: s.sessions, rt: rt}}
	signed := func(d api.Doc) api.Policy { return api.Policy{Access: api.SignedIn, Doc: d} }
	rt.Handle("POST /api/runs/{id}/attach", signed(api.Doc{
		Summary: "Open the kept container of one's own failed run: its notebook, as a new one in the workspace, with the kernel in which it failed", Response: attached{},
	}), a.attach)
	rt.Handle("POST /api/runs/{id}/keep", signed(api.Doc{
		Summary: "Keep the container of one's own failed run for so long from now", Request: extendRequest{}, Response: activity{},
	}), a.keep)
	rt.Handle("DELETE /api/runs/{id}/attach", signed(api.Doc{Summary: "Let the kept container of one's own failed run go", Status: http.StatusNoContent}), a.end)
	rt.Handle("POST /runs/{id}/attach", api.Policy{Access: api.SignedIn, Page: true}, a.open)
	page := api.Policy{Access: api.SignedIn, QueryToken: true, Page: true}
	for _, path := range []string{"/lab", "/lab/{$}", "/lab/tree/{path...}", "/lab/workspaces/{rest...}", "/doc", "/doc/tree/{path...}"} {
		rt.Handle("GET /attached/{id}"+path, page, a.pass)
	}
	for _, method := range []string{"GET", "POST", "PUT", "PATCH", "DELETE"} {
		rt.Handle(method+" /attached/{id}/{rest...}", api.Policy{Access: api.SignedIn, QueryToken: true, Doc: api.Doc{
			Summary: "The Jupyter server API of the kept container of one's own failed run",
		}}, a.pass)
	}
}

type attachedRoutes struct {
	s *Server
	n notebookRoutes
}

// kept returns the kept container of the run that a request names, and its
// server.
func (a *attachedRoutes) kept(r *http.Request) (run.Kept, *personal, error) {
	u, _ := auth.UserFrom(r.Context())
	k, err := a.s.runs.Kept(r.Context(), u, r.PathValue("id"))
	if err != nil {
		return k, nil, err
	}
	p := a.s.spawn.attached(k)
	if !p.known() && !p.opens(r.Context()) {
		return k, nil, problem.New(problem.Unavailable, "the container of run %s does not answer yet: try again in a moment", k.Run)
	}
	return k, p, nil
}

// opens waits for a server that is about to answer, and learns its secret: a run
// is over a moment before its kept kernel can be reached.
func (p *personal) opens(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for !p.answers(ctx) || p.learn() != nil {
		select {
		case <-ctx.Done():
			return false
		case <-tick.C:
		}
	}
	return true
}

func (a *attachedRoutes) pass(w http.ResponseWriter, r *http.Request) error {
	_, p, err := a.kept(r)
	if err != nil {
		return err
	}
	return a.n.proxy(w, r, p)
}

// attached is what was opened.
type attached struct {
	URL  string `json:"url"`  // of the editor, at the cell that failed
	Path string `json:"path"` // of the new notebook
	Run  string `json:"run"`
}

func (a *attachedRoutes) attach(w http.ResponseWriter, r *http.Request) error {
	out, err := a.do(r)
	if err != nil {
		return err
	}
	return api.WriteJSON(w, http.StatusOK, out)
}

// open is the button on a run's page.
func (a *attachedRoutes) open(w http.ResponseWriter, r *http.Request) error {
	out, err := a.do(r)
	if err != nil {
		return err
	}
	http.Redirect(w, r, out.URL, http.StatusSeeOther)
	return nil
}

// do puts the run's notebook, as it failed, into the workspace as a new one, and
// gives it the kernel. Once more it opens what is there.
func (a *attachedRoutes) do(r *http.Request) (attached, error) {
	k, p, err := a.kept(r)
	if err != nil {
		return attached{}, err
	}
	ctx := r.Context()
	out := attached{Run: k.Run}
	var sessions []struct {
		Path string `json:"path"`
	}
	if err := p.call(ctx, http.MethodGet, "/api/sessions", nil, &sessions); err != nil {
		return out, err
	}
	u, _ := auth.UserFrom(ctx)
	nb, err := a.s.runs.Output(ctx, u, k.Run)
	if err != nil {
		return out, err
	}
	cell := ""
	if k.Index >= 0 && k.Index < len(nb.Cells) {
		cell = nb.Cells[k.Index].ID
	}
	rel := ""
	if len(sessions) > 0 {
		rel = sessions[0].Path
	} else if rel, err = a.save(ctx, u, k, nb); err == nil {
		err = p.join(ctx, rel)
	}
	if err != nil {
		return out, err
	}
	out.Path = k.Workspace + "/" + rel
	out.URL = a.n.rt.URL("/attached/"+k.Run+"/lab/tree/") + (&url.URL{Path: rel}).EscapedPath()
	if cell != "" {
		out.URL += "#cell-id=" + url.QueryEscape(cell)
	}
	return out, nil
}

// failedMark is on cells that tell of an error, as Papermill has it.
const failedMark = "papermill-error-cell-tag"

// save writes the run's notebook beside its source, without what was put into it
// to tell of the error, and returns its path in the workspace.
func (a *attachedRoutes) save(ctx context.Context, u auth.User, k run.Kept, nb *notebook.Notebook) (string, error) {
	nb.Cells = slices.DeleteFunc(nb.Cells, func(c *notebook.Cell) bool {
		tags, _ := c.Metadata["tags"].([]any)
		return slices.Contains(tags, any(failedMark))
	})
	data, err := nb.Bytes()
	if err != nil {
		return "", err
	}
	found, err := a.s.runs.Get(ctx, u, k.Run)
	if err != nil {
		return "", err
	}
	folder := path.Dir(found.Notebook)
	name, err := a.s.volume.FreeName(ctx, u, folder, found.Name()+"-failed-"+k.Run[len(k.Run)-6:]+".ipynb", "-")
	if err != nil {
		return "", err
	}
	whole := folder + "/" + name
	if _, err := a.s.volume.Save(ctx, u, whole, bytes.NewReader(data), contents.SaveOptions{}); err != nil {
		return "", err
	}
	return strings.TrimPrefix(whole, k.Workspace+"/"), nil
}

func (a *attachedRoutes) keep(w http.ResponseWriter, r *http.Request) error {
	_, p, err := a.kept(r)
	if err != nil {
		return err
	}
	var ask extendRequest
	if err := readAsked(r, &ask); err != nil {
		return err
	}
	d, err := ask.duration()
	if err != nil {
		return err
	}
	now, err := a.s.spawn.extend(r.Context(), p, d)
	if err != nil {
		return err
	}
	return api.WriteJSON(w, http.StatusOK, now)
}

func (a *attachedRoutes) end(w http.ResponseWriter, r *http.Request) error {
	u, _ := auth.UserFrom(r.Context())
	if err := a.s.runs.EndKept(r.Context(), u, r.PathValue("id")); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// attached returns the server of a kept container.
func (s *spawner) attached(k run.Kept) *personal {
	key := "run/" + k.Run // no user has such a name
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.servers[key]
	if p == nil || p.dir != k.Dir {
		p = newPersonal(key, k.Dir, run.KeptBase(s.base, k.Run))
		s.servers[key] = p
		for other, one := range s.servers { // those that are over
			if strings.HasPrefix(other, "run/") && other != key && !one.there() {
				one.client.CloseIdleConnections()
				delete(s.servers, other)
			}
		}
	}
	return p
}

// there reports whether the server's socket is there.
func (p *personal) there() bool {
	return socket.There(filepath.Join(p.dir, socketFile))
}

// join gives the one kernel of a kept container to a notebook.
func (p *personal) join(ctx context.Context, rel string) error {
	var kernels []struct {
		ID   string `json:"id"`
		Name string `json:"name"`
	}
	if err := p.call(ctx, http.MethodGet, "/api/kernels", nil, &kernels); err != nil {
		return err
	}
	if len(kernels) == 0 {
		return problem.New(problem.Conflict, "the kernel of the run has ended")
	}
	return p.call(ctx, http.MethodPost, "/api/sessions", map[string]any{
		"path": rel, "name": path.Base(rel), "type": "notebook", "kernel": map[string]string{"id": kernels[0].ID, "name": kernels[0].Name},
	}, nil)
}

// maxAnswer is the largest answer of a server that the platform itself reads.
const maxAnswer = 1 << 20

// call makes a request of the platform's own and reads its answer.
func (p *personal) call(ctx context.Context, method, path string, body, into any) error {
	data, err := json.Marshal(body)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, "http://"+socketHost+p.at+path, bytes.NewReader(data))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	p.mu.Lock()
	req.Header.Set("Authorization", "token "+p.secret)
	p.mu.Unlock()
	res, err := p.client.Do(req)
	if err != nil {
		return problem.WrapAs(problem.Unavailable, err, "asking a notebook server")
	}
	answer, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer))
	if err = errors.Join(err, res.Body.Close()); err != nil {
		return problem.WrapAs(problem.Unavailable, err, "asking a notebook server")
	}
	if res.StatusCode >= http.StatusBadRequest {
		return problem.New(problem.Unavailable, "the notebook server answered %d", res.StatusCode)
	}
	if into == nil {
		return nil
	}
	return problem.WrapAs(problem.Unavailable, json.Unmarshal(answer, into), "reading the answer of a notebook server")
}

// keptInUse reports whether somebody works in a kept container, or asked for more
// time.
func (s *spawner) keptInUse(ctx context.Context, dir, base string) bool {
	p := newPersonal("run", dir, base)
	defer p.client.CloseIdleConnections()
	if p.learn() != nil {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	var a activity
	return p.call(ctx, http.MethodGet, activityPath, nil, &a) == nil && (a.IdleSince.IsZero() || a.StopsAt.After(time.Now()))
}

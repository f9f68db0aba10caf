package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"quire/internal/auth"
	"quire/internal/job"
	"quire/internal/problem"
	"quire/internal/run"
)

// RegisterRuns adds the routes of durable runs under /api/runs.
func RegisterRuns(rt *Router, runs *run.Runs) {
	h := runRoutes{rt, runs}
	doc := func(d Doc) Policy { return Policy{Access: SignedIn, Doc: d} }
	submit := doc(Doc{Summary: "Run a notebook, durably. Idempotency-Key makes a repeated request one run", Request: run.Request{}, Response: run.Run{}, Status: http.StatusCreated})
	submit.MaxBody = 2 << 20
	rt.Handle("POST /api/runs", submit, h.submit)
	sweep := doc(Doc{Summary: "Run each set of values of a grid; preview says which and runs none. Idempotency-Key makes a repeated request the same runs", Request: run.SweepRequest{}, Response: run.Sweep{}, Status: http.StatusCreated})
	sweep.MaxBody = 2 << 20
	rt.Handle("POST /api/runs/sweep", sweep, h.sweep)
	rt.Handle("GET /api/runs", doc(Doc{Summary: "Runs, newest first", Response: runPage{}, Query: map[string]string{
		"owner": "only runs of this user", "notebook": "only runs of the notebook at this path", "template": "only runs of this template", "state": "only runs in this state",
		"tag": "only runs with this tag", "limit": "1 to 500, default 50", "cursor": "next of the page before",
	}}), h.list)
	rt.Handle("GET /api/runs/{id}", doc(Doc{Summary: "A run", Response: run.Run{}}), h.get)
	rt.Handle("GET /api/runs/{id}/attempts", doc(Doc{Summary: "The attempts of a run, oldest first", Response: attemptList{}}), h.attempts)
	rt.Handle("POST /api/runs/{id}/secrets", doc(Doc{Summary: "For the process of an attempt alone: the secrets that are bound to its run. It asks with its pass and its fence, while it lives", Request: attemptRequest{}, Response: attemptSecrets{}}), h.secrets)
	rt.Handle("POST /api/runs/{id}/cancel", doc(Doc{Summary: "Ask a run to stop", Response: run.Run{}}), h.cancel)
	rt.Handle("POST /api/runs/{id}/retry", doc(Doc{Summary: "Run again what a run ran", Response: run.Run{}, Status: http.StatusCreated}), h.retry)
	rt.Handle("GET /api/runs/{id}/output", doc(Doc{Summary: "The output notebook as far as it has come"}), h.output)
	rt.Handle("GET /api/runs/{id}/source", doc(Doc{Summary: "The notebook as it was when the run was asked for"}), h.source)
	rt.Handle("GET /api/runs/{id}/usage", doc(Doc{Summary: "What a run's container used: at most 500 samples, and its limits", Response: run.UsageReport{}, Query: map[string]string{
		"attempt": "an earlier attempt; the newest when left out",
	}}), h.usage)
	rt.Handle("GET /api/runs/{id}/start", doc(Doc{Summary: "How the start of a run's container went or goes: queued, pulling, creating, starting, running", Response: startOf{}}), h.start)
	rt.Handle("GET /api/runs/{id}/events", doc(Doc{Summary: "What happens in a run, as server-sent events; those named start say how its container's start goes", Query: map[string]string{
		"from": "id of the last event seen, as in Last-Event-ID",
	}}), h.events)
}

type runRoutes struct {
	rt   *Router
	runs *run.Runs
}

// user returns who is asking; the policy has seen to it that somebody is.
func user(r *http.Request) auth.User {
	u, _ := auth.UserFrom(r.Context())
	return u
}

func (h runRoutes) usage(w http.ResponseWriter, r *http.Request) error {
	attempt := 0
	if text := r.URL.Query().Get("attempt"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 {
			return problem.New(problem.Invalid, "attempt: want 1 or more")
		}
		attempt = n
	}
	report, err := h.runs.Usage(r.Context(), user(r), r.PathValue("id"), attempt)
	if err != nil {
		return err
	}
	return writeTagged(w, r, report)
}

func (h runRoutes) submit(w http.ResponseWriter, r *http.Request) error {
	var req run.Request
	if err := ReadJSON(r, &req); err != nil {
		return err
	}
	req.IdempotencyKey = r.Header.Get("Idempotency-Key")
	if len(req.IdempotencyKey) > 256 {
		return problem.New(problem.Invalid, "Idempotency-Key: at most 256 bytes")
	}
	created, err := h.runs.Submit(r.Context(), user(r), req)
	if err != nil {
		return err
	}
	w.Header().Set("Location", h.rt.URL("/api/runs/"+created.ID))
	return WriteJSON(w, http.StatusCreated, created)
}

func (h runRoutes) sweep(w http.ResponseWriter, r *http.Request) error {
	var req run.SweepRequest
	if err := ReadJSON(r, &req); err != nil {
		return err
	}
	req.IdempotencyKey = r.Header.Get("Idempotency-Key")
	if len(req.IdempotencyKey) > 256 {
		return problem.New(problem.Invalid, "Idempotency-Key: at most 256 bytes")
	}
	made, err := h.runs.Sweep(r.Context(), user(r), req)
	if err != nil {
		return err
	}
	status := http.StatusCreated
	if req.Preview {
		status = http.StatusOK
	}
	return WriteJSON(w, status, made)
}

type attemptList struct {
	Attempts []run.Attempt `json:"attempts"`
}

// A runPage is one page of runs.
type runPage struct {
	Runs []run.Run `json:"runs"`
	Next string    `json:"next,omitempty"` // cursor of the next page
}

func (h runRoutes) list(w http.ResponseWriter, r *http.Request) error {
	q := r.URL.Query()
	f := run.Filter{
		Owner: q.Get("owner"), Notebook: strings.Trim(q.Get("notebook"), "/"), State: run.State(q.Get("state")),
		Template: q.Get("template"), Tag: q.Get("tag"), Before: q.Get("cursor"),
	}
	if s := q.Get("limit"); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil || n < 1 || n > 500 {
			return problem.New(problem.Invalid, "limit: want 1 to 500")
		}
		f.Limit = n
	}
	runs, err := h.runs.List(r.Context(), user(r), f)
	if err != nil {
		return err
	}
	page := runPage{Runs: runs}
	if page.Runs == nil {
		page.Runs = []run.Run{}
	}
	if limit := max(f.Limit, 0); len(runs) > 0 && len(runs) == orDefault(limit, 50) {
		page.Next = runs[len(runs)-1].ID
	}
	return writeTagged(w, r, page)
}

func orDefault(n, otherwise int) int {
	if n == 0 {
		return otherwise
	}
	return n
}

func (h runRoutes) get(w http.ResponseWriter, r *http.Request) error {
	found, err := h.runs.Get(r.Context(), user(r), r.PathValue("id"))
	if err != nil {
		return err
	}
	return writeTagged(w, r, found)
}

func (h runRoutes) attempts(w http.ResponseWriter, r *http.Request) error {
	all, err := h.runs.Attempts(r.Context(), user(r), r.PathValue("id"))
	if err != nil {
		return err
	}
	if all == nil {
		all = []run.Attempt{}
	}
	return writeTagged(w, r, attemptList{all})
}

func (h runRoutes) cancel(w http.ResponseWriter, r *http.Request) error {
	changed, err := h.runs.Cancel(r.Context(), user(r), r.PathValue("id"))
	if err != nil {
		return err
	}
	return WriteJSON(w, http.StatusOK, changed)
}

func (h runRoutes) retry(w http.ResponseWriter, r *http.Request) error {
	created, err := h.runs.Retry(r.Context(), user(r), r.PathValue("id"))
	if err != nil {
		return err
	}
	w.Header().Set("Location", h.rt.URL("/api/runs/"+created.ID))
	return WriteJSON(w, http.StatusCreated, created)
}

func (h runRoutes) output(w http.ResponseWriter, r *http.Request) error {
	nb, err := h.runs.Output(r.Context(), user(r), r.PathValue("id"))
	if err != nil {
		return err
	}
	return writeNotebook(w, nb)
}

func (h runRoutes) source(w http.ResponseWriter, r *http.Request) error {
	nb, err := h.runs.Source(r.Context(), user(r), r.PathValue("id"))
	if err != nil {
		return err
	}
	return writeNotebook(w, nb)
}

func writeNotebook(w http.ResponseWriter, nb interface{ Bytes() ([]byte, error) }) error {
	data, err := nb.Bytes()
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/x-ipynb+json")
	_, err = w.Write(data)
	return err
}

// pingEvery is how often a quiet stream of events says that it lives: proxies
// cut what is silent for half a minute.
const pingEvery = 15 * time.Second

// events streams what happens in a run as server-sent events. Each has the id
// "attempt.line", so that a client that comes back goes on where it was
// (Last-Event-ID). The last event is "end", with the run.
// startOf is how a container starts.
type startOf struct {
	Start []job.Phase `json:"start"`
}

func (h runRoutes) start(w http.ResponseWriter, r *http.Request) error {
	phases, err := h.runs.ContainerStart(r.Context(), user(r), r.PathValue("id"))
	if err != nil {
		return err
	}
	if phases == nil {
		phases = []job.Phase{}
	}
	return WriteJSON(w, http.StatusOK, startOf{phases})
}

func (h runRoutes) events(w http.ResponseWriter, r *http.Request) error {
	id := r.PathValue("id")
	if _, err := h.runs.Get(r.Context(), user(r), id); err != nil {
		return err
	}
	attempt, line := lastEvent(r)
	s := NewEventStream(w)
	defer s.Close()
	ctx, stop := h.rt.Streaming(r.Context())
	defer stop()
	var starts sync.WaitGroup
	defer starts.Wait()
	starting, started := context.WithCancel(ctx)
	defer started()
	starts.Go(func() {
		_ = h.runs.FollowStart(starting, user(r), id, func(phases []job.Phase) error { // the end of the stream says what failed
			data, err := json.Marshal(startOf{phases})
			if err != nil {
				return err
			}
			return s.Send("", "start", data)
		})
	})
	err := h.runs.Follow(ctx, user(r), id, attempt, line, func(attempt, line int, event []byte) error {
		return s.Send(fmt.Sprintf("%d.%d", attempt, line+1), "", event)
	})
	if err != nil {
		if ctx.Err() != nil {
			return nil //nolint:nilerr // the client went away, or comes back to the next server
		}
		return err
	}
	ended, err := h.runs.Get(r.Context(), user(r), id)
	if err != nil {
		return err
	}
	data, err := json.Marshal(ended)
	if err != nil {
		return err
	}
	return s.Send("", "end", data)
}

func lastEvent(r *http.Request) (attempt, line int) {
	last := r.Header.Get("Last-Event-ID")
	if last == "" {
		last = r.URL.Query().Get("from")
	}
	a, l, ok := strings.Cut(last, ".")
	if !ok {
		return 0, 0
	}
	attempt, err1 := strconv.Atoi(a)
	line, err2 := strconv.Atoi(l)
	if errors.Join(err1, err2) != nil || attempt < 0 || line < 0 {
		return 0, 0
	}
	return attempt, line
}

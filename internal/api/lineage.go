package api

import (
	"context"
	"net/http"
	"net/url"

	"quire/internal/run"
)

// RegisterLineage adds the routes of lineage under /api/lineage.
func RegisterLineage(rt *Router, runs *run.Runs) {
	h := lineageRoutes{runs}
	doc := func(d Doc) Policy { return Policy{Access: SignedIn, Doc: d} }
	rt.Handle("GET /api/lineage/runs/{id}", doc(Doc{Summary: "The tables and files that a run wrote and read", Response: run.Lineage{}}), h.ofRun)
	rt.Handle("GET /api/lineage/tables/{connection}/{name}", doc(Doc{Summary: "The newest runs that wrote and read a table of a connection", Response: DatasetUses{}}), h.ofTable)
	rt.Handle("GET /api/lineage/files/{path...}", doc(Doc{Summary: "The newest runs that wrote and read a file", Response: DatasetUses{}}), h.ofFile)
}

type lineageRoutes struct{ runs *run.Runs }

// DatasetUses are the runs that wrote and read a dataset, newest first.
type DatasetUses struct {
	WrittenBy []run.DatasetRun `json:"writtenBy"`
	ReadBy    []run.DatasetRun `json:"readBy"`
}

func (h lineageRoutes) ofRun(w http.ResponseWriter, r *http.Request) error {
	l, err := h.runs.Lineage(r.Context(), user(r), r.PathValue("id"))
	return answerWith(w, l, err)
}

func (h lineageRoutes) ofTable(w http.ResponseWriter, r *http.Request) error {
	return h.uses(w, r, run.Dataset{Kind: run.Table, Connection: r.PathValue("connection"), Name: r.PathValue("name")})
}

func (h lineageRoutes) ofFile(w http.ResponseWriter, r *http.Request) error {
	return h.uses(w, r, run.Dataset{Kind: run.File, Name: r.PathValue("path")})
}

func (h lineageRoutes) uses(w http.ResponseWriter, r *http.Request, d run.Dataset) (err error) {
	var a DatasetUses
	const most = 100
	if a.WrittenBy, err = h.runs.DatasetRuns(r.Context(), user(r), d, true, most); err != nil {
		return err
	}
	a.ReadBy, err = h.runs.DatasetRuns(r.Context(), user(r), d, false, most)
	return answerWith(w, a, err)
}

// RunLineage returns what a run wrote and read.
func (c *Client) RunLineage(ctx context.Context, id string) (run.Lineage, error) {
	var l run.Lineage
	return l, c.call(ctx, http.MethodGet, "/api/lineage/runs/"+url.PathEscape(id), "", nil, &l)
}

// DatasetLineage returns the runs that wrote and read a dataset.
func (c *Client) DatasetLineage(ctx context.Context, d run.Dataset) (DatasetUses, error) {
	at := "/api/lineage/files/" + (&url.URL{Path: d.Name}).EscapedPath()
	if d.Kind == run.Table {
		at = "/api/lineage/tables/" + url.PathEscape(d.Connection) + "/" + url.PathEscape(d.Name)
	}
	var a DatasetUses
	return a, c.call(ctx, http.MethodGet, at, "", nil, &a)
}

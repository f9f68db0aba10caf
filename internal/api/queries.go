package api

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"quire/internal/problem"
	"quire/internal/query"
)

// RegisterQueries adds the routes of the query gateway: /api/connections,
// /api/queries and /api/catalog.
func RegisterQueries(rt *Router, gateway *query.Gateway, credentials *query.Credentials) {
	h := queryRoutes{rt, gateway, credentials}
	doc := func(d Doc) Policy { return Policy{Access: SignedIn, Doc: d} }
	admin := func(d Doc) Policy { return Policy{Access: Admin, Doc: d} }
	one := query.Query{}
	rt.Handle("GET /api/connections", doc(Doc{Summary: "The connections that you may use, the default first", Response: connectionList{}}), h.connections)
	rt.Handle("PUT /api/connections/{name}/credential", admin(Doc{Summary: "Set the credential of a connection: kept encrypted, given to nobody", Request: credentialRequest{}, Status: http.StatusNoContent}), h.setCredential)
	rt.Handle("DELETE /api/connections/{name}/credential", admin(Doc{Summary: "Forget the credential of a connection", Status: http.StatusNoContent}), h.unsetCredential)
	rt.Handle("POST /api/connections/rotate-key", admin(Doc{Summary: "Encrypt the credentials of all connections with a new key", Response: rotated{}}), h.rotateKey)
	rt.Handle("POST /api/queries", Policy{Access: SignedIn, MaxBody: 4 << 20, Doc: Doc{Summary: "Execute a statement; its record is returned at once. Parameters (:name) are bound, never pasted", Request: query.Request{}, Response: one, Status: http.StatusCreated}}, h.submit)
	rt.Handle("GET /api/queries", doc(Doc{Summary: "Statements, newest first: your own, all to an administrator", Response: queryPage{}, Query: map[string]string{
		"connection": "only on this connection", "user": "only of this user", "state": "only in this state", "notebook": "only of this notebook",
		"run": "only of this run", "q": "only with these words in the statement", "limit": "1 to 500, default 50", "cursor": "next of the page before",
	}}), h.list)
	rt.Handle("GET /api/queries/{id}", doc(Doc{Summary: "A statement; it waits for its end when wait is given", Response: one, Query: map[string]string{
		"wait": "seconds to wait for the end, 0 to 60; default 0",
	}}), h.get)
	rt.Handle("GET /api/queries/{id}/events", doc(Doc{Summary: "The statement as server-sent events, each time that it has changed, until it has ended"}), h.events)
	rt.Handle("GET /api/queries/{id}/result", doc(Doc{Summary: "The result, by Accept: an Arrow stream as the engine has rows, JSON in pages, CSV or Parquet. 204 where the statement has none", Response: query.Page{}, Query: map[string]string{
		"cursor": "JSON: next of the page before", "limit": "JSON: rows of a page, 1 to 10000; default 1000", "format": "arrow, json, csv or parquet, instead of Accept",
	}}), h.result)
	rt.Handle("POST /api/queries/{id}/cancel", doc(Doc{Summary: "Ask a statement to stop", Response: one}), h.cancel)
	rt.Handle("GET /api/catalog", doc(Doc{Summary: "The tables of a connection", Response: catalogPage{}, Query: map[string]string{
		"connection": "default: the default one", "columns": "1: with their columns", "q": "only with these words in a name or a comment",
	}}), h.catalog)
	rt.Handle("GET /api/catalog/table", doc(Doc{Summary: "A table: columns, a sample, what wrote and read it", Response: tableAnswer{}, Query: map[string]string{
		"connection": "default: the default one", "name": "name, schema.name or catalog.schema.name", "sample": "rows of the sample, 0 to 100; default 0",
	}}), h.table)
	rt.Handle("GET /api/catalog/search", doc(Doc{Summary: "Tables of every connection by words", Response: catalogPage{}, Query: map[string]string{"q": "the words"}}), h.search)
	rt.Handle("POST /api/catalog/load", Policy{Access: SignedIn, MaxBody: 64 << 30, Doc: Doc{Summary: "Make or fill a table from an Arrow stream, all or nothing", Response: loadAnswer{}, Query: map[string]string{
		"connection": "default: the default one", "name": "of the table", "mode": "create (default), replace or append",
	}}}, h.load)
}

type queryRoutes struct {
	rt          *Router
	gateway     *query.Gateway
	credentials *query.Credentials
}

type (
	connectionList struct {
		Connections []query.ConnectionView `json:"connections"`
	}
	credentialRequest struct {
		Secret string `json:"secret"` // what dsn would be
	}
	rotated struct {
		Credentials int `json:"credentials"` // how many are encrypted with the new key
	}
	queryPage struct {
		Queries []query.Query `json:"queries"`
		Next    string        `json:"next,omitempty"`
	}
	catalogTable struct {
		Connection string `json:"connection"`
		query.Table
	}
	catalogPage struct {
		Tables []catalogTable `json:"tables"`
		Next   string         `json:"next,omitempty"`
		// Failed says which connections could not be asked, and why.
		Failed map[string]string `json:"failed,omitempty"`
	}
	tableUse struct {
		Query    string    `json:"query"`
		User     string    `json:"user"`
		Notebook string    `json:"notebook,omitempty"`
		Run      string    `json:"run,omitempty"`
		At       time.Time `json:"at"`
	}
	tableAnswer struct {
		catalogTable
		Sample    *query.Page `json:"sample,omitempty"`
		WrittenBy []tableUse  `json:"writtenBy"`
		ReadBy    []tableUse  `json:"readBy"`
	}
	loadAnswer struct {
		Rows int64 `json:"rows"`
	}
)

func (h queryRoutes) connections(w http.ResponseWriter, r *http.Request) error {
	all, err := h.gateway.Connections(r.Context(), user(r))
	if err != nil {
		return err
	}
	return WriteJSON(w, http.StatusOK, connectionList{all})
}

func (h queryRoutes) setCredential(w http.ResponseWriter, r *http.Request) error {
	var req credentialRequest
	if err := ReadJSON(r, &req); err != nil {
		return err
	}
	if err := h.credentials.Set(r.Context(), user(r), r.PathValue("name"), req.Secret); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

func (h queryRoutes) unsetCredential(w http.ResponseWriter, r *http.Request) error {
	if err := h.credentials.Unset(r.Context(), user(r), r.PathValue("name")); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

func (h queryRoutes) rotateKey(w http.ResponseWriter, r *http.Request) error {
	n, err := h.credentials.Rotate(r.Context(), user(r))
	if err != nil {
		return err
	}
	return WriteJSON(w, http.StatusOK, rotated{n})
}

func (h queryRoutes) submit(w http.ResponseWriter, r *http.Request) error {
	var req query.Request
	if err := ReadJSON(r, &req); err != nil {
		return err
	}
	q, err := h.gateway.Submit(r.Context(), user(r), req)
	if err != nil {
		return err
	}
	w.Header().Set("Location", h.rt.URL("/api/queries/"+q.ID))
	return WriteJSON(w, http.StatusCreated, withStatus(q))
}

// withStatus gives the failure of a query the status that its kind has.
func withStatus(q query.Query) query.Query {
	if q.Error == nil {
		return q
	}
	failure := *q.Error
	failure.Status = http.StatusInternalServerError
	for kind, status := range statuses {
		if kind.String() == failure.Reason {
			failure.Status = status
		}
	}
	q.Error = &failure
	return q
}

func (h queryRoutes) list(w http.ResponseWriter, r *http.Request) error {
	v := r.URL.Query()
	f := query.Filter{
		User: v.Get("user"), Connection: v.Get("connection"), State: query.State(v.Get("state")), Notebook: v.Get("notebook"),
		Run: v.Get("run"), Search: v.Get("q"), Before: v.Get("cursor"), Limit: 50,
	}
	var err error
	if f.Limit, err = number(v.Get("limit"), 50, 1, 500, "limit"); err != nil {
		return err
	}
	all, err := h.gateway.History(r.Context(), user(r), f)
	if err != nil {
		return err
	}
	page := queryPage{Queries: listOf(all)}
	for i, q := range page.Queries {
		page.Queries[i] = withStatus(q)
	}
	if len(all) == f.Limit {
		page.Next = all[len(all)-1].ID
	}
	return WriteJSON(w, http.StatusOK, page)
}

// number reads a number of a query string.
func number(text string, otherwise, least, most int, name string) (int, error) {
	if text == "" {
		return otherwise, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < least || n > most {
		return 0, problem.New(problem.Invalid, "%s: must be between %d and %d", name, least, most)
	}
	return n, nil
}

func (h queryRoutes) get(w http.ResponseWriter, r *http.Request) error {
	wait, err := number(r.URL.Query().Get("wait"), 0, 0, 60, "wait")
	if err != nil {
		return err
	}
	ctx, cancel := h.rt.Streaming(r.Context())
	defer cancel()
	id := r.PathValue("id")
	q, err := h.gateway.Get(ctx, user(r), id)
	if err == nil && wait > 0 && !q.State.Ended() {
		waiting, stop := context.WithTimeout(ctx, time.Duration(wait)*time.Second)
		defer stop()
		q, err = h.gateway.Await(waiting, user(r), id, true)
	}
	if err != nil {
		return err
	}
	return WriteJSON(w, http.StatusOK, withStatus(q))
}

func (h queryRoutes) events(w http.ResponseWriter, r *http.Request) error {
	ctx, cancel := h.rt.Streaming(r.Context())
	defer cancel()
	id, u := r.PathValue("id"), user(r)
	q, err := h.gateway.Get(ctx, u, id)
	if err != nil {
		return err
	}
	stream := NewEventStream(w)
	defer stream.Close()
	tick := time.NewTicker(100 * time.Millisecond) // a fast engine changes thousands of times a second
	defer tick.Stop()
	for {
		data, err := json.Marshal(withStatus(q))
		if err != nil {
			return err
		}
		name := "query"
		if q.State.Ended() {
			name = "end"
		}
		if stream.Send("", name, data) != nil || q.State.Ended() || ctx.Err() != nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		if q, err = h.gateway.Await(ctx, u, id, false); err != nil {
			return nil //nolint:nilerr // the stream has begun: it ends
		}
	}
}

func (h queryRoutes) cancel(w http.ResponseWriter, r *http.Request) error {
	q, err := h.gateway.Cancel(r.Context(), user(r), r.PathValue("id"))
	if err != nil {
		return err
	}
	return WriteJSON(w, http.StatusOK, withStatus(q))
}

// The media types of results.
const (
	arrowType   = "application/vnd.apache.arrow.stream"
	parquetType = "application/vnd.apache.parquet"
)

// resultFormat is what a request wants a result as.
func resultFormat(r *http.Request) (string, error) {
	format, accept := r.URL.Query().Get("format"), r.Header.Get("Accept")
	switch {
	case format == "arrow" || format == "json" || format == "csv" || format == "parquet":
		return format, nil
	case format != "":
		return "", problem.New(problem.Invalid, "format: want arrow, json, csv or parquet")
	case strings.Contains(accept, arrowType):
		return "arrow", nil
	case strings.Contains(accept, parquetType):
		return "parquet", nil
	case strings.Contains(accept, "text/csv"):
		return "csv", nil
	}
	return "json", nil
}

func (h queryRoutes) result(w http.ResponseWriter, r *http.Request) error {
	format, err := resultFormat(r)
	if err != nil {
		return err
	}
	ctx, cancel := h.rt.Streaming(r.Context())
	defer cancel()
	result, err := h.gateway.Result(ctx, user(r), r.PathValue("id"))
	if err != nil {
		return err
	}
	if result == nil {
		w.WriteHeader(http.StatusNoContent)
		return nil
	}
	defer result.Close()
	w.Header().Set("Cache-Control", "no-store")
	switch format {
	case "arrow":
		w.Header().Set("Content-Type", arrowType)
		if size, whole := result.Whole(); whole {
			w.Header().Set("Content-Length", strconv.FormatInt(size, 10))
		}
		return abnormal(stream(w, result))
	case "csv":
		w.Header().Set("Content-Type", "text/csv; charset=utf-8; header=present")
		w.Header().Set("Content-Disposition", `attachment; filename="result.csv"`)
		return abnormal(query.WriteCSV(w, result))
	case "parquet":
		w.Header().Set("Content-Type", parquetType)
		w.Header().Set("Content-Disposition", `attachment; filename="result.parquet"`)
		out := &begun{w: w}
		if err := h.gateway.Parquet(ctx, user(r), result, out); err != nil && !out.any {
			w.Header().Del("Content-Disposition")
			return err
		} else if err != nil {
			panic(http.ErrAbortHandler)
		}
		return nil
	}
	return h.page(w, r, result)
}

// begun is an answer that knows whether it has begun.
type begun struct {
	w   io.Writer
	any bool
}

func (b *begun) Write(p []byte) (int, error) {
	b.any = true
	return b.w.Write(p)
}

// abnormal breaks the connection of an answer that is not whole, so that no
// client takes it for one that is.
func abnormal(err error) error {
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	return nil
}

// stream sends what is there at once, however little it is.
func stream(w http.ResponseWriter, from *query.Result) error {
	rc := http.NewResponseController(w)
	buf := make([]byte, 256<<10)
	for {
		n, err := from.Read(buf)
		if n > 0 {
			if _, err := w.Write(buf[:n]); err != nil {
				return err
			}
			if n < len(buf) {
				if err := rc.Flush(); err != nil {
					return err
				}
			}
		}
		if err == io.EOF { //nolint:errorlint // as Read says it
			return nil
		}
		if err != nil {
			return err
		}
	}
}

func (h queryRoutes) page(w http.ResponseWriter, r *http.Request, result *query.Result) error {
	limit, err := number(r.URL.Query().Get("limit"), 1000, 1, 10_000, "limit")
	if err != nil {
		return err
	}
	from, err := number(r.URL.Query().Get("cursor"), 0, 0, 1<<62, "cursor")
	if err != nil {
		return err
	}
	page, err := query.ReadPage(result, int64(from), int64(limit))
	if err != nil {
		return err
	}
	return WriteJSON(w, http.StatusOK, page)
}

func (h queryRoutes) catalog(w http.ResponseWriter, r *http.Request) error {
	v := r.URL.Query()
	name, err := h.gateway.ConnectionName(r.Context(), user(r), v.Get("connection"))
	if err != nil {
		return err
	}
	all, err := h.gateway.Tables(r.Context(), user(r), name, query.TableFilter{Search: v.Get("q"), Columns: v.Get("columns") == "1"})
	if err != nil {
		return err
	}
	return WriteJSON(w, http.StatusOK, catalogPage{Tables: ofConnection(name, all)})
}

func ofConnection(name string, all []query.Table) []catalogTable {
	tables := []catalogTable{}
	for _, t := range all {
		tables = append(tables, catalogTable{name, t})
	}
	return tables
}

func (h queryRoutes) search(w http.ResponseWriter, r *http.Request) error {
	page := catalogPage{Tables: []catalogTable{}, Failed: map[string]string{}}
	connections, err := h.gateway.Connections(r.Context(), user(r))
	if err != nil {
		return err
	}
	for _, c := range connections {
		all, err := h.gateway.Tables(r.Context(), user(r), c.Name, query.TableFilter{Search: r.URL.Query().Get("q"), Columns: true})
		if err != nil {
			page.Failed[c.Name] = ErrorText(err)
		}
		page.Tables = append(page.Tables, ofConnection(c.Name, all)...)
	}
	return WriteJSON(w, http.StatusOK, page)
}

func (h queryRoutes) table(w http.ResponseWriter, r *http.Request) error {
	v := r.URL.Query()
	sample, err := number(v.Get("sample"), 0, 0, 100, "sample")
	if err != nil {
		return err
	}
	d, err := h.gateway.Describe(r.Context(), user(r), v.Get("connection"), v.Get("name"), sample)
	if err != nil {
		return err
	}
	return WriteJSON(w, http.StatusOK, tableAnswer{
		catalogTable: catalogTable{d.Connection, d.Table}, Sample: d.Sample, WrittenBy: usesOf(d.WrittenBy), ReadBy: usesOf(d.ReadBy),
	})
}

func usesOf(all []query.Query) []tableUse {
	uses := []tableUse{}
	for _, q := range all {
		uses = append(uses, tableUse{q.ID, q.User, q.Notebook, q.Run, q.Submitted})
	}
	return uses
}

func (h queryRoutes) load(w http.ResponseWriter, r *http.Request) error {
	v := r.URL.Query()
	mode := v.Get("mode")
	if mode == "" {
		mode = "create"
	}
	rows, err := h.gateway.Load(r.Context(), user(r), v.Get("connection"), query.Target{Name: v.Get("name"), Mode: mode}, r.Body)
	if err != nil {
		return err
	}
	return WriteJSON(w, http.StatusOK, loadAnswer{rows})
}

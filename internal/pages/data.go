package pages

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"quire/internal/api"
	"quire/internal/chart"
	"quire/internal/contents"
	"quire/internal/problem"
	"quire/internal/query"
)

// registerData adds the pages of tables and statements.
func (s *site) registerData(rt *api.Router) {
	page := api.Policy{Access: api.SignedIn, Page: true}
	form := api.Policy{Access: api.SignedIn, Page: true, MaxBody: 2 << 20}
	rt.Handle("GET /data", page, s.withQueries(s.data))
	rt.Handle("GET /data/table", page, s.withQueries(s.table))
	rt.Handle("GET /query", page, s.withQueries(s.queryForm))
	rt.Handle("POST /query", form, s.withQueries(s.execute))
	rt.Handle("GET /query/{id}", page, s.withQueries(s.query))
	rt.Handle("GET /query/{id}/table", page, s.withQueries(s.queryTable))
	rt.Handle("POST /query/{id}", page, s.withQueries(s.queryAction))
}

// withQueries answers only where there are ways to data.
func (s *site) withQueries(h api.Handler) api.Handler {
	return func(w http.ResponseWriter, r *http.Request) error {
		if s.cfg.Queries == nil {
			return problem.New(problem.NotFound, "this server has no connections to data")
		}
		return h(w, r)
	}
}

// A dataPage is the tables of every connection.
type dataPage struct {
	Search  string
	Sources []dataSource
}

type dataSource struct {
	query.ConnectionView
	Tables []query.Table
	Error  string
}

func (s *site) data(w http.ResponseWriter, r *http.Request) error {
	p := dataPage{Search: r.URL.Query().Get("q")}
	connections, err := s.cfg.Queries.Connections(r.Context(), user(r))
	if err != nil {
		return err
	}
	for _, c := range connections {
		source := dataSource{ConnectionView: c}
		if source.Tables, err = s.cfg.Queries.Tables(r.Context(), user(r), c.Name, query.TableFilter{Search: p.Search}); err != nil {
			source.Error = api.ErrorText(err)
		}
		p.Sources = append(p.Sources, source)
	}
	return s.show(w, r, http.StatusOK, "data", view{Title: "Data", Section: "data", Data: p})
}

// A tablePage is one table.
type tablePage struct {
	query.Description
	Name  string // in full
	Rows  shownRows
	Error string // why there is no sample
}

func (s *site) table(w http.ResponseWriter, r *http.Request) error {
	const sample = 20
	v := r.URL.Query()
	d, err := s.cfg.Queries.Describe(r.Context(), user(r), v.Get("connection"), v.Get("name"), sample)
	p := tablePage{Description: d}
	if err != nil && d.Table.Name == "" {
		return err
	}
	if err != nil {
		p.Error = api.ErrorText(err)
	}
	p.Name = d.Schema + "." + d.Table.Name
	if d.Sample != nil {
		p.Rows = showRows(*d.Sample)
	}
	return s.show(w, r, http.StatusOK, "table", view{Title: d.Table.Name, Section: "data", Crumbs: []crumb{{"Data", s.to("/data")}, {d.Table.Name, ""}}, Data: p})
}

// shownRows are the rows of a page as people read them.
type shownRows struct {
	Columns []query.Column
	Rows    [][]shownValue
}

// A shownValue is one value, numbers apart: they stand to the right.
type shownValue struct {
	Text   string
	Number bool
}

func showRows(p query.Page) shownRows {
	s := shownRows{Columns: p.Columns, Rows: make([][]shownValue, len(p.Rows))}
	for i, row := range p.Rows {
		for k, v := range row {
			s.Rows[i] = append(s.Rows[i], shownValue{cellText(v), k < len(p.Columns) && p.Columns[k].Numeric()})
		}
	}
	return s
}

// maxCell is how much of one value is shown, in bytes.
const maxCell = 500

func cellText(raw json.RawMessage) string {
	text := string(raw)
	if text == "null" {
		return "NULL"
	}
	var plain string
	if json.Unmarshal(raw, &plain) == nil {
		text = plain
	}
	if len(text) > maxCell {
		text = strings.ToValidUTF8(text[:maxCell], "") + "…"
	}
	return text
}

// A queryPage is a statement with its result, or the form for one.
type queryPage struct {
	Connections []query.ConnectionView
	Connection  string
	Statement   string
	Names       []namedValue // parameters of the statement
	Query       *query.Query
	Page        *query.Page
	Rows        shownRows
	From        int64
	Part        string // which of the rows these are, where it is not all of them
	Live        bool
	Error       string
	At          *query.Position
	History     []query.Query
}

type namedValue struct{ Name, Value string }

// pageRows is how many rows of a result a page shows.
const pageRows = 200

func (s *site) newQueryPage(r *http.Request, p queryPage) (queryPage, error) {
	var err error
	if p.Connections, err = s.cfg.Queries.Connections(r.Context(), user(r)); err != nil {
		return p, err
	}
	p.History, err = s.cfg.Queries.History(r.Context(), user(r), query.Filter{User: user(r).Name, Limit: 20})
	return p, err
}

func (s *site) showQuery(w http.ResponseWriter, r *http.Request, status int, p queryPage) error {
	p, err := s.newQueryPage(r, p)
	if err != nil {
		return err
	}
	w.Header().Set("Cache-Control", "no-store")
	return s.show(w, r, status, "query", view{Title: "Query", Section: "query", Data: p})
}

func (s *site) queryForm(w http.ResponseWriter, r *http.Request) error {
	v := r.URL.Query()
	return s.showQuery(w, r, http.StatusOK, queryPage{Connection: v.Get("connection"), Statement: v.Get("statement")})
}

// execute submits the form's statement and leads to its page.
func (s *site) execute(w http.ResponseWriter, r *http.Request) error {
	if err := readForm(r); err != nil {
		return err
	}
	f := r.PostForm
	req := query.Request{Connection: f.Get("connection"), Statement: f.Get("statement"), Parameters: map[string]json.RawMessage{}}
	p := queryPage{Connection: req.Connection, Statement: req.Statement}
	text, err := query.ParseText(req.Statement)
	if err == nil {
		for _, name := range text.Names() {
			value := f.Get("p." + name)
			p.Names = append(p.Names, namedValue{name, value})
			if _, given := f["p."+name]; given {
				req.Parameters[name] = formValue(value)
			}
		}
	}
	if err == nil && strings.TrimSpace(req.Statement) == "" {
		err = problem.New(problem.Invalid, "write a statement first")
	}
	var q query.Query
	if err == nil {
		q, err = s.cfg.Queries.Submit(r.Context(), user(r), req)
	}
	if err != nil {
		p.Error = api.ErrorText(err)
		if at, ok := query.PositionOf(err); ok {
			p.At = &at
		}
		return s.showQuery(w, r, api.Status(err), p)
	}
	http.Redirect(w, r, s.to("/query/"+q.ID), http.StatusSeeOther)
	return nil
}

// formValue is a number where a field holds one, else text.
func formValue(text string) json.RawMessage {
	if n, err := strconv.ParseFloat(text, 64); err == nil && json.Valid([]byte(text)) && n == n {
		return json.RawMessage(text)
	}
	data, _ := json.Marshal(text) // of text
	return data
}

// firstLook is how long the page waits for a statement that is fast.
const firstLook = 400 * time.Millisecond

func (s *site) query(w http.ResponseWriter, r *http.Request) error {
	id := r.PathValue("id")
	q, err := s.cfg.Queries.Get(r.Context(), user(r), id)
	if err != nil {
		return err
	}
	if !q.State.Ended() {
		ctx, cancel := context.WithTimeout(r.Context(), firstLook)
		q, err = s.cfg.Queries.Await(ctx, user(r), id, true)
		cancel()
		if err != nil {
			return err
		}
	}
	p := queryPage{Connection: q.Connection, Statement: q.Statement, Query: &q, Live: !q.State.Ended()}
	for name, value := range q.Parameters {
		p.Names = append(p.Names, namedValue{name, value})
	}
	if q.Error != nil {
		p.Error, p.At = q.Error.Detail, q.Error.Position
	}
	if q.State == query.Succeeded && q.HasResult {
		if err := s.addRows(r, &p); err != nil {
			p.Error = api.ErrorText(err)
		}
	}
	return s.showQuery(w, r, http.StatusOK, p)
}

func (s *site) addRows(r *http.Request, p *queryPage) error {
	if text := r.URL.Query().Get("from"); text != "" {
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil || n < 0 {
			return problem.New(problem.Invalid, "from: want the number of a row")
		}
		p.From = n
	}
	result, err := s.cfg.Queries.Result(r.Context(), user(r), p.Query.ID)
	if err != nil || result == nil {
		return err
	}
	defer result.Close()
	page, err := query.ReadPage(result, p.From, pageRows)
	if err != nil {
		return err
	}
	p.Page, p.Rows = &page, showRows(page)
	if n := int64(len(page.Rows)); n > 0 && n < p.Query.Rows {
		p.Part = fmt.Sprintf("Rows %d to %d of %d.", p.From+1, p.From+n, p.Query.Rows)
	}
	return nil
}

// exploredRows is how many rows of a result the explorer works on.
const exploredRows = 1000

// queryTable sends the first rows of a result to the script that explores them.
func (s *site) queryTable(w http.ResponseWriter, r *http.Request) error {
	q, err := s.cfg.Queries.Get(r.Context(), user(r), r.PathValue("id"))
	if err != nil {
		return err
	}
	result, err := s.cfg.Queries.Result(r.Context(), user(r), q.ID)
	if err != nil {
		return err
	}
	if result == nil {
		return problem.New(problem.NotFound, "the statement has no rows")
	}
	defer result.Close()
	page, err := query.ReadPage(result, 0, exploredRows)
	if err != nil {
		return err
	}
	t := explored(page)
	if q.Rows > int64(len(t.Rows)) {
		t.Whole = q.Rows
	}
	return writeTable(w, t)
}

// explored is a page of a result for the explorer. Names are made unique: it names
// columns by them.
func explored(page query.Page) renderedTable {
	columns := page.Columns[:min(len(page.Columns), chart.MaxColumns)]
	t := renderedTable{Names: make([]string, len(columns)), Rows: make([][]any, len(page.Rows))}
	seen := map[string]bool{}
	for i, c := range columns {
		name := c.Name
		for n := 2; seen[name]; n++ {
			name = c.Name + " " + strconv.Itoa(n)
		}
		seen[name], t.Names[i] = true, name
	}
	for i, row := range page.Rows {
		for k, v := range row[:min(len(row), len(columns))] {
			t.Rows[i] = append(t.Rows[i], exploredValue(v, columns[k].Numeric()))
		}
	}
	return t
}

// maxDigits is how many digits every number in a browser holds.
const maxDigits = 15

// exploredValue is a value as the explorer computes with it: a decimal is a number
// where a number holds all of its digits, and long text is cut.
func exploredValue(raw json.RawMessage, number bool) json.RawMessage {
	var s string
	if len(raw) == 0 || raw[0] != '"' || json.Unmarshal(raw, &s) != nil {
		if len(raw) > maxCell {
			raw, _ = json.Marshal(cellText(raw)) // of text
		}
		return raw
	}
	if number && s == "NaN" {
		return json.RawMessage("null")
	}
	if number && len(s) <= maxDigits && strings.Trim(s, "-.0123456789") == "" && json.Valid([]byte(s)) {
		return json.RawMessage(s)
	}
	if len(s) > maxCell {
		raw, _ = json.Marshal(cellText(raw)) // of text
	}
	return raw
}

// queryAction cancels a statement, or makes a notebook of it.
func (s *site) queryAction(w http.ResponseWriter, r *http.Request) error {
	if err := readForm(r); err != nil {
		return err
	}
	id := r.PathValue("id")
	switch r.PostForm.Get("do") {
	case "cancel":
		if _, err := s.cfg.Queries.Cancel(r.Context(), user(r), id); err != nil {
			return err
		}
		http.Redirect(w, r, s.to("/query/"+id), http.StatusSeeOther)
		return nil
	case "notebook":
		return s.notebookOf(w, r, id)
	}
	return problem.New(problem.Invalid, "do: want cancel or notebook")
}

// notebookOf saves a statement as a notebook in the person's workspace.
func (s *site) notebookOf(w http.ResponseWriter, r *http.Request, id string) error {
	q, err := s.cfg.Queries.Get(r.Context(), user(r), id)
	if err != nil {
		return err
	}
	cell := func(id, kind, source string) map[string]any {
		c := map[string]any{"cell_type": kind, "id": id, "metadata": map[string]any{}, "source": source}
		if kind == "code" {
			c["outputs"], c["execution_count"] = []any{}, nil
		}
		return c
	}
	cells := []any{cell("title", "markdown", "# Query of "+q.Submitted.Format("2006-01-02 15:04"))}
	load := "import kragle as kg"
	for name, value := range q.Parameters {
		data, err := json.Marshal(value)
		if err != nil {
			return err
		}
		load += "\n" + name + " = " + string(data)
	}
	cells = append(cells, cell("load", "code", load), cell("query", "code", "%%sql "+q.Connection+"\n"+q.Statement))
	data, err := json.MarshalIndent(map[string]any{
		"cells": cells, "nbformat": 4, "nbformat_minor": 5, "metadata": map[string]any{
			"kernelspec":    map[string]any{"name": "python3", "display_name": "Python 3", "language": "python"},
			"language_info": map[string]any{"name": "python"},
		},
	}, "", " ")
	if err != nil {
		return err
	}
	path := "users/" + user(r).Name + "/query-" + q.ID[:12] + ".ipynb"
	_, err = s.cfg.Volume.Save(r.Context(), user(r), path, bytes.NewReader(append(data, '\n')), contents.SaveOptions{})
	if err != nil && !problem.Is(err, problem.Exists) && !problem.Is(err, problem.Conflict) {
		return err
	}
	http.Redirect(w, r, s.to("/view/"+escapePath(path)), http.StatusSeeOther)
	return nil
}

// dataURL is the address of a table's page.
func dataURL(connection string, t query.Table) string {
	v := url.Values{"connection": {connection}, "name": {query.QuoteName(t.Schema) + "." + query.QuoteName(t.Name)}}
	return "/data/table?" + v.Encode()
}

// selectURL is the address of the form with a statement about a table, whose name
// is SQL of its engine.
func selectURL(connection, table string) string {
	v := url.Values{"connection": {connection}, "statement": {"SELECT *\nFROM " + table + "\nLIMIT 100"}}
	return "/query?" + v.Encode()
}

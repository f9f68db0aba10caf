package pages

import (
	"net/http"

	"quire/internal/problem"
	"quire/internal/run"
)

// A lineagePage is the runs that wrote and read a table or a file.
type lineagePage struct {
	run.Dataset
	WrittenBy, ReadBy []run.DatasetRun
}

// lineage shows which runs wrote and read a table, or a file.
func (s *site) lineage(w http.ResponseWriter, r *http.Request) error {
	q := r.URL.Query()
	p := lineagePage{Dataset: run.Dataset{Kind: run.Table, Connection: q.Get("connection"), Owner: q.Get("owner"), Name: q.Get("table")}}
	if p.Name == "" {
		p.Dataset = run.Dataset{Kind: run.File, Name: q.Get("file")}
	}
	if p.Name == "" {
		return problem.New(problem.Invalid, "want a table with its connection, or a file")
	}
	var err error
	const most = 100
	if p.WrittenBy, err = s.cfg.Runs.DatasetRuns(r.Context(), user(r), p.Dataset, true, most); err != nil {
		return err
	}
	if p.ReadBy, err = s.cfg.Runs.DatasetRuns(r.Context(), user(r), p.Dataset, false, most); err != nil {
		return err
	}
	return s.show(w, r, http.StatusOK, "lineage", view{Title: p.Name, Section: "data", Data: p})
}

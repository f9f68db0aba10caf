package spark

import (
	"context"
	"strings"

	"quire/internal/problem"
	"quire/internal/query"
)

// Limits of what is read of a catalog.
const (
	maxSchemas   = 200
	maxDescribed = 500 // tables whose columns are asked for, one by one
)

// Tables implements query.Source: what is in Spark's current catalog.
func (s *Source) Tables(ctx context.Context, user string, want query.TableFilter) ([]query.Table, error) {
	session, giveBack := s.session(user, "")
	defer giveBack()
	var schemas []string
	err := s.collect(ctx, session, "SHOW SCHEMAS", func(v []string, _ []bool) error {
		if len(schemas) < maxSchemas {
			schemas = append(schemas, v[0])
		}
		return nil
	})
	if err != nil {
		return nil, problem.Wrap(err, "reading the catalog")
	}
	var all []query.Table
	for _, schema := range schemas {
		found, err := s.tablesOf(ctx, session, schema)
		if err != nil {
			return nil, problem.Wrap(err, "reading the catalog")
		}
		all = append(all, found...)
	}
	described := 0
	for i := range all {
		t := &all[i]
		chosen := want.Name != "" && len(query.ChooseTables([]query.Table{*t}, query.TableFilter{Name: want.Name})) == 1
		if !chosen && (want.Name != "" || !want.Columns && want.Search == "") {
			continue
		}
		if described++; described > maxDescribed {
			break
		}
		// A table may go, or be broken, while the catalog is read: it is listed without columns.
		if err := s.describe(ctx, session, t); err != nil && (ctx.Err() != nil || problem.Is(err, problem.Unavailable)) {
			return nil, problem.Wrap(err, "reading the catalog")
		}
	}
	return query.ChooseTables(all, want), nil
}

func (s *Source) tablesOf(ctx context.Context, session *session, schema string) ([]query.Table, error) {
	var all []query.Table
	at := map[string]int{}
	err := s.collect(ctx, session, "SHOW TABLES IN "+quote(schema), func(v []string, _ []bool) error {
		if len(v) >= 3 && v[0] == schema { // not the session's temporary views
			at[v[1]] = len(all)
			all = append(all, query.Table{Schema: v[0], Name: v[1], Kind: "table"})
		}
		return nil
	})
	if err != nil || len(all) == 0 {
		return all, err
	}
	err = s.collect(ctx, session, "SHOW VIEWS IN "+quote(schema), func(v []string, _ []bool) error {
		if i, ok := at[v[1]]; ok && v[0] == schema {
			all[i].Kind = "view"
		}
		return nil
	})
	if problem.Is(err, problem.Invalid) || problem.Is(err, problem.NotFound) { // a catalog without views
		err = nil
	}
	return all, err
}

// describe adds the columns, and what is said of the whole.
func (s *Source) describe(ctx context.Context, session *session, t *query.Table) error {
	columns := true
	return s.collect(ctx, session, "DESCRIBE TABLE EXTENDED "+quote(t.Schema)+"."+quote(t.Name), func(v []string, null []bool) error {
		switch {
		case len(v) < 3:
		case v[0] == "" || strings.HasPrefix(v[0], "#"):
			columns = false
		case columns:
			t.Columns = append(t.Columns, query.Column{Name: v[0], Type: v[1], Comment: v[2]})
		case v[0] == "Comment":
			t.Comment = v[1]
		}
		return nil
	})
}

// quote writes a part of a name as Spark does.
func quote(part string) string { return "`" + strings.ReplaceAll(part, "`", "``") + "`" }

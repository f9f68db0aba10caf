package query_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"quire/internal/auth"
	"quire/internal/problem"
	"quire/internal/query"
)

// TestGroups sees what groups may do on a connection.
func TestGroups(t *testing.T) {
	t.Parallel()
	yes, no := true, false
	var last query.Statement
	running := make(chan struct{}, 10)
	run := func(ctx context.Context, st query.Statement, out query.Output) (query.Outcome, error) {
		if strings.Contains(st.Text.String(), "wait") {
			running <- struct{}{}
			return waits(ctx, st, out)
		}
		if st.Text.Verb() != "EXPLAIN" { // of a statement that took long
			last = st
		}
		_, err := out.Write(make([]byte, 2000))
		return query.Outcome{Rows: 1}, err
	}
	in := map[string][]string{"kim": {"readers"}, "lee": {"etl", "readers"}, "max": {"other"}, "una": {"etl"}}
	g, err := query.New(query.Config{
		Store: &records{all: map[string]query.Query{}}, Dir: t.TempDir(),
		Groups: func(_ context.Context, user string) ([]string, error) {
			if user == "una" {
				return nil, problem.New(problem.Unavailable, "away")
			}
			return in[user], nil
		},
		Connections: []*query.Connection{{
			Name: "main", Default: true, ReadOnly: true, Users: []string{"bob"}, Limits: query.Limits{MaxRows: 100, Timeout: time.Minute, Parallel: 3},
			Groups: map[string]query.GroupRights{
				"readers": {ReadOnly: &yes, Limits: query.Limits{MaxRows: 10, MaxBytes: 1000, Parallel: 1}},
				"etl":     {ReadOnly: &no, Limits: query.Limits{MaxRows: 1000, Parallel: 2}},
			},
			Source: scripted{run: run},
		}},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = g.Close() })
	user := func(name string) auth.User { return auth.User{Name: name} }
	for _, tt := range []struct {
		user     auth.User
		maxRows  int64
		readOnly bool
		rights   string // part of it
		refused  string
	}{
		{user("bob"), 100, true, "for bob, group etl, group readers; up to 100 rows, 4 GiB and 1m a statement, 3 at once", ""},
		{auth.User{Name: "root", Admin: true}, 100, true, "3 at once", ""},
		{user("lee"), 1000, false, "; you are in etl, readers; up to 1000 rows, 4 GiB and 1m a statement, 2 at once", ""},
		{user("kim"), 10, true, "; up to 10 rows, 1000 B", "your limit on connection main"},
		{user("max"), 0, false, "", "max may not use connection main: it is for some people and the groups etl, readers; ask an administrator"},
		{auth.User{Name: "nightly", Service: &auth.Service{Connections: []string{"main"}}}, 100, true, "3 at once", ""},
		{auth.User{Name: "weekly", Service: &auth.Service{Connections: []string{"other"}}}, 0, false, "", "weekly, a service identity, may not use connection main"},
		{user("una"), 0, false, "", "away"},
	} {
		all, err := g.Connections(t.Context(), tt.user)
		if tt.user.Name == "una" && err == nil || tt.rights == "" && len(all) > 0 {
			t.Errorf("%s sees %v, %v", tt.user.Name, all, err)
		}
		if tt.rights != "" && (len(all) != 1 || !strings.Contains(all[0].Rights(), tt.rights) || all[0].ReadOnly != tt.readOnly) {
			t.Errorf("%s sees %+v: %s, %v; want %s", tt.user.Name, all, all[0].Rights(), err, tt.rights)
		}
		q, err := g.Submit(t.Context(), tt.user, query.Request{Statement: "SELECT 1"})
		if err == nil {
			if q, err = g.Await(t.Context(), tt.user, q.ID, true); q.Error != nil {
				err = problem.New(problem.TooLarge, "%s", q.Error.Detail)
			}
		}
		if (err == nil) != (tt.refused == "") || err != nil && !strings.Contains(err.Error(), tt.refused) {
			t.Errorf("%s: %v, want %q", tt.user.Name, err, tt.refused)
		}
		if tt.rights != "" && (last.User != tt.user.Name || last.MaxRows != tt.maxRows || last.ReadOnly != tt.readOnly) {
			t.Errorf("%s: the engine got %d rows, read-only %v", tt.user.Name, last.MaxRows, last.ReadOnly)
		}
		_, err = g.Load(t.Context(), tt.user, "", query.Target{Name: "x", Mode: "made"}, nil)
		if wrote := problem.Is(err, problem.Invalid); wrote != (tt.user.Name == "lee") { // to the check of the mode
			t.Errorf("%s loads: %v", tt.user.Name, err)
		}
	}
	// The readers' one turn is taken: kim waits, bob does not.
	wait := func(name string) query.Query {
		q, err := g.Submit(t.Context(), user(name), query.Request{Statement: "SELECT wait"})
		if err != nil {
			t.Fatal(err)
		}
		return q
	}
	first := wait("kim")
	<-running
	second := wait("kim")
	wait("bob")
	<-running
	if q, err := g.Get(t.Context(), user("kim"), second.ID); err != nil || q.State != query.Queued {
		t.Errorf("a second statement of the readers is %s, %v", q.State, err)
	}
	if _, err := g.Cancel(t.Context(), user("kim"), first.ID); err != nil {
		t.Fatal(err)
	}
	<-running
}

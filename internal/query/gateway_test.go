package query_test

import (
	"context"
	"errors"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"quire/internal/auth"
	"quire/internal/problem"
	"quire/internal/query"
)

// records is a Store in memory; db's is in the tests of the server.
type records struct {
	mu  sync.Mutex
	all map[string]query.Query
}

func (r *records) PutQuery(_ context.Context, q query.Query) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.all[q.ID] = q
	return nil
}

func (r *records) Query(_ context.Context, id string) (query.Query, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	q, ok := r.all[id]
	if !ok {
		return q, problem.New(problem.NotFound, "query %s does not exist", id)
	}
	return q, nil
}

func (r *records) Queries(_ context.Context, f query.Filter) (found []query.Query, _ error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, q := range r.all {
		if (f.State == "" || q.State == f.State) && (f.User == "" || q.User == f.User) {
			found = append(found, q)
		}
	}
	return found, nil
}

func (*records) TableQueries(context.Context, string, string, bool, int) ([]query.Query, error) {
	return nil, nil
}
func (*records) DeleteQueries(context.Context, time.Time) error { return nil }

// scripted is a Source that does what a test says.
type scripted struct {
	query.Source
	run func(ctx context.Context, st query.Statement, out query.Output) (query.Outcome, error)
}

func (scripted) Engine() string { return "scripted" }
func (scripted) Close() error   { return nil }
func (s scripted) Run(ctx context.Context, st query.Statement, out query.Output) (query.Outcome, error) {
	return s.run(ctx, st, out)
}

var (
	ann = auth.User{Name: "ann"}
	bob = auth.User{Name: "bob"}
)

func open(t *testing.T, limits query.Limits, run func(ctx context.Context, st query.Statement, out query.Output) (query.Outcome, error)) (*query.Gateway, *records) {
	t.Helper()
	store := &records{all: map[string]query.Query{}}
	g, err := query.New(query.Config{Store: store, Dir: t.TempDir(), Connections: []*query.Connection{
		{Name: "main", Default: true, Limits: limits, Source: scripted{run: run}},
		{Name: "hers", Users: []string{"ann"}, Source: scripted{run: run}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = g.Close() })
	return g, store
}

func submit(t *testing.T, g *query.Gateway, req query.Request) query.Query {
	t.Helper()
	q, err := g.Submit(t.Context(), ann, req)
	if err != nil {
		t.Fatal(err)
	}
	return q
}

func ended(t *testing.T, g *query.Gateway, id string) query.Query {
	t.Helper()
	q, err := g.Await(t.Context(), ann, id, true)
	if err != nil || !q.State.Ended() {
		t.Fatalf("%s: %v", q.State, err)
	}
	return q
}

// endless writes until it is told to stop.
func endless(ctx context.Context, _ query.Statement, out query.Output) (query.Outcome, error) {
	block := make([]byte, 1<<16)
	for ctx.Err() == nil {
		if _, err := out.Write(block); err != nil {
			return query.Outcome{}, err
		}
	}
	return query.Outcome{}, ctx.Err()
}

func waits(ctx context.Context, _ query.Statement, _ query.Output) (query.Outcome, error) {
	<-ctx.Done()
	return query.Outcome{}, ctx.Err()
}

func TestTooLarge(t *testing.T) {
	t.Parallel()
	g, _ := open(t, query.Limits{MaxBytes: 1 << 20}, endless)
	q := ended(t, g, submit(t, g, query.Request{Statement: "SELECT 1"}).ID)
	if q.State != query.Failed || q.Error.Reason != "too large" || !strings.Contains(q.Error.Detail, "1 MiB") || q.Bytes > 1<<20 {
		t.Errorf("%s with %d bytes: %+v", q.State, q.Bytes, q.Error)
	}
	if _, err := g.Result(t.Context(), ann, q.ID); !problem.Is(err, problem.TooLarge) {
		t.Errorf("its result: %v", err)
	}
}

func TestTimeoutAndCancel(t *testing.T) {
	t.Parallel()
	g, _ := open(t, query.Limits{Timeout: 50 * time.Millisecond}, waits)
	if q := ended(t, g, submit(t, g, query.Request{Statement: "SELECT 1"}).ID); q.State != query.Failed || q.Error.Reason != "timeout" {
		t.Errorf("%s: %+v", q.State, q.Error)
	}
	slow, _ := open(t, query.Limits{Parallel: 1}, waits)
	first, second := submit(t, slow, query.Request{Statement: "SELECT 1"}), submit(t, slow, query.Request{Statement: "SELECT 2"})
	for _, id := range []string{second.ID, first.ID} { // the one that waits for its turn, then the one that has it
		if _, err := slow.Cancel(t.Context(), bob, id); !problem.Is(err, problem.Denied) {
			t.Errorf("bob cancels it: %v", err)
		}
		if _, err := slow.Cancel(t.Context(), ann, id); err != nil {
			t.Fatal(err)
		}
		if q := ended(t, slow, id); q.State != query.Cancelled || !strings.Contains(q.Error.Detail, "ann") {
			t.Errorf("%s: %+v", q.State, q.Error)
		}
	}
}

func TestQueueIsFull(t *testing.T) {
	t.Parallel()
	started := make(chan struct{}, 1)
	g, _ := open(t, query.Limits{Parallel: 1, Queue: 1}, func(ctx context.Context, st query.Statement, out query.Output) (query.Outcome, error) {
		started <- struct{}{}
		return waits(ctx, st, out)
	})
	submit(t, g, query.Request{Statement: "SELECT 1"})
	<-started
	submit(t, g, query.Request{Statement: "SELECT 2"})
	if _, err := g.Submit(t.Context(), ann, query.Request{Statement: "SELECT 3"}); !problem.Is(err, problem.Unavailable) {
		t.Errorf("a third statement: %v", err)
	}
}

// TestGoneInMidStream sees that a reader learns that a result is not whole.
func TestGoneInMidStream(t *testing.T) {
	t.Parallel()
	reading := make(chan struct{})
	g, _ := open(t, query.Limits{}, func(_ context.Context, _ query.Statement, out query.Output) (query.Outcome, error) {
		if _, err := out.Write([]byte("the beginning")); err != nil {
			return query.Outcome{}, err
		}
		<-reading
		return query.Outcome{}, problem.New(problem.Unavailable, "the engine is gone")
	})
	q := submit(t, g, query.Request{Statement: "SELECT 1"})
	result, err := g.Result(t.Context(), ann, q.ID)
	if err != nil {
		t.Fatal(err)
	}
	defer result.Close()
	head := make([]byte, 13)
	if _, err := io.ReadFull(result, head); err != nil || string(head) != "the beginning" {
		t.Fatalf("%q, %v", head, err)
	}
	close(reading)
	if _, err := result.Read(head); !problem.Is(err, problem.Unavailable) || errors.Is(err, io.EOF) {
		t.Errorf("the end is %v, want that the engine is gone", err)
	}
	if q := ended(t, g, q.ID); q.State != query.Failed || q.Error.Reason != "unavailable" {
		t.Errorf("%s: %+v", q.State, q.Error)
	}
}

func TestWhoMay(t *testing.T) {
	t.Parallel()
	g, _ := open(t, query.Limits{}, func(_ context.Context, _ query.Statement, out query.Output) (query.Outcome, error) {
		_, err := out.Write([]byte("rows"))
		return query.Outcome{Rows: 1}, err
	})
	if _, err := g.Submit(t.Context(), bob, query.Request{Connection: "hers", Statement: "SELECT 1"}); !problem.Is(err, problem.Denied) {
		t.Errorf("bob on ann's connection: %v", err)
	}
	if all, err := g.Connections(t.Context(), bob); err != nil || len(all) != 1 || all[0].Name != "main" {
		t.Errorf("bob sees %v", all)
	}
	q := submit(t, g, query.Request{Statement: "SELECT 1"})
	ended(t, g, q.ID)
	if _, err := g.Get(t.Context(), bob, q.ID); !problem.Is(err, problem.Denied) {
		t.Errorf("bob reads ann's statement: %v", err)
	}
	if _, err := g.Result(t.Context(), bob, q.ID); !problem.Is(err, problem.Denied) {
		t.Errorf("bob reads ann's result: %v", err)
	}
	if _, err := g.Submit(t.Context(), ann, query.Request{Connection: "nothing", Statement: "SELECT 1"}); !problem.Is(err, problem.NotFound) {
		t.Errorf("a connection that is not there: %v", err)
	}
}

func TestSecretsAreNotKept(t *testing.T) {
	t.Parallel()
	var sent string
	g, store := open(t, query.Limits{}, func(_ context.Context, st query.Statement, _ query.Output) (query.Outcome, error) {
		sent = st.Text.String()
		return query.Outcome{}, problem.New(problem.Invalid, "near PASSWORD 'hush'")
	})
	q := ended(t, g, submit(t, g, query.Request{Statement: "ALTER USER x PASSWORD 'hush' -- :api_token", Parameters: nil}).ID)
	if !strings.Contains(sent, "hush") {
		t.Error("the engine did not get the statement as it was")
	}
	kept := store.all[q.ID]
	if strings.Contains(kept.Statement+kept.Error.Detail, "hush") {
		t.Errorf("the record has the secret: %q, %q", kept.Statement, kept.Error.Detail)
	}
}

func TestCache(t *testing.T) {
	t.Parallel()
	runs := 0
	g, _ := open(t, query.Limits{}, func(_ context.Context, st query.Statement, out query.Output) (query.Outcome, error) {
		if st.Text.Verb() == "EXPLAIN" { // of a statement that took long
			return query.Outcome{}, nil
		}
		runs++
		_, err := out.Write([]byte("rows"))
		return query.Outcome{Rows: 1}, err
	})
	first := ended(t, g, submit(t, g, query.Request{Statement: "SELECT 1"}).ID)
	again := submit(t, g, query.Request{Statement: "SELECT 1", MaxAge: 60})
	if again.Cached == nil || again.Cached.Query != first.ID || again.Cached.At.IsZero() || runs != 1 {
		t.Errorf("asked again: %+v after %d runs", again.Cached, runs)
	}
	if result, err := g.Result(t.Context(), ann, again.ID); err != nil || result == nil {
		t.Errorf("its result: %v", err)
	} else {
		defer result.Close()
		if data, err := io.ReadAll(result); err != nil || string(data) != "rows" {
			t.Errorf("%q, %v", data, err)
		}
	}
	ended(t, g, submit(t, g, query.Request{Statement: "SELECT 1"}).ID)
	other, err := g.Submit(t.Context(), bob, query.Request{Statement: "SELECT 1", MaxAge: 60})
	if err != nil || other.Cached != nil {
		t.Errorf("bob got ann's result: %+v, %v", other, err)
	}
}

func TestRecover(t *testing.T) {
	t.Parallel()
	g, store := open(t, query.Limits{}, waits)
	store.all["a"] = query.Query{ID: "a", User: "ann", State: query.Running}
	if err := g.Recover(t.Context()); err != nil {
		t.Fatal(err)
	}
	if q, err := g.Get(t.Context(), ann, "a"); err != nil || q.State != query.Failed || q.Error == nil {
		t.Errorf("%+v, %v", q, err)
	}
}

package query

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"sync"
	"time"

	"quire/internal/auth"
	"quire/internal/problem"
)

// Config is what a Gateway needs.
type Config struct {
	Store       Store
	Dir         string // for results; made when it is missing
	Connections []*Connection
	// Groups returns the groups that a user is in; nil is none.
	Groups func(ctx context.Context, user string) ([]string, error)
	// ResultBytes is how much of the disk results may take together. Default 16 GiB.
	ResultBytes int64
	Log         *slog.Logger
	Now         func() time.Time // time.Now when nil
}

// A Gateway executes statements. It is safe for concurrent use.
type Gateway struct {
	cfg         Config
	connections []*Connection
	turns       map[string]chan struct{} // of each connection and its groups, one for each statement that may run
	results     results

	life   context.Context //nolint:containedctx // statements live as long as the gateway
	cancel context.CancelCauseFunc
	done   sync.WaitGroup

	mu     sync.Mutex
	live   map[string]*statement
	recent map[string]string // the newest id of each cache key
	queued map[string]int    // statements that wait, of each connection
}

// New returns a Gateway. The caller closes it.
func New(cfg Config) (*Gateway, error) {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.ResultBytes == 0 {
		cfg.ResultBytes = 16 << 30
	}
	if err := os.MkdirAll(cfg.Dir, 0o700); err != nil {
		return nil, problem.WrapAs(problem.Unavailable, err, "making room for results")
	}
	g := &Gateway{
		cfg: cfg, connections: cfg.Connections, turns: map[string]chan struct{}{}, results: results{cfg.Dir},
		live: map[string]*statement{}, recent: map[string]string{}, queued: map[string]int{},
	}
	for _, c := range g.connections {
		c.Limits = c.Limits.withDefaults()
		g.turns[c.Name] = make(chan struct{}, c.Limits.Parallel)
		for name, given := range c.Groups {
			g.turns[turnsOf(c.Name, name)] = make(chan struct{}, given.Limits.Parallel)
		}
	}
	g.life, g.cancel = context.WithCancelCause(context.Background())
	return g, nil
}

// errStopped is why statements end when the server does.
var errStopped = problem.New(problem.Canceled, "the server was stopped: run the statement again")

// Close cancels every statement, waits for them, and closes the sources.
func (g *Gateway) Close() error {
	g.cancel(errStopped)
	g.done.Wait()
	var errs []error
	for _, c := range g.connections {
		errs = append(errs, c.Source.Close())
	}
	return errors.Join(errs...)
}

// Recover ends the records of statements that a server before this one did not
// see the end of. Call it once, before the first Submit.
func (g *Gateway) Recover(ctx context.Context) error {
	for _, state := range []State{Queued, Running} {
		lost, err := g.cfg.Store.Queries(ctx, Filter{State: state, Limit: 500})
		if err != nil {
			return err
		}
		for _, q := range lost {
			q.State, q.Ended = Failed, g.cfg.Now().UTC()
			q.Error = failureOf(problem.New(problem.Unavailable, "the server ended while the statement was executed: run it again"), nil)
			_ = os.Remove(g.results.path(q.ID))
			if err := g.cfg.Store.PutQuery(ctx, q); err != nil {
				return err
			}
		}
	}
	return nil
}

// maxStatement is the longest statement, in bytes.
const maxStatement = 1 << 20

// Submit takes a statement and returns its record at once. The statement goes
// on when ctx ends: Cancel ends it.
func (g *Gateway) Submit(ctx context.Context, u auth.User, req Request) (Query, error) {
	c, r, err := g.connection(ctx, u, req.Connection)
	if err != nil {
		return Query{}, err
	}
	s, err := g.prepare(u, c, r, req)
	if err != nil {
		return Query{}, err
	}
	if found, ok := g.cached(ctx, s, req.MaxAge); ok {
		return found, nil
	}
	if err := g.cfg.Store.PutQuery(ctx, s.q); err != nil {
		return Query{}, err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.life.Err() != nil {
		return Query{}, errStopped
	}
	if g.queued[c.Name] >= c.Limits.Queue {
		return Query{}, problem.New(problem.Unavailable, "%d statements wait for connection %s already: try again later", c.Limits.Queue, c.Name)
	}
	g.queued[c.Name]++
	g.live[s.q.ID] = s
	var run context.Context
	run, s.cancel = context.WithCancelCause(g.life)
	first := s.q
	g.done.Go(func() { g.execute(run, s) })
	return first, nil
}

func (g *Gateway) prepare(u auth.User, c *Connection, r right, req Request) (*statement, error) {
	if len(req.Statement) > maxStatement {
		return nil, problem.New(problem.TooLarge, "the statement has %d bytes, above the limit of %d", len(req.Statement), maxStatement)
	}
	text, err := ParseText(req.Statement)
	if err != nil {
		return nil, err
	}
	values, err := ParseValues(req.Parameters)
	if err != nil {
		return nil, err
	}
	if req.MaxRows < 0 || req.TimeoutSeconds < 0 || req.MaxAge < 0 {
		return nil, problem.New(problem.Invalid, "maxRows, maxAge and timeoutSeconds may not be below 0")
	}
	if err := text.Check(values); err != nil {
		return nil, err
	}
	now := g.cfg.Now().UTC()
	id := newID(now)
	s := &statement{
		conn: c, right: r, text: text, values: values, maxRows: req.MaxRows, timeout: r.limits.Timeout,
		key: cacheKey(u.Name, c.Name, req), spool: newSpool(g.results.path(id)), changed: make(chan struct{}), now: g.cfg.Now,
	}
	if t := time.Duration(req.TimeoutSeconds) * time.Second; t > 0 && t < s.timeout {
		s.timeout = t
	}
	s.q = Query{
		ID: id, State: Queued, Connection: c.Name, Engine: c.Source.Engine(), User: u.Name,
		Statement: Redact(req.Statement), Parameters: shownValues(values),
		Notebook: req.Notebook, Run: req.Run, Cell: req.Cell, Submitted: now, HasResult: true,
	}
	return s, nil
}

// cacheKey is the same for what is asked for in the same words by the same person.
func cacheKey(user, connection string, req Request) string {
	data, _ := json.Marshal([]any{user, connection, req.Statement, req.Parameters, req.MaxRows}) // of plain JSON
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

// cached finds a result that is young enough, and records its use.
func (g *Gateway) cached(ctx context.Context, s *statement, maxAge int64) (Query, bool) {
	if maxAge == 0 {
		return Query{}, false
	}
	g.mu.Lock()
	id := g.recent[s.key]
	g.mu.Unlock()
	if id == "" {
		return Query{}, false
	}
	old, err := g.cfg.Store.Query(ctx, id)
	if err != nil || old.State != Succeeded || g.cfg.Now().Sub(old.Ended) > time.Duration(maxAge)*time.Second {
		return Query{}, false
	}
	if _, err := os.Stat(g.results.path(id)); err != nil {
		return Query{}, false
	}
	q := s.q
	q.State, q.Started, q.Ended = Succeeded, q.Submitted, q.Submitted
	q.Columns, q.Rows, q.Bytes, q.Truncated, q.Tables = old.Columns, old.Rows, old.Bytes, old.Truncated, old.Tables
	q.Progress = Progress{Fraction: full(), Rows: old.Rows, Bytes: old.Bytes}
	q.Cached = &Cached{At: old.Ended, Query: id}
	if err := g.cfg.Store.PutQuery(ctx, q); err != nil {
		return Query{}, false
	}
	return q, true
}

func full() *float64 {
	one := 1.0
	return &one
}

// Get returns a query that somebody may see: their own, or any to an
// administrator.
func (g *Gateway) Get(ctx context.Context, u auth.User, id string) (Query, error) {
	if s := g.running(id); s != nil {
		q := s.snapshot()
		return q, allowQuery(u, auth.Read, q)
	}
	q, err := g.cfg.Store.Query(ctx, id)
	if err != nil {
		return Query{}, err
	}
	return q, allowQuery(u, auth.Read, q)
}

func allowQuery(u auth.User, verb auth.Verb, q Query) error {
	return auth.Allow(u, verb, auth.Object{Kind: auth.JobKind, Owner: q.User})
}

func (g *Gateway) running(id string) *statement {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.live[id]
}

// Await returns the query when it has changed, or ended where toEnd is true, or
// ctx is done: then it returns it as it is.
func (g *Gateway) Await(ctx context.Context, u auth.User, id string, toEnd bool) (Query, error) {
	s := g.running(id)
	if s == nil {
		return g.Get(ctx, u, id)
	}
	for first := true; ; first = false {
		q, changed := s.watch()
		if err := allowQuery(u, auth.Read, q); err != nil {
			return Query{}, err
		}
		if q.State.Ended() || !first && !toEnd {
			return q, nil
		}
		select {
		case <-ctx.Done():
			return s.snapshot(), nil
		case <-changed:
		}
	}
}

// Cancel asks a query to stop. One that has ended stays as it is.
func (g *Gateway) Cancel(ctx context.Context, u auth.User, id string) (Query, error) {
	s := g.running(id)
	if s == nil {
		return g.Get(ctx, u, id)
	}
	q := s.snapshot()
	if err := allowQuery(u, auth.Write, q); err != nil {
		return Query{}, err
	}
	s.cancel(problem.New(problem.Canceled, "%s asked it to stop", u.Name))
	wait, end := context.WithTimeout(ctx, time.Second)
	defer end()
	return g.Await(wait, u, id, true)
}

// History returns queries, newest first: one's own, and all to an administrator.
func (g *Gateway) History(ctx context.Context, u auth.User, f Filter) ([]Query, error) {
	if f.User == "" && !u.Admin {
		f.User = u.Name
	}
	if f.User != u.Name && !u.Admin {
		return nil, problem.New(problem.Denied, "%s may see the statements of %s only", u.Name, u.Name)
	}
	if f.Limit == 0 {
		f.Limit = 50
	}
	if f.Limit < 1 || f.Limit > 500 {
		return nil, problem.New(problem.Invalid, "limit: must be between 1 and 500")
	}
	all, err := g.cfg.Store.Queries(ctx, f)
	for i, q := range all {
		all[i].Plan = ""
		if s := g.running(q.ID); s != nil {
			all[i] = s.snapshot()
		}
	}
	return all, err
}

// Result opens the Arrow stream of a query as soon as it has a first byte; nil
// is a statement that has none. The caller closes it. A query that failed
// before its first byte gives its error.
func (g *Gateway) Result(ctx context.Context, u auth.User, id string) (*Result, error) {
	if s := g.running(id); s != nil {
		if err := allowQuery(u, auth.Read, s.snapshot()); err != nil {
			return nil, err
		}
		return s.spool.open(ctx)
	}
	q, err := g.Get(ctx, u, id)
	if err != nil {
		return nil, err
	}
	if q.State != Succeeded {
		return nil, q.Error.err()
	}
	if !q.HasResult {
		return nil, nil
	}
	from := q.ID
	if q.Cached != nil {
		from = q.Cached.Query
	}
	return endedSpool(g.results.path(from), q.Bytes).open(ctx)
}

// Tables reads the catalog of a connection.
func (g *Gateway) Tables(ctx context.Context, u auth.User, connection string, want TableFilter) ([]Table, error) {
	c, _, err := g.connection(ctx, u, connection)
	if err != nil {
		return nil, err
	}
	found, err := c.Source.Tables(ctx, u.Name, want)
	if err == nil && want.Name != "" && len(found) == 0 {
		err = problem.New(problem.NotFound, "there is no table %s on connection %s", short(want.Name), c.Name)
	}
	return found, err
}

// Uses returns the newest queries that wrote and that read a table, of those
// that somebody may see.
func (g *Gateway) Uses(ctx context.Context, u auth.User, connection, table string) (wrote, read []Query, err error) {
	c, _, err := g.connection(ctx, u, connection)
	if err != nil {
		return nil, nil, err
	}
	for _, side := range []struct {
		wrote bool
		into  *[]Query
	}{{true, &wrote}, {false, &read}} {
		all, err := g.cfg.Store.TableQueries(ctx, c.Name, table, side.wrote, 50)
		if err != nil {
			return nil, nil, err
		}
		*side.into = slices.DeleteFunc(all, func(q Query) bool { return allowQuery(u, auth.Read, q) != nil })
	}
	return wrote, read, nil
}

// newID returns an id that sorts by time.
func newID(now time.Time) string {
	return fmt.Sprintf("%012x%s", now.UnixMilli(), randomText(14))
}

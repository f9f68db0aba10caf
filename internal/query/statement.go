package query

import (
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"regexp"
	"strings"
	"sync"
	"time"

	"quire/internal/problem"
)

// A statement is a query that has not ended.
type statement struct {
	conn    *Connection
	right   right
	text    Text
	values  map[string]Value
	maxRows int64
	timeout time.Duration
	key     string
	spool   *spool
	cancel  context.CancelCauseFunc
	now     func() time.Time

	mu      sync.Mutex
	q       Query
	changed chan struct{}
}

func (s *statement) snapshot() Query {
	q, _ := s.watch()
	return q
}

func (s *statement) watch() (Query, <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	q := s.q
	if !q.Started.IsZero() && q.Ended.IsZero() {
		q.DurationMs = s.now().Sub(q.Started).Milliseconds()
	}
	return q, s.changed
}

// change changes the record and tells whoever waits.
func (s *statement) change(f func(q *Query)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f(&s.q)
	close(s.changed)
	s.changed = make(chan struct{})
}

// execute waits for a turn, runs the statement and records how it ended.
func (g *Gateway) execute(ctx context.Context, s *statement) {
	defer s.cancel(nil)
	end, err := g.takeTurn(ctx, s)
	var out Outcome
	if err == nil {
		defer end()
		out, err = g.run(ctx, s)
	}
	if err != nil && ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	q := g.finish(s, out, err)
	if q.State != Succeeded || time.Duration(q.DurationMs)*time.Millisecond < planAfter {
		return
	}
	if q.Plan = g.plan(g.life, s); q.Plan == "" {
		return
	}
	if err := g.cfg.Store.PutQuery(context.WithoutCancel(g.life), q); err != nil {
		g.cfg.Log.LogAttrs(g.life, slog.LevelError, "a query's plan is not recorded", slog.String("query_id", q.ID), slog.String("error", err.Error()))
	}
}

func (g *Gateway) takeTurn(ctx context.Context, s *statement) (end func(), err error) {
	defer func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		g.queued[s.conn.Name]--
	}()
	return g.turn(ctx, s.conn, s.right)
}

func (g *Gateway) run(ctx context.Context, s *statement) (Outcome, error) {
	s.change(func(q *Query) { q.State, q.Started = Running, g.cfg.Now().UTC() })
	if err := g.cfg.Store.PutQuery(ctx, s.snapshot()); err != nil {
		return Outcome{}, err
	}
	ctx, stop := context.WithTimeoutCause(ctx, s.timeout, problem.New(problem.Timeout, "it took longer than its limit of %s", s.timeout))
	defer stop()
	q := s.snapshot()
	out, err := s.conn.Source.Run(ctx, Statement{
		User: q.User, Session: sessionOf(q), Text: s.text, Values: s.values, ReadOnly: s.right.readOnly, MaxRows: s.rowLimit(), Tag: q.ID,
	}, &output{statement: s, limit: s.right.limits.MaxBytes})
	if err != nil && ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	if err == nil && out.Truncated && s.maxRows == 0 {
		err = problem.New(problem.TooLarge, "the result has more than %d rows, which is your limit on connection %s: aggregate, add a LIMIT, or write it to a table", s.right.limits.MaxRows, s.conn.Name)
	}
	return out, err
}

// sessionOf is what the statements of one notebook, or of one run, have in common.
func sessionOf(q Query) string {
	if q.Run != "" {
		return "run " + q.Run
	}
	return q.Notebook
}

// rowLimit is where the source stops: what was asked for, or what is allowed.
func (s *statement) rowLimit() int64 {
	if most := s.right.limits.MaxRows; s.maxRows == 0 || most > 0 && most < s.maxRows {
		return most
	}
	return s.maxRows
}

// finish writes the record's last state, wakes everybody, and returns it.
func (g *Gateway) finish(s *statement, out Outcome, err error) Query {
	now := g.cfg.Now().UTC()
	size, _, _, _ := s.spool.look()
	if closing := s.spool.close(); err == nil && closing != nil {
		err = problem.WrapAs(problem.Unavailable, closing, "keeping the result")
	}
	q := s.snapshot()
	q.Ended, q.Rows, q.Bytes, q.Affected, q.Truncated, q.HasResult = now, out.Rows, size, out.Affected, out.Truncated, size > 0
	if !q.Started.IsZero() {
		q.DurationMs = now.Sub(q.Started).Milliseconds()
	}
	q.Progress.Rows, q.Progress.Bytes = out.Rows, size
	switch {
	case err == nil:
		q.State, q.Progress.Fraction = Succeeded, full()
		q.Tables = s.text.Tables()
	case problem.Is(err, problem.Canceled):
		q.State, q.Error = Cancelled, failureOf(err, nil)
	default:
		q.State, q.Error = Failed, failureOf(err, s.text.positionOf(err))
	}
	// The record outlives whoever asked, and the server's own end.
	if err := g.cfg.Store.PutQuery(context.WithoutCancel(g.life), q); err != nil {
		g.cfg.Log.LogAttrs(g.life, slog.LevelError, "a query's end is not recorded", slog.String("query_id", q.ID), slog.String("error", err.Error()))
	}
	g.mu.Lock()
	delete(g.live, q.ID)
	if q.State == Succeeded && q.HasResult {
		g.recent[s.key] = q.ID
	}
	g.mu.Unlock()
	s.change(func(old *Query) { *old = q })
	s.spool.end(err) // last: who reads the result to its end finds the statement ended
	if err := g.results.trim(g.cfg.ResultBytes, func(id string) bool { return g.running(id) != nil }); err != nil {
		g.cfg.Log.LogAttrs(g.life, slog.LevelWarn, "old results are not removed", slog.String("error", err.Error()))
	}
	g.cfg.Log.LogAttrs(g.life, slog.LevelInfo, "query ended", slog.String("query_id", q.ID), slog.String("user", q.User),
		slog.String("connection", q.Connection), slog.String("state", string(q.State)), slog.Int64("dur_ms", q.DurationMs), slog.Int64("rows", q.Rows))
	return q
}

// output is what a source writes to.
type output struct {
	statement *statement
	limit     int64
	written   int64
}

// Columns implements Output.
func (o *output) Columns(columns []Column) {
	o.statement.change(func(q *Query) { q.Columns = columns })
}

// Write implements Output.
func (o *output) Write(p []byte) (int, error) {
	if o.written += int64(len(p)); o.written > o.limit {
		return 0, problem.New(problem.TooLarge, "the result is larger than %d MiB, which is your limit on connection %s: aggregate, add a LIMIT, or write it to a table", o.limit>>20, o.statement.conn.Name)
	}
	n, err := o.statement.spool.Write(p)
	o.statement.change(func(q *Query) {
		q.Progress.Bytes = o.written
		if q.FirstRow.IsZero() {
			q.FirstRow = o.statement.now().UTC()
		}
	})
	return n, err
}

// Progress implements Output.
func (o *output) Progress(p Progress) {
	o.statement.change(func(q *Query) {
		p.Bytes = q.Progress.Bytes
		q.Progress, q.Rows = p, p.Rows
	})
}

// failureOf is an error as people see it.
func failureOf(err error, at *Position) *Failure {
	kind := problem.KindOf(err)
	f := &Failure{Type: "about:blank", Title: titles[kind], Detail: Redact(err.Error()), Reason: kind.String(), Position: at}
	if f.Title == "" {
		f.Title = "Something went wrong"
	}
	if kind == problem.Internal {
		f.Detail = "something went wrong here; the server's log says what, under this query's id"
	}
	return f
}

var titles = map[problem.Kind]string{
	problem.Invalid: "The statement is wrong", problem.NotFound: "It does not exist", problem.Denied: "Not allowed",
	problem.TooLarge: "The result is too large", problem.Timeout: "It took too long", problem.Unavailable: "The engine does not answer",
	problem.Canceled: "Cancelled", problem.Exists: "It exists already", problem.Conflict: "It was changed meanwhile",
}

// err is a failure as an error again.
func (f *Failure) err() error {
	if f == nil {
		return problem.New(problem.Unavailable, "the statement did not end well")
	}
	for kind := range titles {
		if kind.String() == f.Reason {
			return withPosition(problem.New(kind, "%s", f.Detail), f.Position)
		}
	}
	return problem.New(problem.Unavailable, "%s", f.Detail)
}

func withPosition(err error, at *Position) error {
	if at == nil {
		return err
	}
	return &located{err, *at}
}

// PositionOf returns where in the user's text an error is, where that is known.
func PositionOf(err error) (Position, bool) {
	var l *located
	if errors.As(err, &l) {
		return l.at, true
	}
	return Position{}, false
}

// positionOf is where in the text an error is; nil is not known.
func (t Text) positionOf(err error) *Position {
	if at, ok := PositionOf(err); ok {
		return &at
	}
	return nil
}

// AtOffset gives an error of an engine its position in the user's text: offset
// counts bytes of the bound SQL; below 0 is not known.
func (t Text) AtOffset(b Bound, offset int, err error) error {
	if offset < 0 || offset > len(b.SQL) {
		return err
	}
	return &located{err, t.Position(b.Source(offset))}
}

const hidden = "***"

var (
	// secretWord is the name of what should not be shown.
	secretWord    = `(?:password|passwd|pwd|passphrase|secret|token|credential|credentials|api_?key|access_?key(?:_?id)?|secret_?access_?key|private_?key|account_?key)`
	secretLiteral = regexp.MustCompile(`(?i)(\b[a-z_0-9]*` + secretWord + `\b"?(?:\s*(?:=>|:=|=|:)\s*|\s+)E?)'(?:[^']|'')*'?`)
	secretURL     = regexp.MustCompile(`([a-zA-Z][a-zA-Z0-9+.-]*://[^\s:/@'"]+:)[^\s@/'"]+@`)
	secretName    = regexp.MustCompile(`(?i)` + secretWord)
)

// Redact returns a text without what looks like a secret in it: a literal
// behind a word as PASSWORD, and the password of a URL.
func Redact(text string) string {
	text = secretLiteral.ReplaceAllString(text, "${1}'"+hidden+"'")
	return secretURL.ReplaceAllString(text, "${1}"+hidden+"@")
}

// shownValues are the values as the history has them.
func shownValues(values map[string]Value) map[string]string {
	if len(values) == 0 {
		return nil
	}
	all := map[string]string{}
	for name, v := range values {
		text := v.Text
		if v.List != nil {
			var parts []string
			for _, one := range v.List[:min(len(v.List), 100)] {
				parts = append(parts, one.Text)
			}
			text = strings.Join(parts, ", ")
		}
		if v.Type == Null {
			text = "NULL"
		}
		if secretName.MatchString(name) {
			text = hidden
		}
		if len(text) > 500 {
			text = text[:500] + "..."
		}
		all[name] = strings.ToValidUTF8(text, "")
	}
	return all
}

func randomText(n int) string { return strings.ToLower(rand.Text())[:n] }

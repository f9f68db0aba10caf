package spark

import (
	"bytes"
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"

	"quire/internal/problem"
	"quire/internal/query"
)

// Config is what the source needs.
type Config struct {
	DSN string // sc://host:port/;use_ssl=true;token=...;user_id=...
}

// Source sends statements to one Spark Connect server.
type Source struct {
	client *client
	user   string // that all statements are Spark's user of; "" is the person's own name

	mu       sync.Mutex
	sessions map[string]*session
}

var _ query.Source = (*Source)(nil)

// A session is one in Spark, of a person and a notebook or run.
type session struct {
	id     string
	user   string
	used   time.Time
	active int
}

// sessionIdle is how long a session is kept after its last statement.
const sessionIdle = 30 * time.Minute

// New returns a Source. It connects when it is first asked. The caller closes it.
func New(cfg Config) (*Source, error) {
	a, err := parseAddress(cfg.DSN)
	if err != nil {
		return nil, err
	}
	return &Source{client: newClient(a), user: a.user, sessions: map[string]*session{}}, nil
}

// Quote implements query.Quoter: what stands in double quotes is a text in Spark.
func (*Source) Quote(part string) string { return "`" + strings.ReplaceAll(part, "`", "``") + "`" }

// Engine implements query.Source.
func (*Source) Engine() string { return "spark" }

// Close tells Spark that the sessions have ended.
func (s *Source) Close() error {
	s.mu.Lock()
	var all []*session
	for _, one := range s.sessions {
		all = append(all, one)
	}
	s.sessions = map[string]*session{}
	s.mu.Unlock()
	ctx, end := context.WithTimeout(context.Background(), 3*time.Second)
	defer end()
	s.release(ctx, all)
	s.client.close()
	return nil
}

// release ends sessions. What Spark answers does not matter: it ends them by
// itself an hour later.
func (s *Source) release(ctx context.Context, all []*session) {
	for _, one := range all {
		request := message(nil).text(1, one.id).bytes(2, one.context()).text(3, clientType)
		_ = s.client.call(ctx, "ReleaseSession", request, func([]byte) error { return nil })
	}
}

const clientType = "quire"

func (s *session) context() message { return message(nil).text(1, s.user).text(2, s.user) }

// session returns the session of a person's notebook or run, to be given back,
// and ends those that were not used for long.
func (s *Source) session(user, of string) (*session, func()) {
	now := time.Now()
	key := user + "\x00" + of
	if s.user != "" {
		user = s.user
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var old []*session
	for k, one := range s.sessions {
		if k != key && one.active == 0 && now.Sub(one.used) > sessionIdle {
			old = append(old, one)
			delete(s.sessions, k)
		}
	}
	one := s.sessions[key]
	if one == nil {
		one = &session{id: uuid.NewString(), user: user}
		s.sessions[key] = one
	}
	one.active++
	return one, func() {
		s.mu.Lock()
		one.active--
		one.used = time.Now()
		s.mu.Unlock()
		if len(old) > 0 {
			ctx, end := context.WithTimeout(context.Background(), time.Second)
			defer end()
			s.release(ctx, old)
		}
	}
}

// Run implements query.Source.
func (s *Source) Run(ctx context.Context, st query.Statement, out query.Output) (o query.Outcome, err error) {
	b, err := st.Text.Bind(query.Question, st.Values)
	if err != nil {
		return o, err
	}
	text, before := b.SQL, 0
	if st.ReadOnly {
		if text, before, err = reading(st.Text.Verb(), text); err != nil {
			return o, err
		}
	}
	session, giveBack := s.session(st.User, st.Session)
	defer giveBack()
	e := &execution{source: s, session: session, tag: st.Tag, limit: st.MaxRows, table: &table{out: out, limit: st.MaxRows}}
	defer e.table.release()
	o, err = e.sql(ctx, text, b.Values)
	var known *failure
	if errors.As(err, &known) && ctx.Err() == nil {
		return o, st.Text.AtOffset(b, known.offset(text)-before, known.problem)
	}
	return o, s.failed(ctx, err)
}

// reading returns a statement in a form in which Spark only reads. WITH, FROM
// and a bracket may lead to an INSERT; inside of a SELECT that is not grammatical.
func reading(verb, text string) (string, int, error) {
	switch verb {
	case "SELECT", "VALUES", "TABLE", "SHOW", "DESCRIBE", "DESC", "EXPLAIN":
		return text, 0, nil
	case "WITH", "FROM", "":
		const before = "SELECT * FROM ("
		return before + strings.TrimRight(text, "; \t\r\n") + "\n)", len(before), nil
	}
	return "", 0, problem.New(problem.Denied, "this connection is read-only: a statement that begins with %s is not executed", verb)
}

// An execution is one statement while it is executed.
type execution struct {
	source  *Source
	session *session
	tag     string
	limit   int64
	table   *table
}

// sql sends a statement and writes its rows.
func (e *execution) sql(ctx context.Context, text string, values []query.Value) (query.Outcome, error) {
	plan, err := sqlCommand(text, values)
	if err != nil {
		return query.Outcome{}, err
	}
	answer, err := e.execute(ctx, plan)
	if err != nil || answer.relation == nil {
		return query.Outcome{Affected: answer.written}, err
	}
	local, isLocal, err := part(answer.relation, 11)
	if err != nil {
		return query.Outcome{}, err
	}
	if !isLocal {
		limit := e.limit
		if limit > 0 {
			limit++ // whether there are more
		}
		if _, err := e.execute(ctx, rootOf(answer.relation, limit)); err != nil && !errors.Is(err, errEnough) {
			return query.Outcome{Rows: e.table.rows}, err
		}
		return e.table.close()
	}
	// What changes something has been executed: its result came with the answer.
	data, _, err := part(local, 1)
	if err == nil && len(data) > 0 {
		err = e.table.add(data)
	}
	if err != nil && !errors.Is(err, errEnough) {
		return query.Outcome{}, err
	}
	o, err := e.table.close()
	if o.Affected == nil {
		o.Affected = answer.written
	}
	return o, err
}

// An answer is what came besides rows.
type answer struct {
	relation []byte
	written  *int64 // rows that were written, where Spark says so
}

// execute executes a plan. When ctx ends, or the table takes no more, Spark is
// told to stop, and execute returns when it has.
func (e *execution) execute(ctx context.Context, plan message) (a answer, err error) {
	id := uuid.NewString()
	request := message(nil).text(1, e.session.id).bytes(2, e.session.context()).bytes(3, plan).text(4, clientType).text(6, id)
	if e.tag != "" {
		request = request.text(7, "quire-"+e.tag)
	}
	call, end := context.WithCancel(context.WithoutCancel(ctx))
	defer end()
	over := make(chan struct{})
	var interrupting sync.WaitGroup
	interrupting.Go(func() {
		select {
		case <-over:
		case <-ctx.Done():
			e.interrupt(id, over)
			end() // what has not ended by then is left to Spark
		}
	})
	err = e.source.client.call(call, "ExecutePlan", request, func(m []byte) error { return e.answered(m, &a) })
	close(over)
	interrupting.Wait()
	if err == nil || ctx.Err() != nil {
		return a, err
	}
	var s *status
	if !errors.As(err, &s) { // it was not Spark that ended it
		e.interrupt(id, nil)
	}
	return a, e.source.explain(ctx, e.session, err)
}

// The times of an interrupt.
const (
	interruptEvery = 50 * time.Millisecond
	interruptMost  = 3 * time.Second
)

// interrupt tells Spark to stop an operation, which it may not have begun yet,
// until it is over; a nil channel is once.
func (e *execution) interrupt(id string, over <-chan struct{}) {
	ctx, end := context.WithTimeout(context.Background(), interruptMost)
	defer end()
	request := message(nil).text(1, e.session.id).bytes(2, e.session.context()).text(3, clientType).number(4, 3).text(6, id)
	for {
		err := e.source.client.call(ctx, "Interrupt", request, func([]byte) error { return nil })
		if over == nil || err != nil {
			return
		}
		select {
		case <-over:
			return
		case <-ctx.Done():
			return
		case <-time.After(interruptEvery):
		}
	}
}

// answered takes one message of an execution.
func (e *execution) answered(m []byte, a *answer) error {
	return read(m, func(f field) error {
		switch f.id {
		case 2: // arrow_batch
			data, _, err := part(f.bytes, 2)
			if err != nil || len(data) == 0 {
				return err
			}
			return e.table.add(data)
		case 5: // sql_command_result
			relation, _, err := part(f.bytes, 1)
			a.relation = slices.Clone(relation)
			return err
		case 18: // execution_progress
			return e.progress(f.bytes)
		}
		return nil
	})
}

// progress tells how many of the tasks that are known have ended.
func (e *execution) progress(m []byte) error {
	var tasks, done int64
	err := read(m, func(f field) error {
		if f.id != 1 {
			return nil
		}
		return read(f.bytes, func(f field) error {
			switch f.id {
			case 2:
				tasks += f.number
			case 3:
				done += f.number
			}
			return nil
		})
	})
	if err != nil || tasks == 0 {
		return err
	}
	fraction := float64(done) / float64(tasks)
	e.table.fraction = &fraction
	e.table.tell()
	return nil
}

// collect runs a statement of our own and reads its rows as texts.
func (s *Source) collect(ctx context.Context, session *session, text string, f func(values []string, null []bool) error) error {
	var b buffer
	e := &execution{source: s, session: session, table: &table{out: &b}}
	defer e.table.release()
	if _, err := e.sql(ctx, text, nil); err != nil {
		return s.failed(ctx, err)
	}
	if b.Len() == 0 {
		return nil
	}
	return query.ReadRows(&b, func([]string) error { return nil }, f)
}

// buffer is an Output of which only the bytes are wanted.
type buffer struct{ bytes.Buffer }

// maxCatalog is how much of a catalog is kept, in bytes.
const maxCatalog = 64 << 20

func (b *buffer) Write(p []byte) (int, error) {
	if b.Len()+len(p) > maxCatalog {
		return 0, problem.New(problem.TooLarge, "the catalog is larger than %d MiB", maxCatalog>>20)
	}
	return b.Buffer.Write(p)
}

func (*buffer) Columns([]query.Column)  {}
func (*buffer) Progress(query.Progress) {}

var _ io.Writer = (*buffer)(nil)

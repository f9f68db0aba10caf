// Package worker keeps an engine in processes of its own, one for each owner, in
// containers that see what the owner may see. A process answers orders on a Unix
// socket (see package frame) and ends by itself when nothing was asked for a
// while. One that runs out of memory, or crashes, takes only its owner's
// statements with it.
package worker

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"sync"

	"quire/internal/compute"
	"quire/internal/problem"
	"quire/internal/query"
	"quire/internal/query/frame"
)

// Config is what a Pool needs.
type Config struct {
	Engine string         // as people know it: "DuckDB"
	Driver compute.Driver // where the processes run
	Label  string         // of the processes' containers, so that a later server finds them; of no other Pool
	// MemoryBytes is the most that one process may have.
	MemoryBytes int64
	Log         *slog.Logger
	// Place makes ready where the process of an owner runs. id is the container's.
	Place func(ctx context.Context, owner, id string) (Place, error)
	// Explain says why a process did not start, by what it wrote; "" is not known.
	// It may be nil.
	Explain func(log string) string
}

// A Place is where the process of an owner runs.
type Place struct {
	// Spec is its container, but for what every container of a Pool has.
	Spec compute.Spec
	// Socket is where it will answer, as this process sees it, in a folder that is
	// removed with it.
	Socket string
}

// A Pool is the processes of an engine. It is safe for concurrent use.
type Pool struct {
	cfg Config

	mu      sync.Mutex
	swept   bool // what an earlier server has left is gone
	closed  bool
	workers map[string]*worker // by owner
	done    sync.WaitGroup
}

// label is on the containers of the processes.
const label = "quire-engine"

// New returns a Pool. It starts nothing. The caller closes it.
func New(cfg Config) *Pool {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	return &Pool{cfg: cfg, workers: map[string]*worker{}}
}

// Close ends the processes.
func (p *Pool) Close() error {
	p.mu.Lock()
	p.closed = true
	all := p.workers
	p.workers = map[string]*worker{}
	p.mu.Unlock()
	var errs []error
	for _, w := range all {
		errs = append(errs, w.stop())
	}
	p.done.Wait()
	return errors.Join(errs...)
}

// End ends the process of an owner, if there is one.
func (p *Pool) End(owner string) error {
	p.mu.Lock()
	w := p.workers[owner]
	delete(p.workers, owner)
	p.mu.Unlock()
	if w == nil {
		return nil
	}
	return w.stop()
}

// Do sends one order to the process of an owner, which is started when there is
// none, and follows it to its end. in is what is loaded, and out takes the rest;
// each may be nil. What the engine itself says against it is the Fault of the
// answer.
func (p *Pool) Do(ctx context.Context, owner string, ask frame.Ask, in io.Reader, out query.Output) (frame.Done, error) {
	for try := 0; ; try++ {
		w, err := p.worker(ctx, owner)
		if err != nil {
			return frame.Done{}, err
		}
		done, err := w.do(ctx, ask, in, out)
		// It ended for idleness while it was asked: nothing of the order was done.
		if errors.Is(err, errGone) && try == 0 {
			continue
		}
		return done, err
	}
}

// worker returns the running process of an owner.
func (p *Pool) worker(ctx context.Context, owner string) (*worker, error) {
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return nil, problem.New(problem.Canceled, "the server is stopping")
	}
	w := p.workers[owner]
	if w == nil || w.gone() {
		w = newWorker(p, owner)
		p.workers[owner] = w
		p.done.Go(w.start)
	}
	p.mu.Unlock()
	select {
	case <-w.ready:
		return w, w.failed()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// sweep removes what an earlier server has left, once.
func (p *Pool) sweep(ctx context.Context) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.swept {
		return nil
	}
	left, err := p.cfg.Driver.List(ctx, map[string]string{label: p.cfg.Label})
	if err != nil {
		return problem.Wrap(err, "looking for the %s of an earlier server", p.cfg.Engine)
	}
	for _, one := range left {
		if err := p.cfg.Driver.Remove(ctx, one.ID); err != nil {
			return problem.Wrap(err, "ending the %s of an earlier server", p.cfg.Engine)
		}
	}
	p.swept = true
	return nil
}

// Isolated tells whether a driver gives containers mounts of their own.
func Isolated(ctx context.Context, d compute.Driver) bool {
	probe, err := d.Probe(ctx)
	return err == nil && probe.Driver != "process"
}

var faultKinds = map[string]problem.Kind{
	"invalid": problem.Invalid, "not found": problem.NotFound, "denied": problem.Denied,
	"too large": problem.TooLarge, "canceled": problem.Canceled, "conflict": problem.Conflict,
}

// FaultError is what the engine says as an error.
func (p *Pool) FaultError(f *frame.Fault) error {
	if f.Kind == "memory" {
		return problem.New(problem.TooLarge, "%s ran out of memory (its limit is %s): select less, aggregate earlier, or use a larger connection", p.cfg.Engine, compute.FormatBytes(p.cfg.MemoryBytes))
	}
	kind, ok := faultKinds[f.Kind]
	if !ok {
		return problem.New(problem.Unavailable, "%s could not do this: %s", p.cfg.Engine, f.Message)
	}
	return problem.New(kind, "%s", f.Message)
}

// Run executes a statement and gives an error its place in the user's text.
func (p *Pool) Run(ctx context.Context, owner string, st query.Statement, b query.Bound, done func(frame.Done) (again bool), out query.Output) (query.Outcome, error) {
	ask := frame.Ask{What: "query", SQL: b.SQL, ReadOnly: st.ReadOnly, MaxRows: st.MaxRows}
	for _, v := range b.Values {
		ask.Values = append(ask.Values, frame.Value{Type: string(v.Type), Text: v.Text})
	}
	said, err := p.Do(ctx, owner, ask, nil, out)
	if err == nil && done != nil && done(said) {
		said, err = p.Do(ctx, owner, ask, nil, out)
	}
	if err == nil && said.Fault != nil {
		err = st.Text.AtOffset(b, said.Fault.Offset, p.FaultError(said.Fault))
	}
	return query.Outcome{Rows: said.Rows, Affected: said.Affected, Truncated: said.Truncated}, err
}

// Argument is the configuration of a process as its one argument.
func Argument(config any) (string, error) {
	data, err := json.Marshal(config)
	return string(data), err
}

// Bytes is an Output of which only the bytes are wanted.
type Bytes struct{ io.Writer }

// Columns implements query.Output.
func (Bytes) Columns([]query.Column) {}

// Progress implements query.Output.
func (Bytes) Progress(query.Progress) {}

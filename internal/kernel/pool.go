package kernel

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"os"
	"slices"
	"sync"
	"time"
	"unicode/utf8"

	"quire/internal/problem"
)

// maxPool bounds the kernels that a Pool holds.
const maxPool = 64

// Pool keeps started kernels, so that getting one costs no start. A kernel is
// handed out once and is then its user's to close; the pool starts another in
// its place. It is safe for concurrent use.
type Pool struct {
	cfg   Config
	size  int
	start func(context.Context, Config) (*Kernel, error)

	ctx    context.Context // ends the starts under way
	cancel context.CancelFunc
	wg     sync.WaitGroup

	mu       sync.Mutex
	idle     []*Kernel
	starting int
	closed   bool
	failed   time.Time     // when a start failed last: no refill for a while
	failure  error         // why
	first    chan struct{} // closed when the first start has ended
	awaited  bool          // somebody waits for that, or has
}

// refillPause is how long a pool does not refill after a kernel that did not
// start.
const refillPause = 5 * time.Second

// refillAfter is how long a pool leaves the machine to the kernel that it has
// just handed out: starting one takes most of a core for half a second.
const refillAfter = time.Second

// NewPool returns a pool that keeps size kernels (1 to 64) of cfg and begins
// to start them. cfg.Dir and cfg.Env are those of the waiting kernels; Get may
// ask for others.
func NewPool(cfg Config, size int) (*Pool, error) { return NewPoolWith(cfg, size, Start) }

// NewPoolWith is NewPool with another way to start a kernel, such as
// Forkserver.Start.
func NewPoolWith(cfg Config, size int, start func(context.Context, Config) (*Kernel, error)) (*Pool, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if size < 1 || size > maxPool {
		return nil, problem.New(problem.Invalid, "a pool of %d kernels: want 1 to %d", size, maxPool)
	}
	cfg = cfg.withDefaults()
	if cfg.Dir == "" {
		cfg.Dir, _ = os.Getwd()
	}
	ctx, cancel := context.WithCancel(context.Background())
	p := &Pool{cfg: cfg, size: size, start: start, ctx: ctx, cancel: cancel, first: make(chan struct{})}
	p.refill()
	return p, nil
}

// Ready returns how many kernels wait.
func (p *Pool) Ready() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.idle)
}

// Await returns when the pool's first kernel waits, or with the reason why it
// does not.
func (p *Pool) Await(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return contextWrap(ctx.Err())
	case <-p.first:
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.idle) == 0 && p.failure != nil {
		return p.failure
	}
	return nil
}

// Get returns a kernel as cfg asks for: a waiting one where it can be made so,
// otherwise a new one. Of a waiting Python kernel the working directory and
// the environment are changed; for other languages they must be those of the
// pool. A kernel that died while it waited is never returned. Who comes while
// the first one starts gets that one: a start beside it would make both slower.
func (p *Pool) Get(ctx context.Context, cfg Config) (*Kernel, error) {
	cfg = cfg.withDefaults()
	if cfg.Dir == "" {
		cfg.Dir = p.cfg.Dir
	}
	setup, ok := p.setup(&cfg)
	if ok {
		p.awaitFirst(ctx)
	}
	for ok {
		k := p.take()
		if k == nil {
			break
		}
		if err := k.prepare(ctx, setup); err == nil && k.Death() == nil {
			k.handOver(&cfg)
			return k, nil
		}
		_ = k.Close()
		if ctx.Err() != nil {
			return nil, contextWrap(ctx.Err())
		}
	}
	return p.start(ctx, cfg)
}

// awaitFirst waits for the first start when it is under way. One caller does:
// it serves one.
func (p *Pool) awaitFirst(ctx context.Context) {
	p.mu.Lock()
	wait := !p.awaited
	p.awaited = true
	p.mu.Unlock()
	if !wait {
		return
	}
	select {
	case <-p.first:
	case <-ctx.Done():
	}
}

// handOver makes cfg the waiting kernel's own. What its process writes from
// now on goes to cfg.Output.
func (k *Kernel) handOver(cfg *Config) {
	if out, ok := k.cfg.Output.(*switchWriter); ok {
		out.set(cfg.Output)
	}
	k.cfg.Dir, k.cfg.Env = cfg.Dir, cfg.Env
	k.cfg.Log, k.cfg.IdleGrace, k.cfg.StartTimeout = cfg.Log, cfg.IdleGrace, cfg.StartTimeout
}

// switchWriter passes on to a writer that may change. The zero value discards.
type switchWriter struct {
	mu sync.Mutex
	w  io.Writer
}

func (s *switchWriter) set(w io.Writer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.w = w
}

// Write implements io.Writer.
func (s *switchWriter) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.w == nil {
		return len(b), nil
	}
	return s.w.Write(b)
}

// take removes a living kernel from the pool, nil when none waits.
func (p *Pool) take() *Kernel {
	p.mu.Lock()
	defer p.mu.Unlock()
	defer p.refillLocked(refillAfter)
	for len(p.idle) > 0 {
		k := p.idle[0]
		p.idle = slices.Delete(p.idle, 0, 1)
		if k.Death() == nil {
			return k
		}
		_ = k.Close()
	}
	return nil
}

func (p *Pool) refill() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.refillLocked(0)
}

// refillLocked starts what is missing, in the background, after a while.
func (p *Pool) refillLocked(after time.Duration) {
	if p.closed || time.Since(p.failed) < refillPause {
		return
	}
	for len(p.idle)+p.starting < p.size {
		p.starting++
		p.wg.Go(func() { p.startOne(after) })
	}
}

func (p *Pool) startOne(after time.Duration) {
	timer := time.NewTimer(after)
	defer timer.Stop()
	select {
	case <-p.ctx.Done():
	case <-timer.C:
	}
	cfg, out := p.cfg, &switchWriter{}
	out.set(p.cfg.Output)
	cfg.Output = out
	k, err := p.start(p.ctx, cfg)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.starting--
	if p.firstEnds() {
		defer close(p.first)
	}
	if err != nil {
		if !p.closed {
			p.failed, p.failure = time.Now(), err
			p.cfg.Log.LogAttrs(p.ctx, slog.LevelWarn, "pool could not start a kernel",
				slog.String("kernel", p.cfg.Spec.Name), slog.String("err", err.Error()))
		}
		return
	}
	if p.closed {
		_ = k.Close()
		return
	}
	p.idle = append(p.idle, k)
}

// firstEnds reports whether no start has ended before. The caller holds mu and
// closes first.
func (p *Pool) firstEnds() bool {
	select {
	case <-p.first:
		return false
	default:
		return true
	}
}

// Close ends the waiting kernels and the starts under way, and returns when
// they are gone. Kernels that were handed out are not touched. Twice is fine.
func (p *Pool) Close() error {
	p.mu.Lock()
	p.closed = true
	idle := p.idle
	p.idle = nil
	p.mu.Unlock()
	p.cancel()
	for _, k := range idle {
		_ = k.Close()
	}
	p.wg.Wait()
	return nil
}

// setup returns the code that turns a waiting kernel into what cfg asks for,
// empty when there is nothing to do; false when no code can.
func (p *Pool) setup(cfg *Config) (string, bool) {
	if cfg.Spec.Dir != p.cfg.Spec.Dir || cfg.RuntimeDir != p.cfg.RuntimeDir ||
		cfg.Transport != p.cfg.Transport || cfg.MaxMessage != p.cfg.MaxMessage || cfg.Username != p.cfg.Username ||
		!slices.Equal(cfg.Spec.Argv, p.cfg.Spec.Argv) {
		return "", false
	}
	have, want := environmentMap(&p.cfg), environmentMap(cfg)
	set, unset := make(map[string]string), []string{}
	for name, value := range want {
		if old, ok := have[name]; !ok || old != value {
			set[name] = value
		}
	}
	for name := range have {
		if _, ok := want[name]; !ok {
			unset = append(unset, name)
		}
	}
	if len(set) == 0 && len(unset) == 0 && cfg.Dir == p.cfg.Dir {
		return "", true
	}
	if cfg.Spec.Language != "python" || !isIPykernel(cfg.Spec) {
		return "", false
	}
	for name := range set {
		if readOnce(name) || !utf8.ValidString(set[name]) {
			return "", false
		}
	}
	for _, name := range unset {
		if readOnce(name) {
			return "", false
		}
	}
	return pythonSetup(cfg.Dir, set, unset)
}

// pythonSetup changes directory and environment and leaves no name behind.
// Values travel as JSON in a string literal that Python and JSON agree on.
func pythonSetup(dir string, set map[string]string, unset []string) (string, bool) {
	data, err := json.Marshal(map[string]any{"dir": dir, "set": set, "unset": unset})
	if err != nil {
		return "", false
	}
	literal, err := json.Marshal(string(data))
	if err != nil {
		return "", false
	}
	return "(lambda o, s, j: (o.environ.update(j['set']), [o.environ.pop(n, None) for n in j['unset']], " +
		"s.path.__setitem__(slice(1, 1), [p for p in j['set'].get('PYTHONPATH', '').split(o.pathsep) if p and p not in s.path]), " +
		"__import__('time').tzset(), o.chdir(j['dir'])))(__import__('os'), __import__('sys'), __import__('json').loads(" + string(literal) + "))", true
}

// prepare runs the setup code silently.
func (k *Kernel) prepare(ctx context.Context, code string) error {
	if code == "" {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	e, err := k.Execute(ctx, ExecuteRequest{Code: code, Silent: true})
	if err != nil {
		return err
	}
	for {
		m, err := e.Next(ctx)
		if err != nil {
			if e.done() {
				return nil
			}
			return err
		}
		var reply struct{ Status string }
		if m.Type() == "execute_reply" && m.Decode(&reply) == nil && reply.Status != "ok" {
			return problem.New(problem.Unavailable, "a waiting kernel could not be prepared: %s", m.Content)
		}
	}
}

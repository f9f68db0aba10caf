package keeper

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"log/slog"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"time"

	"quire/internal/kernel"
	"quire/internal/problem"
	"quire/internal/socket"
)

// Files in the directory of a keeper.
const (
	socketFile = "socket" // where it answers
	lockFile   = "lock"   // held while it lives
	logFile    = "log"    // what it had to say
)

// Options say how a keeper lives. The zero value of each field is a default.
type Options struct {
	// Orphan is how long it goes on without an owner when no kernel runs a cell.
	// Default one hour; one minute when there are no kernels.
	Orphan time.Duration
	// BusyOrphan is the same while one does. Default 24 hours.
	BusyOrphan time.Duration
	Log        *slog.Logger // nil discards
	Ready      func()       // called when it answers; nil is nothing
}

// lockWait is how long a keeper waits for the end of the one before it. Its
// server waits for spawnLimit.
const lockWait = 20 * time.Second

// emptyOrphan is how long a keeper without kernels goes on without an owner.
const emptyOrphan = time.Minute

// A process is a keeper's process.
type process struct {
	opt    Options
	log    *slog.Logger
	cancel context.CancelFunc
	wg     sync.WaitGroup // connections and starts

	mu      sync.Mutex
	closed  bool
	kernels map[string]*kept
	conns   map[net.Conn]struct{}
	pools   *kernel.Pools // nil before the first owner
	note    json.RawMessage
	owner   net.Conn  // nil when there is none
	left    time.Time // when the last one went
}

// Serve keeps kernels for whoever connects to the socket in dir, until ctx ends,
// an owner asks it to end, or there has been none for too long. Only one keeper
// serves a directory: another one is an error of kind Exists.
func Serve(ctx context.Context, dir string, opt Options) error {
	if opt.Orphan <= 0 {
		opt.Orphan = time.Hour
	}
	if opt.BusyOrphan <= 0 {
		opt.BusyOrphan = 24 * time.Hour
	}
	if opt.Log == nil {
		opt.Log = slog.New(slog.DiscardHandler)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return problem.WrapAs(problem.Unavailable, err, "making the kernels' directory")
	}
	lock, err := os.OpenFile(filepath.Join(dir, lockFile), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return problem.WrapAs(problem.Unavailable, err, "locking the kernels' directory")
	}
	defer lock.Close()
	if err := lockAlone(ctx, dir, lock); err != nil {
		return err
	}
	l, err := socket.Listen(filepath.Join(dir, socketFile))
	if err != nil {
		return problem.WrapAs(problem.Unavailable, err, "listening for the owner of kernels")
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	p := &process{opt: opt, log: opt.Log, cancel: cancel, kernels: map[string]*kept{}, conns: map[net.Conn]struct{}{}, left: time.Now()}
	p.wg.Go(func() { p.accept(ctx, l) })
	p.wg.Go(func() { p.watch(ctx, lock.Name()) })
	if opt.Ready != nil {
		opt.Ready()
	}
	<-ctx.Done()
	err = l.Close()
	if gone := os.Remove(filepath.Join(dir, socketFile)); !errors.Is(gone, fs.ErrNotExist) {
		err = errors.Join(err, gone)
	}
	return errors.Join(err, p.end())
}

// lockAlone takes the lock of a directory. One that answers there keeps it; one
// that ends, which takes its kernels a while, is waited for.
func lockAlone(ctx context.Context, dir string, lock *os.File) error {
	limit := time.NewTimer(lockWait)
	defer limit.Stop()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	kept := problem.New(problem.Exists, "the kernels of %s are kept already", dir)
	for {
		if syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) == nil {
			return nil
		}
		if conn, err := socket.Dial(ctx, filepath.Join(dir, socketFile)); err == nil {
			_ = conn.Close()
			return kept
		}
		select {
		case <-tick.C:
		case <-limit.C:
			return kept
		case <-ctx.Done():
			return problem.Wrap(ctx.Err(), "waiting for the end of the kernels before")
		}
	}
}

func (p *process) accept(ctx context.Context, l net.Listener) {
	for {
		conn, err := l.Accept()
		if err != nil {
			if ctx.Err() == nil {
				p.log.LogAttrs(ctx, slog.LevelError, "kernels are not kept any more", slog.String("err", err.Error()))
				p.cancel()
			}
			return
		}
		p.mu.Lock()
		closed := p.closed
		if !closed {
			p.conns[conn] = struct{}{}
			p.wg.Go(func() {
				p.serve(ctx, conn)
				_ = conn.Close()
				p.mu.Lock()
				delete(p.conns, conn)
				p.mu.Unlock()
			})
		}
		p.mu.Unlock()
		if closed {
			_ = conn.Close()
			return
		}
	}
}

// watch ends a keeper that nobody owns or whose directory was removed, and pauses kernels that say too much.
func (p *process) watch(ctx context.Context, lock string) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		for _, k := range p.all() {
			k.press()
		}
		if _, err := os.Stat(lock); errors.Is(err, fs.ErrNotExist) {
			p.cancel() // nobody can find us any more
		}
		if p.orphaned(time.Now()) {
			p.log.LogAttrs(ctx, slog.LevelInfo, "kernels end: their server did not come back")
			p.cancel()
		}
	}
}

// orphaned reports whether there was no owner for too long.
func (p *process) orphaned(now time.Time) bool {
	all := p.all()
	p.mu.Lock()
	owned, left := p.owner != nil, p.left
	p.mu.Unlock()
	if owned {
		return false
	}
	limit := p.opt.Orphan
	if len(all) == 0 {
		limit = min(limit, emptyOrphan)
	}
	for _, k := range all {
		f := k.found()
		if f.State == stateBusy || f.State == stateStarting {
			limit = max(limit, p.opt.BusyOrphan)
		}
		if f.Active.After(left) && f.State == stateIdle { // what ran while nobody was there has its hour too
			left = f.Active
		}
	}
	return now.Sub(left) > limit
}

func (p *process) all() []*kept {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.SortedFunc(maps.Values(p.kernels), func(a, b *kept) int { return a.started.Compare(b.started) })
}

// end ends every kernel and connection, and returns when they are gone.
func (p *process) end() error {
	p.mu.Lock()
	p.closed = true
	for conn := range p.conns {
		_ = conn.Close()
	}
	pools := p.pools
	p.mu.Unlock()
	var wg sync.WaitGroup
	all := p.all()
	errs := make([]error, len(all))
	for i, k := range all {
		wg.Go(func() { errs[i] = k.close(context.Background(), 0) })
	}
	if pools != nil {
		wg.Go(pools.Close)
	}
	wg.Wait()
	p.wg.Wait()
	return errors.Join(errs...)
}

// serve answers the request of one connection.
func (p *process) serve(ctx context.Context, conn net.Conn) {
	in := bufio.NewReaderSize(conn, 64<<10)
	var q request
	if err := readLine(in, &q); err != nil {
		return
	}
	if q.Do == doEnd {
		_ = writeLine(conn, answer{})
		p.cancel()
		return
	}
	if q.Protocol != protocol {
		_ = writeLine(conn, answer{Error: "the keeper of the kernels is of another version", Kind: problem.Conflict})
		return
	}
	switch q.Do {
	case doOwn:
		p.own(conn, in, &q)
		return
	case doAttach:
		k, err := p.kernel(q.Kernel)
		if err != nil {
			_ = writeLine(conn, answer{Error: err.Error(), Kind: problem.KindOf(err)})
			return
		}
		k.attach(conn, in, q.After)
		return
	}
	var a answer
	if err := p.do(ctx, &q); err != nil {
		a.Error, a.Kind = err.Error(), problem.KindOf(err)
	}
	_ = writeLine(conn, a)
}

// do does what a short request asks for.
func (p *process) do(ctx context.Context, q *request) error {
	switch q.Do {
	case doStart:
		return p.start(ctx, q)
	case doPrepare:
		if q.Base == nil {
			return problem.New(problem.Invalid, "prepare: no kernelspec")
		}
		p.waiting().Prepare(q.Base.config())
		return nil
	case doNote:
		p.mu.Lock()
		defer p.mu.Unlock()
		p.note = q.Note
		return nil
	}
	k, err := p.kernel(q.Kernel)
	if err != nil {
		return err
	}
	switch q.Do {
	case doInterrupt:
		<-k.ready
		if k.failed != nil {
			return k.failed
		}
		return k.k.Interrupt(ctx)
	case doRestart:
		return k.restart(ctx)
	case doShutdown:
		p.mu.Lock()
		delete(p.kernels, q.Kernel)
		p.mu.Unlock()
		return k.close(ctx, q.Grace)
	}
	return problem.New(problem.Invalid, "a keeper does not know %.40q", q.Do)
}

// own makes conn the owner's until it ends.
func (p *process) own(conn net.Conn, in *bufio.Reader, q *request) {
	all := p.all()
	found := make([]Found, len(all))
	for i, k := range all {
		found[i] = k.found()
	}
	p.mu.Lock()
	if p.owner != nil {
		_ = p.owner.Close()
	}
	p.owner = conn
	if p.pools == nil {
		p.pools = kernel.NewPools(q.Warm)
	}
	a := answer{Kernels: found, Note: p.note}
	p.mu.Unlock()
	if writeLine(conn, a) == nil {
		_, _ = in.ReadByte() // nothing comes: the end of the owner
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.owner == conn {
		p.owner, p.left = nil, time.Now()
	}
}

func (p *process) waiting() *kernel.Pools {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.pools == nil {
		p.pools = kernel.NewPools(0)
	}
	return p.pools
}

func (p *process) kernel(id string) (*kept, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if k := p.kernels[id]; k != nil {
		return k, nil
	}
	return nil, problem.New(problem.NotFound, "no kernel %.64q is kept", id)
}

// start starts a kernel and returns when it is ready. Who asks may go away.
func (p *process) start(ctx context.Context, q *request) error {
	if q.Config == nil || q.Base == nil || q.Kernel == "" {
		return problem.New(problem.Invalid, "start: no kernelspec, or no id")
	}
	k := newKept(q.Kernel, *q.Config, p.log)
	p.mu.Lock()
	_, there := p.kernels[q.Kernel]
	if p.closed || there {
		p.mu.Unlock()
		return problem.New(problem.Exists, "kernel %.64q is kept already, or the keeper ends", q.Kernel)
	}
	p.kernels[q.Kernel] = k
	p.mu.Unlock()
	started, err := p.waiting().Get(ctx, q.Config.config(), q.Base.config())
	k.begin(started, err)
	if err != nil {
		p.mu.Lock()
		delete(p.kernels, q.Kernel)
		p.mu.Unlock()
	}
	return err
}

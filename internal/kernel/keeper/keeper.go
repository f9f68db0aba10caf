package keeper

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"quire/internal/kernel"
	"quire/internal/kernel/wire"
	"quire/internal/problem"
	"quire/internal/socket"
)

// Times of a keeper, as its owner sees it.
const (
	spawnLimit = 30 * time.Second // for a new one to answer
	endLimit   = 30 * time.Second // for its kernels to end
	writeLimit = 60 * time.Second
	maxLog     = 4 << 20 // bytes of its log before it is begun anew
)

// A Keeper is a server's side of the process that keeps its kernels, which is
// started when it is needed. It is safe for concurrent use. Close ends the
// process and the kernels; Leave ends neither.
type Keeper struct {
	dir     string
	command []string // starts the process when the directory is added
	warm    int
	log     *slog.Logger

	mu  sync.Mutex
	own net.Conn // while the process lives and we own it
}

// New returns the Keeper whose process is reached in dir. command, with dir as
// one more argument, is the program that calls Serve and writes a line to its
// standard output when it answers. warm is how many started kernels wait for
// each kernelspec in use.
func New(dir string, command []string, warm int, log *slog.Logger) *Keeper {
	return &Keeper{dir: dir, command: command, warm: warm, log: log}
}

// Resume connects to a keeper that runs already, and returns what it keeps, and
// the note of the owner before. There may be none: then nothing is returned. One
// that keeps no kernel is ended, so that the next has our environment.
func (k *Keeper) Resume(ctx context.Context) ([]Found, json.RawMessage, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	a, err := k.take(ctx)
	switch {
	case errors.Is(err, errNone):
		return nil, nil, nil
	case problem.Is(err, problem.Conflict):
		k.log.LogAttrs(ctx, slog.LevelWarn, "kernels of another version of this program end", slog.String("err", err.Error()))
		return nil, nil, k.end(ctx)
	case err != nil:
		return nil, nil, err
	case len(a.Kernels) == 0:
		_ = k.own.Close()
		k.own = nil
		return nil, nil, k.end(ctx)
	}
	return a.Kernels, a.Note, nil
}

var errNone = errors.New("no keeper runs")

// take makes us the owner of a keeper that runs. The caller holds mu.
func (k *Keeper) take(ctx context.Context) (*answer, error) {
	conn, err := socket.Dial(ctx, filepath.Join(k.dir, socketFile))
	if err != nil {
		return nil, errNone
	}
	a, _, err := ask(ctx, conn, &request{Do: doOwn, Warm: k.warm})
	if err != nil {
		_ = conn.Close()
		return nil, err
	}
	k.own = conn
	go func() { // ends with the connection, which Close, Leave or the process's end ends
		_, _ = io.Copy(io.Discard, conn)
		k.mu.Lock()
		defer k.mu.Unlock()
		_ = conn.Close()
		if k.own == conn {
			k.own = nil
		}
	}()
	return a, nil
}

// ask sends a request and returns its answer, and what is to be read behind it.
func ask(ctx context.Context, conn net.Conn, q *request) (*answer, *bufio.Reader, error) {
	q.Protocol = protocol
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Now()) })
	defer stop()
	in := bufio.NewReaderSize(conn, 64<<10)
	a := &answer{}
	err := writeLine(conn, q)
	if err == nil {
		err = readLine(in, a)
	}
	switch {
	case err != nil && ctx.Err() != nil:
		return nil, nil, problem.Wrap(ctx.Err(), "waiting for the kernels' keeper")
	case err != nil:
		return nil, nil, problem.WrapAs(problem.Unavailable, err, "asking the kernels' keeper")
	}
	return a, in, a.err()
}

// call sends a short request.
func (k *Keeper) call(ctx context.Context, q *request) error {
	conn, err := socket.Dial(ctx, filepath.Join(k.dir, socketFile))
	if err != nil {
		return problem.WrapAs(problem.Unavailable, errors.Join(errNone, err), "the process that keeps the kernels is gone")
	}
	defer conn.Close()
	_, _, err = ask(ctx, conn, q)
	return err
}

// ensure starts the process when it does not run.
func (k *Keeper) ensure(ctx context.Context) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.own != nil {
		return nil
	}
	_, err := k.take(ctx)
	if errors.Is(err, errNone) {
		if err = k.spawn(ctx); err == nil {
			_, err = k.take(ctx)
		}
	}
	return err
}

// spawn starts the process, in a session of its own: what ends us does not end
// it. It returns when it answers. The caller holds mu.
func (k *Keeper) spawn(ctx context.Context) error {
	fail := func(err error) error {
		return problem.WrapAs(problem.Unavailable, err, "starting the process that keeps the kernels (its log is %s)", filepath.Join(k.dir, logFile))
	}
	if err := os.MkdirAll(k.dir, 0o700); err != nil {
		return fail(err)
	}
	name := filepath.Join(k.dir, logFile)
	if info, err := os.Stat(name); err == nil && info.Size() > maxLog {
		if err := os.Rename(name, name+".1"); err != nil {
			return fail(err)
		}
	}
	log, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return fail(err)
	}
	defer log.Close()
	r, w, err := os.Pipe()
	if err != nil {
		return fail(err)
	}
	defer r.Close()
	// No context: it is to outlive us.
	cmd := exec.Command(k.command[0], append(k.command[1:len(k.command):len(k.command)], k.dir)...) //nolint:noctx // see above
	cmd.Stdout, cmd.Stderr = w, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	err = cmd.Start()
	_ = w.Close()
	if err != nil {
		return fail(err)
	}
	go func() { _ = cmd.Wait() }() // it goes on after us, or ends here
	_ = r.SetReadDeadline(time.Now().Add(spawnLimit))
	stop := context.AfterFunc(ctx, func() { _ = r.SetReadDeadline(time.Now()) })
	defer stop()
	if _, err := r.Read(make([]byte, 1)); err != nil {
		if ctx.Err() != nil {
			return problem.Wrap(ctx.Err(), "starting the process that keeps the kernels")
		}
		return fail(err)
	}
	return nil
}

// Start starts a kernel under that id and returns when it is ready. base is what
// those are that wait for later starts.
func (k *Keeper) Start(ctx context.Context, id string, cfg, base kernel.Config) (*Kernel, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	n := &Kernel{keeper: k, id: id, cfg: cfg, base: base}
	if err := n.start(ctx); err != nil {
		return nil, err
	}
	return n, nil
}

// Attach takes up a kernel that Resume has found, and hears what it said after
// that message.
func (k *Keeper) Attach(ctx context.Context, f Found, after uint64, cfg, base kernel.Config) (*Kernel, error) {
	n := &Kernel{keeper: k, id: f.ID, cfg: cfg, base: base}
	if err := n.attach(ctx, after); err != nil {
		return nil, err
	}
	return n, nil
}

// Prepare begins to start waiting kernels as base asks for.
func (k *Keeper) Prepare(ctx context.Context, base kernel.Config) error {
	if k.warm < 1 {
		return nil
	}
	if err := k.ensure(ctx); err != nil {
		return err
	}
	return k.call(ctx, &request{Do: doPrepare, Base: configOf(&base)})
}

// Note keeps text, as JSON, for an owner that comes after us. Without a process
// there is nothing to keep it for.
func (k *Keeper) Note(ctx context.Context, v any) error {
	k.mu.Lock()
	owned := k.own != nil
	k.mu.Unlock()
	if !owned {
		return nil
	}
	text, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return k.call(ctx, &request{Do: doNote, Note: text})
}

// Leave ends the connection. The process and its kernels go on, for a while.
func (k *Keeper) Leave() {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.own != nil {
		_ = k.own.Close()
		k.own = nil
	}
}

// Close ends the process and every kernel, and returns when they are gone. Twice
// is fine.
func (k *Keeper) Close() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.own == nil {
		return nil
	}
	_ = k.own.Close()
	k.own = nil
	ctx, cancel := context.WithTimeout(context.Background(), endLimit)
	defer cancel()
	return k.end(ctx)
}

// end asks the process to end, and waits for it: its lock is free then.
func (k *Keeper) end(ctx context.Context) error {
	if err := k.call(ctx, &request{Do: doEnd}); err != nil && !errors.Is(err, errNone) {
		return err
	}
	lock, err := os.OpenFile(filepath.Join(k.dir, lockFile), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return problem.WrapAs(problem.Unavailable, err, "waiting for the end of the kernels")
	}
	defer lock.Close()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		if syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) == nil {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return problem.Wrap(ctx.Err(), "waiting for the end of the kernels")
		}
	}
}

// A Kernel is a kernel at its keeper. One goroutine calls Next; the other
// methods are safe for concurrent use.
type Kernel struct {
	keeper    *Keeper
	id        string
	cfg, base kernel.Config

	mu         sync.Mutex
	conn       net.Conn
	in         *bufio.Reader
	found      Found // as it was when we attached
	generation int
	death      *kernel.Death
	closed     bool

	writing sync.Mutex
}

// start asks the keeper for the kernel and attaches to it.
func (n *Kernel) start(ctx context.Context) error {
	if err := n.keeper.ensure(ctx); err != nil {
		return err
	}
	err := n.keeper.call(ctx, &request{Do: doStart, Kernel: n.id, Config: configOf(&n.cfg), Base: configOf(&n.base)})
	if err != nil {
		return err
	}
	return n.attach(ctx, 0)
}

func (n *Kernel) attach(ctx context.Context, after uint64) error {
	conn, err := socket.Dial(ctx, filepath.Join(n.keeper.dir, socketFile))
	if err != nil {
		return problem.WrapAs(problem.Unavailable, err, "the process that keeps the kernels is gone")
	}
	a, in, err := ask(ctx, conn, &request{Do: doAttach, Kernel: n.id, After: after})
	if err == nil && a.Kernel == nil {
		err = problem.New(problem.Internal, "the keeper did not say what kernel %s is", n.id)
	}
	if err != nil {
		_ = conn.Close()
		return err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.conn != nil {
		_ = n.conn.Close()
	}
	n.conn, n.in, n.found, n.generation, n.death = conn, in, *a.Kernel, a.Kernel.Generation, nil
	if a.Kernel.State == stateDead && after >= a.Kernel.Last {
		n.death = &kernel.Death{}
	}
	return nil
}

// Found is what the keeper said of the kernel when we attached.
func (n *Kernel) Found() Found {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.found
}

// StartedAt returns when the kernel was started.
func (n *Kernel) StartedAt() time.Time { return n.Found().Started }

// Next returns the next message of the kernel. The error of a kernel that is
// dead comes once, after everything that it said.
func (n *Kernel) Next(ctx context.Context) (*wire.Message, error) {
	n.mu.Lock()
	conn, in := n.conn, n.in
	n.mu.Unlock()
	stop := context.AfterFunc(ctx, func() { _ = conn.SetReadDeadline(time.Now()) })
	defer stop()
	for {
		kind, content, err := readFrame(in)
		if err != nil {
			return nil, n.broken(ctx, conn)
		}
		switch kind {
		case frameMessage:
			_, m, err := decodeMessage(content)
			if err != nil {
				n.keeper.log.LogAttrs(ctx, slog.LevelError, "a message of the kernels' keeper was refused", slog.String("err", err.Error()))
				continue
			}
			return m, nil
		case frameDeath:
			var d death
			if err := json.Unmarshal(content, &d); err != nil {
				continue
			}
			n.mu.Lock()
			late := d.Generation < n.generation
			if !late {
				n.death = d.Death
			}
			n.mu.Unlock()
			if !late {
				return nil, problem.New(problem.Unavailable, "%s", d.Text)
			}
		}
	}
}

// broken is the error of a connection that has ended.
func (n *Kernel) broken(ctx context.Context, conn net.Conn) error {
	if ctx.Err() != nil {
		return problem.Wrap(ctx.Err(), "waiting for the kernel")
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.conn == conn {
		n.death = &kernel.Death{ExitCode: -1, At: time.Now()}
	}
	return problem.New(problem.Unavailable, "the process that keeps the kernels ended, and the kernel with it")
}

// Death returns how the process ended, nil while it lives.
func (n *Kernel) Death() *kernel.Death {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.death
}

// Send passes a client's message on. Sent twice, a message reaches the kernel
// once.
func (n *Kernel) Send(_ context.Context, session string, m *wire.Message) error {
	f, err := encodeMessage(session, m)
	if err != nil {
		return err
	}
	return n.write(f)
}

// Settle tells the keeper what we need not hear again after a restart: messages
// up to seq, and for clients those up to what each is known to have.
func (n *Kernel) Settle(seq uint64, sessions map[string]uint64) {
	content, err := json.Marshal(settlement{seq, sessions})
	if err == nil {
		_ = n.write(frame(frameSettled, content)) // who reads finds it broken
	}
}

func (n *Kernel) write(f []byte) error {
	n.mu.Lock()
	conn := n.conn
	n.mu.Unlock()
	n.writing.Lock()
	defer n.writing.Unlock()
	_ = conn.SetWriteDeadline(time.Now().Add(writeLimit))
	if _, err := conn.Write(f); err != nil {
		_ = conn.Close() // a part may be on its way
		return problem.WrapAs(problem.Unavailable, err, "sending to the process that keeps the kernels")
	}
	return nil
}

// Interrupt interrupts what runs.
func (n *Kernel) Interrupt(ctx context.Context) error {
	return n.keeper.call(ctx, &request{Do: doInterrupt, Kernel: n.id})
}

// Restart ends the process and starts a new one, also when the keeper is gone
// that had it.
func (n *Kernel) Restart(ctx context.Context) error {
	err := n.keeper.call(ctx, &request{Do: doRestart, Kernel: n.id})
	if errors.Is(err, errNone) || problem.Is(err, problem.NotFound) {
		return n.start(ctx)
	}
	if err != nil {
		return err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.generation++
	n.death = nil
	return nil
}

// Shutdown ends the kernel, within grace if it can, and the keeper forgets it.
func (n *Kernel) Shutdown(ctx context.Context, grace time.Duration) error {
	err := n.keeper.call(ctx, &request{Do: doShutdown, Kernel: n.id, Grace: grace})
	if errors.Is(err, errNone) || problem.Is(err, problem.NotFound) {
		return nil
	}
	return err
}

// Close ends the connection, not the kernel. Twice is fine.
func (n *Kernel) Close() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed {
		return nil
	}
	n.closed = true
	return n.conn.Close()
}

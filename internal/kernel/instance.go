package kernel

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/google/uuid"

	"quire/internal/kernel/wire"
	"quire/internal/problem"
)

// Times of a start and an end.
const (
	startTries   = 5                      // with new ports each, when ports were taken
	askEvery     = 400 * time.Millisecond // first wait before kernel_info is repeated, doubled each time
	askMost      = time.Second
	nudgeEvery   = 10 * time.Millisecond // the same when the reply came and only iopub is silent
	nudgeMost    = 250 * time.Millisecond
	sideChannels = 2 * time.Second // a kernel that does not open control and stdin is used without
	termGrace    = time.Second     // between SIGTERM and SIGKILL
	killWait     = 10 * time.Second
)

// launcher starts a kernel's process.
type launcher interface {
	start(ctx context.Context, cfg *Config, connection string) (process, error)
}

// execLauncher runs the spec's command.
type execLauncher struct{}

func (execLauncher) start(_ context.Context, cfg *Config, connection string) (process, error) {
	env := environment(cfg)
	if leavesTemporary(cfg.Spec) && !namesTemporary(cfg) {
		dir := temporaryOf(filepath.Dir(connection))
		if err := os.Mkdir(dir, 0o700); err != nil {
			return nil, problem.WrapAs(problem.Unavailable, err, "making the kernel's folder for temporary files")
		}
		env = append(env, temporaryDir+"="+dir)
	}
	p, err := startProcess(launch{argv: command(cfg.Spec, connection), dir: cfg.Dir, env: env, output: cfg.Output})
	if err != nil {
		return nil, err
	}
	return p, nil
}

// command fills in the spec's argv. A bare "python" is the one of the
// environment that the spec lies in, as Jupyter has it.
func command(spec Spec, connection string) []string {
	prefix := ""
	if share := filepath.Dir(filepath.Dir(spec.Dir)); filepath.Base(share) == "jupyter" &&
		filepath.Base(filepath.Dir(share)) == "share" {
		prefix = filepath.Dir(filepath.Dir(share))
	}
	fill := strings.NewReplacer("{connection_file}", connection, "{resource_dir}", spec.Dir, "{prefix}", prefix)
	argv := make([]string, len(spec.Argv))
	for i, a := range spec.Argv {
		argv[i] = fill.Replace(a)
	}
	if prefix != "" && strings.HasPrefix(argv[0], "python") && !strings.Contains(argv[0], "/") {
		for _, name := range []string{argv[0], "python3", "python"} {
			if exe := filepath.Join(prefix, "bin", name); isExecutable(exe) {
				argv[0] = exe
				break
			}
		}
	}
	return argv
}

func isExecutable(file string) bool {
	st, err := os.Stat(file)
	return err == nil && st.Mode().IsRegular() && st.Mode().Perm()&0o111 != 0
}

// environment is ours, the spec's and the Config's, the last one wins.
func environment(cfg *Config) []string {
	env := os.Environ()
	for name, value := range cfg.Spec.Env {
		if value = expand(value); name == matplotlibDir && ownMatplotlib(value) {
			continue
		}
		env = append(env, name+"="+value)
	}
	env = append(env, "JPY_PARENT_PID="+itoa(os.Getpid()))
	if _, set := os.LookupEnv("PYDEVD_DISABLE_FILE_VALIDATION"); !set && isIPykernel(cfg.Spec) {
		env = append(env, "PYDEVD_DISABLE_FILE_VALIDATION=1") // or the debugger warns of itself in the first cell
	}
	return append(env, cfg.Env...)
}

// expand replaces ${NAME} and $NAME where NAME is set, and leaves the rest.
func expand(s string) string {
	return os.Expand(s, func(name string) string {
		if v, ok := os.LookupEnv(name); ok {
			return v
		}
		if name == "$" {
			return "$"
		}
		return "${" + name + "}"
	})
}

// instance is one kernel process with everything that belongs to it.
type instance struct {
	cfg     *Config
	proc    process
	client  *client
	inbox   *queue
	dir     *kernelDir
	ports   *portLocks
	file    string
	started time.Time
	info    Info
	mem     *memoryWatch
	memAt   atomic.Int64 // when mem was refreshed last, in Unix nanoseconds

	asked atomic.Bool
	ready atomic.Bool
	peak  atomic.Int64

	death *Death        // set before done is closed
	done  chan struct{} // the process has ended
	over  chan struct{} // and its sockets have delivered everything
}

// startInstance starts a process and waits until it answers, with new ports
// when somebody else took them.
func startInstance(ctx context.Context, cfg *Config, l launcher) (*instance, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, cfg.StartTimeout, problem.New(problem.Timeout,
		"the kernel did not answer within %s", cfg.StartTimeout))
	defer cancel()
	for try := 1; ; try++ {
		in, err := launchInstance(ctx, cfg, l)
		if err != nil {
			return nil, err
		}
		if err = in.awaitReady(ctx); err == nil {
			return in, nil
		}
		in.close()
		var dead *DeathError
		if try < startTries && errors.As(err, &dead) && portTaken(dead.Death.Stderr) {
			continue
		}
		return nil, err
	}
}

// launchInstance starts the process and its connections.
func launchInstance(ctx context.Context, cfg *Config, l launcher) (_ *instance, err error) {
	in := &instance{cfg: cfg, done: make(chan struct{}), over: make(chan struct{})}
	if in.dir, err = newKernelDir(cfg.RuntimeDir); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			in.cleanUp()
		}
	}()
	conn, hold, err := endpoints(cfg, in.dir.path)
	if err != nil {
		return nil, err
	}
	in.ports = hold
	in.file = filepath.Join(in.dir.path, "connection.json")
	if err = conn.write(in.file); err != nil {
		return nil, err
	}
	in.inbox = newQueue(spillAfter, cfg.SpillDir)
	in.client = newClient(conn, cfg, in.inbox, strings.ReplaceAll(uuid.NewString(), "-", ""))
	in.started = time.Now()
	if in.proc, err = l.start(ctx, cfg, in.file); err != nil {
		return nil, err
	}
	in.mem = watchMemory(in.proc.pid())
	in.memAt.Store(time.Now().UnixNano())
	in.client.start()
	go in.watch()
	return in, nil
}

// watch waits for the end of the process and tells everybody.
func (in *instance) watch() {
	<-in.proc.ended()
	in.death = newDeath(in.proc.exit(), in.asked.Load(), !in.ready.Load(), in.mem, in.peak.Load())
	in.cleanUp()
	close(in.done)
	in.client.finish()
	in.inbox.end(&DeathError{in.death})
	close(in.over)
}

// cleanUp removes the files and gives the ports back. Twice is fine.
func (in *instance) cleanUp() {
	in.dir.remove()
	if in.ports != nil {
		in.ports.release()
	}
}

func (in *instance) deathNow() *Death {
	select {
	case <-in.done:
		return in.death
	default:
		return nil
	}
}

// dead returns a *DeathError when the process has ended.
func (in *instance) dead() error {
	if d := in.deathNow(); d != nil {
		return &DeathError{d}
	}
	return nil
}

// deathError waits for the death that was noticed elsewhere.
func (in *instance) deathError() error {
	<-in.done
	return &DeathError{in.death}
}

// awaitReady repeats kernel_info until its reply and an idle on iopub have
// come: then the subscription works and nothing can be missed.
func (in *instance) awaitReady(ctx context.Context) error {
	for _, ch := range []wire.Channel{wire.Shell, wire.IOPub} {
		if _, err := in.client.socks[ch].get(ctx, in.done); err != nil {
			return in.notReady(ctx, err)
		}
	}
	var reply *wire.Message
	idle := false
	wait := askEvery
	for reply == nil || !idle {
		if err := in.ask(ctx); err != nil {
			return in.notReady(ctx, err)
		}
		timer := time.NewTimer(wait)
		for again := false; !again && (reply == nil || !idle); {
			select {
			case p := <-in.client.probed:
				if p.reply != nil && reply == nil {
					reply = p.reply
					wait = nudgeEvery // a kernel that answers only lacks our subscription
					timer.Reset(wait)
				}
				idle = idle || p.idle
			case <-timer.C:
				again = true
			case <-in.done:
				return in.notReady(ctx, net.ErrClosed)
			case <-ctx.Done():
				return in.notReady(ctx, ctx.Err())
			}
		}
		timer.Stop()
		if reply == nil {
			wait = min(2*wait, askMost)
		} else {
			wait = min(2*wait, nudgeMost)
		}
	}
	in.awaitSides(ctx)
	in.ready.Store(true)
	return in.readInfo(reply)
}

// ask sends a kernel_info_request whose answers go to the probe channel.
func (in *instance) ask(ctx context.Context) error {
	m := in.client.newMessage(wire.Shell, "kernel_info_request", nil)
	in.client.mu.Lock()
	in.client.probes[m.Header.MsgID] = true
	in.client.mu.Unlock()
	return in.client.send(ctx, m, in.done)
}

// awaitSides waits a little for the channels that a start can do without.
func (in *instance) awaitSides(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, sideChannels)
	defer cancel()
	for _, ch := range []wire.Channel{wire.Control, wire.Stdin} {
		_, _ = in.client.socks[ch].get(ctx, in.done)
	}
}

// notReady explains why a kernel did not become ready.
func (in *instance) notReady(ctx context.Context, err error) error {
	select {
	case <-in.done:
		return &DeathError{in.death}
	default:
	}
	if ctx.Err() != nil {
		return problem.Wrap(context.Cause(ctx), "waiting for the kernel's first answer")
	}
	return err
}

func (in *instance) readInfo(reply *wire.Message) error {
	var raw struct {
		LanguageInfo json.RawMessage `json:"language_info"`
	}
	if err := reply.Decode(&in.info); err != nil {
		return err
	}
	_ = reply.Decode(&raw) // it decoded a moment ago
	in.info.RawLanguageInfo, in.info.Raw = raw.LanguageInfo, reply.Content
	return nil
}

// message returns a message of ours with its content marshalled.
func (in *instance) message(ch wire.Channel, msgType string, content any) (*wire.Message, error) {
	var raw []byte
	if content != nil {
		var err error
		if raw, err = json.Marshal(content); err != nil {
			return nil, problem.WrapAs(problem.Invalid, err, "encoding the content of %s", msgType)
		}
	}
	return in.client.newMessage(ch, msgType, raw), nil
}

func (in *instance) send(ctx context.Context, m *wire.Message) error {
	if err := in.dead(); err != nil {
		return err
	}
	err := in.client.send(ctx, m, in.done)
	if errors.Is(err, net.ErrClosed) {
		return in.deathError()
	}
	return err
}

func (in *instance) shutdown(ctx context.Context, grace time.Duration, restart bool) error {
	if grace <= 0 {
		grace = DefaultGrace
	}
	in.asked.Store(true)
	if in.deathNow() != nil {
		return nil
	}
	end := time.NewTimer(grace)
	defer end.Stop()
	asking, cancel := context.WithTimeout(ctx, grace/2)
	defer cancel()
	m, err := in.message(wire.Control, "shutdown_request", map[string]bool{"restart": restart})
	if err != nil {
		return err
	}
	if err = in.client.send(asking, m, in.done); err == nil {
		select {
		case <-in.done:
			return nil
		case <-ctx.Done():
			return in.kill()
		case <-end.C:
		}
	}
	if ctx.Err() != nil {
		return in.kill()
	}
	_ = in.proc.signal(syscall.SIGTERM)
	end.Reset(termGrace)
	select {
	case <-in.done:
		return nil
	case <-ctx.Done():
	case <-end.C:
	}
	return in.kill()
}

// kill ends the process and waits until it is gone.
func (in *instance) kill() error {
	in.asked.Store(true)
	if err := in.proc.signal(syscall.SIGKILL); err != nil {
		return problem.Wrap(err, "killing the kernel")
	}
	timer := time.NewTimer(killWait)
	defer timer.Stop()
	select {
	case <-in.done:
		return nil
	case <-timer.C:
		return problem.New(problem.Timeout, "process %d did not end within %s of SIGKILL", in.proc.pid(), killWait)
	}
}

// close kills the process if it lives, waits for every goroutine and drops
// what was not read.
func (in *instance) close() {
	if err := in.kill(); err != nil {
		in.cfg.Log.LogAttrs(context.Background(), slog.LevelError, "kernel could not be ended", slog.String("err", err.Error()))
		return
	}
	<-in.over
	in.inbox.discard()
}

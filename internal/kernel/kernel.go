package kernel

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/google/uuid"

	"quire/internal/kernel/wire"
	"quire/internal/problem"
)

// Defaults of a Config.
const (
	DefaultStartTimeout = 60 * time.Second
	DefaultIdleGrace    = 10 * time.Second
	DefaultGrace        = 5 * time.Second // how long Shutdown waits for a kernel to end by itself
)

// Config says which kernel to start and how. Spec is required; the zero value
// of everything else is a default.
type Config struct {
	Spec         Spec
	Dir          string        // working directory; empty is ours
	Env          []string      // "NAME=VALUE", added to our environment and the spec's
	StartTimeout time.Duration // until it must answer; zero is DefaultStartTimeout
	IdleGrace    time.Duration // silence after a reply after which a missing "idle" is given up; zero is DefaultIdleGrace
	Output       io.Writer     // gets what the process itself writes to stdout and stderr, from one goroutine; may be nil
	Log          *slog.Logger  // nil discards
	RuntimeDir   string        // for sockets, connection files and locks, made with mode 0700; empty is the user's own
	SpillDir     string        // for unread messages over 32 MiB; empty is os.TempDir()
	Username     string        // in message headers; empty is "quire"
	MaxMessage   int64         // bytes of one message; zero is wire.DefaultMaxMessage
	Transport    string        // "tcp", "ipc" or empty: ipc for ipykernel, tcp for the others
	Preload      []string      // Python modules that a fork server imports before it forks
}

// Validate says what is wrong with the Config.
func (c *Config) Validate() error {
	switch {
	case len(c.Spec.Argv) == 0 || c.Spec.Argv[0] == "":
		return problem.New(problem.Invalid, "kernel %q has no command", c.Spec.Name)
	case c.Transport != "" && c.Transport != "tcp" && c.Transport != "ipc":
		return problem.New(problem.Invalid, `transport %q: want "tcp" or "ipc"`, c.Transport)
	case c.MaxMessage < 0:
		return problem.New(problem.Invalid, "a message limit of %d bytes: want zero or more", c.MaxMessage)
	}
	return nil
}

// withDefaults returns the Config with the zero values filled in.
func (c Config) withDefaults() Config {
	if c.StartTimeout <= 0 {
		c.StartTimeout = DefaultStartTimeout
	}
	if c.IdleGrace <= 0 {
		c.IdleGrace = DefaultIdleGrace
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.RuntimeDir == "" {
		c.RuntimeDir = defaultRuntimeDir()
	}
	if c.Username == "" {
		c.Username = "quire"
	}
	if c.MaxMessage == 0 {
		c.MaxMessage = wire.DefaultMaxMessage
	}
	if c.Spec.InterruptMode == "" {
		c.Spec.InterruptMode = "signal"
	}
	return c
}

// Info is what a kernel says of itself.
type Info struct {
	ProtocolVersion       string         `json:"protocol_version"`
	Implementation        string         `json:"implementation"`
	ImplementationVersion string         `json:"implementation_version"`
	LanguageInfo          map[string]any `json:"language_info"`
	Banner                string         `json:"banner"`
	Debugger              bool           `json:"debugger"`
	SupportedFeatures     []string       `json:"supported_features"`

	RawLanguageInfo json.RawMessage `json:"-"` // language_info byte for byte
	Raw             json.RawMessage `json:"-"` // the whole kernel_info_reply
}

// Kernel is a running kernel. Its methods may be called from any goroutine,
// but only one of them should read messages (Execution.Next, Next, Drain) at a
// time. Close must be called in the end.
type Kernel struct {
	id     string
	cfg    Config
	launch launcher

	mu  sync.Mutex
	cur *instance
}

// Start starts a kernel and returns when it has answered and its iopub
// messages reach us. The error of a kernel that dies before is a *DeathError
// that holds its last words; of one that does not answer it has kind Timeout.
func Start(ctx context.Context, cfg Config) (*Kernel, error) {
	return startWith(ctx, cfg, execLauncher{})
}

func startWith(ctx context.Context, cfg Config, l launcher) (*Kernel, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	cfg = cfg.withDefaults()
	if err := checkDir(cfg.Dir); err != nil {
		return nil, problem.Wrap(err, "starting kernel %s", cfg.Spec.Name)
	}
	k := &Kernel{id: uuid.NewString(), cfg: cfg, launch: l}
	in, err := startInstance(ctx, &k.cfg, l)
	if err != nil {
		return nil, problem.Wrap(err, "starting kernel %s", cfg.Spec.Name)
	}
	k.cur = in
	return k, nil
}

// checkDir says what is wrong with a working directory; the error of exec
// would name the program.
func checkDir(dir string) error {
	if dir == "" {
		return nil
	}
	st, err := os.Stat(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return problem.New(problem.NotFound, "working directory %s does not exist", dir)
	}
	if err == nil && !st.IsDir() {
		return problem.New(problem.Invalid, "working directory %s is not a directory", dir)
	}
	return problem.Wrap(err, "looking at working directory %s", dir)
}

// instance returns the process that runs now, or ran last.
func (k *Kernel) instance() *instance {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.cur
}

// ID returns the kernel's id, a UUID. It survives a restart.
func (k *Kernel) ID() string { return k.id }

// Spec returns the specification that the kernel was started from.
func (k *Kernel) Spec() Spec { return k.cfg.Spec }

// Info returns what the kernel said of itself when it started.
func (k *Kernel) Info() Info { return k.instance().info }

// PID returns the number of the kernel's process. It leads its own session.
func (k *Kernel) PID() int { return k.instance().proc.pid() }

// StartedAt returns when the process was started.
func (k *Kernel) StartedAt() time.Time { return k.instance().started }

// ConnectionFile returns the path of the file that other clients connect with.
// It is gone when the kernel is.
func (k *Kernel) ConnectionFile() string { return k.instance().file }

// Done returns a channel that is closed when the process has ended; Death is
// known from then on. After Restart there is a new one.
func (k *Kernel) Done() <-chan struct{} { return k.instance().done }

// Death returns how the process ended, nil while it lives.
func (k *Kernel) Death() *Death { return k.instance().deathNow() }

// Dropped returns how many messages of the present process were refused: a
// wrong or repeated signature, a wrong form.
func (k *Kernel) Dropped() int64 { return k.instance().client.dropped.Load() }

// Usage returns what the kernel's processes use now. It reads the table of
// processes, which takes some milliseconds. For a dead kernel CPU and peak are
// those of its end.
func (k *Kernel) Usage() Usage {
	in := k.instance()
	if d := in.deathNow(); d != nil {
		return Usage{CPU: d.CPU, PeakBytes: d.PeakBytes}
	}
	u := treeUsage(in.proc.pid())
	for {
		old := in.peak.Load()
		if u.PeakBytes <= old {
			u.PeakBytes = old
			return u
		}
		if in.peak.CompareAndSwap(old, u.PeakBytes) {
			return u
		}
	}
}

// Next returns the next message of any channel that no Request waits for. The
// end is a *DeathError, after everything that was received.
func (k *Kernel) Next(ctx context.Context) (*wire.Message, error) {
	m, err := k.instance().inbox.pop(ctx, 0)
	if err != nil {
		return nil, contextWrap(err)
	}
	return m, nil
}

// Drain hands to do every message that waits, and those that follow until none
// has come for quiet (zero: only those that wait). It stops at an error of do.
// The kernel's death ends it without an error.
func (k *Kernel) Drain(ctx context.Context, quiet time.Duration, do func(*wire.Message) error) error {
	in := k.instance()
	if quiet <= 0 {
		quiet = -1
	}
	for {
		m, err := in.inbox.pop(ctx, quiet)
		var dead *DeathError
		if errors.Is(err, errQuiet) || errors.As(err, &dead) {
			return nil
		}
		if err != nil {
			return contextWrap(err)
		}
		if err := do(m); err != nil {
			return err
		}
	}
}

func contextWrap(err error) error {
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return problem.Wrap(err, "waiting for the kernel")
	}
	return err
}

// Send sends a message and returns its id. content is marshalled; nil is an
// empty object. What comes back is read with Next or Execution.Next.
func (k *Kernel) Send(ctx context.Context, ch wire.Channel, msgType string, content any, buffers ...[]byte) (string, error) {
	in := k.instance()
	m, err := in.message(ch, msgType, content)
	if err != nil {
		return "", err
	}
	m.Buffers = buffers
	return m.Header.MsgID, in.send(ctx, m)
}

// Request sends a message on the shell or control channel and returns its
// answer. What the kernel publishes meanwhile is read with Next.
func (k *Kernel) Request(ctx context.Context, ch wire.Channel, msgType string, content any) (*wire.Message, error) {
	in := k.instance()
	m, err := in.message(ch, msgType, content)
	if err != nil {
		return nil, err
	}
	if err := in.dead(); err != nil {
		return nil, err
	}
	answer, err := in.client.request(ctx, m, in.done)
	if errors.Is(err, net.ErrClosed) {
		return nil, in.deathError()
	}
	return answer, err
}

// Input answers the input_request that came last.
func (k *Kernel) Input(ctx context.Context, value string) error {
	in := k.instance()
	in.client.mu.Lock()
	prompt := in.client.prompt
	in.client.prompt = nil
	in.client.mu.Unlock()
	if prompt == nil {
		return problem.New(problem.Conflict, "the kernel does not wait for input")
	}
	m, err := in.message(wire.Stdin, "input_reply", map[string]string{"value": value})
	if err != nil {
		return err
	}
	m.SetParent(prompt)
	return in.send(ctx, m)
}

// Interrupt interrupts what runs: SIGINT to the kernel's process group, or an
// interrupt_request where the kernel's spec asks for one. The execution still
// ends with its reply.
func (k *Kernel) Interrupt(ctx context.Context) error {
	in := k.instance()
	if err := in.dead(); err != nil {
		return err
	}
	if k.cfg.Spec.InterruptMode == "message" {
		_, err := k.Request(ctx, wire.Control, "interrupt_request", nil)
		return err
	}
	return problem.Wrap(in.proc.signal(syscall.SIGINT), "interrupting the kernel")
}

// Waiting returns the bytes of messages that were received and not read.
func (k *Kernel) Waiting() int64 { return (&Backlog{k.instance().inbox}).Bytes() }

// Pause stops the kernel's processes where they are, and Resume lets them go on.
// Nothing is lost meanwhile: what was sent waits.
func (k *Kernel) Pause() error {
	return problem.Wrap(k.instance().proc.signal(syscall.SIGSTOP), "pausing the kernel")
}

// Resume ends a Pause.
func (k *Kernel) Resume() error {
	return problem.Wrap(k.instance().proc.signal(syscall.SIGCONT), "resuming the kernel")
}

// Restart ends the process and starts a new one with the same Config. Messages
// of the old one that were not read are dropped. When the new one cannot be
// started the kernel stays dead.
func (k *Kernel) Restart(ctx context.Context) error {
	old := k.instance()
	if err := old.shutdown(ctx, time.Second, true); err != nil {
		return err
	}
	old.close()
	in, err := startInstance(ctx, &k.cfg, k.launch)
	if err != nil {
		return problem.Wrap(err, "restarting kernel %s", k.cfg.Spec.Name)
	}
	k.mu.Lock()
	k.cur = in
	k.mu.Unlock()
	return nil
}

// Shutdown asks the kernel to end, waits up to grace (zero: DefaultGrace), and
// then ends it with SIGTERM and SIGKILL, the processes of its group included.
// It returns as soon as the process is gone; messages that were received can
// still be read. When ctx ends, the kernel is killed at once. Twice is fine.
func (k *Kernel) Shutdown(ctx context.Context, grace time.Duration) error {
	return k.instance().shutdown(ctx, grace, false)
}

// Kill ends the kernel with SIGKILL and returns when it is gone.
func (k *Kernel) Kill() error { return k.instance().kill() }

// Close kills the kernel if it lives, and gives back everything that belongs
// to it, unread messages included. Twice is fine.
func (k *Kernel) Close() error {
	k.instance().close()
	return nil
}

package kernel

import (
	"bytes"
	"errors"
	"io"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"sync"
	"syscall"
	"time"

	"quire/internal/problem"
	"quire/internal/socket"
)

// tailBytes is how much of a kernel process's own output is kept for the
// account of its death.
const tailBytes = 4 << 10

// pipeBytes is what a pipe holds: what a process has written may be in it when
// the process has ended.
const pipeBytes = 64 << 10

// process is a kernel's process, however it was started.
type process interface {
	pid() int
	// signal sends sig to the process and its group. After the end it does
	// nothing.
	signal(sig syscall.Signal) error
	// ended is closed when the process has ended and exit is known.
	ended() <-chan struct{}
	exit() exit
}

// exit is how a process ended.
type exit struct {
	code   int            // exit code; -1 when a signal ended it or nothing is known
	signal syscall.Signal // 0 when none
	peak   int64          // bytes of memory at most, 0 when unknown
	cpu    time.Duration
	tail   string // end of its own output
}

// execProcess is a kernel started by fork and exec.
type execProcess struct {
	cmd  *exec.Cmd
	done chan struct{}
	res  exit

	mu     sync.Mutex
	reaped bool
}

// launch is what a process is started with.
type launch struct {
	argv   []string
	dir    string
	env    []string
	output io.Writer
	extra  []*os.File // descriptors 3 and up
}

// startProcess starts l. The process dies with ours.
func startProcess(l launch) (*execProcess, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, problem.Wrap(err, "making a pipe for the kernel's output")
	}
	cmd := exec.Command(l.argv[0], l.argv[1:]...)
	cmd.Dir, cmd.Env = l.dir, l.env
	cmd.Stdout, cmd.Stderr = w, w
	cmd.ExtraFiles = l.extra
	cmd.SysProcAttr = ownGroup()
	p := &execProcess{cmd: cmd, done: make(chan struct{})}
	started := make(chan error, 1)
	go func() {
		// The kernel is told of the death of the thread that started it, not
		// of the program's: this thread must live as long as the kernel.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		_ = w.Close()
		started <- err
		if err != nil {
			return
		}
		p.wait(r, l.output)
	}()
	if err := <-started; err != nil {
		_ = r.Close()
		return nil, problem.WrapAs(problem.Unavailable, err, "starting %s", l.argv[0])
	}
	return p, nil
}

// wait follows the process to its end.
func (p *execProcess) wait(r *os.File, output io.Writer) {
	t := collect(r, output)
	awaitExit(p.cmd) // on Linux not reaped yet: the group's number is still its own
	p.mu.Lock()
	_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL)
	p.reaped = true
	_ = p.cmd.Wait() // the state says it all
	p.mu.Unlock()
	p.res = exitOf(p.cmd.ProcessState)
	p.res.tail = t.finish()
	close(p.done)
}

func (p *execProcess) pid() int               { return p.cmd.Process.Pid }
func (p *execProcess) ended() <-chan struct{} { return p.done }
func (p *execProcess) exit() exit             { return p.res }

func (p *execProcess) signal(sig syscall.Signal) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.reaped {
		return nil
	}
	return signalGroup(p.pid(), sig)
}

// signalGroup reaches the group that pid leads, or pid alone when it leads none.
func signalGroup(pid int, sig syscall.Signal) error {
	err := syscall.Kill(-pid, sig)
	if err == syscall.ESRCH {
		err = syscall.Kill(pid, sig)
	}
	if err == syscall.ESRCH {
		return nil
	}
	return err
}

func exitOf(st *os.ProcessState) exit {
	e := exit{code: -1}
	if st == nil {
		return e
	}
	e.code = st.ExitCode()
	e.cpu = st.UserTime() + st.SystemTime()
	if ws, ok := st.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
		e.signal = ws.Signal()
	}
	if ru, ok := st.SysUsage().(*syscall.Rusage); ok {
		e.peak = int64(ru.Maxrss) * maxrssUnit
	}
	return e
}

// tail reads a process's output to the end, passes it on and keeps the last
// bytes.
type tail struct {
	r    *os.File
	out  io.Writer
	buf  []byte
	done chan struct{}
}

// collect starts to read r; finish ends it.
func collect(r *os.File, out io.Writer) *tail {
	t := &tail{r: r, out: out, done: make(chan struct{})}
	go t.read()
	return t
}

func (t *tail) read() {
	defer close(t.done)
	chunk := make([]byte, 8<<10)
	for late := 0; ; {
		n, err := t.r.Read(chunk)
		if errors.Is(err, os.ErrDeadlineExceeded) && late < pipeBytes {
			n, err = socket.ReadNow(t.r, chunk)
			late += n
		}
		if n > 0 {
			t.keep(chunk[:n])
			if t.out != nil {
				_, _ = t.out.Write(chunk[:n]) // the reader's trouble is not the kernel's
			}
		}
		if err != nil {
			return
		}
	}
}

func (t *tail) keep(b []byte) {
	t.buf = append(t.buf, b...)
	if over := len(t.buf) - tailBytes; over > 0 {
		t.buf = append(t.buf[:0], t.buf[over:]...)
	}
}

// finish returns the last output once the process has ended. Processes that it
// left behind may hold the pipe: they are not waited for.
func (t *tail) finish() string {
	_ = t.r.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
	<-t.done
	_ = t.r.Close()
	return cleanText(t.buf)
}

var ansi = regexp.MustCompile(`\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-Z\\-_])`)

// cleanText makes foreign output fit for a message: no escape sequences or
// control characters, valid UTF-8.
func cleanText(b []byte) string {
	b = ansi.ReplaceAll(bytes.ToValidUTF8(b, []byte("?")), nil)
	b = bytes.Map(func(r rune) rune {
		if r < ' ' && r != '\n' && r != '\t' || r == 0x7f {
			return -1
		}
		return r
	}, b)
	return string(bytes.TrimSpace(b))
}

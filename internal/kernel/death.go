package kernel

import (
	"fmt"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"quire/internal/problem"
)

// Death is how a kernel's process ended. It does not change any more.
type Death struct {
	ExitCode    int    // the process's exit code; -1 when a signal ended it or the code is not known
	Signal      string // the signal's name, such as "SIGKILL"; empty when none
	OOM         bool   // the system killed it because memory ran out
	Asked       bool   // we asked it to stop, or killed it
	At          time.Time
	Stderr      string // the last 4 KiB that the process wrote to its own output, without escape sequences
	PeakBytes   int64  // memory at most; 0 when not known
	MemoryLimit int64  // bytes that its container may use; 0 when there is no limit or it is not known
	CPU         time.Duration

	signal syscall.Signal
	starts bool // it died before it was ready
}

// String says it in words, without a capital and without a full stop.
func (d *Death) String() string {
	var b strings.Builder
	switch {
	case d.Asked:
		b.WriteString("the kernel was asked to stop")
		return b.String()
	case d.Signal != "":
		fmt.Fprintf(&b, "the kernel was killed by signal %d (%s)", int(d.signal), d.Signal)
	case d.ExitCode >= 0:
		fmt.Fprintf(&b, "the kernel exited with code %d", d.ExitCode)
	default:
		b.WriteString("the kernel ended and its exit code is not known")
	}
	if d.starts {
		b.WriteString(" before it was ready")
	}
	switch {
	case d.OOM && d.PeakBytes > 0 && d.MemoryLimit > 0:
		fmt.Fprintf(&b, ": out of memory, peak %s of a %s limit", humanBytes(d.PeakBytes), humanBytes(d.MemoryLimit))
	case d.OOM && d.PeakBytes > 0:
		fmt.Fprintf(&b, ": out of memory, peak %s", humanBytes(d.PeakBytes))
	case d.OOM:
		b.WriteString(": out of memory")
	case d.signal == syscall.SIGSEGV || d.signal == syscall.SIGABRT || d.signal == syscall.SIGBUS ||
		d.signal == syscall.SIGILL || d.signal == syscall.SIGFPE:
		b.WriteString(": a crash in native code")
	}
	return b.String()
}

// DeathError is the error of a kernel that is gone. Its kind is Unavailable,
// Canceled when the kernel was asked to stop.
type DeathError struct {
	Death *Death
}

// Error says how the kernel ended, with the last line that it wrote.
func (e *DeathError) Error() string {
	text := e.Death.String()
	if last := lastLine(e.Death.Stderr); last != "" && !e.Death.Asked {
		text += "; its last words: " + last
	}
	return text
}

// Unwrap gives the error its kind.
func (e *DeathError) Unwrap() error {
	kind := problem.Unavailable
	if e.Death.Asked {
		kind = problem.Canceled
	}
	return problem.New(kind, "%s", e.Death.String())
}

func lastLine(s string) string {
	s = strings.TrimSpace(s)
	s = s[strings.LastIndexByte(s, '\n')+1:]
	if len(s) > 300 {
		s = strings.ToValidUTF8(s[:300], "") + "..."
	}
	return s
}

// newDeath joins what the process's exit and the memory counters say.
func newDeath(e exit, asked, starting bool, mem *memoryWatch, peak int64) *Death {
	d := &Death{
		ExitCode: e.code, Asked: asked, At: time.Now(), Stderr: e.tail, starts: starting,
		PeakBytes: max(e.peak, peak), CPU: e.cpu, signal: e.signal,
	}
	if e.signal != 0 {
		d.ExitCode = -1
		if d.Signal = unix.SignalName(e.signal); d.Signal == "" {
			d.Signal = fmt.Sprintf("signal %d", int(e.signal))
		}
	}
	// A kernel under a shell reports its child's SIGKILL as 137.
	killed := e.signal == syscall.SIGKILL || e.code == 128+int(syscall.SIGKILL)
	if killed && !asked {
		d.OOM = mem.killed(d.PeakBytes)
	}
	if d.OOM {
		d.MemoryLimit = mem.limit
	}
	return d
}

func humanBytes(n int64) string {
	const unit = 1024
	if n < unit {
		return fmt.Sprintf("%d B", n)
	}
	v, i := float64(n)/unit, 0
	for v >= unit && i < 4 {
		v, i = v/unit, i+1
	}
	text := strings.TrimSuffix(fmt.Sprintf("%.1f", v), ".0")
	return text + " " + [...]string{"KiB", "MiB", "GiB", "TiB", "PiB"}[i]
}

package run

import (
	"bufio"
	"context"
	"crypto/rand"
	"encoding/json"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"quire/internal/problem"
)

// Times of Warm.
const (
	warmDelay   = 2 * time.Second // after a start or a hand-over, the machine is left to others
	warmStart   = time.Minute     // for a process to say that its kernel waits
	warmAnswer  = 5 * time.Second // for a process to take an attempt
	warmBackoff = 5 * time.Minute // at most, after processes that did not start
	warmLogs    = ".warm"         // in Dir: the logs of processes that wait
)

// Warm is a Launcher that hands attempts to processes whose kernel has already
// started, and to Next when none waits. A process serves one attempt, then
// ends; it ends too when the server that started it does before it was given
// one. Nothing is shared between attempts. It is safe for concurrent use.
type Warm struct {
	Next    Launcher
	Command []string // this binary and its hidden subcommand that runs Await
	Dir     string   // of the spools: on the same file system
	Size    int      // processes that wait; 1 to 16, each with a kernel of some 60 MB
	Log     *slog.Logger

	mu     sync.Mutex
	idle   []*waiter
	wake   chan struct{}
	cancel context.CancelFunc
	done   sync.WaitGroup
}

var _ Launcher = (*Warm)(nil)

// A waiter is a process that waits for an attempt.
type waiter struct {
	cmd    *exec.Cmd
	in     io.WriteCloser
	out    *bufio.Reader
	pipe   io.Closer // under out
	log    string    // the file it writes to
	exited chan struct{}
}

// Start begins to fill up, a moment later, until Stop.
func (w *Warm) Start() error {
	if err := os.RemoveAll(filepath.Join(w.Dir, warmLogs)); err != nil {
		return problem.WrapAs(problem.Unavailable, err, "clearing the logs of waiting processes")
	}
	if err := os.MkdirAll(filepath.Join(w.Dir, warmLogs), 0o700); err != nil {
		return problem.WrapAs(problem.Unavailable, err, "making room for waiting processes")
	}
	ctx, cancel := context.WithCancel(context.Background())
	w.cancel, w.wake = cancel, make(chan struct{}, 1)
	w.done.Go(func() { w.fill(ctx) })
	return nil
}

// Stop ends the processes that wait and returns when they are gone. Attempts
// go on. Twice, or before Start, is no error.
func (w *Warm) Stop() {
	if w.cancel != nil {
		w.cancel()
	}
	w.done.Wait()
	for p := w.take(); p != nil; p = w.take() {
		p.end()
	}
}

// Ready returns how many processes wait.
func (w *Warm) Ready() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.idle)
}

// Launch implements Launcher.
func (w *Warm) Launch(ctx context.Context, dir string) error {
	// One that does not answer costs seconds: no second one is tried.
	if p := w.take(); p != nil {
		err := p.give(dir)
		if err == nil {
			return nil
		}
		p.end()
		w.Log.LogAttrs(ctx, slog.LevelWarn, "a waiting process did not take an attempt", slog.String("error", err.Error()))
	}
	return w.Next.Launch(ctx, dir)
}

func (w *Warm) take() *waiter {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.idle) == 0 {
		return nil
	}
	p := w.idle[0]
	w.idle = w.idle[1:]
	select {
	case w.wake <- struct{}{}:
	default:
	}
	return p
}

// fill starts processes while some are missing.
func (w *Warm) fill(ctx context.Context) {
	pause := warmDelay
	for {
		timer := time.NewTimer(pause)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		}
		if w.Ready() >= w.Size {
			select {
			case <-ctx.Done():
				return
			case <-w.wake:
			}
			pause = warmDelay
			continue
		}
		p, err := w.startOne(ctx)
		if err != nil {
			if ctx.Err() != nil {
				return
			}
			pause = min(max(2*pause, warmDelay), warmBackoff)
			w.Log.LogAttrs(ctx, slog.LevelDebug, "no process waits for runs", slog.String("error", err.Error()))
			continue
		}
		pause = 0
		w.mu.Lock()
		w.idle = append(w.idle, p)
		w.mu.Unlock()
	}
}

// startOne starts a process and returns when its kernel waits.
func (w *Warm) startOne(ctx context.Context) (*waiter, error) {
	p := &waiter{log: filepath.Join(w.Dir, warmLogs, rand.Text()+".log"), exited: make(chan struct{})}
	log, err := os.OpenFile(p.log, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	// No context: the process may outlive the server once it has an attempt.
	p.cmd = exec.Command(w.Command[0], w.Command[1:]...) //nolint:noctx // see above
	p.cmd.Stderr = log
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if p.in, err = p.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, outEnd, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	p.out, p.pipe, p.cmd.Stdout = bufio.NewReader(out), out, outEnd
	err = p.cmd.Start()
	_ = outEnd.Close()
	if err != nil {
		_ = out.Close()
		_ = os.Remove(p.log)
		return nil, err
	}
	go func() { // only to reap it: the spool says how an attempt ended
		_ = p.cmd.Wait()
		close(p.exited)
	}()
	_ = out.SetReadDeadline(time.Now().Add(warmStart)) // before what ends it at once
	stop := context.AfterFunc(ctx, func() { _ = out.SetReadDeadline(time.Now()) })
	defer stop()
	if err := p.expect(answerReady); err != nil {
		p.end()
		return nil, err
	}
	return p, nil
}

// give hands an attempt over. After an error the process has not got it, or
// must be ended before another may.
func (p *waiter) give(dir string) error {
	if err := os.Rename(p.log, spool(dir).path(logFile)); err != nil {
		return err
	}
	line, err := json.Marshal(dir)
	if err != nil {
		return err
	}
	if _, err := p.in.Write(append(line, '\n')); err != nil {
		return err
	}
	if f, ok := p.pipe.(*os.File); ok {
		_ = f.SetReadDeadline(time.Now().Add(warmAnswer))
	}
	if err := p.expect(answerTaken); err != nil {
		return err
	}
	// It has the attempt, and may be over already: then its pipes are closed.
	_, _ = p.in.Close(), p.pipe.Close()
	return nil
}

func (p *waiter) expect(want string) error {
	line, err := p.out.ReadString('\n')
	if err != nil {
		return problem.WrapAs(problem.Unavailable, err, "waiting for a process to say %q", want)
	}
	if line != want+"\n" {
		return problem.New(problem.Internal, "a waiting process said %.40q: want %q", line, want)
	}
	return nil
}

// end kills the process and what it started, and returns when it is gone.
func (p *waiter) end() {
	select {
	case <-p.exited:
	default: // not reaped, so the id is still its own, and its group's
		_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL)
		<-p.exited
	}
	_ = p.in.Close()
	_ = p.pipe.Close()
	_ = os.Remove(p.log)
}

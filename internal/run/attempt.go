package run

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"sync"
	"time"

	"quire/internal/auth"
	"quire/internal/engine"
	"quire/internal/kernel"
	"quire/internal/notebook"
	"quire/internal/parameter"
	"quire/internal/problem"
)

// revokedFile says that the server gave the attempt up. It is written while the
// server holds the lock, so an attempt that has the lock and does not see it
// may go on.
const revokedFile = "revoked"

// errCancel and errTimeout are why an attempt's context ended.
var (
	errCancel  = errors.New("it was asked to stop")
	errTimeout = errors.New("it took longer than its limit")
)

// AttemptOptions are what the process of an attempt may be given. The zero
// value starts a kernel of its own.
type AttemptOptions struct {
	StartKernel func(ctx context.Context, cfg kernel.Config) (*kernel.Kernel, error)
	Kernels     kernel.Finder
	// Keep serves the kernel of an attempt that failed until it was not used for
	// long enough or ctx ends, and owns it; dir is a folder for what it needs. Nil
	// keeps none.
	Keep func(ctx context.Context, dir string, spec KeepSpec, kernelName string, k *kernel.Kernel) error
	// Secrets asks the server for the values of the attempt's secrets, by parameter.
	// What is not there is kind NotFound.
	Secrets func(ctx context.Context, pass auth.Pass, spec Spec) (map[string]string, error)
}

// RunAttempt executes the attempt whose spool is dir, in this process, and
// writes its result there. It returns an error when there is no result: the
// spool is not to be used, or cannot be written. When ctx ends, the attempt is
// cancelled and the result says so. The state is the result's.
func RunAttempt(ctx context.Context, dir string, opt AttemptOptions) (State, error) {
	s := spool(dir)
	lock, err := s.hold()
	if err != nil {
		return "", err
	}
	defer lock.Close()
	for _, name := range []string{revokedFile, resultFile} {
		if _, err := os.Stat(s.path(name)); err == nil {
			return "", problem.New(problem.Conflict, "the attempt in %s has %s: it is not run", dir, name)
		}
	}
	var spec Spec
	if err := readJSON(s.path(specFile), &spec); err != nil {
		return "", problem.WrapAs(problem.Internal, err, "reading what to do in %s", dir)
	}
	state, err := json.Marshal(map[string]int{"PID": os.Getpid()})
	if err != nil {
		return "", err
	}
	if err := writeBytes(s.path(stateFile), state); err != nil {
		return "", problem.WrapAs(problem.Unavailable, err, "starting attempt %d of run %s", spec.Attempt, spec.Run)
	}
	whole := ctx
	ctx, stop := s.watchForEnd(ctx, spec)
	defer stop()
	var kept *kernel.Kernel
	res := s.execute(ctx, spec, opt, &kept)
	res.Kept = kept != nil
	res.Fence, res.At = spec.Fence, time.Now().UTC()
	data, err := json.Marshal(res)
	if err != nil {
		return "", err
	}
	err = problem.WrapAs(problem.Unavailable, writeBytes(s.path(resultFile), data), "writing the result of run %s", spec.Run)
	if kept == nil {
		return res.State, err
	}
	if err != nil {
		return res.State, errors.Join(err, kept.Close())
	}
	return res.State, opt.Keep(whole, s.path(keptDir), *spec.Keep, spec.Kernel, kept)
}

// watchForEnd returns a context that ends, with the cause, when the server asks
// for it or the time is up.
func (s spool) watchForEnd(ctx context.Context, spec Spec) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	if spec.Timeout > 0 {
		inner, stop := context.WithTimeoutCause(ctx, spec.Timeout, errTimeout)
		ctx = inner
		context.AfterFunc(inner, stop)
	}
	tick := time.NewTicker(time.Second)
	go func() {
		defer tick.Stop()
		for {
			if _, err := os.Stat(s.path(cancelFile)); err == nil {
				cancel(errCancel)
			}
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
		}
	}()
	return ctx, func() { cancel(errCancel) }
}

// execute runs the notebook. Whatever happens becomes a result.
func (s spool) execute(ctx context.Context, spec Spec, opt AttemptOptions, kept **kernel.Kernel) Result {
	events, err := newEventLog(s.path(eventsFile))
	if err != nil {
		return Result{State: Failed, Reason: problem.WrapAs(problem.Unavailable, err, "opening the events").Error()}
	}
	defer events.close()
	req, err := s.request(spec, opt)
	if err != nil {
		return Result{State: Failed, Reason: err.Error()}
	}
	req.Events = events.add
	if pass, err := auth.ReadPass(string(s)); err == nil {
		stop, err := pass.Relay()
		if err != nil {
			return Result{State: Failed, Reason: err.Error()}
		}
		defer func() {
			if *kept == nil { // a kept kernel goes on using it, to the process's end
				stop()
			}
		}()
		req.Env, req.Hidden = append(req.Env, pass.Env(string(s))...), append(req.Hidden, pass.Token)
	}
	if len(spec.Secrets) > 0 {
		var final bool
		if req.Secrets, final, err = secretsOf(ctx, string(s), spec, opt); err != nil {
			return withoutSecrets(ctx, err, final)
		}
	}
	if spec.Keep != nil && opt.Keep != nil {
		req.Keep = func(k *kernel.Kernel) { *kept = k }
	}
	out := engine.NewFile(s.path(outputFile), engine.FileOptions{})
	req.Output = out
	res, runErr := engine.Run(ctx, *req)
	runErr = errors.Join(runErr, out.Close())
	result := Result{Start: events.firstCell()}
	if res != nil {
		if result.Engine, err = json.Marshal(res); err != nil {
			return Result{State: Failed, Reason: "its result cannot be written: " + err.Error()}
		}
	}
	result.State, result.Reason = verdict(ctx, res, runErr)
	return result
}

// withoutSecrets is the result of an attempt that did not get its secrets: the
// platform's fault where the server did not answer.
func withoutSecrets(ctx context.Context, err error, final bool) Result {
	if state, reason := verdict(ctx, nil, err); state != Failed {
		return Result{State: state, Reason: reason}
	}
	if !final {
		return Result{State: Lost, Reason: err.Error()}
	}
	return Result{State: Failed, Reason: err.Error(), Final: true}
}

func (s spool) request(spec Spec, opt AttemptOptions) (*engine.Request, error) {
	file, err := os.Open(s.path(sourceFile))
	if err != nil {
		return nil, problem.WrapAs(problem.Unavailable, err, "opening the source")
	}
	defer file.Close()
	nb, err := notebook.Read(file)
	if err != nil {
		return nil, problem.Wrap(err, "reading %s", spec.Notebook)
	}
	params, err := parameter.FromJSON("the parameters", spec.Parameters)
	if err != nil {
		return nil, err
	}
	return &engine.Request{
		Source: nb, InputPath: spec.Notebook, OutputPath: path.Join("runs", spec.Run, outputFile),
		Parameters: params, Kernel: spec.Kernel, Kernels: opt.Kernels, Dir: spec.Dir, Env: spec.Env,
		StartKernel: opt.StartKernel, Autosave: engine.DefaultAutosave, Version: spec.Version,
		Checkpoints: s.path("checkpoints"),
	}, nil
}

// verdict says what the end of the engine means for the attempt.
func verdict(ctx context.Context, res *engine.Result, err error) (State, string) {
	switch cause := context.Cause(ctx); {
	case res != nil && err == nil && res.Status.OK():
		return Succeeded, res.Reason
	case errors.Is(cause, errTimeout):
		return TimedOut, "the run took longer than its limit and was stopped"
	case cause != nil:
		return Cancelled, errCancel.Error()
	case err != nil:
		return Failed, err.Error()
	case res == nil:
		return Failed, "the engine gave no result"
	case res.Status == engine.TimedOut:
		return TimedOut, res.Err().Error()
	}
	return Failed, res.Err().Error()
}

// An eventLog appends events to a file, a line each.
type eventLog struct {
	mu    sync.Mutex
	file  *os.File
	w     *bufio.Writer
	first time.Time
}

func newEventLog(name string) (*eventLog, error) {
	file, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	return &eventLog{file: file, w: bufio.NewWriterSize(file, 128<<10)}, nil
}

// add writes an event at once: whoever watches sees it. A full disk loses
// events, which tell the story and are not the record.
func (l *eventLog) add(e engine.Event) {
	if e.Type == engine.EventSaved {
		e.Output = "" // a path of this machine
	}
	data, err := json.Marshal(e)
	if err != nil {
		data = fmt.Appendf(nil, `{"type":%q,"message":"an event could not be written"}`, e.Type)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if e.Type == engine.EventCellStarted && l.first.IsZero() {
		l.first = e.Time
	}
	_, _ = l.w.Write(append(data, '\n'))
	_ = l.w.Flush()
}

func (l *eventLog) firstCell() time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.first
}

func (l *eventLog) close() { _ = l.file.Close() }

// revoke gives an attempt up for good: no process has it, and none will take it.
// ok is false when a process has it.
func (s spool) revoke() (ok bool, err error) {
	if err := os.MkdirAll(string(s), 0o700); err != nil {
		return false, err
	}
	lock, err := s.hold()
	if problem.Is(err, problem.Conflict) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer lock.Close()
	if _, err := os.Stat(s.path(resultFile)); err == nil {
		return false, nil // it ended properly just now
	} else if !errors.Is(err, fs.ErrNotExist) {
		return false, err
	}
	return true, writeBytes(s.path(revokedFile), nil)
}

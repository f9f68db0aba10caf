package run

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"time"

	"github.com/fsnotify/fsnotify"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"quire/internal/auth"
	"quire/internal/fault"
	"quire/internal/problem"
	"quire/internal/storage"
)

// Times of the dispatcher.
const (
	leaseLife    = 30 * time.Second
	lookEvery    = time.Second      // at a live attempt, besides being told
	startGrace   = 20 * time.Second // for a process to take its lock
	publishEvery = 15 * time.Second // after the store failed
	pruneEvery   = time.Hour
	adoptEvery   = 10 * time.Second // looks for attempts that nobody follows
)

// Start finds the attempts that live since before, and executes what is queued
// until Stop.
func (s *Runs) Start(ctx context.Context) error {
	live, err := s.cfg.Store.Live(ctx)
	if err != nil {
		return problem.Wrap(err, "looking for live runs")
	}
	ctx, s.stop = context.WithCancel(context.WithoutCancel(ctx))
	for _, a := range live {
		since := a.Claimed
		if !spoolOf(s.cfg.Spool, a.Run, a.Number).prepared() {
			if s.cfg.Several {
				continue // another server may be about to launch it: its lease tells
			}
			since = time.Time{} // the server before this one did not come to launch it
		}
		s.watch(ctx, a, since)
	}
	s.done.Go(func() { s.dispatch(ctx) })
	s.done.Go(func() { s.adoptLoop(ctx) })
	s.done.Go(func() { s.publishLoop(ctx) })
	return nil
}

// adoptLoop follows the attempts of servers that do so no more: those whose
// lease has ended. An attempt may have two followers; the records believe one.
func (s *Runs) adoptLoop(ctx context.Context) {
	tick := time.NewTicker(adoptEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		live, err := s.cfg.Store.Live(ctx)
		if err != nil && ctx.Err() == nil {
			s.cfg.Log.LogAttrs(ctx, slog.LevelError, "looking for live runs", slog.String("error", err.Error()))
		}
		for _, a := range live {
			if s.now().After(a.Lease) {
				s.watch(ctx, a, a.Claimed)
			}
		}
	}
}

// Stop ends the dispatching and returns when nothing of it runs any more.
// Attempts go on. Stopping twice, or before Start, is no error.
func (s *Runs) Stop() {
	if s.stop != nil {
		s.stop()
	}
	s.done.Wait()
}

// dispatch gives work to attempts while there is any, then waits.
func (s *Runs) dispatch(ctx context.Context) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		more, err := s.dispatchOne(ctx)
		if err != nil && ctx.Err() == nil {
			s.cfg.Log.LogAttrs(ctx, slog.LevelError, "giving out work", slog.String("error", err.Error()))
		}
		if more {
			continue
		}
		select {
		case <-ctx.Done():
			return
		case <-s.wake:
		case <-tick.C:
		}
	}
}

// dispatchOne starts one attempt; more is false when nothing was to do.
func (s *Runs) dispatchOne(ctx context.Context) (more bool, err error) {
	if s.storeDown(ctx) {
		return false, nil
	}
	now := s.now()
	r, a, ok, err := s.cfg.Store.Claim(ctx, auth.NewSecret(), now, now.Add(leaseLife), s.cfg.Permits)
	if err != nil || !ok {
		return false, err
	}
	since := s.now()
	if err = s.launch(ctx, r, a); err != nil {
		if problem.Is(err, problem.Unavailable) {
			s.unread = r.ID
		}
		if s.lose(ctx, a, err.Error()) {
			return true, err
		}
		since = time.Time{} // the records cannot take it now, say: who follows it tries again
	}
	s.watch(ctx, a, since)
	return err == nil, err
}

// storeDown reports whether the store that failed to give a run's source still
// does not answer: then no run is begun, so that an outage costs one run one
// attempt and not every run all of them.
func (s *Runs) storeDown(ctx context.Context) bool {
	if s.unread == "" {
		return false
	}
	if _, err := s.cfg.Objects.Stat(ctx, s.unread+"/"+sourceFile); problem.Is(err, problem.Unavailable) || ctx.Err() != nil {
		return true
	}
	s.unread = ""
	return false
}

func (s *Runs) launch(ctx context.Context, r Run, a Attempt) error {
	source, _, err := s.cfg.Objects.Get(ctx, r.ID+"/"+sourceFile, storage.GetOptions{})
	if err != nil {
		return problem.Wrap(err, "opening the source of run %s", r.ID)
	}
	defer source.Close()
	sp := spoolOf(s.cfg.Spool, r.ID, a.Number)
	err = sp.prepare(Spec{
		Keep: s.keepSpec(r, a),
		Run:  r.ID, Attempt: a.Number, Fence: a.Fence, Notebook: r.Notebook, Parameters: r.Parameters, Secrets: boundNames(r.Secrets), Kernel: r.Kernel,
		Dir: s.dirOf(r), Timeout: time.Duration(r.TimeoutSeconds) * time.Second, Version: s.cfg.Version,
		Env: []string{"QUIRE_RUN=" + r.ID, "QUIRE_USER=" + r.Owner, "QUIRE_NOTEBOOK=" + r.Notebook},
	}, source)
	if err != nil {
		return err
	}
	if s.cfg.Pass != nil {
		if err := s.cfg.Pass(ctx, r.Owner, string(sp), r.Container != nil, time.Duration(r.TimeoutSeconds)*time.Second); err != nil {
			return err
		}
	}
	s.cfg.Log.LogAttrs(ctx, slog.LevelInfo, "attempt started", slog.String("run_id", r.ID), slog.Int("attempt", a.Number))
	if r.Container != nil {
		if s.cfg.Containers == nil {
			return problem.New(problem.Unavailable, "there are no containers on this server any more (compute: none)")
		}
		return s.cfg.Containers.launch(ctx, r, a.Number, string(sp))
	}
	if fault.On(fault.LaunchTwice) {
		_ = s.cfg.Launcher.Launch(ctx, string(sp))
	}
	return s.cfg.Launcher.Launch(ctx, string(sp))
}

// watch follows an attempt to its end in a goroutine of its own. since is when
// it was launched: a process has startGrace from then to take it.
func (s *Runs) watch(ctx context.Context, a Attempt, since time.Time) {
	sp := spoolOf(s.cfg.Spool, a.Run, a.Number)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.watching[string(sp)] {
		return
	}
	s.watching[string(sp)] = true
	s.done.Go(func() {
		defer func() {
			s.mu.Lock()
			defer s.mu.Unlock()
			delete(s.watching, string(sp))
		}()
		s.follow(ctx, sp, a, since)
	})
}

func (s *Runs) follow(ctx context.Context, sp spool, a Attempt, since time.Time) {
	told, stop := watchDir(string(sp))
	defer stop()
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	renewed, heeded := s.now(), false
	contained := s.contained(ctx, a)
	for {
		heeded = heeded || s.heedCancel(ctx, a)
		if s.look(ctx, sp, &a, since, contained) {
			s.poke()
			return
		}
		if now := s.now(); now.Sub(renewed) > leaseLife/3 {
			a.Lease, renewed = now.Add(leaseLife), now
			if err := s.cfg.Store.Advance(ctx, a); problem.Is(err, problem.Conflict) {
				return // somebody else decided about it
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-told:
		case <-tick.C:
		}
	}
}

// heedCancel tells an attempt to stop when its run was cancelled before there
// was somebody to tell: while it was being launched, or just before the server
// ended. ok is false when that is to be tried again.
func (s *Runs) heedCancel(ctx context.Context, a Attempt) (ok bool) {
	r, err := s.cfg.Store.Run(ctx, a.Run)
	if err != nil {
		return false
	}
	return r.CancelledBy == "" || s.askToStop(ctx, r, a.Number)
}

// look sees what an attempt does and notes it. done is true when there is
// nothing more to see.
func (s *Runs) look(ctx context.Context, sp spool, a *Attempt, since time.Time, contained bool) (done bool) {
	res, ended, err := sp.result()
	if fault.On(fault.BelieveAnyFence) {
		res.Fence = a.Fence
	}
	switch {
	case contained && (err != nil || ended):
		return s.lookContained(ctx, sp, *a, res, ended && err == nil)
	case err != nil:
		return s.lose(ctx, *a, "its result cannot be read: "+err.Error())
	case ended && res.Fence != a.Fence && sp.alive():
		return false // somebody else's result; the attempt goes on
	case ended:
		return s.complete(ctx, *a, res)
	case a.State == Starting:
		if at, ok := sp.began(); ok {
			a.State, a.Started, a.Lease = Running, at, s.now().Add(leaseLife)
			if err := s.cfg.Store.Advance(ctx, *a); problem.Is(err, problem.Conflict) {
				return true
			}
		}
	}
	if contained {
		return !sp.alive() && s.lookContained(ctx, sp, *a, res, false)
	}
	if sp.alive() || s.now().Sub(since) < startGrace && !sp.started() {
		return false
	}
	if fault.On(fault.NeverLost) {
		return false
	}
	gone, err := sp.revoke()
	if err != nil || !gone {
		return false // it lives, or ended just now: the next look tells
	}
	return s.lose(ctx, *a, errNoResult.Error())
}

// prepared reports whether the spool says what to do: before that, nobody was
// asked to do it.
func (s spool) prepared() bool {
	_, err := os.Stat(s.path(specFile))
	return err == nil
}

// started reports whether a process ever took the attempt.
func (s spool) started() bool {
	_, err := os.Stat(s.path(stateFile))
	return err == nil
}

// began returns when the engine began with the attempt.
func (s spool) began() (time.Time, bool) {
	info, err := os.Stat(s.path(eventsFile))
	if err != nil || info.Size() == 0 {
		return time.Time{}, false
	}
	return info.ModTime().UTC(), true
}

// complete ends an attempt as its result says. A result that does not carry the
// fence is not believed.
func (s *Runs) complete(ctx context.Context, a Attempt, res Result) (done bool) {
	if res.Fence != a.Fence {
		return s.lose(ctx, a, "its result is not its own")
	}
	return s.finish(ctx, a, outcome{state: res.State, reason: res.Reason, result: res.Engine, at: res.At, start: res.Start, final: res.Final})
}

func (s *Runs) lose(ctx context.Context, a Attempt, reason string) (done bool) {
	return s.finish(ctx, a, outcome{state: Lost, reason: reason, at: s.now()})
}

func (s *Runs) finish(ctx context.Context, a Attempt, o outcome) (done bool) {
	a.State, a.Reason, a.Finished = o.state, o.reason, o.at
	if !o.start.IsZero() {
		a.Started = o.start
	}
	r, err := s.cfg.Store.Complete(ctx, a, func(r Run) Run { return conclude(r, o) })
	attrs := []slog.Attr{slog.String("run_id", a.Run), slog.Int("attempt", a.Number), slog.String("state", string(o.state))}
	switch {
	case problem.Is(err, problem.Conflict), problem.Is(err, problem.NotFound):
		s.cfg.Log.LogAttrs(ctx, slog.LevelWarn, "a late result changed nothing", attrs...)
		return true
	case err != nil:
		s.cfg.Log.LogAttrs(ctx, slog.LevelError, "ending an attempt", append(attrs, slog.String("error", err.Error()))...)
		return false // the next look tries again
	}
	s.cfg.Log.LogAttrs(ctx, slog.LevelInfo, "attempt ended", attrs...)
	if s.cfg.Revoke != nil {
		s.cfg.Revoke(ctx, string(spoolOf(s.cfg.Spool, a.Run, a.Number)))
	}
	s.traceAttempt(ctx, a)
	if r.State.Ended() || fault.On(fault.PublishEarly) {
		s.publish(ctx, r)
	}
	s.poke()
	return true
}

// traceAttempt makes a span of an attempt that has ended, also of one that
// another server began.
func (s *Runs) traceAttempt(ctx context.Context, a Attempt) {
	if s.cfg.Tracer == nil {
		return
	}
	_, span := s.cfg.Tracer.Start(ctx, "attempt", trace.WithNewRoot(), trace.WithTimestamp(a.Claimed), trace.WithAttributes(
		attribute.String("quire.run_id", a.Run), attribute.Int("quire.attempt", a.Number), attribute.String("quire.state", string(a.State)),
	))
	if a.State != Succeeded {
		span.SetStatus(codes.Error, string(a.State))
	}
	span.End(trace.WithTimestamp(a.Finished))
}

// publish puts the output of an ended run into the object store, once.
func (s *Runs) publish(ctx context.Context, r Run) {
	if err := s.tryPublish(ctx, r); err != nil && ctx.Err() == nil {
		s.cfg.Log.LogAttrs(ctx, slog.LevelWarn, "the output is not in the store yet; it is tried again",
			slog.String("run_id", r.ID), slog.String("error", err.Error()))
	}
}

func (s *Runs) tryPublish(ctx context.Context, r Run) error {
	file, err := s.finalOutput(r)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if file != nil {
		defer file.Close()
		_, err = s.cfg.Objects.Put(ctx, r.ID+"/"+outputFile, file, storage.PutOptions{IfNotExist: !fault.On(fault.PublishEarly)})
	} else {
		// It ended before its first cell: the source is all there is to show.
		_, err = s.cfg.Objects.Copy(ctx, r.ID+"/"+outputFile, r.ID+"/"+sourceFile, storage.PutOptions{IfNotExist: true})
	}
	if err != nil && !problem.Is(err, problem.Exists) {
		return err
	}
	wrong, err := s.deliver(ctx, r)
	if err != nil {
		return err
	}
	_, err = s.cfg.Store.ChangeRun(ctx, r.ID, func(r Run) (Run, error) {
		r.Published, r.OutputProblem = true, wrong
		return r, nil
	})
	return err
}

// publishLoop publishes what could not be published when it ended, for as long
// as it takes, and removes runs that are past their time.
func (s *Runs) publishLoop(ctx context.Context) {
	tick := time.NewTicker(publishEvery)
	defer tick.Stop()
	var pruned time.Time // the first look is at the start
	for {
		waiting, err := s.cfg.Store.Unpublished(ctx)
		if err != nil && ctx.Err() == nil {
			s.cfg.Log.LogAttrs(ctx, slog.LevelError, "looking for outputs to keep", slog.String("error", err.Error()))
		}
		for _, r := range waiting {
			s.publish(ctx, r)
		}
		s.sweepKept(ctx)
		if now := s.now(); s.cfg.Keep > 0 && now.Sub(pruned) >= pruneEvery {
			pruned = now
			s.prune(ctx, now.Add(-s.cfg.Keep))
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

func (s *Runs) prune(ctx context.Context, before time.Time) {
	ids, err := s.cfg.Store.DeleteRuns(ctx, before)
	for _, id := range ids {
		err = errors.Join(err, s.cfg.Objects.Delete(ctx, id+"/"+outputFile), s.cfg.Objects.Delete(ctx, id+"/"+sourceFile),
			os.RemoveAll(string(spoolDir(s.cfg.Spool, id))))
	}
	if err != nil && ctx.Err() == nil {
		s.cfg.Log.LogAttrs(ctx, slog.LevelError, "removing old runs", slog.String("error", err.Error()))
	}
}

// watchDir sends on the channel when something in dir changes. Where the system
// cannot tell, nothing is sent.
func watchDir(dir string) (<-chan struct{}, func()) {
	told := make(chan struct{}, 1)
	w, err := fsnotify.NewWatcher()
	if err != nil {
		return told, func() {}
	}
	if err := w.Add(dir); err != nil {
		_ = w.Close()
		return told, func() {}
	}
	go func() {
		for range w.Events {
			select {
			case told <- struct{}{}:
			default:
			}
		}
	}()
	return told, func() { _ = w.Close() }
}

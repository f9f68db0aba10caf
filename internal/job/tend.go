package job

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"quire/internal/compute"
	"quire/internal/problem"
)

// Times of the tending.
const (
	retryFirst  = 200 * time.Millisecond
	retryMost   = 30 * time.Second
	stallLimit  = 15 * time.Minute // for a container's start to come from one stage to the next
	killLimit   = 5 * time.Minute  // for one to be stopped, besides its grace
	stageFirst  = 300 * time.Millisecond
	stageEvery  = time.Second      // at a container that takes long to start
	maxTaskLog  = 8 << 20          // bytes of the end of a log that are kept
	logDeadline = 30 * time.Second // for a log to be kept
)

// pause returns after a time, or when ctx ends.
func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}

// tend brings one task from where it is to its end. Each turn does what the
// task's state asks for, so that it does not matter who did the turns before:
// this server or one before it. living ends when the task is to end.
func (s *Jobs) tend(living context.Context, id string) {
	var place *ticket
	defer func() { s.pool.back(place) }()
	for turn := 0; s.ctx.Err() == nil; turn++ {
		k := s.home(id)
		if k == nil {
			break
		}
		t, j, ok := k.task(id)
		if !ok || !t.Live() {
			break
		}
		if t.Status.State != Accepted && place == nil {
			place, _ = s.pool.ask(j.Descriptor.Group(), j.Descriptor.Container.Resources.Size(), true)
		}
		switch t.Status.State {
		case Accepted:
			place = s.admit(living, j, t)
		case Launched, StartInitiated:
			s.launch(living, j, t)
		case Started, Disconnected:
			s.await(living, j, t)
		case KillInitiated:
			s.end(j, t)
		}
	}
	if s.ctx.Err() == nil {
		s.clear(id)
	}
}

// admit waits for the task's time and for room.
func (s *Jobs) admit(living context.Context, j Job, t Task) *ticket {
	if wait := time.UnixMilli(t.NotBefore).Sub(s.cfg.Now()); t.NotBefore > 0 && wait > 0 {
		if pause(living, wait); living.Err() != nil {
			return nil
		}
	}
	place, why := s.pool.ask(j.Descriptor.Group(), j.Descriptor.Container.Resources.Size(), false)
	if why != "" {
		s.tell(t.ID, Waits{Task: t.ID, Why: why})
	}
	select {
	case <-living.Done():
		s.pool.back(place)
		return nil
	case <-place.ready:
	}
	s.tell(t.ID, Advanced{Task: t.ID, To: Launched})
	return place
}

// launch makes the task's container and starts it. Doing it again, after a
// server that died half-way, does it once.
func (s *Jobs) launch(living context.Context, j Job, t Task) {
	turn := &startTurn{of: s.starts}
	if !turn.take(living) {
		return
	}
	defer turn.back()
	ctx, cancel := context.WithCancelCause(living)
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		s.stages(ctx, cancel, turn, t.ID)
	}()
	defer func() {
		cancel(nil)
		<-watched
	}()
	if t.Status.State == Launched {
		handle, err := s.cfg.Driver.Create(ctx, s.spec(j, t))
		if err != nil {
			s.notStarted(ctx, t, problem.Wrap(err, "making its container"))
			return
		}
		s.tell(t.ID, Advanced{Task: t.ID, To: StartInitiated, Node: handle.Node})
		if !turn.take(ctx) {
			return
		}
	}
	switch err := s.cfg.Driver.Start(ctx, t.ID); {
	case err == nil:
		s.tell(t.ID, Advanced{Task: t.ID, To: Started})
	case problem.Is(err, problem.Invalid), problem.Is(err, problem.NotFound):
		s.rejected(ctx, t, err)
	default:
		s.notStarted(ctx, t, problem.Wrap(err, "starting its container"))
	}
}

// A startTurn is the turn of one container to start, of the few that do so at
// once.
type startTurn struct {
	of   chan struct{}
	mu   sync.Mutex
	mine bool
}

// take waits for the turn, where it is not there already; false means that ctx
// ended first.
func (t *startTurn) take(ctx context.Context) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.mine {
		return true
	}
	select {
	case <-ctx.Done():
		return false
	case t.of <- struct{}{}:
		t.mine = true
		return true
	}
}

// back gives the turn to another. Twice is no error.
func (t *startTurn) back() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.mine {
		t.mine = false
		<-t.of
	}
}

// stages tells what a container that is being made and started is waiting for,
// until ctx ends, and ends it when that did not advance for stallLimit. One that
// waits for its image lets others start meanwhile.
func (s *Jobs) stages(ctx context.Context, end context.CancelCauseFunc, turn *startTurn, id string) {
	var last compute.Status
	moved := s.cfg.Now()
	for wait := stageFirst; ; wait = stageEvery {
		if pause(ctx, wait); ctx.Err() != nil {
			return
		}
		status, err := s.cfg.Driver.Status(ctx, id)
		switch {
		case err == nil && (status.Stage != last.Stage || status.State != last.State):
			if status.Stage.Name == compute.StagePulling && last.Stage.Name != compute.StagePulling {
				turn.back()
			}
			if status.Stage != last.Stage {
				s.tell(id, Waits{Task: id, Why: status.Stage.Text, Stage: status.Stage})
			}
			last, moved = status, s.cfg.Now()
		case s.cfg.Now().Sub(moved) > stallLimit:
			text := ""
			if last.Stage.Text != "" {
				text = ": " + last.Stage.Text
			}
			end(problem.New(problem.Timeout, "its container's start did not advance for %v%s", stallLimit, text))
			return
		}
	}
}

// rejected ends a task whose command could not be executed, as the driver says.
func (s *Jobs) rejected(ctx context.Context, t Task, why error) {
	status, err := s.cfg.Driver.Status(ctx, t.ID)
	if err != nil || status.Exit == nil {
		if problem.Is(err, problem.NotFound) { // it was taken away meanwhile
			s.tell(t.ID, Ended{Task: t.ID, Code: LostTask, Message: "its container is gone"})
			return
		}
		s.tell(t.ID, Ended{Task: t.ID, Code: InvalidRequest, Message: why.Error()})
		return
	}
	s.finish(t.ID, *status.Exit)
}

// notStarted ends a task that has no container, or one that does not start.
func (s *Jobs) notStarted(ctx context.Context, t Task, why error) {
	if s.ctx.Err() != nil {
		return // the server ends: the next one goes on
	}
	code := TransientSystemError
	switch {
	case ctx.Err() != nil && problem.Is(context.Cause(ctx), problem.Timeout):
		code, why = StuckInState, context.Cause(ctx)
	case ctx.Err() != nil:
		return // it is being stopped: the next turn sees that
	case problem.Is(why, problem.Invalid), problem.Is(why, problem.NotFound):
		code = InvalidRequest
	case problem.Is(why, problem.Internal), problem.Is(why, problem.Exists):
		code = Crashed
	}
	s.tell(t.ID, Ended{Task: t.ID, Code: code, Message: why.Error()})
}

// await returns when the container has ended, or the task is to end.
func (s *Jobs) await(living context.Context, j Job, t Task) {
	ctx, cancel := context.WithCancel(living)
	defer cancel()
	if b := j.Descriptor.Batch; b != nil && b.RuntimeLimitSec > 0 {
		started, _ := t.Since(Started)
		limit := time.Duration(b.RuntimeLimitSec) * time.Second
		timer := time.AfterFunc(started.Add(limit).Sub(s.cfg.Now()), func() {
			s.tell(t.ID, KillTask{Task: t.ID, Code: RuntimeLimitExceeded, Message: fmt.Sprintf("it ran longer than its limit of %v", limit)})
		})
		defer timer.Stop()
	}
	for wait := retryFirst; ; wait = min(2*wait, retryMost) {
		exit, err := s.cfg.Driver.Wait(ctx, t.ID)
		switch {
		case err == nil:
			s.finish(t.ID, exit)
			return
		case ctx.Err() != nil:
			return
		case problem.Is(err, problem.NotFound):
			s.tell(t.ID, Ended{Task: t.ID, Code: LostTask, Message: "its container is gone, and how it ended is not known"})
			return
		}
		s.tell(t.ID, Advanced{Task: t.ID, To: Disconnected, Message: err.Error()})
		if pause(ctx, wait); ctx.Err() != nil {
			return
		}
		if status, err := s.cfg.Driver.Status(ctx, t.ID); err == nil && status.State != compute.Exited {
			s.tell(t.ID, Advanced{Task: t.ID, To: Started})
			wait = retryFirst
		}
	}
}

// end stops the container of a task that is to end.
func (s *Jobs) end(j Job, t Task) {
	grace := compute.DefaultGrace
	ctx, cancel := context.WithDeadline(s.ctx, t.Status.At().Add(killLimit+grace))
	defer cancel()
	var err error
	for wait := retryFirst; ; wait = min(2*wait, retryMost) {
		var exit compute.Exit
		if err = s.cfg.Driver.Stop(ctx, t.ID, -1); err == nil {
			if exit, err = s.cfg.Driver.Wait(ctx, t.ID); err == nil {
				s.finish(t.ID, exit)
				return
			}
		}
		if problem.Is(err, problem.NotFound) {
			s.tell(t.ID, Ended{Task: t.ID, Code: Killed})
			return
		}
		if pause(ctx, wait); ctx.Err() != nil {
			break
		}
	}
	if s.ctx.Err() != nil {
		return
	}
	s.cfg.Log.LogAttrs(s.ctx, slog.LevelError, "a container does not stop", slog.String("job_id", j.ID),
		slog.String("task_id", t.ID), slog.String("error", fmt.Sprint(err)))
	s.tell(t.ID, Ended{Task: t.ID, Code: StuckInKillingState, Message: fmt.Sprintf("its container did not stop within %v", killLimit)})
}

// finish ends a task as its container ended. Its log is kept first, and what it
// used last.
func (s *Jobs) finish(id string, exit compute.Exit) {
	ctx, cancel := context.WithTimeout(s.ctx, logDeadline)
	defer cancel()
	note := ""
	if exit.OOMKilled {
		note = exit.Reason
	}
	if stats, err := s.cfg.Driver.Stats(ctx, id); err == nil {
		s.note(id, stats)
		s.saveNow(id)
		if stats.OOMKills > 0 && note == "" {
			note = fmt.Sprintf("out of memory: the kernel killed %d of its processes, peak %s", stats.OOMKills, compute.FormatBytes(stats.PeakBytes))
		}
	}
	if err := s.keepLog(ctx, id, note); err != nil && s.ctx.Err() == nil {
		s.cfg.Log.LogAttrs(s.ctx, slog.LevelWarn, "the log of a task is not kept", slog.String("task_id", id), slog.String("error", err.Error()))
	}
	s.tell(id, endingOf(id, exit))
}

// keepLog copies the end of a container's log to where it stays, with a note
// behind it.
func (s *Jobs) keepLog(ctx context.Context, id, note string) error {
	log, err := s.cfg.Driver.Logs(ctx, id, compute.LogOptions{TailBytes: maxTaskLog})
	if err != nil {
		return err
	}
	defer log.Close()
	name := filepath.Join(s.cfg.Logs, id+".log")
	file, err := os.OpenFile(name+".tmp", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(file, io.LimitReader(log, maxTaskLog))
	if err == nil && note != "" {
		_, err = fmt.Fprintf(file, "\nquire: %s\n", note)
	}
	if closed := file.Close(); err == nil {
		err = closed
	}
	if err == nil {
		err = os.Rename(name+".tmp", name)
	}
	if err != nil {
		_ = os.Remove(name + ".tmp")
	}
	return err
}

// clear takes away the container of a task that has finished. What fails is
// done by the sweep.
func (s *Jobs) clear(id string) {
	ctx, cancel := context.WithTimeout(s.ctx, time.Minute)
	defer cancel()
	if err := s.cfg.Driver.Remove(ctx, id); err != nil && s.ctx.Err() == nil {
		s.cfg.Log.LogAttrs(s.ctx, slog.LevelWarn, "a container is not removed yet; it is tried again",
			slog.String("task_id", id), slog.String("error", err.Error()))
	}
}

// spec is the container of a task. The same task gives the same spec always.
func (s *Jobs) spec(j Job, t Task) compute.Spec {
	c := j.Descriptor.Container
	env := map[string]string{
		"TITUS_JOB_ID": j.ID, "TITUS_TASK_ID": t.ID, "QUIRE_TASK_INDEX": fmt.Sprint(t.Index), "QUIRE_USER": j.User,
	}
	for name, value := range c.Env {
		env[name] = value
	}
	mounts := append([]compute.Mount(nil), j.Extras.Mounts...)
	for _, m := range c.Resources.EFSMounts {
		if folder, _, ok := m.workspace(); ok {
			mounts = append(mounts, compute.Mount{
				Source: filepath.Join(s.cfg.Files, filepath.FromSlash(folder)), Target: m.MountPoint, ReadOnly: m.MountPerm == "RO",
			})
		}
	}
	network := j.Extras.Network
	if network.Mode == compute.NetworkNone && len(network.Allow) == 0 {
		network = s.cfg.Network
	}
	return compute.Spec{
		ID: t.ID, Image: c.Image.Reference(), Argv: c.argv(), Env: env, Dir: j.Extras.Dir, Mounts: mounts,
		Resources: c.Resources.Size(), Network: network, UID: j.Extras.UID, GID: j.Extras.GID,
		Grace:  j.Extras.Grace,
		Labels: map[string]string{labelInstall: s.cfg.Install, labelJob: j.ID, labelTask: t.OriginalID, labelUser: j.User},
	}
}

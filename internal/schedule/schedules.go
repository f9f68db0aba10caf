package schedule

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"quire/internal/auth"
	"quire/internal/problem"
	"quire/internal/run"
)

// Runs are what executes notebooks; *run.Runs are such.
type Runs interface {
	// Check says whether a request would be taken, and which version of the
	// notebook it would run; 0 where the notebook has none.
	Check(ctx context.Context, u auth.User, req run.Request) (version int64, err error)
	Submit(ctx context.Context, u auth.User, req run.Request) (run.Run, error)
	Cancel(ctx context.Context, u auth.User, id string) (run.Run, error)
}

// A Config is what Schedules need.
type Config struct {
	Store Store
	Runs  Runs
	// User finds the owner of a schedule when one of its fires starts.
	User func(ctx context.Context, name string) (auth.User, error)
	Now  func() time.Time // time.Now when nil
	Log  *slog.Logger     // may be nil
}

// Schedules keep schedules and start their fires. They are safe for concurrent
// use; several servers may have Schedules over one store.
type Schedules struct {
	cfg  Config
	stop context.CancelFunc
	done sync.WaitGroup
	wake chan struct{}
}

// New returns Schedules that fire nothing before Start.
func New(cfg Config) *Schedules {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	return &Schedules{cfg: cfg, wake: make(chan struct{}, 1)}
}

// lookEvery is how often the records are asked what is due: a slot fires so
// late at most, and a step begins so long after the one before it.
const lookEvery = 250 * time.Millisecond

// dueAtOnce is how many schedules are looked at between two questions.
const dueAtOnce = 256

// Start fires what is due until Stop.
func (s *Schedules) Start(ctx context.Context) error {
	ctx, s.stop = context.WithCancel(context.WithoutCancel(ctx))
	s.done.Go(func() { s.loop(ctx) })
	return nil
}

// Stop ends the firing. Stopping twice, or before Start, is no error.
func (s *Schedules) Stop() {
	if s.stop != nil {
		s.stop()
	}
	s.done.Wait()
}

func (s *Schedules) loop(ctx context.Context) {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		if err := s.round(ctx); err != nil && ctx.Err() == nil {
			s.cfg.Log.LogAttrs(ctx, slog.LevelError, "looking for what is due", slog.String("error", err.Error()))
		}
		select {
		case <-ctx.Done():
			return
		case <-s.wake:
		case <-tick.C:
		}
	}
}

// atOnce is how many schedules are looked at at the same time.
const atOnce = 4

// round looks once at everything that is due.
func (s *Schedules) round(ctx context.Context) error {
	ids, err := s.cfg.Store.DueSchedules(ctx, s.now(), dueAtOnce)
	if err != nil {
		return err
	}
	work := make(chan string, len(ids))
	for _, id := range ids {
		work <- id
	}
	close(work)
	var all sync.WaitGroup
	for range min(atOnce, len(ids)) {
		all.Go(func() {
			for id := range work {
				if ctx.Err() != nil {
					return
				}
				if err := s.change(ctx, id, nil); err != nil && ctx.Err() == nil && !problem.Is(err, problem.NotFound) {
					s.cfg.Log.LogAttrs(ctx, slog.LevelError, "deciding about a schedule", slog.String("schedule_id", id), slog.String("error", err.Error()))
				}
			}
		})
	}
	all.Wait()
	return nil
}

func (s *Schedules) now() time.Time { return s.cfg.Now().UTC().Truncate(time.Microsecond) }

func (s *Schedules) poke() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// An ask is a run to ask for, or to stop.
type ask struct {
	schedule, owner string // name of the schedule
	fire            string
	slot            time.Time
	lane            string
	generation      int
	task            Task
	step            Step
	priority        int
	tags            []string
}

// key names the run of a try: the same try is never two runs.
func (a ask) key() string {
	return fmt.Sprintf("schedule/%s/%d/%s/%d/%d", a.fire, a.generation, a.task.Step, a.task.Index, a.task.Try+1)
}

// An answer is what became of an ask.
type answer struct {
	ask
	version int64
	run     string
	err     error
}

// maxRounds is how often change asks and notes before it leaves the rest to the
// next look.
const maxRounds = 4

// change applies first, when it is not nil, decides about a schedule, and does
// what was decided. first is called in the transaction, before the decision.
func (s *Schedules) change(ctx context.Context, id string, first func(*View) error) error {
	var answers []answer
	for range maxRounds {
		var asks, stops []ask
		now := s.now()
		err := s.cfg.Store.ChangeSchedule(ctx, id, func(v *View) error {
			if first != nil {
				if err := first(v); err != nil || v.Deleted {
					return err
				}
			}
			m := &machine{view: v, now: now, changed: map[string]bool{}}
			for _, a := range answers {
				m.heed(a)
			}
			touched := m.changed
			if err := decide(v, now); err != nil {
				return err
			}
			v.putTouched(touched)
			asks, stops = v.asks(now)
			return nil
		})
		if err != nil {
			return err
		}
		for _, a := range stops {
			s.cancel(ctx, a)
		}
		if len(asks) == 0 {
			return nil
		}
		first, answers = nil, answers[:0]
		for _, a := range asks {
			answers = append(answers, s.request(ctx, a))
		}
	}
	s.poke()
	return nil
}

// putTouched sees to it that fires that answers changed are kept, also where the
// decision left them alone.
func (v *View) putTouched(touched map[string]bool) {
	for _, f := range v.Put {
		delete(touched, f.ID)
	}
	for _, f := range v.Live {
		if touched[f.ID] {
			v.Put = append(v.Put, f)
		}
	}
}

// maxAsks is how many runs are asked for between two notes.
const maxAsks = 50

// asks are the runs that the view wants asked for and stopped.
func (v *View) asks(now time.Time) (asks, stops []ask) {
	for _, f := range v.Live {
		if f.Definition == nil {
			continue
		}
		for _, t := range f.Tasks {
			step, _ := f.Definition.step(t.Step)
			a := ask{
				schedule: v.Schedule.Name, owner: v.Schedule.Owner, fire: f.ID, slot: f.Slot, lane: f.Lane, generation: f.Generation,
				task: t, step: step, priority: f.Definition.Priority, tags: f.Definition.Tags,
			}
			switch {
			case t.State == Running && t.Stop:
				stops = append(stops, a)
			case t.State == Ready && !t.NotBefore.After(now) && len(asks) < maxAsks:
				asks = append(asks, a)
			}
		}
	}
	return asks, stops
}

// unversioned is Task.Version of a notebook that has no versions, in a mount.
const unversioned = -1

// request asks for the run of a task. The first request of a task whose source
// is latest only finds out the version: it is noted before the run is asked for,
// so that asking again asks for the same.
func (s *Schedules) request(ctx context.Context, a ask) answer {
	got := answer{ask: a, version: a.task.Version}
	u, err := s.cfg.User(ctx, a.owner)
	if err != nil {
		got.err = problem.Wrap(err, "looking up the owner of the schedule")
		return got
	}
	req := run.Request{
		Notebook: a.task.Notebook, Parameters: a.task.Parameters, Kernel: a.step.Kernel, Priority: a.priority,
		TimeoutSeconds: a.step.TimeoutSeconds, Tags: append([]string{"schedule:" + a.schedule}, a.tags...), IdempotencyKey: a.key(),
	}
	if got.version == 0 {
		if got.version, got.err = s.cfg.Runs.Check(ctx, u, req); got.version == 0 {
			got.version = unversioned
		}
		return got
	}
	req.Version = max(got.version, 0)
	r, err := s.cfg.Runs.Submit(ctx, u, req)
	got.run, got.err = r.ID, err
	if err == nil {
		s.cfg.Log.LogAttrs(ctx, slog.LevelInfo, "fired", slog.String("schedule", a.schedule), slog.String("slot", a.slot.Format(time.RFC3339)),
			slog.String("step", a.task.Step), slog.String("run_id", r.ID))
	}
	return got
}

// heed notes an answer. One that somebody else has noted before changes nothing.
func (m *machine) heed(a answer) {
	for i := range m.view.Live {
		f := &m.view.Live[i]
		if f.ID != a.fire || f.Generation != a.generation || f.Definition == nil {
			continue
		}
		for j := range f.Tasks {
			t := &f.Tasks[j]
			if t.Step != a.task.Step || t.Index != a.task.Index || t.State != Ready || t.Try != a.task.Try {
				continue
			}
			m.touch(f)
			m.apply(f, t, a)
		}
	}
}

func (m *machine) apply(f *Fire, t *Task, a answer) {
	switch {
	case a.err == nil && a.run == "":
		t.Version = a.version
	case a.err == nil:
		t.State, t.Run, t.Try, t.Reason = Running, a.run, t.Try+1, ""
		t.Started, t.Finished = m.now, time.Time{}
	case problem.Is(a.err, problem.Denied):
		m.fail(f, t, Failed, a.err.Error())
		s := &m.view.Schedule
		s.Paused, s.PausedBy = true, ""
		s.PauseReason = s.Owner + " may not run " + t.Notebook + " any more: " + a.err.Error()
	case problem.Is(a.err, problem.Invalid), problem.Is(a.err, problem.NotFound), problem.Is(a.err, problem.TooLarge):
		m.fail(f, t, Failed, a.err.Error())
	default:
		t.NotBefore, t.Reason = m.now.Add(5*time.Second), "it could not be given to the runs, and is again: "+a.err.Error()
	}
}

// cancel asks a run to stop; one that is over stays as it is.
func (s *Schedules) cancel(ctx context.Context, a ask) {
	u, err := s.cfg.User(ctx, a.owner)
	if err == nil {
		_, err = s.cfg.Runs.Cancel(ctx, u, a.task.Run)
	}
	if err != nil && !problem.Is(err, problem.Conflict) && !problem.Is(err, problem.NotFound) && ctx.Err() == nil {
		s.cfg.Log.LogAttrs(ctx, slog.LevelWarn, "a run is not stopped yet", slog.String("run_id", a.task.Run), slog.String("error", err.Error()))
	}
}

// Apply reads a definition and makes it the schedule of its name, at once and
// wholly. The schedule is u's; applying the same text again changes nothing.
// Every notebook is looked at: whether u may run it and takes the parameters.
func (s *Schedules) Apply(ctx context.Context, u auth.User, text []byte) (applied Schedule, created bool, err error) {
	d, faults := Read(text)
	if err := asError(faults); err != nil {
		return Schedule{}, false, err
	}
	now := s.now()
	pinned, err := s.pin(ctx, u, d, now)
	if err != nil {
		return Schedule{}, false, err
	}
	old, err := s.cfg.Store.Schedule(ctx, d.Name)
	if problem.Is(err, problem.NotFound) {
		one := Schedule{
			ID: run.NewID(now), Name: d.Name, Owner: u.Name, Revision: 1, Text: string(text), Definition: d, Pinned: pinned,
			Cursor: now, Created: now, Updated: now,
		}
		table, err := d.Timetable()
		if err != nil {
			return one, false, err
		}
		if next, ok := table.Next(now); ok {
			one.Wake = next
		}
		return one, true, s.cfg.Store.CreateSchedule(ctx, one)
	}
	if err != nil {
		return Schedule{}, false, err
	}
	if err := allow(u, old); err != nil {
		return Schedule{}, false, err
	}
	err = s.change(ctx, old.ID, func(v *View) error {
		c := &v.Schedule
		applied = *c
		if c.Text == string(text) && samePins(c.Pinned, pinned) {
			return nil
		}
		// What came until now came by the old definition.
		table, err := c.Definition.Timetable()
		if err != nil {
			return err
		}
		m := &machine{view: v, now: now, table: table, changed: map[string]bool{}}
		m.recordSlots()
		c.Revision, c.Text, c.Definition, c.Pinned, c.Updated = c.Revision+1, string(text), d, pinned, now
		v.Revised, applied = true, *c
		return nil
	})
	return applied, false, err
}

func samePins(a, b map[string]int64) bool {
	x, _ := json.Marshal(a)
	y, _ := json.Marshal(b)
	return string(x) == string(y)
}

// pin checks each step against its notebook and finds the versions to run.
func (s *Schedules) pin(ctx context.Context, u auth.User, d Definition, now time.Time) (map[string]int64, error) {
	table, err := d.Timetable()
	if err != nil {
		return nil, err
	}
	sample, ok := table.Next(now)
	if !ok {
		sample = now
	}
	pinned := map[string]int64{}
	var wrong []string
	for _, step := range d.Steps {
		req := run.Request{Notebook: step.Notebook, Kernel: step.Kernel, Tags: append([]string{"schedule:" + d.Name}, d.Tags...), TimeoutSeconds: step.TimeoutSeconds}
		if !usesOthers(step.Parameters) {
			if req.Parameters, err = (env{schedule: d.Name, table: table, slot: sample}).fill(step.Parameters); err != nil {
				wrong = append(wrong, "step "+step.Name+": "+err.Error())
				continue
			}
		}
		version, err := s.cfg.Runs.Check(ctx, u, req)
		switch {
		case problem.Is(err, problem.Invalid), problem.Is(err, problem.NotFound), problem.Is(err, problem.Denied):
			wrong = append(wrong, "step "+step.Name+": "+err.Error())
		case err != nil:
			return nil, err
		case step.Source == Snapshot && version == 0:
			wrong = append(wrong, "step "+step.Name+": "+step.Notebook+" has no versions, so none can be kept: write source: latest")
		case step.Source == Snapshot:
			pinned[step.Name] = version
		}
	}
	if len(wrong) > 0 {
		return nil, problem.New(problem.Invalid, "%s", strings.Join(wrong, "\n"))
	}
	return pinned, nil
}

// allow says whether u may change a schedule: its owner and administrators may.
func allow(u auth.User, s Schedule) error {
	return auth.Allow(u, auth.Write, auth.Object{Kind: auth.RunKind, Owner: s.Owner})
}

// newKey is a key that nobody else has.
func newKey() string { return rand.Text()[:12] }

package schedule

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"log/slog"
	mathrand "math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"quire/internal/auth"
	"quire/internal/notify"
	"quire/internal/problem"
	"quire/internal/run"
)

// Runs are what executes notebooks; *run.Runs are such.
type Runs interface {
	// Check says whether a request would be taken, and which version of the
	// notebook it would run; 0 where the notebook has none.
	Check(ctx context.Context, u auth.User, req run.Request) (version int64, err error)
	// Prepare does everything for a run but adding it to the records, which
	// View.Runs does. Settle is told what became of it.
	Prepare(ctx context.Context, u auth.User, req run.Request) (run.Run, error)
	Settle(ctx context.Context, prepared run.Run, queued bool)
	Cancel(ctx context.Context, u auth.User, id string) (run.Run, error)
}

// A Config is what Schedules need.
type Config struct {
	Store Store
	Runs  Runs
	// User finds the owner of a schedule when one of its fires starts.
	User func(ctx context.Context, name string) (auth.User, error)
	// Services returns all service identities, also those that are not in the
	// configuration any more; nil has none.
	Services func(ctx context.Context) ([]auth.User, error)
	// Tested returns the environment of the newest run of a notebook that succeeded,
	// by its lock hash, and that run; nil knows none.
	Tested func(ctx context.Context, u auth.User, notebook string) (lock, run string, err error)
	// Commit returns the git repository that a notebook lies in, and the commit that
	// a ref of it is now; nil refuses steps that need it.
	Commit func(ctx context.Context, u auth.User, notebook, ref string) (repository, commit string, err error)
	// Groups returns the groups that a user is in; nil is none.
	Groups func(user string) []string
	// Tells says what is wrong with a rule about whom to tell; nil takes all.
	Tells func(notify.Rule) error
	// Keep writes a notebook to the workspaces, in folders that are made where they
	// are missing, and returns its version: the one that is there when that has the
	// same bytes. Nil refuses steps that need it.
	Keep func(ctx context.Context, u auth.User, path string, notebook []byte) (version int64, err error)
	// Hooks are the webhooks that definitions may wait for, with what gives their
	// key; nil takes all names.
	Hooks map[string]func() (string, error)
	// Files find the files that definitions may wait for; nil refuses such triggers.
	Files Files
	// Several says that other servers may use the same Store.
	Several bool
	Now     func() time.Time // time.Now when nil
	Log     *slog.Logger     // may be nil
}

// Schedules keep schedules and start their fires. They are safe for concurrent
// use; several servers may have Schedules over one store.
type Schedules struct {
	cfg  Config
	stop context.CancelFunc
	done sync.WaitGroup
	wake chan struct{}
	seen map[string]string // what service identities may do, as it was when heeded; of one goroutine
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
const dueAtOnce = 1024

// Start fires what is due until Stop.
func (s *Schedules) Start(ctx context.Context) error {
	ctx, s.stop = context.WithCancel(context.WithoutCancel(ctx))
	if err := s.heedIdentities(ctx); err != nil {
		return err
	}
	s.done.Go(func() {
		if !s.cfg.Several {
			s.takeOver(ctx)
		}
		s.loop(ctx)
	})
	if s.cfg.Services != nil {
		s.done.Go(func() { s.keepIdentities(ctx) })
	}
	if s.cfg.Files != nil {
		s.done.Go(func() { s.watchFiles(ctx) })
	}
	return nil
}

// Stop ends the firing. Stopping twice, or before Start, is no error.
func (s *Schedules) Stop() {
	if s.stop != nil {
		s.stop()
	}
	s.done.Wait()
}

// takeOver asks for the runs that a server before this one had decided about and
// did not come to ask for. Where there may be others, one of them is perhaps about
// to: what it does not is looked at after askAgain.
func (s *Schedules) takeOver(ctx context.Context) {
	const most = 100_000
	ids, err := s.cfg.Store.DueSchedules(ctx, s.now().Add(askAgain), most)
	for part := range slices.Chunk(ids, together) {
		if err == nil {
			err = s.changeAll(ctx, part, func(*View) error { return nil })
		}
	}
	if err != nil && ctx.Err() == nil { // the rounds see to them, later
		s.cfg.Log.LogAttrs(ctx, slog.LevelError, "taking over from the server before", slog.String("error", err.Error()))
	}
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

// Schedules that are due are decided about together, in one transaction for so
// many; while the runs of some are prepared, others are decided about.
const (
	together = 256
	atOnce   = 3
)

// round looks at everything that is due.
func (s *Schedules) round(ctx context.Context) error {
	for {
		ids, err := s.cfg.Store.DueSchedules(ctx, s.now(), dueAtOnce)
		if err != nil {
			return err
		}
		// Several servers are told the same: each begins somewhere else.
		mathrand.Shuffle(len(ids), func(i, j int) { ids[i], ids[j] = ids[j], ids[i] })
		parts := slices.Collect(slices.Chunk(ids, together))
		inParallel(len(parts), atOnce, func(i int) { s.look(ctx, parts[i]) })
		if len(ids) < dueAtOnce || ctx.Err() != nil {
			return nil
		}
	}
}

// look decides about schedules that are due: together or, where that fails, one
// by one, so that one that cannot be decided about stops no other.
func (s *Schedules) look(ctx context.Context, ids []string) {
	err := s.changeAll(ctx, ids, nil)
	if err == nil || ctx.Err() != nil {
		return
	}
	if len(ids) == 1 {
		s.cfg.Log.LogAttrs(ctx, slog.LevelError, "deciding about a schedule", slog.String("schedule_id", ids[0]), slog.String("error", err.Error()))
		return
	}
	for _, id := range ids {
		s.look(ctx, []string{id})
	}
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
	id              string // of the schedule
	schedule, owner string // its name, and whose it is
	fire            string
	slot            time.Time
	zone            string
	lane            string
	generation      int
	depth           int             // of schedules that run this one
	event           json.RawMessage // of the fire
	task            Task
	step            Step
	priority        int
	tags            []string
	tested          string // lock hash
	runAs, may      string // the service identity, and what it may do as somebody saw it
}

// what is what the task runs, in words.
func (a ask) what() string {
	if a.step.Schedule != "" {
		return "schedule " + a.step.Schedule
	}
	return a.task.Notebook
}

// key names the run of a try: the same try is never two runs.
func (a ask) key() string {
	return taskKey(a.fire, a.generation, a.task, a.task.Try+1)
}

func taskKey(fire string, generation int, t Task, try int) string {
	return fmt.Sprintf("schedule/%s/%d/%s/%d/%d", fire, generation, t.Step, t.Index, try)
}

// An answer is what became of an ask: a version, a run that waits to be queued,
// or an error.
type answer struct {
	ask
	version int64
	// repository and commit are what a ref was resolved to.
	repository, commit string

	run   *run.Run // prepared
	child string   // or the fire of another schedule
	view  *View    // that run was given to; nil where nobody waits for it any more
	err   error
}

// maxRounds is how often changeAll asks and notes before it leaves the rest to the
// next look.
const maxRounds = 4

// change applies first to a schedule, decides about it, and does what was decided.
// first is called in the transaction, before the decision.
func (s *Schedules) change(ctx context.Context, id string, first func(*View) error) error {
	found := false
	err := s.changeAll(ctx, []string{id}, func(v *View) error {
		found = true
		return first(v)
	})
	if err == nil && !found {
		err = problem.New(problem.NotFound, "schedule %s does not exist", id)
	}
	return err
}

// changeAll decides about schedules and does what was decided, all of them in the
// same transactions. Without first, those that are not due are left alone:
// another server has seen to them.
func (s *Schedules) changeAll(ctx context.Context, ids []string, first func(*View) error) error {
	var answers []answer
	for range maxRounds {
		of := map[string][]*answer{} // by schedule
		for i := range answers {
			of[answers[i].id] = append(of[answers[i].id], &answers[i])
		}
		var asks, stops []ask
		now := s.now()
		err := s.cfg.Store.ChangeSchedules(ctx, ids, first != nil || answers != nil, func(v *View) error {
			if first != nil {
				if err := first(v); err != nil || v.Deleted {
					return err
				}
			} else if len(of[v.Schedule.ID]) == 0 && !v.due(now) {
				v.Skip = true
				return nil
			}
			m := &machine{view: v, now: now, changed: map[string]bool{}}
			for _, a := range of[v.Schedule.ID] {
				m.heed(a)
			}
			touched := m.changed
			if err := decide(v, now); err != nil {
				return err
			}
			v.putTouched(touched)
			more, end := v.asks(now)
			asks, stops = append(asks, more...), append(stops, end...)
			return nil
		})
		s.settle(ctx, answers, err == nil)
		if err != nil {
			return err
		}
		for _, a := range stops {
			s.cancel(ctx, a)
		}
		if len(asks) == 0 {
			return nil
		}
		first, ids, answers = nil, nil, s.request(ctx, asks)
		for _, a := range asks {
			if !slices.Contains(ids, a.id) {
				ids = append(ids, a.id)
			}
		}
	}
	s.poke()
	return nil
}

// settle tells what became of prepared runs, once it is in the records.
func (s *Schedules) settle(ctx context.Context, answers []answer, committed bool) {
	for _, a := range answers {
		if a.run == nil {
			continue
		}
		queued := committed && a.view != nil && a.view.Instead[a.run.ID] == ""
		s.cfg.Runs.Settle(context.WithoutCancel(ctx), *a.run, queued)
		if queued {
			s.cfg.Log.LogAttrs(ctx, slog.LevelInfo, "fired", slog.String("schedule", a.schedule), slog.String("slot", a.slot.Format(time.RFC3339)),
				slog.String("step", a.task.Step), slog.String("run_id", a.run.ID))
		}
	}
}

// due reports whether there is something to decide about.
func (v *View) due(now time.Time) bool {
	wake := v.Schedule.Wake
	return !wake.IsZero() && !wake.After(now) || len(v.Ended)+len(v.Lost) > 0 ||
		slices.ContainsFunc(v.Signals, func(s Signal) bool { return !s.Held })
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
				id: v.Schedule.ID, schedule: v.Schedule.Name, owner: v.Schedule.Owner, fire: f.ID, slot: f.Slot, zone: f.Definition.Zone, lane: f.Lane, generation: f.Generation, event: f.Event,
				task: t, step: step, priority: f.Definition.Priority, tags: f.Definition.Tags,
				runAs: v.Schedule.Definition.RunAs, may: v.Schedule.May, tested: v.Schedule.Tested[t.Step].Lock,
			}
			if f.Parent != nil {
				a.depth = f.Parent.Depth
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

// preparers is how many runs are prepared at the same time.
const preparers = 4

// request prepares the runs that are asked for.
func (s *Schedules) request(ctx context.Context, asks []ask) []answer {
	answers := make([]answer, len(asks))
	inParallel(len(asks), preparers, func(i int) { answers[i] = s.prepare(ctx, asks[i]) })
	return answers
}

// inParallel calls do for each number below n, at most limit at a time, and
// returns when all have returned.
func inParallel(n, limit int, do func(i int)) {
	work := make(chan int, n)
	for i := range n {
		work <- i
	}
	close(work)
	var all sync.WaitGroup
	for range min(limit, n) {
		all.Go(func() {
			for i := range work {
				do(i)
			}
		})
	}
	all.Wait()
}

// prepare prepares the run of a task. The first time, a task whose source is
// latest only finds out the version: it is noted before the run is prepared, so
// that doing it again does the same.
func (s *Schedules) prepare(ctx context.Context, a ask) answer {
	got := answer{ask: a, version: a.task.Version}
	u, err := s.cfg.User(ctx, a.owner)
	if err != nil {
		got.err = problem.Wrap(err, "looking up the owner of the schedule")
		return got
	}
	if got.err = mayGoOn(u, a.runAs, a.may); got.err != nil {
		return got
	}
	if a.step.Schedule != "" {
		got.child, got.err = s.nest(ctx, u, a)
		return got
	}
	req := run.Request{
		Notebook: a.task.Notebook, Parameters: a.task.Parameters, Secrets: a.step.Secrets, Kernel: a.step.Kernel, Priority: a.priority,
		TimeoutSeconds: a.step.TimeoutSeconds, Tags: append([]string{"schedule:" + a.schedule}, a.tags...), IdempotencyKey: a.key(), Tested: a.tested,
	}
	req.Template, req.At, req.Literal = a.step.Template, a.slot, true
	if zone, err := LoadZone(a.zone); err == nil {
		req.At = a.slot.In(zone)
	}
	if a.step.Source == Git {
		if a.task.Commit == "" {
			return s.resolve(ctx, u, got)
		}
		req.Ref, req.Commit, got.version = a.step.Ref, a.task.Commit, unversioned
	}
	if got.version == 0 {
		if got.version, got.err = s.cfg.Runs.Check(ctx, u, req); got.version == 0 {
			got.version = unversioned
		}
		return got
	}
	if a.step.Template != "" {
		req.TemplateVersion = int(got.version)
	} else {
		req.Version = max(got.version, 0)
	}
	r, err := s.cfg.Runs.Prepare(ctx, u, req)
	if err != nil {
		got.err = err
		return got
	}
	got.run = &r
	return got
}

// heed notes an answer, and queues its run. One that somebody else has noted
// before changes nothing.
func (m *machine) heed(a *answer) {
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
			if a.child != "" {
				t.State, t.Child, t.Try, t.Reason, t.Started, t.Finished = Running, a.child, t.Try+1, "", m.now, time.Time{}
				continue
			}
			if a.run == nil {
				m.apply(f, t, a)
				continue
			}
			a.view, m.view.Runs = m.view, append(m.view.Runs, *a.run)
			t.State, t.Run, t.Try, t.Reason = Running, a.run.ID, t.Try+1, ""
			t.Started, t.Finished = m.now, time.Time{}
		}
	}
}

// apply notes an answer without a run.
func (m *machine) apply(f *Fire, t *Task, a *answer) {
	switch {
	case a.commit != "":
		t.resolved(f, a.repository, a.commit)
	case a.err == nil:
		t.Version = a.version
	case problem.Is(a.err, problem.Denied):
		m.fail(f, t, Failed, a.err.Error())
		m.pause(m.view.Schedule.Owner+" may not run "+a.what()+" any more: "+a.err.Error(), f.ID)
	case problem.Is(a.err, problem.Invalid), problem.Is(a.err, problem.NotFound), problem.Is(a.err, problem.TooLarge):
		m.fail(f, t, Failed, a.err.Error())
	default:
		t.NotBefore, t.Reason = m.now.Add(5*time.Second), "it could not be given to the runs, and is again: "+a.err.Error()
	}
}

// cancel asks a run to stop; one that is over stays as it is.
func (s *Schedules) cancel(ctx context.Context, a ask) {
	u, err := s.cfg.User(ctx, a.owner)
	switch {
	case a.task.Child != "":
		err = s.stopNested(ctx, a)
	case err == nil:
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
	for _, source := range d.Sources() {
		if name, ok := strings.CutPrefix(source, "webhook/"); ok && s.cfg.Hooks != nil && s.cfg.Hooks[name] == nil {
			return Schedule{}, false, problem.New(problem.Invalid, "webhook %s is not in the server's configuration (hooks): its key is there", name)
		}
		if FileSource(source) && s.cfg.Files == nil {
			return Schedule{}, false, problem.New(problem.Invalid, "there are no files to wait for on this server")
		}
	}
	if len(d.Sources()) > 0 {
		if err := s.unwound(ctx, d); err != nil {
			return Schedule{}, false, err
		}
	}
	now := s.now()
	old, err := s.cfg.Store.Schedule(ctx, d.Name)
	fresh := problem.Is(err, problem.NotFound)
	if err != nil && !fresh {
		return Schedule{}, false, err
	}
	if !fresh {
		if err := s.allow(ctx, u, old); err != nil {
			return Schedule{}, false, err
		}
	}
	owner, as, err := s.runner(ctx, u, d, old)
	if err != nil {
		return Schedule{}, false, err
	}
	for i, step := range d.Steps {
		if step.written() {
			d.Steps[i].Notebook = writtenPath(owner, d.Name, step.Name)
		}
	}
	if err := s.mayBind(u, as, owner, d); err != nil {
		return Schedule{}, false, err
	}
	if err := s.nests(ctx, as, d); err != nil {
		return Schedule{}, false, err
	}
	pinned, err := s.pin(ctx, as, d, now)
	if err != nil {
		return Schedule{}, false, err
	}
	tested, err := s.tested(ctx, as, d, old, now)
	if err != nil {
		return Schedule{}, false, err
	}
	if fresh {
		one := Schedule{
			ID: run.NewID(now), Name: d.Name, Owner: owner, Author: u.Name, May: mayOf(as), Revision: 1, Text: string(text), Definition: d, Pinned: pinned,
			Tested: tested, Cursor: now, Created: now, Updated: now,
		}
		table, err := d.Timetable()
		if err != nil {
			return one, false, err
		}
		if next, ok := table.Next(now); ok {
			one.Wake = next
		}
		v := View{Schedule: one}
		v.did(now, Activity{By: u.Name, Did: Created, Revision: 1, Detail: "fires " + d.Describe()})
		if err := s.cfg.Store.CreateSchedule(ctx, one, v.Activities[0]); err != nil {
			return one, true, err
		}
		s.beginToWait(ctx, one)
		return one, true, nil
	}
	err = s.change(ctx, old.ID, func(v *View) error {
		c := &v.Schedule
		applied = *c
		if c.Text == string(text) && samePins(c.Pinned, pinned) && c.Owner == owner && sameLocks(c.Tested, tested) {
			c.May, applied.May = mayOf(as), mayOf(as) // somebody looked at it
			return nil
		}
		// What came until now came by the old definition.
		table, err := c.Definition.Timetable()
		if err != nil {
			return err
		}
		m := &machine{view: v, now: now, table: table, changed: map[string]bool{}}
		m.recordSlots()
		if !c.Paused {
			c.Cursor = now
		}
		v.did(now, Activity{By: u.Name, Did: Changed, Revision: c.Revision + 1, Detail: changes(c.Definition, d, c.Pinned, pinned) + lockChanges(d, c.Tested, tested)})
		c.Revision, c.Text, c.Definition, c.Pinned, c.Updated = c.Revision+1, string(text), d, pinned, now
		c.Tested, c.Found = tested, nil
		c.Owner, c.Author, c.May = owner, u.Name, mayOf(as)
		v.Revised, applied = true, *c
		return nil
	})
	if err == nil {
		s.beginToWait(ctx, applied)
	}
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
	for _, rule := range d.Notify {
		if s.cfg.Tells == nil {
			break
		}
		if err := s.cfg.Tells(rule); err != nil {
			wrong = append(wrong, err.Error())
		}
	}
	for _, step := range d.Steps {
		if step.written() || step.Branch != nil || step.Schedule != "" {
			continue // written when all else is right; the others have no notebook
		}
		req := run.Request{Notebook: step.Notebook, Template: step.Template, Secrets: step.Secrets, Kernel: step.Kernel, Tags: append([]string{"schedule:" + d.Name}, d.Tags...), TimeoutSeconds: step.TimeoutSeconds, Ref: step.Ref, At: table.Local(sample), Literal: true}
		if !usesOthers(step.Parameters) {
			if req.Parameters, err = (env{schedule: d.Name, table: table, slot: sample}).fill(step.Parameters); err != nil {
				wrong = append(wrong, "step "+step.Name+": "+err.Error())
				continue
			}
		}
		version, err := s.cfg.Runs.Check(ctx, u, req)
		switch {
		case problem.Is(err, problem.NotFound) && step.Template == "" && !strings.Contains(step.Notebook, "/"):
			wrong = append(wrong, "step "+step.Name+": "+err.Error()+": want its whole path, such as users/"+u.Name+"/"+step.Notebook)
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
	for _, step := range d.Steps {
		if !step.written() {
			continue
		}
		if pinned[step.Name], err = s.write(ctx, u, d.Name, step); err != nil {
			return nil, problem.Wrap(err, "writing the notebook of step %s", step.Name)
		}
		if len(step.Secrets) == 0 {
			continue
		}
		if _, err := s.cfg.Runs.Check(ctx, u, run.Request{Notebook: step.Notebook, Secrets: step.Secrets}); err != nil {
			return nil, problem.Wrap(err, "step %s", step.Name)
		}
	}
	return pinned, nil
}

// write keeps the notebook of a step that is SQL or a command.
func (s *Schedules) write(ctx context.Context, u auth.User, schedule string, step Step) (int64, error) {
	if s.cfg.Keep == nil {
		return 0, problem.New(problem.Invalid, "there are no workspaces for steps of sql and command on this server")
	}
	nb, err := step.notebook(schedule)
	if err != nil {
		return 0, err
	}
	return s.cfg.Keep(ctx, u, step.Notebook, nb)
}

// newKey is a key that nobody else has.
func newKey() string { return rand.Text()[:12] }

package job

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"quire/internal/compute"
	"quire/internal/problem"
)

// maxHistory is how many statuses of one task are kept; Disconnected may come
// often.
const maxHistory = 100

// A Whole is a job and the tasks of it that count: for each index the newest,
// and every one that lives.
type Whole struct {
	Job   Job
	Tasks []Task
}

// A World is what the machine may ask for besides its arguments.
type World struct {
	Now   time.Time
	NewID func() string
	// Version returns a number larger than any before.
	Version func() int64
}

// Open returns a new job with its first tasks.
func Open(j Job, world World) Whole {
	w := Whole{Job: j}
	w.Job.Status = Status{State: Accepted, Timestamp: world.Now.UnixMilli()}
	w.Job.Created, w.Job.Version = world.Now.UnixMilli(), world.Version()
	if b := j.Descriptor.Batch; b != nil {
		for i := range int(b.Size) {
			w.Tasks = append(w.Tasks, newTask(w.Job, i, world))
		}
		return w
	}
	c := change{w: w, world: world}
	c.fill()
	return c.w
}

func newTask(j Job, index int, world World) Task {
	id := world.NewID()
	return Task{
		ID: id, OriginalID: id, JobID: j.ID, Index: index, Version: world.Version(),
		Status: Status{State: Accepted, Timestamp: world.Now.UnixMilli()},
	}
}

// An Event is something that happened or was asked for: one of the types below.
type Event interface{ apply(c *change) error }

// Step is the whole of the decision: what a job and its tasks become after an
// event. It is a pure function of its arguments. The tasks that changed or are
// new are returned too, with those that count no more; after an error nothing
// changes.
func Step(w Whole, e Event, world World) (Whole, []Task, error) {
	c := change{w: Whole{Job: w.Job, Tasks: slices.Clone(w.Tasks)}, world: world, changed: map[string]bool{}}
	c.w.Job.Descriptor = w.Job.Descriptor.clone()
	if err := e.apply(&c); err != nil {
		return w, nil, err
	}
	c.settle()
	var changed []Task
	keep := c.w.Tasks[:0:0]
	for _, t := range c.w.Tasks {
		if c.changed[t.ID] {
			changed = append(changed, t)
		}
		if !t.Replaced {
			keep = append(keep, t)
		}
	}
	c.w.Tasks = keep
	if c.jobChanged || len(changed) > 0 {
		c.w.Job.Version = world.Version()
	}
	return c.w, changed, nil
}

// A change is a step under way.
type change struct {
	w          Whole
	world      World
	changed    map[string]bool
	jobChanged bool
}

// touch returns a task to be changed.
func (c *change) touch(id string) (*Task, error) {
	i := slices.IndexFunc(c.w.Tasks, func(t Task) bool { return t.ID == id })
	if i < 0 {
		return nil, wrongState("task %s is not one of job %s that goes on", id, c.w.Job.ID)
	}
	t := &c.w.Tasks[i]
	t.Version = c.world.Version()
	c.mark(id)
	return t, nil
}

func (c *change) mark(id string) {
	if c.changed == nil {
		c.changed = map[string]bool{}
	}
	c.changed[id] = true
}

func (c *change) enter(t *Task, s State, code, message string) {
	at := max(c.world.Now.UnixMilli(), t.Status.Timestamp) // clocks may go back, a history does not
	t.History = append(slices.Clone(t.History), t.Status)
	if len(t.History) > maxHistory {
		t.History = slices.Delete(t.History, maxHistory/2, maxHistory/2+1)
	}
	t.Status = Status{State: s, ReasonCode: code, ReasonMessage: message, Timestamp: at}
}

func (c *change) enterJob(s State, code, message string) {
	j := &c.w.Job
	at := max(c.world.Now.UnixMilli(), j.Status.Timestamp)
	j.History = append(slices.Clone(j.History), j.Status)
	j.Status = Status{State: s, ReasonCode: code, ReasonMessage: message, Timestamp: at}
	c.jobChanged = true
}

// Waits says what a task that does not run yet waits for.
type Waits struct {
	Task, Why string
	Stage     compute.Stage // of its container, where it has one
}

func (e Waits) apply(c *change) error {
	t, err := c.touch(e.Task)
	if err != nil || t.Status.State.order() > StartInitiated.order() {
		return err
	}
	t.Status.ReasonMessage = e.Why
	t.heed(e.Stage, c.world.Now.UnixMilli())
	return nil
}

// Advanced says that a task came to a state: Launched, StartInitiated, Started
// or Disconnected. One that it has passed already changes nothing.
type Advanced struct {
	Task    string
	To      State
	Message string
	Node    string // where its container is; "" leaves it
}

func (e Advanced) apply(c *change) error {
	t, err := c.touch(e.Task)
	if err != nil {
		return err
	}
	if e.Node != "" {
		t.Node = e.Node
	}
	from := t.Status.State
	back := from == Disconnected && e.To == Started
	if !back && (e.To.order() <= from.order() || from == KillInitiated) || e.To == Finished || e.To == KillInitiated {
		return nil
	}
	t.heed(compute.Stage{}, c.world.Now.UnixMilli())
	c.enter(t, e.To, "", e.Message)
	return nil
}

// Ended says how a task's container ended, or why it has none. Code is a reason
// code; a task that was being killed keeps the reason of that.
type Ended struct {
	Task, Code, Message string
	Exit                *compute.Exit
}

func (e Ended) apply(c *change) error {
	t, err := c.touch(e.Task)
	if err != nil || !t.Live() {
		return err
	}
	code, message := e.Code, e.Message
	if t.Status.State == KillInitiated && code != StuckInKillingState {
		code, message = t.Status.ReasonCode, t.Status.ReasonMessage
	}
	t.Exit = e.Exit
	if e.Exit != nil {
		t.Usage.PeakMemoryBytes = max(t.Usage.PeakMemoryBytes, e.Exit.PeakMemoryBytes)
	}
	c.enter(t, Finished, code, message)
	return nil
}

// Measured says what a task uses.
type Measured struct {
	Task  string
	Usage Usage
}

func (e Measured) apply(c *change) error {
	t, err := c.touch(e.Task)
	if err == nil {
		peak := max(t.Usage.PeakMemoryBytes, e.Usage.PeakMemoryBytes)
		t.Usage = e.Usage
		t.Usage.PeakMemoryBytes = peak
	}
	return err
}

// KillJob asks a job to end. While it is ending, asking again changes nothing.
type KillJob struct{ Message string }

func (e KillJob) apply(c *change) error {
	switch c.w.Job.Status.State {
	case Finished:
		return wrongState("job %s has finished already", c.w.Job.ID)
	case KillInitiated:
		return nil
	}
	c.enterJob(KillInitiated, Killed, e.Message)
	for _, t := range c.w.Tasks {
		c.kill(t.ID, Killed, e.Message)
	}
	return nil
}

// kill begins the end of a task; one that has no container yet is finished.
func (c *change) kill(id, code, message string) {
	t, err := c.touch(id)
	switch {
	case err != nil || !t.Live() || t.Status.State == KillInitiated:
	case t.Status.State == Accepted:
		c.enter(t, Finished, code, message)
	default:
		c.enter(t, KillInitiated, code, message)
	}
}

// KillTask asks a task to end. Another one takes its place, if the job's policy
// says so; with Shrink, which only a service job takes, none does: its desired
// size becomes one less, and its minimum too where it must, unless KeepMin
// forbids that.
type KillTask struct {
	Task, Code, Message string
	Shrink, KeepMin     bool
}

func (e KillTask) apply(c *change) error {
	i := slices.IndexFunc(c.w.Tasks, func(t Task) bool { return t.ID == e.Task })
	if i < 0 || !c.w.Tasks[i].Live() {
		return wrongState("task %s has finished already", e.Task)
	}
	if e.Shrink {
		s := c.w.Job.Descriptor.Service
		switch {
		case s == nil:
			return problem.New(problem.Invalid, "job %s is a batch job: only a service job can shrink", c.w.Job.ID)
		case c.w.Job.Status.State != Accepted:
			return wrongState("job %s is ending", c.w.Job.ID)
		case s.Capacity.Desired == s.Capacity.Min && e.KeepMin:
			return problem.New(problem.Invalid, "job %s has its minimum of %d tasks: it cannot shrink below that", c.w.Job.ID, s.Capacity.Min)
		}
		if c.w.Tasks[i].Status.State != KillInitiated && s.Capacity.Desired > 0 {
			s.Capacity.Desired--
			s.Capacity.Min = min(s.Capacity.Min, s.Capacity.Desired)
			c.jobChanged = true
		}
	}
	c.kill(e.Task, e.Code, e.Message)
	return nil
}

// Resized changes how many tasks a service job has; nil leaves a number as it
// is.
type Resized struct{ Min, Desired, Max *Count }

func (e Resized) apply(c *change) error {
	s, err := c.service()
	if err != nil {
		return err
	}
	next := s.Capacity
	for _, one := range []struct {
		field *Count
		value *Count
	}{{&next.Min, e.Min}, {&next.Desired, e.Desired}, {&next.Max, e.Max}} {
		if one.value != nil {
			*one.field = *one.value
		}
	}
	var wrong compute.Violations
	next.validate("capacity", &wrong)
	if p := s.ServiceJobProcesses; p != nil {
		if p.DisableIncreaseDesired && next.Desired > s.Capacity.Desired {
			wrong.Add("capacity.desired", "increasing it is disabled for this job")
		}
		if p.DisableDecreaseDesired && next.Desired < s.Capacity.Desired {
			wrong.Add("capacity.desired", "decreasing it is disabled for this job")
		}
	}
	if err := wrong.Err("changing the capacity of job %s", c.w.Job.ID); err != nil {
		return err
	}
	s.Capacity, c.jobChanged = next, true
	return nil
}

// service returns the service part of a job that goes on, to be changed.
func (c *change) service() (*Service, error) {
	if c.w.Job.Status.State != Accepted {
		return nil, wrongState("job %s is ending or has finished", c.w.Job.ID)
	}
	if c.w.Job.Descriptor.Service == nil {
		return nil, problem.New(problem.Invalid, "job %s is a batch job: only a service job has this", c.w.Job.ID)
	}
	return c.w.Job.Descriptor.Service, nil
}

// Processes stops or allows changes of the desired size.
type Processes struct{ Processes ServiceProcesses }

func (e Processes) apply(c *change) error {
	s, err := c.service()
	if err == nil {
		s.ServiceJobProcesses, c.jobChanged = &e.Processes, true
	}
	return err
}

// Enabled sets the flag of a service job.
type Enabled struct{ On bool }

func (e Enabled) apply(c *change) error {
	s, err := c.service()
	if err == nil {
		s.Enabled, c.jobChanged = &e.On, true
	}
	return err
}

// Budget replaces the disruption budget of a job.
type Budget struct{ Budget *DisruptionBudget }

func (e Budget) apply(c *change) error {
	if c.w.Job.Status.State != Accepted {
		return wrongState("job %s is ending or has finished", c.w.Job.ID)
	}
	c.w.Job.Descriptor.DisruptionBudget, c.jobChanged = e.Budget, true
	return nil
}

// Attributed sets and removes attributes of a job, or of one of its tasks.
type Attributed struct {
	Task   string // "" is the job
	Set    map[string]string
	Remove []string
}

func (e Attributed) apply(c *change) error {
	if c.w.Job.Status.State != Accepted {
		return wrongState("job %s is ending or has finished", c.w.Job.ID)
	}
	attributes := &c.w.Job.Descriptor.Attributes
	if e.Task != "" {
		t, err := c.touch(e.Task)
		if err != nil {
			return err
		}
		attributes = &t.Attributes
	}
	next := maps.Clone(*attributes)
	if next == nil {
		next = map[string]string{}
	}
	maps.Copy(next, e.Set)
	for _, name := range e.Remove {
		delete(next, name)
	}
	var wrong compute.Violations
	validateAttributes("attributes", next, "titus", &wrong)
	if err := wrong.Err("changing attributes"); err != nil {
		return err
	}
	*attributes, c.jobChanged = next, true
	return nil
}

// movedAway takes a running task out of a job, which becomes one smaller, to be
// taken by another.
type movedAway struct{ Task string }

func (e movedAway) apply(c *change) error {
	s, err := c.service()
	if err != nil {
		return err
	}
	i := slices.IndexFunc(c.w.Tasks, func(t Task) bool { return t.ID == e.Task })
	switch {
	case i < 0 || c.w.Tasks[i].Status.State != Started:
		return wrongState("task %s does not run: only a started task can be moved", e.Task)
	case s.Capacity.Desired <= s.Capacity.Min:
		return problem.New(problem.Invalid, "job %s has its minimum of %d tasks: none can be moved away", c.w.Job.ID, s.Capacity.Min)
	}
	s.Capacity.Desired--
	c.w.Tasks = slices.Delete(c.w.Tasks, i, i+1)
	c.jobChanged = true
	return nil
}

// movedIn puts a running task of another job into this one, which becomes one
// larger.
type movedIn struct{ Task Task }

func (e movedIn) apply(c *change) error {
	s, err := c.service()
	if err != nil {
		return err
	}
	if s.Capacity.Desired >= s.Capacity.Max {
		return problem.New(problem.Invalid, "job %s has its maximum of %d tasks", c.w.Job.ID, s.Capacity.Max)
	}
	s.Capacity.Desired++
	t := e.Task
	t.MovedFrom, t.JobID, t.Index, t.Version = t.JobID, c.w.Job.ID, c.w.Job.Next, c.world.Version()
	c.w.Job.Next++
	c.w.Tasks = append(c.w.Tasks, t)
	c.mark(t.ID)
	c.jobChanged = true
	return nil
}

// settle does what follows from where the tasks are: replacements, more or
// fewer tasks, the end of the job.
func (c *change) settle() {
	for i := range c.w.Tasks {
		t := &c.w.Tasks[i]
		if !t.Live() && !t.Replaced && c.w.Job.Status.State != Finished {
			c.follow(t)
		}
	}
	c.fill()
	live := slices.ContainsFunc(c.w.Tasks, Task.Live)
	switch j := c.w.Job; {
	case live || j.Status.State == Finished:
	case j.Status.State == KillInitiated:
		c.enterJob(Finished, j.Status.ReasonCode, j.Status.ReasonMessage)
	case j.Descriptor.Batch != nil:
		if j.Unwell == 0 {
			c.enterJob(Finished, Normal, "")
			return
		}
		code, message := c.worst()
		if j.Descriptor.Batch.Size > 1 {
			message = fmt.Sprintf("%d of %d tasks did not end well; one of them: %s", j.Unwell, j.Descriptor.Batch.Size, message)
		}
		c.enterJob(Finished, code, message)
	}
}

// worst returns the reason of the first task that did not end normally.
func (c *change) worst() (code, message string) {
	for _, t := range c.w.Tasks {
		if t.Status.ReasonCode != Normal {
			return t.Status.ReasonCode, t.Status.ReasonMessage
		}
	}
	return Failed, ""
}

// follow decides what comes after a task that has finished. It may append to
// the tasks, so that t is not to be used after it.
func (c *change) follow(t *Task) {
	j := &c.w.Job
	old := *t
	if j.Status.State != Accepted {
		return
	}
	if j.Descriptor.Service != nil && j.Extras.Once {
		c.enterJob(KillInitiated, old.Status.ReasonCode, old.Status.ReasonMessage)
		return
	}
	if j.Descriptor.Service != nil {
		t.Replaced = true
		c.mark(t.ID)
		if c.active() < int(j.Descriptor.Service.Capacity.Desired) {
			wait := serviceDelay(j.Descriptor.Service.RetryPolicy, &old)
			c.resubmit(old, wait)
		}
		return
	}
	if t.Done {
		return
	}
	t.Done = true
	c.mark(t.ID)
	wait, again := batchRetry(*j.Descriptor.Batch, &old)
	if !again || j.Extras.Once {
		j.Ended++
		if old.Status.ReasonCode != Normal {
			j.Unwell++
		}
		c.jobChanged = true
		return
	}
	t.Replaced = true
	c.resubmit(old, wait)
}

func (c *change) resubmit(old Task, wait time.Duration) {
	next := newTask(c.w.Job, old.Index, c.world)
	next.OriginalID, next.ResubmitOf, next.Tries, next.Attributes = old.OriginalID, old.ID, old.Tries, old.Attributes
	if wait > 0 {
		next.NotBefore = c.world.Now.Add(wait).UnixMilli()
		next.Status.ReasonMessage = fmt.Sprintf("it is tried again after %v: the task before it: %s", wait, orCode(old.Status))
	}
	c.w.Tasks = append(c.w.Tasks, next)
	c.mark(next.ID)
	c.jobChanged = true
}

func orCode(s Status) string {
	if s.ReasonMessage != "" {
		return s.ReasonMessage
	}
	return s.ReasonCode
}

// active counts the tasks that live and are not being stopped.
func (c *change) active() int {
	n := 0
	for _, t := range c.w.Tasks {
		if t.Live() && t.Status.State != KillInitiated {
			n++
		}
	}
	return n
}

// fill brings a service job to its desired size.
func (c *change) fill() {
	s := c.w.Job.Descriptor.Service
	if s == nil || c.w.Job.Status.State != Accepted {
		return
	}
	for n := c.active(); n < int(s.Capacity.Desired); n++ {
		next := newTask(c.w.Job, c.w.Job.Next, c.world)
		c.w.Job.Next++
		c.w.Tasks = append(c.w.Tasks, next)
		c.mark(next.ID)
		c.jobChanged = true
	}
	for n := c.active(); n > int(s.Capacity.Desired); n-- {
		c.kill(c.victim(), ScaledDown, fmt.Sprintf("the job was made smaller, to %d tasks", s.Capacity.Desired))
	}
	for i := range c.w.Tasks { // those that were finished without a container
		if t := &c.w.Tasks[i]; !t.Live() && !t.Replaced {
			t.Replaced = true
			c.mark(t.ID)
		}
	}
}

// victim returns the task that is missed least: the one that has come least
// far, and of those the youngest.
func (c *change) victim() string {
	best := -1
	for i, t := range c.w.Tasks {
		if !t.Live() || t.Status.State == KillInitiated {
			continue
		}
		if best < 0 || t.Status.State.order() < c.w.Tasks[best].Status.State.order() ||
			t.Status.State.order() == c.w.Tasks[best].Status.State.order() && t.Index >= c.w.Tasks[best].Index {
			best = i
		}
	}
	return c.w.Tasks[best].ID
}

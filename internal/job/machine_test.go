package job

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"quire/internal/compute"
	"quire/internal/problem"
)

// A bench is a world whose ids and versions count up.
type bench struct {
	now     time.Time
	ids     int
	version int64
}

func newBench() *bench { return &bench{now: time.Date(2018, 5, 8, 0, 0, 0, 0, time.UTC)} }

func (b *bench) world() World {
	return World{
		Now:     b.now,
		NewID:   func() string { b.ids++; return fmt.Sprintf("t%d", b.ids) },
		Version: func() int64 { b.version++; return b.version },
	}
}

func batchOf(size Count, policy *RetryPolicy) Descriptor {
	return Descriptor{ApplicationName: "b", Batch: &Batch{Size: size, RuntimeLimitSec: 60, RetryPolicy: policy}}
}

func serviceOf(low, desired, high Count) Descriptor {
	return Descriptor{ApplicationName: "s", Service: &Service{Capacity: Capacity{low, desired, high}}}
}

// a play is a job under test.
type play struct {
	t *testing.T
	b *bench
	w Whole
	// all is every task as it was last seen.
	all map[string]Task
}

func start(t *testing.T, d Descriptor) *play {
	b := newBench()
	p := &play{t: t, b: b, all: map[string]Task{}, w: Open(Job{ID: "j", User: "ann", Descriptor: d}, b.world())}
	for _, task := range p.w.Tasks {
		p.all[task.ID] = task
	}
	return p
}

// try applies an event and checks what must always hold.
func (p *play) try(e Event) error {
	p.t.Helper()
	before := p.w
	w, changed, err := Step(p.w, e, p.b.world())
	if err != nil {
		if len(changed) > 0 {
			p.t.Fatalf("%T failed and changed tasks", e)
		}
		return err
	}
	p.w = w
	for _, task := range changed {
		old, known := p.all[task.ID]
		p.checkTask(e, old, known, task, before.Job)
		p.all[task.ID] = task
	}
	p.checkWhole(e, before)
	return nil
}

func (p *play) do(e Event) {
	p.t.Helper()
	if err := p.try(e); err != nil {
		p.t.Fatalf("%T: %v", e, err)
	}
}

func (p *play) checkTask(e Event, old Task, known bool, task Task, before Job) {
	p.t.Helper()
	if !known {
		if before.Status.State != Accepted {
			p.t.Fatalf("%T: a task was made while the job was %s", e, before.Status.State)
		}
		if r, ok := p.all[task.ResubmitOf]; task.ResubmitOf != "" {
			tries := func(t Tries) int { return t.User + t.System + t.Eviction }
			if !ok || r.Live() && p.all[r.ID].Version >= task.Version || task.OriginalID != r.OriginalID || task.Index != r.Index || tries(task.Tries) != tries(r.Tries)+1 {
				p.t.Fatalf("%T: a replacement does not carry on from %+v: %+v", e, r, task)
			}
		}
		return
	}
	back := old.Status.State == Disconnected && task.Status.State == Started
	switch {
	case task.Version <= old.Version:
		p.t.Fatalf("%T: the version does not grow", e)
	case task.Status.State.order() < old.Status.State.order() && !back:
		p.t.Fatalf("%T: a task went from %s to %s", e, old.Status.State, task.Status.State)
	case task.Status.Timestamp < old.Status.Timestamp:
		p.t.Fatalf("%T: the history goes back in time", e)
	case !old.Live() && task.Status.ReasonCode != old.Status.ReasonCode:
		p.t.Fatalf("%T: a finished task changed its reason", e)
	}
}

func (p *play) checkWhole(e Event, before Whole) {
	p.t.Helper()
	live := map[int]int{}
	active := 0
	for _, task := range p.w.Tasks {
		if task.Live() {
			live[task.Index]++
			if task.Status.State != KillInitiated {
				active++
			}
		}
	}
	j := p.w.Job
	switch {
	case j.Status.State == Finished && len(live) > 0:
		p.t.Fatalf("%T: the job finished with live tasks", e)
	case j.Status.State != Accepted && before.Job.Status.State == Finished && j.Status.State != Finished:
		p.t.Fatalf("%T: a finished job came back", e)
	case j.Descriptor.Service != nil && j.Status.State == Accepted && active != int(j.Descriptor.Service.Capacity.Desired):
		p.t.Fatalf("%T: %d tasks are active, %d are desired", e, active, j.Descriptor.Service.Capacity.Desired)
	case j.Status.State == Finished && j.Status.ReasonCode == "":
		p.t.Fatalf("%T: the job finished without a reason", e)
	}
	if b := j.Descriptor.Batch; b != nil {
		for index, n := range live {
			if n > 1 || index >= int(b.Size) {
				p.t.Fatalf("%T: index %d has %d live tasks", e, index, n)
			}
		}
		if j.Status.State == Accepted && len(live)+j.Ended != int(b.Size) {
			p.t.Fatalf("%T: %d indices live and %d ended, of %d", e, len(live), j.Ended, b.Size)
		}
	}
}

// TestSimulation drives the machine with random events and asks after every
// step what must always hold; then everything is let end.
func TestSimulation(t *testing.T) {
	t.Parallel()
	for seed := range uint64(1500) {
		rng := rand.New(rand.NewPCG(seed, 1))
		policies := []*RetryPolicy{
			nil,
			{Immediate: &Immediate{2}},
			{Delayed: &Delayed{DelayMs: 10, Retries: 1}},
			{ExponentialBackOff: &ExponentialBackOff{InitialDelayMs: 10, MaxDelayIntervalMs: 100, Retries: 3}},
		}
		d := batchOf(Count(1+rng.IntN(5)), policies[rng.IntN(len(policies))])
		if rng.IntN(2) == 0 {
			d = serviceOf(0, Count(rng.IntN(4)), 5)
			d.Service.RetryPolicy = policies[rng.IntN(len(policies))]
		}
		p := start(t, d)
		for range 60 {
			p.b.now = p.b.now.Add(time.Duration(rng.IntN(60000)-1000) * time.Millisecond)
			if err := p.try(randomEvent(rng, p.w)); err != nil && problem.Is(err, problem.Internal) {
				t.Fatalf("seed %d: %v", seed, err)
			}
		}
		if d.Service != nil && p.w.Job.Status.State == Accepted {
			p.do(KillJob{Message: "enough"})
		}
		for i := 0; p.w.Job.Status.State != Finished; i++ {
			if i > 1000 {
				t.Fatalf("seed %d: the job goes on for ever: %+v", seed, p.w)
			}
			at := slices.IndexFunc(p.w.Tasks, Task.Live)
			p.do(Ended{Task: p.w.Tasks[at].ID, Code: Failed})
		}
	}
}

func randomEvent(rng *rand.Rand, w Whole) Event {
	id := "none"
	if len(w.Tasks) > 0 {
		id = w.Tasks[rng.IntN(len(w.Tasks))].ID
	}
	size := Count(rng.IntN(7))
	codes := []string{Normal, Failed, LostTask, Evicted, InvalidRequest, TransientSystemError, StuckInState}
	switch rng.IntN(14) {
	case 0, 1, 2:
		states := []State{Launched, StartInitiated, Started, Disconnected, Started}
		return Advanced{Task: id, To: states[rng.IntN(len(states))]}
	case 3, 4, 5, 6:
		return Ended{Task: id, Code: codes[rng.IntN(len(codes))]}
	case 7:
		return KillTask{Task: id, Code: Killed, Shrink: rng.IntN(2) == 0, KeepMin: rng.IntN(2) == 0}
	case 8:
		return Resized{Desired: &size}
	case 9:
		return Resized{Min: &size}
	case 10:
		return Measured{Task: id, Usage: Usage{MemoryBytes: 1}}
	case 11:
		return Attributed{Task: id, Set: map[string]string{"a": "b"}}
	case 12:
		if rng.IntN(8) == 0 {
			return KillJob{Message: "stop"}
		}
	}
	return Waits{Task: id, Why: "full"}
}

func TestBatchRetries(t *testing.T) {
	t.Parallel()
	p := start(t, batchOf(2, &RetryPolicy{ExponentialBackOff: &ExponentialBackOff{InitialDelayMs: 1000, MaxDelayIntervalMs: 3000, Retries: 3}}))
	newest := func() Task {
		i := slices.IndexFunc(p.w.Tasks, func(t Task) bool { return t.Index == 0 })
		return p.w.Tasks[i]
	}
	for i, want := range []time.Duration{time.Second, 2 * time.Second, 3 * time.Second} {
		p.do(Ended{Task: newest().ID, Code: TransientSystemError, Message: "the machine"})
		if n := newest(); n.Tries.System != i+1 || n.Tries.User != i {
			t.Fatalf("the platform's fault was charged to the user: %+v", n.Tries)
		}
		p.do(Ended{Task: newest().ID, Code: Failed, Message: "exit status 1"})
		if n := newest(); n.Tries.User != i+1 || n.NotBefore != p.b.now.Add(want).UnixMilli() {
			t.Errorf("retry %d: tries %+v, after %v, want %v", i, n.Tries, time.UnixMilli(n.NotBefore).Sub(p.b.now), want)
		}
	}
	p.do(Ended{Task: newest().ID, Code: Failed, Message: "exit status 2"})
	if newest().Live() || p.w.Job.Status.State != Accepted {
		t.Fatal("there is a fourth retry, or the job ended before its other task")
	}
	p.do(Ended{Task: p.w.Tasks[slices.IndexFunc(p.w.Tasks, func(t Task) bool { return t.Index == 1 })].ID, Code: Normal})
	if s := p.w.Job.Status; s.State != Finished || s.ReasonCode != Failed || s.ReasonMessage != "1 of 2 tasks did not end well; one of them: exit status 2" {
		t.Errorf("the job: %+v", s)
	}
}

func TestSystemFailuresHaveAnEnd(t *testing.T) {
	t.Parallel()
	p := start(t, batchOf(1, nil))
	n := 0
	for ; p.w.Job.Status.State != Finished; n++ {
		p.do(Ended{Task: p.w.Tasks[0].ID, Code: LostTask})
	}
	if n != maxSystemTries+1 || p.w.Job.Status.ReasonCode != LostTask {
		t.Errorf("%d tries, %+v", n, p.w.Job.Status)
	}
	for code, wantTries := range map[string]int{RuntimeLimitExceeded: 1, InvalidRequest: 1, Evicted: maxEvictionTries + 1} {
		p := start(t, batchOf(1, nil))
		n := 0
		for ; p.w.Job.Status.State != Finished; n++ {
			p.do(Ended{Task: p.w.Tasks[0].ID, Code: code})
		}
		if n != wantTries {
			t.Errorf("%s: %d tries, want %d", code, n, wantTries)
		}
	}
}

func TestKill(t *testing.T) {
	t.Parallel()
	p := start(t, batchOf(2, &RetryPolicy{Immediate: &Immediate{5}}))
	first := p.w.Tasks[0].ID
	p.do(Advanced{Task: first, To: Started})
	p.do(KillJob{Message: "ann asked for it"})
	if p.w.Job.Status.State != KillInitiated || p.all[first].Status.State != KillInitiated {
		t.Fatalf("after the kill: %+v", p.w)
	}
	if live := slices.IndexFunc(p.w.Tasks, func(t Task) bool { return t.Live() && t.ID != first }); live >= 0 {
		t.Error("a task without a container waits for one to end")
	}
	version := p.w.Job.Version
	p.do(KillJob{Message: "again"})
	if p.w.Job.Version != version {
		t.Error("a second kill changed something")
	}
	var precondition *StateError
	for _, e := range []Event{Enabled{true}, Resized{}, Attributed{Set: map[string]string{"a": "b"}}} {
		if err := p.try(e); !problem.Is(err, problem.Conflict) {
			t.Errorf("%T while ending: %v", e, err)
		}
	}
	p.do(Ended{Task: first, Code: Normal})
	if s := p.w.Job.Status; s.State != Finished || s.ReasonCode != Killed || s.ReasonMessage != "ann asked for it" || p.all[first].Status.ReasonCode != Killed {
		t.Errorf("the end: %+v, the task: %+v", s, p.all[first].Status)
	}
	if err := p.try(KillJob{}); !problem.Is(err, problem.Conflict) || !asState(err, &precondition) {
		t.Errorf("killing a finished job: %v", err)
	}
}

func asState(err error, target **StateError) bool {
	state, ok := err.(*StateError) //nolint:errorlint // it is returned as it is
	*target = state
	return ok
}

func TestServiceShrinkAndScale(t *testing.T) {
	t.Parallel()
	p := start(t, serviceOf(1, 2, 3))
	for _, task := range p.w.Tasks {
		p.do(Advanced{Task: task.ID, To: Started})
	}
	victim := p.w.Tasks[0].ID
	p.do(KillTask{Task: victim, Code: Killed, Shrink: true, KeepMin: true})
	p.do(Ended{Task: victim, Code: Failed})
	if c := p.w.Job.Descriptor.Service.Capacity; c != (Capacity{1, 1, 3}) || len(p.w.Tasks) != 1 {
		t.Fatalf("after shrinking: %+v, %d tasks", c, len(p.w.Tasks))
	}
	version, last := p.w.Job.Version, p.w.Tasks[0].ID
	if err := p.try(KillTask{Task: last, Code: Killed, Shrink: true, KeepMin: true}); !problem.Is(err, problem.Invalid) || p.w.Job.Version != version {
		t.Errorf("shrinking below the minimum: %v", err)
	}
	three := Count(3)
	p.do(Resized{Desired: &three})
	p.do(Advanced{Task: p.w.Tasks[1].ID, To: Started})
	one := Count(1)
	p.do(Resized{Desired: &one})
	if p.all[last].Status.State != Started {
		t.Error("the oldest running task was scaled down")
	}
	four := Count(4)
	if err := p.try(Resized{Desired: &four}); !problem.Is(err, problem.Invalid) {
		t.Errorf("above the maximum: %v", err)
	}
	p.do(Processes{ServiceProcesses{DisableIncreaseDesired: true}})
	if err := p.try(Resized{Desired: &three}); !problem.Is(err, problem.Invalid) {
		t.Errorf("increasing while it is disabled: %v", err)
	}
	p.do(KillTask{Task: last, Code: Killed, Shrink: true})
	if c := p.w.Job.Descriptor.Service.Capacity; c != (Capacity{0, 0, 3}) {
		t.Errorf("shrinking takes the minimum along: %+v", c)
	}
}

func TestServiceDelays(t *testing.T) {
	t.Parallel()
	p := start(t, serviceOf(1, 1, 1))
	last := func() Task { return p.w.Tasks[len(p.w.Tasks)-1] }
	run := func(lived time.Duration) time.Duration {
		id := last().ID
		p.do(Advanced{Task: id, To: Started})
		p.b.now = p.b.now.Add(lived)
		p.do(Ended{Task: id, Code: Failed})
		if last().NotBefore == 0 {
			return 0
		}
		return time.UnixMilli(last().NotBefore).Sub(p.b.now)
	}
	for i, want := range []time.Duration{0, flappingDelay, flappingDelay} {
		if got := run(0); got != want {
			t.Errorf("failure %d: waits %v, want %v", i, got, want)
		}
	}
	if got := run(healthyAfter); got != 0 {
		t.Errorf("after a minute of health it waits %v", got)
	}
}

func TestEndingOf(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		exit compute.Exit
		want string
	}{
		{compute.Exit{Cause: compute.CauseExited}, Normal},
		{compute.Exit{Cause: compute.CauseExited, Code: 1}, Failed},
		{compute.Exit{Cause: compute.CauseExited, Signal: "SIGSEGV", Code: 139}, Failed},
		{compute.Exit{Cause: compute.CauseOOM, OOMKilled: true, Code: 137}, Failed},
		{compute.Exit{Cause: compute.CauseRejected, Code: 127}, InvalidRequest},
		{compute.Exit{Cause: compute.CauseStopped}, TransientSystemError},
		{compute.Exit{Cause: compute.CauseSystem}, LostTask},
		{compute.Exit{}, UnknownSystemError},
	} {
		if got := endingOf("t", tt.exit); got.Code != tt.want || got.Exit == nil {
			t.Errorf("%+v: got %s, want %s", tt.exit, got.Code, tt.want)
		}
	}
}

func TestIDs(t *testing.T) {
	t.Parallel()
	if id := NewID(); !ValidID(id) || id[14] != '4' || id == NewID() {
		t.Errorf("%s is no random UUID", id)
	}
	for _, id := range []string{"", "../../etc", "0123456789abcdef0123456789abcdef0123", "0123456G-0000-0000-0000-000000000000"} {
		if ValidID(id) {
			t.Errorf("%q is valid", id)
		}
	}
}

// TestServiceThatRunsOnce ends a service job with its task, and says why as the
// task does.
func TestServiceThatRunsOnce(t *testing.T) {
	t.Parallel()
	n := int64(0)
	world := World{Now: time.Now(), NewID: NewID, Version: func() int64 { n++; return n }}
	j := Job{ID: NewID(), Extras: Extras{Once: true}, Descriptor: Descriptor{Service: &Service{Capacity: Capacity{Desired: 1, Max: 1}}}}
	w := Open(j, world)
	if len(w.Tasks) != 1 {
		t.Fatalf("%d tasks", len(w.Tasks))
	}
	for _, e := range []Event{
		Advanced{Task: w.Tasks[0].ID, To: Started},
		Ended{Task: w.Tasks[0].ID, Code: Failed, Message: "out of memory: limit 4 GiB, peak 4 GiB"},
	} {
		var err error
		if w, _, err = Step(w, e, world); err != nil {
			t.Fatal(err)
		}
	}
	if st := w.Job.Status; st.State != Finished || st.ReasonCode != Failed || !strings.HasPrefix(st.ReasonMessage, "out of memory") || len(w.Tasks) != 1 {
		t.Errorf("got %+v with %d tasks", st, len(w.Tasks))
	}
}

package job_test

import (
	"context"
	"fmt"
	"io"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"quire/internal/auth"
	"quire/internal/compute"
	"quire/internal/db/dbtest"
	"quire/internal/job"
	"quire/internal/problem"
)

// A place is a driver in memory. What a container does is its first argument:
// "ok" and "fail" end at once, "wait" runs until it is stopped, "flaky" fails
// once for each job, "oom" runs out of memory, "linger" runs like "wait" and takes
// until release to stop. It outlives the Jobs over it.
type place struct {
	mu      sync.Mutex
	boxes   map[string]*box
	created map[string]int // how often each id was really made
	down    bool           // it does not answer
	failed  map[string]bool
	images  chan struct{} // closed when the image of "pull" has come
	release chan struct{} // closed when "linger" may stop
}

type box struct {
	spec   compute.Spec
	status compute.Status
	ended  chan struct{}
}

func newPlace() *place {
	return &place{boxes: map[string]*box{}, created: map[string]int{}, failed: map[string]bool{}, images: make(chan struct{}), release: make(chan struct{})}
}

func (p *place) get(id string) (*box, error) {
	if p.down {
		return nil, problem.New(problem.Unavailable, "the place does not answer")
	}
	b := p.boxes[id]
	if b == nil {
		return nil, problem.New(problem.NotFound, "no container %s", id)
	}
	return b, nil
}

func (p *place) Probe(context.Context) (compute.Probe, error) {
	probe := compute.Probe{Driver: "place", Summary: "in memory", Support: map[compute.Resource]compute.Support{}, Refuses: []compute.Resource{compute.GPU}}
	for _, r := range compute.AllResources() {
		probe.Support[r] = compute.Support{Level: compute.Unsupported, Reason: "it is a test"}
	}
	return probe, nil
}

func (p *place) Create(ctx context.Context, spec compute.Spec) (compute.Handle, error) {
	if spec.Argv[0] == "pull" {
		select {
		case <-ctx.Done():
			return compute.Handle{}, ctx.Err()
		case <-p.images:
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.down {
		return compute.Handle{}, problem.New(problem.Unavailable, "the place does not answer")
	}
	h := compute.Handle{ID: spec.ID, Driver: "place", Node: "here"}
	if p.boxes[spec.ID] == nil {
		p.created[spec.ID]++
		p.boxes[spec.ID] = &box{spec: spec, ended: make(chan struct{}), status: compute.Status{Handle: h, State: compute.Created, Labels: spec.Labels}}
	}
	return h, nil
}

func (p *place) Start(_ context.Context, id string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	b, err := p.get(id)
	if err != nil || b.status.State != compute.Created {
		return err
	}
	b.status.State = compute.Running
	switch what := b.spec.Argv[0]; {
	case what == "ok", what == "pull", what == "flaky" && p.failed[b.spec.Labels["quire.job"]]:
		b.end(compute.Exit{Cause: compute.CauseExited, Reason: "exit status 0"})
	case what == "fail", what == "flaky":
		p.failed[b.spec.Labels["quire.job"]] = true
		b.end(compute.Exit{Cause: compute.CauseExited, Code: 3, Reason: "exit status 3"})
	case what == "oom":
		b.end(compute.Exit{Cause: compute.CauseOOM, Code: 137, Signal: "SIGKILL", OOMKilled: true, PeakMemoryBytes: 4 << 30, Reason: "out of memory: limit 4 GiB, peak 4 GiB"})
	case what == "missing":
		b.end(compute.Exit{Cause: compute.CauseRejected, Code: 127, Reason: "there is no missing"})
		return problem.New(problem.NotFound, "there is no missing")
	}
	return nil
}

func (b *box) end(e compute.Exit) {
	if b.status.State != compute.Exited {
		b.status.State, b.status.Exit = compute.Exited, &e
		close(b.ended)
	}
}

func (p *place) Status(_ context.Context, id string) (compute.Status, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	b, err := p.get(id)
	if problem.Is(err, problem.NotFound) { // what is created late waits for its image
		return compute.Status{State: compute.Starting, Stage: compute.Stage{Name: compute.StagePulling, Text: "pulling the image: 1 MiB of 4 MiB, 25 %", DoneBytes: 1 << 20, TotalBytes: 4 << 20}}, nil
	}
	if err != nil {
		return compute.Status{}, err
	}
	return b.status, nil
}

func (p *place) Wait(ctx context.Context, id string) (compute.Exit, error) {
	p.mu.Lock()
	b, err := p.get(id)
	p.mu.Unlock()
	if err != nil {
		return compute.Exit{}, err
	}
	select {
	case <-ctx.Done():
		return compute.Exit{}, ctx.Err()
	case <-b.ended:
		return *b.status.Exit, nil
	}
}

func (p *place) Exec(context.Context, string, compute.Command) (compute.Exit, error) {
	return compute.Exit{Cause: compute.CauseExited}, nil
}

func (p *place) Logs(_ context.Context, id string, _ compute.LogOptions) (io.ReadCloser, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, err := p.get(id); err != nil {
		return nil, err
	}
	return io.NopCloser(strings.NewReader("log of " + id)), nil
}

func (p *place) Stats(context.Context, string) (compute.Stats, error) {
	return compute.Stats{MemoryBytes: 1000, PeakBytes: 2000, CPU: time.Second}, nil
}

func (p *place) Stop(ctx context.Context, id string, _ time.Duration) error {
	p.mu.Lock()
	lingers := p.boxes[id] != nil && p.boxes[id].spec.Argv[0] == "linger"
	p.mu.Unlock()
	if lingers {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-p.release:
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	b, err := p.get(id)
	if err == nil {
		b.end(compute.Exit{Cause: compute.CauseStopped, Code: 143, Signal: "SIGTERM", Reason: "stopped"})
	}
	return err
}

func (p *place) Remove(_ context.Context, id string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.boxes, id)
	return nil
}

func (p *place) List(_ context.Context, labels map[string]string) ([]compute.Status, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	var all []compute.Status
	for _, id := range slices.Sorted(maps.Keys(p.boxes)) {
		b := p.boxes[id]
		if labels["quire.install"] == b.spec.Labels["quire.install"] {
			all = append(all, b.status)
		}
	}
	return all, nil
}

func (p *place) Close() error { return nil }

var _ compute.Driver = (*place)(nil)

var ann = auth.User{Name: "ann"}

// A site is Jobs over a database and a place, which can be started again.
type site struct {
	t     *testing.T
	dir   string
	place *place
	jobs  *job.Jobs
	stop  func()
}

func newSite(t *testing.T, groups ...job.Group) *site {
	s := &site{t: t, dir: t.TempDir(), place: newPlace()}
	s.start(groups...)
	t.Cleanup(func() { s.stop() })
	return s
}

func (s *site) start(groups ...job.Group) {
	s.t.Helper()
	store := dbtest.Open(s.t, filepath.Join(s.dir, "quire.db"))
	s.jobs = job.New(job.Config{Store: store, Driver: s.place, Groups: groups, Logs: filepath.Join(s.dir, "logs"), Install: "test", Starts: 8})
	if err := s.jobs.Start(context.Background()); err != nil {
		s.t.Fatal(err)
	}
	jobs := s.jobs
	s.stop = sync.OnceFunc(func() {
		jobs.Stop()
		if err := store.Close(); err != nil {
			s.t.Error(err)
		}
	})
}

func batch(size job.Count, what string) job.Order {
	return job.Order{Descriptor: job.Descriptor{
		ApplicationName: "test", Container: job.Container{EntryPoint: []string{what}}, Batch: &job.Batch{Size: size},
	}}
}

func service(n job.Count) job.Order {
	o := batch(0, "wait")
	o.Descriptor.Batch, o.Descriptor.Service = nil, &job.Service{Capacity: job.Capacity{Desired: n, Max: 10}}
	return o
}

func (s *site) create(o job.Order) job.Job {
	s.t.Helper()
	j, err := s.jobs.Create(context.Background(), ann, o)
	if err != nil {
		s.t.Fatal(err)
	}
	return j
}

// until polls a job until it is as it should be.
func (s *site) until(id, what string, ok func(job.Whole) bool) job.Whole {
	s.t.Helper()
	deadline := time.Now().Add(3 * time.Minute)
	for {
		w, err := s.jobs.Job(context.Background(), ann, id)
		if err != nil {
			s.t.Fatal(err)
		}
		if ok(w) {
			return w
		}
		if time.Now().After(deadline) {
			states := map[job.State]int{}
			for _, t := range w.Tasks {
				states[t.Status.State]++
			}
			s.t.Fatalf("job %s is not %s: %+v, %v", id, what, w.Job.Status, states)
		}
		time.Sleep(time.Millisecond)
	}
}

func finished(w job.Whole) bool { return w.Job.Status.State == job.Finished }

func running(n int) func(job.Whole) bool {
	return func(w job.Whole) bool {
		started := 0
		for _, t := range w.Tasks {
			if t.Status.State == job.Started {
				started++
			}
		}
		return started == n && len(w.Tasks) == n
	}
}

func TestBatchRuns(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	for what, want := range map[string]string{"ok": job.Normal, "fail": job.Failed, "oom": job.Failed, "missing": job.InvalidRequest} {
		w := s.until(s.create(batch(2, what)).ID, "finished", finished)
		if w.Job.Status.ReasonCode != want || len(w.Tasks) != 2 || w.Tasks[0].Exit == nil {
			t.Errorf("%s: %+v", what, w)
		}
		if what == "oom" && !strings.Contains(w.Job.Status.ReasonMessage, "out of memory: limit 4 GiB") {
			t.Errorf("the job does not say why: %+v", w.Job.Status)
		}
		log, err := s.jobs.Logs(context.Background(), ann, w.Tasks[0].ID, compute.LogOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if text, _ := io.ReadAll(log); !strings.HasPrefix(string(text), "log of "+w.Tasks[0].ID) || what == "oom" != strings.Contains(string(text), "quire: out of memory: limit 4 GiB") {
			t.Errorf("the log of an ended task is %q", text)
		}
		_ = log.Close()
	}
	o := batch(1, "flaky")
	o.Descriptor.Batch.RetryPolicy = &job.RetryPolicy{Delayed: &job.Delayed{DelayMs: 1, Retries: 1}}
	w := s.until(s.create(o).ID, "finished", finished)
	all, err := s.jobs.Tasks(context.Background(), ann, w.Job.ID, true)
	if err != nil || w.Job.Status.ReasonCode != job.Normal || len(all) != 2 || all[1].ResubmitOf != all[0].ID || all[1].Tries.User != 1 {
		t.Errorf("a retry: %v %+v %+v", err, w.Job.Status, all)
	}
}

func TestIdempotency(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	o := batch(1, "wait")
	o.IdempotencyKey = "k"
	first := s.create(o)
	if again := s.create(o); again.ID != first.ID {
		t.Error("the same key made two jobs")
	}
	o.Descriptor.Container.EntryPoint = []string{"ok"}
	if _, err := s.jobs.Create(context.Background(), ann, o); !problem.Is(err, problem.Conflict) {
		t.Errorf("another descriptor with the same key: %v", err)
	}
	grouped := batch(1, "wait")
	grouped.Descriptor.JobGroupInfo.Stack = "prod"
	var made, refused sync.Map
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			j, err := s.jobs.Create(context.Background(), ann, grouped)
			if err == nil {
				made.Store(i, j.ID)
			} else if problem.Is(err, problem.Exists) {
				refused.Store(i, true)
			}
		})
	}
	wg.Wait()
	count := func(m *sync.Map) (n int) {
		m.Range(func(any, any) bool { n++; return true })
		return n
	}
	if count(&made) != 1 || count(&refused) != 19 {
		t.Fatalf("%d jobs of one group were made, %d refused", count(&made), count(&refused))
	}
	made.Range(func(_, id any) bool {
		if _, err := s.jobs.Kill(context.Background(), ann, id.(string)); err != nil {
			t.Error(err)
		}
		s.until(id.(string), "finished", finished)
		return true
	})
	s.create(grouped)
}

func TestRights(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	ctx, bob, root := context.Background(), auth.User{Name: "bob"}, auth.User{Name: "root", Admin: true}
	id := s.create(service(1)).ID
	task := s.until(id, "running", running(1)).Tasks[0].ID
	_, err1 := s.jobs.Job(ctx, bob, id)
	_, err2 := s.jobs.Kill(ctx, bob, id)
	_, _, err3 := s.jobs.Task(ctx, bob, task)
	_, err4 := s.jobs.Logs(ctx, bob, task, compute.LogOptions{})
	_, err5 := s.jobs.Exec(ctx, bob, task, compute.Command{})
	for i, err := range []error{err1, err2, err3, err4, err5} {
		if !problem.Is(err, problem.Denied) {
			t.Errorf("%d: another user: %v", i+1, err)
		}
	}
	if all, err := s.jobs.List(ctx, bob, job.Filter{User: "ann"}); err != nil || len(all) != 0 {
		t.Errorf("another user lists %d jobs, %v", len(all), err)
	}
	if all, err := s.jobs.List(ctx, root, job.Filter{}); err != nil || len(all) != 1 {
		t.Errorf("an administrator lists %d jobs, %v", len(all), err)
	}
	o := batch(1, "ok")
	o.Descriptor.Container.Resources = job.ContainerResources{GPU: 1, EFSMounts: []job.Mount{{EFSID: "quire", MountPoint: "/w", EFSRelativeMountPoint: "users/bob"}}}
	o.Descriptor.CapacityGroup = "gold"
	_, wrong, err := s.jobs.Check(ctx, ann, o)
	if err != nil || len(wrong) != 3 || wrong[0].Field != "capacityGroup" || wrong[1].Field != "container.resources.efsMounts[0].efsRelativeMountPoint" || wrong[2].Field != "container.resources.gpu" {
		t.Errorf("what ann may not have: %v %v", wrong, err)
	}
	o.Descriptor.CapacityGroup, o.Descriptor.Container.Resources.EFSMounts = "", nil
	if _, wrong, _ = s.jobs.Check(ctx, ann, o); len(wrong) != 1 || wrong[0].Message != "there are no GPUs here: it is a test" {
		t.Errorf("GPUs: %v", wrong)
	}
}

// TestNothingIsLost: 200 tasks, the server stopped and started again in the
// middle, and every task ran in exactly one container.
func TestNothingIsLost(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	id := s.create(batch(200, "ok")).ID
	held := s.create(batch(3, "wait")).ID
	s.until(held, "running", running(3))
	for range 4 {
		s.stop()
		s.start()
	}
	w := s.until(id, "finished", finished)
	if w.Job.Status.ReasonCode != job.Normal || len(w.Tasks) != 200 {
		t.Fatalf("%+v with %d tasks", w.Job.Status, len(w.Tasks))
	}
	s.until(held, "still running", running(3))
	s.place.mu.Lock()
	for task, n := range s.place.created {
		if n != 1 {
			t.Errorf("task %s had %d containers", task, n)
		}
	}
	if len(s.place.created) != 203 {
		t.Errorf("%d containers for 203 tasks", len(s.place.created))
	}
	s.place.mu.Unlock()
	if _, err := s.jobs.Kill(context.Background(), ann, held); err != nil {
		t.Fatal(err)
	}
	s.until(held, "finished", finished)
	s.empty()
}

// empty waits until no container is left.
func (s *site) empty() {
	s.t.Helper()
	for deadline := time.Now().Add(3 * time.Minute); ; time.Sleep(time.Millisecond) {
		s.place.mu.Lock()
		n := len(s.place.boxes)
		s.place.mu.Unlock()
		if n == 0 {
			return
		}
		if time.Now().After(deadline) {
			s.t.Fatalf("%d containers are left", n)
		}
	}
}

// TestWhileTheServerIsAway: containers that ended, or went, while nobody looked.
func TestWhileTheServerIsAway(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	w := s.until(s.create(batch(3, "wait")).ID, "running", running(3))
	s.stop()
	s.place.mu.Lock()
	s.place.boxes[w.Tasks[0].ID].end(compute.Exit{Cause: compute.CauseExited, Reason: "exit status 0"})
	delete(s.place.boxes, w.Tasks[1].ID)
	orphan := job.NewID()
	s.place.boxes[orphan] = &box{spec: compute.Spec{ID: orphan, Labels: map[string]string{"quire.install": "test", "quire.task": orphan}}, ended: make(chan struct{})}
	s.place.boxes[orphan].status = compute.Status{Handle: compute.Handle{ID: orphan}, Labels: s.place.boxes[orphan].spec.Labels, State: compute.Running}
	s.place.mu.Unlock()
	s.start()
	w = s.until(w.Job.ID, "reconciled", func(w job.Whole) bool {
		return w.Tasks[0].Status.ReasonCode == job.Normal && w.Tasks[1].ResubmitOf != "" && w.Tasks[1].Tries.System == 1 && w.Tasks[2].Status.State == job.Started
	})
	for deadline := time.Now().Add(3 * time.Minute); ; time.Sleep(time.Millisecond) {
		s.place.mu.Lock()
		gone := s.place.boxes[orphan] == nil
		s.place.mu.Unlock()
		if gone {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the container without a task is left")
		}
	}
}

func TestServiceIsKeptAlive(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	ctx := context.Background()
	id := s.create(service(2)).ID
	w := s.until(id, "running", running(2))
	s.place.mu.Lock()
	s.place.boxes[w.Tasks[0].ID].end(compute.Exit{Cause: compute.CauseExited, Code: 1, Reason: "exit status 1"})
	s.place.mu.Unlock()
	w = s.until(id, "replaced", func(now job.Whole) bool {
		return running(2)(now) && now.Tasks[0].ID != w.Tasks[0].ID || running(2)(now) && now.Tasks[1].ResubmitOf != ""
	})
	three := job.Count(3)
	if _, err := s.jobs.Do(ctx, ann, id, job.Resized{Desired: &three}); err != nil {
		t.Fatal(err)
	}
	w = s.until(id, "larger", running(3))
	if err := s.jobs.KillTask(ctx, ann, w.Tasks[0].ID, true, false); err != nil {
		t.Fatal(err)
	}
	w = s.until(id, "smaller", running(2))

	other := s.create(service(1)).ID
	s.until(other, "running", running(1))
	moved := w.Tasks[0].ID
	if err := s.jobs.Move(ctx, ann, id, other, moved); err != nil {
		t.Fatal(err)
	}
	w = s.until(other, "larger by the moved one", running(2))
	if i := slices.IndexFunc(w.Tasks, func(t job.Task) bool { return t.ID == moved }); i < 0 || w.Tasks[i].MovedFrom != id {
		t.Errorf("the moved task: %+v", w.Tasks)
	}
	s.until(id, "smaller by the moved one", running(1))
	s.stop()
	s.start()
	for _, id := range []string{id, other} {
		if _, err := s.jobs.Kill(ctx, ann, id); err != nil {
			t.Fatal(err)
		}
		s.until(id, "finished", finished)
	}
	s.empty()
	if s.place.created[moved] != 1 {
		t.Error("the moved task got another container")
	}
}

func TestQuota(t *testing.T) {
	t.Parallel()
	s := newSite(t, job.Group{Name: "small", Instance: compute.Resources{CPUMilli: 1000, MemoryBytes: 4 * compute.GiB}, Count: 2})
	o := batch(3, "wait")
	o.Descriptor.CapacityGroup = "small"
	id := s.create(o).ID
	waits := func(t job.Task) bool { return t.Status.State == job.Accepted && t.Status.ReasonMessage != "" }
	w := s.until(id, "full", func(w job.Whole) bool { return slices.ContainsFunc(w.Tasks, waits) })
	i := slices.IndexFunc(w.Tasks, waits)
	want := "it waits for room in capacity group small: 2 CPUs of 2 CPUs are in use, it needs 1 CPU"
	if w.Tasks[i].Status.ReasonMessage != want {
		t.Errorf("got %+v, want %q", w.Tasks[i].Status, want)
	}
	waiting := w.Tasks[i].ID
	j := slices.IndexFunc(w.Tasks, func(t job.Task) bool { return t.ID != waiting })
	if err := s.jobs.KillTask(context.Background(), ann, w.Tasks[j].ID, false, false); err != nil {
		t.Fatal(err)
	}
	s.until(id, "launched when there is room", func(w job.Whole) bool {
		return slices.ContainsFunc(w.Tasks, func(t job.Task) bool { return t.ID == waiting && t.Status.State == job.Started })
	})
	o.Descriptor.Container.Resources.CPU = 2
	if _, wrong, _ := s.jobs.Check(context.Background(), ann, o); len(wrong) != 1 || wrong[0].Field != "container.resources.cpu" {
		t.Errorf("a container larger than the group's: %v", wrong)
	}
}

func TestRuntimeLimit(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	o := batch(1, "wait")
	o.Descriptor.Batch.RuntimeLimitSec = 1
	w := s.until(s.create(o).ID, "finished", finished)
	started, _ := w.Tasks[0].Since(job.Started)
	if w.Job.Status.ReasonCode != job.RuntimeLimitExceeded || w.Tasks[0].Status.At().Sub(started) < time.Second {
		t.Errorf("%+v after %v", w.Job.Status, w.Tasks[0].Status.At().Sub(started))
	}
}

// TestYoungTasksAreMeasured asks what a task used that is stopped before its
// first regular measurement: while it stops, and when it has ended.
func TestYoungTasksAreMeasured(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	j := s.create(batch(1, "linger"))
	task := s.until(j.ID, "running", running(1)).Tasks[0].ID
	if _, err := s.jobs.Kill(t.Context(), ann, j.ID); err != nil {
		t.Fatal(err)
	}
	measured := func(when string) {
		t.Helper()
		series, err := s.jobs.Series(t.Context(), ann, task)
		if err != nil || len(series.Samples) == 0 || series.Peak.PeakMemoryBytes != 2000 {
			t.Errorf("%s: %+v, %v", when, series, err)
		}
	}
	measured("while it stops")
	close(s.place.release)
	s.until(j.ID, "finished", finished)
	measured("when it has ended")
}

func TestThePlaceIsAway(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	w := s.until(s.create(batch(1, "wait")).ID, "running", running(1))
	s.stop()
	s.place.mu.Lock()
	s.place.down = true
	s.place.mu.Unlock()
	s.start()
	s.until(w.Job.ID, "disconnected", func(w job.Whole) bool { return w.Tasks[0].Status.State == job.Disconnected })
	s.place.mu.Lock()
	s.place.down = false
	s.place.mu.Unlock()
	s.until(w.Job.ID, "back", running(1))
}

// TestWatch: what a watcher was told is what is true in the end.
func TestWatch(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	watch := s.jobs.Watch()
	defer watch.Close()
	ids := []string{s.create(batch(5, "flaky")).ID, s.create(batch(2, "ok")).ID}
	told := map[string]string{}
	for _, id := range ids {
		s.until(id, "finished", finished)
	}
	s.stop() // ends the watch after all was told
	for c := range watch.Changes {
		if c.Task != nil {
			told[c.Task.ID] = fmt.Sprint(c.Task.Version, c.Task.Status)
		} else {
			told[c.Job.ID] = fmt.Sprint(c.Job.Version, c.Job.Status)
		}
	}
	s.start()
	for _, id := range ids {
		w, err := s.jobs.Job(context.Background(), ann, id)
		if err != nil || told[id] != fmt.Sprint(w.Job.Version, w.Job.Status) {
			t.Errorf("job: told %q, is %q (%v)", told[id], fmt.Sprint(w.Job.Version, w.Job.Status), err)
		}
		for _, task := range w.Tasks {
			if told[task.ID] != fmt.Sprint(task.Version, task.Status) {
				t.Errorf("task: told %q, is %q", told[task.ID], fmt.Sprint(task.Version, task.Status))
			}
		}
	}
}

// TestImagesOnTheirWay: more containers than may start at once wait for an image.
// Each says how far it is, and others start meanwhile.
func TestImagesOnTheirWay(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	slow := s.create(batch(12, "pull"))
	s.until(slow.ID, "all wait for their image", func(w job.Whole) bool {
		return !slices.ContainsFunc(w.Tasks, func(one job.Task) bool {
			start := one.Start()
			return len(start) < 2 || start[1].Name != "pulling" || start[1].State != job.PhaseNow || start[1].TotalBytes != 4<<20 || one.Status.ReasonMessage == ""
		})
	})
	quick := s.create(batch(1, "ok"))
	s.until(quick.ID, "another one ends", finished)
	close(s.place.images)
	w := s.until(slow.ID, "they end", finished)
	if w.Job.Status.ReasonCode != job.Normal {
		t.Errorf("%+v", w.Job.Status)
	}
}

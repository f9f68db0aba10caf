package run_test

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"quire/internal/auth"
	"quire/internal/contents"
	"quire/internal/db/dbtest"
	"quire/internal/notify"
	"quire/internal/problem"
	"quire/internal/run"
	"quire/internal/storage"
	"quire/internal/storage/mem"
)

var ann = auth.User{Name: "ann"}

const source = `{"cells":[{"cell_type":"code","id":"a","metadata":{},"execution_count":null,"outputs":[],"source":["print(1)"]}],` +
	`"metadata":{"kernelspec":{"name":"python3","display_name":"Python 3","language":"python"}},"nbformat":4,"nbformat_minor":5}`

// An actor plays the process of an attempt: it holds the lock and does what its
// script says.
type actor struct {
	dir  string
	spec run.Spec
	lock *os.File
}

func (a *actor) result(state run.State, reason string) {
	data, _ := json.Marshal(run.Result{Fence: a.spec.Fence, State: state, Reason: reason, At: time.Now().UTC()})
	temp := filepath.Join(a.dir, "r.tmp")
	_ = os.WriteFile(temp, data, 0o600)
	_ = os.Rename(temp, filepath.Join(a.dir, "result.json"))
	a.end()
}

func (a *actor) end() { _ = a.lock.Close() }

// launcher starts actors in this process.
type launcher struct {
	t      *testing.T
	mu     sync.Mutex
	script func(a *actor) // called in a goroutine for each attempt
	bare   bool           // the script takes the lock, as an attempt's process does
	dirs   []string
	actors sync.WaitGroup
}

// play lets an actor play in a goroutine.
func (l *launcher) play(a *actor) { l.actors.Go(func() { l.script(a) }) }

func (l *launcher) Launch(_ context.Context, dir string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.dirs = append(l.dirs, dir)
	a := &actor{dir: dir}
	data, err := os.ReadFile(filepath.Join(dir, "spec.json"))
	if err == nil {
		err = json.Unmarshal(data, &a.spec)
	}
	if err == nil && l.bare {
		l.play(a)
		return nil
	}
	if err == nil {
		a.lock, err = os.OpenFile(filepath.Join(dir, "lock"), os.O_RDWR|os.O_CREATE, 0o600)
	}
	if err == nil {
		err = syscall.Flock(int(a.lock.Fd()), syscall.LOCK_EX)
	}
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "state.json"), []byte(`{}`), 0o600)
	}
	if err == nil {
		l.play(a)
	}
	return err
}

type bundle struct {
	*run.Runs
	cfg      run.Config
	launcher *launcher
	ctx      context.Context //nolint:containedctx // of one test
}

func setup(t *testing.T, script func(a *actor)) *bundle {
	t.Helper()
	ctx, dir := t.Context(), t.TempDir()
	d := dbtest.Open(t, filepath.Join(dir, "q.db"))
	v, err := contents.Open(ctx, contents.Config{
		Dir: filepath.Join(dir, "files"), Versions: d, Trust: d, Blobs: &contents.Blobs{Store: mem.New(mem.Config{})},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = v.Close() })
	if err := v.AddWorkspace("ann"); err != nil {
		t.Fatal(err)
	}
	_, err = v.Save(ctx, ann, "users/ann/a.ipynb", strings.NewReader(source), contents.SaveOptions{})
	if err != nil {
		t.Fatal(err)
	}
	b := &bundle{ctx: ctx, launcher: &launcher{t: t, script: script}}
	t.Cleanup(func() { // what they write into is removed next
		if !t.Failed() {
			b.launcher.actors.Wait()
		}
	})
	b.cfg = run.Config{
		Store: d, Spool: filepath.Join(dir, "runs"), Objects: mem.New(mem.Config{}), Volume: v,
		Files: filepath.Join(dir, "files"), Launcher: b.launcher, Notices: d.Notices,
	}
	b.start(t)
	return b
}

// start is a server that starts on what is there.
func (b *bundle) start(t *testing.T) {
	t.Helper()
	b.Runs = run.New(b.cfg)
	if err := b.Start(b.ctx); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Stop)
}

func (b *bundle) submit(t *testing.T, req run.Request) run.Run {
	t.Helper()
	req.Notebook = "users/ann/a.ipynb"
	r, err := b.Submit(b.ctx, ann, req)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// await returns the run once it is as wanted.
func (b *bundle) await(t *testing.T, id string, want func(run.Run) bool) run.Run {
	t.Helper()
	deadline := time.NewTimer(2 * time.Minute)
	defer deadline.Stop()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		r, err := b.Get(b.ctx, ann, id)
		if err != nil {
			t.Fatal(err)
		}
		if want(r) {
			return r
		}
		select {
		case <-deadline.C:
			t.Fatalf("the run did not get there: %+v", r)
		case <-tick.C:
		}
	}
}

func ended(r run.Run) bool { return r.State.Ended() && r.Published }

func TestSuccess(t *testing.T) {
	t.Parallel()
	b := setup(t, func(a *actor) {
		_ = os.WriteFile(filepath.Join(a.dir, "output.ipynb"), []byte(strings.Replace(source, "print(1)", "print(2)", 1)), 0o600)
		a.result(run.Succeeded, "")
	})
	r := b.await(t, b.submit(t, run.Request{}).ID, ended)
	if r.State != run.Succeeded || r.Attempt != 1 || r.Version != 1 {
		t.Errorf("%+v", r)
	}
	nb, err := b.Output(b.ctx, ann, r.ID)
	if err != nil || nb.Cells[0].Source != "print(2)" {
		t.Errorf("output %+v: %v", nb, err)
	}
	src, err := b.Source(b.ctx, ann, r.ID)
	if err != nil || src.Cells[0].Source != "print(1)" {
		t.Errorf("source %+v: %v", src, err)
	}
}

func TestFailureIsTriedAgainAsOftenAsAsked(t *testing.T) {
	t.Parallel()
	b := setup(t, func(a *actor) { a.result(run.Failed, "boom") })
	r := b.await(t, b.submit(t, run.Request{Retries: 1, Notify: []notify.Rule{{Channel: "ops"}}}).ID, ended)
	if r.State != run.Failed || r.Attempt != 2 || r.Reason != "boom" {
		t.Errorf("%+v", r)
	}
	// It is told once, in the transaction that ended it.
	told, err := b.Told(b.ctx, ann, r.ID)
	if err != nil || len(told) != 1 || told[0].Fact.Event != notify.Failure || told[0].Fact.Reason != "boom" || len(r.Notify) != 1 {
		t.Errorf("told %+v: %v", told, err)
	}
	all, err := b.Attempts(b.ctx, ann, r.ID)
	if err != nil || len(all) != 2 || all[0].State != run.Failed {
		t.Errorf("attempts %+v: %v", all, err)
	}
}

func TestLostAttemptIsTriedAgain(t *testing.T) {
	t.Parallel()
	b := setup(t, func(a *actor) {
		if a.spec.Attempt == 1 {
			a.end() // it dies
			return
		}
		a.result(run.Succeeded, "")
	})
	r := b.await(t, b.submit(t, run.Request{}).ID, ended)
	if r.State != run.Succeeded || r.Attempt != 2 || r.Lost != 1 {
		t.Errorf("%+v", r)
	}
}

func TestZombieChangesNothing(t *testing.T) {
	t.Parallel()
	zombie := make(chan *actor, 1)
	b := setup(t, func(a *actor) {
		if a.spec.Attempt == 1 {
			a.end()
			zombie <- a
			return
		}
		(<-zombie).result(run.Failed, "I am late")
		a.result(run.Succeeded, "")
	})
	r := b.await(t, b.submit(t, run.Request{}).ID, ended)
	if r.State != run.Succeeded || r.Attempt != 2 {
		t.Errorf("%+v", r)
	}
	all, err := b.Attempts(b.ctx, ann, r.ID)
	if err != nil || len(all) != 2 || all[0].State != run.Lost || all[1].State != run.Succeeded {
		t.Errorf("attempts %+v: %v", all, err)
	}
}

func TestResultOfAnotherFenceIsNotBelieved(t *testing.T) {
	t.Parallel()
	b := setup(t, func(a *actor) {
		if a.spec.Attempt == 1 {
			a.spec.Fence = "stolen"
		}
		a.result(run.Succeeded, "")
	})
	r := b.await(t, b.submit(t, run.Request{}).ID, ended)
	if r.Attempt != 2 || r.Lost != 1 {
		t.Errorf("%+v", r)
	}
}

func TestRunSurvivesTheServer(t *testing.T) {
	t.Parallel()
	finish := make(chan struct{})
	b := setup(t, func(a *actor) {
		_ = os.WriteFile(filepath.Join(a.dir, "events.jsonl"), []byte("{}\n"), 0o600)
		<-finish
		a.result(run.Succeeded, "")
	})
	id := b.submit(t, run.Request{}).ID
	b.await(t, id, func(r run.Run) bool { return r.State == run.Running })
	b.Stop()
	b.start(t)
	if r, err := b.Get(b.ctx, ann, id); err != nil || r.State != run.Running {
		t.Fatalf("after the restart %+v: %v", r, err)
	}
	b.Stop()
	close(finish) // it ends while no server is there
	b.start(t)
	r := b.await(t, id, ended)
	if r.State != run.Succeeded || r.Attempt != 1 || len(b.launcher.dirs) != 1 {
		t.Errorf("%+v, started %v", r, b.launcher.dirs)
	}
}

func TestCancel(t *testing.T) {
	t.Parallel()
	stopped := make(chan struct{})
	b := setup(t, func(a *actor) {
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		for range tick.C {
			if _, err := os.Stat(filepath.Join(a.dir, "cancel")); err == nil {
				close(stopped)
				a.result(run.Cancelled, "")
				return
			}
		}
	})
	b.Stop()
	b.cfg.Permits = 1
	b.start(t)
	first := b.submit(t, run.Request{})
	b.await(t, first.ID, func(r run.Run) bool { return r.State != run.Queued })
	second := b.submit(t, run.Request{})
	if r, err := b.Cancel(b.ctx, ann, second.ID); err != nil || r.State != run.Cancelled {
		t.Errorf("cancelling a queued run: %+v, %v", r, err)
	}
	if _, err := b.Cancel(b.ctx, auth.User{Name: "bob"}, first.ID); !problem.Is(err, problem.Denied) {
		t.Errorf("somebody else cancelled it: %v", err)
	}
	if _, err := b.Cancel(b.ctx, ann, first.ID); err != nil {
		t.Fatal(err)
	}
	<-stopped
	r := b.await(t, first.ID, ended)
	if r.State != run.Cancelled || r.Reason != "ann asked to stop" {
		t.Errorf("%+v", r)
	}
	if _, err := b.Cancel(b.ctx, ann, first.ID); !problem.Is(err, problem.Conflict) {
		t.Errorf("cancelling what is over: %v", err)
	}
	again, err := b.Retry(b.ctx, ann, first.ID)
	if err != nil || again.RetryOf != first.ID || again.Source != first.Source {
		t.Errorf("retry %+v: %v", again, err)
	}
}

// TestOldRunsAreRemoved starts a server a month later: what ended before is
// gone, with its objects and its spool. A day earlier it was all there.
func TestOldRunsAreRemoved(t *testing.T) {
	t.Parallel()
	b := setup(t, func(a *actor) { a.result(run.Succeeded, "") })
	old := b.await(t, b.submit(t, run.Request{}).ID, ended)
	restart := func(later time.Duration) {
		b.Stop()
		b.cfg.Keep, b.cfg.Now = 30*24*time.Hour, func() time.Time { return time.Now().Add(later) }
		b.start(t)
	}
	restart(29 * 24 * time.Hour)
	// The look at the start is over when a run that came after it has ended.
	b.await(t, b.submit(t, run.Request{}).ID, ended)
	if _, err := b.Output(b.ctx, ann, old.ID); err != nil {
		t.Errorf("it was removed after 29 days: %v", err)
	}
	restart(31 * 24 * time.Hour)
	for end := time.Now().Add(time.Minute); ; <-time.After(5 * time.Millisecond) {
		_, err := b.Get(b.ctx, ann, old.ID)
		_, outputErr := b.cfg.Objects.Stat(b.ctx, old.ID+"/output.ipynb")
		_, sourceErr := b.cfg.Objects.Stat(b.ctx, old.ID+"/source.ipynb")
		_, spoolErr := os.Stat(filepath.Join(b.cfg.Spool, old.ID))
		if problem.Is(err, problem.NotFound) && problem.Is(outputErr, problem.NotFound) && problem.Is(sourceErr, problem.NotFound) && os.IsNotExist(spoolErr) {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("a run that ended 31 days ago is there: row %v, output %v, source %v, spool %v", err, outputErr, sourceErr, spoolErr)
		}
	}
}

func TestAttemptsAreTraced(t *testing.T) {
	t.Parallel()
	b := setup(t, func(a *actor) {
		if a.spec.Attempt == 1 {
			a.result(run.Failed, "boom")
			return
		}
		a.result(run.Succeeded, "")
	})
	b.Stop()
	spans := tracetest.NewInMemoryExporter()
	b.cfg.Tracer = sdktrace.NewTracerProvider(sdktrace.WithSyncer(spans)).Tracer("test")
	b.start(t)
	r := b.await(t, b.submit(t, run.Request{Retries: 1}).ID, ended)
	found := spans.GetSpans()
	if len(found) != 2 {
		t.Fatalf("%d spans of 2 attempts", len(found))
	}
	for i, want := range []codes.Code{codes.Error, codes.Unset} {
		s := found[i]
		if s.Name != "attempt" || s.Status.Code != want || s.EndTime.Before(s.StartTime) || s.Attributes[0].Value.AsString() != r.ID {
			t.Errorf("attempt %d: %+v", i+1, s)
		}
	}
}

// TestWhoRunsANotebookKnowsIt looks whether running a notebook makes it trusted,
// for who runs it and as it is.
func TestWhoRunsANotebookKnowsIt(t *testing.T) {
	t.Parallel()
	b := setup(t, func(*actor) {})
	e, err := b.cfg.Volume.Stat(b.ctx, ann, "users/ann/a.ipynb")
	if err != nil {
		t.Fatal(err)
	}
	trusted := func(u auth.User) bool {
		ok, err := b.cfg.Volume.Trusted(b.ctx, u, e.Path, e.Hash)
		if err != nil {
			t.Fatal(err)
		}
		return ok
	}
	if trusted(ann) {
		t.Error("it is trusted before it is run")
	}
	b.submit(t, run.Request{})
	if !trusted(ann) || trusted(auth.User{Name: "bob"}) {
		t.Error("who ran it trusts it, and nobody else does")
	}
}

func TestSameRequestTwiceIsOneRun(t *testing.T) {
	t.Parallel()
	b := setup(t, func(a *actor) { a.result(run.Succeeded, "") })
	one := b.submit(t, run.Request{IdempotencyKey: "k"})
	two := b.submit(t, run.Request{IdempotencyKey: "k"})
	other := b.submit(t, run.Request{IdempotencyKey: "k", Parameters: []byte(`{"x": 1}`)})
	if one.ID != two.ID || other.ID == one.ID {
		t.Errorf("ids %s %s %s", one.ID, two.ID, other.ID)
	}
}

func TestPermitsAndPriority(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	var mu sync.Mutex
	live, most := 0, 0
	var order []string
	b := setup(t, func(a *actor) {
		mu.Lock()
		live++
		most = max(most, live)
		order = append(order, a.spec.Run)
		mu.Unlock()
		<-release
		mu.Lock()
		live--
		mu.Unlock()
		a.result(run.Succeeded, "")
	})
	b.Stop()
	b.cfg.Permits = 2
	b.start(t)
	var ids []string
	for i := range 6 {
		ids = append(ids, b.submit(t, run.Request{Priority: i}).ID)
	}
	close(release)
	for _, id := range ids {
		b.await(t, id, ended)
	}
	mu.Lock()
	defer mu.Unlock()
	if most > 2 || len(order) != 6 {
		t.Errorf("%d attempts lived at once, %d in all", most, len(order))
	}
}

// flaky is a store that is down until told otherwise.
type flaky struct {
	storage.Store
	mu   sync.Mutex
	down bool
}

func (f *flaky) set(down bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.down = down
}

func (f *flaky) check() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.down {
		return problem.New(problem.Unavailable, "the store is down")
	}
	return nil
}

func (f *flaky) Copy(ctx context.Context, dst, src string, opt storage.PutOptions) (storage.Info, error) {
	if err := f.check(); err != nil {
		return storage.Info{}, err
	}
	return f.Store.Copy(ctx, dst, src, opt)
}

func TestStoreDownDelaysOnlyThePublishing(t *testing.T) {
	t.Parallel()
	b := setup(t, func(a *actor) { a.result(run.Succeeded, "") })
	b.Stop()
	store := &flaky{Store: b.cfg.Objects, down: true}
	b.cfg.Objects = store
	b.start(t)
	id := b.submit(t, run.Request{}).ID
	r := b.await(t, id, func(r run.Run) bool { return r.State.Ended() })
	if r.State != run.Succeeded || r.Published {
		t.Errorf("%+v", r)
	}
	store.set(false)
	b.Stop()
	b.start(t)
	b.await(t, id, ended)
}

func TestBadRequests(t *testing.T) {
	t.Parallel()
	b := setup(t, func(a *actor) { a.result(run.Succeeded, "") })
	for name, tt := range map[string]struct {
		req  run.Request
		want problem.Kind
	}{
		"missing":     {run.Request{Notebook: "users/ann/none.ipynb"}, problem.NotFound},
		"escape":      {run.Request{Notebook: "../a.ipynb"}, problem.Invalid},
		"directory":   {run.Request{Notebook: "users/ann"}, problem.Invalid},
		"not JSON":    {run.Request{Notebook: "users/ann/a.ipynb", Parameters: []byte(`{`)}, problem.Invalid},
		"a list":      {run.Request{Notebook: "users/ann/a.ipynb", Parameters: []byte(`[1]`)}, problem.Invalid},
		"priority":    {run.Request{Notebook: "users/ann/a.ipynb", Priority: 101}, problem.Invalid},
		"retries":     {run.Request{Notebook: "users/ann/a.ipynb", Retries: -1}, problem.Invalid},
		"timeout":     {run.Request{Notebook: "users/ann/a.ipynb", TimeoutSeconds: -1}, problem.Invalid},
		"tags":        {run.Request{Notebook: "users/ann/a.ipynb", Tags: []string{""}}, problem.Invalid},
		"old version": {run.Request{Notebook: "users/ann/a.ipynb", Version: 99}, problem.NotFound},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := b.Submit(b.ctx, ann, tt.req); !problem.Is(err, tt.want) {
				t.Errorf("%v, want kind %v", err, tt.want)
			}
		})
	}
	for _, id := range []string{"", "..", "x", strings.Repeat("0", 25), strings.Repeat("/", 26)} {
		if _, err := b.Get(b.ctx, ann, id); !problem.Is(err, problem.NotFound) {
			t.Errorf("run %q: %v", id, err)
		}
	}
}

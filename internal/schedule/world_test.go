package schedule_test

import (
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"quire/internal/auth"
	"quire/internal/db"
	"quire/internal/db/dbtest"
	"quire/internal/problem"
	"quire/internal/run"
	"quire/internal/schedule"
)

// A world is servers over one database, with a clock that the test moves and
// runs that end when the test says so.
type world struct {
	t       *testing.T
	now     time.Time
	records *db.DB
	servers []*schedule.Schedules
	// broken says what fails: "prepare" a run, a transaction "before" it is
	// committed, or "after", when nobody hears that it was.
	broken   func() string
	breaking sync.Mutex
	version  int64
	refuse   error // what Check says
	check    func(run.Request) error
	asked    func(auth.User, run.Request) error // the same, with who asks
	files    someFiles
}

var ann = auth.User{Name: "ann"}

func newWorld(t *testing.T, servers int) *world {
	t.Helper()
	w := &world{t: t, now: time.Date(2026, 3, 7, 0, 0, 0, 0, time.UTC), version: 3}
	file := filepath.Join(t.TempDir(), "quire.db")
	for range servers {
		records := dbtest.Open(t, file)
		w.records = records
		w.servers = append(w.servers, schedule.New(schedule.Config{
			Store: flaky{records, w}, Runs: fakeRuns{w, records}, Now: func() time.Time { return w.now },
			User:  func(context.Context, string) (auth.User, error) { return ann, nil },
			Files: &w.files,
		}))
	}
	return w
}

func (w *world) fails() string {
	if w.broken == nil {
		return ""
	}
	w.breaking.Lock() // several are prepared at a time
	defer w.breaking.Unlock()
	return w.broken()
}

// A flaky store fails when the world is broken.
type flaky struct {
	schedule.Store
	w *world
}

func (f flaky) ChangeSchedules(ctx context.Context, ids []string, wait bool, change func(*schedule.View) error) error {
	planned := problem.New(problem.Unavailable, "planned")
	fails := f.w.fails()
	err := f.Store.ChangeSchedules(ctx, ids, wait, func(v *schedule.View) error {
		if err := change(v); err != nil || fails != "before" {
			return err
		}
		return planned
	})
	if err == nil && fails == "after" {
		return planned
	}
	return err
}

// fakeRuns are runs that wait in the records until the test ends them.
type fakeRuns struct {
	w       *world
	records *db.DB
}

func (f fakeRuns) Check(_ context.Context, u auth.User, req run.Request) (int64, error) {
	if f.w.asked != nil {
		return f.w.version, f.w.asked(u, req)
	}
	if f.w.check != nil {
		return f.w.version, f.w.check(req)
	}
	return f.w.version, f.w.refuse
}

func (f fakeRuns) Prepare(_ context.Context, u auth.User, req run.Request) (run.Run, error) {
	if f.w.fails() == "prepare" {
		return run.Run{}, problem.New(problem.Unavailable, "planned")
	}
	if req.IdempotencyKey == "" {
		f.w.t.Error("a run without a key")
	}
	return run.Run{
		ID: run.NewID(f.w.now), Owner: u.Name, Notebook: req.Notebook, Version: req.Version, Template: req.Template, TemplateVersion: req.TemplateVersion, Parameters: req.Parameters, Secrets: req.Secrets, Tags: req.Tags,
		State: run.Queued, Created: f.w.now, IdempotencyHash: req.IdempotencyKey, Tested: req.Tested,
	}, nil
}

func (f fakeRuns) Settle(context.Context, run.Run, bool) {}

func (f fakeRuns) Cancel(_ context.Context, u auth.User, id string) (run.Run, error) {
	return f.records.ChangeRun(context.Background(), id, func(r run.Run) (run.Run, error) {
		if r.State.Ended() {
			return r, problem.New(problem.Conflict, "over")
		}
		r.State, r.CancelledBy, r.Finished, r.Reason = run.Cancelled, u.Name, f.w.now, u.Name+" asked to stop"
		return r, nil
	})
}

// apply makes a schedule of a definition's lines after its head.
func (w *world) apply(text string) schedule.Schedule {
	w.t.Helper()
	if !strings.Contains(text, "notebook: users") {
		text += "\nnotebook: users/ann/a.ipynb"
	}
	s, _, err := w.servers[0].Apply(w.t.Context(), ann, []byte("schedule: 1\nname: s\n"+text))
	if err != nil {
		w.t.Fatal(err)
	}
	return s
}

// look moves the clock and lets each server look.
func (w *world) look(d time.Duration) {
	w.t.Helper()
	w.now = w.now.Add(d)
	for _, s := range w.servers {
		if err := schedule.Round(w.t.Context(), s); err != nil {
			w.t.Fatal(err)
		}
	}
}

func (w *world) fires() []schedule.Fire {
	w.t.Helper()
	all, err := w.servers[0].History(w.t.Context(), ann, "s", schedule.FireFilter{Any: true, Limit: 1000})
	if err != nil {
		w.t.Fatal(err)
	}
	return all
}

// state is the fires in the order of their slots: "06:00 succeeded".
func (w *world) state() string {
	w.t.Helper()
	var all []string
	for _, f := range w.fires() {
		all = append([]string{f.Slot.Format("15:04") + " " + string(f.State)}, all...)
	}
	return strings.Join(all, ", ")
}

func (w *world) want(state string) {
	w.t.Helper()
	if got := w.state(); got != state {
		w.t.Fatalf("at %s: %s\nwant %s", w.now.Format("15:04:05"), got, state)
	}
}

// live are the runs that have not ended, oldest first.
func (w *world) live() []run.Run {
	w.t.Helper()
	all, err := w.records.Runs(w.t.Context(), run.Filter{State: run.Queued, Limit: 500})
	if err != nil {
		w.t.Fatal(err)
	}
	for i := range len(all) / 2 {
		all[i], all[len(all)-1-i] = all[len(all)-1-i], all[i]
	}
	return all
}

// finish ends a run.
func (w *world) finish(id string, state run.State, reason string, records map[string]any) {
	w.t.Helper()
	_, err := w.records.ChangeRun(w.t.Context(), id, func(r run.Run) (run.Run, error) {
		r.State, r.Reason, r.Started, r.Finished = state, reason, w.now, w.now
		var list []map[string]any
		for name, v := range records {
			list = append(list, map[string]any{"name": name, "value": v})
		}
		var err error
		r.Result, err = json.Marshal(map[string]any{"records": list})
		return r, err
	})
	if err != nil {
		w.t.Fatal(err)
	}
}

// finishAll ends every live run, and lets the servers see it.
func (w *world) finishAll(state run.State) {
	w.t.Helper()
	for _, r := range w.live() {
		w.finish(r.ID, state, fmt.Sprintf("it is %s", state), nil)
	}
	w.look(time.Second)
}

func (w *world) userOf(context.Context, string) (auth.User, error) { return ann, nil }

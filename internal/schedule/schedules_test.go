package schedule_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"quire/internal/auth"
	"quire/internal/problem"
	"quire/internal/run"
	"quire/internal/schedule"
)

const hourly = "triggers: [{cron: 0 * * * *}]\n"

func TestFiresAndEnds(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	s := w.apply("timezone: Europe/Berlin\nparameters: {day: \"{{ ds }}\", at: \"{{ ts }}\"}\ntags: [x]\n" + hourly)
	if s.Pinned["notebook"] != 3 {
		t.Errorf("pinned %v, want version 3", s.Pinned)
	}
	w.look(30 * time.Minute)
	w.want("")
	w.look(30 * time.Minute)
	w.want("01:00 running")
	r := w.live()[0]
	if r.Version != 3 || string(r.Parameters) != `{"at":"2026-03-07T02:00:00+01:00","day":"2026-03-07"}` || !slices.Equal(r.Tags, []string{"schedule:s", "x"}) {
		t.Errorf("the run is %+v", r)
	}
	w.finish(r.ID, run.Succeeded, "", map[string]any{"rows": 7})
	w.look(time.Second)
	w.want("01:00 succeeded")
	f := w.fires()[0]
	if f.Revision != 1 || f.Tasks[0].Run != r.ID || string(f.Tasks[0].Outputs["rows"]) != "7" || f.Finished.IsZero() {
		t.Errorf("the fire is %+v", f)
	}
}

// TestStrategies: what a slot does while the one before is not over.
func TestStrategies(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ strategy, second, third, after, later string }{
		{"sequential", "01:00 running, 02:00 due", "01:00 running, 02:00 due, 03:00 due", "01:00 failed, 02:00 running, 03:00 due", "01:00 failed, 02:00 succeeded, 03:00 running"},
		{"strict-sequential", "01:00 running, 02:00 due", "01:00 running, 02:00 due, 03:00 due", "01:00 failed, 02:00 due, 03:00 due", "01:00 failed, 02:00 due, 03:00 due"},
		{"first-only", "01:00 running, 02:00 skipped", "01:00 running, 02:00 skipped, 03:00 skipped", "01:00 failed, 02:00 skipped, 03:00 skipped", "01:00 failed, 02:00 skipped, 03:00 skipped"},
		{"last-only", "01:00 running, 02:00 due", "01:00 cancelled, 02:00 skipped, 03:00 running", "01:00 cancelled, 02:00 skipped, 03:00 failed", "01:00 cancelled, 02:00 skipped, 03:00 failed"},
		{"parallel\nparallel: 2", "01:00 running, 02:00 running", "01:00 running, 02:00 running, 03:00 due", "01:00 failed, 02:00 failed, 03:00 running", "01:00 failed, 02:00 failed, 03:00 succeeded"},
	} {
		t.Run(strings.Fields(tt.strategy)[0], func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, 1)
			w.apply("strategy: " + tt.strategy + "\n" + hourly)
			w.look(time.Hour)
			w.look(time.Hour)
			w.want(tt.second)
			w.look(time.Hour)
			w.want(tt.third)
			w.finishAll(run.Failed)
			w.want(tt.after)
			w.finishAll(run.Succeeded)
			w.want(tt.later)
		})
	}
}

func TestStrictGoesOnAfterRepair(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	w.apply("strategy: strict-sequential\n" + hourly)
	w.look(time.Hour)
	w.finishAll(run.Failed)
	w.look(time.Hour)
	w.want("01:00 failed, 02:00 due")
	waits := w.fires()[0]
	if !strings.Contains(waits.Reason, "the fire of 2026-03-07T01:00:00Z failed: run it again") {
		t.Errorf("it waits because %q", waits.Reason)
	}
	failed := w.fires()[1]
	again, err := w.servers[0].Restart(t.Context(), ann, "s", failed.ID, schedule.FromFailed, schedule.Values{})
	if err != nil || again.State != schedule.Running || again.Tasks[0].Run == failed.Tasks[0].Run || again.Tasks[0].Earlier[0] != failed.Tasks[0].Run {
		t.Fatalf("%+v, %v", again, err)
	}
	w.finishAll(run.Succeeded)
	w.want("01:00 succeeded, 02:00 running")
}

// TestMissedSlots: what becomes of slots that came while no server ran.
func TestMissedSlots(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ policy, want string }{
		{"none", "01:00 skipped, 02:00 skipped, 03:00 skipped"},
		{"latest", "01:00 skipped, 02:00 skipped, 03:00 running"},
		{"all", "01:00 running, 02:00 due, 03:00 due"},
		{"all\nwindow: 90m", "01:00 skipped, 02:00 skipped, 03:00 running"},
	} {
		w := newWorld(t, 1)
		w.apply("catchUp: " + tt.policy + "\n" + hourly)
		w.look(3*time.Hour + 31*time.Minute)
		w.want(tt.want)
		for _, f := range w.fires() {
			if f.State == schedule.Skipped && !strings.HasPrefix(f.Reason, "missed: it was looked at ") {
				t.Errorf("%s: skipped because %q", tt.policy, f.Reason)
			}
		}
	}
}

func TestManyMissedSlots(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	w.apply("catchUp: none\ntriggers: [{every: 1s}]")
	w.look(5000 * time.Second)
	count, records := 0, w.fires()
	for _, f := range records {
		count += f.Count
	}
	if count != 5000 || len(records) > 1001 {
		t.Errorf("%d slots in %d records, want 5000", count, len(records))
	}
}

// TestPause: nothing fires while it is paused, nothing at once afterwards, and
// what came meanwhile is recorded.
func TestPause(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	w.apply("catchUp: all\n" + hourly)
	w.look(time.Hour)
	w.look(time.Hour)
	w.want("01:00 running, 02:00 due")
	if s, err := w.servers[0].Pause(t.Context(), ann, "s", "holiday"); err != nil || !s.Paused || s.PausedBy != "ann" || s.PauseReason != "holiday" {
		t.Fatal(s, err)
	}
	w.want("01:00 running, 02:00 skipped")
	w.finishAll(run.Succeeded)
	w.look(3 * time.Hour)
	w.want("01:00 succeeded, 02:00 skipped")
	if s, err := w.servers[0].Resume(t.Context(), ann, "s"); err != nil || s.Paused {
		t.Fatal(s, err)
	}
	w.want("01:00 succeeded, 02:00 skipped, 05:00 skipped")
	if f := w.fires()[0]; f.Count != 3 || f.From.Hour() != 3 || f.Reason != "the schedule was paused by ann" {
		t.Errorf("%+v", f)
	}
	w.look(time.Hour)
	w.want("01:00 succeeded, 02:00 skipped, 05:00 skipped, 06:00 running")
}

// TestRetries: each class has its own number, and waits.
func TestRetries(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	w.apply("retries: {notebook: 2, timeout: 1, wait: 10s, backoff: exponential}\n" + hourly)
	w.look(time.Hour)
	for i, tt := range []struct {
		state run.State
		wait  time.Duration
	}{{run.Failed, 10 * time.Second}, {run.TimedOut, 10 * time.Second}, {run.Failed, 20 * time.Second}} {
		w.finish(w.live()[0].ID, tt.state, "planned", nil)
		w.look(time.Second)
		if n := len(w.live()); n != 0 {
			t.Fatalf("try %d: %d runs at once", i+1, n)
		}
		if f := w.fires()[0]; !strings.Contains(f.Tasks[0].Reason, fmt.Sprintf("try %d: planned; it is tried again in %s", i+1, tt.wait)) {
			t.Fatalf("try %d: %q", i+1, f.Tasks[0].Reason)
		}
		w.look(tt.wait - 2*time.Second)
		if n := len(w.live()); n != 0 {
			t.Fatalf("try %d: it did not wait", i+1)
		}
		w.look(2 * time.Second)
		if n := len(w.live()); n != 1 {
			t.Fatalf("try %d: it was not tried again", i+1)
		}
	}
	w.finish(w.live()[0].ID, run.Failed, "planned", nil)
	w.look(time.Second)
	w.want("01:00 failed")
	if f := w.fires()[0]; len(f.Tasks[0].Earlier) != 3 || f.Tasks[0].Try != 4 || f.Reason != "step notebook: planned" {
		t.Errorf("%+v", f)
	}
}

const chain = `triggers: [{cron: 0 * * * *}]
steps:
- {name: find, notebook: users/ann/find.ipynb}
- name: load
  notebook: users/ann/load.ipynb
  after: [find]
  foreach: "{{ steps.find.files }}"
  parallel: 2
  parameters: {file: "{{ item }}"}
- name: report
  notebook: users/ann/report.ipynb
  after: [load]
  parameters: {rows: "{{ steps.load.rows }}"}
- {name: alarm, notebook: users/ann/alarm.ipynb, after: [load], when: failed}
`

// steps are the tasks of the newest fire: "find succeeded, load/0 running".
func (w *world) steps() string {
	w.t.Helper()
	var all []string
	for _, t := range w.fires()[0].Tasks {
		name := t.Step
		if t.Index >= 0 {
			name += fmt.Sprintf("/%d", t.Index)
		}
		all = append(all, name+" "+string(t.State))
	}
	return strings.Join(all, ", ")
}

func (w *world) wantSteps(want string) {
	w.t.Helper()
	if got := w.steps(); got != want {
		w.t.Fatalf("%s\nwant %s", got, want)
	}
}

func TestSteps(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	w.apply(chain)
	w.look(time.Hour)
	w.wantSteps("find running, load waiting, report waiting, alarm waiting")
	w.finish(w.live()[0].ID, run.Succeeded, "", map[string]any{"files": []string{"a", "b", "c"}})
	w.look(time.Second)
	w.wantSteps("find succeeded, load/0 running, load/1 running, load/2 waiting, report waiting, alarm waiting")
	live := w.live()
	if string(live[1].Parameters) != `{"file":"b"}` && string(live[0].Parameters) != `{"file":"b"}` {
		t.Errorf("the parameters are %s and %s", live[0].Parameters, live[1].Parameters)
	}
	for i := range 3 {
		w.finish(w.live()[0].ID, run.Succeeded, "", map[string]any{"rows": 10})
		w.look(time.Second)
		_ = i
	}
	w.wantSteps("find succeeded, load/0 succeeded, load/1 succeeded, load/2 succeeded, report running, alarm skipped")
	if p := string(w.live()[0].Parameters); p != `{"rows":[10,10,10]}` {
		t.Errorf("the report is given %s", p)
	}
	w.finishAll(run.Succeeded)
	w.want("01:00 succeeded")
}

func TestStepFails(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	w.apply(chain)
	w.look(time.Hour)
	w.finish(w.live()[0].ID, run.Succeeded, "", map[string]any{"files": []string{"a", "b"}})
	w.look(time.Second)
	for _, r := range w.live() {
		state := run.Succeeded
		if string(r.Parameters) == `{"file":"b"}` {
			state = run.Failed
		}
		w.finish(r.ID, state, "cell 3: no", map[string]any{"rows": 1})
	}
	w.look(time.Second)
	w.wantSteps("find succeeded, load/0 succeeded, load/1 failed, report skipped, alarm running")
	w.finishAll(run.Succeeded)
	w.want("01:00 failed")
	f := w.fires()[0]
	if f.Reason != "step load (element 2): cell 3: no" || f.Tasks[3].Reason != "step load failed" {
		t.Errorf("%q, %q", f.Reason, f.Tasks[3].Reason)
	}
	// From what failed: the element that succeeded keeps its run.
	kept := f.Tasks[1].Run
	f, err := w.servers[0].Restart(t.Context(), ann, "s", f.ID, schedule.FromFailed, schedule.Values{})
	if err != nil {
		t.Fatal(err)
	}
	w.wantSteps("find succeeded, load/0 succeeded, load/1 running, report waiting, alarm waiting")
	if f.Tasks[1].Run != kept || len(w.live()) != 1 {
		t.Errorf("the element that succeeded has run %s, had %s; %d runs", f.Tasks[1].Run, kept, len(w.live()))
	}
	w.finishAll(run.Succeeded)
	w.finishAll(run.Succeeded)
	w.wantSteps("find succeeded, load/0 succeeded, load/1 succeeded, report succeeded, alarm skipped")
	w.want("01:00 succeeded")
	// From a step on: it and all after it.
	if _, err := w.servers[0].Restart(t.Context(), ann, "s", f.ID, "load", schedule.Values{}); err != nil {
		t.Fatal(err)
	}
	w.wantSteps("find succeeded, load/0 running, load/1 running, report waiting, alarm waiting")
	if n := len(w.live()); n != 2 {
		t.Errorf("%d runs, want 2 new ones", n)
	}
	if _, err := w.servers[0].Restart(t.Context(), ann, "s", f.ID, "load", schedule.Values{}); !problem.Is(err, problem.Conflict) {
		t.Errorf("a running fire begins again: %v", err)
	}
}

func TestBackfill(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	w.apply(hourly)
	req := schedule.BackfillRequest{From: w.now.Add(-5 * time.Hour), To: w.now.Add(-time.Hour), Parallel: 2, Newest: true}
	slots, err := w.servers[0].Preview(t.Context(), ann, "s", req)
	if err != nil || len(slots) != 5 || !slots[0].After(slots[4]) {
		t.Fatal(slots, err)
	}
	b, err := w.servers[0].Backfill(t.Context(), ann, "s", req)
	if err != nil {
		t.Fatal(err)
	}
	w.want("19:00 due, 20:00 due, 21:00 due, 22:00 running, 23:00 running")
	if _, err := w.servers[0].PauseBackfill(t.Context(), ann, "s", b.ID, true); err != nil {
		t.Fatal(err)
	}
	w.finishAll(run.Succeeded)
	w.want("19:00 due, 20:00 due, 21:00 due, 22:00 succeeded, 23:00 succeeded")
	w.look(time.Hour) // the schedule's own slot does not wait for it
	w.want("19:00 due, 20:00 due, 21:00 due, 22:00 succeeded, 23:00 succeeded, 01:00 running")
	if _, err := w.servers[0].PauseBackfill(t.Context(), ann, "s", b.ID, false); err != nil {
		t.Fatal(err)
	}
	w.finishAll(run.Succeeded)
	w.finishAll(run.Succeeded)
	w.want("19:00 succeeded, 20:00 succeeded, 21:00 succeeded, 22:00 succeeded, 23:00 succeeded, 01:00 succeeded")
	all, err := w.servers[0].Backfills(t.Context(), ann, "s")
	if err != nil || all[0].Counts[schedule.Succeeded] != 5 {
		t.Error(all, err)
	}
}

func TestRunNow(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	w.apply("")
	first, err := w.servers[0].RunNow(t.Context(), ann, "s", "k")
	if err != nil || first.State != schedule.Running || first.By != "ann" {
		t.Fatal(first, err)
	}
	w.now = w.now.Add(time.Minute)
	again, err := w.servers[0].RunNow(t.Context(), ann, "s", "k")
	if err != nil || again.ID != first.ID || len(w.live()) != 1 {
		t.Error("the same key fired twice", again, err)
	}
	other, err := w.servers[0].RunNow(t.Context(), ann, "s", "")
	if err != nil || other.ID == first.ID || len(w.live()) != 2 {
		t.Error(other, err)
	}
	if _, err := w.servers[0].RunNow(t.Context(), auth.User{Name: "bob"}, "s", ""); !problem.Is(err, problem.Denied) {
		t.Errorf("somebody else fires it: %v", err)
	}
	if f, err := w.servers[0].StopFire(t.Context(), ann, "s", first.ID); err != nil || f.State != schedule.Running || !f.Tasks[0].Stop {
		t.Error(f, err)
	}
	w.look(time.Second)
	if f, _ := w.records.Fire(t.Context(), first.ID); f.State != schedule.Cancelled {
		t.Errorf("the stopped fire is %s: %s", f.State, f.Reason)
	}
}

// TestRevisions: what runs goes on by the definition that it started with.
func TestRevisions(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	w.apply(chain)
	w.look(time.Hour)
	if s := w.apply(chain); s.Revision != 1 {
		t.Errorf("the same text is revision %d", s.Revision)
	}
	w.version = 4
	if s := w.apply(hourly); s.Revision != 2 || s.Pinned["notebook"] != 4 {
		t.Errorf("revision %d, pinned %v", s.Revision, s.Pinned)
	}
	w.finish(w.live()[0].ID, run.Succeeded, "", map[string]any{"files": []string{"a"}})
	w.look(time.Second)
	w.wantSteps("find succeeded, load/0 running, report waiting, alarm waiting")
	if v := w.live()[0].Version; v != 3 {
		t.Errorf("a step of revision 1 runs version %d", v)
	}
}

func TestDeniedPauses(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	w.apply("source: latest\n" + hourly)
	w.refuse = problem.New(problem.Denied, "ann may not run this")
	w.look(time.Hour)
	w.want("01:00 failed")
	s, err := w.servers[0].Get(t.Context(), ann, "s")
	if err != nil || !s.Paused || !strings.Contains(s.PauseReason, "ann may not run users/ann/a.ipynb any more") {
		t.Errorf("paused %v: %q, %v", s.Paused, s.PauseReason, err)
	}
}

// TestSimulation: two servers over one database, a clock that jumps, requests
// that fail, transactions that fail before or after they are committed. Each slot is recorded once,
// each try is one run, and a sequential schedule runs one fire at a time.
func TestSimulation(t *testing.T) {
	t.Parallel()
	seeds := 12
	if testing.Short() {
		seeds = 4
	}
	for seed := range seeds {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			simulate(t, uint64(seed))
		})
	}
}

func simulate(t *testing.T, seed uint64) {
	rng := rand.New(rand.NewPCG(seed, 77))
	w := newWorld(t, 2)
	policy := []string{"none", "latest", "all"}[rng.IntN(3)]
	source := []string{"latest", "snapshot"}[rng.IntN(2)]
	s := w.apply(fmt.Sprintf("timezone: America/New_York\ncatchUp: %s\nsource: %s\nretries: {notebook: 1, wait: 5s}\ntriggers: [{cron: \"*/5 * * * *\"}, {every: 7m}, {cron: 30 2 * * *}]", policy, source))
	begin := w.now
	w.broken = func() string { return []string{"", "", "", "prepare", "before", "after"}[rng.IntN(6)] }
	steps := 90
	if testing.Short() {
		steps = 45
	}
	for range steps {
		w.now = w.now.Add([]time.Duration{0, time.Second, 20 * time.Second, 3 * time.Minute, 40 * time.Minute}[rng.IntN(5)])
		if err := schedule.Round(t.Context(), w.servers[rng.IntN(2)]); err != nil {
			t.Fatal(err)
		}
		running := 0
		for _, f := range w.fires() {
			if f.State == schedule.Running {
				running++
			}
		}
		if running > 1 {
			t.Fatalf("%d fires run at once", running)
		}
		for _, r := range w.live() {
			if rng.IntN(3) == 0 {
				w.finish(r.ID, []run.State{run.Succeeded, run.Succeeded, run.Failed}[rng.IntN(3)], "planned", nil)
			}
		}
	}
	w.broken = nil
	for range 1000 { // everything comes to its end
		w.look(10 * time.Second)
		w.finishAll(run.Succeeded)
		if !strings.Contains(w.state(), "due") && !strings.Contains(w.state(), "running") {
			break
		}
	}
	judge(t, w, s, begin)
}

// judge holds the records against the timetable and the runs.
func judge(t *testing.T, w *world, s schedule.Schedule, begin time.Time) {
	t.Helper()
	table, err := s.Definition.Timetable()
	if err != nil {
		t.Fatal(err)
	}
	recorded := map[time.Time]int{}
	runs := map[string]string{}
	fires := w.fires()
	for _, f := range fires {
		recorded[f.Slot]++
		if f.State == schedule.Skipped && f.Reason == "" {
			t.Errorf("slot %v is skipped without a reason", f.Slot)
		}
		if !f.State.Ended() {
			t.Errorf("slot %v is still %s: %s", f.Slot, f.State, f.Reason)
		}
		for _, task := range f.Tasks {
			for _, id := range append([]string{task.Run}, task.Earlier...) {
				if before, twice := runs[id]; twice {
					t.Errorf("run %s belongs to %s and %s", id, before, f.ID)
				}
				runs[id] = f.ID
			}
		}
	}
	slots := 0
	for at := begin; ; slots++ {
		slot, ok := table.Next(at)
		if !ok || slot.After(w.now) {
			break
		}
		if recorded[slot] != 1 {
			t.Errorf("slot %v is recorded %d times", slot, recorded[slot])
		}
		at = slot
	}
	if slots != len(fires) || slots < 15 {
		t.Errorf("%d slots came, %d are recorded", slots, len(fires))
	}
	all, err := w.records.Runs(t.Context(), run.Filter{Tag: "schedule:s", Limit: 500})
	if err != nil || len(all) != len(runs) {
		t.Errorf("%d runs were made, the fires know %d: %v", len(all), len(runs), err)
	}
	if testing.Verbose() {
		data, _ := json.Marshal(s.Definition.CatchUp)
		t.Logf("%d slots, %d runs, catch up %s", slots, len(all), data)
	}
}

// TestLoop: Start fires by itself, Stop ends it.
func TestLoop(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	s := schedule.New(schedule.Config{Store: w.records, Runs: fakeRuns{w, w.records}, User: w.userOf})
	if _, _, err := s.Apply(t.Context(), ann, []byte("schedule: 1\nname: s\nnotebook: users/ann/a.ipynb\nstrategy: parallel\nparallel: 9\ntriggers: [{every: 1s}]")); err != nil {
		t.Fatal(err)
	}
	s.Stop()
	if err := s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(time.Minute); len(w.live()) < 3; {
		if time.Now().After(end) {
			t.Fatal("it does not fire")
		}
		<-time.After(20 * time.Millisecond)
	}
	s.Stop()
	s.Stop()
	fires := w.fires()
	for i := 1; i < len(fires); i++ {
		if d := fires[i-1].Slot.Sub(fires[i].Slot); d != time.Second {
			t.Errorf("%v lie between two slots", d)
		}
	}
}

// TestTakeOver: a server dies when a fire is recorded and its run is not; the next
// one asks for the run at once, and once.
func TestTakeOver(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	w.apply("triggers: [{cron: 0 * * * *}]")
	transactions := 0
	w.broken = func() string {
		if transactions++; transactions > 1 {
			return "before"
		}
		return ""
	}
	w.look(time.Hour)
	w.broken = nil
	if live := w.live(); len(live) != 0 {
		t.Fatalf("%d runs of a server that died", len(live))
	}
	w.look(0) // as another server looks, which leaves it to the one that decided
	if live := w.live(); len(live) != 0 {
		t.Fatalf("%d runs before their time", len(live))
	}
	schedule.TakeOver(t.Context(), w.servers[0])
	schedule.TakeOver(t.Context(), w.servers[0])
	if live := w.live(); len(live) != 1 {
		t.Fatalf("%d runs after the next server took over", len(live))
	}
	w.finishAll(run.Succeeded)
	w.want("01:00 succeeded")
}

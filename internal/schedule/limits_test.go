package schedule_test

import (
	"strings"
	"testing"
	"time"

	"quire/internal/notify"
	"quire/internal/run"
	"quire/internal/schedule"
)

// TestLatestIsNoted: the version of a fire is noted before its run is asked for,
// so that asking again asks for the same one.
func TestLatestIsNoted(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	w.apply("source: latest\n" + hourly)
	w.version = 5
	w.broken = func() string { return "prepare" }
	w.look(time.Hour)
	w.version, w.broken = 6, nil // somebody saves the notebook meanwhile
	w.look(10 * time.Second)
	w.want("01:00 running")
	live, f := w.live(), w.fires()[0]
	if len(live) != 1 || live[0].Version != 5 || f.Tasks[0].Version != 5 || f.Tasks[0].Run != live[0].ID {
		t.Errorf("%d runs, of version %d; the fire says %+v", len(live), live[0].Version, f.Tasks[0])
	}
	w.finishAll(run.Succeeded)
	w.look(time.Hour)
	if v := w.live()[0].Version; v != 6 {
		t.Errorf("the next fire runs version %d, want 6", v)
	}
}

func TestStartWithin(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	w.apply("startWithin: 30m\n" + hourly)
	w.look(time.Hour)
	w.look(time.Hour)
	w.want("01:00 running, 02:00 due")
	w.look(29 * time.Minute)
	w.want("01:00 running, 02:00 due")
	w.look(2 * time.Minute)
	w.want("01:00 running, 02:00 skipped")
	if r := w.fires()[0].Reason; r != "it was not its turn within 30m0s of its time" {
		t.Errorf("%q", r)
	}
}

// TestDoneBy: a fire that is not over when the clock of another zone shows the
// time is late, in winter and in summer.
func TestDoneBy(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		begin time.Time
		after time.Duration // the slot
	}{
		{time.Date(2026, 3, 7, 0, 0, 0, 0, time.UTC), 5 * time.Hour},
		{time.Date(2026, 6, 7, 0, 0, 0, 0, time.UTC), 4 * time.Hour},
	} {
		w := newWorld(t, 1)
		w.now = tt.begin
		w.apply("doneBy: \"07:00 Europe/Paris\"\ntriggers: [{cron: 0 1 * * *}]")
		w.look(time.Hour)
		w.look(tt.after - time.Second)
		if w.fires()[0].Late {
			t.Errorf("%s: it is late too early", tt.begin)
		}
		w.look(2 * time.Second)
		if f := w.fires()[0]; !f.Late || f.State != schedule.Running {
			t.Errorf("%s: late %v, %s", tt.begin, f.Late, f.State)
		}
	}
}

// TestLongRunning: it counts from when the fire started, and is told once.
func TestLongRunning(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 2)
	w.apply("longRunning: 30m\nnotify: [{channel: ops, on: [long-running]}]\n" + hourly)
	w.look(time.Hour)
	w.look(29 * time.Minute)
	if f := w.fires()[0]; f.Long {
		t.Errorf("it runs long too early")
	}
	w.look(2 * time.Minute)
	w.look(2 * time.Minute)
	if f := w.fires()[0]; !f.Long || f.Late || f.State != schedule.Running {
		t.Errorf("long %v, late %v, %s", f.Long, f.Late, f.State)
	}
	told, err := w.servers[0].Notices(t.Context(), ann, "s")
	if err != nil || len(told) != 1 || told[0].Fact.Event != notify.LongRunning {
		t.Errorf("told %+v, %v", told, err)
	}
}

func TestDoneWithin(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	w.apply("doneWithin: 10m\n" + hourly)
	w.look(time.Hour)
	w.look(9 * time.Minute)
	if w.fires()[0].Late {
		t.Error("it is late too early")
	}
	w.look(2 * time.Minute)
	if f := w.fires()[0]; !f.Late || f.State != schedule.Running {
		t.Errorf("it is not late: %+v", f)
	}
	w.finishAll(run.Succeeded)
	w.look(48*time.Minute + 59*time.Second)
	w.finishAll(run.Succeeded)
	if f := w.fires()[0]; f.Late || f.State != schedule.Succeeded {
		t.Error("one that was in time is late")
	}
}

const pair = `triggers: [{cron: 0 * * * *}]
steps:
- {name: a, notebook: users/ann/a.ipynb%s}
- {name: b, notebook: users/ann/b.ipynb}
- {name: c, notebook: users/ann/c.ipynb, after: [a]}
`

// failA ends the run of step a as failed.
func (w *world) failA() {
	w.t.Helper()
	for _, r := range w.live() {
		if r.Notebook == "users/ann/a.ipynb" {
			w.finish(r.ID, run.Failed, "planned", nil)
		}
	}
	w.look(time.Second)
	w.look(time.Second)
}

func TestFailureModes(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	w.apply(strings.Replace(pair, "%s", "", 1))
	w.look(time.Hour)
	w.failA()
	w.wantSteps("a failed, b running, c skipped")

	w = newWorld(t, 1)
	w.apply("stopAtFailure: true\n" + strings.Replace(pair, "%s", "", 1))
	w.look(time.Hour)
	w.failA()
	w.wantSteps("a failed, b cancelled, c skipped")
	w.want("01:00 failed")

	w = newWorld(t, 1)
	w.apply(strings.Replace(pair, "%s", ", ignoreFailure: true", 1))
	w.look(time.Hour)
	w.failA()
	w.wantSteps("a failed, b running, c running")
	w.finishAll(run.Succeeded)
	w.want("01:00 succeeded")
}

// TestForeachThatIsNone: what foreach reads may be no list, or an empty one.
func TestForeachThatIsNone(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		files any
		want  string
	}{
		{[]string{}, "find succeeded, load succeeded, report running, alarm skipped"},
		{"x", "find succeeded, load failed, report skipped, alarm running"},
		{make([]int, schedule.MaxItems+1), "find succeeded, load failed, report skipped, alarm running"},
	} {
		w := newWorld(t, 1)
		w.apply(chain)
		w.look(time.Hour)
		w.finish(w.live()[0].ID, run.Succeeded, "", map[string]any{"files": tt.files})
		w.look(time.Second)
		w.wantSteps(tt.want)
		if live := w.live(); live[0].Notebook == "users/ann/report.ipynb" && string(live[0].Parameters) != `{"rows":[]}` {
			t.Errorf("the report of nothing is given %s", live[0].Parameters)
		}
	}
}

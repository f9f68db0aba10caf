package schedule_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"quire/internal/notify"
	"quire/internal/problem"
	"quire/internal/run"
	"quire/internal/schedule"
)

// more makes a further schedule, of another name.
func (w *world) more(name, text string) schedule.Schedule {
	w.t.Helper()
	s, _, err := w.servers[0].Apply(w.t.Context(), ann, []byte("schedule: 1\nname: "+name+"\nnotebook: users/ann/a.ipynb\n"+text))
	if err != nil {
		w.t.Fatal(err)
	}
	return s
}

// of are the states of a schedule's fires, oldest first.
func (w *world) of(name string) string {
	w.t.Helper()
	all, err := w.servers[0].History(w.t.Context(), ann, name, schedule.FireFilter{Any: true, Limit: 1000})
	if err != nil {
		w.t.Fatal(err)
	}
	var states []string
	for _, f := range all {
		states = append([]string{string(f.State)}, states...)
	}
	return strings.Join(states, ", ")
}

func (w *world) wantOf(name, states string) {
	w.t.Helper()
	if got := w.of(name); got != states {
		w.t.Fatalf("%s: %q, want %q", name, got, states)
	}
}

// TestScheduleSignal: a schedule fires when another has succeeded, once, with what
// it was, and one that waits for failures when it has failed.
func TestScheduleSignal(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 2)
	w.apply("timezone: Asia/Kolkata\n" + hourly)
	w.more("report", "triggers: [{schedule: s}]\nparameters: {day: \"{{ event.ds }}\", of: \"{{ event.schedule }}\"}")
	w.more("alarm", "triggers: [{schedule: s, when: failed}]")
	w.more("other", "triggers: [{schedule: s, match: {ds: 2027-*}}]")
	w.look(20 * time.Hour)
	w.finishAll(run.Succeeded)
	w.look(time.Second)
	w.look(time.Second)
	w.wantOf("report", "running")
	w.wantOf("alarm", "")
	w.wantOf("other", "")
	live := w.live()
	if len(live) != 1 || string(live[0].Parameters) != `{"day":"2026-03-08","of":"s"}` {
		t.Errorf("%d runs, with %s", len(live), live[0].Parameters)
	}
	w.finishAll(run.Succeeded)
	w.look(time.Hour)
	w.finishAll(run.Failed)
	w.look(time.Second)
	w.wantOf("report", "succeeded")
	w.wantOf("alarm", "running")
}

// TestJoin: a trigger of several signals fires when all have come with the same
// value, whatever the order, and each counts once.
func TestJoin(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 2)
	w.apply("triggers: []")
	w.more("both", "triggers: [{signals: [{webhook: sales}, {webhook: stock}], join: ds}]\nparameters: {day: \"{{ event.ds }}\", n: \"{{ event.n }}\"}")
	n := 0
	call := func(hook, day string) {
		t.Helper()
		n++
		waiting, err := w.records.Signal(t.Context(), schedule.Signal{
			ID: fmt.Sprint(n), Source: "webhook/" + hook, At: w.now.Add(time.Duration(n)),
			Values: map[string]json.RawMessage{"ds": json.RawMessage(`"` + day + `"`), "n": json.RawMessage(fmt.Sprint(n))},
		})
		if err != nil || waiting != 1 {
			t.Fatalf("%d wait, %v", waiting, err)
		}
		w.look(time.Second)
	}
	call("sales", "mon")
	call("sales", "tue")
	w.wantOf("both", "")
	call("stock", "wed")
	w.wantOf("both", "")
	call("stock", "tue")
	w.wantOf("both", "running")
	if live := w.live(); len(live) != 1 || string(live[0].Parameters) != `{"day":"tue","n":4}` {
		t.Errorf("%d runs, with %s", len(live), live[0].Parameters)
	}
	w.finishAll(run.Succeeded)
	call("stock", "tue") // the sales of tue are spent
	w.wantOf("both", "succeeded")
	call("stock", "mon")
	w.wantOf("both", "succeeded, running")
	w.finishAll(run.Succeeded)
	w.look(8 * 24 * time.Hour)
	call("sales", "wed") // its stock came more than a week before
	w.wantOf("both", "succeeded, succeeded")
}

// TestSignalsOnceAndWhilePaused: the same signal again is none, two at one moment
// are two, and what comes while a schedule is paused never fires.
func TestSignalsOnceAndWhilePaused(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 2)
	w.apply("triggers: [{webhook: in}]\nstrategy: parallel\nparallel: 10")
	call := func(id string, want int) {
		t.Helper()
		if waiting, err := w.records.Signal(t.Context(), schedule.Signal{ID: id, Source: "webhook/in", At: w.now}); err != nil || waiting != want {
			t.Fatalf("%d wait, %v", waiting, err)
		}
	}
	call("a", 1)
	call("b", 1)
	call("a", 1)
	w.look(time.Second)
	w.look(time.Second)
	call("a", 1)
	w.look(time.Second)
	w.wantOf("s", "running, running")
	w.finishAll(run.Succeeded)
	if _, err := w.servers[0].Pause(t.Context(), ann, "s", ""); err != nil {
		t.Fatal(err)
	}
	call("c", 1)
	w.look(time.Second)
	if _, err := w.servers[0].Resume(t.Context(), ann, "s"); err != nil {
		t.Fatal(err)
	}
	w.look(time.Hour)
	w.wantOf("s", "succeeded, succeeded, skipped")
	w.apply("triggers: []")
	call("d", 0)
}

func TestNoEndlessSignals(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	w.more("a", "triggers: [{schedule: c}]")
	w.more("b", "triggers: [{schedule: a}]")
	_, _, err := w.servers[0].Apply(t.Context(), ann, []byte("schedule: 1\nname: c\nnotebook: a.ipynb\ntriggers: [{schedule: b, when: ended}]"))
	if !problem.Is(err, problem.Invalid) || !strings.Contains(err.Error(), "c after b after a after c") {
		t.Errorf("%v", err)
	}
}

// TestCall: a call that is signed is taken once; one of another key, of another
// time or body, or of a name that is not known, is refused in the same words.
func TestCall(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	s := schedule.New(schedule.Config{
		Store: w.records, Runs: fakeRuns{w, w.records}, Now: func() time.Time { return w.now }, User: w.userOf,
		Hooks: map[string]func() (string, error){"in": func() (string, error) { return "key", nil }},
	})
	w.servers = []*schedule.Schedules{s}
	w.apply("triggers: [{webhook: in, match: {file: \"*.csv\"}}]\nparameters: {path: \"{{ event.file }}\"}")
	if _, _, err := s.Apply(t.Context(), ann, []byte("schedule: 1\nname: b\nnotebook: a.ipynb\ntriggers: [{webhook: out}]")); !problem.Is(err, problem.Invalid) {
		t.Errorf("a webhook that is not configured: %v", err)
	}
	body := []byte(`{"file": "plays.csv"}`)
	good := notify.Sign("key", w.now, body)
	for range 2 {
		if waiting, err := s.Call(t.Context(), "in", good, body); err != nil || waiting != 1 {
			t.Fatalf("%d wait, %v", waiting, err)
		}
		w.look(time.Second)
	}
	w.wantOf("s", "running")
	if live := w.live(); len(live) != 1 || string(live[0].Parameters) != `{"path":"plays.csv"}` {
		t.Errorf("%d runs, with %s", len(live), live[0].Parameters)
	}
	for name, call := range map[string]struct{ hook, signature, body string }{
		"another key":   {"in", notify.Sign("kex", w.now, body), string(body)},
		"another body":  {"in", good, `{"file": "other.csv"}`},
		"an old one":    {"in", notify.Sign("key", w.now.Add(-6*time.Minute), body), string(body)},
		"one to come":   {"in", notify.Sign("key", w.now.Add(6*time.Minute), body), string(body)},
		"another hook":  {"out", good, string(body)},
		"no signature":  {"in", "", string(body)},
		"a longer one":  {"in", good + "00", string(body)},
		"without a key": {"in", notify.Sign("", w.now, body), string(body)},
	} {
		_, err := s.Call(t.Context(), call.hook, call.signature, []byte(call.body))
		if !problem.Is(err, problem.Denied) || !strings.Contains(err.Error(), "the webhook is not known, or") {
			t.Errorf("%s: %v", name, err)
		}
	}
	list := []byte(`[1]`)
	if _, err := s.Call(t.Context(), "in", notify.Sign("key", w.now, list), list); !problem.Is(err, problem.Invalid) {
		t.Errorf("a list: %v", err)
	}
	other := []byte(`{"file": "plays.txt"}`)
	if _, err := s.Call(t.Context(), "in", notify.Sign("key", w.now, other), other); err != nil {
		t.Error(err)
	}
	w.look(time.Second)
	w.wantOf("s", "running")
}

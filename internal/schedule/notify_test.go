package schedule_test

import (
	"strings"
	"testing"
	"time"

	"quire/internal/notify"
	"quire/internal/run"
	"quire/internal/schedule"
)

// told is who was told what, oldest first.
func (w *world) told() string {
	w.t.Helper()
	all, err := w.records.Notices(w.t.Context(), "s", 100)
	if err != nil {
		w.t.Fatal(err)
	}
	var words []string
	for _, n := range all {
		to := n.Rule.Channel + strings.Join(n.Rule.Email, ",")
		words = append([]string{n.Fact.Slot.Format("15:04") + " " + string(n.Fact.Event) + " " + to}, words...)
	}
	return strings.Join(words, "; ")
}

const tells = `
timezone: UTC
triggers: [{every: 1h}]
doneWithin: 10m
notify:
  - {email: ann@example.org}
  - {channel: ops, on: [success, late]}
`

// TestTold has two servers decide about fires that fail, succeed and are late:
// each event is told once.
func TestTold(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 2)
	w.apply(tells)
	end := func(state run.State, result string) {
		t.Helper()
		w.look(time.Second)
		for _, r := range w.live() {
			if _, err := w.records.ChangeRun(t.Context(), r.ID, func(r run.Run) (run.Run, error) {
				r.State, r.Finished, r.Reason, r.Result = state, w.now, "raised KeyError", []byte(result)
				return r, nil
			}); err != nil {
				t.Fatal(err)
			}
		}
		w.look(time.Second)
	}
	w.look(time.Hour)
	end(run.Failed, `{"error":{"cell":7,"ename":"KeyError","evalue":"'fr'"}}`)
	w.look(time.Hour - 2*time.Second)
	end(run.Succeeded, `{}`)
	w.look(time.Hour - 2*time.Second)
	w.look(11 * time.Minute)
	end(run.Succeeded, `{}`)
	want := "01:00 failure ann@example.org; 02:00 success ops; 02:00 recovery ann@example.org; 03:00 late ops; 03:00 success ops"
	got := w.told()
	if strings.Count(got, ";") != strings.Count(want, ";") {
		t.Fatalf("told %s\nwant %s", got, want)
	}
	for one := range strings.SplitSeq(want, "; ") {
		if !strings.Contains(got, one) {
			t.Errorf("%q was not told: %s", one, got)
		}
	}
	all, _ := w.records.Notices(t.Context(), "s", 100)
	for _, n := range all {
		if n.Fact.Event == notify.Failure && (n.Fact.Parts[0].Cell != 7 || n.Fact.Parts[0].Message != "KeyError: 'fr'" || n.Fact.Parts[0].Run == "") {
			t.Errorf("the failure tells %+v", n.Fact)
		}
	}
}

// TestBackfillsAreNotTold fires the past: nobody is told of that.
func TestBackfillsAreNotTold(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	w.apply(tells)
	if _, err := w.servers[0].Backfill(t.Context(), ann, "s", schedule.BackfillRequest{From: w.now.Add(-2 * time.Hour), To: w.now}); err != nil {
		t.Fatal(err)
	}
	for range 4 {
		w.look(time.Second)
		for _, r := range w.live() {
			if _, err := w.records.ChangeRun(t.Context(), r.ID, func(r run.Run) (run.Run, error) { r.State, r.Finished = run.Failed, w.now; return r, nil }); err != nil {
				t.Fatal(err)
			}
		}
	}
	if got := w.told(); got != "" {
		t.Errorf("told %s", got)
	}
}

func TestBadNotify(t *testing.T) {
	t.Parallel()
	head := "schedule: 1\nname: s\nnotebook: users/ann/a.ipynb\ntriggers: [{every: 1h}]\n"
	for _, tt := range []struct{ name, text, want string }{
		{"both", "notify: [{email: a@b.c, channel: x}]", "line 5: a rule of notify has a channel or email"},
		{"none", "notify: [{on: [failure]}]", "line 5: a rule of notify has a channel or email"},
		{"event", "notify: [{channel: x, on: [sunrise]}]", "want some of"},
		{"address", "notify:\n  - email: nobody", "line 6: notify: \"nobody\" is no e-mail address"},
		{"late", "notify:\n  - {channel: x, on: [late]}", "line 6: notify: on: late goes with doneWithin"},
		{"key", "notify: [{chanel: x}]", "did you mean channel?"},
		{"both kinds", "template: x", "want one of notebook, template, sql, command, schedule and branch"},
	} {
		_, faults := schedule.Read([]byte(head + tt.text))
		var lines []string
		for _, f := range faults {
			lines = append(lines, f.String())
		}
		if all := strings.Join(lines, "; "); !strings.Contains(all, tt.want) {
			t.Errorf("%s: %q, want %q", tt.name, all, tt.want)
		}
	}
}

// TestTemplateStep runs the version of a template that was there when the
// definition was applied.
func TestTemplateStep(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	if _, _, err := w.servers[0].Apply(t.Context(), ann, []byte("schedule: 1\nname: s\ntriggers: [{every: 1h}]\ntemplate: daily-aggregate\n")); err != nil {
		t.Fatal(err)
	}
	w.version = 9
	w.look(time.Hour)
	live := w.live()
	if len(live) != 1 || live[0].Template != "daily-aggregate" || live[0].TemplateVersion != 3 || live[0].Version != 0 {
		t.Errorf("the run is %+v", live)
	}
}

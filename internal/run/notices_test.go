package run

import (
	"strings"
	"testing"
	"time"

	"quire/internal/notify"
	"quire/internal/problem"
)

func TestNoticesOfARun(t *testing.T) {
	t.Parallel()
	s := New(Config{Tells: func(r notify.Rule) error {
		if r.Channel == "nobody" {
			return problem.New(problem.Invalid, "there is no channel nobody")
		}
		return nil
	}})
	rules, err := s.checkNotify([]notify.Rule{{Email: []string{"ann@example.org"}}, {Channel: "ops", On: []notify.Event{notify.Failure}}})
	if err != nil {
		t.Fatal(err)
	}
	r := Run{ID: "r1", Owner: "ann", Notebook: "users/ann/report.ipynb", Notify: rules, Finished: time.Unix(100, 0), Parameters: []byte(`{"days":7}`)}
	for _, tt := range []struct {
		state State
		told  int
		event notify.Event
	}{
		{Running, 0, ""}, {Cancelled, 0, ""}, {Succeeded, 1, notify.Success}, {Failed, 2, notify.Failure}, {TimedOut, 2, notify.Failure},
	} {
		r.State = tt.state
		r.Result = nil
		if tt.state == Failed {
			r.Result = []byte(`{"error":{"cell":3,"ename":"KeyError","evalue":"x"}}`)
		}
		all := r.Notices()
		if len(all) != tt.told {
			t.Errorf("%s: %d are told, want %d", tt.state, len(all), tt.told)
			continue
		}
		for _, n := range all {
			if n.Fact.Event != tt.event || n.Fact.About() != "run/r1" {
				t.Errorf("%s: %+v", tt.state, n.Fact)
			}
			text := notify.Subject([]notify.Notice{n}) + "\n" + notify.Text("https://q", []notify.Notice{n})
			for _, word := range map[State][]string{Failed: {"report failed at cell 3 of report", "KeyError: x", "https://q/runs/r1", `{"days":7}`}, Succeeded: {"report succeeded"}}[tt.state] {
				if !strings.Contains(text, word) {
					t.Errorf("%s: there is no %q in %s", tt.state, word, text)
				}
			}
		}
	}
	for name, bad := range map[string][]notify.Rule{
		"nobody": {{}}, "both": {{Channel: "x", Email: []string{"a@example.org"}}}, "address": {{Email: []string{"ann"}}}, "late": {{Channel: "x", On: []notify.Event{notify.Late}}},
		"unknown channel": {{Channel: "nobody"}}, "many": make([]notify.Rule, 6),
	} {
		if _, err := s.checkNotify(bad); !problem.Is(err, problem.Invalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

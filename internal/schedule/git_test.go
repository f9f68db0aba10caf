package schedule_test

import (
	"context"
	"fmt"
	"maps"
	"strings"
	"sync"
	"testing"
	"time"

	"quire/internal/auth"
	"quire/internal/run"
	"quire/internal/schedule"
)

// seenRuns note what is asked for.
type seenRuns struct {
	fakeRuns
	mu    *sync.Mutex
	asked *[]run.Request
}

func (s seenRuns) Prepare(ctx context.Context, u auth.User, req run.Request) (run.Run, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	*s.asked = append(*s.asked, req)
	return s.fakeRuns.Prepare(ctx, u, req)
}

// TestStepsOfACommit: a ref is resolved when a step begins, once for all steps of a
// fire, and a retry runs the same commit.
func TestStepsOfACommit(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	var asked []run.Request
	var mu sync.Mutex
	resolved := 0
	s := schedule.New(schedule.Config{
		Store: w.records, Runs: seenRuns{fakeRuns{w, w.records}, &mu, &asked}, Now: func() time.Time { return w.now }, User: w.userOf,
		Commit: func(_ context.Context, _ auth.User, notebook, ref string) (string, string, error) {
			mu.Lock()
			defer mu.Unlock()
			resolved++ // somebody pushes all the time
			return "shared/etl", fmt.Sprintf("%s-%d", ref, resolved), nil
		},
	})
	w.servers = []*schedule.Schedules{s}
	if _, _, err := s.Apply(t.Context(), ann, []byte(`schedule: 1
name: s
triggers: [{cron: 0 * * * *}]
steps:
- {name: a, notebook: shared/etl/a.ipynb, source: git, ref: main, retries: {notebook: 1, wait: 1s}}
- {name: b, notebook: shared/etl/b.ipynb, source: git, ref: main, after: [a]}
- {name: c, notebook: shared/etl/b.ipynb, source: git, ref: v1, after: [a]}
`)); err != nil {
		t.Fatal(err)
	}
	w.look(time.Hour)
	w.finishAll(run.Failed)
	w.look(2 * time.Second)
	w.finishAll(run.Succeeded)
	w.finishAll(run.Succeeded)
	got := map[string]int{} // steps that begin together are prepared in any order
	for _, req := range asked {
		got[req.Ref+"="+strings.TrimRight(req.Commit, "23")]++
	}
	if want := map[string]int{"main=main-1": 3, "v1=v1-": 1}; !maps.Equal(got, want) {
		t.Errorf("asked for %v, want %v", got, want)
	}
	w.want("01:00 succeeded")
	f := w.fires()[0]
	for _, task := range f.Tasks {
		if task.Repository != "shared/etl" || task.Commit == "" {
			t.Errorf("step %s was of %q of %q", task.Step, task.Commit, task.Repository)
		}
	}
	// From the beginning it is what the ref is then.
	if _, err := s.Restart(t.Context(), ann, "s", f.ID, schedule.FromBeginning, schedule.Values{}); err != nil {
		t.Fatal(err)
	}
	if last := asked[len(asked)-1]; last.Commit == "main-1" || last.Ref != "main" {
		t.Errorf("again from the beginning: %s of %s", last.Commit, last.Ref)
	}
}

func TestRefsInDefinitions(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"notebook: shared/a.ipynb\nsource: git":                         "line 1: step notebook: source: git goes with ref, a branch, a tag or a commit",
		"notebook: shared/a.ipynb\nref: main":                           "line 1: step notebook: ref goes with source: git",
		"notebook: shared/a.ipynb\nsource: git\nref: --upload-pack=x":   "line 1: step notebook: ref: want a branch, a tag or a whole commit",
		"template: t\nsource: git\nref: main":                           "line 1: step notebook: source: git goes with a notebook",
		"notebook: shared/a.ipynb\nrunAs: \"../x\"":                     `runAs: want the name of a service identity, not "../x"`,
		"notebook: shared/a.ipynb\nsource: git\nref: release/2026@east": "",
	} {
		_, faults := schedule.Read([]byte("schedule: 1\nname: s\n" + text))
		got := ""
		for _, f := range faults {
			got += f.String()
		}
		if got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

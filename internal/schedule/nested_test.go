package schedule_test

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"quire/internal/run"
	"quire/internal/schedule"
)

// TestNestedOverFaults: while preparing and committing fail at random, on two
// servers, each try of a step that is a schedule is one fire of it, and its end
// is noted.
func TestNestedOverFaults(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 2)
	w.more("inner", "triggers: []")
	if _, _, err := w.servers[0].Apply(t.Context(), ann, []byte("schedule: 1\nname: s\nsteps:\n- {name: a, schedule: inner}\n- {name: b, schedule: inner, after: [a], foreach: [1, 2]}")); err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(1, 2))
	w.broken = func() string { return []string{"", "", "prepare", "before", "after"}[rng.IntN(5)] }
	const fires = 4
	for n := range fires {
		for tries := 0; ; tries++ { // the caller asks again, under the same key
			if _, err := w.servers[0].RunNow(t.Context(), ann, "s", fmt.Sprint(n)); err == nil {
				break
			} else if tries == 100 {
				t.Fatal(err)
			}
		}
	}
	look := func() {
		w.now = w.now.Add(6 * time.Second)
		for _, s := range w.servers {
			_ = schedule.Round(t.Context(), s) // what fails is done at the next look
		}
	}
	over := func() bool {
		for _, f := range w.fires() {
			if !f.State.Ended() {
				return false
			}
		}
		return true
	}
	for n := 0; !over(); n++ {
		if n == 500 {
			t.Fatalf("it is not over: %s", w.state())
		}
		look()
		for _, r := range w.live() {
			if rng.IntN(2) == 0 {
				w.finish(r.ID, run.Succeeded, "", nil)
			}
		}
	}
	w.broken = nil
	w.look(time.Second)
	for _, f := range w.fires() {
		if f.State != schedule.Succeeded {
			t.Errorf("%s: %s", f.State, f.Reason)
		}
	}
	inner, err := w.servers[0].History(t.Context(), ann, "inner", schedule.FireFilter{Any: true, Limit: 1000})
	if err != nil || len(inner) != 3*fires {
		t.Errorf("%d fires of the inner schedule, want %d; %v", len(inner), 3*fires, err)
	}
	all, err := w.records.Runs(t.Context(), run.Filter{Limit: 500})
	if err != nil || len(all) != 3*fires {
		t.Errorf("%d runs, want %d; %v", len(all), 3*fires, err)
	}
}

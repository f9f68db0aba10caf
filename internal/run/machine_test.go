package run

import (
	"math/rand/v2"
	"testing"
	"time"
)

// TestSimulation drives the decision with random outcomes, cancellations and
// clocks, and asks after every step what must always hold.
func TestSimulation(t *testing.T) {
	t.Parallel()
	for seed := range uint64(2000) {
		simulate(t, seed)
	}
}

func simulate(t *testing.T, seed uint64) {
	t.Helper()
	rng := rand.New(rand.NewPCG(seed, 0))
	now := time.Date(2018, 5, 8, 0, 0, 0, 0, time.UTC)
	r := Run{ID: "x", State: Queued, Created: now, NotBefore: now, Retries: rng.IntN(4)}
	failures := 0
	for step := range 50 {
		now = now.Add(time.Duration(rng.IntN(100)) * time.Second)
		if rng.IntN(15) == 0 {
			before := r
			r = cancel(r, "ann", now)
			if before.State != Queued && r.State != before.State {
				t.Fatalf("seed %d step %d: a live run was cancelled before its attempt stopped", seed, step)
			}
		}
		if r.State.Ended() {
			break
		}
		r.State, r.Attempt = Running, r.Attempt+1
		states := []State{Succeeded, Failed, Cancelled, TimedOut, Lost, Failed, Lost}
		o := outcome{state: states[rng.IntN(len(states))], reason: "because", at: now, start: now}
		if o.state == Failed {
			failures++
		}
		r = conclude(r, o)
		check(t, seed, step, r, o, failures)
		if r.State.Ended() {
			break
		}
	}
	if !r.State.Ended() {
		t.Fatalf("seed %d: the run goes on for ever: %+v", seed, r)
	}
}

func check(t *testing.T, seed uint64, step int, r Run, o outcome, failures int) {
	t.Helper()
	switch {
	case r.State == Lost || r.State == Starting || r.State == Running:
		t.Fatalf("seed %d step %d: after an attempt the run is %s", seed, step, r.State)
	case r.State.Ended() && (r.Finished.IsZero() || r.Reason == "" && r.State != Succeeded):
		t.Fatalf("seed %d step %d: ended without a time or a reason: %+v", seed, step, r)
	case r.State == Queued && (!r.NotBefore.After(o.at) || r.NotBefore.Sub(o.at) > time.Minute):
		t.Fatalf("seed %d step %d: tried again after %v", seed, step, r.NotBefore.Sub(o.at))
	case r.State == Succeeded && o.state != Succeeded:
		t.Fatalf("seed %d step %d: %s became a success", seed, step, o.state)
	case r.CancelledBy != "" && r.State == Succeeded:
		t.Fatalf("seed %d step %d: a run succeeded that was asked to stop", seed, step)
	case r.CancelledBy != "" && r.State == Queued:
		t.Fatalf("seed %d step %d: a cancelled run is tried again", seed, step)
	case r.Lost > maxLost, failures > r.Retries+1:
		t.Fatalf("seed %d step %d: tried too often: %+v", seed, step, r)
	}
}

func TestIDsSortByTimeAndAreValid(t *testing.T) {
	t.Parallel()
	now := time.Now()
	last := ""
	for i := range 100 {
		id := NewID(now.Add(time.Duration(i) * time.Millisecond))
		if !ValidID(id) || id <= last {
			t.Fatalf("id %q after %q", id, last)
		}
		last = id
	}
}

package session

import (
	"strings"
	"testing"

	"quire/internal/problem"
)

// TestInput answers the question of a cell that runs, and sees that the answer is
// in no log; without somebody who can answer the cell fails at once.
func TestInput(t *testing.T) {
	t.Parallel()
	r := startRunner(t, "input Name?", "input Again?")
	room, err := r.Open(t.Context(), r.info.Room())
	if err != nil {
		t.Fatal(err)
	}
	if err := room.Answer(t.Context(), r.k.ID(), "early"); !problem.Is(err, problem.Conflict) {
		t.Errorf("an answer before the question: %v, want a conflict", err)
	}
	req := r.request(0)
	req.Stdin = true
	done := make(chan error, 1)
	if err := room.Execute(t.Context(), req, done); err != nil {
		t.Fatal(err)
	}
	state := func(key string) map[string]any {
		v, _ := r.doc.Map(rootState).Get(key)
		m, _ := v.(map[string]any)
		return m
	}
	r.waitFor("the question", func() bool { return state(stateInput)["prompt"] == "Name?" })
	if state(stateInput)["cell"] != "c0" || state(stateRunningCells)["c0"] == nil {
		t.Errorf("the state says %v and %v, want cell c0 in both", state(stateInput), state(stateRunningCells))
	}
	if err := room.Answer(t.Context(), r.k.ID(), "Ann Canary"); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	r.waitFor("the end", func() bool {
		return state(stateInput) == nil && len(state(stateRunningCells)) == 0 && strings.Contains(string(mustJSON(r.doc.Array(rootCells).JSON())), "Ann Canary")
	})
	if err := r.run(t, r.request(1)); err == nil {
		t.Error("a cell that asks nobody ended well")
	}
}

package run_test

import (
	"context"
	"io"
	"strings"
	"testing"

	"quire/internal/auth"
	"quire/internal/problem"
	"quire/internal/run"
)

// TestOutputIsPutWhereAsked is in the records of either database, and on the volume.
func TestOutputIsPutWhereAsked(t *testing.T) {
	t.Parallel()
	b := setup(t, func(a *actor) { a.result(run.Succeeded, "") })
	for range 2 { // it replaces what is there
		r := b.await(t, b.submit(t, run.Request{Output: "users/{user}/results/{name}.ipynb"}).ID, ended)
		if r.Output != "users/ann/results/a.ipynb" || r.OutputProblem != "" {
			t.Errorf("the run is %+v", r)
		}
	}
	e, body, err := b.cfg.Volume.Read(t.Context(), ann, "users/ann/results/a.ipynb")
	if err != nil {
		t.Fatal(err)
	}
	defer body.Close()
	if data, err := io.ReadAll(body); err != nil || string(data) != source || e.Version == 0 {
		t.Errorf("what is there is %.100q, version %d, %v", data, e.Version, err)
	}
	for output, want := range map[string]string{
		"users/bob/x.ipynb": "bob", "users/ann/a.ipynb": "is the notebook that is run", "users/ann/../bob/x.ipynb": "not allowed", "a.ipynb": "below users/", "shared/{x}/": "x",
	} {
		if _, err := b.Submit(b.ctx, ann, run.Request{Notebook: "users/ann/a.ipynb", Output: output}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("output %s: %v, want an error with %q", output, err, want)
		}
	}
	if r, err := b.Submit(b.ctx, ann, run.Request{Notebook: "users/ann/a.ipynb", Output: run.NoOutput}); err != nil || r.Output != "" {
		t.Errorf("nowhere is %q, %v", r.Output, err)
	}
	grid := run.SweepRequest{Request: run.Request{Notebook: "users/ann/a.ipynb", Output: "users/ann/s/x.ipynb"}, Grid: []byte(`{"n":[1,2]}`), Preview: true}
	if _, err := b.Sweep(b.ctx, ann, grid); !problem.Is(err, problem.Invalid) || !strings.Contains(err.Error(), "as that of run 1") {
		t.Errorf("a sweep into one place: %v", err)
	}
	grid.Output = "users/ann/s/"
	if _, err := b.Sweep(b.ctx, ann, grid); err != nil {
		t.Errorf("a sweep into a folder: %v", err)
	}
}

// TestOutputOfWhoeverRuns counts what they may when it is written.
func TestOutputOfWhoeverRuns(t *testing.T) {
	t.Parallel()
	b := setup(t, func(a *actor) { a.result(run.Succeeded, "") })
	b.Stop()
	if err := b.cfg.Volume.AddWorkspace("bob"); err != nil {
		t.Fatal(err)
	}
	now := ann
	b.cfg.User = func(context.Context, string) (auth.User, error) { return now, nil }
	b.start(t)
	admin := auth.User{Name: "ann", Admin: true}
	if _, err := b.Submit(b.ctx, admin, run.Request{Notebook: "users/ann/a.ipynb", Output: "users/nobody/x.ipynb"}); !problem.Is(err, problem.NotFound) {
		t.Errorf("a workspace that is not there: %v", err)
	}
	r, err := b.Submit(b.ctx, admin, run.Request{Notebook: "users/ann/a.ipynb", Output: "users/bob/x.ipynb"})
	if err != nil {
		t.Fatal(err)
	}
	if r = b.await(t, r.ID, ended); r.State != run.Succeeded || !strings.Contains(r.OutputProblem, "belongs to bob") {
		t.Errorf("the run is %s, its output's problem %q", r.State, r.OutputProblem)
	}
	b.Stop()
	now.Disabled = true
	b.start(t)
	if r = b.await(t, b.submit(t, run.Request{Output: "users/ann/x.ipynb"}).ID, ended); !strings.Contains(r.OutputProblem, "may not sign in any more") {
		t.Errorf("of somebody who is disabled: %q", r.OutputProblem)
	}
}

// TestOutputOfAFailure replaces no good one.
func TestOutputOfAFailure(t *testing.T) {
	t.Parallel()
	b := setup(t, func(a *actor) { a.result(run.Failed, "no") })
	r := b.await(t, b.submit(t, run.Request{Output: "users/ann/out.ipynb"}).ID, ended)
	if _, _, err := b.cfg.Volume.Read(t.Context(), ann, r.Output); !problem.Is(err, problem.NotFound) {
		t.Errorf("what failed is at %s: %v", r.Output, err)
	}
}

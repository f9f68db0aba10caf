package schedule_test

import (
	"context"
	"fmt"
	"path"
	"strings"
	"testing"
	"time"

	"quire/internal/auth"
	"quire/internal/problem"
	"quire/internal/query"
	"quire/internal/run"
	"quire/internal/schedule"
)

// someFiles are files that are there: versions by path.
type someFiles map[string]time.Time

func (f *someFiles) Find(_ context.Context, u auth.User, folder, pattern string) ([]schedule.File, error) {
	if u.Name == "" {
		return nil, problem.New(problem.Denied, "nobody")
	}
	var all []schedule.File
	for name, at := range *f {
		if fits, err := path.Match(pattern, path.Base(name)); path.Dir(name) == folder && err == nil && fits {
			all = append(all, schedule.File{Path: name, Version: at.Format(time.RFC3339), Size: 7, Modified: at})
		}
	}
	return all, nil
}

// arrive looks for files, with each server.
func (w *world) arrive(d time.Duration) {
	w.t.Helper()
	w.now = w.now.Add(d)
	for _, s := range w.servers {
		if err := schedule.LookForFiles(w.t.Context(), s); err != nil {
			w.t.Fatal(err)
		}
	}
	w.look(time.Second)
}

// TestFileArrives: each version of a file that fits fires once, with two servers;
// what was there before, or comes while the schedule is paused, does not.
func TestFileArrives(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 2)
	w.files = someFiles{"users/ann/in/old.csv": w.now.Add(-time.Hour)}
	const text = "strategy: parallel\nparallel: 9\nparameters: {file: \"{{ event.path }}\", size: \"{{ event.size }}\"}\n"
	w.apply(text + "triggers: [{file: users/ann/in/*.csv}]")
	w.arrive(10 * time.Second)
	w.want("")
	w.files["users/ann/in/a.csv"] = w.now
	w.files["users/ann/in/a.txt"] = w.now
	w.files["users/ann/in/deep/b.csv"] = w.now
	w.arrive(10 * time.Second)
	live := w.live()
	if len(live) != 1 || string(live[0].Parameters) != `{"file":"users/ann/in/a.csv","size":7}` {
		t.Fatalf("%d runs: %v", len(live), w.state())
	}
	w.finishAll(run.Succeeded)
	w.arrive(10 * time.Second)
	w.wantOf("s", "succeeded")
	w.files["users/ann/in/a.csv"] = w.now // another version
	w.arrive(10 * time.Second)
	w.wantOf("s", "succeeded, running")
	was := w.files["users/ann/in/a.csv"]
	delete(w.files, "users/ann/in/a.csv") // and the same one, gone and there again
	w.arrive(10 * time.Second)
	w.files["users/ann/in/a.csv"] = was
	w.arrive(10 * time.Second)
	w.wantOf("s", "succeeded, running")
	w.files["users/ann/in/moved.csv"] = w.now.Add(-time.Hour) // it keeps its time
	w.arrive(10 * time.Second)
	w.wantOf("s", "succeeded, running, running")
	w.apply(text + "description: b\ntriggers: [{file: users/ann/in/*.csv}]") // it waits on
	w.arrive(10 * time.Second)
	w.wantOf("s", "succeeded, running, running")
	if _, err := w.servers[0].Pause(t.Context(), ann, "s", ""); err != nil {
		t.Fatal(err)
	}
	w.files["users/ann/in/c.csv"] = w.now
	w.arrive(10 * time.Second)
	w.wantOf("s", "succeeded, running, running, skipped")
}

// TestTableWritten: a run that wrote a table fires when it has succeeded, once; a
// statement outside of runs by itself. A catalog of somebody's own is theirs.
func TestTableWritten(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	w.apply("strategy: parallel\nparallel: 9\ntriggers: [{table: Sales.Plays}]\nparameters: {by: \"{{ event.run }}\", on: \"{{ event.connection }}\"}")
	w.more("there", "triggers: [{table: sales.plays, connection: elsewhere}]")
	w.more("load", "triggers: []")
	n := 0
	write := func(user, engine, runID string) {
		t.Helper()
		n++
		q := query.Query{
			ID: fmt.Sprintf("q%d", n), State: query.Succeeded, Connection: "warehouse", Engine: engine, User: user, Run: runID, Statement: "x",
			Tables: map[string][]string{query.Wrote: {"sales.plays"}}, Submitted: w.now, Ended: w.now,
		}
		for range 2 { // the same statement again is none
			if err := w.records.PutQuery(t.Context(), q); err != nil {
				t.Fatal(err)
			}
		}
		w.look(time.Second)
	}
	load := func() run.Run {
		t.Helper()
		if _, err := w.servers[0].RunNow(t.Context(), ann, "load", fmt.Sprint(n)); err != nil {
			t.Fatal(err)
		}
		w.look(time.Second)
		for _, r := range w.live() {
			if r.Tags[0] == "schedule:load" {
				return r
			}
		}
		t.Fatal("it does not run")
		return run.Run{}
	}
	write("bob", "postgres", "")
	w.wantOf("s", "running")
	write("bob", "duckdb", "")
	w.wantOf("s", "running")
	write("ann", "duckdb", "")
	w.wantOf("s", "running, running")
	one := load()
	write("ann", "postgres", one.ID)
	write("ann", "postgres", one.ID)
	w.wantOf("s", "running, running")
	w.finish(one.ID, run.Succeeded, "", nil)
	w.look(time.Second)
	w.wantOf("s", "running, running, running")
	last := w.live()
	if got := string(last[len(last)-1].Parameters); got != `{"by":"`+one.ID+`","on":"warehouse"}` {
		t.Errorf("it was given %s", got)
	}
	write("ann", "postgres", one.ID) // recorded after the run's end
	w.wantOf("s", "running, running, running")
	one = load()
	write("ann", "postgres", one.ID)
	w.finish(one.ID, run.Failed, "", nil)
	w.look(time.Second)
	w.wantOf("s", "running, running, running")
	own := w.live()[0] // of s itself
	if !strings.HasPrefix(own.Tags[0], "schedule:s") {
		t.Fatalf("%v", own.Tags)
	}
	write("ann", "postgres", own.ID)
	w.finish(own.ID, run.Succeeded, "", nil)
	w.look(time.Second)
	w.wantOf("s", "succeeded, running, running")
	w.wantOf("there", "")
}

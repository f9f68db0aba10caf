package schedule_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"quire/internal/auth"
	"quire/internal/problem"
	"quire/internal/run"
	"quire/internal/schedule"
)

const twoSteps = `
triggers: [{cron: 0 * * * *}]
steps:
- {name: load, notebook: users/ann/load.ipynb, parameters: {day: "{{ ds }}", odd: 1}}
- {name: sum, notebook: users/ann/sum.ipynb, after: [load], parameters: {rows: "{{ steps.load.rows }}", n: 1}}
`

func parameters(step, name, value string) schedule.Values {
	return schedule.Values{Parameters: map[string]map[string]json.RawMessage{step: {name: json.RawMessage(value)}}}
}

// TestRestartAsksNotebooks: before anything runs, each notebook that would be given
// something else is asked, in the version that runs and with what is known.
func TestRestartAsksNotebooks(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	w.apply(twoSteps)
	w.version = 9 // what is there now; 3 was when it was applied
	w.look(time.Hour)
	w.finish(w.live()[0].ID, run.Succeeded, "", map[string]any{"rows": 5})
	w.look(time.Second)
	w.finishAll(run.Failed)
	f := w.fires()[0]
	var asked []string
	w.check = func(req run.Request) error {
		asked = append(asked, fmt.Sprintf("%s version %d %s strict %v but for %v, partial %v", req.Notebook, req.Version, req.Parameters, req.Strict, req.Undeclared, req.Partial))
		return w.refuse
	}
	restart := func(from schedule.Restart, values schedule.Values) error {
		asked = nil
		_, err := w.servers[0].Restart(t.Context(), ann, "s", f.ID, from, values)
		return err
	}
	w.refuse = problem.New(problem.Invalid, "n: 7 is over its maximum 5; m: unknown parameter")
	err := restart(schedule.FromBeginning, schedule.Values{Parameters: map[string]map[string]json.RawMessage{"load": {"day": json.RawMessage(`"x"`)}, "sum": {"n": json.RawMessage("7"), "m": json.RawMessage("1")}}})
	want := []string{
		`users/ann/load.ipynb version 3 {"day":"x","odd":1} strict true but for [day odd], partial false`,
		`users/ann/sum.ipynb version 3 {"m":1,"n":7} strict true but for [n rows], partial true`, // what load will record is not known
	}
	if !problem.Is(err, problem.Invalid) || strings.Count(err.Error(), "n: 7 is over its maximum 5; m: unknown parameter") != 2 || !strings.Contains(err.Error(), "step sum: ") || !slices.Equal(asked, want) {
		t.Errorf("%v; asked\n%s\nwant\n%s", err, strings.Join(asked, "\n"), strings.Join(want, "\n"))
	}
	if again := w.fires()[0]; again.State != schedule.Failed || again.Generation != 0 || again.Parameters != nil || len(w.live()) != 0 {
		t.Errorf("a refused restart did something: %+v", again)
	}
	// What no step that runs would have is told with the rest.
	err = restart("sum", schedule.Values{Parameters: map[string]map[string]json.RawMessage{"load": {"day": json.RawMessage(`"x"`)}, "gone": {"n": json.RawMessage("1")}, "sum": {"n": json.RawMessage("7")}}})
	if err == nil || strings.Count(err.Error(), "\n") != 2 || !strings.Contains(err.Error(), "no step \"gone\"") || !strings.Contains(err.Error(), "step load: it would not run again") || !strings.Contains(err.Error(), "step sum: n: 7 is over") {
		t.Errorf("several faults: %v", err)
	}
	w.refuse = problem.New(problem.Unavailable, "the store is away")
	if err := restart("sum", parameters("sum", "n", "2")); !problem.Is(err, problem.Unavailable) {
		t.Errorf("what is not a fault of the values: %v", err)
	}
	w.refuse = nil
	w.look(time.Minute)
	err = restart("sum", parameters("sum", "n", "2"))
	if want := []string{`users/ann/sum.ipynb version 3 {"n":2,"rows":5} strict true but for [n rows], partial false`}; err != nil || !slices.Equal(asked, want) {
		t.Errorf("%v, asked %q, want %q", err, asked, want)
	}
	if again := w.fires()[0]; !again.Started.Equal(w.now) || !again.Finished.IsZero() {
		t.Errorf("it took from %s to %s", again.Started, again.Finished) // not from when it first began
	}
	w.finishAll(run.Succeeded)
	// Restarts that change nothing ask nobody.
	if err := restart(schedule.FromBeginning, schedule.Values{}); err != nil || asked != nil {
		t.Errorf("%v, asked %q", err, asked)
	}
	again := w.fires()[0]
	if got := again.Reruns; len(got) != 2 || got[0].String() != "from step sum, with sum.n = 2 (was 1); had succeeded and not run again: load" || got[0].By != "ann" || got[1].String() != "from the beginning" {
		t.Errorf("its restarts are %v", got)
	}
}

// TestRestartWithValuesRefused: whose it is, what it is and how much, before anything
// is recorded.
func TestRestartWithValuesRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 2)
	w.apply(twoSteps)
	w.look(time.Hour)
	f := w.fires()[0]
	restart := func(u auth.User, fire string, values schedule.Values) error {
		_, err := w.servers[0].Restart(t.Context(), u, "s", fire, schedule.FromBeginning, values)
		return err
	}
	one := parameters("load", "day", `"x"`)
	if err := restart(ann, f.ID, one); !problem.Is(err, problem.Conflict) {
		t.Errorf("one that runs: %v", err)
	}
	w.finishAll(run.Failed)
	for _, tt := range []struct {
		name   string
		user   auth.User
		fire   string
		values schedule.Values
		kind   problem.Kind
	}{
		{"somebody else", auth.User{Name: "bob"}, f.ID, one, problem.Denied},
		{"nobody", auth.User{}, f.ID, one, problem.Denied},
		{"no such fire", ann, "nowhere", one, problem.NotFound},
		{"too much", ann, f.ID, parameters("load", "day", `"`+strings.Repeat("x", 65<<10)+`"`), problem.TooLarge},
		{"no such step", ann, f.ID, parameters("gone", "day", `1`), problem.Invalid},
	} {
		if err := restart(tt.user, tt.fire, tt.values); !problem.Is(err, tt.kind) {
			t.Errorf("%s: %v, want %s", tt.name, err, tt.kind)
		}
	}
	// Somebody else runs it again while the values are looked at.
	w.check = func(run.Request) error {
		w.check = nil
		_, err := w.servers[1].Restart(t.Context(), ann, "s", f.ID, schedule.FromBeginning, schedule.Values{})
		if err == nil {
			_, err = w.servers[1].StopFire(t.Context(), ann, "s", f.ID)
		}
		return err
	}
	if err := restart(ann, f.ID, one); !problem.Is(err, problem.Conflict) {
		t.Errorf("two at once: %v", err)
	}
	if f := w.fires()[0]; len(f.Reruns) != 1 || f.Parameters != nil {
		t.Errorf("it is %+v", f)
	}
}

// TestRestartOfWhatNeverBegan: a fire that was skipped runs by the definition of now,
// with the values that it is given.
func TestRestartOfWhatNeverBegan(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	w.apply("catchUp: none\n" + hourly + "\ninputs: {n: 1, day: \"{{ ds }}\"}\nnotebook: users/ann/a.ipynb\nparameters: {n: \"{{ inputs.n }}\", day: \"{{ inputs.day }}\"}")
	w.look(90 * time.Minute)
	w.want("01:00 skipped")
	f, err := w.servers[0].Restart(t.Context(), ann, "s", w.fires()[0].ID, schedule.FromFailed, schedule.Values{Inputs: map[string]json.RawMessage{"n": json.RawMessage("2")}})
	if err != nil || string(f.Tasks[0].Parameters) != `{"day":"2026-03-07","n":2}` {
		t.Fatalf("%+v, %v", f.Tasks, err)
	}
	w.finishAll(run.Succeeded)
	w.want("01:00 succeeded")
	if f := w.fires()[0]; len(f.Reruns) != 1 || f.Reruns[0].String() != "from what failed, with n = 2" {
		t.Errorf("its restarts are %v", f.Reruns)
	}
	// What a fire remembers of its restarts is bounded.
	for range 25 {
		if _, err := w.servers[0].Restart(t.Context(), ann, "s", f.ID, schedule.FromBeginning, schedule.Values{}); err != nil {
			t.Fatal(err)
		}
		w.finishAll(run.Succeeded)
	}
	if f := w.fires()[0]; len(f.Reruns) != 20 || f.Reruns[19].Generation != 25 || string(f.Tasks[0].Parameters) != `{"day":"2026-03-07","n":2}` {
		t.Errorf("%d restarts, the last %+v; it was given %s", len(f.Reruns), f.Reruns[len(f.Reruns)-1], f.Tasks[0].Parameters)
	}
}

// TestSpan: the ends of a backfill are of the schedule's zone, a date is all of its day.
func TestSpan(t *testing.T) {
	t.Parallel()
	d := schedule.Definition{Zone: "America/New_York"}
	for _, tt := range []struct{ from, to, want string }{
		{"2026-03-07", "2026-03-08", "2026-03-07T05:00:00Z 2026-03-09T03:59:59Z"}, // a day of 23 hours
		{"2026-03-07T06:00", "2026-03-07 18:30", "2026-03-07T11:00:00Z 2026-03-07T23:30:00Z"},
		{"2026-03-07T06:00:00Z", "2026-03-07T18:30:00+02:00", "2026-03-07T06:00:00Z 2026-03-07T16:30:00Z"},
		{"March", "2026-03-08", `from: "March": want a time such as`},
		{"2026-03-08", "2026-02-30", `to: "2026-02-30": want a time such as`},
	} {
		from, to, err := d.Span(tt.from, tt.to)
		got := from.Format(time.RFC3339) + " " + to.Format(time.RFC3339)
		if err != nil {
			got = err.Error()
		}
		if !strings.HasPrefix(got, tt.want) {
			t.Errorf("%s to %s: %s, want %s", tt.from, tt.to, got, tt.want)
		}
	}
}

func TestDeadlines(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		d    schedule.Definition
		want string
	}{
		{schedule.Definition{}, ""},
		{schedule.Definition{DoneWithinSeconds: 3600}, "is late when it is not over 1 hour after its slot"},
		{schedule.Definition{DoneWithinSeconds: 5400, DoneBy: "07:00 Europe/Paris", LongSeconds: 20}, "is late when it is not over 90 minutes after its slot or by 07:00 Europe/Paris, and runs long after 20 seconds"},
		{schedule.Definition{LongSeconds: 60}, "runs long after 1 minute"},
	} {
		if got := tt.d.Deadlines(); got != tt.want {
			t.Errorf("%q, want %q", got, tt.want)
		}
	}
}

// TestNotebookWithoutFolder: who names a notebook alone is told what its path is.
func TestNotebookWithoutFolder(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	w.refuse = problem.New(problem.NotFound, "opening load.ipynb: it does not exist")
	for notebook, want := range map[string]string{"load.ipynb": "it does not exist: want its whole path, such as users/ann/load.ipynb", "users/ann/load.ipynb": "it does not exist"} {
		_, _, err := w.servers[0].Apply(t.Context(), ann, []byte("schedule: 1\nname: s\nnotebook: "+notebook))
		if err == nil || !strings.HasSuffix(err.Error(), want) {
			t.Errorf("%s: %v, want %s", notebook, err, want)
		}
	}
}

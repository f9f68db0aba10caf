package schedule

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"
)

const fullText = `schedule: 1
name: nightly
timezone: America/New_York
triggers:
  - cron: "30 2 * * *"
  - every: 6h
except: [12-25, 2026-12-30..2026-12-31]
strategy: parallel
parallel: 3
catchUp: all
window: 2d
doneWithin: 90m
steps:
  - name: extract
    notebook: users/ann/extract.ipynb
    parameters: {day: "{{ ds - 1d }}", n: 3}
    retries: {notebook: 2, timeout: 1, wait: 5s, backoff: exponential}
  - name: load
    notebook: users/ann/load.ipynb
    source: latest
    after: [extract]
    foreach: "{{ steps.extract.files }}"
    parallel: 2
    parameters:
      file: "{{ item }}"
`

func TestRead(t *testing.T) {
	t.Parallel()
	d, faults := Read([]byte(fullText))
	if len(faults) > 0 {
		t.Fatal(faults)
	}
	load, _ := d.step("load")
	if d.Name != "nightly" || len(d.Triggers) != 2 || d.Triggers[1].EverySeconds != 6*3600 || d.WindowSeconds != 2*86400 ||
		d.Parallel != 3 || load.Source != Latest || string(load.Foreach) != `"{{ steps.extract.files }}"` {
		t.Errorf("read as %+v", d)
	}
	data, err := json.Marshal(d)
	if err != nil {
		t.Fatal(err)
	}
	if want := `"parameters":{"day":"{{ ds - 1d }}","n":3}`; !strings.Contains(string(data), want) {
		t.Errorf("%s, want %s in it", data, want)
	}
}

// TestBadDefinitions: every fault is told, with its line.
func TestBadDefinitions(t *testing.T) {
	t.Parallel()
	const head = "schedule: 1\nname: a\n"
	for _, tt := range []struct{ name, text, want string }{
		{"empty", "", "line 1: want a mapping"},
		{"not yaml", "a: [", "line 1: not YAML"},
		{"a list", "- a", "line 1: want a mapping"},
		{"no format", "name: a\nnotebook: a.ipynb", "schedule: 1\" is missing"},
		{"a newer format", "schedule: 2\nname: a\nnotebook: a.ipynb", "line 1: schedule: want a whole number from 1 to 1"},
		{"nothing to run", head, "there is nothing to run"},
		{"an unknown key", head + "notebok: a.ipynb", "line 3: a definition has no \"notebok\": did you mean notebook?"},
		{"snake case", head + "notebook: a.ipynb\ncatch_up: all", "line 4: a definition has no \"catch_up\": did you mean catchUp?"},
		{"a key twice", head + "notebook: a.ipynb\nnotebook: b.ipynb", "line 4: \"notebook\" is there twice"},
		{"a bad name", "schedule: 1\nname: A b\nnotebook: a.ipynb", "name: want 1 to 63"},
		{"a bad cron", head + "notebook: a.ipynb\ntriggers:\n  - cron: 0 25 * * *", "line 5: cron \"0 25 * * *\": character 3: hour: 25 is out of range"},
		{"February 30", head + "notebook: a.ipynb\ntriggers:\n  - cron: 0 0 30 2 *", "line 5: cron \"0 0 30 2 *\": character 5: this never fires"},
		{"a bad zone", head + "timezone: Mars/Base\nnotebook: a.ipynb", "line 3: timezone: time zone \"Mars/Base\" is not known"},
		{"a bad interval", head + "notebook: a.ipynb\ntriggers:\n- every: 0s", "line 5: every: at least 1 s"},
		{"two kinds", head + "notebook: a.ipynb\ntriggers:\n- {every: 5s, cron: \"@daily\"}", "line 5: a trigger is one of"},
		{"a bad strategy", head + "notebook: a.ipynb\nstrategy: fast", "line 4: strategy: \"fast\": want one of"},
		{"not a notebook", head + "notebook: a.py", "want the path of an .ipynb file"},
		{"both", head + "notebook: a.ipynb\nsteps:\n- {name: x, notebook: x.ipynb}", "notebook or steps, not both"},
		{"unknown step", head + "steps:\n- {name: x, notebook: x.ipynb, after: [y]}", "line 4: step x: after: there is no step \"y\""},
		{"a cycle", head + "steps:\n- {name: x, notebook: x.ipynb, after: [z]}\n- {name: y, notebook: x.ipynb, after: [x]}\n- {name: z, notebook: x.ipynb, after: [y]}", "line 4: step x waits for itself: x after z after y after x"},
		{"steps alike", head + "steps:\n- {name: x, notebook: x.ipynb}\n- {name: x, notebook: x.ipynb}", "line 5: two steps are called \"x\""},
		{"unknown expression", head + "notebook: a.ipynb\nparameters: {a: \"{{ today }}\"}", "{{ today }}: it is not known"},
		{"outputs of no step", head + "notebook: a.ipynb\nparameters: {a: \"{{ steps.x.y }}\"}", "of a step that this one comes after"},
		{"a bad shift", head + "notebook: a.ipynb\nparameters: {a: \"{{ ds - day }}\"}", "want a step in time"},
		{"a bad form", head + "notebook: a.ipynb\nparameters: {a: \"{{ ds | %Q }}\"}", "%Q is not known"},
		{"item without foreach", head + "notebook: a.ipynb\nparameters: {a: \"{{ item }}\"}", "only in the parameters of a step with foreach"},
		{"aliases", head + "notebook: a.ipynb\nparameters: &a {b: *a}", "aliases and anchors"},
		{"a bad date", head + "notebook: a.ipynb\nexcept: [2026-02-30]", "want a date such as"},
		{"window", head + "notebook: a.ipynb\nwindow: 1d", "window goes with catchUp: all"},
		{"not a number", head + "notebook: a.ipynb\nparameters: {a: .nan}", ".nan cannot be a parameter"},
		{"too long", strings.Repeat("#", MaxText+1), "at most 256 KiB"},
	} {
		_, faults := Read([]byte(tt.text))
		if got := fmt.Sprint(faults); !strings.Contains(got, tt.want) {
			t.Errorf("%s: %s, want %q", tt.name, got, tt.want)
		}
	}
	_, faults := Read([]byte(head + "notebook: a.ipynb\nstrategy: fast\ntriggers: 5\nfoo: 1"))
	if len(faults) != 3 || faults[0].Line != 4 || faults[2].Line != 6 {
		t.Errorf("want three faults in order of their lines: %v", faults)
	}
}

func TestExpressions(t *testing.T) {
	t.Parallel()
	d, faults := Read([]byte(fullText))
	if len(faults) > 0 {
		t.Fatal(faults)
	}
	table, err := d.Timetable()
	if err != nil {
		t.Fatal(err)
	}
	e := env{
		schedule: "nightly", table: table, slot: time.Date(2026, 3, 31, 3, 30, 0, 0, time.UTC), item: json.RawMessage(`{"a":{"b":[1]}}`),
		outputs: map[string]map[string]json.RawMessage{"extract": {"files": json.RawMessage(`["x","y"]`), "n": json.RawMessage("7")}},
	}
	for _, tt := range []struct{ in, want string }{
		{`"plain"`, `"plain"`},
		{`"{{ ds }}"`, `"2026-03-30"`}, // 23:30 in New York
		{`"{{ds-1d}}"`, `"2026-03-29"`},
		{`"{{ ds - 1mo }}"`, `"2026-02-28"`},
		{`"{{ ds_nodash + 2d }}"`, `"20260401"`},
		{`"{{ slot | %Y/%m/%d/%H%M }}"`, `"2026/03/30/2330"`},
		{`"{{ ts }}"`, `"2026-03-30T23:30:00-04:00"`},
		{`"{{ slot | %s }}"`, `"1774927800"`},
		{`"{{ month_start }} to {{ month_end }}"`, `"2026-03-01 to 2026-03-31"`},
		{`"{{ next }}"`, `"2026-03-31T02:00:00-04:00"`},
		{`{"a":["{{ steps.extract.files }}",12345678901234567890]}`, `{"a":[["x","y"],12345678901234567890]}`},
		{`"{{ steps.extract.n }} rows"`, `"7 rows"`},
		{`"{{ item.a.b }}"`, `[1]`},
		{`"{{ schedule }}"`, `"nightly"`},
	} {
		got, err := e.fill(json.RawMessage(tt.in))
		if err != nil || string(got) != tt.want {
			t.Errorf("%s is %s, %v; want %s", tt.in, got, err, tt.want)
		}
	}
	if _, err := e.fill(json.RawMessage(`"{{ steps.extract.gone }}"`)); err == nil {
		t.Error("a value that was not recorded is filled in")
	}
}

func TestTimetable(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ name, text, from, want string }{
		{"two triggers", "triggers: [{cron: 0 6 * * *}, {every: 12h}]", "2026-11-24T00:00:00Z", "2026-11-24T06:00:00Z 2026-11-24T12:00:00Z 2026-11-25T00:00:00Z 2026-11-25T06:00:00Z"},
		{"an interval from a time", "triggers: [{every: 7m, from: 2026-01-01T00:03}]", "2026-01-01T00:00:00Z", "2026-01-01T00:03:00Z 2026-01-01T00:10:00Z"},
		{"once", "timezone: Europe/Berlin\ntriggers: [{at: 2026-12-01T06:00}]", "2026-01-01T00:00:00Z", "2026-12-01T05:00:00Z -"},
		{"holidays", "timezone: Europe/Berlin\nexcept: [12-25, 2026-12-27..2026-12-29]\ntriggers: [{cron: 0 0 * * *}]", "2026-12-23T12:00:00Z", "2026-12-23T23:00:00Z 2026-12-25T23:00:00Z 2026-12-29T23:00:00Z"},
		{"start and end", "start: 2026-01-02\nend: 2026-01-03\ntriggers: [{cron: 0 0 * * *}]", "2025-01-01T00:00:00Z", "2026-01-02T00:00:00Z 2026-01-03T00:00:00Z -"},
		{"the same instant twice is once", "triggers: [{every: 1h}, {cron: 0 * * * *}]", "2026-01-01T00:00:00Z", "2026-01-01T01:00:00Z 2026-01-01T02:00:00Z"},
		{"none", "", "2026-01-01T00:00:00Z", "-"},
	} {
		d, faults := Read([]byte("schedule: 1\nname: a\nnotebook: a.ipynb\n" + tt.text))
		if len(faults) > 0 {
			t.Fatal(tt.name, faults)
		}
		table, err := d.Timetable()
		if err != nil {
			t.Fatal(err)
		}
		at := mustTime(t, tt.from)
		for want := range strings.FieldsSeq(tt.want) {
			next, ok := table.Next(at)
			got := next.Format(time.RFC3339)
			if !ok {
				got = "-"
			}
			if got != want {
				t.Fatalf("%s: after %v: %s, want %s", tt.name, at, got, want)
			}
			if prev, found := table.Prev(next.Add(1)); ok && (!found || !prev.Equal(next)) {
				t.Errorf("%s: the last slot until %v is %v", tt.name, next, prev)
			}
			at = next
		}
	}
}

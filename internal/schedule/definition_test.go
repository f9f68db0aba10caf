package schedule

import (
	"encoding/json"
	"fmt"
	"slices"
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
		{"a zone in a trigger", head + "notebook: a.ipynb\ntriggers:\n- cron: 0 6 * * *\n  timezone: Europe/Berlin", "line 6: a trigger has no \"timezone\": it stands at the top of the definition, beside name (line 2): timezone: Europe/Berlin"},
		{"a zone in a trigger and at the top", head + "notebook: a.ipynb\ntimezone: UTC\ntriggers:\n- {cron: 0 6 * * *, tz: Europe/Berlin}", "line 6: a trigger has no \"tz\": it stands at the top of the definition, beside name, where line 4 has it"},
		{"a start in a trigger", head + "notebook: a.ipynb\ntriggers:\n- {every: 1h, start_date: 2026-01-01}", "line 5: a trigger has no \"start_date\": it stands at the top of the definition, beside name (line 2): start: 2026-12-01T06:00"},
		{"an end in a signal", head + "notebook: a.ipynb\ntriggers:\n- {schedule: b, end: 2026-01-01}", "line 5: a trigger has no \"end\": it stands at the top"},
		{"a cron at the top", head + "notebook: a.ipynb\ntriggers: []\nschedule_interval: \"@daily\"", "line 5: a definition has no \"schedule_interval\": it stands in an entry of triggers (line 4): {cron: \"0 6 * * *\"}"},
		{"a trigger's other name", head + "when:\n- {every: 1h}\nnotebook: a.ipynb", "line 3: a definition has no \"when\": did you mean triggers?"},
		{"a step's key at the top", head + "after: [x]\nsteps:\n- {name: x, notebook: x.ipynb}", "line 3: a definition has no \"after\": it stands in a step (line 4): after: [load]"},
		{"another name", head + "notebook: a.ipynb\ntz: Europe/Berlin", "line 4: a definition has no \"tz\": did you mean timezone?"},
		{"parameters in a trigger", head + "notebook: a.ipynb\ntriggers:\n- {every: 1h, params: {a: 1}}", "line 5: a trigger has no \"params\": it stands in a step, or at the top beside the one notebook (line 3): parameters: "},
		{"a count of retries", head + "notebook: a.ipynb\nretries: {count: 3}", "line 4: retries has no \"count\": did you mean notebook?"},
		{"a notebook in a trigger", head + "triggers:\n- {every: 1h, notebook: a.ipynb}", "line 4: a trigger has no \"notebook\": it stands in a step, or at the top beside the one notebook: notebook: users/ann/load.ipynb"},
		{"needs", head + "steps:\n- {name: x, notebook: x.ipynb}\n- {name: y, notebook: x.ipynb, depends_on: [x]}", "line 5: a step has no \"depends_on\": did you mean after?"},
		{"a key twice", head + "notebook: a.ipynb\nnotebook: b.ipynb", "line 4: \"notebook\" is there twice"},
		{"a bad name", "schedule: 1\nname: A b\nnotebook: a.ipynb", "name: want 1 to 63"},
		{"a bad cron", head + "notebook: a.ipynb\ntriggers:\n  - cron: 0 25 * * *", "line 5: cron \"0 25 * * *\": character 3: hour: 25 is out of range"},
		{"February 30", head + "notebook: a.ipynb\ntriggers:\n  - cron: 0 0 30 2 *", "line 5: cron \"0 0 30 2 *\": character 5: this never fires"},
		{"two sources", head + "notebook: a.ipynb\ntriggers:\n- {schedule: a, webhook: b}", "line 5: a signal is of one of schedule, webhook, file and table"},
		{"a source twice", head + "notebook: a.ipynb\ntriggers:\n- {schedule: a}\n- {schedule: a, when: failed}", "line 6: two triggers wait for schedule/a"},
		{"a bad pattern", head + "notebook: a.ipynb\ntriggers:\n- schedule: a\n  match: {ds: \"[\"}", "line 6: match: \"[\": want a pattern"},
		{"join of one", head + "notebook: a.ipynb\ntriggers:\n- {signals: [{schedule: a}], join: ds}", "line 5: join goes with signals"},
		{"an event of a clock", head + "notebook: a.ipynb\nparameters: {a: \"{{ event.ds }}\"}", "there is an event only where a trigger waits for signals"},
		{"a bad date", head + "notebook: a.ipynb\nexcept:\n- 12-25\n- xmas", "line 6: except: \"xmas\": want a date such as"},
		{"a bad calendar", head + "notebook: a.ipynb\nonly: holidays", "line 4: only: \"holidays\": want a date such as"},
		{"no date left", head + "notebook: a.ipynb\ntriggers: [{cron: 0 6 * * *}]\nonly: [business-days]\nexcept: [mon..fri]", "line 5: only and except leave no date"},
		{"a bad clock", head + "notebook: a.ipynb\ndoneBy: 25:00", "line 4: doneBy: \"25:00\": want a time of the day"},
		{"a bad clock's zone", head + "notebook: a.ipynb\ndoneBy: \"07:00 Europe/Pari\"", "line 4: doneBy: \"07:00 Europe/Pari\": time zone \"Europe/Pari\" is not known"},
		{"late without an end", head + "notebook: a.ipynb\nnotify:\n- {channel: a, on: [late]}", "line 5: notify: on: late goes with doneWithin or doneBy"},
		{"long without a time", head + "notebook: a.ipynb\nnotify:\n- {channel: a, on: [long-running]}", "line 5: notify: on: long-running goes with longRunning"},
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
		{"a bad shift", head + "notebook: a.ipynb\nparameters: {a: \"{{ ds - day }}\"}", "character 7: 'day' is not known"},
		{"a bad form", head + "notebook: a.ipynb\nparameters: {a: \"{{ ds | %Q }}\"}", "%Q is not known"},
		{"item without foreach", head + "notebook: a.ipynb\nparameters: {a: \"{{ item }}\"}", "only in the parameters of a step with foreach"},
		{"a condition of a step", head + "steps:\n- {name: x, notebook: x.ipynb}\n- name: y\n  notebook: y.ipynb\n  after: [x]\n  when: \"{{ steps.z.rows > 0 }}\"", "line 8: step y: when: {{ steps.z.rows > 0 }}: \"z\" is no step that this one comes after"},
		{"a condition that is a number", head + "steps:\n- name: x\n  notebook: x.ipynb\n  when: \"{{ 1 + 1 }}\"", "line 6: step x: when: {{ 1 + 1 }}: want an expression that is true or false"},
		{"a condition within a text", head + "steps:\n- {name: x, notebook: x.ipynb, when: \"a {{ true }}\"}", "want one expression and nothing else"},
		{"a type", head + "notebook: a.ipynb\nparameters:\n  b: 1\n  a: \"{{ size(ds) > 'a' }}\"", "line 6: step notebook: parameters: {{ size(ds) > 'a' }}: character 11: "},
		{"half an expression", head + "notebook: a.ipynb\nparameters: {a: \"{{ 1 + }}\"}", "{{ 1 + }}: character 6: it ends too early"},
		{"an open bracket", head + "notebook: a.ipynb\nparameters: {a: \"{{ (1 + 2 }}\"}", "character 9: missing ')' at its end"},
		{"a name near ours", head + "notebook: a.ipynb\nparameters: {a: \"{{ state('a') == 1 }}\"}", "'state' is not known"},
		{"an open expression", head + "notebook: a.ipynb\nparameters: {a: \"{{ ds\"}", "line 4: step notebook: parameters: \"{{ ds\": {{ is not closed"},
		{"states in parameters", head + "notebook: a.ipynb\nparameters: {a: \"{{ failed() }}\"}", "succeeded(), failed() and their like are for when"},
		{"a round without while", head + "notebook: a.ipynb\nparameters: {a: \"{{ round + 1 }}\"}", "there are round and last only in a step with while"},
		{"a branch to nowhere", head + "steps:\n- {name: x, branch: [{to: y}]}", "line 4: step x: branch: there is no step \"y\""},
		{"a branch that runs", head + "steps:\n- {name: x, foreach: [1], branch: [{to: y}]}\n- {name: y, notebook: x.ipynb}", "line 4: step x: a branch runs nothing"},
		{"two branches to one", head + "steps:\n- {name: x, branch: [{to: z}]}\n- {name: y, branch: [{to: z}]}\n- {name: z, notebook: x.ipynb}", "line 5: step y: branch: x goes to step z already"},
		{"a branch to before", head + "steps:\n- {name: x, notebook: x.ipynb}\n- {name: y, after: [x], branch: [{to: x}]}", "line 4: step x waits for itself"},
		{"a case after the last", head + "steps:\n- {name: x, branch: [{to: y}, {to: y, when: \"{{ true }}\"}]}\n- {name: y, notebook: x.ipynb}", "line 4: a case of branch without when is for all that is left"},
		{"rounds of nothing", head + "steps:\n- {name: x, notebook: x.ipynb, rounds: 5}", "line 4: step x: rounds and pause go with while"},
		{"an input without a value", head + "notebook: a.ipynb\ninputs: {a: null}\ntriggers: [{cron: 0 6 * * *}]", "inputs: a has no value when a trigger fires"},
		{"an input that is not there", head + "notebook: a.ipynb\ninputs: {a: 1}\nparameters: {a: \"{{ inputs.b }}\"}", "{{ inputs.b }}: it is no input: want one of a"},
		{"a schedule with a kernel", head + "steps:\n- {name: x, schedule: y, kernel: ir}", "line 4: step x: a schedule has kernels, timeouts and versions of its own"},
		{"a file outside", head + "notebook: a.ipynb\ntriggers:\n- file: /etc/passwd", "line 5: file: want a path that begins with users/"},
		{"a pattern of folders", head + "notebook: a.ipynb\ntriggers:\n- file: shared/*/a.csv", "line 5: file: a pattern such as *.csv stands in the last part"},
		{"a table's name", head + "notebook: a.ipynb\ntriggers:\n- table: a b", "line 5: table: want the name of a table"},
		{"aliases", head + "notebook: a.ipynb\nparameters: &a {b: *a}", "aliases and anchors"},
		{"sql and a notebook", head + "notebook: a.ipynb\nsql: SELECT 1", "line 1: step notebook: want one of notebook, template, sql, command, schedule and branch"},
		{"a connection of nothing", head + "notebook: a.ipynb\nconnection: warehouse", "line 1: step notebook: connection goes with sql"},
		{"a pasted value", head + "sql: SELECT '{{ ds }}'", "line 1: step notebook: sql: values are bound, not pasted: write :name"},
		{"a command's kernel", head + "command: make\nkernel: ir", "kernel goes with a notebook"},
		{"a command's source", head + "command: make\nsource: latest", "source goes with a notebook"},
		{"a command's parameter", head + "command: make\nparameters: {a-b: 1}", "\"a-b\" cannot be the name of a variable"},
		{"a word of Python", head + "command: make\nparameters: {class: 1}", "\"class\" cannot be the name of a variable"},
		{"secrets of SQL", head + "sql: SELECT 1\nsecrets: {a: b}", "line 1: step notebook: secrets go with a notebook, a template or a command"},
		{"secrets of a schedule", head + "steps:\n- {name: x, schedule: y, secrets: {a: b}}", "line 4: step x: secrets go with a notebook"},
		{"secrets that are none", head + "notebook: a.ipynb\nsecrets: [a]", "line 4: secrets: want a mapping of parameters and names of secrets"},
		{"a secret's parameter", head + "notebook: a.ipynb\nsecrets: {a-b: c}", "line 4: secrets: \"a-b\": want the name of a parameter"},
		{"a secret itself", head + "notebook: a.ipynb\nsecrets:\n  token: hunter-2!", "line 5: secrets: token: want the name of a secret (quire secret ls), and never its value"},
		{"a command's secret", head + "command: make\nsecrets: {class: a}", "\"class\" cannot be the name of a variable"},
		{"faults in several places", head + "triggers: [{cron: 0 0 30 2 *}]\nsteps:\n- {name: x, notebook: x.ipynb, after: [y]}", "line 5: step x: after: there is no step \"y\""},
		{"a long command", head + "command: " + strings.Repeat("x", maxWritten+1), "at most 64 KiB"},
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

// TestHomes: the example of each key is read where it is said to stand.
func TestHomes(t *testing.T) {
	t.Parallel()
	const head = "schedule: 1\nname: a\n"
	for _, h := range homes {
		text := head + h.example
		switch {
		case slices.Equal(h.place.near, inTrigger.near):
			text = head + "triggers: [" + h.example + "]"
		case slices.Equal(h.place.near, ofStep.near):
			text = head + "steps:\n- {name: load, notebook: a.ipynb}\n- name: b\n  notebook: a.ipynb\n  " + h.example
		}
		if _, faults := Read([]byte(text)); strings.Contains(fmt.Sprint(faults), " has no ") || !strings.Contains(h.example, h.key+":") {
			t.Errorf("%s: %s: %v", h.key, h.example, faults)
		}
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
		outputs: map[string]map[string]json.RawMessage{"extract": {"files": json.RawMessage(`["x","y"]`), "n": json.RawMessage("7"), "big": json.RawMessage(`"` + strings.Repeat("x", 5000) + `"`)}},
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
		{`"{{ interval_start }} {{ interval_end }}"`, `"2026-03-30T20:00:00-04:00 2026-03-30T23:30:00-04:00"`},
		{`"{{ steps.extract.n + 1 }}"`, `8`},
		{`"{{ steps.extract.n * 1.5 }}"`, `10.5`},
		{`"{{ steps.extract.n / 2 }} {{ steps.extract.n - 1 }}"`, `"3 6"`},
		{`"{{ size(steps.extract.files) > 1 ? 'many' : 'few' }}"`, `"many"`},
		{`"{{ steps.extract.files.map(f, {'f': f + '}}', 'day': ds - 1d}) }}"`, `[{"day":"2026-03-29","f":"x}}"},{"day":"2026-03-29","f":"y}}"}]`},
		{`"{{ steps.extract.?gone.orValue('-') }}{{ has(steps.extract.n) }}"`, `"-true"`},
		{`"{{ 'dt=' + ds_nodash - 1mo }}"`, `"dt=20260228"`},
		{`"{{ dates(ds - 2d, ds - 1d) }}"`, `["2026-03-28","2026-03-29"]`},
		{`"{{ shift('2026-01-31', '+ 1mo') | %d.%m.%Y }}"`, `"28.02.2026"`},
		{`"{{ item.a.b[0] == 1 && 2.0 > 1 }}"`, `true`},
		{`"{{ item.a.b }}!"`, `"[1]!"`},
		{`"{{ '{{ ds }}' + \"}}\" }}"`, `"{{ ds }}}}"`},
		{`"{{ timestamp(ts).getHours('America/New_York') }}"`, `23`},
		{`"{{ timestamp(ts) + duration('1h') }}"`, `"2026-03-31T00:30:00-04:00"`},
		{`"{{ ['a', 'b'].join('-').split('-') }}"`, `["a","b"]`},
		{`"{{ {'k': null} }}"`, `{"k":null}`},
	} {
		got, err := e.fill(json.RawMessage(tt.in))
		if err != nil || string(got) != tt.want {
			t.Errorf("%s is %s, %v; want %s", tt.in, got, err, tt.want)
		}
	}
	for _, tt := range []struct{ in, want string }{
		{`"{{ steps.extract.gone }}"`, "recorded no"},
		{`"{{ steps.extract.gone + 1 }}"`, "there is no gone"},
		{`"{{ steps.extract.n / 0 }}"`, "division by zero"},
		{`"{{ shift(ds, '2h') }}"`, "want a step in time"},
		{`"{{ [1,2,3,4,5,6,7,8,9].map(a, [1,2,3,4,5,6,7,8,9].map(b, [1,2,3,4,5,6,7,8,9].map(c, [1,2,3,4,5,6,7,8,9].map(d, [1,2,3,4,5,6,7,8,9].map(e, a+b+c+d+e))))) }}"`, "cost limit exceeded"},
		{`"{{ size(steps.extract.big.split('').map(a, steps.extract.big.split('').join('-'))) }}"`, "cost limit exceeded"},
		{`"{{ dates('1000-01-01', ds) }}"`, "dates: more than"},
		{`"{{ b'x' }}"`, "no value of JSON"},
		{`"{{ 0.0 / 0.0 }}"`, "no number of JSON"},
	} {
		if got, err := e.fill(json.RawMessage(tt.in)); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s is %s, %v; want the error %q", tt.in, got, err, tt.want)
		}
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

package engine

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"quire/internal/notebook"
	"quire/internal/parameter"
	"quire/internal/problem"
)

// A realCase runs cells on a Python kernel and looks at what comes out.
type realCase struct {
	name     string
	cells    []string // "tag,tag:::source", "md:::text" for markdown
	req      Request
	status   Status
	limits   map[int]string // metadata.quire.timeoutSeconds of cells
	statuses []string       // papermill status of each cell, markers left out
	exc      any            // metadata.papermill.exception
	check    func(t *testing.T, res *Result, out *notebook.Notebook)
}

const (
	done    = "completed"
	failed  = "failed"
	pending = "pending"
)

// papermillCases are the notebooks of Papermill's own tests, written anew, with
// what its tests assert.
var papermillCases = []realCase{
	{
		name: "broken1", cells: []string{
			"md,papermill-error-cell-tag:::<span>old marker</span>", "md:::one", "md,papermill-error-cell-tag:::<span>old</span>",
			"print('fine')", "md:::two", "md:::three", "assert False", "print('not reached')",
		},
		status: Failed, exc: true, statuses: []string{done, done, done, done, failed, pending},
		check: func(t *testing.T, res *Result, out *notebook.Notebook) {
			top := regexp.MustCompile(`^<span .*<a href="#papermill-error-cell".*In \[2\].*</span>$`)
			anchor := regexp.MustCompile(`^<span id="papermill-error-cell" .*</span>$`)
			if !top.MatchString(out.Cells[0].Source) || !anchor.MatchString(out.Cells[5].Source) {
				t.Errorf("markers %q and %q", out.Cells[0].Source, out.Cells[5].Source)
			}
			if out.Cells[0].Tags()[0] != errorMarkerTag || len(out.Cells) != 8 {
				t.Errorf("%d cells, marker tags %v", len(out.Cells), out.Cells[0].Tags())
			}
			if *out.Cells[2].ExecutionCount != 1 || *out.Cells[6].ExecutionCount != 2 || out.Cells[7].ExecutionCount != nil {
				t.Error("execution counts differ")
			}
			if out.Cells[6].Outputs[0].Ename != "AssertionError" || res.Error.Index != 6 || res.Error.Cell != 5 {
				t.Errorf("error %+v", *res.Error)
			}
		},
	},
	{
		name: "broken2", cells: []string{"print('fine')", "from IPython.display import display, Markdown\ndisplay(Markdown('x'))\nassert False", "1"},
		status: Failed, exc: true, statuses: []string{done, failed, pending},
		check: func(t *testing.T, _ *Result, out *notebook.Notebook) {
			types := []notebook.OutputType{out.Cells[3].Outputs[0].Type, out.Cells[3].Outputs[1].Type}
			if types[0] != notebook.DisplayData || types[1] != notebook.ErrorOutput {
				t.Errorf("outputs %v", types)
			}
		},
	},
	{name: "sysexit", cells: []string{"import sys", "sys.exit()", "print(1)"}, status: Stopped, statuses: []string{done, done, pending}, check: exits("")},
	{name: "sysexit0", cells: []string{"import sys", "sys.exit(0)", "print(1)"}, status: Stopped, statuses: []string{done, done, pending}, check: exits("0")},
	{name: "systemexit", cells: []string{"import sys", "raise SystemExit", "print(1)"}, status: Stopped, statuses: []string{done, done, pending}, check: exits("")},
	{
		name: "sysexit1", cells: []string{"import sys", "sys.exit(1)", "print(1)"}, status: Failed, exc: true,
		statuses: []string{done, failed, pending},
		check: func(t *testing.T, res *Result, out *notebook.Notebook) {
			if o := out.Cells[3].Outputs[0]; o.Ename != "SystemExit" || res.Error.Evalue != "1" {
				t.Errorf("error %v, result %v", o, res.Error)
			}
		},
	},
	{
		name: "line_magic_error", cells: []string{"%undefined-line-magic", "print(1)"}, status: Failed, exc: true,
		statuses: []string{failed, pending},
		check: func(t *testing.T, _ *Result, out *notebook.Notebook) {
			if !strings.Contains(out.Cells[0].Source, "In [1]") || *out.Cells[2].ExecutionCount != 1 || out.Cells[3].ExecutionCount != nil {
				t.Errorf("marker %q", out.Cells[0].Source)
			}
		},
	},
	{
		name: "report mode", cells: []string{"parameters:::a = 1\nb = 1", "print(a)"},
		req: Request{ReportMode: true, Parameters: params("a", 0)}, status: Succeeded, statuses: []string{done, done, done},
		check: func(t *testing.T, _ *Result, out *notebook.Notebook) {
			for i, c := range out.Cells {
				if c.Metadata.Object("jupyter")["source_hidden"] != true {
					t.Errorf("cell %d shows its source", i)
				}
			}
		},
	},
	{
		name: "raises-exception", cells: []string{"raises-exception:::1/0", "raises-exception:::int('x')", "print(1)"},
		status: Failed, exc: true, statuses: []string{done, done, done},
		check: func(t *testing.T, res *Result, out *notebook.Notebook) {
			if res.Error.Ename != "ValueError" || !strings.Contains(out.Cells[0].Source, "In [2]") || res.Error.Index != 3 || res.Error.Cell != 2 {
				t.Errorf("error %+v, marker %q", res.Error, out.Cells[0].Source)
			}
		},
	},
	{
		name: "raises-exception allowed", cells: []string{"raises-exception:::1/0", "print(1)"},
		req: Request{AllowExpectedErrors: true}, status: Succeeded, statuses: []string{done, done},
	},
	{
		name: "skip-execution", cells: []string{"x = 1", "skip-execution:::1/0", "print(x)"},
		status: Succeeded, statuses: []string{done, done, done},
	},
	{
		name: "input", cells: []string{"input('name? ')"}, status: Failed, exc: true, statuses: []string{failed},
		check: func(t *testing.T, res *Result, _ *notebook.Notebook) {
			if res.Error.Ename != "StdinNotImplementedError" {
				t.Errorf("ename %s", res.Error.Ename)
			}
		},
	},
}

func exits(evalue string) func(*testing.T, *Result, *notebook.Notebook) {
	return func(t *testing.T, res *Result, out *notebook.Notebook) {
		o := out.Cells[1].Outputs[0]
		if o.Ename != "SystemExit" || o.Evalue != evalue || out.Cells[2].ExecutionCount != nil || res.Error != nil {
			t.Errorf("output %+v, error %v", o, res.Error)
		}
	}
}

// ownCases are what Papermill does not do, or does untruthfully.
var ownCases = []realCase{
	{
		name: "kernel death", cells: []string{"print('before', flush=True)\nimport os, signal\nos.kill(os.getpid(), signal.SIGKILL)", "1"},
		status: KernelDied, exc: true, statuses: []string{failed, pending},
		check: func(t *testing.T, res *Result, out *notebook.Notebook) {
			o := out.Cells[2].Outputs
			last := o[len(o)-1]
			if last.Ename != deadEname || !strings.Contains(last.Evalue, "SIGKILL") || !strings.Contains(res.Reason, "signal 9") {
				t.Errorf("output %+v, reason %q", last, res.Reason)
			}
		},
	},
	{
		name: "kernel exit", cells: []string{"import os; os._exit(3)"}, status: KernelDied, exc: true, statuses: []string{failed},
		check: func(t *testing.T, res *Result, _ *notebook.Notebook) {
			if !strings.Contains(res.Reason, "exited with code 3") {
				t.Errorf("reason %q", res.Reason)
			}
		},
	},
	{
		name: "timeout", cells: []string{"import time; time.sleep(60)", "1"}, req: Request{CellTimeout: 300 * time.Millisecond},
		status: TimedOut, exc: true, statuses: []string{failed, pending},
		check: func(t *testing.T, res *Result, out *notebook.Notebook) {
			if !strings.Contains(res.Reason, "timed out after 300ms") || out.Cells[2].Metadata.Object("quire")["reason"] != res.Reason {
				t.Errorf("reason %q, cell %v", res.Reason, out.Cells[2].Metadata["quire"])
			}
		},
	},
	{
		name: "timeout that cannot be interrupted", cells: []string{
			"1", "import signal, time\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\nwhile True: time.sleep(1)", "2",
		},
		limits: map[int]string{1: "3"}, req: Request{InterruptGrace: 300 * time.Millisecond}, status: TimedOut, exc: true,
		statuses: []string{done, failed, pending},
		check: func(t *testing.T, res *Result, _ *notebook.Notebook) {
			if !strings.Contains(res.Reason, "was killed") {
				t.Errorf("reason %q", res.Reason)
			}
		},
	},
	{
		name: "stop", cells: []string{"import quire\nquire.stop('nothing to do')", "1/0"}, status: Stopped, statuses: []string{done, pending},
		check: func(t *testing.T, res *Result, _ *notebook.Notebook) {
			if !strings.Contains(res.Reason, "nothing to do") {
				t.Errorf("reason %q", res.Reason)
			}
		},
	},
	{
		name: "records", cells: []string{"import quire\nquire.record('rows', 12)\nquire.record('name', 'x')"}, status: Succeeded, statuses: []string{done},
		check: func(t *testing.T, res *Result, out *notebook.Notebook) {
			got := fmt.Sprintf("%s=%s %s=%s", res.Records[0].Name, res.Records[0].Value, res.Records[1].Name, res.Records[1].Value)
			if got != `rows=12 name="x"` || out.Metadata.Object("quire")["records"] == nil {
				t.Errorf("records %s", got)
			}
		},
	},
	{
		name: "checks pass", cells: []string{"check:::1 < 2", "check:::assert True", "3"}, status: Succeeded, statuses: []string{done, done, done},
		check: func(t *testing.T, res *Result, _ *notebook.Notebook) {
			if len(res.Checks) != 2 || !res.Checks[0].Passed || !res.Checks[1].Passed {
				t.Errorf("checks %+v", res.Checks)
			}
		},
	},
	{
		name: "check is false", cells: []string{"check:::1 > 2", "check:::'b' > 'c'", "check:::True", "print('never')"},
		status: Failed, exc: true, statuses: []string{failed, failed, done, pending},
		check: func(t *testing.T, res *Result, _ *notebook.Notebook) {
			if len(res.Checks) != 3 || res.Checks[0].Passed || res.Checks[1].Passed || !res.Checks[2].Passed || res.Error.Ename != checkEname {
				t.Errorf("checks %+v, error %v", res.Checks, res.Error)
			}
		},
	},
	{
		name: "check records false", cells: []string{"check:::import quire\nquire.record('fresh', False)"}, status: Failed, exc: true, statuses: []string{failed},
		check: func(t *testing.T, res *Result, _ *notebook.Notebook) {
			if !strings.Contains(res.Reason, "fresh") {
				t.Errorf("reason %q", res.Reason)
			}
		},
	},
	{
		name: "only tag", cells: []string{"parameters:::n = 1", "a:::n += 1", "b:::n += 10", "a:::print(n)"},
		req: Request{OnlyTags: []string{"a"}}, status: Succeeded, statuses: []string{done, done, pending, done},
		check: func(t *testing.T, res *Result, out *notebook.Notebook) {
			if out.Cells[3].Outputs[0].Text != "2\n" || res.Cells.Skipped != 1 {
				t.Errorf("printed %q, counts %+v", out.Cells[3].Outputs[0].Text, res.Cells)
			}
		},
	},
	{
		name: "skip tag", cells: []string{"n = 1", "slow:::n = 9", "print(n)"}, req: Request{SkipTags: []string{"slow"}},
		status: Succeeded, statuses: []string{done, pending, done},
		check: func(t *testing.T, _ *Result, out *notebook.Notebook) {
			if out.Cells[2].Outputs[0].Text != "1\n" {
				t.Errorf("printed %q", out.Cells[2].Outputs[0].Text)
			}
		},
	},
	{
		name: "clear_output and display updates", cells: []string{
			"from IPython.display import display, clear_output\nh = display('first', display_id='d')\nprint('gone')\nclear_output()\nh.update('second')\nprint('kept')",
			"display('third', display_id='e')\nprint('old')\nclear_output(wait=True)\nprint('new')",
			"for i in range(3): display(i, display_id='p')",
		},
		status: Succeeded, statuses: []string{done, done, done},
		check: func(t *testing.T, _ *Result, out *notebook.Notebook) {
			if got := texts(out.Cells[0]); !slices.Equal(got, []string{"'second'", "kept\n"}) {
				t.Errorf("cell 1 shows %q", got)
			}
			if got := texts(out.Cells[1]); !slices.Equal(got, []string{"new\n"}) {
				t.Errorf("cell 2 shows %q", got)
			}
			if got := texts(out.Cells[2]); !slices.Equal(got, []string{"2", "2", "2"}) {
				t.Errorf("cell 3 shows %q", got)
			}
		},
	},
	{
		name: "update of an earlier cell", cells: []string{
			"from IPython.display import display\nh = display('a', display_id=True)", "h.update('b')",
		},
		status: Succeeded, statuses: []string{done, done},
		check: func(t *testing.T, _ *Result, out *notebook.Notebook) {
			if got := texts(out.Cells[0]); !slices.Equal(got, []string{"'b'"}) || len(out.Cells[1].Outputs) != 0 {
				t.Errorf("cell 1 shows %q", got)
			}
		},
	},
	{
		name: "too much output", cells: []string{"print('x' * 2000)\nprint('y' * 2000)", "from IPython.display import HTML\nHTML('z' * 5000)"},
		req: Request{MaxOutput: 1500}, status: Succeeded, statuses: []string{done, done},
		check: func(t *testing.T, res *Result, out *notebook.Notebook) {
			dir := strings.TrimSuffix(res.Output, ".ipynb") + ".outputs"
			text, err := os.ReadFile(filepath.Join(dir, "cell-1.stdout.txt"))
			if err != nil || string(text) != strings.Repeat("x", 2000)+"\n"+strings.Repeat("y", 2000)+"\n" {
				t.Errorf("overflow file: %d bytes, %v", len(text), err)
			}
			if got := texts(out.Cells[0]); len(got) != 1 || !strings.Contains(got[0], "out.outputs/cell-1.stdout.txt") {
				t.Errorf("notice %q", got)
			}
			if text, err := os.ReadFile(filepath.Join(dir, "cell-2.outputs.jsonl")); err != nil || !strings.Contains(string(text), "zzzz") {
				t.Errorf("overflow file of displays: %v", err)
			}
		},
	},
	{
		name: "NaN output", cells: []string{"from IPython.display import display\ndisplay({'application/json': {'x': float('nan'), 1: 2}, 'text/plain': 'n'}, raw=True)"},
		status: Succeeded, statuses: []string{done},
	},
	{
		name: "NaN and mixed-key parameters", cells: []string{"parameters:::x = d = None", "print(x != x, d)"},
		req: Request{Parameters: func() parameter.Set {
			s := params("x", nan())
			s.Put("d", parameter.Dict(parameter.Field{Key: parameter.Int(1), Value: parameter.Int(2)}, parameter.Field{Key: parameter.String("a"), Value: parameter.Int(3)}))
			return s
		}()},
		status: Succeeded, statuses: []string{done, done, done},
		check: func(t *testing.T, _ *Result, out *notebook.Notebook) {
			if got := texts(out.Cells[2])[0]; !strings.HasPrefix(got, "True {") {
				t.Errorf("printed %q", got)
			}
		},
	},
	{
		name: "late output of a thread", cells: []string{
			"import threading, time\nev = threading.Event()\ndef late():\n    ev.wait(10)\n    print('late', flush=True)\nt = threading.Thread(target=late); t.start()",
			"ev.set(); t.join(); time.sleep(0.3)", "print('end')",
		},
		status: Succeeded, statuses: []string{done, done, done},
		check: func(t *testing.T, _ *Result, out *notebook.Notebook) {
			all := strings.Join(append(texts(out.Cells[0]), texts(out.Cells[1])...), "")
			if !strings.Contains(all, "late") {
				t.Errorf("the late line is lost: %q", all)
			}
		},
	},
}

func nan() float64 { zero := 0.0; return zero / zero }

// texts are a cell's outputs as text.
func texts(c *notebook.Cell) []string {
	var all []string
	for _, o := range c.Outputs {
		switch {
		case o.Type == notebook.Stream:
			all = append(all, o.Text)
		case o.Type == notebook.ErrorOutput:
			all = append(all, o.Ename)
		default:
			text, _ := o.Data["text/plain"].(string)
			all = append(all, text)
		}
	}
	return all
}

func testCase(t *testing.T, kernelName string, tt realCase) {
	nb := book(kernelName, tt.cells...)
	for i, seconds := range tt.limits {
		nb.Cells[i].Metadata["quire"] = notebook.Object{"timeoutSeconds": notebook.Number(seconds)}
	}
	res, out, _ := runReal(t, nb, tt.req)
	if res.Status != tt.status {
		t.Fatalf("status %s (%s), want %s", res.Status, res.Reason, tt.status)
	}
	if diff := cmp.Diff(tt.statuses, statuses(out)); diff != "" {
		t.Errorf("cell states (-want +got):\n%s", diff)
	}
	if got := out.Metadata.Object("papermill")["exception"]; got != tt.exc {
		t.Errorf("metadata.papermill.exception %v, want %v", got, tt.exc)
	}
	if environment := out.Metadata.Object("quire").Object("environment"); res.Lock == "" || environment["lock"] != res.Lock {
		t.Errorf("the lock of the environment is %q, in the notebook %v", res.Lock, environment["lock"])
	}
	if got := out.Metadata.Object("quire")["status"]; got != string(tt.status) {
		t.Errorf("metadata.quire.status %v, want %v", got, tt.status)
	}
	if tt.check != nil && !t.Failed() {
		tt.check(t, res, out)
	}
}

// testInterrupt ends a run from outside.
func testInterrupt(t *testing.T, name string) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	nb := book(name, "print('one')", "import time\nprint('two', flush=True)\ntime.sleep(60)", "print('three')")
	path := filepath.Join(t.TempDir(), "out.ipynb")
	res, err := Run(ctx, Request{
		Source: nb, OutputPath: path, Output: NewFile(path, FileOptions{}),
		Events: func(e Event) {
			if e.Type == EventOutput && strings.HasPrefix(e.Text, "two") {
				cancel()
			}
		},
	})
	if err != nil || res.Status != Interrupted {
		t.Fatalf("status %s, error %v", res.Status, err)
	}
	out := readBook(t, path)
	if diff := cmp.Diff([]string{done, failed, pending}, statuses(out)); diff != "" {
		t.Errorf("cell states (-want +got):\n%s", diff)
	}
	if got := out.Metadata.Object("quire")["status"]; got != "interrupted" {
		t.Errorf("status in the notebook %v", got)
	}
	if problem.KindOf(res.Err()) != problem.Canceled {
		t.Errorf("error %v", res.Err())
	}
}

// testSecrets looks for a secret in everything that a run leaves.
func testSecrets(t *testing.T, name string) {
	const secret = "p&ss'wörd-4711"
	var events strings.Builder
	nb := book(name, "parameters:::token = None", strings.Join([]string{
		"import sys, json, base64, urllib.parse, os, quire",
		"assert token == quire.secret('token')",
		"print(token); print(repr(token)); print(json.dumps(token))",
		"print(base64.b64encode(token.encode()).decode(), urllib.parse.quote(token, safe=''))",
		"sys.stdout.write(token[:5]); sys.stdout.flush(); sys.stdout.write(token[5:] + '!'); sys.stdout.flush()",
		"from IPython.display import display",
		"display({'application/json': {'k': token, token: 1}, 'text/html': '<b>' + token, 'text/plain': token}, raw=True)",
		"quire.record('leak', token)", "raise ValueError(token)",
	}, "\n"))
	res, out, path := runReal(t, nb, Request{
		Secrets: map[string]string{"token": secret},
		Events:  func(e Event) { fmt.Fprintf(&events, "%+v %v %v\n", e, e.Error, e.Record) },
	})
	if res.Status != Failed || res.Error.Ename != "ValueError" {
		t.Fatalf("status %s: %v", res.Status, res.Error)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	m := newMasker(map[string]string{"token": secret})
	for what, text := range map[string]string{
		"notebook": string(data), "events": events.String(), "result": fmt.Sprintf("%+v %+v %v", res, res.Error, rawJSON(res.Records)),
	} {
		for _, p := range m.patterns {
			if strings.Contains(text, p) {
				t.Errorf("the %s holds %q", what, p)
			}
		}
	}
	if !strings.Contains(out.Cells[2].Source, "# token: secret, given by reference") {
		t.Errorf("injected cell %q", out.Cells[2].Source)
	}
	if got := texts(out.Cells[4])[0]; !strings.Contains(got, maskText+"!") {
		t.Errorf("a value split over two writes: %q", got)
	}
}

// testRetries retries a cell until it works.
func testRetries(t *testing.T, name string) {
	nb := book(name, "n = 0", "n += 1\nprint(n)\nassert n == 3")
	nb.Cells[1].Metadata["quire"] = notebook.Object{"retries": notebook.Number("4"), "retryDelaySeconds": notebook.Number("0.01")}
	res, out, _ := runReal(t, nb, Request{})
	if res.Status != Succeeded || texts(out.Cells[1])[0] != "3\n" || len(out.Cells[1].Outputs) != 1 {
		t.Errorf("status %s, outputs %q", res.Status, texts(out.Cells[1]))
	}
	if got := fmt.Sprint(out.Cells[1].Metadata.Object("quire")["attempts"]); got != "3" {
		t.Errorf("attempts %s", got)
	}
}

// testAutosave sees the output of a running cell in the file.
func testAutosave(t *testing.T, name string) {
	path := filepath.Join(t.TempDir(), "out.ipynb")
	flag := filepath.Join(t.TempDir(), "go")
	nb := book(name, "import os, time\nprint('shown early', flush=True)\nwhile not os.path.exists(flag): time.sleep(0.05)")
	nb.Cells = slices.Insert(nb.Cells, 0, notebook.NewCode("flag = "+fmt.Sprintf("%q", flag)))
	finished := make(chan error, 1)
	go func() {
		_, err := Run(context.Background(), Request{
			Source: nb, OutputPath: path, Output: NewFile(path, FileOptions{Saved: func(Saved) {
				if data, err := os.ReadFile(path); err == nil && strings.Contains(string(data), "shown early\\n") &&
					strings.Contains(string(data), `"running"`) {
					_ = os.WriteFile(flag, nil, 0o600)
				}
			}}), Autosave: 100 * time.Millisecond,
		})
		finished <- err
	}()
	select {
	case err := <-finished:
		if err != nil {
			t.Fatal(err)
		}
	case <-time.After(time.Minute):
		t.Error("the running cell's output never reached the file")
	}
	if got := texts(readBook(t, path).Cells[1]); !slices.Equal(got, []string{"shown early\n"}) {
		t.Errorf("outputs %q", got)
	}
}

// widgetCode opens comms as ipywidgets does, without needing it: a slider, and
// an Output widget that captures what its cell prints while it is entered.
const widgetCode = `try:
    from comm import create_comm
except ImportError:
    from ipykernel.comm import Comm as create_comm
slider = create_comm(target_name='jupyter.widget', data={'state': {
    '_model_name': 'IntSliderModel', '_model_module': '@jupyter-widgets/controls', '_model_module_version': '2.0.0', 'value': 3}})
slider.send(data={'method': 'update', 'state': {'value': 7}, 'buffer_paths': []})
seen = []
box = create_comm(target_name='jupyter.widget', data={'state': {
    '_model_name': 'OutputModel', '_model_module': '@jupyter-widgets/output', '_model_module_version': '1.0.0',
    'msg_id': '', 'outputs': []}})
box.on_msg(lambda msg: seen.append(msg['content']['data']['state']['outputs']))
`

// testWidgets keeps the state of widgets and plays the Output widget.
func testWidgets(t *testing.T, name string) {
	nb := book(name, widgetCode, strings.Join([]string{
		"import sys", "me = get_ipython().kernel.get_parent()['header']['msg_id']",
		"box.send(data={'method': 'update', 'state': {'msg_id': me}})",
		"print('inside'); sys.stdout.flush()", "box.send(data={'method': 'update', 'state': {'msg_id': ''}})", "print('outside')",
	}, "\n"), "print(seen)")
	res, out, _ := runReal(t, nb, Request{})
	if res.Status != Succeeded {
		t.Fatalf("status %s: %s", res.Status, res.Reason)
	}
	if got := texts(out.Cells[1]); !slices.Equal(got, []string{"outside\n"}) {
		t.Errorf("cell 2 shows %q", got)
	}
	if got := texts(out.Cells[2])[0]; !strings.Contains(got, "inside") {
		t.Errorf("the kernel's widget holds %q", got)
	}
	data, err := out.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"model_name": "IntSliderModel"`, `"value": 7`, `"version_major": 2`} {
		if !strings.Contains(string(data), want) {
			t.Errorf("the notebook holds no %s", want)
		}
	}
}

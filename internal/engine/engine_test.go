package engine

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"quire/internal/kernel"
	"quire/internal/kernel/kerneltest"
	"quire/internal/notebook"
	"quire/internal/parameter"
	"quire/internal/problem"
)

func TestRunOnFake(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name     string
		cells    []string
		req      Request
		status   Status
		statuses []string
		texts    []string // of the last cell that ran
		reason   string
	}{
		{"plain", []string{"print a\nprint b\nresult c"}, Request{}, Succeeded, []string{done}, []string{"a\nb\n", "c"}, ""},
		{"streams alternate", []string{"print a\nstderr b\nprint c"}, Request{}, Succeeded, []string{done}, []string{"a\n", "b\n", "c\n"}, ""},
		{"error", []string{"print a", "error ValueError bad", "print c"}, Request{}, Failed, []string{done, failed, pending}, []string{"ValueError"}, "raised ValueError"},
		{"aborted", []string{"abort"}, Request{}, Failed, []string{failed}, nil, "raised CellAborted"},
		{"kernel exits", []string{"print a\nexit 7"}, Request{}, KernelDied, []string{failed}, []string{"a\n", deadEname}, "exited with code 7"},
		{"kernel is killed", []string{"signal KILL", "print b"}, Request{}, KernelDied, []string{failed, pending}, []string{deadEname}, "SIGKILL"},
		{"timeout", []string{"sleep 1m"}, Request{CellTimeout: 100 * time.Millisecond}, TimedOut, []string{failed}, []string{"KeyboardInterrupt"}, "timed out after 100ms"},
		{"timeout before it begins", []string{"sleep 1m"}, Request{CellTimeout: 1, InterruptGrace: time.Minute}, TimedOut, []string{failed}, []string{"KeyboardInterrupt"}, "timed out after 1ns"},
		{
			"timeout of a stubborn cell",
			[]string{"stubborn 1m"},
			Request{CellTimeout: 100 * time.Millisecond, InterruptGrace: 100 * time.Millisecond},
			TimedOut,
			[]string{failed},
			[]string{timeoutEname},
			"was killed",
		},
		{"clear", []string{"print a\nclear\nprint b"}, Request{}, Succeeded, []string{done}, []string{"b\n"}, ""},
		{"clear, wait", []string{"print a\nclear wait"}, Request{}, Succeeded, []string{done}, []string{"a\n"}, ""},
		{"clear, wait, more", []string{"print a\nclear wait\nprint b"}, Request{}, Succeeded, []string{done}, []string{"b\n"}, ""},
		{"update", []string{"display d one\nupdate d two"}, Request{}, Succeeded, []string{done}, []string{"two"}, ""},
		{"update after clear", []string{"display d one\nclear\nprint x\nupdate d two"}, Request{}, Succeeded, []string{done}, []string{"x\n", "two"}, ""},
		{"update of nothing", []string{"update d two"}, Request{}, Succeeded, []string{done}, nil, ""},
		{"garbage and bad signatures", []string{"garbage\nbadsig\nreplay\nprint a"}, Request{}, Succeeded, []string{done}, nil, ""},
		{"stop", []string{"error QuireStop enough", "print b"}, Request{}, Stopped, []string{done, pending}, []string{"QuireStop"}, "enough"},
		{"input", []string{"input name"}, Request{}, Failed, []string{failed}, []string{"StdinNotImplementedError"}, "raised StdinNotImplementedError"},
		{"check", []string{"check:::result True", "check:::result False"}, Request{}, Failed, []string{done, failed}, nil, "check failed: its value is False"},
		{"idle before reply", []string{"idlefirst\nprint a"}, Request{}, Succeeded, []string{done}, nil, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			res, out, path, err := runFake(t, tt.req, tt.cells...)
			if err != nil {
				t.Fatal(err)
			}
			if res.Status != tt.status || !strings.Contains(res.Reason, tt.reason) {
				t.Fatalf("status %s (%s), want %s (%s)", res.Status, res.Reason, tt.status, tt.reason)
			}
			if diff := cmp.Diff(tt.statuses, statuses(out)); diff != "" {
				t.Errorf("cell states (-want +got):\n%s", diff)
			}
			if got := out.Metadata.Object("papermill")["exception"]; (got == true) == res.Status.OK() {
				t.Errorf("exception %v in the notebook of a run that %s", got, res.Status)
			}
			if (res.Err() == nil) != res.Status.OK() {
				t.Errorf("Err %v of a run that %s", res.Err(), res.Status)
			}
			plain := slices.DeleteFunc(slices.Clone(out.Cells), func(c *notebook.Cell) bool { return c.HasTag(errorMarkerTag) })
			if got := texts(plain[lastRun(tt.statuses)]); tt.texts != nil && !slices.Equal(got, tt.texts) {
				t.Errorf("shows %q, want %q", got, tt.texts)
			}
			if left, _ := filepath.Glob(filepath.Join(filepath.Dir(path), ".*")); len(left) > 0 {
				t.Errorf("left behind: %v", left)
			}
		})
	}
}

func lastRun(states []string) int {
	last := 0
	for i, s := range states {
		if s != pending {
			last = i
		}
	}
	return last
}

// TestRunRefuses lists the bad inputs that end a run before its kernel.
func TestRunRefuses(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	existing := filepath.Join(dir, "exists.ipynb")
	if err := os.WriteFile(existing, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	declared := "parameters:::n: int = 1\ncountry: Literal['US', 'FR'] = 'US'\nkey: Secret = None"
	for _, tt := range []struct {
		name string
		req  Request
		kind problem.Kind
		want string
	}{
		{"folder is missing", Request{Output: NewFile(filepath.Join(dir, "no", "out.ipynb"), FileOptions{})}, problem.NotFound, "output folder " + filepath.Join(dir, "no") + " doesn't exist."},
		{"output is a folder", Request{Output: NewFile(dir, FileOptions{})}, problem.Invalid, "is a folder"},
		{"write once", Request{Output: NewFile(existing, FileOptions{WriteOnce: true})}, problem.Exists, "written once"},
		{"unknown kernel", Request{Kernel: "nope"}, problem.NotFound, "nope"},
		{"wrong type", Request{Parameters: params("n", "many")}, problem.Invalid, "n: "},
		{"wrong choice", Request{Parameters: params("country", "XX")}, problem.Invalid, "country: "},
		{"both wrong", Request{Parameters: params("n", "many", "country", "XX")}, problem.Invalid, "2 parameters are wrong"},
		{"strict", Request{Strict: true, Parameters: params("contry", "US")}, problem.Invalid, "contry: unknown parameter"},
		{"bad name", Request{Parameters: params("a b", "x")}, problem.Invalid, "a b"},
		{"secret as parameter", Request{Parameters: params("key", "abc")}, problem.Invalid, "--secret"},
		{"secret and parameter", Request{Parameters: params("x", "abc"), Secrets: map[string]string{"x": "abcd"}}, problem.Invalid, "x is given as a parameter and as a secret"},
		{"secret's value as parameter", Request{Parameters: params("x", "abcd1"), Secrets: map[string]string{"y": "abcd1"}}, problem.Invalid, "value of a secret"},
		{"secret's name", Request{Secrets: map[string]string{"../x": "abcd"}}, problem.Invalid, "secret"},
		{"negative timeout", Request{CellTimeout: -1}, problem.Invalid, "negative"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			kernelName := tt.req.Kernel
			req := tt.req
			req.Kernel = kernelName
			started := false
			req.StartKernel = func(ctx context.Context, cfg kernel.Config) (*kernel.Kernel, error) {
				started = true
				return kernel.Start(ctx, cfg)
			}
			res, _, _, err := runFake(t, req, declared, "print x")
			if problem.KindOf(err) != tt.kind || err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Fatalf("error %v (%v), want %v with %q", err, problem.KindOf(err), tt.kind, tt.want)
			}
			if res.Status.OK() {
				t.Errorf("status %s", res.Status)
			}
			if started && tt.kind == problem.Invalid && !strings.Contains(tt.want, "folder") {
				t.Error("a kernel was started")
			}
		})
	}
	if data, err := os.ReadFile(existing); err != nil || string(data) != "precious" {
		t.Errorf("the existing file now holds %q, %v", data, err)
	}
}

// TestKernelThatDoesNotStart leaves an output that says so.
func TestKernelThatDoesNotStart(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "out.ipynb")
	res, err := Run(context.Background(), Request{
		Source: book("fake", "print a"), OutputPath: path, Output: NewFile(path, FileOptions{}),
		Kernels: fakeKernels(t, kerneltest.Options{DieAtStart: true, ExitCode: 4, Words: "no module named x"}),
	})
	if problem.KindOf(err) != problem.Unavailable || !strings.Contains(err.Error(), "no module named x") || !strings.Contains(err.Error(), "code 4") {
		t.Fatalf("error %v", err)
	}
	out := readBook(t, path)
	if got := statuses(out); got[0] != pending || res.Status.OK() || out.Metadata.Object("papermill")["exception"] != true {
		t.Errorf("cells %v, status %s, metadata %v", got, res.Status, out.Metadata["papermill"])
	}
}

// TestInject puts the injected cell where Papermill puts it.
func TestInject(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name  string
		cells []string
		set   parameter.Set
		want  []string
	}{
		{"after parameters", []string{"a", "parameters:::x = 1", "b"}, params("x", 2), []string{"a", "x = 1", "# Parameters\nx = 2\n", "b"}},
		{"replaces the injected", []string{"parameters:::x = 1", "b", "injected-parameters:::x = 9"}, params("x", 2), []string{"x = 1", "b", "# Parameters\nx = 2\n"}},
		{"at the top", []string{"a"}, params("x", "y"), []string{"# Parameters\nx = \"y\"\n", "a"}},
		{"nothing given", []string{"injected-parameters:::x = 9"}, parameter.Set{}, []string{"x = 9"}},
		{"order of first mention", []string{"a"}, params("b", 1, "a", 2, "b", 3), []string{"# Parameters\nb = 3\na = 2\n", "a"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			src := book("fake", tt.cells...)
			before, err := src.Bytes()
			if err != nil {
				t.Fatal(err)
			}
			res, err := Run(context.Background(), Request{Source: src, Parameters: tt.set, PrepareOnly: true, Kernels: fakeKernels(t, kerneltest.Options{})})
			if err != nil || res.Status != Prepared {
				t.Fatal(res.Status, err)
			}
			var got []string
			for _, c := range res.Notebook.Cells {
				got = append(got, c.Source)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("cells (-want +got):\n%s", diff)
			}
			if i := res.Notebook.InjectedCell(); i >= 0 && !slices.Equal(res.Notebook.Cells[i].Tags(), []string{tagInjected}) {
				t.Errorf("tags %v", res.Notebook.Cells[i].Tags())
			}
			if after, err := src.Bytes(); err != nil || string(after) != string(before) {
				t.Error("the source has changed")
			}
		})
	}
}

// TestRetries tries a failing cell again, as its metadata asks, and says how
// often.
func TestRetries(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		delay  string
		status Status
		tries  int
	}{
		{"used up", "0", Failed, 3},
		{"interrupted while it waits", "3600", Interrupted, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			nb := book("fake", "error Boom x")
			nb.Cells[0].Metadata["quire"] = notebook.Object{"retries": notebook.Number("2"), "retryDelaySeconds": notebook.Number(tt.delay)}
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			tries := 0
			res, err := Run(ctx, Request{Source: nb, Kernels: fakeKernels(t, kerneltest.Options{}), Events: func(e Event) {
				if e.Type == EventCellStarted {
					tries++
				}
				if e.Type == EventWarning && tt.status == Interrupted {
					cancel()
				}
			}})
			if err != nil || res.Status != tt.status || tries != tt.tries {
				t.Errorf("status %s after %d tries, %v; want %s after %d", res.Status, tries, err, tt.status, tt.tries)
			}
		})
	}
}

// TestEvents are whole, in order, and valid JSON of bounded size.
func TestEvents(t *testing.T) {
	t.Parallel()
	var types []string
	var text strings.Builder
	_, _, _, err := runFake(t, Request{Events: func(e Event) {
		line, err := json.Marshal(e)
		if err != nil || len(line) > 2*MaxEventText {
			t.Errorf("event of %d bytes: %v", len(line), err)
		}
		if e.Type == EventOutput {
			text.WriteString(e.Text)
			if len(types) > 0 && types[len(types)-1] == string(EventOutput) {
				return
			}
		}
		types = append(types, string(e.Type))
	}}, "# papermill_description=LOAD\nflood 3 100000", "result 1")
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"run_started", "kernel_starting", "kernel_ready", "cell_started", "output", "cell_finished", "cell_started", "output", "cell_finished", "saved", "run_finished"}
	if diff := cmp.Diff(want, types); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
	if text.Len() < 300_000 {
		t.Errorf("the events carry %d bytes of output, want all 300,000", text.Len())
	}
}

// TestGitCommit reads the commit that is checked out from the repository's files.
func TestGitCommit(t *testing.T) {
	t.Parallel()
	const id = "0123456789abcdef0123456789abcdef01234567"
	for _, tt := range []struct {
		name  string
		files map[string]string
		want  string
	}{
		{"none", nil, ""},
		{"detached", map[string]string{".git/HEAD": id + "\n"}, id},
		{"branch", map[string]string{".git/HEAD": "ref: refs/heads/main\n", ".git/refs/heads/main": id + "\n"}, id},
		{"packed", map[string]string{".git/HEAD": "ref: refs/heads/main\n", ".git/packed-refs": "# pack\n" + id + " refs/heads/main\n"}, id},
		{"worktree", map[string]string{".git": "gitdir: real/wt\n", "real/wt/HEAD": "ref: refs/heads/b\n", "real/wt/commondir": "../common\n", "real/common/refs/heads/b": id}, id},
		{"hostile", map[string]string{".git/HEAD": "ref: ../../../../etc/passwd\n"}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			for name, text := range tt.files {
				path := filepath.Join(dir, name)
				if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			sub := filepath.Join(dir, "a", "b")
			if err := os.MkdirAll(sub, 0o700); err != nil {
				t.Fatal(err)
			}
			if got := gitCommit(sub); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

// TestLockHash: the same packages in the same versions have one hash, others another.
func TestLockHash(t *testing.T) {
	t.Parallel()
	a := lockHash(notebook.Object{"numpy": "1.26.4", "pandas": "2.2.0"})
	if b := lockHash(notebook.Object{"pandas": "2.2.0", "numpy": "1.26.4"}); a != b || len(a) != 64 {
		t.Errorf("the same packages: %s and %s", a, b)
	}
	for _, other := range []notebook.Object{{"numpy": "1.26.4"}, {"numpy": "1.26.5", "pandas": "2.2.0"}, {"numpy": "1.26.4", "pandas": "2.2.0", "six": "1"}} {
		if lockHash(other) == a {
			t.Errorf("%v has the hash of others", other)
		}
	}
}

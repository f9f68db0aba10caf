// Package computetest is the suite that every compute driver passes.
package computetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"quire/internal/compute"
	"quire/internal/problem"
)

// LogBytes is how much of a log the drivers under test keep.
const LogBytes = 1 << 20

// Subject is a driver under test.
type Subject struct {
	// Open opens the driver on a folder; again on the same folder it finds the
	// same containers.
	Open func(t *testing.T, dir string) compute.Driver
	// Isolated tells that containers have processes and a file system of their
	// own.
	Isolated bool
	// Foreign tells that a platform that is not ours runs the containers: it
	// keeps their logs, as much as it wants and each stream by itself, takes an
	// exit code for a signal, makes folders that are not there, does not end
	// what was executed, and measures only where it has a server for that.
	Foreign bool
}

type fixture struct {
	compute.Driver
	Subject
	dir  string // the driver's
	work string // a folder of the host
	ctx  context.Context
}

var nextID atomic.Int64

// Run runs the suite. The folders it makes hold nothing but what the driver
// left there, and the driver has to leave none.
func Run(t *testing.T, s Subject) {
	for _, tt := range []struct {
		name string
		test func(*testing.T, *fixture)
	}{
		{"Probe", testProbe},
		{"CreateRules", testCreate},
		{"Exit", testExit},
		{"Rejected", testRejected},
		{"Environment", testEnvironment},
		{"WaitBeforeStart", testWait},
		{"Stop", testStop},
		{"StopStubborn", testStubborn},
		{"StopCreated", testStopCreated},
		{"Exec", testExec},
		{"ExecCanceled", testExecCanceled},
		{"Logs", testLogs},
		{"LogBound", testLogBound},
		{"Follow", testFollow},
		{"Reattach", testReattach},
		{"ShimKilled", testShimKilled},
		{"NothingSurvives", testNothingSurvives},
		{"Remove", testRemove},
		{"List", testList},
		{"Stats", testStats},
		{"Unknown", testUnknown},
		{"Closed", testClosed},
		{"Together", testTogether},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			f := &fixture{Subject: s, dir: t.TempDir(), work: t.TempDir(), ctx: t.Context()}
			if err := os.Chmod(f.work, 0o777); err != nil { // a container's user may be another one
				t.Fatal(err)
			}
			f.Driver = s.Open(t, f.dir)
			t.Cleanup(func() { f.clean(t) })
			tt.test(t, f)
		})
	}
}

// clean removes every container and looks for what is left.
func (f *fixture) clean(t *testing.T) {
	ctx := context.Background()
	d := f.Open(t, f.dir)
	defer d.Close()
	f.Close()
	all, err := d.List(ctx, nil)
	if err != nil {
		t.Errorf("listing at the end: %v", err)
	}
	for _, s := range all {
		if err := d.Remove(ctx, s.ID); err != nil {
			t.Errorf("removing %s: %v", s.ID, err)
		}
	}
	if left, err := os.ReadDir(f.dir); err != nil || len(left) > 0 {
		t.Errorf("left in the driver's folder: %v, %v", left, err)
	}
}

// spec returns a spec that executes a shell script in the work folder.
func (f *fixture) spec(script string) compute.Spec {
	return compute.Spec{
		ID: fmt.Sprintf("t-%d-%d", os.Getpid(), nextID.Add(1)), Argv: []string{"sh", "-c", script},
		Mounts: []compute.Mount{{Source: f.work, Target: f.work}},
	}
}

// start creates and starts.
func (f *fixture) start(t *testing.T, spec compute.Spec) string {
	t.Helper()
	if _, err := f.Create(f.ctx, spec); err != nil {
		t.Fatal(err)
	}
	if err := f.Start(f.ctx, spec.ID); err != nil {
		t.Fatal(err)
	}
	return spec.ID
}

func (f *fixture) wait(t *testing.T, id string) compute.Exit {
	t.Helper()
	ctx, cancel := context.WithTimeout(f.ctx, 3*time.Minute)
	defer cancel()
	exit, err := f.Wait(ctx, id)
	if err != nil {
		t.Fatal(err)
	}
	return exit
}

func (f *fixture) log(t *testing.T, id string, opt compute.LogOptions) string {
	t.Helper()
	r, err := f.Logs(f.ctx, id, opt)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	data, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// End waits up to five minutes until a container has ended, and returns its end
// and its log.
func End(t testing.TB, d compute.Driver, id string) (compute.Exit, string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	exit, err := d.Wait(ctx, id)
	if err != nil {
		t.Fatal(err)
	}
	r, err := d.Logs(ctx, id, compute.LogOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	log, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return exit, string(log)
}

// eventually waits until ok.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(3 * time.Minute); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("it never happened: %s", what)
		}
	}
}

func (f *fixture) file(name string) string {
	data, _ := os.ReadFile(filepath.Join(f.work, name))
	return string(data)
}

func wantKind(t *testing.T, what string, err error, kind problem.Kind) {
	t.Helper()
	if err == nil || problem.KindOf(err) != kind {
		t.Errorf("%s: %v, want kind %v", what, err, kind)
	}
}

func testProbe(t *testing.T, f *fixture) {
	p, err := f.Probe(f.ctx)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range compute.AllResources() {
		if s := p.Support[r]; s.Reason == "" || !slices.Contains([]compute.Level{compute.Enforced, compute.BestEffort, compute.Unsupported}, s.Level) {
			t.Errorf("%s: %+v", r, s)
		}
	}
	if p.Summary == "" || p.Driver == "" {
		t.Errorf("no summary or name: %+v", p)
	}
	for _, r := range p.Refuses {
		if r != compute.GPU {
			continue
		}
		spec := f.spec("true")
		spec.Resources.GPUs = 1
		_, err := f.Create(f.ctx, spec)
		wantKind(t, "a GPU where there is none", err, problem.Invalid)
	}
}

func testCreate(t *testing.T, f *fixture) {
	spec := f.spec("true")
	first, err := f.Create(f.ctx, spec)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := f.Create(f.ctx, spec); err != nil || again != first {
		t.Errorf("the same again: %+v, %v", again, err)
	}
	other := spec
	other.Argv = []string{"false"}
	_, err = f.Create(f.ctx, other)
	wantKind(t, "another spec", err, problem.Exists)

	bad := f.spec("true")
	bad.Dir, bad.UID, bad.Resources.MemoryBytes = "x", -1, 1
	_, err = f.Create(f.ctx, bad)
	var all compute.Violations
	if !errors.As(err, &all) || len(all) != 3 {
		t.Errorf("three violations: %v", err)
	}
	gone := f.spec("true")
	gone.Mounts = []compute.Mount{{Source: f.work + "/no", Target: f.work + "/no"}}
	_, err = f.Create(f.ctx, gone)
	wantKind(t, "a mount that is not there", err, problem.NotFound)
	if list, err := f.List(f.ctx, nil); err != nil || len(list) != 1 {
		t.Errorf("%d containers, %v: want the first alone", len(list), err)
	}
	s, err := f.Status(f.ctx, spec.ID)
	if err != nil || s.State != compute.Created || s.CreatedAt.IsZero() || s.Exit != nil {
		t.Errorf("status %+v, %v", s, err)
	}
}

func testExit(t *testing.T, f *fixture) {
	for _, tt := range []struct {
		script string
		want   compute.Exit
	}{
		{"true", compute.Exit{Cause: compute.CauseExited, Reason: "exited with code 0"}},
		{"exit 3", compute.Exit{Code: 3, Cause: compute.CauseExited, Reason: "exited with code 3"}},
		{"exit 137", compute.Exit{Code: 137, Cause: compute.CauseExited, Reason: "exited with code 137"}},
		{"kill -9 $$", compute.Exit{Code: 137, Signal: "SIGKILL", Cause: compute.CauseExited, Reason: "ended by signal SIGKILL"}},
		{"kill -TERM $$", compute.Exit{Code: 143, Signal: "SIGTERM", Cause: compute.CauseExited, Reason: "ended by signal SIGTERM"}},
	} {
		if f.Foreign && tt.script == "exit 137" { // it looks as a signal does
			continue
		}
		id := f.start(t, f.spec(tt.script))
		got := f.wait(t, id)
		got.PeakMemoryBytes = 0
		if got != tt.want {
			t.Errorf("%s: %+v, want %+v; it said %q", tt.script, got, tt.want, f.log(t, id, compute.LogOptions{}))
		}
		s, err := f.Status(f.ctx, id)
		if err != nil || s.State != compute.Exited || s.Exit == nil || s.Exit.Code != tt.want.Code ||
			s.FinishedAt.Before(s.StartedAt) || s.StartedAt.Before(s.CreatedAt) {
			t.Errorf("%s: status %+v, %v", tt.script, s, err)
		}
		if err := f.Start(f.ctx, id); err != nil {
			t.Errorf("starting again: %v", err)
		}
	}
}

func testRejected(t *testing.T, f *fixture) {
	plain := filepath.Join(f.work, "plain")
	if err := os.WriteFile(plain, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		argv0, dir string
		kind       problem.Kind
		code       int
	}{
		{"no-such-command", "", problem.NotFound, 127},
		{plain, "", problem.Invalid, 126},
		{"sh", "/no/such/folder", problem.NotFound, 127},
	} {
		if f.Foreign && tt.dir != "" { // it makes the folder
			continue
		}
		spec := f.spec("true")
		spec.Argv, spec.Dir = []string{tt.argv0}, tt.dir
		if _, err := f.Create(f.ctx, spec); err != nil {
			t.Fatal(err)
		}
		wantKind(t, tt.argv0, f.Start(f.ctx, spec.ID), tt.kind)
		if exit := f.wait(t, spec.ID); exit.Code != tt.code || exit.Cause != compute.CauseRejected || exit.Reason == "" {
			t.Errorf("%s: %+v", tt.argv0, exit)
		}
	}
}

func testEnvironment(t *testing.T, f *fixture) {
	t.Run("values", func(t *testing.T) {
		spec := f.spec(`printf '%s|%s|%s' "$A" "$PWD" "$HOME"; cat; ls /proc/self/fd | tr '\n' ' '`)
		spec.Env = map[string]string{"A": `a "b" $c`}
		id := f.start(t, spec)
		if exit := f.wait(t, id); exit.Code != 0 {
			t.Fatalf("%+v: %s", exit, f.log(t, id, compute.LogOptions{}))
		}
		got := f.log(t, id, compute.LogOptions{})
		if !strings.HasPrefix(got, `a "b" $c|`+f.work+"|/") || !strings.HasSuffix(got, "0 1 2 3 ") {
			t.Errorf("got %q; file 3 is that of ls itself", got)
		}
	})
	t.Run("nothing of ours", func(t *testing.T) {
		id := f.start(t, f.spec("env; tr '\\0' '\\n' </proc/$PPID/environ"))
		f.wait(t, id)
		if got := f.log(t, id, compute.LogOptions{}); strings.Contains(got, "GOCACHE=") || strings.Contains(got, "QUIRE_") {
			t.Errorf("the server's environment is inside: %s", got)
		}
	})
}

func testWait(t *testing.T, f *fixture) {
	spec := f.spec("sleep 0.1; exit 4")
	if _, err := f.Create(f.ctx, spec); err != nil {
		t.Fatal(err)
	}
	short, cancel := context.WithTimeout(f.ctx, 20*time.Millisecond)
	defer cancel()
	_, err := f.Wait(short, spec.ID)
	wantKind(t, "waiting too short", err, problem.Timeout)
	var wg sync.WaitGroup
	for range 5 {
		wg.Go(func() {
			if exit, err := f.Wait(f.ctx, spec.ID); err != nil || exit.Code != 4 {
				t.Errorf("%+v, %v", exit, err)
			}
		})
	}
	if err := f.Start(f.ctx, spec.ID); err != nil {
		t.Error(err)
	}
	wg.Wait()
}

func testStop(t *testing.T, f *fixture) {
	id := f.start(t, f.spec("trap 'echo asked; exit 7' TERM; touch ready; while :; do sleep 0.05; done"))
	eventually(t, "the script is ready", func() bool { _, err := os.Stat(filepath.Join(f.work, "ready")); return err == nil })
	grace := 20 * time.Second
	if f.Foreign {
		grace = -1 // its own, which leaves the log there
	}
	if err := f.Stop(f.ctx, id, grace); err != nil {
		t.Fatal(err)
	}
	exit := f.wait(t, id)
	if exit.Code != 7 || exit.Cause != compute.CauseStopped || exit.Reason != "stopped" {
		t.Errorf("%+v", exit)
	}
	if got := f.log(t, id, compute.LogOptions{}); got != "asked\n" {
		t.Errorf("log %q", got)
	}
	if err := f.Stop(f.ctx, id, 0); err != nil {
		t.Errorf("stopping again: %v", err)
	}
}

func testStubborn(t *testing.T, f *fixture) {
	spec := f.spec("trap '' TERM; touch ready; while :; do sleep 0.05; done")
	spec.Grace = time.Hour // less is asked for
	id := f.start(t, spec)
	eventually(t, "the script is ready", func() bool { _, err := os.Stat(filepath.Join(f.work, "ready")); return err == nil })
	before := time.Now()
	if err := f.Stop(f.ctx, id, 200*time.Millisecond); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(before); took < 200*time.Millisecond || took > time.Minute {
		t.Errorf("it took %v", took)
	}
	if exit := f.wait(t, id); exit.Signal != "SIGKILL" || exit.Cause != compute.CauseStopped || !strings.Contains(exit.Reason, "200ms") {
		t.Errorf("%+v", exit)
	}
}

func testStopCreated(t *testing.T, f *fixture) {
	spec := f.spec("touch ran")
	if _, err := f.Create(f.ctx, spec); err != nil {
		t.Fatal(err)
	}
	if err := f.Stop(f.ctx, spec.ID, -1); err != nil {
		t.Fatal(err)
	}
	if err := f.Start(f.ctx, spec.ID); err != nil {
		t.Fatal(err)
	}
	if exit := f.wait(t, spec.ID); exit.Cause != compute.CauseStopped {
		t.Errorf("%+v", exit)
	}
	if _, err := os.Stat(filepath.Join(f.work, "ran")); err == nil {
		t.Error("it ran after it was stopped")
	}
}

func testExec(t *testing.T, f *fixture) {
	spec := f.spec("sleep 60")
	spec.Env = map[string]string{"A": "1", "B": "2"}
	id := f.start(t, spec)
	var out, errOut bytes.Buffer
	exit, err := f.Exec(f.ctx, id, compute.Command{
		Argv: []string{"sh", "-c", `cat; echo "$A$B$PWD"; echo bad >&2; exit 5`}, Env: map[string]string{"B": "3"},
		Stdin: strings.NewReader("in\n"), Stdout: &out, Stderr: &errOut,
	})
	if err != nil || exit.Code != 5 {
		t.Fatalf("%+v, %v", exit, err)
	}
	if out.String() != "in\n13"+f.work+"\n" || errOut.String() != "bad\n" {
		t.Errorf("out %q, err %q", out.String(), errOut.String())
	}
	_, err = f.Exec(f.ctx, id, compute.Command{Argv: []string{"no-such-command"}})
	wantKind(t, "a command that is not there", err, problem.NotFound)
	if err := f.Stop(f.ctx, id, 0); err != nil {
		t.Fatal(err)
	}
	_, err = f.Exec(f.ctx, id, compute.Command{Argv: []string{"true"}})
	wantKind(t, "in a container that has ended", err, problem.Conflict)
}

func testExecCanceled(t *testing.T, f *fixture) {
	id := f.start(t, f.spec("sleep 60"))
	ctx, cancel := context.WithCancel(f.ctx)
	go func() {
		for f.file("pid") == "" && f.ctx.Err() == nil {
			time.Sleep(5 * time.Millisecond)
		}
		cancel()
	}()
	_, err := f.Exec(ctx, id, compute.Command{Argv: []string{"sh", "-c", "echo $$ >pid; exec sleep 60"}})
	wantKind(t, "canceled", err, problem.Canceled)
	if f.Foreign { // it goes on, and ends with the container
		return
	}
	eventually(t, "the command is gone", func() bool {
		exit, err := f.Exec(f.ctx, id, compute.Command{Argv: []string{"sh", "-c", "kill -0 " + strings.TrimSpace(f.file("pid"))}})
		return err == nil && exit.Code != 0
	})
}

func testLogs(t *testing.T, f *fixture) {
	id := f.start(t, f.spec("echo one; echo two >&2; echo three"))
	f.wait(t, id)
	got := f.log(t, id, compute.LogOptions{})
	if f.Foreign {
		if lines := strings.SplitAfter(got, "\n"); len(lines) != 4 || !slices.Contains(lines, "two\n") || strings.Replace(got, "two\n", "", 1) != "one\nthree\n" {
			t.Errorf("got %q", got)
		}
		return
	}
	if got != "one\ntwo\nthree\n" {
		t.Errorf("got %q", got)
	}
	if got := f.log(t, id, compute.LogOptions{TailBytes: 6}); got != "three\n" {
		t.Errorf("the end: %q", got)
	}
}

func testLogBound(t *testing.T, f *fixture) {
	if f.Foreign {
		return
	}
	id := f.start(t, f.spec("yes 0123456789012345678901234567890 | head -c 8000000; echo; echo end"))
	f.wait(t, id)
	got := f.log(t, id, compute.LogOptions{})
	if len(got) < LogBytes/2 || len(got) > 2*LogBytes || !strings.HasSuffix(got, "\nend\n") {
		t.Errorf("%d bytes kept, ending in %q", len(got), got[max(0, len(got)-20):])
	}
	if strings.ContainsRune(got, 0) {
		t.Error("the hole is shown")
	}
}

func testFollow(t *testing.T, f *fixture) {
	id := f.start(t, f.spec("echo one; while [ ! -e go ]; do sleep 0.02; done; echo two"))
	r, err := f.Logs(f.ctx, id, compute.LogOptions{Follow: true})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	buffer := make([]byte, 4)
	if _, err := io.ReadFull(r, buffer); err != nil || string(buffer) != "one\n" {
		t.Fatalf("%q, %v", buffer, err)
	}
	if err := os.WriteFile(filepath.Join(f.work, "go"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if rest, err := io.ReadAll(r); err != nil || string(rest) != "two\n" {
		t.Errorf("%q, %v", rest, err)
	}
}

// testReattach: a container outlives its driver, and the next driver finds it.
func testReattach(t *testing.T, f *fixture) {
	spec := f.spec("echo one; while [ ! -e go ]; do sleep 0.02; done; echo two; exit 9")
	id := f.start(t, spec)
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	f.Driver = f.Open(t, f.dir)
	s, err := f.Status(f.ctx, id)
	if err != nil || s.State != compute.Running {
		t.Fatalf("%+v, %v", s, err)
	}
	if _, err := f.Create(f.ctx, spec); err != nil {
		t.Errorf("creating it again: %v", err)
	}
	if err := f.Start(f.ctx, id); err != nil {
		t.Errorf("starting it again: %v", err)
	}
	if err := os.WriteFile(filepath.Join(f.work, "go"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if exit := f.wait(t, id); exit.Code != 9 {
		t.Errorf("%+v", exit)
	}
	if got := f.log(t, id, compute.LogOptions{}); got != "one\ntwo\n" {
		t.Errorf("log %q", got)
	}
}

func testNothingSurvives(t *testing.T, f *fixture) {
	spec := f.spec("(setsid sh -c 'while :; do echo x >>beat; sleep 0.02; done' &) ; while [ ! -s beat ]; do sleep 0.01; done")
	id := f.start(t, spec)
	f.wait(t, id)
	size := len(f.file("beat"))
	for range 5 {
		time.Sleep(20 * time.Millisecond)
		if now := len(f.file("beat")); now != size {
			t.Fatalf("a process of the container goes on: %d bytes, then %d", size, now)
		}
	}
}

func testRemove(t *testing.T, f *fixture) {
	id := f.start(t, f.spec("sleep 60"))
	for range 2 {
		if err := f.Remove(f.ctx, id); err != nil {
			t.Fatal(err)
		}
	}
	_, err := f.Status(f.ctx, id)
	wantKind(t, "after Remove", err, problem.NotFound)
	if _, err := os.Stat(f.work); err != nil {
		t.Errorf("the mount's source: %v", err)
	}
}

func testList(t *testing.T, f *fixture) {
	for _, labels := range []map[string]string{{"job": "1", "user": "a"}, {"job": "2", "user": "a"}, nil} {
		spec := f.spec("true")
		spec.Labels = labels
		if _, err := f.Create(f.ctx, spec); err != nil {
			t.Fatal(err)
		}
	}
	for _, tt := range []struct {
		labels map[string]string
		want   int
	}{{nil, 3}, {map[string]string{"user": "a"}, 2}, {map[string]string{"user": "a", "job": "2"}, 1}, {map[string]string{"x": ""}, 0}} {
		if got, err := f.List(f.ctx, tt.labels); err != nil || len(got) != tt.want {
			t.Errorf("%v: %d containers, %v, want %d", tt.labels, len(got), err, tt.want)
		}
	}
}

func testStats(t *testing.T, f *fixture) {
	if f.Foreign {
		return
	}
	id := f.start(t, f.spec("while :; do :; done"))
	var stats compute.Stats
	eventually(t, "some processor time is seen", func() bool {
		var err error
		stats, err = f.Stats(f.ctx, id)
		return err == nil && stats.CPU > 50*time.Millisecond
	})
	if stats.MemoryBytes <= 0 || stats.Processes < 1 || len(stats.Measured) < 3 {
		t.Errorf("%+v", stats)
	}
}

func testUnknown(t *testing.T, f *fixture) {
	for _, id := range []string{"none", "../x", "", "a/b", "."} {
		_, errStatus := f.Status(f.ctx, id)
		_, errWait := f.Wait(f.ctx, id)
		_, errExec := f.Exec(f.ctx, id, compute.Command{Argv: []string{"true"}})
		_, errLogs := f.Logs(f.ctx, id, compute.LogOptions{})
		_, errStats := f.Stats(f.ctx, id)
		for _, err := range []error{errStatus, errWait, errExec, errLogs, errStats, f.Start(f.ctx, id), f.Stop(f.ctx, id, 0)} {
			wantKind(t, fmt.Sprintf("%q", id), err, problem.NotFound)
		}
		if err := f.Remove(f.ctx, id); err != nil {
			t.Errorf("removing %q: %v", id, err)
		}
	}
}

func testClosed(t *testing.T, f *fixture) {
	id := f.start(t, f.spec("sleep 60"))
	waited := make(chan error, 1)
	go func() {
		_, err := f.Wait(f.ctx, id)
		waited <- err
	}()
	for range 2 {
		if err := f.Close(); err != nil {
			t.Errorf("closing: %v", err)
		}
	}
	wantKind(t, "waiting while it is closed", <-waited, problem.Canceled)
	_, err := f.List(f.ctx, nil)
	wantKind(t, "listing when it is closed", err, problem.Canceled)
}

// testTogether starts many at once.
func testTogether(t *testing.T, f *fixture) {
	const n = 20
	var wg sync.WaitGroup
	for i := range n {
		spec := f.spec(fmt.Sprintf("exit %d", i))
		wg.Go(func() {
			_, errCreate := f.Create(f.ctx, spec)
			errStart := f.Start(f.ctx, spec.ID)
			if exit, err := f.Wait(f.ctx, spec.ID); err != nil || exit.Code != i {
				t.Errorf("%d: %+v, %v, %v, %v", i, exit, err, errCreate, errStart)
			}
		})
	}
	wg.Wait()
}

package kernel_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"quire/internal/kernel"
	"quire/internal/kernel/kerneltest"
	"quire/internal/kernel/wire"
	"quire/internal/problem"
)

func startFake(t testing.TB, opt kerneltest.Options) *kernel.Kernel {
	t.Helper()
	return start(t, testConfig(t, kerneltest.Spec(t, opt)))
}

func TestStartFails(t *testing.T) {
	t.Parallel()
	fake := func(opt kerneltest.Options) kernel.Spec { return kerneltest.Spec(t, opt) }
	for _, tt := range []struct {
		name string
		cfg  kernel.Config
		kind problem.Kind
		text []string
	}{
		{"no command", kernel.Config{}, problem.Invalid, []string{"has no command"}},
		{"odd transport", kernel.Config{Spec: kernel.Spec{Argv: []string{"x"}}, Transport: "smoke"}, problem.Invalid, []string{`"smoke"`}},
		{"missing program", kernel.Config{Spec: kernel.Spec{Name: "gone", Argv: []string{"/nonexistent/python"}}}, problem.Unavailable, []string{"kernel gone", "/nonexistent/python", "no such file"}},
		{"missing folder", kernel.Config{Spec: fake(kerneltest.Options{}), Dir: "/nonexistent"}, problem.NotFound, []string{"working directory /nonexistent does not exist"}},
		{
			"exits at once",
			kernel.Config{Spec: fake(kerneltest.Options{DieAtStart: true, Words: "Traceback\n\x1b[31mModuleNotFoundError\x1b[0m: No module named 'ipykernel'", ExitCode: 7})},
			problem.Unavailable,
			[]string{"kernel fake", "exited with code 7 before it was ready", "its last words: ModuleNotFoundError: No module named 'ipykernel'"},
		},
		{"never answers", kernel.Config{Spec: fake(kerneltest.Options{Mute: true}), StartTimeout: 300 * time.Millisecond}, problem.Timeout, []string{"did not answer within 300ms"}},
		{"never listens", kernel.Config{Spec: fake(kerneltest.Options{Deaf: true}), StartTimeout: 300 * time.Millisecond}, problem.Timeout, []string{"did not answer within 300ms"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			tt.cfg.RuntimeDir = runtimeDir(t)
			k, err := kernel.Start(t.Context(), tt.cfg)
			if err == nil {
				_ = k.Close()
				t.Fatal("it started")
			}
			if !problem.Is(err, tt.kind) {
				t.Errorf("%v is %v, want %v", err, problem.KindOf(err), tt.kind)
			}
			for _, text := range tt.text {
				if !strings.Contains(err.Error(), text) {
					t.Errorf("%q does not say %q", err, text)
				}
			}
			checkNoKernelDirs(t, tt.cfg.RuntimeDir)
		})
	}
}

// checkNoKernelDirs fails when a kernel's folder is left.
func checkNoKernelDirs(t *testing.T, dir string) {
	t.Helper()
	left, err := filepath.Glob(filepath.Join(dir, "k-*"))
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestStartIsCanceled(t *testing.T) {
	t.Parallel()
	cfg := testConfig(t, kerneltest.Spec(t, kerneltest.Options{Mute: true}))
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if _, err := kernel.Start(ctx, cfg); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
	checkNoKernelDirs(t, cfg.RuntimeDir)
}

func TestStartSlowly(t *testing.T) {
	t.Parallel()
	k := startFake(t, kerneltest.Options{AnswerAfter: 700 * time.Millisecond})
	msgs := kerneltest.Collect(t, t.Context(), k, "print hello")
	if got := kerneltest.Text(msgs, ""); got != "hello\n" {
		t.Errorf("printed %q", got)
	}
	for _, m := range msgs {
		if m.Type() == "kernel_info_reply" {
			t.Error("an answer to a kernel_info of the start came to the cell")
		}
	}
}

func TestPortTakenIsTriedAgain(t *testing.T) {
	t.Parallel()
	cfg := testConfig(t, kerneltest.Spec(t, kerneltest.Options{
		DieUnlessExists: filepath.Join(t.TempDir(), "once"), ExitCode: 1,
		Words: "zmq.error.ZMQError: Address already in use (addr='tcp://127.0.0.1:15001')",
	}))
	cfg.Transport = "tcp"
	k := start(t, cfg)
	if got := kerneltest.Text(kerneltest.Collect(t, t.Context(), k, "print hello"), ""); got != "hello\n" {
		t.Errorf("printed %q", got)
	}
}

func TestConfigReachesTheProcess(t *testing.T) {
	t.Parallel()
	spec := kerneltest.Spec(t, kerneltest.Options{})
	spec.Env["QUIRE_A"], spec.Env["QUIRE_B"], spec.Env["QUIRE_C"] = "spec", "spec ${QUIRE_NOT_SET} $PATH", "spec"
	cfg := testConfig(t, spec)
	cfg.Env = []string{"QUIRE_C=config"}
	out := &lockedBuffer{}
	cfg.Output = out
	k := start(t, cfg)
	got := kerneltest.Text(kerneltest.Collect(t, t.Context(), k,
		"cwd\nenv QUIRE_A\nenv QUIRE_B\nenv QUIRE_C\nenv JPY_PARENT_PID\nwords to the terminal"), "stdout")
	dir, err := filepath.EvalSymlinks(cfg.Dir)
	if err != nil {
		t.Fatal(err)
	}
	want := strings.Join([]string{
		dir, "spec", "spec ${QUIRE_NOT_SET} " + os.Getenv("PATH"), "config", strconv.Itoa(os.Getpid()), "",
	}, "\n")
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if err := k.Shutdown(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	if got := out.String(); got != "to the terminal\n" {
		t.Errorf("the process's own output is %q", got)
	}
}

// TestTemporaryFilesGoWithTheKernel: R, when it is killed, leaves a folder.
func TestTemporaryFilesGoWithTheKernel(t *testing.T) {
	t.Parallel()
	for _, own := range []string{"", t.TempDir()} {
		spec := kerneltest.Spec(t, kerneltest.Options{})
		spec.Language = "R"
		cfg := testConfig(t, spec)
		if own != "" {
			cfg.Env = []string{"TMPDIR=" + own}
		}
		k := start(t, cfg)
		dir := strings.TrimSpace(kerneltest.Text(kerneltest.Collect(t, t.Context(), k, "env TMPDIR"), "stdout"))
		if err := os.WriteFile(filepath.Join(dir, "left"), nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := k.Close(); err != nil {
			t.Fatal(err)
		}
		_, err := os.Stat(dir)
		if own == "" && (dir == os.TempDir() || !os.IsNotExist(err)) {
			t.Errorf("temporary files in %q after the end: %v", dir, err)
		}
		if own != "" && (dir != own || err != nil) {
			t.Errorf("temporary files in %q, wanted in %q: %v", dir, own, err)
		}
	}
}

// lockedBuffer is a bytes.Buffer for two goroutines.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// execute runs code and returns its messages and its Execution.
func execute(t *testing.T, k *kernel.Kernel, code string) ([]*wire.Message, *kernel.Execution, error) {
	t.Helper()
	e, err := k.Execute(t.Context(), kernel.ExecuteRequest{Code: code})
	if err != nil {
		t.Fatal(err)
	}
	var msgs []*wire.Message
	for {
		m, err := e.Next(t.Context())
		if err != nil {
			return msgs, e, err
		}
		msgs = append(msgs, m)
	}
}

func TestOddExecutions(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, code, text string
		missing          bool
	}{
		{"idle before reply", "print a\nidlefirst", "a\n", false},
		{"idle late", "print a\nidleafter 300ms", "a\n", false},
		{"no idle", "print a\nnoidle", "a\n", true},
		{"wrong signature", "print a\nbadsig\nprint b", "a\nb\n", false},
		{"repeated message", "replay\nprint b", "replay\nb\n", false},
		{"no message", "print a\ngarbage\nprint b", "a\nb\n", false},
		{"without a parent", "orphan a\nprint b", "a\nb\n", false},
		{"aborted", "abort", "", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			cfg := testConfig(t, kerneltest.Spec(t, kerneltest.Options{}))
			cfg.IdleGrace = time.Minute
			if tt.missing {
				cfg.IdleGrace = 600 * time.Millisecond
			}
			k := start(t, cfg)
			msgs, e, err := execute(t, k, tt.code)
			if !errors.Is(err, io.EOF) {
				t.Fatal(err)
			}
			if got := kerneltest.Text(msgs, ""); got != tt.text {
				t.Errorf("printed %q, want %q", got, tt.text)
			}
			if e.IdleMissing() != tt.missing {
				t.Errorf("idle missing: %v, want %v", e.IdleMissing(), tt.missing)
			}
			if _, err := e.Next(t.Context()); !errors.Is(err, io.EOF) {
				t.Errorf("after the end: %v", err)
			}
			refused := int64(0)
			if strings.Contains(tt.code, "sig") || strings.Contains(tt.code, "replay") || strings.Contains(tt.code, "garbage") {
				refused = 1
			}
			if got := k.Dropped(); got != refused {
				t.Errorf("%d messages were refused, want %d", got, refused)
			}
			if got := kerneltest.Text(kerneltest.Collect(t, t.Context(), k, "print on"), ""); got != "on\n" {
				t.Errorf("the next cell printed %q", got)
			}
		})
	}
}

func TestLateOutputKeepsItsParent(t *testing.T) {
	t.Parallel()
	k := startFake(t, kerneltest.Options{})
	msgs, first, err := execute(t, k, "late from the first")
	if !errors.Is(err, io.EOF) {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for kerneltest.Find(msgs, "stream") == nil { // or it is quiet before the message comes
		if err := k.Drain(ctx, 500*time.Millisecond, func(m *wire.Message) error {
			msgs = append(msgs, m)
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		if err := ctx.Err(); err != nil {
			t.Fatal(err)
		}
	}
	late := kerneltest.Find(msgs, "stream")
	if late == nil || late.ParentHeader.MsgID != first.ID() || kerneltest.Text([]*wire.Message{late}, "stdout") != "from the first\n" {
		t.Errorf("late message %+v", late)
	}
}

func TestBuffersAndComms(t *testing.T) {
	t.Parallel()
	k := startFake(t, kerneltest.Options{})
	m := kerneltest.Find(kerneltest.Collect(t, t.Context(), k, "buffers \x00binary"), "comm_msg")
	if m == nil || len(m.Buffers) != 1 || string(m.Buffers[0]) != "\x00binary" {
		t.Errorf("comm message %+v", m)
	}
	id, err := k.Send(t.Context(), wire.Shell, "comm_msg", map[string]any{"comm_id": "c", "data": map[string]any{}})
	if err != nil {
		t.Fatal(err)
	}
	for {
		m, err := k.Next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if m.Type() == "stream" {
			if m.ParentHeader.MsgID != id {
				t.Errorf("parent %q, want %q", m.ParentHeader.MsgID, id)
			}
			return
		}
	}
}

func TestStdinIsRefusedWhenNotAllowed(t *testing.T) {
	t.Parallel()
	k := startFake(t, kerneltest.Options{})
	msgs := kerneltest.Collect(t, t.Context(), k, "input name?")
	if m := kerneltest.Find(msgs, "error"); m == nil || !bytes.Contains(m.Content, []byte("StdinNotImplementedError")) {
		t.Errorf("messages %v", msgs)
	}
}

func TestDeaths(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, code, words, text string
	}{
		{"exit 0", "print a\nexit 0", "the kernel exited with code 0", "a\n"},
		{"exit 42", "exit 42", "the kernel exited with code 42", ""},
		{"terminated", "signal TERM", "the kernel was killed by signal 15 (SIGTERM)", ""},
		{"killed after much output", "flood 5000 100\nsignal KILL", "the kernel was killed by signal 9 (SIGKILL)", ""},
		{"children hold the pipe", "child\nexit 5", "the kernel exited with code 5", ""},
		{"last words", "words \x1b[1mfatal: \x1b[0mno more\nexit 1", "the kernel exited with code 1", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			k := startFake(t, kerneltest.Options{})
			msgs, _, err := execute(t, k, tt.code)
			var dead *kernel.DeathError
			if !errors.As(err, &dead) || !problem.Is(err, problem.Unavailable) {
				t.Fatalf("got %v (%v), want a DeathError", err, problem.KindOf(err))
			}
			if got := dead.Death.String(); got != tt.words {
				t.Errorf("in words %q, want %q", got, tt.words)
			}
			if d := time.Since(dead.Death.At); d > 20*time.Second { // what holds the pipe lives for 60 s
				t.Errorf("seen %v late", d)
			}
			if tt.name == "last words" && !strings.HasSuffix(err.Error(), "its last words: fatal: no more") {
				t.Errorf("error %q", err)
			}
			if got := kerneltest.Text(msgs, "stdout"); tt.text != "" && got != tt.text {
				t.Errorf("printed %q, want %q", got, tt.text)
			}
			if k.Death() != dead.Death {
				t.Error("Death and the error differ")
			}
			if err := k.Shutdown(t.Context(), 0); err != nil || k.Death().Asked {
				t.Errorf("Shutdown of a dead kernel: %v, asked %v", err, k.Death().Asked)
			}
			for name, do := range map[string]func() error{
				"execute":   func() error { _, err := k.Execute(t.Context(), kernel.ExecuteRequest{}); return err },
				"interrupt": func() error { return k.Interrupt(t.Context()) },
				"request":   func() error { _, err := k.Request(t.Context(), wire.Shell, "kernel_info_request", nil); return err },
				"send":      func() error { _, err := k.Send(t.Context(), wire.Control, "x", nil); return err },
			} {
				if err := do(); !errors.As(err, &dead) {
					t.Errorf("%s on a dead kernel: %v", name, err)
				}
			}
		})
	}
}

// TestGroupDiesWithTheKernel: what a cell started in the kernel's group does
// not outlive it.
func TestGroupDiesWithTheKernel(t *testing.T) {
	t.Parallel()
	k := startFake(t, kerneltest.Options{})
	text := kerneltest.Text(kerneltest.Collect(t, t.Context(), k, "child"), "stdout")
	pid, err := strconv.Atoi(strings.TrimSpace(text))
	if err != nil {
		t.Fatal(err)
	}
	if u := k.Usage(); runtime.GOOS == "linux" && (u.Processes != 2 || u.RSSBytes <= 0 || u.PeakBytes < u.RSSBytes/4) {
		t.Errorf("usage %+v, want two processes and their memory", u)
	}
	if err := k.Shutdown(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	awaitGone(t, pid)
	if u := k.Usage(); u.PeakBytes <= 0 {
		t.Errorf("usage after the end %+v", u)
	}
}

// awaitGone waits until a process that is not our child has ended.
func awaitGone(t *testing.T, pid int) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); <-tick.C {
		stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
		if err != nil || bytes.Contains(stat, []byte(") Z ")) {
			if syscall.Kill(pid, 0) != nil || err == nil {
				return
			}
		}
	}
	t.Errorf("process %d is still there", pid)
}

func TestStubbornKernelIsKilled(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		opt  kerneltest.Options
		sig  string
	}{
		{"term is enough", kerneltest.Options{IgnoreShutdown: true}, "SIGTERM"},
		{"only kill helps", kerneltest.Options{IgnoreShutdown: true, IgnoreTerm: true}, "SIGKILL"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			k := startFake(t, tt.opt)
			t0 := time.Now()
			if err := k.Shutdown(t.Context(), 200*time.Millisecond); err != nil {
				t.Fatal(err)
			}
			took := time.Since(t0)
			if took < 200*time.Millisecond || took > time.Minute {
				t.Errorf("it took %v", took)
			}
			sig := tt.sig
			if took > 1200*time.Millisecond { // it was a second late to end on SIGTERM
				sig = "SIGKILL"
			}
			if d := k.Death(); d == nil || !d.Asked || d.Signal != tt.sig && d.Signal != sig || d.String() != "the kernel was asked to stop" {
				t.Errorf("death %+v", d)
			}
		})
	}
}

func TestShutdownWithoutTime(t *testing.T) {
	t.Parallel()
	k := startFake(t, kerneltest.Options{IgnoreShutdown: true, IgnoreTerm: true})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	t0 := time.Now()
	if err := k.Shutdown(ctx, time.Minute); err != nil {
		t.Fatal(err)
	}
	if d := time.Since(t0); d > 30*time.Second {
		t.Errorf("a canceled shutdown took %v", d)
	}
}

func TestCancelWhileWaiting(t *testing.T) {
	t.Parallel()
	k := startFake(t, kerneltest.Options{})
	e, err := k.Execute(t.Context(), kernel.ExecuteRequest{Code: "sleep 60s"})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	for err == nil {
		_, err = e.Next(ctx)
	}
	if !problem.Is(err, problem.Timeout) {
		t.Errorf("got %v (%v)", err, problem.KindOf(err))
	}
	if _, err := k.Request(ctx, wire.Shell, "kernel_info_request", nil); !problem.Is(err, problem.Timeout) {
		t.Errorf("request: %v", err)
	}
	if err := k.Interrupt(t.Context()); err != nil {
		t.Fatal(err)
	}
	for err = nil; err == nil; {
		_, err = e.Next(t.Context())
	}
	if !errors.Is(err, io.EOF) {
		t.Error(err)
	}
}

// TestManyAtOnce starts 40 kernels over TCP at the same time.
func TestManyAtOnce(t *testing.T) {
	t.Parallel()
	cfg := testConfig(t, kerneltest.Spec(t, kerneltest.Options{}))
	cfg.Transport = "tcp"
	var wg sync.WaitGroup
	ports := make(chan string, 40)
	for i := range 40 {
		wg.Go(func() {
			k, err := kernel.Start(t.Context(), cfg)
			if err != nil {
				t.Errorf("kernel %d: %v", i, err)
				return
			}
			defer k.Close()
			data, err := os.ReadFile(k.ConnectionFile())
			if err != nil {
				t.Error(err)
			}
			ports <- string(data)
			want := "kernel " + strconv.Itoa(i)
			msgs, err := kerneltest.TryCollect(t.Context(), k, kernel.ExecuteRequest{Code: "print " + want})
			if got := kerneltest.Text(msgs, ""); err != nil || got != want+"\n" {
				t.Errorf("kernel %d printed %q, %v", i, got, err)
			}
		})
	}
	wg.Wait()
	checkNoKernelDirs(t, cfg.RuntimeDir)
}

// TestNothingLeaks must run alone: it counts goroutines and descriptors.
func TestNothingLeaks(t *testing.T) {
	cfg := testConfig(t, kerneltest.Spec(t, kerneltest.Options{}))
	cycle := func() {
		k, err := kernel.Start(t.Context(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		kerneltest.Collect(t, t.Context(), k, "flood 100 10")
		if err := k.Shutdown(t.Context(), 0); err != nil {
			t.Fatal(err)
		}
		if err := k.Close(); err != nil {
			t.Fatal(err)
		}
	}
	cycle()
	goroutines, files := runtime.NumGoroutine(), openFiles(t)
	for range 30 {
		cycle()
	}
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(time.Minute); runtime.NumGoroutine() > goroutines && time.Now().Before(deadline); {
		<-tick.C
	}
	if now := runtime.NumGoroutine(); now > goroutines {
		t.Errorf("%d goroutines, %d before", now, goroutines)
	}
	if now := openFiles(t); now > files {
		t.Errorf("%d open files, %d before", now, files)
	}
	checkNoKernelDirs(t, cfg.RuntimeDir)
}

func openFiles(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return 0 // not Linux: only goroutines are counted
	}
	return len(entries)
}

func TestMessageLimit(t *testing.T) {
	t.Parallel()
	cfg := testConfig(t, kerneltest.Spec(t, kerneltest.Options{}))
	cfg.MaxMessage = 1 << 20
	cfg.IdleGrace = 500 * time.Millisecond
	k := start(t, cfg)
	_, e, err := execute(t, k, "flood 1 2000000")
	if !errors.Is(err, io.EOF) || !e.IdleMissing() {
		t.Errorf("%v, idle missing %v: want the connection to be cut", err, e.IdleMissing())
	}
}

package kernel_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"quire/internal/kernel"
	"quire/internal/kernel/kerneltest"
	"quire/internal/problem"
)

// awaitReady waits until the pool holds n kernels.
func awaitReady(t *testing.T, p *kernel.Pool, n int) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(2 * time.Minute); p.Ready() != n; <-tick.C {
		if time.Now().After(deadline) {
			t.Fatalf("the pool holds %d kernels, want %d", p.Ready(), n)
		}
	}
}

func TestPool(t *testing.T) {
	t.Parallel()
	cfg := testConfig(t, kerneltest.Spec(t, kerneltest.Options{}))
	var starts atomic.Int32
	p, err := kernel.NewPoolWith(cfg, 2, func(ctx context.Context, cfg kernel.Config) (*kernel.Kernel, error) {
		starts.Add(1)
		return kernel.Start(ctx, cfg)
	})
	if err != nil {
		t.Fatal(err)
	}
	awaitReady(t, p, 2)
	out := &lockedBuffer{}
	want := cfg
	want.Output = out
	k, err := p.Get(t.Context(), want)
	if err != nil {
		t.Fatal(err)
	}
	defer k.Close()
	kerneltest.Collect(t, t.Context(), k, "words after the handover")
	awaitReady(t, p, 2)
	if n := starts.Load(); n != 3 {
		t.Errorf("%d starts, want 3: two at first and one in the place of the one taken", n)
	}
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	if k.Death() != nil {
		t.Error("closing the pool ended a kernel that was handed out")
	}
	if err := k.Shutdown(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	if got := out.String(); got != "after the handover\n" {
		t.Errorf("the output after the handover is %q", got)
	}
	checkNoKernelDirs(t, cfg.RuntimeDir)
}

// TestPoolGivesTheKernelThatStarts asks a pool while its first kernel starts,
// and gets that one.
func TestPoolGivesTheKernelThatStarts(t *testing.T) {
	t.Parallel()
	cfg := testConfig(t, kerneltest.Spec(t, kerneltest.Options{}))
	ctx := &askedContext{Context: t.Context(), asked: make(chan struct{})}
	first := make(chan *kernel.Kernel, 1)
	var starts atomic.Int32
	p, err := kernel.NewPoolWith(cfg, 1, func(starting context.Context, cfg kernel.Config) (*kernel.Kernel, error) {
		if starts.Add(1) > 1 {
			return kernel.Start(starting, cfg)
		}
		<-ctx.asked
		k, err := kernel.Start(starting, cfg)
		first <- k
		return k, err
	})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	k, err := p.Get(ctx, cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer k.Close()
	ctx.Done() // or, when Get did not wait, the first start would for ever
	if k != <-first {
		t.Error("another kernel was started beside the one that started already")
	}
}

// An askedContext tells when somebody waits for its end.
type askedContext struct {
	context.Context //nolint:containedctx // it is one
	once            sync.Once
	asked           chan struct{}
}

func (c *askedContext) Done() <-chan struct{} {
	c.once.Do(func() { close(c.asked) })
	return c.Context.Done()
}

func TestPoolGivesNoDeadKernel(t *testing.T) {
	t.Parallel()
	cfg := testConfig(t, kerneltest.Spec(t, kerneltest.Options{}))
	started := make(chan *kernel.Kernel, 10)
	p, err := kernel.NewPoolWith(cfg, 1, func(ctx context.Context, cfg kernel.Config) (*kernel.Kernel, error) {
		k, err := kernel.Start(ctx, cfg)
		started <- k
		return k, err
	})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	awaitReady(t, p, 1)
	dead := <-started
	if err := syscall.Kill(dead.PID(), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	<-dead.Done()
	k, err := p.Get(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer k.Close()
	if k == dead || k.Death() != nil {
		t.Error("the pool gave a dead kernel")
	}
}

func TestPoolStartsWhatDoesNotFit(t *testing.T) {
	t.Parallel()
	cfg := testConfig(t, kerneltest.Spec(t, kerneltest.Options{}))
	p, err := kernel.NewPool(cfg, 1)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	awaitReady(t, p, 1)
	want := cfg
	want.Env = []string{"QUIRE_X=1"}
	k, err := p.Get(t.Context(), want)
	if err != nil {
		t.Fatal(err)
	}
	defer k.Close()
	if got := kerneltest.Text(kerneltest.Collect(t, t.Context(), k, "env QUIRE_X"), ""); got != "1\n" {
		t.Errorf("the variable is %q", got)
	}
	if p.Ready() != 1 {
		t.Error("the waiting kernel was taken")
	}
}

func TestPoolRefuses(t *testing.T) {
	t.Parallel()
	for _, size := range []int{0, -1, 65} {
		if _, err := kernel.NewPool(kernel.Config{Spec: kernel.Spec{Argv: []string{"x"}}}, size); !problem.Is(err, problem.Invalid) {
			t.Errorf("size %d: %v", size, err)
		}
	}
	p, err := kernel.NewPool(kernel.Config{Spec: kernel.Spec{Argv: []string{"/nonexistent"}}, RuntimeDir: runtimeDir(t)}, 2)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	if _, err := p.Get(t.Context(), kernel.Config{Spec: kernel.Spec{Argv: []string{"/nonexistent"}}, RuntimeDir: runtimeDir(t)}); !problem.Is(err, problem.Unavailable) {
		t.Errorf("a kernel that cannot start: %v", err)
	}
}

// python returns the first Python kernel of QUIRE_TEST_KERNELS; false without.
func python(t *testing.T) (kernel.Spec, bool) {
	t.Helper()
	for _, spec := range realKernels(t) {
		if spec.Language == "python" {
			return spec, true
		}
	}
	return kernel.Spec{}, false
}

func TestRealPool(t *testing.T) {
	spec, ok := python(t)
	if !ok {
		return // QUIRE_TEST_KERNELS names none
	}
	cfg := testConfig(t, spec)
	cfg.Env = []string{"QUIRE_GONE=1"}
	p, err := kernel.NewPool(cfg, 1)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	awaitReady(t, p, 1)
	want := cfg
	want.Dir = t.TempDir()
	want.Env = []string{"QUIRE_X=it's \"quoted\" \\ \u00fc\n\u2028", "TZ=Asia/Tokyo"}
	t0 := time.Now()
	k, err := p.Get(t.Context(), want)
	if err != nil {
		t.Fatal(err)
	}
	defer k.Close()
	msgs := kerneltest.Collect(t, t.Context(), k, strings.Join([]string{
		"import os, time",
		"print(os.getcwd()); print(repr(os.environ['QUIRE_X'])); print('QUIRE_GONE' in os.environ, time.tzname[0])",
		"print(sorted(n for n in globals() if n in ('o', 'j', 'json')))",
	}, "\n"))
	got := kerneltest.Text(msgs, "stdout")
	t.Logf("from the pool to the first output in %v", time.Since(t0))
	dir, err := filepath.EvalSymlinks(want.Dir)
	if err != nil {
		t.Fatal(err)
	}
	if wanted := dir + "\n" + `'it\'s "quoted" \\ ü\n\u2028'` + "\nFalse JST\n[]\n"; got != wanted {
		t.Errorf("got\n%s\nwant\n%s", got, wanted)
	}
	var input struct {
		Count int `json:"execution_count"`
	}
	if m := kerneltest.Find(msgs, "execute_input"); m == nil || m.Decode(&input) != nil || input.Count != 1 {
		t.Errorf("the first cell has the count %d, want 1", input.Count)
	}
}

func TestForkserverFallsBack(t *testing.T) {
	t.Parallel()
	cfg := testConfig(t, kerneltest.Spec(t, kerneltest.Options{}))
	f, err := kernel.NewForkserver(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if f.Forks() {
		t.Error("a fork server for a kernel that is not ipykernel's")
	}
	k, err := f.Start(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer k.Close()
	// An interpreter that is not there.
	broken := cfg
	broken.Spec = kernel.Spec{Name: "p", Argv: []string{"/nonexistent/python", "-m", "ipykernel_launcher", "-f", "{connection_file}"}}
	f, err = kernel.NewForkserver(t.Context(), broken)
	if err != nil || f.Forks() {
		t.Errorf("a missing interpreter: %v, forks %v", err, f.Forks())
	}
	if _, err := f.Start(t.Context(), broken); !problem.Is(err, problem.Unavailable) {
		t.Errorf("start: %v", err)
	}
	if err := f.Close(); err != nil {
		t.Error(err)
	}
}

func TestRealForkserver(t *testing.T) {
	spec, ok := python(t)
	if !ok {
		return // QUIRE_TEST_KERNELS names none
	}
	cfg := testConfig(t, spec)
	f, err := kernel.NewForkserver(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if !f.Forks() {
		t.Fatal("the fork server does not run")
	}
	startOne := func(cfg kernel.Config) *kernel.Kernel {
		t.Helper()
		k, err := f.Start(t.Context(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = k.Close() })
		return k
	}
	const look = "import os, sys, random, uuid, signal\n" +
		"print(os.getppid(), os.environ.get('QUIRE_X'), os.getcwd(), os.path.basename(sys.argv[0]), '|'.join(sys.path), os.fstat(0).st_rdev == os.stat('/dev/null').st_rdev)\n" +
		"print(random.random(), uuid.uuid4(), len(os.listdir('/proc/self/fd')), os.getsid(0) == os.getpid())"
	a := cfg
	a.Env, a.Dir = []string{"QUIRE_X=a"}, t.TempDir()
	ka, kb := startOne(a), startOne(cfg)
	la := strings.Fields(kerneltest.Text(kerneltest.Collect(t, t.Context(), ka, look), "stdout"))
	lb := strings.Fields(kerneltest.Text(kerneltest.Collect(t, t.Context(), kb, look), "stdout"))
	dir, err := filepath.EvalSymlinks(a.Dir)
	if err != nil {
		t.Fatal(err)
	}
	if len(la) != 10 || len(lb) != 10 {
		t.Fatalf("output %q and %q", la, lb)
	}
	if la[0] != lb[0] {
		t.Error("the kernels have different parents: they are not forks of one process")
	}
	if got := strings.Join(slices.Delete(slices.Clone(la[1:6]), 3, 4), " "); got != "a "+dir+" ipykernel_launcher.py True" {
		t.Errorf("environment, directory, argv and stdin: %s", got)
	}
	if lb[1] != "None" || la[6] == lb[6] || la[7] == lb[7] || la[9] != "True" {
		t.Errorf("the kernels share what they must not: %v and %v", la, lb)
	}
	// What an interpreter reads at its start needs a start of its own.
	c := cfg
	c.Env = []string{"PYTHONHASHSEED=5"}
	kc := startOne(c)
	lc := strings.Fields(kerneltest.Text(kerneltest.Collect(t, t.Context(), kc, look), "stdout"))
	if len(lc) != 10 || lc[0] == la[0] {
		t.Errorf("a kernel with another hash seed is a fork: %v", lc)
	}
	if len(lc) == 10 && lc[4] != lb[4] {
		t.Errorf("sys.path of a fork is %s, of a fresh kernel %s", lb[4], lc[4])
	}
	if len(lc) == 10 {
		forked, _ := strconv.Atoi(lb[8])
		fresh, _ := strconv.Atoi(lc[8])
		if forked > fresh+3 { // the number wavers by one or two
			t.Errorf("a fork has %d open files, a fresh kernel %d", forked, fresh)
		}
	}
	// The end of one is told exactly, with its last words, and hurts no other.
	_, _, err = execute(t, ka, "import os, sys; os.write(sys.stderr._original_stdstream_copy, b'last words\\n'); os._exit(9)")
	var dead *kernel.DeathError
	if !errors.As(err, &dead) || dead.Death.ExitCode != 9 || !strings.HasSuffix(dead.Death.Stderr, "last words") ||
		dead.Death.PeakBytes < 10<<20 || dead.Death.CPU <= 0 {
		t.Errorf("death %+v, %v", dead, err)
	}
	kerneltest.Collect(t, t.Context(), kb, "x = 1")
	testForkserverDies(t, f, kb, cfg, la[0])
}

// testForkserverDies kills the fork server: its kernel dies, and the next one
// is started without it.
func testForkserverDies(t *testing.T, f *kernel.Forkserver, k *kernel.Kernel, cfg kernel.Config, zygote string) {
	t.Helper()
	pid := 0
	for _, c := range zygote {
		pid = pid*10 + int(c-'0')
	}
	if pid <= 1 || pid == os.Getpid() {
		t.Fatalf("the fork server is process %d", pid)
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	select {
	case <-k.Done():
	case <-time.After(time.Minute):
		t.Fatal("the kernel outlives its fork server")
	}
	awaitGone(t, k.PID())
	next, err := f.Start(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer next.Close()
	if f.Forks() {
		t.Error("a dead fork server forks")
	}
	kerneltest.Collect(t, t.Context(), next, "x = 1")
}

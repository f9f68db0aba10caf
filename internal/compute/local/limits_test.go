//go:build linux

package local_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"quire/internal/compute"
	"quire/internal/compute/computetest"
	"quire/internal/compute/shim"
)

var lastID atomic.Int64

// inside is a driver with one folder that is mounted at /workspace.
type inside struct {
	compute.Driver
	dir, work string
}

func setup(t testing.TB) *inside {
	t.Helper()
	in := &inside{dir: t.TempDir(), work: t.TempDir()}
	in.Driver = open(t, in.dir)
	in.clean(t)
	return in
}

// clean removes what is left when the test ends.
func (in *inside) clean(t testing.TB) {
	t.Cleanup(func() {
		all, err := in.List(context.Background(), nil)
		if err != nil {
			t.Error(err)
		}
		for _, s := range all {
			if err := in.Remove(context.Background(), s.ID); err != nil {
				t.Error(err)
			}
		}
		in.Close()
	})
}

// needRoot fails where the tests that need control groups cannot run: the
// quick loop skips them.
func needRoot(t testing.TB) {
	t.Helper()
	if testing.Short() {
		t.Skip("the limits need root and real containers; make test runs them")
	}
	if os.Geteuid() != 0 {
		t.Fatal("this test needs root: it makes control groups, and file systems on loop devices")
	}
}

func (in *inside) spec(r compute.Resources, argv ...string) compute.Spec {
	return compute.Spec{
		ID: fmt.Sprintf("l-%d-%d", os.Getpid(), lastID.Add(1)), Argv: argv, Resources: r,
		Mounts: []compute.Mount{{Source: in.work, Target: "/workspace"}},
	}
}

// run runs a container to its end and returns that and its log.
func (in *inside) run(t testing.TB, spec compute.Spec) (compute.Exit, string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	if _, err := in.Create(ctx, spec); err != nil {
		t.Fatal(err)
	}
	if err := in.Start(ctx, spec.ID); err != nil {
		t.Fatal(err)
	}
	return computetest.End(t, in, spec.ID)
}

// hog takes memory as fast as it can: /dev/shm is memory, and so are variables.
const hog = `echo start; x=0123456789abcdef; while :; do x=$x$x; done`

func TestMemoryLimit(t *testing.T) {
	needRoot(t)
	t.Parallel()
	in := setup(t)
	other := in.spec(compute.Resources{MemoryBytes: 64 * compute.MiB}, "sh", "-c", "while [ ! -e /workspace/done ]; do sleep 0.05; done; echo unharmed")
	if _, err := in.Create(t.Context(), other); err != nil {
		t.Fatal(err)
	}
	if err := in.Start(t.Context(), other.ID); err != nil {
		t.Fatal(err)
	}
	before := time.Now()
	eater := in.spec(compute.Resources{MemoryBytes: 64 * compute.MiB}, "sh", "-c", hog)
	exit, log := in.run(t, eater)
	took := time.Since(before)
	stats, err := in.Stats(t.Context(), eater.ID)
	if err != nil {
		t.Error(err)
	}
	t.Logf("killed after %v, %v of processor: %+v", took, stats.CPU, exit)
	if !exit.OOMKilled || exit.Cause != compute.CauseOOM || exit.Signal != "SIGKILL" || exit.Code != 137 ||
		exit.Reason != "out of memory: limit 64 MiB, peak "+compute.FormatBytes(exit.PeakMemoryBytes) {
		t.Errorf("%+v: %s", exit, log)
	}
	if exit.PeakMemoryBytes > 64*compute.MiB || exit.PeakMemoryBytes < 60*compute.MiB {
		t.Errorf("peak %d", exit.PeakMemoryBytes)
	}
	// Its own time: how long it waits for a processor is another's doing. Here it
	// takes a tenth of a second, and more where the kernel looks for pages to give back.
	limit := 5 * time.Second
	if os.Getenv("QUIRE_TEST_EMULATED") != "" {
		limit *= 3 // what runs here is many times slower
	}
	if stats.CPU <= 0 || stats.CPU > limit || took > 3*time.Minute {
		t.Errorf("it took %v, %v of processor", took, stats.CPU)
	}
	if err := os.WriteFile(filepath.Join(in.work, "done"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if exit, err := in.Wait(t.Context(), other.ID); err != nil || exit.Code != 0 || exit.OOMKilled {
		t.Errorf("the other container: %+v, %v", exit, err)
	}
}

// TestChildOutOfMemory: the main process sees its child die and ends badly
// itself; that is out of memory too. One that ends well is not.
func TestChildOutOfMemory(t *testing.T) {
	needRoot(t)
	t.Parallel()
	in := setup(t)
	limit := compute.Resources{MemoryBytes: 64 * compute.MiB}
	if exit, _ := in.run(t, in.spec(limit, "sh", "-c", "sh -c '"+hog+"'; echo child: $?; exit 3")); exit.Code != 3 || !exit.OOMKilled {
		t.Errorf("%+v", exit)
	}
	spec := in.spec(limit, "sh", "-c", "sh -c '"+hog+"'; exit 0")
	if exit, _ := in.run(t, spec); exit.Code != 0 || exit.OOMKilled || exit.Cause != compute.CauseExited {
		t.Errorf("%+v", exit)
	}
	if stats, err := in.Stats(t.Context(), spec.ID); err != nil || stats.OOMKills != 1 {
		t.Errorf("%+v, %v", stats, err)
	}
}

func TestCPULimit(t *testing.T) {
	needRoot(t)
	t.Parallel()
	limitsTime(t, setup(t))
}

// limitsTime: two loops get the share of a processor that they were given.
func limitsTime(t *testing.T, in *inside) {
	t.Helper()
	share, last := in.burn(t, compute.Resources{CPUMilli: 200}, 3*time.Second)
	t.Logf("two loops with a fifth of a processor took %.3f of one; throttled %v", share, last.Throttled)
	if share > 0.23 {
		t.Errorf("%.3f of a processor", share)
	}
	if last.Throttled == 0 {
		t.Error("it was never throttled")
	}
}

func TestForkBomb(t *testing.T) {
	needRoot(t)
	t.Parallel()
	in := setup(t)
	exit, log := in.run(t, in.spec(compute.Resources{PIDs: 100}, "sh", "-c",
		`i=0; while [ $i -lt 500 ]; do sleep 30 & i=$((i+1)); done; echo all`))
	if strings.Contains(log, "all") && !strings.Contains(log, "fork") {
		t.Errorf("500 processes with a limit of 100: %+v %q", exit, log)
	}
	if exit.Code == 0 {
		t.Errorf("%+v %.200q", exit, log)
	}
}

func TestDiskLimit(t *testing.T) {
	needRoot(t)
	t.Parallel()
	in := setup(t)
	const size = 64 * compute.MiB
	spec := in.spec(compute.Resources{DiskBytes: size}, "sh", "-c",
		`dd if=/dev/zero of=/tmp/big bs=1M count=200; du -sk /tmp | cut -f1; head -c 3000000 /dev/zero >$HOME/small && echo written; echo y >/workspace/outside && echo outside works`)
	_, log := in.run(t, spec)
	if !strings.Contains(log, "No space left on device") || strings.Contains(log, "written") || !strings.Contains(log, "outside works") {
		t.Errorf("log %q", log)
	}
	var st unix.Stat_t
	if err := unix.Stat(filepath.Join(in.dir, spec.ID, "disk"), &st); err != nil || st.Blocks*512 > size || st.Blocks*512 < size/2 {
		t.Errorf("the disk takes %d bytes outside, %v", st.Blocks*512, err)
	}
	if stats, err := in.Stats(t.Context(), spec.ID); err != nil || !slices.Contains(stats.Measured, compute.Disk) || stats.DiskBytes < size/2 {
		t.Errorf("%+v, %v", stats, err)
	}
}

// TestInodeBomb: many empty files end at the container's own bound.
func TestInodeBomb(t *testing.T) {
	needRoot(t)
	t.Parallel()
	in := setup(t)
	_, log := in.run(t, in.spec(compute.Resources{DiskBytes: 16 * compute.MiB, MemoryBytes: 256 * compute.MiB}, "sh", "-c",
		`cd /tmp; i=0; while [ $i -lt 40000 ]; do : >f$i || exit 1; i=$((i+1)); done`))
	if !strings.Contains(log, "No space left on device") {
		t.Errorf("40,000 files in 16 MiB: %.200q", log)
	}
}

// TestStartTime: a container starts within 40 ms over the bare process. On a
// machine that is busy with something else the time on the clock says little:
// there the processor time has to fit. That grows too, with a slower or a shared
// processor, and so is compared with what a start of this program alone takes.
func TestStartTime(t *testing.T) {
	needRoot(t)
	in := setup(t)
	const most = 40 * time.Millisecond
	var over, used, alone time.Duration
	for range 3 {
		if over, used = in.startTime(t); over <= most || raceEnabled {
			return
		}
		alone = programTime(t)
		if used <= max(most, 9*alone) {
			t.Logf("the machine is busy: %v on the clock, and %v of processor time; this program alone takes %v", over, used, alone)
			return
		}
	}
	t.Errorf("%v over the bare process, %v of them processor time, want at most %v, or nine times the %v that this program takes to start", over, used, most, alone)
}

// programTime is the processor time of a start of this program that comes to nothing.
func programTime(t *testing.T) time.Duration {
	t.Helper()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	const n = 20
	first := processorTime(t)
	for range n {
		exec.Command(program, shim.Command).Run() //nolint:errcheck // there are no orders: it ends
	}
	return (processorTime(t) - first) / n
}

// processorTime is what this process and its children have used.
func processorTime(t *testing.T) time.Duration {
	t.Helper()
	var sum time.Duration
	for _, who := range []int{unix.RUSAGE_SELF, unix.RUSAGE_CHILDREN} {
		var u unix.Rusage
		if err := unix.Getrusage(who, &u); err != nil {
			t.Fatal(err)
		}
		sum += time.Duration(u.Utime.Nano() + u.Stime.Nano())
	}
	return sum
}

// startTime returns the median of 50 containers' whole lives, less the median
// of 50 bare processes', and the processor time of one container.
func (in *inside) startTime(t *testing.T) (over, used time.Duration) {
	const n = 50
	first := processorTime(t)
	var bare, boxed []time.Duration
	for range n {
		before := time.Now()
		p, err := os.StartProcess("/bin/true", []string{"true"}, &os.ProcAttr{})
		if err != nil {
			t.Fatal(err)
		}
		p.Wait() //nolint:errcheck // its time is what matters
		bare = append(bare, time.Since(before))

		spec := in.spec(compute.Resources{CPUMilli: 1000, MemoryBytes: 256 * compute.MiB}, "/bin/true")
		before = time.Now()
		_, errCreate := in.Create(t.Context(), spec)
		errStart := in.Start(t.Context(), spec.ID)
		exit, errWait := in.Wait(t.Context(), spec.ID)
		boxed = append(boxed, time.Since(before))
		if err := errors.Join(errCreate, errStart, errWait, in.Remove(t.Context(), spec.ID)); err != nil || exit.Code != 0 {
			t.Fatalf("%+v, %v", exit, err)
		}
	}
	slices.Sort(bare)
	slices.Sort(boxed)
	over, used = boxed[n/2]-bare[n/2], (processorTime(t)-first)/n
	t.Logf("median of %d: bare %v, container to its end %v, over %v; processor time %v", n, bare[n/2], boxed[n/2], over, used)
	return over, used
}

// counted is what a launch could leave behind.
func counted(t testing.TB, dir string) map[string]int {
	t.Helper()
	count := func(path string) int {
		entries, _ := os.ReadDir(path)
		return len(entries)
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	ours := 0 // others mount and unmount on this machine, too, and other tests of Quire
	mine := "/quire/l-" + fmt.Sprint(os.Getpid()) + "-"
	for line := range strings.Lines(string(mounts)) {
		if strings.Contains(line, dir) || strings.Contains(line, " /tmp ") || strings.Contains(line, mine) {
			ours++
		}
	}
	groups := 0
	filepath.WalkDir("/sys/fs/cgroup", func(path string, d os.DirEntry, err error) error { //nolint:errcheck // groups come and go
		if err == nil && d.IsDir() && strings.Contains(path, mine) {
			groups++
		}
		return nil
	})
	loops := 0
	backing, _ := filepath.Glob("/sys/block/loop*/loop/backing_file")
	for _, f := range backing {
		if data, err := os.ReadFile(f); err == nil && strings.HasPrefix(string(data), dir) {
			loops++
		}
	}
	children := 0
	tasks, _ := filepath.Glob("/proc/self/task/*/children")
	for _, f := range tasks {
		data, _ := os.ReadFile(f)
		children += len(strings.Fields(string(data)))
	}
	return map[string]int{
		"mounts": ours, "groups": groups, "files": count(dir),
		"descriptors": count("/proc/self/fd"), "loops": loops, "children": children, "threads": count("/proc/self/task"),
	}
}

// more names what there is more of than before, but for the few threads and
// descriptors that are the runtime's own.
func more(before, after map[string]int) (names []string) {
	for name, n := range after {
		slack := 0
		if name == "threads" || name == "descriptors" {
			slack = 10
		}
		if n > before[name]+slack {
			names = append(names, name)
		}
	}
	return names
}

// TestNothingLeaks launches many containers, one after another.
func TestNothingLeaks(t *testing.T) {
	needRoot(t)
	in := setup(t)
	launches := 1000
	if raceEnabled {
		launches = 100
	}
	one := func(i int) {
		r := compute.Resources{MemoryBytes: 64 * compute.MiB}
		if i%50 == 0 {
			r.DiskBytes = 16 * compute.MiB
		}
		spec := in.spec(r, "true")
		ctx := t.Context()
		_, errCreate := in.Create(ctx, spec)
		errStart := in.Start(ctx, spec.ID)
		exit, errWait := in.Wait(ctx, spec.ID)
		errRemove := in.Remove(ctx, spec.ID)
		if exit.Code != 0 || errCreate != nil || errStart != nil || errWait != nil || errRemove != nil {
			t.Fatalf("launch %d: %+v, %v, %v, %v, %v", i, exit, errCreate, errStart, errWait, errRemove)
		}
	}
	for i := range 20 { // what is made once is made
		one(i)
	}
	before, goroutines := counted(t, in.dir), countGoroutines()
	began := time.Now()
	for i := range launches {
		one(i)
	}
	took := time.Since(began)
	after := counted(t, in.dir)
	// The kernel lets go of devices and processes a little later.
	for end := began.Add(took + time.Minute); (len(more(before, after)) > 0 || countGoroutines() > goroutines+2) && time.Now().Before(end); after = counted(t, in.dir) {
		time.Sleep(20 * time.Millisecond)
	}
	t.Logf("%d launches in %v; before %v and %d goroutines, after %v and %d", launches, took, before, goroutines, after, countGoroutines())
	for _, name := range more(before, after) {
		t.Errorf("%s: %d before, %d after", name, before[name], after[name])
	}
	if now := countGoroutines(); now > goroutines+2 {
		t.Errorf("%d goroutines before, %d after", goroutines, now)
	}
}

// TestManyAtOnce: none of 200 is lost, and all states are right.
func TestManyAtOnce(t *testing.T) {
	needRoot(t)
	in := setup(t)
	const n = 200
	var wg sync.WaitGroup
	began := time.Now()
	specs := make([]compute.Spec, n)
	for i := range n {
		specs[i] = in.spec(compute.Resources{MemoryBytes: 32 * compute.MiB, CPUMilli: 1000}, "sh", "-c", fmt.Sprintf("exit %d", i%7))
		wg.Go(func() {
			if _, err := in.Create(t.Context(), specs[i]); err != nil {
				t.Error(err)
			}
			if err := in.Start(t.Context(), specs[i].ID); err != nil {
				t.Error(err)
			}
			if exit, err := in.Wait(t.Context(), specs[i].ID); err != nil || exit.Code != i%7 {
				t.Errorf("%d: %+v, %v", i, exit, err)
			}
		})
	}
	wg.Wait()
	t.Logf("%d containers, all launched at once, ended after %v", n, time.Since(began))
	all, err := in.List(t.Context(), nil)
	if err != nil || len(all) != n {
		t.Errorf("%d containers, %v", len(all), err)
	}
	for _, s := range all {
		if s.State != compute.Exited {
			t.Errorf("%s is %s", s.ID, s.State)
		}
	}
}

func countGoroutines() int { return runtime.NumGoroutine() }

//go:build linux

package docker_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"quire/internal/compute"
	"quire/internal/compute/computetest"
	"quire/internal/problem"
)

var lastID atomic.Int64

// place is a driver with one folder that is mounted at /workspace.
type place struct {
	compute.Driver
	host      *computetest.Docker
	dir, work string
}

func newPlace(t *testing.T, host *computetest.Docker) *place {
	t.Helper()
	p := &place{host: host, dir: t.TempDir(), work: t.TempDir()}
	p.Driver = open(t, host, p.dir)
	t.Cleanup(func() {
		ctx := context.Background()
		all, err := p.List(ctx, nil)
		if err != nil {
			t.Error(err)
		}
		for _, s := range all {
			if err := p.Remove(ctx, s.ID); err != nil {
				t.Error(err)
			}
		}
		if left, err := os.ReadDir(p.dir); err != nil || len(left) > 0 {
			t.Errorf("left in the driver's folder: %v, %v", left, err)
		}
		p.Close()
	})
	return p
}

func (p *place) spec(r compute.Resources, script string) compute.Spec {
	return compute.Spec{
		ID: fmt.Sprintf("d-%d-%d", os.Getpid(), lastID.Add(1)), Argv: []string{"sh", "-c", script}, Resources: r,
		Mounts: []compute.Mount{{Source: p.work, Target: "/workspace"}},
	}
}

func (p *place) start(t *testing.T, spec compute.Spec) string {
	t.Helper()
	if _, err := p.Create(t.Context(), spec); err != nil {
		t.Fatal(err)
	}
	if err := p.Start(t.Context(), spec.ID); err != nil {
		t.Fatal(err)
	}
	return spec.ID
}

func (p *place) end(t *testing.T, id string) (compute.Exit, string) {
	t.Helper()
	return computetest.End(t, p.Driver, id)
}

// testMemory: what goes over its limit is killed and says so, and its
// neighbour goes on.
func testMemory(t *testing.T, host *computetest.Docker) {
	p := newPlace(t, host)
	other := p.start(t, p.spec(compute.Resources{MemoryBytes: 64 * compute.MiB}, "while [ ! -e /workspace/done ]; do sleep 0.05; done; echo unharmed"))
	hog := p.start(t, p.spec(compute.Resources{MemoryBytes: 64 * compute.MiB}, "echo start; x=0123456789abcdef; while :; do x=$x$x; done"))
	exit, log := p.end(t, hog)
	if !exit.OOMKilled || exit.Cause != compute.CauseOOM || !strings.HasPrefix(exit.Reason, "out of memory: limit 64 MiB, peak 64 MiB") {
		t.Errorf("%+v", exit)
	}
	if log != "start\n" {
		t.Errorf("log %q", log)
	}
	if stats, err := p.Stats(t.Context(), hog); err != nil || stats.OOMKills == 0 || stats.PeakBytes < 60*compute.MiB {
		t.Errorf("stats %+v, %v", stats, err)
	}
	if err := os.WriteFile(filepath.Join(p.work, "done"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if exit, log := p.end(t, other); exit.Code != 0 || log != "unharmed\n" {
		t.Errorf("the neighbour: %+v, %q", exit, log)
	}
	// A process that goes over the limit takes only itself, and yet the end says so.
	// What keeps the container is left to say so: the kernel takes the command and its children first.
	for limit, want := range map[int64]string{0: "200\n0\n", 64 * compute.MiB: "1000\n0\n"} {
		scores := p.spec(compute.Resources{MemoryBytes: limit}, "cat /proc/self/oom_score_adj; cat /proc/1/oom_score_adj")
		if _, log := p.end(t, p.start(t, scores)); log != want {
			t.Errorf("with a limit of %d bytes, the scores of the command and of process 1: %q, want %q", limit, log, want)
		}
	}
	part := p.start(t, p.spec(compute.Resources{MemoryBytes: 64 * compute.MiB}, "sh -c 'x=0123456789abcdef; while :; do x=$x$x; done'; exit 3"))
	if exit, _ := p.end(t, part); !exit.OOMKilled || exit.Code != 3 || exit.Signal != "" {
		t.Errorf("%+v", exit)
	}
}

// testCPU: two loops with one processor between them get one processor's worth,
// here a fifth of one.
func testCPU(t *testing.T, host *computetest.Docker) {
	p := newPlace(t, host)
	id := p.start(t, p.spec(compute.Resources{CPUMilli: 200}, "while :; do :; done & while :; do :; done"))
	began := time.Now()
	first, err := p.Stats(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	time.Sleep(2 * time.Second) // it is a rate that is measured
	second, err := p.Stats(t.Context(), id)
	for end := began.Add(3 * time.Minute); err == nil && second.Throttled <= first.Throttled && time.Now().Before(end); {
		second, err = p.Stats(t.Context(), id) // a busy machine may give them less than their limit
	}
	if err != nil {
		t.Fatal(err)
	}
	rate := float64(second.CPU-first.CPU) / float64(time.Since(began)) // a look that a busy machine delays does not make it more
	if rate > 0.23 || second.Throttled <= first.Throttled {
		t.Errorf("%.3f processors, throttled %v", rate, second.Throttled-first.Throttled)
	}
	if exit, err := p.Exec(t.Context(), id, compute.Command{Argv: []string{"true"}}); err != nil || exit.Code != 0 {
		t.Errorf("%+v, %v", exit, err)
	}
}

// testForks: the limit of processes holds.
func testForks(t *testing.T, host *computetest.Docker) {
	p := newPlace(t, host)
	id := p.start(t, p.spec(compute.Resources{PIDs: 20}, "n=0; while sleep 60 & do n=$((n+1)); echo $n; [ $n -lt 500 ] || break; done 2>/dev/null"))
	_, log := p.end(t, id)
	lines := strings.Fields(log)
	if len(lines) < 15 || len(lines) > 40 {
		t.Errorf("%d processes were started with a limit of 20", len(lines))
	}
}

// testConfined tries what a container may not do, one by one.
func testConfined(t *testing.T, host *computetest.Docker) {
	p := newPlace(t, host)
	if err := os.WriteFile(filepath.Join(p.work, "ours"), []byte("ours"), 0o600); err != nil {
		t.Fatal(err)
	}
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("x"), 0o644); err != nil {
		t.Fatal(err)
	}
	id := p.start(t, p.spec(compute.Resources{}, `
	cat /workspace/ours && echo more >>/workspace/ours && echo mine >/workspace/mine && echo workspace
	[ "$(id -u)" = 1000 ] && echo user
	for d in / /usr /etc /bin /root /run; do (echo x >$d/x) 2>/dev/null && echo "wrote $d"; done
	(echo x >/run/quire) 2>/dev/null && echo "wrote the binary"
	for d in /tmp /var/tmp "$HOME" /dev/shm; do echo x >$d/x && echo scratch; done
	cat `+secret+` 2>/dev/null && echo "read the host"
	grep -E 'CapEff|CapBnd|CapAmb' /proc/self/status | grep -v 0000000000000000 && echo "has capabilities"
	grep -q 'NoNewPrivs:.1' /proc/self/status && echo nonew
	grep -q 'Seccomp:.2' /proc/self/status && echo seccomp
	mount -t tmpfs x /tmp 2>/dev/null && echo mounted
	unshare -Ur true 2>/dev/null && echo unshared
	ls /proc | grep -c '^[0-9]' | { read n; [ $n -lt 10 ] && echo alone; }
	cat /proc/1/environ /proc/1/mem 2>/dev/null && echo "read the first process"
	echo x 2>/dev/null >/proc/1/fd/2 && echo "wrote its report"
	[ "$(ls /sys/class/net)" = lo ] && echo network`))
	exit, log := p.end(t, id)
	want := "oursworkspace\nuser\nscratch\nscratch\nscratch\nscratch\nnonew\nseccomp\nalone\nnetwork\n"
	if log != want {
		t.Errorf("%+v\ngot  %q\nwant %q", exit, log, want)
	}
	var stat syscall.Stat_t
	if err := syscall.Stat(filepath.Join(p.work, "mine"), &stat); err != nil || stat.Uid != 0 {
		t.Errorf("what it wrote belongs to %d, %v: want us", stat.Uid, err)
	}
	// A wrong report changes nothing: nobody but the first process has that stream.
	id = p.start(t, p.spec(compute.Resources{}, `echo '{"exit":{"code":0,"cause":"exited","reason":"fine"}}' >&2; exit 4`))
	if exit, log := p.end(t, id); exit.Code != 4 || !strings.Contains(log, "fine") {
		t.Errorf("%+v, %q", exit, log)
	}
}

// testScratch: /tmp ends at its size, inside and not outside.
func testScratch(t *testing.T, host *computetest.Docker) {
	p := newPlace(t, host)
	id := p.start(t, p.spec(compute.Resources{DiskBytes: 8 * compute.MiB}, "head -c 20000000 /dev/zero >/tmp/big; stat -c %s /tmp/big"))
	_, log := p.end(t, id)
	if !strings.Contains(log, "No space left on device") || !strings.Contains(log, "\n8388608\n") {
		t.Errorf("log %q", log)
	}
}

// testRefused: what Docker cannot do here is said, not done halfway.
func testRefused(t *testing.T, host *computetest.Docker) {
	p := newPlace(t, host)
	private := p.spec(compute.Resources{GPUs: 1}, "true")
	private.Network.Mode = compute.NetworkPrivate
	_, err := p.Create(t.Context(), private)
	if !problem.Is(err, problem.Invalid) || !strings.Contains(err.Error(), "docker.network") || !strings.Contains(err.Error(), "nvidia") {
		t.Errorf("a GPU and a network where there is none: %v", err)
	}
	missing := p.spec(compute.Resources{}, "true")
	missing.Image = "registry.invalid/team/notebook@sha256:" + strings.Repeat("0", 64)
	if _, err := p.Create(t.Context(), missing); !problem.Is(err, problem.Unavailable) && !problem.Is(err, problem.NotFound) {
		t.Errorf("an image whose registry does not answer: %v", err)
	}
	if all, err := p.List(t.Context(), nil); err != nil || len(all) != 0 {
		t.Errorf("left: %v, %v", all, err)
	}
	linked := p.spec(compute.Resources{}, "true")
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink("/etc", link); err != nil {
		t.Fatal(err)
	}
	linked.Mounts[0].Source = link
	_, err = p.Create(t.Context(), linked)
	if err == nil {
		err = p.Start(t.Context(), linked.ID)
	}
	if !problem.Is(err, problem.Invalid) || !strings.Contains(err.Error(), "symbolic link") {
		t.Errorf("a mount through a link: %v", err)
	}
}

// testStartedOnce: two drivers on one place, many calls, one start.
func testStartedOnce(t *testing.T, host *computetest.Docker) {
	p := newPlace(t, host)
	second := open(t, host, p.dir)
	defer second.Close()
	spec := p.spec(compute.Resources{}, "echo once >>/workspace/starts")
	var wg sync.WaitGroup
	for i := range 6 {
		d := []compute.Driver{p.Driver, second}[i%2]
		wg.Go(func() {
			_, errCreate := d.Create(t.Context(), spec)
			errStart := d.Start(t.Context(), spec.ID)
			if exit, err := d.Wait(t.Context(), spec.ID); err != nil || exit.Code != 0 {
				t.Errorf("%+v, %v, %v, %v", exit, err, errCreate, errStart)
			}
		})
	}
	wg.Wait()
	if data, _ := os.ReadFile(filepath.Join(p.work, "starts")); string(data) != "once\n" {
		t.Errorf("it was started as often as: %q", data)
	}
}

// testDaemonKilled: the Docker daemon is killed and started again, and the
// container goes on (with live-restore), is waited for and told of.
func testDaemonKilled(t *testing.T, host *computetest.Docker) {
	p := newPlace(t, host)
	id := p.start(t, p.spec(compute.Resources{}, "while [ ! -e /workspace/go ]; do sleep 0.02; done; echo on; exit 6"))
	waited := make(chan error, 1)
	go func() {
		_, err := p.Wait(t.Context(), id)
		waited <- err
	}()
	if err := host.Restart(); err != nil {
		t.Fatal(err)
	}
	if err := <-waited; err != nil && !problem.Is(err, problem.Unavailable) {
		t.Errorf("waiting while the daemon ended: %v", err)
	}
	if s, err := p.Status(t.Context(), id); err != nil || s.State != compute.Running {
		t.Fatalf("%+v, %v", s, err)
	}
	if err := os.WriteFile(filepath.Join(p.work, "go"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if exit, log := p.end(t, id); exit.Code != 6 || log != "on\n" {
		t.Errorf("%+v, %q", exit, log)
	}
}

// testExecStreams: much of both streams, and a command that reads nothing.
func testExecStreams(t *testing.T, host *computetest.Docker) {
	p := newPlace(t, host)
	id := p.start(t, p.spec(compute.Resources{}, "sleep 60"))
	var out, errOut bytes.Buffer
	in := bytes.Repeat([]byte("0123456789abcdef"), 200_000)
	exit, err := p.Exec(t.Context(), id, compute.Command{
		Argv: []string{"sh", "-c", `cat; printf 'a\0b' >&2; kill -9 $$`}, Stdin: bytes.NewReader(in), Stdout: &out, Stderr: &errOut,
	})
	if err != nil || exit.Code != 137 || exit.Signal != "SIGKILL" {
		t.Errorf("%+v, %v", exit, err)
	}
	if !bytes.Equal(out.Bytes(), in) || errOut.String() != "a\x00b" {
		t.Errorf("%d bytes of %d, and %q", out.Len(), len(in), errOut.String())
	}
	if exit, err := p.Exec(t.Context(), id, compute.Command{Argv: []string{"true"}, Stdin: bytes.NewReader(in)}); err != nil || exit.Code != 0 {
		t.Errorf("reading nothing: %+v, %v", exit, err)
	}
}

// testPull: while an image comes from a registry, its container says how much of
// it is there; it is made once all of it is.
func testPull(t *testing.T, host *computetest.Docker) {
	p := newPlace(t, host)
	registry := host.StartRegistry(t)
	spec := p.spec(compute.Resources{}, "true")
	spec.Image = registry.Image
	made := make(chan error, 1)
	go func() {
		_, err := p.Create(t.Context(), spec)
		made <- err
	}()
	for deadline := time.Now().Add(3 * time.Minute); ; {
		s, err := p.Status(t.Context(), spec.ID)
		if err == nil && s.State == compute.Starting && s.Stage.Name == compute.StagePulling && s.Stage.DoneBytes > 0 {
			if s.Stage.TotalBytes != registry.Layer || s.Stage.DoneBytes > registry.Layer/2 || !strings.HasPrefix(s.Stage.Text, "pulling the image: ") {
				t.Errorf("half-way: %+v, of %d bytes", s.Stage, registry.Layer)
			}
			break
		}
		select {
		case err := <-made:
			t.Fatalf("it is made before its image is there: %v", err)
		case <-time.After(20 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			t.Fatalf("it does not say how far its image is: %+v, %v", s, err)
		}
	}
	registry.GoOn()
	if err := <-made; err != nil {
		t.Fatal(err)
	}
	if s, err := p.Status(t.Context(), spec.ID); err != nil || s.State != compute.Created || s.Stage != (compute.Stage{}) {
		t.Errorf("%+v, %v", s, err)
	}
}

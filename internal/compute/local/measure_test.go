//go:build linux

package local_test

import (
	"os"
	"strings"
	"testing"
	"time"

	"quire/internal/compute"
	"quire/internal/compute/local"
	"quire/internal/compute/program"
)

// TestMeasure takes the figures that only a quiet machine tells, with the program
// that make build has put into quire: make measure-compute. It says how busy the
// machine is beside each.
func TestMeasure(t *testing.T) {
	if os.Getenv("QUIRE_MEASURE") == "" {
		return
	}
	needRoot(t)
	real, err := program.Shim()
	if err != nil || real == nil {
		t.Fatalf("the program of containers was not built in: make build; %v", err)
	}
	in := &inside{dir: t.TempDir(), work: t.TempDir()}
	driver, err := local.Open(local.Config{Dir: in.dir, Program: real})
	if err != nil {
		t.Fatal(err)
	}
	in.Driver = driver
	t.Cleanup(func() { driver.Close() })
	load := func() string {
		text, err := os.ReadFile("/proc/loadavg")
		if err != nil {
			t.Fatal(err)
		}
		return strings.Fields(string(text))[0]
	}
	free, _ := in.burn(t, compute.Resources{}, 3*time.Second)
	t.Logf("two loops without a limit: %.3f processors (load %s)", free, load())
	one, _ := in.burn(t, compute.Resources{CPUMilli: 1000}, 10*time.Second)
	switch {
	case free < 1.9:
		t.Logf("two loops with CPU 1: %.3f processors; the machine has no two to give: this tells nothing", one)
	case one < 0.97 || one > 1.03:
		t.Errorf("two loops with CPU 1: %.3f processors, want 1", one)
	default:
		t.Logf("two loops with CPU 1: %.3f processors", one)
	}
	const most = 40 * time.Millisecond
	over, used := in.startTime(t)
	switch {
	case over <= most:
		t.Logf("a start takes %v over the bare process (load %s)", over, load())
	case free < 1.9:
		t.Logf("a start takes %v over the bare process, %v of them processor time, want at most %v: the machine is busy (load %s)", over, used, most, load())
	default:
		t.Errorf("a start takes %v over the bare process, %v of them processor time, want at most %v (load %s)", over, used, most, load())
	}
}

// burn measures how many processors two endless loops get for a time. With a limit
// it goes on until that has held them up: a busy machine may give them less. The
// time is that from before the first look until after the last: a look that is
// delayed does not make it more.
func (in *inside) burn(t *testing.T, r compute.Resources, d time.Duration) (share float64, last compute.Stats) {
	t.Helper()
	spec := in.spec(r, "sh", "-c", "(while :; do :; done) & while :; do :; done")
	if _, err := in.Create(t.Context(), spec); err != nil {
		t.Fatal(err)
	}
	defer in.Remove(t.Context(), spec.ID) //nolint:errcheck // the driver's folder goes with the test
	if err := in.Start(t.Context(), spec.ID); err != nil {
		t.Fatal(err)
	}
	measure := func() compute.Stats {
		s, err := in.Stats(t.Context(), spec.ID)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	for measure().CPU == 0 {
		time.Sleep(10 * time.Millisecond)
	}
	began := time.Now()
	first := measure()
	time.Sleep(d) // the thing measured is time
	last = measure()
	for end := began.Add(3 * time.Minute); r.CPUMilli > 0 && last.Throttled == 0 && time.Now().Before(end); last = measure() {
		time.Sleep(100 * time.Millisecond)
	}
	return float64(last.CPU-first.CPU) / float64(time.Since(began)), last
}

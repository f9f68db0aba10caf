package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// A sample is what one run of a command took.
type sample struct {
	wall time.Duration
	cpu  time.Duration // of the command and all it started and waited for
	peak int64         // bytes of memory, of the command's own process at its highest
}

// measure runs one command to its end and fails when it does.
func measure(ctx context.Context, env []string, argv ...string) (sample, error) {
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Env = append(os.Environ(), env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	start := time.Now()
	if err := cmd.Start(); err != nil {
		return sample{}, err
	}
	stop := make(chan struct{})
	peak := make(chan int64, 1)
	go watchPeak(cmd.Process.Pid, stop, peak)
	err := cmd.Wait()
	wall := time.Since(start)
	close(stop)
	s := sample{wall: wall, peak: <-peak, cpu: cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()}
	if err != nil {
		return s, fmt.Errorf("%s: %w\n%s", strings.Join(argv, " "), err, tail(out.String(), 2000))
	}
	return s, nil
}

// watchPeak reads the high-water mark of the process's resident memory until
// stop. The kernel keeps the mark, so a few reads a second lose only growth in
// the last instants.
func watchPeak(pid int, stop <-chan struct{}, result chan<- int64) {
	var peak int64
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for {
		if data, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid)); err == nil {
			peak = max(peak, highWater(string(data)))
		}
		select {
		case <-stop:
			result <- peak
			return
		case <-tick.C:
		}
	}
}

func highWater(status string) int64 {
	_, rest, ok := strings.Cut(status, "VmHWM:")
	if !ok {
		return 0
	}
	fields := strings.Fields(rest)
	if len(fields) == 0 {
		return 0
	}
	kib, _ := strconv.ParseInt(fields[0], 10, 64)
	return kib << 10
}

// median returns the sample with the median wall time, with the median of the
// other figures.
func median(samples []sample) sample {
	return sample{
		wall: middle(samples, func(s sample) time.Duration { return s.wall }),
		cpu:  middle(samples, func(s sample) time.Duration { return s.cpu }),
		peak: middle(samples, func(s sample) int64 { return s.peak }),
	}
}

func middle[T time.Duration | int64](samples []sample, of func(sample) T) T {
	if len(samples) == 0 {
		return 0
	}
	values := make([]T, len(samples))
	for i, s := range samples {
		values[i] = of(s)
	}
	slices.Sort(values)
	return values[len(values)/2]
}

func tail(s string, n int) string {
	if len(s) > n {
		return "..." + s[len(s)-n:]
	}
	return s
}

func splitPair(pair string) (name, value string) {
	name, value, _ = strings.Cut(pair, "=")
	return name, value
}

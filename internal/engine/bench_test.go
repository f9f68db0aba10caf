package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"quire/internal/kernel"
	"quire/internal/notebook"
)

// The work of the benchmarks: what the issue gives bounds for.
var benchWork = []struct {
	name  string
	cells int
	code  string
}{
	{"1000cells", 1000, "x = 1"},
	{"1cell", 1, "x = 1"},
	{"200000lines", 1, "for i in range(200000): print('line number', i)"},
	{"200x1000lines", 200, "for i in range(1000): print('line number', i)"},
}

func benchKernel(b *testing.B) (kernel.Spec, bool) {
	name, _, _ := strings.Cut(os.Getenv("QUIRE_TEST_KERNELS"), ",")
	if name == "" {
		return kernel.Spec{}, false
	}
	spec, err := kernel.Finder{}.Find(name)
	if err != nil {
		b.Fatal(err)
	}
	return spec, true
}

// BenchmarkRun is a whole run, file and kernel start included.
func BenchmarkRun(b *testing.B) {
	spec, ok := benchKernel(b)
	if !ok {
		return
	}
	for _, w := range benchWork {
		b.Run(w.name, func(b *testing.B) {
			nb := book(spec.Name)
			for range w.cells {
				nb.Cells = append(nb.Cells, notebook.NewCode(w.code))
			}
			before := cpuMillis()
			for b.Loop() {
				path := filepath.Join(b.TempDir(), "out.ipynb")
				res, err := Run(context.Background(), Request{Source: nb, OutputPath: path, Output: NewFile(path, FileOptions{}), Autosave: DefaultAutosave})
				if err != nil || res.Status != Succeeded {
					b.Fatal(res.Status, err)
				}
			}
			b.ReportMetric((cpuMillis()-before)/float64(b.N), "cpu-ms/op")
			b.ReportMetric(peakMiB(), "peakMiB")
		})
	}
}

// BenchmarkFloor is the least that any client must do: start, execute, read
// every message, stop.
func BenchmarkFloor(b *testing.B) {
	spec, ok := benchKernel(b)
	if !ok {
		return
	}
	for _, w := range benchWork {
		b.Run(w.name, func(b *testing.B) {
			before := cpuMillis()
			for b.Loop() {
				if err := floor(spec, w.cells, w.code); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric((cpuMillis()-before)/float64(b.N), "cpu-ms/op")
		})
	}
}

// cpuMillis is the CPU time of this process, its kernels not included.
func cpuMillis() float64 {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return float64(u.Utime.Nano()+u.Stime.Nano()) / 1e6
}

func floor(spec kernel.Spec, cells int, code string) error {
	ctx := context.Background()
	k, err := kernel.Start(ctx, kernel.Config{Spec: spec})
	if err != nil {
		return err
	}
	defer func() { _ = k.Close() }()
	for range cells {
		ex, err := k.Execute(ctx, kernel.ExecuteRequest{Code: code, StoreHistory: true, StopOnError: true})
		if err != nil {
			return err
		}
		for {
			if _, err := ex.Next(ctx); errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				return err
			}
		}
	}
	return k.Shutdown(ctx, 0)
}

// peakMiB is the most memory that this process has had.
func peakMiB() float64 {
	data, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(data)) {
		var kib float64
		if n, _ := fmt.Sscanf(line, "VmHWM: %f kB", &kib); n == 1 {
			return kib / 1024
		}
	}
	return 0
}

package main

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"time"
)

// line is a result as one line for the terminal.
func (r result) line() string {
	return fmt.Sprintf("%s (must: %s): %s", r.figure, r.must, verdict(r.met))
}

func verdict(met bool) string {
	if met {
		return "met"
	}
	return "NOT met"
}

// report returns the table in Markdown, with the machine and the date.
func report(cfg config, results []result) string {
	var b strings.Builder
	fmt.Fprintf(&b, "# Benchmarks\n\nPrinted by `make bench`: one run on one machine; figures are medians of %d runs that alternate between the sides.\n", cfg.runs)
	fmt.Fprintf(&b, "The floor is a bare message loop on the same kernel: start it, send each cell, read what comes, stop it.\n")
	fmt.Fprintf(&b, "CPU is that of the command and all it started; memory is the peak of the command's own process, without its kernel.\n")
	fmt.Fprintf(&b, "The peer is Papermill; of the rows of the platform jupyter-server, or nbconvert, where the row names it.\n\n")
	fmt.Fprintf(&b, "%s, %s\n\n", time.Now().UTC().Format("2006-01-02"), machine(cfg))
	b.WriteString("| work | must | seen | | Quire | CPU | memory | floor | CPU | peer | CPU | memory |\n")
	b.WriteString("|---|---|---|---|---|---|---|---|---|---|---|---|\n")
	for _, r := range results {
		over := ""
		if r.peerOver {
			over = "> "
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s | %s | %s | %s | %s | %s%s | %s | %s |\n", r.name, r.must, r.figure, verdict(r.met),
			seconds(r.quire.wall), seconds(r.quire.cpu), mebibytes(r.quire.peak),
			seconds(r.floor.wall), seconds(r.floor.cpu),
			over, seconds(r.peer.wall), seconds(r.peer.cpu), mebibytes(r.peer.peak))
	}
	return b.String()
}

func seconds(d time.Duration) string {
	switch {
	case d == 0:
		return ""
	case d < 100*time.Millisecond:
		return fmt.Sprintf("%.1f ms", float64(d.Microseconds())/1000)
	}
	return fmt.Sprintf("%.2f s", d.Seconds())
}

func mebibytes(n int64) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprintf("%d MiB", n>>20)
}

func machine(cfg config) string {
	parts := []string{fmt.Sprintf("%s/%s, %d cores", runtime.GOOS, runtime.GOARCH, runtime.NumCPU())}
	if data, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		if _, rest, ok := strings.Cut(string(data), "model name\t: "); ok {
			name, _, _ := strings.Cut(rest, "\n")
			parts = append(parts, name)
		}
	}
	if out, err := exec.Command(cfg.python, "-c", "import ipykernel, sys; print('Python', sys.version.split()[0], 'ipykernel', ipykernel.__version__)").Output(); err == nil {
		parts = append(parts, strings.TrimSpace(string(out)))
	}
	if cfg.papermill != "" {
		if out, err := exec.Command(cfg.papermill, "--version").Output(); err == nil {
			parts = append(parts, "Papermill "+strings.Fields(string(out))[0])
		}
	}
	return strings.Join(parts, "; ")
}

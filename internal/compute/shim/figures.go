//go:build unix

package shim

import (
	"bytes"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"quire/internal/compute"
)

// readFigures reads the open files of a control group.
func readFigures(files []FileOf) compute.Stats {
	stats := compute.Stats{At: time.Now()}
	buffer := make([]byte, 8<<10)
	for _, f := range files {
		if n, err := unix.Pread(f.FD, buffer, 0); err == nil {
			AddFigure(&stats, f.Name, buffer[:n])
		}
	}
	return stats
}

// FigureFiles are the names of the control group files that AddFigure reads,
// of both versions.
func FigureFiles() []string {
	return []string{
		"cpuacct.usage", "cpu.stat", "memory.usage_in_bytes", "memory.max_usage_in_bytes", "memory.oom_control",
		"memory.stat", "memory.current", "memory.peak", "memory.events", "pids.current",
	}
}

// AddFigure adds what one file of a control group says to stats.
func AddFigure(stats *compute.Stats, name string, data []byte) {
	value, _ := strconv.ParseInt(string(bytes.TrimSpace(data)), 10, 64)
	measured := compute.Memory
	switch name {
	case "cpuacct.usage":
		stats.CPU, measured = time.Duration(value), compute.CPU
	case "cpu.stat":
		measured = compute.CPU
		if micro, ok := keyed(data, "usage_usec"); ok {
			stats.CPU = time.Duration(micro) * time.Microsecond
		}
		if micro, ok := keyed(data, "throttled_usec"); ok {
			stats.Throttled = time.Duration(micro) * time.Microsecond
		} else if nano, ok := keyed(data, "throttled_time"); ok {
			stats.Throttled = time.Duration(nano)
		}
	case "memory.usage_in_bytes", "memory.current":
		stats.MemoryBytes += value
	case "memory.stat": // pages of files that nobody has used lately can go at once
		if inactive, ok := keyed(data, "total_inactive_file"); ok {
			stats.MemoryBytes -= inactive
		} else if inactive, ok := keyed(data, "inactive_file"); ok {
			stats.MemoryBytes -= inactive
		}
	case "memory.max_usage_in_bytes", "memory.peak":
		stats.PeakBytes = value
	case "memory.oom_control", "memory.events":
		stats.OOMKills, _ = keyed(data, "oom_kill")
	case "pids.current":
		stats.Processes, measured = value, compute.PIDs
	default:
		return
	}
	for _, r := range stats.Measured {
		if r == measured {
			return
		}
	}
	stats.Measured = append(stats.Measured, measured)
}

// keyed finds "key value" on a line of its own.
func keyed(data []byte, key string) (int64, bool) {
	for line := range strings.Lines(string(data)) {
		if rest, ok := strings.CutPrefix(line, key+" "); ok {
			n, err := strconv.ParseInt(strings.TrimSpace(rest), 10, 64)
			return n, err == nil
		}
	}
	return 0, false
}

package kernel

import (
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
)

// memoryWatch tells whether the system killed a process for lack of memory,
// from counters before and after.
type memoryWatch struct {
	file  string // memory.events (v2) or memory.oom_control (v1); empty when there is none
	limit int64  // bytes, 0 for none

	mu    sync.Mutex
	group int64 // oom_kill of the control group when last looked
	host  int64 // oom_kill of the machine when last looked
}

// watchMemory begins to watch the control group of a process.
func watchMemory(pid int) *memoryWatch {
	return watchMemoryAt("/proc", "/sys/fs/cgroup", pid)
}

// watchMemoryAt is watchMemory with the roots of the two file systems.
func watchMemoryAt(proc, cgroups string, pid int) *memoryWatch {
	w := &memoryWatch{}
	data, _ := os.ReadFile(filepath.Join(proc, itoa(pid), "cgroup"))
	for line := range strings.Lines(string(data)) {
		part := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(part) != 3 {
			continue
		}
		switch {
		case part[0] == "0" && w.file == "":
			w.file, w.limit = findGroup(cgroups, part[2], "memory.events", "memory.max")
		case hasController(part[1], "memory"):
			w.file, w.limit = findGroup(filepath.Join(cgroups, "memory"), part[2], "memory.oom_control", "memory.limit_in_bytes")
		}
	}
	w.refresh()
	return w
}

func hasController(list, name string) bool {
	for c := range strings.SplitSeq(list, ",") {
		if c == name {
			return true
		}
	}
	return false
}

// findGroup returns the file of counters of the group, or of the nearest one
// above it that can be seen (in a container the own group is the root), and
// the smallest limit on the way up.
func findGroup(root, path, events, limit string) (file string, least int64) {
	if strings.Contains(path, "..") {
		path = "/"
	}
	for dir := filepath.Join(root, path); strings.HasPrefix(dir, root); dir = filepath.Dir(dir) {
		if file == "" {
			if _, err := os.Stat(filepath.Join(dir, events)); err == nil {
				file = filepath.Join(dir, events)
			}
		}
		data, err := os.ReadFile(filepath.Join(dir, limit))
		if n, perr := strconv.ParseInt(strings.TrimSpace(string(data)), 10, 64); err == nil && perr == nil &&
			n > 0 && n < math.MaxInt64/2 && (least == 0 || n < least) {
			least = n
		}
		if dir == root {
			break
		}
	}
	return file, least
}

// refresh notes the counters as they are now: kills before it do not count.
func (w *memoryWatch) refresh() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.file != "" {
		w.group = counter(w.file, "oom_kill")
		return
	}
	w.host = counter("/proc/vmstat", "oom_kill")
}

// killed reports whether the counters rose, or whether without counters the
// peak came so near to the limit that there is no other explanation.
func (w *memoryWatch) killed(peak int64) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.file != "" {
		return counter(w.file, "oom_kill") > w.group
	}
	if counter("/proc/vmstat", "oom_kill") > w.host {
		return true
	}
	return w.limit > 0 && peak >= w.limit/20*19
}

// counter reads "name N" from a file of such lines; 0 when there is none.
func counter(file, name string) int64 {
	data, err := os.ReadFile(file)
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(data)) {
		if key, value, ok := strings.Cut(strings.TrimSpace(line), " "); ok && key == name {
			n, _ := strconv.ParseInt(value, 10, 64)
			return n
		}
	}
	return 0
}

package kernel

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

const clockTick = time.Second / 100 // USER_HZ, the same on every Linux that we run on

// stat is what /proc/PID/stat says of a process.
type stat struct {
	pid, parent int
	cpu         time.Duration
	rss         int64
}

// treeUsage adds up the process and all below it.
func treeUsage(pid int) Usage {
	var u Usage
	procs := make(map[int]stat)
	children := make(map[int][]int)
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return u
	}
	for _, e := range entries {
		n, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		if s, ok := readStat(n); ok {
			procs[n] = s
			children[s.parent] = append(children[s.parent], n)
		}
	}
	todo := []int{pid}
	for len(todo) > 0 {
		p := todo[0]
		todo = append(todo[1:], children[p]...)
		s, ok := procs[p]
		if !ok {
			continue
		}
		u.CPU += s.cpu
		u.RSSBytes += s.rss
		u.Processes++
	}
	u.PeakBytes = max(u.RSSBytes, highWater(pid))
	return u
}

func readStat(pid int) (stat, bool) {
	data, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	if err != nil {
		return stat{}, false
	}
	// The name is in parentheses and may hold anything: count from the last one.
	text := string(data)
	fields := strings.Fields(text[strings.LastIndexByte(text, ')')+1:])
	if len(fields) < 22 {
		return stat{}, false
	}
	num := func(i int) int64 {
		n, _ := strconv.ParseInt(fields[i], 10, 64)
		return n
	}
	return stat{
		pid: pid, parent: int(num(1)),
		cpu: time.Duration(num(11)+num(12)) * clockTick,
		rss: num(21) * int64(os.Getpagesize()),
	}, true
}

// highWater is the most memory that the process itself held.
func highWater(pid int) int64 {
	data, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "status"))
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(data)) {
		if rest, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			n, _ := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 10, 64)
			return n << 10
		}
	}
	return 0
}

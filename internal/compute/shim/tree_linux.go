package shim

import (
	"bytes"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"quire/internal/compute"
)

// hideMemory keeps the container's processes, which may have the shim's user,
// from tracing it and from reading its files under /proc.
func hideMemory() error { return unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0) }

// adoptOrphans makes this process the parent of every descendant whose parent
// ends: none gets away.
func adoptOrphans() { unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) } //nolint:errcheck // older than any kernel this runs on

func highestFD() int {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return 64
	}
	highest := fdFirst
	for _, e := range entries {
		if n, err := strconv.Atoi(e.Name()); err == nil && n > highest {
			highest = n
		}
	}
	return highest
}

// waitForChild waits until a child has ended, leaving its status to reap, or
// for so long.
func waitForChild(most time.Duration) {
	deadline := time.Now().Add(most)
	for time.Now().Before(deadline) {
		var info unix.Siginfo
		if err := unix.Waitid(unix.P_ALL, 0, &info, unix.WEXITED|unix.WNOHANG|unix.WNOWAIT, nil); err != nil || info.Signo != 0 {
			return
		}
		time.Sleep(time.Millisecond)
	}
}

// killAll kills everything below the shim, and tells whether there was
// anything.
func (k *keeper) killAll() bool {
	if os.Getpid() == 1 {
		return unix.Kill(-1, unix.SIGKILL) == nil
	}
	all := descendants(os.Getpid())
	for _, p := range all {
		unix.Kill(p.pid, unix.SIGKILL) //nolint:errcheck // it may just have ended
	}
	return len(all) > 0
}

// usage measures the processes below the shim, or, where there is one, the
// control group.
func (k *keeper) usage() compute.Stats {
	if len(k.cfg.Figures) > 0 {
		return readFigures(k.cfg.Figures)
	}
	stats := compute.Stats{At: time.Now(), Measured: []compute.Resource{compute.CPU, compute.Memory, compute.PIDs}}
	for _, p := range descendants(os.Getpid()) {
		stats.CPU += p.cpu
		stats.MemoryBytes += p.rss
		stats.Processes += p.threads
	}
	stats.PeakBytes = stats.MemoryBytes
	return stats
}

// process is what /proc says of one.
type process struct {
	pid, parent  int
	cpu          time.Duration
	rss, threads int64
	dead         bool
	start        string // in clock ticks since the boot
}

// descendants lists the live processes below one.
func descendants(top int) []process {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil
	}
	children := make(map[int][]process)
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		if p, ok := readProcess(pid); ok && !p.dead {
			children[p.parent] = append(children[p.parent], p)
		}
	}
	var found []process
	queue := []int{top}
	for len(queue) > 0 {
		next := children[queue[0]]
		delete(children, queue[0])
		queue = queue[1:]
		for _, p := range next {
			found = append(found, p)
			queue = append(queue, p.pid)
		}
	}
	return found
}

// readProcess reads /proc/PID/stat.
func readProcess(pid int) (process, bool) {
	data, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	end := bytes.LastIndexByte(data, ')') // the name may hold anything
	if err != nil || end < 0 {
		return process{}, false
	}
	f := strings.Fields(string(data[end+1:]))
	if len(f) < 22 {
		return process{}, false
	}
	number := func(i int) int64 { n, _ := strconv.ParseInt(f[i], 10, 64); return n }
	const tick = time.Second / 100
	return process{
		pid: pid, parent: int(number(1)), dead: f[0] == "Z" || f[0] == "X",
		cpu: time.Duration(number(11)+number(12)) * tick, threads: number(17),
		rss: number(21) * int64(os.Getpagesize()), start: f[19],
	}, true
}

// processStart returns when a process started, as a word that no later process
// of the same id has; "" when there is none.
func processStart(pid int) string {
	p, ok := readProcess(pid)
	if !ok || p.dead {
		return ""
	}
	return p.start
}

// bootID names this boot of the machine.
func bootID() string {
	data, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(data))
}

// killExactly kills a process if it is still the one that started then.
func killExactly(pid int, start string) {
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return
	}
	defer unix.Close(fd)
	if processStart(pid) == start {
		unix.PidfdSendSignal(fd, syscall.SIGKILL, nil, 0) //nolint:errcheck // it may just have ended
	}
}

// mapping is held while a process with a user namespace is started. Until we have
// mapped its users it waits on a pipe, whose other end whatever is forked meanwhile
// has too: two at once would wait for each other for ever where we are killed just
// then, with the locks of their containers.
var mapping sync.Mutex

// startMapped starts a process with a user namespace.
func startMapped(cmd *exec.Cmd) error {
	mapping.Lock()
	defer mapping.Unlock()
	return cmd.Start()
}

// startReaped starts a shim and returns what waits for its end, without a
// thread that sleeps for as long as the container lives.
func startReaped(cmd *exec.Cmd) (pid int, wait func(), err error) {
	pidfd := -1
	cmd.SysProcAttr.PidFD = &pidfd
	start := cmd.Start
	if len(cmd.SysProcAttr.UidMappings) > 0 {
		start = func() error { return startMapped(cmd) }
	}
	if err := start(); err != nil {
		return 0, nil, err
	}
	pid = cmd.Process.Pid
	if pidfd < 0 || unix.SetNonblock(pidfd, true) != nil {
		return pid, func() { cmd.Wait() }, nil //nolint:errcheck // the result is in exit.json
	}
	cmd.Process.Release() //nolint:errcheck // from here on pidfd is the process
	return pid, func() {
		f := os.NewFile(uintptr(pidfd), "shim")
		defer f.Close()
		conn, err := f.SyscallConn()
		if err != nil {
			return
		}
		conn.Read(func(uintptr) bool { //nolint:errcheck // it ends with the shim
			got, err := syscall.Wait4(pid, nil, syscall.WNOHANG, nil)
			return got == pid || (err != nil && err != syscall.EINTR)
		})
	}, nil
}

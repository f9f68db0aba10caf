package jupyter

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// killSession kills every process of a terminal's session: a shell gives each
// of its jobs a process group of its own.
func killSession(leader int) { signalSession(leader, syscall.SIGKILL) }

// signalSession signals the leader's group and every process of its session
// that the system's table shows.
func signalSession(leader int, sig syscall.Signal) {
	for _, pid := range sessionMembers(leader) {
		_ = syscall.Kill(pid, sig) // gone meanwhile
	}
	_ = syscall.Kill(-leader, sig)
}

// sessionMembers returns the processes of a session; none where there is no
// /proc.
func sessionMembers(leader int) []int {
	files, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return nil
	}
	var pids []int
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			continue
		}
		// The name in parentheses may hold anything: the fields follow its end.
		fields := strings.Fields(string(data[strings.LastIndexByte(string(data), ')')+1:]))
		if len(fields) < 4 || fields[3] != strconv.Itoa(leader) {
			continue
		}
		if pid, err := strconv.Atoi(filepath.Base(filepath.Dir(file))); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids
}

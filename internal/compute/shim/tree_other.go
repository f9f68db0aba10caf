//go:build unix && !linux

package shim

import (
	"os/exec"
	"syscall"
	"time"

	"quire/internal/compute"
)

func hideMemory() error { return nil }

func adoptOrphans() {}

func highestFD() int { return 64 }

func waitForChild(most time.Duration) { time.Sleep(min(most, time.Millisecond)) }

// killAll kills the process groups of what the shim started.
func (k *keeper) killAll() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	for pid := range k.children {
		syscall.Kill(-pid, syscall.SIGKILL) //nolint:errcheck // it may just have ended
	}
	return len(k.children) > 0
}

func (k *keeper) usage() compute.Stats { return compute.Stats{At: time.Now()} }

// processStart tells only whether there is such a process.
func processStart(pid int) string {
	if syscall.Kill(pid, 0) == syscall.ESRCH {
		return ""
	}
	return "alive"
}

func bootID() string { return "" }

func killExactly(pid int, start string) {
	if processStart(pid) == start {
		syscall.Kill(pid, syscall.SIGKILL) //nolint:errcheck // it may just have ended
	}
}

func startReaped(cmd *exec.Cmd) (pid int, wait func(), err error) {
	if err := cmd.Start(); err != nil {
		return 0, nil, err
	}
	return cmd.Process.Pid, func() { cmd.Wait() }, nil //nolint:errcheck // the result is in exit.json
}

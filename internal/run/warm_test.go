package run_test

import (
	"context"
	"encoding/json"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"quire/internal/run"
)

// A next is the launcher that is asked when no process waits.
type next struct {
	mu   sync.Mutex
	dirs []string
}

func (n *next) Launch(_ context.Context, dir string) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.dirs = append(n.dirs, dir)
	return nil
}

// warm returns a started Warm whose processes are the shell script.
func warm(t *testing.T, script string) (*run.Warm, *next) {
	t.Helper()
	n := &next{}
	w := &run.Warm{
		Next: n, Command: []string{"/bin/sh", "-c", script}, Dir: t.TempDir(), Size: 1, Log: slog.New(slog.DiscardHandler),
	}
	if err := w.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Stop)
	return w, n
}

func await(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.After(2 * time.Minute)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-deadline:
			t.Fatalf("%s: not within two minutes", what)
		case <-tick.C:
		}
	}
}

func spoolDir(t *testing.T, w *run.Warm) string {
	t.Helper()
	dir := filepath.Join(w.Dir, "a run", "1")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	return dir
}

// TestWarmGivesAttemptToWaitingProcess: it is told the spool, writes its log
// there, and another takes its place.
func TestWarmGivesAttemptToWaitingProcess(t *testing.T) {
	t.Parallel()
	w, n := warm(t, `echo ready; read -r line; echo taken; echo "got $line" >&2`)
	await(t, "a process waits", func() bool { return w.Ready() == 1 })
	dir := spoolDir(t, w)
	if err := w.Launch(t.Context(), dir); err != nil {
		t.Fatal(err)
	}
	want, _ := json.Marshal(dir)
	await(t, "the log is in the spool", func() bool {
		log, _ := os.ReadFile(filepath.Join(dir, "platform.log"))
		return string(log) == "got "+string(want)+"\n"
	})
	if len(n.dirs) != 0 {
		t.Errorf("a cold start was asked for too: %v", n.dirs)
	}
	await(t, "another waits", func() bool { return w.Ready() == 1 })
}

// TestWarmFallsBack: whatever is wrong with the waiting process, the attempt
// starts, once.
func TestWarmFallsBack(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ name, script string }{
		{"died while it waited", `echo ready`},
		{"says something else", `echo ready; read -r line; echo what; sleep 100`},
		{"says nothing", `echo ready; read -r line; sleep 100`},
		{"reads nothing", `echo ready; exec <&-; sleep 100`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w, n := warm(t, tt.script)
			await(t, "a process waits", func() bool { return w.Ready() == 1 })
			dir := spoolDir(t, w)
			if err := w.Launch(t.Context(), dir); err != nil {
				t.Fatal(err)
			}
			if len(n.dirs) != 1 || n.dirs[0] != dir {
				t.Errorf("cold starts: %v, want one of %s", n.dirs, dir)
			}
		})
	}
}

// TestWarmNoneReady: a process that never says that it waits is not counted.
func TestWarmNoneReady(t *testing.T) {
	t.Parallel()
	w, n := warm(t, `echo no kernel here >&2; exit 1`)
	if err := w.Launch(t.Context(), spoolDir(t, w)); err != nil || len(n.dirs) != 1 {
		t.Errorf("Launch: %v, cold starts %v", err, n.dirs)
	}
}

// TestWarmStopEndsProcesses: what waits ends with the server, what it started
// too.
func TestWarmStopEndsProcesses(t *testing.T) {
	t.Parallel()
	pids := filepath.Join(t.TempDir(), "pids")
	w, _ := warm(t, `sleep 1000 & echo "$$ $!" >`+pids+`; echo ready; wait`)
	await(t, "a process waits", func() bool { return w.Ready() == 1 })
	w.Stop()
	w.Stop()
	data, err := os.ReadFile(pids)
	if err != nil {
		t.Fatal(err)
	}
	for _, pid := range strings.Fields(string(data)) {
		await(t, "process "+pid+" is gone", func() bool {
			status, err := os.ReadFile(filepath.Join("/proc", pid, "stat"))
			return err != nil || strings.Contains(string(status), ") Z ")
		})
	}
}

package server_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestNotebookServersKernels lets JupyterLab's own client use R and Deno, debug
// a cell, open comms both ways, and lose its network for 30 s in the middle of a stream.
func TestNotebookServersKernels(t *testing.T) {
	t.Parallel()
	modules := os.Getenv(jupyterlabVariable)
	if modules == "" {
		t.Logf("%s is not set: there is no client to test with", jupyterlabVariable)
		return
	}
	groups := map[string]string{"ir": "done 7", "deno": "done 6", "comms": "done 2", "debug": "done 3", "cut": "done 2"}
	group := memoryGroup(t)
	if group != "" {
		groups["memory"] = "done 1"
	}
	for what, want := range groups {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			url := startQuire(t, nil, "notebook", t.TempDir(), "--listen", "127.0.0.1:0",
				"--data", filepath.Join(t.TempDir(), "data"), "--user", "ann", "--warm", "-1")
			cmd := exec.CommandContext(t.Context(), "node", "testdata/jupyterkernels.js")
			cmd.Env = append(os.Environ(), "NODE_PATH="+modules, "SERVER_URL="+url, "SERVER_TOKEN="+harnessToken, "WHAT="+what, "GROUP="+group)
			out, err := cmd.CombinedOutput()
			if err != nil || !strings.Contains(string(out), want) {
				t.Errorf("%v\n%s", err, out)
			}
			t.Logf("%s", out)
		})
	}
}

// memoryGroup makes a control group with a limit of 250 MB, and returns its
// folder; empty where this user may make none.
func memoryGroup(t *testing.T) string {
	t.Helper()
	for dir, limit := range map[string]string{"/sys/fs/cgroup/memory": "memory.limit_in_bytes", "/sys/fs/cgroup": "memory.max"} {
		if _, err := os.Stat(filepath.Join(dir, "cgroup.procs")); err != nil {
			continue
		}
		group, err := os.MkdirTemp(dir, "quire-test-")
		if err != nil {
			continue
		}
		t.Cleanup(func() {
			if err := os.Remove(group); err != nil {
				t.Error(err)
			}
		})
		if os.WriteFile(filepath.Join(group, limit), []byte("250000000"), 0o644) == nil {
			return group
		}
	}
	t.Log("no control group can be made here: a lack of memory is not played")
	return ""
}

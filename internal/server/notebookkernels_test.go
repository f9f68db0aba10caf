package server_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestNotebookServersKernels lets JupyterLab's own client use R and Deno, open
// comms both ways, and lose its network for 30 s in the middle of a stream.
func TestNotebookServersKernels(t *testing.T) {
	t.Parallel()
	modules := os.Getenv(jupyterlabVariable)
	if modules == "" {
		t.Logf("%s is not set: there is no client to test with", jupyterlabVariable)
		return
	}
	for what, want := range map[string]string{"ir": "done 7", "deno": "done 5", "comms": "done 2", "cut": "done 2"} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			url := startQuire(t, nil, "notebook", t.TempDir(), "--listen", "127.0.0.1:0",
				"--data", filepath.Join(t.TempDir(), "data"), "--user", "ann", "--warm", "-1")
			cmd := exec.CommandContext(t.Context(), "node", "testdata/jupyterkernels.js")
			cmd.Env = append(os.Environ(), "NODE_PATH="+modules, "SERVER_URL="+url, "SERVER_TOKEN="+harnessToken, "WHAT="+what)
			out, err := cmd.CombinedOutput()
			if err != nil || !strings.Contains(string(out), want) {
				t.Errorf("%v\n%s", err, out)
			}
			t.Logf("%s", out)
		})
	}
}

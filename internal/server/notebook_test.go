package server_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestNotebookServersClient lets JupyterLab's own client use every group of the
// Jupyter API of the real binary, under a base path: kernels, channels in both
// framings, sessions, terminals, settings, exports, events, and who is let in.
func TestNotebookServersClient(t *testing.T) {
	t.Parallel()
	modules := os.Getenv(jupyterlabVariable)
	if modules == "" {
		t.Logf("%s is not set: there is no client to test with", jupyterlabVariable)
		return
	}
	dir := t.TempDir()
	url := startQuire(t, nil, "notebook", dir, "--listen", "127.0.0.1:0",
		"--data", filepath.Join(t.TempDir(), "data"), "--user", "ann", "--base-url", "/user/ann/")
	if !strings.HasSuffix(url, "/user/ann/") {
		t.Errorf("the address is %s: want one that ends in the base path", url)
	}
	cmd := exec.CommandContext(t.Context(), "node", "testdata/jupyterserver.js")
	cmd.Env = append(os.Environ(), "NODE_PATH="+modules, "SERVER_URL="+url, "SERVER_TOKEN="+harnessToken)
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "done 30") {
		t.Errorf("%v\n%s", err, out)
	}
	if _, err := os.Stat(filepath.Join(dir, "deep")); err != nil {
		t.Errorf("the client's folder is not in the folder that is served: %v", err)
	}
}

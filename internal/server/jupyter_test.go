package server_test

import (
	"bufio"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// jupyterlabVariable holds the folder node_modules with @jupyterlab/services.
// `make test` installs it and sets it.
const jupyterlabVariable = "QUIRE_TEST_JUPYTERLAB"

// startQuire starts the real binary, which ends with the test, and returns its
// address with a slash at the end. It is asked to stop and has to exit with 0.
func startQuire(t *testing.T, env []string, args ...string) string {
	t.Helper()
	program, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program, args...)
	cmd.Env = append(append(os.Environ(), "QUIRE_TOKEN="+harnessToken), env...)
	log := &strings.Builder{}
	cmd.Stderr = log
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		if err := cmd.Wait(); err != nil || t.Failed() {
			t.Errorf("the server ended with %v; its log:\n%s", err, log)
		}
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatalf("the server ended before it was ready: %v", err)
	}
	go func() { _, _ = io.Copy(io.Discard, out) }()
	url, _, _ := strings.Cut(strings.TrimSpace(line), "?")
	return url
}

// TestJupyterLabsClient lets JupyterLab's own client use the contents API of
// the real binary: all verbs in a workspace, and the read-only root.
func TestJupyterLabsClient(t *testing.T) {
	t.Parallel()
	modules := os.Getenv(jupyterlabVariable)
	if modules == "" {
		t.Logf("%s is not set: there is no client to test with", jupyterlabVariable)
		return
	}
	url := startQuire(t, nil, "up", "--listen", "127.0.0.1:0", "--data", filepath.Join(t.TempDir(), "data"), "--user", "ann")
	cmd := exec.CommandContext(t.Context(), "node", "testdata/jupyterlab.js")
	cmd.Env = append(os.Environ(), "NODE_PATH="+modules, "SERVER_URL="+url, "SERVER_TOKEN="+harnessToken)
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "done 13") {
		t.Errorf("%v\n%s", err, out)
	}
}

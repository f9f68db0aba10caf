package server_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestLiveNotebook lets JupyterLab's document model edit and run a notebook of
// the real binary over y-websocket: two people, cells that go on without them, a
// kernel that dies, a plain client's save. QUIRE_TEST_YDOC names the directory
// that tools/ydoc is installed in.
func TestLiveNotebook(t *testing.T) {
	t.Parallel()
	modules := os.Getenv("QUIRE_TEST_YDOC")
	if modules == "" {
		t.Log("QUIRE_TEST_YDOC is not set: there is no client to test with")
		return
	}
	url := startQuire(t, nil, "notebook", t.TempDir(), "--listen", "127.0.0.1:0",
		"--data", filepath.Join(t.TempDir(), "data"), "--user", "ann")
	cmd := exec.CommandContext(t.Context(), "node", "../../tools/ydoc/collaboration.mjs", modules)
	cmd.Env = append(os.Environ(), "SERVER_URL="+url, "SERVER_TOKEN="+harnessToken)
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "done 13") {
		t.Errorf("%v\n%s", err, out)
	}
}

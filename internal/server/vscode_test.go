package server_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestVSCode replays what Visual Studio Code does with an "Existing Jupyter
// Server": one that stands alone, where it signs in with a password, and a
// person's behind the platform, with a token.
func TestVSCode(t *testing.T) {
	t.Parallel()
	modules := os.Getenv(jupyterlabVariable)
	if modules == "" {
		t.Logf("%s is not set: there is no client to test with", jupyterlabVariable)
		return
	}
	for _, tt := range []struct {
		name, way, want string
		start           func(t *testing.T) string
	}{
		{"alone", "password", "done 9", func(t *testing.T) string {
			return startQuire(t, nil, "notebook", t.TempDir(), "--listen", "127.0.0.1:0", "--data", filepath.Join(t.TempDir(), "data"), "--user", "ann")
		}},
		{"behind the platform", "token", "done 7", func(t *testing.T) string {
			v := newVictimIn(t, "", "compute: process")
			v.env = append(v.env, "JUPYTER_PATH="+os.Getenv("JUPYTER_PATH")) // a real kernel
			v.patience = 2 * time.Minute
			v.start()
			t.Cleanup(v.endNotebookServer)
			return *v.url.Load() + "/user/ann/"
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			url := tt.start(t)
			cmd := exec.CommandContext(t.Context(), "node", "testdata/vscode.js")
			cmd.Env = append(os.Environ(), "NODE_PATH="+modules, "SERVER_URL="+url, "SERVER_TOKEN="+harnessToken, "WAY="+tt.way)
			out, err := cmd.CombinedOutput()
			if err != nil || !strings.Contains(string(out), tt.want) {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
}

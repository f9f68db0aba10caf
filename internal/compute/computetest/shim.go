package computetest

import (
	"encoding/json"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"quire/internal/compute"
)

// testShimKilled: a container whose shim is killed has ended, and its end is
// the place's fault, not the user's. Drivers without shims have nothing to do.
func testShimKilled(t *testing.T, f *fixture) {
	id := f.start(t, f.spec("exec sleep 60"))
	data, err := os.ReadFile(filepath.Join(f.dir, id, "proc.json"))
	if os.IsNotExist(err) {
		return
	}
	var shim struct{ PID int }
	if err := json.Unmarshal(data, &shim); err != nil || shim.PID <= 1 {
		t.Fatalf("%s: %v", data, err)
	}
	if err := syscall.Kill(shim.PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if exit := f.wait(t, id); exit.Cause != compute.CauseSystem || exit.Code != 137 {
		t.Errorf("%+v", exit)
	}
	if s, err := f.Status(f.ctx, id); err != nil || s.State != compute.Exited {
		t.Errorf("%+v, %v", s, err)
	}
}

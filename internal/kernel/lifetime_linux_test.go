package kernel_test

import (
	"bufio"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"quire/internal/kernel"
	"quire/internal/kernel/kerneltest"
)

// testOwnerKilled kills a program that owns a kernel: the kernel must end, and
// the next program must remove what was left behind.
func testOwnerKilled(t *testing.T, oc ownerConfig) {
	t.Helper()
	oc.RuntimeDir = runtimeDir(t)
	data, err := json.Marshal(oc)
	if err != nil {
		t.Fatal(err)
	}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe)
	cmd.Env = append(os.Environ(), ownerVariable+"="+string(data))
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd.Process.Kill() }()
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(line))
	if err != nil {
		t.Fatalf("the owner says %q", line)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	awaitGone(t, pid)
	left, err := filepath.Glob(filepath.Join(oc.RuntimeDir, "k-*"))
	if err != nil || len(left) == 0 {
		t.Fatalf("a killed program left %v, %v: the test needs something to sweep", left, err)
	}
	k := start(t, kernel.Config{Spec: kerneltest.Spec(t, kerneltest.Options{}), RuntimeDir: oc.RuntimeDir})
	if err := k.Close(); err != nil {
		t.Fatal(err)
	}
	checkNoKernelDirs(t, oc.RuntimeDir)
}

func TestKernelDiesWithItsOwner(t *testing.T) {
	t.Parallel()
	testOwnerKilled(t, ownerConfig{Spec: kerneltest.Spec(t, kerneltest.Options{})})
}

func TestForkedKernelDiesWithItsOwner(t *testing.T) {
	for _, spec := range realKernels(t) {
		if spec.Language == "python" {
			testOwnerKilled(t, ownerConfig{Spec: spec, Fork: true})
		}
	}
}

//go:build linux

package local_test

import (
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"quire/internal/compute"
)

// TestOrdinaryUser runs the suite and the isolation tests once more as a user
// with no rights.
func TestOrdinaryUser(t *testing.T) {
	needRoot(t)
	const user = 54321
	dir, err := os.MkdirTemp("", "quire-user")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	program := filepath.Join(dir, "local.test")
	if err := copyProgram(program); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{dir, program} {
		if err := os.Chown(path, user, user); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command(program, "-test.v", "-test.run", "^(TestDriver|TestOutOfReach|TestOthersFolders|TestOwnProgramAsCommand|TestUser.*)$")
	cmd.Env = []string{"TMPDIR=" + dir, "HOME=" + dir, "PATH=" + os.Getenv("PATH")}
	cmd.Dir = dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: user, Gid: user}, Pdeathsig: syscall.SIGKILL}
	out, err := cmd.CombinedOutput()
	if err != nil || strings.Count(string(out), "--- PASS") < 20 || !strings.Contains(string(out), "--- PASS: TestUserLimits") {
		t.Errorf("%v\n%s", err, out)
	}
}

func copyProgram(to string) error {
	from, err := os.Open("/proc/self/exe")
	if err != nil {
		return err
	}
	defer from.Close()
	f, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o755)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = io.Copy(f, from)
	return err
}

// TestUserLimits: what the kernel lets an ordinary user limit is limited, and
// the rest is said.
func TestUserLimits(t *testing.T) {
	if os.Geteuid() == 0 {
		return // TestOrdinaryUser runs it as somebody else
	}
	in := setup(t)
	p, err := in.Probe(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	// A service manager gives some users control groups: tools/test-cgroup2.sh does.
	delegated := os.Getenv("QUIRE_TEST_DELEGATED") != ""
	grouped := compute.BestEffort
	if delegated {
		grouped = compute.Enforced
	}
	for r, want := range map[compute.Resource]compute.Level{
		compute.CPU: grouped, compute.Memory: grouped, compute.Disk: compute.BestEffort,
		compute.Network: compute.Unsupported, compute.PIDs: compute.Enforced, compute.Filesystem: compute.Enforced, compute.Processes: compute.Enforced,
	} {
		if p.Support[r].Level != want {
			t.Errorf("%s: %+v, want %s", r, p.Support[r], want)
		}
	}
	exit, log := in.run(t, in.spec(compute.Resources{MemoryBytes: 64 * compute.MiB}, "sh", "-c", hog))
	if exit.Code == 0 || exit.OOMKilled != delegated || !strings.HasPrefix(log, "start\n") {
		t.Errorf("memory: %+v %q", exit, log)
	}
	t.Logf("memory: %+v %q", exit, log)
	exit, log = in.run(t, in.spec(compute.Resources{PIDs: 50}, "sh", "-c", `i=0; while [ $i -lt 500 ]; do sleep 30 & i=$((i+1)); done; echo all`))
	if exit.Code == 0 {
		t.Errorf("500 processes with a limit of 50: %+v %.200q", exit, log)
	}
	if _, log := in.run(t, in.spec(compute.Resources{DiskBytes: 8 * compute.MiB}, "sh", "-c", "head -c 20000000 /dev/zero >/tmp/big")); !strings.Contains(log, "No space left") {
		t.Errorf("disk: %q", log)
	}
	if delegated { // by time, not by processor
		limitsTime(t, in)
	} else if _, log := in.run(t, in.spec(compute.Resources{CPUMilli: 1000}, "sh", "-c", "grep Cpus_allowed_list /proc/self/status")); strings.ContainsAny(log, ",-") {
		t.Errorf("CPU: %q", log)
	}
	spec := in.spec(compute.Resources{}, "true")
	spec.Network.Mode = compute.NetworkPrivate
	if _, err := in.Create(t.Context(), spec); err == nil || !strings.Contains(err.Error(), "only root") {
		t.Errorf("a private network: %v", err)
	}
}

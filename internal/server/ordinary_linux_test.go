package server_test

import (
	"bufio"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestOrdinaryUserTouchesNothingElse starts the platform as somebody who has no
// right but on an empty home, runs a notebook on it and beside it, and looks for
// what of theirs is left anywhere else where anybody may write.
func TestOrdinaryUserTouchesNothingElse(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Log("not root: who runs the tests stands for the ordinary user, and their other files are not told apart")
		return
	}
	t.Parallel()
	const uid = 54329 // of nobody else's
	// The one thing that stays: empty files by which the servers of one user know
	// each other's ports. Who removed one would let two take the same.
	portLocks := filepath.Join(os.TempDir(), fmt.Sprintf("quire-%d", uid))
	built, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	top, err := os.MkdirTemp("", "quire-ordinary-")
	if err != nil {
		t.Fatal(err)
	}
	home := filepath.Join(top, "home")
	t.Cleanup(func() {
		for _, pid := range processesOf(uid) {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
		_ = os.RemoveAll(top)
		_ = os.RemoveAll(portLocks)
	})
	jupyter := fakeKernelspec(t, top)
	bin := filepath.Join(top, "quire")
	kernelBin := filepath.Join(top, "kernel")
	spec := filepath.Join(jupyter, "kernels", "fake", "kernel.json")
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(spec)
	if err == nil {
		err = os.WriteFile(spec, []byte(strings.ReplaceAll(string(text), self, kernelBin)), 0o600)
	}
	for _, do := range []func() error{
		func() error { return err },
		func() error { return os.Mkdir(home, 0o700) },
		func() error { return os.Chown(home, uid, uid) },
		func() error { return exec.Command("cp", built, bin).Run() },
		func() error { return exec.Command("cp", self, kernelBin).Run() },
		func() error { return exec.Command("chmod", "-R", "go+rX", top).Run() },
		func() error { return os.Chmod(home, 0o700) },
	} {
		if err := do(); err != nil {
			t.Fatal(err)
		}
	}
	command := func(args ...string) *exec.Cmd {
		cmd := exec.Command(bin, args...)
		cmd.Dir, cmd.Env = home, []string{"PATH=/usr/bin:/bin", "HOME=" + home, "USER=ann", "JUPYTER_PATH=" + jupyter, "QUIRE_TOKEN=" + harnessToken}
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid}}
		return cmd
	}
	up := command("up", "--listen", "127.0.0.1:0")
	var said strings.Builder
	up.Stderr = &said
	out, err := up.StdoutPipe()
	if err == nil {
		err = up.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = up.Process.Kill() }() // does nothing when it has ended
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		_ = up.Wait()
		t.Fatalf("quire up as an ordinary user: %v\n%s", err, said.String())
	}
	url, _, _ := strings.Cut(line, "?")
	const notebook = `{"cells":[{"cell_type":"code","id":"a","metadata":{},"outputs":[],"execution_count":null,"source":"print hello"}],"metadata":{"kernelspec":{"name":"fake","display_name":"Fake","language":"fake"}},"nbformat":4,"nbformat_minor":5}`
	for _, dir := range []string{home, filepath.Join(home, ".local/share/quire/files/users/ann")} {
		if err := os.WriteFile(filepath.Join(dir, "in.ipynb"), []byte(notebook), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	submit := command("submit", "users/ann/in.ipynb", "--follow")
	submit.Env = append(submit.Env, "QUIRE_URL="+url)
	for _, cmd := range []*exec.Cmd{command("run", "in.ipynb", "out.ipynb"), submit} {
		if text, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(text), "hello") && cmd == submit {
			t.Errorf("%v: %v\n%s", cmd.Args[1:], err, text)
		}
	}
	_ = up.Process.Signal(syscall.SIGTERM)
	if err := up.Wait(); err != nil {
		t.Errorf("SIGTERM: %v\n%s", err, said.String())
	}
	for deadline := time.Now().Add(3 * time.Minute); len(processesOf(uid)) > 0 && time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
	}
	if left := processesOf(uid); len(left) > 0 {
		t.Errorf("processes %v are left", left)
	}
	for _, dir := range []string{"/tmp", "/var/tmp", "/dev/shm", "/run", "/var/lock", "/dev/mqueue"} {
		_ = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if path == top {
				return filepath.SkipDir
			}
			if err != nil {
				return nil //nolint:nilerr // another test's, gone since
			}
			if info, err := d.Info(); err == nil && !strings.HasPrefix(path, portLocks) {
				if st, ok := info.Sys().(*syscall.Stat_t); ok && st.Uid == uid {
					t.Errorf("%s is left", path)
				}
			}
			return nil
		})
	}
	if _, err := os.Stat(filepath.Join(home, ".local/share/quire")); err != nil {
		t.Errorf("the data are not where the readme says: %v", err)
	}
}

// processesOf returns the processes of a user.
func processesOf(uid uint32) []int {
	var found []int
	entries, _ := os.ReadDir("/proc")
	for _, e := range entries {
		pid := 0
		for _, c := range e.Name() {
			if c < '0' || c > '9' {
				pid = 0
				break
			}
			pid = pid*10 + int(c-'0')
		}
		if info, err := os.Stat(filepath.Join("/proc", e.Name())); err == nil && pid > 0 {
			if st, ok := info.Sys().(*syscall.Stat_t); ok && st.Uid == uid {
				found = append(found, pid)
			}
		}
	}
	return found
}

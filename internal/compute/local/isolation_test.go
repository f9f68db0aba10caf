//go:build linux

package local_test

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"quire/internal/compute"
	"quire/internal/compute/local"
	"quire/internal/problem"
)

// probeCommand makes the test's program one that tries, from inside a
// container, everything that must not work there.
const probeCommand = "probe-container"

// probeTargets are what the host has and the container must not reach.
type probeTargets struct {
	Secrets  []string // files of the host
	HostPID  int
	Listener string // an address of the host's loopback
	Abstract string // an abstract socket of the host
}

// attempt is one thing tried. Result is "" where it worked.
type attempt struct{ Name, Result string }

// probe tries everything and prints the attempts.
func probe() int {
	var targets probeTargets
	if err := json.Unmarshal([]byte(os.Getenv("TARGETS")), &targets); err != nil {
		fmt.Println(err)
		return 1
	}
	var all []attempt
	try := func(name string, do func() error) {
		a := attempt{Name: name}
		if err := do(); err != nil {
			a.Result = err.Error()
		}
		all = append(all, a)
	}
	for _, path := range targets.Secrets {
		try("read "+path, func() error { _, err := os.ReadFile(path); return err })
		try("write "+path, func() error { return os.WriteFile(path, []byte("x"), 0o644) })
		try("read through /proc/1/root"+path, func() error { _, err := os.ReadFile("/proc/1/root" + path); return err })
	}
	probeProcesses(targets, try)
	probeNetwork(targets, try)
	probeKernel(try)
	json.NewEncoder(os.Stdout).Encode(all) //nolint:errcheck // the test sees it
	return 0
}

func probeProcesses(targets probeTargets, try func(string, func() error)) {
	try("signal a host process", func() error { return syscall.Kill(targets.HostPID, 0) })
	try("see a host process", func() error { _, err := os.Stat("/proc/" + strconv.Itoa(targets.HostPID)); return err })
	try("see more processes than ours", func() error {
		list, err := filepath.Glob("/proc/[0-9]*")
		if len(list) <= 4 {
			return fmt.Errorf("%d processes, %v", len(list), err)
		}
		return nil
	})
	try("trace the shim", func() error { return unix.PtraceAttach(1) })
	try("read the shim's memory", func() error { _, err := os.Open("/proc/1/mem"); return err })
	try("read the shim's environment", func() error { _, err := os.ReadFile("/proc/1/environ"); return err })
	try("list the shim's files", func() error { _, err := os.ReadDir("/proc/1/fd"); return err })
	try("kill the shim", func() error {
		syscall.Kill(1, syscall.SIGKILL) //nolint:errcheck // process 1 is deaf to it
		syscall.Kill(1, syscall.SIGSEGV) //nolint:errcheck // this one the runtime has a handler for
		return fmt.Errorf("still here")
	})
	try("write the shim's program", func() error { _, err := os.OpenFile("/proc/1/exe", os.O_WRONLY, 0); return err })
	try("execute our own program anew and write it", func() error { _, err := os.OpenFile("/proc/self/exe", os.O_WRONLY, 0); return err })
	try("hold a file that is not ours", func() error {
		entries, err := os.ReadDir("/proc/self/fd")
		for _, e := range entries {
			to, _ := os.Readlink("/proc/self/fd/" + e.Name())
			if n, _ := strconv.Atoi(e.Name()); n > 2 && !strings.HasPrefix(to, "anon_inode:") && !strings.HasPrefix(to, "/proc/") && !strings.HasPrefix(to, "/sys/fs/cgroup/") && to != "" {
				return nil
			}
		}
		return fmt.Errorf("none, %v", err)
	})
	try("be root", func() error { return fmt.Errorf("no: user %d", os.Getuid()) })
	try("become root", func() error { return syscall.Setuid(0) })
	try("have a group of the host", func() error {
		groups, err := os.Getgroups()
		if len(groups) == 0 {
			return fmt.Errorf("none, %v", err)
		}
		return nil
	})
	try("have a capability", func() error {
		data, _ := os.ReadFile("/proc/self/status")
		for line := range strings.Lines(string(data)) {
			if strings.HasPrefix(line, "Cap") && strings.Trim(strings.SplitN(line, ":", 2)[1], "0 \t\n") != "" {
				return nil
			}
		}
		if !strings.Contains(string(data), "NoNewPrivs:\t1") || !strings.Contains(string(data), "Seccomp:\t2") {
			return nil
		}
		return fmt.Errorf("none; no_new_privs and a filter are on")
	})
}

func probeNetwork(targets probeTargets, try func(string, func() error)) {
	dial := func(network, address string) func() error {
		return func() error {
			c, err := net.DialTimeout(network, address, time.Second)
			if err == nil {
				c.Close()
			}
			return err
		}
	}
	for _, address := range []string{"169.254.169.254:80", "[fd00:ec2::254]:80", "[fe80::1]:80", "192.0.2.2:22", "1.1.1.1:53", targets.Listener} {
		try("connect to "+address, dial("tcp", address))
	}
	try("connect to the host's abstract socket", dial("unix", targets.Abstract))
	try("open a raw socket", func() error { _, err := unix.Socket(unix.AF_INET, unix.SOCK_RAW, 1); return err })
	try("open a packet socket", func() error { _, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW, 0); return err })
}

func probeKernel(try func(string, func() error)) {
	try("mount a tmpfs", func() error { return unix.Mount("t", "/tmp", "tmpfs", 0, "") })
	try("mount a control group", func() error { return unix.Mount("c", "/tmp", "cgroup", 0, "memory") })
	try("unmount /proc/sys", func() error { return unix.Unmount("/proc/sys", 0) })
	try("a user namespace", func() error { return unix.Unshare(unix.CLONE_NEWUSER) })
	try("a user namespace by clone", func() error {
		cmd := exec.Command("/bin/true")
		cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWUSER | unix.CLONE_NEWNS}
		return cmd.Run()
	})
	try("enter a namespace", func() error { return unix.Setns(0, 0) })
	try("make a device", func() error { return unix.Mknod("/tmp/sda", unix.S_IFBLK|0o600, 8<<8) })
	try("write a release agent", func() error {
		return filepath.WalkDir("/sys", func(path string, _ fs.DirEntry, err error) error {
			if err == nil && filepath.Base(path) == "release_agent" {
				if f, err := os.OpenFile(path, os.O_WRONLY, 0); err == nil {
					f.Close()
					return nil
				}
			}
			return fs.ErrNotExist
		})
	})
	for _, path := range []string{
		"/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/cgroup.procs", "/sys/fs/cgroup/cgroup.procs", "/usr/x", "/etc/x", "/x", "/dev/x", "/proc/sys/kernel/hostname", "/proc/sysrq-trigger", "/proc/sys/kernel/core_pattern",
	} {
		try("write "+path, func() error {
			if path == "/proc/sysrq-trigger" { // the file is there and takes everything: it is /dev/null
				var s unix.Stat_t
				if err := unix.Stat(path, &s); err != nil || s.Rdev == unix.Mkdev(1, 3) {
					return fmt.Errorf("masked")
				}
				return nil
			}
			return os.WriteFile(path, []byte("x"), 0o644)
		})
	}
	for _, path := range []string{"/", "/usr", "/etc", "/proc/sys", "/proc/irq"} {
		try("have a writable mount at "+path, func() error {
			var s unix.Statfs_t
			if err := unix.Statfs(path, &s); err != nil || s.Flags&unix.ST_RDONLY != 0 {
				return fmt.Errorf("read-only, %v", err)
			}
			return nil
		})
	}
	try("read the kernel's memory", func() error {
		data := make([]byte, 1)
		f, err := os.Open("/proc/kcore")
		if err != nil {
			return err
		}
		_, err = f.Read(data)
		return err
	})
	try("load a program into the kernel", func() error { return errno(unix.SYS_BPF) })
	try("an io_uring", func() error { return errno(unix.SYS_IO_URING_SETUP) })
	try("a key ring", func() error { return errno(unix.SYS_KEYCTL) })
	try("an x32 call", func() error { return errno(0x40000000 | 39) })
	try("an unknown call", func() error { return errno(9999) })
	try("the kernel's log", func() error { return errno(unix.SYS_SYSLOG) })
	try("type into a terminal", func() error {
		_, _, e := unix.Syscall(unix.SYS_IOCTL, 0, unix.TIOCSTI, 0)
		if e == unix.EPERM {
			return e
		}
		return nil
	})
}

func errno(call uintptr) error {
	if _, _, e := unix.Syscall6(call, 0, 0, 0, 0, 0, 0); e == unix.EPERM || e == unix.ENOSYS {
		return e
	}
	return nil
}

// TestOutOfReach tries, from inside, one by one, what must not be reached.
func TestOutOfReach(t *testing.T) {
	t.Parallel()
	in := setup(t)
	tried := in.probe(t, in.spec(compute.Resources{}))
	for _, a := range tried {
		if a.Result == "" {
			t.Errorf("it worked: %s", a.Name)
		} else {
			t.Logf("%-60s %s", a.Name, a.Result)
		}
	}
	if len(tried) < 50 {
		t.Errorf("only %d things were tried", len(tried))
	}
}

// probe sets targets up on the host and tries them from inside.
func (in *inside) probe(t *testing.T, spec compute.Spec) []attempt {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	abstract, err := net.Listen("unix", "@quire-test-"+strconv.Itoa(os.Getpid()))
	if err != nil {
		t.Fatal(err)
	}
	defer abstract.Close()
	data := t.TempDir() // what a server keeps, readable for everybody by a mistake
	for _, name := range []string{"quire.db", "token", "files/users/ann/report.ipynb", "spool/1/spec.json"} {
		path := filepath.Join(data, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte("secret"), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	home, err := os.UserHomeDir()
	if err != nil {
		t.Fatal(err)
	}
	targets, err := json.Marshal(probeTargets{
		Secrets: []string{
			filepath.Join(data, "quire.db"), filepath.Join(data, "token"), filepath.Join(data, "files/users/ann/report.ipynb"),
			filepath.Join(data, "spool/1/spec.json"), filepath.Join(in.dir, spec.ID, "spec.json"), filepath.Join(home, ".profile"),
			"/etc/shadow", "/root/.ssh/id_rsa", "/var/run/docker.sock",
		},
		HostPID: os.Getpid(), Listener: listener.Addr().String(), Abstract: abstract.Addr().String(),
	})
	if err != nil {
		t.Fatal(err)
	}
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	spec.Argv = []string{"/probe", probeCommand}
	spec.Env = map[string]string{"TARGETS": string(targets)}
	spec.Mounts = append(spec.Mounts, compute.Mount{Source: program, Target: "/probe", ReadOnly: true})
	exit, log := in.run(t, spec)
	var tried []attempt
	if err := json.Unmarshal([]byte(log), &tried); err != nil || exit.Code != 0 {
		t.Fatalf("%+v, %v: %s", exit, err, log)
	}
	for _, path := range []string{"quire.db", "token"} {
		if got, err := os.ReadFile(filepath.Join(data, path)); err != nil || string(got) != "secret" {
			t.Errorf("%s is %q now, %v", path, got, err)
		}
	}
	return tried
}

// TestOwnProgramAsCommand: row 47 of the attack list. A script whose
// interpreter is /proc/self/exe gets the shim's program executed, and nothing
// in the container can write it.
func TestOwnProgramAsCommand(t *testing.T) {
	t.Parallel()
	in := setup(t)
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	sum := func() string {
		data, err := os.ReadFile(program)
		if err != nil {
			t.Fatal(err)
		}
		return fmt.Sprintf("%x", sha256.Sum256(data))
	}
	before := sum()
	script := filepath.Join(in.work, "script")
	if err := os.WriteFile(script, []byte("#!/proc/self/exe -test.list=^$\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	exit, log := in.run(t, in.spec(compute.Resources{}, "sh", "-c", `/workspace/script & pid=$!; for p in $pid 1 self; do (: >>/proc/$p/exe) && echo opened $p; done; wait`))
	if strings.Contains(log, "opened") || !strings.Contains(log, "ermission denied") {
		t.Errorf("%+v %q", exit, log)
	}
	direct := in.spec(compute.Resources{}, "/workspace/script")
	if _, err := in.Create(t.Context(), direct); err != nil {
		t.Fatal(err)
	}
	if err := in.Start(t.Context(), direct.ID); !problem.Is(err, problem.Invalid) {
		t.Errorf("executing the shim's program: %v", err)
	}
	if sum() != before {
		t.Error("the program was changed")
	}
	spec := in.spec(compute.Resources{}, "/proc/self/exe")
	if _, err := in.Create(t.Context(), spec); err == nil {
		t.Error("a command below /proc is accepted")
	}
}

// TestOthersFolders: two containers at the same time, and neither sees what
// the other has.
func TestOthersFolders(t *testing.T) {
	t.Parallel()
	in, other := setup(t), setup(t)
	if err := os.WriteFile(filepath.Join(other.work, "others-secret"), []byte("s"), 0o666); err != nil {
		t.Fatal(err)
	}
	spec := other.spec(compute.Resources{}, "sh", "-c", "echo s >/tmp/others-secret; echo s >/dev/shm/others-secret; while [ ! -e /workspace/done ]; do sleep 0.02; done")
	if _, err := other.Create(t.Context(), spec); err != nil {
		t.Fatal(err)
	}
	if err := other.Start(t.Context(), spec.ID); err != nil {
		t.Fatal(err)
	}
	exit, log := in.run(t, in.spec(compute.Resources{}, "sh", "-c",
		"find / -xdev -name others-secret -o -path /usr -prune 2>/dev/null; find /tmp /dev/shm /home /var -name others-secret; ls -d "+other.work+" "+filepath.Dir(other.work)+"; hostname; id -u; id -un; touch /workspace/mine && stat -c %u /workspace/mine"))
	if strings.Contains(log, "others-secret") || !strings.Contains(log, "1000\nquire\n1000\n") || !strings.Contains(log, "quire-l-") {
		t.Errorf("%+v %q", exit, log)
	}
	var st unix.Stat_t
	if err := unix.Stat(filepath.Join(in.work, "mine"), &st); err != nil || int(st.Uid) != os.Geteuid() {
		t.Errorf("a file made inside belongs to %d outside, %v", st.Uid, err)
	}
	if err := os.WriteFile(filepath.Join(other.work, "done"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
}

// TestImage: an unpacked image is the root, whatever links it holds.
func TestImage(t *testing.T) {
	t.Parallel()
	in := setup(t)
	root := t.TempDir()
	canary := filepath.Join(t.TempDir(), "canary")
	if err := os.WriteFile(canary, []byte("safe"), 0o666); err != nil {
		t.Fatal(err)
	}
	err := os.Mkdir(filepath.Join(root, "bin"), 0o755)
	for name, to := range map[string]string{"dev": filepath.Dir(canary), "etc": filepath.Dir(canary), "work": filepath.Dir(canary), "proc": "/", "tmp": filepath.Dir(canary)} {
		if err == nil {
			err = os.Symlink(to, filepath.Join(root, name))
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	spec := in.spec(compute.Resources{})
	spec.Root = root
	spec.Argv = []string{"/bin/hello"}
	_, errCreate := in.Create(t.Context(), spec)
	errStart := in.Start(t.Context(), spec.ID)
	t.Logf("%v, %v", errCreate, errStart)
	if got, err := os.ReadFile(canary); err != nil || string(got) != "safe" {
		t.Errorf("canary %q, %v", got, err)
	}
	entries, err := os.ReadDir(filepath.Dir(canary))
	if err != nil || len(entries) != 1 {
		t.Errorf("the link's target holds %v, %v", entries, err)
	}
	good := in.spec(compute.Resources{}, "hello", "mounted")
	good.Root = t.TempDir()
	source := filepath.Join(t.TempDir(), "hello.go")
	if err := os.WriteFile(source, []byte(`package main
import ("os"; "strings")
func main() {
	_, err := os.Stat("/usr/bin")
	println("hello", err != nil)
	for _, name := range []string{"/home/link/keep", "/var/lib/keep"} {
		if text, err := os.ReadFile(name); err != nil || string(text) != "kept" { println(name, err.Error()) }
	}
	for _, dir := range []string{"/home/quire", "/tmp", "/var/tmp", "/home/ann/notebooks/deep"} {
		if dir == "/home/ann/notebooks/deep" && len(os.Args) < 2 { continue }
		if err := os.WriteFile(dir+"/made", nil, 0o600); err != nil { println(err.Error()) }
	}
	name, _ := os.Hostname()
	if text, err := os.ReadFile("/etc/hosts"); err != nil || !strings.Contains(string(text), name) { println("/etc/hosts does not name", name) }
	for _, dir := range []string{"/etc", "/home", "/home/ann", "/home/ann/notebooks", "/var", "/var/lib"} {
		if os.WriteFile(dir+"/made", nil, 0o600) == nil { println("wrote", dir) }
	}
}`), 0o644); err != nil {
		t.Fatal(err)
	}
	// Images of everybody else have a home and no home of ours: what is in it stays.
	for name, text := range map[string]string{"home/ann/keep": "kept", "var/lib/keep": "kept", "etc/debian_version": "12"} {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(good.Root, name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(good.Root, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("ann", filepath.Join(good.Root, "home", "link")); err != nil {
		t.Fatal(err)
	}
	good.Mounts = append(good.Mounts, compute.Mount{Source: in.work, Target: "/home/ann/notebooks/deep"})
	build := exec.Command("go", "build", "-o", filepath.Join(good.Root, "bin", "hello"), source)
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if exit, log := in.run(t, good); exit.Code != 0 || log != "hello true\n" {
		t.Errorf("%+v %q", exit, log)
	}
	named := &inside{dir: t.TempDir(), work: in.work}
	driver, err := local.Open(local.Config{Dir: named.dir, Images: map[string]string{"hello:1": good.Root}})
	if err != nil {
		t.Fatal(err)
	}
	named.Driver = driver
	t.Cleanup(func() { driver.Close() })
	by := named.spec(compute.Resources{}, "hello")
	by.Image = "hello:1"
	t.Cleanup(func() { driver.Remove(context.Background(), by.ID) })
	if exit, log := named.run(t, by); exit.Code != 0 || log != "hello true\n" {
		t.Errorf("by its name: %+v %q", exit, log)
	}
	other := named.spec(compute.Resources{}, "hello")
	other.Image = "hello:2"
	if _, err := named.Create(t.Context(), other); !problem.Is(err, problem.Invalid) {
		t.Errorf("an image that nobody named: %v", err)
	}
}

// TestProbe: as root on this kind of machine, these are enforced.
func TestProbe(t *testing.T) {
	needRoot(t)
	t.Parallel()
	in := setup(t)
	p, err := in.Probe(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range []compute.Resource{compute.CPU, compute.Memory, compute.Disk, compute.PIDs, compute.Filesystem, compute.Processes} {
		if p.Support[r].Level != compute.Enforced {
			t.Errorf("%s: %+v", r, p.Support[r])
		}
	}
	if !slices.Contains(p.Refuses, compute.GPU) {
		t.Error("GPUs are not refused")
	}
}

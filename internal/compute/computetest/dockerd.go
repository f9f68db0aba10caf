//go:build linux

package computetest

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// DockerVariable names the environment variable with the path of dockerd. Where
// it is not set there are no tests against Docker; where it is, what is wrong
// with it fails them. `make test` sets it.
const DockerVariable = "QUIRE_TEST_DOCKERD"

// Docker is a Docker daemon that a test started: with folders, a socket, a
// network and a control group of its own, so that it changes nothing else on
// this machine.
type Docker struct {
	Host  string // as DOCKER_HOST has it
	Image string // an image that holds nothing but links to /usr, which containers mount from the host

	dir    string
	daemon *exec.Cmd
	ended  chan error
	output bytes.Buffer
	http   *http.Client
}

// DockerPaths are what of the host containers of Docker's image need.
func DockerPaths() []string { return []string{"/usr"} }

// StartDocker starts a Docker daemon that ends with the test. It skips the test
// where DockerVariable is not set.
func StartDocker(t testing.TB) *Docker {
	t.Helper()
	binary := os.Getenv(DockerVariable)
	if binary == "" {
		t.Skipf("%s is not set: no Docker to test against", DockerVariable)
	}
	if os.Geteuid() != 0 {
		t.Fatal("a Docker daemon needs root")
	}
	dir, err := os.MkdirTemp("", "qd") // short: a socket's path may only be so long
	if err != nil {
		t.Fatal(err)
	}
	d := &Docker{dir: dir, Host: "unix://" + dir + "/s", ended: make(chan error, 1)}
	d.http = &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", dir+"/s")
	}}}
	t.Cleanup(func() {
		if err := d.stop(); err != nil {
			t.Errorf("stopping Docker: %v\n%s", err, d.output.String())
		}
	})
	if err := d.Run(binary); err != nil {
		t.Fatal(err)
	}
	if d.Image, err = d.importImage(); err != nil {
		t.Fatal(err)
	}
	return d
}

// group is the daemon's control group, below those of every controller.
func (d *Docker) group() string { return filepath.Base(d.dir) }

// Run starts the daemon, also again after it was killed.
func (d *Docker) Run(binary string) error {
	d.daemon = exec.Command(binary, "--host", d.Host, "--data-root", d.dir+"/data", "--exec-root", d.dir+"/exec",
		"--pidfile", d.dir+"/pid", "--cgroup-parent", "/"+d.group(), "--storage-driver", "overlay2", "--live-restore",
		"--bridge", "none", "--iptables=false", "--ip-forward=false", "--ip-masq=false", "--userland-proxy=false", "--log-level", "error")
	d.daemon.Stdout, d.daemon.Stderr = &d.output, &d.output
	d.daemon.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
	if err := d.daemon.Start(); err != nil {
		return err
	}
	go func() { d.ended <- d.daemon.Wait() }()
	for deadline := time.Now().Add(3 * time.Minute); ; {
		resp, err := d.http.Get("http://docker/_ping")
		if err == nil {
			resp.Body.Close()
			return nil
		}
		select {
		case err := <-d.ended:
			d.ended <- err
			return fmt.Errorf("the daemon ended: %w\n%s", err, d.output.String())
		case <-time.After(50 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("it does not answer within three minutes: %w", err)
		}
	}
}

// Restart kills the daemon and starts it again.
func (d *Docker) Restart() error {
	d.daemon.Process.Kill() //nolint:errcheck // it may have ended
	<-d.ended
	// Its containerd dies of that, and the next daemon must not take it for alive.
	for deadline := time.Now().Add(time.Minute); len(d.processes("/containerd.toml")) > 0 && time.Now().Before(deadline); {
		time.Sleep(10 * time.Millisecond)
	}
	os.Remove(d.dir + "/exec/containerd/containerd.pid") //nolint:errcheck // as long as nobody reaps it, it seems to be there
	return d.Run(d.daemon.Path)
}

// processes are those that the daemon started for itself, with a word in their
// arguments.
func (d *Docker) processes(word string) (pids []int) {
	entries, _ := os.ReadDir("/proc")
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		data, errRead := os.ReadFile("/proc/" + e.Name() + "/cmdline")
		if err == nil && errRead == nil && bytes.Contains(data, []byte(d.dir+"/exec/")) && bytes.Contains(data, []byte(word)) {
			pids = append(pids, pid)
		}
	}
	return pids
}

// importImage makes the image: no registry is needed.
func (d *Docker) importImage() (string, error) {
	var tree bytes.Buffer
	w := tar.NewWriter(&tree)
	for _, name := range []string{"bin", "sbin", "lib", "lib64"} {
		if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeSymlink, Name: name, Linkname: "usr/" + name, Mode: 0o777}); err != nil {
			return "", err
		}
	}
	for _, name := range []string{"usr", "etc", "tmp", "var/tmp", "proc", "sys", "dev", "home/quire", "root"} {
		if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: name + "/", Mode: 0o755}); err != nil {
			return "", err
		}
	}
	if err := w.Close(); err != nil {
		return "", err
	}
	resp, err := d.http.Post("http://docker/images/create?fromSrc=-&repo=quire-test&tag=1", "application/x-tar", &tree)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	_, rest, found := strings.Cut(string(answer), "sha256:")
	if err != nil || !found || len(rest) < 64 {
		return "", fmt.Errorf("importing an image: %w: %s: %s", err, resp.Status, answer)
	}
	return "sha256:" + rest[:64], nil
}

// removeGroup removes a control group with those below it, and kills what is in
// them: containers whose daemon could not end them.
func removeGroup(group string) error {
	inner, err := filepath.Glob(group + "/*/cgroup.procs")
	for _, file := range inner {
		data, _ := os.ReadFile(file)
		for _, word := range strings.Fields(string(data)) {
			if pid, err := strconv.Atoi(word); err == nil {
				syscall.Kill(pid, syscall.SIGKILL) //nolint:errcheck // it may just have ended
			}
		}
		for range 1000 {
			if os.Remove(filepath.Dir(file)) == nil {
				break
			}
			time.Sleep(10 * time.Millisecond)
		}
	}
	if one := os.Remove(group); !errors.Is(one, os.ErrNotExist) {
		err = errors.Join(err, one)
	}
	return err
}

// stop ends the daemon and takes away all that it leaves behind.
func (d *Docker) stop() error {
	d.http.CloseIdleConnections()
	var failed error
	if d.daemon != nil && d.daemon.Process != nil {
		d.daemon.Process.Signal(syscall.SIGTERM) //nolint:errcheck // it may have ended
		select {
		case <-d.ended:
		case <-time.After(3 * time.Minute):
			failed = errors.New("it does not end; killed")
			d.daemon.Process.Kill() //nolint:errcheck // the same
			<-d.ended
		}
	}
	for _, pid := range d.processes("") { // only where something failed before
		syscall.Kill(pid, syscall.SIGKILL) //nolint:errcheck // it may just have ended
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	failed = errors.Join(failed, err)
	for line := range strings.Lines(string(mounts)) {
		if f := strings.Fields(line); len(f) > 4 && strings.HasPrefix(f[4], d.dir+"/") {
			if err := syscall.Unmount(f[4], syscall.MNT_DETACH); !errors.Is(err, syscall.EINVAL) { // gone with the one below it
				failed = errors.Join(failed, err)
			}
		}
	}
	groups, err := filepath.Glob("/sys/fs/cgroup/*/" + d.group())
	failed = errors.Join(failed, err)
	for _, group := range append(groups, "/sys/fs/cgroup/"+d.group()) {
		failed = errors.Join(failed, removeGroup(group))
	}
	return errors.Join(failed, os.RemoveAll(d.dir))
}

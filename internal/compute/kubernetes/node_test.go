//go:build linux

package kubernetes

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"quire/internal/compute"
	"quire/internal/compute/computetest"
	"quire/internal/problem"
)

// What `make test-kubernetes` sets beside the API server: what makes this
// machine a node.
const (
	variableKubelet    = "QUIRE_TEST_KUBELET"
	variableScheduler  = "QUIRE_TEST_KUBE_SCHEDULER"
	variableContainerd = "QUIRE_TEST_CONTAINERD"
	variableBusybox    = "QUIRE_TEST_BUSYBOX" // statically linked
)

const nodeImage = "quire.test/busybox:1"

// containerdConfig is that of a containerd in a folder (%[1]s).
const containerdConfig = `version = 2
root = "%[1]s/root"
state = "%[1]s/state"
[grpc]
  address = "%[1]s/c.sock"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "` + nodeImage + `"
  restrict_oom_score_adj = true
  disable_tcp_service = true
  stream_server_address = "127.0.0.1"
  stream_server_port = "0"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
    default_runtime_name = "runc"
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "%[1]s/cni"
`

// networkConfig gives each Pod a network of its own with the node, and keeps
// what their annotations say of bandwidth.
const networkConfig = `{
  "cniVersion": "0.4.0", "name": "quire",
  "plugins": [
    {"type": "ptp", "ipam": {"type": "host-local", "ranges": [[{"subnet": "10.213.0.0/16"}]]}},
    {"type": "bandwidth", "capabilities": {"bandwidth": true}}
  ]
}
`

// kubeletConfig is that of a kubelet in a folder (%[1]s), with a control group
// (%[2]s) and a port (%[3]d).
const kubeletConfig = `apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
failCgroupV1: false
failSwapOn: false
cgroupDriver: cgroupfs
cgroupRoot: /%[2]s
containerRuntimeEndpoint: unix://%[1]s/c.sock
podLogsDir: %[1]s/logs
port: %[3]d
healthzPort: 0
resolvConf: ""
maxPods: 250
authentication: {anonymous: {enabled: false}, webhook: {enabled: false}, x509: {clientCAFile: %[1]s/api.crt}}
authorization: {mode: AlwaysAllow}
enforceNodeAllocatable: []
evictionHard: {memory.available: 1Mi, nodefs.available: 1%%, imagefs.available: 1%%}
containerLogMaxSize: 1Mi
containerLogMaxFiles: 2
volumeStatsAggPeriod: 2s
containerLogMonitorInterval: 3s
`

// nodeScript is the first process of the node's namespace of processes. What
// the node writes outside of its folder goes into memory, and with it.
const nodeScript = `set -eu
dir=$1 containerd=$2 kubelet=$3 kubeconfig=$4 ip=$5
mount --make-rprivate /
mount -t proc proc /proc
mkdir -p /var/lib/cni /var/lib/kubelet
for d in /run /var/log /var/lib/cni /var/lib/kubelet; do mount -t tmpfs tmpfs $d; done
"$containerd" --config "$dir/containerd.toml" --log-level warn &
ctr="$(dirname "$containerd")/ctr --address $dir/c.sock --namespace k8s.io"
until $ctr version >/dev/null 2>&1; do sleep 0.1; done
$ctr images import "$dir/images.tar"
"$kubelet" --config "$dir/kubelet.yaml" --kubeconfig "$kubeconfig" --root-dir "$dir/kubelet" --cert-dir "$dir/pki" --hostname-override node --node-ip "$ip"
`

// startNode starts a control plane of which this machine is the node: kubelet
// and containerd in namespaces of their own, which end with the test and take
// every container with them.
func startNode(t *testing.T) *cluster {
	t.Helper()
	c := startControlPlane(t)
	c.run(t, variableScheduler, "--kubeconfig", c.kubeconfig, "--leader-elect=false", "--bind-address", "127.0.0.1", "--secure-port", strconv.Itoa(freePorts(t, 1)[0]))
	dir, err := os.MkdirTemp("", "qk") // short: a socket's path may only be so long
	if err != nil {
		t.Fatal(err)
	}
	group := filepath.Base(dir)
	t.Cleanup(func() { removeNode(t, dir, group) })
	for name, text := range map[string]string{
		"containerd.toml": fmt.Sprintf(containerdConfig, dir), "cni/10-quire.conflist": networkConfig,
		"kubelet.yaml": fmt.Sprintf(kubeletConfig, dir, group, freePorts(t, 1)[0]),
		"node.sh":      nodeScript,
	} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if certificate, err := os.ReadFile(filepath.Join(c.dir, "api.crt")); err != nil {
		t.Fatal(err)
	} else if err := os.WriteFile(filepath.Join(dir, "api.crt"), certificate, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := writeImages(filepath.Join(dir, "images.tar")); err != nil {
		t.Fatal(err)
	}
	controllers, err := os.ReadDir("/sys/fs/cgroup")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range controllers {
		os.Mkdir(filepath.Join("/sys/fs/cgroup", e.Name(), group), 0o755) //nolint:errcheck // some are links, and kubelet says what it lacks
	}
	log, err := os.Create(filepath.Join(t.ArtifactDir(), "node.log"))
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	cmd := exec.Command("sh", filepath.Join(dir, "node.sh"), dir, os.Getenv(variableContainerd), os.Getenv(variableKubelet), c.kubeconfig, ownIP(t))
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWPID | syscall.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill() //nolint:errcheck // it may have ended
		cmd.Wait()         //nolint:errcheck // killed
		if t.Failed() {
			text, _ := os.ReadFile(log.Name())
			t.Logf("the node said at the end: %s", text[max(0, len(text)-6000):])
		}
	})
	c.nodeReady(t)
	return c
}

// ownIP is an address of this machine that others would use.
func ownIP(t *testing.T) string {
	t.Helper()
	all, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range all {
		if n, ok := a.(*net.IPNet); ok && n.IP.To4() != nil && n.IP.IsGlobalUnicast() {
			return n.IP.String()
		}
	}
	t.Fatal("this machine has no address but its loopback: a node needs one")
	return ""
}

// nodeReady waits until a node says that it is ready.
func (c *cluster) nodeReady(t *testing.T) {
	t.Helper()
	d := c.open(t, "ready")
	for deadline := time.Now().Add(3 * time.Minute); ; time.Sleep(200 * time.Millisecond) {
		text, err := d.core.Get().Resource("nodes").Do(t.Context()).Raw()
		var nodes struct {
			Items []struct {
				Status struct {
					Conditions []struct{ Type, Status, Message string }
				}
			}
		}
		if err == nil {
			err = json.Unmarshal(text, &nodes)
		}
		why := fmt.Sprint(err)
		for _, n := range nodes.Items {
			for _, one := range n.Status.Conditions {
				if one.Type == "Ready" && one.Status == "True" {
					return
				}
				why = one.Message
			}
		}
		if time.Now().After(deadline) {
			t.Fatalf("the node is not ready: %s", why)
		}
	}
}

// removeNode takes away what a node leaves: its control groups and its folder.
func removeNode(t *testing.T, dir, group string) {
	t.Helper()
	groups, _ := filepath.Glob("/sys/fs/cgroup/*/" + group)
	for _, g := range groups {
		err := removeTree(g)
		for range 200 { // those that were killed are gone a moment later
			if err == nil {
				break
			}
			time.Sleep(20 * time.Millisecond)
			err = removeTree(g)
		}
		if err != nil {
			t.Error(err)
		}
	}
	if err := os.RemoveAll(dir); err != nil {
		t.Error(err)
	}
}

// removeTree removes a folder of folders, the inner ones first.
func removeTree(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.IsDir() {
			if err := removeTree(filepath.Join(dir, e.Name())); err != nil {
				return err
			}
		}
	}
	return os.Remove(dir)
}

// writeImages writes the images of the tests, as `docker save` does: busybox,
// which is also what keeps a Pod's namespaces.
func writeImages(file string) error {
	program, err := os.ReadFile(os.Getenv(variableBusybox))
	if err != nil {
		return err
	}
	var layer bytes.Buffer
	w := tar.NewWriter(&layer)
	for _, name := range []string{"bin", "etc", "proc", "sys", "dev", "tmp", "var/tmp", "home/quire"} {
		if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: name + "/", Mode: 0o755}); err != nil {
			return err
		}
	}
	if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: "bin/busybox", Mode: 0o755, Size: int64(len(program))}); err != nil {
		return err
	}
	if _, err := w.Write(program); err != nil {
		return err
	}
	for _, name := range strings.Fields("sh cat env false head id kill ls printf setsid sleep stat touch tr true yes wc dd grep nproc df") {
		if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeSymlink, Name: "bin/" + name, Linkname: "busybox", Mode: 0o777}); err != nil {
			return err
		}
	}
	if err := w.Close(); err != nil {
		return err
	}
	sum := sha256.Sum256(layer.Bytes())
	config, err := json.Marshal(map[string]any{
		"architecture": runtime.GOARCH, "os": "linux", "config": map[string]any{"Entrypoint": []string{"/bin/sleep", "1000000"}, "Env": []string{"PATH=/bin"}},
		"rootfs": map[string]any{"type": "layers", "diff_ids": []string{"sha256:" + hex.EncodeToString(sum[:])}},
	})
	if err != nil {
		return err
	}
	manifest, err := json.Marshal([]map[string]any{{"Config": "config.json", "RepoTags": []string{nodeImage}, "Layers": []string{"layer.tar"}}})
	if err != nil {
		return err
	}
	var images bytes.Buffer
	all := tar.NewWriter(&images)
	for _, f := range []struct {
		name string
		data []byte
	}{{"config.json", config}, {"layer.tar", layer.Bytes()}, {"manifest.json", manifest}} {
		if err := all.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: f.name, Mode: 0o644, Size: int64(len(f.data))}); err != nil {
			return err
		}
		if _, err := all.Write(f.data); err != nil {
			return err
		}
	}
	return errors.Join(all.Close(), os.WriteFile(file, images.Bytes(), 0o644))
}

// TestNode is the driver on a real node.
func TestNode(t *testing.T) {
	if os.Getenv(variableKubelet) == "" {
		t.Logf("%s is not set: no node to test on; make test-kubernetes sets it", variableKubelet)
		return
	}
	c := startNode(t)
	open := func(t *testing.T, dir string) *Driver {
		t.Helper()
		place := sha256.Sum256([]byte(dir))
		d, err := Open(Config{
			Kubeconfig: c.kubeconfig, Namespace: "default", Place: hex.EncodeToString(place[:6]), Image: nodeImage,
			Volumes: []Volume{{Path: os.TempDir(), HostPath: os.TempDir()}},
		})
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	t.Run("suite", func(t *testing.T) {
		computetest.Run(t, computetest.Subject{Open: func(t *testing.T, dir string) compute.Driver { return open(t, dir) }, Isolated: true, Foreign: true})
	})
	t.Run("cluster", func(t *testing.T) {
		realCluster(t, Config{Kubeconfig: c.kubeconfig, Namespace: "default", Place: "test", Image: nodeImage})
	})
	t.Run("limits", func(t *testing.T) { nodeLimits(t, open(t, t.TempDir())) })
}

// nodeLimits: what a container was given is what it has, and no rights are left.
func nodeLimits(t *testing.T, d *Driver) {
	t.Cleanup(func() { d.Close() })
	start := func(id, script string) string {
		t.Cleanup(func() {
			if err := d.Remove(context.Background(), id); err != nil { // the test is over
				t.Error(err)
			}
		})
		return begin(t, d, compute.Spec{
			ID: id, Argv: []string{"sh", "-c", script}, Env: map[string]string{"MONEY": "$5 $$ $(HOME)"},
			Resources: compute.Resources{CPUMilli: 200, MemoryBytes: 64 * compute.MiB, DiskBytes: 64 * compute.MiB},
		})
	}
	exit, log := computetest.End(t, d, start("confined", `id -u; touch /x 2>/dev/null || echo read-only; touch /tmp/x && echo scratch
grep -e CapEff -e NoNewPrivs -e '^Seccomp:' /proc/self/status | tr -d '\t'; echo "$MONEY"
cd /sys/fs/cgroup; cat cpu/cpu.cfs_quota_us 2>/dev/null || head -c 5 cpu.max; cat memory/memory.limit_in_bytes 2>/dev/null || cat memory.max`))
	want := "1000\nread-only\nscratch\nCapEff:0000000000000000\nNoNewPrivs:1\nSeccomp:2\n$5 $$ $(HOME)\n20000\n67108864\n"
	if exit.Code != 0 || log != want {
		t.Errorf("%+v\ngot  %q\nwant %q", exit, log, want)
	}
	exit, err := d.Wait(t.Context(), start("disk", "dd if=/dev/zero of=/tmp/x bs=1000000 count=200 2>/dev/null; sleep 600"))
	if err != nil || !strings.HasPrefix(exit.Reason, "out of disk") || exit.Cause != compute.CauseExited {
		t.Errorf("%+v, %v", exit, err)
	}
	r, err := d.Logs(t.Context(), "disk", compute.LogOptions{})
	if problem.Is(err, problem.NotFound) {
		return // the node took it away, and that is said
	} else if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if text, err := io.ReadAll(r); err != nil || len(text) > 0 {
		t.Errorf("the log of what wrote nothing is %q, %v", text, err)
	}
}

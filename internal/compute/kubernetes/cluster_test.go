//go:build linux

package kubernetes

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"quire/internal/compute"
	"quire/internal/problem"
)

// What `make test-kubernetes` sets: a real API server with its store, and kwok,
// which plays nodes. The test itself plays the scheduler. Where they are not set there are no
// such tests; where they are, what is wrong with them fails the tests.
const (
	variableAPIServer = "QUIRE_TEST_KUBE_APISERVER"
	variableEtcd      = "QUIRE_TEST_ETCD"
	variableKwok      = "QUIRE_TEST_KWOK"
)

// cluster is a control plane that a test started.
type cluster struct {
	kubeconfig string
	dir        string
	lastID     atomic.Int64
}

// startCluster starts a control plane with nodes that kwok plays; it ends with
// the test.
func startCluster(t *testing.T) *cluster {
	t.Helper()
	c := startControlPlane(t)
	c.run(t, variableKwok, "--kubeconfig", c.kubeconfig, "--manage-all-nodes", "--config", "testdata/kwok.yaml", "--node-lease-duration-seconds", "40",
		"--server-address", fmt.Sprintf("127.0.0.1:%d", freePorts(t, 1)[0]))
	c.restricted(t)
	c.addNodes(t, 2)
	c.schedule(t)
	return c
}

// startControlPlane starts an API server with its store, without nodes.
func startControlPlane(t *testing.T) *cluster {
	t.Helper()
	c := &cluster{dir: t.TempDir()}
	c.kubeconfig = filepath.Join(c.dir, "kubeconfig")
	ports := freePorts(t, 3)
	token := make([]byte, 16)
	rand.Read(token) //nolint:errcheck // it never fails
	secret := hex.EncodeToString(token)
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	pemKey := pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)})
	for name, text := range map[string]string{
		"sa.key": string(pemKey), "api.crt": selfSigned(t, key), "tokens.csv": secret + ",admin,admin,system:masters\n",
		"kubeconfig": fmt.Sprintf(`apiVersion: v1
kind: Config
clusters: [{name: test, cluster: {server: "https://127.0.0.1:%d", insecure-skip-tls-verify: true}}]
users: [{name: test, user: {token: %s}}]
contexts: [{name: test, context: {cluster: test, user: test}}]
current-context: test
`, ports[2], secret),
	} {
		if err := os.WriteFile(filepath.Join(c.dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	// Without its watch cache, which needs an etcd of 3.4.25 or later.
	etcd, peer := fmt.Sprintf("http://127.0.0.1:%d", ports[0]), fmt.Sprintf("http://127.0.0.1:%d", ports[1])
	c.run(t, variableEtcd, "--data-dir", c.dir+"/etcd", "--listen-client-urls", etcd, "--advertise-client-urls", etcd, "--listen-peer-urls", peer,
		"--initial-advertise-peer-urls", peer, "--initial-cluster", "default="+peer, "--unsafe-no-fsync", "--logger", "zap", "--log-level", "error")
	c.run(t, variableAPIServer, "--watch-cache=false", "--etcd-servers", etcd, "--secure-port", fmt.Sprint(ports[2]), "--bind-address", "127.0.0.1", "--cert-dir", c.dir+"/certs",
		"--service-account-key-file", c.dir+"/sa.key", "--service-account-signing-key-file", c.dir+"/sa.key", "--service-account-issuer", "https://kubernetes.default.svc",
		"--authorization-mode", "RBAC", "--token-auth-file", c.dir+"/tokens.csv", "--service-cluster-ip-range", "10.0.0.0/24",
		"--kubelet-preferred-address-types", "InternalIP", "--kubelet-client-certificate", c.dir+"/api.crt", "--kubelet-client-key", c.dir+"/sa.key",
		"--disable-admission-plugins", "ServiceAccount,TaintNodesByCondition") // no controllers run, which would make accounts and take taints away
	c.ready(t)
	return c
}

// selfSigned is a certificate with which the API server shows a kubelet who it is.
func selfSigned(t *testing.T, key *rsa.PrivateKey) string {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "api", Organization: []string{"system:masters"}},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
		BasicConstraintsValid: true, IsCA: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}

// schedule gives Pods nodes until the test ends; more than 8 GPUs no node has.
func (c *cluster) schedule(t *testing.T) {
	t.Helper()
	d := c.open(t, "scheduler")
	ctx, cancel := context.WithCancel(context.Background())
	var work sync.WaitGroup
	t.Cleanup(func() { cancel(); work.Wait() })
	work.Go(func() {
		for n := 0; ctx.Err() == nil; time.Sleep(20 * time.Millisecond) {
			waiting, err := d.pods.List(ctx, metav1.ListOptions{FieldSelector: "spec.nodeName="})
			if err != nil {
				continue
			}
			for _, pod := range waiting.Items {
				if len(pod.Spec.SchedulingGates) > 0 || pod.DeletionTimestamp != nil || len(pod.Status.Conditions) > 0 && pod.Status.Conditions[0].Reason == "Unschedulable" {
					continue
				}
				request, body := d.core.Post().SetHeader("Content-Type", "application/json").SubResource("binding"), fmt.Sprintf(`{"apiVersion":"v1","kind":"Binding","metadata":{"name":%q},"target":{"kind":"Node","name":"node-%d"}}`, pod.Name, n%2)
				if gpus := pod.Spec.Containers[0].Resources.Limits["nvidia.com/gpu"]; gpus.Value() > 8 {
					request = d.core.Patch("application/strategic-merge-patch+json").SubResource("status")
					body = `{"status":{"conditions":[{"type":"PodScheduled","status":"False","reason":"Unschedulable","message":"0/2 nodes are available: 2 Insufficient nvidia.com/gpu."}]}}`
				}
				request.Namespace(pod.Namespace).Resource("pods").Name(pod.Name).Body([]byte(body)).Do(ctx) //nolint:errcheck // it is tried again
				n++
			}
		}
	})
}

// freePorts returns ports that nobody listens on.
func freePorts(t *testing.T, n int) (ports []int) {
	t.Helper()
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		ports = append(ports, l.Addr().(*net.TCPAddr).Port)
	}
	return ports
}

// run runs a program until the test ends.
func (c *cluster) run(t *testing.T, variable string, args ...string) {
	t.Helper()
	var output bytes.Buffer
	cmd := exec.Command(os.Getenv(variable), args...)
	cmd.Stdout, cmd.Stderr = &output, &output
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatalf("%s: %v", variable, err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill() //nolint:errcheck // it may have ended
		cmd.Wait()         //nolint:errcheck // killed
		if t.Failed() {
			text := output.String()
			t.Logf("%s said at the end: %s", variable, text[max(0, len(text)-2000):])
		}
	})
}

// ready waits until the API server answers.
func (c *cluster) ready(t *testing.T) {
	t.Helper()
	d := c.open(t, "ready")
	for deadline := time.Now().Add(2 * time.Minute); ; time.Sleep(200 * time.Millisecond) {
		err := d.core.Get().AbsPath("/readyz").Do(t.Context()).Error()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("the API server is not ready: %v", err)
		}
	}
}

// restricted has all Pods of the tests keep the strictest of the Pod security
// standards.
func (c *cluster) restricted(t *testing.T) {
	t.Helper()
	strict := []byte(`{"metadata":{"labels":{"pod-security.kubernetes.io/enforce":"restricted"}}}`)
	if err := c.open(t, "rules").core.Patch("application/merge-patch+json").Resource("namespaces").Name("default").Body(strict).Do(t.Context()).Error(); err != nil {
		t.Fatal(err)
	}
}

// addNodes makes nodes of 100 processors, which kwok takes.
func (c *cluster) addNodes(t *testing.T, n int) {
	t.Helper()
	d := c.open(t, "nodes")
	for i := range n {
		node := fmt.Sprintf(`{"apiVersion":"v1","kind":"Node","metadata":{"name":"node-%d"},"status":{"allocatable":{"cpu":"100","memory":"1Ti","pods":"1000","nvidia.com/gpu":"4"},"capacity":{"cpu":"100","memory":"1Ti","pods":"1000","nvidia.com/gpu":"4"}}}`, i)
		if err := d.core.Post().Resource("nodes").SetHeader("Content-Type", "application/json").Body([]byte(node)).Do(t.Context()).Error(); err != nil {
			t.Fatal(err)
		}
	}
}

func (c *cluster) open(t *testing.T, place string) *Driver {
	t.Helper()
	d, err := Open(Config{Kubeconfig: c.kubeconfig, Namespace: "default", Place: place, Image: "kwok/stays"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d
}

func (c *cluster) spec(image string) compute.Spec {
	return compute.Spec{
		ID: fmt.Sprintf("k-%d", c.lastID.Add(1)), Image: "kwok/" + image, Argv: []string{"true"},
		Resources: compute.Resources{CPUMilli: 100, MemoryBytes: 64 * compute.MiB, NetworkMbps: 128},
	}
}

func begin(t *testing.T, d *Driver, spec compute.Spec) string {
	t.Helper()
	if _, err := d.Create(t.Context(), spec); err != nil {
		t.Fatal(err)
	}
	if err := d.Start(t.Context(), spec.ID); err != nil {
		t.Fatal(err)
	}
	return spec.ID
}

// TestCluster is the driver against a real API server.
func TestCluster(t *testing.T) {
	if os.Getenv(variableAPIServer) == "" {
		t.Logf("%s is not set: no API server to test against; make test-kubernetes sets it", variableAPIServer)
		return
	}
	c := startCluster(t)
	for name, test := range map[string]func(*testing.T, *cluster){
		"Probe": clusterProbe, "Ends": clusterEnds, "Rules": clusterRules, "Rejected": clusterRejected, "Stop": clusterStop, "Reattach": clusterReattach,
		"NodeLost": clusterNodeLost, "Drained": clusterDrained, "NoRoom": clusterNoRoom, "Quota": clusterQuota, "Together": clusterTogether, "Closed": clusterClosed,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, c)
		})
	}
}

func clusterProbe(t *testing.T, c *cluster) {
	d := c.open(t, "probe")
	p, err := d.Probe(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range compute.AllResources() {
		if p.Support[r].Reason == "" {
			t.Errorf("%s: nothing is said", r)
		}
	}
	if p.Support[compute.GPU].Level != compute.Enforced {
		t.Errorf("%+v", p.Support[compute.GPU])
	}
}

func clusterEnds(t *testing.T, c *cluster) {
	d := c.open(t, "ends")
	for _, tt := range []struct {
		image, reason string
		code          int
		cause         compute.Cause
	}{
		{"well", "exited with code 0", 0, compute.CauseExited},
		{"badly", "exited with code 3", 3, compute.CauseExited},
		{"oom", "out of memory: limit 64 MiB", 137, compute.CauseOOM},
		{"evicted", "evicted: its node runs short", 137, compute.CauseSystem},
		{"disk", "out of disk", 137, compute.CauseExited},
	} {
		id := begin(t, d, c.spec(tt.image))
		exit, err := d.Wait(t.Context(), id)
		if err != nil || exit.Code != tt.code || exit.Cause != tt.cause || !strings.HasPrefix(exit.Reason, tt.reason) {
			t.Errorf("%s: %+v, %v", tt.image, exit, err)
		}
		s, err := d.Status(t.Context(), id)
		if err != nil || s.State != compute.Exited || s.Node == "" || s.FinishedAt.Before(s.StartedAt) || s.StartedAt.Before(s.CreatedAt) {
			t.Errorf("%s: %+v, %v", tt.image, s, err)
		}
		if err := d.Start(t.Context(), id); err != nil {
			t.Errorf("%s: starting again: %v", tt.image, err)
		}
		if err := d.Remove(t.Context(), id); err != nil {
			t.Errorf("%s: %v", tt.image, err)
		}
	}
	if all, err := d.List(t.Context(), nil); err != nil || len(all) != 0 {
		t.Errorf("left: %v, %v", all, err)
	}
}

func clusterRules(t *testing.T, c *cluster) {
	d := c.open(t, "rules")
	spec := c.spec("stays")
	spec.Labels = map[string]string{"user": "ann@example.org", "job": "1"}
	first, err := d.Create(t.Context(), spec)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := d.Create(t.Context(), spec); err != nil || again != first {
		t.Errorf("the same again: %+v, %v", again, err)
	}
	other := spec
	other.Argv = []string{"false"}
	if _, err := d.Create(t.Context(), other); !problem.Is(err, problem.Exists) {
		t.Errorf("another spec: %v", err)
	}
	if s, err := d.Status(t.Context(), spec.ID); err != nil || s.State != compute.Created || s.Node != "" || s.Exit != nil {
		t.Errorf("%+v, %v", s, err)
	}
	for _, tt := range []struct {
		labels map[string]string
		want   int
	}{{nil, 1}, {map[string]string{"user": "ann@example.org"}, 1}, {map[string]string{"user": "bob"}, 0}, {map[string]string{"job": "1", "user": "ann@example.org"}, 1}} {
		if all, err := d.List(t.Context(), tt.labels); err != nil || len(all) != tt.want {
			t.Errorf("%v: %v, %v", tt.labels, all, err)
		}
	}
	if _, err := d.Wait(t.Context(), "none"); !problem.Is(err, problem.NotFound) {
		t.Errorf("%v", err)
	}
	for range 2 {
		if err := d.Remove(t.Context(), spec.ID); err != nil {
			t.Error(err)
		}
	}
	if _, err := d.Status(t.Context(), spec.ID); !problem.Is(err, problem.NotFound) {
		t.Errorf("%v", err)
	}
}

func clusterRejected(t *testing.T, c *cluster) {
	d := c.open(t, "rejected")
	spec := c.spec("missing")
	if _, err := d.Create(t.Context(), spec); err != nil {
		t.Fatal(err)
	}
	if err := d.Start(t.Context(), spec.ID); !problem.Is(err, problem.NotFound) {
		t.Errorf("%v", err)
	}
	if exit, err := d.Wait(t.Context(), spec.ID); err != nil || exit.Code != 127 || exit.Cause != compute.CauseRejected {
		t.Errorf("%+v, %v", exit, err)
	}
	if err := d.Remove(t.Context(), spec.ID); err != nil {
		t.Error(err)
	}
}

func clusterStop(t *testing.T, c *cluster) {
	d := c.open(t, "stop")
	id := begin(t, d, c.spec("stays"))
	if err := d.Stop(t.Context(), id, 5*time.Second); err != nil {
		t.Fatal(err)
	}
	if exit, err := d.Wait(t.Context(), id); err != nil || exit.Cause != compute.CauseStopped || exit.Signal != "SIGTERM" {
		t.Errorf("%+v, %v", exit, err)
	}
	if err := d.Stop(t.Context(), id, 0); err != nil {
		t.Errorf("stopping again: %v", err)
	}
	if err := d.Remove(t.Context(), id); err != nil {
		t.Error(err)
	}
	early := c.spec("stays")
	if _, err := d.Create(t.Context(), early); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(d.Stop(t.Context(), early.ID, -1), d.Start(t.Context(), early.ID)); err != nil {
		t.Error(err)
	}
	if exit, err := d.Wait(t.Context(), early.ID); err != nil || exit.Cause != compute.CauseStopped {
		t.Errorf("%+v, %v", exit, err)
	}
	if err := d.Remove(t.Context(), early.ID); err != nil {
		t.Error(err)
	}
}

// clusterReattach: a Pod outlives its driver, and the next driver finds it.
func clusterReattach(t *testing.T, c *cluster) {
	first := c.open(t, "reattach")
	spec := c.spec("stays")
	id := begin(t, first, spec)
	first.Close()
	d := c.open(t, "reattach")
	if all, err := d.List(t.Context(), nil); err != nil || len(all) != 1 || all[0].State != compute.Running {
		t.Errorf("%+v, %v", all, err)
	}
	if _, err := d.Create(t.Context(), spec); err != nil {
		t.Errorf("creating it again: %v", err)
	}
	if err := d.Start(t.Context(), id); err != nil {
		t.Errorf("starting it again: %v", err)
	}
	if err := d.Remove(t.Context(), id); err != nil {
		t.Error(err)
	}
}

// disrupt does to a Pod what a controller of the cluster does.
func disrupt(t *testing.T, d *Driver, id, reason string) {
	t.Helper()
	f, err := d.find(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	condition := fmt.Sprintf(`{"status":{"conditions":[{"type":"DisruptionTarget","status":"True","reason":%q,"message":"said the test","lastTransitionTime":%q}]}}`,
		reason, time.Now().UTC().Format(time.RFC3339))
	err = d.core.Patch("application/strategic-merge-patch+json").Namespace(f.Namespace).Resource("pods").Name(f.Name).SubResource("status").
		Body([]byte(condition)).Do(t.Context()).Error()
	if err == nil {
		err = d.pods.Delete(t.Context(), f.Name, metav1.DeleteOptions{})
	}
	if err != nil {
		t.Fatal(err)
	}
}

// clusterNodeLost: nobody will say any more how the container ended. It is not
// the user's fault, and Remove does not wait for the node.
func clusterNodeLost(t *testing.T, c *cluster) {
	d := c.open(t, "lost")
	id := begin(t, d, c.spec("deaf"))
	disrupt(t, d, id, "DeletionByTaintManager")
	if exit, err := d.Wait(t.Context(), id); err != nil || exit.Cause != compute.CauseSystem || !strings.HasPrefix(exit.Reason, "its node is lost") {
		t.Errorf("%+v, %v", exit, err)
	}
	if err := d.Remove(t.Context(), id); err != nil {
		t.Error(err)
	}
}

func clusterDrained(t *testing.T, c *cluster) {
	d := c.open(t, "drained")
	id := begin(t, d, c.spec("stays"))
	disrupt(t, d, id, "EvictionByEvictionAPI")
	if exit, err := d.Wait(t.Context(), id); err != nil || exit.Cause != compute.CauseSystem || !strings.HasPrefix(exit.Reason, "evicted: its node was drained") {
		t.Errorf("%+v, %v", exit, err)
	}
	if err := d.Remove(t.Context(), id); err != nil {
		t.Error(err)
	}
}

// clusterNoRoom: a Pod that no node has room for says so while it waits.
func clusterNoRoom(t *testing.T, c *cluster) {
	d := c.open(t, "noroom")
	spec := c.spec("stays")
	spec.Resources.GPUs = 16
	if _, err := d.Create(t.Context(), spec); err != nil {
		t.Fatal(err)
	}
	started := make(chan error, 1)
	go func() { started <- d.Start(t.Context(), spec.ID) }()
	s, err := d.until(t.Context(), spec.ID, func(s compute.Status) bool { return strings.Contains(s.Stage.Text, "nvidia.com/gpu") })
	if err != nil || s.State != compute.Starting || !strings.HasPrefix(s.Stage.Text, "waiting for a node: ") {
		t.Errorf("%+v, %v", s, err)
	}
	if err := d.Stop(t.Context(), spec.ID, 0); err != nil {
		t.Error(err)
	}
	<-started
	if exit, err := d.Wait(t.Context(), spec.ID); err != nil || exit.Cause != compute.CauseStopped {
		t.Errorf("%+v, %v", exit, err)
	}
	if err := d.Remove(t.Context(), spec.ID); err != nil {
		t.Error(err)
	}
}

// clusterQuota: what the namespace has no room for is worth asking again.
func clusterQuota(t *testing.T, c *cluster) {
	d := c.open(t, "quota")
	limited, err := Open(Config{Kubeconfig: c.kubeconfig, Namespace: "kube-public", Place: "quota", Image: "kwok/stays"})
	if err != nil {
		t.Fatal(err)
	}
	defer limited.Close()
	quota := `{"apiVersion":"v1","kind":"ResourceQuota","metadata":{"name":"small"},"spec":{"hard":{"pods":"0"}},"status":{"hard":{"pods":"0"},"used":{"pods":"0"}}}`
	request := d.core.Post().Namespace("kube-public").Resource("resourcequotas").SetHeader("Content-Type", "application/json").Body([]byte(quota))
	if err := request.Do(t.Context()).Error(); err != nil {
		t.Fatal(err)
	}
	err = d.core.Patch("application/merge-patch+json").Namespace("kube-public").Resource("resourcequotas").Name("small").SubResource("status").
		Body([]byte(`{"status":{"hard":{"pods":"0"},"used":{"pods":"0"}}}`)).Do(t.Context()).Error()
	if err != nil {
		t.Fatal(err)
	}
	_, err = limited.Create(t.Context(), c.spec("stays"))
	if !problem.Is(err, problem.Unavailable) {
		t.Errorf("%v", err)
	}
}

// clusterTogether starts many at once: none is lost, and all ends are right.
// Halfway the driver is closed, as when its server is killed, and another one
// goes on.
func clusterTogether(t *testing.T, c *cluster) {
	const n = 200
	before := time.Now()
	d := c.open(t, "together")
	var specs []compute.Spec
	for i := range n {
		specs = append(specs, c.spec([]string{"well", "badly", "oom"}[i%3]))
	}
	run := func(d *Driver, specs []compute.Spec, check bool) {
		var wg sync.WaitGroup
		for i, spec := range specs {
			wg.Go(func() {
				_, errCreate := d.Create(t.Context(), spec)
				errStart := d.Start(t.Context(), spec.ID)
				exit, err := d.Wait(t.Context(), spec.ID)
				want := []int{0, 3, 137}[i%3]
				if check && (err != nil || exit.Code != want || exit.OOMKilled != (want == 137)) {
					t.Errorf("%s: %+v, %v, %v, %v", spec.ID, exit, err, errCreate, errStart)
				}
			})
		}
		wg.Wait()
	}
	go func() {
		for t.Context().Err() == nil {
			all, err := d.List(t.Context(), nil)
			if err != nil || len(all) > n/2 {
				d.Close()
				return
			}
		}
	}()
	run(d, specs, false)
	next := c.open(t, "together")
	run(next, specs, true)
	all, err := next.List(t.Context(), nil)
	if err != nil || len(all) != n {
		t.Errorf("%d Pods, %v: want %d", len(all), err, n)
	}
	var wg sync.WaitGroup
	for _, s := range all {
		wg.Go(func() {
			if err := next.Remove(t.Context(), s.ID); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if all, err := next.List(t.Context(), nil); err != nil || len(all) != 0 {
		t.Errorf("left: %d, %v", len(all), err)
	}
	t.Logf("%d Pods made, started, seen to their ends and removed in %v", n, time.Since(before).Round(time.Millisecond))
}

func clusterClosed(t *testing.T, c *cluster) {
	d := c.open(t, "closed")
	id := begin(t, d, c.spec("stays"))
	waited := make(chan error, 1)
	go func() {
		_, err := d.Wait(t.Context(), id)
		waited <- err
	}()
	for range 2 {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	}
	if err := <-waited; !problem.Is(err, problem.Canceled) {
		t.Errorf("%v", err)
	}
	if _, err := d.List(t.Context(), nil); !problem.Is(err, problem.Canceled) {
		t.Errorf("%v", err)
	}
	if err := c.open(t, "closed").Remove(t.Context(), id); err != nil {
		t.Error(err)
	}
}

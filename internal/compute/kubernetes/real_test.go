//go:build linux

package kubernetes

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"quire/internal/compute"
	"quire/internal/compute/computetest"
)

// TestRealCluster is the driver on a cluster whose nodes are real. It starts
// commands in the image of QUIRE_TEST_KUBE_IMAGE, which needs a shell, in a
// namespace that is there for it.
func TestRealCluster(t *testing.T) {
	file, image := os.Getenv("QUIRE_TEST_KUBECONFIG"), os.Getenv("QUIRE_TEST_KUBE_IMAGE")
	if file == "" || image == "" {
		t.Log("QUIRE_TEST_KUBECONFIG and QUIRE_TEST_KUBE_IMAGE are not set: no cluster to test against")
		return
	}
	realCluster(t, Config{Kubeconfig: file, Namespace: os.Getenv("QUIRE_TEST_KUBE_NAMESPACE"), Place: "test", Image: image})
}

// realCluster is what a real node does and one that is played does not.
func realCluster(t *testing.T, cfg Config) {
	t.Helper()
	d, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	made := 0
	start := func(t *testing.T, script string) string {
		t.Helper()
		made++
		spec := compute.Spec{
			ID: fmt.Sprintf("t-%d-%d", os.Getpid(), made), Argv: []string{"sh", "-c", script}, Grace: 2 * time.Second,
			Resources: compute.Resources{CPUMilli: 100, MemoryBytes: 64 * compute.MiB, DiskBytes: 64 * compute.MiB},
		}
		id := begin(t, d, spec)
		t.Cleanup(func() {
			if err := d.Remove(context.Background(), id); err != nil { // the test is over
				t.Error(err)
			}
		})
		return id
	}
	t.Run("ends", func(t *testing.T) {
		if exit, log := computetest.End(t, d, start(t, "echo one; echo two >&2; id -u; exit 3")); exit.Code != 3 || exit.Cause != compute.CauseExited || !strings.Contains(log, "one\n") || !strings.Contains(log, "two\n") || strings.Contains(log, "\n0\n") {
			t.Errorf("%+v, %q", exit, log)
		}
		if exit, log := computetest.End(t, d, start(t, "x=0123456789abcdef; while :; do x=$x$x; done")); !exit.OOMKilled {
			t.Errorf("%+v, %q", exit, log)
		}
	})
	t.Run("exec and stop", func(t *testing.T) {
		id := start(t, "trap 'exit 7' TERM; while :; do sleep 0.1; done")
		var out bytes.Buffer
		exit, err := d.Exec(t.Context(), id, compute.Command{Argv: []string{"sh", "-c", `cat; echo "$A"; exit 5`}, Env: map[string]string{"A": "b c"}, Stdin: strings.NewReader("in\n"), Stdout: &out})
		if err != nil || exit.Code != 5 || out.String() != "in\nb c\n" {
			t.Errorf("%+v, %v, %q", exit, err, out.String())
		}
		if err := d.Stop(t.Context(), id, -1); err != nil {
			t.Fatal(err)
		}
		if exit, _ := computetest.End(t, d, id); exit.Code != 7 || exit.Cause != compute.CauseStopped {
			t.Errorf("%+v", exit)
		}
	})
}

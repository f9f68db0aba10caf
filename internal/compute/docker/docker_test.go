//go:build linux

package docker_test

import (
	"crypto/sha256"
	"encoding/hex"
	"os"
	"testing"

	"quire/internal/compute"
	"quire/internal/compute/computetest"
	"quire/internal/compute/docker"
	"quire/internal/compute/shim"
)

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == shim.Command {
		os.Exit(shim.Main())
	}
	if len(os.Args) > 1 && os.Args[1] == shim.InnerCommand {
		os.Exit(shim.InnerMain(os.Args[2:]))
	}
	os.Exit(m.Run())
}

// open opens the driver on a folder that names its place.
func open(t testing.TB, host *computetest.Docker, dir string) compute.Driver {
	t.Helper()
	place := sha256.Sum256([]byte(dir))
	d, err := docker.Open(docker.Config{
		Dir: dir, Place: hex.EncodeToString(place[:6]), Host: host.Host, Image: host.Image, Executable: os.Getenv("QUIRE_TEST_BINARY"),
		HostPaths: computetest.DockerPaths(), LogBytes: computetest.LogBytes,
	})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestDriver(t *testing.T) {
	t.Parallel()
	host := computetest.StartDocker(t)
	t.Run("suite", func(t *testing.T) {
		computetest.Run(t, computetest.Subject{
			Open:     func(t *testing.T, dir string) compute.Driver { return open(t, host, dir) },
			Isolated: true,
		})
	})
	for name, test := range map[string]func(*testing.T, *computetest.Docker){
		"Memory": testMemory, "CPU": testCPU, "Forks": testForks, "Confined": testConfined, "Scratch": testScratch,
		"Refused": testRefused, "StartedOnce": testStartedOnce, "ExecStreams": testExecStreams,
		"Pull": testPull,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, host)
		})
	}
}

// TestDaemonKilled has a daemon of its own, since it kills it.
func TestDaemonKilled(t *testing.T) {
	t.Parallel()
	testDaemonKilled(t, computetest.StartDocker(t))
}

//go:build linux

package local_test

import (
	"os"
	"testing"

	"quire/internal/compute"
	"quire/internal/compute/computetest"
	"quire/internal/compute/local"
	"quire/internal/compute/shim"
)

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == shim.Command {
		os.Exit(shim.Main())
	}
	if len(os.Args) > 1 && os.Args[1] == probeCommand {
		os.Exit(probe())
	}
	if len(os.Args) > 1 && os.Args[1] == dialCommand {
		os.Exit(dialAll(os.Args[2:]))
	}
	if len(os.Args) > 4 && os.Args[1] == flowCommand {
		os.Exit(flow(os.Args[2:]))
	}
	if len(os.Args) > 2 && os.Args[1] == launchCommand {
		os.Exit(launchAll(os.Args[2:]))
	}
	os.Exit(m.Run())
}

func open(t testing.TB, dir string) compute.Driver {
	t.Helper()
	d, err := local.Open(local.Config{Dir: dir, LogBytes: computetest.LogBytes})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestDriver(t *testing.T) {
	t.Parallel()
	computetest.Run(t, computetest.Subject{
		Open:     func(t *testing.T, dir string) compute.Driver { return open(t, dir) },
		Isolated: true,
	})
}

//go:build unix

package process_test

import (
	"os"
	"testing"

	"quire/internal/compute"
	"quire/internal/compute/computetest"
	"quire/internal/compute/process"
	"quire/internal/compute/shim"
)

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == shim.Command {
		os.Exit(shim.Main())
	}
	os.Exit(m.Run())
}

func TestDriver(t *testing.T) {
	t.Parallel()
	computetest.Run(t, computetest.Subject{
		Open: func(t *testing.T, dir string) compute.Driver {
			d, err := process.Open(process.Config{Dir: dir, LogBytes: computetest.LogBytes})
			if err != nil {
				t.Fatal(err)
			}
			return d
		},
	})
}

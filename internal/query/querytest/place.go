package querytest

import (
	"runtime"
	"testing"

	"quire/internal/compute"
	"quire/internal/compute/local"
	"quire/internal/compute/process"
)

// Place opens where an engine's processes are executed, until the test ends: in
// containers where that works here.
func Place(t *testing.T) compute.Driver {
	t.Helper()
	if runtime.GOOS == "linux" {
		driver, err := local.Open(local.Config{Dir: t.TempDir()})
		if err == nil {
			if probe, err := driver.Probe(t.Context()); err == nil && probe.Support[compute.Processes].Level != compute.Unsupported {
				t.Cleanup(func() { _ = driver.Close() })
				return driver
			}
			_ = driver.Close()
		}
	}
	return Plain(t)
}

// Plain opens a place in which engines are processes and nothing more.
func Plain(t *testing.T) compute.Driver {
	t.Helper()
	driver, err := process.Open(process.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = driver.Close() })
	return driver
}

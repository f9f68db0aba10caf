package server_test

import (
	"os"
	"testing"

	"quire/internal/compute/shim"
	"quire/internal/kernel/kerneltest"
	"quire/internal/server"
)

// TestMain makes this binary the fake kernel of the runs in the harness, and the
// process beside each container.
func TestMain(m *testing.M) {
	if len(os.Args) == 2 && os.Args[1] == shim.Command {
		os.Exit(shim.Main())
	}
	kerneltest.Main()
	server.SetBuiltBinary(binary)
	code := m.Run()
	if dir := builtIn; dir != "" {
		_ = os.RemoveAll(dir)
	}
	os.Exit(code)
}

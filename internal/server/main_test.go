package server_test

import (
	"os"
	"testing"

	"quire/internal/kernel/kerneltest"
)

// TestMain makes this binary the fake kernel of the runs in the harness.
func TestMain(m *testing.M) {
	kerneltest.Main()
	code := m.Run()
	if dir := builtIn; dir != "" {
		_ = os.RemoveAll(dir)
	}
	os.Exit(code)
}

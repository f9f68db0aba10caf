package kernel_test

import (
	"os"
	"testing"

	"quire/internal/kernel/kerneltest"
)

func TestMain(m *testing.M) {
	kerneltest.Main()
	os.Exit(m.Run())
}

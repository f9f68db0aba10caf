package kernel_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"testing"

	"quire/internal/kernel"
	"quire/internal/kernel/kerneltest"
)

// ownerVariable makes this binary a program that owns a kernel and waits to be
// killed. It holds the kernel's Config.
const ownerVariable = "QUIRE_KERNEL_TEST_OWNER"

func TestMain(m *testing.M) {
	kerneltest.Main()
	if text := os.Getenv(ownerVariable); text != "" {
		if err := own(text); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
	}
	os.Exit(m.Run())
}

// ownerConfig is what an owner is told.
type ownerConfig struct {
	Spec       kernel.Spec
	RuntimeDir string
	Fork       bool
}

// own starts a kernel, prints its pid and waits for ever.
func own(text string) error {
	_ = os.Unsetenv(ownerVariable)
	var oc ownerConfig
	if err := json.Unmarshal([]byte(text), &oc); err != nil {
		return err
	}
	cfg := kernel.Config{Spec: oc.Spec, RuntimeDir: oc.RuntimeDir}
	start := kernel.Start
	if oc.Fork {
		f, err := kernel.NewForkserver(context.Background(), cfg)
		if err != nil {
			return err
		}
		if !f.Forks() {
			return fmt.Errorf("no fork server")
		}
		start = f.Start
	}
	k, err := start(context.Background(), cfg)
	if err != nil {
		return err
	}
	fmt.Println(k.PID())
	select {}
}

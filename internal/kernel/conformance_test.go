package kernel_test

import (
	"os"
	"strings"
	"testing"

	"quire/internal/kernel"
	"quire/internal/kernel/kerneltest"
)

// testConfig is a Config that leaves nothing outside the test's folders.
func testConfig(t testing.TB, spec kernel.Spec) kernel.Config {
	t.Helper()
	return kernel.Config{Spec: spec, Dir: t.TempDir(), RuntimeDir: runtimeDir(t)}
}

// runtimeDir returns a folder with a short path: sockets lie in it.
func runtimeDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "qk")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

func start(t testing.TB, cfg kernel.Config) *kernel.Kernel {
	t.Helper()
	k, err := kernel.Start(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = k.Close() })
	return k
}

func TestFakeConformance(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name      string
		transport string
		opt       kerneltest.Options
	}{
		{"tcp", "tcp", kerneltest.Options{}},
		{"ipc", "ipc", kerneltest.Options{}},
		{"interrupt by message", "tcp", kerneltest.Options{ByMessage: true}},
		{"loses the first idles", "tcp", kerneltest.Options{LoseIdles: 3}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			kerneltest.Run(t, kerneltest.Fake, func(t *testing.T) *kernel.Kernel {
				cfg := testConfig(t, kerneltest.Spec(t, tt.opt))
				cfg.Transport = tt.transport
				return start(t, cfg)
			})
		})
	}
}

var languages = map[string]kerneltest.Language{
	"python": kerneltest.Python, "r": kerneltest.R, "typescript": kerneltest.Deno,
	"javascript": kerneltest.Deno, "bash": kerneltest.Bash,
}

// realKernels returns the kernels that QUIRE_TEST_KERNELS names. One that is
// named and missing fails the test; without the variable there are none.
func realKernels(t testing.TB) []kernel.Spec {
	t.Helper()
	var specs []kernel.Spec
	for name := range strings.SplitSeq(os.Getenv("QUIRE_TEST_KERNELS"), ",") {
		if name = strings.TrimSpace(name); name == "" {
			continue
		}
		spec, err := kernel.Finder{}.Find(name)
		if err != nil {
			t.Fatalf("QUIRE_TEST_KERNELS names a kernel that cannot be used: %v", err)
		}
		specs = append(specs, spec)
	}
	return specs
}

// TestRealConformance runs on the kernels of QUIRE_TEST_KERNELS.
func TestRealConformance(t *testing.T) {
	for _, spec := range realKernels(t) {
		t.Run(spec.Name, func(t *testing.T) {
			lang, ok := languages[strings.ToLower(spec.Language)]
			if !ok {
				t.Fatalf("the suite does not know the language %q of kernel %s", spec.Language, spec.Name)
			}
			kerneltest.Run(t, lang, func(t *testing.T) *kernel.Kernel {
				return start(t, testConfig(t, spec))
			})
		})
	}
}

// TestForkedConformance runs on those of QUIRE_TEST_KERNELS that are
// ipykernel's, each kernel a fork.
func TestForkedConformance(t *testing.T) {
	for _, spec := range realKernels(t) {
		if spec.Language != "python" {
			continue
		}
		t.Run(spec.Name, func(t *testing.T) {
			f, err := kernel.NewForkserver(t.Context(), testConfig(t, spec))
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			if !f.Forks() {
				t.Fatal("the fork server does not run")
			}
			kerneltest.Run(t, kerneltest.Python, func(t *testing.T) *kernel.Kernel {
				k, err := f.Start(t.Context(), testConfig(t, spec))
				if err != nil {
					t.Fatal(err)
				}
				return k
			})
		})
	}
}

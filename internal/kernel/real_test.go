package kernel

import (
	"context"
	"errors"
	"io"
	"os"
	"strings"
	"testing"
	"time"
)

// realKernels returns the kernels that QUIRE_TEST_KERNELS names. One that is
// named and missing fails the test; without the variable there are none.
func realKernels(t *testing.T) []Spec {
	t.Helper()
	var specs []Spec
	for name := range strings.SplitSeq(os.Getenv("QUIRE_TEST_KERNELS"), ",") {
		if name = strings.TrimSpace(name); name == "" {
			continue
		}
		spec, err := Finder{}.Find(name)
		if err != nil {
			t.Fatalf("QUIRE_TEST_KERNELS names a kernel that cannot be used: %v", err)
		}
		specs = append(specs, spec)
	}
	return specs
}

func TestRealStart(t *testing.T) {
	for _, spec := range realKernels(t) {
		t.Run(spec.Name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
			defer cancel()
			t0 := time.Now()
			k, err := Start(ctx, Config{Spec: spec, Dir: t.TempDir(), Output: os.Stderr})
			if err != nil {
				t.Fatal(err)
			}
			defer k.Close()
			t.Logf("start %v %s %s", time.Since(t0), k.Info().Implementation, k.Info().ImplementationVersion)
			for i := range 20 {
				t0 = time.Now()
				e, err := k.Execute(ctx, ExecuteRequest{Code: "x=1", StoreHistory: true})
				if err != nil {
					t.Fatal(err)
				}
				for {
					m, err := e.Next(ctx)
					if errors.Is(err, io.EOF) {
						break
					}
					if err != nil {
						t.Fatal(err)
					}
					if i == 0 {
						t.Log(m.Channel, m.Type(), string(m.Content))
					}
				}
				t.Logf("execute %v", time.Since(t0))
			}
			t.Logf("%+v", k.Usage())
			t0 = time.Now()
			if err := k.Shutdown(ctx, 0); err != nil {
				t.Fatal(err)
			}
			t.Logf("shutdown %v: %v", time.Since(t0), k.Death())
		})
	}
}

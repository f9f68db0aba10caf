package engine

import (
	"testing"

	"quire/internal/kernel"
)

// TestKeptKernel gives the kernel of a run that failed in a cell to who wants it,
// alive; and of no other run.
func TestKeptKernel(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name  string
		cells []string
		kept  bool
	}{
		{"a cell fails", []string{"print one", "error KeyError fr", "print two"}, true},
		{"no cell fails", []string{"print one"}, false},
		{"the kernel dies", []string{"exit 3"}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var kept *kernel.Kernel
			res, nb, _, err := runFake(t, Request{Keep: func(k *kernel.Kernel) { kept = k }}, tt.cells...)
			if err != nil {
				t.Fatal(err)
			}
			if (kept != nil) != tt.kept {
				t.Fatalf("kept: %v; the run: %s %s", kept != nil, res.Status, res.Reason)
			}
			if kept == nil {
				return
			}
			if err := kept.Death(); err != nil {
				t.Errorf("the kernel has ended: %v", err)
			}
			if nb == nil || res.Status != Failed {
				t.Errorf("the run is %s", res.Status)
			}
			if err := kept.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

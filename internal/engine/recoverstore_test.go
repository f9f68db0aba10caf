package engine

import (
	"context"
	"strings"
	"testing"

	"quire/internal/kernel/kerneltest"
	"quire/internal/notebook"
	"quire/internal/problem"
	"quire/internal/storage"
	"quire/internal/storage/mem"
)

// A lostOutput never stores the finished notebook, as if its process had been
// killed before.
type lostOutput struct{ *File }

func (l lostOutput) Finish(context.Context, *notebook.Notebook) error { return l.Close() }

// TestRecoverStore brings a killed run's journal into an object.
func TestRecoverStore(t *testing.T) {
	t.Parallel()
	store, journals := mem.New(mem.Config{}), t.TempDir()
	file := func(once bool) *File {
		return NewStoreFile(store, "runs/out.ipynb", FileOptions{WriteOnce: once, Journals: journals})
	}
	run := func(out Output) error {
		_, err := Run(t.Context(), Request{
			Source: book("fake", "print a", "print b"), OutputPath: "runs/out.ipynb", Output: out,
			Kernels: fakeKernels(t, kerneltest.Options{}),
		})
		return err
	}
	if err := run(lostOutput{file(true)}); err != nil {
		t.Fatal(err)
	}
	err := run(file(true))
	if !problem.Is(err, problem.Exists) || !strings.Contains(err.Error(), "quire recover ") {
		t.Errorf("a later run: %v, want one that says how to recover", err)
	}
	rec, err := RecoverStore(t.Context(), store, "runs/out.ipynb", journals)
	if err != nil || rec == nil || rec.Finished != 2 {
		t.Fatalf("recovered %+v: %v", rec, err)
	}
	text, _, err := storage.ReadAll(t.Context(), store, "runs/out.ipynb", 1<<20)
	if err != nil || !strings.Contains(string(text), "a\\n") || !strings.Contains(string(text), "b\\n") || !strings.Contains(string(text), "interrupted") {
		t.Errorf("the output is %s: %v", text, err)
	}
	if rec, err := RecoverStore(t.Context(), store, "runs/out.ipynb", journals); rec != nil || err != nil {
		t.Errorf("again: %+v, %v, want nothing to do", rec, err)
	}
}

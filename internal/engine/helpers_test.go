package engine

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
	"time"

	"quire/internal/kernel"
	"quire/internal/kernel/kerneltest"
	"quire/internal/notebook"
)

func TestMain(m *testing.M) {
	kerneltest.Main()
	if path := os.Getenv(killMeEnv); path != "" {
		runUntilKilled(path)
	}
	os.Exit(m.Run())
}

// fakeKernels writes the spec of a fake kernel into a folder of the test.
func fakeKernels(t testing.TB, opt kerneltest.Options) kernel.Finder {
	t.Helper()
	if opt.Language == "" {
		opt.Language = "python"
	}
	spec := kerneltest.Spec(t, opt)
	root := t.TempDir()
	dir := filepath.Join(root, "kernels", "fake")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(map[string]any{
		"argv": spec.Argv, "display_name": "Fake", "language": spec.Language, "env": spec.Env,
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "kernel.json"), text, 0o600); err != nil {
		t.Fatal(err)
	}
	return kernel.Finder{Paths: []string{root}}
}

// runFake runs cells on the fake kernel into a file of the test.
func runFake(t *testing.T, req Request, cells ...string) (*Result, *notebook.Notebook, string, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "out.ipynb")
	req.Kernels = fakeKernels(t, kerneltest.Options{})
	req.Source, req.OutputPath = book("fake", cells...), path
	if req.Output == nil {
		req.Output = NewFile(path, FileOptions{})
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	res, err := Run(ctx, req)
	if err != nil {
		return res, nil, path, err
	}
	return res, readBook(t, path), path, nil
}

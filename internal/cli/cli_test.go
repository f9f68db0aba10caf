package cli

import (
	"io"
	"os"
	"path/filepath"
	"testing"
)

// testProcess returns a process with files for its streams.
func testProcess(t *testing.T, args ...string) Process {
	t.Helper()
	open := func(name string) *os.File {
		f, err := os.Create(filepath.Join(t.TempDir(), name))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { f.Close() })
		return f
	}
	return Process{Args: args, Stdin: open("stdin"), Stdout: open("stdout"), Stderr: open("stderr")}
}

// written returns what was written to a stream of a testProcess.
func written(t *testing.T, f *os.File) string {
	t.Helper()
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		t.Fatal(err)
	}
	data, err := io.ReadAll(f)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

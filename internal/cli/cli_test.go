package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"quire/internal/engine"
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

func TestDropRepeats(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ in, want string }{
		{"a: b: c", "a: b: c"},
		{"a: a: c", "a: c"},
		{"a: a: a: c", "a: c"},
		{"x: a: b: a: b: c", "x: a: b: c"},
		{"a: b: a: c", "a: b: a: c"},
		{"writing s3://b/o: writing s3://b/o: no", "writing s3://b/o: no"},
		{"", ""},
	} {
		if got := dropRepeats(tt.in); got != tt.want {
			t.Errorf("dropRepeats(%q) = %q, want %q", tt.in, got, tt.want)
		}
	}
}

func TestExitStatus(t *testing.T) {
	t.Parallel()
	canceled := func(s os.Signal) context.Context {
		ctx, cancel := context.WithCancelCause(context.Background())
		cancel(signalCause{s})
		return ctx
	}
	plain := errors.New("x")
	for _, tt := range []struct {
		name string
		ctx  context.Context
		err  error
		want int
	}{
		{"done", context.Background(), nil, 0},
		{"done in spite of a signal", canceled(os.Interrupt), nil, 0},
		{"failed", context.Background(), plain, 1},
		{"usage", context.Background(), fmt.Errorf("x: %w", usageError{plain}), 2},
		{"interrupted", canceled(os.Interrupt), plain, 130},
		{"terminated", canceled(syscall.SIGTERM), plain, 143},
		{"hung up", canceled(syscall.SIGHUP), plain, 129},
		{"own status", canceled(os.Interrupt), statusError{status: 138, err: plain}, 138},
	} {
		if got := exitStatus(tt.ctx, tt.err); got != tt.want {
			t.Errorf("%s: %d, want %d", tt.name, got, tt.want)
		}
	}
	for status, want := range map[engine.Status]int{
		engine.Succeeded: 0, engine.Stopped: 0, engine.Prepared: 0,
		engine.Failed: 1, engine.TimedOut: 1, engine.KernelDied: 138, engine.Interrupted: 130,
	} {
		if got := runStatus(context.Background(), status); got != want {
			t.Errorf("%s: %d, want %d", status, got, want)
		}
	}
}

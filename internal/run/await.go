package run

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"

	"quire/internal/kernel"
	"quire/internal/problem"
)

// What a waiting process says to the server.
const (
	answerReady = "ready"
	answerTaken = "taken"
)

// maxSpoolPath bounds the line that names a spool, in bytes.
const maxSpoolPath = 64 << 10

// Await starts a kernel by the name given, says so on out, and executes the
// attempt whose spool in names, as a line of JSON, with opt. It is what a process of Warm
// does. When in ends first, there is nothing to do and Await returns.
func Await(ctx context.Context, kernelName string, in io.Reader, out io.Writer, opt AttemptOptions) error {
	spec, err := kernel.Finder{}.Find(kernelName)
	if err != nil {
		return err
	}
	pool, err := kernel.NewPool(kernel.Config{Spec: spec}, 1)
	if err != nil {
		return err
	}
	defer pool.Close()
	if err := pool.Await(ctx); err != nil {
		return err
	}
	if _, err := fmt.Fprintln(out, answerReady); err != nil {
		return nil //nolint:nilerr // the server is gone: nothing to do
	}
	dir, err := readSpool(ctx, in)
	if err != nil || dir == "" {
		return err
	}
	if _, err := fmt.Fprintln(out, answerTaken); err != nil {
		return nil //nolint:nilerr // the server is gone: another one finds the attempt not begun
	}
	opt.StartKernel = func(ctx context.Context, cfg kernel.Config) (*kernel.Kernel, error) {
		k, err := pool.Get(ctx, cfg)
		go pool.Close() // no second one; Await's own Close waits for it
		return k, err
	}
	_, err = RunAttempt(ctx, dir, opt)
	return err
}

// readSpool waits for the server's line, "" when it ends without one.
func readSpool(ctx context.Context, in io.Reader) (string, error) {
	type answer struct {
		line []byte
		err  error
	}
	got := make(chan answer, 1)
	go func() { // ends with the process when nothing comes
		line, err := bufio.NewReaderSize(io.LimitReader(in, maxSpoolPath), 4<<10).ReadBytes('\n')
		got <- answer{line, err}
	}()
	select {
	case <-ctx.Done():
		return "", nil
	case a := <-got:
		if a.err != nil {
			return "", nil //nolint:nilerr // the server ended
		}
		var dir string
		err := json.Unmarshal(a.line, &dir)
		return dir, problem.WrapAs(problem.Internal, err, "reading which attempt to execute")
	}
}

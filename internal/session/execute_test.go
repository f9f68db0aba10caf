package session

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"quire/internal/kernel"
	"quire/internal/kernel/kerneltest"
	"quire/internal/kernel/wire"
	"quire/internal/notebook"
	"quire/internal/problem"
	"quire/internal/session/ydoc"
)

// direct is a kernel that only the room speaks with.
type direct struct{ *kernel.Kernel }

func (d direct) Send(ctx context.Context, m *wire.Message) error { return d.SendMessage(ctx, m) }
func (d direct) Committed(uint64)                                {}
func (d direct) Leave()                                          {}

// runner is a notebook with cells, a client and a kernel.
type runner struct {
	*bundle
	*client
	k *kernel.Kernel
}

func startRunner(t *testing.T, sources ...string) *runner {
	t.Helper()
	b := setup(t)
	nb := notebook.New()
	for i, source := range sources {
		c := notebook.NewCode(source)
		c.ID = fmt.Sprint("c", i)
		nb.Cells = append(nb.Cells, c)
	}
	body, err := nb.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	b.save(t, string(body))
	k, err := kernel.Start(t.Context(), kernel.Config{Spec: kerneltest.Spec(t, kerneltest.Options{}), RuntimeDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = k.Close() })
	return &runner{b, b.connect(t, nil), k}
}

func (r *runner) request(cells ...int) ExecuteRequest {
	req := ExecuteRequest{Kernel: r.k.ID(), Connect: func(context.Context) (Kernel, error) { return direct{r.k}, nil }}
	for _, i := range cells {
		req.Cells = append(req.Cells, CellRef{ID: fmt.Sprint("c", i)})
	}
	return req
}

// run runs cells and waits until the last one is done.
func (r *runner) run(t *testing.T, req ExecuteRequest) error {
	t.Helper()
	room, err := r.Open(t.Context(), r.info.Room())
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	if err := room.Execute(t.Context(), req, done); err != nil {
		return err
	}
	select {
	case err := <-done:
		return err
	case <-time.After(2 * time.Minute):
		t.Fatal("the cells do not end")
		return nil
	}
}

// outputs are a cell's outputs in the client's replica, in short.
func (r *runner) outputs(i int) string {
	var parts []string
	for _, o := range r.doc.Array(rootCells).Map(i).Array("outputs").JSON() {
		m, _ := o.(map[string]any)
		switch m["output_type"] {
		case "stream":
			parts = append(parts, fmt.Sprint(m["name"], ":", m["text"]))
		case "error":
			parts = append(parts, fmt.Sprint(m["ename"], ":", m["evalue"]))
		default:
			data, _ := m["data"].(map[string]any)
			parts = append(parts, fmt.Sprint(m["output_type"], ":", data["text/plain"]))
		}
	}
	return strings.Join(parts, "|")
}

func (r *runner) state(i int) string {
	return r.doc.Array(rootCells).Map(i).String("execution_state")
}

func TestExecute(t *testing.T) {
	t.Parallel()
	r := startRunner(t,
		"print a\nprint b\nstderr c\nprint d\nresult 7",
		"display x old\nprint shown",
		"update x new\nprint one\nclear wait\nprint two\nclear\nprint three",
		"print before\nerror ValueError bad",
		"print never",
	)
	if err := r.run(t, r.request(0, 1, 2)); err != nil {
		t.Fatal(err)
	}
	want := []string{
		"stdout:a\nb\n|stderr:c\n|stdout:d\n|execute_result:7",
		"display_data:new|stdout:shown\n",
		"stdout:three\n",
	}
	for i, w := range want {
		r.waitFor("the outputs of cell "+fmt.Sprint(i), func() bool { return r.outputs(i) == w && r.state(i) == stateIdle })
	}
	if err := r.run(t, r.request(3, 4)); !problem.Is(err, problem.Canceled) {
		t.Errorf("a cell behind a failed one: %v", err)
	}
	r.waitFor("the error", func() bool {
		return r.outputs(3) == "stdout:before\n|ValueError:bad" && r.outputs(4) == "" && r.state(4) == stateIdle
	})
	r.mu.Lock()
	c := r.doc.Array(rootCells).Map(2)
	count, _ := c.Get("execution_count")
	timing, _ := c.Map("metadata").JSON()["execution"].(map[string]any)
	r.mu.Unlock()
	if count != 3.0 {
		t.Errorf("the third cell has the count %v", count)
	}
	for _, key := range []string{"iopub.execute_input", "iopub.status.busy", "iopub.status.idle", "shell.execute_reply", "quire.queued", "quire.order"} {
		if timing[key] == nil {
			t.Errorf("no %s among the timings %v", key, timing)
		}
	}
	waitFor(t, "the outputs in the file", func() bool {
		nb := r.notebook(t)
		return len(nb.Cells[0].Outputs) == 4 && len(nb.Cells[3].Outputs) == 2 && nb.Cells[3].Outputs[1].Ename == "ValueError"
	})
}

// TestOutputWidget: what a cell prints while an Output widget is in force is the
// widget's, not the cell's.
func TestOutputWidget(t *testing.T) {
	t.Parallel()
	hook := func(id string) string {
		return `iopub comm_msg {"comm_id":"o","data":{"method":"update","state":{"msg_id":"` + id + `"}}}` + "\n"
	}
	r := startRunner(t, "print before\n"+hook("$PARENT")+"print inside\nresult 7\nclear\n"+hook("")+"print after", "print "+"next")
	if err := r.run(t, r.request(0, 1)); err != nil {
		t.Fatal(err)
	}
	r.waitFor("what is the cells'", func() bool { return r.outputs(0) == "stdout:before\nafter\n" && r.outputs(1) == "stdout:next\n" })
}

// TestExecuteWithoutClients: nobody is connected while the cell runs, and all of
// it is in the file.
func TestExecuteWithoutClients(t *testing.T) {
	t.Parallel()
	r := startRunner(t, "print begin\nsleep 300ms\nflood 2000 100\nprint end")
	room, err := r.Open(t.Context(), r.info.Room())
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	if err := room.Execute(t.Context(), r.request(0), done); err != nil {
		t.Fatal(err)
	}
	r.leave()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	waitFor(t, "the outputs in the file", func() bool {
		nb := r.notebook(t)
		if len(nb.Cells[0].Outputs) != 1 {
			return false
		}
		text := nb.Cells[0].Outputs[0].Text
		return strings.HasPrefix(text, "begin\n") && strings.HasSuffix(text, "end\n") && len(text) >= 200_000
	})
}

func TestExecuteRefusals(t *testing.T) {
	t.Parallel()
	r := startRunner(t, "print a", "print b")
	seen, other := SourceHash("print b"), SourceHash("print c")
	good := r.request(1)
	good.Cells[0].Hash, good.ID = &seen, "first"
	bad := r.request(0, 1)
	bad.Cells[1].Hash = &other
	var mismatch *SourceMismatch
	if err := r.run(t, bad); !errors.As(err, &mismatch) || mismatch.Cell != "c1" || !problem.Is(err, problem.Conflict) {
		t.Errorf("a changed cell: %v", err)
	}
	if err := r.run(t, r.request(9)); !problem.Is(err, problem.NotFound) {
		t.Errorf("a missing cell: %v", err)
	}
	after := r.request(0)
	after.After = "first"
	order := make(chan error, 1)
	go func() { order <- r.run(t, after) }()
	if err := r.run(t, good); err != nil {
		t.Fatal(err)
	}
	if err := <-order; err != nil {
		t.Errorf("a request that came too early: %v", err)
	}
	if err := r.run(t, good); err != nil { // once more, by its id
		t.Fatal(err)
	}
	r.waitFor("each once", func() bool {
		first, _ := r.doc.Array(rootCells).Map(0).Get("execution_count")
		second, _ := r.doc.Array(rootCells).Map(1).Get("execution_count")
		return first == 2.0 && second == 1.0
	})
}

// TestKernelDies wants the reason in the cell, and those behind it given up.
func TestKernelDies(t *testing.T) {
	t.Parallel()
	r := startRunner(t, "print so far\nsignal KILL", "print never")
	if err := r.run(t, r.request(0, 1)); err == nil {
		t.Error("the cells ended well")
	}
	r.waitFor("the reason", func() bool {
		return strings.HasPrefix(r.outputs(0), "stdout:so far\n|KernelDied:") && strings.Contains(r.outputs(0), "SIGKILL") &&
			r.state(0) == stateIdle && r.state(1) == stateIdle
	})
}

// TestLargeOutputs keeps one large output by its hash, and the whole of it in the
// file.
func TestLargeOutputs(t *testing.T) {
	t.Parallel()
	large := strings.Repeat("0123456789abcdef", LargeOutput/16+1)
	r := startRunner(t, "display - "+large)
	if err := r.run(t, r.request(0)); err != nil {
		t.Fatal(err)
	}
	r.waitFor("a reference", func() bool { return strings.HasPrefix(r.outputs(0), "display_data:[an output of 2.0 MiB") })
	r.mu.Lock()
	m, _ := r.doc.Array(rootCells).Map(0).Array("outputs").JSON()[0].(map[string]any)
	metadata, _ := m["metadata"].(map[string]any)
	ours, _ := metadata["quire"].(map[string]any)
	hash, _ := ours["blob"].(string)
	r.mu.Unlock()
	if data, err := r.Output(hash); err != nil || !strings.Contains(string(data), large) {
		t.Errorf("the output by its hash: %d bytes, %v", len(data), err)
	}
	waitFor(t, "all of it in the file", func() bool {
		nb := r.notebook(t)
		return len(nb.Cells[0].Outputs) == 1 && nb.Cells[0].Outputs[0].Data["text/plain"] == large &&
			len(nb.Cells[0].Outputs[0].Metadata) == 0
	})
	if _, err := r.Output("../files.json"); !problem.Is(err, problem.NotFound) {
		t.Errorf("a path instead of a hash: %v", err)
	}
}

func TestSourceHash(t *testing.T) {
	t.Parallel()
	// Known values of MurmurHash2 with seed 0.
	for source, want := range map[string]uint32{"": 0, "a": 0x92685f5e, "abcd": 0x26873021, "hello world": 0x44a81419} {
		if got := SourceHash(source); got != want {
			t.Errorf("%q: %#x, want %#x", source, got, want)
		}
	}
}

// TestInterruptedByRestart: a cell that ran when the server ended says so.
func TestInterruptedByRestart(t *testing.T) {
	t.Parallel()
	r := startRunner(t, "print begin\nsleep 60s")
	room, err := r.Open(t.Context(), r.info.Room())
	if err != nil {
		t.Fatal(err)
	}
	if err := room.Execute(t.Context(), r.request(0), nil); err != nil {
		t.Fatal(err)
	}
	r.waitFor("the first line", func() bool { return r.outputs(0) == "stdout:begin\n" })
	r.leave()
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	r.start(t, r.dir)
	back := r.connect(t, ydoc.New(newClientID()))
	back.waitFor("the reason", func() bool {
		again := runner{client: back}
		return strings.Contains(again.outputs(0), "KernelDied:the server ended") && again.state(0) == stateIdle
	})
}

func testBlobs(t testing.TB) *blobs {
	t.Helper()
	root, err := os.OpenRoot(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = root.Close() })
	if err := root.Mkdir(blobDir, 0o700); err != nil {
		t.Fatal(err)
	}
	return &blobs{root: root}
}

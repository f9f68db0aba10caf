package session

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"time"

	"github.com/google/uuid"

	"quire/internal/kernel/wire"
	"quire/internal/notebook"
	"quire/internal/problem"
	"quire/internal/session/ydoc"
)

// The states of a cell, in Jupyter's words.
const (
	stateIdle    = "idle"
	stateRunning = "running"
)

// Limits of execution.
const (
	coalesce     = 60 * time.Millisecond // output is brought into the document so often
	batchBytes   = 4 << 20               // or when so much has come
	maxQueue     = 10_000                // cells that may wait for one kernel
	maxRequests  = 1000                  // request ids that are remembered
	orderWait    = 5 * time.Second       // for a request that is to come before
	afterRun     = 5 * time.Second       // a kernel is listened to for late output
	maxDisplays  = 10_000
	maxShown     = 50       // outputs of a cell that the kernel can still change after a restart of the server
	maxCellBytes = 64 << 20 // of stream text in one cell
)

// A Kernel is where cells run. Its owner is the room, which ends it with Leave.
type Kernel interface {
	// Next returns the next message that the kernel published, or that answers
	// what Send sent. Its error other than ctx's says that the kernel is gone.
	Next(ctx context.Context) (*wire.Message, error)
	// Send sends a message on the shell channel.
	Send(ctx context.Context, m *wire.Message) error
	// Committed says that all messages up to that one are in the document's log;
	// see wire.Message.Seq.
	Committed(seq uint64)
	// Leave ends the connection, not the kernel.
	Leave()
}

// A CellRef is a cell to run, as the person who asks for it sees it.
type CellRef struct {
	ID   string
	Hash *uint32 // MurmurHash2 of the text that was seen; nil is not checked
}

// An ExecuteRequest asks for cells to be run, in that order. Either all of them
// are accepted or none.
type ExecuteRequest struct {
	Kernel  string // its id
	Connect func(context.Context) (Kernel, error)
	Cells   []CellRef
	Stdin   bool   // whoever asks can answer a question of a cell
	ID      string // a request that comes again with one id runs once; may be empty
	After   string // the id of the request that must have come before; may be empty
}

// A SourceMismatch is a cell whose text is not what was seen. Its kind is
// Conflict.
type SourceMismatch struct{ Cell string }

// Error says which cell it is.
func (e *SourceMismatch) Error() string {
	return "cell " + e.Cell + " was changed meanwhile: look at it and run it again"
}

// Unwrap gives the error its kind.
func (e *SourceMismatch) Unwrap() error { return problem.New(problem.Conflict, "the source differs") }

// A queue is the cells of one room that wait for one kernel. The room's goroutine
// owns its fields; its runner is a goroutine of its own.
type queue struct {
	room     *Room
	kernelID string
	kernel   Kernel
	cancel   context.CancelFunc
	done     chan struct{}
	poke     chan struct{}

	waiting []*cellRun
	// What is not marked in the log yet; see logMark.
	reset    bool
	added    []*cellRun
	accepted []string

	current *cellRun
	resumed bool                // current ran before the server was started anew
	seq     uint64              // the last message that is in the document
	parents map[string]*cellRun // cells by the id of their request, for late output
	recent  []string            // keys of parents, oldest first
}

// A cellRun is one run of one cell.
type cellRun struct {
	cell    string // its id
	request string // msg_id
	queued  time.Time
	began   time.Time
	stdin   bool          // a question can be answered
	asked   *wire.Message // the question that waits for an answer
	waiters []chan error
	timing  map[string]any
	failed  bool
	replied bool    // the reply has come
	idle    bool    // so has the kernel's word that it was all
	shown   []shown // outputs that the kernel can change
	clear   bool    // before the next output
	bytes   int64   // of stream text
}

// running reports whether cells run or wait.
func (r *Room) running() bool {
	for _, q := range r.queues {
		if q.current != nil || len(q.waiting) > 0 {
			return true
		}
	}
	return false
}

// Execute queues cells and returns when they are accepted. finished, when not
// nil, gets one value when the last of them is done: nil, or why it did not run to
// its end.
func (r *Room) Execute(ctx context.Context, req ExecuteRequest, finished chan error) error {
	if err := r.awaitRequest(ctx, req.After); err != nil {
		return err
	}
	var known, connected bool
	err := r.do(ctx, func() error {
		known = req.ID != "" && r.requests[req.ID]
		connected = r.queues[req.Kernel] != nil
		if known {
			return nil
		}
		return r.checkCells(req.Cells)
	})
	if err != nil || known {
		if known && finished != nil {
			finished <- nil
		}
		return err
	}
	var k Kernel
	if !connected {
		if k, err = req.Connect(ctx); err != nil {
			return err
		}
	}
	err = r.do(ctx, func() error {
		if err := r.checkCells(req.Cells); err != nil {
			return err
		}
		q := r.queues[req.Kernel]
		if q == nil {
			if k == nil {
				return problem.New(problem.Unavailable, "the kernel was left just now: ask again")
			}
			q = r.newQueue(req.Kernel, k)
			k = nil
		}
		return r.enqueue(q, req, finished)
	})
	if k != nil {
		k.Leave()
	}
	return err
}

// awaitRequest waits until the request id was accepted.
func (r *Room) awaitRequest(ctx context.Context, id string) error {
	if id == "" {
		return nil
	}
	here := make(chan struct{})
	err := r.do(ctx, func() error {
		if r.requests[id] {
			close(here)
		} else {
			r.expected = append(r.expected, expectation{id, here})
		}
		return nil
	})
	if err != nil {
		return err
	}
	timer := time.NewTimer(orderWait)
	defer timer.Stop()
	select {
	case <-here:
		return nil
	case <-timer.C:
		r.postAlways(func() {
			r.expected = slices.DeleteFunc(r.expected, func(e expectation) bool { return e.here == here })
		})
		return problem.New(problem.Timeout, "the request before this one did not come within %v", orderWait)
	case <-r.closed:
		return &Refusal{Code: codeGoingAway, Reason: "the document was closed"}
	case <-ctx.Done():
		return ctx.Err()
	}
}

// An expectation is somebody who waits for a request.
type expectation struct {
	id   string
	here chan struct{}
}

// checkCells compares what was seen with what is there.
func (r *Room) checkCells(cells []CellRef) error {
	if len(cells) == 0 {
		return problem.New(problem.Invalid, "no cells are named")
	}
	for _, ref := range cells {
		c := r.cell(ref.ID)
		switch {
		case c == nil:
			return problem.New(problem.NotFound, "there is no cell %.80q", ref.ID)
		case c.String("cell_type") != string(notebook.Code):
			return problem.New(problem.Invalid, "cell %.80q is no code cell", ref.ID)
		case ref.Hash != nil && *ref.Hash != SourceHash(c.Text("source").String()):
			return &SourceMismatch{ref.ID}
		}
	}
	return nil
}

// cell returns the live cell with that id, nil when there is none.
func (r *Room) cell(id string) *ydoc.Map {
	for _, v := range r.doc.Array(rootCells).All() {
		if c, ok := v.(*ydoc.Map); ok && c.String("id") == id && c.Text("source") != nil {
			return c
		}
	}
	return nil
}

// newQueue makes and starts a queue.
func (r *Room) newQueue(id string, k Kernel) *queue {
	q := r.makeQueue(id, k)
	q.start()
	return q
}

func (r *Room) makeQueue(id string, k Kernel) *queue {
	q := &queue{
		room: r, kernelID: id, kernel: k, done: make(chan struct{}),
		poke: make(chan struct{}, 1), parents: map[string]*cellRun{},
	}
	r.queues[id] = q
	return q
}

func (q *queue) start() {
	ctx, cancel := context.WithCancel(context.Background())
	q.cancel = cancel
	go q.run(ctx)
}

// enqueue puts cells behind those that wait.
func (r *Room) enqueue(q *queue, req ExecuteRequest, finished chan error) error {
	if len(q.waiting)+len(req.Cells) > maxQueue {
		return problem.New(problem.TooLarge, "%d cells wait for the kernel already", len(q.waiting))
	}
	for i, ref := range req.Cells {
		run := &cellRun{cell: ref.ID, request: uuid.NewString(), queued: r.cfg.Now(), stdin: req.Stdin, timing: map[string]any{}}
		if finished != nil && i == len(req.Cells)-1 {
			run.waiters = append(run.waiters, finished)
		}
		q.waiting, q.added = append(q.waiting, run), append(q.added, run)
	}
	if req.ID != "" {
		r.remember(req.ID)
		q.accepted = append(q.accepted, req.ID)
	}
	q.marking(func() {
		for _, ref := range req.Cells {
			r.cell(ref.ID).Set("execution_state", stateRunning)
		}
	})
	select {
	case q.poke <- struct{}{}:
	default:
	}
	return nil
}

// remember notes a request id, and lets go who waits for it.
func (r *Room) remember(id string) {
	if r.requests == nil {
		r.requests = map[string]bool{}
	}
	r.requests[id] = true
	if r.requestOrder = append(r.requestOrder, id); len(r.requestOrder) > maxRequests {
		delete(r.requests, r.requestOrder[0])
		r.requestOrder = r.requestOrder[1:]
	}
	r.expected = slices.DeleteFunc(r.expected, func(e expectation) bool {
		if e.id == id {
			close(e.here)
		}
		return e.id == id
	})
}

// end stops the queue's runner and waits for it. What still runs in the kernel
// goes on there, unseen.
func (q *queue) end() {
	q.cancel()
	<-q.done
}

// run is the queue's goroutine: it sends cells to the kernel one after another,
// and brings what the kernel says into the document.
func (q *queue) run(ctx context.Context) {
	defer close(q.done)
	defer q.kernel.Leave()
	var b batch
	for ctx.Err() == nil {
		err := q.step(ctx, &b)
		switch {
		case err == nil:
		case errors.Is(err, errNothingLeft):
			if !q.more(ctx) {
				return
			}
		case ctx.Err() != nil:
			return
		default:
			_ = q.room.post(ctx, func() { q.gone(err) }) // a room that ends ends the queue
			return
		}
	}
}

// more reports whether cells came just now; otherwise the queue is forgotten.
func (q *queue) more(ctx context.Context) (more bool) {
	err := q.room.do(ctx, func() error {
		if more = len(q.waiting) > 0; !more {
			delete(q.room.queues, q.kernelID)
			q.marking(func() {})
		}
		return nil
	})
	return err == nil && more
}

var errNothingLeft = errors.New("nothing is left to run")

// step runs one cell, or listens for late output until there is one.
func (q *queue) step(ctx context.Context, b *batch) error {
	var next *cellRun
	var message *wire.Message
	replied, idle := false, false
	err := q.room.do(ctx, func() error {
		if next, message = q.begin(); next != nil {
			replied, idle = next.replied, next.idle
		}
		return nil
	})
	if err != nil {
		return err
	}
	if next == nil {
		return q.listen(ctx, b)
	}
	if err := q.kernel.Send(ctx, message); err != nil {
		return err
	}
	for !replied || !idle {
		m, err := q.next(ctx, b)
		if err != nil {
			q.commit(ctx, b, nil)
			return err
		}
		if m == nil { // what has come is due
			q.commit(ctx, b, nil)
			continue
		}
		if m.ParentHeader.MsgID == next.request {
			replied = replied || m.Type() == "execute_reply"
			idle = idle || isIdle(m)
		}
		b.add(m)
	}
	q.commit(ctx, b, next)
	return q.tellWidgets(ctx)
}

// documentSession is the session of what rooms ask kernels.
const documentSession = "quire-document"

// listen takes what comes while no cell runs. It returns when there is one, or
// with errNothingLeft when for a while there was none.
func (q *queue) listen(ctx context.Context, b *batch) error {
	wait, cancel := context.WithTimeout(ctx, afterRun)
	defer cancel()
	poked := make(chan struct{})
	go func() {
		defer close(poked)
		select {
		case <-q.poke:
			cancel()
		case <-wait.Done():
		}
	}()
	defer func() { cancel(); <-poked }()
	for {
		m, err := q.kernel.Next(wait)
		switch {
		case err == nil:
			b.add(m)
			q.commit(ctx, b, nil)
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(wait.Err(), context.DeadlineExceeded):
			return errNothingLeft
		case wait.Err() != nil:
			return nil // poked
		default:
			return err
		}
	}
}

// next returns the next message, nil when what has come is to be committed.
func (q *queue) next(ctx context.Context, b *batch) (*wire.Message, error) {
	if b.bytes > batchBytes {
		return nil, nil
	}
	if b.since.IsZero() {
		return q.kernel.Next(ctx)
	}
	left := coalesce - time.Since(b.since)
	if left <= 0 {
		return nil, nil
	}
	wait, cancel := context.WithTimeout(ctx, left)
	defer cancel()
	m, err := q.kernel.Next(wait)
	if err != nil && wait.Err() != nil && ctx.Err() == nil {
		return nil, nil
	}
	return m, err
}

func isIdle(m *wire.Message) bool {
	var s struct {
		State string `json:"execution_state"`
	}
	return m.Type() == "status" && m.Decode(&s) == nil && s.State == stateIdle
}

// begin takes the next cell that waits and is still there.
func (q *queue) begin() (*cellRun, *wire.Message) {
	if q.resumed { // the kernel takes it once, also when it was sent before
		q.resumed = false
		if c := q.room.cell(q.current.cell); c != nil {
			return q.current, q.request(q.current, c)
		}
		return q.current, q.request(q.current, nil)
	}
	for len(q.waiting) > 0 {
		run := q.waiting[0]
		q.waiting = q.waiting[1:]
		c := q.room.cell(run.cell)
		if c == nil {
			q.room.answer(run, problem.New(problem.NotFound, "cell %s was deleted before it ran", run.cell))
			continue
		}
		q.current, run.began = run, q.room.cfg.Now()
		q.expect(run)
		q.marking(func() {
			if outputs := c.Array("outputs"); outputs != nil && outputs.Len() > 0 {
				outputs.Delete(0, outputs.Len())
			}
			if c.String("execution_state") != stateRunning {
				c.Set("execution_state", stateRunning)
			}
			q.room.tellRunning()
		})
		return run, q.request(run, c)
	}
	return nil, nil
}

// request is the message that asks the kernel for a run. A cell that is gone
// meanwhile runs nothing.
func (q *queue) request(run *cellRun, c *ydoc.Map) *wire.Message {
	code := ""
	if c != nil {
		code = c.Text("source").String()
	}
	return &wire.Message{
		Channel: wire.Shell,
		Header: wire.Header{
			MsgID: run.request, Session: documentSession, Username: q.room.cfg.User.Name,
			Date: wire.FormatDate(q.room.cfg.Now()), MsgType: "execute_request", Version: wire.ProtocolVersion,
		},
		Metadata: mustJSON(map[string]any{"cellId": run.cell}),
		Content: mustJSON(map[string]any{
			"code": code, "silent": false, "store_history": true,
			"user_expressions": map[string]any{}, "allow_stdin": run.stdin, "stop_on_error": true,
		}),
	}
}

// A batch is messages that are brought into the document together.
type batch struct {
	messages []*wire.Message
	bytes    int
	since    time.Time // when the first came
}

func (b *batch) add(m *wire.Message) {
	if b.since.IsZero() {
		b.since = time.Now()
	}
	b.messages = append(b.messages, m)
	b.bytes += m.Size()
}

// commit brings a batch into the document. done is the cell that ended with it.
// It returns when that is on the disk.
func (q *queue) commit(ctx context.Context, b *batch, done *cellRun) {
	messages := b.messages
	*b = batch{}
	if len(messages) == 0 && done == nil {
		return
	}
	committed := make(chan struct{})
	var seq uint64
	err := q.room.post(ctx, func() {
		q.marking(func() {
			messages = q.fresh(messages)
			for i := 0; i < len(messages); i++ {
				i = q.take(messages, i)
			}
			if done != nil {
				q.finish(done)
			}
		})
		seq = q.seq
		q.room.after = append(q.room.after, func() { close(committed) })
	})
	if err != nil {
		return
	}
	select {
	case <-committed:
		q.kernel.Committed(seq)
	case <-q.room.closed:
	case <-ctx.Done():
	}
}

// fresh drops messages that are in the document already, which come again after
// the server was killed.
func (q *queue) fresh(messages []*wire.Message) []*wire.Message {
	return slices.DeleteFunc(messages, func(m *wire.Message) bool {
		again := m.Seq > 0 && m.Seq <= q.seq
		q.seq = max(q.seq, m.Seq)
		return again
	})
}

// committed is called when all that changed is on the disk and was sent.
func (r *Room) committed() {
	after := r.after
	r.after = nil
	for _, do := range after {
		do()
	}
}

// answer tells who waits for a run how it ended, once that is on the disk.
func (r *Room) answer(run *cellRun, err error) {
	waiters := run.waiters
	run.waiters = nil
	r.after = append(r.after, func() {
		for _, w := range waiters {
			w <- err
		}
	})
}

// take brings message i into the document and returns the last index that went
// with it: text of one stream is put together first.
func (q *queue) take(messages []*wire.Message, i int) int {
	m := messages[i]
	run := q.parents[m.ParentHeader.MsgID]
	if m.Type() == "update_display_data" {
		q.updateDisplay(m)
		return i
	}
	switch m.Type() {
	case "comm_open", "comm_msg":
		q.followWidget(m)
		return i
	case "stream", "display_data", "execute_result", "error", "clear_output":
		if q.capture(m) {
			return i
		}
	}
	if run == nil {
		return i
	}
	switch m.Type() {
	case "stream":
		return q.stream(run, messages, i)
	case "display_data", "execute_result", "error":
		q.output(run, m)
	case "clear_output":
		var content struct {
			Wait bool `json:"wait"`
		}
		if m.Decode(&content) == nil {
			run.clear = content.Wait
			if !content.Wait {
				q.clear(run)
			}
		}
	case "execute_input":
		q.input(run, m)
	case "input_request":
		q.ask(run, m)
	case "execute_reply":
		var reply struct {
			Status string `json:"status"`
		}
		_ = m.Decode(&reply) // a reply that cannot be read has not said "ok"
		run.failed, run.replied = reply.Status != "ok", true
		run.timing["shell.execute_reply"] = messageTime(m)
	case "status":
		var s struct {
			State string `json:"execution_state"`
		}
		if m.Decode(&s) == nil && (s.State == "busy" || s.State == stateIdle) {
			run.timing["iopub.status."+s.State] = messageTime(m)
			run.idle = run.idle || s.State == stateIdle
		}
	}
	return i
}

func messageTime(m *wire.Message) string {
	if m.Header.Date != "" {
		return m.Header.Date
	}
	return m.Received.UTC().Format(time.RFC3339Nano)
}

func (q *queue) input(run *cellRun, m *wire.Message) {
	var content struct {
		Count *int64 `json:"execution_count"`
	}
	if m.Decode(&content) != nil || content.Count == nil {
		return
	}
	run.timing["iopub.execute_input"] = messageTime(m)
	if c := q.room.cell(run.cell); c != nil {
		// Only a change is written: JupyterLab's model fails on a count that is set
		// to what it was.
		if v, _ := c.Get("execution_count"); v != float64(*content.Count) {
			c.Set("execution_count", float64(*content.Count))
		}
	}
}

// outputs returns the live outputs of a run's cell, cleared first when that is
// due; nil when the cell is gone.
func (q *queue) outputs(run *cellRun) *ydoc.Array {
	if run.clear {
		run.clear = false
		q.clear(run)
	}
	c := q.room.cell(run.cell)
	if c == nil {
		return nil
	}
	return c.Array("outputs")
}

func (q *queue) clear(run *cellRun) {
	run.bytes, run.shown = 0, nil
	if c := q.room.cell(run.cell); c != nil {
		if outputs := c.Array("outputs"); outputs != nil {
			outputs.Delete(0, outputs.Len())
		}
	}
}

// stream appends the text of a stream, with that of the messages that follow and
// go on with it.
func (q *queue) stream(run *cellRun, messages []*wire.Message, i int) int {
	name, text := streamOf(messages[i])
	parts := [][]byte{[]byte(text)}
	for i+1 < len(messages) {
		m := messages[i+1]
		if m.Type() != "stream" || m.ParentHeader.MsgID != run.request {
			break
		}
		other, more := streamOf(m)
		if other != name {
			break
		}
		parts = append(parts, []byte(more))
		i++
	}
	all := string(slices.Concat(parts...))
	outputs := q.outputs(run)
	if outputs == nil || all == "" || run.bytes > maxCellBytes {
		return i // the cell is gone, or said too much
	}
	if run.bytes += int64(len(all)); run.bytes > maxCellBytes {
		all += "\n[the rest of the text is left out: a cell may print 64 MiB]\n"
	}
	if n := outputs.Len(); n > 0 {
		if last := outputs.Map(n - 1); last != nil && last.String("output_type") == "stream" && last.String("name") == name {
			if t := last.Text("text"); t != nil {
				t.Append(all)
				return i
			}
		}
	}
	insertOutput(outputs, outputs.Len(), &notebook.Output{Type: notebook.Stream, Name: name, Text: all})
	return i
}

func streamOf(m *wire.Message) (name, text string) {
	o, err := notebook.NewOutput("stream", m.Content)
	if err != nil {
		return "stdout", ""
	}
	if o.Name != "stderr" {
		o.Name = "stdout"
	}
	return o.Name, o.Text
}

func (q *queue) output(run *cellRun, m *wire.Message) {
	o, err := notebook.NewOutput(m.Type(), m.Content)
	if err == nil {
		o, err = q.room.cfg.blobs.shrink(o)
	}
	if err != nil {
		o = failure("OutputError", "an output of the kernel cannot be kept: "+err.Error())
	}
	outputs := q.outputs(run)
	if outputs == nil {
		return
	}
	at := insertOutput(outputs, outputs.Len(), o)
	if id := displayID(m); id != "" {
		r := q.room
		if r.displays == nil || len(r.displays) > maxDisplays {
			r.displays = map[string][]*ydoc.Map{}
		}
		live := slices.DeleteFunc(r.displays[id], func(m *ydoc.Map) bool { return !m.Live() })
		r.displays[id] = append(live, at)
		if len(run.shown) < maxShown {
			run.shown = append(run.shown, shown{id, outputs.Len() - 1})
		}
	}
}

func displayID(m *wire.Message) string {
	var content struct {
		Transient struct {
			ID string `json:"display_id"`
		} `json:"transient"`
	}
	if m.Decode(&content) != nil {
		return ""
	}
	return content.Transient.ID
}

// updateDisplay replaces what is shown under a display id, in every cell.
func (q *queue) updateDisplay(m *wire.Message) {
	o, err := notebook.NewOutput(m.Type(), m.Content)
	if err == nil {
		o, err = q.room.cfg.blobs.shrink(o)
	}
	if err != nil {
		return
	}
	fields := plainOutput(o)
	for _, at := range q.room.displays[displayID(m)] {
		if at.Live() {
			at.Set("data", fields["data"])
			at.Set("metadata", fields["metadata"])
		}
	}
}

// finish writes that a cell is done, behind all of its outputs.
func (q *queue) finish(run *cellRun) {
	r := q.room
	q.current = nil
	q.answered(run)
	r.tellRunning()
	if c := r.cell(run.cell); c != nil {
		c.Set("execution_state", stateIdle)
		if md := c.Map("metadata"); md != nil {
			r.order++
			run.timing["quire.queued"] = run.queued.UTC().Format(time.RFC3339Nano)
			run.timing["quire.order"] = r.order
			md.Set("execution", run.timing)
		}
	}
	if !run.failed {
		r.answer(run, nil)
		return
	}
	r.answer(run, problem.New(problem.Invalid, "cell %s failed", run.cell))
	q.abort("a cell before it failed")
}

// abort gives up the cells that wait.
func (q *queue) abort(why string) {
	for _, run := range q.waiting {
		if c := q.room.cell(run.cell); c != nil {
			c.Set("execution_state", stateIdle)
		}
		q.room.answer(run, problem.New(problem.Canceled, "cell %s did not run: %s", run.cell, why))
	}
	q.waiting, q.added, q.reset = nil, nil, true
}

// gone ends a queue whose kernel is gone.
func (q *queue) gone(err error) {
	r := q.room
	delete(r.queues, q.kernelID)
	r.cfg.Log.LogAttrs(context.Background(), slog.LevelWarn, "a kernel of a live document is gone",
		slog.String("path", r.path), slog.String("err", err.Error()))
	q.marking(func() {
		if run := q.current; run != nil {
			if outputs := q.outputs(run); outputs != nil {
				insertOutput(outputs, outputs.Len(), failure("KernelDied", err.Error()))
			}
			run.failed = true
			q.finish(run)
		}
		q.abort("the kernel is gone")
	})
}

// SourceHash returns the MurmurHash2 of a cell's text, with seed 0, as clients
// make it to say which text they saw.
func SourceHash(source string) uint32 {
	const m, shift = 0x5bd1e995, 24
	data := []byte(source)
	h := uint32(len(data))
	for ; len(data) >= 4; data = data[4:] {
		k := uint32(data[0]) | uint32(data[1])<<8 | uint32(data[2])<<16 | uint32(data[3])<<24
		k *= m
		k ^= k >> shift
		k *= m
		h = h*m ^ k
	}
	for i := len(data) - 1; i >= 0; i-- {
		h ^= uint32(data[i]) << (8 * i)
		if i == 0 {
			h *= m
		}
	}
	h ^= h >> 13
	h *= m
	return h ^ h>>15
}

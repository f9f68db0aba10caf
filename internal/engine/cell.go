package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"quire/internal/kernel"
	"quire/internal/notebook"
)

// A verdict is how one cell ended.
type verdict struct {
	status Status // Succeeded, Stopped or a failure
	reason string // for metadata.quire.reason and people; "" for a plain success
	err    *CellError
}

// runCells executes the cells in order until one decides the run.
func (r *run) runCells() {
	r.result.Status = Succeeded
	if v := r.restore(); v.status != Succeeded {
		r.result.Status, r.result.Reason = v.status, v.reason
		return
	}
	for i := r.resumeFrom(); i < len(r.nb.Cells); i++ {
		if r.stop.ctx.Err() != nil {
			r.result.Status, r.result.Reason = Interrupted, fmt.Sprintf("interrupted before %s", r.label(i))
			break
		}
		v := r.runCell(i)
		if v.status == Succeeded && r.nb.Cells[i].HasTag(tagInjected) {
			v = r.assignSecrets()
		}
		if v.status == Succeeded {
			continue
		}
		r.result.Status, r.result.Reason, r.result.Error = v.status, v.reason, v.err
		if v.status == Failed && v.err != nil && v.err.Ename == checkEname {
			r.runChecks(i + 1)
		}
		break
	}
	if r.result.Status.OK() && r.expected != nil && !r.req.AllowExpectedErrors {
		v := r.cellError(r.expected)
		r.result.Status, r.result.Error = Failed, v
		r.result.Reason = fmt.Sprintf("%s raised %s", r.label(r.expected.index), v.Ename)
	}
}

// runCell executes one cell and keeps what became of it.
func (r *run) runCell(i int) verdict {
	c := r.nb.Cells[i]
	start := r.now()
	reason, run := r.chosen(c)
	r.announce(i, c, 1)
	if !run {
		if reason != tagSkip && reason != "" {
			r.result.Cells.Skipped++
			setOwn(c, "skipped", reason)
			r.keep(i, c)
			r.finished(i, c, cellPending, reason, start, nil)
			return verdict{status: Succeeded}
		}
		if reason == tagSkip {
			r.result.Cells.Skipped++
			setOwn(c, "skipped", "tag "+tagSkip)
		} else {
			r.result.Cells.Completed++
		}
		finishCell(c, start, r.now(), false)
		r.keep(i, c)
		r.finished(i, c, cellCompleted, reason, start, nil)
		return verdict{status: Succeeded}
	}
	state := &cellState{index: i, cell: c}
	startCell(c, start)
	r.keep(i, c)
	v := r.attempts(state)
	r.settle(state, v, start)
	return v
}

// chosen reports whether a cell is to run, and if not, why not; "" is a cell
// with nothing to execute.
func (r *run) chosen(c *notebook.Cell) (reason string, run bool) {
	if c.Type != notebook.Code || strings.TrimSpace(c.Source) == "" {
		return "", false
	}
	tags := c.Tags()
	if slices.Contains(tags, tagSkip) {
		return tagSkip, false
	}
	for _, t := range tags {
		if slices.Contains(r.req.SkipTags, t) {
			return "--skip-tag " + t, false
		}
	}
	if len(r.req.OnlyTags) == 0 {
		return "", true
	}
	for _, t := range tags {
		if t == tagParameters || t == tagInjected || slices.Contains(r.req.OnlyTags, t) {
			return "", true
		}
	}
	return "--only-tag", false
}

// keep adds a cell as it is now to what the next flush stores.
func (r *run) keep(i int, c *notebook.Cell) {
	if r.begun {
		r.changes = append(r.changes, Change{Index: i, Cell: snapshotCell(c, c.Outputs)})
	}
}

func (r *run) announce(i int, c *notebook.Cell, attempt int) {
	if r.req.Events == nil {
		return
	}
	e := Event{Type: EventCellStarted, Cell: r.numbers[i], Index: &i, CellID: c.ID, CellType: string(c.Type), Description: description(c.Source)}
	if attempt > 1 {
		e.Attempt = attempt
	}
	r.emit(e)
}

// description is the word that a cell gives for the progress bar.
func description(source string) string {
	_, after, ok := strings.Cut(source, "papermill_description=")
	if !ok {
		return ""
	}
	words := strings.Fields(clip(after, 4096))
	if len(words) == 0 {
		return ""
	}
	return clip(words[0], 200)
}

// finished tells the listener that a cell has ended. The cell is stored first:
// what was told is there after a kill.
func (r *run) finished(i int, c *notebook.Cell, status, reason string, start time.Time, err *CellError) {
	if r.req.Events == nil {
		return
	}
	r.flush()
	r.emit(Event{
		Type: EventCellFinished, Cell: r.numbers[i], Index: &i, CellID: c.ID, Status: status, Reason: reason, Error: err,
		DurationMS: millis(r.now().Sub(start)),
	})
}

// attempts executes a cell until it succeeds or its retries are used up.
func (r *run) attempts(state *cellState) verdict {
	opt := r.cellOptions(state.cell)
	for n := 1; ; n++ {
		v := r.attempt(state, opt.timeout)
		retry := v.status == Failed || v.status == TimedOut && r.k.Death() == nil
		if n > 1 {
			setOwn(state.cell, "attempts", notebook.Number(fmt.Sprint(n)))
		}
		if !retry || n > opt.retries {
			return v
		}
		r.warn(fmt.Sprintf("%s failed (%s); trying again, %d of %d", r.label(state.index), v.reason, n, opt.retries))
		if !r.pause(opt.delay) {
			v.status, v.reason = Interrupted, "interrupted before another try; "+v.reason
			return v
		}
		r.announce(state.index, state.cell, n+1)
	}
}

// pause waits and reports false when the run is to end.
func (r *run) pause(d time.Duration) bool {
	if d <= 0 {
		return r.stop.ctx.Err() == nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-r.stop.ctx.Done():
		return false
	}
}

type cellOptions struct {
	timeout time.Duration
	retries int
	delay   time.Duration
}

// cellOptions reads what the author asks for in metadata.quire.
func (r *run) cellOptions(c *notebook.Cell) cellOptions {
	opt := cellOptions{timeout: r.req.CellTimeout}
	own := lookup(c.Metadata, "quire")
	if n, ok := number(own["timeoutSeconds"]); ok && n > 0 && n < 1e9 {
		opt.timeout = time.Duration(n * float64(time.Second))
	}
	if n, ok := number(own["retries"]); ok && n > 0 {
		opt.retries = int(min(n, maxRetries))
	}
	if n, ok := number(own["retryDelaySeconds"]); ok && n > 0 && n < 1e6 {
		opt.delay = time.Duration(n * float64(time.Second))
	}
	return opt
}

// attempt sends the cell to the kernel and takes in all that comes back.
func (r *run) attempt(state *cellState, timeout time.Duration) verdict {
	allowed := state.cell.HasTag(tagRaises)
	r.mu.Lock()
	state.reset()
	state.cell.ExecutionCount = nil
	r.cur = state
	r.mu.Unlock()
	r.flush()
	r.stop.begin(timeout)
	ex, err := r.k.Execute(context.Background(), kernel.ExecuteRequest{
		Code: state.cell.Source, StoreHistory: true, StopOnError: !allowed,
		Metadata: map[string]any{"cellId": state.cell.ID},
	})
	if err == nil {
		r.mu.Lock()
		r.current = ex.ID()
		r.parents[ex.ID()] = state
		r.mu.Unlock()
		err = r.receive(ex, state)
		if ex.IdleMissing() {
			r.warn(fmt.Sprintf("%s: the kernel never said that it is idle; some of its output may be missing", r.label(state.index)))
		}
	}
	cause, killed := r.stop.finish()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.current, r.cur = "", nil
	r.flushStreams(state)

	return r.judge(state, cause, killed, err)
}

// receive handles the messages of one execution.
func (r *run) receive(ex *kernel.Execution, state *cellState) error {
	stopSaving := r.autosave(state)
	defer stopSaving()
	ctx := context.Background()
	for {
		m, err := ex.Next(ctx)
		if errors.Is(err, io.EOF) {
			r.syncWidgets()
			return nil
		}
		if err != nil {
			return err
		}
		r.handle(state, m)
	}
}

// syncWidgets tells the kernel what its Output widgets show.
func (r *run) syncWidgets() {
	r.mu.Lock()
	msgs := r.widgets.pending()
	r.mu.Unlock()
	for _, content := range msgs {
		if _, err := r.k.Send(context.Background(), "shell", "comm_msg", content); err != nil {
			return // the kernel has died; the next cell says so
		}
	}
}

// autosave stores the outputs of a running cell now and then, whether or not
// it prints. It returns the function that ends it.
func (r *run) autosave(state *cellState) func() {
	if !r.begun || r.req.Autosave <= 0 {
		return func() {}
	}
	every := max(r.req.Autosave, 100*time.Millisecond)
	r.mu.Lock()
	defer r.mu.Unlock()
	var t *time.Timer
	t = time.AfterFunc(every, func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		if r.cur != state {
			return
		}
		if state.dirty {
			state.dirty = false
			partial := Change{Index: state.index, Partial: true, Cell: snapshotCell(state.cell, state.snapshot())}
			_ = r.req.Output.Update([]Change{partial}) // only shown: the journal has no part in it
		}
		t.Reset(every)
	})
	return func() { t.Stop() }
}

// settle writes into the cell how it ended.
func (r *run) settle(state *cellState, v verdict, start time.Time) {
	end := r.now()
	r.mu.Lock()
	r.closeSpills(state)
	c := state.cell
	failed := v.status != Succeeded && v.status != Stopped
	if v.err != nil && state.errorOutput == nil && v.status != Failed {
		r.appendOutput(state, causeOutput(v))
	}
	c.Outputs = state.snapshot()
	if len(state.timing) > 0 {
		c.Metadata["execution"] = state.timing
	}
	finishCell(c, start, end, failed)
	if v.reason != "" {
		setOwn(c, "reason", v.reason)
	}
	r.noteCheckpoint(state)
	state.done, state.dirty = true, false
	state.streams = nil
	if state.reply != nil {
		r.result.Cells.Executed++
	}
	r.keep(state.index, c)
	r.mu.Unlock()
	status := cellCompleted
	if failed {
		status = cellFailed
		r.result.Cells.Failed++
	} else {
		r.result.Cells.Completed++
	}
	r.finished(state.index, c, status, v.reason, start, v.err)
}

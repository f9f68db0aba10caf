package session

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"log/slog"
	"slices"
	"time"

	"quire/internal/kernel/wire"
	"quire/internal/problem"
	"quire/internal/session/ydoc"
)

// Limits of a mark: it is written with every batch of output.
const (
	markedRecent   = 4  // ended cells whose late output finds its place after a restart
	markedRequests = 32 // requests to run that are known again
)

// A logMark is how far the cells of a document have come in one kernel. It is
// written with the change that it belongs to, in one record, so that after the
// server was killed each output of a kernel that lives on is in the document
// once.
type logMark struct {
	Kernel   string      `json:"kernel"`
	Ended    bool        `json:"ended,omitempty"` // nothing runs there any more
	Seq      uint64      `json:"seq"`             // the last message that is in the document
	Current  *markedRun  `json:"current,omitempty"`
	Recent   []markedRun `json:"recent,omitempty"`   // oldest first
	Reset    bool        `json:"reset,omitempty"`    // nothing waits any more, but for what is added here
	Added    []markedRun `json:"added,omitempty"`    // waits behind what waited; what is current does not wait any more
	Accepted []string    `json:"accepted,omitempty"` // requests to run, since the mark before

	waiting []markedRun // what Reset and Added of all marks come to
}

// A markedRun is a cellRun in a mark.
type markedRun struct {
	Cell    string          `json:"cell"`
	Request string          `json:"request"`
	Queued  time.Time       `json:"queued"`
	Began   time.Time       `json:"began"`
	Stdin   bool            `json:"stdin,omitempty"`
	Asked   json.RawMessage `json:"asked,omitempty"` // header of the question that waits
	Timing  map[string]any  `json:"timing,omitempty"`
	Failed  bool            `json:"failed,omitempty"`
	Clear   bool            `json:"clear,omitempty"`
	Replied bool            `json:"replied,omitempty"`
	Idle    bool            `json:"idle,omitempty"`
	Bytes   int64           `json:"bytes,omitempty"`
	Shown   []shown         `json:"shown,omitempty"`
}

// A shown is an output that the kernel can change: its display id and where it is
// among the cell's outputs.
type shown struct {
	ID string `json:"id"`
	At int    `json:"at"`
}

func (run *cellRun) marked() markedRun {
	m := markedRun{
		Cell: run.cell, Request: run.request, Queued: run.queued, Began: run.began, Stdin: run.stdin, Timing: run.timing,
		Failed: run.failed, Clear: run.clear, Replied: run.replied, Idle: run.idle, Bytes: run.bytes, Shown: run.shown,
	}
	if run.asked != nil {
		m.Asked = run.asked.RawHeader()
	}
	return m
}

func (m *markedRun) run() *cellRun {
	run := &cellRun{
		cell: m.Cell, request: m.Request, queued: m.Queued, began: m.Began, stdin: m.Stdin, timing: m.Timing,
		failed: m.Failed, clear: m.Clear, replied: m.Replied, idle: m.Idle, bytes: m.Bytes, shown: m.Shown,
	}
	if run.timing == nil {
		run.timing = map[string]any{}
	}
	if len(m.Asked) > 0 {
		empty := []byte("{}")
		if asked, err := wire.ParseParts(wire.Stdin, [][]byte{m.Asked, empty, empty, empty}); err == nil {
			run.asked = asked
		}
	}
	return run
}

// state returns how the queue differs from what the log says of it.
func (q *queue) state() logMark {
	m := logMark{Kernel: q.kernelID, Seq: q.seq, Reset: q.reset, Accepted: q.accepted}
	for _, run := range q.added {
		m.Added = append(m.Added, run.marked())
	}
	q.reset, q.added, q.accepted = false, nil, nil
	for _, id := range q.recent {
		if run := q.parents[id]; run != nil && run != q.current {
			m.Recent = append(m.Recent, run.marked())
		}
	}
	if n := len(m.Recent); n > markedRecent {
		m.Recent = m.Recent[n-markedRecent:]
	}
	if q.current != nil {
		current := q.current.marked()
		m.Current = &current
	}
	return m
}

// marking changes the document and marks the queue in one record of the log.
func (q *queue) marking(change func()) {
	r := q.room
	r.doc.Transact(nil, func() {
		change()
		if r.queues[q.kernelID] == q {
			r.mark = mustJSON(q.state())
		} else {
			r.mark = mustJSON(logMark{Kernel: q.kernelID, Ended: true})
		}
	})
	if r.mark != nil { // nothing changed in the document
		r.log.put(recordMark, r.mark)
		r.mark = nil
	}
}

// putUpdate puts an update into the log, with the mark that goes with it.
func (r *Room) putUpdate(update []byte) {
	if r.mark == nil {
		r.log.put(recordUpdate, update)
		return
	}
	b := binary.AppendUvarint(nil, uint64(len(r.mark)))
	r.log.put(recordMarked, append(append(b, r.mark...), update...))
	r.mark = nil
}

// splitMarked is the inverse of what putUpdate puts together.
func splitMarked(content []byte) (mark, update []byte, err error) {
	n, used := binary.Uvarint(content)
	if used <= 0 || n > uint64(len(content)-used) {
		return nil, nil, problem.New(problem.Invalid, "a record of %d bytes in the log of a document has no mark", len(content))
	}
	content = content[used:]
	return content[:n], content[n:], nil
}

// readMark keeps a mark that was read from the log.
func (r *Room) readMark(content []byte) error {
	var m logMark
	if err := json.Unmarshal(content, &m); err != nil {
		return problem.WrapAs(problem.Invalid, err, "reading the log of a document")
	}
	if r.marks == nil {
		r.marks = map[string]logMark{}
	}
	before := r.marks[m.Kernel]
	if m.waiting = before.waiting; m.Reset {
		m.waiting = nil
	}
	m.waiting = append(m.waiting, m.Added...)
	if m.Current != nil {
		if i := slices.IndexFunc(m.waiting, func(w markedRun) bool { return w.Request == m.Current.Request }); i >= 0 {
			m.waiting = m.waiting[i+1:]
		}
	}
	m.Accepted = append(before.Accepted, m.Accepted...)
	if n := len(m.Accepted); n > markedRequests {
		m.Accepted = m.Accepted[n-markedRequests:]
	}
	if r.marks[m.Kernel] = m; m.Ended {
		delete(r.marks, m.Kernel)
	}
	return nil
}

// liveMarks are the marks that a short log begins with.
func (r *Room) liveMarks() [][]byte {
	var marks [][]byte
	for _, q := range r.queues {
		q.reset, q.added = true, q.waiting
		q.accepted = r.requestOrder[max(0, len(r.requestOrder)-markedRequests):]
		marks = append(marks, mustJSON(q.state()))
	}
	return marks
}

// goOn takes up the cells that ran or waited when the server was killed, in the
// kernels that live on. The room's goroutine does not run yet.
func (r *Room) goOn(ctx context.Context) {
	marks := r.marks
	r.marks = nil
	for id, m := range marks {
		var k Kernel
		if r.cfg.Attach != nil {
			k = r.cfg.Attach(id, r.name)
		}
		if k == nil {
			r.log.put(recordMark, mustJSON(logMark{Kernel: id, Ended: true}))
			continue
		}
		q := r.makeQueue(id, k)
		q.seq = m.Seq
		for _, run := range m.Recent {
			q.expect(run.run())
		}
		for _, run := range m.waiting {
			q.waiting = append(q.waiting, run.run())
		}
		if m.Current != nil {
			q.current = m.Current.run()
			q.resumed = true
			q.expect(q.current)
		}
		for _, request := range m.Accepted {
			r.remember(request)
		}
		for _, run := range q.parents {
			r.showAgain(run)
		}
		r.cfg.Log.LogAttrs(ctx, slog.LevelInfo, "cells of a live document go on",
			slog.String("path", r.path), slog.String("kernel_id", id), slog.Bool("running", q.current != nil), slog.Int("waiting", len(q.waiting)))
	}
	for _, q := range r.queues {
		q.start()
	}
}

// expect makes a run the place for output whose parent is its request.
func (q *queue) expect(run *cellRun) {
	q.parents[run.request] = run
	if q.recent = append(q.recent, run.request); len(q.recent) > 64 {
		delete(q.parents, q.recent[0])
		q.recent = q.recent[1:]
	}
}

// showAgain finds the outputs of a run that the kernel can change.
func (r *Room) showAgain(run *cellRun) {
	c := r.cell(run.cell)
	if c == nil {
		return
	}
	outputs := c.Array("outputs")
	for _, s := range run.shown {
		if outputs == nil || s.At >= outputs.Len() {
			continue
		}
		if at := outputs.Map(s.At); at != nil {
			if r.displays == nil {
				r.displays = map[string][]*ydoc.Map{}
			}
			r.displays[s.ID] = append(r.displays[s.ID], at)
		}
	}
}

// goesOn reports whether a cell runs or waits in a kernel that lives.
func (r *Room) goesOn(cell string) bool {
	for _, q := range r.queues {
		if q.current != nil && q.current.cell == cell ||
			slices.ContainsFunc(q.waiting, func(run *cellRun) bool { return run.cell == cell }) {
			return true
		}
	}
	return false
}

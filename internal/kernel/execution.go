package kernel

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"time"

	"quire/internal/kernel/wire"
)

// ExecuteRequest is code to run. The zero value of the flags is the protocol's
// "false".
type ExecuteRequest struct {
	Code            string
	Silent          bool              // no outputs, no history, no count
	StoreHistory    bool              // counts up and keeps the code in the history
	AllowStdin      bool              // input_request may come; answer with Kernel.Input
	StopOnError     bool              // requests that wait are aborted after an error
	UserExpressions map[string]string // evaluated after the code; nil is none
	Metadata        map[string]any    // the message's metadata, such as cellId; nil is none
}

// Execution is one execute request on its way. Its messages are read with
// Next by one goroutine at a time.
type Execution struct {
	in      *instance
	id      string
	reply   bool
	idle    bool
	missing bool
	heard   time.Time // when the last message came
}

// Execute sends code to the kernel and returns at once. The error of a dead
// kernel is a *DeathError.
func (k *Kernel) Execute(ctx context.Context, req ExecuteRequest) (*Execution, error) {
	in := k.instance()
	in.refreshMemory()
	if req.UserExpressions == nil {
		req.UserExpressions = map[string]string{}
	}
	m, err := in.message(wire.Shell, "execute_request", struct {
		Code            string            `json:"code"`
		Silent          bool              `json:"silent"`
		StoreHistory    bool              `json:"store_history"`
		UserExpressions map[string]string `json:"user_expressions"`
		AllowStdin      bool              `json:"allow_stdin"`
		StopOnError     bool              `json:"stop_on_error"`
	}{req.Code, req.Silent, req.StoreHistory, req.UserExpressions, req.AllowStdin, req.StopOnError})
	if err != nil {
		return nil, err
	}
	if len(req.Metadata) > 0 {
		if m.Metadata, err = json.Marshal(req.Metadata); err != nil {
			return nil, err
		}
	}
	e := &Execution{in: in, id: m.Header.MsgID}
	if err := in.send(ctx, m); err != nil {
		return nil, err
	}
	return e, nil
}

// refreshMemory forgets the memory kills of the past, at most once a second.
func (in *instance) refreshMemory() {
	now := time.Now().UnixNano()
	if last := in.memAt.Load(); now-last > int64(time.Second) && in.memAt.CompareAndSwap(last, now) {
		in.mem.refresh()
	}
}

// ID returns the request's msg_id: the parent of everything that belongs to it.
func (e *Execution) ID() string { return e.id }

// IdleMissing reports whether Next gave up waiting for the kernel's "idle":
// outputs may have been lost by the kernel.
func (e *Execution) IdleMissing() bool { return e.missing }

// Next returns the next message in the order of arrival: every iopub message,
// those with another parent included (late output of earlier cells, comms),
// input_request, and replies. It returns io.EOF when the reply and the idle of
// this execution were both delivered, or when after the reply nothing came for
// Config.IdleGrace (see IdleMissing), and a *DeathError when the kernel died,
// after everything that was received.
func (e *Execution) Next(ctx context.Context) (*wire.Message, error) {
	if e.reply && e.idle || e.missing {
		return nil, io.EOF
	}
	var wait time.Duration
	if e.reply {
		if wait = e.in.cfg.IdleGrace - time.Since(e.heard); wait <= 0 {
			wait = -1
		}
	}
	m, err := e.in.inbox.pop(ctx, wait)
	if err != nil {
		if errors.Is(err, errQuiet) {
			e.missing = true
			return nil, io.EOF
		}
		return nil, contextWrap(err)
	}
	e.heard = time.Now()
	if m.ParentHeader.MsgID == e.id {
		switch m.Type() {
		case "execute_reply":
			e.reply = true
		case "status":
			e.idle = e.idle || executionState(m) == "idle"
		}
	}
	return m, nil
}

// done reports whether reply and idle were both delivered.
func (e *Execution) done() bool { return e.reply && e.idle }

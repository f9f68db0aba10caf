package session

import (
	"context"
	"time"

	"github.com/google/uuid"

	"quire/internal/kernel/wire"
	"quire/internal/problem"
)

// What a document's state says of what runs: for clients only, it is in no file.
const (
	stateRunningCells = "quire_running" // when each cell that runs began, by its id
	stateInput        = "quire_input"   // the question that a cell asks
)

// Limits of questions and answers.
const (
	maxPrompt = 4096    // bytes of a question that are shown
	maxAnswer = 1 << 20 // bytes of an answer
)

// tellRunning says which cells run and since when. The caller is in a change of
// the document.
func (r *Room) tellRunning() {
	running := map[string]any{}
	for _, q := range r.queues {
		if q.current != nil {
			running[q.current.cell] = q.current.began.UTC().Format(time.RFC3339Nano)
		}
	}
	r.doc.Map(rootState).Set(stateRunningCells, running)
}

// ask shows the question of a cell to whoever is there.
func (q *queue) ask(run *cellRun, m *wire.Message) {
	var content struct {
		Prompt   string `json:"prompt"`
		Password bool   `json:"password"`
	}
	if m.Decode(&content) != nil || run != q.current {
		return
	}
	if len(content.Prompt) > maxPrompt {
		content.Prompt = content.Prompt[:maxPrompt]
	}
	run.asked = m
	q.room.doc.Map(rootState).Set(stateInput, map[string]any{
		"cell": run.cell, "kernel": q.kernelID, "prompt": content.Prompt, "password": content.Password,
	})
}

// answered takes a run's question away. The caller is in a change of the document.
func (q *queue) answered(run *cellRun) {
	if run.asked != nil {
		run.asked = nil
		q.room.doc.Map(rootState).Set(stateInput, nil)
	}
}

// Answer gives a cell that runs on that kernel what it asked for. The answer is in
// no document and no log.
func (r *Room) Answer(ctx context.Context, kernelID, value string) error {
	if len(value) > maxAnswer {
		return problem.New(problem.TooLarge, "the answer has %d bytes, %d are allowed", len(value), maxAnswer)
	}
	var kernel Kernel
	var reply *wire.Message
	err := r.do(ctx, func() error {
		q := r.queues[kernelID]
		if q == nil || q.current == nil || q.current.asked == nil {
			return problem.New(problem.Conflict, "no cell asks for input now")
		}
		kernel = q.kernel
		reply = &wire.Message{
			Channel: wire.Stdin,
			Header: wire.Header{
				MsgID: uuid.NewString(), Session: documentSession, Username: r.cfg.User.Name,
				Date: wire.FormatDate(r.cfg.Now()), MsgType: "input_reply", Version: wire.ProtocolVersion,
			},
			Content: mustJSON(map[string]any{"status": "ok", "value": value}),
		}
		reply.SetParent(q.current.asked)
		q.marking(func() { q.answered(q.current) })
		return nil
	})
	if err != nil {
		return err
	}
	return kernel.Send(ctx, reply)
}

// forgetRuns takes away what a document said of runs before the server ended, but
// for those that go on.
func (r *Room) forgetRuns() {
	asks := false
	for _, q := range r.queues {
		asks = asks || q.current != nil && q.current.asked != nil
	}
	state := r.doc.Map(rootState)
	if v, ok := state.Get(stateInput); ok && v != nil && !asks {
		state.Set(stateInput, nil)
	}
	if v, ok := state.Get(stateRunningCells); ok && v != nil {
		r.tellRunning()
	}
}

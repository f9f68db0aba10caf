package engine

import (
	"encoding/json"

	"quire/internal/kernel/wire"
	"quire/internal/notebook"
)

// handle takes one message in. cur is the cell that runs; a message of another
// parent goes to the cell which caused it (late output of a thread), or
// nowhere when no cell did.
func (r *run) handle(cur *cellState, m *wire.Message) {
	r.mu.Lock()
	defer r.mu.Unlock()
	c := cur
	if c == nil || m.ParentHeader.MsgID != r.current {
		c = r.parents[m.ParentHeader.MsgID]
	}
	switch m.Type() {
	case "stream":
		r.handleStream(c, m)
	case "status":
		r.handleStatus(c, m)
	case "execute_input":
		r.handleInput(c, m)
	case "display_data", "execute_result", "error", "update_display_data":
		r.handleOutput(c, m)
	case "clear_output":
		r.handleClear(c, m)
	case "comm_open", "comm_msg", "comm_close":
		r.widgets.handle(r, m)
	case "execute_reply":
		r.handleReply(c, m)
	}
}

func (r *run) handleStream(c *cellState, m *wire.Message) {
	if c == nil {
		return
	}
	o, err := notebook.NewOutput("stream", m.Content)
	if err != nil {
		r.badMessage(m, err)
		return
	}
	if o.Name != "stderr" {
		o.Name = "stdout"
	}
	if r.widgets.capture(r, c, m, o) {
		return
	}
	r.appendStream(c, o.Name, o.Text)
	if c.done {
		r.flushStreams(c)
	}
	r.touch(c)
}

func (r *run) handleStatus(c *cellState, m *wire.Message) {
	if c == nil || c.done {
		return
	}
	var content struct {
		State string `json:"execution_state"`
	}
	if err := m.Decode(&content); err != nil {
		return
	}
	switch content.State {
	case "busy", "idle":
		c.timing["iopub.status."+content.State] = messageTime(m.Header.Date, m.Received)
	}
}

func (r *run) handleInput(c *cellState, m *wire.Message) {
	if c == nil || c.done {
		return
	}
	var content struct {
		Count *int64 `json:"execution_count"`
	}
	if err := m.Decode(&content); err != nil {
		r.badMessage(m, err)
		return
	}
	if m.ParentHeader.MsgID == r.current {
		r.stop.executes()
	}
	c.timing["iopub.execute_input"] = messageTime(m.Header.Date, m.Received)
	if content.Count != nil {
		c.cell.ExecutionCount = content.Count
		c.dirty = true
	}
}

func (r *run) handleReply(c *cellState, m *wire.Message) {
	if c == nil || c.done {
		return
	}
	rep := &reply{at: m.Received}
	if err := m.Decode(rep); err != nil {
		// A kernel that answers in a form we do not know has not said "ok".
		rep.Status, rep.Ename, rep.Evalue = "error", "KernelError", err.Error()
	}
	rep.Evalue = r.mask.text(rep.Evalue)
	for i, line := range rep.Traceback {
		rep.Traceback[i] = r.mask.text(line)
	}
	c.timing["shell.execute_reply"] = messageTime(m.Header.Date, m.Received)
	c.reply = rep
}

func (r *run) handleClear(c *cellState, m *wire.Message) {
	if c == nil {
		return
	}
	var content struct {
		Wait bool `json:"wait"`
	}
	if err := m.Decode(&content); err != nil {
		r.badMessage(m, err)
		return
	}
	if r.widgets.captureClear(r, m, content.Wait) {
		return
	}
	r.clear(c, content.Wait)
	r.touch(c)
}

func (r *run) handleOutput(c *cellState, m *wire.Message) {
	msgType := m.Type()
	var head struct {
		Transient *struct {
			DisplayID string `json:"display_id"`
		} `json:"transient"`
		Count *int64 `json:"execution_count"`
	}
	if err := json.Unmarshal(m.Content, &head); err != nil {
		r.badMessage(m, err)
		return
	}
	update := msgType == "update_display_data"
	if update {
		msgType = "display_data"
	}
	o, err := notebook.NewOutput(msgType, m.Content)
	if err != nil {
		r.badMessage(m, err)
		return
	}
	id := ""
	if head.Transient != nil {
		id = head.Transient.DisplayID
	}
	r.mask.output(o)
	if update {
		if id != "" {
			r.updateDisplay(id, c, o)
		}
		return
	}
	if c == nil {
		return
	}
	if id != "" {
		r.updateDisplay(id, nil, o)
	}
	if r.widgets.capture(r, c, m, o) {
		return
	}
	if head.Count != nil && !c.done {
		c.cell.ExecutionCount = head.Count
	}
	r.observe(c, o)
	if o.Type == notebook.ErrorOutput {
		o.Traceback, o.Evalue = boundLines(o.Traceback), clip(o.Evalue, maxTracebackLen)
		c.errorOutput = o
	} else if text, ok := o.Data["text/plain"].(string); ok {
		r.emitText(c.index, string(o.Type), "", text)
	}
	it := r.appendOutput(c, o)
	if it != nil && id != "" {
		r.registerDisplay(id, c, it)
	}
	r.touch(c)
}

// badMessage reports a message that does not have the form the protocol gives
// it, and goes on: one bad output must not lose the others.
func (r *run) badMessage(m *wire.Message, err error) {
	r.warn("the kernel sent a " + clip(m.Type(), 64) + " message that cannot be read: " + clip(err.Error(), 512))
}

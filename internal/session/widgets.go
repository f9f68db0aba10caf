package session

import (
	"context"
	"crypto/rand"
	"encoding/json"

	"quire/internal/kernel/wire"
	"quire/internal/notebook"
)

// Bounds of what Output widgets of a document hold; beyond them outputs are
// left out.
const (
	maxOutputWidgets     = 1000
	maxOutputWidgetBytes = 16 << 20
)

// An outputWidget is an Output widget of ipywidgets as its kernel's messages say:
// while msgID is set, outputs of that request are the widget's and not the
// cell's. Front ends show them at once by themselves; the kernel is told by the
// room, which is who ran the cell.
type outputWidget struct {
	id      string
	msgID   string
	outputs []*notebook.Output
	bytes   int
	clear   bool // before the next output
	changed bool // since the kernel was told
}

// commState is what is read of a comm message.
type commState struct {
	ID   string `json:"comm_id"`
	Data struct {
		Method string `json:"method"`
		State  struct {
			MsgID   *string           `json:"msg_id"`
			Outputs []json.RawMessage `json:"outputs"`
		} `json:"state"`
	} `json:"data"`
}

// followWidget takes in what a kernel says about its Output widgets. Of others
// no state has a msg_id.
func (q *queue) followWidget(m *wire.Message) {
	var c commState
	if m.Decode(&c) != nil || c.ID == "" {
		return
	}
	w := q.room.widgets[c.ID]
	if w == nil {
		if c.Data.State.MsgID == nil || len(q.room.widgets) >= maxOutputWidgets {
			return
		}
		w = &outputWidget{id: c.ID}
		if q.room.widgets == nil {
			q.room.widgets = map[string]*outputWidget{}
		}
		q.room.widgets[c.ID] = w
	}
	if c.Data.State.MsgID != nil {
		w.msgID = *c.Data.State.MsgID
	}
	if c.Data.State.Outputs != nil && !w.changed {
		w.outputs, w.bytes = nil, 0
		for _, raw := range c.Data.State.Outputs {
			if o, err := notebook.UnmarshalOutput(raw); err == nil {
				w.outputs, w.bytes = append(w.outputs, o), w.bytes+len(raw)
			}
		}
	}
}

// capture gives an output to the Output widget that takes those of its request,
// and reports whether one does.
func (q *queue) capture(m *wire.Message) bool {
	var w *outputWidget
	for _, one := range q.room.widgets {
		if one.msgID != "" && one.msgID == m.ParentHeader.MsgID {
			w = one
		}
	}
	if w == nil {
		return false
	}
	if m.Type() == "clear_output" {
		var content struct {
			Wait bool `json:"wait"`
		}
		if _ = m.Decode(&content); content.Wait {
			w.clear = true
			return true
		}
		w.outputs, w.bytes, w.changed = nil, 0, true
		return true
	}
	o, err := notebook.NewOutput(m.Type(), m.Content)
	if err != nil {
		return true // it is nobody's
	}
	if w.clear {
		w.outputs, w.bytes, w.clear = nil, 0, false
	}
	if w.bytes += len(m.Content); w.bytes > maxOutputWidgetBytes {
		return true
	}
	w.changed = true
	if n := len(w.outputs); n > 0 && o.Type == notebook.Stream {
		if last := w.outputs[n-1]; last.Type == notebook.Stream && last.Name == o.Name {
			last.Text += o.Text
			return true
		}
	}
	w.outputs = append(w.outputs, o)
	return true
}

// tellWidgets sends the kernel what its Output widgets show now. It reads such
// messages between cells.
func (q *queue) tellWidgets(ctx context.Context) error {
	var due []*wire.Message
	err := q.room.do(ctx, func() error {
		for _, w := range q.room.widgets {
			if !w.changed {
				continue
			}
			w.changed = false
			list := []json.RawMessage{}
			for _, o := range w.outputs {
				if text, err := notebook.MarshalOutput(o); err == nil {
					list = append(list, text)
				}
			}
			due = append(due, &wire.Message{
				Channel: wire.Shell,
				Header: wire.Header{
					MsgID: rand.Text(), Session: documentSession, Username: q.room.cfg.User.Name,
					Date: wire.FormatDate(q.room.cfg.Now()), MsgType: "comm_msg", Version: wire.ProtocolVersion,
				},
				Content: mustJSON(map[string]any{
					"comm_id": w.id,
					"data":    map[string]any{"method": "update", "state": map[string]any{"outputs": list}, "buffer_paths": []any{}},
				}),
			})
		}
		return nil
	})
	for _, m := range due {
		if err == nil {
			err = q.kernel.Send(ctx, m)
		}
	}
	return err
}

package engine

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"sort"
	"strings"

	"quire/internal/kernel/wire"
	"quire/internal/notebook"
)

// The bounds of what a notebook keeps of its widgets. Beyond them widgets are
// still shown by the kernel's other clients but not stored, and a warning says
// so once.
const (
	maxWidgets     = 20_000
	maxWidgetBytes = 64 << 20
	widgetMime     = "application/vnd.jupyter.widget-state+json"
)

// A widget is the state of one Jupyter widget model, as comm messages made it.
type widget struct {
	id      string
	state   map[string]json.RawMessage
	buffers map[string]widgetBuffer // by its path

	// For the model of an Output widget, which the front end plays.
	output    bool
	msgID     string // outputs whose parent has this id belong to the widget
	outputs   []*notebook.Output
	clearNext bool
	changed   bool
	parent    *wire.Message
}

type widgetBuffer struct {
	Data     string            `json:"data"`
	Encoding string            `json:"encoding"`
	Path     []json.RawMessage `json:"path"`
}

// widgets are the models that the kernel has opened. The run's mutex guards it.
type widgets struct {
	models map[string]*widget
	hooks  map[string][]*widget // by parent message id; the last one is in force
	size   int64
	full   bool
}

type commContent struct {
	ID     string `json:"comm_id"`
	Target string `json:"target_name"`
	Data   struct {
		State       map[string]json.RawMessage `json:"state"`
		BufferPaths [][]json.RawMessage        `json:"buffer_paths"`
	} `json:"data"`
}

func (w *widgets) handle(r *run, m *wire.Message) {
	var content commContent
	if err := m.Decode(&content); err != nil || content.ID == "" {
		return // a comm of another kind may carry any data
	}
	model := w.models[content.ID]
	switch {
	case m.Type() == "comm_close":
		// The state stays, as nbclient keeps it: a closed widget was shown.
		return
	case model == nil && (m.Type() != "comm_open" || content.Target != "jupyter.widget"):
		return
	case model == nil:
		if len(w.models) >= maxWidgets {
			w.overflow(r)
			return
		}
		model = &widget{id: content.ID, state: map[string]json.RawMessage{}, buffers: map[string]widgetBuffer{}}
		if w.models == nil {
			w.models, w.hooks = map[string]*widget{}, map[string][]*widget{}
		}
		w.models[content.ID] = model
		model.output = rawString(content.Data.State["_model_module"]) == "@jupyter-widgets/output" &&
			rawString(content.Data.State["_model_name"]) == "OutputModel"
	}
	w.update(r, model, &content, m.Buffers)
	if model.output && m.Type() == "comm_msg" {
		w.hook(model, content.Data.State)
	}
}

// update takes a state change in, masked and bounded.
func (w *widgets) update(r *run, model *widget, content *commContent, buffers [][]byte) {
	for k, v := range content.Data.State {
		grow := int64(len(k) + len(v) - len(model.state[k]))
		if w.size+grow > maxWidgetBytes {
			w.overflow(r)
			continue
		}
		w.size += grow
		model.state[k] = json.RawMessage(r.mask.value(notebook.Raw(v)).(notebook.Raw))
	}
	for i, path := range content.Data.BufferPaths {
		if i >= len(buffers) {
			break
		}
		key := pathKey(path)
		grow := int64(base64.StdEncoding.EncodedLen(len(buffers[i])) - len(model.buffers[key].Data))
		if w.size+grow > maxWidgetBytes {
			w.overflow(r)
			continue
		}
		w.size += grow
		model.buffers[key] = widgetBuffer{
			Data: base64.StdEncoding.EncodeToString(buffers[i]), Encoding: "base64", Path: path,
		}
	}
}

func (w *widgets) overflow(r *run) {
	if !w.full {
		w.full = true
		r.warn(fmt.Sprintf("the state of this notebook's widgets is over %s or %d widgets; the rest is not kept",
			formatBytes(maxWidgetBytes), maxWidgets))
	}
}

// hook follows an Output widget's msg_id: while it is set, outputs of that
// parent belong to the widget.
func (w *widgets) hook(model *widget, state map[string]json.RawMessage) {
	raw, ok := state["msg_id"]
	if !ok {
		return
	}
	if model.msgID != "" {
		stack := w.hooks[model.msgID]
		for i := len(stack) - 1; i >= 0; i-- {
			if stack[i] == model {
				stack = append(stack[:i:i], stack[i+1:]...)
				break
			}
		}
		if len(stack) == 0 {
			delete(w.hooks, model.msgID)
		} else {
			w.hooks[model.msgID] = stack
		}
	}
	model.msgID = rawString(raw)
	if model.msgID != "" {
		w.hooks[model.msgID] = append(w.hooks[model.msgID], model)
	}
}

func (w *widgets) owner(m *wire.Message) *widget {
	stack := w.hooks[m.ParentHeader.MsgID]
	if len(stack) == 0 {
		return nil
	}
	return stack[len(stack)-1]
}

// capture gives an output to the Output widget that asked for it, and reports
// whether one did.
func (w *widgets) capture(r *run, c *cellState, m *wire.Message, o *notebook.Output) bool {
	model := w.owner(m)
	if model == nil {
		return false
	}
	if model.clearNext {
		model.outputs, model.clearNext = nil, false
	}
	r.mask.output(o)
	model.parent, model.changed = m, true
	if n := len(model.outputs); n > 0 && o.Type == notebook.Stream {
		if last := model.outputs[n-1]; last.Type == notebook.Stream && last.Name == o.Name {
			if w.size+int64(len(o.Text)) <= maxWidgetBytes {
				w.size += int64(len(o.Text))
				last.Text += o.Text
			} else {
				w.overflow(r)
			}
			return true
		}
	}
	size := outputSize(o)
	if w.size+size > maxWidgetBytes {
		w.overflow(r)
		r.spillOutput(c, o)
		return true
	}
	w.size += size
	model.outputs = append(model.outputs, o)
	return true
}

// captureClear is clear_output inside an Output widget.
func (w *widgets) captureClear(_ *run, m *wire.Message, wait bool) bool {
	model := w.owner(m)
	if model == nil {
		return false
	}
	model.parent = m
	if wait {
		model.clearNext = true
		return true
	}
	model.outputs, model.changed = nil, true
	return true
}

// pending returns the comm messages that tell the kernel what its Output
// widgets now show. The kernel reads them between cells, so they are due when
// a cell has ended.
func (w *widgets) pending() []any {
	var msgs []any
	for _, model := range w.models {
		if !model.changed {
			continue
		}
		model.changed = false
		list := outputsJSON(model.outputs)
		model.state["outputs"] = list
		msgs = append(msgs, map[string]any{
			"comm_id": model.id,
			"data":    map[string]any{"method": "update", "state": map[string]any{"outputs": list}, "buffer_paths": []any{}},
		})
	}
	return msgs
}

func outputsJSON(outputs []*notebook.Output) json.RawMessage {
	var b strings.Builder
	b.WriteByte('[')
	for _, o := range outputs {
		text, err := notebook.MarshalOutput(o)
		if err != nil {
			continue
		}
		if b.Len() > 1 {
			b.WriteByte(',')
		}
		b.Write(text)
	}
	b.WriteByte(']')
	return json.RawMessage(b.String())
}

// metadata returns metadata.widgets of the notebook, nil when there are none.
func (w *widgets) metadata() notebook.Object {
	if len(w.models) == 0 {
		return nil
	}
	state := notebook.Object{}
	for id, model := range w.models {
		if _, ok := model.state["_model_name"]; !ok {
			continue
		}
		fields := notebook.Object{}
		for k, v := range model.state {
			fields[k] = notebook.Raw(v)
		}
		entry := notebook.Object{
			"model_name":           rawOrNil(model.state["_model_name"]),
			"model_module":         rawOrNil(model.state["_model_module"]),
			"model_module_version": rawOrNil(model.state["_model_module_version"]),
			"state":                fields,
		}
		if len(model.buffers) > 0 {
			entry["buffers"] = buffersJSON(model.buffers)
		}
		state[id] = entry
	}
	return notebook.Object{
		widgetMime: notebook.Object{"state": state, "version_major": notebook.Number("2"), "version_minor": notebook.Number("0")},
	}
}

func buffersJSON(buffers map[string]widgetBuffer) any {
	keys := make([]string, 0, len(buffers))
	for k := range buffers {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	list := make([]any, 0, len(keys))
	for _, k := range keys {
		if text, err := json.Marshal(buffers[k]); err == nil {
			list = append(list, notebook.Raw(text))
		}
	}
	return list
}

func pathKey(path []json.RawMessage) string {
	var b strings.Builder
	for _, p := range path {
		b.Write(p)
		b.WriteByte('/')
	}
	return b.String()
}

func rawOrNil(v json.RawMessage) any {
	if v == nil {
		return nil
	}
	return notebook.Raw(v)
}

func rawString(v json.RawMessage) string {
	var s string
	if json.Unmarshal(v, &s) != nil {
		return ""
	}
	return s
}

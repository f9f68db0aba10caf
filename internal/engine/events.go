package engine

import (
	"time"
	"unicode/utf8"
)

// An EventType names what happened.
type EventType string

// The events of a run, in the order in which they can first come.
const (
	EventRunStarted     EventType = "run_started"
	EventWarning        EventType = "warning"
	EventKernelStarting EventType = "kernel_starting"
	EventKernelReady    EventType = "kernel_ready"
	EventCellStarted    EventType = "cell_started"
	EventOutput         EventType = "output"
	EventRecord         EventType = "record"
	EventCheckpoint     EventType = "checkpoint"
	EventCellFinished   EventType = "cell_finished"
	EventSaved          EventType = "saved"
	EventRunFinished    EventType = "run_finished"
)

// MaxEventText is the most bytes of text in one event. Longer outputs come as
// several events in order, so nothing is lost and no event is large.
const MaxEventText = 64 << 10

// An Event is one thing that happened in a run. Only the fields that belong to
// its type are set. Known secret values are masked before an event is made.
type Event struct {
	Type EventType `json:"type"`
	Time time.Time `json:"time"`

	Cell   int    `json:"cell,omitempty"`   // number of the cell as in notebook.Numbers: from 1, as it stands in the source
	Index  *int   `json:"index,omitempty"`  // of the cell in the output notebook while it runs, from 0
	CellID string `json:"cellId,omitempty"` // nbformat 4.5 cell id
	Cells  int    `json:"cells,omitempty"`  // run_started: how many cells there are

	Input  string `json:"input,omitempty"`  // run_started: path of the source
	Output string `json:"output,omitempty"` // run_started, run_finished, saved: path of the output
	Dir    string `json:"dir,omitempty"`    // run_started: the kernel's working directory when one was asked for

	Kernel         string `json:"kernel,omitempty"`         // kernel_*: kernelspec name
	Language       string `json:"language,omitempty"`       // kernel_ready
	Implementation string `json:"implementation,omitempty"` // kernel_ready: "ipython 9.1.0"
	PID            int    `json:"pid,omitempty"`            // kernel_ready

	CellType    string `json:"cellType,omitempty"`    // cell_started: code, markdown, raw
	Description string `json:"description,omitempty"` // cell_started: papermill_description= of the source
	Attempt     int    `json:"attempt,omitempty"`     // cell_started: 2 and up when it is retried

	OutputType string `json:"outputType,omitempty"` // output: stream, display_data, execute_result, error
	Stream     string `json:"stream,omitempty"`     // output: stdout or stderr
	Text       string `json:"text,omitempty"`       // output: the text, text/plain of data; at most MaxEventText bytes
	More       bool   `json:"more,omitempty"`       // output: the same message goes on in the next event

	Status     string  `json:"status,omitempty"`     // cell_finished, run_finished
	Reason     string  `json:"reason,omitempty"`     // cell_finished, run_finished: why it is not a plain success
	DurationMS float64 `json:"durationMs,omitempty"` // kernel_ready, cell_finished, run_finished, saved

	Error   *CellError `json:"error,omitempty"`   // cell_finished, run_finished
	Record  *Record    `json:"record,omitempty"`  // record
	Names   []string   `json:"names,omitempty"`   // checkpoint: the kept variables
	Message string     `json:"message,omitempty"` // warning
	Bytes   int64      `json:"bytes,omitempty"`   // saved: size of the notebook as written
}

// emit sends an event when somebody listens.
func (r *run) emit(e Event) {
	if r.req.Events == nil {
		return
	}
	e.Time = r.now().UTC()
	r.req.Events(e)
}

// warn tells the listener and keeps the warning for the result. The number of
// warnings kept is bounded; each is short.
func (r *run) warn(message string) {
	message = clip(r.mask.text(message), 4096)
	if len(r.result.Warnings) < 1000 {
		r.result.Warnings = append(r.result.Warnings, message)
	}
	r.emit(Event{Type: EventWarning, Message: message})
}

// emitText sends text as output events of at most MaxEventText bytes.
func (r *run) emitText(cell int, outputType, stream, text string) {
	if r.req.Events == nil || text == "" {
		return
	}
	for text != "" {
		part := clip(text, MaxEventText)
		text = text[len(part):]
		i := cell
		r.emit(Event{
			Type: EventOutput, Cell: r.numbers[i], Index: &i, OutputType: outputType, Stream: stream,
			Text: part, More: text != "",
		})
	}
}

// clip returns at most n bytes of s, cut between characters where it holds any.
func clip(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for cut := n; cut > n-utf8.UTFMax && cut > 0; cut-- {
		if utf8.RuneStart(s[cut]) {
			return s[:cut]
		}
	}
	return s[:n]
}

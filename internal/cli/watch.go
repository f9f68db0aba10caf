package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"quire/internal/engine"
	"quire/internal/problem"
)

// A watcher turns the events of one run into what a person or a script sees of
// it while it runs: progress, log lines, the files of --stdout-file and
// --stderr-file, and JSON lines. It is safe for concurrent use.
type watcher struct {
	log       *slog.Logger
	logOutput bool
	events    io.Writer // gets the JSON lines; nil for none
	stdout    io.Writer // gets what cells print; nil for none
	stderr    io.Writer
	bar       func(total int) *progress // nil shows none
	closers   []io.Closer

	mu       sync.Mutex
	progress *progress
	partial  [2]string // a line of stdout and of stderr that has not ended yet
	err      error     // the first failure of writing to a file of the person's
}

// watcher opens the files that the command line names.
func (c *runConfig) watcher(p Process, con *console, log *slog.Logger, output string) (*watcher, error) {
	w := &watcher{log: log, logOutput: on(c.logOutput, false)}
	if on(c.progressBar, !w.logOutput && output != "-") {
		w.bar = func(total int) *progress { return newProgress(con, "cell", total, p.now) }
	}
	for _, f := range []struct {
		flag, name string
		to         *io.Writer
	}{
		{"--stdout-file", c.stdoutFile, &w.stdout},
		{"--stderr-file", c.stderrFile, &w.stderr},
		{"--events", c.events, &w.events},
	} {
		switch f.name {
		case "":
		case "-":
			*f.to = p.Stdout
		default:
			file, err := os.Create(f.name)
			if err != nil {
				w.Close() //nolint:errcheck // nothing was written
				return nil, problem.WrapAs(problem.Unavailable, err, "opening the file of %s", f.flag)
			}
			*f.to = file
			w.closers = append(w.closers, file)
		}
	}
	return w, nil
}

// Event is the engine's listener.
func (w *watcher) Event(e engine.Event) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.line(e)
	switch e.Type {
	case engine.EventRunStarted:
		if w.bar != nil && w.progress == nil {
			w.progress = w.bar(e.Cells)
		}
	case engine.EventWarning:
		w.log.Warn(e.Message)
	case engine.EventKernelStarting:
		w.log.Info("Executing notebook with kernel: " + e.Kernel)
	case engine.EventKernelReady:
		w.log.Debug(fmt.Sprintf("Kernel ready: %s, process %d, after %s", e.Implementation, e.PID, millis(e.DurationMS)))
	case engine.EventCellStarted:
		w.cellStarted(e)
	case engine.EventOutput:
		w.output(e)
	case engine.EventRecord:
		w.log.Debug("Recorded " + e.Record.Name)
	case engine.EventCheckpoint:
		w.log.Debug("Checkpoint: " + strings.Join(e.Names, ", "))
	case engine.EventCellFinished:
		w.cellFinished(e)
	case engine.EventSaved:
		w.log.Debug(fmt.Sprintf("Saved %s (%s) in %s", e.Output, sizeText(e.Bytes), millis(e.DurationMS)))
	case engine.EventRunFinished:
		w.finish()
	}
}

// line writes an event as a line of JSON.
func (w *watcher) line(e engine.Event) {
	if w.events == nil {
		return
	}
	data, err := json.Marshal(e)
	if err != nil { // NaN in a record: the rest of the run is still worth telling
		data, err = json.Marshal(engine.Event{Type: e.Type, Time: e.Time, Message: err.Error()})
	}
	if err == nil {
		_, err = w.events.Write(append(data, '\n'))
	}
	w.keep(err, "writing --events")
}

// keep remembers the first failure. The run goes on: its output is worth more
// than what is said about it.
func (w *watcher) keep(err error, doing string) {
	if err == nil || w.err != nil {
		return
	}
	w.err = problem.WrapAs(problem.Unavailable, err, "%s", doing)
	w.log.Error(w.err.Error())
}

func (w *watcher) cellStarted(e engine.Event) {
	if w.logOutput {
		w.log.Info(rule("Executing Cell ", e.Cell, 40))
	}
	if w.progress != nil {
		w.progress.Start(e.Description)
	}
}

func (w *watcher) cellFinished(e engine.Event) {
	w.flush()
	if w.logOutput {
		w.log.Info(rule("Ending Cell ", e.Cell, 43))
	}
	if w.progress != nil && e.Index != nil && !neverRan(e.Status) {
		w.progress.Finish(*e.Index + 1)
	}
}

// output shows what a cell prints. Lines are shown whole: a message that ends
// within a line waits for the rest of it.
func (w *watcher) output(e engine.Event) {
	if e.OutputType != "stream" {
		if w.logOutput && e.Text != "" {
			w.flush()
			w.log.Info(strings.TrimSuffix(e.Text, "\n"))
		}
		return
	}
	file, i, flag := w.stdout, 0, "--stdout-file"
	if e.Stream == "stderr" {
		file, i, flag = w.stderr, 1, "--stderr-file"
	}
	if file != nil {
		_, err := io.WriteString(file, e.Text)
		w.keep(err, "writing "+flag)
	}
	if !w.logOutput {
		return
	}
	text := w.partial[i] + e.Text
	end := strings.LastIndexByte(text, '\n')
	if end < 0 && len(text) < engine.MaxEventText {
		w.partial[i] = text
		return
	}
	if end < 0 {
		end = len(text)
	}
	w.say(i, text[:end])
	w.partial[i] = strings.TrimPrefix(text[end:], "\n")
}

// flush shows the lines that have not ended.
func (w *watcher) flush() {
	for i, text := range w.partial {
		if text != "" {
			w.say(i, text)
			w.partial[i] = ""
		}
	}
}

func (w *watcher) say(stream int, text string) {
	if stream == 1 {
		w.log.Warn(text)
		return
	}
	w.log.Info(text)
}

// finish takes the progress bar away.
func (w *watcher) finish() {
	w.flush()
	if w.progress != nil {
		w.progress.Close()
		w.progress = nil
	}
	w.bar = nil
}

// Close ends what the watcher shows, closes its files and returns the first
// failure of writing to one. Closing twice is fine.
func (w *watcher) Close() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.log != nil {
		w.finish()
	}
	for _, c := range w.closers {
		if err := c.Close(); err != nil {
			w.keep(err, "closing a file")
		}
	}
	w.closers = nil
	return w.err
}

// neverRan reports whether a finished cell was not started at all.
func neverRan(status string) bool { return status == "pending" }

// rule is papermill's line at the beginning and end of a cell: its number,
// filled up with dashes.
func rule(text string, cell, width int) string {
	number := "of the run's parameters"
	if cell > 0 {
		number = strconv.Itoa(cell)
	}
	return text + number + strings.Repeat("-", max(0, width-len(number)))
}

func millis(ms float64) string { return seconds(time.Duration(ms * float64(time.Millisecond))) }

// Saved tells of a rewrite of the notebook in the background.
func (w *watcher) Saved(s engine.Saved) {
	took := seconds(time.Duration(s.Seconds * float64(time.Second)))
	if s.Err != nil {
		w.log.Warn(fmt.Sprintf("autosave: %v (after %s)", s.Err, took))
		return
	}
	w.log.Debug(fmt.Sprintf("Saved in the background (%s) in %s", sizeText(s.Bytes), took))
}

package cli

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"quire/internal/engine"
)

func TestWatcherLogsOutputByLine(t *testing.T) {
	t.Parallel()
	var screen, stdout, stderr, events bytes.Buffer
	w := &watcher{
		log:       newLogger(&console{w: &screen}, slog.LevelInfo),
		logOutput: true, stdout: &stdout, stderr: &stderr, events: &events,
	}
	const cell = 3
	stream := func(name, text string) engine.Event {
		return engine.Event{Type: engine.EventOutput, Cell: cell, OutputType: "stream", Stream: name, Text: text}
	}
	for _, e := range []engine.Event{
		{Type: engine.EventRunStarted, Cells: 3, Time: time.Unix(0, 0).UTC()},
		{Type: engine.EventKernelStarting, Kernel: "python3"},
		{Type: engine.EventCellStarted, Cell: cell},
		stream("stdout", "one, "), stream("stdout", "still one\ntwo\nthr"), stream("stderr", "oops\n"), stream("stdout", "ee"),
		{Type: engine.EventOutput, Cell: cell, OutputType: "execute_result", Text: "42"},
		{Type: engine.EventCellFinished, Cell: cell, Status: "completed"},
		{Type: engine.EventWarning, Message: "slow"},
		{Type: engine.EventRunFinished, Status: "succeeded"},
	} {
		w.Event(e)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	want := strings.Join([]string{
		"Executing notebook with kernel: python3",
		"Executing Cell 3---------------------------------------",
		"one, still one", "two", "oops", "three", "42",
		"Ending Cell 3------------------------------------------",
		"slow", "",
	}, "\n")
	if diff := cmp.Diff(want, screen.String()); diff != "" {
		t.Error(diff)
	}
	if stdout.String() != "one, still one\ntwo\nthree" || stderr.String() != "oops\n" {
		t.Errorf("files hold %q and %q", stdout.String(), stderr.String())
	}
	lines := strings.Split(strings.TrimSpace(events.String()), "\n")
	if len(lines) != 11 {
		t.Fatalf("%d lines of JSON, want 11", len(lines))
	}
	for _, line := range lines {
		var e engine.Event
		if err := json.Unmarshal([]byte(line), &e); err != nil || e.Type == "" {
			t.Errorf("%s: %v", line, err)
		}
	}
}

func TestWatcherBoundsALineWithoutEnd(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	w := &watcher{log: newLogger(&console{w: &out}, slog.LevelInfo), logOutput: true}
	for range 3 {
		w.Event(engine.Event{Type: engine.EventOutput, OutputType: "stream", Stream: "stdout", Text: strings.Repeat("x", engine.MaxEventText/2)})
		if n := len(w.partial[0]); n >= engine.MaxEventText {
			t.Fatalf("%d bytes are held back", n)
		}
	}
	if !strings.Contains(out.String(), "xxx") {
		t.Error("nothing was shown")
	}
}

// full is a file on a disk without space.
type full struct{}

func (full) Write([]byte) (int, error) { return 0, bytes.ErrTooLarge }

func TestWatcherReportsAFileItCannotWrite(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	w := &watcher{log: newLogger(&console{w: &out}, slog.LevelError), stdout: full{}}
	for range 2 {
		w.Event(engine.Event{Type: engine.EventOutput, OutputType: "stream", Stream: "stdout", Text: "x"})
	}
	err := w.Close()
	if err == nil || !strings.Contains(err.Error(), "--stdout-file") {
		t.Errorf("error is %v", err)
	}
	if strings.Count(out.String(), "--stdout-file") != 1 {
		t.Errorf("said %q, want it once", out.String())
	}
}

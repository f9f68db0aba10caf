package cli

import (
	"context"
	"log/slog"
	"strings"
)

// The levels that --log-level takes, with papermill's names.
var logLevels = map[string]slog.Level{
	"NOTSET":   slog.LevelDebug - 4,
	"DEBUG":    slog.LevelDebug,
	"INFO":     slog.LevelInfo,
	"WARNING":  slog.LevelWarn,
	"ERROR":    slog.LevelError,
	"CRITICAL": slog.LevelError + 4,
}

// A consoleHandler writes a record as papermill's logger does, the message
// alone, with the attributes after it. It is safe for concurrent use.
type consoleHandler struct {
	console *console
	level   slog.Level
	attrs   string
	prefix  string // before each message
}

// newLogger returns a logger that writes to c what is at least of level.
func newLogger(c *console, level slog.Level) *slog.Logger {
	return slog.New(&consoleHandler{console: c, level: level})
}

// Enabled implements slog.Handler.
func (h *consoleHandler) Enabled(_ context.Context, level slog.Level) bool { return level >= h.level }

// Handle implements slog.Handler.
func (h *consoleHandler) Handle(_ context.Context, r slog.Record) error {
	var line strings.Builder
	line.WriteString(h.prefix + r.Message)
	line.WriteString(h.attrs)
	r.Attrs(func(a slog.Attr) bool {
		line.WriteString(attrText(a))
		return true
	})
	text := printable(line.String())
	switch {
	case r.Level >= slog.LevelError:
		text = h.console.paint(styleError, text)
	case r.Level >= slog.LevelWarn:
		text = h.console.paint(styleWarning, text)
	case r.Level < slog.LevelInfo:
		text = h.console.paint(styleQuiet, text)
	}
	h.console.Println(text)
	return nil
}

// WithAttrs implements slog.Handler.
func (h *consoleHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	more := *h
	for _, a := range attrs {
		more.attrs += attrText(a)
	}
	return &more
}

// WithGroup implements slog.Handler. Groups are not shown.
func (h *consoleHandler) WithGroup(string) slog.Handler { return h }

func attrText(a slog.Attr) string {
	if a.Equal(slog.Attr{}) {
		return ""
	}
	return " " + a.Key + "=" + a.Value.Resolve().String()
}

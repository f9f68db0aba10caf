package cli

import (
	"io"
	"os"
	"strings"
	"sync"
	"unicode"

	"golang.org/x/term"
)

// A style is how a line looks on a terminal with colours.
type style string

// The styles in use. Colour never says a thing that the words do not say too.
const (
	styleError   style = "\x1b[31m"
	styleWarning style = "\x1b[33m"
	styleGood    style = "\x1b[32m"
	styleQuiet   style = "\x1b[2m"
	styleReset         = "\x1b[0m"
)

// A console is standard error as a person sees it: lines, and on a terminal
// one status line below them that is drawn over. It is safe for concurrent use.
type console struct {
	w        io.Writer
	terminal bool       // w is a terminal that can draw over a line
	colour   bool       // w is a terminal, and the person has not asked for NO_COLOR
	unicode  bool       // the terminal shows block characters
	width    func() int // columns of the terminal, at least 20

	mu     sync.Mutex
	status string // what stands on the status line now
}

// newConsole returns the console on p.Stderr.
func newConsole(p Process) *console {
	c := &console{w: p.Stderr, width: func() int { return 80 }}
	dumb := os.Getenv("TERM") == "dumb"
	if !term.IsTerminal(int(p.Stderr.Fd())) {
		return c
	}
	c.terminal = !dumb
	c.colour = !dumb && os.Getenv("NO_COLOR") == ""
	c.unicode = speaksUnicode(os.Getenv)
	c.width = func() int {
		if w, _, err := term.GetSize(int(p.Stderr.Fd())); err == nil && w >= 20 {
			return w
		}
		return 80
	}
	return c
}

// speaksUnicode reports whether the locale is one of UTF-8.
func speaksUnicode(getenv func(string) string) bool {
	for _, name := range []string{"LC_ALL", "LC_CTYPE", "LANG"} {
		if v := strings.ToLower(getenv(name)); v != "" {
			return strings.Contains(v, "utf-8") || strings.Contains(v, "utf8")
		}
	}
	return false
}

// Println writes text as lines of their own above the status line.
func (c *console) Println(text string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.status == "" {
		io.WriteString(c.w, text+"\n") //nolint:errcheck // there is nobody to tell
		return
	}
	io.WriteString(c.w, "\r\x1b[K"+text+"\n"+c.status) //nolint:errcheck // there is nobody to tell
}

// SetStatus draws the status line; "" takes it away.
func (c *console) SetStatus(status string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if status == c.status || !c.terminal {
		return
	}
	c.status = status
	io.WriteString(c.w, "\r\x1b[K"+status) //nolint:errcheck // there is nobody to tell
}

// paint returns text in the given style where the console shows colours.
func (c *console) paint(s style, text string) string {
	if !c.colour || s == "" {
		return text
	}
	return string(s) + text + styleReset
}

// printable returns text that came from outside with everything taken out that
// could move the cursor or change the terminal; lines and tabs stay.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		if r != '\n' && r != '\t' && (unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r)) {
			return -1
		}
		return r
	}, stripANSI(text))
}

// coloursOnly returns text with only its colour sequences (CSI ... m) and
// printable characters left.
func coloursOnly(text string) string {
	var out strings.Builder
	for text != "" {
		i := strings.IndexByte(text, '\x1b')
		if i < 0 {
			i = len(text)
		}
		out.WriteString(printable(text[:i]))
		text = text[i:]
		n := escapeLen(text)
		if n > 2 && text[1] == '[' && text[n-1] == 'm' {
			out.WriteString(text[:n])
		}
		text = text[n:]
	}
	return out.String()
}

// stripANSI takes terminal escape sequences out of text.
func stripANSI(text string) string {
	if !strings.Contains(text, "\x1b") {
		return text
	}
	var out strings.Builder
	for text != "" {
		i := strings.IndexByte(text, '\x1b')
		if i < 0 {
			i = len(text)
		}
		out.WriteString(text[:i])
		text = text[i:]
		text = text[escapeLen(text):]
	}
	return out.String()
}

// escapeLen returns the length of the escape sequence that text starts with: a
// CSI sequence up to its final byte, an OSC sequence up to its terminator, or
// the escape character alone. It is 0 when text is empty.
func escapeLen(text string) int {
	if len(text) < 2 {
		return len(text)
	}
	switch text[1] {
	case '[':
		for i := 2; i < len(text); i++ {
			if text[i] >= 0x40 && text[i] <= 0x7e {
				return i + 1
			}
			if text[i] < 0x20 || text[i] > 0x7e {
				return i
			}
		}
		return len(text)
	case ']':
		for i := 2; i < len(text); i++ {
			switch text[i] {
			case '\a':
				return i + 1
			case '\x1b', '\n':
				return i
			}
		}
		return len(text)
	}
	return 1
}

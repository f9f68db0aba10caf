package cli

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

func TestPrintable(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ in, plain, coloured string }{
		{"abc\n\tdef", "abc\n\tdef", "abc\n\tdef"},
		{"\x1b[31mred\x1b[0m", "red", "\x1b[31mred\x1b[0m"},
		{"\x1b[2J\x1b[1;1Hgone", "gone", "gone"},
		{"\x1b]0;title\atext", "text", "text"},
		{"\x1b]0;title\x1b\\text", "\\text", "\\text"},
		{"a\rb\bc\x00", "abc", "abc"},
		{"open \x1b[", "open ", "open "},
		{"open \x1b[31", "open ", "open "},
		{"end \x1b", "end ", "end "},
		{"\u202eevil", "evil", "evil"},
		{"\u009b31m", "31m", "31m"},
	} {
		if got := printable(tt.in); got != tt.plain {
			t.Errorf("printable(%q) = %q, want %q", tt.in, got, tt.plain)
		}
		if got := coloursOnly(tt.in); got != tt.coloured {
			t.Errorf("coloursOnly(%q) = %q, want %q", tt.in, got, tt.coloured)
		}
	}
}

func FuzzPrintable(f *testing.F) {
	f.Add("\x1b[31mred\x1b[0m \x1b]0;x\a")
	f.Fuzz(func(t *testing.T, text string) {
		if got := printable(text); strings.ContainsAny(got, "\x1b\r\b\x00") {
			t.Errorf("printable(%q) = %q", text, got)
		}
		left := coloursOnly(text)
		for {
			i := strings.IndexByte(left, '\x1b')
			if i < 0 {
				break
			}
			n := escapeLen(left[i:])
			if s := left[i : i+n]; !strings.HasPrefix(s, "\x1b[") || !strings.HasSuffix(s, "m") {
				t.Fatalf("coloursOnly(%q) holds %q", text, s)
			}
			left = left[i+n:]
		}
	})
}

func TestConsoleKeepsTheStatusBelow(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	c := &console{w: &out, terminal: true, width: func() int { return 80 }}
	c.SetStatus("50%")
	c.Println("line")
	c.SetStatus("")
	const clear = "\r\x1b[K"
	want := clear + "50%" + clear + "line\n50%" + clear
	if out.String() != want {
		t.Errorf("got %q, want %q", out.String(), want)
	}
}

func TestConsoleWithoutTerminalHasNoStatus(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	c := &console{w: &out}
	c.SetStatus("50%")
	c.Println(c.paint(styleError, "line"))
	if out.String() != "line\n" {
		t.Errorf("got %q", out.String())
	}
}

// fakeClock is a clock that moves when it is told to.
type fakeClock struct{ t time.Time }

func (c *fakeClock) now() time.Time { return c.t }

func TestProgressPlain(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	clock := &fakeClock{time.Unix(0, 0)}
	p := newProgress(&console{w: &out}, "cell", 4, clock.now)
	p.Start("load")
	clock.t = clock.t.Add(1500 * time.Millisecond)
	p.Finish(1)
	p.Start("")
	clock.t = clock.t.Add(10 * time.Millisecond)
	p.Finish(2) // too soon for a line
	p.Start("evil\x1b[2J")
	clock.t = clock.t.Add(2 * time.Minute)
	p.Finish(3)
	p.Start("")
	p.Close()
	p.Close()
	want := "Executing cell 1/4 load [00:02, 1.5 s]\n" +
		"Executing cell 3/4 evil [02:02, 2 min 0 s]\n"
	if out.String() != want {
		t.Errorf("got:\n%s\nwant:\n%s", out.String(), want)
	}
}

func TestProgressBar(t *testing.T) {
	t.Parallel()
	clock := &fakeClock{time.Unix(0, 0)}
	for _, tt := range []struct {
		name    string
		width   int
		unicode bool
		done    int
		running bool
		want    string
	}{
		{"nothing done", 60, false, 0, true, "Executing load:   0%|         | 0/8 [00:10<?, cell 1: 10 s]"},
		{"some done", 60, false, 2, true, "Executing load:  25%|#    | 2/8 [00:10<00:30, cell 3: 10 s]"},
		{"blocks", 60, true, 2, true, "Executing load:  25%|█▎   | 2/8 [00:10<00:30, cell 3: 10 s]"},
		{"all done", 48, false, 8, false, "Executing load: 100%|#######| 8/8 [00:10<00:00]"},
		{"narrow", 20, false, 2, true, "Executing load:  25"},
	} {
		p := &progress{console: &console{width: func() int { return tt.width }, unicode: tt.unicode}, unit: "cell", total: 8, done: tt.done, label: "load", started: clock.t}
		if tt.running {
			p.unitStart = clock.t
		}
		got := p.bar(clock.t.Add(10 * time.Second))
		if got != tt.want {
			t.Errorf("%s: got %q, want %q", tt.name, got, tt.want)
		}
		if n := utf8.RuneCountInString(got); n >= tt.width {
			t.Errorf("%s: %d characters on a terminal of %d", tt.name, n, tt.width)
		}
	}
}

func TestProgressOnTerminalLeavesOneLine(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	c := &console{w: &out, terminal: true, width: func() int { return 80 }}
	p := newProgress(c, "cell", 2, time.Now)
	p.Start("a")
	p.Finish(1)
	p.Start("b")
	p.Finish(2)
	p.Close()
	text := out.String()
	if !strings.HasSuffix(text, "]\n") || strings.Count(text, "\n") != 1 || !strings.Contains(text, "2/2") {
		t.Errorf("got %q", text)
	}
}

func TestLogger(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	log := newLogger(&console{w: &out}, slog.LevelInfo)
	log.Debug("hidden")
	log.Info("Input Notebook:  a.ipynb")
	log.With("run_id", 7).Warn("slow\x1b[2J", "dur_ms", 12)
	want := "Input Notebook:  a.ipynb\nslow run_id=7 dur_ms=12\n"
	if out.String() != want {
		t.Errorf("got %q, want %q", out.String(), want)
	}
}

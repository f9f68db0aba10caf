package kernel

import (
	"errors"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"quire/internal/problem"
)

func TestDeathInWords(t *testing.T) {
	t.Parallel()
	quiet := &memoryWatch{}
	quiet.refresh() // whatever this machine has killed before
	for _, tt := range []struct {
		name   string
		exit   exit
		asked  bool
		starts bool
		want   string
	}{
		{"code", exit{code: 3}, false, false, "the kernel exited with code 3"},
		{"asked", exit{code: -1, signal: syscall.SIGKILL}, true, false, "the kernel was asked to stop"},
		{"signal", exit{code: -1, signal: syscall.SIGKILL}, false, false, "the kernel was killed by signal 9 (SIGKILL)"},
		{"crash", exit{code: -1, signal: syscall.SIGSEGV}, false, false, "the kernel was killed by signal 11 (SIGSEGV): a crash in native code"},
		{"before ready", exit{code: 1}, false, true, "the kernel exited with code 1 before it was ready"},
		{"unknown", exit{code: -1}, false, false, "the kernel ended and its exit code is not known"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if got := newDeath(tt.exit, tt.asked, tt.starts, quiet, 0).String(); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
	d := &Death{Signal: "SIGKILL", signal: syscall.SIGKILL, ExitCode: -1, OOM: true, PeakBytes: 3_900 << 20, MemoryLimit: 4 << 30}
	if got := d.String(); got != "the kernel was killed by signal 9 (SIGKILL): out of memory, peak 3.8 GiB of a 4 GiB limit" {
		t.Errorf("out of memory: %q", got)
	}
}

func TestDeathErrorKind(t *testing.T) {
	t.Parallel()
	for asked, kind := range map[bool]problem.Kind{false: problem.Unavailable, true: problem.Canceled} {
		err := error(&DeathError{&Death{Asked: asked, Stderr: "first\nlast words"}})
		var dead *DeathError
		if !problem.Is(err, kind) || !errors.As(problem.Wrap(err, "running cell 3"), &dead) {
			t.Errorf("asked %v: %v is %v", asked, err, problem.KindOf(err))
		}
		if strings.Contains(err.Error(), "its last words: last words") == asked {
			t.Errorf("asked %v: %v", asked, err)
		}
	}
}

func TestCleanText(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"\x1b[31mred\x1b[0m":                 "red",
		"\x1b]0;title\x07text\x1b(B":         "text(B",
		"a\x00b\rc\x7f\xffd\n":               "abc?d",
		"\x1b[38;5;196mError\x1b[0m:\ttab":   "Error:\ttab",
		"\x1b]8;;http://x\x1b\\link\x1b]8;;": "link",
	} {
		if got := cleanText([]byte(in)); got != want {
			t.Errorf("%q became %q, want %q", in, got, want)
		}
	}
}

func TestTailIsBounded(t *testing.T) {
	t.Parallel()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	tl := collect(r, nil)
	for range 100 {
		if _, err := w.WriteString(strings.Repeat("x", 1000)); err != nil {
			t.Fatal(err)
		}
	}
	_, _ = w.WriteString("end")
	_ = w.Close()
	if got := tl.finish(); len(got) != tailBytes || !strings.HasSuffix(got, "xend") {
		t.Errorf("%d bytes, %q", len(got), got[max(0, len(got)-10):])
	}
}

// TestLastWordsOfAStalledMachine: what a process wrote before its end is read,
// however late, also where another one holds its pipe.
func TestLastWordsOfAStalledMachine(t *testing.T) {
	t.Parallel()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	if _, err := w.WriteString(strings.Repeat("x", 10_000) + " last words"); err != nil {
		t.Fatal(err)
	}
	if err := r.SetReadDeadline(time.Now().Add(-time.Second)); err != nil {
		t.Fatal(err)
	}
	tl := collect(r, nil)
	<-tl.done
	if !strings.HasSuffix(string(tl.buf), "x last words") {
		t.Errorf("%q", tl.buf[max(0, len(tl.buf)-20):])
	}
}

func TestHumanBytes(t *testing.T) {
	t.Parallel()
	for n, want := range map[int64]string{5: "5 B", 1 << 10: "1 KiB", 1536 << 20: "1.5 GiB", 4 << 30: "4 GiB"} {
		if got := humanBytes(n); got != want {
			t.Errorf("%d is %q, want %q", n, got, want)
		}
	}
}

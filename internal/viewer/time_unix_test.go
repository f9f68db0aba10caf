//go:build unix

package viewer

import (
	"io"
	"math/rand/v2"
	"strings"
	"syscall"
	"testing"
	"time"
)

// cpuTime is what this process has used of the CPU so far.
func cpuTime(t *testing.T) time.Duration {
	t.Helper()
	var r syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &r); err != nil {
		t.Fatal(err)
	}
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}

// TestTimeIsBounded renders what makes parsers slow (T18, T94). It runs alone,
// and counts the time of the CPU, not of the wall: the machine may be busy.
func TestTimeIsBounded(t *testing.T) {
	n := 100_000
	if testing.Short() {
		n = 20_000
	}
	for name, src := range map[string]string{
		"brackets": strings.Repeat("[", n), "links": strings.Repeat("[a](", n/4), "images": strings.Repeat("![", n/2), "quotes": strings.Repeat(">", n),
		"quotes with spaces": strings.Repeat("> ", n/2), "lists": strings.Repeat("- ", n/2), "numbers": strings.Repeat("1. ", n/3),
		"stars": strings.Repeat("*a_", n/3), "stars and spaces": strings.Repeat("*a ", n/3), "backticks": ticks(n), "tildes": strings.Repeat("~", n), "open tags": strings.Repeat("<a", n/2),
		"comments": strings.Repeat("<!--", n/4), "nested": strings.Repeat("<b>", n/3), "closes": strings.Repeat("</b>", n/4), "skips": strings.Repeat("<svg>", n/5), "dollars": strings.Repeat("$a", n/2),
		"formulas": strings.Repeat("$a$ ", n/4), "begins": strings.Repeat(`\begin{matrix}`, n/14), "tables": strings.Repeat("|a", n/2) + "\n" + strings.Repeat("|-", n/2),
		"references": strings.Repeat("[a]: b\n", n/7) + strings.Repeat("[a]", 1000), "headings": strings.Repeat("# a\n", n/4), "entities": strings.Repeat("&", n), "setext": strings.Repeat("a\n=\n", n/4),
		"deep list": deepList(300), "links just let through": strings.Repeat("[a](", 3500), "stars just let through": strings.Repeat("*a_", 2800), "autolinks": strings.Repeat("www.a.", n/6), "emails": strings.Repeat("a@", n/2), "braces": "$$" + strings.Repeat("{", 4000) + strings.Repeat("}", 4000) + "$$", "scripts": "$$" + strings.Repeat("x^", 4000) + "$$",
	} {
		t.Run(name, func(t *testing.T) {
			start := cpuTime(t)
			nb := document(prose(src), code("", display("text/html", src), display("text/markdown", src), stream(src)))
			if err := Render(io.Discard, nb, Options{}); err != nil {
				t.Fatal(err)
			}
			if took := cpuTime(t) - start; took > 8*time.Second {
				t.Errorf("took %v of CPU", took)
			}
		})
	}
}

func ticks(n int) string {
	var b strings.Builder
	for i := 1; b.Len() < n; i++ {
		b.WriteString(strings.Repeat("`", i) + " ")
	}
	return b.String()
}

func deepList(n int) string {
	var b strings.Builder
	for i := range n {
		b.WriteString(strings.Repeat("  ", i) + "- a\n")
	}
	return b.String()
}

// TestFormulasTakeLittle reads long random formulas: none may take more than
// the budget of a page (T18: 200 ms, with room for a busy machine).
func TestFormulasTakeLittle(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	parts := strings.Fields(`x 1 _ ^ { } ' & \\ \frac \sqrt [ ] \left( \right) \begin{matrix} \end{matrix} \text{a} \hat \mathbb \limits \sum \not = \overline \overset ~ %`)
	for range 500 {
		var b strings.Builder
		for b.Len() < 4000 {
			b.WriteString(parts[rng.IntN(len(parts))])
			b.WriteByte(' ')
		}
		start := cpuTime(t)
		mathML(b.String(), true)
		if took := cpuTime(t) - start; took > 2*time.Second {
			t.Fatalf("%v for %q", took, b.String())
		}
	}
	for _, part := range parts {
		start := cpuTime(t)
		mathML(strings.Repeat(part+" ", maxFormulaBytes/(len(part)+1)), true)
		if took := cpuTime(t) - start; took > 2*time.Second {
			t.Errorf("%v for %q again and again", took, part)
		}
	}
}

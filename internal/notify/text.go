package notify

import (
	"fmt"
	"strings"
	"time"
	"unicode"
)

var eventWords = map[Event]string{Failure: "failed", Success: "succeeded", Late: "is late", LongRunning: "runs longer than usual", Recovery: "works again"}

// maxMessage is how much of an error is told, in runes.
const maxMessage = 500

// Subject is one line about notices.
func Subject(notices []Notice) string {
	if len(notices) > 1 {
		counts := map[Event]int{}
		for _, n := range notices {
			counts[n.Fact.Event]++
		}
		var words []string
		for _, e := range Events {
			if counts[e] > 0 {
				words = append(words, fmt.Sprintf("%d %s", counts[e], eventWords[e]))
			}
		}
		return "Quire: " + strings.Join(words, ", ")
	}
	f := notices[0].Fact
	subject := line(f.name()) + " " + eventWords[f.Event]
	for _, p := range f.Parts {
		if p.Cell > 0 && f.Event == Failure {
			return subject + fmt.Sprintf(" at cell %d of %s", p.Cell, line(p.Name))
		}
	}
	return subject
}

// Text is what notices tell, with links to base, the server's address.
func Text(base string, notices []Notice) string {
	var b strings.Builder
	for i, n := range notices {
		if i > 0 {
			b.WriteString("\n")
		}
		writeFact(&b, base, n.Fact)
	}
	return b.String()
}

func writeFact(b *strings.Builder, base string, f Fact) {
	fmt.Fprintf(b, "%s %s", line(f.name()), eventWords[f.Event])
	if !f.Slot.IsZero() {
		fmt.Fprintf(b, ": the fire of %s", f.Slot.UTC().Format(time.RFC3339))
	}
	b.WriteString("\n")
	if f.Reason != "" {
		fmt.Fprintf(b, "%s\n", clip(line(f.Reason)))
	}
	for _, p := range f.Parts {
		fmt.Fprintf(b, "\n%s: %s", line(p.Name), strings.ReplaceAll(p.State, "_", " "))
		if p.Cell > 0 {
			fmt.Fprintf(b, " at cell %d", p.Cell)
		}
		b.WriteString("\n")
		if p.Message != "" {
			fmt.Fprintf(b, "  %s\n", clip(line(p.Message)))
		}
		if text := string(p.Parameters); text != "" && text != "{}" && text != "null" {
			fmt.Fprintf(b, "  parameters: %s\n", clip(line(text)))
		}
		if p.Run != "" {
			fmt.Fprintf(b, "  %s/runs/%s\n", base, p.Run)
		}
	}
	fmt.Fprintf(b, "\n%s%s\n", base, f.Path)
}

// line makes text one line without anything that a terminal or a mail reader
// acts on.
func line(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069 {
			return ' '
		}
		return r
	}, text)
}

func clip(text string) string {
	if runes := []rune(text); len(runes) > maxMessage {
		return string(runes[:maxMessage-1]) + "…"
	}
	return text
}

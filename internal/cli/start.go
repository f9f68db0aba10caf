package cli

import (
	"fmt"
	"strings"
	"time"

	"quire/internal/job"
)

// startText says how the start of a container went or goes, in one line:
// "queued 10ms, pulling 4.2s, creating".
func startText(phases []job.Phase) string {
	var parts []string
	for _, p := range phases {
		switch {
		case p.State == job.PhaseAhead, p.Name == "running":
		case p.State == job.PhaseNow && p.Message != "":
			parts = append(parts, p.Name+" ("+printable(p.Message)+")")
		case p.State == job.PhaseNow:
			parts = append(parts, p.Name)
		default:
			parts = append(parts, p.Name+" "+p.Took().String())
		}
	}
	return strings.Join(parts, ", ")
}

// startEvery is the least time between two lines about the same part of a start.
const startEvery = 5 * time.Second

// A startPrinter prints how the start of one container goes: a line for each part
// of it, and more now and then for one that takes long.
type startPrinter struct {
	print func(line string)
	now   func() time.Time

	name, said string
	at         time.Time
	over       bool
}

// show takes the start as it is now.
func (s *startPrinter) show(phases []job.Phase) {
	if s.over || len(phases) == 0 {
		return
	}
	if last := phases[len(phases)-1]; last.Name == "running" && last.State == job.PhaseDone {
		s.over = true
		s.print("container started: " + startText(phases))
		return
	}
	for _, p := range phases {
		if p.State != job.PhaseNow {
			continue
		}
		line := "container " + p.Name
		if p.Message != "" {
			line += ": " + printable(p.Message)
		}
		if p.Name == s.name && (line == s.said || s.now().Sub(s.at) < startEvery) {
			return
		}
		s.name, s.said, s.at = p.Name, line, s.now()
		s.print(line)
	}
}

// newStartPrinter prints to where a command says what goes on.
func newStartPrinter(p Process) *startPrinter {
	return &startPrinter{print: func(line string) { fmt.Fprintln(p.Stderr, line) }, now: p.now}
}
